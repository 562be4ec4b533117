//! What a node makes of a store that its disk has damaged. `docs/semantics.md` names these tests.
#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

#[path = "support/scripts.rs"]
mod scripts;

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use plexspaces_actor::{Config, Request, RunStatus, Runtime, Target};
use plexspaces_store::{Error, Store};
use plexspaces_store_sql::{Sqlite, sqlite};
use plexspaces_types::{Clock, Code, Failure, Payload};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use scripts::{Node, Scripts, ctx, name};
use serde_json::{Value, json};
use tempfile::TempDir;

const ACTORS: usize = 12;
const RUNS: usize = 6;
const TUPLES: usize = 15;

async fn node(store: Arc<dyn Store>) -> Node {
    let code = Scripts::new(1);
    let config = Config::new(name("node1"), store, Clock::manual(1_000_000));
    let runtime = Runtime::new(Config { services: plexspaces_coord::services(), ..config });
    let node = Node { runtime, version: code.version.clone(), handled: code.handled.clone() };
    node.upgrade(&code, &[]).await;
    node
}

async fn tuples(node: &Node) -> Result<Value, Failure> {
    let payload = Payload::from_value(&json!({"pattern": ["number", null]}));
    let request = Request { operation: "read_all".into(), payload, idempotency_key: None };
    let reply = node.runtime.ask_service(&ctx(), "tuples", "default", request).await?;
    Ok(serde_json::from_slice(&reply).unwrap())
}

async fn status(node: &Node, run: usize) -> Result<RunStatus, Failure> {
    let key = run.to_string();
    node.runtime.workflow(&ctx(), Target { name: "flow", key: Some(&key) }).await.map(|run| run.status)
}

/// What the actor with a number has noted in the end.
fn notes_of(actor: usize) -> Vec<Value> {
    (0..=actor * 9).map(|n| json!(format!("note {n} of {actor}"))).collect()
}

/// The file of a node that has ended: actors with more and more turns, runs that sleep for days, a tuple space.
async fn whole_file(directory: &Path) -> Vec<u8> {
    let path = directory.join("whole.db");
    let file = Arc::new(Sqlite::open(sqlite::Config::new(&path)).unwrap());
    let node = node(file.clone()).await;
    for actor in 0..ACTORS {
        for note in notes_of(actor) {
            node.ask(&format!("script/{actor}"), "note", note).await.unwrap();
        }
    }
    for run in 0..RUNS {
        let steps = json!({"steps": [{"do": "put", "key": "k", "value": "v"}, {"do": "sleep", "ms": 86_400_000}]});
        let key = run.to_string();
        let target = Target { name: "flow", key: Some(&key) };
        node.runtime.start_workflow(&ctx(), target, Payload::from_value(&steps), None).await.unwrap();
    }
    for tuple in 0..TUPLES {
        node.service("tuples", "default", "write", json!({"tuple": ["number", tuple]})).await;
    }
    node.runtime.shutdown(Duration::from_secs(5)).await;
    file.close().await.unwrap();
    fs::read(path).unwrap()
}

#[derive(Debug, Default)]
struct Found {
    /// The start was refused, or a request was told that the store has failed.
    told: usize,
    /// Something seems not to be there.
    missing: usize,
}

fn is_told(failure: &Failure, found: &mut Found) {
    assert_eq!(failure.code, Code::StorageFailed, "{failure}");
    found.told += 1;
}

/// Starts a node on a damaged file and asks for everything that was acknowledged.
async fn look(path: &Path) -> Found {
    let mut found = Found::default();
    let file = match Sqlite::open(sqlite::Config::new(path)) {
        Ok(file) => Arc::new(file),
        Err(error) => {
            let text = error.to_string();
            assert!(matches!(error, Error::Corrupt(_)) && text.contains(&path.display().to_string()), "{error:?}");
            assert!(["backup", "move it away", "move the file away"].iter().any(|remedy| text.contains(remedy)), "{text}");
            return Found { told: 1, missing: 0 };
        }
    };
    let node = node(file.clone()).await;
    for actor in 0..ACTORS {
        match node.ask(&format!("script/{actor}"), "notes", json!({})).await {
            Err(failure) => is_told(&failure, &mut found),
            Ok(notes) => {
                let (notes, truth) = (notes.as_array().unwrap(), notes_of(actor));
                assert!(truth.starts_with(notes), "{actor} has noted {notes:?}");
                found.missing += usize::from(notes.len() < truth.len());
            }
        }
    }
    for run in 0..RUNS {
        match status(&node, run).await {
            Err(failure) => is_told(&failure, &mut found),
            Ok(status) => {
                assert!(matches!(status, RunStatus::Running | RunStatus::None), "a run that sleeps is {status:?}");
                found.missing += usize::from(status == RunStatus::None);
            }
        }
    }
    match tuples(&node).await {
        Err(failure) => is_told(&failure, &mut found),
        Ok(tuples) => {
            let tuples = tuples["tuples"].as_array().unwrap().clone();
            assert!(tuples.iter().all(|tuple| tuple[0] == "number" && tuple[1].as_u64().is_some_and(|n| n < TUPLES as u64)), "{tuples:?}");
            found.missing += usize::from(tuples.len() < TUPLES);
        }
    }
    node.runtime.shutdown(Duration::from_secs(5)).await;
    let _ = file.close().await;
    found
}

