//! Random programs of several durable actors on nodes that are cut off at random moments, against what one undisturbed node would do.
//! `PLEXSPACES_HISTORIES` says how many (1000), `PLEXSPACES_HISTORY` which one alone.
#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

#[path = "support/scripts.rs"]
mod scripts;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use plexspaces_store::Memory;
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
}

fn program(number: usize, random: &mut ChaCha8Rng) -> Program {
    let kind = if random.random_bool(0.5) { "flow" } else { "script" };
    let mut program = Program {
        actor: format!("{kind}/{number}"),
        steps: Vec::new(),
        results: Vec::new(),
        kept: [Vec::new(), Vec::new()],
        notes: Vec::new(),
    };
    let mut stored = Value::Null;
    for step in 0..random.random_range(1..=7) {
        let id = json!(format!("{number}.{step}"));
        let recorder = random.random_range(0..2_usize);
        let (made, result) = match random.random_range(0..10) {
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

async fn run(program: &Program, node: &Node) -> Value {
    let operation = if program.actor.starts_with("flow") { "workflow_run" } else { "run" };
    node.keyed(&program.actor, operation, json!({"steps": program.steps}), Some("the run")).await.unwrap()
}

/// Lets a node work until its store is gone or all is done.
async fn disturbed(programs: &[Program], disk: &Arc<Memory>, cut_at: usize, after: bool) {
    let store = Cut::new(disk, cut_at, after);
    let node = Node::on(store.clone()).await;
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

async fn check(seed: u64) {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let programs: Vec<Program> = (0..ACTORS).map(|number| program(number, &mut random)).collect();
    let disk = Arc::new(Memory::new());
    for _ in 0..random.random_range(0..3) {
        let (cut_at, after) = (random.random_range(1..30), random.random_bool(0.5));
        disturbed(&programs, &disk, cut_at, after).await;
    }
    let node = Node::on(disk).await;
    for program in &programs {
        assert_eq!(run(program, &node).await, json!(program.results), "seed {seed}: what {} gave", program.actor);
        let notes =
            node.ask(&program.actor, if program.actor.starts_with("flow") { "workflow_query:notes" } else { "notes" }, json!({})).await;
        assert_eq!(notes, Ok(json!(program.notes)), "seed {seed}: what {} keeps", program.actor);
    }
    for recorder in 0..2 {
        let expected: usize = programs.iter().map(|program| program.kept[recorder].len()).sum();
        let mut kept = Vec::new();
        let all = async || {
            kept = node.ask(&format!("script/recorder{recorder}"), "notes", json!({})).await.unwrap().as_array().unwrap().clone();
            kept.len() >= expected
        };
        within(PATIENCE, all).await;
        for (number, program) in programs.iter().enumerate() {
            let of_this: Vec<Value> = kept.iter().filter(|id| id.as_str().unwrap().starts_with(&format!("{number}."))).cloned().collect();
            assert_eq!(of_this, program.kept[recorder], "seed {seed}: what recorder{recorder} has of {}", program.actor);
        }
    }
}

#[tokio::test]
async fn random_histories_with_crashes_end_as_the_model_says() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    if let Some(seed) = number("PLEXSPACES_HISTORY") {
        return check(seed).await;
    }
    // New ones each time; the one that fails is printed.
    let base = rand::random::<u64>() >> 16;
    for seed in base..base + number("PLEXSPACES_HISTORIES").unwrap_or(1000) {
        check(seed).await;
    }
}
