//! Who has subscribed to an API may call it, wherever the list comes from.

use std::{
    fs,
    io::{Read, Write},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use parking_lot::Mutex;
use portcullis::demo::Reply;

use crate::support::{Harness, RawServer, free_port, wait_for};

const ROUTES: &str = r#"
[[route]]
name = "pizza"
path = "/pizza/*"
api = { name = "Pizza", version = "1.0.0" }
upstream = "http://{upstream}"
sandbox_upstream = "http://{upstream}"
identity_headers = { "X-Application" = "subscription.application_name", "X-Tier" = "subscription.tier", "X-Subject" = "sub" }

[[route]]
name = "pasta"
path = "/pasta/*"
api = { name = "Pasta", version = "2" }
upstream = "http://{upstream}"

[[route]]
name = "open"
path = "/open/*"
api = { name = "Pizza", version = "1.0.0" }
validate_subscriptions = false
upstream = "http://{upstream}"
"#;

const CLIENTS: &str = r#"
[[client]]
client_id = "shop"
application = "Shop"
tier = "Gold"
apis = [
    { name = "Pizza", version = "1.0.0" },
    { name = "Pasta", version = "2", state = "BLOCKED" },
]

[[client]]
client_id = "waiting"
state = "ON_HOLD"
apis = [{ name = "Pizza", version = "1.0.0" }]

[[client]]
client_id = "refused"
state = "REJECTED"
apis = [{ name = "Pizza", version = "1.0.0" }]

[[client]]
client_id = "production"
state = "PROD_ONLY_BLOCKED"
apis = [{ name = "Pizza", version = "1.0.0" }]

[[client]]
client_id = "sandbox"
key_type = "SANDBOX"
state = "PROD_ONLY_BLOCKED"
apis = [{ name = "Pizza", version = "1.0.0" }]

[[client]]
client_id = "changing"
state = "TIER_UPDATE_PENDING"
apis = [{ name = "Pizza", version = "1.0.0" }]
"#;

/// A folder that goes with the test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!(
            "portcullis-subscriptions-{name}-{}",
            std::process::id()
        ));
        fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }

    /// Puts a file there as a whole.
    fn write(&self, name: &str, text: &str) -> PathBuf {
        let (path, draft) = (self.0.join(name), self.0.join("draft"));
        fs::write(&draft, text).unwrap();
        fs::rename(draft, &path).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn with_file(path: &Path) -> Harness {
    let section = format!("[subscriptions]\nvalidate = true\nfile = {path:?}\n{ROUTES}");
    let harness = Harness::with(&section);
    wait_until_ready(&harness);
    harness
}

/// `keys`: those of `[subscriptions]` beside the address.
fn with_list(lists: &ListServer, keys: &str) -> Harness {
    let address = lists.server.address;
    Harness::with(&format!(
        "[subscriptions]\nurl = \"http://{address}/clients\"\n{keys}\n{ROUTES}"
    ))
}

fn wait_until_ready(harness: &Harness) {
    wait_for("readiness", || harness.admin("/readyz").status == 200);
}

/// The client that a token is of has the token's name.
fn get(harness: &Harness, path: &str, client: &str) -> (u16, String) {
    harness.key_manager.set(client, Reply::active(client, ""));
    let answer = harness.get(path, client);
    match answer.status {
        200 => (200, String::new()),
        _ => answer.refusal(),
    }
}

fn is(status: u16, reason: &str) -> (u16, String) {
    (status, reason.to_owned())
}

#[test]
fn states_decide() {
    let folder = Folder::new("states");
    let harness = with_file(&folder.write("clients.toml", CLIENTS));
    for (client, path, answer) in [
        ("shop", "/pizza/1", is(200, "")),
        ("shop", "/pasta/1", is(403, "subscription_blocked")),
        ("waiting", "/pizza/1", is(403, "subscription_on_hold")),
        ("waiting", "/pasta/1", is(403, "subscription_missing")),
        ("refused", "/pizza/1", is(403, "subscription_rejected")),
        ("production", "/pizza/1", is(403, "subscription_blocked")),
        ("sandbox", "/pizza/1", is(200, "")),
        ("changing", "/pizza/1", is(200, "")),
        ("stranger", "/pizza/1", is(403, "subscription_missing")),
        ("stranger", "/open/1", is(200, "")),
        ("waiting", "/open/1", is(200, "")),
    ] {
        assert_eq!(get(&harness, path, client), answer, "{client} {path}");
    }
}

#[test]
fn the_log_says_who_it_was() {
    let folder = Folder::new("log");
    let harness = with_file(&folder.write("clients.toml", CLIENTS));
    get(&harness, "/pizza/1", "shop");
    get(&harness, "/pasta/1", "waiting");
    let lines = harness.log(2);
    assert_eq!(lines[0]["portcullis.application"], "Shop");
    assert_eq!(lines[0]["portcullis.tier"], "Gold");
    assert_eq!(lines[0]["portcullis.key_type"], "PRODUCTION");
    // The application is known, a subscription is not.
    assert_eq!(lines[1]["portcullis.application"], "waiting");
    assert!(lines[1]["portcullis.tier"].is_null());
}

#[test]
fn the_upstream_is_told_who_it_is() {
    let folder = Folder::new("told");
    let list = CLIENTS.replace("\"Shop\"", "\"Käse\"");
    let harness = with_file(&folder.write("clients.toml", &list));
    harness.key_manager.set("shop", Reply::active("shop", ""));
    let request = "GET /pizza/1 HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer shop\r\nX-Tier: Platinum\r\n\r\n";
    let echoed = harness.send(request).echoed();
    assert_eq!(echoed.header("x-application"), ["K%C3%A4se"]);
    assert_eq!(echoed.header("x-tier"), ["Gold"]);
}

#[test]
fn a_token_without_a_client_is_of_nobody() {
    let folder = Folder::new("nobody");
    let harness = with_file(&folder.write("clients.toml", CLIENTS));
    let set =
        |token: &str, json: &str| harness.key_manager.set(token, Reply::Json(json.to_owned()));
    set("nobody", r#"{"active":true,"sub":"shop"}"#);
    set("authorized-party", r#"{"active":true,"azp":"shop"}"#);
    assert_eq!(
        harness.get("/pizza/1", "nobody").refusal(),
        is(403, "no_client_id")
    );
    assert_eq!(harness.get("/open/1", "nobody").status, 200);
    assert_eq!(harness.get("/pizza/1", "authorized-party").status, 200);
}

#[test]
fn a_file_that_changes_is_read_again_and_a_bad_one_is_not_taken() {
    let folder = Folder::new("changes");
    let path = folder.write("clients.toml", CLIENTS);
    let harness = with_file(&path);
    assert_eq!(get(&harness, "/pizza/1", "shop").0, 200);
    folder.write("clients.toml", "[[client]]\nclient_id = ");
    wait_for("the failure", || {
        harness.metric("portcullis_subscriptions_source_up") == 0.0
    });
    assert_eq!(get(&harness, "/pizza/1", "shop").0, 200);
    assert_eq!(get(&harness, "/pizza/1", "stranger").0, 403);
    fs::remove_file(&path).unwrap();
    assert_eq!(get(&harness, "/pizza/1", "shop").0, 200);
    let new = CLIENTS.replace("client_id = \"shop\"", "client_id = \"stranger\"");
    folder.write("clients.toml", &new);
    wait_for("the new list", || {
        get(&harness, "/pizza/1", "stranger").0 == 200
    });
    assert_eq!(
        get(&harness, "/pizza/1", "shop"),
        is(403, "subscription_missing")
    );
    wait_for("the source to be up", || {
        harness.metric("portcullis_subscriptions_source_up") == 1.0
    });
}

#[test]
fn rows_that_cannot_be_understood_are_left_out_and_counted() {
    let folder = Folder::new("rows");
    let text = r#"{"made":"by hand","client":[
        7, {"client_id":7,"apis":[]}, {"apis":[]}, {"client_id":"a"}, {"client_id":"","apis":[]},
        {"client_id":"b","apis":[{"name":"Pizza"}]},
        {"client_id":"c","key_type":"OTHER","apis":[{"name":"Pizza","version":"1.0.0"}]},
        {"client_id":"d","stat":"BLOCKED","apis":[{"name":"Pizza","version":"1.0.0"}]},
        {"client_id":"e","state":"NEW","apis":[{"name":"Pizza","version":"1.0.0"}]},
        {"client_id":"good","apis":[{"name":"Pizza","version":"1.0.0"}]},
        {"client_id":"good","apis":[{"name":"Pasta","version":"2"}]}
    ]}"#;
    let harness = with_file(&folder.write("clients.json", text));
    assert_eq!(get(&harness, "/pizza/1", "good").0, 200);
    assert_eq!(get(&harness, "/pasta/1", "good").0, 403);
    for client in ["a", "b", "c", "d"] {
        assert_eq!(
            get(&harness, "/pizza/1", client),
            is(403, "subscription_missing")
        );
    }
    assert_eq!(
        get(&harness, "/pizza/1", "e"),
        is(403, "subscription_rejected")
    );
    let skipped = |fault: &str| {
        let name = format!("portcullis_subscriptions_skipped_total{{fault=\"{fault}\"}}");
        harness.metric(&name)
    };
    for (fault, count) in [
        ("form", 1.0),
        ("missing", 4.0),
        ("wrong_type", 1.0),
        ("unknown_word", 1.0),
        ("unknown_key", 1.0),
        ("twice", 1.0),
    ] {
        assert_eq!(skipped(fault), count, "{fault}");
    }
    wait_for("the gauges", || {
        harness.metric("portcullis_subscriptions_rows{kind=\"subscriptions\"}") == 2.0
    });
}

/// A server with a list, and what it was asked.
struct ListServer {
    server: RawServer,
    /// Tag and text; an empty text is answered 500.
    list: Arc<Mutex<(&'static str, String)>>,
    asked: Arc<Mutex<String>>,
    full: Arc<AtomicUsize>,
}

impl ListServer {
    fn start(text: &str) -> Self {
        let list = Arc::new(Mutex::new(("\"1\"", text.to_owned())));
        let (asked, full) = (
            Arc::<Mutex<String>>::default(),
            Arc::<AtomicUsize>::default(),
        );
        let (answers, heard, sent) = (Arc::clone(&list), Arc::clone(&asked), Arc::clone(&full));
        let server = RawServer::start(move |_, mut stream| {
            let mut head = Vec::new();
            let mut byte = [0];
            while !head.ends_with(b"\r\n\r\n") && matches!(stream.read(&mut byte), Ok(1)) {
                head.push(byte[0]);
            }
            let head = String::from_utf8_lossy(&head).into_owned();
            let (tag, text) = answers.lock().clone();
            let known = head.to_ascii_lowercase();
            let answer = match known.contains(&format!("if-none-match: {tag}")) {
                _ if text.is_empty() => "500 Oops\r\nContent-Length: 0".to_owned(),
                true => "304 Not Modified\r\nContent-Length: 0".to_owned(),
                false => {
                    sent.fetch_add(1, Ordering::Relaxed);
                    format!("200 OK\r\nETag: {tag}\r\nContent-Length: {}", text.len())
                }
            };
            *heard.lock() = head;
            let body = if answer.starts_with("200") {
                &*text
            } else {
                ""
            };
            let answer = format!("HTTP/1.1 {answer}\r\nConnection: close\r\n\r\n{body}");
            let _ = stream.write_all(answer.as_bytes());
        });
        Self {
            server,
            list,
            asked,
            full,
        }
    }
}

fn one_client(client: &str) -> String {
    format!(
        r#"{{"client":[{{"client_id":"{client}","apis":[{{"name":"Pizza","version":"1.0.0"}}]}}]}}"#
    )
}

#[test]
fn a_list_at_an_address_is_asked_for_again_and_again() {
    let lists = ListServer::start(&one_client("shop"));
    let harness = with_list(
        &lists,
        "validate = true\ninterval = \"1s\"\nusername = \"gateway\"\npassword = \"secret\"",
    );
    wait_until_ready(&harness);
    assert_eq!(get(&harness, "/pizza/1", "shop").0, 200);
    assert_eq!(get(&harness, "/pizza/1", "other").0, 403);
    // gateway:secret
    let expected = "authorization: basic z2f0zxdhetpzzwnyzxq=";
    assert!(lists.asked.lock().to_ascii_lowercase().contains(expected));
    wait_for("a question with the tag", || {
        lists
            .asked
            .lock()
            .to_ascii_lowercase()
            .contains("if-none-match")
    });
    assert_eq!(lists.full.load(Ordering::Relaxed), 1);
    assert!(harness.admin("/").body.contains("as the source had them"));
    // An outage opens nothing and closes nothing.
    *lists.list.lock() = ("\"1\"", String::new());
    wait_for("the outage", || {
        harness.metric("portcullis_subscriptions_source_up") == 0.0
    });
    assert_eq!(get(&harness, "/pizza/1", "shop").0, 200);
    assert_eq!(get(&harness, "/pizza/1", "other").0, 403);
    wait_for("the age of what is known", || {
        harness.metric("portcullis_subscriptions_age_seconds") > 1.0
    });
    let page = harness.admin("/").body;
    let told = "s ago: the source cannot be read now (it answers 500)";
    assert!(page.contains(told), "{page}");
    // What is no list is none.
    *lists.list.lock() = ("\"2\"", "{\"error\":\"sorry\"}".to_owned());
    wait_for("the odd answer", || {
        harness.admin("/").body.contains("it has no list")
    });
    assert_eq!(get(&harness, "/pizza/1", "shop").0, 200);
    *lists.list.lock() = ("\"3\"", one_client("other"));
    wait_for("the new list", || {
        get(&harness, "/pizza/1", "other").0 == 200
    });
    assert_eq!(get(&harness, "/pizza/1", "shop").0, 403);
}

#[test]
fn before_the_first_list_nobody_passes_who_must_have_subscribed() {
    let lists = ListServer::start("");
    let harness = with_list(&lists, "validate = true\ninterval = \"1s\"");
    harness.key_manager.set("shop", Reply::active("shop", ""));
    let answer = harness.get("/pizza/1", "shop");
    assert_eq!(answer.refusal(), is(503, "subscriptions_not_ready"));
    assert_eq!(answer.header("retry-after"), Some("1"));
    assert_eq!(harness.get("/open/1", "shop").status, 200);
    assert_eq!(harness.admin("/readyz").status, 503);
    *lists.list.lock() = ("\"1\"", one_client("shop"));
    wait_until_ready(&harness);
    assert_eq!(harness.get("/pizza/1", "shop").status, 200);
}

#[test]
fn before_the_first_list_nobody_is_sent_to_the_wrong_upstream() {
    let lists = ListServer::start("");
    let harness = with_list(&lists, "interval = \"1s\"");
    // It may be a client with a sandbox key.
    let refused = is(503, "subscriptions_not_ready");
    assert_eq!(get(&harness, "/pizza/1", "shop"), refused);
    assert_eq!(harness.admin("/readyz").status, 503);
    // Here there is one upstream for all.
    assert_eq!(get(&harness, "/pasta/1", "shop").0, 200);
    *lists.list.lock() = ("\"1\"", one_client("shop"));
    wait_until_ready(&harness);
    assert_eq!(get(&harness, "/pizza/1", "shop").0, 200);
    assert_eq!(get(&harness, "/pizza/1", "stranger").0, 200);
}

#[test]
fn a_list_of_a_hundred_megabytes_is_not_taken() {
    let lists = ListServer::start(&one_client("shop"));
    let harness = with_list(&lists, "validate = true\ninterval = \"1s\"");
    wait_until_ready(&harness);
    let client = one_client("other");
    let rows = client
        .trim_start_matches("{\"client\":[")
        .trim_end_matches("]}");
    let count = 100_000_000 / rows.len();
    let long = format!("{{\"client\":[{}]}}", vec![rows; count].join(","));
    *lists.list.lock() = ("\"2\"", long);
    wait_for("the refusal of the list", || {
        harness
            .admin("/")
            .body
            .contains("it is longer than `max_bytes`")
    });
    assert_eq!(get(&harness, "/pizza/1", "shop").0, 200);
    assert_eq!(get(&harness, "/pizza/1", "other").0, 403);
    *lists.list.lock() = ("\"3\"", one_client("other"));
    wait_for("the next list", || {
        get(&harness, "/pizza/1", "other").0 == 200
    });
}

#[test]
fn a_reload_to_a_source_that_cannot_be_read_opens_nothing() {
    let folder = Folder::new("bad-source");
    let harness = with_file(&folder.write("clients.toml", CLIENTS));
    let answer = harness.reload(|text| {
        *text = text.replace("clients.toml", "nowhere.toml");
    });
    assert_eq!(answer.status, 422, "{}", answer.body);
    assert_eq!(get(&harness, "/pizza/1", "shop").0, 200);
    assert_eq!(get(&harness, "/pizza/1", "stranger").0, 403);
}

#[test]
fn metrics_tell_of_the_source_in_force_only() {
    let lists = ListServer::start(&one_client("shop"));
    let harness = with_list(&lists, "validate = true\ninterval = \"1h\"");
    wait_until_ready(&harness);
    let up = || harness.metric("portcullis_subscriptions_source_up");
    let keys = || harness.metric("portcullis_subscriptions_rows{kind=\"key_mappings\"}");
    wait_for("the gauges", || (up(), keys()) == (1.0, 1.0));
    let from = format!("{}/clients", lists.server.address);
    let nowhere = format!("127.0.0.1:{}/clients", free_port());
    let answer = harness.reload(|text| *text = text.replace(&from, &nowhere));
    assert_eq!(answer.status, 422, "{}", answer.body);
    assert_eq!((up(), keys()), (1.0, 1.0));
    assert!(harness.admin("/").body.contains("as the source had them"));
    let answer = harness.reload(|text| {
        *text = text.replace("validate = true\n", "validate = false\n");
        let is_of_source = |line: &&str| line.starts_with("url") || line.starts_with("interval");
        let rest: Vec<&str> = text.lines().filter(|line| !is_of_source(line)).collect();
        *text = rest.join("\n");
    });
    assert_eq!(answer.status, 200, "{}", answer.body);
    wait_for("nothing to be known", || (up(), keys()) == (0.0, 0.0));
}

#[test]
fn a_client_is_one_of_its_key_manager() {
    let folder = Folder::new("key-managers");
    let clients = r#"
        client = [
            { client_id = "shop", key_manager = "one", apis = [{ name = "Pizza", version = "1.0.0" }] },
            { client_id = "shop", key_manager = "two", apis = [{ name = "Pasta", version = "2" }] },
            { client_id = "mine", key_manager = "two", apis = [{ name = "Pizza", version = "1.0.0" }] },
        ]"#;
    let path = folder.write("clients.toml", clients);
    let sections = format!("[subscriptions]\nvalidate = true\nfile = {path:?}\n{ROUTES}");
    let harness = Harness::with_keys(&sections, "knownAs = \"one\"");
    wait_until_ready(&harness);
    let missing = is(403, "subscription_missing");
    assert_eq!(get(&harness, "/pizza/1", "shop").0, 200);
    assert_eq!(get(&harness, "/pasta/1", "shop"), missing);
    assert_eq!(get(&harness, "/pizza/1", "mine"), missing);
    // Without the name, only what cannot be mistaken for another one's passes.
    let harness = Harness::with(&sections);
    wait_until_ready(&harness);
    assert_eq!(get(&harness, "/pizza/1", "mine").0, 200);
    for path in ["/pizza/1", "/pasta/1"] {
        assert_eq!(get(&harness, path, "shop"), missing);
    }
}

#[test]
fn a_reload_keeps_the_list_and_takes_another_one_only_when_it_is_there() {
    let folder = Folder::new("reload");
    let harness = with_file(&folder.write("clients.toml", CLIENTS));
    let answer = harness.reload(|text| text.push_str("\n# nothing else\n"));
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(get(&harness, "/pizza/1", "shop").0, 200);
    let other = folder.write("other.json", &one_client("other"));
    let answer = harness.reload(|text| {
        *text = text.replace("clients.toml", "other.json");
    });
    assert_eq!(answer.status, 200, "{}: {}", other.display(), answer.body);
    assert_eq!(get(&harness, "/pizza/1", "other").0, 200);
    assert_eq!(get(&harness, "/pizza/1", "shop").0, 403);
}

#[test]
fn the_key_managers_word_counts_where_a_route_says_nothing() {
    let folder = Folder::new("key-manager");
    let path = folder.write("clients.toml", CLIENTS);
    let sections = format!("[subscriptions]\nvalidate = true\nfile = {path:?}\n{ROUTES}");
    let harness = Harness::with_keys(&sections, "validateSubscriptions = false");
    wait_until_ready(&harness);
    assert_eq!(get(&harness, "/pizza/1", "stranger").0, 200);
    assert_eq!(get(&harness, "/pasta/1", "shop").0, 200);
}
