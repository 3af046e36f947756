//! Routes that were made of a description of an API.

use std::{
    fs,
    io::Write,
    path::PathBuf,
    sync::mpsc::{Receiver, channel},
};

use portcullis::demo::Reply;

use crate::support::{Answer, Harness, RawServer, read_head};

fn ask(harness: &Harness, method: &str, path: &str, token: &str) -> Answer {
    let token = match token {
        "" => String::new(),
        token => format!("Authorization: Bearer {token}\r\n"),
    };
    harness.send(&format!(
        "{method} {path} HTTP/1.1\r\nHost: h\r\n{token}Content-Length: 0\r\n\r\n"
    ))
}

/// Tokens whose names are their scopes, with `+` in between.
fn know(harness: &Harness, tokens: &[&str]) {
    for token in tokens {
        let reply = Reply::active("shop", &token.replace('+', " "));
        harness.key_manager.set(token, reply);
    }
}

/// A document of this test's own, which goes when the test ends.
struct Document(PathBuf);

impl Document {
    fn new(name: &str, text: &str) -> Self {
        let name = format!("portcullis-{name}-{}.yaml", std::process::id());
        let document = Self(std::env::temp_dir().join(name));
        document.write(text);
        document
    }

    fn write(&self, text: &str) {
        fs::write(&self.0, text).unwrap();
    }
}

