//! How a durable actor's turns become batches of its partition, and how it is found again.
//!
//! A sans-IO core: it never reads, writes or waits. The turn loop reads what [`Activation::RECOVERY`] asks for, hands it over, and
//! commits the batches that it gets back.

mod activation;
#[cfg(test)]
mod fuzz;
pub mod journal;
mod outbox;
mod record;
mod reminder;
mod replay;
mod tenure;

pub use activation::{Activation, Changes, Keeping, Outcome};
pub use outbox::{Outgoing, beside, decode_heard, encode_heard, heard_key, heard_range, sender_of};
pub use record::{
    Answer, Error, KeyValue, LAYOUT, PUBLISHED, Published, RETENTION_MS, answer_key, fingerprint, key_value_key, key_value_prefix,
};
pub use reminder::{Due, Reminder};
pub use replay::{Divergence, Past, Replay};
pub use tenure::Tenure;
