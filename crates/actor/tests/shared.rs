//! What actors get from services, whatever happens to them and to the node. `docs/semantics.md` names these tests.
#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

#[path = "support/scripts.rs"]
mod scripts;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use plexspaces_actor::supervision::Restart;
use plexspaces_actor::{Address, Application, Child, ChildSpec, FORGET, FacetSpec, Profile, Request, SupervisorSpec, TypeSpec};
use plexspaces_store::{Batch, Error, Memory, Partition, Range, Store as _};
use plexspaces_types::{ActorId, Clock, Failure, Key, Payload};
use scripts::{Before, Cut, Node, PATIENCE, Says, Scripts, application, ctx, name, until};
use serde_json::{Value, json};

fn step(service: &str, operation: &str, payload: Value) -> Value {
    json!({"do": "service", "service": service, "op": operation, "payload": payload})
}

fn picked(mut step: Value, field: &str) -> Value {
    step["pick"] = json!(field);
    step
}

fn named(mut step: Value, name: &str) -> Value {
    step["name"] = json!(name);
    step
}

/// Uses every kind of operation: with and without result, looking and changing, waiting.
fn program() -> Value {
    json!({"steps": [
        step("tuples", "write", json!({"tuple": ["out", 1]})),
        picked(step("tuples", "take", json!({"pattern": ["in", null]})), "tuple"),
        picked(step("tuples", "read", json!({"pattern": ["out", 1]})), "tuple"),
        named(step("channels", "send", json!({"payload": "m", "msg_id": "m1"})), "work"),
        picked(step("locks", "acquire", json!({"key": "door", "ttl_ms": 600_000})), "version"),
        picked(step("kv", "cas", json!({"key": "n", "expected": null, "value": "1"})), "swapped"),
        picked(step("tuples", "take", json!({"pattern": ["in", null], "timeout_ms": 5000})), "tuple"),
        picked(step("tuples", "count", json!({"pattern": ["in", null]})), "count"),
        step("tuples", "write", json!({"tuple": ["out", 2]})),
    ]})
}

#[tokio::test]
async fn what_a_durable_turn_does_to_services_happens_once_wherever_it_is_cut_off() {
    let result = json!([null, ["in", 1], ["out", 1], null, "1", true, ["in", 2], 1, null]);
    let mut commits = 0;
    for (cut_at, after) in (1..100).flat_map(|n| [(n, false), (n, true)]) {
        let disk = Arc::new(Memory::new());
        let before = Node::on(disk.clone()).await;
        for number in 1..=3 {
            before.service("tuples", "default", "write", json!({"tuple": ["in", number]})).await;
        }
        let store = Cut::new(&disk, cut_at, after);
        let first = Node::on(store.clone()).await;
        let in_time = store.answer(first.keyed("script/main", "run", program(), Some("once"))).await;
        let whole = !store.gone.load(Ordering::SeqCst);
        if whole {
            assert_eq!(in_time.unwrap(), Ok(result.clone()));
            commits = cut_at;
        }
        let second = Node::on(disk.clone()).await;
        let again = second.keyed("script/main", "run", program(), Some("once")).await;
        assert_eq!(again, Ok(result.clone()), "cut off at commit {cut_at}, after it: {after}");
        let count =
            async |first: &str| second.service("tuples", "default", "count", json!({"pattern": [first, null]})).await["count"].clone();
        // What leaves with the end of the turn may be on its way when the reply is there already.
        until("all is written", async || count("out").await == json!(2)).await;
        assert_eq!((count("in").await, count("out").await), (json!(1), json!(2)), "cut off at commit {cut_at}, after it: {after}");
        let status = second.service("channels", "work", "status", json!({})).await;
        assert_eq!(status["ready"], json!(1), "cut off at commit {cut_at}, after it: {after}");
        assert_eq!(second.service("locks", "default", "get", json!({"key": "door"})).await["lock"]["version"], json!("1"));
        if whole {
            break;
        }
    }
    assert!(commits > 10, "only {commits} commits");
}

#[tokio::test]
async fn what_a_turn_that_fails_has_posted_is_not_there() {
    let node = Node::on(Arc::new(Memory::new())).await;
    let steps = json!({"steps": [
        step("tuples", "write", json!({"tuple": ["x"]})),
        step("tuples", "write", json!({"tuple": "no tuple"})),
    ]});
    node.ask("script/main", "run", steps).await.unwrap_err();
    assert_eq!(node.service("tuples", "default", "count", json!({"pattern": ["x"]})).await["count"], json!(0));
}

