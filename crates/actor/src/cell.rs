//! One actor as the rest of the node sees it: its identity, its mailbox, its counters.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize};

use parking_lot::Mutex;
use plexspaces_durable::Due;
use plexspaces_types::{ActorId, Code, Failure, Message, Payload, RequestContext};
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tokio_util::time::delay_queue;

use crate::actor::Body;
use crate::facet::attach::Revision;
use crate::inbox::Inbox;
use crate::mailbox::{Mailbox, Urgent};
use crate::meters::Meter;
use crate::registry::{Kind, Seat};
use crate::supervision::Exit;

/// A message on its way.
pub(crate) struct Envelope {
    pub(crate) ctx: RequestContext,
    pub(crate) message: Message,
    pub(crate) reply: Option<oneshot::Sender<Result<Payload, Failure>>>,
    /// The reminder that it stands for; what it says is read from the actor's partition.
    pub(crate) reminder: Option<Box<Due>>,
    /// The durable actor that keeps it until it has arrived.
    pub(crate) receipt: Option<Box<Receipt>>,
    /// How often handling it has failed.
    pub(crate) failures: u8,
    /// A part of it had been committed when handling it failed, and the failure is written down.
    pub(crate) noted: bool,
    /// How often the store kept it from being handled.
    pub(crate) undone: u8,
}

/// What the sender of a kept message waits for.
pub(crate) struct Receipt {
    pub(crate) sender: Arc<Cell>,
    pub(crate) number: u64,
}

impl Receipt {
    /// The message has arrived: its sender need not keep it any more.
    pub(crate) fn sign(&self) {
        self.sender.arrived.lock().push(self.number);
    }
}

impl Envelope {
    /// One that was not tried yet, and for which nobody waits.
    pub(crate) fn new(ctx: RequestContext, message: Message) -> Self {
        Self { ctx, message, reply: None, reminder: None, receipt: None, failures: 0, noted: false, undone: 0 }
    }

    /// Answers whoever asked, who may have stopped waiting.
    pub(crate) fn answer(self, result: Result<Payload, Failure>) {
        if let Some(receipt) = &self.receipt {
            receipt.sign();
        }
        if let Some(reply) = self.reply {
            let _ = reply.send(result);
        }
    }
}

/// What overtakes messages.
pub(crate) enum Control {
    /// Its supervisor starts it.
    Start,
    /// Come to life without a message, and say whether that worked.
    Spawn(oneshot::Sender<Result<(), Failure>>),
    /// End after the present turn, with this reason. What waits is not handled.
    Stop(Exit),
    /// Handle what waits and end.
    Drain,
    /// It has ended in this place, where it is not restarted for now: answer who waits, and leave.
    Rest(Arc<Seat>),
    /// Go on with this code, and with the state that there is.
    Replace(Arc<Kind>),
    /// The facets that it is to have have changed.
    Facets(Box<Revision>),
    /// Leave memory, unless there is work.
    Passivate,
    /// Keep the state if turns since the last kept one would have to be run again. The permit is given back when that is done.
    Keep(OwnedSemaphorePermit),
    /// There is something in the inbox.
    Inbox,
    /// See to what a turn may have left undone.
    LookAfter(Box<Due>),
    /// Something that happened to another actor, as a message.
    Signal(Box<Signal>),
}

/// Changes of one actor's facets that may wait for its present message.
const REVISIONS: usize = 64;

impl Urgent for Control {
    fn join(self, queue: &mut VecDeque<Self>) {
        let needless = match &self {
            // Each is of a tie, whose number is bounded where it is made.
            Self::Signal(_) => false,
            // Between two orders of a supervisor the actor has obeyed the first.
            Self::Start | Self::Rest(_) | Self::Spawn(_) => false,
            // Only idle actors are told, by one who waits for the permit.
            Self::Keep(_) => false,
            // What is to be stopped is stopped by the first.
            Self::Stop(_) => {
                queue.iter().rev().take_while(|queued| !matches!(queued, Self::Start)).any(|queued| matches!(queued, Self::Stop(_)))
            }
            Self::Drain => queue.iter().any(|queued| matches!(queued, Self::Drain)),
            Self::Passivate => queue.iter().any(|queued| matches!(queued, Self::Passivate)),
            Self::Inbox => queue.iter().any(|queued| matches!(queued, Self::Inbox)),
            Self::LookAfter(due) => queue.iter().any(|queued| matches!(queued, Self::LookAfter(queued) if queued == due)),
            Self::Facets(_) => queue.iter().filter(|queued| matches!(queued, Self::Facets(_))).count() >= REVISIONS,
            Self::Replace(_) => {
                // Code that was replaced before it ran is not run, nor started by its supervisor, who is another now.
                queue.retain(|queued| !matches!(queued, Self::Replace(_) | Self::Start));
                false
            }
        };
        match self {
            Self::Facets(revision) if needless => {
                let failure =
                    Failure::new(Code::Overloaded, format!("{REVISIONS} changes of the actor's facets wait for its present message"));
                let _ = revision.answer.send(Err(failure));
            }
            _ if needless => {}
            control => queue.push_back(control),
        }
    }
}

