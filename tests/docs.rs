//! The documentation says what the code does: reasons, metrics, keys, defaults, outputs, links.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::{BufRead, BufReader},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use http::StatusCode;
use portcullis::{
    auth::Unavailable,
    config::{Environment, Loaded, Settings, Source, load_source},
    domain::{Denial, Fault, JwtFault, KeyType, Methods, OutageStyle, Reason, TierKind},
    lifecycle::Lifecycle,
    metrics::Metrics,
};

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_else(|fault| panic!("{path}: {fault}"))
}

fn load(text: &str) -> Loaded {
    let environment = Environment::from([("KEY_MANAGER_PASSWORD", "s3cret")]);
    load_source(Source::memory(text), &environment).unwrap_or_else(|problems| panic!("{problems}"))
}

/// Both lists, so that the message names what is missing on either side.
fn assert_same(what: &str, code: &BTreeSet<String>, docs: &BTreeSet<String>) {
    let missing: Vec<_> = code.difference(docs).collect();
    let made_up: Vec<_> = docs.difference(code).collect();
    assert!(
        missing.is_empty() && made_up.is_empty(),
        "{what}: not documented {missing:?}, not there {made_up:?}"
    );
}

#[test]
fn every_reason_has_its_heading() {
    let code = Reason::ALL
        .iter()
        .map(|reason| reason.word().to_owned())
        .collect();
    let text = read("docs/reasons.md");
    let docs = text
        .lines()
        .filter_map(|line| line.strip_prefix("### "))
        .map(str::to_owned)
        .collect();
    assert_same("reasons", &code, &docs);
    for reason in Reason::ALL {
        let (_, section) = text
            .split_once(&format!("\n### {}\n", reason.word()))
            .unwrap();
        let decision = format!("\n**Decision** {}. ", reason.decision().word());
        assert!(section.starts_with(&decision), "{}", reason.word());
    }
}

#[test]
fn statuses_of_the_reasons_are_those_of_the_code() {
    let text = read("docs/reasons.md");
    let assert_shown = |reason: Reason, status: StatusCode| {
        let heading = format!("\n### {}\n", reason.word());
        let section = text.split_once(&heading).unwrap().1;
        let shown = section.split_once("**Client sees** ").unwrap().1;
        assert!(shown.starts_with(status.as_str()), "{}", reason.word());
    };
    let required = Box::from("orders.read");
    for denial in [
        Denial::Ambiguous,
        Denial::AudienceMismatch,
        Denial::BadJwt(JwtFault::Malformed),
        Denial::BadJwt(JwtFault::Algorithm),
        Denial::BadJwt(JwtFault::UnknownKey),
        Denial::BadJwt(JwtFault::BadSignature),
        Denial::BadJwt(JwtFault::UnknownIssuer),
        Denial::Expired,
        Denial::Inactive { cached: false },
        Denial::Inactive { cached: true },
        Denial::InsufficientScope { required },
        Denial::IssuerMismatch,
        Denial::MalformedRequest,
        Denial::MalformedToken,
        Denial::MethodNotAllowed {
            allowed: Methods::ANY,
        },
        Denial::Misdirected,
        Denial::MultipleTokens,
        Denial::NoEndpoint(KeyType::Production),
        Denial::NoEndpoint(KeyType::Sandbox),
        Denial::NotYetValid,
        Denial::NoClientId,
        Denial::NoToken,
        Denial::Overloaded,
        Denial::OriginNotAllowed,
        Denial::Revoked,
        Denial::RouteNotFound,
        Denial::SubscriptionBlocked,
        Denial::SubscriptionMissing,
        Denial::SubscriptionOnHold,
        Denial::SubscriptionRejected,
        Denial::SubscriptionsNotReady,
        Denial::TlsNeeded {
            location: Box::default(),
        },
        Denial::TokenTooLong,
        Denial::UnknownTier,
        Denial::UnknownExpectation,
        Denial::WrongTokenType,
    ] {
        assert_shown(denial.reason(), denial.status());
    }
    for kind in TierKind::ALL {
        let denial = Denial::TierExceeded {
            kind,
            retry_after: 1,
        };
        assert_shown(denial.reason(), denial.status());
    }
    for unavailable in [
        Unavailable::Unreachable,
        Unavailable::Timeout,
        Unavailable::ServerError,
        Unavailable::RateLimited(None),
        Unavailable::ClientRefused,
        Unavailable::UnexpectedStatus(404),
        Unavailable::BadAnswer,
        Unavailable::TooLarge,
        Unavailable::Overloaded,
        Unavailable::NotReady,
        Unavailable::NoKeys,
        Unavailable::Lost,
    ] {
        assert_shown(unavailable.reason(), unavailable.status());
    }
}