#[tokio::test]
async fn an_actor_that_is_not_durable_shares_at_once() {
    let node = Node::with(Arc::new(Memory::new()), Profile::default()).await;
    let steps = json!({"steps": [
        step("tuples", "write", json!({"tuple": ["x", 1]})),
        picked(step("tuples", "take", json!({"pattern": ["x", null]})), "tuple"),
        picked(step("tuples", "take", json!({"pattern": ["x", null]})), "tuple"),
    ]});
    assert_eq!(node.ask("script/main", "run", steps).await, Ok(json!([null, ["x", 1], null])));
}

#[tokio::test]
async fn services_of_two_namespaces_know_nothing_of_each_other() {
    let node = Node::on(Arc::new(Memory::new())).await;
    node.service("tuples", "default", "write", json!({"tuple": ["secret"]})).await;
    for (tenant, namespace) in [("other", "default"), ("default", "other")] {
        let mut elsewhere = ctx();
        (elsewhere.tenant, elsewhere.namespace) = (name(tenant), name(namespace));
        let request = plexspaces_actor::Request {
            operation: "count".into(),
            payload: plexspaces_types::Payload::from_value(&json!({"pattern": ["secret"]})),
            idempotency_key: None,
        };
        let reply = node.runtime.ask_service(&elsewhere, "tuples", "default", request).await.unwrap();
        assert_eq!(serde_json::from_slice::<Value>(&reply).unwrap(), json!({"count": 0}), "{tenant}/{namespace}");
    }
}

#[tokio::test]
async fn no_guest_reaches_a_service_as_an_actor() {
    let node = Node::on(Arc::new(Memory::new())).await;
    let steps = json!({"steps": [{"do": "ask", "target": "plexspaces.tuples/default", "op": "take", "payload": {"pattern": ["x"]}}]});
    let failure = node.ask("script/main", "run", steps).await.unwrap_err();
    assert_eq!(failure.code.name(), "not_found", "{failure}");
    let steps = json!({"steps": [step("nothing", "take", json!({}))]});
    assert_eq!(node.ask("script/main", "run", steps).await.unwrap_err().code.name(), "not_found");
    // Nor by a name that it gives to one.
    let register = json!({"name": "back-door", "target": "default/plexspaces.tuples/default"});
    node.service("registry", "default", "register", register).await;
    let steps = json!({"steps": [{"do": "ask", "target": "back-door", "op": "take", "payload": {"pattern": ["x"]}}]});
    assert_eq!(node.ask("script/main", "run", steps).await.unwrap_err().code.name(), "not_found");
    let join = step("groups", "join", json!({"group": "g", "actor": "default/plexspaces.tuples/default"}));
    node.ask("script/main", "run", json!({"steps": [join]})).await.unwrap();
    assert_eq!(members(&node).await, json!([]));
    let steps = json!({"steps": [named(step("tuples", "count", json!({"pattern": ["x"]})), "other")]});
    assert_eq!(node.ask("script/main", "run", steps).await.unwrap_err().field.as_deref(), Some("name"), "a namespace has one");
}

#[tokio::test]
async fn a_post_that_the_service_refuses_is_a_dead_letter() {
    let node = Node::on(Arc::new(Memory::new())).await;
    node.service("channels", "work", "send", json!({"payload": 1, "msg_id": "m1"})).await;
    let ack = named(step("channels", "ack", json!({"msg_id": "m1"})), "work");
    node.ask("script/main", "run", json!({"steps": [ack]})).await.unwrap();
    until("there is a dead letter", async || !node.runtime.dead_letters(&ctx(), None, 10).await.unwrap().0.is_empty()).await;
    let (letters, _) = node.runtime.dead_letters(&ctx(), None, 10).await.unwrap();
    assert_eq!((letters[0].operation.as_str(), letters[0].code.as_str()), ("ack", "conflict"));
    assert_eq!(node.service("channels", "work", "status", json!({})).await["ready"], json!(1));
}

/// Refuses the first commits of services and of dead letters.
struct Stubborn {
    refusals: AtomicUsize,
}

