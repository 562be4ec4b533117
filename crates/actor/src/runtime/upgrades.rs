//! What a new version of an application would break: runs under way that it would not carry on as they began.

use plexspaces_durable::{Due, Past};
use plexspaces_store::{Partition, Range};

use super::*;
use crate::actor::{LOOK_AFTER, WAKE};

/// Entries of the index that are read at once.
const AT_ONCE: usize = 500;

/// How many breaks are looked for.
const ENOUGH: usize = 10;

impl Runtime {
    /// Runs what is under way again with the code of a new version of its application, as far as it has come, and says for whom that does
    /// something else: at most ten of them. Nothing is changed.
    pub async fn would_break(&self, application: &Application) -> Result<Vec<(ActorId, Failure)>, Failure> {
        let mut broken = Vec::new();
        let mut seen = std::collections::HashSet::new();
        let mut range = Some(Range::all());
        while let Some(wanted) = range.take() {
            let page = self.0.config.store.scan(&Partition::node("reminders"), wanted.clone(), AT_ONCE).await?;
            range = page.entries.last().filter(|_| page.more).map(|(last, _)| wanted.after(last));
            for due in page.entries.iter().filter_map(|(key, _)| Due::parse(key)) {
                let is_of = due.actor.tenant == application.tenant && due.actor.namespace == application.namespace;
                let under_way = due.name == LOOK_AFTER || due.name == WAKE;
                if !is_of || !under_way || !seen.insert(due.actor.clone()) {
                    continue;
                }
                if let Err(failure) = self.carries_on(application, &due.actor).await {
                    broken.push((due.actor, failure));
                }
                if broken.len() >= ENOUGH {
                    return Ok(broken);
                }
            }
        }
        Ok(broken)
    }

    async fn carries_on(&self, application: &Application, id: &ActorId) -> Result<(), Failure> {
        let Some(new) = application.types.iter().find(|spec| spec.name == id.actor_type) else { return Ok(()) };
        let Ok((_, mut spec)) = self.spec(id) else { return Ok(()) };
        let (turns, _) = self.recorded(id, 0, None, None).await?;
        let past = Past::of(turns.clone());
        if past.pending.is_none() && past.turns.is_empty() {
            return Ok(());
        }
        spec.guest_type.clone_from(&new.guest_type);
        crate::rerun(&*application.factory, &spec, turns, false).await.map(drop)
    }
}
