//! Events over AMQP 0-9-1, as WSO2 API Manager sends them: what changed among its subscriptions, and
//! which tokens were revoked.

mod changes;
mod consumer;
mod envelope;
mod event_kind;
mod map_message;
mod notifications;
mod transport;

pub use changes::Effect;
pub(super) use consumer::unix_time;
pub use consumer::{Consumer, Listener};
pub(super) use envelope::integer;
pub use envelope::{MAX_MESSAGE_BYTES, Malformed, Notification, Revoked};
pub use event_kind::EventKind;
pub use map_message::MapMessage;
pub use notifications::Notifications;
