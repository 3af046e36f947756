//! `upstream` with `strip_prefix` or `rewrite`, `redirect`, or `respond`: what becomes of a route's
//! requests.

use std::ops::RangeInclusive;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, StatusCode, header};

use crate::{
    config::{
        key_manager::parse_url,
        section::{Placed, Section},
        tree::{Entry, Value},
        upstream::{self, Upstreams},
    },
    domain::{Action, Forward, PathPattern, Redirect, Rewrite, StaticAnswer},
};

/// Keys that say how a request goes on.
const FORWARDING: [&str; 10] = [
    "upstream",
    "sandbox_upstream",
    "timeout",
    "on_failure",
    "strip_prefix",
    "rewrite",
    "backend_jwt",
    "forward_token",
    "identity_headers",
    "response_cache",
];
/// Headers of a static answer that have a key of their own, or are the connection's.
const NOT_STATIC: [HeaderName; 7] = [
    header::CONNECTION,
    header::CONTENT_LENGTH,
    header::CONTENT_TYPE,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];
/// Statuses of answers that are given by themselves, and of those that stand for a failure.
const ANSWERS: RangeInclusive<u16> = 200..=599;
const FAILURES: RangeInclusive<u16> = 500..=599;
const PLAIN_TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

/// Reads the one thing that a route does. `path` is `None` where it could not be read.
pub fn action(
    section: &mut Section<'_>,
    path: Option<&PathPattern>,
    upstreams: &mut Upstreams,
) -> Option<Action> {
    let redirect = section.optional_section("redirect");
    let respond = section.optional_section("respond");
    if !section.was_given("redirect") && !section.was_given("respond") {
        let to = upstreams.of_route(section);
        let timeout = upstream::timeout(section);
        let rewrite = new_path(section, path);
        let on_failure = section.optional_section("on_failure").map(|inner| {
            // An answer that is no failure would hide that there was one.
            answer(inner, FAILURES, StatusCode::BAD_GATEWAY)
        });
        return Some(Action::Forward(Forward {
            to: to?,
            timeout,
            rewrite: rewrite?,
            on_failure: match on_failure {
                Some(answer) => Some(Box::new(answer?)),
                None => None,
            },
        }));
    }
    refuse_forwarding(section);
    let redirect = redirect.map(|inner| redirected(inner, path));
    let respond = respond.map(|inner| {
        let place = inner.place.clone();
        (answer(inner, ANSWERS, StatusCode::OK), place)
    });
    match (redirect, respond) {
        (Some(redirect), None) => redirect.map(Action::Redirect),
        (None, Some((answer, _))) => answer.map(Action::Respond),
        (Some(_), Some((_, place))) => {
            section.error(
                &place,
                "a route has one of `redirect` and `respond`",
                "make two routes of it",
            );
            None
        }
        (None, None) => None,
    }
}

/// What the gateway answers itself goes nowhere.
fn refuse_forwarding(section: &mut Section<'_>) {
    for key in FORWARDING {
        if let Some(entry) = section.take(key) {
            section.error(
                &entry.key_place,
                format!("`{key}` has no place beside `redirect` and `respond`"),
                "the gateway answers by itself: nothing is forwarded",
            );
        }
    }
}

/// `Some(None)` when the path stays as it is, `None` when a value is wrong.
#[allow(clippy::option_option)]
fn new_path(section: &mut Section<'_>, path: Option<&PathPattern>) -> Option<Option<Rewrite>> {
    let strip = section.take("strip_prefix");
    let rewrite = section.text("rewrite");
    let path = path?;
    match (strip, rewrite) {
        (None, None) => Some(None),
        (Some(entry), None) => stripped(section, entry, path),
        (None, Some(text)) => {
            let rewrite = Rewrite::parse(&text.value, path);
            told(section, &text, rewrite).map(Some)
        }
        (Some(_), Some(text)) => {
            section.error(
                &text.place,
                "`strip_prefix` and `rewrite` both say which path goes on",
                "`rewrite` can do both",
            );
            None
        }
    }
}

/// `true`: all before the `/*`; a string: that.
#[allow(clippy::option_option)]
fn stripped(section: &Section<'_>, entry: Entry, path: &PathPattern) -> Option<Option<Rewrite>> {
    let place = entry.node.place;
    let (what, rewrite) = match entry.node.value {
        Value::Boolean(false) => return Some(None),
        Value::Boolean(true) => (String::new(), Rewrite::strip_all(path)),
        Value::Loose(word) if word.eq_ignore_ascii_case("false") => return Some(None),
        Value::Loose(word) if word.eq_ignore_ascii_case("true") => {
            (String::new(), Rewrite::strip_all(path))
        }
        Value::Text(prefix) | Value::Loose(prefix) => {
            let rewrite = Rewrite::strip(&prefix, path);
            (prefix, rewrite)
        }
        _ => {
            let what = "`strip_prefix` is true, or the prefix";
            section.error(&place, what, "for instance \"/api\"");
            return None;
        }
    };
    told(section, &Placed { value: what, place }, rewrite).map(Some)
}

