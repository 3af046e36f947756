//! Changed configurations are taken up whole or not at all, and what can go on goes on.

use std::sync::atomic::{AtomicBool, Ordering};

use portcullis::demo::Reply;

use crate::support::{Harness, ROUTES, wait_for};

const NEW_ROUTE: &str = "\n[[route]]\nname = \"new\"\npath = \"/new/*\"\npublic = true\n";

/// A route to the echo upstream of the harness.
fn add_route(text: &mut String) {
    let upstream = text
        .lines()
        .find(|line| line.starts_with("upstream"))
        .unwrap()
        .to_owned();
    text.push_str(NEW_ROUTE);
    text.push_str(&upstream);
    text.push('\n');
}

#[test]
fn a_new_route_is_there_after_a_reload() {
    let harness = Harness::start();
    assert_eq!(harness.get_with("/new/1", "").status, 404);
    let answer = harness.reload(add_route);
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert!(answer.body.contains("4 routes in force"), "{}", answer.body);
    assert_eq!(harness.get_with("/new/1", "").status, 200);
    assert_eq!(
        harness.metric("portcullis_config_reloads_total{result=\"ok\"}"),
        1.0
    );
}

#[test]
fn a_bad_file_changes_nothing_and_says_why() {
    let harness = Harness::start();
    let answer = harness.reload(|text| text.push_str("\n[[route]]\npath = \"nonsense\"\n"));
    assert_eq!(answer.status, 422);
    assert!(
        answer.body.contains("a path begins with `/`"),
        "{}",
        answer.body
    );
    assert_eq!(harness.get_with("/public/1", "").status, 200);
    assert_eq!(
        harness.metric("portcullis_config_last_reload_successful"),
        0.0
    );
    let answer = harness.reload(|text| {
        let start = text.rfind("\n[[route]]").unwrap();
        text.truncate(start);
    });
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(
        harness.metric("portcullis_config_last_reload_successful"),
        1.0
    );
}

#[test]
fn what_only_a_new_process_can_change_is_told() {
    let harness = Harness::start();
    let answer = harness.reload(|text| {
        *text = text.replace("access = \"json\"", "access = \"off\"");
        add_route(text);
    });
    assert_eq!(answer.status, 409);
    assert!(answer.body.contains("[log]"), "{}", answer.body);
    assert_eq!(harness.get_with("/new/1", "").status, 404);
}

#[test]
fn cached_tokens_outlive_a_reload() {
    let harness = Harness::start();
    harness
        .key_manager
        .set("good", Reply::active("shop", "orders.read"));
    assert_eq!(harness.get("/orders/1", "good").status, 200);
    assert_eq!(harness.reload(add_route).status, 200);
    assert_eq!(harness.get("/orders/1", "good").status, 200);
    assert_eq!(harness.key_manager.introspections(), 1);
}

#[test]
fn who_asks_as_somebody_else_asks_again() {
    let harness = Harness::start();
    harness
        .key_manager
        .set("good", Reply::active("shop", "orders.read"));
    assert_eq!(harness.get("/orders/1", "good").status, 200);
    // The same client with another password may use what it was told.
    let answer = harness.reload(|text| *text = text.replace("\"demo-secret\"", "\"other\""));
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(harness.get("/orders/1", "good").status, 200);
    // Another client may not; this one the key manager refuses.
    let answer = harness.reload(|text| *text = text.replace("\"gateway\"", "\"stranger\""));
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(harness.get("/orders/1", "good").status, 503);
}

#[test]
fn a_key_manager_that_is_out_of_reach_keeps_no_route_from_changing() {
    // Its metadata cannot be read, so it is not ready, and will not be.
    let nobody = "[keyManager]\nissuer = \"http://127.0.0.1:9\"\n\
                  [keymanager.security.none]\nenabled = true\n";
    let harness = Harness::with_key_manager_text(nobody, ROUTES);
    assert_eq!(harness.admin("/readyz").status, 503);
    let answer = harness.reload(add_route);
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(harness.get_with("/new/1", "").status, 200);
}

#[test]
fn the_rules_of_a_new_file_hold_for_cached_tokens() {
    let harness = Harness::start();
    harness
        .key_manager
        .set("good", Reply::active("shop", "orders.read"));
    assert_eq!(harness.get("/orders/1", "good").status, 200);
    let answer =
        harness.reload(|text| *text = text.replace("[\"orders.read\"]", "[\"orders.other\"]"));
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(harness.get("/orders/1", "good").status, 403);
}

#[test]
fn series_of_routes_come_and_go_and_keep_their_counts() {
    let harness = Harness::start();
    harness.get_with("/public/1", "");
    harness.reload(add_route);
    harness.get_with("/new/1", "");
    let of = |route: &str| {
        harness.metric(&format!(
            "portcullis_http_requests_total{{code=\"200\",method=\"GET\",route=\"{route}\"}}"
        ))
    };
    wait_for("both counts", || (of("/public/*"), of("new")) == (1.0, 1.0));
    harness.reload(|text| {
        let start = text.rfind("\n[[route]]").unwrap();
        text.truncate(start);
    });
    wait_for("the series of the old route to go", || of("new") == 0.0);
    assert_eq!(of("/public/*"), 1.0);
}

#[test]
fn no_request_fails_while_configurations_are_taken_up() {
    let harness = Harness::start();
    harness
        .key_manager
        .set("good", Reply::active("shop", "orders.read"));
    // A question under way is not shared with the next configuration, so it comes before.
    assert_eq!(harness.get("/orders/1", "good").status, 200);
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let callers: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    let mut connection = harness.connect();
                    let mut count = 0;
                    loop {
                        let answer = connection.send(
                            b"GET /orders/1 HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer good\r\n\r\n",
                        );
                        assert_eq!(answer.status, 200);
                        count += 1;
                        if over.load(Ordering::Relaxed) {
                            break count;
                        }
                    }
                })
            })
            .collect();
        for turn in 0..20 {
            let answer = harness.reload(|text| match turn % 2 {
                0 => add_route(text),
                _ => {
                    let start = text.rfind("\n[[route]]").unwrap();
                    text.truncate(start);
                }
            });
            assert_eq!(answer.status, 200, "{}", answer.body);
        }
        over.store(true, Ordering::Relaxed);
        for caller in callers {
            assert!(caller.join().unwrap() > 0);
        }
    });
    assert_eq!(harness.key_manager.introspections(), 1);
}

#[test]
fn a_web_page_cannot_ask_for_a_reload() {
    let harness = Harness::start();
    let request = "POST /admin/reload HTTP/1.1\r\nHost: admin\r\nContent-Length: 0\r\n\r\n";
    let answer = crate::support::Connection::open(harness.admin).send(request.as_bytes());
    assert_eq!(answer.status, 403);
    assert_eq!(harness.metric("portcullis_config_reloads_total"), 0.0);
}
