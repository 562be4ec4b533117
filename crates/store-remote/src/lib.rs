//! The store contract on servers that hold keys and values: Redis.
//!
//! A backend holds partitions of keys and values and nothing that knows what they mean. There are no queries besides those of the contract
//! and no clusters of such servers: a store is one server, or what answers as one.

#[cfg(feature = "redis")]
pub mod redis;

#[cfg(feature = "redis")]
pub use redis::Redis;
