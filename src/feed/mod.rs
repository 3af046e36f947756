//! What others tell the gateway while it runs, and the threads that listen to them.

pub mod clients;
pub mod events;
mod revocation;

pub use clients::Feed;
pub use revocation::{RevocationWatch, Revoker};
