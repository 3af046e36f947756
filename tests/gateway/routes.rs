//! Which route a request is for, and what becomes of it there.

use portcullis::demo::Reply;

use crate::support::{Answer, Harness};

/// The example of `docs/routes.md` whose first line is `heading`.
fn blocks_below(heading: &str) -> String {
    let page = std::fs::read_to_string("docs/routes.md").unwrap();
    let (_, section) = page.split_once(&format!("\n## {heading}\n")).unwrap();
    let section = section.split("\n## ").next().unwrap();
    let (_, block) = section.split_once("```toml\n").unwrap();
    block.split("```").next().unwrap().to_owned()
}

fn get(harness: &Harness, path: &str) -> Answer {
    harness.get_with(path, "")
}

#[test]
fn the_path_goes_on_as_the_page_says() {
    let page = std::fs::read_to_string("docs/routes.md").unwrap();
    let (_, table) = page
        .split_once("| upstream gets |\n|---|---|---|---|\n")
        .unwrap();
    let mut rows = 0;
    for row in table.lines().take_while(|line| !line.is_empty()) {
        rows += 1;
        let cells: Vec<&str> = row.split('`').skip(1).step_by(2).collect();
        let [path, key, request, expected] = cells[..] else {
            panic!("{row}");
        };
        let harness = Harness::with(&format!(
            "[[route]]\npath = {path:?}\n{key}\npublic = true\nupstream = \"http://{{upstream}}\"\n"
        ));
        let echoed = get(&harness, request).echoed();
        assert_eq!(echoed.target, expected, "{row}");
        assert_eq!(
            harness.log(1)[0]["url.path"],
            request.split('?').next().unwrap()
        );
    }
    assert!(rows >= 6, "{rows}");
}

#[test]
fn requests_find_the_routes_that_the_page_says() {
    let page = std::fs::read_to_string("docs/routes.md").unwrap();
    let text = blocks_below("Which route").replace("127.0.0.1:9000", "{upstream}");
    let harness = Harness::with(&text);
    let (_, table) = page.split_once("| request | route |\n|---|---|\n").unwrap();
    let rows: Vec<&str> = table.lines().take_while(|line| !line.is_empty()).collect();
    assert!(rows.len() >= 8, "{rows:?}");
    for (number, row) in rows.iter().enumerate() {
        let cells: Vec<&str> = row.split('`').skip(1).step_by(2).collect();
        let mut words = cells[0].splitn(4, ' ');
        let [method, host, path] = [(); 3].map(|()| words.next().unwrap());
        let headers = words
            .next()
            .map(|headers| headers.replace(", ", "\r\n") + "\r\n");
        let headers = headers.unwrap_or_default();
        let answer = harness.send(&format!(
            "{method} {path} HTTP/1.1\r\nHost: {host}:8080\r\n{headers}\r\n"
        ));
        let line = &harness.log(number + 1)[number];
        match cells[1] {
            "405" => {
                assert_eq!(answer.status, 405, "{row}");
                assert_eq!(answer.header("allow"), Some("GET, HEAD"), "{row}");
            }
            name => assert_eq!(line["portcullis.route"], name, "{row}"),
        }
    }
}

#[test]
fn without_a_route_nothing_is_forwarded() {
    let harness = Harness::with(
        r#"
        [[route]]
        host = "api.example"
        path = "/v2"
        match_headers = { "X-Version" = "2" }
        public = true
        upstream = "http://{upstream}"
        "#,
    );
    assert_eq!(harness.get_with("/v2", "X-Version: 2\r\n").status, 200);
    for headers in ["", "X-Version: 3\r\n", "X-Version: 2\r\nX-Version: 2\r\n"] {
        let refusal = harness.get_with("/v2", headers).refusal();
        assert_eq!(refusal, (404, "route_not_found".to_owned()), "{headers}");
    }
    let other = harness.send("GET /v2 HTTP/1.1\r\nHost: b.api.example\r\nX-Version: 2\r\n\r\n");
    assert_eq!(other.status, 404);
}