impl Drop for Document {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

#[test]
fn the_page_s_example_asks_for_what_the_document_says() {
    let page = fs::read_to_string("docs/openapi.md").unwrap();
    let (_, api) = page.split_once("\n[[api]]\n").unwrap();
    let api = api.split("```").next().unwrap();
    let api = api
        .replace("petstore.yaml", "conf/petstore.yaml")
        .replace("127.0.0.1:9000", "{upstream}");
    let harness = Harness::with(&format!("[[api]]\n{api}"));
    let tokens = ["pets.read", "pets.write", "pets.write+pets.admin"];
    know(&harness, &tokens);
    for (method, path, token, status) in [
        ("GET", "/v1/pets", "", 200),
        ("HEAD", "/v1/pets", "", 200),
        ("POST", "/v1/pets", "", 401),
        ("POST", "/v1/pets", "pets.read", 403),
        ("POST", "/v1/pets", "pets.write", 200),
        ("PUT", "/v1/pets", "pets.write", 405),
        ("GET", "/v1/pets/7", "", 401),
        ("GET", "/v1/pets/7", "pets.read", 200),
        ("DELETE", "/v1/pets/7", "pets.write", 403),
        ("DELETE", "/v1/pets/7", "pets.write+pets.admin", 200),
        ("GET", "/v1/pets/7/toys", "pets.read", 404),
        ("GET", "/pets/7", "pets.read", 404),
        ("GET", "/v1", "pets.read", 404),
    ] {
        let answer = ask(&harness, method, path, token);
        assert_eq!(answer.status, status, "{method} {path} {token}");
    }
    let echoed = ask(&harness, "GET", "/v1/pets/7?x=1", "pets.read").echoed();
    assert_eq!(echoed.target, "/v1/pets/7?x=1");
    assert_eq!(echoed.header("x-auth-client"), Vec::<&str>::new());
    assert_eq!(harness.log(1)[0]["portcullis.route"], "petstore.listPets");
}

#[test]
fn parts_of_segments_and_sets_of_scopes() {
    let harness = Harness::with(
        r#"
        [[api]]
        openapi = "tests/openapi/jobs.json"
        name = "j"
        base_path = "/jobs-api/"
        upstream = "http://{upstream}"
        scopes = ["files"]
        "#,
    );
    let tokens = ["read", "write", "cancel", "write+cancel", "admin", "files"];
    know(&harness, &tokens);
    for (method, path, token, status) in [
        ("GET", "/jobs-api/jobs/7", "read", 200),
        ("GET", "/jobs-api/jobs/7", "admin", 200),
        ("GET", "/jobs-api/jobs/7", "write", 403),
        ("GET", "/jobs-api/jobs/7:cancel", "admin", 405),
        ("POST", "/jobs-api/jobs/7:cancel", "read", 403),
        ("POST", "/jobs-api/jobs/7:cancel", "write", 403),
        ("POST", "/jobs-api/jobs/7:cancel", "write+cancel", 200),
        ("POST", "/jobs-api/jobs/7%3Acancel", "read", 403),
        ("POST", "/jobs-api/jobs/7", "admin", 405),
        ("GET", "/jobs-api/reports/2026-11.pdf", "", 200),
        ("GET", "/jobs-api/reports/2026.pdf", "", 404),
        ("GET", "/jobs-api/files/a/b", "files", 200),
        ("GET", "/jobs-api/files/a/b", "read", 403),
    ] {
        let answer = ask(&harness, method, path, token);
        assert_eq!(answer.status, status, "{method} {path} {token}");
    }
    for (path, sent) in [
        ("/jobs-api/jobs/a%20b", "/prod/jobs/a%20b"),
        ("/jobs-api/files/a/b/", "/prod/files/a/b/"),
    ] {
        let token = if path.contains("files") {
            "files"
        } else {
            "read"
        };
        assert_eq!(ask(&harness, "GET", path, token).echoed().target, sent);
    }
    let challenge = ask(&harness, "POST", "/jobs-api/jobs/7:cancel", "read");
    let challenge = challenge.header("www-authenticate").unwrap().to_owned();
    assert!(
        challenge.contains("scope=\"write cancel admin\""),
        "{challenge}"
    );
}

/// A server that tells the first line of each request.
fn teller() -> (RawServer, Receiver<String>) {
    let (tell, told) = channel();
    let server = RawServer::start(move |_, mut stream| {
        let tell = tell.clone();
        std::thread::spawn(move || {
            while let Some(head) = read_head(&mut stream) {
                let line = head.lines().next().unwrap_or_default().to_owned();
                let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
                if tell.send(line).is_err() || stream.write_all(answer).is_err() {
                    return;
                }
            }
        });
    });
    (server, told)
}

#[test]
fn documents_of_the_original_are_taken_as_they_are() {
    let (first, heard_by_first) = teller();
    let (second, heard_by_second) = teller();
    let text = fs::read_to_string("tests/openapi/pizza.yaml").unwrap();
    let text = text
        .replace("{first}", &first.address.to_string())
        .replace("{second}", &second.address.to_string());
    let document = Document::new("pizza", &text);
    let api = format!("[[api]]\nopenapi = {:?}\n", document.0);
    for (any_scope, by_one_scope) in [("", 403), ("any_scope = true\n", 200)] {
        let harness = Harness::with(&format!("{api}{any_scope}"));
        know(&harness, &["order.read", "order.read+order.all", "other"]);
        for (method, path, token, status) in [
            ("GET", "/pizza/1.0.0/menu", "", 200),
            ("GET", "/pizza/1.0.0/order/7", "", 401),
            ("GET", "/pizza/1.0.0/order/7", "other", 403),
            ("GET", "/pizza/1.0.0/order/7", "order.read", by_one_scope),
            ("GET", "/pizza/1.0.0/order/7", "order.read+order.all", 200),
            ("DELETE", "/pizza/1.0.0/order/7", "", 401),
            ("DELETE", "/pizza/1.0.0/order/7", "other", 200),
            ("GET", "/menu", "", 404),
        ] {
            let answer = ask(&harness, method, path, token);
            assert_eq!(answer.status, status, "{method} {path} {token}");
        }
        let asks = "OPTIONS /pizza/1.0.0/menu HTTP/1.1\r\nHost: h\r\nOrigin: https://shop.example\r\n\
                    Access-Control-Request-Method: GET\r\n\r\n";
        let preflight = harness.send(asks);
        let allowed = preflight.header("access-control-allow-headers");
        assert_eq!((preflight.status, allowed), (204, Some("Authorization")));
    }
    let heard: Vec<Vec<String>> = [heard_by_first, heard_by_second]
        .map(|heard| heard.try_iter().collect())
        .into();
    assert!(heard.iter().all(|lines| lines.len() >= 3), "{heard:?}");
    for line in heard.iter().flatten() {
        let path = line.split(' ').nth(1).unwrap();
        assert!(["/api/menu", "/api/order/7"].contains(&path), "{line}");
    }
}

#[test]
fn a_changed_document_is_taken_up_by_a_reload() {
    let document = Document::new(
        "reload",
        "openapi: 3.0.0\ninfo: {title: T}\npaths: {/a: {get: {}}}\n",
    );
    let harness = Harness::with(&format!(
        "[[api]]\nopenapi = {:?}\npublic = true\nupstream = \"http://{{upstream}}\"\n",
        document.0
    ));
    assert_eq!(ask(&harness, "GET", "/a", "").status, 200);
    assert_eq!(ask(&harness, "GET", "/b", "").status, 404);
    document.write("openapi: 3.0.0\ninfo: {title: T}\npaths: {/b: {get: {}}}\n");
    assert_eq!(harness.reload(|_| {}).status, 200);
    assert_eq!(ask(&harness, "GET", "/a", "").status, 404);
    assert_eq!(ask(&harness, "GET", "/b", "").status, 200);
    document.write("openapi: 3.0.0\npaths: [\n");
    assert_eq!(harness.reload(|_| {}).status, 422);
    assert_eq!(ask(&harness, "GET", "/b", "").status, 200);
}
