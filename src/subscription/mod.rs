//! Who has subscribed to what: one table in memory, whatever the source.
//!
//! Rows come as lists ([`Table::begin`]) and as single changes ([`Table::apply`]), in any order and
//! at the same time. Of each row the newest word counts, by the source's own clock; a list is the
//! source's word about every row of its kind, those included that are not in it. So the order of
//! arrival does not matter.
//!
//! A request reads under the lock of one shard at a time, which writers hold for one row.

mod apis;
mod names;
mod shelf;
mod table;

pub use apis::near_names;
pub use table::{Load, Loaded, Table};
