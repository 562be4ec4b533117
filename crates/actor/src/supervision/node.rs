//! What a tree remembers about each of its nodes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::window::Window;
use super::{Exit, Intensity, NodeId, Restart, State, Strategy};

#[derive(Debug)]
pub(super) struct Node<T> {
    pub(super) path: Arc<str>,
    pub(super) parent: Option<NodeId>,
    /// Its place among its siblings. Never reused, so that it also serves as a cursor.
    pub(super) order: u64,
    pub(super) restart: Restart,
    pub(super) state: State,
    pub(super) standing: Standing,
    /// It was up, fell by itself, and is not up again; its siblings stay.
    pub(super) missing: bool,
    /// It leaves the tree once it is down.
    pub(super) leaving: bool,
    /// How often it has been started again.
    pub(super) restarts: u64,
    /// Its own failures, which decide how long it waits.
    pub(super) failures: Window,
    /// When its timer fires: a delayed restart, the end of its shutdown time, or the wait of a supervisor's group.
    pub(super) timer: Option<Instant>,
    pub(super) body: Body<T>,
}

/// Whether a node has ever been up. Until then a failure means that it cannot be started at all, which is not answered by restarts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// Not yet, as part of something larger that is being started.
    New,
    /// Not yet, and it is what was added to a tree.
    Joining,
    /// Yes.
    Proven,
}

#[derive(Debug)]
pub(super) enum Body<T> {
    Worker { item: T, shutdown: Duration },
    Supervisor(Supervisor),
}

#[derive(Debug)]
pub(super) struct Supervisor {
    pub(super) strategy: Strategy,
    pub(super) intensity: Intensity,
    /// In start order.
    pub(super) children: BTreeMap<u64, NodeId>,
    pub(super) next_order: u64,
    pub(super) restarts: Window,
    pub(super) task: Task,
    /// How many children are missing. An ordered start waits for them.
    pub(super) missing: u32,
}

/// What a supervisor is doing with several children in order, one after the other.
#[derive(Debug)]
pub(super) enum Task {
    Idle,
    /// Stops the children from `from` on, last one first; those from `at` on are down.
    Stopping {
        from: u64,
        at: u64,
        then: Then,
    },
    /// The children from `from` on are down until their restart.
    Waiting {
        from: u64,
        until: Instant,
        cause: Arc<str>,
    },
    /// Starts the children from `at` on; those before are up.
    Starting {
        at: u64,
        /// The child whose failure is the reason, unless this is the first start.
        cause: Option<Arc<str>>,
    },
}

/// What follows when the children are down.
#[derive(Debug)]
pub(super) enum Then {
    /// They are started again, though not before `until`.
    Restart { until: Instant, cause: Arc<str> },
    /// The supervisor ends: because it was `asked` to, or because it gave up.
    End { exit: Exit, asked: bool },
}

impl<T> Node<T> {
    pub(super) fn new(path: Arc<str>, parent: Option<NodeId>, order: u64, restart: Restart, body: Body<T>) -> Self {
        Self {
            path,
            parent,
            order,
            restart,
            state: State::Ended,
            standing: Standing::New,
            missing: false,
            leaving: false,
            restarts: 0,
            failures: Window::default(),
            timer: None,
            body,
        }
    }

    pub(super) fn is_worker(&self) -> bool {
        matches!(self.body, Body::Worker { .. })
    }
}

impl Supervisor {
    pub(super) fn new(strategy: Strategy, intensity: Intensity) -> Self {
        let children = BTreeMap::new();
        Self { strategy, intensity, children, next_order: 0, restarts: Window::default(), task: Task::Idle, missing: 0 }
    }

    pub(super) fn take_order(&mut self) -> u64 {
        let order = self.next_order;
        self.next_order += 1;
        order
    }

    /// The wait of a group is over.
    pub(super) fn end_wait(&mut self) {
        if let Task::Waiting { from, cause, .. } = &self.task {
            self.task = Task::Starting { at: *from, cause: Some(cause.clone()) };
        }
    }

    /// Stops all children, whatever else is under way.
    pub(super) fn stop_all(&mut self, then: Then) {
        self.task = Task::Stopping { from: 0, at: u64::MAX, then };
    }

    /// Whether the child of this order is to be stopped anyway, so that its own end changes nothing.
    pub(super) fn stops(&self, order: u64) -> bool {
        matches!(self.task, Task::Stopping { from, .. } if from <= order)
    }
}
