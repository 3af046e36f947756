//! Lists of clients on their way into the table.

use std::sync::Arc;

use parking_lot::Mutex;

use super::document::{Document, Form, Register};
use crate::{metrics::SourceHealth, subscription::Table};

/// Takes lists in, and says what became of them.
pub struct Intake {
    /// For people.
    name: String,
    register: Mutex<Register>,
    table: Arc<Table>,
    health: Arc<SourceHealth>,
}

impl Intake {
    pub fn new(name: String, table: &Arc<Table>, health: &Arc<SourceHealth>) -> Self {
        Self {
            name,
            register: Mutex::default(),
            table: Arc::clone(table),
            health: Arc::clone(health),
        }
    }

    /// Puts a list into the table; false: it is none. Blocks.
    pub fn take(&self, bytes: &[u8], form: Form) -> bool {
        let document = match Document::parse(bytes, form) {
            Ok(document) => document,
            Err(fault) => return self.failed(&fault.to_string()),
        };
        for fault in &document.skipped {
            if self.health.skip(*fault) {
                tracing::warn!(
                    source = self.name,
                    fault = fault.word(),
                    "a client in the list of subscriptions is left out; others like it are only counted"
                );
            }
        }
        let (clients, skipped) = (document.len(), document.skipped.len());
        self.register.lock().load(document, &self.table);
        self.health.confirmed();
        tracing::info!(
            source = self.name,
            clients,
            skipped,
            "subscriptions were read"
        );
        true
    }

    /// What was read last is what the source still says.
    pub fn unchanged(&self) {
        self.health.confirmed();
    }

    /// The source cannot be read; what is known stays. False, for the caller to pass on.
    pub fn failed(&self, why: &str) -> bool {
        if self.health.failed(why) {
            tracing::error!(
                source = self.name,
                why,
                "subscriptions cannot be read; what is known stays in force"
            );
        }
        false
    }
}
