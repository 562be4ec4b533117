//! Each rule of supervision by name.

use std::time::Duration;

use super::super::*;
use super::world::{World, supervisor, worker, worker_with};
use Strategy::{OneForAll, OneForOne, RestForOne};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

fn abc(strategy: Strategy, max_restarts: u32) -> Plan<()> {
    supervisor("root", strategy, max_restarts, vec![worker("a"), worker("b"), worker("c")])
}

/// A pipeline of two between two workers; it gives up at the second failure within its window.
fn nested(strategy: Strategy, restart: Restart) -> Plan<()> {
    let mut pipeline = supervisor("p", OneForOne, 1, vec![worker("x"), worker("y")]);
    if let Plan::Supervisor { restart: kind, .. } = &mut pipeline {
        *kind = restart;
    }
    supervisor("root", strategy, 3, vec![worker("a"), pipeline, worker("z")])
}

fn error(reason: &str) -> Exit {
    Exit::Error(reason.into())
}

#[test]
fn one_for_one_restarts_the_failed_child_alone() {
    assert_eq!(World::up(abc(OneForOne, 3)).crash("b"), ["start b"]);
}

#[test]
fn rest_for_one_restarts_the_failed_child_and_those_started_after_it() {
    assert_eq!(World::up(abc(RestForOne, 3)).crash("b"), ["stop c", "start b", "start c"]);
}

#[test]
fn one_for_all_restarts_all_children() {
    assert_eq!(World::up(abc(OneForAll, 3)).crash("b"), ["stop c", "stop a", "start a", "start b", "start c"]);
}

#[test]
fn each_child_starts_only_after_the_one_before_is_up() {
    let mut world = World::new(nested(OneForOne, Restart::Permanent), 1);
    world.start();
    let mut expected = Vec::new();
    for name in ["a", "p/x", "p/y", "z"] {
        expected.push(format!("start {name}"));
        assert_eq!(world.log, expected);
        world.report_started(&format!("root/{name}"));
    }
    assert_eq!(world.log.pop().unwrap(), "ready");
}

/// A tree that ran before and is started again.
fn again(plan: Plan<()>, broken: &str, times: u32) -> World {
    let mut world = World::new(plan.clone(), 1);
    world.tree = Tree::new(plan, 1).unwrap().resumed();
    world.broken.insert(format!("root/{broken}"), times);
    world.start();
    world.calm();
    world
}

#[test]
fn a_tree_that_ran_before_goes_on_though_a_child_does_not_start_at_first() {
    let world = again(abc(OneForOne, 3), "b", 2);
    assert_eq!(world.log, ["start a", "start b", "start b", "start b", "start c", "ready"]);
    // Above its intensity it is degraded, and comes back as a whole.
    let world = again(nested(OneForOne, Restart::Permanent), "p/x", 8);
    assert!(world.escalated.contains("root") && world.tree.degraded_until().is_some());
    assert_eq!(world.log.last().unwrap(), "ready");
}

#[test]
fn a_tree_stops_in_reverse_start_order_one_after_the_other() {
    let mut world = World::up(nested(OneForOne, Restart::Permanent));
    world.stop();
    let mut expected = Vec::new();
    for name in ["z", "p/y", "p/x", "a"] {
        expected.push(format!("stop {name}"));
        assert_eq!(world.log, expected);
        world.report_exited(&format!("root/{name}"), Exit::Shutdown);
    }
    assert_eq!(world.log.pop().unwrap(), "stopped");
    assert_eq!(world.tree.next_wake(), None);
}

#[test]
fn a_permanent_child_is_restarted_also_after_a_normal_exit() {
    let mut world = World::up(abc(OneForOne, 3));
    assert_eq!(world.exit("a", Exit::Normal), ["start a"]);
    assert_eq!(world.exit("a", Exit::Shutdown), ["start a"]);
}

#[test]
fn a_transient_child_is_restarted_only_after_an_abnormal_exit() {
    let mut world = World::up(supervisor("root", OneForOne, 3, vec![worker_with("a", Restart::Transient), worker("b")]));
    assert_eq!(world.exit("a", error("boom")), ["start a"]);
    assert_eq!(world.exit("a", Exit::Kill), ["start a"]);
    assert!(world.exit("a", Exit::Normal).is_empty());
    let view = world.tree.view(world.known["root/a"].id).unwrap();
    assert_eq!((view.state, view.restarts), (State::Ended, 2));
}