/// Damages the file again and again. What is read must be true; what seems not to be there must be found by the check of the whole file.
async fn damage(what: &str, times: usize, change: impl Fn(&mut Vec<u8>, &mut StdRng)) -> (usize, usize) {
    let directory = TempDir::new().unwrap();
    let whole = whole_file(directory.path()).await;
    let seed = rand::random();
    println!("{what}: seed {seed}, {} bytes", whole.len());
    let mut random = StdRng::seed_from_u64(seed);
    let (mut told, mut missing) = (0, 0);
    for time in 0..times {
        let mut damaged = whole.clone();
        change(&mut damaged, &mut random);
        let path = directory.path().join(format!("{time}.db"));
        fs::write(&path, &damaged).unwrap();
        let found = look(&path).await;
        if found.missing > 0 {
            let path = directory.path().join("verified.db");
            fs::write(&path, &damaged).unwrap();
            let verified = Sqlite::open(sqlite::Config { verify: true, ..sqlite::Config::new(&path) });
            assert!(matches!(verified, Err(Error::Corrupt(_))), "time {time}: something is missing, and the check does not find it");
        }
        told += usize::from(found.told > 0);
        missing += usize::from(found.missing > 0 && found.told == 0);
        fs::remove_file(path).unwrap();
    }
    println!("{what}: {told} of {times} were told at once, {missing} are found by the check of the whole file only");
    (told, missing)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_reads_nothing_wrong_from_a_file_in_which_bits_were_flipped() {
    const TIMES: usize = 100;
    let (told, missing) = damage("flipped bits", TIMES, |file, random| {
        // Every third time in a page's head, which says what is on it.
        let anywhere = random.random_range(0..file.len());
        let byte = if random.random_range(0..3) == 0 { anywhere / 4096 * 4096 + random.random_range(0..16) } else { anywhere };
        file[byte] ^= 1 << random.random_range(0..8);
    })
    .await;
    assert!(told > TIMES / 8, "only {told} were told");
    assert!(missing <= TIMES / 5, "{missing} would be found by the check of the whole file only");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_reads_nothing_wrong_from_a_file_that_was_cut_off() {
    const TIMES: usize = 30;
    let cut = |file: &mut Vec<u8>, random: &mut StdRng| file.truncate(random.random_range(1..file.len()));
    let (told, _) = damage("a file that was cut off", TIMES, cut).await;
    // Where only a part of the last page is gone, it may have held nothing.
    assert!(told > TIMES * 3 / 4, "only {told} were told");
}

/// A log of which a part is damaged is refused, or it ends where a loss of power could have ended it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_goes_on_from_a_damaged_log_only_where_at_most_the_last_change_is_missing() {
    const CHANGES: usize = 60;
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("logged.db");
    let file = Arc::new(Sqlite::open(sqlite::Config::new(&path)).unwrap());
    let first = node(file.clone()).await;
    for n in 0..CHANGES {
        first.ask(&format!("script/{}", n % 7), "note", json!(n)).await.unwrap();
    }
    let (whole, log) = (fs::read(&path).unwrap(), fs::read(directory.path().join("logged.db-wal")).unwrap());
    first.runtime.shutdown(Duration::from_secs(5)).await;
    file.close().await.unwrap();
    let seed = rand::random();
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let mut refused = 0;
    for time in 0..60 {
        let mut damaged = log.clone();
        let byte = random.random_range(0..log.len());
        damaged[byte] ^= 1 << random.random_range(0..8);
        let path = directory.path().join(format!("{time}.db"));
        fs::write(&path, &whole).unwrap();
        fs::write(directory.path().join(format!("{time}.db-wal")), &damaged).unwrap();
        let file = match Sqlite::open(sqlite::Config::new(&path)) {
            Ok(file) => Arc::new(file),
            Err(error) => {
                assert!(matches!(error, Error::Corrupt(_)) && error.to_string().contains("backup"), "{error:?}");
                refused += 1;
                continue;
            }
        };
        let node = node(file.clone()).await;
        let mut there = Vec::new();
        for actor in 0..7 {
            let notes = node.ask(&format!("script/{actor}"), "notes", json!({})).await.unwrap();
            there.extend(notes.as_array().unwrap().iter().map(|note| note.as_u64().unwrap()));
        }
        there.sort_unstable();
        let known: Vec<u64> = (0..there.len() as u64).collect();
        assert!(there == known && there.len() >= CHANGES - 1, "flip in byte {byte}: {there:?}");
        node.runtime.shutdown(Duration::from_secs(5)).await;
        file.close().await.unwrap();
    }
    println!("{refused} of 60 were refused");
    assert!(refused > 30, "only {refused} of 60 were refused");
}
