//! Queries of a workflow: answered by an instance that only looks, from what the workflow last showed of itself.

use plexspaces_durable::Past;

use super::history::rerun_past;
use super::*;
use crate::code;
use crate::facet::pipeline::Pipeline;
use crate::turn::Looking;
use crate::{Fault, Spec, Turn};

impl Runtime {
    /// A run could not write down what it heard, and ends here. It hears it when it goes on.
    pub(crate) async fn unheard(&self, cell: &Arc<Cell>, mut envelope: Envelope, failure: &Failure) {
        envelope.undone += 1;
        match &cell.inbox {
            _ if envelope.reply.is_some() => envelope.answer(Err(failure.clone())),
            Some(inbox) if envelope.undone < actor::tries(failure) => {
                inbox.put_back(Box::new(envelope));
                self.control(cell, Control::Inbox);
            }
            _ => self.bury(&cell.id, envelope, failure).await,
        }
    }

    /// Answers a query beside the run.
    pub(crate) fn answer_query(&self, cell: &Arc<Cell>, envelope: Envelope) {
        let (runtime, cell) = (self.clone(), cell.clone());
        self.spawn_background(async move {
            let answer = runtime.query(&cell, &envelope).await;
            envelope.answer(answer);
        });
    }

    /// Whether an actor's facets let a message to its run.
    pub(crate) async fn admits(&self, id: &ActorId, envelope: &Envelope) -> Result<(), Failure> {
        let kind = self.0.registry.kind(id).ok_or_else(|| gone(id))?;
        let specs = self.attachments().effective(id, kind.profile(&id.key));
        Pipeline::admits(self.facet_registry(), &specs, id, &envelope.message, &envelope.ctx).await
    }

    async fn query(&self, cell: &Arc<Cell>, envelope: &Envelope) -> Result<Payload, Failure> {
        let id = &cell.id;
        self.admits(id, envelope).await?;
        let (kind, spec) = self.spec(id)?;
        let profile = kind.profile(&id.key).clone();
        let (past, published) = if profile.durable { self.past(id).await? } else { Default::default() };
        let code::Version { factory, guest_type, .. } = kind.version(Some(&past));
        let spec = Spec { guest_type, ..spec };
        // What a run showed at its last wait, else what the last turn left: with the last state there may be turns that came after it.
        let state = match published {
            Some(published) => Some((published.code, published.state)),
            None if past.turns.is_empty() => past.state.map(|state| (past.state_code, state)),
            None => Some((factory.code(), rerun_past(&*factory, &spec, Past { pending: None, ..past }).await?.state)),
        };
        let turn = |looking| Turn::looking(self, id, &kind.application.name, envelope.ctx.clone(), &profile, looking);
        let asked = async {
            let (mut instance, _) = factory.create(&spec, turn(Looking::Init)).await?;
            if let Some((code, state)) = &state {
                code::restore(&*factory, &spec, &mut *instance, state, *code).await?;
            }
            instance.handle(&envelope.message, turn(Looking::Query), false).await.map(|(reply, _)| reply.payload)
        };
        let limit = profile.limits.turn_time;
        let late = |_| Failure::new(Code::LimitExceeded, format!("a query of {id} took more than {limit:?}"));
        tokio::time::timeout(limit, asked).await.map_err(late)?.map_err(Fault::into_failure)
    }
}
