//! What runs, for operators.

use std::collections::BinaryHeap;
use std::sync::atomic::Ordering::Relaxed;

use super::*;
use crate::guardian::chronicle::{Chronicle, SupervisionEvent};
use crate::mailbox::Standing;
use crate::supervision::{NodeId, View};

/// One actor on this node.
#[derive(Clone, Debug)]
pub struct ActorInfo {
    /// Who it is.
    pub id: ActorId,
    /// The application that it belongs to.
    pub application: Option<Name>,
    /// What it is doing.
    pub standing: Standing,
    /// Messages that wait for it.
    pub mailbox_depth: usize,
    /// Messages that it took up since it is on this node.
    pub messages: u64,
    /// How often it failed in that time.
    pub failures: u32,
    /// How often its code was started in that time.
    pub starts: u32,
    /// How long its turns took in that time.
    pub turn_time: Duration,
    /// Bytes of memory that its code holds.
    pub memory_bytes: usize,
}

/// By what the busiest actors are found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ActorOrder {
    /// Time in turns.
    TurnTime,
    /// Messages taken up.
    Messages,
    /// Messages that wait.
    Mailbox,
    /// Memory.
    Memory,
    /// Failures.
    Failures,
}

/// Some actors of a tenant.
#[derive(Clone, Copy, Debug)]
pub struct ActorFilter<'a> {
    /// Whose.
    pub tenant: &'a Name,
    /// Only those of this namespace.
    pub namespace: Option<&'a str>,
    /// Only those of this type.
    pub actor_type: Option<&'a str>,
}

/// One level of a supervision tree.
#[derive(Clone, Debug)]
pub struct Level {
    /// The supervisor.
    pub supervisor: View,
    /// Its children, with the actor that each is unless it is a supervisor itself.
    pub children: Vec<(View, Option<ActorId>)>,
    /// Whether there are more.
    pub more: bool,
}

impl ActorFilter<'_> {
    fn takes(&self, id: &ActorId) -> bool {
        id.tenant == *self.tenant
            && self.namespace.is_none_or(|namespace| id.namespace.as_str() == namespace)
            && self.actor_type.is_none_or(|actor_type| id.actor_type.as_str() == actor_type)
    }
}

impl Runtime {
    /// Brings up to date what the metrics show of all actors of a type together. It looks at each actor on this node, unless that was done a
    /// moment ago.
    pub fn count_actors(&self) {
        self.0.registry.meters.count(&self.0.cells);
    }

    /// The actors on this node whose identities print greater than `after`, in the order of their identities, at most `limit`; and whether
    /// there are more.
    #[must_use]
    pub fn list_actors(&self, filter: ActorFilter<'_>, after: Option<&str>, limit: usize) -> (Vec<ActorInfo>, bool) {
        // The smallest of all, kept in a heap, so that a page costs no sorting of everything.
        let mut page: BinaryHeap<(String, ActorId)> = BinaryHeap::new();
        self.each_cell(filter, |cell| {
            let printed = cell.id.to_string();
            if after.is_none_or(|after| printed.as_str() > after) {
                page.push((printed, cell.id.clone()));
                if page.len() > limit + 1 {
                    page.pop();
                }
            }
        });
        let mut found = page.into_sorted_vec();
        let more = found.len() > limit;
        found.truncate(limit);
        (found.iter().filter_map(|(_, id)| self.known(id)).map(|cell| self.info(&cell)).collect(), more)
    }

