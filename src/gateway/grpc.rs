//! How long a gRPC caller waits for its answer.

use std::time::Duration;

use http::Version;
use pingora::{http::RequestHeader, upstreams::peer::HttpPeer};

use crate::domain::grpc_timeout;

/// For the way back: the upstream itself should be the one to say that the time is over.
const MARGIN: Duration = Duration::from_millis(50);

/// An upstream that is silent for longer than the caller waits is not waited for. It gets
/// `grpc-timeout` too.
pub fn limit_wait(peer: &mut HttpPeer, request: &RequestHeader) {
    if request.version != Version::HTTP_2 {
        return;
    }
    let Some(wait) = grpc_timeout(&request.headers) else {
        return;
    };
    let wait = wait.saturating_add(MARGIN);
    let longest = &mut peer.options.read_timeout;
    *longest = Some(longest.map_or(wait, |longest| longest.min(wait)));
}
