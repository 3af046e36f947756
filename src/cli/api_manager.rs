//! Asking the API Manager from the command line: whether it can be reached, takes our account, and knows
//! the APIs of the routes.

use std::{sync::Arc, time::Instant};

use super::Exit;
use crate::{
    config::{EventHubSettings, Settings},
    domain::{Api, ApiIdentity, Route, Row, RowKind},
    feed::api_manager::{Found, NoAnswer, Rest},
    metrics::Metrics,
    subscription::near_names,
};

/// Reads the list of APIs and compares it with the routes; says what it finds.
pub fn check(settings: &Settings) -> Exit {
    let Some(event_hub) = settings.subscriptions.event_hub() else {
        return Exit::Done;
    };
    let asked = Instant::now();
    let source = settings.subscriptions.source.as_ref();
    match apis(
        event_hub,
        source.map_or(u64::MAX, |source| source.max_bytes),
    ) {
        Ok(apis) => {
            println!(
                "API Manager {}: ok: gave {} APIs in {} ms",
                event_hub.name(),
                apis.len(),
                asked.elapsed().as_millis()
            );
            compare(settings.routes.routes(), &apis)
        }
        Err(Failure::NoAnswer(cause)) => explain(event_hub, &cause),
        Err(Failure::Start(fault)) => {
            eprintln!("error: {fault:#}");
            Exit::Failed
        }
    }
}

enum Failure {
    NoAnswer(NoAnswer),
    Start(anyhow::Error),
}

fn apis(event_hub: &EventHubSettings, max_bytes: u64) -> Result<Vec<Api>, Failure> {
    let metrics = Metrics::new().map_err(|fault| Failure::Start(fault.into()))?;
    let metrics = metrics.api_manager(event_hub.name());
    let rest = Rest::new(event_hub, max_bytes, metrics);
    let mut found = Found::default();
    rest.list(RowKind::Apis, &mut found)
        .map_err(Failure::NoAnswer)?;
    let apis = found.rows.into_iter().filter_map(|row| match row {
        Row::Api(api) => Some(api),
        _ => None,
    });
    Ok(apis.collect())
}

fn explain(event_hub: &EventHubSettings, cause: &NoAnswer) -> Exit {
    eprintln!(
        "error: {} gave no list of APIs: {cause}",
        event_hub.data_url
    );
    let hint = match cause {
        NoAnswer::Refused => {
            "check name and password, and that the account may read the internal data of its tenant"
        }
        NoAnswer::Status(status) if status.is_redirection() => {
            "it leads somewhere else, probably to a login page: check serviceUrl and internalDataContext"
        }
        NoAnswer::Status(status) if status.is_client_error() => {
            "check serviceUrl, internalDataContext (/internal/data/v1) and tenant"
        }
        NoAnswer::Broken => "is that the address of an API Manager, or of a login page?",
        NoAnswer::TooLarge => "maxListBytes says how long a list may be",
        NoAnswer::Unreachable(_) if event_hub.data_url.scheme_str() == Some("https") => {
            "check that it runs and can be reached from here; if its certificate is of an authority \
             of your own, name that in [apim.eventHub.tls] caFile"
        }
        _ => "check that it runs and can be reached from here",
    };
    eprintln!("hint: {hint}");
    match cause {
        NoAnswer::Refused => Exit::CredentialsRefused,
        NoAnswer::Unreachable(_) | NoAnswer::Timeout => Exit::KeyManagerUnavailable,
        NoAnswer::Status(status) if status.is_server_error() => Exit::KeyManagerUnavailable,
        _ => Exit::Failed,
    }
}

/// Tells of every API that is another one at the API Manager, once.
fn compare(routes: &[Route], apis: &[Api]) -> Exit {
    let mut told: Vec<&Arc<ApiIdentity>> = Vec::new();
    let mut exit = Exit::Done;
    for route in routes {
        let Some(api) = &route.api else { continue };
        if told.contains(&api) {
            continue;
        }
        told.push(api);
        if let Some(Mismatch { found, what, hint }) = mismatch(api, apis) {
            let severity = if found { "warning" } else { "error" };
            eprintln!("{severity}: the route {:?}: {what}", route.name);
            eprintln!("hint: {hint}");
            if !found {
                exit = Exit::Failed;
            }
        }
    }
    exit
}

