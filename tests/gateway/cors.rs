//! Calls from web pages: preflights, and who may read answers.

use portcullis::demo::Reply;

use crate::support::{Answer, Harness, RawServer};

const APP: &str = "https://app.example.com";

fn harness() -> Harness {
    let harness = Harness::with(
        r#"
        [[route]]
        path = "/orders/*"
        methods = ["GET"]
        scopes = ["orders.read"]
        upstream = "http://{upstream}"
        [route.cors]
        origins = ["https://app.example.com", "https://*.preview.example.com"]
        headers = ["Authorization", "X-Own"]
        expose_headers = ["Location", "X-Total"]
        credentials = true
        max_age = "1h"

        [[route]]
        path = "/orders/*"
        methods = ["POST"]
        scopes = ["orders.write"]
        upstream = "http://{upstream}"

        [[route]]
        path = "/open/*"
        public = true
        upstream = "http://{upstream}"
        cors = { origins = ["*"], headers = ["*"], private_network = true }

        [[route]]
        path = "/plain/*"
        public = true
        upstream = "http://{upstream}"
        "#,
    );
    let good = Reply::active("shop", "orders.read");
    harness.key_manager.set("good", good);
    harness
}

fn preflight(harness: &Harness, path: &str, origin: &str, method: &str, more: &str) -> Answer {
    harness.send(&format!(
        "OPTIONS {path} HTTP/1.1\r\nHost: api.example\r\nOrigin: {origin}\r\n\
         Access-Control-Request-Method: {method}\r\n{more}\r\n"
    ))
}

#[test]
fn a_preflight_is_answered_without_a_token() {
    let harness = harness();
    let asked = "Access-Control-Request-Headers: authorization\r\n";
    for origin in [APP, "https://pr-7.preview.example.com"] {
        let answer = preflight(&harness, "/orders/1", origin, "GET", asked);
        assert_eq!(answer.status, 204);
        for (name, value) in [
            ("access-control-allow-origin", Some(origin)),
            ("access-control-allow-methods", Some("GET, HEAD")),
            ("access-control-allow-headers", Some("Authorization, X-Own")),
            ("access-control-allow-credentials", Some("true")),
            ("access-control-max-age", Some("3600")),
            ("access-control-allow-private-network", None),
            ("access-control-expose-headers", None),
            ("content-length", None),
        ] {
            assert_eq!(answer.header(name), value, "{name}");
        }
        let vary = answer.all("vary").join(", ");
        for name in ["origin", "access-control-request-method"] {
            assert!(vary.contains(name), "{vary}");
        }
    }
    assert_eq!(harness.echo.requests(), 0);
    assert_eq!(harness.key_manager.introspections(), 0);
    let line = &harness.log(2)[0];
    assert_eq!(line["portcullis.reason"], "preflight", "{line}");
}

#[test]
fn a_preflight_of_another_origin_is_refused() {
    let harness = harness();
    for origin in [
        "https://evil.example.org",
        "http://app.example.com",
        "https://app.example.com:8443",
        "https://preview.example.com",
        "null",
        "",
    ] {
        let answer = preflight(&harness, "/orders/1", origin, "GET", "");
        assert_eq!(
            answer.refusal(),
            (403, "origin_not_allowed".to_owned()),
            "{origin}"
        );
        assert_eq!(answer.header("access-control-allow-origin"), None);
        assert_eq!(answer.header("access-control-allow-methods"), None);
        assert!(answer.all("vary").join(",").contains("origin"));
    }
    assert_eq!(harness.echo.requests(), 0);
}

#[test]
fn everybody_may_where_the_route_says_so() {
    let harness = harness();
    let asked = "Access-Control-Request-Headers: authorization,x-anything\r\n\
                 Access-Control-Request-Private-Network: true\r\n";
    let answer = preflight(
        &harness,
        "/open/1",
        "https://evil.example.org",
        "PUT",
        asked,
    );
    assert_eq!(answer.status, 204);
    for (name, value) in [
        ("access-control-allow-origin", Some("*")),
        (
            "access-control-allow-headers",
            Some("authorization,x-anything"),
        ),
        ("access-control-allow-private-network", Some("true")),
        ("access-control-allow-credentials", None),
    ] {
        assert_eq!(answer.header(name), value, "{name}");
    }
    let answer = preflight(&harness, "/open/1", "null", "PUT", "");
    assert_eq!(answer.header("access-control-allow-private-network"), None);
    assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
}

