//! What the operator meant: checked, typed, plain data. The program reads nothing else.

use std::{fmt, net::SocketAddr, path::PathBuf, time::Duration};

use http::{HeaderName, HeaderValue, Uri};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::{
    Listen, ResponseCacheSettings, RevocationSettings, subscriptions::SubscriptionSettings,
    upstream::UpstreamSettings,
};
use crate::domain::{
    AskedAbout, BackendJwt, ErrorFormat, Expected, RateLimit, RateLimitId, RouteTable, Secret,
    SigningKey, SizeLimits, TierBook, VerifyingKey,
};

/// A whole configuration.
pub struct Settings {
    pub listen: Listen,
    /// `[keyManager]`, then those of `[keyManagers]`.
    pub key_managers: Vec<KeyManagerSettings>,
    pub jwt_issuers: Vec<JwtIssuerSettings>,
    /// `None`: upstreams get none.
    pub backend_jwt: Option<BackendJwt>,
    pub token_cache: TokenCacheSettings,
    pub subscriptions: SubscriptionSettings,
    /// `None`: nobody tells.
    pub revocation: Option<RevocationSettings>,
    pub response_cache: ResponseCacheSettings,
    pub limits: LimitSettings,
    pub errors: ErrorFormat,
    /// The APIs that routes were made for, in the order of the file.
    pub apis: Vec<ApiSettings>,
    pub routes: RouteTable,
    /// In the order of [`crate::domain::UpstreamId`].
    pub upstreams: Vec<UpstreamSettings>,
    pub admin: AdminSettings,
    pub log: LogSettings,
    pub tracing: TracingSettings,
    pub process: super::ProcessSettings,
}

/// `[keyManager]` or `[keyManagers.NAME]`: whom to ask about tokens, and how. A reload that leaves it
/// equal keeps the connections and the token of our own.
#[derive(Clone, Debug, PartialEq)]
pub struct KeyManagerSettings {
    /// Its name, or host and port: the `issuer` label of metrics.
    pub name: String,
    /// Which tokens it is asked about, on routes that do not name one.
    pub about: AskedAbout,
    pub endpoint: EndpointSettings,
    /// Whether clients must have subscribed to the API, where a route does not say; `None`: as for all.
    pub validate_subscriptions: Option<bool>,
    /// As which the source of subscriptions knows it.
    pub known_as: Option<String>,
    /// For a whole introspection, connecting included.
    pub timeout: Duration,
    /// `token_type_hint` of RFC 7662 §2.1; not sent when `None`.
    pub token_type_hint: Option<String>,
    /// Sent along in the form of every introspection request.
    pub extra_params: Vec<(String, String)>,
    /// Sent along as headers of every introspection request.
    pub extra_headers: Vec<(HeaderName, HeaderValue)>,
    pub tls: TlsSettings,
    pub credential: CredentialSettings,
}

/// Where the introspection endpoint is.
#[derive(Clone, Debug, PartialEq)]
pub enum EndpointSettings {
    At(Uri),
    /// In the metadata of this issuer (RFC 8414, OpenID Connect Discovery).
    DiscoveredFrom(Uri),
}

impl EndpointSettings {
    /// What tells this key manager from others.
    pub fn url(&self) -> &Uri {
        match self {
            Self::At(url) | Self::DiscoveredFrom(url) => url,
        }
    }
}

/// `[[jwt_issuer]]`: whose JWTs are believed by their signature. A reload that leaves it equal keeps
/// its keys.
#[derive(Clone, Debug, PartialEq)]
pub struct JwtIssuerSettings {
    /// `iss`, letter by letter.
    pub issuer: String,
    pub keys: KeySource,
    pub expected: Expected,
    pub introspect: Introspection,
    /// Whether its tokens' clients must have subscribed to the API, where a route does not say; `None`: as
    /// for opaque tokens.
    pub validate_subscriptions: Option<bool>,
    /// As which key manager the source of subscriptions knows it.
    pub known_as: Option<String>,
    /// How often the keys are asked for, if they come from somewhere else.
    pub refresh: Duration,
    /// For the way there.
    pub tls: TlsSettings,
}