fn told<T>(
    section: &Section<'_>,
    text: &Placed<String>,
    result: Result<T, &'static str>,
) -> Option<T> {
    result
        .map_err(|fault| section.error(&text.place, fault, ""))
        .ok()
}

fn redirected(mut section: Section<'_>, path: Option<&PathPattern>) -> Option<Redirect> {
    let to = section.text("to");
    let status = redirect_status(&mut section);
    let target = match &to {
        Some(to) => path.and_then(|path| told(&section, to, target(&to.value, path))),
        None => {
            section.missing("to", "for instance \"https://www.example.com/*\"");
            None
        }
    };
    section.finish();
    let (origin, path) = target?;
    Some(Redirect {
        origin,
        path,
        status: status?,
    })
}

/// The codes of RFC 9110 §15.4 that send a caller elsewhere.
fn redirect_status(section: &mut Section<'_>) -> Option<StatusCode> {
    let Some(Placed { value, place }) = section.integer("status") else {
        return Some(StatusCode::PERMANENT_REDIRECT);
    };
    let status = match value {
        301 => StatusCode::MOVED_PERMANENTLY,
        302 => StatusCode::FOUND,
        303 => StatusCode::SEE_OTHER,
        307 => StatusCode::TEMPORARY_REDIRECT,
        308 => StatusCode::PERMANENT_REDIRECT,
        _ => {
            section.error(
                &place,
                "this is not a status of a redirect",
                "one of 301, 302, 303, 307, 308; the last two keep method and body",
            );
            return None;
        }
    };
    Some(status)
}

/// Scheme and authority, if any, and the path.
fn target(to: &str, pattern: &PathPattern) -> Result<(Box<str>, Rewrite), &'static str> {
    let Some((scheme, rest)) = to.split_once("://") else {
        return Ok((Box::default(), Rewrite::parse(to, pattern)?));
    };
    let authority = &rest[..rest.find('/').unwrap_or(rest.len())];
    let (origin, path) = to.split_at(scheme.len() + 3 + authority.len());
    parse_url(origin)?;
    let path = if path.is_empty() { "/" } else { path };
    Ok((origin.into(), Rewrite::parse(path, pattern)?))
}

fn answer(
    mut section: Section<'_>,
    statuses: RangeInclusive<u16>,
    usual: StatusCode,
) -> Option<StaticAnswer> {
    let status = answer_status(&mut section, &statuses, usual);
    let body = section.text("body");
    let content_type = content_type(&mut section);
    let headers = answer_headers(&mut section);
    if let (Some(status), Some(body)) = (status, &body)
        && !StaticAnswer::has_content(status)
    {
        let what = format!("an answer with status {} has no body", status.as_u16());
        section.error(&body.place, what, "leave out `body`");
    }
    section.finish();
    let mut headers = headers?;
    let content_type = content_type?;
    if body.is_some() || content_type.is_some() {
        headers.push((header::CONTENT_TYPE, content_type.unwrap_or(PLAIN_TEXT)));
    }
    Some(StaticAnswer {
        status: status?,
        headers: headers.into(),
        body: Bytes::from(body.map(|body| body.value).unwrap_or_default()),
    })
}

fn answer_status(
    section: &mut Section<'_>,
    statuses: &RangeInclusive<u16>,
    usual: StatusCode,
) -> Option<StatusCode> {
    let Some(Placed { value, place }) = section.integer("status") else {
        return Some(usual);
    };
    let status = u16::try_from(value)
        .ok()
        .filter(|code| statuses.contains(code) && *code != 304)
        .and_then(|code| StatusCode::from_u16(code).ok());
    if status.is_none() {
        section.error(
            &place,
            "this is not a status to answer with",
            match statuses.contains(&304) {
                true => format!("{} to {}, without 304", statuses.start(), statuses.end()),
                false => format!("{} to {}", statuses.start(), statuses.end()),
            },
        );
    }
    status
}

/// `Some(None)` when the key is not there, `None` when its value is wrong.
#[allow(clippy::option_option)]
fn content_type(section: &mut Section<'_>) -> Option<Option<HeaderValue>> {
    let Some(text) = section.text("content_type") else {
        return Some(None);
    };
    let value = text.value.parse().map_err(|_| "this is not a media type");
    told(section, &text, value).map(Some)
}

fn answer_headers(section: &mut Section<'_>) -> Option<Vec<(HeaderName, HeaderValue)>> {
    let mut headers = Vec::new();
    let mut complete = true;
    for Placed { value, place } in section.pairs("headers") {
        let (name, text) = value;
        let usable = name
            .parse::<HeaderName>()
            .ok()
            .filter(|name| !NOT_STATIC.contains(name));
        match (usable, text.parse::<HeaderValue>()) {
            (Some(name), Ok(value)) => headers.push((name, value)),
            _ => {
                let what = format!("`{name}` cannot be a header of this answer");
                let hint = "the body's type is `content_type`; its length comes by itself";
                section.error(&place, what, hint);
                complete = false;
            }
        }
    }
    complete.then_some(headers)
}
