//! The mailbox's protocol under every interleaving that matters, by a model checker.
//!
//! The same file that the runtime uses is compiled here with the checker's mutex.
#![allow(missing_docs, dead_code, unreachable_pub, clippy::unwrap_used, clippy::panic)]

/// The checker's mutex with the interface of the one that the runtime uses.
mod sync {
    use loom::sync::MutexGuard;

    pub struct Mutex<T>(loom::sync::Mutex<T>);

    impl<T> Mutex<T> {
        pub fn new(value: T) -> Self {
            Self(loom::sync::Mutex::new(value))
        }

        pub fn lock(&self) -> MutexGuard<'_, T> {
            self.0.lock().unwrap()
        }
    }
}

#[path = "../src/mailbox.rs"]
mod mailbox;

use loom::sync::Arc;
use loom::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use loom::thread;
use mailbox::{Mailbox, Next, Sent, Work};

/// An actor's body: whoever has it may work.
struct Body;

struct Model {
    mailbox: Mailbox<Body, u32, &'static str>,
    working: AtomicBool,
    handled: AtomicUsize,
    ended: AtomicBool,
}

impl Model {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            mailbox: Mailbox::new(Body, 8, false),
            working: AtomicBool::new(false),
            handled: AtomicUsize::new(0),
            ended: AtomicBool::new(false),
        })
    }

    /// What a sender does; true when the message was taken.
    fn send(&self, message: u32) -> bool {
        match self.mailbox.try_send(message) {
            Sent::Queued => true,
            Sent::Run(body) => {
                self.run(body);
                true
            }
            Sent::Full(_) => panic!("there was room"),
            Sent::Closed(_) => false,
        }
    }

    fn control(&self, control: &'static str) {
        if let Sent::Run(body) = self.mailbox.control(control) {
            self.run(body);
        }
    }

    fn run(&self, mut body: Body) {
        loop {
            assert!(!self.working.swap(true, Ordering::AcqRel), "two runners at once");
            assert!(!self.ended.load(Ordering::Acquire), "an ended actor works");
            self.working.store(false, Ordering::Release);
            match self.mailbox.next(body) {
                Next::Idle => return,
                Next::Do(back, Work::Message(_)) => {
                    self.handled.fetch_add(1, Ordering::AcqRel);
                    body = back;
                }
                Next::Do(back, Work::Control("passivate")) => {
                    if self.mailbox.len() == 0 && self.mailbox.end_if_empty() {
                        self.ended.store(true, Ordering::Release);
                        return;
                    }
                    body = back;
                }
                Next::Do(back, Work::Control(_) | Work::Killed) => body = back,
                Next::Do(_, Work::Drained) => return,
            }
        }
    }
}

#[test]
fn every_message_is_handled_once_by_one_runner_at_a_time() {
    loom::model(|| {
        let model = Model::new();
        let other = model.clone();
        let sender = thread::spawn(move || (other.send(1), other.send(2)));
        assert!(model.send(3));
        assert_eq!(sender.join().unwrap(), (true, true));
        assert_eq!(model.handled.load(Ordering::Acquire), 3);
    });
}

#[test]
fn no_message_is_lost_or_doubled_between_passivation_and_activation() {
    loom::model(|| {
        let first = Model::new();
        let (sending, passivating) = (first.clone(), first.clone());
        let sender = thread::spawn(move || {
            // A sender that finds the actor ended goes on to its successor.
            if sending.send(1) { 0 } else { 1 }
        });
        passivating.control("passivate");
        let for_successor = sender.join().unwrap();
        assert_eq!(first.handled.load(Ordering::Acquire) + for_successor, 1);
        assert!(first.ended.load(Ordering::Acquire) || for_successor == 0);
    });
}

#[test]
fn a_kill_reaches_an_idle_and_a_working_actor() {
    loom::model(|| {
        let model = Model::new();
        let other = model.clone();
        let sender = thread::spawn(move || other.send(1));
        if let Some(body) = model.mailbox.kill() {
            model.run(body);
        }
        assert!(sender.join().unwrap());
        assert_eq!(model.handled.load(Ordering::Acquire), 1);
    });
}

#[test]
fn a_held_actor_lets_messages_wait_until_it_is_released_by_a_control() {
    loom::model(|| {
        let model = Model::new();
        model.mailbox.hold(true);
        let other = model.clone();
        let sender = thread::spawn(move || other.send(1));
        model.mailbox.hold(false);
        model.control("start");
        assert!(sender.join().unwrap());
        assert_eq!(model.handled.load(Ordering::Acquire), 1);
    });
}
