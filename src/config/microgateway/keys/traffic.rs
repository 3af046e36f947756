//! Throttling, analytics, validation of bodies.

use super::{Group, idle, lost};

const CENTRAL: &str = "limits are counted in this gateway, without a traffic manager";
const ANALYTICS: &str = "the access log and the metrics tell who asked for what";
const SCHEMAS: &str = "bodies are not compared with schemas";

pub const GROUPS: &[Group] = &[
    Group {
        table: "throttlingConfig",
        keys: &[
            lost("enabledGlobalTMEventPublishing", "false", CENTRAL),
            lost("enableHeaderConditions", "false", CENTRAL),
            lost("enableQueryParamConditions", "false", CENTRAL),
            lost("enableJwtClaimConditions", "false", CENTRAL),
            idle(
                "jmsConnectioninitialContextFactory",
                "wso2mbInitialContextFactory",
                "there is no JMS",
            ),
            lost(
                "jmsConnectionProviderUrl",
                "amqp://admin:admin@carbon/carbon?brokerlist='tcp://localhost:5672'",
                CENTRAL,
            ),
            lost("jmsConnectionUsername", "", CENTRAL),
            lost("jmsConnectionPassword", "", CENTRAL),
            lost(
                "throttleEndpointUrl",
                "https://localhost:9443/endpoints",
                CENTRAL,
            ),
            lost("throttleEndpointbase64Header", "admin:admin", CENTRAL),
        ],
    },
    Group {
        table: "throttlingConfig.dataRetriever",
        keys: &[
            lost(
                "serverUrl",
                "https://localhost:9443/internal/data/v1",
                CENTRAL,
            ),
            lost("username", "", CENTRAL),
            lost("password", "", CENTRAL),
        ],
    },
    Group {
        table: "throttlingConfig.nodeLocal",
        keys: &[
            idle(
                "processThreadPoolCoreSize",
                "200",
                "no threads are kept for it",
            ),
            idle(
                "processThreadPoolMaximumSize",
                "1000",
                "no threads are kept for it",
            ),
            idle(
                "processThreadPoolKeepAliveTime",
                "200",
                "no threads are kept for it",
            ),
            idle(
                "cleanUpFrequency",
                "3600",
                "counters are bounded and need no cleaning",
            ),
        ],
    },
    Group {
        table: "throttlingConfig.binary",
        keys: &[
            idle("enabled", "true", CENTRAL),
            idle("username", "admin", CENTRAL),
            idle("password", "admin", CENTRAL),
        ],
    },
    Group {
        table: "throttlingConfig.binary.URLGroup[]",
        keys: &[
            idle("receiverURL", "tcp://localhost:9611", CENTRAL),
            idle("authURL", "ssl://localhost:9711", CENTRAL),
            idle("type", "", CENTRAL),
        ],
    },
    Group {
        table: "throttlingConfig.binary.publisherPool",
        keys: &[
            idle("maxIdle", "1000", CENTRAL),
            idle("initIdleCapacity", "200", CENTRAL),
        ],
    },
    Group {
        table: "throttlingConfig.binary.publisherThreadPool",
        keys: &[
            idle("corePoolSize", "200", CENTRAL),
            idle("maxPoolSize", "1000", CENTRAL),
            idle("keepAliveTime", "200", CENTRAL),
        ],
    },
    Group {
        table: "throttlingConfig.binary.agent",
        keys: &[
            idle("sslEnabledProtocols", "", CENTRAL),
            idle("ciphers", "", CENTRAL),
            idle("queueSize", "32768", CENTRAL),
            idle("batchSize", "200", CENTRAL),
            idle("corePoolSize", "1", CENTRAL),
            idle("socketTimeoutMS", "30000", CENTRAL),
            idle("maxPoolSize", "1", CENTRAL),
            idle("keepAliveTimeInPool", "20", CENTRAL),
            idle("reconnectionInterval", "30", CENTRAL),
            idle("maxTransportPoolSize", "250", CENTRAL),
            idle("maxIdleConnections", "250", CENTRAL),
            idle("evictionTimePeriod", "5500", CENTRAL),
            idle("minIdleTimeInPool", "5000", CENTRAL),
            idle("secureMaxIdleTransportPoolSize", "250", CENTRAL),
            idle("secureMaxIdleConnections", "250", CENTRAL),
            idle("secureEvictionTimePeriod", "5500", CENTRAL),
            idle("secureMinIdleTimeInPool", "5000", CENTRAL),
        ],
    },
    Group {
        table: "validationConfig",
        keys: &[
            lost("enableRequestValidation", "false", SCHEMAS),
            lost("enableResponseValidation", "false", SCHEMAS),
        ],
    },
    Group {
        table: "analytics",
        keys: &[idle("streamVersion", "3.2.0", ANALYTICS)],
    },
    Group {
        table: "analytics.fileUpload",
        keys: &[
            lost("enable", "false", ANALYTICS),
            idle("uploadingTimeSpanInMillis", "600000", ANALYTICS),
            idle("initialDelayInMillis", "5000", ANALYTICS),
            idle(
                "uploadingEndpoint",
                "https://localhost:9444/analytics/v1.0/usage/upload-file",
                ANALYTICS,
            ),
            idle("rotatingPeriod", "600000", ANALYTICS),
            idle("taskUploadFiles", "true", ANALYTICS),
            idle("username", "admin", ANALYTICS),
            idle("password", "admin", ANALYTICS),
        ],
    },
    Group {
        table: "analytics.gRPCAnalytics",
        keys: &[
            lost("enable", "false", ANALYTICS),
            idle("endpointURL", "https://localhost:9806", ANALYTICS),
            idle("reconnectTimeInMillies", "6000", ANALYTICS),
            idle("timeoutInMillis", "2147483647", ANALYTICS),
        ],
    },
    Group {
        table: "analytics.elkAnalytics",
        keys: &[lost("enable", "false", ANALYTICS)],
    },
    Group {
        table: "analytics.choreoAnalytics",
        keys: &[
            lost("enable", "false", ANALYTICS),
            idle(
                "configEndpoint",
                "https://analytics-event-auth.choreo.dev/auth/v1",
                ANALYTICS,
            ),
            idle("authToken", "", ANALYTICS),
        ],
    },
];