/// `docs/errors.md` has a row for each reason, with what the form of WSO2 makes of it.
#[test]
fn errors_of_wso2_are_those_of_the_code() {
    let page = read("docs/errors.md");
    let refused = |reason: &&Reason| {
        !matches!(
            reason,
            Reason::Active | Reason::Public | Reason::Preflight | Reason::ClientClosed
        )
    };
    for reason in Reason::ALL.iter().filter(refused) {
        let row = format!("\n| `{}` | ", reason.word());
        let row = page.split_once(&row).unwrap_or_else(|| panic!("{row}")).1;
        let cells: Vec<&str> = row.lines().next().unwrap().split(" | ").collect();
        let native = StatusCode::from_bytes(cells[0].as_bytes()).unwrap();
        let fault = Fault::of(*reason, OutageStyle::Unavailable);
        let status = fault.status(native);
        assert_eq!(cells[0], status.as_str(), "{}", reason.word());
        let body: serde_json::Value = serde_json::from_str(&fault.body(status, "")).unwrap();
        let first = |members: [&serde_json::Value; 3]| {
            let there = members
                .into_iter()
                .find(|member| !member.is_null())
                .unwrap();
            there.to_string().trim_matches('"').to_owned()
        };
        let code = first([&body["fault"]["code"], &body["code"], &body["ERROR_CODE"]]);
        assert_eq!(cells[1], code, "{}", reason.word());
        let words = first([
            &body["fault"]["description"],
            &body["description"],
            &body["ERROR_MESSAGE"],
        ]);
        let words = if words.is_empty() { "its own" } else { &words };
        assert_eq!(cells[2].trim_end_matches(" |"), words, "{}", reason.word());
    }
}

/// The text of `/metrics`, with handles of every kind given out.
fn every_metric() -> String {
    let metrics = std::sync::Arc::new(Metrics::new().unwrap());
    let _lifecycle = Lifecycle::new(std::sync::Arc::clone(&metrics));
    metrics.reload.in_force("01234567");
    let _held = (
        metrics.no_route(),
        metrics.issuer("i"),
        metrics.jwt_issuer("i"),
        metrics.upstream("u").address("a"),
        metrics.upstream("u"),
        metrics.rate_limit("l"),
        metrics.broker("t", &["e"], &["m"]),
        metrics.api_manager("m"),
        metrics.downstream.listener("l"),
        metrics.downstream.certificate_expiry("c", 0),
    );
    String::from_utf8(metrics.encode().unwrap()).unwrap()
}

#[test]
fn every_metric_has_its_line() {
    let metrics = every_metric();
    let code = metrics
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE "))
        .filter(|line| line.starts_with("portcullis_"))
        .map(|line| line.replacen(' ', " | ", 1))
        .collect();
    let docs = read("docs/metrics.md")
        .lines()
        .filter_map(|line| line.strip_prefix("| `portcullis_"))
        .map(|line| {
            let (name, rest) = line.split_once("` | ").unwrap();
            format!("portcullis_{name} | {}", rest.split(' ').next().unwrap())
        })
        .collect();
    assert_same("metrics", &code, &docs);
}

#[test]
fn every_metric_that_a_page_names_is_there() {
    let metrics = every_metric();
    let shipped = [
        "deploy/grafana/portcullis.json",
        "deploy/prometheus/rules.yml",
        "deploy/prometheus/rules_test.yml",
    ];
    for path in pages().into_iter().chain(shipped.map(PathBuf::from)) {
        let text = fs::read_to_string(&path).unwrap();
        let word = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
        for name in text.split(|letter| !word(letter)) {
            // A prefix, as in `portcullis_`, names nothing.
            if name.starts_with("portcullis_") && !name.ends_with('_') {
                assert!(metrics.contains(name), "{}: {name}", path.display());
            }
        }
    }
}

