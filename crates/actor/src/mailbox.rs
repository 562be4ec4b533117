//! The queue of one actor, and the protocol by which at most one task works on it.
//!
//! An idle actor has no task. Whoever puts something into the mailbox of an idle actor receives its body and must run it; the runner
//! takes one piece of work at a time and puts the body back when nothing is left. An actor that has ended refuses everything for ever, so
//! that a sender knows to look for its successor.
//!
//! The file stands alone, so that a model checker can run it with its own mutex (`tests/mailbox_model.rs`).

use std::collections::VecDeque;
use std::task::{Context, Poll, Waker};

use crate::sync::Mutex;

/// `B` is the actor's body, `M` a message, `C` a control.
pub(crate) struct Mailbox<B, M, C>(Mutex<State<B, M, C>>);

struct State<B, M, C> {
    /// Here while the actor is idle, with its runner while it works.
    body: Option<B>,
    ended: bool,
    /// Refuses messages, though those that wait are still handled.
    closed: bool,
    /// Messages wait; controls do not.
    held: bool,
    killed: bool,
    /// Wakes the turn that is under way, so that it sees that it is killed.
    turn: Option<Waker>,
    capacity: usize,
    messages: VecDeque<M>,
    controls: VecDeque<C>,
    /// Senders that wait for room.
    room: Vec<Waker>,
}

/// What an actor is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Nothing.
    Idle,
    /// It works.
    Working,
    /// Its messages wait.
    Held,
}

/// What became of a message or a control.
pub(crate) enum Sent<B, M> {
    /// It is in the mailbox.
    Queued,
    /// It is in the mailbox, and the caller must run the actor.
    Run(B),
    /// There is no room.
    Full(M),
    /// The actor has ended or takes no more messages.
    Closed(M),
}

/// What a runner does next.
pub(crate) enum Next<B, M, C> {
    /// This; the body is still the runner's.
    Do(B, Work<M, C>),
    /// Nothing: the mailbox has the body again.
    Idle,
}

/// A piece of work.
pub(crate) enum Work<M, C> {
    Control(C),
    Message(M),
    /// The present incarnation is to end at once.
    Killed,
    /// It was closed, and what waited is handled.
    Drained,
}

impl<B, M, C> Mailbox<B, M, C> {
    /// An idle actor; a held one lets its messages wait.
    pub(crate) fn new(body: B, capacity: usize, held: bool) -> Self {
        Self(Mutex::new(State {
            body: Some(body),
            ended: false,
            closed: false,
            held,
            killed: false,
            turn: None,
            capacity: capacity.max(1),
            messages: VecDeque::new(),
            controls: VecDeque::new(),
            room: Vec::new(),
        }))
    }

    /// Puts a message in if there is room.
    pub(crate) fn try_send(&self, message: M) -> Sent<B, M> {
        self.0.lock().send(message)
    }

    /// Puts the message in when there is room; takes it out of `message` then.
    pub(crate) fn poll_send(&self, message: &mut Option<M>, context: &mut Context<'_>) -> Poll<Sent<B, M>> {
        let Some(taken) = message.take() else { return Poll::Ready(Sent::Queued) };
        let mut state = self.0.lock();
        match state.send(taken) {
            Sent::Full(back) => {
                *message = Some(back);
                state.room.push(context.waker().clone());
                Poll::Pending
            }
            sent => Poll::Ready(sent),
        }
    }

    /// Puts a control in, which overtakes all messages.
    pub(crate) fn control(&self, control: C) -> Sent<B, C> {
        let mut state = self.0.lock();
        if state.ended {
            return Sent::Closed(control);
        }
        state.controls.push_back(control);
        state.wake()
    }

    /// Puts a message back to be handled next.
    pub(crate) fn put_back(&self, message: M) {
        self.0.lock().messages.push_front(message);
    }

    /// Ends the present incarnation at once, its turn included. Returns the body when the caller must run it.
    pub(crate) fn kill(&self) -> Option<B> {
        let mut state = self.0.lock();
        if state.ended {
            return None;
        }
        state.killed = true;
        let turn = state.turn.take();
        let body = state.body.take();
        drop(state);
        if let Some(turn) = turn {
            turn.wake();
        }
        body
    }

    /// Ready when the turn that is under way is to end at once.
    pub(crate) fn poll_killed(&self, context: &mut Context<'_>) -> Poll<()> {
        let mut state = self.0.lock();
        if state.killed {
            return Poll::Ready(());
        }
        state.turn = Some(context.waker().clone());
        Poll::Pending
    }

