//! How much a request may be, and how often one may come.

use std::io::Write;

use portcullis::demo::Reply;

use crate::support::{Answer, Harness, ROUTES, RawServer, read_request};

const LIMITS: &str = r#"
[limits]
rates = ["address"]
max_body_bytes = "1KiB"
max_uri_bytes = "1KiB"
max_header_bytes = "4KiB"
max_headers = 20

[rate_limits.address]
requests = 5
per = "1h"
by = "address"
"#;

/// The reason that the body gives.
fn reason(answer: &Answer) -> String {
    let body: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
    body["reason"].as_str().unwrap().to_owned()
}

fn post(path: &str, headers: &str, body: &str) -> String {
    format!("POST {path} HTTP/1.1\r\nHost: a\r\n{headers}\r\n{body}")
}

#[test]
fn an_address_gets_its_share_and_is_told_how_it_stands() {
    let harness = Harness::with(&format!("{LIMITS}{ROUTES}"));
    for remaining in (0..5).rev() {
        let answer = harness.get_with("/public/1", "");
        assert_eq!(answer.status, 200);
        assert_eq!(
            answer.header("ratelimit-policy"),
            Some("\"address\";q=5;w=3600")
        );
        let standing = answer.header("ratelimit").unwrap();
        assert!(
            standing.starts_with(&format!("\"address\";r={remaining};t=")),
            "{standing}"
        );
    }
    let answer = harness.get_with("/public/1", "");
    assert_eq!(answer.status, 429);
    let retry: u32 = answer.header("retry-after").unwrap().parse().unwrap();
    assert!((600..=720).contains(&retry), "{retry}");
    assert_eq!(reason(&answer), "rate_limited");
    assert_eq!(harness.echo.requests(), 5);
    let decisions = |result: &str| {
        harness.metric(&format!(
            "portcullis_rate_limit_decisions_total{{limit=\"address\",result=\"{result}\"}}"
        ))
    };
    assert_eq!((decisions("allowed"), decisions("limited")), (5.0, 1.0));
    let line = harness.log(6).pop().unwrap();
    assert_eq!(line["portcullis.reason"], "rate_limited");
}

#[test]
fn who_is_over_the_limit_is_refused_before_the_key_manager_is_asked() {
    let harness = Harness::with(&format!("{LIMITS}{ROUTES}"));
    for _ in 0..8 {
        harness.get_with("/orders/1", "Authorization: Bearer unknown\r\n");
        harness.get("/orders/1", "another");
    }
    assert!(harness.key_manager.introspections() <= 2);
    assert_eq!(harness.get("/orders/1", "third").status, 429);
    assert!(harness.key_manager.introspections() <= 2);
}

#[test]
fn clients_and_routes_have_their_own_buckets() {
    let routes = ROUTES.replace(
        "name = \"orders\"\n",
        "name = \"orders\"\nrate_limits = [\"client\", \"route\"]\n",
    );
    let harness = Harness::with(&format!(
        "[rate_limits.client]\nrequests = 2\nper = \"1h\"\nby = \"client_id\"\n\
         [rate_limits.route]\nrequests = 5\nper = \"1h\"\nby = \"route\"\n{routes}"
    ));
    for client in ["a", "b", "c"] {
        harness
            .key_manager
            .set(client, Reply::active(client, "orders.read"));
    }
    let status = |client: &str| harness.get("/orders/1", client).status;
    assert_eq!(
        ["a", "a", "a", "b", "b", "b"].map(status),
        [200, 200, 429, 200, 200, 429]
    );
    // What a client was refused for is not counted for the route before it.
    assert_eq!(["c", "c"].map(status), [200, 429]);
    let answer = harness.get("/orders/1", "c");
    assert!(answer.header("ratelimit").unwrap().contains("r=0"));
}

