//! Ends against beginnings, under every interleaving that matters, by a model checker: a message against passivation, a spawn against
//! another, a watch or a link against the end of its target.
//!
//! The same files that the runtime uses are compiled here with the checker's locks.
#![allow(missing_docs, dead_code, unreachable_pub, clippy::unwrap_used, clippy::panic)]

/// The checker's locks with the interface of those that the runtime uses.
mod sync {
    use loom::sync::{MutexGuard, RwLockReadGuard, RwLockWriteGuard};

    pub struct Mutex<T>(loom::sync::Mutex<T>);

    impl<T> Mutex<T> {
        pub fn new(value: T) -> Self {
            Self(loom::sync::Mutex::new(value))
        }

        pub fn lock(&self) -> MutexGuard<'_, T> {
            self.0.lock().unwrap()
        }
    }

    pub struct RwLock<T>(loom::sync::RwLock<T>);

    impl<T> RwLock<T> {
        pub fn new(value: T) -> Self {
            Self(loom::sync::RwLock::new(value))
        }

        pub fn read(&self) -> RwLockReadGuard<'_, T> {
            self.0.read().unwrap()
        }

        pub fn write(&self) -> RwLockWriteGuard<'_, T> {
            self.0.write().unwrap()
        }
    }
}

#[path = "../src/directory.rs"]
mod directory;
#[path = "../src/links.rs"]
mod links;
#[path = "../src/mailbox.rs"]
mod mailbox;

use std::convert::Infallible;

use directory::Directory;
use links::{Links, Tied};
use loom::sync::Arc;
use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::thread;
use mailbox::{Mailbox, Next, Sent, Work};
use plexspaces_types::{ActorId, Key, Name};

impl mailbox::Urgent for &'static str {
    fn join(self, queue: &mut std::collections::VecDeque<Self>) {
        queue.push_back(self);
    }
}

/// An actor's body: whoever has it may work.
struct Body;

struct Cell {
    mailbox: Mailbox<Body, u32, &'static str>,
}

/// A node with one identity, as far as lives go.
struct Node {
    cells: Directory<u8, Cell>,
    handled: AtomicUsize,
    /// Incarnations that have not ended.
    alive: AtomicUsize,
    made: AtomicUsize,
}

const ID: u8 = 7;

impl Node {
    fn new() -> Arc<Self> {
        let counter = || AtomicUsize::new(0);
        Arc::new(Self { cells: Directory::new(1), handled: counter(), alive: counter(), made: counter() })
    }

    fn cell(&self) -> (std::sync::Arc<Cell>, bool) {
        let made = self.cells.get_or_make(&ID, || {
            assert_eq!(self.alive.fetch_add(1, Ordering::AcqRel), 0, "two incarnations at once");
            self.made.fetch_add(1, Ordering::AcqRel);
            Ok::<_, Infallible>(Cell { mailbox: Mailbox::new(Body, 8, false) })
        });
        made.unwrap()
    }

    /// What every sender does, until an incarnation takes the message.
    fn send(&self, message: u32) {
        loop {
            let (cell, _) = self.cell();
            match cell.mailbox.try_send(message) {
                Sent::Run(body) => return self.run(&cell, body),
                Sent::Queued => return,
                Sent::Closed(_) => drop(self.cells.remove(&ID, &cell)),
                Sent::Full(_) => panic!("there was room"),
            }
        }
    }

    fn order(&self, control: &'static str) {
        loop {
            let (cell, _) = self.cell();
            match cell.mailbox.control(control) {
                Sent::Run(body) => return self.run(&cell, body),
                Sent::Queued => return,
                Sent::Closed(_) => drop(self.cells.remove(&ID, &cell)),
                Sent::Full(_) => panic!("controls have room"),
            }
        }
    }