/// How the API of a route is not one of the API Manager's, and what to write instead.
struct Mismatch {
    /// All the same, by the path that it begins with.
    found: bool,
    what: String,
    hint: String,
}

fn mismatch(wanted: &ApiIdentity, apis: &[Api]) -> Option<Mismatch> {
    let same_name = apis.iter().filter(|api| api.name == wanted.name);
    let mut versions: Vec<&str> = same_name.map(|api| &*api.version).collect();
    if versions.contains(&&*wanted.version) {
        return None;
    }
    let ApiIdentity { name, version, .. } = wanted;
    if !versions.is_empty() {
        versions.sort_unstable();
        return Some(Mismatch {
            found: false,
            what: format!("the API Manager does not know version {version} of the API {name:?}"),
            hint: format!("it has {}", versions.join(", ")),
        });
    }
    let known = apis.iter().filter(|api| api.version == wanted.version);
    if let Some(api) = known.clone().find(|api| is_at_path(api, wanted)) {
        return Some(Mismatch {
            found: true,
            what: format!("the API {name:?} {version} has another name at the API Manager"),
            hint: format!(
                "write name = {:?}; until then it is found by its path",
                api.name
            ),
        });
    }
    let near = near_names(name, known.map(|api| &*api.name));
    let hint = match near[..] {
        [] if apis.is_empty() => "it has none at all: is `tenant` the right one?".to_owned(),
        [] => "names there have no spaces; it shows only the APIs of one tenant".to_owned(),
        [one] => format!("write name = {one:?}: names there have no spaces"),
        ref several => format!("did you mean one of {}?", several.join(", ")),
    };
    Some(Mismatch {
        found: false,
        what: format!("the API Manager does not know the API {name:?} {version}"),
        hint,
    })
}

/// Whether an API begins with the same path, whose end may be the version.
fn is_at_path(api: &Api, wanted: &ApiIdentity) -> bool {
    let end = format!("/{}", wanted.version);
    let base = |context: &str| -> String {
        let context = context.trim_end_matches('/');
        context.strip_suffix(&end).unwrap_or(context).to_owned()
    };
    wanted
        .context
        .as_ref()
        .is_some_and(|context| base(context) == base(&api.context))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn api(name: &str, version: &str) -> Api {
        Api {
            id: 1,
            name: name.into(),
            version: version.into(),
            context: format!("/{}/{version}", name.to_lowercase()).into(),
            provider: "admin".into(),
            policy: None,
        }
    }

    fn hint(name: &str, version: &str, context: Option<&str>) -> Option<String> {
        let apis = [
            api("My_API", "1.0.0"),
            api("PizzaShackAPI", "1.0.0"),
            api("PizzaShackAPI", "2.0.0"),
        ];
        let wanted = ApiIdentity {
            name: name.into(),
            version: version.into(),
            context: context.map(Into::into),
        };
        mismatch(&wanted, &apis).map(|mismatch| mismatch.hint)
    }

    #[test]
    fn what_to_write_instead_is_told() {
        assert_eq!(hint("PizzaShackAPI", "2.0.0", None), None);
        let spaces = hint("My API", "1.0.0", None).unwrap();
        assert!(spaces.contains("name = \"My_API\""), "{spaces}");
        assert_eq!(
            hint("PizzaShackAPI", "3.0.0", None).unwrap(),
            "it has 1.0.0, 2.0.0"
        );
        let by_path = hint("Other", "1.0.0", Some("/my_api")).unwrap();
        assert!(by_path.contains("name = \"My_API\""), "{by_path}");
        let nothing = hint("Weather", "9", None).unwrap();
        assert!(nothing.contains("one tenant"), "{nothing}");
    }
}
