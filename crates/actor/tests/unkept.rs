//! What is seen to though nobody sends anything: turns of which no state was kept, messages that have not arrived, children that their
//! supervisor has not started yet. `docs/semantics.md` names these tests.
#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

#[path = "support/scripts.rs"]
mod scripts;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use plexspaces_actor::supervision::Restart;
use plexspaces_actor::{Child, ChildSpec, Config, Description, Factory, Fault, Instance, Profile, Runtime, Spec, Turn};
use plexspaces_durable::{Due, Outgoing};
use plexspaces_store::{Batch, Error, Limits, Memory, Partition, Range, Store};
use plexspaces_types::{ActorId, Clock, Code, Key, Name, Payload};
use scripts::{Before, Cut, Node, Says, Scripts, ctx, durable, name, until};
use serde_json::{Value, json};
use tokio::sync::Semaphore;

/// A state is kept with the first turn and then with every tenth.
fn seldom() -> Profile {
    let mut profile = Profile { durable: true, ..Profile::default() };
    profile.keeping.interval = Some(10);
    profile
}

fn partition(text: &str) -> Partition {
    Partition::actor(&ActorId::parse(&Name::default_scope(), text).unwrap())
}

/// Version 2 of the code tells something else.
fn tells() -> Value {
    json!({"steps": [{"do": "tell", "target": "script/recorder", "op": "note", "payload": 1}]})
}

/// The actors that the node's index has something for.
async fn announced(disk: &Memory) -> Vec<String> {
    let page = disk.scan(&Partition::node("reminders"), Range::all(), 100).await.unwrap();
    page.entries.iter().map(|(key, _)| Due::parse(key).unwrap().actor.to_string()).collect()
}

/// Says that the disk is full when it is told to.
struct Full(AtomicBool);

#[async_trait]
impl Says for Full {
    async fn to(&self, _: &Batch) -> Result<(), Error> {
        if self.0.load(Ordering::SeqCst) { Err(Error::Full("the disk".into())) } else { Ok(()) }
    }
}

/// Scripts whose actor `one` comes to life when it is let.
struct Gated {
    scripts: Arc<Scripts>,
    gate: Semaphore,
    made: Mutex<Vec<String>>,
}

#[async_trait]
impl Factory for Gated {
    fn description(&self) -> &Description {
        self.scripts.description()
    }
    fn code(&self) -> u64 {
        self.scripts.code()
    }
    async fn create(&self, spec: &Spec, turn: Turn) -> Result<(Box<dyn Instance>, Turn), Fault> {
        self.made.lock().unwrap().push(spec.id.key.to_string());
        if spec.id.key.as_str() == "one" {
            self.gate.acquire().await.unwrap().forget();
        }
        self.scripts.create(spec, turn).await
    }
}

#[tokio::test(start_paused = true)]
async fn a_child_is_looked_after_when_its_supervisor_has_started_it() {
    let disk = Arc::new(Memory::new());
    let store = Cut::new(&disk, usize::MAX, true);
    let first = Node::on(store.clone()).await;
    let note = json!({"do": "ask", "target": "script/three", "op": "note", "payload": "of two"});
    let steps = json!({"steps": [{"do": "sleep", "ms": 1_000}, note]});
    let run = tokio::spawn(async move { first.ask("script/two", "run", steps).await });
    until("the turn waits", async || announced(&disk).await == ["default/script/two"]).await;
    store.gone.store(true, Ordering::SeqCst);
    run.abort();

    let gated = Arc::new(Gated { scripts: Scripts::new(1), gate: Semaphore::new(0), made: Mutex::default() });
    let mut application = durable(&gated.scripts, &[]);
    application.factory = gated.clone();
    let child = |key: &str| ChildSpec {
        key: Key::new(key).unwrap(),
        actor_type: name("script"),
        aliases: Vec::new(),
        profile: Profile { durable: true, ..Profile::default() },
        restart: Restart::Permanent,
        shutdown: Duration::from_secs(5),
    };
    application.supervisor.children = ["one", "two", "three"].map(child).map(Child::Actor).into();
    let runtime = Runtime::new(Config::new(name("node1"), disk.clone(), Clock::system()));
    let second = Node { runtime, version: gated.scripts.version.clone(), handled: gated.scripts.handled.clone() };
    second.runtime.resume(&application).unwrap();
    let made = || gated.made.lock().unwrap().clone();
    // What is due is fired at once, and the first child still begins.
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert_eq!(made(), ["one"]);
    assert_eq!(announced(&disk).await, ["default/script/two"]);
    gated.gate.add_permits(1);
    second.notes("script/three", &json!(["of two"])).await;
    assert_eq!(made(), ["one", "two", "three"]);
    second.runtime.undeploy(&application.tenant, &application.namespace, &application.name).await.unwrap();
}

