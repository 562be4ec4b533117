//! The facets of single actors, looked at and changed while they live.

use super::*;
use crate::facet::attach::Revision;
use crate::facet::http_client;
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
        let links = application.outbound.as_ref().map(|outbound| outbound.links()).unwrap_or_default();
        let mut specs = of_types.chain(of_children).flat_map(|profile| &profile.facets);
        specs.try_for_each(|spec| {
            self.facet_registry().make(spec)?;
            http_client::check_service_links(spec, &links)
        })
    }

    /// Refuses a request of an actor over a service link that its facets do not leave it.
    pub(crate) fn admit_link(&self, id: &ActorId, link: &str) -> Result<(), Failure> {
        let kind = self.0.registry.kind(id).ok_or_else(|| gone(id))?;
        http_client::admit(id, &self.0.attachments.effective(id, kind.profile(&id.key)), link)
    }

    /// Which facets actors of this node can have.
    #[must_use]
    pub fn facet_registry(&self) -> &FacetRegistry {
        &self.config().facets
    }

    /// Gives an actor a facet, or another configuration of one that it has, from its next message on; true when it had one of this name.
    /// Returns when it has it. An actor that is not in memory comes to life for it. The facet lasts until it is detached, the actor's
    /// application is undeployed, or the node ends.
    pub async fn attach_facet(&self, ctx: &RequestContext, target: Target<'_>, spec: FacetSpec) -> Result<bool, Failure> {
        let spec = FacetSpec { name: self.facet_registry().canonical(&spec.name)?, ..spec };
        self.facet_registry().make(&spec)?;
        let kind = self.0.registry.kind(&self.admit(ctx, target)?);
        let outbound = kind.as_ref().and_then(|kind| kind.application.outbound.as_ref());
        http_client::check_service_links(&spec, &outbound.map(|outbound| outbound.links()).unwrap_or_default())?;
        let name = spec.name.clone();
        self.change_facet(ctx, target, name, Some(spec)).await
    }

    /// Takes a facet from an actor, from its next message on; false when it had none of this name. Returns when that is done.
    pub async fn detach_facet(&self, ctx: &RequestContext, target: Target<'_>, name: &str) -> Result<bool, Failure> {
        // A facet that an actor was spawned with need not be registered.
        let name = self.facet_registry().canonical(name).unwrap_or_else(|_| name.to_owned());
        self.change_facet(ctx, target, name, None).await
    }

    /// An actor's facets with their priorities, outermost first.
    pub fn facets(&self, ctx: &RequestContext, target: Target<'_>) -> Result<Vec<FacetSpec>, Failure> {
        let id = self.admit(ctx, target)?;
        let kind = self.0.registry.kind(&id).ok_or_else(|| gone(&id))?;
        let profile = kind.profile(&id.key).clone();
        if kind.needs_spawn(&id.key) && self.known(&id).is_none() {
            return Err(not_spawned(&id));
        }
        let mut specs = self.0.attachments.effective(&id, &profile);
        for spec in specs.iter_mut().filter(|spec| spec.priority.is_none()) {
            spec.priority = Some(self.facet_registry().make(spec)?.priority());
        }
        specs.sort_by_key(|spec| std::cmp::Reverse(spec.priority));
        Ok(specs)
    }

    async fn change_facet(&self, ctx: &RequestContext, target: Target<'_>, name: String, spec: Option<FacetSpec>) -> Result<bool, Failure> {
        let id = self.admit(ctx, target)?;
        let deadline = ctx.deadline.unwrap_or_else(|| crate::now() + PATIENCE);
        let late =
            || Failure::new(Code::DeadlineExceeded, format!("{id} was busy until the deadline; its facets change after its message"));
        // An actor that ends meanwhile leaves the change to its successor.
        let changed = async {
            loop {
                let cell = self.cell(&id)?;
                let (answer, changed) = oneshot::channel();
                self.control(&cell, Control::Facets(Box::new(Revision { name: name.clone(), spec: spec.clone(), answer })));
                if let Ok(result) = changed.await {
                    return result;
                }
                self.make_way(&cell).await;
            }
        };
        tokio::time::timeout_at(deadline.into(), changed).await.map_err(|_| late())?
    }
}