#[test]
fn every_alert_has_its_heading() {
    let rules = read("deploy/prometheus/rules.yml");
    let alerts: BTreeSet<String> = rules
        .lines()
        .filter_map(|line| line.trim().strip_prefix("- alert: "))
        .map(str::to_owned)
        .collect();
    let docs = read("docs/alerts.md")
        .lines()
        .filter_map(|line| line.strip_prefix("### "))
        .map(str::to_owned)
        .collect();
    assert_same("alerts", &alerts, &docs);
    for alert in alerts {
        let anchor = format!("docs/alerts.md#{}\n", alert.to_lowercase());
        assert!(rules.contains(&anchor), "{alert} has no runbook");
    }
}

#[test]
fn the_readme_shows_the_nine_lines() {
    let text = read("conf/minimal.toml");
    assert_eq!(block(&read("README.md"), "```toml\n"), text);
    assert_eq!(
        text.lines().filter(|line| !line.trim().is_empty()).count(),
        9
    );
    let Loaded { warnings, .. } = load(&text);
    assert!(warnings.list.is_empty(), "{warnings}");
}

/// The first block that begins with `start`, without its last fence.
fn block<'a>(text: &'a str, start: &str) -> &'a str {
    let (_, rest) = text
        .split_once(start)
        .unwrap_or_else(|| panic!("no block begins with {start:?}"));
    rest.split("```").next().unwrap()
}

/// Ways to prove the gateway to the key manager, each with the tables that stand for Basic's then.
const SCHEMES: [&[&str]; 7] = [
    &["none"],
    &["clientSecretPost"],
    &["privateKeyJwt"],
    &["tlsClientAuth"],
    &["oauth2", "oauth2.clientCredential"],
    &["oauth2", "oauth2.password", "oauth2.refresh"],
    &["oauth2", "oauth2.directToken", "oauth2.refresh"],
];

/// Which tables of the file with all keys are meant.
#[derive(Clone, Copy)]
enum Tables<'a> {
    All,
    /// Those that are not commented out.
    Plain,
    /// The same with others in the place of Basic's.
    With(&'a [&'a str]),
}

impl Tables<'_> {
    fn have(self, name: &str, commented: bool) -> bool {
        let scheme = name
            .strip_prefix("keymanager.security.")
            .unwrap_or_default();
        match self {
            Self::All => true,
            Self::Plain => !commented,
            Self::With(schemes) => match commented {
                // Other tables that are commented out are examples with names.
                true => schemes.contains(&scheme) || scheme.is_empty(),
                false => scheme != "basic",
            },
        }
    }
}

/// The tables of the file with all keys, as they are when nothing is commented out.
fn tables(which: Tables<'_>) -> Vec<(String, String)> {
    let mut tables = Vec::new();
    for paragraph in read("conf/portcullis.toml").split("\n\n") {
        let header = paragraph
            .lines()
            .find(|line| line.starts_with(['[']) || line.starts_with("#["));
        // What stands before the first table has keys of the root.
        let Some(header) = header else {
            if which.have("", false) && paragraph.contains("\n#include = ") {
                tables.push((String::new(), paragraph.to_owned()));
            }
            continue;
        };
        let commented = header.starts_with('#');
        let lines = paragraph.lines().map(|line| match commented {
            true => line
                .strip_prefix('#')
                .unwrap_or_else(|| panic!("half commented out: {line}")),
            false => line,
        });
        let name = header.trim_matches(['#', '[', ']']).to_owned();
        if which.have(&name, commented) {
            tables.push((name, lines.collect::<Vec<_>>().join("\n")));
        }
    }
    tables
}

/// The tables with those of their keys that are given, and those others that `keep` says by table
/// and name, and whether it is an example.
fn reference(which: Tables<'_>, keep: impl Fn(&str, &str, bool) -> bool) -> String {
    let mut lines = Vec::new();
    for (table, text) in tables(which) {
        let mut comment = String::new();
        for line in text.lines() {
            match line.strip_prefix('#') {
                Some(key)
                    if key.contains(" = ") && key.starts_with(|c: char| c.is_ascii_lowercase()) =>
                {
                    let name = key.split(' ').next().unwrap();
                    if keep(&table, name, comment.contains("No default")) {
                        lines.push(key.to_owned());
                    }
                    comment.clear();
                }
                Some(prose) => comment.push_str(prose),
                None => {
                    comment.clear();
                    lines.push(line.to_owned());
                }
            }
        }
    }
    lines.join("\n")
}