#[async_trait]
impl Says for Stubborn {
    async fn to(&self, batch: &Batch) -> Result<(), Error> {
        let partition = String::from_utf8_lossy(batch.partition.as_bytes());
        let is_meant = partition.contains("plexspaces.") || partition.contains("dead-letters");
        let refuses = |left: usize| left.checked_sub(1).filter(|_| is_meant);
        match self.refusals.fetch_update(Ordering::SeqCst, Ordering::SeqCst, refuses) {
            Ok(_) => Err(Error::Unavailable("not now".to_owned())),
            Err(_) => Ok(()),
        }
    }
}

fn stubborn(refusals: usize) -> Arc<Before<Stubborn>> {
    Before::new(Arc::new(Memory::new()), Stubborn { refusals: AtomicUsize::new(refusals) })
}

#[tokio::test]
async fn a_post_that_the_store_does_not_take_is_tried_again() {
    let store = stubborn(2);
    let node = Node::on(store.clone()).await;
    let write = |number: u32| step("tuples", "write", json!({"tuple": ["x", number]}));
    node.ask("script/main", "run", json!({"steps": [write(1), write(2), write(3)]})).await.unwrap();
    until("the store takes commits again", async || store.says.refusals.load(Ordering::SeqCst) == 0).await;
    let all = async || node.service("tuples", "default", "read_all", json!({"pattern": ["x", null]})).await["tuples"].clone();
    until("all are there in their order", async || all().await == json!([["x", 1], ["x", 2], ["x", 3]])).await;
}

#[tokio::test]
async fn a_post_waits_for_a_store_that_can_keep_no_dead_letter_either() {
    let store = stubborn(6);
    let node = Node::on(store.clone()).await;
    let write = |number: u32| json!({"steps": [step("tuples", "write", json!({"tuple": ["x", number]}))]});
    for number in 1..=3 {
        node.ask("script/main", "run", write(number)).await.unwrap();
    }
    let all = async || {
        let request =
            Request { operation: "read_all".into(), payload: Payload::from_value(&json!({"pattern": ["x", null]})), idempotency_key: None };
        // A request is told that the store is away, and does not wait.
        let reply = node.runtime.ask_service(&ctx(), "tuples", "default", request).await;
        reply.map_or(Value::Null, |reply| serde_json::from_slice::<Value>(&reply).unwrap()["tuples"].clone())
    };
    until("all are there in their order", async || all().await == json!([["x", 1], ["x", 2], ["x", 3]])).await;
    assert!(node.runtime.dead_letters(&ctx(), None, 10).await.unwrap().0.is_empty());
}

/// The keys of a service's rows that begin so.
async fn rows(disk: &Memory, service: &str, prefix: &[u8]) -> usize {
    let id = ActorId::parse(&ctx().tenant, &format!("default/plexspaces.{service}/default")).unwrap();
    let (partition, mut range, mut count) = (Partition::actor(&id), Range::prefix(prefix), 0);
    loop {
        let page = disk.scan(&partition, range.clone(), 1000).await.unwrap();
        count += page.entries.len();
        match page.entries.last() {
            Some((last, _)) if page.more => range = range.after(last),
            _ => return count,
        }
    }
}

#[tokio::test]
async fn a_service_forgets_actors_of_which_nothing_can_come_again() {
    const ACTORS: usize = 40;
    let (disk, clock) = (Arc::new(Memory::new()), Clock::manual(1_000_000));
    let node = Node::at(clock.clone(), disk.clone(), Profile { durable: true, ..Profile::default() }, None).await;
    let write = |number: usize| step("tuples", "write", json!({"tuple": ["x", number]}));
    let take = |number: usize| step("tuples", "take", json!({"pattern": ["x", number]}));
    for number in 0..ACTORS {
        let actor = format!("script/a{number}");
        node.ask(&actor, "run", json!({"steps": [write(number)]})).await.unwrap();
        node.ask(&actor, "run", json!({"steps": [take(number)]})).await.unwrap();
    }
    // The number of an actor's last message, and the last answer that it was given.
    assert_eq!((rows(&disk, "tuples", b"n/").await, rows(&disk, "tuples", b"q/").await), (ACTORS, ACTORS));
    clock.advance(600_000);
    let busy = json!({"steps": (0..100).map(|_| step("tuples", "write", json!({"tuple": ["busy"]}))).collect::<Vec<_>>()});
    until("only the one that is busy is known", async || {
        node.ask("script/busy", "run", busy.clone()).await.unwrap();
        rows(&disk, "tuples", b"n/").await == 1
    })
    .await;
    assert_eq!(rows(&disk, "tuples", b"q/").await, ACTORS);
    clock.advance(24 * 60 * 60 * 1000);
    until("no answer is known any more", async || {
        node.service("tuples", "default", "write", json!({"tuple": ["y"]})).await;
        rows(&disk, "tuples", b"q/").await == 0
    })
    .await;
    // What was sent has happened once, and goes on happening once.
    node.ask("script/a1", "run", json!({"steps": [write(1)]})).await.unwrap();
    let count = async || node.service("tuples", "default", "count", json!({"pattern": ["x", null]})).await["count"].clone();
    until("what it posts now is there", async || count().await == json!(1)).await;
    assert_eq!(rows(&disk, "tuples", b"n/").await, 2);
}

