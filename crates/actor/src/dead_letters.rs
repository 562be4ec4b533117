//! Messages that could not be handled, kept for each namespace until somebody sends them again or discards them.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use plexspaces_store::{Batch, Partition, Range, Store};
use plexspaces_types::{ActorId, Code, Failure, Key, Message, MessageKind, Name, Payload};
use serde::{Deserialize, Serialize};

/// Letters that a namespace keeps; the oldest goes first.
const CAPACITY: usize = 10_000;

const CONCERN: &str = "dead-letters";

/// A message that was given up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadLetter {
    /// Its name in its namespace; later letters have greater ones.
    #[serde(skip)]
    pub id: String,
    /// The actor's type.
    pub actor_type: Name,
    /// Which one of its type.
    pub key: String,
    /// The operation.
    pub operation: String,
    /// The payload as text; of bytes, their text in base 16.
    payload: StoredPayload,
    /// The sending actor's printed identity; empty for a sender outside.
    pub sender: String,
    /// How often it was tried.
    pub attempts: u8,
    /// A code of `docs/errors.md`.
    pub code: String,
    /// Why it was given up.
    pub reason: String,
    /// When, in milliseconds since the Unix epoch.
    pub at_ms: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum StoredPayload {
    Json(String),
    Bytes(Vec<u8>),
}

impl DeadLetter {
    pub(crate) fn new(id: &ActorId, message: Message, attempts: u8, failure: &Failure, at_ms: u64) -> Self {
        Self {
            id: format!("{at_ms:013x}-{:08x}", rand::random::<u32>()),
            actor_type: id.actor_type.clone(),
            key: id.key.as_str().to_owned(),
            operation: message.operation,
            payload: match message.payload {
                Payload::Json(text) => StoredPayload::Json(text),
                Payload::Bytes(bytes) => StoredPayload::Bytes(bytes.to_vec()),
            },
            sender: message.sender.map(|sender| sender.to_string()).unwrap_or_default(),
            attempts,
            code: failure.code.name().to_owned(),
            reason: failure.message.clone(),
            at_ms,
        }
    }

    /// The payload as it was sent.
    #[must_use]
    pub fn payload(&self) -> Payload {
        match &self.payload {
            StoredPayload::Json(text) => Payload::Json(text.clone()),
            StoredPayload::Bytes(bytes) => Payload::Bytes(bytes.clone().into()),
        }
    }

    pub(crate) fn message(&self) -> Message {
        let (operation, payload) = (self.operation.clone(), self.payload());
        Message { operation, kind: MessageKind::Cast, payload, sender: None, idempotency_key: None }
    }

    pub(crate) fn target(&self, tenant: &Name, namespace: &Name) -> Result<ActorId, Failure> {
        let key = Key::new(&self.key).map_err(|error| Failure::new(Code::StorageFailed, error.to_string()))?;
        Ok(ActorId::new(tenant.clone(), namespace.clone(), self.actor_type.clone(), key))
    }
}

pub(crate) struct DeadLetters {
    store: Arc<dyn Store>,
    /// How many each namespace has, as far as it was asked for.
    counts: Mutex<HashMap<Partition, usize>>,
}

impl DeadLetters {
    pub(crate) fn new(store: Arc<dyn Store>) -> Self {
        Self { store, counts: Mutex::default() }
    }

    pub(crate) async fn add(&self, tenant: &Name, namespace: &Name, letter: &DeadLetter) -> Result<(), Failure> {
        let partition = Partition::namespace(tenant, namespace, CONCERN);
        let count = self.count(&partition).await?;
        let mut batch = Batch::new(partition.clone());
        let mut removed = 0;
        if count >= CAPACITY {
            let oldest = self.store.scan(&partition, Range::prefix(b""), count + 1 - CAPACITY).await?;
            removed = oldest.entries.len();
            for (key, _) in oldest.entries {
                batch.delete(key);
            }
        }
        let value = serde_json::to_vec(letter).map_err(|error| Failure::new(Code::Internal, error.to_string()))?;
        batch.put(letter.id.clone(), value);
        self.store.commit(batch).await?;
        self.counts.lock().insert(partition, count + 1 - removed);
        metrics::counter!("plexspaces_dead_letters_total", "namespace" => namespace.to_string()).increment(1);
        Ok(())
    }

    /// The letters after the one with the name `after`, oldest first, at most `limit`; and whether there are more.
    pub(crate) async fn list(
        &self,
        tenant: &Name,
        namespace: &Name,
        after: Option<&str>,
        limit: usize,
    ) -> Result<(Vec<DeadLetter>, bool), Failure> {
        let mut range = Range::prefix(b"");
        if let Some(after) = after {
            range = range.after(after.as_bytes());
        }
        let page = self.store.scan(&Partition::namespace(tenant, namespace, CONCERN), range, limit).await?;
        let letters = page.entries.iter().map(|(key, value)| decode(key, value)).collect::<Result<_, _>>()?;
        Ok((letters, page.more))
    }

    pub(crate) async fn get(&self, tenant: &Name, namespace: &Name, id: &str) -> Result<DeadLetter, Failure> {
        let found = self.store.get(&Partition::namespace(tenant, namespace, CONCERN), id.as_bytes()).await?;
        let unknown = || Failure::not_found(format!("unknown dead letter {id:?} in namespace {namespace}"));
        decode(id.as_bytes(), &found.ok_or_else(unknown)?)
    }

    pub(crate) async fn remove(&self, tenant: &Name, namespace: &Name, id: &str) -> Result<(), Failure> {
        let partition = Partition::namespace(tenant, namespace, CONCERN);
        let mut batch = Batch::new(partition.clone());
        batch.delete(id.as_bytes().to_vec());
        self.store.commit(batch).await?;
        if let Some(count) = self.counts.lock().get_mut(&partition) {
            *count = count.saturating_sub(1);
        }
        Ok(())
    }

    async fn count(&self, partition: &Partition) -> Result<usize, Failure> {
        if let Some(count) = self.counts.lock().get(partition) {
            return Ok(*count);
        }
        let (mut count, mut range) = (0, Range::prefix(b""));
        loop {
            let page = self.store.scan(partition, range.clone(), 1000).await?;
            count += page.entries.len();
            match page.entries.last() {
                Some((last, _)) if page.more => range = range.after(last),
                _ => return Ok(count),
            }
        }
    }
}

fn decode(key: &[u8], value: &[u8]) -> Result<DeadLetter, Failure> {
    let unreadable = |error| Failure::new(Code::StorageFailed, format!("a dead letter is unreadable: {error}"));
    let letter: DeadLetter = serde_json::from_slice(value).map_err(unreadable)?;
    Ok(DeadLetter { id: String::from_utf8_lossy(key).into_owned(), ..letter })
}
