//! The actor's private pairs: the turn's own writes over what is stored.

use std::time::Duration;

use plexspaces_durable::{KeyValue, key_value_key, key_value_prefix};
use plexspaces_store::{Batch, Error, Partition, Range};
use plexspaces_types::{Code, Failure};

use super::Turn;
use super::log::{self, Known};

/// Keys that one turn of a durable actor may write.
const MAX_WRITES: usize = 1000;

const MAX_KEY_BYTES: usize = 512;

/// How often an actor that is not durable tries to set a key that changes under it.
const MAX_RACES: usize = 16;

impl Turn {
    /// The value of one of the actor's own keys.
    pub async fn kv_get(&mut self, key: &str) -> Result<Option<String>, Failure> {
        check_key(key)?;
        if let Some(written) = self.writes.get(key) {
            let now = self.now_ms();
            return Ok(written.clone().filter(|pair| pair.is_live(now)).map(|pair| pair.value));
        }
        let call = match self.own_call(|| format!("kv_get {key}"), &[])? {
            Known::Told(told) => return log::read(&told?),
            Known::New(call) => call,
        };
        let value = self.read(key).await.map(|pair| pair.map(|pair| pair.value));
        self.told(call, value.as_ref().map(log::json));
        value
    }

    /// Sets one of the actor's own keys, for ever or for a time.
    pub async fn kv_put(&mut self, key: &str, value: String, ttl: Option<Duration>) -> Result<(), Failure> {
        check_key(key)?;
        let pair = self.pair(value, ttl)?;
        let (call, told) = match self.own_call(|| format!("kv_put {key}"), &[pair.value.as_bytes()])? {
            Known::Told(told) => (None, told.map(drop)),
            Known::New(call) => (call, Ok(())),
        };
        // What a turn writes is in no commit but its last, so that it is written again when the turn is run again.
        let written = match told {
            Ok(()) => self.write(key, Some(pair)).await,
            refused => refused,
        };
        self.told_nothing(call, written)
    }

    /// Removes one of the actor's own keys; true when it was there.
    pub async fn kv_delete(&mut self, key: &str) -> Result<bool, Failure> {
        check_key(key)?;
        let (call, existed) = match self.own_call(|| format!("kv_delete {key}"), &[])? {
            Known::Told(told) => (None, told.and_then(|told| log::read(&told))),
            Known::New(call) => (call, self.read(key).await.map(|pair| pair.is_some())),
        };
        let deleted = match existed {
            Ok(true) => self.write(key, None).await.map(|()| true),
            otherwise => otherwise,
        };
        self.told(call, deleted.as_ref().map(log::json));
        deleted
    }