#[test]
fn tiers_are_chosen_by_a_claim() {
    let harness = Harness::with(&format!(
        "[limits]\ntier_claim = \"tier\"\ndefault_tier = \"bronze\"\n\
         [tiers.gold]\nrequests = 3\nper = \"1h\"\n[tiers.bronze]\nrequests = 1\nper = \"1h\"\n{ROUTES}"
    ));
    let with_tier = |client: &str, tier: &str| {
        Reply::status(
            200,
            "application/json",
            &format!(r#"{{"active":true,"client_id":"{client}","scope":"orders.read"{tier}}}"#),
        )
    };
    for (client, tier) in [
        ("rich", r#","tier":"gold""#),
        ("poor", r#","tier":"bronze""#),
        ("new", ""),
        ("odd", r#","tier":"platinum""#),
    ] {
        harness.key_manager.set(client, with_tier(client, tier));
    }
    let allowed = |client: &str| {
        (0..5)
            .filter(|_| harness.get("/orders/1", client).status == 200)
            .count()
    };
    assert_eq!(["rich", "poor", "new", "odd"].map(allowed), [3, 1, 1, 1]);
}

#[test]
fn who_is_refused_by_one_limit_is_not_counted_by_another() {
    let harness = Harness::with(&format!(
        "[limits]\nrates = [\"address\", \"client\"]\n\
         [rate_limits.address]\nrequests = 4\nper = \"1h\"\nby = \"address\"\n\
         [rate_limits.client]\nrequests = 2\nper = \"1h\"\nby = \"client_id\"\n{ROUTES}"
    ));
    for client in ["one", "other"] {
        let reply = Reply::active(client, "orders.read");
        harness.key_manager.set(client, reply);
    }
    let statuses = |token| [(); 5].map(|()| harness.get("/orders/1", token).status);
    assert_eq!(statuses("one"), [200, 200, 429, 429, 429]);
    // Two of the address's four are left.
    assert_eq!(statuses("other"), [200, 200, 429, 429, 429]);
}

#[test]
fn a_flood_of_unknown_tokens_does_not_reach_the_key_manager() {
    let harness = Harness::with(&format!(
        "[limits]\ntoken_misses = \"misses\"\n\
         [rate_limits.misses]\nrequests = 3\nper = \"1h\"\nby = \"address\"\n{ROUTES}"
    ));
    harness
        .key_manager
        .set("good", Reply::active("shop", "orders.read"));
    assert_eq!(harness.get("/orders/1", "good").status, 200);
    for number in 0..20 {
        harness.get("/orders/1", &format!("random-{number}"));
    }
    assert_eq!(harness.key_manager.introspections(), 1 + 3);
    // Who is known is not held back.
    assert_eq!(harness.get("/orders/1", "good").status, 200);
}

#[test]
fn buckets_outlive_a_reload_that_leaves_their_limit() {
    let harness = Harness::with(&format!("{LIMITS}{ROUTES}"));
    for _ in 0..5 {
        harness.get_with("/public/1", "");
    }
    assert_eq!(harness.get_with("/public/1", "").status, 429);
    let answer = harness.reload(|text| text.push_str("\n[token]\nclock_skew = \"6s\"\n"));
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(harness.get_with("/public/1", "").status, 429);
    let answer = harness.reload(|text| *text = text.replace("requests = 5", "requests = 6"));
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(harness.get_with("/public/1", "").status, 200);
}

#[test]
fn what_is_too_large_is_told_by_name() {
    let harness = Harness::with(&format!(
        "{}{ROUTES}",
        LIMITS.replace("requests = 5", "requests = 500")
    ));
    let long = "x".repeat(2_000);
    let many: String = (0..30).map(|number| format!("X-{number}: 1\r\n")).collect();
    let big = format!("X-Big: {}\r\n", "x".repeat(5_000));
    for (answer, status, word) in [
        (
            harness.get_with(&format!("/public/{long}"), ""),
            414,
            "uri_too_long",
        ),
        (
            harness.get_with("/public/1", &many),
            431,
            "header_too_large",
        ),
        (harness.get_with("/public/1", &big), 431, "header_too_large"),
        (
            harness.send(&post("/public/1", "Content-Length: 2000\r\n", &long)),
            413,
            "body_too_large",
        ),
    ] {
        assert_eq!(answer.status, status, "{word}");
        assert_eq!(reason(&answer), word);
    }
    assert_eq!(harness.echo.requests(), 0);
    let answer = harness.send(&post(
        "/public/1",
        "Content-Length: 1024\r\n",
        &long[..1024],
    ));
    assert_eq!(answer.status, 200);
}

#[test]
fn a_body_that_grows_too_long_ends_the_request() {
    let harness = Harness::with(&format!("{LIMITS}{ROUTES}"));
    let chunk = format!("400\r\n{}\r\n", "x".repeat(1024));
    let body = format!("{chunk}{chunk}0\r\n\r\n");
    let answer = harness.send(&post("/public/1", "Transfer-Encoding: chunked\r\n", &body));
    assert_eq!(answer.status, 413);
    assert_eq!(answer.header("connection"), Some("close"));
    let line = harness.log(1).pop().unwrap();
    assert_eq!(line["portcullis.reason"], "body_too_large");
}

#[test]
fn a_route_may_take_more_or_anything() {
    let routes = ROUTES
        .replace(
            "path = \"/public/*\"\n",
            "path = \"/public/*\"\nmax_body_bytes = \"unlimited\"\n",
        )
        .replace(
            "name = \"orders-write\"\n",
            "name = \"orders-write\"\nmax_body_bytes = \"3KiB\"\n",
        );
    let harness = Harness::with(&format!("{LIMITS}{routes}"));
    harness
        .key_manager
        .set("w", Reply::active("shop", "orders.write"));
    let big = "x".repeat(3_000);
    let answer = harness.send(&post("/public/1", "Content-Length: 3000\r\n", &big));
    assert_eq!(answer.status, 200);
    let headers = "Authorization: Bearer w\r\nContent-Length: 3000\r\n";
    assert_eq!(harness.send(&post("/orders/1", headers, &big)).status, 200);
    let headers = "Authorization: Bearer w\r\nContent-Length: 3073\r\n";
    assert_eq!(harness.send(&post("/orders/1", headers, "")).status, 413);
}

#[test]
fn a_body_that_is_sent_once_more_counts_once() {
    // Answers one request, and closes at the next one.
    let upstream = RawServer::start(|number, mut stream| {
        std::thread::spawn(move || {
            let mut answered = 0;
            while read_request(&mut stream) && (number > 0 || answered == 0) {
                let ok = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
                if stream.write_all(ok).is_err() {
                    return;
                }
                answered += 1;
            }
        });
    });
    let route = "[limits]\nmax_body_bytes = \"1KiB\"\n\
                 [[route]]\npath = \"/*\"\npublic = true\nupstream = \"http://UPSTREAM\"\n";
    let harness = Harness::with(&route.replace("UPSTREAM", &upstream.address.to_string()));
    assert_eq!(harness.get_with("/1", "").status, 200);
    let body = "x".repeat(700);
    let put = post("/2", "Content-Length: 700\r\n", &body).replacen("POST", "PUT", 1);
    assert_eq!(harness.send(&put).status, 200);
}

#[test]
fn what_is_sent_behind_a_request_without_waiting_is_not_served() {
    let harness = Harness::start();
    let mut connection = harness.connect();
    let get = |number| format!("GET /public/{number} HTTP/1.1\r\nHost: h\r\n\r\n");
    connection.write(format!("{}{}", get(1), get(2)).as_bytes());
    assert_eq!(connection.read(false).unwrap().echoed().target, "/public/1");
    assert!(connection.is_closed());
    assert_eq!(harness.echo.requests(), 1);
}