#[test]
fn a_transient_child_that_had_ended_comes_back_with_its_group() {
    let mut world = World::up(supervisor("root", OneForAll, 3, vec![worker_with("a", Restart::Transient), worker("b")]));
    assert!(world.exit("a", Exit::Normal).is_empty());
    assert_eq!(world.crash("b"), ["start a", "start b"]);
}

#[test]
fn a_temporary_child_is_never_restarted_and_leaves_the_tree() {
    let mut world = World::up(supervisor("root", OneForOne, 3, vec![worker_with("a", Restart::Temporary), worker("b")]));
    let id = world.known["root/a"].id;
    assert_eq!(world.crash("a"), ["removed a"]);
    assert_eq!((world.tree.view(id), world.tree.find("root/a")), (None, None));
}

#[test]
fn a_temporary_child_leaves_the_tree_also_when_a_sibling_takes_it_down() {
    let mut world = World::up(supervisor("root", OneForAll, 3, vec![worker_with("a", Restart::Temporary), worker("b")]));
    assert_eq!(world.crash("b"), ["stop a", "removed a", "start b"]);
}

#[test]
fn a_supervisor_that_exceeds_its_intensity_stops_its_children_and_fails_as_a_child() {
    let mut world = World::up(nested(RestForOne, Restart::Permanent));
    assert_eq!(world.crash("p/x"), ["start p/x"]);
    assert_eq!(world.crash("p/x"), ["stop p/y", "stop z", "start p/x", "start p/y", "start z"]);
    assert_eq!(world.escalated.iter().collect::<Vec<_>>(), ["root/p"]);
    let exits = world.tree.history().iter().filter(|event| *event.path == *"root/p" && matches!(event.what, Happening::Exited(_)));
    let expected = "error: root/p/x: more than 1 restarts within 60s, the last exit: error: boom";
    assert_eq!(exits.map(|event| event.what.clone()).collect::<Vec<_>>(), [Happening::Exited(error(&expected[7..]))]);
    assert_eq!(error(&expected[7..]).to_string(), expected);
}

#[test]
fn a_restarted_supervisor_has_a_fresh_intensity() {
    let mut world = World::up(nested(OneForOne, Restart::Permanent));
    world.crash("p/x");
    world.crash("p/x");
    world.escalated.clear();
    assert_eq!(world.crash("p/y"), ["start p/y"]);
    assert!(world.escalated.is_empty());
}

#[test]
fn a_transient_supervisor_that_gave_up_comes_back() {
    let mut world = World::up(nested(OneForOne, Restart::Transient));
    world.crash("p/x");
    assert_eq!(world.crash("p/x"), ["stop p/y", "start p/x", "start p/y"]);
}

#[test]
fn a_temporary_supervisor_that_gave_up_leaves_with_its_children() {
    let mut world = World::up(nested(OneForOne, Restart::Temporary));
    world.crash("p/x");
    assert_eq!(world.crash("p/x"), ["stop p/y", "removed p", "removed p/x", "removed p/y"]);
}

#[test]
fn the_intensity_counts_only_the_window() {
    let mut world = World::up(abc(OneForOne, 1));
    for _ in 0..5 {
        assert_eq!(world.crash("a"), ["start a"]);
        world.pass(MINUTE + Duration::from_nanos(1));
    }
    world.crash("a");
    world.pass(MINUTE);
    world.crash("a");
    assert_eq!(world.escalated.len(), 1);
}

#[test]
fn a_failure_on_every_level_reaches_the_root_through_the_deepest_tree() {
    let mut plan = worker("w");
    for _ in 0..MAX_DEPTH - 2 {
        plan = supervisor("s", OneForOne, 0, vec![plan]);
    }
    let mut world = World::up(supervisor("root", OneForOne, 0, vec![plan]));
    let path = "s/".repeat(MAX_DEPTH - 2) + "w";
    assert_eq!(world.crash(&path), [format!("start {path}")]);
    assert_eq!(world.escalated.len(), MAX_DEPTH - 1);
}

