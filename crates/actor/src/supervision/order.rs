//! Starting and stopping: siblings one after the other, in start order and in reverse.

use std::sync::Arc;
use std::time::Instant;

use super::node::{Body, Standing, Task, Then};
use super::window::later;
use super::{Action, Exit, Happening, NodeId, Restart, State, Strategy, Tree};

impl<T> Tree<T> {
    /// Starts a node that is down; a supervisor with all its children. A `cause` says that it is a restart, and because of whom.
    pub(super) fn start_node(&mut self, id: NodeId, cause: Option<Arc<str>>, now: Instant) {
        let Some(node) = self.nodes.get_mut(id) else { return };
        node.state = State::Starting;
        node.restarts += u64::from(node.standing == Standing::Proven);
        match &mut node.body {
            Body::Worker { .. } => self.actions.push_back(Action::Start(id)),
            Body::Supervisor(supervisor) => {
                supervisor.restarts.clear();
                supervisor.task = Task::Starting { at: 0, cause: cause.clone() };
                self.steps.push_back(id);
            }
        }
        if let Some(because) = cause {
            self.note(id, Happening::Restarting { because }, now);
        }
    }

    /// A node is up.
    pub(super) fn up(&mut self, id: NodeId, now: Instant) {
        self.set_missing(id, false);
        let Some(node) = self.nodes.get_mut(id) else { return };
        node.state = State::Running;
        let standing = std::mem::replace(&mut node.standing, Standing::Proven);
        let parent = node.parent;
        // Of a great tree that begins the history tells nothing but that: what it kept before would be gone.
        let is_news = match &node.body {
            Body::Worker { .. } => standing != Standing::New || !node.failures.is_empty(),
            Body::Supervisor(supervisor) => !supervisor.children.is_empty(),
        };
        if is_news {
            self.note(id, Happening::Started, now);
        }
        if standing == Standing::Joining {
            self.actions.push_back(Action::Added(id));
        }
        match parent {
            Some(parent) => self.steps.push_back(parent),
            None => self.root_up(standing == Standing::New, now),
        }
    }

    fn root_up(&mut self, first: bool, now: Instant) {
        if first {
            self.actions.push_back(Action::Ready);
        }
        self.extend_degraded(now);
    }

    /// A child was added to a supervisor that is up or on its way up. Where siblings depend on each other it waits for its turn.
    pub(super) fn join(&mut self, parent: NodeId, child: NodeId, now: Instant) {
        let Some(order) = self.nodes.get(child).map(|node| node.order) else { return };
        let Some(supervisor) = self.supervisor_mut(parent) else { return };
        match (&supervisor.task, supervisor.strategy) {
            (Task::Idle, Strategy::OneForOne) => self.start_node(child, None, now),
            (Task::Idle, _) => {
                supervisor.task = Task::Starting { at: order, cause: None };
                self.steps.push_back(parent);
            }
            // What is under way comes to it, since it is the last in order.
            _ => {}
        }
    }

    /// Asks a node that is not down to stop, whatever it is doing.
    pub(super) fn request_stop(&mut self, id: NodeId, now: Instant) {
        let Some(node) = self.nodes.get_mut(id) else { return };
        let was = std::mem::replace(&mut node.state, State::Stopping);
        match &mut node.body {
            Body::Supervisor(supervisor) => {
                supervisor.stop_all(Then::End { exit: Exit::Shutdown, asked: true });
                self.cancel_timer(id);
                self.steps.push_back(id);
            }
            Body::Worker { .. } if was == State::Stopping => {}
            Body::Worker { shutdown, .. } if shutdown.is_zero() => self.actions.push_back(Action::Kill(id)),
            Body::Worker { shutdown, .. } => {
                let kill = later(now, *shutdown);
                self.actions.push_back(Action::Stop(id));
                self.set_timer(id, kill);
            }
        }
    }

    /// Takes a child from the tree, at once or when it is down.
    pub(super) fn withdraw(&mut self, id: NodeId, now: Instant) {
        let Some(node) = self.nodes.get_mut(id) else { return };
        if matches!(node.state, State::Ended | State::Waiting(_)) {
            self.discard(id, now);
        } else {
            node.leaving = true;
            self.request_stop(id, now);
        }
    }

