//! The tree as its driver sees it: what it is told, and what it asks for.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use rand::SeedableRng;
use rand::rngs::SmallRng;

use super::arena::Arena;
use super::node::{Body, Node, Standing, Supervisor, Task};
use super::{Error, Exit, Happening, History, NodeId, Plan, Restart, State};

/// What the driver has to do. Every `Start` is answered by at most one [`Tree::started`] and by exactly one [`Tree::exited`] in the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Start this worker, then report [`Tree::started`] or, when that failed, [`Tree::exited`].
    Start(NodeId),
    /// Ask this worker to stop. It may still be starting.
    Stop(NodeId),
    /// End this worker at once.
    Kill(NodeId),
    /// Every child has started for the first time.
    Ready,
    /// The first start failed: this child could not be started. What was started is stopped, then comes `Stopped`.
    StartFailed {
        /// The child, a supervisor if that gave up before all its children were up.
        child: NodeId,
        /// Why.
        reason: String,
    },
    /// A child given to [`Tree::add`] is up, with all that is beneath it.
    Added(NodeId),
    /// A child given to [`Tree::add`] could not be started. It leaves the tree.
    AddFailed {
        /// What was added.
        child: NodeId,
        /// Why, with the path of the worker that failed.
        reason: String,
    },
    /// This worker has ended as it should and is down. It is started again only together with others: with its group or its supervisor.
    Rests(NodeId),
    /// This node, worker or supervisor, has left the tree and is down. Its id is never used again.
    Removed(NodeId),
    /// The whole tree is down and stays so. Nothing follows.
    Stopped,
}

/// The supervision tree of one application. `T` is what the driver needs to start a worker.
///
/// Time comes from the driver and must not go backwards. After each call the driver takes [`Tree::actions`] and arranges a [`Tree::tick`] for
/// [`Tree::next_wake`].
#[derive(Debug)]
pub struct Tree<T> {
    pub(super) nodes: Arena<Node<T>>,
    pub(super) root: NodeId,
    paths: HashMap<Arc<str>, NodeId>,
    life: Life,
    /// It ran before.
    pub(super) resumed: bool,
    pub(super) timers: BTreeSet<(Instant, NodeId)>,
    /// Supervisors whose task may go on. Worked off in a loop, so that no depth of nesting costs stack.
    pub(super) steps: VecDeque<NodeId>,
    pub(super) actions: VecDeque<Action>,
    pub(super) history: History,
    pub(super) rng: SmallRng,
    /// When the tree can be taken for healthy again, if nothing fails until then.
    pub(super) degraded: Option<Instant>,
    /// How often the root has given up since the tree was healthy.
    pub(super) root_failures: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Life {
    New,
    Begun,
    Over,
}

impl<T> Tree<T> {
    /// A tree that is not started yet. The seed decides the jitter of its delays, so that a run can be repeated.
    ///
    /// # Errors
    /// When the root is no supervisor, or names or depth break the rules of [`Plan`].
    pub fn new(root: Plan<T>, seed: u64) -> Result<Self, Error> {
        let plan = root.checked(1)?;
        let Plan::Supervisor { name, strategy, intensity, restart, children } = plan else { return Err(Error::RootIsWorker) };
        let path: Arc<str> = name.into();
        let body = Body::Supervisor(Supervisor::new(strategy, intensity));
        let mut nodes = Arena::new();
        let root = nodes.insert(Node::new(path.clone(), None, 0, restart, body));
        let mut tree = Self {
            nodes,
            root,
            paths: HashMap::from([(path, root)]),
            life: Life::New,
            resumed: false,
            timers: BTreeSet::new(),
            steps: VecDeque::new(),
            actions: VecDeque::new(),
            history: History::new(),
            rng: SmallRng::seed_from_u64(seed),
            degraded: None,
            root_failures: 0,
        };
        for child in children {
            tree.graft(root, child);
        }
        Ok(tree)
    }

    /// Keeps this many events of history instead of 1000.
    #[must_use]
    pub fn with_history(mut self, capacity: usize) -> Self {
        self.history.set_capacity(capacity);
        self
    }