#[test]
fn when_the_root_gives_up_the_whole_tree_restarts_and_is_degraded() {
    let mut world = World::up(abc(OneForOne, 0));
    let failed = world.now;
    assert_eq!(world.tree.degraded_until(), None);
    assert_eq!(world.crash("b"), ["stop c", "stop a", "start a", "start b", "start c"]);
    assert!((SECOND.mul_f64(0.8)..=SECOND).contains(&(world.now - failed)));
    assert_eq!(world.tree.degraded_until(), Some(world.now + MINUTE));
    world.pass(MINUTE);
    assert_eq!((world.tree.degraded_until(), world.tree.next_wake()), (None, None));
    assert_eq!(world.tree.history().iter().next_back().unwrap().what, Happening::Recovered);
}

#[test]
fn a_tree_is_degraded_until_it_has_been_up_for_a_full_window() {
    let mut world = World::up(abc(OneForAll, 0));
    world.report_exited("root/a", error("boom"));
    world.report_exited("root/c", Exit::Shutdown);
    world.report_exited("root/b", Exit::Shutdown);
    let wait = world.tree.history().iter().find_map(|event| if let Happening::Degraded(wait) = event.what { Some(wait) } else { None });
    assert_eq!(world.tree.degraded_until(), Some(world.now + wait.unwrap() + MINUTE));
    world.pass(SECOND);
    world.pass(MINUTE);
    assert_eq!(world.tree.degraded_until(), Some(world.now + MINUTE), "it is still starting");
    world.pass(MINUTE / 2);
    world.calm();
    assert_eq!(world.tree.degraded_until(), Some(world.now + MINUTE));
}

#[test]
fn a_failure_keeps_a_tree_degraded_for_another_window() {
    let mut world = World::up(abc(OneForOne, 1));
    world.crash("a");
    world.crash("a");
    world.pass(MINUTE - SECOND);
    let failed = world.now;
    world.crash("a");
    assert_eq!(world.tree.degraded_until(), Some(failed + MINUTE));
}

#[test]
fn the_root_waits_longer_each_time_and_begins_anew_after_a_quiet_window() {
    let mut world = World::up(abc(OneForOne, 0));
    let wait = |world: &mut World| {
        let failed = world.now;
        world.crash("a");
        (world.now - failed).as_secs_f64()
    };
    for expected in [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0] {
        let waited = wait(&mut world);
        assert!((expected * 0.8..=expected).contains(&waited), "{waited} s, not {expected} s");
    }
    world.pass(MINUTE);
    assert!(wait(&mut world) <= 1.0);
}

#[test]
fn the_first_restart_is_at_once_and_later_ones_wait_while_other_children_go_on() {
    let mut plan = abc(OneForOne, 100);
    if let Plan::Supervisor { intensity, .. } = &mut plan {
        intensity.window = 60 * MINUTE;
    }
    let mut world = World::up(plan);
    for expected in [0, 10, 20, 40, 80, 160, 320, 640, 1280, 2560, 5120, 10240, 20480, 30000, 30000] {
        let failed = world.now;
        world.exit("b", error("boom"));
        let (waited, longest) = (world.now - failed, Duration::from_millis(expected));
        assert!((longest.mul_f64(0.8)..=longest).contains(&waited), "{waited:?}, not {longest:?}");
    }
    world.log.clear();
    world.report_exited("root/b", error("boom"));
    assert!(matches!(world.tree.view(world.known["root/b"].id).unwrap().state, State::Waiting(_)));
    world.report_exited("root/a", error("boom"));
    assert_eq!(world.log, ["start a"]);
}

#[test]
fn a_group_waits_with_the_child_that_failed() {
    let mut world = World::up(abc(RestForOne, 5));
    world.crash("b");
    world.log.clear();
    world.report_exited("root/b", error("boom"));
    world.report_exited("root/c", Exit::Shutdown);
    assert_eq!(world.log, ["stop c"]);
    let until = world.tree.next_wake().unwrap();
    for name in ["root/b", "root/c"] {
        assert_eq!(world.tree.view(world.known[name].id).unwrap().state, State::Waiting(until));
    }
    world.pass(until - world.now);
    assert_eq!(world.log, ["stop c", "start b"]);
}