    /// Sets a key if its value is `expected`; true when it was set.
    pub async fn kv_compare_and_set(&mut self, key: &str, expected: Option<&str>, value: String) -> Result<bool, Failure> {
        check_key(key)?;
        let pair = self.pair(value, None)?;
        if self.durable {
            let arguments = [pair.value.as_bytes(), expected.unwrap_or_default().as_bytes(), &[u8::from(expected.is_some())]];
            let (call, holds) = match self.own_call(|| format!("kv_compare_and_set {key}"), &arguments)? {
                Known::Told(told) => (None, told.and_then(|told| log::read(&told))),
                Known::New(call) => {
                    let current = self.read(key).await;
                    (call, current.map(|current| current.map(|pair| pair.value).as_deref() == expected))
                }
            };
            let set = match holds {
                Ok(true) => self.write(key, Some(pair)).await.map(|()| true),
                otherwise => otherwise,
            };
            self.told(call, set.as_ref().map(log::json));
            return set;
        }
        let Some(runtime) = self.runtime.clone() else { return Ok(false) };
        let store = &runtime.config().store;
        let (partition, key) = (Partition::actor(&self.id), key_value_key(key));
        for _ in 0..MAX_RACES {
            let stored = store.get(&partition, &key).await?;
            let current = stored.as_ref().map(KeyValue::decode).transpose().map_err(|error| unreadable(&error))?;
            let current = current.filter(|pair| pair.is_live(self.now_ms())).map(|pair| pair.value);
            if current.as_deref() != expected {
                return Ok(false);
            }
            let mut batch = Batch::new(partition.clone());
            batch.require(key.clone(), stored).put(key.clone(), pair.encode());
            match store.commit(batch).await {
                Ok(()) => return Ok(true),
                Err(Error::Precondition { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(Failure::new(Code::Overloaded, "the key changes too fast to be set"))
    }

    /// The actor's keys that begin with `prefix`, after `after`, in byte order, at most `limit`.
    pub async fn kv_list(&mut self, prefix: &str, after: Option<&str>, limit: usize) -> Result<Vec<String>, Failure> {
        if !(1..=1000).contains(&limit) {
            return Err(Failure::invalid("limit", format!("limit is {limit}, expected 1 to 1000")));
        }
        let text = || format!("kv_list {prefix} after {} at most {limit}", after.unwrap_or_default());
        let call = match self.own_call(text, &[])? {
            Known::Told(told) => return log::read(&told?),
            Known::New(call) => call,
        };
        let stored = self.stored_keys(prefix, after, limit + self.writes.len()).await;
        let keys = stored.map(|stored| self.with_written(stored, prefix, after, limit));
        self.told(call, keys.as_ref().map(log::json));
        keys
    }

    /// Keys in the store as they are with what the turn has written.
    fn with_written(&self, mut keys: Vec<String>, prefix: &str, after: Option<&str>, limit: usize) -> Vec<String> {
        let now = self.now_ms();
        for (key, pair) in &self.writes {
            if !key.starts_with(prefix) || after.is_some_and(|after| key.as_str() <= after) {
                continue;
            }
            let live = pair.as_ref().is_some_and(|pair| pair.is_live(now));
            match (keys.binary_search(key), live) {
                (Err(index), true) => keys.insert(index, key.clone()),
                (Ok(index), false) => drop(keys.remove(index)),
                _ => {}
            }
        }
        keys.truncate(limit);
        keys
    }

    /// The live keys in the store, at least `limit` of them where there are so many.
    async fn stored_keys(&self, prefix: &str, after: Option<&str>, limit: usize) -> Result<Vec<String>, Failure> {
        let Some(runtime) = &self.runtime else { return Ok(Vec::new()) };
        let (partition, now) = (Partition::actor(&self.id), self.now_ms());
        let skip = key_value_prefix("").len();
        let mut range = Range::prefix(&key_value_prefix(prefix));
        if let Some(after) = after {
            range = range.after(&key_value_key(after));
        }
        let mut keys = Vec::new();
        loop {
            let page = runtime.config().store.scan(&partition, range.clone(), limit).await?;
            for (key, value) in &page.entries {
                let pair = KeyValue::decode(value).map_err(|error| unreadable(&error))?;
                if let Some(key) = key.get(skip..).filter(|_| pair.is_live(now)) {
                    keys.push(String::from_utf8_lossy(key).into_owned());
                }
            }
            match page.entries.last() {
                Some((last, _)) if page.more && keys.len() < limit => range = range.after(last),
                _ => return Ok(keys),
            }
        }
    }

    async fn read(&self, key: &str) -> Result<Option<KeyValue>, Failure> {
        let pair = match (self.writes.get(key), &self.runtime) {
            (Some(written), _) => written.clone(),
            (None, None) => None,
            (None, Some(runtime)) => {
                let stored = runtime.config().store.get(&Partition::actor(&self.id), &key_value_key(key)).await?;
                stored.as_ref().map(KeyValue::decode).transpose().map_err(|error| unreadable(&error))?
            }
        };
        Ok(pair.filter(|pair| pair.is_live(self.now_ms())))
    }

    /// In a durable actor the write waits for the turn's commit; in another it happens now.
    async fn write(&mut self, key: &str, pair: Option<KeyValue>) -> Result<(), Failure> {
        if self.durable {
            if self.writes.len() >= MAX_WRITES && !self.writes.contains_key(key) {
                let message = format!("one turn may write at most {MAX_WRITES} keys");
                return Err(Failure::new(Code::InvalidArgument, message));
            }
            self.writes.insert(key.to_owned(), pair);
            return Ok(());
        }
        let Some(runtime) = &self.runtime else { return Ok(()) };
        let mut batch = Batch::new(Partition::actor(&self.id));
        match pair {
            Some(pair) => batch.put(key_value_key(key), pair.encode()),
            None => batch.delete(key_value_key(key)),
        };
        Ok(runtime.config().store.commit(batch).await?)
    }

    fn pair(&self, value: String, ttl: Option<Duration>) -> Result<KeyValue, Failure> {
        self.check_size("value", value.len())?;
        let ttl_ms = ttl.map(|ttl| u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX));
        if ttl_ms == Some(0) {
            return Err(Failure::invalid("ttl_ms", "ttl_ms is 0, expected at least 1"));
        }
        Ok(KeyValue { expires_ms: ttl_ms.map(|ttl| self.now_ms().saturating_add(ttl)), value })
    }
}

pub(crate) fn check_key(key: &str) -> Result<(), Failure> {
    if key.is_empty() || key.len() > MAX_KEY_BYTES {
        return Err(Failure::invalid("key", format!("a key has {} bytes, expected 1 to {MAX_KEY_BYTES}", key.len())));
    }
    Ok(())
}

fn unreadable(error: &plexspaces_durable::Error) -> Failure {
    tracing::error!(%error, "a stored pair is unreadable");
    Failure::new(Code::StorageFailed, "a stored pair cannot be read; the node's log has the details")
}
