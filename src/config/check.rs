//! The tree of values as [`Settings`]: each section in turn, then what they must be to each other.

use std::{net::SocketAddr, time::Duration};

use http::HeaderName;

use super::{
    apim, backend_jwt,
    env::Environment,
    errors, jwt_issuer,
    key_managers::{KeyManagers, usual},
    limits, listen,
    problem::{Place, Report, Source},
    process, response_cache, revocation, route,
    secret::{self, SecretKeys},
    section::{Names, Placed, Section},
    settings::{
        AdminSettings, JwtIssuerSettings, KeyManagerSettings, LogFormat, LogLevel, LogSettings,
        Settings, TokenCacheSettings,
    },
    subscriptions::{self, SubscriptionSettings},
    tracing,
    tree::Table,
    upstream::Upstreams,
};
use crate::domain::Validation;

const DEFAULT_ADMIN: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 9901);
const DEFAULT_CLOCK_SKEW: Duration = Duration::from_secs(5);
const LONGEST_STALE: Duration = Duration::from_secs(12 * 3600);

/// What sections may need beside their own keys.
pub struct Context<'a> {
    pub source: &'a Source,
    pub environment: &'a Environment,
}

/// Reads everything; `None` when something needed is missing. Mistakes are in `report`.
pub fn settings(
    root: Table,
    source: &Source,
    environment: &Environment,
    report: &Report,
) -> Option<Settings> {
    let context = Context {
        source,
        environment,
    };
    let mut root = Section::new(root, "", Names::Exact, Place::Nowhere, report);
    let listen = listen::read(&mut root, &context);
    let mut key_managers = KeyManagers::read(&mut root, &context);
    let jwt_issuers = jwt_issuer::read(&mut root, &context, key_managers.judge_any);
    let backend_jwt = backend_jwt::read(&mut root, &context);
    let judges = key_managers.judge_any || root.was_given("jwt_issuer");
    let token_cache = token_cache(&mut root);
    let (limits, rates) = limits::read(&mut root, &context);
    let event_hub = apim::read(&mut root, &context);
    let revocation = revocation::read(&mut root, &context, event_hub.events());
    let subscriptions = subscriptions::read(&mut root, &context, event_hub);
    let (clock_skew, token_header) = token(&mut root);
    let common = route::Common {
        validation: validation(&subscriptions, &key_managers.list, &jwt_issuers),
        clock_skew,
        token_header,
        response_cache: response_cache::read(&mut root, &context),
        rates: &rates,
        sizes: &limits.sizes,
    };
    let upstreams = Upstreams::read(&mut root, &context);
    let routes = route::read(&mut root, &common, upstreams, &mut key_managers);
    let errors = errors::read(&mut root);
    let admin = admin(&mut root, &context);
    let log = log(&mut root);
    let tracing = tracing::read(&mut root);
    let process = process::read(&mut root);
    if let Some(routes) = &routes {
        compare(&root, routes, judges, &key_managers.list, &subscriptions);
    }
    let key_managers = key_managers.into_list(&root);
    root.finish();
    let routes = routes?;
    Some(Settings {
        listen: listen?,
        key_managers,
        jwt_issuers,
        backend_jwt,
        token_cache,
        revocation,
        subscriptions,
        response_cache: common.response_cache,
        limits,
        errors,
        apis: Vec::new(),
        routes: routes.table,
        upstreams: routes.upstreams,
        admin: admin?,
        log,
        tracing,
        process,
    })
}

/// Who must have subscribed, where a route does not say.
fn validation(
    subscriptions: &SubscriptionSettings,
    key_managers: &[KeyManagerSettings],
    issuers: &[JwtIssuerSettings],
) -> Validation {
    let of_usual = usual(key_managers).and_then(|known| known.validate_subscriptions);
    let of_key_managers = key_managers
        .iter()
        .map(|known| known.validate_subscriptions);
    let of_issuers = issuers.iter().map(|issuer| issuer.validate_subscriptions);
    Validation::ByToken {
        usually: of_usual.unwrap_or(subscriptions.validate),
        somebody: of_key_managers
            .chain(of_issuers)
            .any(|validates| validates == Some(true)),
    }
}

/// What routes need of the rest. `judges`: there is somebody for tokens of routes that name no key manager,
/// or something has been said about one.
fn compare(
    root: &Section<'_>,
    routes: &route::Routes,
    judges: bool,
    named: &[KeyManagerSettings],
    subscriptions: &SubscriptionSettings,
) {
    if let (Some((name, place)), false) = (&routes.first_protected, judges) {
        let hint = match named {
            [] => "add one, or say `public = true`",
            _ => {
                "name one of [keyManagers] by `key_manager`, add [keyManager], or say `public = true`"
            }
        };
        let what = format!("the route {name:?} asks for a token, but there is no [keyManager]");
        root.error(place, what, hint);
    }
    if let (Some((name, place)), None) = (&routes.first_validated, &subscriptions.source) {
        subscriptions::tell_no_source(root, subscriptions.hub_is_off, name, place);
    }
    if routes.table.routes().is_empty() {
        root.warn(
            &Place::Nowhere,
            "there is no [[route]], so every request is answered 404",
            "",
        );
    }
}

