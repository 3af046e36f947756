//! `portcullis check --routes`: what each route is for, one line each.

use std::fmt::Write;

use crate::{
    config::Settings,
    domain::{Action, HostPattern, Route},
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
            "{}\t{methods} {host}{}\t{}\t{}",
            route.name,
            route.path,
            route.access,
            target(route, settings)
        );
        debug_assert!(written.is_ok());
    }
    text
}

fn target(route: &Route, settings: &Settings) -> String {
    match &route.action {
        Action::Forward(forward) => settings
            .upstreams
            .get(forward.upstream.0)
            .map_or_else(String::new, |upstream| upstream.name.clone()),
        Action::Redirect(redirect) => format!("redirect {}", redirect.status.as_u16()),
        Action::Respond(answer) => format!("answer {}", answer.status.as_u16()),
    }
}
