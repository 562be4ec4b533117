//! What a restart costs does not depend on how many siblings there are.

use std::time::{Duration, Instant};

use super::super::*;
use super::world::{supervisor, worker};

/// A started tree of so many workers under one supervisor.
fn running(children: u32) -> (Tree<()>, Instant) {
    let workers = (0..children).map(|at| worker(&at.to_string())).collect();
    let mut tree = Tree::new(supervisor("root", Strategy::OneForOne, 3, workers), 0).unwrap();
    let now = Instant::now();
    tree.start(now);
    while let Some(Action::Start(worker)) = { tree.actions().next() } {
        tree.started(worker, now);
    }
    (tree, now)
}

/// The best of several runs of 1000 crashes with their restarts.
fn restarts(children: u32) -> Duration {
    let (mut tree, mut now) = running(children);
    let workers: Vec<NodeId> = tree.children(tree.root(), None).map(|view| view.id).collect();
    let run = |tree: &mut Tree<()>, now: &mut Instant| {
        let begin = Instant::now();
        for at in 0..1000 {
            let worker = workers[at * 7919 % workers.len()];
            *now += Duration::from_secs(61);
            tree.exited(worker, Exit::Kill, *now);
            assert_eq!(tree.actions().collect::<Vec<_>>(), [Action::Start(worker)]);
            tree.started(worker, *now);
        }
        begin.elapsed()
    };
    (0..7).map(|_| run(&mut tree, &mut now)).min().unwrap()
}

#[test]
fn a_restart_costs_the_same_with_a_hundred_thousand_siblings() {
    let (few, many) = (restarts(1_000), restarts(100_000));
    // A hundred times as many would take a hundred times as long; memory that is farther away takes a few times as long.
    assert!(many < few * 20, "1000 restarts took {few:?} with 1000 children and {many:?} with 100000");
}
