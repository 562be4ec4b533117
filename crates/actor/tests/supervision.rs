//! Guarantees of supervision. `docs/semantics.md` names these tests.
#![allow(missing_docs, clippy::unwrap_used)]

mod support;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use plexspaces_actor::supervision::{Intensity, Restart, Strategy};
use plexspaces_actor::{
    ActorFilter, Application, Child, ChildSpec, Config, Profile, Retention, Runtime, SupervisionEvent, SupervisorSpec, Target,
};
use plexspaces_store::{Memory, Partition, Range};
use plexspaces_types::{Code, Failure, Name};
use serde_json::{Value, json};
use support::{Lab, child, name};
use tokio::task::JoinHandle;

fn resident() -> Profile {
    Profile::default()
}

#[tokio::test]
async fn a_failure_costs_only_its_own_actor_its_state() {
    let lab = Lab::volatile().await;
    lab.ask("a", "add", json!({"by": 1})).await.unwrap();
    lab.ask("b", "add", json!({"by": 2})).await.unwrap();
    let failure = lab.ask("a", "crash", json!({})).await.unwrap_err();
    assert_eq!(failure.code, Code::HandlerFailed);
    assert!(!failure.message.contains("trace"), "{failure}");
    assert_eq!((lab.count("a").await, lab.count("b").await), (0, 2));
}

