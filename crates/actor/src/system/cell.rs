//! A system actor as the rest of the node sees it, and what it has in hand.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use parking_lot::Mutex;
use plexspaces_store::{Memory, Store};
use plexspaces_types::{ActorId, Code, Failure};
use tokio_util::time::delay_queue;

use super::{IN_MEMORY, SystemType, type_of};
use crate::cell::Envelope;
use crate::mailbox::{Mailbox, Urgent};

/// Messages that may wait for one.
const CAPACITY: usize = 4096;

pub(crate) struct SystemCell {
    pub(crate) id: ActorId,
    pub(super) kind: SystemType,
    /// Where its rows are.
    pub(super) store: Arc<dyn Store>,
    pub(crate) mailbox: Mailbox<Box<Body>, Box<Envelope>, Poke>,
    /// Where in the wheel its next look is.
    pub(crate) look: Mutex<Option<delay_queue::Key>>,
}

/// What overtakes messages.
pub(crate) enum Poke {
    /// Something may be due.
    Tick,
    /// An actor has ended.
    Ended(ActorId),
}

impl Urgent for Poke {
    fn join(self, queue: &mut VecDeque<Self>) {
        // Of an end it is told once for each watch that it began, and it watches an actor once.
        let needless = matches!(self, Self::Tick) && queue.iter().any(|queued| matches!(queued, Self::Tick));
        if !needless {
            queue.push_back(self);
        }
    }
}

/// What it is between its rounds.
#[derive(Default)]
pub(crate) struct Body {
    pub(super) live: Option<super::run::Live>,
}

/// A request that is not answered yet, with those that repeat it.
pub(crate) struct Open {
    pub(super) envelope: Box<Envelope>,
    pub(super) keyed: Option<super::seen::Keyed>,
    pub(super) repeats: Vec<Envelope>,
}

impl Open {
    pub(super) fn is_awaited(&self) -> bool {
        let awaited = |envelope: &Envelope| envelope.reply.as_ref().is_none_or(|reply| !reply.is_closed());
        awaited(&self.envelope) || self.repeats.iter().any(awaited)
    }
}

/// The system actors of a node.
pub(crate) struct Systems {
    types: HashMap<&'static str, SystemType>,
    store: Arc<dyn Store>,
    /// The rows of those that end with the node.
    memory: Arc<dyn Store>,
    cells: Mutex<HashMap<ActorId, Arc<SystemCell>>>,
}

impl Systems {
    pub(crate) fn new(types: &[SystemType], store: Arc<dyn Store>) -> Self {
        let types = types.iter().map(|kind| (kind.name, *kind)).collect();
        Self { types, store, memory: Arc::new(Memory::default()), cells: Mutex::default() }
    }

    /// The kind of this name.
    pub(crate) fn kind(&self, name: &str) -> Result<SystemType, Failure> {
        self.types.get(name).copied().ok_or_else(|| Failure::new(Code::NotFound, format!("this node has no service {name:?}")))
    }

    /// The kinds that keep names of actors.
    pub(crate) fn that_know_actors(&self) -> impl Iterator<Item = SystemType> {
        self.types.values().filter(|kind| kind.knows_actors).copied()
    }

    /// The actor, made if need be.
    pub(crate) fn cell(&self, id: &ActorId) -> Result<Arc<SystemCell>, Failure> {
        let name = type_of(id).unwrap_or_default();
        let (name, store) = match name.strip_suffix(IN_MEMORY) {
            Some(name) => (name, &self.memory),
            None => (name, &self.store),
        };
        let kind = self.kind(name)?;
        let mut cells = self.cells.lock();
        let cell = cells.entry(id.clone()).or_insert_with(|| {
            let mailbox = Mailbox::new(Box::default(), CAPACITY, false);
            Arc::new(SystemCell { id: id.clone(), kind, store: store.clone(), mailbox, look: Mutex::default() })
        });
        Ok(cell.clone())
    }

    /// The actor, if it is in memory.
    pub(crate) fn known(&self, id: &ActorId) -> Option<Arc<SystemCell>> {
        self.cells.lock().get(id).cloned()
    }

    /// Forgets one that has ended.
    pub(crate) fn remove(&self, cell: &Arc<SystemCell>) {
        let mut cells = self.cells.lock();
        if cells.get(&cell.id).is_some_and(|known| Arc::ptr_eq(known, cell)) {
            cells.remove(&cell.id);
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.cells.lock().len()
    }

    /// The node ends: each lets go of what it has.
    pub(crate) fn clear(&self) {
        let cells = std::mem::take(&mut *self.cells.lock());
        cells.values().for_each(|cell| drop(cell.mailbox.abandon()));
    }
}