    /// The runner's next piece of work: a kill, then controls, then messages.
    pub(crate) fn next(&self, body: B) -> Next<B, M, C> {
        let mut state = self.0.lock();
        state.turn = None;
        if std::mem::take(&mut state.killed) {
            return Next::Do(body, Work::Killed);
        }
        if let Some(control) = state.controls.pop_front() {
            return Next::Do(body, Work::Control(control));
        }
        if !state.held
            && let Some(message) = state.messages.pop_front()
        {
            let room = state.take_waiting();
            drop(state);
            wake(room);
            return Next::Do(body, Work::Message(message));
        }
        if state.closed && state.messages.is_empty() {
            return Next::Do(body, Work::Drained);
        }
        state.shrink();
        state.body = Some(body);
        Next::Idle
    }

    /// For the runner in the midst of its work: what comes next, if anything does.
    pub(crate) fn take(&self) -> Option<Work<M, C>> {
        let mut state = self.0.lock();
        if let Some(control) = state.controls.pop_front() {
            return Some(Work::Control(control));
        }
        let message = state.messages.pop_front()?;
        let room = state.take_waiting();
        drop(state);
        wake(room);
        Some(Work::Message(message))
    }

    /// Lets messages wait, or lets them be handled again.
    pub(crate) fn hold(&self, held: bool) {
        self.0.lock().held = held;
    }

    /// Refuses further messages; those that wait are handled.
    pub(crate) fn close(&self) {
        let mut state = self.0.lock();
        state.closed = true;
        let room = std::mem::take(&mut state.room);
        drop(state);
        wake(room);
    }

    /// For the runner: ends the actor if nothing waits.
    pub(crate) fn end_if_empty(&self) -> bool {
        let mut state = self.0.lock();
        if state.killed || !state.messages.is_empty() || !state.controls.is_empty() {
            return false;
        }
        state.ended = true;
        let room = std::mem::take(&mut state.room);
        drop(state);
        wake(room);
        true
    }

    /// For the runner: ends the actor and returns what nobody will handle.
    pub(crate) fn end(&self) -> (VecDeque<M>, VecDeque<C>) {
        let mut state = self.0.lock();
        state.ended = true;
        let room = std::mem::take(&mut state.room);
        let left = (std::mem::take(&mut state.messages), std::mem::take(&mut state.controls));
        drop(state);
        wake(room);
        left
    }

    /// Whether it refuses everything for ever.
    pub(crate) fn has_ended(&self) -> bool {
        self.0.lock().ended
    }

    /// Messages that wait.
    pub(crate) fn len(&self) -> usize {
        self.0.lock().messages.len()
    }

    /// What it is doing, and how many messages wait.
    pub(crate) fn standing(&self) -> (Standing, usize) {
        let state = self.0.lock();
        let standing = match (state.held, &state.body) {
            (true, _) => Standing::Held,
            (false, Some(_)) => Standing::Idle,
            (false, None) => Standing::Working,
        };
        (standing, state.messages.len())
    }

    /// Messages that may wait.
    pub(crate) fn capacity(&self) -> usize {
        self.0.lock().capacity
    }
}

impl<B, M, C> State<B, M, C> {
    fn send(&mut self, message: M) -> Sent<B, M> {
        if self.ended || self.closed {
            return Sent::Closed(message);
        }
        if self.messages.len() >= self.capacity {
            return Sent::Full(message);
        }
        self.messages.push_back(message);
        if self.held { Sent::Queued } else { self.wake() }
    }

    fn wake<T>(&mut self) -> Sent<B, T> {
        self.body.take().map_or(Sent::Queued, Sent::Run)
    }

    /// All senders are woken when half of the room is free: waking one for each place would cost a switch of tasks for each message, and a
    /// wake of one that has gone would be lost.
    fn take_waiting(&mut self) -> Vec<Waker> {
        if self.room.is_empty() || self.messages.len() > self.capacity / 2 {
            return Vec::new();
        }
        std::mem::take(&mut self.room)
    }

    /// An idle actor keeps no room for a burst that is over.
    fn shrink(&mut self) {
        if self.messages.is_empty() && self.messages.capacity() > 8 {
            self.messages = VecDeque::new();
        }
        if self.controls.capacity() > 0 {
            self.controls = VecDeque::new();
        }
    }
}

fn wake(wakers: Vec<Waker>) {
    for waker in wakers {
        waker.wake();
    }
}