#[tokio::test]
async fn an_actor_that_ends_leaves_thousands_of_groups() {
    const GROUPS: usize = 10_100;
    let disk = Arc::new(Memory::new());
    let node = Node::on(disk.clone()).await;
    node.ask("script/a", "notes", json!({})).await.unwrap();
    for number in 0..GROUPS {
        let join = json!({"group": format!("g{number}"), "actor": "default/script/a"});
        node.service("groups", "default", "join", join).await;
    }
    assert_eq!(rows(&disk, "groups", b"xg").await, GROUPS);
    assert!(address(&node, "a").stop());
    until("it has left all", async || rows(&disk, "groups", b"xg").await == 0).await;
    assert_eq!(node.service("groups", "default", "list", json!({})).await["groups"], json!([]));
}

#[tokio::test]
async fn a_post_that_has_changed_nothing_does_not_come_again() {
    let disk = Arc::new(Memory::new());
    let node = Node::on(disk.clone()).await;
    let ack = named(step("channels", "ack", json!({"msg_id": "m"})), "work");
    node.ask("script/main", "run", json!({"steps": [ack]})).await.unwrap();
    assert_eq!(node.service("channels", "work", "status", json!({})).await["in_flight"], json!(0));
    // The next node does not know that it has arrived, and sends it again.
    let node = Node::on(disk).await;
    node.service("channels", "work", "send", json!({"payload": 1, "msg_id": "m"})).await;
    node.service("channels", "work", "receive", json!({"visibility_ms": 600_000})).await;
    node.ask("script/main", "notes", json!({})).await.unwrap();
    assert_eq!(node.service("channels", "work", "status", json!({})).await["in_flight"], json!(1));
}

#[tokio::test]
async fn what_a_durable_turn_has_read_of_a_blob_it_reads_again_wherever_it_is_cut_off() {
    let steps = json!({"steps": [
        {"do": "put_blob", "name": "b", "content": "written"},
        {"do": "get_blob", "name": "b"},
        {"do": "put_blob", "name": "b", "content": "written later"},
        step("tuples", "write", json!({"tuple": ["done"]})),
    ]});
    let result = json!([7, "written", 13, null]);
    for (cut_at, after) in (1..100).flat_map(|n| [(n, false), (n, true)]) {
        let (disk, directory) = (Arc::new(Memory::new()), tempfile::tempdir().unwrap());
        let profile = Profile { durable: true, ..Profile::default() };
        let store = Cut::new(&disk, cut_at, after);
        let first = Node::keeping(store.clone(), profile.clone(), Some(directory.path())).await;
        let in_time = store.answer(first.keyed("script/main", "run", steps.clone(), Some("once"))).await;
        let whole = !store.gone.load(Ordering::SeqCst);
        if whole {
            assert_eq!(in_time.unwrap(), Ok(result.clone()));
        }
        let second = Node::keeping(disk.clone(), profile, Some(directory.path())).await;
        let again = second.keyed("script/main", "run", steps.clone(), Some("once")).await;
        assert_eq!(again, Ok(result.clone()), "cut off at commit {cut_at}, after it: {after}");
        assert_eq!(second.runtime.blob(&ctx(), "b").await.unwrap().size, 13);
        if whole {
            return;
        }
    }
    panic!("the turn never came to its end");
}

