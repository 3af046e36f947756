//! Header rules of the operator, for requests and answers.

use crate::support::{Harness, RawServer};

#[test]
fn requests_are_changed_for_the_upstream() {
    let harness = Harness::with(
        r#"
        [headers.request]
        set = { "X-Edge" = "all", "X-Both" = "all" }
        remove = ["X-Internal"]

        [[route]]
        path = "/a/*"
        public = true
        upstream = "http://{upstream}"
        [route.headers.request]
        set = { "X-Both" = "route" }
        add = { "Accept" = "text/plain" }
        remove = ["Accept-Language"]

        [[route]]
        path = "/b/*"
        public = true
        upstream = "http://{upstream}"
        "#,
    );
    let sent = "X-Edge: mine\r\nX-Both: mine\r\nX-Internal: 1\r\nx-internal: 2\r\n\
                Accept: text/html\r\nAccept-Language: de\r\n";
    let echoed = harness.get_with("/a/1", sent).echoed();
    assert_eq!(echoed.header("x-edge"), ["all"]);
    assert_eq!(echoed.header("x-both"), ["route"]);
    assert_eq!(echoed.header("accept"), ["text/html", "text/plain"]);
    assert!(echoed.header("x-internal").is_empty());
    assert!(echoed.header("accept-language").is_empty());

    let echoed = harness.get_with("/b/1", sent).echoed();
    assert_eq!(echoed.header("x-both"), ["all"]);
    assert_eq!(echoed.header("accept-language"), ["de"]);
    assert!(echoed.header("x-internal").is_empty());
}

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nServer: upstream/1.2\r\nX-Powered-By: x\r\n\
    X-Frame-Options: SAMEORIGIN\r\nCache-Control: max-age=5\r\nContent-Length: 2\r\n\r\nok";

#[test]
fn answers_are_changed_for_the_caller() {
    let server = RawServer::answering(ANSWER, false);
    let harness = Harness::with(&format!(
        r#"
        [headers]
        security = true
        [headers.response]
        remove = ["Server", "X-Powered-By"]

        [[route]]
        path = "/a/*"
        public = true
        upstream = "http://{address}"
        [route.headers.response]
        set = {{ "Cache-Control" = "public, max-age=60" }}
        add = {{ "Link" = "</docs>; rel=help" }}

        [[route]]
        path = "/b/*"
        upstream = "http://{address}"
        [route.headers.response]
        set = {{ "Cache-Control" = "public, max-age=60" }}

        [[route]]
        path = "/c/*"
        public = true
        upstream = "http://{address}"
        headers = {{ security = false }}
        "#,
        address = server.address,
    ));
    let answer = harness.get_with("/a/1", "");
    for (name, value) in [
        ("server", None),
        ("x-powered-by", None),
        ("cache-control", Some("public, max-age=60")),
        ("link", Some("</docs>; rel=help")),
        ("x-content-type-options", Some("nosniff")),
        ("referrer-policy", Some("no-referrer")),
        ("content-security-policy", Some("frame-ancestors 'none'")),
        // The upstream's own word counts.
        ("x-frame-options", Some("SAMEORIGIN")),
        // Means nothing on a connection in clear.
        ("strict-transport-security", None),
    ] {
        assert_eq!(answer.header(name), value, "{name}");
    }

    // A refusal is the gateway's own: the rules for the upstream's answers do not make it public.
    let answer = harness.get_with("/b/1", "");
    assert_eq!(answer.refusal().0, 401);
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
    assert_eq!(answer.header("server"), None);

    let answer = harness.get_with("/c/1", "");
    assert_eq!(answer.header("x-content-type-options"), None);
    assert_eq!(answer.header("server"), None);
}

#[test]
fn without_rules_answers_stay_as_they_are() {
    let server = RawServer::answering(ANSWER, false);
    let harness = Harness::with(&format!(
        "[[route]]\npath = \"/*\"\npublic = true\nupstream = \"http://{}\"\n",
        server.address
    ));
    let answer = harness.get_with("/x", "");
    assert_eq!(answer.header("server"), Some("upstream/1.2"));
    assert_eq!(answer.header("x-powered-by"), Some("x"));
    assert_eq!(answer.header("x-content-type-options"), None);
}