    /// The tree ran before: a child that does not start at first is restarted like one that fails later.
    #[must_use]
    pub fn resumed(mut self) -> Self {
        self.resumed = true;
        self
    }

    /// Starts the tree: in start order, each child only after the one before it is up. Once.
    pub fn start(&mut self, now: Instant) {
        if self.life == Life::New {
            self.life = Life::Begun;
            self.start_node(self.root, None, now);
            self.settle(now);
        }
    }

    /// A worker is up. Ignored when it has been asked to stop meanwhile.
    pub fn started(&mut self, worker: NodeId, now: Instant) {
        if self.nodes.get(worker).is_some_and(|node| node.is_worker() && node.state == State::Starting) {
            self.up(worker, now);
            self.settle(now);
        }
    }

    /// A worker is down: it crashed, ended by itself, failed to start, or ended as it was asked to. Before [`Tree::started`] any exit, also a
    /// normal one, is a failed start.
    pub fn exited(&mut self, worker: NodeId, exit: Exit, now: Instant) {
        let Some(node) = self.nodes.get_mut(worker).filter(|node| node.is_worker()) else { return };
        let was = node.state;
        if matches!(was, State::Ended | State::Waiting(_)) {
            return;
        }
        node.state = State::Ended;
        self.cancel_timer(worker);
        self.note(worker, Happening::Exited(exit.clone()), now);
        match was {
            State::Starting => self.failed_to_start(worker, &exit, now),
            State::Running => self.fell(worker, &exit, !exit.is_normal(), now),
            State::Stopping | State::Ended | State::Waiting(_) => self.taken_down(worker, now),
        }
        self.settle(now);
    }

    /// Stops the whole tree in reverse start order. Ends with [`Action::Stopped`], and nothing is started any more.
    pub fn stop(&mut self, now: Instant) {
        match self.life {
            Life::New => self.over(now),
            Life::Begun => self.request_stop(self.root, now),
            Life::Over => {}
        }
        self.settle(now);
    }

    /// Time has passed.
    pub fn tick(&mut self, now: Instant) {
        while let Some((at, node)) = self.timers.first().copied().filter(|(at, _)| *at <= now) {
            self.timers.remove(&(at, node));
            if let Some(node) = self.nodes.get_mut(node) {
                node.timer = None;
            }
            self.fire(node, now);
            self.settle(now);
        }
        self.recover(now);
    }

    /// When [`Tree::tick`] is due, if ever.
    #[must_use]
    pub fn next_wake(&self) -> Option<Instant> {
        let timer = self.timers.first().map(|(at, _)| *at);
        timer.into_iter().chain(self.degraded).min()
    }

    /// Adds a child at the end of a supervisor's start order and starts it. The answer is [`Action::Added`] or [`Action::AddFailed`], or
    /// [`Action::Removed`] or [`Action::Stopped`] when it was taken down before. A child that cannot be started is not restarted but removed.
    ///
    /// # Errors
    /// When the supervisor is not running, has such a child already, or the plan breaks the rules of [`Plan`].
    pub fn add(&mut self, supervisor: NodeId, plan: Plan<T>, now: Instant) -> Result<NodeId, Error> {
        let plan = plan.checked(self.depth(supervisor) + 1)?;
        let parent = self.nodes.get(supervisor).filter(|node| !node.is_worker()).ok_or(Error::NoSupervisor)?;
        if !matches!(parent.state, State::Starting | State::Running) {
            return Err(Error::NotRunning(parent.path.to_string()));
        }
        let path = format!("{}/{}", parent.path, plan.name());
        if self.paths.contains_key(path.as_str()) {
            return Err(Error::DuplicateName(path));
        }
        let child = self.graft(supervisor, plan);
        if let Some(node) = self.nodes.get_mut(child) {
            node.standing = Standing::Joining;
        }
        self.note(child, Happening::Added, now);
        self.join(supervisor, child, now);
        self.settle(now);
        Ok(child)
    }

