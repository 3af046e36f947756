//! The feed against a server on loopback.

use std::{
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;

use super::{misses::look_up, *};
use crate::{
    config::{EventHubSettings, TlsSettings},
    domain::{ApiIdentity, Missing, Outcome, RowKind, Secret, Subscriber},
    metrics::{Metrics, SourceHealth},
    subscription::{Desk, Sought, Subscriptions, Table},
};

mod doubts;

const MAPPINGS: &str =
    r#"{"applicationId":2,"consumerKey":"CK","keyType":"SANDBOX","keyManager":"Default"}"#;
const APPLICATION: &str =
    r#"{"uuid":null,"id":2,"name":"newAPP","subName":"admin","policy":"10PerMin"}"#;
const API: &str = r#"{"apiId":1,"provider":"admin","name":"PizzaShackAPI","version":"1.0.0",
                      "context":"/pizzashack/1.0.0"}"#;
const SUBSCRIPTION: &str = r#"{"subscriptionId":1,"policyId":"Gold","apiId":1,"appId":2,
                               "subscriptionState":"UNBLOCKED"}"#;

/// What is answered to a target: status and body.
type Answers = Arc<Mutex<dyn FnMut(&str) -> (u16, String) + Send>>;

/// A server that answers so, and the heads of the requests that it saw.
struct Server {
    port: u16,
    heads: Arc<Mutex<Vec<String>>>,
}

impl Server {
    fn new(answers: impl FnMut(&str) -> (u16, String) + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let heads = Arc::new(Mutex::new(Vec::new()));
        let (seen, answers): (_, Answers) = (Arc::clone(&heads), Arc::new(Mutex::new(answers)));
        std::thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                let (seen, answers) = (Arc::clone(&seen), Arc::clone(&answers));
                std::thread::spawn(move || serve(&connection, &seen, &answers));
            }
        });
        Self { port, heads }
    }

    fn targets(&self) -> Vec<String> {
        let heads = self.heads.lock();
        let target = |head: &String| head.split(' ').nth(1).unwrap().to_owned();
        heads.iter().map(target).collect()
    }
}

fn serve(connection: &TcpStream, seen: &Mutex<Vec<String>>, answers: &Answers) {
    let mut lines = BufReader::new(connection).lines();
    let mut head = String::new();
    while let Some(Ok(line)) = lines.next() {
        head.push_str(&line);
        head.push('\n');
        if !line.is_empty() {
            continue;
        }
        let target = head.split(' ').nth(1).unwrap().to_owned();
        seen.lock().push(std::mem::take(&mut head));
        let (status, body) = (*answers.lock())(&target);
        let (length, mut to) = (body.len(), connection);
        // A clock of whole seconds, which stands still for these tests.
        let date = "Date: Tue, 24 Nov 2026 04:00:00 GMT";
        let text =
            format!("HTTP/1.1 {status} X\r\n{date}\r\nContent-Length: {length}\r\n\r\n{body}");
        if to.write_all(text.as_bytes()).is_err() {
            return;
        }
    }
}

