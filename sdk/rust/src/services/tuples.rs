//! The tuple space, where actors meet by what they write and what they look for.

use std::time::Duration;

use plexspaces_types::Failure;
use serde_json::{Value, json};

use super::{Service, ms, wait};
use crate::ActorContext;

/// A tuple: 1 to 64 JSON values.
type Tuple = Vec<Value>;

/// The tuple space of the actor's namespace.
///
/// In a pattern `null` means any element, and an object such as `{"$gt": 5}` is a condition: `$eq`, `$ne`, `$gt`, `$gte`, `$lt`, `$lte`,
/// `$in`, `$prefix`, `$type`. Of several matches the oldest is meant. A time of zero does not wait.
#[derive(Clone, Copy)]
pub struct TupleSpace<'a>(Service<'a>);

impl ActorContext {
    /// The tuple space.
    #[must_use]
    pub fn tuples(&self) -> TupleSpace<'_> {
        TupleSpace(Service::only(self, "tuples"))
    }
}

impl TupleSpace<'_> {
    /// Writes a tuple, for ever or for a time. In a durable actor it is there when the turn has committed.
    pub async fn write(&self, tuple: impl Into<Value>, ttl: Option<Duration>) -> Result<(), Failure> {
        self.0.ask("write", json!({"tuple": tuple.into(), "ttl_ms": ttl.map(ms)})).await.map(drop)
    }

    /// A tuple that the pattern means; it stays. Waits up to `timeout` for one.
    pub async fn read(&self, pattern: impl Into<Value>, timeout: Duration) -> Result<Option<Tuple>, Failure> {
        self.0.field("read", json!({"pattern": pattern.into(), "timeout_ms": wait(timeout)}), "tuple").await
    }

    /// Takes out a tuple that the pattern means. Waits up to `timeout` for one.
    pub async fn take(&self, pattern: impl Into<Value>, timeout: Duration) -> Result<Option<Tuple>, Failure> {
        self.0.field("take", json!({"pattern": pattern.into(), "timeout_ms": wait(timeout)}), "tuple").await
    }

    /// The same, and gives a lease with the tuple. Unless that is confirmed in time, the tuple is there again, as old as it was: the work of
    /// a worker that died is another's.
    pub async fn lease(&self, pattern: impl Into<Value>, timeout: Duration, lease: Duration) -> Result<Option<(Tuple, String)>, Failure> {
        let arguments = json!({"pattern": pattern.into(), "timeout_ms": wait(timeout), "lease_ms": ms(lease)});
        let mut reply = self.0.ask("take", arguments).await?;
        let tuple: Option<Tuple> = self.0.read("take", reply.get_mut("tuple").map(Value::take))?;
        let lease: Option<String> = self.0.read("take", reply.get_mut("lease").map(Value::take))?;
        Ok(tuple.zip(lease))
    }

    /// The leased tuple is done with and gone for good; `conflict` when the lease is over.
    pub async fn confirm(&self, lease: &str) -> Result<(), Failure> {
        self.0.ask("confirm", json!({"lease": lease})).await.map(drop)
    }

    /// The leased tuple is there again; `conflict` when the lease is over.
    pub async fn release(&self, lease: &str) -> Result<(), Failure> {
        self.0.ask("release", json!({"lease": lease})).await.map(drop)
    }

    /// All tuples that the pattern means, the oldest first.
    pub async fn read_all(&self, pattern: impl Into<Value>) -> Result<Vec<Tuple>, Failure> {
        self.0.pages("read_all", json!({"pattern": pattern.into()}), "tuples", Value::Null).await
    }

    /// Takes out all tuples that the pattern means, the oldest first.
    pub async fn take_all(&self, pattern: impl Into<Value>) -> Result<Vec<Tuple>, Failure> {
        self.0.pages("take_all", json!({"pattern": pattern.into()}), "tuples", Value::Null).await
    }

    /// How many tuples the pattern means.
    pub async fn count(&self, pattern: impl Into<Value>) -> Result<u64, Failure> {
        self.0.field("count", json!({"pattern": pattern.into()}), "count").await
    }

    /// Writes a tuple unless there is one that the pattern means, in one step; true when it was written.
    pub async fn write_once(&self, pattern: impl Into<Value>, tuple: impl Into<Value>, ttl: Option<Duration>) -> Result<bool, Failure> {
        let arguments = json!({"pattern": pattern.into(), "tuple": tuple.into(), "ttl_ms": ttl.map(ms)});
        self.0.field("write_once", arguments, "written").await
    }

    /// Takes out the tuple that the pattern means and writes another one, in one step. Gives the former; without one it writes nothing.
    pub async fn replace(
        &self,
        pattern: impl Into<Value>,
        tuple: impl Into<Value>,
        ttl: Option<Duration>,
    ) -> Result<Option<Tuple>, Failure> {
        let arguments = json!({"pattern": pattern.into(), "tuple": tuple.into(), "ttl_ms": ttl.map(ms)});
        self.0.field("replace", arguments, "tuple").await
    }

    /// From now on each tuple that the pattern means comes to this actor as the cast `tuple_written` with `tuple` and `subscription`; gives
    /// the latter.
    pub async fn subscribe(&self, pattern: impl Into<Value>) -> Result<String, Failure> {
        self.0.field("subscribe", json!({"pattern": pattern.into()}), "subscription").await
    }

    /// Ends a subscription.
    pub async fn unsubscribe(&self, subscription: &str) -> Result<(), Failure> {
        self.0.ask("unsubscribe", json!({"subscription": subscription})).await.map(drop)
    }
}
