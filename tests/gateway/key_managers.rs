//! Several key managers: whose word counts on a token, and on nobody else's.

use std::net::SocketAddr;

use portcullis::demo::Reply;

use crate::{
    jwt::Issuer,
    support::{Harness, ROUTES, free_port, local, wait_for},
};

/// Only the partners' key manager is asked here.
const PARTNERS_ONLY: &str = r#"
[[route]]
name = "partners"
path = "/partners/*"
key_manager = "partners"
scopes = ["orders.read"]
identity_headers = { "X-Auth-Subject" = "sub" }
upstream = "http://{upstream}"
"#;

/// A key manager of its own; the gateway that comes with it is of no use.
fn partners() -> (Harness, SocketAddr) {
    let harness = Harness::start();
    let address = harness.key_manager_address.unwrap();
    (harness, address)
}

fn table(name: &str, address: SocketAddr, more: &str) -> String {
    format!(
        "[keyManagers.{name}]\nserverUrl = \"http://{address}\"\ntimeout = \"20s\"\n{more}\n\
         [keymanagers.{name}.security.basic]\nusername = \"gateway\"\npassword = \"demo-secret\"\n"
    )
}

fn active() -> Reply {
    Reply::active("shop", "orders.read")
}

/// How often somebody was asked, by the metrics.
fn calls(harness: &Harness, issuer: &str) -> f64 {
    let outcomes = ["active", "inactive"].map(|outcome| {
        format!(
            "portcullis_introspection_requests_total{{issuer=\"{issuer}\",outcome=\"{outcome}\"}}"
        )
    });
    outcomes.iter().map(|series| harness.metric(series)).sum()
}

#[test]
fn a_route_asks_the_one_that_it_names_and_nobody_else() {
    let (partners, address) = partners();
    let table = table("partners", address, "");
    let harness = Harness::with(&format!("{table}{ROUTES}{PARTNERS_ONLY}"));
    harness.key_manager.set("ours", active());
    partners.key_manager.set("theirs", active());
    for _ in 0..2 {
        assert_eq!(harness.get("/orders/1", "ours").status, 200);
        assert_eq!(harness.get("/partners/1", "theirs").status, 200);
        for (path, token) in [("/orders/1", "theirs"), ("/partners/1", "ours")] {
            let refusal = harness.get(path, token).refusal();
            assert!(
                ["inactive", "inactive_cached"].contains(&&*refusal.1),
                "{refusal:?}"
            );
        }
    }
    // Each was asked once about each token that was for it, and what one said is not the other's word.
    assert_eq!(harness.key_manager.introspections(), 2);
    assert_eq!(partners.key_manager.introspections(), 2);
    let ours = harness.key_manager_address.unwrap().to_string();
    assert_eq!(
        (calls(&harness, &ours), calls(&harness, "partners")),
        (2.0, 2.0)
    );
}

#[test]
fn a_token_says_by_its_look_whose_it_is() {
    let (partners, address) = partners();
    let table = table(
        "partners",
        address,
        "tokenPattern = [\"ptk_*\", \"*-partner\"]",
    );
    let harness = Harness::with(&format!("{table}{ROUTES}"));
    harness.key_manager.set("ptk", active());
    for token in ["ptk_1", "1-partner"] {
        partners.key_manager.set(token, active());
        assert_eq!(harness.get("/orders/1", token).status, 200);
    }
    assert_eq!(harness.get("/orders/1", "ptk").status, 200);
    assert_eq!(partners.key_manager.introspections(), 2);
    assert_eq!(harness.key_manager.introspections(), 1);
}

#[test]
fn nobody_is_asked_about_what_is_nobodys() {
    let (partners, address) = partners();
    let table = table("partners", address, "tokenPattern = \"ptk_*\"");
    let harness = Harness::with_key_manager_text(&table, ROUTES);
    partners.key_manager.set("ptk_1", active());
    assert_eq!(harness.get("/orders/1", "ptk_1").status, 200);
    let refusal = harness.get("/orders/1", "other").refusal();
    assert_eq!(refusal, (401, "unknown_issuer".to_owned()));
    assert_eq!(partners.key_manager.introspections(), 1);
}

#[test]
fn one_that_is_out_of_reach_takes_nobody_with_it() {
    let table = table("partners", local(free_port()), "");
    let harness = Harness::with(&format!("{table}{ROUTES}{PARTNERS_ONLY}"));
    harness.key_manager.set("ours", active());
    let refusal = harness.get("/partners/1", "theirs").refusal();
    assert_eq!(refusal, (503, "introspection_unreachable".to_owned()));
    assert_eq!(harness.get("/orders/1", "ours").status, 200);
    assert_eq!(harness.admin("/readyz").status, 200);
}

#[test]
fn one_without_an_address_keeps_nobody_from_starting() {
    // No server of names is even asked about one that is too long.
    let nowhere = format!("{}.invalid", "x".repeat(64));
    let table = table("partners", local(1), "").replace("127.0.0.1:1", &nowhere);
    let harness = Harness::with(&format!("{table}{ROUTES}{PARTNERS_ONLY}"));
    harness.key_manager.set("ours", active());
    assert_eq!(harness.get("/orders/1", "ours").status, 200);
    let refusal = harness.get("/partners/1", "theirs").refusal();
    assert_eq!(refusal, (503, "introspection_unreachable".to_owned()));
}

