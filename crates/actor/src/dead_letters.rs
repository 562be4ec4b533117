//! Messages that could not be handled, kept for each namespace until somebody sends them again or discards them.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use plexspaces_store::{Batch, Error, Partition, Range, Store};
use plexspaces_types::{ActorId, Code, Failure, Key, Message, MessageKind, Name, Payload};
use serde::{Deserialize, Serialize};
use tokio::sync::OnceCell;

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
    shelves: Mutex<HashMap<Partition, Arc<Shelf>>>,
}

/// The letters of one namespace.
#[derive(Default)]
struct Shelf {
    /// How many there are at most, those that are being added among them.
    count: OnceCell<AtomicUsize>,
    /// Held while the oldest make room.
    full: tokio::sync::Mutex<()>,
}

impl DeadLetters {
    pub(crate) fn new(store: Arc<dyn Store>) -> Self {
        Self { store, shelves: Mutex::default() }
    }

    /// Keeps a letter. Where there are as many as there may be, the oldest goes.
    pub(crate) async fn add(&self, tenant: &Name, namespace: &Name, letter: &DeadLetter) -> Result<(), Failure> {
        let partition = Partition::namespace(tenant, namespace, CONCERN);
        let value = serde_json::to_vec(letter).map_err(|error| Failure::new(Code::Internal, error.to_string()))?;
        let mut batch = Batch::new(partition.clone());
        batch.put(letter.id.clone(), value);
        let shelf = self.shelf(&partition);
        let count = self.count(&shelf, &partition).await?;
        let added = if count.fetch_add(1, Ordering::SeqCst) < CAPACITY {
            self.store.commit(batch).await.map_err(Failure::from)
        } else {
            let _full = shelf.full.lock().await;
            self.add_in_place_of_others(batch, count).await
        };
        match &added {
            Ok(()) => metrics::counter!("plexspaces_dead_letters_total", "namespace" => namespace.to_string()).increment(1),
            Err(_) => drop(count.fetch_sub(1, Ordering::SeqCst)),
        }
        added
    }

