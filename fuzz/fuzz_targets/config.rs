//! A configuration: any text, with one environment variable over it when the first line is
//! `PORTCULLIS__…=…` or `keymanager_…=…`.

#![no_main]

use http::{HeaderMap, Method};
use libfuzzer_sys::fuzz_target;
use portcullis::{
    config::{Environment, Severity, Source, load_source},
    domain::{KeyType, KnownMethod},
    metrics::{Metrics, Zeros},
};

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    // A secret may be read from a file: devices that never end are no business of this target, nor
    // is what other files say.
    if text.contains("/dev") || text.contains("/proc") || text.contains("include") {
        return;
    }
    let (variable, text) = match text.split_once('\n') {
        Some((line, rest))
            if line.starts_with("PORTCULLIS__") || line.starts_with("keymanager_") =>
        {
            (line.split_once('='), rest)
        }
        _ => (None, text),
    };
    let environment = match variable {
        Some(variable) => Environment::from([variable]),
        None => Environment::default(),
    };
    match load_source(Source::memory(text), &environment) {
        Ok(loaded) => {
            assert_eq!(loaded.warnings.count(Severity::Error), 0);
            let _ = loaded.warnings.to_string();
            let routes = &loaded.settings.routes;
            for route in routes.routes() {
                let host = route.hosts.first().map(ToString::to_string);
                routes.find(
                    &host.unwrap_or_default(),
                    KnownMethod::of(&Method::GET),
                    &route.path.to_string(),
                    &HeaderMap::new(),
                );
                if let Some(forward) = route.forward() {
                    for key_type in [KeyType::Production, KeyType::Sandbox] {
                        if let Ok(upstream) = forward.to.of(key_type) {
                            assert!(upstream.0 < loaded.settings.upstreams.len());
                        }
                    }
                }
            }
            let metrics = Metrics::new().expect("metrics");
            let held: Vec<_> = routes
                .routes()
                .iter()
                .map(|route| metrics.route(&route.name, Zeros::Of(route.methods)))
                .collect();
            metrics.encode().expect("metrics are written");
            drop(held);
        }
        Err(problems) => {
            assert!(
                problems.count(Severity::Error) > 0,
                "refused without a reason"
            );
            assert!(!problems.to_string().is_empty());
        }
    }
});
