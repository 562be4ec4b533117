//! Random trees under random failures: the driver's books hold whatever happens, and a failure in a calm tree has exactly the consequences
//! that a naive reading of the rules gives.

use std::collections::BTreeSet;
use std::time::Duration;

use proptest::prelude::{Just, ProptestConfig, any, prop, prop_assert, prop_assert_eq, prop_oneof, proptest};
use proptest::strategy::Strategy as Generator;

use super::super::{Error, Exit, Intensity, Plan, Restart, Strategy};
use super::world::{Books, Known, Phase, World, alive, workers};

#[derive(Clone, Debug)]
enum Op {
    Start(usize, bool),
    Exit(usize, Exit),
    Pass(u64),
    Calm,
    CalmExit(usize, Exit),
    Add(usize, Plan<()>),
    Remove(usize),
    Stop,
}

fn restart() -> impl Generator<Value = Restart> {
    prop_oneof![4 => Just(Restart::Permanent), 2 => Just(Restart::Transient), 1 => Just(Restart::Temporary)]
}

fn leaf() -> impl Generator<Value = Plan<()>> {
    let shutdown = prop_oneof![Just(0), Just(1), Just(5)].prop_map(Duration::from_secs);
    (restart(), shutdown).prop_map(|(restart, shutdown)| Plan::Worker { name: String::new(), item: (), restart, shutdown })
}

fn inner(child: impl Generator<Value = Plan<()>>) -> impl Generator<Value = Plan<()>> {
    let strategy = prop_oneof![Just(Strategy::OneForOne), Just(Strategy::RestForOne), Just(Strategy::OneForAll)];
    let intensity = (0..4_u32, 1..60_u64);
    (strategy, intensity, restart(), prop::collection::vec(child, 0..5)).prop_map(
        |(strategy, (max_restarts, window), restart, children)| {
            let intensity = Intensity { max_restarts, window: Duration::from_secs(window) };
            Plan::Supervisor { name: String::new(), strategy, intensity, restart, children }
        },
    )
}

fn plan() -> impl Generator<Value = Plan<()>> {
    leaf().prop_recursive(2, 12, 4, inner)
}

fn root() -> impl Generator<Value = Plan<()>> {
    inner(plan()).prop_map(|plan| named(plan, "root".into()))
}

/// Names of two digits, so that they sort as they start.
fn named(plan: Plan<()>, name: String) -> Plan<()> {
    match plan {
        Plan::Worker { item, restart, shutdown, .. } => Plan::Worker { name, item, restart, shutdown },
        Plan::Supervisor { strategy, intensity, restart, children, .. } => {
            let children = children.into_iter().enumerate().map(|(at, child)| named(child, format!("{at:02}"))).collect();
            Plan::Supervisor { name, strategy, intensity, restart, children }
        }
    }
}

fn exit() -> impl Generator<Value = Exit> {
    prop_oneof![3 => Just(Exit::Error("boom".into())), 1 => Just(Exit::Normal), 1 => Just(Exit::Kill), 1 => Just(Exit::Shutdown)]
}

fn op() -> impl Generator<Value = Op> {
    prop_oneof![
        12 => (any::<usize>(), prop::bool::weighted(0.9)).prop_map(|(at, well)| Op::Start(at, well)),
        6 => (any::<usize>(), exit()).prop_map(|(at, exit)| Op::Exit(at, exit)),
        3 => (0..20_000_u64).prop_map(Op::Pass),
        2 => Just(Op::Calm),
        4 => (any::<usize>(), exit()).prop_map(|(at, exit)| Op::CalmExit(at, exit)),
        1 => (any::<usize>(), plan()).prop_map(|(at, plan)| Op::Add(at, plan)),
        1 => any::<usize>().prop_map(Op::Remove),
    ]
}

fn ops() -> impl Generator<Value = Vec<Op>> {
    let stop = prop_oneof![1 => Just(vec![]), 1 => prop::collection::vec(op(), 0..5)];
    (prop::collection::vec(op(), 0..60), any::<bool>(), any::<bool>(), stop).prop_map(|(mut ops, begins_calm, stops, rest)| {
        if begins_calm {
            ops.insert(0, Op::Calm);
        }
        if stops {
            ops.push(Op::Stop);
            ops.extend(rest);
        }
        ops
    })
}

/// One of the paths that a test holds for.
fn pick(world: &World, at: usize, test: impl Fn(&Known) -> bool) -> Option<String> {
    let all: Vec<_> = world.known.iter().filter(|(_, known)| test(known)).map(|(path, _)| path.clone()).collect();
    all.get(at.checked_rem(all.len())?).cloned()
}