/// What an actor hears of another's end.
pub(crate) struct Signal {
    pub(crate) operation: &'static str,
    /// Who has ended; none for one that there never was.
    pub(crate) from: Option<ActorId>,
    pub(crate) payload: Payload,
    /// The peer's reason: an actor that does not handle it ends likewise.
    pub(crate) fatal: Option<Exit>,
}

pub(crate) struct Cell {
    pub(crate) id: ActorId,
    pub(crate) mailbox: Mailbox<Box<Body>, Box<Envelope>, Control>,
    /// Where in the wheel its look for idleness is, if one is to come.
    pub(crate) idle_look: Mutex<Option<delay_queue::Key>>,
    /// Whether its code is in memory and may leave it without loss.
    pub(crate) evictable: AtomicBool,
    /// Whether it was told to make room and has not seen to that yet.
    pub(crate) told: AtomicBool,
    pub(crate) counters: Counters,
    /// What is shown of its type.
    pub(crate) meter: Arc<Meter>,
    /// Of a workflow.
    pub(crate) inbox: Option<Box<Inbox>>,
    /// Messages of this actor that have arrived and are still kept.
    pub(crate) arrived: Mutex<Vec<u64>>,
    /// Whether its turn has left memory and leaves nothing else undone.
    pub(crate) parked: AtomicBool,
    /// Until when, in milliseconds since the Unix epoch, the node's index knows that the actor may have left something undone.
    pub(crate) watched_until: AtomicU64,
    /// Whether its journal has turns that the last kept state does not know.
    pub(crate) unkept: AtomicBool,
    /// Whether other code has come for it, which it has not got yet.
    pub(crate) replaced: AtomicBool,
}

/// What is counted for each actor. Only its runner writes.
#[derive(Default)]
pub(crate) struct Counters {
    pub(crate) handled: AtomicU64,
    pub(crate) failed: AtomicU32,
    pub(crate) starts: AtomicU32,
    pub(crate) turn_nanos: AtomicU64,
    /// Milliseconds of the runtime's life at the end of the last turn.
    pub(crate) used_ms: AtomicU64,
    pub(crate) memory_bytes: AtomicUsize,
}

impl Cell {
    pub(crate) fn new(id: ActorId, body: Box<Body>, meter: Arc<Meter>, capacity: usize, held: bool, is_workflow: bool) -> Self {
        Self {
            id,
            mailbox: Mailbox::new(body, capacity, held),
            idle_look: Mutex::default(),
            evictable: AtomicBool::new(false),
            told: AtomicBool::new(false),
            counters: Counters::default(),
            meter,
            inbox: is_workflow.then(Box::default),
            arrived: Mutex::default(),
            parked: AtomicBool::new(false),
            watched_until: AtomicU64::new(0),
            unkept: AtomicBool::new(false),
            replaced: AtomicBool::new(false),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_overtakes_messages_takes_a_bounded_place_however_often_it_is_said() {
        let mut queue = VecDeque::new();
        let due = |name: &str| {
            let id = ActorId::parse(&plexspaces_types::Name::default_scope(), "default/probe/a").unwrap();
            Control::LookAfter(Box::new(Due { at_ms: 1, actor: id, name: name.to_owned() }))
        };
        let mut refused = 0;
        for _ in 0..1000 {
            for control in [Control::Stop(Exit::Shutdown), Control::Drain, Control::Passivate, Control::Inbox, due("one"), due("other")] {
                control.join(&mut queue);
            }
            let (answer, mut answered) = oneshot::channel();
            Control::Facets(Box::new(Revision { name: "metrics".to_owned(), spec: None, answer })).join(&mut queue);
            if let Ok(Err(failure)) = answered.try_recv() {
                assert_eq!(failure.code, Code::Overloaded);
                refused += 1;
            }
        }
        assert_eq!((queue.len(), refused), (6 + REVISIONS, 1000 - REVISIONS));
        // What was stopped and is started again can be stopped again.
        Control::Start.join(&mut queue);
        Control::Stop(Exit::Kill).join(&mut queue);
        Control::Stop(Exit::Shutdown).join(&mut queue);
        assert!(matches!(queue.make_contiguous(), [.., Control::Start, Control::Stop(Exit::Kill)]));
    }
}