#[test]
fn clients_of_one_name_take_nothing_from_each_other() {
    let (partners, address) = partners();
    let table = table("partners", address, "");
    let limits = "[limits]\nrates = [\"client\"]\n[rate_limits.client]\nrequests = 2\nper = \"1h\"\nby = \"client_id\"\n";
    let harness = Harness::with(&format!("{limits}{table}{ROUTES}{PARTNERS_ONLY}"));
    harness.key_manager.set("ours", active());
    partners.key_manager.set("theirs", active());
    for _ in 0..2 {
        assert_eq!(harness.get("/partners/1", "theirs").status, 200);
    }
    assert_eq!(harness.get("/partners/1", "theirs").status, 429);
    assert_eq!(harness.get("/orders/1", "ours").status, 200);
}

#[test]
fn what_was_kept_for_one_is_not_given_to_the_other() {
    let (partners, address) = partners();
    let table = table("partners", address, "tokenPattern = \"ptk_*\"");
    let harness = Harness::with(&format!(
        "{table}[[route]]\npath = \"/mine\"\nscopes = [\"orders.read\"]\n\
         response_cache = {{ scope = \"per_client\", default_ttl = \"1h\" }}\nupstream = \"http://{{upstream}}\"\n"
    ));
    harness.key_manager.set("ours", active());
    partners.key_manager.set("ptk_1", active());
    for _ in 0..2 {
        for token in ["ours", "ptk_1"] {
            assert_eq!(harness.get("/mine", token).status, 200);
        }
    }
    // The same subject, the same client: two people all the same.
    assert_eq!(harness.echo.requests(), 2);
}

#[test]
fn on_a_route_that_names_one_no_signature_counts() {
    let (partners, address) = partners();
    let issuer = Issuer::start();
    let table = format!("{}{}", table("partners", address, ""), issuer.table(""));
    let harness = Harness::with(&format!("{table}{PARTNERS_ONLY}"));
    wait_for("the keys", || harness.admin("/readyz").status == 200);
    let token = issuer.token("one");
    assert_eq!(harness.get("/orders/1", &token).status, 200, "signed");
    let refusal = harness.get("/partners/1", &token).refusal();
    let said = "it is in the cache, for others";
    assert_eq!(refusal, (401, "inactive".to_owned()), "{said}");
    let theirs = issuer.token_with("one", "ann", serde_json::json!({}));
    partners.key_manager.set(&theirs, active());
    assert_eq!(harness.get("/partners/1", &theirs).status, 200);
    assert_eq!(harness.key_manager.introspections(), 0);
    assert_eq!(partners.key_manager.introspections(), 2);
}

#[test]
fn subscriptions_are_those_of_the_key_managers_clients() {
    let (partners, address) = partners();
    let file =
        std::env::temp_dir().join(format!("portcullis-partners-{}.toml", std::process::id()));
    let clients = r#"
        client = [
            { client_id = "shop", key_manager = "partners", apis = [{ name = "Pizza", version = "1" }] },
        ]"#;
    std::fs::write(&file, clients).unwrap();
    let route = |name: &str, lines: &str| {
        format!(
            "[[route]]\npath = \"/{name}\"\napi = {{ name = \"Pizza\", version = \"1\" }}\n{lines}\n\
             upstream = \"http://{{upstream}}\"\n"
        )
    };
    let harness = Harness::with_keys(
        &format!(
            "[subscriptions]\nfile = {file:?}\nvalidate = true\n{}{}{}{}",
            table("partners", address, ""),
            table("staff", address, "validateSubscriptions = false"),
            [
                route("ours", ""),
                route("theirs", "key_manager = \"partners\"")
            ]
            .concat(),
            route("staff", "key_manager = \"staff\""),
        ),
        "knownAs = \"Resident\"",
    );
    wait_for("the list", || {
        harness.metric("portcullis_subscriptions_rows{kind=\"subscriptions\"}") == 1.0
    });
    harness.key_manager.set("t", active());
    partners.key_manager.set("t", active());
    let missing = (403, "subscription_missing".to_owned());
    assert_eq!(harness.get("/ours", "t").refusal(), missing);
    assert_eq!(harness.get("/theirs", "t").status, 200);
    assert_eq!(
        harness.get("/staff", "t").status,
        200,
        "nobody has to, here"
    );
    let _ = std::fs::remove_file(&file);
}

#[test]
fn a_reload_keeps_those_that_stay_and_what_they_said() {
    let (partners, address) = partners();
    let with = table("partners", address, "");
    let harness = Harness::with(&format!("{ROUTES}{with}{PARTNERS_ONLY}"));
    harness.key_manager.set("ours", active());
    partners.key_manager.set("theirs", active());
    let asked = || {
        (
            harness.key_manager.introspections(),
            partners.key_manager.introspections(),
        )
    };
    let pass = || {
        assert_eq!(harness.get("/orders/1", "ours").status, 200);
        assert_eq!(harness.get("/partners/1", "theirs").status, 200);
    };
    pass();
    let answer =
        harness.reload(|text| text.push_str(&table("staff", address, "tokenPattern = \"staff*\"")));
    assert_eq!(answer.status, 200, "{}", answer.body);
    pass();
    assert_eq!(asked(), (1, 1));
    // Whose clients they are is another matter now, so it is asked again.
    let answer = harness.reload(|text| {
        *text = text.replacen(
            "[keyManagers.partners]",
            "[keyManagers.partners]\nknownAs = \"Okta\"",
            1,
        );
    });
    assert_eq!(answer.status, 200, "{}", answer.body);
    pass();
    assert_eq!(asked(), (1, 2));
    // A route whose key manager is gone cannot be.
    let answer =
        harness.reload(|text| *text = text.replace("keyManagers.partners]", "keyManagers.buyers]"));
    assert_eq!(answer.status, 422, "{}", answer.body);
    pass();
    assert_eq!(asked(), (1, 2));
}
