//! A driver in virtual time that plays the workers. It keeps its own naive books and checks every action against them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::super::node::Task;
use super::super::*;

/// What the driver knows of a node, by path.
#[derive(Clone, Debug)]
pub(super) struct Known {
    pub(super) parent: String,
    pub(super) order: usize,
    pub(super) id: NodeId,
    pub(super) worker: bool,
    pub(super) restart: Restart,
    pub(super) shutdown: Duration,
    pub(super) strategy: Strategy,
    pub(super) intensity: Intensity,
    pub(super) phase: Phase,
    /// It was added to a running tree.
    pub(super) added: bool,
    /// The driver asked for its removal.
    pub(super) removing: bool,
    /// It ended normally by itself.
    pub(super) rested: bool,
    /// The tree has said that it rests.
    resting: bool,
    starts: usize,
    /// When it last fell by itself.
    fell: Option<Instant>,
    /// When its children fell that were restarted since it started.
    restarted: Vec<Instant>,
    /// When its children fell, for whatever reason.
    falls: Vec<Instant>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Down,
    Starting,
    Up,
    Stopping { asked: Instant, killed: bool },
}

pub(super) struct World {
    pub(super) tree: Tree<()>,
    pub(super) now: Instant,
    pub(super) known: Books,
    /// What was asked for, as `start a`, `stop a`, `kill a`, `ready`…, paths without the root.
    pub(super) log: Vec<String>,
    /// Workers whose starts fail, and how often still.
    pub(super) broken: BTreeMap<String, u32>,
    /// Workers that end only when they are killed.
    pub(super) stubborn: BTreeSet<String>,
    pub(super) escalated: BTreeSet<String>,
    pub(super) stopped: bool,
    ids: BTreeMap<NodeId, String>,
    read: u64,
}

pub(super) fn worker(name: &str) -> Plan<()> {
    Plan::Worker { name: name.into(), item: (), restart: Restart::Permanent, shutdown: Duration::from_secs(5) }
}

pub(super) fn worker_with(name: &str, kind: Restart) -> Plan<()> {
    Plan::Worker { name: name.into(), item: (), restart: kind, shutdown: Duration::from_secs(5) }
}

pub(super) fn supervisor(name: &str, strategy: Strategy, max_restarts: u32, children: Vec<Plan<()>>) -> Plan<()> {
    let intensity = Intensity { max_restarts, window: Duration::from_secs(60) };
    Plan::Supervisor { name: name.into(), strategy, intensity, restart: Restart::Permanent, children }
}

/// What the driver knows of all nodes.
pub(super) type Books = BTreeMap<String, Known>;

/// The workers at and beneath a path in start order.
pub(super) fn workers(books: &Books, path: &str) -> Vec<String> {
    if books.get(path).is_some_and(|known| known.worker) {
        return vec![path.to_owned()];
    }
    let mut children: Vec<_> = books.iter().filter(|(_, known)| known.parent == path).collect();
    children.sort_by_key(|(_, known)| known.order);
    children.into_iter().flat_map(|(path, _)| workers(books, path)).collect()
}

/// Those of them that are not down.
pub(super) fn alive(books: &Books, path: &str) -> Vec<String> {
    workers(books, path).into_iter().filter(|worker| books[worker].phase != Phase::Down).collect()
}

impl World {
    pub(super) fn new(plan: Plan<()>, seed: u64) -> Self {
        let mut world = Self {
            tree: Tree::new(plan.clone(), seed).unwrap(),
            now: Instant::now(),
            known: BTreeMap::new(),
            log: Vec::new(),
            broken: BTreeMap::new(),
            stubborn: BTreeSet::new(),
            escalated: BTreeSet::new(),
            stopped: false,
            ids: BTreeMap::new(),
            read: 0,
        };
        world.learn("", &plan, 0, false);
        world
    }

    /// A tree that has started.
    pub(super) fn up(plan: Plan<()>) -> Self {
        let mut world = Self::new(plan, 7);
        world.start();
        world.calm();
        assert_eq!(world.log.pop().unwrap(), "ready");
        world.log.clear();
        world
    }

