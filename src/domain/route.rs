//! One entry of the routing table.

use http::HeaderName;

use super::{Access, Action, Forward, HostPattern, Methods, PathPattern};

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
    pub action: Action,
    /// Header to claim: what the upstream is told about the caller.
    pub identity_headers: Box<[(HeaderName, Box<str>)]>,
    /// Whether the caller's token goes on to the upstream.
    pub forward_token: bool,
}

impl Route {
    /// How its requests go on; `None` when the gateway answers them itself.
    pub fn forward(&self) -> Option<&Forward> {
        match &self.action {
            Action::Forward(forward) => Some(forward),
            Action::Redirect(_) | Action::Respond(_) => None,
        }
    }
}