#[tokio::test]
async fn a_refused_message_costs_nothing() {
    let lab = Lab::volatile().await;
    lab.ask("a", "add", json!({"by": 1})).await.unwrap();
    let refused = lab.ask("a", "reject", json!({})).await.unwrap_err();
    assert_eq!((refused.code, refused.field.as_deref()), (Code::InvalidArgument, Some("by")));
    assert_eq!(lab.ask("a", "nonsense", json!({})).await.unwrap_err().code, Code::UnknownOperation);
    assert_eq!((lab.count("a").await, lab.made()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn an_actor_that_fails_again_and_again_comes_back_later_and_later() {
    let lab = Lab::volatile().await;
    let app = &lab.application;
    for _ in 0..3 {
        lab.ask("a", "crash", json!({})).await.unwrap_err();
    }
    assert!(!lab.runtime.is_degraded(&app.tenant, &app.namespace, &app.name));
    let mut refused = None;
    for _ in 0..20 {
        let failure = lab.ask("a", "crash", json!({})).await.unwrap_err();
        if failure.code == Code::Unavailable {
            refused = Some(failure);
            break;
        }
    }
    assert!(refused.unwrap().retry_after.unwrap() > Duration::from_secs(1));
    assert!(lab.runtime.is_degraded(&app.tenant, &app.namespace, &app.name));
    // Nobody else waits, and the application is well again when the window has passed without failure.
    assert_eq!(lab.ask("b", "add", json!({})).await, Ok(json!({"count": 1})));
    lab.clock.advance(60_000);
    assert!(!lab.runtime.is_degraded(&app.tenant, &app.namespace, &app.name));
}

#[tokio::test]
async fn children_start_with_their_application_and_know_who_they_are() {
    let mut profile = resident();
    profile.args.insert("colour".into(), json!("red"));
    let lab = Lab::with(Profile::default(), vec![child("alice", profile), child("bob", resident())]).await;
    assert_eq!((lab.runtime.actors(), lab.made()), (2, 2));
    let config = lab.ask("alice", "config", json!({})).await.unwrap();
    assert_eq!(config["args"], json!({"colour": "red", "role": "probe"}));
    assert_eq!((&config["application"], &config["name"]), (&json!("lab"), &json!("alice")));
    assert_eq!(lab.ask("bob", "config", json!({})).await.unwrap()["args"], json!({"role": "probe"}));
}

#[tokio::test(start_paused = true)]
async fn a_child_comes_back_without_a_message() {
    let lab = Lab::with(Profile::default(), vec![child("alice", resident())]).await;
    lab.ask("alice", "crash", json!({})).await.unwrap_err();
    while lab.made() < 2 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test]
async fn an_application_whose_child_cannot_start_is_not_deployed() {
    let lab = Lab::volatile().await;
    let factory = support::ProbeFactory::new("v1");
    factory.watch.fail_init.store(true, Ordering::SeqCst);
    let mut broken = support::application(factory, Profile::default(), vec![child("zoe", resident())]);
    broken.name = support::name("broken");
    broken.namespace = support::name("elsewhere");
    let failure = lab.runtime.deploy(&broken).await.unwrap_err();
    assert_eq!(failure.message, "child \"zoe\" did not start: init failed");
    let mut ctx = lab.ctx();
    ctx.namespace = broken.namespace.clone();
    let target = Target { name: "probe", key: None };
    let gone = lab.runtime.ask(&ctx, target, support::request("get", &json!({}), None)).await.unwrap_err();
    assert_eq!(gone.code, Code::NotFound);
}

/// A laboratory whose root has this strategy.
async fn tree(strategy: Strategy, children: Vec<Child>) -> Lab {
    let lab = Lab::volatile().await;
    let mut application = support::application(lab.factory.clone(), Profile::default(), Vec::new());
    application.supervisor.strategy = strategy;
    application.supervisor.children = children;
    lab.runtime.deploy(&application).await.unwrap();
    lab
}

fn actors(keys: &[&str]) -> Vec<Child> {
    keys.iter().map(|key| Child::Actor(child(key, Profile::default()))).collect()
}

async fn counts(lab: &Lab, keys: &[&str]) -> Vec<i64> {
    let mut counts = Vec::new();
    for key in keys {
        counts.push(lab.count(key).await);
    }
    counts
}

async fn mark(lab: &Lab, keys: &[&str]) {
    for key in keys {
        lab.ask(key, "add", json!({"by": 1})).await.unwrap();
    }
}

#[tokio::test]
async fn one_for_one_restarts_the_failed_child_only() {
    let lab = tree(Strategy::OneForOne, actors(&["a", "b", "c"])).await;
    mark(&lab, &["a", "b", "c"]).await;
    lab.ask("b", "crash", json!({})).await.unwrap_err();
    assert_eq!(counts(&lab, &["a", "b", "c"]).await, [1, 0, 1]);
}

#[tokio::test]
async fn rest_for_one_restarts_the_failed_child_and_those_after_it() {
    let lab = tree(Strategy::RestForOne, actors(&["a", "b", "c"])).await;
    mark(&lab, &["a", "b", "c"]).await;
    lab.ask("b", "crash", json!({})).await.unwrap_err();
    while lab.made() < 5 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(counts(&lab, &["a", "b", "c"]).await, [1, 0, 0]);
}

#[tokio::test]
async fn one_for_all_restarts_all_children() {
    let lab = tree(Strategy::OneForAll, actors(&["a", "b", "c"])).await;
    mark(&lab, &["a", "b", "c"]).await;
    lab.ask("b", "crash", json!({})).await.unwrap_err();
    while lab.made() < 6 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(counts(&lab, &["a", "b", "c"]).await, [0, 0, 0]);
}

#[tokio::test]
async fn messages_wait_while_their_actor_is_restarted() {
    let lab = tree(Strategy::OneForAll, actors(&["a", "b"])).await;
    lab.tell("a", "hold", json!({})).await.unwrap();
    lab.tell("a", "add", json!({})).await.unwrap();
    lab.ask("b", "crash", json!({})).await.unwrap_err();
    lab.factory.gate.add_permits(1);
    assert_eq!(lab.count("a").await, 1);
    assert_eq!(lab.made(), 4);
}

#[tokio::test]
async fn a_temporary_child_that_has_ended_is_gone_and_a_transient_one_comes_back_only_from_failure() {
    let with = |key: &str, restart| Child::Actor(ChildSpec { restart, ..child(key, Profile::default()) });
    let lab = tree(Strategy::OneForOne, vec![with("brief", Restart::Temporary), with("job", Restart::Transient)]).await;
    lab.ask("brief", "crash", json!({})).await.unwrap_err();
    let gone = ended(&lab, "brief").await;
    assert_eq!(gone.message, "the actor default/probe/brief has ended and its supervisor does not restart it");
    lab.ask("job", "crash", json!({})).await.unwrap_err();
    assert_eq!(lab.count("job").await, 0);
    assert_eq!(lab.ask("x", "stop", json!({"target": "job"})).await, Ok(json!(true)));
    let down = ended(&lab, "job").await;
    assert_eq!(down.message, "the actor default/probe/job has ended; its supervisor starts it again only together with others");
}

/// What asking a child says that has ended, once its supervisor knows of it.
async fn ended(lab: &Lab, key: &str) -> Failure {
    loop {
        match lab.ask(key, "get", json!({})).await {
            Err(failure) if failure.code == Code::NotFound => return failure,
            _ => tokio::task::yield_now().await,
        }
    }
}

/// Asks that wait in a child's mailbox while it is at work.
async fn waiting(lab: &Arc<Lab>, key: &'static str) -> [JoinHandle<Result<Value, Failure>>; 2] {
    lab.tell(key, "hold", json!({})).await.unwrap();
    let waiting = [(), ()].map(|()| {
        let lab = lab.clone();
        tokio::spawn(async move { lab.ask(key, "get", json!({})).await })
    });
    let tenant = Name::default_scope();
    let depth = || {
        let filter = ActorFilter { tenant: &tenant, namespace: None, actor_type: None };
        let actors = lab.runtime.list_actors(filter, None, 100).0;
        actors.iter().find(|actor| actor.id.key.as_str() == key).map_or(0, |actor| actor.mailbox_depth)
    };
    while depth() < 2 {
        tokio::task::yield_now().await;
    }
    waiting
}

#[tokio::test(start_paused = true)]
async fn who_asks_a_child_that_has_ended_is_told_at_once_and_so_is_who_waits_for_it() {
    let with = |key: &str, restart| Child::Actor(ChildSpec { restart, ..child(key, Profile::default()) });
    let children = [with("job", Restart::Transient), with("brief", Restart::Temporary), with("other", Restart::Permanent)];
    let lab = Arc::new(tree(Strategy::OneForAll, children.to_vec()).await);
    let began = tokio::time::Instant::now();
    let reference = lab.ask("other", "monitor", json!({"target": "job"})).await.unwrap();
    for key in ["job", "brief"] {
        let waiting = waiting(&lab, key).await;
        let target = Target { name: "probe", key: Some(key) };
        assert_eq!(lab.runtime.stop_actor(&lab.ctx(), target), Ok(true));
        lab.factory.gate.add_permits(1);
        for asked in waiting {
            assert_eq!(asked.await.unwrap().unwrap_err().code, Code::NotFound, "{key}");
        }
        assert_eq!(lab.ask(key, "get", json!({})).await.unwrap_err().code, Code::NotFound);
        assert_eq!(lab.tell(key, "add", json!({})).await.unwrap_err().code, Code::NotFound);
        assert_eq!(lab.runtime.stop_actor(&lab.ctx(), target), Ok(false));
    }
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    let nobody = lab.ask("other", "monitor", json!({"target": "job"})).await.unwrap();
    let heard = lab.heard("probe/other", 2).await;
    let reasons: Vec<_> = heard.iter().map(|heard| (&heard[1]["monitor_ref"], &heard[1]["down_reason"])).collect();
    assert_eq!(reasons, [(&reference, &json!("shutdown")), (&nobody, &json!("noproc"))]);
    // With its group it comes back, and messages wait for it as for any other; the temporary child stays away.
    lab.ask("other", "crash", json!({})).await.unwrap_err();
    while lab.ask("job", "add", json!({})).await != Ok(json!({"count": 1})) {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(lab.ask("brief", "get", json!({})).await.unwrap_err().code, Code::NotFound);
}

#[tokio::test]
async fn what_is_told_to_a_child_that_ends_is_a_dead_letter_where_nobody_waits() {
    let job = Child::Actor(ChildSpec { restart: Restart::Transient, ..child("job", Profile::default()) });
    let lab = Arc::new(tree(Strategy::OneForOne, vec![job]).await);
    let waiting = waiting(&lab, "job").await;
    lab.tell("job", "add", json!({})).await.unwrap();
    lab.runtime.stop_actor(&lab.ctx(), Target { name: "probe", key: Some("job") }).unwrap();
    lab.factory.gate.add_permits(1);
    for asked in waiting {
        assert_eq!(asked.await.unwrap().unwrap_err().code, Code::NotFound);
    }
    let letters = async || lab.runtime.dead_letters(&lab.ctx(), None, 10).await.unwrap().0;
    while letters().await.is_empty() {
        tokio::task::yield_now().await;
    }
    assert_eq!(letters().await[0].operation, "add");
}

#[tokio::test(start_paused = true)]
async fn an_application_of_an_earlier_start_comes_back_though_a_child_does_not_start_at_first() {
    let lab = Lab::volatile().await;
    let mut application = support::application(lab.factory.clone(), Profile::default(), Vec::new());
    application.supervisor.children = actors(&["a", "b"]);
    lab.factory.watch.fail_init.store(true, Ordering::SeqCst);
    lab.runtime.resume(&application).unwrap();
    while lab.made() < 2 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    lab.factory.watch.fail_init.store(false, Ordering::SeqCst);
    assert_eq!(counts(&lab, &["a", "b"]).await, [0, 0]);
}

#[tokio::test]
async fn a_child_whose_name_an_actor_of_a_removed_application_still_has_starts_when_that_has_ended() {
    let lab = Lab::volatile().await;
    lab.tell("a", "hold", json!({})).await.unwrap();
    while lab.factory.watch.handled.lock().unwrap().is_empty() {
        tokio::task::yield_now().await;
    }
    let app = &lab.application;
    lab.runtime.undeploy(&app.tenant, &app.namespace, &app.name).await.unwrap();
    let mut application = support::application(lab.factory.clone(), Profile::default(), Vec::new());
    application.supervisor.children = actors(&["a"]);
    let runtime = lab.runtime.clone();
    let deploying = tokio::spawn(async move { runtime.deploy(&application).await });
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert!(!deploying.is_finished());
    lab.factory.gate.add_permits(1);
    assert_eq!(tokio::time::timeout(Duration::from_secs(60), deploying).await.unwrap().unwrap(), Ok(()));
    assert_eq!(counts(&lab, &["a"]).await, [0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn applications_are_removed_and_deployed_again_and_again() {
    let lab = Lab::volatile().await;
    let mut application = support::application(lab.factory.clone(), Profile::default(), Vec::new());
    application.supervisor.children = actors(&["a", "b", "c"]);
    for round in 0..300 {
        let deployed = tokio::time::timeout(Duration::from_secs(60), lab.runtime.deploy(&application)).await;
        assert_eq!(deployed.unwrap_or_else(|_| panic!("round {round} was never deployed")), Ok(()));
        lab.runtime.undeploy(&application.tenant, &application.namespace, &application.name).await.unwrap();
    }
}

#[tokio::test]
async fn what_a_supervisor_was_about_to_do_when_its_application_was_replaced_is_not_done() {
    let lab = tree(Strategy::OneForAll, actors(&["a", "b"])).await;
    mark(&lab, &["b"]).await;
    let mut application = support::application(lab.factory.clone(), Profile::default(), Vec::new());
    application.supervisor.children = actors(&["a", "b"]);
    // The failure is known to the supervisor's queue, and not yet to the supervisor.
    lab.ask("a", "crash", json!({})).await.unwrap_err();
    assert_eq!(lab.runtime.deploy(&application).await, Ok(()));
    assert_eq!(counts(&lab, &["a", "b"]).await, [0, 1]);
}

#[tokio::test]
async fn a_nested_supervisor_that_gives_up_is_restarted_by_its_own() {
    let inner = SupervisorSpec {
        intensity: Intensity { max_restarts: 1, window: Duration::from_secs(60) },
        ..SupervisorSpec::new("inner", actors(&["a", "b"]))
    };
    let lab = tree(Strategy::OneForOne, [vec![Child::Supervisor(inner)], actors(&["c"])].concat()).await;
    mark(&lab, &["a", "b", "c"]).await;
    lab.ask("a", "crash", json!({})).await.unwrap_err();
    assert_eq!(counts(&lab, &["a", "b", "c"]).await, [0, 1, 1]);
    lab.ask("a", "crash", json!({})).await.unwrap_err();
    while lab.made() < 6 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(counts(&lab, &["a", "b", "c"]).await, [0, 0, 1]);
    let app = &lab.application;
    let events = lab.runtime.supervision_events((&app.tenant, &app.namespace, &app.name), 0, 1000).await.unwrap().0;
    assert!(events.iter().any(|event| event.what == "gave up: root/inner/a failed too often" && event.path == "root/inner"), "{events:?}");
}

#[tokio::test(start_paused = true)]
async fn a_root_that_gives_up_degrades_the_application_and_the_whole_tree_comes_back() {
    let lab = tree(Strategy::OneForOne, actors(&["a", "b"])).await;
    mark(&lab, &["a", "b"]).await;
    for _ in 0..4 {
        lab.ask("a", "crash", json!({})).await.unwrap_err();
    }
    let app = &lab.application;
    while !lab.runtime.is_degraded(&app.tenant, &app.namespace, &app.name) {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(counts(&lab, &["a", "b"]).await, [0, 0]);
}

#[tokio::test]
async fn an_application_of_the_same_name_elsewhere_is_not_degraded_with_it() {
    let lab = tree(Strategy::OneForOne, actors(&["a"])).await;
    let app = &lab.application;
    let elsewhere = [(name("other"), app.namespace.clone()), (app.tenant.clone(), name("other"))];
    for (tenant, namespace) in elsewhere.clone() {
        lab.runtime.deploy(&Application { tenant, namespace, ..app.clone() }).await.unwrap();
    }
    for _ in 0..4 {
        lab.ask("a", "crash", json!({})).await.unwrap_err();
    }
    while !lab.runtime.is_degraded(&app.tenant, &app.namespace, &app.name) {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    for (tenant, namespace) in &elsewhere {
        assert!(!lab.runtime.is_degraded(tenant, namespace, &app.name), "{tenant}/{namespace}");
    }
}

#[tokio::test]
async fn a_child_that_does_not_stop_in_its_time_is_killed() {
    let stubborn = Child::Actor(ChildSpec { shutdown: Duration::from_millis(20), ..child("stubborn", Profile::default()) });
    let lab = tree(Strategy::OneForAll, [vec![stubborn], actors(&["b"])].concat()).await;
    lab.tell("stubborn", "spin", json!({})).await.unwrap();
    while lab.factory.watch.handled.lock().unwrap().is_empty() {
        tokio::task::yield_now().await;
    }
    lab.ask("b", "crash", json!({})).await.unwrap_err();
    assert_eq!(counts(&lab, &["stubborn", "b"]).await, [0, 0]);
}

#[tokio::test]
async fn children_stop_in_reverse_order_when_their_application_is_undeployed() {
    let lab = tree(Strategy::OneForOne, actors(&["a", "b", "c"])).await;
    lab.tell("b", "hold", json!({})).await.unwrap();
    let app = lab.application.clone();
    let runtime = lab.runtime.clone();
    let undeploying = tokio::spawn(async move { runtime.undeploy(&app.tenant, &app.namespace, &app.name).await });
    // `c` has ended, `b` is at work, `a` waits for its turn to end.
    while lab.runtime.actors() > 2 {
        tokio::task::yield_now().await;
    }
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert_eq!((lab.runtime.actors(), undeploying.is_finished()), (2, false));
    lab.factory.gate.add_permits(1);
    undeploying.await.unwrap().unwrap();
    assert_eq!(lab.runtime.actors(), 0);
}

#[tokio::test]
async fn killing_one_in_a_hundred_of_many_children_restarts_those_only() {
    let keys: Vec<String> = (0..2_000).map(|number| format!("child-{number}")).collect();
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    let lab = Lab::volatile().await;
    let mut application = support::application(lab.factory.clone(), Profile::default(), Vec::new());
    application.supervisor.intensity.max_restarts = 1_000;
    application.supervisor.children = actors(&keys);
    lab.runtime.deploy(&application).await.unwrap();
    assert_eq!(lab.made(), 2_000);
    for key in keys.iter().step_by(100) {
        lab.ask(key, "crash", json!({})).await.unwrap_err();
    }
    for key in keys.iter().step_by(100) {
        lab.count(key).await;
    }
    assert_eq!(lab.made(), 2_020);
}

/// How often a child has ended since its application began, once it is up again.
async fn ends(lab: &Lab, key: &str) -> usize {
    lab.count(key).await;
    let app = &lab.application;
    let events = lab.runtime.supervision_events((&app.tenant, &app.namespace, &app.name), 0, 1000).await.unwrap().0;
    let path = format!("root/{key}");
    events.iter().filter(|event| event.path == path && event.what.starts_with("exited")).count()
}

#[tokio::test]
async fn a_supervisor_hears_of_one_end_once() {
    let lab = tree(Strategy::OneForOne, actors(&["killed", "stopped"])).await;
    lab.tell("killed", "hold", json!({})).await.unwrap();
    while lab.factory.watch.handled.lock().unwrap().is_empty() {
        tokio::task::yield_now().await;
    }
    assert_eq!(lab.runtime.kill_actor(&lab.ctx(), Target { name: "killed", key: None }), Ok(true));
    assert_eq!(ends(&lab, "killed").await, 1);
    // Its supervisor has not looked yet when it is to stop too.
    lab.ask("stopped", "crash", json!({})).await.unwrap_err();
    lab.runtime.stop_actor(&lab.ctx(), Target { name: "stopped", key: None }).unwrap();
    assert_eq!(ends(&lab, "stopped").await, 1);
    assert_eq!(lab.made(), 4);
}

#[tokio::test]
async fn a_child_that_is_killed_before_it_has_begun_does_not_begin() {
    let lab = Lab::volatile().await;
    let mut application = support::application(lab.factory.clone(), Profile::default(), Vec::new());
    application.supervisor.children = vec![Child::Actor(ChildSpec { shutdown: Duration::ZERO, ..child("a", Profile::default()) })];
    lab.runtime.resume(&application).unwrap();
    lab.runtime.undeploy(&application.tenant, &application.namespace, &application.name).await.unwrap();
    while lab.runtime.actors() > 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(lab.made(), 0);
}

async fn history(runtime: &Runtime, app: &Application, from: u64, limit: usize) -> (Vec<SupervisionEvent>, bool) {
    runtime.supervision_events((&app.tenant, &app.namespace, &app.name), from, limit).await.unwrap()
}

fn told(events: &[SupervisionEvent]) -> Vec<(u64, &str, &str)> {
    events.iter().map(|event| (event.number, event.path.as_str(), event.what.as_str())).collect()
}

#[tokio::test]
async fn a_history_outlives_its_node_and_goes_with_its_application() {
    let lab = tree(Strategy::OneForOne, actors(&["a", "b"])).await;
    let mut app = lab.application.clone();
    app.supervisor.children = actors(&["a", "b"]);
    lab.ask("b", "crash", json!({})).await.unwrap_err();
    lab.count("b").await;
    let before = history(&lab.runtime, &app, 0, 100).await.0;
    let expected = [
        (0, "root", "started"),
        (1, "root/b", "exited (error: boom)"),
        (2, "root/b", "restarting because of root/b"),
        (3, "root/b", "started"),
    ];
    assert_eq!(told(&before), expected);
    assert!(lab.runtime.shutdown(Duration::from_secs(60)).await);

    let runtime = Runtime::new(Config::new(name("node1"), lab.store.clone(), lab.clock.clone()));
    runtime.resume(&app).unwrap();
    let (first, more) = history(&runtime, &app, 0, 3).await;
    assert_eq!((told(&first).as_slice(), more), (&expected[..3], true));
    let (rest, more) = history(&runtime, &app, 3, 3).await;
    assert_eq!((told(&rest), more), (vec![expected[3], (4, "root", "started")], false));
    // Another application's is another one.
    let other = Application { name: name("other"), ..app.clone() };
    assert_eq!(history(&runtime, &other, 0, 4).await, (Vec::new(), false));

    runtime.undeploy(&app.tenant, &app.namespace, &app.name).await.unwrap();
    assert_eq!(history(&runtime, &app, 0, 100).await.0, []);
    let partition = Partition::namespace(&app.tenant, &app.namespace, "supervision/lab");
    assert!(lab.store.scan(&partition, Range::all(), 1).await.unwrap().entries.is_empty());
    runtime.deploy(&app).await.unwrap();
    assert_eq!(told(&history(&runtime, &app, 0, 100).await.0), [(0, "root", "started")]);
}

#[tokio::test(start_paused = true)]
async fn a_history_has_the_latest_events_and_none_that_is_too_old() {
    let store = Arc::new(Memory::new());
    let clock = plexspaces_types::Clock::manual(1_000_000);
    let kept = Retention { events: 4, age: Duration::from_secs(60) };
    let runtime = Runtime::new(Config { history: kept, ..Config::new(name("node1"), store.clone(), clock.clone()) });
    let factory = support::ProbeFactory::new("v1");
    let app = support::application(factory.clone(), Profile::default(), vec![child("a", resident())]);
    runtime.deploy(&app).await.unwrap();
    let lab = Lab { runtime, store, clock, factory, application: app };
    for _ in 0..3 {
        lab.ask("a", "crash", json!({})).await.unwrap_err();
        lab.count("a").await;
    }
    let events = history(&lab.runtime, &lab.application, 0, 100).await.0;
    let next = events[0].number + 4;
    assert!(next > 9 && events.last().unwrap().what == "started", "{events:?}");
    assert_eq!(events.iter().map(|event| event.number).collect::<Vec<_>>(), (next - 4..next).collect::<Vec<_>>(), "{events:?}");
    let stored = async || {
        let partition = Partition::namespace(&lab.application.tenant, &lab.application.namespace, "supervision/lab");
        lab.store.scan(&partition, Range::prefix(b"event/"), 100).await.unwrap().entries.len()
    };
    assert_eq!(stored().await, 4);
    lab.clock.advance(61_000);
    assert_eq!(history(&lab.runtime, &lab.application, 0, 100).await.0, []);
    lab.ask("a", "crash", json!({})).await.unwrap_err();
    lab.count("a").await;
    let events = history(&lab.runtime, &lab.application, 0, 100).await.0;
    assert!(!events.is_empty() && events.iter().all(|event| event.number >= next), "{events:?}");
    assert_eq!(stored().await, events.len());
}