    async fn add_in_place_of_others(&self, mut batch: Batch, count: &AtomicUsize) -> Result<(), Failure> {
        let over = count.load(Ordering::SeqCst).saturating_sub(CAPACITY);
        let oldest = self.store.scan(&batch.partition, Range::prefix(b""), over).await?;
        let removed = oldest.entries.len();
        for (key, _) in oldest.entries {
            batch.delete(key);
        }
        self.store.commit(batch).await?;
        count.fetch_sub(removed, Ordering::SeqCst);
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

    /// Removes a letter; nothing where there is none.
    pub(crate) async fn remove(&self, tenant: &Name, namespace: &Name, id: &str) -> Result<(), Failure> {
        let partition = Partition::namespace(tenant, namespace, CONCERN);
        let shelf = self.shelf(&partition);
        let count = self.count(&shelf, &partition).await?;
        let Some(letter) = self.store.get(&partition, id.as_bytes()).await? else { return Ok(()) };
        let mut batch = Batch::new(partition.clone());
        batch.require(id.as_bytes().to_vec(), Some(letter));
        batch.delete(id.as_bytes().to_vec());
        match self.store.commit(batch).await {
            Ok(()) => drop(count.fetch_sub(1, Ordering::SeqCst)),
            // Somebody else has removed it.
            Err(Error::Precondition { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    fn shelf(&self, partition: &Partition) -> Arc<Shelf> {
        self.shelves.lock().entry(partition.clone()).or_default().clone()
    }

    async fn count<'a>(&self, shelf: &'a Shelf, partition: &Partition) -> Result<&'a AtomicUsize, Failure> {
        shelf.count.get_or_try_init(|| self.counted(partition)).await
    }

    async fn counted(&self, partition: &Partition) -> Result<AtomicUsize, Failure> {
        let (mut count, mut range) = (0, Range::prefix(b""));
        loop {
            let page = self.store.scan(partition, range.clone(), 1000).await?;
            count += page.entries.len();
            match page.entries.last() {
                Some((last, _)) if page.more => range = range.after(last),
                _ => return Ok(AtomicUsize::new(count)),
            }
        }
    }
}

fn decode(key: &[u8], value: &[u8]) -> Result<DeadLetter, Failure> {
    let unreadable = |error| Failure::new(Code::StorageFailed, format!("a dead letter is unreadable: {error}"));
    let letter: DeadLetter = serde_json::from_slice(value).map_err(unreadable)?;
    Ok(DeadLetter { id: String::from_utf8_lossy(key).into_owned(), ..letter })
}

#[cfg(test)]
mod tests {
    use plexspaces_store::Memory;

    use super::*;

    fn letter(number: u64) -> DeadLetter {
        let scope = Name::default_scope();
        let id = ActorId::new(scope.clone(), scope.clone(), scope, Key::new("a").unwrap());
        let message = Message {
            operation: number.to_string(),
            kind: MessageKind::Cast,
            payload: Payload::empty(),
            sender: None,
            idempotency_key: None,
        };
        DeadLetter::new(&id, message, 3, &Failure::new(Code::HandlerFailed, "boom"), number)
    }

    /// How many there are, the oldest and the latest.
    async fn kept(letters: &DeadLetters) -> (usize, String, String) {
        let scope = Name::default_scope();
        let (mut count, mut first, mut last) = (0, None, None::<DeadLetter>);
        loop {
            let after = last.as_ref().map(|letter| letter.id.clone());
            let (page, more) = letters.list(&scope, &scope, after.as_deref(), 1000).await.unwrap();
            count += page.len();
            first = first.or_else(|| page.first().cloned());
            last = page.last().cloned().or(last);
            if !more {
                return (count, first.unwrap().operation, last.unwrap().operation);
            }
        }
    }

    #[tokio::test]
    async fn a_namespace_keeps_its_latest_ten_thousand_dead_letters() {
        let store = Arc::new(Memory::new());
        let scope = Name::default_scope();
        let letters = DeadLetters::new(store.clone());
        let add = async |letters: &DeadLetters, numbers: std::ops::Range<u64>| {
            for number in numbers {
                letters.add(&scope, &scope, &letter(number)).await.unwrap();
            }
        };
        add(&letters, 0..10_003).await;
        assert_eq!(kept(&letters).await, (10_000, "3".to_owned(), "10002".to_owned()));
        // Another namespace has its own.
        let other = Name::new("namespace", "other").unwrap();
        letters.add(&scope, &other, &letter(0)).await.unwrap();
        // Who discards one makes room for one, however often it is discarded.
        let (oldest, _) = letters.list(&scope, &scope, None, 1).await.unwrap();
        for _ in 0..3 {
            letters.remove(&scope, &scope, &oldest[0].id).await.unwrap();
            letters.remove(&scope, &scope, "nobody").await.unwrap();
        }
        add(&letters, 10_003..10_005).await;
        assert_eq!(kept(&letters).await, (10_000, "5".to_owned(), "10004".to_owned()));
        // So does the next start of the node, and so do those that come at once.
        let letters = DeadLetters::new(store);
        let many: Vec<DeadLetter> = (10_005..10_105).map(letter).collect();
        futures::future::join_all(many.iter().map(|letter| letters.add(&scope, &scope, letter))).await;
        assert_eq!(kept(&letters).await, (10_000, "105".to_owned(), "10104".to_owned()));
        assert_eq!(letters.list(&scope, &other, None, 10).await.unwrap().0.len(), 1);
    }

    #[test]
    fn fuzz_rows_of_dead_letters() {
        plexspaces_testkit::fuzz!([serde_json::to_vec(&letter(7)).unwrap()], |bytes: &Vec<u8>| {
            if let Ok(read) = decode(b"7", bytes) {
                assert_eq!(decode(b"7", &serde_json::to_vec(&read).unwrap()).unwrap(), read);
            }
        });
    }
}