#[test]
fn a_rewritten_path_is_made_of_the_normal_form() {
    let harness = Harness::with(
        r#"
        [[route]]
        path = "/a/:x/*"
        rewrite = "/b c/:x/*"
        public = true
        upstream = "http://{upstream}"
        "#,
    );
    let echoed = get(&harness, "/%61/%c3%a9/y%3az/?q=%20").echoed();
    assert_eq!(echoed.target, "/b%20c/%C3%A9/y%3Az/?q=%20");
    for path in ["/a/x/../y", "/a/x/%2e%2e", "/a//y", "/a/x%2fy"] {
        let refusal = get(&harness, path).refusal();
        assert_eq!(refusal, (400, "malformed_request".to_owned()), "{path}");
    }
}

#[test]
fn redirects_keep_the_rest_and_the_query() {
    let harness = Harness::with(&blocks_below("Redirects"));
    for (path, status, location) in [
        (
            "/shop/a%20b/?x=1&y",
            301,
            "https://shop.example.com/a%20b/?x=1&y",
        ),
        ("/shop", 301, "https://shop.example.com/"),
        ("/shop/%7ea", 301, "https://shop.example.com/~a"),
        ("/me", 308, "/users/me"),
        ("/me?", 308, "/users/me?"),
    ] {
        let answer = get(&harness, path);
        assert_eq!(answer.status, status, "{path}");
        assert_eq!(answer.header("location"), Some(location), "{path}");
        assert_eq!(answer.header("content-length"), Some("0"));
    }
    assert_eq!(get(&harness, "/shop//evil.example").status, 400);
    let line = &harness.log(6)[0];
    assert_eq!(line["portcullis.reason"], "public");
    assert_eq!(line["http.response.status_code"], 301);
    assert!(line.get("upstream.address").is_none(), "{line}");
}

#[test]
fn answers_come_from_the_gateway_itself() {
    let harness = Harness::with(&blocks_below("Answers"));
    let robots = get(&harness, "/robots.txt");
    assert_eq!(
        (robots.status, robots.body.as_str()),
        (200, "User-agent: *\nDisallow: /\n")
    );
    assert_eq!(
        robots.header("content-type"),
        Some("text/plain; charset=utf-8")
    );
    let gone = get(&harness, "/v1/orders");
    assert_eq!(
        (gone.status, gone.body.as_str()),
        (410, r#"{"error":"v1 is gone"}"#)
    );
    assert_eq!(gone.header("content-type"), Some("application/json"));
}

#[test]
fn own_answers_keep_the_connection_in_step() {
    let harness = Harness::with(
        r#"
        [[route]]
        path = "/text"
        public = true
        respond = { body = "text", headers = { "X-One" = "1" } }

        [[route]]
        path = "/nothing"
        public = true
        respond = { status = 204 }
        "#,
    );
    let mut connection = harness.connect();
    let head = connection.send(b"HEAD /text HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(
        (head.status, head.header("content-length")),
        (200, Some("4"))
    );
    let post = b"POST /text HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nGET / HTT";
    let answer = connection.send(post);
    assert_eq!(
        (answer.body.as_str(), answer.header("x-one")),
        ("text", Some("1"))
    );
    let nothing = connection.send(b"GET /nothing HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(
        (nothing.status, nothing.header("content-length")),
        (204, None)
    );
    let last = connection.send(b"GET /text HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(last.body, "text");
}

#[test]
fn own_answers_ask_for_a_token_unless_public() {
    let harness = Harness::with(
        r#"
        [[route]]
        path = "/secret"
        scopes = ["orders.read"]
        respond = { body = "secret" }

        [[route]]
        path = "/there"
        redirect = { to = "/secret", status = 302 }
        "#,
    );
    harness
        .key_manager
        .set("good", Reply::active("shop", "orders.read"));
    harness.key_manager.set("poor", Reply::active("shop", ""));
    assert_eq!(
        get(&harness, "/secret").refusal(),
        (401, "no_token".to_owned())
    );
    assert_eq!(
        get(&harness, "/there").refusal(),
        (401, "no_token".to_owned())
    );
    assert_eq!(harness.get("/secret", "poor").status, 403);
    assert_eq!(harness.get("/secret", "good").body, "secret");
    assert_eq!(
        harness.get("/there", "good").header("location"),
        Some("/secret")
    );
}
