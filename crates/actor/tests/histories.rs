//! Random programs of several durable actors on nodes that are cut off at random moments, against what one undisturbed node would do: asks,
//! tells, signals from each other and from outside, sleeps, pairs, refusals and turns that fail.
//!
//! Time stands still while anything is to be done, so that a seed gives the same schedule again. `PLEXSPACES_HISTORIES` says how many there
//! are (10000), `PLEXSPACES_HISTORY` which one alone.
#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

#[path = "support/scripts.rs"]
mod scripts;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use plexspaces_actor::Profile;
use plexspaces_store::{Memory, Store};
use plexspaces_types::Clock;
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use scripts::{Cut, Node, PATIENCE, within};
use serde_json::{Value, json};

/// How many actors run a program.
const ACTORS: usize = 3;

/// One actor's program, and what the model says of it.
struct Program {
    actor: String,
    steps: Vec<Value>,
    results: Vec<Value>,
    /// What it leaves with each recorder, in order.
    kept: [Vec<Value>; 2],
    /// What it leaves in its own state.
    notes: Vec<Value>,
    /// The signals that it sends, each with the number of whom it sends it to.
    signals: Vec<(usize, Value)>,
    /// Actors of which nothing is to be left but that a turn of theirs failed.
    victims: Vec<String>,
}

impl Program {
    fn is_workflow(&self) -> bool {
        self.actor.starts_with("flow")
    }
}

fn programs(random: &mut ChaCha8Rng) -> Vec<Program> {
    let workflows: Vec<bool> = (0..ACTORS).map(|_| random.random_bool(0.5)).collect();
    (0..ACTORS).map(|number| program(number, &workflows, random)).collect()
}

fn program(number: usize, workflows: &[bool], random: &mut ChaCha8Rng) -> Program {
    let kind = if workflows[number] { "flow" } else { "script" };
    let mut program = Program {
        actor: format!("{kind}/{number}"),
        steps: Vec::new(),
        results: Vec::new(),
        kept: [Vec::new(), Vec::new()],
        notes: Vec::new(),
        signals: Vec::new(),
        victims: Vec::new(),
    };
    let mut stored = Value::Null;
    for step in 0..random.random_range(1..=7) {
        let id = json!(format!("{number}.{step}"));
        let recorder = random.random_range(0..2_usize);
        let heard_by = random.random_range(0..ACTORS);
        let (made, result) = match random.random_range(0..14) {
            how @ 0..6 => {
                let ask = how < 3;
                program.kept[recorder].push(id.clone());
                let target = format!("script/recorder{recorder}");
                let made = json!({"do": if ask { "ask" } else { "tell" }, "target": target, "op": "keep", "payload": id});
                (made, if ask { id } else { Value::Null })
            }
            6 => (json!({"do": "sleep", "ms": random.random_range(0..3)}), Value::Null),
            7 => {
                stored = id.clone();
                (json!({"do": "put", "key": "k", "value": id}), Value::Null)
            }
            8 => (json!({"do": "get", "key": "k"}), stored.clone()),
            9 => {
                let target = format!("script/recorder{recorder}");
                (json!({"do": "try", "target": target, "op": "nothing", "payload": id}), json!("unknown_operation"))
            }
            10 => {
                let target = format!("script/victim{number}.{step}");
                program.victims.push(target.clone());
                let steps = json!({"steps": [{"do": "note", "payload": id}, {"do": "fail"}]});
                (json!({"do": "try", "target": target, "op": "run", "payload": steps}), json!("handler_failed"))
            }
            11 | 12 if workflows[heard_by] && heard_by != number => {
                program.signals.push((heard_by, id.clone()));
                (json!({"do": "tell", "target": format!("flow/{heard_by}"), "op": "workflow_signal:inside", "payload": id}), Value::Null)
            }
            _ => {
                program.notes.push(id.clone());
                (json!({"do": "note", "payload": id}), Value::Null)
            }
        };
        program.steps.push(made);
        program.results.push(result);
    }
    program
}

/// Runs a program, and a workflow hears something meanwhile.
async fn run(program: &Program, node: &Node) -> Value {
    let steps = json!({"steps": program.steps});
    if !program.is_workflow() {
        return node.keyed(&program.actor, "run", steps, Some("the run")).await.unwrap();
    }
    let done = node.keyed(&program.actor, "workflow_run", steps, Some("the run"));
    let heard = node.keyed(&program.actor, "workflow_signal:outside", json!(program.actor), Some("the signal"));
    let (done, heard) = tokio::join!(done, heard);
    heard.unwrap();
    done.unwrap()
}

