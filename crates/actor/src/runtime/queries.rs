//! Queries of a workflow: answered by an instance that only looks, from what the workflow last showed of itself.

use plexspaces_durable::Past;

use super::*;
use crate::turn::Looking;
use crate::{Fault, Turn};

impl Runtime {
    /// Answers a query beside the run.
    pub(crate) fn answer_query(&self, cell: &Arc<Cell>, envelope: Envelope) {
        let (runtime, cell) = (self.clone(), cell.clone());
        self.spawn_background(async move {
            let answer = runtime.query(&cell, &envelope).await;
            envelope.answer(answer);
        });
    }

    async fn query(&self, cell: &Arc<Cell>, envelope: &Envelope) -> Result<Payload, Failure> {
        let id = &cell.id;
        let (kind, spec) = self.spec(id)?;
        let profile = kind.profile(&id.key).clone();
        let state = if profile.durable { self.shown(id).await? } else { None };
        let turn = |looking| Turn::looking(self, id, &kind.application.name, envelope.ctx.clone(), &profile, looking);
        let asked = async {
            let (mut instance, _) = kind.factory.create(&spec, turn(Looking::Init)).await?;
            if let Some(state) = &state {
                instance.restore(state).await?;
            }
            instance.handle(&envelope.message, turn(Looking::Query), false).await.map(|(reply, _)| reply.payload)
        };
        let limit = profile.limits.turn_time;
        let late = |_| Failure::new(Code::LimitExceeded, format!("a query of {id} took more than {limit:?}"));
        tokio::time::timeout(limit, asked).await.map_err(late)?.map_err(Fault::into_failure)
    }

    /// The state that a workflow last showed: at a wait of its run, else at the end of its last turn.
    async fn shown(&self, id: &ActorId) -> Result<Option<Payload>, Failure> {
        let (turns, published) = self.recorded(id, 0, None, None).await?;
        Ok(published.or(Past::of(turns).state))
    }
}
