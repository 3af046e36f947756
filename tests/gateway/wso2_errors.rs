//! Refusals in the form of WSO2 API Microgateway: bodies and challenge byte for byte.

use std::io::Write;

use portcullis::demo::Reply;

use crate::support::{Answer, Harness, PATIENCE, ROUTES, RawServer, read_request};

const WSO2: &str = "[errors]\nformat = \"wso2\"\n";
const CHALLENGE: &str = "OAuth2 realm=\"WSO2 API Microgateway\", error=\"invalid token\" , \
                         error_description=\"The access token expired\"";
const INVALID: &str = "{\"fault\":{\"code\":900901, \"message\":\"Invalid Credentials\", \"description\":\"Invalid Credentials. \
                       Make sure you have given the correct access token\"}}";
const MISSING: &str = "{\"fault\":{\"code\":900902, \"message\":\"Missing Credentials\", \"description\":\"Missing Credentials. \
                       Make sure your API request provides required credentials\"}}";
const NO_CONNECTION: &str = "{\"fault\":{\"code\":101503, \"message\":\"Runtime Error\", \
                             \"description\":\"Error connecting to the back end\"}}";
const UNCLASSIFIED: &str = "{\"fault\":{\"code\":900900, \"message\":\"Unclassified Authentication Failure\", \"description\":\
                            \"Unclassified Authentication Failure. Unclassified Authentication Failure\"}}";

fn harness(sections: &str) -> Harness {
    Harness::with(&format!("{WSO2}{sections}"))
}

/// Status and body are these; the challenge is there with 401 and at no other time.
fn assert_fault(answer: &Answer, status: u16, body: &str) {
    assert_eq!((answer.status, answer.body.as_str()), (status, body));
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let challenge = (status == 401).then_some(CHALLENGE);
    assert_eq!(answer.header("www-authenticate"), challenge);
}

