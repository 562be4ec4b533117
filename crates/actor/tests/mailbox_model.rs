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
use std::pin::pin;
use std::task::{Context, Poll, Wake, Waker};

impl mailbox::Urgent for &'static str {
    fn join(self, queue: &mut std::collections::VecDeque<Self>) {
        queue.push_back(self);
    }
}

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
                Next::Idle | Next::Gone(_) => return,
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

struct Woken(std::sync::atomic::AtomicBool);

impl Wake for Woken {
    fn wake(self: std::sync::Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// A mailbox with room for one message, which has one; its body is with the caller.
fn full() -> (Arc<Mailbox<Body, u32, &'static str>>, Body) {
    let mailbox = Arc::new(Mailbox::new(Body, 1, false));
    let Sent::Run(body) = mailbox.try_send(0) else { panic!("it was idle") };
    (mailbox, body)
}

#[test]
fn who_waits_for_room_is_woken_though_another_stops_waiting() {
    loom::model(|| {
        let (mailbox, body) = full();
        let others = mailbox.clone();
        let stopping = thread::spawn(move || {
            let mut sending = pin!(others.send(1));
            // It stops waiting as soon as it would have to: true when its message went in.
            !matches!(sending.as_mut().poll(&mut Context::from_waker(Waker::noop())), Poll::Pending)
        });
        let others = mailbox.clone();
        let taking = thread::spawn(move || {
            let mut taken = 0;
            let Next::Do(_, Work::Message(_)) = others.next(body) else { panic!("a message waits") };
            while let Some(Work::Message(_)) = others.take() {
                taken += 1;
            }
            taken
        });
        let woken = std::sync::Arc::new(Woken(false.into()));
        let waker = Waker::from(woken.clone());
        let mut context = Context::from_waker(&waker);
        let mut sending = Box::pin(mailbox.send(2));
        let at_once = sending.as_mut().poll(&mut context).is_ready();
        let (other_sent, mut taken) = (stopping.join().unwrap(), taking.join().unwrap());
        if !at_once {
            // Only a message that is still there may keep it waiting.
            assert!(woken.0.load(Ordering::SeqCst) || mailbox.len() == 1, "it waits for room that there is");
            taken += usize::from(mailbox.take().is_some());
            assert!(woken.0.load(Ordering::SeqCst));
            assert!(sending.as_mut().poll(&mut context).is_ready());
        }
        taken += usize::from(mailbox.take().is_some());
        assert_eq!((taken, mailbox.waiting()), (1 + usize::from(other_sent), 0));
    });
}

#[test]
fn who_stops_waiting_takes_no_place_but_its_own() {
    loom::model(|| {
        let (mailbox, _) = full();
        let others = mailbox.clone();
        let stopping = thread::spawn(move || {
            let mut sending = pin!(others.send(1));
            let _ = sending.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        });
        let others = mailbox.clone();
        let closing = thread::spawn(move || others.close());
        let mut sending = Box::pin(mailbox.send(2));
        let woken = std::sync::Arc::new(Woken(false.into()));
        let waker = Waker::from(woken.clone());
        let waits = sending.as_mut().poll(&mut Context::from_waker(&waker)).is_pending();
        stopping.join().unwrap();
        closing.join().unwrap();
        assert!(!waits || woken.0.load(Ordering::SeqCst), "it waits at a closed mailbox");
        drop(sending);
        assert_eq!(mailbox.waiting(), 0);
    });
}

#[test]
fn an_abandoned_actor_keeps_nothing_whoever_works_on_it() {
    loom::model(|| {
        let model = Model::new();
        let other = model.clone();
        let sender = thread::spawn(move || other.send(1));
        let (body, left, _) = model.mailbox.abandon();
        let sent = sender.join().unwrap();
        let handled = model.handled.load(Ordering::Acquire);
        assert_eq!(usize::from(sent), handled + left.len());
        // The body is here, or was given back to be dropped by whoever worked.
        assert!(body.is_some() || sent);
        assert!(model.mailbox.abandon().0.is_none());
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
