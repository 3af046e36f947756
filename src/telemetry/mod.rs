//! Traces: the context that goes from the caller to the key manager and to the upstream.

mod trace_context;

pub use trace_context::{SpanId, TRACEPARENT, TRACESTATE, TraceContext};
