//! `portcullis check --routes`: what each route is for, one line each.

use std::fmt::Write;

use crate::{
    config::Settings,
    domain::{Action, HostPattern, KeyType, Route},
};

/// Name, requests, what callers need, where they go; separated by tabs.
pub fn list(settings: &Settings) -> String {
    let mut text = String::new();
    for route in settings.routes.routes() {
        let hosts: Vec<String> = route.hosts.iter().map(HostPattern::to_string).collect();
        let (host, methods) = (
            hosts.join(","),
            route.methods.to_string().replace(", ", ","),
        );
        let written = writeln!(
            text,
            "{}\t{methods} {host}{}\t{}{}\t{}",
            route.name,
            route.path,
            route.access,
            asked(route),
            target(route, settings)
        );
        debug_assert!(written.is_ok());
    }
    text
}

/// The key manager whose word alone counts.
fn asked(route: &Route) -> String {
    let name = route.key_manager.as_deref();
    name.map(|name| format!(", asked at {name}"))
        .unwrap_or_default()
}

fn target(route: &Route, settings: &Settings) -> String {
    match &route.action {
        Action::Forward(forward) => {
            let name = |key_type| {
                let id = forward.to.of(key_type).ok()?;
                settings.upstreams.get(id.0).map(|upstream| &upstream.name)
            };
            match [KeyType::Production, KeyType::Sandbox].map(name) {
                [Some(production), None] => production.clone(),
                [Some(production), Some(sandbox)] => format!("{production}, sandbox {sandbox}"),
                [None, sandbox] => format!("sandbox {}", sandbox.map_or("", |name| name)),
            }
        }
        Action::Redirect(redirect) => format!("redirect {}", redirect.status.as_u16()),
        Action::Respond(answer) => format!("answer {}", answer.status.as_u16()),
    }
}
