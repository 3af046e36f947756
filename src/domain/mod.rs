//! The words of the product, and the rules between them.
//!
//! Pure: no I/O, no clock, no async, no Pingora. Time comes in as an argument. What is here can
//! therefore fail only for reasons that stand in its input, and can be tested without a server.
//!
//! | word | meaning |
//! |---|---|
//! | [`AccessToken`] | what the caller sent, borrowed from the request |
//! | [`TokenKey`] | its keyed digest, the only form that is stored or logged |
//! | [`Verdict`], [`Grant`] | what the key manager said of it (RFC 7662), or its issuer signed |
//! | [`Jwt`], [`VerifyingKey`] | a token that says so itself, and what proves it |
//! | [`Access`], [`Policy`] | what a route asks for |
//! | [`Permit`] | proof that it was met |
//! | [`Denial`] | why it was not |
//! | [`Fault`] | how WSO2 API Microgateway said it |
//! | [`Reason`] | one word for the outcome of a request, from a closed list |
//! | [`Route`], [`RouteTable`] | which requests are whose |
//! | [`Action`] | where they go, or what they are answered |
//! | [`ApiIdentity`], [`Subscriber`] | which API a route is of, and who has subscribed to it |
//! | [`Tier`] | how often something may be used |
//! | [`CachePolicy`] | how the answers of a route may be kept |

mod action;
mod asked_about;
mod backend_jwt;
mod broker;
mod certificate_names;
mod claims;
mod coding;
mod cors;
mod denial;
mod fault;
mod grant;
mod grpc;
mod header_match;
mod header_rules;
mod host_pattern;
mod jwt;
mod members;
mod method;
mod network;
mod path;
mod path_pattern;
mod peer;
mod policy;
mod progress;
mod rate;
mod reason;
mod response_cache;
mod rewrite;
mod route;
mod route_table;
mod secret;
mod signing_key;
mod subscription;
mod tier;
mod token;
mod vouched_by;

pub use action::{Action, Destination, Forward, Redirect, StaticAnswer, UpstreamId};
pub use asked_about::{AskedAbout, TokenPattern};
pub use backend_jwt::{About, BackendJwt};
pub use broker::{Broker, BrokerAccount, BrokerServer};
pub use certificate_names::CertificateNames;
pub use claims::{Claims, MAX_CLAIM_BYTES};
pub use coding::{Coding, may_be_coded};
pub use cors::{AskedHeaders, Cors, OriginPattern, Origins};
pub use denial::{Challenge, Denial};
pub use fault::{ChallengeStyle, ErrorFormat, Fault, FaultStyle, OutageStyle, WSO2_CHALLENGE};
pub use grant::{BadAnswer, Grant, Verdict};
pub use grpc::{Grpc, grpc_status, grpc_timeout};
pub use header_match::HeaderMatch;
pub use header_rules::{HeaderChanges, HeaderRules, Way, is_untouchable};
pub use host_pattern::HostPattern;
pub use jwt::{Expected, Jwt, JwtAlgorithm, JwtFault, KeySet, NotAKeySet, VerifyingKey};
pub use method::{KnownMethod, Methods};
pub use network::{Network, any_contains};
pub use path::{MalformedPath, RequestPath};
pub use path_pattern::PathPattern;
pub use peer::{Door, Peer, TlsPeer};
pub use policy::{Access, Permit, Policy, ScopeRule, ScopeSets};
pub use progress::{Load, Passage, Progress};
pub use rate::{By, Rate, RateLimit, RateLimitId, SizeLimits};
pub use reason::{Decision, Reason};
pub use response_cache::{CachePolicy, CacheScope};
pub use rewrite::Rewrite;
pub use route::{Route, Validation};
pub use route_table::{RouteConflict, RouteTable, Routed};
pub use secret::Secret;
pub use signing_key::SigningKey;
pub use subscription::{
    Api, ApiIdentity, Application, Change, Edit, KeyMapping, KeyType, Millis, Missing, Outcome,
    PolicyKind, Quota, Row, RowId, RowKind, Subscribed, Subscriber, Subscription,
    SubscriptionState, TierPolicy,
};
pub use tier::{RouteTiers, Tier, TierBook, TierKind, unit_of_time};
pub use token::{AccessToken, MAX_TOKEN_BYTES, TokenDigester, TokenKey, extract, extract_from};
pub use vouched_by::VouchedBy;

/// Seconds since 1970-01-01T00:00:00Z, as in RFC 7519 `NumericDate` and the `exp`, `nbf` and `iat`
/// of RFC 7662 §2.2.
pub type UnixSeconds = i64;