    /// Stops a child and takes it from the tree with all that is beneath it, whatever its restart kind. Ends with [`Action::Removed`]. The root
    /// cannot be removed, and from a tree that is down for good nothing is.
    pub fn remove(&mut self, node: NodeId, now: Instant) {
        if node != self.root && self.life != Life::Over {
            self.withdraw(node, now);
            self.settle(now);
        }
    }

    /// Takes what has to be done, in order.
    pub fn actions(&mut self) -> impl Iterator<Item = Action> {
        self.actions.drain(..)
    }

    /// What the driver gave for a worker.
    #[must_use]
    pub fn item(&self, worker: NodeId) -> Option<&T> {
        match &self.nodes.get(worker)?.body {
            Body::Worker { item, .. } => Some(item),
            Body::Supervisor(_) => None,
        }
    }

    /// The path of a node, such as `root/pipeline/worker-1`.
    #[must_use]
    pub fn path(&self, node: NodeId) -> Option<&Arc<str>> {
        self.nodes.get(node).map(|node| &node.path)
    }

    /// The node of a path.
    #[must_use]
    pub fn find(&self, path: &str) -> Option<NodeId> {
        self.paths.get(path).copied()
    }

    /// The root.
    #[must_use]
    pub fn root(&self) -> NodeId {
        self.root
    }

    /// While the tree is degraded, when that may end at the earliest. It is degraded from the time when the root gave up until it has been up
    /// for a full window without a failure.
    #[must_use]
    pub fn degraded_until(&self) -> Option<Instant> {
        self.degraded
    }

    /// Forgets what happened before the event with this number.
    pub fn forget_history(&mut self, before: u64) {
        self.history.forget(before);
    }

    /// What happened.
    #[must_use]
    pub fn history(&self) -> &History {
        &self.history
    }
}

/// What the other parts of the machine share.
impl<T> Tree<T> {
    /// Goes on with all tasks until each waits for the driver or for time.
    fn settle(&mut self, now: Instant) {
        while let Some(supervisor) = self.steps.pop_front() {
            self.step(supervisor, now);
        }
    }

    fn fire(&mut self, id: NodeId, now: Instant) {
        let Some(node) = self.nodes.get(id) else { return };
        let called_off = node.parent.and_then(|parent| self.supervisor(parent)).is_some_and(|parent| parent.stops(node.order));
        let Some(node) = self.nodes.get_mut(id) else { return };
        match (node.state, &mut node.body) {
            // Its supervisor is stopping its children and has not come to this one.
            (State::Waiting(_), _) if called_off => self.call_off(id),
            (State::Stopping, Body::Worker { .. }) => {
                self.actions.push_back(Action::Kill(id));
                self.note(id, Happening::Killed, now);
            }
            (State::Waiting(_), body) => {
                let cause = match body {
                    Body::Supervisor(Supervisor { task: Task::Waiting { cause, .. }, .. }) => cause.clone(),
                    _ => node.path.clone(),
                };
                self.start_node(id, Some(cause), now);
            }
            (_, Body::Supervisor(supervisor)) => supervisor.end_wait(),
            _ => {}
        }
        self.steps.push_back(id);
    }

    /// Puts a checked plan beneath a supervisor.
    fn graft(&mut self, parent: NodeId, plan: Plan<T>) -> NodeId {
        let mut rest = VecDeque::from([(parent, plan)]);
        let mut top = None;
        while let Some((parent, plan)) = rest.pop_front() {
            let (name, restart, body, children) = match plan {
                Plan::Worker { name, item, restart, shutdown } => (name, restart, Body::Worker { item, shutdown }, Vec::new()),
                Plan::Supervisor { name, strategy, intensity, restart, children } => {
                    (name, restart, Body::Supervisor(Supervisor::new(strategy, intensity)), children)
                }
            };
            let id = self.attach(parent, &name, restart, body);
            rest.extend(children.into_iter().map(|child| (id, child)));
            top.get_or_insert(id);
        }
        top.unwrap_or(parent)
    }

