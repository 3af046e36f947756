//! Spans in the JSON of OTLP (opentelemetry-proto 1.x, `ExportTraceServiceRequest`): ids as hex, 64-bit
//! numbers as strings, enums as numbers.

use std::time::Duration;

use serde_json::{Value as Json, json};

use super::span::{Kind, Span, Value};

/// The body of an export.
pub fn body(service_name: &str, spans: &[Span]) -> Vec<u8> {
    let version = env!("CARGO_PKG_VERSION");
    let resource = [
        ("service.name", Value::Text(service_name.to_owned())),
        ("service.version", Value::Word(version)),
    ];
    let body = json!({
        "resourceSpans": [{
            "resource": { "attributes": attributes(&resource) },
            "scopeSpans": [{
                "scope": { "name": "portcullis", "version": version },
                "spans": spans.iter().map(span).collect::<Vec<_>>(),
            }],
        }],
    });
    body.to_string().into_bytes()
}

/// How many spans the collector took back, of a `partialSuccess`; 0 when it took all.
pub fn rejected(answer: &[u8]) -> u64 {
    let Ok(answer) = serde_json::from_slice::<Json>(answer) else {
        return 0;
    };
    let rejected = &answer["partialSuccess"]["rejectedSpans"];
    let text = rejected.as_str().and_then(|text| text.parse().ok());
    text.or_else(|| rejected.as_u64()).unwrap_or(0)
}

fn span(span: &Span) -> Json {
    let mut json = json!({
        "traceId": span.context.trace_id(),
        "spanId": span.context.span_id().as_str(),
        "name": span.name,
        "kind": match span.kind {
            Kind::Server => 2,
            Kind::Client => 3,
        },
        "startTimeUnixNano": nanoseconds(span.start),
        "endTimeUnixNano": nanoseconds(span.end),
        "attributes": attributes(&span.attributes),
    });
    if let Some(parent) = span.context.parent() {
        json["parentSpanId"] = parent.as_str().into();
    }
    if let Some(fault) = span.fault {
        json["status"] = json!({ "code": 2, "message": fault });
    }
    json
}

fn nanoseconds(time: Duration) -> String {
    time.as_nanos().to_string()
}

fn attributes(attributes: &[(&'static str, Value)]) -> Vec<Json> {
    let attribute = |(key, value): &(&'static str, Value)| {
        let value = match value {
            Value::Word(word) => json!({ "stringValue": word }),
            Value::Text(text) => json!({ "stringValue": text }),
            Value::Number(number) => json!({ "intValue": number.to_string() }),
            Value::Flag(flag) => json!({ "boolValue": flag }),
        };
        json!({ "key": key, "value": value })
    };
    attributes.iter().map(attribute).collect()
}

#[cfg(test)]
mod tests {
    use super::{super::TraceContext, *};

    #[test]
    fn a_span_is_told_as_otlp_wants_it() {
        let caller = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let caller = http::HeaderValue::from_static(caller);
        let span = Span {
            context: TraceContext::continue_from(Some(&caller)),
            kind: Kind::Server,
            name: "GET orders".to_owned(),
            start: Duration::from_nanos(1_800_000_000_000_000_001),
            end: Duration::from_nanos(1_800_000_000_000_000_002),
            attributes: vec![
                ("a", Value::Text("x\"".to_owned())),
                ("b", Value::Number(-1)),
                ("c", Value::Flag(true)),
            ],
            fault: Some("upstream_timeout"),
        };
        let body: Json = serde_json::from_slice(&body("edge", &[span])).unwrap();
        let resource = &body["resourceSpans"][0];
        let service = &resource["resource"]["attributes"][0];
        assert_eq!(service["value"]["stringValue"], "edge");
        let span = &resource["scopeSpans"][0]["spans"][0];
        assert_eq!(span["traceId"], "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!(span["parentSpanId"], "00f067aa0ba902b7");
        assert_eq!(span["startTimeUnixNano"], "1800000000000000001");
        assert_eq!(span["attributes"][1]["value"]["intValue"], "-1");
        assert_eq!(span["attributes"][2]["value"]["boolValue"], true);
        assert_eq!(span["status"]["code"], 2);
    }

    #[test]
    fn what_the_collector_took_back_is_read_whatever_it_says() {
        for (answer, expected) in [
            (&b"{}"[..], 0),
            (b"", 0),
            (b"\x00", 0),
            (br#"{"partialSuccess":{}}"#, 0),
            (br#"{"partialSuccess":{"rejectedSpans":"7"}}"#, 7),
            (br#"{"partialSuccess":{"rejectedSpans":7}}"#, 7),
            (br#"{"partialSuccess":[1]}"#, 0),
        ] {
            assert_eq!(rejected(answer), expected);
        }
    }
}