#[test]
fn what_is_no_preflight_goes_the_usual_way() {
    let harness = harness();
    // A route without CORS, for this method or at all; no origin; no method.
    let other_route = preflight(&harness, "/orders/1", APP, "POST", "");
    assert_eq!(other_route.refusal().0, 405);
    let answer = preflight(&harness, "/plain/1", APP, "GET", "");
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("access-control-allow-origin"), None);
    let no_route = preflight(&harness, "/nowhere", APP, "GET", "");
    assert_eq!(no_route.refusal().0, 404);
    let options = "OPTIONS /open/1 HTTP/1.1\r\nHost: api.example\r\n";
    for more in [
        "\r\n",
        "Origin: https://app.example.com\r\n\r\n",
        "Access-Control-Request-Method: GET\r\n\r\n",
    ] {
        assert_eq!(harness.send(&format!("{options}{more}")).status, 200);
    }
    assert_eq!(harness.echo.requests(), 4);
}

#[test]
fn answers_and_refusals_can_be_read_by_the_page() {
    let harness = harness();
    let get = |token: &str, origin: &str| {
        harness.get_with(
            "/orders/1",
            &format!("Authorization: Bearer {token}\r\nOrigin: {origin}\r\n"),
        )
    };
    harness
        .key_manager
        .set("poor", Reply::active("shop", "nothing"));
    let trouble = Reply::Raw {
        status: 500,
        content_type: "text/plain",
        body: Vec::new(),
    };
    harness.key_manager.set("trouble", trouble);
    for (token, status) in [("good", 200), ("bad", 401), ("poor", 403), ("trouble", 503)] {
        let answer = get(token, APP);
        assert_eq!(answer.status, status);
        assert_eq!(answer.header("access-control-allow-origin"), Some(APP));
        assert_eq!(
            answer.header("access-control-allow-credentials"),
            Some("true")
        );
        assert_eq!(
            answer.header("access-control-expose-headers"),
            Some("Location, X-Total")
        );
        assert_eq!(answer.all("vary"), ["origin"]);

        let answer = get(token, "https://evil.example.org");
        assert_eq!(answer.status, status);
        assert_eq!(answer.header("access-control-allow-origin"), None);
        assert_eq!(answer.header("access-control-allow-credentials"), None);
        assert_eq!(answer.all("vary"), ["origin"]);
    }
    let answer = harness.get("/orders/1", "good");
    assert_eq!(answer.header("access-control-allow-origin"), None);
    assert_eq!(answer.all("vary"), ["origin"]);
}

#[test]
fn what_the_upstream_says_of_origins_is_replaced() {
    let server = RawServer::answering(
        b"HTTP/1.1 200 OK\r\nAccess-Control-Allow-Origin: *\r\nAccess-Control-Allow-Methods: *\r\n\
          Access-Control-Allow-Credentials: true\r\nVary: Accept\r\nContent-Length: 2\r\n\r\nok",
        false,
    );
    let routes = |cors: &str| {
        format!(
            "[[route]]\npath = \"/*\"\npublic = true\nupstream = \"http://{}\"\n{cors}",
            server.address
        )
    };
    let harness = Harness::with(&routes(
        "cors = { origins = [\"https://app.example.com\"] }",
    ));
    let answer = harness.get_with("/x", "Origin: https://app.example.com\r\n");
    assert_eq!(answer.all("access-control-allow-origin"), [APP]);
    assert_eq!(answer.header("access-control-allow-credentials"), None);
    assert_eq!(answer.header("access-control-allow-methods"), None);
    assert_eq!(answer.all("vary"), ["Accept", "origin"]);
    let answer = harness.get_with("/x", "Origin: https://evil.example.org\r\n");
    assert_eq!(answer.header("access-control-allow-origin"), None);
    drop(harness);

    let harness = Harness::with(&routes(""));
    let answer = harness.get_with("/x", "Origin: https://app.example.com\r\n");
    assert_eq!(answer.all("access-control-allow-origin"), ["*"]);
}

#[test]
fn an_upstream_that_is_down_is_told_to_the_page() {
    let closed = crate::support::free_port();
    let harness = Harness::with(&format!(
        "[[route]]\npath = \"/*\"\npublic = true\nupstream = \"http://127.0.0.1:{closed}\"\n\
         cors = {{ origins = [\"https://app.example.com\"] }}\n"
    ));
    let answer = harness.get_with("/x", "Origin: https://app.example.com\r\n");
    assert_eq!(answer.refusal().0, 502);
    assert_eq!(answer.header("access-control-allow-origin"), Some(APP));
}