    fn learn(&mut self, parent: &str, plan: &Plan<()>, order: usize, added: bool) {
        let path = if parent.is_empty() { plan.name().to_owned() } else { format!("{parent}/{}", plan.name()) };
        let id = self.tree.find(&path).unwrap();
        let mut known = Known {
            parent: parent.into(),
            order,
            id,
            worker: true,
            restart: Restart::Permanent,
            shutdown: Duration::ZERO,
            strategy: Strategy::OneForOne,
            intensity: Intensity { max_restarts: 0, window: Duration::ZERO },
            phase: Phase::Down,
            added,
            removing: false,
            rested: false,
            resting: false,
            starts: 0,
            fell: None,
            restarted: Vec::new(),
            falls: Vec::new(),
        };
        match plan {
            Plan::Worker { restart, shutdown, .. } => (known.restart, known.shutdown) = (*restart, *shutdown),
            Plan::Supervisor { strategy, intensity, restart, children, .. } => {
                (known.worker, known.strategy, known.intensity, known.restart) = (false, *strategy, *intensity, *restart);
                for (order, child) in children.iter().enumerate() {
                    self.learn(&path, child, order, added);
                }
            }
        }
        self.ids.insert(id, path.clone());
        self.known.insert(path, known);
    }

    pub(super) fn start(&mut self) {
        self.tree.start(self.now);
        self.take();
    }

    pub(super) fn stop(&mut self) {
        self.tree.stop(self.now);
        self.take();
    }

    pub(super) fn pass(&mut self, time: Duration) {
        self.now += time;
        self.tree.tick(self.now);
        self.take();
        for (path, known) in self.known.iter().filter(|(_, known)| known.worker) {
            if let Phase::Stopping { asked, killed: false } = known.phase {
                assert!(self.now < asked + known.shutdown, "{path} should have been killed");
            }
        }
    }

    pub(super) fn add(&mut self, supervisor: &str, plan: Plan<()>) -> Result<NodeId, Error> {
        let parent = self.tree.find(supervisor).ok_or(Error::NoSupervisor)?;
        let id = self.tree.add(parent, plan.clone(), self.now)?;
        let order = self.known.values().filter(|known| known.parent == supervisor).map(|known| known.order + 1).max();
        self.learn(supervisor, &plan, order.unwrap_or(0), true);
        self.take();
        Ok(id)
    }

    pub(super) fn remove(&mut self, path: &str) {
        let known = self.known.get_mut(path).unwrap();
        known.removing = true;
        self.tree.remove(known.id, self.now);
        self.take();
    }

    pub(super) fn report_started(&mut self, path: &str) {
        let known = self.known.get_mut(path).unwrap();
        if known.phase == Phase::Starting {
            known.phase = Phase::Up;
        }
        self.tree.started(known.id, self.now);
        self.take();
    }

    pub(super) fn report_exited(&mut self, path: &str, exit: Exit) {
        let known = self.known.get_mut(path).unwrap();
        assert_ne!(known.phase, Phase::Down, "{path} is down already");
        known.rested = known.phase == Phase::Up && exit.is_normal();
        let by_itself = matches!(known.phase, Phase::Starting | Phase::Up);
        known.phase = Phase::Down;
        let (id, parent) = (known.id, known.parent.clone());
        if by_itself {
            known.fell = Some(self.now);
            self.known.get_mut(&parent).unwrap().falls.push(self.now);
        }
        self.tree.exited(id, exit, self.now);
        self.take();
    }

    /// A crash of a worker, given without the root, and what follows from it until all is calm.
    pub(super) fn crash(&mut self, name: &str) -> Vec<String> {
        self.exit(name, Exit::Error("boom".into()))
    }

    pub(super) fn exit(&mut self, name: &str, exit: Exit) -> Vec<String> {
        self.log.clear();
        self.report_exited(&format!("root/{name}"), exit);
        self.calm();
        std::mem::take(&mut self.log)
    }

    /// Answers all that was asked and lets time pass until nothing is under way any more.
    pub(super) fn calm(&mut self) {
        for _ in 0..100_000 {
            if self.answer() {
                continue;
            }
            match self.tree.next_wake() {
                Some(wake) if self.under_way() => self.pass(wake.saturating_duration_since(self.now)),
                _ => return self.check_calm(),
            }
        }
        panic!("it never becomes calm: {:#?}", self.known);
    }

    fn under_way(&self) -> bool {
        let state = |known: &Known| self.tree.view(known.id).unwrap().state;
        self.known.values().any(|known| !matches!(state(known), State::Running | State::Ended))
    }

