//! Channels on message brokers: clients that carry out the operations of the service `channels` in place of the node.
//!
//! Each backend is a file with its directory and a cargo feature. What an operation is, and its bounds, stand in `plexspaces_coord::channels`;
//! which channel is on which backend is decided in the runtime. `docs/services.md` says what each backend promises.

mod backend;
mod groups;
mod message;
mod secret;

#[cfg(feature = "kafka")]
pub mod kafka;
#[cfg(feature = "nats")]
mod nats;
#[cfg(feature = "redis")]
mod redis;
#[cfg(feature = "sqs")]
pub mod sqs;
#[cfg(feature = "udp")]
mod udp;

#[cfg(feature = "kafka")]
pub use kafka::Kafka;
#[cfg(feature = "nats")]
pub use nats::{Nats, NatsConfig};
#[cfg(feature = "redis")]
pub use redis::{Redis, RedisConfig};
pub use secret::masked;
#[cfg(feature = "sqs")]
pub use sqs::Sqs;
#[cfg(feature = "udp")]
pub use udp::{Udp, UdpConfig};

/// For how long a broker remembers a message's id, in seconds: the same message sent again within this time is dropped.
pub const DUPLICATE_WINDOW_SECS: u64 = 120;

/// How long a broker may take for one operation, in seconds.
const PATIENCE_SECS: u64 = 5;