/// A node whose clock goes with the runtime's time.
async fn node(store: Arc<dyn Store>, clock: &Clock) -> Node {
    Node::at(clock.clone(), store, Profile { durable: true, ..Profile::default() }, None).await
}

/// Lets a node work until its store is gone or all is done.
async fn disturbed(programs: &[Program], disk: &Arc<Memory>, clock: &Clock, cut_at: usize, after: bool) {
    let store = Cut::new(disk, cut_at, after);
    let node = node(store.clone(), clock).await;
    let all = futures::future::join_all(programs.iter().map(|program| run(program, &node)));
    let gone = async {
        while !store.gone.load(Ordering::SeqCst) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::select! {
        _ = all => {}
        () = gone => {}
    }
    store.gone.store(true, Ordering::SeqCst);
}

async fn check(seed: u64, clock: &Clock) {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let programs = programs(&mut random);
    let disk = Arc::new(Memory::new());
    for _ in 0..random.random_range(0..3) {
        let (cut_at, after) = (random.random_range(1..30), random.random_bool(0.5));
        disturbed(&programs, &disk, clock, cut_at, after).await;
    }
    let node = node(disk, clock).await;
    for program in &programs {
        assert_eq!(run(program, &node).await, json!(program.results), "seed {seed}: what {} gave", program.actor);
    }
    for (number, program) in programs.iter().enumerate() {
        let told: Vec<&Value> = programs.iter().flat_map(|of| &of.signals).filter(|(to, _)| *to == number).map(|(_, id)| id).collect();
        let outside: Vec<Value> = program.is_workflow().then(|| json!(program.actor)).into_iter().collect();
        let notes = notes(&node, &program.actor, program.notes.len() + told.len() + outside.len()).await;
        let heard = |operation: &str| notes.iter().filter(|note| note[0] == operation).map(|note| note[1].clone()).collect::<Vec<_>>();
        let own: Vec<Value> = notes.iter().filter(|note| note.is_string()).cloned().collect();
        assert_eq!(own, program.notes, "seed {seed}: what {} keeps", program.actor);
        assert_eq!(heard("workflow_signal:outside"), outside, "seed {seed}: what {} has heard from outside", program.actor);
        let inside = heard("workflow_signal:inside");
        for sender in 0..ACTORS {
            let told: Vec<Value> = told.iter().filter(|id| is_of(id, sender)).map(|id| (*id).clone()).collect();
            let heard: Vec<Value> = inside.iter().filter(|id| is_of(id, sender)).cloned().collect();
            assert_eq!(heard, told, "seed {seed}: what {} has heard of {sender}", program.actor);
        }
        for victim in &program.victims {
            assert_eq!(node.ask(victim, "notes", json!({})).await, Ok(json!([])), "seed {seed}: what a turn of {victim} left that failed");
        }
    }
    for recorder in 0..2 {
        let expected = programs.iter().map(|program| program.kept[recorder].len()).sum();
        let kept = notes(&node, &format!("script/recorder{recorder}"), expected).await;
        for (number, program) in programs.iter().enumerate() {
            let of_this: Vec<Value> = kept.iter().filter(|id| is_of(id, number)).cloned().collect();
            assert_eq!(of_this, program.kept[recorder], "seed {seed}: what recorder{recorder} has of {}", program.actor);
        }
    }
}

/// Whether something is of the actor with this number.
fn is_of(id: &Value, number: usize) -> bool {
    id.as_str().unwrap().starts_with(&format!("{number}."))
}

/// What an actor has noted, when it is as much as is expected.
async fn notes(node: &Node, actor: &str, expected: usize) -> Vec<Value> {
    let mut notes = Vec::new();
    let operation = if actor.starts_with("flow") { "workflow_query:notes" } else { "notes" };
    let all = async || {
        notes = node.ask(actor, operation, json!({})).await.unwrap().as_array().unwrap().clone();
        notes.len() >= expected
    };
    within(PATIENCE, all).await;
    notes
}

#[tokio::test(start_paused = true)]
async fn random_histories_with_crashes_end_as_the_model_says() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let clock = Clock::manual(1_700_000_000_000);
    let hands = clock.clone();
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(Duration::from_millis(1)).await;
            hands.advance(1);
        }
    });
    if let Some(seed) = number("PLEXSPACES_HISTORY") {
        return check(seed, &clock).await;
    }
    // New ones each time; the one that fails is printed.
    let base = rand::random::<u64>() >> 16;
    for seed in base..base + number("PLEXSPACES_HISTORIES").unwrap_or(10_000) {
        check(seed, &clock).await;
    }
}