#[tokio::test]
async fn a_node_that_ends_keeps_the_states_of_its_actors() {
    let disk = Arc::new(Memory::new());
    let first = Node::with(disk.clone(), seldom()).await;
    for actor in ["a", "b"] {
        first.ask(&format!("script/{actor}"), "note", json!(0)).await.unwrap();
        first.ask(&format!("script/{actor}"), "run", tells()).await.unwrap();
    }
    first.notes("script/recorder", &json!([1, 1])).await;
    assert!(first.runtime.shutdown(Duration::from_secs(5)).await);
    // Other code is asked for what it makes of the states, and not of the turns.
    let two = Scripts::new(2);
    let second = Node::of(disk, &two, &[]).await;
    for actor in ["a", "b"] {
        assert_eq!(second.ask(&format!("script/{actor}"), "notes", json!({})).await, Ok(json!([0])));
    }
    assert_eq!(second.ask("script/recorder", "notes", json!({})).await, Ok(json!([1, 1])));
    assert_eq!(two.handled(), ["notes", "notes", "notes"]);
}

#[tokio::test(start_paused = true)]
async fn turns_whose_state_was_not_kept_are_known_of_until_it_is() {
    let disk = Arc::new(Memory::new());
    let node = Node::with(disk.clone(), seldom()).await;
    node.ask("script/a", "note", json!(1)).await.unwrap();
    assert_eq!(announced(&disk).await, Vec::<String>::new());
    node.ask("script/a", "note", json!(2)).await.unwrap();
    assert_eq!(announced(&disk).await, ["default/script/a"]);
    // One that is in use keeps its state when that is due.
    tokio::time::sleep(Duration::from_secs(50)).await;
    node.ask("script/a", "note", json!(3)).await.unwrap();
    tokio::time::sleep(Duration::from_secs(15)).await;
    assert_eq!(announced(&disk).await, ["default/script/a"]);
    // One that rests keeps it, and is left alone.
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(announced(&disk).await, Vec::<String>::new());
    let second = Node::with(disk.clone(), seldom()).await;
    assert_eq!(second.ask("script/a", "notes", json!({})).await, Ok(json!([1, 2, 3])));
    assert_eq!(second.handled.lock().unwrap().as_slice(), ["notes"]);
}

#[tokio::test(start_paused = true)]
async fn what_a_crash_has_left_to_be_run_again_is_kept_and_leaves_memory() {
    let disk = Arc::new(Memory::new());
    let store = Cut::new(&disk, usize::MAX, true);
    let first = Node::with(store.clone(), seldom()).await;
    first.ask("script/a", "note", json!(1)).await.unwrap();
    first.ask("script/a", "note", json!(2)).await.unwrap();
    store.gone.store(true, Ordering::SeqCst);
    let second = Node::with(disk.clone(), seldom()).await;
    until("it is looked after", async || announced(&disk).await.is_empty()).await;
    assert_eq!(second.handled.lock().unwrap().as_slice(), ["note"]);
    until("it has left memory", async || second.runtime.actors() == 0).await;
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert_eq!(second.handled.lock().unwrap().as_slice(), ["note"]);
    second.notes("script/a", &json!([1, 2])).await;
}

#[tokio::test]
async fn a_version_is_judged_when_actors_in_memory_have_kept_their_states() {
    let node = Node::with(Arc::new(Memory::new()), seldom()).await;
    node.ask("script/a", "note", json!(0)).await.unwrap();
    node.ask("script/a", "run", tells()).await.unwrap();
    let two = Scripts::new(2);
    assert_eq!(node.runtime.would_break(&durable(&two, &[])).await, Ok(vec![]));
    node.upgrade(&two, &[]).await;
    node.notes("script/a", &json!([0])).await;
}