    /// A node is down because its supervisor wanted it so. How it ended makes no difference.
    pub(super) fn taken_down(&mut self, id: NodeId, now: Instant) {
        let Some(node) = self.nodes.get(id) else { return };
        if node.leaving || node.restart == Restart::Temporary {
            return self.discard(id, now);
        }
        self.steps.extend(node.parent);
    }

    /// Goes on with a supervisor's task.
    pub(super) fn step(&mut self, id: NodeId, now: Instant) {
        match self.supervisor(id).map(|supervisor| &supervisor.task) {
            Some(Task::Starting { .. }) => self.step_start(id, now),
            Some(Task::Stopping { .. }) => self.step_stop(id, now),
            Some(Task::Idle | Task::Waiting { .. }) | None => {}
        }
    }

    fn step_start(&mut self, id: NodeId, now: Instant) {
        while let Some(supervisor) = self.supervisor(id)
            && let Task::Starting { at, cause } = &supervisor.task
        {
            let Some((&order, &child)) = supervisor.children.range(*at..).next() else { return self.all_started(id, now) };
            match self.state(child) {
                Some(State::Running) | None => self.advance(id, order + 1),
                // A sibling that went up before and failed since has to be up again first.
                Some(State::Ended) if supervisor.missing == 0 => return self.start_node(child, cause.clone(), now),
                Some(_) => return,
            }
        }
    }

    fn all_started(&mut self, id: NodeId, now: Instant) {
        let Some(supervisor) = self.supervisor_mut(id).filter(|supervisor| supervisor.missing == 0) else { return };
        supervisor.task = Task::Idle;
        if self.state(id) == Some(State::Starting) {
            self.up(id, now);
        }
    }

    fn step_stop(&mut self, id: NodeId, now: Instant) {
        while let Some(supervisor) = self.supervisor(id)
            && let Task::Stopping { from, at, .. } = supervisor.task
        {
            let Some((&order, &child)) = supervisor.children.range(from..at.max(from)).next_back() else {
                return self.all_stopped(id, now);
            };
            match self.state(child) {
                Some(State::Starting | State::Running) => return self.request_stop(child, now),
                Some(State::Stopping) => return,
                Some(State::Waiting(_) | State::Ended) => self.call_off(child),
                None => {}
            }
            self.advance(id, order);
        }
    }

    /// A child that is down stays down for now, also when its restart was due.
    pub(super) fn call_off(&mut self, id: NodeId) {
        self.set_missing(id, false);
        self.cancel_timer(id);
        if let Some(node) = self.nodes.get_mut(id) {
            node.state = State::Ended;
        }
    }

    fn advance(&mut self, id: NodeId, to: u64) {
        if let Some(Task::Starting { at, .. } | Task::Stopping { at, .. }) = self.supervisor_mut(id).map(|supervisor| &mut supervisor.task)
        {
            *at = to;
        }
    }

    fn all_stopped(&mut self, id: NodeId, now: Instant) {
        let Some(supervisor) = self.supervisor_mut(id) else { return };
        let Task::Stopping { from, then, .. } = std::mem::replace(&mut supervisor.task, Task::Idle) else { return };
        match then {
            Then::End { exit, asked } => self.supervisor_ended(id, exit, asked, now),
            Then::Restart { until, cause } => {
                supervisor.task = Task::Waiting { from, until, cause };
                self.await_restart(id, until, now);
            }
        }
    }

    /// A group that need not wait is restarted here and now. The root, when it gave up, waits as a whole.
    fn await_restart(&mut self, id: NodeId, until: Instant, now: Instant) {
        if let Some(root) = self.nodes.get_mut(id).filter(|node| node.parent.is_none() && node.state == State::Stopping) {
            root.state = State::Waiting(until);
            return self.set_timer(id, until);
        }
        if until > now {
            return self.set_timer(id, until);
        }
        if let Some(supervisor) = self.supervisor_mut(id) {
            supervisor.end_wait();
        }
        self.steps.push_back(id);
    }

    fn supervisor_ended(&mut self, id: NodeId, exit: Exit, asked: bool, now: Instant) {
        if id == self.root {
            return self.over(now);
        }
        let Some(node) = self.nodes.get_mut(id) else { return };
        node.state = State::Ended;
        self.note(id, Happening::Exited(exit.clone()), now);
        if asked { self.taken_down(id, now) } else { self.fell(id, &exit, true, now) }
    }
}
