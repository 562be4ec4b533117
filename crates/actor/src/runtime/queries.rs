//! Queries of a workflow: answered by an instance that only looks, from what the workflow last showed of itself.

use plexspaces_durable::{Activation, PUBLISHED, Past, decode_published};
use plexspaces_store::Partition;

use super::*;
use crate::turn::Looking;
use crate::{Fault, Spec, Turn};

/// Records of the journal that are read at once.
const RECORDS_AT_ONCE: usize = 256;

impl Runtime {
    /// Answers a query beside the run.
    pub(crate) fn answer_query(&self, cell: &Arc<Cell>, envelope: Box<Envelope>) {
        let (runtime, cell) = (self.clone(), cell.clone());
        self.spawn_background(async move {
            let answer = runtime.query(&cell, &envelope).await;
            envelope.answer(answer);
        });
    }

    async fn query(&self, cell: &Arc<Cell>, envelope: &Envelope) -> Result<Payload, Failure> {
        let id = &cell.id;
        let kind = self.0.registry.kind(id).ok_or_else(|| gone(id))?;
        let profile = kind.profile(&id.key).clone();
        let state = if profile.durable { self.shown(id, profile.keeping).await? } else { None };
        let spec = Spec {
            id: id.clone(),
            guest_type: kind.guest_type.clone(),
            config: actor::guest_config(self, id, &kind, &profile),
            limits: profile.limits,
        };
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
    async fn shown(&self, id: &ActorId, keeping: plexspaces_durable::Keeping) -> Result<Option<Payload>, Failure> {
        let store = &self.0.config.store;
        let partition = Partition::actor(id);
        let unreadable = |error: plexspaces_durable::Error| {
            tracing::error!(actor_id = %id, %error, "a stored record is unreadable");
            Failure::new(Code::StorageFailed, format!("what is stored of {id} cannot be read; the node's log has the details"))
        };
        let head = store.scan(&partition, Activation::recovery_range(), Activation::RECOVERY).await?;
        let mut activation = Activation::recover(partition.clone(), keeping, &head.entries).map_err(unreadable)?;
        let mut records = Vec::new();
        let mut range = activation.journal_range();
        while let Some(wanted) = range.take() {
            let page = store.scan(&partition, wanted.clone(), RECORDS_AT_ONCE).await?;
            range = page.entries.last().filter(|_| page.more).map(|(last, _)| wanted.after(last));
            records.extend(page.entries);
        }
        let Past { state, pending, .. } = activation.recall(&records).map_err(unreadable)?;
        let published = store.get(&partition, PUBLISHED).await?;
        let published = published.map(|value| decode_published(&value)).transpose().map_err(unreadable)?;
        Ok(match (published, pending) {
            (Some((turn, published)), Some(pending)) if turn == pending.turn => Some(published),
            _ => state,
        })
    }
}
