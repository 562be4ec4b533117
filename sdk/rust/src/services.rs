//! What the actors of a namespace share. `docs/services.md` says what each operation does; here are its typed forms, all of which go through
//! [`ActorContext::service`].

use std::time::Duration;

use plexspaces_types::{Code, Failure, Payload};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::ActorContext;

pub(crate) mod blobs;
pub(crate) mod channels;
pub(crate) mod election;
pub(crate) mod groups;
pub(crate) mod kv;
pub(crate) mod locks;
pub(crate) mod names;
pub(crate) mod tuples;

/// The services of which each namespace has one.
const ONLY: &str = "default";
/// How much of a list is asked for at once.
const PAGE: usize = 1000;

impl ActorContext {
    /// Asks a service of the actor's namespace, as `docs/services.md` lists them: `name` is the channel's for `channels`, and `default` for all
    /// others. In a durable actor a change happens once, however often its handler is run, and what has no result leaves when the turn has
    /// committed or waits. The reply is an empty object where nothing may be changed, as in a query.
    pub async fn service(&self, service: &str, name: &str, operation: &str, arguments: Value) -> Result<Value, Failure> {
        let mut turn = self.hold().await;
        let reply = turn.service(service, name, operation, Payload::from_value(&arguments)).await;
        let reply = self.unless_cancelled(&mut turn, reply).await?;
        if reply.is_empty() {
            return Ok(json!({}));
        }
        let unreadable = |_| Failure::new(Code::Internal, format!("what {service} answered to {operation} cannot be read"));
        serde_json::from_slice(&reply).map_err(unreadable)
    }
}

/// One service, as an actor sees it.
#[derive(Clone, Copy)]
struct Service<'a> {
    ctx: &'a ActorContext,
    service: &'static str,
    name: &'a str,
}

impl<'a> Service<'a> {
    fn only(ctx: &'a ActorContext, service: &'static str) -> Self {
        Self { ctx, service, name: ONLY }
    }

    /// Asks with the arguments that are not null.
    async fn ask(&self, operation: &str, mut arguments: Value) -> Result<Value, Failure> {
        if let Value::Object(arguments) = &mut arguments {
            arguments.retain(|_, argument| !argument.is_null());
        }
        self.ctx.service(self.service, self.name, operation, arguments).await
    }

    /// One field of a reply.
    async fn field<T: DeserializeOwned + Default>(&self, operation: &str, arguments: Value, field: &str) -> Result<T, Failure> {
        self.read(operation, self.ask(operation, arguments).await?.get_mut(field).map(Value::take))
    }

    fn read<T: DeserializeOwned + Default>(&self, operation: &str, value: Option<Value>) -> Result<T, Failure> {
        let unreadable = |error| Failure::new(Code::Internal, format!("what {} answered to {operation}: {error}", self.service));
        value.map_or_else(|| Ok(T::default()), |value| serde_json::from_value(value).map_err(unreadable))
    }

    /// All pages of a list, or those after a place.
    async fn pages<T: DeserializeOwned>(
        &self,
        operation: &str,
        mut arguments: Value,
        field: &str,
        mut after: Value,
    ) -> Result<Vec<T>, Failure> {
        let mut found = Vec::new();
        loop {
            if let Value::Object(arguments) = &mut arguments {
                arguments.insert("after".to_owned(), after);
                arguments.insert("limit".to_owned(), json!(PAGE));
            }
            let mut reply = self.ask(operation, arguments.clone()).await?;
            found.append(&mut self.read(operation, reply.get_mut(field).map(Value::take))?);
            after = reply.get_mut("next").map(Value::take).unwrap_or_default();
            if after.is_null() {
                return Ok(found);
            }
        }
    }
}

/// Milliseconds, as the services take them.
fn ms(time: Duration) -> u64 {
    // The largest whole number that JSON keeps exactly everywhere.
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX).min((1 << 53) - 1)
}

/// How long a request may wait; null where it is not to.
fn wait(time: Duration) -> Value {
    if time.is_zero() { Value::Null } else { json!(ms(time)) }
}
