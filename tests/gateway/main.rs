//! The gateway through its front door: real sockets, a fake key manager, an echo upstream.
//!
//! A new test goes to the file whose first line it fits. The harness is in `support.rs`.

mod auth_server;
mod bad_requests;
mod compression;
mod cors;
mod credentials;
mod forwarding;
mod framing;
mod headers;
mod http2;
mod jwt;
mod key_manager;
mod key_managers;
mod limits;
mod listeners;
mod microgateway;
mod microgateway_tokens;
mod observability;
mod openapi;
mod protocols;
mod reload;
mod response_cache;
mod revocation;
mod routes;
mod sandbox;
mod slow;
mod subscriptions;
mod support;
mod tiers;
mod token_path;
mod tracing;
mod upstreams;
mod wso2_errors;
