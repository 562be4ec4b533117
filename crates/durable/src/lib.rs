//! How a durable actor's turns become batches of its partition, and how it is found again.
//!
//! A sans-IO core: it never reads, writes or waits. The turn loop reads what [`Activation::RECOVERY`] asks for, hands it over, and
//! commits the batches that it gets back.

mod activation;
mod record;
mod reminder;

pub use activation::{Activation, Changes, Outcome};
pub use record::{Answer, Error, KeyValue, RETENTION_MS, answer_key, fingerprint, key_value_key, key_value_prefix};
pub use reminder::{Due, Reminder};
