//! Portcullis: an edge gateway that lets a request through only when its OAuth2 token is good.
//!
//! The modules stand in one order and use only what is to their left: `tests/tidy.rs` has the order and
//! proves it.
//!
//! `ARCHITECTURE.md` tells how a request goes through them.

#![forbid(unsafe_code)]
#![warn(clippy::too_many_lines, clippy::cast_possible_truncation)]

pub mod admin;
pub mod auth;
pub mod cli;
pub mod config;
pub mod demo;
pub mod domain;
pub mod feed;
pub mod gateway;
pub mod lifecycle;
pub mod limits;
pub mod listener;
pub mod markup;
pub mod metrics;
pub mod openapi;
pub mod response_cache;
pub mod server;
pub mod subscription;
pub mod telemetry;
pub mod upstream;
