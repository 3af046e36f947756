//! What the operator meant: checked, typed, plain data. The program reads nothing else.

use std::{net::SocketAddr, time::Duration};

use http::Uri;

use crate::domain::{RouteTable, Secret};

/// A whole configuration.
pub struct Settings {
    pub listen: Listen,
    /// `None` when no route asks for a token.
    pub key_manager: Option<KeyManagerSettings>,
    pub token_cache: TokenCacheSettings,
    pub routes: RouteTable,
    /// In the order of [`crate::domain::UpstreamId`].
    pub upstreams: Vec<UpstreamSettings>,
    pub admin: AdminSettings,
    pub log: LogSettings,
}

/// `[listen]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listen {
    pub http: SocketAddr,
}

/// `[keyManager]`: whom to ask about tokens, and how.
#[derive(Clone, Debug)]
pub struct KeyManagerSettings {
    /// Host and port: the `issuer` label of metrics.
    pub name: String,
    pub introspect_url: Uri,
    /// For a whole introspection, connecting included.
    pub timeout: Duration,
    /// `token_type_hint` of RFC 7662 §2.1; not sent when `None`.
    pub token_type_hint: Option<String>,
    pub credential: CredentialSettings,
}

/// `[keyManager.security.…]`: how the gateway proves itself to the key manager.
#[derive(Clone, Debug)]
pub enum CredentialSettings {
    None,
    Basic {
        username: String,
        password: Secret,
        encoding: CredentialEncoding,
    },
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
    pub max_entries: usize,
    pub max_bytes: usize,
}

impl Default for TokenCacheSettings {
    fn default() -> Self {
        Self {
            max_ttl: Duration::from_secs(60),
            inactive_ttl: Duration::from_secs(10),
            max_entries: 100_000,
            max_bytes: 128 << 20,
        }
    }
}

/// Where a route's requests go.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct UpstreamSettings {
    pub host: String,
    pub port: u16,
    pub tls: bool,
}

impl UpstreamSettings {
    /// `host:port`: the `upstream` label.
    pub fn name(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }
}

/// `[admin]`.
#[derive(Clone, Debug)]
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
    Off,
}
