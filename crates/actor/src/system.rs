//! System actors: the node's own services, such as tuple spaces, locks and channels.
//!
//! Each has an identity, a bounded mailbox and a partition of its own like any actor. What it keeps are rows of that partition, so it
//! needs no journal: it handles all messages that wait in one go, commits what they changed in one batch with its epoch as a
//! precondition, and answers when that is committed. A request may wait inside for what a later message brings.

use std::collections::HashMap;

use bytes::Bytes;
use plexspaces_store::Write;
use plexspaces_types::{ActorId, Failure, Key, Name, Payload};

pub(crate) mod cell;
mod run;
pub(crate) use run::run;
mod seen;
mod senders;

use cell::Open;

/// What the types of system actors begin with. No application may have such a type.
pub const RESERVED: &str = "plexspaces.";

/// The name of a service of which a namespace has one.
pub const ONLY: &str = "default";

/// The operation by which the runtime has a service forget actors of types that are gone: `types` are their names. The answer has `more`
/// when it is to be asked again. Its nature refuses it, so that nobody else asks for it.
pub const FORGET: &str = "forget";

/// A kind of system actor.
#[derive(Clone, Copy, Debug)]
pub struct SystemType {
    /// Its type's name after [`RESERVED`].
    pub name: &'static str,
    /// Whether a namespace has many of it, by name; else it has one, named [`ONLY`].
    pub many: bool,
    /// Whether it keeps names of actors that it does not watch: when an application is gone it is asked to [`FORGET`] those of its types.
    pub knows_actors: bool,
    /// Makes the one with this name, which has nothing yet.
    pub make: fn(&str) -> Box<dyn SystemActor>,
    /// What an operation with these arguments is like. It refuses what can be seen to be wrong without the actor: nobody would hear of it
    /// later.
    pub nature: fn(&str, &Payload) -> Result<Nature, Failure>,
}

/// What an operation of a system actor is like, for an actor whose turns are journaled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nature {
    /// It looks and does not wait: when a turn that was cut off is run again, it may look again.
    Look,
    /// It changes something or waits, and has a result: it must happen once.
    Change,
    /// It changes something and has no result: it leaves with the turn's commit.
    Post,
}

/// One message to a system actor.
#[derive(Debug)]
pub struct SystemRequest<'a> {
    /// What its answer is given to.
    pub ticket: u64,
    /// What to do.
    pub operation: &'a str,
    /// The arguments.
    pub payload: &'a Payload,
    /// Whose it is.
    pub tenant: &'a Name,
    /// Where in the tenant the service is.
    pub namespace: &'a Name,
    /// The actor that sent it; none for a request from outside.
    pub sender: Option<&'a ActorId>,
}

/// What one system actor does: no I/O, no clock, no waiting. Called by one task at a time.
pub trait SystemActor: Send {
    /// Takes a row that an earlier activation has put; called for all of them in the order of their keys, before anything else.
    fn load(&mut self, key: &[u8], value: &[u8]) -> Result<(), Failure>;