/// When the key manager is asked about a JWT as well.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Introspection {
    #[default]
    Never,
    /// Always; it can only say no.
    Also,
    /// When the JWT by itself is no good; what it says then counts.
    Failed,
}

/// Where the keys of an issuer are.
#[derive(Clone, Debug, PartialEq)]
pub enum KeySource {
    Fixed(Vec<VerifyingKey>),
    /// A JWK Set (RFC 7517).
    At(Uri),
    /// In the metadata of this issuer (RFC 8414, OpenID Connect Discovery).
    DiscoveredFrom(Uri),
}

/// `[keymanager.tls]`: for all connections to the key manager.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TlsSettings {
    /// Authorities to trust instead of the machine's.
    pub authorities: Option<Vec<CertificateDer<'static>>>,
    /// Certificate chain and key that the gateway shows (RFC 8705).
    pub client: Option<ClientCertificate>,
}

/// A certificate chain with its private key. Prints nothing of the key.
#[derive(PartialEq)]
pub struct ClientCertificate {
    pub chain: Vec<CertificateDer<'static>>,
    pub key: PrivateKeyDer<'static>,
}

impl Clone for ClientCertificate {
    fn clone(&self) -> Self {
        Self {
            chain: self.chain.clone(),
            key: self.key.clone_key(),
        }
    }
}

impl fmt::Debug for ClientCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ClientCertificate({} certificates)", self.chain.len())
    }
}

/// `[keymanager.security.…]`: how the gateway proves itself to the key manager.
#[derive(Clone, Debug, PartialEq)]
pub enum CredentialSettings {
    None,
    /// None, on purpose.
    NoneNeeded,
    Basic {
        username: String,
        password: Secret,
        encoding: CredentialEncoding,
    },
    /// `client_secret_post` (RFC 6749 §2.3.1).
    SecretPost {
        client_id: String,
        client_secret: Secret,
    },
    PrivateKeyJwt(PrivateKeyJwtSettings),
    /// The certificate of `[keymanager.tls]` is the proof (RFC 8705 §2).
    TlsClientAuth {
        client_id: String,
    },
    OAuth2(Box<OAuth2Settings>),
}

/// `private_key_jwt` (RFC 7523 §2.2).
#[derive(Clone, Debug, PartialEq)]
pub struct PrivateKeyJwtSettings {
    pub client_id: String,
    /// Its kind decides the algorithm.
    pub key: SigningKey,
    /// `kid` of the JWT's header.
    pub key_id: Option<String>,
    /// `aud`; the endpoint's own address when `None`.
    pub audience: Option<String>,
}

/// `[keymanager.security.oauth2]`: an access token of the gateway's own.
#[derive(Clone, Debug, PartialEq)]
pub struct OAuth2Settings {
    /// Found by discovery when `None`.
    pub token_url: Option<Uri>,
    pub bearer: CredentialBearer,
    pub encoding: CredentialEncoding,
    pub grant: GrantSettings,
    pub refresh: Option<RefreshSettings>,
    /// Sent along in the form of every token request.
    pub extra_params: Vec<(String, String)>,
    /// Life of a token whose answer does not tell.
    pub default_life: Duration,
    /// Where a rotated refresh token is kept over a restart.
    pub state_file: Option<PathBuf>,
}

/// `credentialBearer`: how client id and secret go to the token endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CredentialBearer {
    AuthHeader,
    PostBody,
    None,
}

/// How the gateway comes by its first token.
#[derive(Clone, Debug, PartialEq)]
pub enum GrantSettings {
    ClientCredentials(ClientSettings),
    Password {
        client: ClientSettings,
        username: String,
        password: Secret,
    },
    /// It is given.
    Direct(Secret),
}

/// A client of the token endpoint.
#[derive(Clone, Debug, PartialEq)]
pub struct ClientSettings {
    pub id: String,
    pub secret: Secret,
    /// Separated by spaces; empty: none is asked for.
    pub scope: String,
}

