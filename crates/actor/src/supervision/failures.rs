//! What a failure leads to: a restart of the child, of its group, of its supervisor, in the end of the whole tree.

use std::time::{Duration, Instant};

use super::node::{Standing, Task, Then};
use super::window::{KEPT_FOR_DELAY, delay, later, root_delay};
use super::{Action, Exit, Happening, NodeId, Restart, State, Strategy, Tree};

impl<T> Tree<T> {
    /// A child ended before it was up. The first time that means that it cannot be started at all; later it is a failure like any other.
    pub(super) fn failed_to_start(&mut self, id: NodeId, exit: &Exit, now: Instant) {
        if !self.gave_no_start(id, id, &exit.to_string(), now) {
            self.fell(id, exit, true, now);
        }
    }

    /// A child ended, and nobody had asked it to.
    pub(super) fn fell(&mut self, id: NodeId, exit: &Exit, abnormal: bool, now: Instant) {
        let Some(node) = self.nodes.get(id) else { return };
        let (order, restart) = (node.order, node.restart);
        let Some(parent) = node.parent else { return };
        let absorbed = self.supervisor(parent).is_some_and(|supervisor| supervisor.stops(order));
        match restart {
            _ if absorbed => self.taken_down(id, now),
            Restart::Permanent => self.crashed(parent, id, exit, now),
            Restart::Transient if abnormal => self.crashed(parent, id, exit, now),
            // A transient child stays in the tree, down; a temporary one leaves it.
            Restart::Transient => {
                self.actions.push_back(Action::Rests(id));
                self.taken_down(id, now);
            }
            Restart::Temporary => self.taken_down(id, now),
        }
    }

    /// A child has to be restarted.
    fn crashed(&mut self, parent: NodeId, id: NodeId, exit: &Exit, now: Instant) {
        self.extend_degraded(now);
        let Some(supervisor) = self.supervisor_mut(parent) else { return };
        let (intensity, strategy) = (supervisor.intensity, supervisor.strategy);
        let most = intensity.max_restarts as usize;
        if supervisor.restarts.record(now, intensity.window, most.saturating_add(1)) > most {
            let reason = format!("more than {most} restarts within {:?}, the last exit: {exit}", intensity.window);
            return self.escalate(parent, id, reason, now);
        }
        let Some(node) = self.nodes.get_mut(id) else { return };
        let failures = node.failures.record(now, intensity.window, KEPT_FOR_DELAY);
        let order = node.order;
        let wait = delay(failures, &mut self.rng);
        if !wait.is_zero() {
            self.note(id, Happening::Delayed(wait), now);
        }
        match strategy {
            Strategy::OneForOne => self.restart_alone(id, wait, now),
            Strategy::RestForOne => self.restart_group(parent, id, order, later(now, wait)),
            Strategy::OneForAll => self.restart_group(parent, id, 0, later(now, wait)),
        }
    }

    fn restart_alone(&mut self, id: NodeId, wait: Duration, now: Instant) {
        self.set_missing(id, true);
        let Some(node) = self.nodes.get_mut(id) else { return };
        if wait.is_zero() {
            let cause = node.path.clone();
            return self.start_node(id, Some(cause), now);
        }
        let until = later(now, wait);
        node.state = State::Waiting(until);
        self.set_timer(id, until);
    }

    /// Restarts the children from one on. When such a restart is under way already, it becomes one restart of both groups,
    /// which waits as long as either has to.
    fn restart_group(&mut self, parent: NodeId, culprit: NodeId, from: u64, until: Instant) {
        let Some(cause) = self.path(culprit).cloned() else { return };
        self.cancel_timer(parent);
        let Some(supervisor) = self.supervisor_mut(parent) else { return };
        // A child of a group that is down cannot fail, so the new group begins before the one that is under way.
        let until = match &supervisor.task {
            Task::Stopping { then: Then::Restart { until: later, .. }, .. } | Task::Waiting { until: later, .. } => until.max(*later),
            _ => until,
        };
        supervisor.task = Task::Stopping { from, at: u64::MAX, then: Then::Restart { until, cause } };
        self.steps.push_back(parent);
    }

