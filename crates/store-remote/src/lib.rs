//! The store contract on servers elsewhere that hold keys and values: Redis and DynamoDB.
//!
//! A backend holds partitions of keys and values and nothing that knows what they mean. There are no queries besides those of the contract
//! and no clusters of Redis: a store is one server, or what answers as one.

#[cfg(feature = "dynamodb")]
pub mod dynamodb;
#[cfg(feature = "redis")]
pub mod redis;

#[cfg(feature = "dynamodb")]
pub use dynamodb::DynamoDb;
#[cfg(feature = "redis")]
pub use redis::Redis;