#[test]
fn tokens_that_are_refused() {
    let harness = harness(ROUTES);
    let inactive = Reply::status(200, "application/json", r#"{"active":false}"#);
    harness.key_manager.set("inactive", inactive);
    harness
        .key_manager
        .set("stranger", Reply::active("shop", "other"));
    let expired = Reply::status(
        200,
        "application/json",
        r#"{"active":true,"scope":"orders.read","exp":1593187742}"#,
    );
    harness.key_manager.set("expired", expired);
    assert_fault(&harness.get_with("/orders/1", ""), 401, MISSING);
    for token in ["inactive", "inactive", "expired", "not%a%token"] {
        assert_fault(&harness.get("/orders/1", token), 401, INVALID);
    }
    let twice = "Authorization: Bearer a\r\nAuthorization: Bearer b\r\n";
    assert_fault(&harness.get_with("/orders/1", twice), 401, INVALID);
    assert_fault(
        &harness.get_with("/orders/1", "Authorization: Bearer\r\n"),
        401,
        INVALID,
    );
    let long = "a".repeat(10_000);
    assert_fault(&harness.get("/orders/1", &long), 401, INVALID);
    assert_fault(
        &harness.get("/orders/1", "stranger"),
        403,
        "{\"fault\":{\"code\":900910, \"message\":\"The access token does not allow you to access the requested \
         resource\", \"description\":\"The access token does not allow you to access the requested resource\"}}",
    );
    // The log has the gateway's own words, with the status that was sent.
    let lines = harness.log(9);
    let mut lines = lines.iter();
    let long = lines.find(|line| line["portcullis.reason"] == "token_too_long");
    assert_eq!(long.unwrap()["http.response.status_code"], 401);
}

#[test]
fn requests_that_are_nobodys() {
    let harness = harness(ROUTES);
    assert_fault(
        &harness.get_with("/nowhere", ""),
        404,
        "{\"code\":404, \"type\":\"Status report\", \"message\":\"Runtime Error\", \"description\":\"No matching \
         resource found for given API Request\"}",
    );
    let answer = harness.send("DELETE /orders/1 HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_fault(
        &answer,
        405,
        "{\"code\":405, \"type\":\"Status report\", \"message\":\"Runtime Error\", \"description\":\"Method not \
         allowed for given API resource\"}",
    );
    assert_eq!(answer.header("allow"), Some("GET, HEAD, POST, PUT"));
    assert_fault(
        &harness.get_with("/orders/%2", ""),
        400,
        "{\"code\":400, \"type\":\"Status report\", \"message\":\"Runtime Error\", \"description\":\"The request \
         target is not in its normal form\"}",
    );
}

#[test]
fn limits_and_bodies() {
    let harness = harness(&format!(
        "[limits]\nrates = [\"few\"]\nmax_body_bytes = \"1KiB\"\n\
         [rate_limits.few]\nrequests = 2\nper = \"1h\"\nby = \"address\"\n{ROUTES}"
    ));
    assert_eq!(harness.get_with("/public/1", "").status, 200);
    let post = "POST /public/1 HTTP/1.1\r\nHost: a\r\nContent-Length: 2000\r\n\r\n";
    assert_fault(
        &harness.send(post),
        413,
        "{\"code\":413, \"type\":\"Status report\", \"message\":\"Runtime Error\", \"description\":\"The body is \
         longer than is allowed here\"}",
    );
    let answer = harness.get_with("/public/1", "");
    assert_fault(
        &answer,
        429,
        "{\"fault\":{\"code\":900806, \"message\":\"Message throttled out\", \"description\":\"You have exceeded \
         your quota\"}}",
    );
    let wait: u32 = answer.header("retry-after").unwrap().parse().unwrap();
    assert!((1_700..=1_800).contains(&wait), "{wait}");
    assert!(answer.header("ratelimit").is_some());
}

#[test]
fn upstreams_that_fail() {
    let slow = RawServer::start(|_, mut stream| {
        read_request(&mut stream);
        std::thread::sleep(PATIENCE);
    });
    let broken = RawServer::start(|_, mut stream| {
        read_request(&mut stream);
        let _ = stream.write_all(b"HTTP/1.1 nonsense\r\n\r\n");
    });
    let harness = harness(&format!(
        "[[route]]\npath = \"/closed\"\npublic = true\nupstream = \"http://127.0.0.1:9\"\n\
         [[route]]\npath = \"/broken\"\npublic = true\nupstream = \"http://{}\"\n\
         [[route]]\npath = \"/slow\"\npublic = true\nupstream = \"http://{}\"\ntimeout = \"300ms\"\n",
        broken.address, slow.address,
    ));
    for path in ["/closed", "/broken"] {
        let answer = harness.get_with(path, "");
        assert_fault(&answer, 500, NO_CONNECTION);
        assert_eq!(answer.header("retry-after"), None);
    }
    assert_fault(
        &harness.get_with("/slow", ""),
        500,
        "{\"fault\":{\"code\":101504, \"message\":\"Runtime Error\", \"description\":\"Connection timed out\"}}",
    );
    let mut reasons: Vec<_> = harness
        .log(3)
        .iter()
        .map(|line| {
            format!(
                "{} {}",
                line["portcullis.reason"], line["http.response.status_code"]
            )
        })
        .collect();
    reasons.sort_unstable();
    assert_eq!(
        reasons,
        [
            "\"upstream_connect\" 500",
            "\"upstream_reset\" 500",
            "\"upstream_timeout\" 500"
        ]
    );
}

#[test]
fn an_answer_of_the_upstream_is_its_own() {
    let server = RawServer::answering(
        b"HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Own\r\nContent-Length: 3\r\n\r\nown",
        false,
    );
    let harness = harness(&format!(
        "[[route]]\npath = \"/*\"\npublic = true\nupstream = \"http://{}\"\n",
        server.address
    ));
    let answer = harness.get_with("/", "");
    assert_eq!((answer.status, answer.body.as_str()), (401, "own"));
    assert_eq!(answer.header("www-authenticate"), Some("Own"));
}

#[test]
fn a_key_manager_that_cannot_be_asked() {
    let outage = Reply::status(500, "application/json", "{}");
    let nonsense = Reply::status(200, "application/json", "{}");
    for (style, statuses, body) in [
        ("", [503, 502], UNCLASSIFIED),
        (
            "key_manager_outage = \"invalid_token\"\n",
            [401, 401],
            INVALID,
        ),
    ] {
        let harness = harness(&format!("{style}{ROUTES}"));
        harness.key_manager.set("a", outage.clone());
        harness.key_manager.set("b", nonsense.clone());
        let answers = ["a", "b"].map(|token| harness.get("/orders/1", token));
        for (answer, status) in answers.iter().zip(statuses) {
            assert_fault(answer, status, body);
        }
        assert_eq!(
            answers[0].header("retry-after").is_some(),
            statuses[0] == 503
        );
        let lines = harness.log(2);
        let mut lines = lines.iter();
        let line = lines.find(|line| line["portcullis.reason"] == "introspection_unreachable");
        assert_eq!(line.unwrap()["http.response.status_code"], statuses[0]);
    }
}

#[test]
fn challenges_of_rfc_6750_where_they_are_wanted() {
    let harness = harness(&format!("challenge = \"rfc6750\"\n{ROUTES}"));
    harness
        .key_manager
        .set("stranger", Reply::active("shop", "other"));
    let challenge = |answer: &Answer| answer.header("www-authenticate").unwrap().to_owned();
    let missing = harness.get_with("/orders/1", "");
    assert_eq!(
        (missing.body.as_str(), challenge(&missing)),
        (MISSING, "Bearer".into())
    );
    let unknown = harness.get("/orders/1", "unknown");
    assert_eq!(unknown.body, INVALID);
    assert!(challenge(&unknown).starts_with("Bearer error=\"invalid_token\""));
    let stranger = harness.get("/orders/1", "stranger");
    assert_eq!(stranger.status, 403);
    assert!(challenge(&stranger).starts_with("Bearer error=\"insufficient_scope\""));
}

#[test]
fn heads_pages_and_grpc() {
    let harness = harness(&ROUTES.replace(
        "name = \"orders\"\n",
        "name = \"orders\"\ncors = { origins = [\"https://app.example\"] }\n",
    ));
    let head = "HEAD /orders/1 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    let mut connection = harness.connect();
    let answer = connection.send(head.as_bytes());
    assert_eq!(answer.status, 401);
    let length = MISSING.len().to_string();
    assert_eq!(answer.header("content-length"), Some(length.as_str()));
    assert!(connection.is_closed());
    let page = harness.get_with("/orders/1", "Origin: https://app.example\r\n");
    assert_fault(&page, 401, MISSING);
    assert_eq!(
        page.header("access-control-allow-origin"),
        Some("https://app.example")
    );
    for (path, status, message) in [
        ("/orders/1", "16", "Missing Credentials"),
        (
            "/nowhere",
            "12",
            "No matching resource found for given API Request",
        ),
    ] {
        let answer = harness.get_with(path, "Content-Type: application/grpc\r\n");
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header("grpc-status"), Some(status));
        assert_eq!(answer.header("grpc-message"), Some(message));
        assert_eq!(answer.header("content-type"), Some("application/grpc"));
        assert_eq!(answer.body, "");
    }
}

#[test]
fn a_reload_changes_the_form() {
    let harness = Harness::start();
    assert_eq!(harness.get_with("/orders/1", "").refusal().1, "no_token");
    let answer = harness.reload(|text| text.push_str(WSO2));
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_fault(&harness.get_with("/orders/1", ""), 401, MISSING);
}