    /// All rows are there.
    fn loaded(&mut self, _effects: &mut Effects<'_>) {}

    /// Handles a message: the answer, or `None` for one that is given later with [`Effects::answer`]. One that is refused must have changed
    /// nothing.
    fn handle(&mut self, request: &SystemRequest<'_>, effects: &mut Effects<'_>) -> Result<Option<Payload>, Failure>;

    /// When [`SystemActor::tick`] is to be called, in milliseconds since the Unix epoch.
    fn due_ms(&self) -> Option<u64> {
        None
    }

    /// Does what is due, until [`Effects::is_full`]. What is left is due still.
    fn tick(&mut self, _effects: &mut Effects<'_>) {}

    /// An actor that it watches has ended.
    fn ended(&mut self, _actor: &ActorId, _effects: &mut Effects<'_>) {}
}

/// What handling messages leads to. It happens when it is committed, or not at all.
pub struct Effects<'a> {
    now_ms: u64,
    writes: Vec<Write>,
    /// Of writes and answers.
    bytes: usize,
    /// Further writes of the commit: answers that are remembered, numbers of senders.
    others: usize,
    /// From how many writes on, and from how many bytes, the present step is full.
    room: (usize, usize),
    /// How many writes and messages there were when the present message came.
    mark: (usize, usize),
    /// With each answer, whether anything was changed or sent for it.
    answers: Vec<(u64, Result<Payload, Failure>, bool)>,
    tells: Vec<(ActorId, String, Payload)>,
    /// Actors to watch, and whether they are given time to appear.
    watches: Vec<(ActorId, bool)>,
    open: &'a mut HashMap<u64, Open>,
}

impl<'a> Effects<'a> {
    fn new(now_ms: u64, open: &'a mut HashMap<u64, Open>) -> Self {
        Self {
            now_ms,
            writes: Vec::new(),
            bytes: 0,
            others: 0,
            room: (MAX_WRITES, MAX_BYTES),
            mark: (0, 0),
            answers: Vec::new(),
            tells: Vec::new(),
            watches: Vec::new(),
            open,
        }
    }

    /// Milliseconds since the Unix epoch.
    #[must_use]
    pub fn now_ms(&self) -> u64 {
        self.now_ms
    }

    /// Sets one of the actor's rows.
    pub fn put(&mut self, key: &[u8], value: impl Into<Bytes>) {
        let value = value.into();
        self.bytes += key.len() + value.len();
        self.writes.push(Write::Put { key: row_key(key), value });
    }

    /// Removes one of the actor's rows.
    pub fn delete(&mut self, key: &[u8]) {
        self.bytes += key.len();
        self.writes.push(Write::Delete { key: row_key(key) });
    }

    /// Answers a request that waits.
    pub fn answer(&mut self, ticket: u64, result: Result<Payload, Failure>) {
        let did_something = self.writes.len() > self.mark.0 || self.tells.len() > self.mark.1;
        self.give(ticket, result, did_something);
    }

    /// Answers a request that waits and for which nothing was changed, whatever else was. Asked again under its key it is carried out anew.
    pub fn show(&mut self, ticket: u64, reply: Payload) {
        self.give(ticket, Ok(reply), false);
    }

    fn give(&mut self, ticket: u64, result: Result<Payload, Failure>, did_something: bool) {
        self.bytes += result.as_ref().map_or(0, |reply| reply.len());
        let is_remembered = did_something && result.is_ok() && self.open.get(&ticket).is_some_and(|open| open.keyed.is_some());
        self.others += usize::from(is_remembered);
        self.answers.push((ticket, result, did_something));
    }

    /// Whether somebody still waits for the answer to a request. What is given to nobody should be given to the next.
    #[must_use]
    pub fn is_awaited(&self, ticket: u64) -> bool {
        self.open.get(&ticket).is_some_and(Open::is_awaited)
    }

    /// Sends a message to an actor. It is lost when the node ends before it has arrived.
    pub fn tell(&mut self, target: ActorId, operation: &str, payload: Payload) {
        self.tells.push((target, operation.to_owned(), payload));
    }

    /// Asks to be told once when an actor has ended; at once when there is none such.
    pub fn watch(&mut self, actor: ActorId) {
        self.watches.push((actor, false));
    }

    /// The same for one that was there before the node started, and may not be there again yet.
    pub fn watch_again(&mut self, actor: ActorId) {
        self.watches.push((actor, true));
    }

    fn begin(&mut self) {
        self.mark = (self.writes.len(), self.tells.len());
    }

    /// Begins a step that has room of its own, so that those before it do not keep it from doing anything.
    fn begin_step(&mut self) {
        self.begin();
        self.room = (self.writes.len() + self.others + MAX_WRITES, self.bytes + MAX_BYTES);
    }

    /// Whether it is time to commit. What can go on in a later [`SystemActor::tick`] ends here: all that is done goes into one batch, and
    /// one that is too large for the store would be too large each time.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.writes.len() + self.others >= self.room.0 || self.bytes >= self.room.1
    }
}

/// From how many writes on, and from how many bytes, a step does no more. A round has three at most, and every store takes several times
/// as much in one batch.
const MAX_WRITES: usize = 1000;
const MAX_BYTES: usize = 4 << 20;

/// The rows of the actor itself, apart from those of its tenure and of its requests.
const ROWS: &[u8] = b"x";

fn row_key(key: &[u8]) -> Bytes {
    [ROWS, key].concat().into()
}

impl SystemType {
    /// The identity of one in a namespace.
    pub(crate) fn identity(&self, tenant: &Name, namespace: &Name, name: &str) -> Result<ActorId, Failure> {
        if !self.many && name != ONLY {
            let message = format!("there is one service {} in each namespace, named {ONLY:?}, not {name:?}", self.name);
            return Err(Failure::invalid("name", message));
        }
        let invalid = |error: plexspaces_types::InvalidName| Failure::invalid("name", error.to_string().replace("actor key", "name"));
        let actor_type = Name::new("service", &format!("{RESERVED}{}", self.name)).map_err(invalid)?;
        Ok(ActorId::new(tenant.clone(), namespace.clone(), actor_type, Key::new(name).map_err(invalid)?))
    }
}

/// What the types of those end with whose rows are in the node's memory and end with it.
const IN_MEMORY: &str = ".memory";

/// The identity of one of the same kind and name that keeps its rows in the node's memory.
pub(crate) fn in_memory(id: &ActorId) -> Result<ActorId, Failure> {
    let actor_type = Name::new("service", &format!("{}{IN_MEMORY}", id.actor_type.as_str()));
    let actor_type = actor_type.map_err(|error| Failure::invalid("name", error.to_string()))?;
    Ok(ActorId::new(id.tenant.clone(), id.namespace.clone(), actor_type, id.key.clone()))
}

/// The type of a system actor; `None` for any other.
pub(crate) fn type_of(id: &ActorId) -> Option<&str> {
    id.actor_type.as_str().strip_prefix(RESERVED)
}
