//! What durable actors were: their turns, past states, forks, and running a history again with the code that there is now.

use std::sync::Arc;

use plexspaces_actor::journal::Recorded;
use plexspaces_actor::{Exported, Moment, Rerun, Runtime, rerun};
use plexspaces_types as types;
use plexspaces_types::{Code, Failure, Payload};
use serde_json::Value;

use crate::locator::target;
use crate::{ActorId, ActorRef, RequestContext, ServiceLocator};

/// The history of one durable actor, as far back as it is kept.
pub struct History {
    runtime: Runtime,
    ctx: types::RequestContext,
    id: types::ActorId,
}

impl ServiceLocator {
    /// The history of a durable actor.
    pub fn history(self: &Arc<Self>, ctx: &RequestContext, id: impl Into<ActorId>) -> Result<History, Failure> {
        let (ctx, id) = self.identified(ctx, &id.into())?;
        Ok(History { runtime: self.runtime()?.clone(), ctx, id })
    }

    /// Runs an exported history again with the registered type of its name, from the first state that it holds; compares every effect and
    /// changes nothing. Fails as `non_deterministic` where the code does something else now. A history that runs again in a test shows that
    /// the actors which have it can go on with new code.
    pub async fn replay(self: &Arc<Self>, exported: &Exported) -> Result<Rerun, Failure> {
        let spec = exported.spec()?;
        let factory = self.native(self.actor_registry().get(&exported.guest_type)?).0;
        rerun(&*factory, &spec, exported.turns.clone(), true).await
    }
}

impl History {
    /// The turns after the turn `after`, oldest first, at most `limit`; and whether there are more.
    pub async fn turns(&self, after: u64, limit: usize) -> Result<(Vec<Recorded>, bool), Failure> {
        self.runtime.history(&self.ctx, target(&self.id), after, limit).await
    }

    /// The state at a moment, and the number of the turn that left it.
    pub async fn state_at(&self, moment: Moment) -> Result<(u64, Value), Failure> {
        let (turn, state) = self.runtime.state_at(&self.ctx, target(&self.id), moment).await?;
        let broken = |error: serde_json::Error| Failure::new(Code::Internal, format!("the state of {} is not JSON: {error}", self.id));
        Ok((turn, serde_json::from_slice(state.as_bytes()).map_err(broken)?))
    }

    /// Makes a new actor of the same type under a key, which begins with the state at a moment.
    pub async fn fork(&self, moment: Moment, key: &str) -> Result<ActorRef, Failure> {
        self.forked(moment, None, None, key).await
    }

    /// Makes a new actor under a key that is in the middle of the turn after a moment, having done as much of it as its first so many entries
    /// say; an input replaces what that turn was given.
    pub async fn fork_within(&self, moment: Moment, entry: usize, input: Option<&Value>, key: &str) -> Result<ActorRef, Failure> {
        self.forked(moment, Some(entry), input.map(Payload::from_value), key).await
    }

    async fn forked(&self, moment: Moment, entry: Option<usize>, input: Option<Payload>, key: &str) -> Result<ActorRef, Failure> {
        let id = self.runtime.fork(&self.ctx, target(&self.id), moment, entry, input, key).await?;
        Ok(ActorRef::new(self.runtime.address_of(&id)?, self.ctx.clone()))
    }

    /// All that is needed to run the history again elsewhere, with [`ServiceLocator::replay`]. It is written and read with serde.
    pub async fn export(&self) -> Result<Exported, Failure> {
        self.runtime.export(&self.ctx, target(&self.id)).await
    }
}

impl std::fmt::Debug for History {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("History").field("actor", &self.id).finish_non_exhaustive()
    }
}