/// The certificate and its key, which one scheme needs: examples elsewhere.
fn is_certificate(table: &str, key: &str) -> bool {
    (table == "keymanager.tls" && ["certFile", "keyFile"].contains(&key))
        || (table == "upstreams.orders.tls" && ["cert_file", "key_file"].contains(&key))
}

/// The files that the configurations of file and pages name.
struct Files(PathBuf);

impl Files {
    fn new(name: &str) -> Self {
        use std::os::unix::fs::PermissionsExt;
        let folder = std::env::temp_dir().join(format!("portcullis-{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        for (name, text) in [
            ("conf.d/none.toml", ""),
            ("petstore.yaml", include_str!("../conf/petstore.yaml")),
            ("ca.pem", CERTIFICATE),
            ("gateway-cert.pem", CERTIFICATE),
            ("gateway-key.pem", KEY),
            ("access-token.secret", "s3cret"),
            ("admin.secret", "s3cret"),
            ("client.secret", "s3cret"),
            ("policies.yaml", "resourcePolicies:\n"),
            ("introspection.secret", "s3cret"),
            ("refresh-token.secret", "s3cret"),
        ] {
            let path = folder.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, text).unwrap();
            fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
        }
        Self(folder)
    }

    /// The text as a configuration that lies beside them.
    fn source(&self, text: &str) -> Source {
        let folder = self.0.display().to_string();
        Source {
            name: format!("{folder}/portcullis.toml"),
            text: text.replace("/etc/portcullis", &folder),
            ..Source::default()
        }
    }