/// `[keymanager.security.oauth2.refresh]`.
#[derive(Clone, Debug, PartialEq)]
pub struct RefreshSettings {
    /// The token endpoint when `None`.
    pub url: Option<Uri>,
    /// The grant's own client when `None`.
    pub client: Option<ClientSettings>,
    /// Separated by spaces; empty: none is asked for.
    pub scope: String,
    /// The first one, where the grant brings none.
    pub token: Option<Secret>,
}

/// How name and password go into a Basic header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CredentialEncoding {
    /// Form-encoded first, as RFC 6749 §2.3.1 has it for a client's id and secret.
    Form,
    /// As they are (RFC 7617), like the original did.
    Raw,
}

/// `[token_cache]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenCacheSettings {
    /// How long an active answer may be used; never past `exp`. Also how long a revoked token may
    /// live on. Zero: nothing is kept.
    pub max_ttl: Duration,
    /// How long an inactive answer is remembered.
    pub inactive_ttl: Duration,
    /// How long after its end an active answer may be used where the key manager cannot be asked; never past
    /// `exp`. In whole seconds; zero: not at all.
    pub stale_if_error: Duration,
    pub max_entries: usize,
    pub max_bytes: usize,
}

impl Default for TokenCacheSettings {
    fn default() -> Self {
        Self {
            max_ttl: Duration::from_secs(60),
            inactive_ttl: Duration::from_secs(10),
            stale_if_error: Duration::ZERO,
            max_entries: 100_000,
            max_bytes: 128 << 20,
        }
    }
}

/// `[admin]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdminSettings {
    pub listen: SocketAddr,
    /// Asked for as a bearer token when set; needed off loopback.
    pub token: Option<Secret>,
}

/// `[log]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogSettings {
    pub level: LogLevel,
    pub access: LogFormat,
}

/// How much of its own doings the gateway tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogLevel {
    Error,
    Warn,
    Info,
    Debug,
}

/// The form of access-log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// Text on a terminal, JSON otherwise.
    Auto,
    Text,
    Json,
    /// As Apache and nginx write theirs.
    Combined,
    Off,
}

/// `[limits]`, `[rate_limits.NAME]` and `[tiers.NAME]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LimitSettings {
    pub sizes: SizeLimits,
    /// In the order of [`RateLimitId`].
    pub rates: Vec<RateLimit>,
    /// Those of every route.
    pub everywhere: Box<[RateLimitId]>,
    /// For tokens that the key manager must be asked about.
    pub token_misses: Option<RateLimitId>,
    pub tiers: Option<TierSettings>,
    /// Tiers of APIs, routes, subscriptions and applications.
    pub book: TierBook,
}

/// Limits of clients by what their tokens say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TierSettings {
    /// The claim that names the tier.
    pub claim: Option<Box<str>>,
    pub by_name: Box<[(Box<str>, RateLimitId)]>,
    /// For tokens that name none, or one that is not there.
    pub default: Option<RateLimitId>,
}

/// `[tracing]`.
#[derive(Clone, Debug, PartialEq)]
pub struct TracingSettings {
    /// Where spans are posted to; `None`: nowhere.
    pub endpoint: Option<Uri>,
    /// Part of the traces that begin at the gateway which is kept: 0 to 1.
    pub sample: f64,
    pub service_name: String,
    /// Sent along with every export.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// Whether clients are told where the time went.
    pub server_timing: bool,
}

impl Default for TracingSettings {
    fn default() -> Self {
        Self {
            endpoint: None,
            sample: 0.1,
            service_name: "portcullis".to_owned(),
            headers: Vec::new(),
            server_timing: false,
        }
    }
}

/// `[[api]]`: what a description of an API became.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiSettings {
    /// What the names of its routes begin with.
    pub name: String,
    /// The document, as it is named in the configuration.
    pub file: String,
    pub title: String,
    pub version: String,
    /// Where callers find it; empty for the root.
    pub base_path: String,
    /// Routes that were made.
    pub operations: usize,
    /// Of them, those that ask for no token.
    pub public: usize,
}
