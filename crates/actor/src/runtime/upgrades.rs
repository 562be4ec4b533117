//! What a new version of an application would break, and what still goes on with an earlier one.

use plexspaces_durable::Due;
use plexspaces_store::{Partition, Range};

use super::*;
use crate::Spec;
use crate::actor::{LOOK_AFTER, WAKE};

/// Entries of the index that are read at once.
const AT_ONCE: usize = 500;

/// How many breaks are looked for.
const ENOUGH: usize = 10;

/// How long actors may take to keep their states before it is looked what would break.
const KEPT_WITHIN: Duration = Duration::from_secs(5);

impl Runtime {
    /// Runs what is under way again with the code of a new version of its application, as far as it has come, and says for whom that does
    /// something else: at most ten of them. What goes on with an earlier version that the application keeps is not broken, unless its type
    /// is gone. Actors that are in memory keep their states first, as they do when their code is replaced; nothing else is changed.
    pub async fn would_break(&self, application: &Application) -> Result<Vec<(ActorId, Failure)>, Failure> {
        let mut broken = Vec::new();
        let own = self.unkept().into_iter().filter(|cell| self.is_of(application, &cell.id)).collect();
        let _ = tokio::time::timeout(KEPT_WITHIN, self.keep_states(own)).await;
        for id in self.indexed(application).await? {
            if let Err(failure) = self.carries_on(application, &id).await {
                broken.push((id, failure));
            }
            if broken.len() >= ENOUGH {
                break;
            }
        }
        Ok(broken)
    }

    /// The turns of an application that are under way, with the version of the code that began each.
    pub async fn under_way(&self, application: &Application) -> Result<Vec<(ActorId, u64)>, Failure> {
        let unfinished = self.unfinished(application).await?;
        Ok(unfinished.into_iter().filter(|(.., under_way)| *under_way).map(|(id, code, _)| (id, code)).collect())
    }

    /// The actors of an application whose last turns have to be run again or go on, with the version of the code that is for, and whether
    /// one of the turns is under way.
    async fn unfinished(&self, application: &Application) -> Result<Vec<(ActorId, u64, bool)>, Failure> {
        let mut found = Vec::new();
        for id in self.indexed(application).await? {
            if !self.is_of(application, &id) {
                continue;
            }
            let (past, _) = self.past(&id).await?;
            found.extend(past.code().map(|code| (id, code, past.pending.is_some())));
        }
        Ok(found)
    }

    /// Forgets the earlier versions of an application that nothing goes on with any more; says which are left.
    pub async fn release_earlier(&self, application: &Application) -> Result<Vec<u64>, Failure> {
        let unfinished = self.unfinished(application).await?;
        let mut used: std::collections::HashSet<u64> = unfinished.into_iter().map(|(_, code, _)| code).collect();
        // A turn that was begun before the present version came may not have waited yet.
        self.0.retired.lock().retain(|kind| kind.strong_count() > 0);
        used.extend(self.0.retired.lock().iter().filter_map(Weak::upgrade).map(|kind| kind.factory.code()));
        let shared = application.types.iter().find_map(|spec| {
            let id = ActorId::new(application.tenant.clone(), application.namespace.clone(), spec.name.clone(), Key::from(&spec.name));
            self.0.registry.kind(&id).filter(|kind| kind.application.name == application.name).map(|kind| kind.application.clone())
        });
        let Some(shared) = shared else { return Ok(Vec::new()) };
        let mut earlier = shared.earlier.write();
        earlier.retain(|factory| used.contains(&factory.code()));
        Ok(earlier.iter().map(|factory| factory.code()).collect())
    }

    /// Is told when a turn has ended that went on with an earlier version.
    #[must_use]
    pub fn earlier_ended(&self) -> Arc<Notify> {
        self.0.earlier_ended.clone()
    }

    /// The actors in an application's namespace that may have a turn under way, or turns that have to be run again.
    async fn indexed(&self, application: &Application) -> Result<Vec<ActorId>, Failure> {
        let mut seen = std::collections::HashSet::new();
        let mut range = Some(Range::all());
        while let Some(wanted) = range.take() {
            let page = self.0.config.store.scan(&Partition::node("reminders"), wanted.clone(), AT_ONCE).await?;
            range = page.entries.last().filter(|_| page.more).map(|(last, _)| wanted.after(last));
            let due = page.entries.iter().filter_map(|(key, _)| Due::parse(key));
            let due = due.filter(|due| due.name == LOOK_AFTER || due.name == WAKE).map(|due| due.actor);
            seen.extend(due.filter(|id| id.tenant == application.tenant && id.namespace == application.namespace));
        }
        let mut found: Vec<ActorId> = seen.into_iter().collect();
        found.sort();
        Ok(found)
    }

    /// Whether a run that this version of the code began is to go on with the present one.
    pub(crate) fn is_outdated(&self, id: &ActorId, code: u64) -> bool {
        let goes_on =
            |kind: &Kind| kind.factory.code() == code || kind.application.earlier.read().iter().any(|factory| factory.code() == code);
        self.0.registry.kind(id).is_some_and(|kind| !goes_on(&kind))
    }

    /// Whether an actor is a workflow.
    pub(crate) fn is_workflow(&self, id: &ActorId) -> bool {
        self.0.registry.kind(id).is_some_and(|kind| kind.behavior == Behavior::Workflow)
    }

    fn is_of(&self, application: &Application, id: &ActorId) -> bool {
        let is_there = id.tenant == application.tenant && id.namespace == application.namespace;
        is_there && self.0.registry.kind(id).is_some_and(|kind| kind.application.name == application.name)
    }

    async fn carries_on(&self, application: &Application, id: &ActorId) -> Result<(), Failure> {
        if !self.is_of(application, id) {
            return Ok(());
        }
        let (past, _) = self.past(id).await?;
        if past.pending.is_none() && past.turns.is_empty() {
            return Ok(());
        }
        let Some(new) = application.types.iter().find(|spec| spec.name == id.actor_type) else {
            let gone = || Failure::not_found(format!("the new version has no type {}", id.actor_type));
            return past.pending.map_or(Ok(()), |_| Err(gone()));
        };
        if past.code().is_some_and(|code| application.earlier.iter().any(|factory| factory.code() == code)) {
            return Ok(());
        }
        let (_, spec) = self.spec(id)?;
        let spec = Spec { guest_type: new.guest_type.clone(), ..spec };
        history::rerun_past(&*application.factory, &spec, past).await.map(drop)
    }
}
