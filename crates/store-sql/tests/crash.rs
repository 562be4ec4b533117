//! Killed at any moment, the store loses nothing that it acknowledged and keeps no half batch.
//!
//! The test starts itself as the process that is killed. Each of its writers appends to a partition of its own; a line on standard
//! output says what was acknowledged.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test may panic")]

use std::collections::BTreeMap;
use std::env;
use std::io::{BufRead, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use plexspaces_store::conformance::{partition, scan_all};
use plexspaces_store::{Batch, Partition, Range, Store};
use plexspaces_store_sql::Sqlite;
use plexspaces_store_sql::sqlite::Config;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tempfile::TempDir;

const CHILD: &str = "PLEXSPACES_CRASH_TEST_STORE";
const KILLS: usize = 200;
const WRITERS: usize = 8;
/// Entries that a writer keeps; it deletes older ones.
const KEPT: u64 = 40;
const PARTS: usize = 3;

#[test]
fn acknowledged_commits_survive_sigkill() {
    match env::var_os(CHILD) {
        Some(path) => child(Path::new(&path)),
        None => parent(),
    }
}

fn writer(index: usize) -> Partition {
    partition(&format!("writer{index}"))
}

/// What a part of a commit holds: known from its number, of many sizes.
fn part(writer: usize, n: u64, part: usize) -> Bytes {
    let length = (n * 7_919 + u64::try_from(writer * 31 + part).unwrap()) % if n.is_multiple_of(17) { 20_000 } else { 300 };
    format!("{writer}/{n}/{part}/").into_bytes().into_iter().cycle().take(usize::try_from(length).unwrap()).collect()
}

async fn head(store: &dyn Store, here: &Partition) -> u64 {
    let value = store.get(here, b"head").await.unwrap();
    value.map_or(0, |value| std::str::from_utf8(&value).unwrap().parse().unwrap())
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn child(path: &Path) {
    let store = Arc::new(Sqlite::open(Config::new(path)).unwrap());
    let mut tasks = tokio::task::JoinSet::new();
    for index in 0..WRITERS {
        let (store, here) = (Arc::clone(&store), writer(index));
        tasks.spawn(async move {
            let mut last = head(&*store, &here).await;
            loop {
                let n = last + 1;
                let mut batch = Batch::new(here.clone());
                batch.require("head", (last > 0).then(|| Bytes::from(last.to_string()))).put("head", n.to_string());
                for which in 0..PARTS {
                    batch.put(format!("log/{n:010}/{which}"), part(index, n, which));
                    batch.delete(format!("log/{:010}/{which}", n.saturating_sub(KEPT)));
                }
                store.commit(batch).await.unwrap();
                // One write of a whole line: the pipe has all of it or nothing.
                std::io::stdout().lock().write_all(format!("acknowledged {index} {n}\n").as_bytes()).unwrap();
                last = n;
            }
        });
    }
    tasks.join_next().await.unwrap().unwrap();
}

fn parent() {
    let seed = rand::random();
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("store.db");
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let mut acknowledged = BTreeMap::new();
    for kill in 0..KILLS {
        run_and_kill(&path, &mut random, &mut acknowledged);
        // Not each time: an orderly end between two kills would hide what the second does to what the first left.
        if kill % 4 == 3 {
            runtime.block_on(check(&path, &acknowledged, kill % 20 == 19));
        }
    }
    let commits: u64 = acknowledged.values().sum();
    println!("{KILLS} kills, {commits} acknowledged commits");
    assert!(commits > u64::try_from(KILLS).unwrap() * 10, "only {commits} commits were acknowledged");
}

/// Starts the child, kills it at a random moment after its first commits, and notes the last number that each writer was told.
fn run_and_kill(path: &Path, random: &mut StdRng, acknowledged: &mut BTreeMap<usize, u64>) {
    let this = env::current_exe().unwrap();
    let arguments = ["--exact", "acknowledged_commits_survive_sigkill", "--nocapture"];
    let mut child = Command::new(this).args(arguments).env(CHILD, path).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut note = |line: &str| {
        let Some(rest) = line.strip_prefix("acknowledged ") else { return false };
        let (index, n) = rest.split_once(' ').unwrap();
        let last = acknowledged.insert(index.parse().unwrap(), n.parse().unwrap()).unwrap_or(0);
        assert!(n.parse::<u64>().unwrap() > last, "{line} after {last}");
        true
    };
    let begun = lines.by_ref().map_while(Result::ok).any(|line| note(&line));
    assert!(begun, "the child ended without a commit: {:?}", child.wait());
    let moment = Duration::from_micros(random.random_range(0..120_000));
    // However slow the disk is, a few commits come first.
    let mut first = random.random_range(0..40_u32);
    let (enough, is_enough) = mpsc::channel::<()>();
    let mut enough = Some(enough).filter(|_| first > 0);
    let kill = thread::spawn(move || {
        thread::sleep(moment);
        // The other end is dropped when there are enough.
        let _ = is_enough.recv();
        child.kill().unwrap();
        child.wait().unwrap()
    });
    for line in lines.map_while(Result::ok) {
        note(&line);
        first = first.saturating_sub(1);
        enough = enough.filter(|_| first > 0);
    }
    drop(enough);
    let status = kill.join().unwrap();
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(9), "the child ended by itself: {status}");
}

async fn check(path: &Path, acknowledged: &BTreeMap<usize, u64>, verify: bool) {
    let store = Sqlite::open(Config { verify, ..Config::new(path) }).unwrap();
    for index in 0..WRITERS {
        let here = writer(index);
        let last = head(&store, &here).await;
        let told = acknowledged.get(&index).copied().unwrap_or(0);
        // In each run one more commit may have been kept than was told, and the next run goes on from it.
        assert!(last >= told, "writer {index}: {told} was acknowledged, the store has {last}");
        let mut expected = Vec::new();
        for n in last.saturating_sub(KEPT) + 1..=last {
            expected.extend((0..PARTS).map(|which| (Bytes::from(format!("log/{n:010}/{which}")), part(index, n, which))));
        }
        let found = scan_all(&store, &here, Range::prefix(b"log/"), 50).await;
        assert!(found == expected, "writer {index} at {last}: found {:?}", found.iter().map(|(key, _)| key).collect::<Vec<_>>());
    }
}
