//! The way from the callers to the threads that read.

use std::collections::VecDeque;

use parking_lot::{Condvar, Mutex};

/// A queue in order of arrival. It holds no more than its callers wait for: each awaits the answer to what it put in, and that is the
/// back-pressure. What was put in by callers that have gone is skipped by whoever takes it.
pub(super) struct Queue<T> {
    state: Mutex<State<T>>,
    arrived: Condvar,
}

struct State<T> {
    items: VecDeque<T>,
    closed: bool,
}

impl<T> Queue<T> {
    pub(super) fn new() -> Self {
        Self { state: Mutex::new(State { items: VecDeque::new(), closed: false }), arrived: Condvar::new() }
    }

    /// Puts an item in, unless the queue is closed.
    pub(super) fn push(&self, item: T) -> Result<(), Closed> {
        let mut state = self.state.lock();
        if state.closed {
            return Err(Closed);
        }
        state.items.push_back(item);
        drop(state);
        self.arrived.notify_one();
        Ok(())
    }

    /// Waits for an item and takes it; `None` when the queue is closed and empty.
    pub(super) fn take(&self) -> Option<T> {
        let mut state = self.state.lock();
        loop {
            if let Some(first) = state.items.pop_front() {
                return Some(first);
            }
            if state.closed {
                return None;
            }
            self.arrived.wait(&mut state);
        }
    }

    /// Lets nothing more in. What is in it is still taken.
    pub(super) fn close(&self) {
        self.state.lock().closed = true;
        self.arrived.notify_all();
    }

    /// Lets nothing more in and drops what is in it.
    pub(super) fn abandon(&self) {
        let mut state = self.state.lock();
        state.closed = true;
        let items = std::mem::take(&mut state.items);
        drop(state);
        drop(items);
        self.arrived.notify_all();
    }
}

/// Nothing is taken in any more.
#[derive(Debug)]
pub(super) struct Closed;