#[tokio::test]
async fn a_node_ends_at_once_while_durable_turns_wait_and_they_go_on_in_the_next() {
    let disk = Arc::new(Memory::new());
    let node = Arc::new(Node::on(disk.clone()).await);
    let take = json!({"steps": [picked(step("tuples", "take", json!({"pattern": ["late"], "timeout_ms": 600_000})), "tuple")]});
    let sleep = json!({"steps": [{"do": "sleep", "ms": 2000}, {"do": "note", "payload": "slept"}]});
    for (target, operation, steps) in [("script/taker", "run", take.clone()), ("flow/sleeper", "workflow_run", sleep)] {
        let node = node.clone();
        tokio::spawn(async move { node.keyed(target, operation, steps, Some("once")).await });
    }
    until("it is so", async || node.handled.lock().unwrap().len() == 2).await;
    tokio::time::sleep(Duration::from_millis(20)).await;
    let began = std::time::Instant::now();
    assert!(node.runtime.shutdown(2 * PATIENCE).await);
    assert!(began.elapsed() < PATIENCE, "{:?}", began.elapsed());
    let node = Node::on(disk).await;
    node.service("tuples", "default", "write", json!({"tuple": ["late"]})).await;
    node.notes("flow/sleeper", &json!(["slept"])).await;
    assert_eq!(node.keyed("script/taker", "run", take, Some("once")).await, Ok(json!([["late"]])), "it heard nothing of the node's end");
}

async fn members(node: &Node) -> Value {
    node.service("groups", "default", "members", json!({"group": "g"})).await["members"].clone()
}

fn address(node: &Node, key: &str) -> Address {
    let scope = ctx();
    node.runtime.address_of(&ActorId::new(scope.tenant, scope.namespace, name("script"), Key::new(key).unwrap())).unwrap()
}

#[tokio::test]
async fn members_hear_what_is_published_in_the_order_of_joining_and_leave_when_they_end() {
    let node = Node::on(Arc::new(Memory::new())).await;
    for key in ["a", "b", "c"] {
        node.ask(&format!("script/{key}"), "run", json!({"steps": [step("groups", "join", json!({"group": "g"}))]})).await.unwrap();
    }
    let joined = json!(["default/script/a", "default/script/b", "default/script/c"]);
    until("it is so", async || members(&node).await == joined).await;
    node.service("groups", "default", "publish", json!({"group": "g", "operation": "note", "payload": 7})).await;
    for key in ["a", "b", "c"] {
        node.notes(&format!("script/{key}"), &json!([7])).await;
    }
    assert!(address(&node, "b").stop());
    until("it is so", async || members(&node).await == json!(["default/script/a", "default/script/c"])).await;
    node.ask("script/a", "run", json!({"steps": [step("groups", "leave", json!({"group": "g"}))]})).await.unwrap();
    until("it is so", async || members(&node).await == json!(["default/script/c"])).await;
}

#[tokio::test]
async fn a_membership_outlives_the_node() {
    let disk = Arc::new(Memory::new());
    let node = Node::on(disk.clone()).await;
    node.ask("script/a", "run", json!({"steps": [step("groups", "join", json!({"group": "g"}))]})).await.unwrap();
    until("it is so", async || members(&node).await == json!(["default/script/a"])).await;
    let node = Node::on(disk).await;
    assert_eq!(members(&node).await, json!(["default/script/a"]));
    node.service("groups", "default", "publish", json!({"group": "g", "operation": "note", "payload": 1})).await;
    node.notes("script/a", &json!([1])).await;
    assert!(address(&node, "a").stop());
    until("it is so", async || members(&node).await == json!([])).await;
}

fn join() -> Value {
    json!({"steps": [step("groups", "join", json!({"group": "g"}))]})
}

