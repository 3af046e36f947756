//! Subscriptions without a control plane: a list of clients in a file or at an address.

mod document;
mod file;
mod intake;
mod url;

pub use document::{Document, Form, Unreadable};
pub use file::File;
pub use url::Address;