    /// Answers one open request.
    fn answer(&mut self) -> bool {
        let open = |(path, known): &(&String, &Known)| match known.phase {
            Phase::Starting => true,
            Phase::Stopping { killed, .. } => killed || !self.stubborn.contains(*path),
            Phase::Up | Phase::Down => false,
        };
        let Some((path, known)) = self.known.iter().find(open) else { return false };
        let (path, phase) = (path.clone(), known.phase);
        match (phase, self.broken.get_mut(&path).filter(|times| **times > 0)) {
            (Phase::Starting, Some(times)) => {
                *times -= 1;
                self.report_exited(&path, Exit::Error("init failed".into()));
            }
            (Phase::Starting, None) => self.report_started(&path),
            (Phase::Stopping { killed: true, .. }, _) => self.report_exited(&path, Exit::Kill),
            _ => self.report_exited(&path, Exit::Shutdown),
        }
        true
    }

    /// Takes the tree's actions and holds them against the books.
    fn take(&mut self) {
        let actions: Vec<Action> = self.tree.actions().collect();
        self.read_history();
        self.check_timers();
        for action in actions {
            assert!(!self.stopped, "{action:?} after the end");
            let name = |id: &NodeId| self.ids[id].trim_start_matches("root/").to_owned();
            match &action {
                Action::Start(id) => self.take_start(*id),
                Action::Stop(id) => self.take_stop(*id, false),
                Action::Kill(id) => self.take_kill(*id),
                Action::Ready => self.log.push("ready".into()),
                Action::StartFailed { child, reason } => self.log.push(format!("start failed {}: {reason}", name(child))),
                Action::Added(id) => self.log.push(format!("added {}", name(id))),
                Action::AddFailed { child, .. } => self.log.push(format!("add failed {}", name(child))),
                Action::Rests(id) => self.take_rests(*id),
                Action::Removed(id) => self.take_removed(*id),
                Action::Stopped => {
                    self.stopped = true;
                    self.log.push("stopped".into());
                    assert!(self.known.values().all(|known| known.phase == Phase::Down), "stopped while workers run");
                }
            }
        }
    }

    /// No timer is left behind by what has ended otherwise.
    fn check_timers(&self) {
        for (at, id) in &self.tree.timers {
            let node = self.tree.nodes.get(*id).unwrap();
            let waits = self.tree.supervisor(*id).is_some_and(|supervisor| matches!(supervisor.task, Task::Waiting { .. }));
            let stops = node.is_worker() && node.state == State::Stopping;
            assert!(node.timer == Some(*at) && (waits || stops || node.state == State::Waiting(*at)), "{node:?}");
        }
    }

    fn take_start(&mut self, id: NodeId) {
        let path = self.ids[&id].clone();
        let known = self.known[&path].clone();
        assert_eq!(known.phase, Phase::Down, "{path} is started while it runs");
        assert!(known.restart != Restart::Temporary || known.starts == 0, "temporary {path} is started again");
        let parent = &self.known[&known.parent];
        assert_ne!(self.tree.view(parent.id).unwrap().state, State::Stopping, "{path} is started by a supervisor that stops");
        if parent.strategy != Strategy::OneForOne || (known.starts == 0 && !known.added) {
            for (earlier, sibling) in self.siblings(&known).filter(|(_, sibling)| sibling.order < known.order && !sibling.removing) {
                let up = match sibling.worker {
                    true => sibling.phase == Phase::Up || (sibling.restart == Restart::Transient && sibling.rested),
                    false => self.tree.view(sibling.id).unwrap().state == State::Running,
                };
                assert!(up, "{path} is started while {earlier} is not up: {sibling:?}");
            }
        }
        let known = self.known.get_mut(&path).unwrap();
        (known.phase, known.rested, known.resting) = (Phase::Starting, false, false);
        known.starts += 1;
        self.log.push(format!("start {}", path.trim_start_matches("root/")));
    }

    fn take_rests(&mut self, id: NodeId) {
        let path = self.ids[&id].clone();
        let known = self.known.get_mut(&path).unwrap();
        assert!(known.restart == Restart::Transient && known.rested && !known.resting, "{path} rests: {known:?}");
        known.resting = true;
    }

    fn take_stop(&mut self, id: NodeId, at_once: bool) {
        let path = self.ids[&id].clone();
        let known = self.known[&path].clone();
        assert!(matches!(known.phase, Phase::Starting | Phase::Up), "{path} is stopped but {:?}", known.phase);
        assert_eq!(known.shutdown.is_zero(), at_once);
        if !known.removing {
            for (later, _) in self.siblings(&known).filter(|(_, sibling)| sibling.order > known.order) {
                assert!(self.alive(later).is_empty(), "{path} is stopped before {later}, which was started after it");
            }
        }
        self.known.get_mut(&path).unwrap().phase = Phase::Stopping { asked: self.now, killed: at_once };
        self.log.push(format!("{} {}", if at_once { "kill" } else { "stop" }, path.trim_start_matches("root/")));
    }