#[tokio::test]
async fn a_member_that_fails_and_comes_back_is_a_member_still() {
    let node = Node::on(Arc::new(Memory::new())).await;
    let children = [("steady", Restart::Permanent), ("once", Restart::Temporary)];
    let children = children.map(|(key, restart)| {
        let profile = Profile { durable: restart == Restart::Permanent, ..Profile::default() };
        let (key, shutdown) = (Key::new(key).unwrap(), Duration::from_secs(5));
        Child::Actor(ChildSpec { key, actor_type: name("child"), aliases: Vec::new(), profile, restart, shutdown })
    });
    let kind = TypeSpec { name: name("child"), guest_type: "script".into(), aliases: Vec::new(), profile: Profile::default() };
    let tree = Application {
        name: name("tree"),
        types: vec![kind],
        supervisor: SupervisorSpec::new("root", children.to_vec()),
        ..application(Scripts::new(1), Vec::new(), &Profile::default())
    };
    node.runtime.deploy(&tree).await.unwrap();
    let all = ["default/script/virtual", "default/child/steady", "default/child/once"];
    for member in all {
        node.ask(member.strip_prefix("default/").unwrap(), "run", join()).await.unwrap();
    }
    until("all are members", async || members(&node).await == json!(all)).await;
    for member in all {
        node.ask(member.strip_prefix("default/").unwrap(), "run", json!({"steps": [{"do": "fail"}]})).await.unwrap_err();
    }
    until("the temporary child has left", async || members(&node).await == json!(all[..2])).await;
    node.service("groups", "default", "publish", json!({"group": "g", "operation": "note", "payload": 7})).await;
    node.notes("script/virtual", &json!([7])).await;
    node.notes("child/steady", &json!([7])).await;
    node.runtime.undeploy(&name("default"), &name("default"), &name("tree")).await.unwrap();
    until("who is not there is no member", async || members(&node).await == json!(all[..1])).await;
}

#[tokio::test]
async fn a_tuple_is_told_to_those_who_have_subscribed_to_its_kind() {
    let node = Node::on(Arc::new(Memory::new())).await;
    let steps = json!({"steps": [picked(step("tuples", "subscribe", json!({"pattern": ["news", null]})), "subscription")]});
    let subscription = node.ask("script/reader", "run", steps.clone()).await.unwrap()[0].clone();
    assert_eq!(node.ask("script/reader", "run", steps).await.unwrap()[0], subscription, "who subscribes again has subscribed once");
    node.service("tuples", "default", "write", json!({"tuple": ["news", 1]})).await;
    node.service("tuples", "default", "write", json!({"tuple": ["other", 1]})).await;
    node.service("tuples", "default", "write", json!({"tuple": ["news", 2]})).await;
    let told = |number: u64| json!({"tuple": ["news", number], "subscription": subscription});
    node.notes("script/reader", &json!([told(1), told(2)])).await;
}

/// Removes the application of all scripts.
async fn undeploy(node: &Node) -> Result<(), Failure> {
    node.runtime.undeploy(&ctx().tenant, &ctx().namespace, &name("lab")).await
}

#[tokio::test]
async fn a_subscription_to_tuples_outlives_the_node_and_ends_when_it_is_given_up() {
    let disk = Arc::new(Memory::new());
    let node = Node::on(disk.clone()).await;
    let subscribe = json!({"steps": [picked(step("tuples", "subscribe", json!({"pattern": ["news", null]})), "subscription")]});
    let subscription = node.ask("script/reader", "run", subscribe.clone()).await.unwrap()[0].clone();
    let told = |number: u64| json!({"tuple": ["news", number], "subscription": subscription});
    let write = async |node: &Node, number: u64| drop(node.service("tuples", "default", "write", json!({"tuple": ["news", number]})).await);
    write(&node, 1).await;
    node.notes("script/reader", &json!([told(1)])).await;
    assert!(node.runtime.shutdown(PATIENCE).await);

    let node = Node::on(disk.clone()).await;
    write(&node, 2).await;
    node.notes("script/reader", &json!([told(1), told(2)])).await;
    let give_up = json!({"steps": [step("tuples", "unsubscribe", json!({"subscription": subscription}))]});
    node.ask("script/other", "run", give_up.clone()).await.unwrap();
    write(&node, 3).await;
    node.notes("script/reader", &json!([told(1), told(2), told(3)])).await;
    assert_eq!(rows(&disk, "tuples", b"xs").await, 1, "it is nobody else's to give up");
    node.ask("script/reader", "run", give_up).await.unwrap();
    until("it is given up", async || rows(&disk, "tuples", b"xs").await == 0).await;
    write(&node, 4).await;
    let again = node.ask("script/reader", "run", subscribe).await.unwrap()[0].clone();
    assert_ne!(again, subscription);
    write(&node, 5).await;
    let fifth = json!({"tuple": ["news", 5], "subscription": again});
    node.notes("script/reader", &json!([told(1), told(2), told(3), fifth])).await;
}

