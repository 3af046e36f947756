//! The key manager, tokens, subscriptions, revocation.

use super::{Group, idle, lost, to};

const GRANT: &str = "the same key, for the grant that wins";
const CACHE_SHARE: &str = "the cache lets go of what is used least, one entry after the other";
const JWT: &str = "tokens that are JWTs are asked about like all others";
const NOT_YET: &str = "see [configuration](configuration.md)";
const API_KEYS: &str = "the gateway issues no API keys and takes none";
const BACKEND_JWT: &str = "`identity_headers` of a route tell the upstream what the token says";
const USER_CLAIMS: &str = "claims come from the token and from introspection";

pub const GROUPS: &[Group] = &[
    Group {
        table: "keyManager",
        keys: &[
            to("serverUrl", "https://localhost:9443", "`serverUrl`"),
            to("tokenContext", "oauth2", "`tokenContext`"),
            lost("enableIntrospectForFailedJWT", "false", JWT),
            lost(
                "enableLegacyMode",
                "false",
                "the key manager is asked by introspection, not by SOAP",
            ),
            lost("remoteUserClaimRetrievalEnabled", "false", USER_CLAIMS),
            idle(
                "issuer",
                "https://localhost:9443/oauth2/token",
                "only a backend JWT would have it",
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
            lost(
                "authorizationHeader",
                "Authorization",
                "tokens come in `Authorization`",
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
        keys: &[lost("validateSubscriptions", "false", NOT_YET)],
    },
    Group {
        table: "apim.eventHub",
        keys: &[
            lost("enable", "false", NOT_YET),
            lost("serviceUrl", "https://localhost:9443", NOT_YET),
            lost("internalDataContext", "/internal/data/v1/", NOT_YET),
            lost("username", "admin", NOT_YET),
            lost("password", "admin", NOT_YET),
            lost(
                "eventListeningEndpoints",
                "amqp://admin:admin@carbon/carbon?brokerlist='tcp://localhost:5672'",
                NOT_YET,
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
            lost("issuer", "https://localhost:9443/oauth2/token", JWT),
            lost("audience", "", JWT),
            lost("certificateAlias", "wso2apim310", JWT),
            lost("jwksURL", "", JWT),
            lost("validateSubscription", "false", JWT),
            lost("consumerKeyClaim", "aud", JWT),
            lost("claimMapperClassName", "", "Java classes are not loaded"),
            lost("remoteUserClaimRetrievalEnabled", "false", USER_CLAIMS),
        ],
    },
    Group {
        table: "jwtTokenConfig[].claims[]",
        keys: &[lost("remoteClaim", "", JWT), lost("localClaim", "", JWT)],
    },
    Group {
        table: "tokenRevocationConfig.realtime",
        keys: &[
            lost("enableRealtimeMessageRetrieval", "false", NOT_YET),
            lost("jmsConnectionTopic", "tokenRevocation", NOT_YET),
            idle(
                "jmsConnectioninitialContextFactory",
                "wso2mbInitialContextFactory",
                "there is no JMS",
            ),
            lost(
                "jmsConnectionProviderUrl",
                "amqp://admin:admin@carbon/carbon?brokerlist='tcp://localhost:5672'",
                NOT_YET,
            ),
            lost("jmsConnectionUsername", "", NOT_YET),
            lost("jmsConnectionPassword", "", NOT_YET),
        ],
    },
    Group {
        table: "tokenRevocationConfig.persistent",
        keys: &[
            lost("enablePersistentStorageRetrieval", "false", NOT_YET),
            lost("type", "default", NOT_YET),
            lost(
                "endpointURL",
                "https://localhost:9443/internal/data/v1",
                NOT_YET,
            ),
            lost("username", "admin", NOT_YET),
            lost("password", "admin", NOT_YET),
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
        keys: &[lost("header", "X-JWT-Assertion", BACKEND_JWT)],
    },
    Group {
        table: "jwtGeneratorConfig",
        keys: &[
            lost("jwtGeneratorEnabled", "false", BACKEND_JWT),
            lost("claimDialect", "http://wso2.org/claims", BACKEND_JWT),
            lost("signingAlgorithm", "SHA256withRSA", BACKEND_JWT),
            lost("certificateAlias", "ballerina", BACKEND_JWT),
            lost("privateKeyAlias", "ballerina", BACKEND_JWT),
            lost("tokenExpiry", "900000", BACKEND_JWT),
            lost("restrictedClaims", "", BACKEND_JWT),
            lost("issuer", "wso2.org/products/am", BACKEND_JWT),
            lost("audience", "http://org.wso2.apimgt/gateway", BACKEND_JWT),
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
            lost("tokenCacheEnable", "true", BACKEND_JWT),
            lost("tokenCacheExpiryTime", "900000", BACKEND_JWT),
            lost("tokenCacheCapacity", "10000", BACKEND_JWT),
            lost("tokenCacheEvictionFactor", "0.25", BACKEND_JWT),
        ],
    },
];
