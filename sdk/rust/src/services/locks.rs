//! Locks: leases with versions that only grow, so that whoever guards a resource can refuse what an earlier holder still sends.

use std::time::Duration;

use plexspaces_types::Failure;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Service, ms, wait};
use crate::ActorContext;

/// The locks of the actor's namespace.
#[derive(Clone, Copy)]
pub struct Locks<'a>(Service<'a>);

/// A lock that somebody has.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Lock {
    /// Its key.
    pub key: String,
    /// Who has it.
    pub holder: String,
    /// A decimal number, larger than all that the namespace's locks have had before.
    pub version: String,
    /// Milliseconds since the Unix epoch when its lease ends.
    pub expires_ms: u64,
}

impl ActorContext {
    /// The locks.
    #[must_use]
    pub fn locks(&self) -> Locks<'_> {
        Locks(Service::only(self, "locks"))
    }
}

impl Locks<'_> {
    /// Takes a lock for a time and gives it, or `None` while anybody has it, be it this actor. Waits up to `timeout`.
    pub async fn acquire(&self, key: &str, ttl: Duration, timeout: Duration) -> Result<Option<Lock>, Failure> {
        self.take(key, None, ttl, timeout).await
    }

    /// The same for a holder with a name; one that has the lock renews its lease.
    pub async fn acquire_as(&self, key: &str, holder: &str, ttl: Duration, timeout: Duration) -> Result<Option<Lock>, Failure> {
        self.take(key, Some(holder), ttl, timeout).await
    }

    /// Begins the lease of a lock anew; false when the lock is another's by now, or free.
    pub async fn renew(&self, key: &str, version: &str, ttl: Duration) -> Result<bool, Failure> {
        self.0.field("renew", json!({"key": key, "version": version, "ttl_ms": ms(ttl)}), "renewed").await
    }

    /// Gives a lock back; false when it is another's by now, or free: that is no error.
    pub async fn release(&self, key: &str, version: &str) -> Result<bool, Failure> {
        self.0.field("release", json!({"key": key, "version": version}), "released").await
    }

    /// The lock, if somebody has it.
    pub async fn get(&self, key: &str) -> Result<Option<Lock>, Failure> {
        self.0.field("get", json!({"key": key}), "lock").await
    }

    async fn take(&self, key: &str, holder: Option<&str>, ttl: Duration, timeout: Duration) -> Result<Option<Lock>, Failure> {
        let arguments = json!({"key": key, "ttl_ms": ms(ttl), "holder": holder, "timeout_ms": wait(timeout)});
        let mut reply = self.0.ask("acquire", arguments).await?;
        if reply.get("version").is_none_or(Value::is_null) {
            return Ok(None);
        }
        if let Value::Object(lock) = &mut reply {
            lock.insert("key".to_owned(), json!(key));
        }
        self.0.read("acquire", Some(reply))
    }
}