#[tokio::test]
async fn a_member_that_is_killed_or_whose_application_goes_while_it_is_not_in_memory_leaves() {
    let disk = Arc::new(Memory::new());
    let node = Node::on(disk.clone()).await;
    for key in ["a", "b", "c"] {
        node.ask(&format!("script/{key}"), "run", join()).await.unwrap();
    }
    until("all are members", async || members(&node).await.as_array().unwrap().len() == 3).await;
    assert!(address(&node, "b").kill());
    until("who was killed is no member", async || members(&node).await == json!(["default/script/a", "default/script/c"])).await;
    assert!(node.runtime.shutdown(PATIENCE).await);
    // Nobody is in memory here.
    let node = Node::on(disk).await;
    assert_eq!(members(&node).await, json!(["default/script/a", "default/script/c"]));
    undeploy(&node).await.unwrap();
    until("nobody is left", async || members(&node).await == json!([])).await;
}

#[tokio::test]
async fn what_names_the_actors_of_an_application_goes_with_it() {
    const SLOTS: usize = 1500;
    let disk = Arc::new(Memory::new());
    let node = Node::on(disk.clone()).await;
    let write = async |tuple: Value| drop(node.service("tuples", "default", "write", json!({"tuple": tuple})).await);
    // More than one step removes.
    for number in 0..SLOTS {
        write(json!(["svc", format!("s{number}"), format!("default/script/{number}")])).await;
    }
    let others = [
        json!(["svc", "far", "elsewhere/script/a"]),
        json!(["svc", "other", "default/other/a"]),
        json!(["svc", "odd", 7]),
        json!(["svc", "default/script/a"]),
        json!(["note", "script", "default/script/a"]),
    ];
    for other in &others {
        write(other.clone()).await;
    }
    let register = async |name: &str, target: &str| {
        drop(node.service("registry", "default", "register", json!({"name": name, "target": target})).await)
    };
    register("mine", "default/script/a").await;
    register("theirs", "default/other/a").await;
    let subscribe = step("tuples", "subscribe", json!({"pattern": ["news", null]}));
    node.ask("script/reader", "run", json!({"steps": [subscribe]})).await.unwrap();
    for service in ["tuples", "registry"] {
        let asked = step(service, FORGET, json!({"types": ["script"]}));
        let refused = node.ask("script/main", "run", json!({"steps": [asked]})).await.unwrap_err();
        assert_eq!(refused.code.name(), "unknown_operation", "no actor has a service forget others");
    }

    undeploy(&node).await.unwrap();
    let count = async |pattern: Value| node.service("tuples", "default", "count", json!({"pattern": pattern})).await["count"].clone();
    assert_eq!(count(json!(["svc", null, null])).await, json!(3));
    for other in others {
        assert_eq!(count(other.clone()).await, json!(1), "{other}");
    }
    let entries = node.service("registry", "default", "find", json!({})).await["entries"].clone();
    assert_eq!((entries.as_array().unwrap().len(), &entries[0]["name"]), (1, &json!("theirs")));
    assert_eq!(rows(&disk, "tuples", b"xs").await, 0, "who is gone is told of nothing");
}

#[tokio::test]
async fn an_application_is_gone_though_its_names_cannot_be_removed_and_that_is_said() {
    let store = stubborn(0);
    let node = Node::on(store.clone()).await;
    node.service("registry", "default", "register", json!({"name": "mine", "target": "default/script/a"})).await;
    store.says.refusals.store(usize::MAX, Ordering::SeqCst);
    let failure = undeploy(&node).await.unwrap_err();
    assert_eq!(failure.code.name(), "unavailable", "{failure}");
    let asked = node.ask("script/main", "run", json!({"steps": []})).await.unwrap_err();
    assert_eq!(asked.code.name(), "not_found", "{asked}");
}

fn facet(name: &str, config: Value) -> Profile {
    let config = config.as_object().unwrap().clone();
    Profile { durable: true, facets: vec![FacetSpec::new(name, config)], ..Profile::default() }
}

#[tokio::test]
async fn an_actor_is_a_member_of_the_groups_of_its_facet() {
    let node = Node::with(Arc::new(Memory::new()), facet("process_group", json!({"groups": ["g"]}))).await;
    node.ask("script/a", "notes", json!({})).await.unwrap();
    node.ask("script/b", "notes", json!({})).await.unwrap();
    until("it is so", async || members(&node).await == json!(["default/script/a", "default/script/b"])).await;
}

