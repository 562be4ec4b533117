//! The queue of one actor, and the protocol by which at most one task works on it.
//!
//! An idle actor has no task. Whoever puts something into the mailbox of an idle actor receives its body and must run it; the runner
//! takes one piece of work at a time and puts the body back when nothing is left. An actor that has ended refuses everything for ever, so
//! that a sender knows to look for its successor.
//!
//! The file stands alone, so that a model checker can run it with its own mutex (`tests/mailbox_model.rs`).

use std::collections::{BTreeMap, VecDeque};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use crate::sync::Mutex;

/// What overtakes messages. How many wait is bounded by what each of them says: most do no more than one that waits already.
pub(crate) trait Urgent: Sized {
    /// Takes its place in the queue, unless what waits there makes it needless.
    fn join(self, queue: &mut VecDeque<Self>);
}

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
    /// Wakes the runner where it waits, so that it sees that it is killed.
    turn: Option<Waker>,
    capacity: usize,
    messages: VecDeque<M>,
    controls: VecDeque<C>,
    /// Senders that wait for room, by the number of their place.
    room: Room,
    next_place: u64,
}

/// One that nobody waits for costs a pointer.
#[allow(clippy::box_collection)]
type Room = Option<Box<BTreeMap<u64, Waker>>>;

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
    /// Nothing: the actor was abandoned while it worked, and the body is to be dropped.
    Gone(B),
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

impl<B, M, C: Urgent> Mailbox<B, M, C> {
    /// Puts a control in, which overtakes all messages.
    pub(crate) fn control(&self, control: C) -> Sent<B, C> {
        let mut state = self.0.lock();
        if state.ended {
            return Sent::Closed(control);
        }
        control.join(&mut state.controls);
        let turn = state.turn.take();
        let sent = state.wake();
        drop(state);
        if let Some(turn) = turn {
            turn.wake();
        }
        sent
    }
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
            room: None,
            next_place: 0,
        }))
    }

    /// Puts a message in if there is room.
    pub(crate) fn try_send(&self, message: M) -> Sent<B, M> {
        self.0.lock().send(message)
    }

    /// Puts a message in when there is room. Who stops waiting leaves nothing behind.
    pub(crate) fn send(&self, message: M) -> Sending<'_, B, M, C> {
        Sending { mailbox: self, message: Some(message), place: None }
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

    /// Ready when there is something that overtakes messages.
    pub(crate) fn poll_urgent(&self, context: &mut Context<'_>) -> Poll<()> {
        let mut state = self.0.lock();
        if state.killed || !state.controls.is_empty() {
            return Poll::Ready(());
        }
        state.turn = Some(context.waker().clone());
        Poll::Pending
    }

    /// The runner's next piece of work: a kill, then controls, then messages.
    pub(crate) fn next(&self, body: B) -> Next<B, M, C> {
        let mut state = self.0.lock();
        state.turn = None;
        if state.ended {
            return Next::Gone(body);
        }
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

    /// For the runner: the incarnation that was to be killed has ended.
    pub(crate) fn obeyed(&self) {
        self.0.lock().killed = false;
    }

    /// For the runner: takes controls back that are not obeyed yet; true when there were such.
    pub(crate) fn revoke(&self, is_meant: impl Fn(&C) -> bool) -> bool {
        let mut state = self.0.lock();
        let before = state.controls.len();
        state.controls.retain(|control| !is_meant(control));
        state.controls.len() < before
    }

    /// Controls that wait.
    pub(crate) fn urgent(&self) -> usize {
        self.0.lock().controls.len()
    }

    /// Whether messages wait.
    pub(crate) fn is_held(&self) -> bool {
        self.0.lock().held
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

    /// Whether it refuses further messages, so that it ends when those that wait are handled.
    pub(crate) fn is_closed(&self) -> bool {
        self.0.lock().closed
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

    /// For the runner: the messages that wait, which nobody will handle.
    pub(crate) fn empty(&self) -> VecDeque<M> {
        let mut state = self.0.lock();
        let room = std::mem::take(&mut state.room);
        let left = std::mem::take(&mut state.messages);
        drop(state);
        wake(room);
        left
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

    /// Ends the actor from outside, whoever works on it: its runner will find nothing more to do. Returns what nobody will need.
    pub(crate) fn abandon(&self) -> (Option<B>, VecDeque<M>, VecDeque<C>) {
        let mut state = self.0.lock();
        state.ended = true;
        let room = std::mem::take(&mut state.room);
        let left = (state.body.take(), std::mem::take(&mut state.messages), std::mem::take(&mut state.controls));
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

    /// Senders that wait for room.
    #[cfg(test)]
    #[allow(dead_code)]
    pub(crate) fn waiting(&self) -> usize {
        self.0.lock().room.as_ref().map_or(0, |room| room.len())
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
    fn take_waiting(&mut self) -> Room {
        if self.room.is_none() || self.messages.len() > self.capacity / 2 {
            return None;
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

/// A sender that may have to wait for room.
pub(crate) struct Sending<'a, B, M, C> {
    mailbox: &'a Mailbox<B, M, C>,
    message: Option<M>,
    /// Where it waits. Numbers are not used again: one that was woken cannot take away another's place.
    place: Option<u64>,
}

impl<B, M: Unpin, C> Future for Sending<'_, B, M, C> {
    type Output = Sent<B, M>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(message) = self.message.take() else { return Poll::Pending };
        let (mailbox, place) = (self.mailbox, self.place.take());
        // Declared first, so that it is dropped after the lock.
        let _earlier;
        let mut state = mailbox.0.lock();
        _earlier = state.forget_place(place);
        match state.send(message) {
            Sent::Full(back) => {
                let place = state.next_place;
                state.next_place += 1;
                state.room.get_or_insert_default().insert(place, context.waker().clone());
                drop(state);
                (self.message, self.place) = (Some(back), Some(place));
                Poll::Pending
            }
            sent => Poll::Ready(sent),
        }
    }
}

impl<B, M, C> Drop for Sending<'_, B, M, C> {
    fn drop(&mut self) {
        if self.place.is_some() {
            let earlier = self.mailbox.0.lock().forget_place(self.place);
            drop(earlier);
        }
    }
}

impl<B, M, C> State<B, M, C> {
    fn forget_place(&mut self, place: Option<u64>) -> Option<Waker> {
        let room = self.room.as_mut()?;
        let waker = room.remove(&place?);
        if room.is_empty() {
            self.room = None;
        }
        waker
    }
}

fn wake(room: Room) {
    for waker in room.into_iter().flat_map(|room| room.into_values()) {
        waker.wake();
    }
}