    /// What a runner does.
    fn run(&self, cell: &std::sync::Arc<Cell>, mut body: Body) {
        loop {
            let work = match cell.mailbox.next(body) {
                Next::Do(back, work) => {
                    body = back;
                    work
                }
                Next::Idle | Next::Gone(_) => return,
            };
            match work {
                Work::Message(_) | Work::Control("signal") => drop(self.handled.fetch_add(1, Ordering::AcqRel)),
                Work::Control("passivate") => {
                    // The code goes before a successor can come.
                    self.alive.fetch_sub(1, Ordering::AcqRel);
                    if cell.mailbox.end_if_empty() {
                        self.cells.remove(&ID, cell);
                        return;
                    }
                    assert_eq!(self.alive.fetch_add(1, Ordering::AcqRel), 0, "a successor came before the end");
                }
                Work::Control(_) | Work::Killed | Work::Drained => {}
            }
        }
    }
}

#[test]
fn a_message_that_meets_a_passivation_is_handled_once_by_one_of_two_incarnations() {
    loom::model(|| {
        let node = Node::new();
        node.send(1);
        let sending = node.clone();
        let sender = thread::spawn(move || sending.send(2));
        node.order("passivate");
        sender.join().unwrap();
        assert_eq!(node.handled.load(Ordering::Acquire), 2);
        assert_eq!(node.cells.len(), node.alive.load(Ordering::Acquire));
    });
}

#[test]
fn news_of_an_end_that_meets_a_passivation_reaches_the_successor() {
    loom::model(|| {
        let node = Node::new();
        node.send(1);
        let telling = node.clone();
        let teller = thread::spawn(move || telling.order("signal"));
        node.order("passivate");
        teller.join().unwrap();
        assert_eq!(node.handled.load(Ordering::Acquire), 2);
    });
}

#[test]
fn of_two_who_spawn_an_actor_at_once_one_has_made_it() {
    loom::model(|| {
        let node = Node::new();
        let other = node.clone();
        let spawning = thread::spawn(move || other.cell().1);
        let spawned = node.cell().1;
        assert!(spawned ^ spawning.join().unwrap());
        assert_eq!(node.made.load(Ordering::Acquire), 1);
    });
}

fn id(key: &str) -> ActorId {
    let name = |text| Name::new("name", text).unwrap();
    ActorId::new(name("t"), name("n"), name("a"), Key::new(key).unwrap())
}

struct Target {
    links: Links,
    mailbox: Mailbox<Body, u32, &'static str>,
    told: AtomicUsize,
}

impl Target {
    fn new() -> Arc<Self> {
        Arc::new(Self { links: Links::default(), mailbox: Mailbox::new(Body, 8, false), told: AtomicUsize::new(0) })
    }

    /// What an actor does that leaves for good.
    fn end(&self) {
        drop(self.mailbox.end());
        let mourners = self.links.ended(&id("x"));
        self.told.fetch_add(mourners.watchers.len() + mourners.peers.len(), Ordering::AcqRel);
    }
}

#[test]
fn a_watch_that_meets_the_end_of_its_target_is_told_once() {
    loom::model(|| {
        let target = Target::new();
        let ending = target.clone();
        let end = thread::spawn(move || ending.end());
        let watch = target.links.monitor(&id("w"), &id("x"), || !target.mailbox.has_ended());
        end.join().unwrap();
        let by_itself = usize::from(matches!(watch, Tied::Gone(_)));
        assert_eq!((target.told.load(Ordering::Acquire) + by_itself, target.links.len()), (1, 0));
    });
}

#[test]
fn a_link_that_meets_the_end_of_its_peer_is_told_once() {
    loom::model(|| {
        let target = Target::new();
        let ending = target.clone();
        let end = thread::spawn(move || ending.end());
        let link = target.links.link(&id("w"), &id("x"), || !target.mailbox.has_ended());
        end.join().unwrap();
        let by_itself = usize::from(link == Tied::Gone(()));
        assert_eq!((target.told.load(Ordering::Acquire) + by_itself, target.links.len()), (1, 0));
    });
}
