//! Starting an actor from a value.

use std::sync::Arc;

use plexspaces_core::Facet;
use plexspaces_types::Failure;

use crate::{Actor, ActorId, ActorRef, RequestContext, ServiceLocator};

/// Starts an actor from a value, with facets around it, and returns the way to it when its `init` has run. It is reached under its id in the namespace, which
/// stands above that of the context. A value that fails cannot be made again: its end is announced to those who watch it, and later
/// requests are answered `not_found`; [`crate::ActorRegistry::register`] is for actors that come back.
pub async fn spawn_with_facets<A: Actor>(
    ctx: &RequestContext,
    locator: Arc<ServiceLocator>,
    id: ActorId,
    namespace: &str,
    actor: A,
    facets: Vec<Box<dyn Facet>>,
) -> Result<ActorRef, Failure> {
    let ctx = ctx.enter(Some(namespace))?;
    locator.spawn(&ctx, id, actor, facets).await
}