    fn take_kill(&mut self, id: NodeId) {
        let path = self.ids[&id].clone();
        let known = self.known.get_mut(&path).unwrap();
        if known.shutdown.is_zero() {
            return self.take_stop(id, true);
        }
        let Phase::Stopping { asked, killed: false } = known.phase else { panic!("{path} is killed but {:?}", known.phase) };
        assert!(self.now >= asked + known.shutdown, "{path} is killed before its shutdown time is over");
        known.phase = Phase::Stopping { asked, killed: true };
        self.log.push(format!("kill {}", path.trim_start_matches("root/")));
    }

    fn take_removed(&mut self, id: NodeId) {
        let path = self.ids[&id].clone();
        assert!(self.alive(&path).is_empty(), "{path} is removed while it runs");
        assert!(self.tree.view(id).is_none() && self.tree.find(&path).is_none());
        self.known.remove(&path);
        self.log.push(format!("removed {}", path.trim_start_matches("root/")));
    }

    fn siblings(&self, known: &Known) -> impl Iterator<Item = (&String, &Known)> {
        let parent = known.parent.clone();
        self.known.iter().filter(move |(_, sibling)| sibling.parent == parent)
    }

    pub(super) fn alive(&self, path: &str) -> Vec<String> {
        alive(&self.known, path)
    }

    /// Reads the new events: no gap in their numbers, and no more restarts than a supervisor's intensity allows.
    fn read_history(&mut self) {
        let events: Vec<Event> = self.tree.history().since(self.read).cloned().collect();
        for event in events {
            assert_eq!(event.number, self.read);
            self.read += 1;
            let path = event.path.to_string();
            match event.what {
                Happening::Exited(_) if self.known.get(&path).is_some_and(|known| !known.worker) => {
                    let known = self.known.get_mut(&path).unwrap();
                    (known.fell, known.restarted, known.falls) = (Some(event.at), Vec::new(), Vec::new());
                    let parent = known.parent.clone();
                    self.known.get_mut(&parent).unwrap().falls.push(event.at);
                }
                Happening::Restarting { because } if *because == *event.path && path != "root" => self.check_intensity(&path),
                Happening::Escalated { because } => self.check_escalated(&path, &because, event.at),
                _ => {}
            }
        }
        assert_eq!(self.read, self.tree.history().next_number());
    }

    fn check_intensity(&mut self, path: &str) {
        let known = self.known.get_mut(path).unwrap();
        // Its fall may also have made its supervisor give up, which is no restart of its own.
        let Some(fell) = known.fell.take() else { return };
        let parent = known.parent.clone();
        let parent = self.known.get_mut(&parent).unwrap();
        parent.restarted.push(fell);
        let in_window = |end: &Instant| {
            let near = |time: &&Instant| **time <= *end && end.duration_since(**time) <= parent.intensity.window;
            parent.restarted.iter().filter(near).count()
        };
        let most = parent.restarted.iter().map(in_window).max().unwrap();
        assert!(most <= parent.intensity.max_restarts as usize, "{most} restarts of {:?}, the last of {path}", parent.intensity);
    }

    fn check_escalated(&mut self, path: &str, because: &str, at: Instant) {
        let known = self.known.get_mut(path).unwrap();
        assert!(because.starts_with(path));
        let recent = known.falls.iter().filter(|fall| at.duration_since(**fall) <= known.intensity.window).count();
        assert!(recent > known.intensity.max_restarts as usize, "{path} gave up after {recent} failures only: {:?}", known.intensity);
        (known.restarted, known.falls) = (Vec::new(), Vec::new());
        self.known.get_mut(because).unwrap().fell = None;
        self.escalated.insert(path.to_owned());
    }

    /// When nothing is under way, all that is to run runs.
    fn check_calm(&self) {
        for (path, known) in &self.known {
            let state = self.tree.view(known.id).unwrap().state;
            if self.stopped {
                assert_eq!((known.phase, state), (Phase::Down, State::Ended), "{path}");
            } else if !known.worker {
                assert_eq!(state, State::Running, "{path}");
            } else if known.restart == Restart::Transient && known.rested {
                assert_eq!((known.phase, state, known.resting), (Phase::Down, State::Ended, true), "{path}");
            } else {
                assert_eq!((known.phase, state), (Phase::Up, State::Running), "{path}");
            }
        }
    }
}