#[test]
fn a_child_that_does_not_stop_in_time_is_killed_and_awaited() {
    let mut world = World::up(abc(OneForOne, 3));
    world.stop();
    world.pass(5 * SECOND - Duration::from_millis(1));
    assert_eq!(world.log, ["stop c"]);
    world.pass(Duration::from_millis(1));
    world.pass(MINUTE);
    assert_eq!(world.log, ["stop c", "kill c"]);
    world.report_exited("root/c", Exit::Kill);
    assert_eq!(world.log, ["stop c", "kill c", "stop b"]);
}

#[test]
fn a_shutdown_time_of_zero_kills_at_once() {
    let quick = Plan::Worker { name: "a".into(), item: (), restart: Restart::Permanent, shutdown: Duration::ZERO };
    let mut world = World::up(supervisor("root", OneForOne, 3, vec![quick]));
    world.stop();
    assert_eq!(world.log, ["kill a"]);
}

#[test]
fn when_a_child_cannot_be_started_at_first_the_tree_stops_in_reverse_order() {
    let mut world = World::new(nested(OneForOne, Restart::Permanent), 1);
    world.broken.insert("root/p/y".into(), 1);
    world.start();
    world.calm();
    let log = ["start a", "start p/x", "start p/y", "start failed p/y: error: init failed", "stop p/x", "stop a", "stopped"];
    assert_eq!(world.log, log);
}

#[test]
fn a_child_whose_restart_fails_has_failed_again() {
    let mut world = World::up(abc(RestForOne, 3));
    world.broken.insert("root/b".into(), 1);
    assert_eq!(world.crash("a"), ["stop c", "stop b", "start a", "start b", "start b", "start c"]);
    world.broken.insert("root/b".into(), 1);
    world.crash("b");
    assert_eq!(world.escalated.len(), 1);
}

#[test]
fn an_exit_before_a_child_is_up_is_a_failed_start_whatever_its_reason() {
    let mut world = World::new(supervisor("root", OneForOne, 3, vec![worker_with("a", Restart::Transient)]), 1);
    world.start();
    world.report_exited("root/a", Exit::Normal);
    assert_eq!(world.log, ["start a", "start failed a: normal", "stopped"]);
}

#[test]
fn a_crash_of_a_child_that_is_to_be_stopped_anyway_is_no_further_failure() {
    let mut world = World::up(abc(OneForAll, 1));
    world.report_exited("root/b", error("boom"));
    world.report_exited("root/a", error("boom"));
    world.report_exited("root/c", error("boom"));
    world.calm();
    assert_eq!(world.log, ["stop c", "start a", "start b", "start c",]);
    assert!(world.escalated.is_empty());
}

#[test]
fn a_crash_outside_the_group_that_restarts_widens_the_group() {
    let mut world = World::up(abc(RestForOne, 2));
    world.report_exited("root/b", error("boom"));
    world.report_exited("root/a", error("boom"));
    world.calm();
    assert_eq!(world.log, ["stop c", "start a", "start b", "start c"]);
    world.log.clear();
    assert!(world.escalated.is_empty());
    world.crash("c");
    assert_eq!(world.escalated.len(), 1, "both crashes have counted");
}

#[test]
fn a_wider_group_waits_as_long_as_the_one_within_it() {
    let mut world = World::up(abc(RestForOne, 5));
    world.crash("c");
    world.report_exited("root/c", error("boom"));
    let until = world.tree.next_wake().unwrap();
    world.log.clear();
    world.report_exited("root/a", error("boom"));
    world.report_exited("root/b", Exit::Shutdown);
    assert_eq!(world.log, ["stop b"]);
    world.pass(until - world.now);
    assert_eq!(world.log, ["stop b", "start a"]);
}

#[test]
fn a_crash_while_the_group_starts_again_begins_with_that_child() {
    let mut world = World::up(abc(RestForOne, 3));
    world.report_exited("root/a", error("boom"));
    world.report_exited("root/c", Exit::Shutdown);
    world.report_exited("root/b", Exit::Shutdown);
    world.report_started("root/a");
    world.report_started("root/b");
    world.report_exited("root/b", error("boom"));
    world.calm();
    assert_eq!(world.log, ["stop c", "stop b", "start a", "start b", "start c", "stop c", "start b", "start c"]);
}

