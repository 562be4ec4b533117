//! Pairs that all actors of a namespace share.

use std::time::Duration;

use plexspaces_types::Failure;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Service, ms, wait};
use crate::ActorContext;

/// The pairs that the actors of the namespace share. Keys are 1 to 512 bytes.
#[derive(Clone, Copy)]
pub struct SharedKv<'a>(Service<'a>);

/// A pair that has changed, as it is now.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct KvChange {
    /// Its key.
    pub key: String,
    /// Its value; `None`: it is gone.
    pub value: Option<String>,
    /// The change's number in the namespace, of a pair that is there.
    pub version: Option<u64>,
}

/// What has changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KvChanges {
    /// Each pair that has changed once.
    pub changes: Vec<KvChange>,
    /// From where to watch next.
    pub version: u64,
    /// The version that was given was too long ago: the changes are all pairs that there are.
    pub reset: bool,
}

#[derive(Deserialize)]
struct Pair {
    key: String,
}

impl ActorContext {
    /// The pairs that the actors of the namespace share; [`ActorContext::kv_get`] and its like are for the actor's own.
    #[must_use]
    pub fn shared_kv(&self) -> SharedKv<'_> {
        SharedKv(Service::only(self, "kv"))
    }
}

impl SharedKv<'_> {
    /// The value of a key.
    pub async fn get(&self, key: &str) -> Result<Option<String>, Failure> {
        self.0.field("get", json!({"key": key}), "value").await
    }

    /// Writes a pair, for ever or for a time. In a durable actor it is written when the turn has committed.
    pub async fn put(&self, key: &str, value: &str, ttl: Option<Duration>) -> Result<(), Failure> {
        self.0.ask("put", json!({"key": key, "value": value, "ttl_ms": ttl.map(ms)})).await.map(drop)
    }

    /// Removes a pair; true when it was there.
    pub async fn delete(&self, key: &str) -> Result<bool, Failure> {
        self.0.field("delete", json!({"key": key}), "deleted").await
    }

    /// Writes `value` if the present value is `expected`, `None` for no value; true when it was written.
    pub async fn cas(&self, key: &str, expected: Option<&str>, value: &str, ttl: Option<Duration>) -> Result<bool, Failure> {
        self.0.field("cas", json!({"key": key, "expected": expected, "value": value, "ttl_ms": ttl.map(ms)}), "swapped").await
    }

    /// The keys that begin with `prefix`, in byte order.
    pub async fn list(&self, prefix: &str) -> Result<Vec<String>, Failure> {
        let pairs: Vec<Pair> = self.0.pages("list", json!({"prefix": prefix}), "pairs", Value::Null).await?;
        Ok(pairs.into_iter().map(|pair| pair.key).collect())
    }

    /// What has changed under `prefix` since the version `after`, without it from now on. Waits up to `timeout` for a change.
    pub async fn watch(&self, prefix: &str, after: Option<u64>, timeout: Duration) -> Result<KvChanges, Failure> {
        let mut told = self.0.ask("watch", json!({"prefix": prefix, "after": after, "timeout_ms": wait(timeout)})).await?;
        let mut part = |field: &str| told.get_mut(field).map(Value::take);
        let mut changes: Vec<KvChange> = self.0.read("watch", part("changes"))?;
        let version: Option<u64> = self.0.read("watch", part("version"))?;
        let reset = self.0.read("watch", part("reset"))?;
        let rest = part("next").unwrap_or_default();
        if !rest.is_null() {
            changes.append(&mut self.0.pages("list", json!({"prefix": prefix}), "pairs", rest).await?);
        }
        Ok(KvChanges { changes, version: version.or(after).unwrap_or_default(), reset })
    }
}
