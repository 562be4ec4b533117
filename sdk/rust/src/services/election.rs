//! Leader election: of several candidates one leads for as long as it renews its lease.

use std::time::Duration;

use plexspaces_types::Failure;
use serde::{Deserialize, Serialize};

use super::ms;
use crate::ActorContext;

/// An actor's part in an election. The leader is who holds the lock of the election's name; the fencing token is the version of that lock, which
/// only grows: what the leader guards refuses smaller ones than it has seen, so that a former leader which does not know yet can do no harm.
///
/// It can be part of an actor's state. An actor that comes to life anew with the same identity and campaigns while its lease lasts leads on, with
/// the same token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Election {
    name: String,
    lease: Duration,
    held: Option<Held>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Held {
    token: String,
    until_ms: u64,
}

impl Election {
    /// The election of a name, whose leader has to renew its lease within this time.
    pub fn new(name: impl Into<String>, lease: Duration) -> Self {
        Self { name: name.into(), lease, held: None }
    }

    /// Whether this actor leads, as far as it knows: its lease is not over.
    #[must_use]
    pub fn is_leader(&self, ctx: &ActorContext) -> bool {
        self.token(ctx).is_some()
    }

    /// The fencing token, a decimal number, while this actor leads.
    #[must_use]
    pub fn token(&self, ctx: &ActorContext) -> Option<&str> {
        self.held.as_ref().filter(|held| ctx.now_ms() < held.until_ms).map(|held| held.token.as_str())
    }

    /// Tries to lead, waiting up to `timeout` for those before it; begins the lease anew where this actor leads already. Whether it leads.
    pub async fn campaign(&mut self, ctx: &ActorContext, timeout: Duration) -> Result<bool, Failure> {
        let won = ctx.locks().acquire_as(&self.name, &ctx.self_id().to_string(), self.lease, timeout).await?;
        self.held = won.map(|lock| Held { token: lock.version, until_ms: lock.expires_ms });
        Ok(self.held.is_some())
    }

    /// Begins the lease anew, and does not try to lead where this actor does not. Whether it leads.
    pub async fn renew(&mut self, ctx: &ActorContext) -> Result<bool, Failure> {
        let Some(held) = self.held.take() else { return Ok(false) };
        // The lease begins after this, so this actor does not believe longer than others that it leads.
        let until_ms = ctx.now_ms().saturating_add(ms(self.lease));
        let renewed = ctx.locks().renew(&self.name, &held.token, self.lease).await;
        match renewed {
            Ok(true) => self.held = Some(Held { until_ms, ..held }),
            Ok(false) => {}
            // It may lead still, until its lease is over.
            Err(failure) => {
                self.held = Some(held);
                return Err(failure);
            }
        }
        Ok(self.held.is_some())
    }

    /// Leads no longer, so that another can at once. Whether it has led until now.
    pub async fn resign(&mut self, ctx: &ActorContext) -> Result<bool, Failure> {
        match self.held.take() {
            Some(held) => ctx.locks().release(&self.name, &held.token).await,
            None => Ok(false),
        }
    }

    /// The printed identity of the actor that leads.
    pub async fn leader(&self, ctx: &ActorContext) -> Result<Option<String>, Failure> {
        Ok(ctx.locks().get(&self.name).await?.map(|lock| lock.holder))
    }
}
