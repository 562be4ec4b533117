//! Starting an actor from a value.

use std::sync::Arc;

use plexspaces_core::Facet;
use plexspaces_types::{Code, Failure};

use crate::{Actor, ActorId, ActorRef, RequestContext, ServiceLocator};

/// Starts an actor from a value and returns the way to it when its `init` has run. It is reached under its id in the namespace, which
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
    if let Some(facet) = facets.first() {
        let message = format!("the facet {:?} cannot be attached: this node runs native actors without facets", facet.name());
        return Err(Failure::new(Code::InvalidArgument, message).with_field("facets"));
    }
    let ctx = ctx.enter(Some(namespace))?;
    locator.spawn(&ctx, id, actor).await
}
