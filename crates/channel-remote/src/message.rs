//! A channel's message as it is at a broker: one JSON object, which other programs can read too.

use plexspaces_coord::channels::{Given, fresh_id};
use plexspaces_types::{ActorId, Code, Failure};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

/// A message.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Message {
    pub(crate) msg_id: String,
    pub(crate) msg_type: String,
    payload: Box<RawValue>,
    /// Milliseconds since the Unix epoch when it was sent.
    pub(crate) timestamp: u64,
    /// How often it was given out; the broker counts it.
    #[serde(skip)]
    pub(crate) delivery_count: u64,
    /// The broker's word for one delivery of it, where it has such.
    #[serde(skip)]
    pub(crate) receipt: Option<String>,
}

impl Message {
    /// A message as it was given. One without an id that was asked for under a key has an id that follows from the key, so that it is the
    /// same when it is asked for again.
    pub(crate) fn new(given: Given, sender: Option<&ActorId>, key: Option<&str>) -> Self {
        let Given { msg_id, msg_type, payload } = given;
        let made = || match key {
            Some(key) => hex(&Sha256::digest(format!("{}\n{key}", sender.map(ToString::to_string).unwrap_or_default()))),
            None => fresh_id(),
        };
        Self { msg_id: msg_id.unwrap_or_else(made), msg_type, payload, timestamp: now_ms(), delivery_count: 0, receipt: None }
    }

    pub(crate) fn encode(&self) -> Result<Vec<u8>, Failure> {
        serde_json::to_vec(self).map_err(|error| Failure::new(Code::Internal, format!("a message could not be written: {error}")))
    }

    pub(crate) fn decode(bytes: &[u8], delivery_count: u64) -> Result<Self, Failure> {
        let unreadable = |error| Failure::new(Code::StorageFailed, format!("a message at the broker is not one of a channel: {error}"));
        let message: Self = serde_json::from_slice(bytes).map_err(unreadable)?;
        Ok(Self { delivery_count, ..message })
    }

    /// As an operation's reply shows it.
    pub(crate) fn shown(&self, channel: &str) -> Value {
        let payload: Value = serde_json::from_str(self.payload.get()).unwrap_or_default();
        let mut shown = json!({
            "msg_id": self.msg_id,
            "msg_type": self.msg_type,
            "payload": payload,
            "channel": channel,
            "timestamp": self.timestamp,
            "delivery_count": self.delivery_count,
        });
        if let (Some(receipt), Value::Object(members)) = (&self.receipt, &mut shown) {
            members.insert("receipt".to_owned(), receipt.as_str().into());
        }
        shown
    }
}

/// Milliseconds since the Unix epoch.
pub(crate) fn now_ms() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}

/// In hexadecimal, the first 16 bytes.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}