#[tokio::test]
async fn an_earlier_version_is_kept_while_its_turns_have_to_be_run_again() {
    let disk = Arc::new(Memory::new());
    let store = Before::new(disk.clone(), Full(AtomicBool::new(false)));
    let first = Node::with(store.clone(), seldom()).await;
    first.ask("script/a", "note", json!(0)).await.unwrap();
    first.ask("script/a", "note", json!(1)).await.unwrap();
    let (one, two) = (Scripts::new(1), Scripts::new(2));
    let present = durable(&two, &[&one]);
    // The second node can keep no state.
    store.says.0.store(true, Ordering::SeqCst);
    let second = Node::of(store.clone(), &two, &[&one]).await;
    let failure = second.ask("script/a", "notes", json!({})).await.unwrap_err();
    assert_eq!((failure.code, failure.message.as_str()), (Code::Unavailable, "a state could not be kept for the present version"));
    assert_eq!(second.runtime.release_earlier(&present).await, Ok(vec![1]));
    store.says.0.store(false, Ordering::SeqCst);
    second.notes("script/a", &json!([0, 1])).await;
    assert_eq!(two.handled().last().unwrap(), "notes");
    until("the earlier version is let go", async || second.runtime.release_earlier(&present).await == Ok(vec![])).await;
}

#[tokio::test(start_paused = true)]
async fn an_actor_is_looked_after_as_long_as_a_message_of_it_has_not_arrived() {
    let disk = Arc::new(Memory::new());
    let node = Node::on(disk.clone()).await;
    node.ask("script/a", "run", tells()).await.unwrap();
    node.notes("script/recorder", &json!([1])).await;
    assert_eq!(announced(&disk).await, ["default/script/a"]);
    let (number, key) = (1 << 40, Outgoing::key(1 << 40));
    let kept = Outgoing { number, target: "default/script/b".into(), operation: "note".into(), payload: Payload::from_value(&Value::Null) };
    let mut batch = Batch::new(partition("default/script/a"));
    batch.put(key.clone(), kept.encode());
    disk.commit(batch).await.unwrap();
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_secs(61)).await;
        assert_eq!(announced(&disk).await, ["default/script/a"]);
    }
    let mut batch = Batch::new(partition("default/script/a"));
    batch.delete(key);
    disk.commit(batch).await.unwrap();
    tokio::time::sleep(Duration::from_secs(61)).await;
    assert_eq!(announced(&disk).await, Vec::<String>::new());
}

#[tokio::test]
async fn an_actor_with_many_messages_on_their_way_goes_on_to_commit() {
    const EACH: usize = 600;
    let disk = Arc::new(Memory::with_limits(Limits { batch_items: 1000, ..Memory::LIMITS }));
    let profile = Profile { durable: true, idle_timeout: Some(Duration::from_millis(100)), ..Profile::default() };
    let node = Node::with(disk.clone(), profile).await;
    let tell = json!({"do": "tell", "target": "script/recorder", "op": "note", "payload": 0});
    let steps = json!({"steps": vec![tell; EACH]});
    for time in 1..=3 {
        node.ask("script/a", "run", steps.clone()).await.unwrap();
        let heard = async || node.ask("script/recorder", "notes", json!({})).await.unwrap().as_array().unwrap().len();
        until("all have arrived", async || heard().await == time * EACH).await;
    }
    let kept = async || disk.scan(&partition("default/script/a"), Outgoing::range(), 1).await.unwrap().entries.len();
    until("none is kept any more", async || kept().await == 0).await;
}

#[tokio::test]
async fn what_is_told_to_an_actor_that_stands_still_is_a_dead_letter() {
    let disk = Arc::new(Memory::new());
    let first = Node::with(disk.clone(), seldom()).await;
    first.ask("script/recorder", "note", json!(0)).await.unwrap();
    first
        .ask("script/recorder", "run", json!({"steps": [{"do": "tell", "target": "script/b", "op": "note", "payload": 1}]}))
        .await
        .unwrap();
    first.notes("script/b", &json!([1])).await;
    let second = Node::of(disk, &Scripts::new(2), &[]).await;
    let refused = second.ask("script/recorder", "notes", json!({})).await.unwrap_err();
    assert_eq!(refused.code, Code::NonDeterministic);
    second.ask("script/c", "run", tells()).await.unwrap();
    let letters = async || second.runtime.dead_letters(&ctx(), None, 10).await.unwrap().0;
    until("the dead letter", async || !letters().await.is_empty()).await;
    let letters = letters().await;
    assert_eq!(letters.len(), 1);
    assert_eq!((letters[0].key.as_str(), letters[0].code.as_str()), ("recorder", Code::NonDeterministic.name()));
}
