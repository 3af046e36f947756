//! Traces: the context that goes from the caller to the key manager and to the upstream, and the spans
//! that go to a collector. And what was refused last.

mod denials;
mod otlp;
mod span;
mod trace_context;
mod tracer;

pub use denials::{LastRefused, Refused, cut};
pub use span::{Dates, Kind, Span, Value};
pub use trace_context::{SpanId, TRACEPARENT, TRACESTATE, TraceContext};
pub use tracer::Tracer;