    /// The busiest actors on this node, at most `limit`.
    #[must_use]
    pub fn busiest_actors(&self, filter: ActorFilter<'_>, order: ActorOrder, limit: usize) -> Vec<ActorInfo> {
        let mut top: BinaryHeap<(std::cmp::Reverse<u64>, ActorId)> = BinaryHeap::new();
        self.each_cell(filter, |cell| {
            let counters = &cell.counters;
            let value = match order {
                ActorOrder::TurnTime => counters.turn_nanos.load(Relaxed),
                ActorOrder::Messages => counters.handled.load(Relaxed),
                ActorOrder::Mailbox => cell.mailbox.len() as u64,
                ActorOrder::Memory => counters.memory_bytes.load(Relaxed) as u64,
                ActorOrder::Failures => u64::from(counters.failed.load(Relaxed)),
            };
            top.push((std::cmp::Reverse(value), cell.id.clone()));
            if top.len() > limit {
                top.pop();
            }
        });
        top.into_sorted_vec().iter().filter_map(|(_, id)| self.known(id)).map(|cell| self.info(&cell)).collect()
    }

    fn each_cell(&self, filter: ActorFilter<'_>, mut see: impl FnMut(&Cell)) {
        self.0.cells.each(|cell| {
            if filter.takes(&cell.id) {
                see(cell);
            }
        });
    }

    fn info(&self, cell: &Cell) -> ActorInfo {
        let counters = &cell.counters;
        let (standing, mailbox_depth) = cell.mailbox.standing();
        ActorInfo {
            id: cell.id.clone(),
            application: self.0.registry.kind(&cell.id).map(|kind| kind.application.name.clone()),
            standing,
            mailbox_depth,
            messages: counters.handled.load(Relaxed),
            failures: counters.failed.load(Relaxed),
            starts: counters.starts.load(Relaxed),
            turn_time: Duration::from_nanos(counters.turn_nanos.load(Relaxed)),
            memory_bytes: counters.memory_bytes.load(Relaxed),
        }
    }

    /// One level of an application's supervision tree: the children of the supervisor at `path` (the root when empty) after the one at the
    /// position `after`, at most `limit`.
    pub async fn supervision(
        &self,
        application: (&Name, &Name, &Name),
        path: &str,
        after: Option<u64>,
        limit: usize,
    ) -> Result<Level, Failure> {
        let guardian = self.guardian(application)?;
        let wanted = path.to_owned();
        let level = guardian.look(move |tree| {
            let node: NodeId = if wanted.is_empty() { tree.root() } else { tree.find(&wanted)? };
            let supervisor = tree.view(node).filter(|_| tree.item(node).is_none())?;
            let mut children: Vec<_> = tree.children(node, after).take(limit.saturating_add(1)).collect();
            let more = children.len() > limit;
            children.truncate(limit);
            let with_actor = |view: View| {
                let actor = tree.item(view.id).map(|post| post.id.clone());
                (view, actor)
            };
            Some(Level { supervisor, children: children.into_iter().map(with_actor).collect(), more })
        });
        let unknown = || Failure::invalid("path", format!("{path:?} is not a supervisor of the application {}", application.2));
        level.await.ok_or_else(ended)?.ok_or_else(unknown)
    }

    /// What happened in an application's supervision tree, from the event with the number `from` on, at most `limit`; and whether there is
    /// more. What [`crate::Retention`] leaves is kept until the application is undeployed.
    pub async fn supervision_events(
        &self,
        application: (&Name, &Name, &Name),
        from: u64,
        limit: usize,
    ) -> Result<(Vec<SupervisionEvent>, bool), Failure> {
        // One that does not run has nothing to add.
        if let Ok(guardian) = self.guardian(application) {
            guardian.caught_up().await?;
        }
        self.chronicle(application).list(from, limit).await
    }

    pub(super) fn chronicle(&self, application: (&Name, &Name, &Name)) -> Chronicle {
        Chronicle::new(&self.0.config, application)
    }

    fn guardian(&self, (tenant, namespace, application): (&Name, &Name, &Name)) -> Result<guardian::Handle, Failure> {
        let guardians = self.0.guardians.lock();
        let unknown = || Failure::not_found(format!("the application {application} does not run in namespace {namespace}"));
        guardians.get(&(tenant.clone(), namespace.clone(), application.clone())).cloned().ok_or_else(unknown)
    }
}

fn ended() -> Failure {
    Failure::new(Code::Unavailable, "the application is being stopped")
}
