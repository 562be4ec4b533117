//! What wraps one actor: put around it when it comes to life, changed between two of its messages.

use plexspaces_types::{ActorId, Code, Failure, RequestContext};

use super::{Actor, Cut, Fate, Profile, Unfinished, guard};
use crate::facet::attach::Revision;
use crate::facet::pipeline::Pipeline;
use crate::mailbox::Standing;
use crate::{Facet, FacetSpec, Runtime, Turn};

/// The facets of an actor that comes to life, nothing where it has none.
pub(super) async fn around(
    runtime: &Runtime,
    id: &ActorId,
    profile: &Profile,
    brought: Vec<Box<dyn Facet>>,
    turn: &mut Turn,
) -> Result<Option<Box<Pipeline>>, Failure> {
    let specs = runtime.attachments().effective(id, profile);
    if specs.is_empty() && brought.is_empty() {
        return Ok(None);
    }
    let pipeline = Pipeline::attached(runtime.facet_registry(), &specs, brought, id, turn).await?;
    for spec in pipeline.specs().filter(|spec| !specs.contains(spec)) {
        runtime.attachments().change(id, &spec.name, Some(spec.clone()));
    }
    Ok(Some(pipeline))
}

impl Actor {
    /// Gives the actor a facet or takes one away. It comes to life for that, as it would for a message.
    pub(super) async fn revise_facets(&mut self, revision: Revision) -> Fate {
        let Revision { name, spec, answer } = revision;
        let (result, fate) = self.revised(&name, spec).await;
        let _ = answer.send(result);
        fate
    }

    async fn revised(&mut self, name: &str, spec: Option<FacetSpec>) -> (Result<bool, Failure>, Fate) {
        let id = self.cell.id.clone();
        if self.cell.mailbox.standing().0 == Standing::Held {
            let message = format!("{id} waits for its supervisor; its facets can change when it has been started");
            return (Err(Failure::new(Code::Unavailable, message)), Fate::Stays);
        }
        let had = self.runtime.attachments().effective(&id, &self.body.profile).iter().any(|known| known.name == name);
        if spec.is_none() && !had {
            return (Ok(false), Fate::Stays);
        }
        if let Err(failure) = self.runtime.attachments().check_room(&id) {
            return (Err(failure), Fate::Stays);
        }
        let alive = self.bring_to_life().await;
        match (alive, spec) {
            (Ok(()), spec) => {
                let before = self.runtime.attachments().of(&id);
                self.runtime.attachments().change(&id, name, spec.clone());
                let (followed, fate) = {
                    let followed = self.follow(name, spec).await;
                    self.outcome(followed)
                };
                if followed.is_err() {
                    self.runtime.attachments().restore(&id, before);
                }
                (followed.map(|()| had), fate)
            }
            // What keeps it from living may be the very facet that is taken away.
            (failed, None) => {
                let (_, fate) = self.outcome(failed);
                self.runtime.attachments().change(&id, name, None);
                (Ok(had), fate)
            }
            (failed, Some(_)) => {
                let (failed, fate) = self.outcome(failed);
                (failed.map(|()| had), fate)
            }
        }
    }

    async fn follow(&mut self, name: &str, spec: Option<FacetSpec>) -> Result<(), Unfinished> {
        let Some(live) = self.body.live.as_mut() else { return Ok(()) };
        let (id, profile) = (&self.cell.id, &self.body.profile);
        let ctx = RequestContext::external(id.tenant.clone(), id.namespace.clone(), "system");
        let mut turn = Turn::new(&self.runtime, &self.cell, &self.body.kind, ctx.clone(), profile);
        let facets = live.facets.get_or_insert_default();
        let changed = facets.change(self.runtime.facet_registry(), name, spec, id, &mut turn);
        let changed = guard(&self.cell, profile.limits.turn_time, changed).await;
        live.facets.take_if(|facets| facets.is_empty());
        changed
            .and_then(|changed| changed.map_err(|failure| Cut::Fault(crate::Fault::Rejected(failure))))
            .map_err(|cut| self.unfinished(cut, ctx.trace))?;
        self.settle_beginning(turn.into_effects(), &ctx).await
    }

    fn outcome(&mut self, done: Result<(), Unfinished>) -> (Result<(), Failure>, Fate) {
        match done {
            Ok(()) => (Ok(()), Fate::Stays),
            Err(Unfinished::Refused(failure) | Unfinished::Undone(failure)) => (Err(failure), Fate::Stays),
            Err(Unfinished::Ended(failure, exit)) => (Err(failure), self.end_if_up(exit)),
            Err(Unfinished::Parked) => (Ok(()), Fate::Stays),
        }
    }
}