    /// A supervisor gives up because of a child: it stops its children and ends with an error, which its own supervisor has to answer.
    fn escalate(&mut self, id: NodeId, child: NodeId, reason: String, now: Instant) {
        let Some(because) = self.path(child).cloned() else { return };
        self.note(id, Happening::Escalated { because: because.clone() }, now);
        if self.gave_no_start(id, child, &reason, now) {
            return;
        }
        self.set_missing(id, true);
        self.cancel_timer(id);
        let then = if id == self.root {
            Then::Restart { until: self.degrade(now), cause: because }
        } else {
            Then::End { exit: Exit::Error(format!("{because}: {reason}")), asked: false }
        };
        let Some(node) = self.nodes.get_mut(id) else { return };
        node.state = State::Stopping;
        if let Some(supervisor) = self.supervisor_mut(id) {
            supervisor.stop_all(then);
        }
        self.steps.push_back(id);
    }

    /// When a node has never been up, its failure ends the larger start that it is part of: what was added leaves the tree, and a tree that
    /// starts for the first time stops. `child` is the one that failed. False when the failure has to be answered by a restart.
    fn gave_no_start(&mut self, id: NodeId, child: NodeId, reason: &str, now: Instant) -> bool {
        if self.nodes.get(id).is_none_or(|node| node.standing == Standing::Proven) {
            return false;
        }
        let added = self.joining(id);
        // A supervisor is not up before its children have been, so what was not added is part of the first start.
        let has_run = self.resumed || self.nodes.get(self.root).is_none_or(|root| root.standing == Standing::Proven);
        if added.is_none() && has_run {
            return false;
        }
        self.note(child, Happening::StartFailed(reason.to_owned()), now);
        match added {
            Some(added) => {
                let path = self.path(child).cloned().unwrap_or_default();
                self.actions.push_back(Action::AddFailed { child: added, reason: format!("{path}: {reason}") });
                self.withdraw(added, now);
            }
            None => {
                self.actions.push_back(Action::StartFailed { child, reason: reason.to_owned() });
                self.request_stop(self.root, now);
            }
        }
        true
    }

    /// What was added and is being started, if the node is it or beneath it. Costs the depth, which is bounded.
    fn joining(&self, id: NodeId) -> Option<NodeId> {
        let up = |id: &NodeId| self.nodes.get(*id)?.parent;
        std::iter::successors(Some(id), up).find(|id| self.nodes.get(*id).is_some_and(|node| node.standing == Standing::Joining))
    }

    /// The root gave up: the tree counts as degraded. When it may start again.
    fn degrade(&mut self, now: Instant) -> Instant {
        self.root_failures += 1;
        let wait = root_delay(self.root_failures, &mut self.rng);
        let until = later(now, wait);
        self.degraded = Some(later(until, self.root_window()));
        self.note(self.root, Happening::Degraded(wait), now);
        until
    }

    /// A degraded tree is taken for healthy only a full window after its latest failure, and not before it is up.
    pub(super) fn extend_degraded(&mut self, now: Instant) {
        let window = self.root_window();
        self.degraded = self.degraded.map(|until| until.max(later(now, window)));
    }

    pub(super) fn recover(&mut self, now: Instant) {
        if self.degraded.is_none_or(|until| until > now) {
            return;
        }
        if self.state(self.root) != Some(State::Running) {
            return self.extend_degraded(now);
        }
        self.degraded = None;
        self.root_failures = 0;
        self.note(self.root, Happening::Recovered, now);
    }

    fn root_window(&self) -> Duration {
        self.supervisor(self.root).map_or(Duration::ZERO, |root| root.intensity.window)
    }
}
