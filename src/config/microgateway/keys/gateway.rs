//! Listeners, TLS, limits, clients, the process.

use super::{Group, idle, lost, to};

const TLS: &str = "TLS 1.3 and 1.2 with forward secrecy and AEAD only, at all connections";
const CLIENT_CERTIFICATES: &str =
    "a certificate is verified in the handshake and is in no request a proof of its own";
const PROXY: &str = "the gateway connects directly and reads no proxy settings";
const POOL: &str =
    "`max_requests`, `max_pending` and `timeouts` of `[upstreams.NAME]` bound each upstream";
const RESPONSES: &str = "answers of upstreams are passed on as they come, never held in memory";
const SERVER_HEADER: &str =
    "headers of requests and answers go through; `[headers]` sets and removes them";
const ACCOUNTS: &str =
    "the gateway has no users: `admin.token_file` guards what is not for everybody";

pub const GROUPS: &[Group] = &[
    Group {
        table: "listenerConfig",
        keys: &[
            to("host", "0.0.0.0", "`listen.http` and `listen.https`"),
            to("httpPort", "9090", "`listen.http`"),
            to("httpsPort", "9095", "`listen.https`"),
            to(
                "tokenListenerPort",
                "9096",
                "`listen.https`; with TLS, as it was, and everything else is served there too",
            ),
            to(
                "keyStorePath",
                "${mgw-runtime.home}/runtime/bre/security/ballerinaKeystore.p12",
                "`keystore_file` in `[[listen.tls]]`",
            ),
            to(
                "keyStorePassword",
                "ballerina",
                "`keystore_password` in `[[listen.tls]]`",
            ),
            to(
                "trustStorePath",
                "${mgw-runtime.home}/runtime/bre/security/ballerinaTruststore.p12",
                "`trustStoreFile` in `[keymanager.tls]`; with `[mutualSSLConfig]` also `trust_store_file` in `[listen.client_certificates]`",
            ),
            to(
                "trustStorePassword",
                "ballerina",
                "`trustStorePassword`, `trust_store_password` there",
            ),
            lost(
                "keepAlive",
                "AUTO",
                "connections are kept as HTTP says; `listen.limits.idle_timeout` ends them",
            ),
            idle(
                "maxPipelinedRequests",
                "10",
                "requests of one connection are answered one after the other",
            ),
            to("maxUriLength", "4096", "`limits.max_uri_bytes`"),
            to("maxHeaderSize", "8192", "`limits.max_header_bytes`"),
            to("maxEntityBodySize", "-1", "`limits.max_body_bytes`"),
        ],
    },
    Group {
        table: "http2",
        keys: &[to(
            "enable",
            "true",
            "`listen.h2c`; over TLS HTTP/2 is always there",
        )],
    },
    Group {
        table: "mutualSSLConfig",
        keys: &[
            lost("protocolName", "TLS", TLS),
            lost("protocolVersions", "TLSv1.2,TLSv1.1", TLS),
            lost("ciphers", "", TLS),
            to(
                "sslVerifyClient",
                "optional",
                "`mode` in `[listen.client_certificates]`",
            ),
            lost(
                "certificateHeaderName",
                "X-WSO2-CLIENT-CERTIFICATE",
                "a certificate in a header proves nothing: let the proxy in front check it",
            ),
            lost(
                "isClientCertificateValidationEnabled",
                "true",
                CLIENT_CERTIFICATES,
            ),
        ],
    },
    Group {
        table: "mutualSSLConfig.api.certificates[]",
        keys: &[
            lost("name", "", CLIENT_CERTIFICATES),
            lost("version", "", CLIENT_CERTIFICATES),
            lost("aliasList", "", CLIENT_CERTIFICATES),
        ],
    },
    Group {
        table: "httpClients",
        keys: &[
            lost(
                "verifyHostname",
                "true",
                "names in certificates are always verified; `server_name` in `[upstreams.NAME.tls]` says another name",
            ),
            lost(
                "disableSslVerification",
                "false",
                "certificates are always verified; a trust store or `ca_file` makes one's own known",
            ),
            idle("enableHttp2", "true", "`protocol` in `[upstreams.NAME]`"),
        ],
    },
    Group {
        table: "httpClients.proxy",
        keys: &[
            lost("enable", "false", PROXY),
            lost("enableInternalServices", "false", PROXY),
            lost("host", "", PROXY),
            lost("port", "0", PROXY),
            lost("username", "", PROXY),
            lost("password", "", PROXY),
        ],
    },
    Group {
        table: "httpClients.poolConfig",
        keys: &[
            lost("maxActiveConnections", "-1", POOL),
            idle("maxIdleConnections", "100", POOL),
            lost("waitTimeInMillis", "30000", POOL),
            idle("maxActiveStreamsPerConnection", "50", POOL),
        ],
    },
    Group {
        table: "httpClients.sslConfig",
        keys: &[
            lost("protocolName", "TLS", TLS),
            lost("protocolVersions", "TLSv1.2,TLSv1.1", TLS),
            lost("ciphers", "", TLS),
            to(
                "keyStorePath",
                "",
                "`keystore_file` in `[upstream_tls]`: what is shown to upstreams that ask",
            ),
            to("keyStorePassword", "ballerina", "`keystore_password` there"),
            to(
                "trustStorePath",
                "",
                "`trust_store_file` in `[upstream_tls]`; without it the machine's authorities count",
            ),
            to(
                "trustStorePassword",
                "ballerina",
                "`trust_store_password` there",
            ),
        ],
    },
    Group {
        table: "httpClients.responseLimits",
        keys: &[
            idle("maxStatusLineLength", "4096", RESPONSES),
            lost("maxHeaderSize", "8192", RESPONSES),
            lost("maxEntityBodySize", "-1", RESPONSES),
        ],
    },
    Group {
        table: "server",
        keys: &[
            to("timestampSkew", "5000", "`token.clock_skew`, 5 min at most"),
            to(
                "header",
                "ballerina",
                "`Server` in `[headers.response.set]`, for answers of upstreams; without it theirs goes through",
            ),
        ],
    },
    Group {
        table: "server.headerConf[]",
        keys: &[
            lost("headerName", "", SERVER_HEADER),
            lost("preserveHeader", "", SERVER_HEADER),
            lost("overrideValue", "", SERVER_HEADER),
        ],
    },
    Group {
        table: "b7a.users.*",
        keys: &[idle("password", "", ACCOUNTS), idle("scopes", "", ACCOUNTS)],
    },
    Group {
        table: "b7a.log",
        keys: &[to("level", "INFO", "`log.level`")],
    },
    Group {
        table: "b7a.config",
        keys: &[to(
            "secret",
            "",
            "the file with the secret of `@encrypted:{}` values; it is not deleted",
        )],
    },
    Group {
        table: "b7a.observability.metrics",
        keys: &[
            to(
                "enabled",
                "false",
                "`admin.listen`, which always has `/metrics`",
            ),
            lost(
                "reporter",
                "prometheus",
                "Prometheus's form is the only one",
            ),
            idle(
                "enableAuth",
                "true",
                "the address is that of this machine; elsewhere `admin.token_file` is needed",
            ),
        ],
    },
    Group {
        table: "b7a.observability.metrics.prometheus",
        keys: &[
            to("port", "9797", "`admin.listen`, on 127.0.0.1"),
            idle("jmx_port", "8080", "there is no JVM"),
            lost(
                "secure_port",
                "9000",
                "`admin.listen` with `admin.token_file`",
            ),
        ],
    },
    Group {
        table: "b7a.observability.tracing",
        keys: &[
            lost(
                "enabled",
                "false",
                "`[tracing]` sends spans by OTLP, which Jaeger takes",
            ),
            lost(
                "name",
                "jaeger",
                "`[tracing]` sends spans by OTLP, which Jaeger takes",
            ),
        ],
    },
    Group {
        table: "b7a.observability.tracing.jaeger.reporter",
        keys: &[lost(
            "port",
            "5775",
            "`[tracing]` sends spans by OTLP, which Jaeger takes",
        )],
    },
];
