//! Production and sandbox keys choose the upstream.

use portcullis::demo::Reply;

use crate::support::{Answer, Harness, RawServer};

/// An upstream that says who it is.
fn server(answer: &'static [u8]) -> RawServer {
    RawServer::answering(answer, false)
}

const LIVE: &[u8] =
    b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 4\r\n\r\nlive";
fn body(answer: &Answer) -> (u16, &str) {
    (answer.status, answer.body.as_str())
}

#[test]
fn without_subscriptions_every_key_is_one_of_production() {
    let live = server(LIVE);
    let harness = Harness::with(&format!(
        "[[route]]\npath = \"/live\"\nupstream = \"http://{0}\"\nsandbox_upstream = \"http://127.0.0.1:9\"\n\
         [[route]]\npath = \"/sandbox\"\nsandbox_upstream = \"http://{0}\"\n",
        live.address,
    ));
    harness.key_manager.set("a", Reply::active("shop", ""));
    assert_eq!(body(&harness.get("/live", "a")), (200, "live"));
    let refused = harness.get("/sandbox", "a");
    assert_eq!(refused.refusal().1, "no_production_endpoint");
}