    fn load(&self, text: &str) -> Loaded {
        let environment = Environment::from([
            ("KEY_MANAGER_PASSWORD", "s3cret"),
            ("KEY_MANAGER_SECRET", "s3cret"),
        ]);
        load_source(self.source(text), &environment)
            .unwrap_or_else(|problems| panic!("{problems}\n{text}"))
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Of no use to anybody: made for these tests.
const KEY: &str = "-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgvRI3XJjJz3bY/szg
OpY8ILCZBPTaVDietdFRvd5DcoShRANCAARS7gktYNIKE8aZQ4wRfaRbXQPZ63fD
1W8uugAyXFM8wPEBygnwsdBVAM9FeRntKdIQEB3wW/YqZ3hs7rlkupv6
-----END PRIVATE KEY-----
";
const CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----
MIIBizCCATGgAwIBAgIUWqyJq55psQV2AsswKvi3jlYtqHAwCgYIKoZIzj0EAwIw
GjEYMBYGA1UEAwwPcG9ydGN1bGxpcyB0ZXN0MCAXDTI2MTEyMzIzMTYyNFoYDzIx
MjYxMDMwMjMxNjI0WjAaMRgwFgYDVQQDDA9wb3J0Y3VsbGlzIHRlc3QwWTATBgcq
hkjOPQIBBggqhkjOPQMBBwNCAARS7gktYNIKE8aZQ4wRfaRbXQPZ63fD1W8uugAy
XFM8wPEBygnwsdBVAM9FeRntKdIQEB3wW/YqZ3hs7rlkupv6o1MwUTAdBgNVHQ4E
FgQU4Gi0Q6XuWmGvtcHpZCtdNnaI5zMwHwYDVR0jBBgwFoAU4Gi0Q6XuWmGvtcHp
ZCtdNnaI5zMwDwYDVR0TAQH/BAUwAwEB/zAKBggqhkjOPQQDAgNIADBFAiEA7+DU
CjPwONmLf9PYcA3qr8iBrjhyAOQh5bo4nNSyosICIG6mKZ2Md+cXXNtKrYCQsSG3
FA+Fbo1EjIZtt2kJXm9R
-----END CERTIFICATE-----
";

#[test]
fn every_table_of_the_file_is_in_a_scheme() {
    for (name, _) in tables(Tables::All) {
        let used = SCHEMES
            .iter()
            .any(|scheme| Tables::With(scheme).have(&name, true));
        let plain = tables(Tables::Plain)
            .iter()
            .any(|(other, _)| *other == name);
        assert!(used || plain, "{name}");
    }
}

#[test]
fn defaults_in_the_file_are_those_of_the_code() {
    let files = Files::new("defaults");
    let mut defaults = 0;
    let plain = std::iter::once(Tables::Plain);
    for which in plain.chain(SCHEMES.map(Tables::With)) {
        let bare = reference(which, |table, key, _| is_certificate(table, key));
        let with_defaults = reference(which, |table, key, example| {
            !example || is_certificate(table, key)
        });
        defaults += with_defaults.lines().count() - bare.lines().count();
        let bare = files.load(&bare);
        assert_eq!(
            printed(&bare.settings),
            printed(&files.load(&with_defaults).settings)
        );
        assert_eq!(bare.warnings.list, []);
    }
    assert!(defaults >= 14 * (SCHEMES.len() + 1), "{defaults}");
    assert_eq!(load(&read("conf/portcullis.toml")).warnings.list, []);
}

fn printed(settings: &Settings) -> String {
    format!(
        "{:?} {:?} {:?} {:?} {:?} {:?} {:?} {:?} {:?} {:?} {:?} {:?} {:?} {:?} {:?} {:?}",
        settings.listen,
        settings.key_managers,
        settings.jwt_issuers,
        settings.backend_jwt,
        settings.token_cache,
        settings.revocation,
        settings.subscriptions,
        settings.response_cache,
        settings.routes.routes(),
        settings.upstreams,
        settings.admin,
        settings.log,
        settings.tracing,
        settings.limits,
        settings.errors,
        settings.process
    )
}

#[test]
fn every_key_of_the_file_is_known() {
    let files = Files::new("known");
    let plain = std::iter::once(Tables::Plain);
    for which in plain.chain(SCHEMES.map(Tables::With)) {
        let all = reference(which, |_, _, _| true);
        // Some keys exclude each other; that is not what is asked here.
        let problems = match load_source(files.source(&all), &Environment::default()) {
            Ok(loaded) => loaded.warnings,
            Err(problems) => problems,
        };
        for problem in &problems.list {
            assert!(
                [
                    "`https` needs a certificate",
                    "given twice",
                    "there is no [keyManagers.",
                    "there is no rate limit",
                    "there is no tier",
                    "no tier is there",
                    "twice",
                    "both say where to ask",
                    "both say where the subscriptions are",
                    "both say who asks",
                    "both say which certificate",
                    "both say whom to trust",
                    "the keys are in two places",
                    "there is no `refresh`",
                    "is for the form of WSO2 only",
                    "nothing is chosen by `hash_key`",
                    "both say which path goes on",
                    "has no place beside `redirect` and `respond`",
                    "a route has one of `redirect` and `respond`",
                ]
                .iter()
                .any(|words| problem.what.contains(words)),
                "{problems}"
            );
        }
    }
}

/// Keys and defaults of the file: `table.key`, and the value where there is one.
fn keys_and_defaults() -> Vec<(String, Option<String>)> {
    let mut table = String::new();
    let mut found = Vec::new();
    let given = reference(Tables::All, |_, _, _| false);
    let defaults = reference(Tables::All, |_, _, example| !example);
    // In the same order, and each line of `given` is one of `defaults`, which are of `all`.
    let (mut given, mut defaults) = (given.lines().peekable(), defaults.lines().peekable());
    for line in reference(Tables::All, |_, _, _| true).lines() {
        let is_given = given.next_if_eq(&line).is_some();
        let is_default = defaults.next_if_eq(&line).is_some() && !is_given;
        if let Some(name) = line.strip_prefix('[') {
            table = name.trim_matches(['[', ']']).to_owned();
        } else if let Some((key, value)) = line.split_once(" = ") {
            let default = is_default.then(|| value.to_owned());
            found.push((format!("{table}.{key}"), default));
        }
    }
    assert_eq!((given.next(), defaults.next()), (None, None));
    found
}

/// Keys of the reference, each with the cells of its row.
fn documented_keys() -> BTreeMap<String, Vec<String>> {
    let mut table = String::new();
    let mut keys = BTreeMap::new();
    for line in read("docs/configuration.md").lines() {
        if let Some(heading) = line.strip_prefix("## ") {
            let inside = heading.strip_prefix("`[").unwrap_or_default();
            table = inside.trim_matches(['`', '[', ']']).to_owned();
        } else if let Some((key, _)) = line
            .strip_prefix("| `")
            .and_then(|line| line.split_once('`'))
        {
            let cells = line.split(" | ").map(str::to_owned).collect();
            keys.insert(format!("{table}.{key}"), cells);
        }
    }
    keys
}

#[test]
fn keys_of_the_file_are_those_of_the_reference() {
    let file: BTreeSet<String> = keys_and_defaults()
        .into_iter()
        .map(|(key, _)| key)
        .collect();
    let docs = documented_keys().into_keys().collect();
    assert!(file.len() > 80, "{file:?}");
    assert_same("keys", &file, &docs);
}

#[test]
fn defaults_of_the_reference_are_those_of_the_file() {
    let docs = documented_keys();
    let mut defaults = 0;
    for (key, default) in keys_and_defaults() {
        if let Some(default) = default {
            defaults += 1;
            assert_eq!(docs[&key][2].trim_matches('`'), default, "{key}");
        }
    }
    assert!(defaults >= 20, "{defaults}");
}

#[test]
fn variables_of_the_reference_are_known() {
    let text = "[keyManager]\nserverUrl = \"http://localhost\"\n\
                [[route]]\nname = \"name\"\npath = \"/\"\nupstream = \"http://localhost\"\n";
    let docs = read("docs/configuration.md");
    let names: Vec<&str> = docs
        .split('`')
        .filter(|name| name.starts_with("PORTCULLIS__") || name.starts_with("keymanager_"))
        .filter(|name| {
            !name.contains(['=', ' '])
                && *name != "PORTCULLIS__"
                && *name != "PORTCULLIS__SECTION__KEY"
        })
        .collect();
    assert!(names.len() > 80, "{names:?}");
    for name in names {
        // Whatever is wrong with this value: the name is known, and the variable is what is read. A
        // table that is not enabled is not read to its end.
        let table = name.rsplit_once("__").map_or(name, |(table, _)| table);
        let on = match table.starts_with("PORTCULLIS__KEYMANAGER__SECURITY__") {
            true => format!("{table}__ENABLED"),
            false => name.to_owned(),
        };
        let environment = Environment::from([
            ("PORTCULLIS__KEYMANAGER__SECURITY__OAUTH2__ENABLED", "true"),
            (&on, "true"),
            (name, "\u{1}"),
        ]);
        let what = match load_source(Source::memory(text), &environment) {
            Ok(loaded) => loaded.warnings.to_string(),
            Err(problems) => problems.to_string(),
        };
        for wrong in ["unknown key", "names no key", "has this name"] {
            assert!(!what.contains(wrong), "{name}: {what}");
        }
    }
}

#[test]
fn help_is_shown_as_it_is_printed() {
    let page = read("docs/cli.md");
    for command in [
        "",
        "run ",
        "check ",
        "reload ",
        "introspect ",
        "migrate ",
        "demo ",
    ] {
        let mut arguments: Vec<&str> = command.split_whitespace().collect();
        arguments.push("--help");
        let output = Command::new(env!("CARGO_BIN_EXE_portcullis"))
            .args(arguments)
            .output()
            .unwrap();
        let help = String::from_utf8(output.stdout).unwrap();
        let shown = block(
            &page,
            &format!("```console\n$ portcullis {command}--help\n"),
        );
        assert_eq!(trimmed(&help), trimmed(shown), "{command}");
    }
}

fn trimmed(text: &str) -> Vec<&str> {
    text.trim_end().lines().map(str::trim_end).collect()
}

#[test]
fn the_page_on_routes_shows_what_check_says_of_two_teams() {
    let folder = std::env::temp_dir().join(format!("portcullis-teams-{}", std::process::id()));
    fs::create_dir_all(folder.join("conf.d")).unwrap();
    let page = read("docs/routes.md");
    let route = "[[route]]\npath = \"/orders/*\"\npublic = true\nrespond = {}\n";
    for (file, text) in [
        ("portcullis.toml", block(&page, "```text\n")),
        ("conf.d/shop.toml", route),
        ("conf.d/billing.toml", route),
    ] {
        fs::write(folder.join(file), text).unwrap();
    }
    let output = Command::new(env!("CARGO_BIN_EXE_portcullis"))
        .args(["check", "portcullis.toml"])
        .env_clear()
        .current_dir(&folder)
        .output()
        .unwrap();
    fs::remove_dir_all(folder).unwrap();
    let said = String::from_utf8([output.stderr, output.stdout].concat()).unwrap();
    let shown = block(&page, "```console\n$ portcullis check portcullis.toml\n");
    assert_eq!(trimmed(&said), trimmed(shown));
}

#[test]
fn the_readme_shows_what_check_says() {
    let folder = std::env::temp_dir().join(format!("portcullis-docs-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    let text = read("conf/minimal.toml")
        .replace(":9443\"\n", ":9443\"\ntimeout = 2\n")
        .replace("upstream", "upsteam");
    let bad = format!("[listne]\nhttp = \"0.0.0.0:8080\"\n{text}");
    fs::write(folder.join("bad.toml"), bad).unwrap();
    let check = |folder: &Path, file: &str| {
        let output = Command::new(env!("CARGO_BIN_EXE_portcullis"))
            .args(["check", file])
            .env_clear()
            .env("KEY_MANAGER_PASSWORD", "s3cret")
            .current_dir(folder)
            .output()
            .unwrap();
        String::from_utf8([output.stderr, output.stdout].concat()).unwrap()
    };
    let readme = read("README.md");
    let shown = block(&readme, "```console\n$ portcullis check ");
    let (good, bad) = shown.split_once("\n\n$ portcullis check ").unwrap();
    for (folder, shown) in [(Path::new("."), good), (&folder, bad)] {
        let (file, shown) = shown.split_once('\n').unwrap();
        assert_eq!(check(folder, file).trim_end(), shown.trim_end());
    }
    fs::remove_dir_all(folder).unwrap();
}

#[test]
fn the_readme_shows_the_demo_as_it_is() {
    let readme = read("README.md");
    let shown: Vec<&str> = block(&readme, "$ portcullis demo\n").lines().collect();
    let port = free_ports();
    let mut demo = Demo(
        portcullis(&["demo", "--port", &port.to_string()])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap(),
    );
    let out = BufReader::new(demo.0.stdout.take().unwrap());
    let printed: Vec<String> = out
        .lines()
        .take(shown.len())
        .map(|line| with_default_ports(&line.unwrap(), port))
        .collect();
    assert_eq!(printed, shown);

    let folder = std::env::temp_dir().join(format!("portcullis-try-{}", std::process::id()));
    let shown = block(&readme, "```console\n$ portcullis demo --write try");
    let (_, shown) = shown
        .split_once("introspect --config try/portcullis.toml -\n")
        .unwrap();
    let written = portcullis(&["demo", "--port", &port.to_string(), "--write"])
        .arg(&folder)
        .output();
    assert!(written.unwrap().status.success());
    fs::write(folder.join("token"), "demo-read").unwrap();
    let output = portcullis(&[
        "introspect",
        "--token-file",
        "token",
        "--config",
        "portcullis.toml",
    ])
    .current_dir(&folder)
    .output()
    .unwrap();
    let printed = String::from_utf8(output.stdout).unwrap();
    let printed = with_default_ports(&printed, port);
    assert_eq!(without_times(&printed), without_times(shown));
    fs::remove_dir_all(folder).unwrap();
}

fn portcullis(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_portcullis"));
    command.args(arguments);
    command
}

/// Ends with the test, however that ends.
struct Demo(Child);

impl Drop for Demo {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn with_default_ports(text: &str, port: u16) -> String {
    (0..4).fold(text.to_owned(), |text, offset| {
        text.replace(
            &format!(":{}", port + offset),
            &format!(":{}", 8080 + offset),
        )
    })
}

/// Dates, times and durations differ from run to run.
fn without_times(text: &str) -> Vec<String> {
    let varies = ["yes, until", " in ", "exp = ", "iat = "];
    text.trim_end()
        .lines()
        .map(|line| {
            let end = varies
                .iter()
                .filter_map(|words| Some(line.find(words)? + words.len()))
                .min();
            line[..end.unwrap_or(line.len())].to_owned()
        })
        .collect()
}

/// The first of four that are free, below those that the system gives out by itself: connections that
/// have just ended keep them.
fn free_ports() -> u16 {
    let free = |port: u16| TcpListener::bind(("127.0.0.1", port)).is_ok();
    let first = 14_000 + std::process::id() % 1_000 * 4;
    let mut candidates = (first..30_000).step_by(4).map(|port| port as u16);
    candidates
        .find(|port| (0..4).all(|offset| free(port + offset)))
        .unwrap()
}

#[test]
fn every_configuration_of_the_pages_loads() {
    let files = Files::new("pages");
    let route = "\n[[route]]\npath = \"/\"\npublic = true\nupstream = \"http://127.0.0.1:9000\"\n";
    let mut recipes = 0;
    for page in pages() {
        let text = fs::read_to_string(&page).unwrap();
        for block in text.split("```toml\n").skip(1) {
            let block = block.split("```").next().unwrap();
            let Loaded { warnings, .. } = files.load(&format!("{block}{route}"));
            recipes += usize::from(page.starts_with("./docs/idp"));
            // A warning is no fault, but the page has to say that it comes.
            for warning in &warnings.list {
                assert!(
                    text.contains(&warning.what),
                    "{}: {warnings}",
                    page.display()
                );
            }
        }
    }
    assert!(recipes >= 12, "{recipes}");
}

#[test]
fn every_recipe_is_in_the_list() {
    let list = read("docs/idp/README.md");
    for page in fs::read_dir("docs/idp").unwrap() {
        let name = page.unwrap().file_name().into_string().unwrap();
        let shown = name == "README.md" || list.contains(&format!("]({name})"));
        assert!(shown, "{name}");
    }
}

#[test]
fn every_link_leads_somewhere() {
    let pages = pages();
    assert!(pages.len() >= 12, "{pages:?}");
    let mut broken = Vec::new();
    for page in pages {
        let text = fs::read_to_string(&page).unwrap();
        for link in text.split("](").skip(1) {
            let target = link.split(')').next().unwrap();
            if target.contains("://") {
                continue;
            }
            let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
            let path = match file {
                "" => page.clone(),
                _ => page.parent().unwrap().join(file),
            };
            let found = match anchor {
                "" => path.exists(),
                _ => fs::read_to_string(&path).is_ok_and(|text| has_heading(&text, anchor)),
            };
            if !found {
                broken.push(format!("{}: {target}", page.display()));
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn every_file_that_a_page_names_is_there() {
    let mut missing = Vec::new();
    for page in pages() {
        let text = fs::read_to_string(&page).unwrap();
        // Every second piece stands between backticks.
        for name in text.split('`').skip(1).step_by(2) {
            let folder = name.split('/').next().unwrap();
            let ours = ["src", "tests", "benches", "conf", "docs"].contains(&folder);
            let is_source = name.ends_with(".rs") && name.contains('/');
            if name.contains(['*', ' ', '\n']) || !(ours && name.contains('/') || is_source) {
                continue;
            }
            if !Path::new(name).exists() && !Path::new("src").join(name).exists() {
                missing.push(format!("{}: {name}", page.display()));
            }
        }
    }
    assert!(missing.is_empty(), "{missing:#?}");
}

/// Anchors are made of headings: lower case, dashes for spaces, no punctuation.
fn has_heading(text: &str, anchor: &str) -> bool {
    text.lines()
        .filter(|line| line.starts_with('#'))
        .any(|line| {
            let words = line.trim_start_matches('#').trim().to_lowercase();
            let kept =
                |letter: &char| letter.is_alphanumeric() || matches!(letter, ' ' | '-' | '_');
            words
                .chars()
                .filter(kept)
                .collect::<String>()
                .replace(' ', "-")
                == anchor
        })
}

/// All pages of this repository.
fn pages() -> Vec<PathBuf> {
    fn collect(folder: &Path, pages: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() {
                let foreign = name.starts_with('.') || name == "target" || name == "node_modules";
                if !foreign && name != "corpus" {
                    collect(&path, pages);
                }
            } else if name.ends_with(".md") {
                pages.push(path);
            }
        }
    }
    let mut pages = Vec::new();
    collect(Path::new("."), &mut pages);
    pages
}