    fn attach(&mut self, parent: NodeId, name: &str, restart: Restart, body: Body<T>) -> NodeId {
        let path: Arc<str> = format!("{}/{name}", self.path(parent).map_or("", |path| path)).into();
        let order = self.supervisor_mut(parent).map_or(0, Supervisor::take_order);
        let id = self.nodes.insert(Node::new(path.clone(), Some(parent), order, restart, body));
        self.paths.insert(path, id);
        if let Some(supervisor) = self.supervisor_mut(parent) {
            supervisor.children.insert(order, id);
        }
        id
    }

    /// Takes a node that is down from the tree, with all that is beneath it.
    pub(super) fn discard(&mut self, id: NodeId, now: Instant) {
        self.set_missing(id, false);
        let Some(node) = self.nodes.get(id) else { return };
        if let Some((parent, order)) = node.parent.map(|parent| (parent, node.order)) {
            if let Some(supervisor) = self.supervisor_mut(parent) {
                supervisor.children.remove(&order);
            }
            self.steps.push_back(parent);
        }
        let mut rest = vec![id];
        while let Some(id) = rest.pop() {
            self.cancel_timer(id);
            self.note(id, Happening::Removed, now);
            let Some(node) = self.nodes.remove(id) else { continue };
            self.paths.remove(&node.path);
            self.actions.push_back(Action::Removed(id));
            if let Body::Supervisor(supervisor) = node.body {
                rest.extend(supervisor.children.into_values().rev());
            }
        }
    }

    /// The whole tree is down for good.
    pub(super) fn over(&mut self, now: Instant) {
        self.life = Life::Over;
        self.degraded = None;
        if let Some(root) = self.nodes.get_mut(self.root) {
            root.state = State::Ended;
        }
        self.note(self.root, Happening::Stopped, now);
        self.actions.push_back(Action::Stopped);
    }

    pub(super) fn state(&self, id: NodeId) -> Option<State> {
        self.nodes.get(id).map(|node| node.state)
    }

    pub(super) fn supervisor(&self, id: NodeId) -> Option<&Supervisor> {
        match &self.nodes.get(id)?.body {
            Body::Supervisor(supervisor) => Some(supervisor),
            Body::Worker { .. } => None,
        }
    }

    pub(super) fn supervisor_mut(&mut self, id: NodeId) -> Option<&mut Supervisor> {
        match &mut self.nodes.get_mut(id)?.body {
            Body::Supervisor(supervisor) => Some(supervisor),
            Body::Worker { .. } => None,
        }
    }

    /// The node's level, the root's being 1. Costs the depth, which is bounded.
    fn depth(&self, id: NodeId) -> usize {
        std::iter::successors(self.nodes.get(id), |node| self.nodes.get(node.parent?)).count()
    }

    pub(super) fn set_timer(&mut self, id: NodeId, at: Instant) {
        self.cancel_timer(id);
        if let Some(node) = self.nodes.get_mut(id) {
            node.timer = Some(at);
            self.timers.insert((at, id));
        }
    }

    pub(super) fn cancel_timer(&mut self, id: NodeId) {
        if let Some(at) = self.nodes.get_mut(id).and_then(|node| node.timer.take()) {
            self.timers.remove(&(at, id));
        }
    }

    /// Keeps the supervisor's count of missing children.
    pub(super) fn set_missing(&mut self, id: NodeId, missing: bool) {
        let Some(node) = self.nodes.get_mut(id).filter(|node| node.missing != missing) else { return };
        node.missing = missing;
        let Some(parent) = node.parent else { return };
        if let Some(supervisor) = self.supervisor_mut(parent) {
            supervisor.missing = if missing { supervisor.missing + 1 } else { supervisor.missing.saturating_sub(1) };
        }
    }

    pub(super) fn note(&mut self, id: NodeId, what: Happening, now: Instant) {
        if let Some(node) = self.nodes.get(id) {
            self.history.push(now, id, node.path.clone(), what);
        }
    }
}
