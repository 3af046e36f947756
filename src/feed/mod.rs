//! What others tell the gateway while it runs, and the threads that listen to them.

pub mod events;
mod revocation;

pub use revocation::{RevocationWatch, Revoker};