#[tokio::test]
async fn an_actor_is_asked_by_the_name_under_which_it_is_registered() {
    let node = Node::with(Arc::new(Memory::new()), facet("registry", json!({"labels": {"kind": "tool"}}))).await;
    node.ask("script/hammer", "note", json!(1)).await.unwrap();
    let found = node.service("registry", "default", "find", json!({"labels": {"kind": "tool"}})).await;
    assert_eq!(found["entries"][0]["target"], json!("default/script/hammer"));
    let steps = json!({"steps": [
        {"do": "ask", "target": "hammer", "op": "note", "payload": 2},
        {"do": "tell", "target": "hammer", "op": "note", "payload": 3},
    ]});
    assert_eq!(node.ask("script/asker", "run", steps).await, Ok(json!([2, null])));
    node.notes("script/hammer", &json!([1, 2, 3])).await;
    let nobody = json!({"steps": [{"do": "ask", "target": "saw", "op": "note", "payload": 2}]});
    assert_eq!(node.ask("script/asker", "run", nobody).await.unwrap_err().code.name(), "not_found");
}

#[tokio::test]
async fn actors_with_the_lock_of_a_facet_work_one_after_the_other() {
    let config = json!({"key": "machine", "operations": ["run"], "wait": "60s"});
    // The clock of a durable turn stands still while a facet waits, so that its sleep would be over before.
    let volatile = Profile { durable: false, ..facet("lock", config) };
    let node = Arc::new(Node::with(Arc::new(Memory::new()), volatile).await);
    let sleepers = ["a", "b", "c"].map(|key| {
        let node = node.clone();
        tokio::spawn(async move { node.ask(&format!("script/{key}"), "run", json!({"steps": [{"do": "sleep", "ms": 40}]})).await })
    });
    let began = std::time::Instant::now();
    for sleeper in sleepers {
        sleeper.await.unwrap().unwrap();
    }
    assert!(began.elapsed() >= Duration::from_millis(120), "{:?}", began.elapsed());
    assert_eq!(node.service("locks", "default", "list", json!({})).await["locks"], json!([]));
}

#[tokio::test]
async fn blobs_that_an_actor_begins_with_are_put_where_there_are_none() {
    let directory = tempfile::tempdir().unwrap();
    let profile = facet("blob", json!({"initial": {"prompts/system": "be brief", "limits": {"tokens": 7}}}));
    let node = Node::keeping(Arc::new(Memory::new()), profile, Some(directory.path())).await;
    let get = |name: &str| json!({"do": "get_blob", "name": name});
    let put = json!({"do": "put_blob", "name": "prompts/system", "content": "be long"});
    let begun = node.ask("script/a", "run", json!({"steps": [get("prompts/system"), get("limits"), put]})).await;
    assert_eq!(begun, Ok(json!(["be brief", "{\"tokens\":7}", 7])));
    // Another actor with the facet finds what there is now.
    assert_eq!(node.ask("script/b", "run", json!({"steps": [get("prompts/system")]})).await, Ok(json!(["be long"])));
}

#[tokio::test]
async fn an_actor_with_blobs_to_begin_with_does_not_live_where_none_are_kept() {
    let node = Node::with(Arc::new(Memory::new()), facet("blob", json!({"initial": {"a": "b"}}))).await;
    let failure = node.ask("script/a", "notes", json!({})).await.unwrap_err();
    assert_eq!((failure.code.name(), failure.message.contains("this node keeps no blobs")), ("not_found", true), "{failure:?}");
}

#[tokio::test]
async fn a_service_that_is_due_often_has_one_look_in_the_wheel() {
    let node = Node::on(Arc::new(Memory::new())).await;
    for number in 0..10 {
        let wanted = json!({"key": format!("k{number}"), "ttl_ms": 5});
        node.service("locks", "default", "acquire", wanted).await;
        until("the lease is over", async || node.service("locks", "default", "list", json!({})).await["locks"] == json!([])).await;
    }
    let census = node.runtime.census();
    assert_eq!((census.services, census.wheel), (1, 1));
}

#[tokio::test]
async fn who_joins_and_leaves_again_and_again_is_watched_once() {
    let node = Node::on(Arc::new(Memory::new())).await;
    let steps: Vec<Value> = (0..20)
        .flat_map(|_| ["join", "leave"])
        .map(|op| json!({"do": "service", "service": "groups", "op": op, "payload": {"group": "g"}}))
        .collect();
    node.ask("script/a", "run", json!({"steps": steps})).await.unwrap();
    until("the service watches it", async || node.runtime.census().tied == 2).await;
    assert_eq!(node.runtime.census().watches, 1);
}
