//! What travels between actors.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::ActorId;

/// The body of a message, a reply or a snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Payload {
    /// JSON text. It is not parsed on its way; whoever reads it checks it.
    Json(String),
    /// Anything else.
    Bytes(Bytes),
}

impl Payload {
    /// The JSON text of `value`.
    #[must_use]
    pub fn from_value(value: &Value) -> Self {
        Self::Json(value.to_string())
    }

    /// The empty object, which stands for "nothing given".
    #[must_use]
    pub fn empty() -> Self {
        Self::Json("{}".to_owned())
    }

    /// The bytes of either kind.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Json(text) => text.as_bytes(),
            Self::Bytes(bytes) => bytes,
        }
    }
}

impl std::ops::Deref for Payload {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.as_bytes()
    }
}

/// Whether the sender waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MessageKind {
    /// The sender waits for a reply.
    Call,
    /// The sender does not wait.
    Cast,
}

/// One message to one actor.
#[derive(Clone, Debug)]
pub struct Message {
    /// What to do; empty when only the payload says it.
    pub operation: String,
    /// Whether the sender waits.
    pub kind: MessageKind,
    /// The arguments.
    pub payload: Payload,
    /// The sending actor; none for a sender outside.
    pub sender: Option<ActorId>,
    /// The caller's name for this message: a durable actor applies one key once and answers the stored reply to each repetition.
    pub idempotency_key: Option<String>,
}