#[test]
fn an_ordered_start_waits_for_a_sibling_that_failed_meanwhile() {
    let mut world = World::new(abc(OneForOne, 3), 1);
    world.start();
    world.report_started("root/a");
    world.report_exited("root/a", error("boom"));
    world.report_started("root/b");
    assert_eq!(world.log, ["start a", "start b", "start a"]);
    world.report_started("root/a");
    assert_eq!(world.log, ["start a", "start b", "start a", "start c"]);
}

#[test]
fn an_ordered_start_waits_for_a_supervisor_that_gives_up_meanwhile() {
    let mut world = World::new(nested(RestForOne, Restart::Permanent), 1);
    world.start();
    for name in ["root/a", "root/p/x", "root/p/y"] {
        world.report_started(name);
    }
    world.report_exited("root/p/x", error("boom"));
    world.report_started("root/p/x");
    world.report_exited("root/p/x", error("boom"));
    world.log.clear();
    world.report_started("root/z");
    assert!(world.log.is_empty(), "the tree is not ready: {:?}", world.log);
    world.calm();
    assert_eq!(world.log, ["stop z", "start p/x", "start p/y", "start z", "ready"]);
}

#[test]
fn a_restart_that_was_due_is_called_off_when_its_supervisor_stops() {
    let mut world = World::up(abc(OneForOne, 2));
    world.crash("a");
    world.report_exited("root/a", error("boom"));
    world.log.clear();
    world.report_exited("root/b", error("boom"));
    world.pass(SECOND / 2);
    assert_eq!(world.log, ["stop c"]);
}

#[test]
fn a_stop_ends_all_restarts() {
    let mut world = World::up(abc(OneForOne, 0));
    world.report_exited("root/a", error("boom"));
    world.report_exited("root/c", Exit::Shutdown);
    world.report_exited("root/b", Exit::Shutdown);
    assert!(matches!(world.tree.view(world.tree.root()).unwrap().state, State::Waiting(_)));
    world.stop();
    world.pass(MINUTE);
    assert_eq!(world.log, ["stop c", "stop b", "stopped"]);
}

#[test]
fn an_added_child_starts_last_and_stays_when_its_supervisor_is_restarted() {
    let mut world = World::up(nested(OneForOne, Restart::Permanent));
    world.add("root/p", worker("late")).unwrap();
    world.calm();
    assert_eq!(world.log, ["start p/late", "added p/late"]);
    world.crash("p/x");
    let starts = ["stop p/late", "stop p/y", "start p/x", "start p/y", "start p/late"];
    assert_eq!(world.crash("p/x"), starts);
}

#[test]
fn an_added_child_that_cannot_be_started_leaves_the_tree_and_nothing_else_happens() {
    let mut world = World::up(abc(OneForAll, 0));
    world.broken.insert("root/late/y".into(), 1);
    world.add("root", supervisor("late", OneForOne, 3, vec![worker("x"), worker("y")])).unwrap();
    world.calm();
    let log = ["start late/x", "start late/y", "add failed late", "stop late/x", "removed late", "removed late/x", "removed late/y"];
    assert_eq!(world.log, log);
    world.add("root", worker("late")).unwrap();
}

#[test]
fn a_child_is_added_only_where_it_can_be() {
    let mut world = World::up(abc(OneForOne, 0));
    assert_eq!(world.add("root", worker("a")), Err(Error::DuplicateName("root/a".into())));
    assert_eq!(world.add("root/a", worker("x")), Err(Error::NoSupervisor));
    assert_eq!(world.add("root", worker("x/y")), Err(Error::InvalidName("x/y".into())));
    world.report_exited("root/a", error("boom"));
    assert_eq!(world.add("root", worker("x")), Err(Error::NotRunning("root".into())));
}

#[test]
fn where_siblings_depend_on_each_other_added_children_start_one_after_the_other() {
    let mut world = World::up(abc(RestForOne, 3));
    world.add("root", worker("d")).unwrap();
    world.add("root", worker("e")).unwrap();
    assert_eq!(world.log, ["start d"]);
    world.report_started("root/d");
    assert_eq!(world.log, ["start d", "added d", "start e"]);
}

#[test]
fn a_removed_child_is_stopped_and_its_siblings_are_not() {
    let mut world = World::up(nested(OneForAll, Restart::Permanent));
    world.remove("root/p");
    world.calm();
    assert_eq!(world.log, ["stop p/y", "stop p/x", "removed p", "removed p/x", "removed p/y"]);
}

