//! Tokens that somebody said are revoked, by the list; brokers are in `tests/real/rabbitmq.sh`.

use std::{
    io::Write,
    net::SocketAddr,
    sync::{Arc, mpsc},
};

use parking_lot::Mutex;
use portcullis::demo::Reply;

use crate::support::{Harness, ROUTES, RawServer, free_port, local, read_head, wait_for};

/// A JWT that nobody verifies here.
const JWT: &str = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJhbm4ifQ.c2lnbmF0dXJl";

/// Serves what `list` holds, and tells the heads of the requests.
fn list_server(list: &Arc<Mutex<String>>) -> (SocketAddr, mpsc::Receiver<String>) {
    let (tell, told) = mpsc::channel();
    let list = Arc::clone(list);
    let server = RawServer::start(move |_, mut stream| {
        let Some(head) = read_head(&mut stream) else {
            return;
        };
        let body = list.lock().clone();
        let status = if body.is_empty() {
            "503 Not Yet"
        } else {
            "200 OK"
        };
        let answer = format!(
            "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        );
        // The gateway may have ended.
        let _ = stream.write_all(answer.as_bytes());
        let _ = tell.send(head);
    });
    (server.address, told)
}

fn with_list(address: SocketAddr) -> Harness {
    Harness::with(&format!(
        "[revocation]\nlist_url = \"http://{address}/internal/data/v1/revokedjwt\"\n\
         username = \"admin\"\npassword = \"admin\"\n{ROUTES}"
    ))
}

fn metric(harness: &Harness) -> f64 {
    harness.metric("portcullis_revoked_tokens")
}

#[test]
fn what_the_list_has_is_refused_though_the_cache_knows_it() {
    let list = Arc::new(Mutex::new(String::new()));
    let (address, told) = list_server(&list);
    let harness = with_list(address);
    let good = || Reply::active("shop", "orders.read");
    let with_id = r#"{"active":true,"scope":"orders.read","jti":"urn:id:1"}"#;
    harness.key_manager.set("opaque", good());
    harness.key_manager.set("other", good());
    harness.key_manager.set(JWT, good());
    harness
        .key_manager
        .set("with-id", Reply::Json(with_id.to_owned()));
    let tokens = ["opaque", JWT, "with-id"];
    for token in tokens {
        assert_eq!(harness.get("/orders/1", token).status, 200);
    }
    let head = told.recv().unwrap();
    assert!(head.starts_with("GET /internal/data/v1/revokedjwt HTTP/1.1\r\n"));
    assert!(
        head.to_lowercase()
            .contains("authorization: basic ywrtaw46ywrtaw4=\r\n")
    );
    let asked = harness.key_manager.introspections();
    *list.lock() = r#"[{"jwt_signature":"opaque","expiry_time":9999999999999},
        {"jwt_signature":"c2lnbmF0dXJl"}, {"jwt_signature":"urn:id:1"}, {"jwt":1}]"#
        .to_owned();
    wait_for("the list", || metric(&harness) == 3.0);
    for token in tokens {
        let answer = harness.get("/orders/1", token);
        assert_eq!(answer.refusal(), (401, "revoked".to_owned()));
        let challenge = answer.header("www-authenticate").unwrap();
        assert!(challenge.contains("error=\"invalid_token\""), "{challenge}");
    }
    assert_eq!(harness.get("/orders/1", "other").status, 200);
    // Dropped from the cache, it would be asked about; it is refused before.
    assert_eq!(harness.key_manager.introspections(), asked + 1);
    wait_for("its count", || {
        harness.metric("portcullis_revocation_list_fetches_total{result=\"ok\"}") == 1.0
    });
    assert!(harness.metric("portcullis_revocation_list_fetches_total{result=\"failed\"}") >= 1.0);
}

#[test]
fn what_is_revoked_stays_so_over_reloads() {
    let list = Arc::new(Mutex::new(
        r#"{"list":[{"jwtSignature":"gone"}]}"#.to_owned(),
    ));
    let (address, _told) = list_server(&list);
    let harness = with_list(address);
    harness
        .key_manager
        .set("gone", Reply::active("shop", "orders.read"));
    wait_for("the list", || metric(&harness) == 1.0);
    let answer = harness.reload(|text| {
        let start = text.find("[revocation]").unwrap();
        let end = text.find("[[route]]").unwrap();
        text.replace_range(start..end, "");
    });
    assert_eq!(answer.status, 200, "{}", answer.body);
    let refusal = harness.get("/orders/1", "gone").refusal();
    assert_eq!(refusal, (401, "revoked".to_owned()));
}

#[test]
fn a_broker_that_is_away_keeps_nothing_from_starting() {
    let broker = local(free_port());
    let harness = Harness::with(&format!(
        "[revocation]\nbroker = \"amqp://admin:admin@c/carbon?brokerlist='tcp://{broker}'\"\n{ROUTES}"
    ));
    harness
        .key_manager
        .set("good", Reply::active("shop", "orders.read"));
    assert_eq!(harness.get("/orders/1", "good").status, 200);
    let failed = "portcullis_broker_connections_total{result=\"failed\",topic=\"revocations\"}";
    wait_for("an attempt", || harness.metric(failed) >= 2.0);
    assert_eq!(harness.metric("portcullis_broker_connected"), 0.0);
    let answer = harness.reload(|text| {
        let start = text.find("[revocation]").unwrap();
        let end = text.find("[[route]]").unwrap();
        text.replace_range(start..end, "");
    });
    assert_eq!(answer.status, 200, "{}", answer.body);
    wait_for("its end", || {
        let text = String::from_utf8(harness.metrics.encode().unwrap()).unwrap();
        !text.contains("\nportcullis_broker_connected{")
    });
}
