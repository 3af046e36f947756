//! What others tell the gateway while it runs, and the threads that listen to them.

pub mod api_manager;
pub mod clients;
pub mod events;
mod revocation;
mod source;

pub use revocation::{RevocationWatch, Revoker};
pub use source::Feed;