#[test]
fn the_id_of_a_removed_child_is_never_mistaken_for_a_later_one() {
    let mut world = World::up(abc(OneForOne, 3));
    let old = world.known["root/a"].id;
    world.remove("root/a");
    world.calm();
    let new = world.add("root", worker("a")).unwrap();
    assert_ne!(old, new);
    world.tree.started(old, world.now);
    world.tree.exited(old, error("late"), world.now);
    assert_eq!((world.tree.item(old), world.tree.item(new)), (None, Some(&())));
    assert_eq!(world.tree.view(new).unwrap().state, State::Starting);
}

#[test]
fn a_plan_that_breaks_the_rules_is_refused() {
    let refused = |plan| Tree::new(plan, 0).unwrap_err();
    assert_eq!(refused(worker("a")), Error::RootIsWorker);
    let twice = supervisor("root", OneForOne, 0, vec![worker("a"), worker("a")]);
    assert_eq!(refused(twice), Error::DuplicateName("root/a".into()));
    assert_eq!(refused(supervisor("root", OneForOne, 0, vec![worker("")])), Error::InvalidName(String::new()));
    let nested = |levels| (1..levels).fold(supervisor("s", OneForOne, 0, vec![]), |plan, _| supervisor("s", OneForOne, 0, vec![plan]));
    assert!(Tree::new(nested(MAX_DEPTH), 0).is_ok());
    assert_eq!(refused(nested(MAX_DEPTH + 1)), Error::TooDeep);
    assert_eq!(refused(nested(1_000_000)), Error::TooDeep);
    let mut world = World::up(nested(MAX_DEPTH));
    let deepest = world.tree.find(&format!("s{}", "/s".repeat(MAX_DEPTH - 1))).unwrap();
    assert_eq!(world.tree.add(deepest, worker("w"), world.now), Err(Error::TooDeep));
}

#[test]
fn the_history_is_bounded_and_numbers_its_events_without_a_gap() {
    let mut tree = Tree::new(abc(OneForOne, u32::MAX), 0).unwrap().with_history(10);
    let mut now = std::time::Instant::now();
    tree.start(now);
    for _ in 0..1000 {
        for action in tree.actions().collect::<Vec<_>>() {
            if let Action::Start(worker) = action {
                tree.started(worker, now);
                tree.exited(worker, Exit::Kill, now);
            }
        }
        now += MINUTE;
        tree.tick(now);
    }
    let history = tree.history();
    let numbers: Vec<u64> = history.iter().map(|event| event.number).collect();
    let next = history.next_number();
    assert_eq!(numbers, (next - 10..next).collect::<Vec<_>>());
    assert_eq!(history.since(next - 3).count(), 3);
    assert_eq!((history.since(0).count(), history.since(next).count(), history.since(u64::MAX).count()), (10, 0, 0));
}

#[test]
fn the_children_of_a_supervisor_are_seen_page_by_page() {
    let children = (0..10).map(|at| worker(&at.to_string())).collect();
    let mut world = World::up(supervisor("root", OneForOne, 3, children));
    let root = world.tree.root();
    let page = |world: &World, after| world.tree.children(root, after).take(4).collect::<Vec<View>>();
    let first = page(&world, None);
    assert_eq!(first.iter().map(View::name).collect::<Vec<_>>(), ["0", "1", "2", "3"]);
    world.remove("root/3");
    world.remove("root/5");
    world.calm();
    let second = page(&world, first.last().map(|view| view.position));
    assert_eq!(second.iter().map(View::name).collect::<Vec<_>>(), ["4", "6", "7", "8"]);
    assert_eq!(page(&world, second.last().map(|view| view.position)).len(), 1);
    assert!(matches!(world.tree.view(root).unwrap().kind, Kind::Supervisor { children: 8, .. }));
}

#[test]
fn the_same_seed_gives_the_same_delays() {
    let wakes = |seed| {
        let mut world = World::new(abc(OneForOne, 5), seed);
        world.start();
        world.calm();
        world.crash("a");
        world.report_exited("root/a", error("boom"));
        world.tree.next_wake().unwrap() - world.now
    };
    assert_eq!(wakes(1), wakes(1));
    assert_ne!(wakes(1), wakes(2));
}