fn apply(world: &mut World, op: Op, names: &mut u32) {
    match op {
        Op::Start(at, well) => match pick(world, at, |known| known.phase == Phase::Starting) {
            Some(path) if well => world.report_started(&path),
            Some(path) => world.report_exited(&path, Exit::Error("init failed".into())),
            None => {}
        },
        Op::Exit(at, exit) => {
            if let Some(path) = pick(world, at, |known| known.phase != Phase::Down) {
                world.report_exited(&path, exit);
            }
        }
        Op::Pass(millis) => world.pass(Duration::from_millis(millis)),
        Op::Calm => world.calm(),
        Op::CalmExit(at, exit) => {
            world.calm();
            if let Some(path) = pick(world, at, |known| known.phase == Phase::Up) {
                calm_exit(world, &path, exit);
            }
        }
        Op::Add(at, plan) => {
            *names += 1;
            if let Some(path) = pick(world, at, |known| !known.worker) {
                match world.add(&path, named(plan, format!("added-{names:03}"))) {
                    Ok(_) | Err(Error::NotRunning(_)) => {}
                    Err(other) => panic!("{other}"),
                }
            }
        }
        Op::Remove(at) => {
            if let Some(path) = pick(world, at, |known| !known.parent.is_empty()) {
                world.remove(&path);
            }
        }
        Op::Stop => world.stop(),
    }
}

/// An exit in a calm tree, against what the rules say about it.
fn calm_exit(world: &mut World, path: &str, exit: Exit) {
    let before = world.known.clone();
    world.log.clear();
    world.escalated.clear();
    world.report_exited(path, exit.clone());
    world.calm();
    let (stops, starts) = consequences(&before, path, &exit, &world.escalated);
    let log = std::mem::take(&mut world.log);
    let of = |verbs: &[&str]| -> Vec<String> {
        let asked = log.iter().filter_map(|line| line.split_once(' '));
        asked.filter(|(verb, _)| verbs.contains(verb)).map(|(_, name)| format!("root/{name}")).collect()
    };
    assert_eq!(of(&["stop", "kill"]), stops, "what the exit of {path} takes down");
    assert_eq!(of(&["start"]), starts, "what is started after the exit of {path}");
}

/// Which workers are stopped and which are started when a worker of a calm tree ends, if these supervisors give up over it.
fn consequences(books: &Books, path: &str, exit: &Exit, escalated: &BTreeSet<String>) -> (Vec<String>, Vec<String>) {
    let mut stops: Vec<String> = Vec::new();
    let comes_back = |known: &Known| match known.restart {
        Restart::Permanent => true,
        Restart::Transient => !known.worker || !exit.is_normal(),
        Restart::Temporary => false,
    };
    let mut child = path.to_owned();
    loop {
        let known = &books[&child];
        if !comes_back(known) && child != "root" {
            return (stops, Vec::new());
        }
        let parent = if child == "root" { "root" } else { &known.parent };
        let whole = escalated.contains(parent);
        let in_group = |sibling: &Known| match books[parent].strategy {
            _ if whole => true,
            Strategy::OneForOne => sibling.order == known.order,
            Strategy::RestForOne => sibling.order >= known.order,
            Strategy::OneForAll => true,
        };
        let group: Vec<String> = workers(books, parent).into_iter().filter(|worker| in_group(child_of(books, parent, worker))).collect();
        let down: Vec<String> = stops.iter().cloned().chain([path.to_owned()]).collect();
        let up = alive(books, parent).into_iter().filter(|worker| group.contains(worker) && !down.contains(worker));
        stops.extend(up.collect::<Vec<_>>().into_iter().rev());
        if !whole || parent == "root" {
            return (stops, group.into_iter().filter(|worker| stays(books, parent, worker)).collect());
        }
        child = parent.to_owned();
    }
}

/// The child of a supervisor that a worker is or is beneath.
fn child_of<'a>(books: &'a Books, supervisor: &str, worker: &str) -> &'a Known {
    let mut known = &books[worker];
    while known.parent != supervisor {
        known = &books[&known.parent];
    }
    known
}

/// Whether nothing between a supervisor and a worker is temporary.
fn stays(books: &Books, supervisor: &str, worker: &str) -> bool {
    let mut known = &books[worker];
    while known.parent != supervisor && known.restart != Restart::Temporary {
        known = &books[&known.parent];
    }
    known.restart != Restart::Temporary
}

proptest! {
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases.max(2000), ..ProptestConfig::default() })]

    #[test]
    fn a_random_tree_keeps_every_rule_under_random_failures(root in root(), seed in any::<u64>(), ops in ops()) {
        let mut world = World::new(root, seed);
        let mut names = 0;
        world.start();
        for op in ops {
            apply(&mut world, op, &mut names);
        }
        world.calm();
        while let Some(wake) = world.tree.next_wake() {
            world.pass(wake.saturating_duration_since(world.now));
        }
        prop_assert_eq!(world.tree.degraded_until(), None);
        world.stop();
        world.calm();
        prop_assert!(world.stopped);
    }
}