fn list(rows: &[&str]) -> (u16, String) {
    let (count, rows) = (rows.len(), rows.join(","));
    (200, format!(r#"{{"count":{count},"list":[{rows}]}}"#))
}

/// The path and the query of a target.
fn parts(target: &str) -> (&str, &str) {
    let path = target.trim_start_matches("/internal/data/v1/");
    path.split_once('?').unwrap_or((path, ""))
}

fn everything(path: &str) -> (u16, String) {
    match path {
        "applications" => list(&[APPLICATION]),
        "application-key-mappings" => list(&[MAPPINGS]),
        "apis" => list(&[API]),
        "subscriptions" => list(&[SUBSCRIPTION]),
        _ => list(&[]),
    }
}

fn settings(server: &Server) -> EventHubSettings {
    let url = format!("http://127.0.0.1:{}/internal/data/v1", server.port);
    EventHubSettings {
        data_url: url.parse().unwrap(),
        username: "admin".to_owned(),
        password: Secret::new("s3cret"),
        tenant: Some("carbon.super".parse().unwrap()),
        resync_interval: Duration::from_secs(3600),
        tls: TlsSettings::default(),
        events: None,
    }
}

fn rest(server: &Server) -> Rest {
    let metrics = Metrics::new().unwrap().api_manager("apim");
    Rest::new(&settings(server), 1 << 20, metrics)
}

fn pizza(context: Option<&str>) -> Sought {
    Sought::new(ApiIdentity {
        name: "PizzaShackAPI".into(),
        version: "1.0.0".into(),
        context: context.map(Into::into),
    })
}

fn is_subscribed(table: &Table) -> bool {
    matches!(table.check("CK", None, &pizza(None)), Outcome::Known(_))
}

/// Waits for something that happens soon.
async fn until(what: impl Fn() -> bool) {
    for _ in 0..2000 {
        if what() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("it did not happen");
}

struct Running {
    subscriptions: Subscriptions,
    metrics: Arc<Metrics>,
    resync: Resync,
    task: tokio::task::JoinHandle<()>,
}

fn run(server: &Server) -> Running {
    let (metrics, table) = (
        Arc::new(Metrics::new().unwrap()),
        Arc::new(Table::new(Arc::default())),
    );
    let (desk, questions) = Desk::new(Duration::from_secs(60));
    let health = Arc::new(SourceHealth::new(&metrics));
    health.show(true);
    let settings = settings(server);
    let manager = ApiManager::new(&settings, 1 << 20, &table, &health, questions, &metrics);
    let resync = manager.resync();
    let task = tokio::spawn(manager.follow());
    Running {
        subscriptions: Subscriptions {
            table,
            desk: Some(desk),
            health,
        },
        metrics,
        resync,
        task,
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[tokio::test]
async fn the_lists_come_into_the_table_and_come_again() {
    let is_gone = Arc::new(Mutex::new(false));
    let state = Arc::clone(&is_gone);
    let server = Server::new(move |target| match (parts(target).0, *state.lock()) {
        ("subscriptions", true) => list(&[]),
        (path, _) => everything(path),
    });
    let running = run(&server);
    until(|| is_subscribed(&running.subscriptions.table) && running.subscriptions.table.is_ready())
        .await;
    *is_gone.lock() = true;
    running.resync.ask();
    until(|| !is_subscribed(&running.subscriptions.table)).await;
    for head in &*server.heads.lock() {
        let names = head.to_lowercase();
        assert!(names.contains("\nxwso2tenant: carbon.super\n"), "{head}");
        assert!(head.contains(": Basic YWRtaW46czNjcmV0\n"), "{head}");
        assert!(!head.contains("//"), "{head}");
    }
}

#[tokio::test]
async fn what_fails_is_asked_for_again_and_the_rest_is_there() {
    let mut failures = vec![
        (500, String::new()),
        (200, "<html>".to_owned()),
        (200, format!(r#"{{"list":[{SUBSCRIPTION}"#)),
    ];
    let server = Server::new(move |target| match parts(target).0 {
        "subscriptions" if !failures.is_empty() => failures.remove(0),
        path => everything(path),
    });
    let running = run(&server);
    until(|| running.subscriptions.table.is_ready()).await;
    assert!(is_subscribed(&running.subscriptions.table));
    let targets = server.targets();
    let asked = |path: &str| {
        let same = targets.iter().filter(|target| parts(target).0 == path);
        same.count()
    };
    assert_eq!((asked("subscriptions"), asked("apis")), (4, 1));
}

/// Times of the gateway's own are skipped.
#[tokio::test(start_paused = true)]
async fn who_asks_ends_the_pause_after_failures() {
    let is_down = Arc::new(Mutex::new(true));
    let state = Arc::clone(&is_down);
    let server = Server::new(move |target| match *state.lock() {
        true => (503, String::new()),
        false => everything(parts(target).0),
    });
    let running = run(&server);
    // The pause is some seconds long then.
    let failures = || {
        server
            .targets()
            .iter()
            .filter(|target| target.ends_with("/apis"))
            .count()
    };
    until(|| failures() == 3).await;
    *is_down.lock() = false;
    let began = tokio::time::Instant::now();
    running.resync.ask();
    until(|| running.subscriptions.table.is_ready()).await;
    assert!(
        began.elapsed() < Duration::from_secs(1),
        "{:?}",
        began.elapsed()
    );
}

#[tokio::test]
async fn rows_that_cannot_be_used_are_left_out_and_counted() {
    let server = Server::new(|target| match parts(target).0 {
        "subscriptions" => list(&[
            "null",
            "{}",
            r#"{"apiId":"x","appId":2}"#,
            r#"{"apiId":-1,"appId":2}"#,
            SUBSCRIPTION,
        ]),
        path => everything(path),
    });
    let running = run(&server);
    until(|| running.subscriptions.table.is_ready()).await;
    assert!(is_subscribed(&running.subscriptions.table));
    let text = String::from_utf8(running.metrics.encode().unwrap()).unwrap();
    for fault in ["form", "missing", "wrong_type", "out_of_range"] {
        let line = format!(
            "portcullis_apim_rows_skipped_total{{fault=\"{fault}\",list=\"subscriptions\",server=\"127.0.0.1:{}\"}} 1\n",
            server.port
        );
        assert!(text.contains(&line), "{line}{text}");
    }
}

#[tokio::test]
async fn an_unknown_client_is_asked_about_once() {
    let server = Server::new(|target| match parts(target) {
        ("subscriptions", "") => list(&[]),
        (path, _) => everything(path),
    });
    let running = run(&server);
    until(|| running.subscriptions.table.is_ready()).await;
    let api = Arc::new(pizza(None));
    let known = running.subscriptions.look_up("CK", None, &api).await;
    assert!(matches!(known, Outcome::Known(_)));
    for _ in 0..5 {
        let known = running.subscriptions.look_up("other", None, &api).await;
        assert!(matches!(known, Outcome::Unknown(..)));
    }
    let asked = server.targets();
    let asked = asked.iter().filter(|target| target.contains('?'));
    let wanted = [
        "subscriptions?apiId=1&appId=2",
        "application-key-mappings?consumerKey=other",
    ];
    assert!(
        asked
            .map(|target| target.trim_start_matches("/internal/data/v1/"))
            .eq(wanted)
    );
}

#[test]
fn what_is_missing_is_asked_for_step_by_step() {
    let server = Server::new(|target| everything(parts(target).0));
    let (rest, table) = (rest(&server), Table::new(Arc::default()));
    look_up(&rest, &table, ("CK", None), &pizza(Some("/pizzashack"))).unwrap();
    assert!(is_subscribed(&table));
    let targets = server.targets();
    let asked: Vec<(&str, &str)> = targets.iter().map(|target| parts(target)).collect();
    let wanted = [
        ("application-key-mappings", "consumerKey=CK"),
        ("applications", "appId=2"),
        ("apis", "context=%2Fpizzashack%2F1.0.0&version=1.0.0"),
        ("subscriptions", "apiId=1&appId=2"),
    ];
    assert_eq!(asked, wanted);
}

#[test]
fn what_is_asked_for_after_a_list_is_newer() {
    let server = Server::new(|target| everything(parts(target).0));
    let rest = rest(&server);
    let mut times = Vec::new();
    for query in [&[][..], &[("apiId", "1")], &[], &[("apiId", "1")]] {
        let mut found = Found::default();
        match query {
            [] => rest.list(RowKind::Apis, &mut found).unwrap(),
            query => rest.find(RowKind::Apis, query, &mut found).unwrap(),
        }
        times.push(found.at);
    }
    let [list, row, next_list, next_row] = times[..] else {
        panic!("{times:?}")
    };
    assert!(
        list < row && row <= next_list && next_list < next_row,
        "{times:?}"
    );
}

#[test]
fn what_was_not_asked_for_is_not_taken() {
    // A server that does not know the parameter.
    let server = Server::new(|target| everything(parts(target).0));
    let (rest, table) = (rest(&server), Table::new(Arc::default()));
    look_up(&rest, &table, ("other", None), &pizza(None)).unwrap();
    let nobody = Outcome::Unknown(Missing::KeyMapping, Subscriber::default());
    assert_eq!(table.check("CK", None, &pizza(None)), nobody);
}

#[test]
fn an_answer_that_is_none_says_so() {
    for (status, body, wanted) in [
        (401, "", NoAnswer::Refused),
        (403, "", NoAnswer::Refused),
        (302, "", NoAnswer::Status(http::StatusCode::FOUND)),
        (404, "", NoAnswer::Status(http::StatusCode::NOT_FOUND)),
        (200, "", NoAnswer::Broken),
        (200, "[]", NoAnswer::Broken),
    ] {
        let server = Server::new(move |_| (status, body.to_owned()));
        let mut found = Found::default();
        assert_eq!(rest(&server).list(RowKind::Apis, &mut found), Err(wanted));
    }
    let long = Server::new(|_| (200, format!(r#"{{"list":["{}"]}}"#, "x".repeat(2 << 20))));
    let mut found = Found::default();
    let answer = rest(&long).list(RowKind::Apis, &mut found);
    assert_eq!(answer, Err(NoAnswer::TooLarge));
}
