//! One entry of the routing table.

use http::HeaderName;

use super::{Access, HostPattern, Methods, PathPattern};

/// One entry of the routing table: what it matches, what it asks for, where it sends.
#[derive(Clone, Debug)]
pub struct Route {
    /// Unique; the `route` label of metrics and logs.
    pub name: Box<str>,
    /// `None`: any host.
    pub host: Option<HostPattern>,
    pub path: PathPattern,
    pub methods: Methods,
    pub access: Access,
    pub upstream: UpstreamId,
    /// Header to claim: what the upstream is told about the caller.
    pub identity_headers: Box<[(HeaderName, Box<str>)]>,
    /// Whether the caller's token goes on to the upstream.
    pub forward_token: bool,
}

/// Position of an upstream in the settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct UpstreamId(pub usize);
