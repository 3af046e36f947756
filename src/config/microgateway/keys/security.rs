//! The key manager, tokens, subscriptions, revocation.

use super::{Group, idle, lost, to};

const GRANT: &str = "the same key, for the grant that wins";
const CACHE_SHARE: &str = "the cache lets go of what is used least, one entry after the other";
const API_KEYS: &str = "the gateway issues no API keys and takes none";
const CLAIM_NAMES: &str =
    "claims keep the names that the token has; `identity_headers` and `client_id_claim` read any";
const OWN_JWT: &str = "one is used as long as it is good, 16,384 at most";
const USER_CLAIMS: &str = "claims come from the token and from introspection";

pub const GROUPS: &[Group] = &[
    Group {
        table: "keyManager",
        keys: &[
            to("serverUrl", "https://localhost:9443", "`serverUrl`"),
            to("tokenContext", "oauth2", "`tokenContext`"),
            to(
                "enableIntrospectForFailedJWT",
                "false",
                "`introspect = \"failed\"` in each `[[jwt_issuer]]`; JWTs of others are asked about anyway",
            ),
            lost(
                "enableLegacyMode",
                "false",
                "the key manager is asked by introspection, not by SOAP",
            ),
            lost("remoteUserClaimRetrievalEnabled", "false", USER_CLAIMS),
            idle(
                "issuer",
                "https://localhost:9443/oauth2/token",
                "the backend JWT has `issuer` of [jwtGeneratorConfig], and the token's own `iss` is not in it",
            ),
            to(
                "timestampSkew",
                "5000",
                "`token.clock_skew`, where `[server]` has none",
            ),
            to(
                "username",
                "",
                "`[keymanager.security.basic]`, over what stands there",
            ),
            to(
                "password",
                "",
                "`[keymanager.security.basic]`, over what stands there",
            ),
            idle("external", "", "introspection is what `true` meant in 3.1"),
            idle("jwksURL", "", "the original does not read it"),
        ],
    },
    Group {
        table: "keymanager.security.basic",
        keys: &[
            to(
                "enabled",
                "true",
                "decides which scheme is carried: it hides `oauth2`",
            ),
            to("username", "admin", "the same key"),
            to("password", "admin", "the same key"),
        ],
    },
    Group {
        table: "keymanager.security.oauth2",
        keys: &[
            to("enabled", "false", "the same key"),
            to(
                "credentialBearer",
                "AUTH_HEADER_BEARER",
                "the same key; an unknown word means `NO_BEARER`, as it did",
            ),
            to("tokenUrl", "", "the same key"),
        ],
    },
    Group {
        table: "keymanager.security.oauth2.clientCredential",
        keys: &[
            to("enabled", "false", "decides which grant is carried"),
            to("clientId", "", GRANT),
            to("clientSecret", "", GRANT),
            to("scopes", "", GRANT),
        ],
    },
    Group {
        table: "keymanager.security.oauth2.password",
        keys: &[
            to("enabled", "false", "decides which grant is carried"),
            to("clientId", "", GRANT),
            to("clientSecret", "", GRANT),
            to("scopes", "", GRANT),
            to("username", "", GRANT),
            to("password", "", GRANT),
        ],
    },
    Group {
        table: "keymanager.security.oauth2.directToken",
        keys: &[
            to("enabled", "false", "decides which grant is carried"),
            to("accessToken", "", GRANT),
        ],
    },
    Group {
        table: "keymanager.security.oauth2.refresh",
        keys: &[
            to(
                "enabled",
                "false",
                "the same key, with `password` or `directToken`",
            ),
            to("refreshUrl", "", "the same key"),
            to("scopes", "", "the same key"),
            to("refreshToken", "", "the same key"),
            to("clientId", "", "the same key"),
            to("clientSecret", "", "the same key"),
        ],
    },
    Group {
        table: "caching",
        keys: &[
            to(
                "enabled",
                "true",
                "`false`: `token_cache.max_ttl` and `inactive_ttl` are 0",
            ),
            to(
                "tokenCacheExpiryTime",
                "900000",
                "`token_cache.max_ttl`, in seconds, at most 15 min unless `allow_long_ttl`; 60 s where it is not written",
            ),
            to("tokenCacheCapacity", "10000", "`token_cache.max_entries`"),
            idle("tokenCacheEvictionFactor", "0.25", CACHE_SHARE),
            to(
                "tokenCache.expiryTime",
                "900000",
                "the name of 3.0: `token_cache.max_ttl`, in milliseconds",
            ),
            to(
                "tokenCache.capacity",
                "10000",
                "the name of 3.0: `token_cache.max_entries`",
            ),
            idle("tokenCache.evictionFactor", "0.25", CACHE_SHARE),
        ],
    },
    Group {
        table: "authConfig",
        keys: &[
            to(
                "authorizationHeader",
                "Authorization",
                "`token.header`; `x-wso2-auth-header` of an API counts before it",
            ),
            to(
                "removeAuthHeaderFromOutMessage",
                "true",
                "`false`: `forward_token` in `[[api]]`",
            ),
        ],
    },
    Group {
        table: "security",
        keys: &[to(
            "validateSubscriptions",
            "false",
            "`subscriptions.validate`",
        )],
    },
    Group {
        table: "apim.eventHub",
        keys: &[
            to(
                "enable",
                "false",
                "`[apim.eventHub]`; off while subscriptions are validated: every token is refused, as there",
            ),
            to("serviceUrl", "https://localhost:9443", "the same key"),
            to(
                "internalDataContext",
                "/internal/data/v1/",
                "the same key; with one slash where there are two",
            ),
            to("username", "admin", "the same key"),
            to("password", "admin", "the same key"),
            to(
                "eventListeningEndpoints",
                "amqp://admin:admin@carbon/carbon?brokerlist='tcp://localhost:5672'",
                "the same key, without the account in it: `username` connects, as there",
            ),
            idle("listOfTenants", "", "the original does not read it"),
            idle("xWSO2Tenant", "", "the original does not read it"),
        ],
    },
    Group {
        table: "apim.credentials",
        keys: &[
            idle("username", "admin", "nothing that is carried uses it"),
            idle("password", "admin", "nothing that is carried uses it"),
        ],
    },
    Group {
        table: "jwtTokenConfig[]",
        keys: &[
            to(
                "issuer",
                "https://localhost:9443/oauth2/token",
                "`issuer` in `[[jwt_issuer]]`",
            ),
            to("audience", "", "`audience`"),
            to(
                "certificateAlias",
                "wso2apim310",
                "`certificate_alias`, with the trust store; without `jwksURL` only",
            ),
            to("jwksURL", "", "`jwks_url`"),
            to(
                "validateSubscription",
                "",
                "`validate_subscriptions`; without it what [security] says",
            ),
            to("consumerKeyClaim", "aud", "`client_id_claim`"),
            lost("claimMapperClassName", "", "Java classes are not loaded"),
            lost("remoteUserClaimRetrievalEnabled", "false", USER_CLAIMS),
        ],
    },
    Group {
        table: "jwtTokenConfig[].claims[]",
        keys: &[
            lost("remoteClaim", "", CLAIM_NAMES),
            lost("localClaim", "", CLAIM_NAMES),
        ],
    },
    Group {
        table: "tokenRevocationConfig.realtime",
        keys: &[
            to(
                "enableRealtimeMessageRetrieval",
                "false",
                "`broker` in `[revocation]`",
            ),
            to("jmsConnectionTopic", "tokenRevocation", "`topic`"),
            idle(
                "jmsConnectioninitialContextFactory",
                "wso2mbInitialContextFactory",
                "there is no JMS",
            ),
            to(
                "jmsConnectionProviderUrl",
                "amqp://admin:admin@carbon/carbon?brokerlist='tcp://localhost:5672'",
                "`broker`",
            ),
            to(
                "jmsConnectionUsername",
                "",
                "the account in `broker`, over the one that stands there",
            ),
            to("jmsConnectionPassword", "", "its password"),
        ],
    },
    Group {
        table: "tokenRevocationConfig.persistent",
        keys: &[
            to(
                "enablePersistentStorageRetrieval",
                "false",
                "`list_url` in `[revocation]`",
            ),
            to(
                "type",
                "default",
                "only `default` is carried: neither etcd nor Java classes are asked",
            ),
            to(
                "endpointURL",
                "https://127.0.0.1:2379/v2/keys/jti/",
                "`list_url`, with `/revokedjwt`; without it `https://localhost:9443/internal/data/v1`, as in the template",
            ),
            to(
                "hostname",
                "",
                "an older name of `endpointURL`, which counts before it",
            ),
            to("username", "root", "`username`"),
            to("password", "root", "`password`"),
            idle("useDefault", "", "a key of older releases: `type` says it"),
        ],
    },
    Group {
        table: "apikey.tokenConfigs",
        keys: &[
            lost("issuer", "https://localhost:9095/apikey", API_KEYS),
            lost("certificateAlias", "ballerina", API_KEYS),
            lost("validateAllowedAPIs", "false", API_KEYS),
        ],
    },
    Group {
        table: "apikey.issuer.tokenConfig",
        keys: &[
            idle("enabled", "true", API_KEYS),
            lost(
                "keyStorePath",
                "${mgw-runtime.home}/runtime/bre/security/ballerinaKeystore.p12",
                API_KEYS,
            ),
            lost("keyStorePassword", "ballerina", API_KEYS),
            lost("issuer", "https://localhost:9095/apikey", API_KEYS),
            lost("certificateAlias", "ballerina", API_KEYS),
            lost("validityTime", "-1", API_KEYS),
        ],
    },
    Group {
        table: "apikey.issuer.api[]",
        keys: &[lost("name", "", API_KEYS), lost("versions", "", API_KEYS)],
    },
    Group {
        table: "jwtConfig",
        keys: &[to("header", "X-JWT-Assertion", "`backend_jwt.header`")],
    },
    Group {
        table: "jwtGeneratorConfig",
        keys: &[
            to("jwtGeneratorEnabled", "false", "`[backend_jwt]`"),
            to("claimDialect", "http://wso2.org/claims", "`claim_dialect`"),
            to(
                "signingAlgorithm",
                "SHA256withRSA",
                "the key decides; `NONE` is signed, too",
            ),
            idle(
                "certificateAlias",
                "ballerina",
                "the header has no `x5t`; `key_id` in `[backend_jwt]` can tell keys apart",
            ),
            to(
                "privateKeyAlias",
                "ballerina",
                "`key_alias`, with the key store of the listeners",
            ),
            to(
                "tokenExpiry",
                "900000",
                "`expires_in`, from 10 s to 24 h, and never longer than the token",
            ),
            to("restrictedClaims", "", "`restricted_claims`"),
            to("issuer", "wso2.org/products/am", "`issuer`"),
            to("audience", "http://org.wso2.apimgt/gateway", "`audience`"),
            lost(
                "generatorImpl",
                "org.wso2.micro.gateway.jwt.generator.MGWJWTGeneratorImpl",
                "Java classes are not loaded",
            ),
        ],
    },
    Group {
        table: "jwtGeneratorConfig.claimRetrieval",
        keys: &[lost("retrieverImpl", "", USER_CLAIMS)],
    },
    Group {
        table: "jwtGeneratorConfig.claimRetrieval.configuration",
        keys: &[lost("*", "", USER_CLAIMS)],
    },
    Group {
        table: "jwtGeneratorConfig.jwtGeneratorCaching",
        keys: &[
            lost("tokenCacheEnable", "true", OWN_JWT),
            idle("tokenCacheExpiryTime", "900000", OWN_JWT),
            idle("tokenCacheCapacity", "10000", OWN_JWT),
            idle("tokenCacheEvictionFactor", "0.25", OWN_JWT),
        ],
    },
];
