//! A file and a project of WSO2 API Microgateway, served as they are.

use std::path::PathBuf;

use portcullis::demo::Reply;

use crate::support::Harness;

pub const FILE: &str = r#"
[listenerConfig]
  host = "127.0.0.1"
  httpPort = {gateway}
[keyManager]
  serverUrl = "http://127.0.0.1:{key_manager}"
  tokenContext = "oauth2"
  [keymanager.security.basic]
    enabled = true
    username = "gateway"
    password = "demo-secret"
[caching]
  tokenCacheExpiryTime = 900000
"#;

pub const PETS: &str = r#"
openapi: 3.0.0
info: { title: Pets, version: 1.0.0 }
x-wso2-basePath: /pets/{version}
x-wso2-production-endpoints:
  urls: [ "http://127.0.0.1:{upstream}/backend" ]
  type: http
components:
  securitySchemes:
    default:
      type: oauth2
      flows:
        implicit: { authorizationUrl: "https://localhost", scopes: { orders.read: r, other: o } }
paths:
  /list:
    get:
      security: [ { default: [ orders.read, other ] } ]
      responses: { "200": { description: ok } }
  /open:
    get:
      x-wso2-disable-security: true
      responses: { "200": { description: ok } }
"#;

/// A folder that goes with the test.
pub struct Folder(pub PathBuf);

impl Folder {
    pub fn new(name: &str) -> Self {
        let name = format!("portcullis-original-{name}-{}", std::process::id());
        Self(std::env::temp_dir().join(name))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn a_project_is_served_as_it_is() {
    let folder = Folder::new("project");
    let gateway = Harness::of_original(
        &folder.0,
        &[
            ("conf/micro-gw.conf", FILE),
            ("api_definitions/pets.yaml", PETS),
        ],
    );
    let active = Reply::active("shop", "orders.read");
    gateway.key_manager.set("good", active);
    let refused = gateway.get_with("/pets/1.0.0/list", "");
    assert_eq!(refused.status, 401);
    assert_eq!(
        refused.header("www-authenticate"),
        Some(
            "OAuth2 realm=\"WSO2 API Microgateway\", error=\"invalid token\" , \
             error_description=\"The access token expired\""
        )
    );
    assert!(refused.body.contains("\"code\":900902"), "{}", refused.body);
    // One of the scopes is enough.
    let echoed = gateway.get("/pets/1.0.0/list", "good").echoed();
    assert_eq!(echoed.target, "/backend/list");
    assert!(echoed.header("authorization").is_empty());
    let open = gateway.get_with("/pets/1.0.0/open", "");
    assert_eq!(open.status, 200);
    let unknown = gateway.get("/pets/1.0.0/list", "unknown");
    assert!(unknown.body.contains("\"code\":900901"), "{}", unknown.body);
    assert_eq!(gateway.get("/nothing", "good").status, 404);
}

#[test]
fn health_and_the_key_managers_own_addresses_are_served() {
    let folder = Folder::new("forwarded");
    let file = FILE.replace("{key_manager}", "{upstream}");
    let gateway = Harness::of_original(&folder.0, &[("conf/micro-gw.conf", &file)]);
    let health = gateway.get_with("/health", "");
    assert_eq!(health.status, 200);
    assert_eq!(health.header("content-type"), Some("application/json"));
    assert_eq!(health.body, "{\"status\":\"healthy\"}");
    for (method, path, target) in [
        ("POST", "/token", "/oauth2/token"),
        ("POST", "/revoke", "/oauth2/revoke"),
        (
            "GET",
            "/authorize?client_id=a%20b",
            "/oauth2/authorize?client_id=a%20b",
        ),
        ("GET", "/userinfo/more", "/oauth2/userinfo/more"),
    ] {
        let answer = gateway.send(&format!(
            "{method} {path} HTTP/1.1\r\nHost: api.example\r\nAuthorization: Basic YTpi\r\n\
             Content-Length: 0\r\n\r\n"
        ));
        let echoed = answer.echoed();
        assert_eq!(echoed.target, target);
        assert_eq!(echoed.header("authorization"), ["Basic YTpi"]);
    }
    let echoed = gateway
        .send("GET /userinfo HTTP/1.1\r\nHost: api.example\r\nAuthorization: Bearer a\r\n\r\n")
        .echoed();
    assert_eq!(echoed.header("authorization"), ["Bearer a"]);
    let wrong = gateway.send("GET /token HTTP/1.1\r\nHost: api.example\r\n\r\n");
    assert_eq!(wrong.status, 405);
}

#[test]
fn a_key_manager_that_does_not_answer_is_told_in_the_originals_words() {
    let folder = Folder::new("no-key-manager");
    // Nobody listens there.
    let file = FILE.replace("{key_manager}", "9");
    let gateway = Harness::of_original(
        &folder.0,
        &[
            ("conf/micro-gw.conf", &file),
            ("api_definitions/pets.yaml", PETS),
        ],
    );
    for (method, path) in [
        ("POST", "/token"),
        ("POST", "/revoke"),
        ("GET", "/authorize"),
        ("GET", "/userinfo"),
    ] {
        let answer = gateway.send(&format!(
            "{method} {path} HTTP/1.1\r\nHost: api.example\r\nContent-Length: 0\r\n\r\n"
        ));
        assert_eq!(answer.status, 500, "{path}");
        assert_eq!(answer.header("content-type"), Some("application/json"));
        assert_eq!(
            answer.body,
            "{\"error\":\"error occurred while invoking the token endpoint\"}"
        );
    }
    // Of the words the log keeps its own.
    let line = &gateway.log(4)[0];
    assert_eq!(line["portcullis.reason"], "upstream_connect");
    assert_eq!(line["http.response.status_code"], 500);
    let refused = gateway.get("/pets/1.0.0/list", "good");
    assert!(refused.body.contains("\"code\":900900"), "{}", refused.body);
}

#[test]
fn a_reload_reads_the_project_again() {
    let folder = Folder::new("reload");
    let gateway = Harness::of_original(
        &folder.0,
        &[
            ("conf/micro-gw.conf", FILE),
            ("api_definitions/pets.yaml", PETS),
        ],
    );
    assert_eq!(gateway.get_with("/pets/1.0.0/open", "").status, 200);
    std::fs::remove_file(folder.0.join("api_definitions/pets.yaml")).unwrap();
    assert_eq!(gateway.reload(|_| {}).status, 200);
    assert_eq!(gateway.get_with("/pets/1.0.0/open", "").status, 404);
}
