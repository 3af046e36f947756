//! `[tracing]`: where spans go, and how many. The standard variables of OpenTelemetry set the same keys
//! (`env.rs`).

use http::{HeaderName, HeaderValue, Uri, header};

use super::{
    key_manager::parse_url,
    problem::Place,
    secret,
    section::{Placed, Section},
    settings::TracingSettings,
    tree::Value,
};

/// Reads the table; mistakes are reported.
pub fn read(root: &mut Section<'_>) -> TracingSettings {
    let mut section = root.section("tracing");
    let mut settings = TracingSettings::default();
    if let Some(Placed { value, place }) = section.text("endpoint") {
        settings.endpoint = endpoint(&section, &value, &place);
    }
    if let Some(sample) = sample(&mut section) {
        settings.sample = sample;
    }
    if let Some(service_name) = section.text("service_name") {
        settings.service_name = service_name.value;
    }
    settings.headers = headers(&mut section);
    if let Some(server_timing) = section.boolean("server_timing") {
        settings.server_timing = server_timing.value;
    }
    section.finish();
    settings
}

/// A part of the whole.
fn sample(section: &mut Section<'_>) -> Option<f64> {
    let node = section.take("sample")?.node;
    let value = match &node.value {
        Value::Fraction(value) => Some(*value),
        Value::Integer(value) => i32::try_from(*value).ok().map(f64::from),
        Value::Loose(text) => text.parse().ok(),
        _ => None,
    };
    let value = value.filter(|value| (0.0..=1.0).contains(value));
    if value.is_none() {
        section.error(
            &node.place,
            "`sample` is not a number between 0 and 1",
            "0 is no trace, 0.1 one in ten, 1 every one",
        );
    }
    value
}

/// The collector's address with the path for traces (OTLP/HTTP specification, "Endpoint URLs").
fn endpoint(section: &Section<'_>, text: &str, place: &Place) -> Option<Uri> {
    let url = match parse_url(text) {
        Ok(url) => format!("{}/v1/traces", url.to_string().trim_end_matches('/')),
        Err(hint) => {
            section.error(place, "this is not the address of a collector", hint);
            return None;
        }
    };
    url.parse().ok()
}

fn headers(section: &mut Section<'_>) -> Vec<(HeaderName, HeaderValue)> {
    const OURS: [HeaderName; 4] = [
        header::CONTENT_LENGTH,
        header::CONTENT_TYPE,
        header::HOST,
        header::TRANSFER_ENCODING,
    ];
    secret::headers(
        section,
        "headers",
        &OURS,
        "this cannot be a header of an export",
    )
}
