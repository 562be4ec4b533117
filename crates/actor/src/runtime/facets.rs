//! The facets of single actors, looked at and changed while they live.

use super::*;
use crate::facet::attach::Revision;
use crate::{FacetRegistry, FacetSpec};

/// How long an actor's present message may keep its facets from changing when the caller set no deadline.
const PATIENCE: Duration = Duration::from_secs(30);

impl Runtime {
    pub(crate) fn attachments(&self) -> &Attachments {
        &self.0.attachments
    }

    /// Refuses an application with a facet that cannot be made.
    pub(super) fn check_facets(&self, application: &Application) -> Result<(), Failure> {
        let of_types = application.types.iter().map(|spec| &spec.profile);
        let actors = application.supervisor.actors();
        let of_children = actors.iter().map(|child| &child.profile);
        let mut specs = of_types.chain(of_children).flat_map(|profile| &profile.facets);
        specs.try_for_each(|spec| self.facet_registry().make(spec).map(drop))
    }

    /// Which facets actors of this node can have.
    #[must_use]
    pub fn facet_registry(&self) -> &FacetRegistry {
        &self.config().facets
    }

    /// Gives an actor a facet, or another configuration of one that it has, from its next message on. Returns when it has it. It lasts until
    /// it is detached, the actor's application is undeployed, or the node ends.
    pub async fn attach_facet(&self, ctx: &RequestContext, target: Target<'_>, spec: FacetSpec) -> Result<(), Failure> {
        let id = self.admit(ctx, target)?;
        self.facet_registry().make(&spec)?;
        let name = spec.name.clone();
        self.change_facet(ctx, &id, &name, Some(spec)).await
    }

    /// Takes a facet from an actor, from its next message on; false when it had none of this name. Returns when that is done.
    pub async fn detach_facet(&self, ctx: &RequestContext, target: Target<'_>, name: &str) -> Result<bool, Failure> {
        let id = self.admit(ctx, target)?;
        if !self.facets_of(&id)?.iter().any(|spec| spec.name == name) {
            return Ok(false);
        }
        self.change_facet(ctx, &id, name, None).await.map(|()| true)
    }

    /// An actor's facets with their priorities, outermost first.
    pub fn facets(&self, ctx: &RequestContext, target: Target<'_>) -> Result<Vec<FacetSpec>, Failure> {
        self.facets_of(&self.admit(ctx, target)?)
    }

    fn facets_of(&self, id: &ActorId) -> Result<Vec<FacetSpec>, Failure> {
        let profile = self.0.registry.kind(id).ok_or_else(|| gone(id))?.profile(&id.key).clone();
        let mut specs = self.0.attachments.effective(id, &profile);
        for spec in &mut specs {
            let own = self.facet_registry().make(spec)?.priority();
            spec.priority.get_or_insert(own);
        }
        specs.sort_by_key(|spec| std::cmp::Reverse(spec.priority));
        Ok(specs)
    }

    async fn change_facet(&self, ctx: &RequestContext, id: &ActorId, name: &str, spec: Option<FacetSpec>) -> Result<(), Failure> {
        let before = self.0.attachments.change(id, name, spec);
        // An actor that comes to life from here on has them from the start.
        let Some(cell) = self.known(id) else { return Ok(()) };
        let (answer, changed) = oneshot::channel();
        if !self.control(&cell, Control::Facets(Box::new(Revision { name: name.to_owned(), before, answer }))) {
            return Ok(());
        }
        let deadline = ctx.deadline.unwrap_or_else(|| crate::now() + PATIENCE);
        let late =
            || Failure::new(Code::DeadlineExceeded, format!("{id} was busy until the deadline; its facets change after its message"));
        let changed = tokio::time::timeout_at(deadline.into(), changed).await.map_err(|_| late())?;
        // An actor that ended meanwhile has them when it comes back.
        changed.unwrap_or(Ok(()))
    }
}
