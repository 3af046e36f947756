//! Tiers of APIs, routes, subscriptions and applications.

use std::path::PathBuf;

use portcullis::demo::Reply;

use crate::support::{Answer, Harness, wait_for};

/// Files that go with it.
struct Files(PathBuf);

impl Files {
    fn new(name: &str, files: &[(&str, &str)]) -> Self {
        let folder = std::env::temp_dir().join(format!("portcullis-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        for (name, text) in files {
            std::fs::write(folder.join(name), text).unwrap();
        }
        Self(folder)
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.0.join(name), text).unwrap();
    }

    /// `{folder}` stands for where they are.
    fn harness(&self, sections: &str) -> Harness {
        Harness::with(&sections.replace("{folder}", &self.0.display().to_string()))
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A policy by the year, so that no window ends while a test runs.
fn policy(name: &str, count: u32) -> String {
    format!("  - {name}:\n     count: {count}\n     unitTime: 1\n     timeUnit: year\n")
}

fn policies(
    resource: &[(&str, u32)],
    subscription: &[(&str, u32)],
    application: &[(&str, u32)],
) -> String {
    let list = |title: &str, list: &[(&str, u32)]| {
        let list: String = list
            .iter()
            .map(|(name, count)| policy(name, *count))
            .collect();
        format!("{title}:\n{list}")
    };
    [
        list("resourcePolicies", resource),
        list("subscriptionPolicies", subscription),
        list("applicationPolicies", application),
    ]
    .concat()
}

const TIERS: &str = "[tiers]\npolicies_file = \"{folder}/policies.yaml\"\n";

/// Statuses of so many requests, and the reason of the last.
fn statuses(count: usize, send: impl Fn() -> Answer) -> (Vec<u16>, String) {
    let answers: Vec<Answer> = (0..count).map(|_| send()).collect();
    let last = answers.last().unwrap();
    let reason = if last.status == 200 {
        String::new()
    } else {
        last.refusal().1
    };
    (answers.iter().map(|answer| answer.status).collect(), reason)
}

#[test]
fn apis_and_routes_have_tiers() {
    let files = Files::new(
        "tiers-routes",
        &[(
            "policies.yaml",
            &policies(&[("Two", 2), ("Five", 5)], &[], &[]),
        )],
    );
    let route = |path: &str, keys: &str| {
        format!(
            "[[route]]\npath = \"{path}\"\npublic = true\nupstream = \"http://{{upstream}}\"\n{keys}"
        )
    };
    let api = "api = { name = \"Pizza\", version = \"1.0.0\" }\napi_tier = \"Five\"\n";
    let sections = [
        TIERS.to_owned(),
        route("/menu", &format!("{api}tier = \"Two\"\n")),
        route("/order", &format!("{api}tier = \"Unlimited\"\n")),
        route("/other", "tier = \"Two\"\n"),
    ]
    .concat();
    let harness = files.harness(&sections);
    let get = |path: &'static str| || harness.get_with(path, "");
    let (menu, reason) = statuses(6, get("/menu"));
    assert_eq!(menu, [200, 200, 429, 429, 429, 429]);
    assert_eq!(reason, "resource_tier_exceeded");
    // What the route's tier refused did not count for the API: three are left.
    let (order, reason) = statuses(5, get("/order"));
    assert_eq!(order, [200, 200, 200, 429, 429]);
    assert_eq!(reason, "api_tier_exceeded");
    assert_eq!(statuses(3, get("/other")).0, [200, 200, 429]);
    let answer = harness.get_with("/order", "");
    let wait: u32 = answer.header("retry-after").unwrap().parse().unwrap();
    assert!(wait > 1 && wait <= 365 * 24 * 3600, "{wait}");
    assert_eq!(harness.echo.requests(), 7);
    // Counts live through a reload, and policies are read again with it.
    files.write(
        "policies.yaml",
        &policies(&[("Two", 3), ("Five", 7)], &[], &[]),
    );
    assert_eq!(harness.reload(|_| ()).status, 200);
    assert_eq!(statuses(2, get("/other")).0, [200, 429]);
    assert_eq!(statuses(3, get("/order")).0, [200, 200, 429]);
    // A file with a mistake changes nothing.
    files.write("policies.yaml", "resourcePolicies: 7\n");
    assert_eq!(harness.reload(|_| ()).status, 422);
    assert_eq!(statuses(1, get("/other")).0, [429]);
}

#[test]
fn callers_without_a_token_are_counted_by_address_and_api() {
    let files = Files::new(
        "tiers-unauthenticated",
        &[(
            "policies.yaml",
            &policies(&[], &[("Unauthenticated", 2)], &[]),
        )],
    );
    let route = |path: &str, api: &str| {
        format!(
            "[[route]]\npath = \"{path}\"\npublic = true\nupstream = \"http://{{upstream}}\"\n{api}"
        )
    };
    let api = |version: &str| format!("api = {{ name = \"Pizza\", version = \"{version}\" }}\n");
    let harness = files.harness(
        &[
            TIERS.to_owned(),
            route("/one", &api("1")),
            route("/two", &api("1")),
            route("/three", &api("2")),
            route("/none", ""),
        ]
        .concat(),
    );
    let get = |path: &str| harness.get_with(path, "");
    let seen =
        ["/one", "/two", "/two", "/three", "/none", "/none", "/none"].map(|path| get(path).status);
    assert_eq!(seen, [200, 200, 429, 200, 200, 200, 200]);
    assert_eq!(get("/one").refusal().1, "subscription_tier_exceeded");
}

#[test]
fn clients_without_a_subscription_are_counted_each_for_itself() {
    let files = Files::new(
        "tiers-default",
        &[("policies.yaml", &policies(&[], &[("Default", 2)], &[]))],
    );
    let harness = files.harness(&format!(
        "{TIERS}[[route]]\npath = \"/menu\"\napi = {{ name = \"Pizza\", version = \"1.0.0\" }}\n\
         upstream = \"http://{{upstream}}\"\n"
    ));
    for client in ["a", "b"] {
        harness.key_manager.set(client, Reply::active(client, ""));
    }
    for client in ["a", "b"] {
        let (seen, reason) = statuses(3, || harness.get("/menu", client));
        assert_eq!(seen, [200, 200, 429], "{client}");
        assert_eq!(reason, "subscription_tier_exceeded");
    }
}

#[test]
fn what_other_limits_refuse_does_not_count() {
    let files = Files::new(
        "tiers-others",
        &[("policies.yaml", &policies(&[("Three", 3)], &[], &[]))],
    );
    let harness = files.harness(&format!(
        "{TIERS}[rate_limits.few]\nrequests = 1\nper = \"1h\"\nby = \"route\"\n\
         [[route]]\nname = \"few\"\npath = \"/few\"\npublic = true\napi = {{ name = \"A\", version = \"1\" }}\n\
         api_tier = \"Three\"\nrate_limits = [\"few\"]\nupstream = \"http://{{upstream}}\"\n\
         [[route]]\npath = \"/many\"\npublic = true\napi = {{ name = \"A\", version = \"1\" }}\n\
         api_tier = \"Three\"\nupstream = \"http://{{upstream}}\"\n"
    ));
    let (few, reason) = statuses(5, || harness.get_with("/few", ""));
    assert_eq!(few, [200, 429, 429, 429, 429]);
    assert_eq!(reason, "rate_limited");
    let (many, reason) = statuses(3, || harness.get_with("/many", ""));
    assert_eq!(many, [200, 200, 429]);
    assert_eq!(reason, "api_tier_exceeded");
}

const CLIENTS: &str = r#"
client = [
    { client_id = "shop", tier = "Two", apis = [{ name = "Pizza", version = "1.0.0" }, { name = "Pasta", version = "1.0.0", tier = "Unlimited" }] },
    { client_id = "busy", application_tier = "Three", apis = [{ name = "Pizza", version = "1.0.0" }, { name = "Pasta", version = "1.0.0" }] },
    { client_id = "odd", tier = "Nobody-knows", apis = [{ name = "Pizza", version = "1.0.0" }] },
]
"#;

fn subscribed(name: &str, more: &str) -> (Files, Harness) {
    let policies = policies(&[], &[("Two", 2)], &[("Three", 3)]);
    let files = Files::new(
        name,
        &[("policies.yaml", &policies), ("clients.toml", CLIENTS)],
    );
    let route = |path: &str, api: &str| {
        format!(
            "[[route]]\npath = \"{path}\"\nupstream = \"http://{{upstream}}\"\n\
             api = {{ name = \"{api}\", version = \"1.0.0\" }}\n"
        )
    };
    let source = "[subscriptions]\nvalidate = true\nfile = \"{folder}/clients.toml\"\n";
    let routes = [route("/pizza", "Pizza"), route("/pasta", "Pasta")].concat();
    let harness = files.harness(&format!("{TIERS}{source}{more}{routes}"));
    wait_for("the list", || harness.admin("/readyz").status == 200);
    for client in ["shop", "busy", "odd"] {
        harness.key_manager.set(client, Reply::active(client, ""));
    }
    (files, harness)
}

#[test]
fn subscriptions_and_applications_have_tiers() {
    let (_files, harness) = subscribed("tiers-subscribed", "");
    let (pizza, reason) = statuses(3, || harness.get("/pizza", "shop"));
    assert_eq!(pizza, [200, 200, 429]);
    assert_eq!(reason, "subscription_tier_exceeded");
    // Another subscription of the same application.
    assert_eq!(statuses(4, || harness.get("/pasta", "shop")).0, [200; 4]);
    // To all APIs together.
    assert_eq!(statuses(2, || harness.get("/pizza", "busy")).0, [200; 2]);
    let (pasta, reason) = statuses(2, || harness.get("/pasta", "busy"));
    assert_eq!(pasta, [200, 429]);
    assert_eq!(reason, "application_tier_exceeded");
    let (odd, reason) = statuses(1, || harness.get("/pizza", "odd"));
    assert_eq!((odd, reason.as_str()), (vec![500], "unknown_tier"));
}

#[test]
fn tiers_have_the_codes_of_the_original() {
    let (_files, harness) = subscribed("tiers-codes", "[errors]\nformat = \"wso2\"\n");
    let last = |path: &str, client: &str, count: usize| {
        let mut answers: Vec<Answer> = (0..count).map(|_| harness.get(path, client)).collect();
        let last = answers.pop().unwrap();
        (last.status, last.body)
    };
    let is = |(status, body): (u16, String), wanted: u16, code: u32| {
        assert_eq!(status, wanted, "{body}");
        assert!(body.contains(&format!("\"code\":{code}")), "{body}");
    };
    is(last("/pizza", "shop", 3), 429, 900_804);
    is(last("/pizza", "busy", 4), 429, 900_803);
    is(last("/pizza", "odd", 1), 500, 900_809);
}