fn address(
    section: &mut Section<'_>,
    key: &'static str,
    default: SocketAddr,
) -> Option<Placed<SocketAddr>> {
    let Some(Placed { value, place }) = section.text(key) else {
        return Some(Placed {
            value: default,
            place: section.place.clone(),
        });
    };
    match value.parse() {
        Ok(value) => Some(Placed { value, place }),
        Err(_) => {
            let what = format!("`{key}` is not an address to listen on");
            section.error(&place, what, format!("for instance \"{default}\""));
            None
        }
    }
}

fn token_cache(root: &mut Section<'_>) -> TokenCacheSettings {
    let mut section = root.section("token_cache");
    let mut settings = TokenCacheSettings::default();
    let allow_long_ttl = section
        .boolean("allow_long_ttl")
        .is_some_and(|allowed| allowed.value);
    if let Some(Placed { value, place }) = section.duration("max_ttl") {
        settings.max_ttl = value;
        if value > Duration::from_secs(3600) && !allow_long_ttl {
            section.warn(
                &place,
                "a revoked token may live on for more than an hour",
                "the default is \"60s\"",
            );
        }
    }
    if let Some(inactive_ttl) = section.duration("inactive_ttl") {
        settings.inactive_ttl = inactive_ttl.value;
    }
    if let Some(Placed { value, place }) = section.duration("stale_if_error") {
        settings.stale_if_error = Duration::from_secs(value.as_secs());
        if value > LONGEST_STALE {
            let what = "`stale_if_error` is out of range";
            let hint = "at most \"12h\": a token that was revoked meanwhile passes for as long";
            section.error(&place, what, hint);
        } else if !value.is_zero() && settings.max_ttl.is_zero() {
            let what = "`stale_if_error` needs answers that are kept";
            section.error(
                &place,
                what,
                "give `max_ttl` more than \"0s\", or leave this out",
            );
        }
    }
    if let Some(Placed { value, place }) = section.integer("max_entries") {
        settings.max_entries = bounded(&section, value, &place, "max_entries", 1..=100_000_000);
    }
    if let Some(Placed { value, place }) = section.size("max_bytes") {
        settings.max_bytes = bounded(&section, value, &place, "max_bytes", 1 << 20..=1 << 40);
    }
    section.finish();
    settings
}

fn bounded(
    section: &Section<'_>,
    value: u64,
    place: &Place,
    key: &str,
    range: std::ops::RangeInclusive<usize>,
) -> usize {
    match usize::try_from(value) {
        Ok(value) if range.contains(&value) => value,
        _ => {
            section.error(
                place,
                format!("`{key}` is out of range"),
                format!("between {} and {}", range.start(), range.end()),
            );
            *range.start()
        }
    }
}

/// `[token]`: how tokens are read, whoever issued them. The header is `None` for `Authorization`.
fn token(root: &mut Section<'_>) -> (Duration, Option<HeaderName>) {
    const LONGEST: Duration = Duration::from_secs(300);
    let mut section = root.section("token");
    let header = route::token_header(&mut section, "header", None).flatten();
    let skew = section.duration("clock_skew");
    if let Some(Placed { value, place }) = &skew
        && *value > LONGEST
    {
        section.error(
            place,
            "`clock_skew` is out of range",
            "at most \"5m\": an expired token passes for as long",
        );
    }
    section.finish();
    (skew.map_or(DEFAULT_CLOCK_SKEW, |skew| skew.value), header)
}

fn admin(root: &mut Section<'_>, context: &Context<'_>) -> Option<AdminSettings> {
    let mut section = root.section("admin");
    let listen = address(&mut section, "listen", DEFAULT_ADMIN);
    let token = secret::read(&mut section, SecretKeys::TOKEN, context);
    if let Some(listen) = &listen
        && !listen.value.ip().is_loopback()
        && token.is_none()
    {
        section.error(
            &listen.place,
            "the admin listener can be reached from outside and asks for nothing",
            "set `token_file`, or listen on 127.0.0.1",
        );
    }
    if let Some(Placed { value, place }) = &token
        && value.expose().is_empty()
    {
        section.error(place, "the admin token is empty", "");
    }
    section.finish();
    Some(AdminSettings {
        listen: listen?.value,
        token: token.map(|token| token.value),
    })
}

fn log(root: &mut Section<'_>) -> LogSettings {
    let mut section = root.section("log");
    let levels = [
        ("error", LogLevel::Error),
        ("warn", LogLevel::Warn),
        ("info", LogLevel::Info),
        ("debug", LogLevel::Debug),
    ];
    let formats = [
        ("auto", LogFormat::Auto),
        ("text", LogFormat::Text),
        ("json", LogFormat::Json),
        ("combined", LogFormat::Combined),
        ("off", LogFormat::Off),
    ];
    let settings = LogSettings {
        level: choice(&mut section, "level", &levels).unwrap_or(LogLevel::Info),
        access: choice(&mut section, "access", &formats).unwrap_or(LogFormat::Auto),
    };
    section.finish();
    settings
}

/// One of a few words.
pub fn choice<T: Clone>(
    section: &mut Section<'_>,
    key: &'static str,
    choices: &[(&str, T)],
) -> Option<T> {
    let Placed { value, place } = section.text(key)?;
    let chosen = choices.iter().find(|(word, _)| *word == value);
    if chosen.is_none() {
        let words: Vec<&str> = choices.iter().map(|(word, _)| *word).collect();
        let what = format!("`{key}` is one of {}", words.join(", "));
        section.error(&place, what, "");
    }
    chosen.map(|(_, choice)| choice.clone())
}
