//! Files that are not a store, or are damaged, are refused or never read as truth.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test may panic")]

use std::fs;
use std::path::Path;

use bytes::Bytes;
use plexspaces_store::conformance::{partition, scan_all};
use plexspaces_store::{Batch, Error, Range, Store};
use plexspaces_store_sql::Sqlite;
use plexspaces_store_sql::sqlite::Config;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use rusqlite::Connection;
use tempfile::TempDir;

/// Opens what must be refused, and checks that the refusal names the path and left the file as it was.
fn refusal(path: &Path) -> String {
    let before = fs::read(path).ok();
    let error = Sqlite::open(Config::new(path)).expect_err("this is no store");
    assert!(matches!(error, Error::Corrupt(_)), "{error:?}");
    let text = error.to_string();
    assert!(text.contains(&path.display().to_string()), "{text}");
    assert!(fs::read(path).ok() == before, "the refused file was changed");
    text
}

#[test]
fn a_text_file_is_refused() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("store.db");
    fs::write(&path, "Dear diary,\n".repeat(1_000)).unwrap();
    let text = refusal(&path);
    assert!(text.contains("Dear diary") && text.contains("move it away"), "{text}");
}

#[test]
fn another_database_is_refused() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("store.db");
    Connection::open(&path).unwrap().execute_batch("CREATE TABLE entries (partition, key, value)").unwrap();
    let text = refusal(&path);
    assert!(text.contains("application id") && text.contains("move it away"), "{text}");
}

#[test]
fn a_newer_version_is_refused() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("store.db");
    drop(Sqlite::open(Config::new(&path)).unwrap());
    Connection::open(&path).unwrap().pragma_update(None, "user_version", 2).unwrap();
    let text = refusal(&path);
    assert!(text.contains("version 2") && text.contains("version 1") && text.contains("use the plexspaces that wrote it"), "{text}");
}

#[test]
fn another_table_is_refused() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("store.db");
    drop(Sqlite::open(Config::new(&path)).unwrap());
    Connection::open(&path).unwrap().execute_batch("CREATE TABLE other (a)").unwrap();
    let text = refusal(&path);
    assert!(text.contains("CREATE TABLE other") && text.contains("backup"), "{text}");
}

#[test]
fn what_lost_its_content_is_refused() {
    let directory = TempDir::new().unwrap();
    let empty = directory.path().join("empty.db");
    fs::write(&empty, "").unwrap();
    assert!(refusal(&empty).contains("it is empty"));
    let gone = directory.path().join("gone.db");
    fs::write(directory.path().join("gone.db-wal"), "log").unwrap();
    assert!(refusal(&gone).contains("its log"));
    assert!(refusal(directory.path()).contains("directory"));
}

#[test]
fn a_missing_directory_is_an_error_that_names_the_path() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("missing/store.db");
    let error = Sqlite::open(Config::new(&path)).unwrap_err();
    assert!(error.to_string().contains(&path.display().to_string()), "{error}");
}

#[test]
fn an_interrupted_creation_is_begun_again() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("store.db");
    fs::write(directory.path().join("store.db-new"), "half").unwrap();
    fs::write(directory.path().join("store.db-new-journal"), "half").unwrap();
    drop(Sqlite::open(Config::new(&path)).unwrap());
    drop(Sqlite::open(Config { verify: true, ..Config::new(&path) }).unwrap());
}

/// The entries of three partitions: enough for pages of every kind.
fn truth() -> Vec<(&'static str, Vec<(Bytes, Bytes)>)> {
    let entries = |salt: usize| {
        (0..200_usize).map(move |n| {
            let length = if n % 40 == 0 { 9_000 } else { 20 + (n * 37 + salt) % 400 };
            let value: Vec<u8> = (0..length).map(|at| u8::try_from((at * 31 + n * 7 + salt) % 251).unwrap()).collect();
            (Bytes::from(format!("key/{n:05}")), Bytes::from(value))
        })
    };
    [("a", 1), ("ab", 2), ("b", 3)].map(|(name, salt)| (name, entries(salt).collect())).into()
}

/// The bytes of a closed store that holds the truth.
async fn whole_file(directory: &Path) -> Vec<u8> {
    let path = directory.join("whole.db");
    let store = Sqlite::open(Config::new(&path)).unwrap();
    for (name, entries) in truth() {
        let mut batch = Batch::new(partition(name));
        for (key, value) in entries {
            batch.put(key, value);
        }
        store.commit(batch).await.unwrap();
    }
    store.close().await.unwrap();
    assert_eq!(store.get(&partition("a"), b"key/00001").await, Err(Error::Unavailable(format!("{} is closed", path.display()))));
    assert!(!directory.join("whole.db-wal").exists(), "closing left the log");
    fs::read(path).unwrap()
}

/// Opens a damaged file and reads all of it. Whether anything told of the damage. Every value that is given must be true; rows may seem
/// absent only where an inner page is damaged, and then the check of the whole file must find it.
async fn damage_is_told(path: &Path) -> bool {
    let store = match Sqlite::open(Config::new(path)) {
        Ok(store) => store,
        Err(error) => {
            assert!(error.to_string().contains(&path.display().to_string()), "{error:?}");
            return true;
        }
    };
    let (mut told, mut absent) = (false, false);
    for (name, entries) in truth() {
        let here = partition(name);
        for (key, value) in &entries {
            match store.get(&here, key).await {
                Ok(None) => absent = true,
                Ok(Some(found)) => assert!(found == value, "{name} {key:?} is read as {found:?}"),
                Err(Error::Corrupt(_)) => told = true,
                Err(other) => panic!("{other:?}"),
            }
            let never = [key, &b"+"[..]].concat();
            assert!(matches!(store.get(&here, &never).await, Ok(None) | Err(Error::Corrupt(_))), "{never:?} is found");
        }
        for from in [0, 60, 199] {
            match store.scan(&here, Range { start: entries[from].0.clone(), end: None }, 1_000).await {
                Ok(page) => {
                    absent |= page.entries.len() < entries.len() - from;
                    assert!(page.entries.iter().all(|entry| entries[from..].contains(entry)), "{name} from {from}: a row that never was");
                    assert!(page.entries.is_sorted(), "{name} from {from}: out of order");
                }
                Err(Error::Corrupt(_)) => told = true,
                Err(other) => panic!("{other:?}"),
            }
        }
    }
    if absent {
        store.close().await.unwrap();
        let found = Sqlite::open(Config { verify: true, ..Config::new(path) });
        assert!(matches!(found, Err(Error::Corrupt(_))), "rows are missing, and the check of the whole file does not find it");
    }
    told || absent
}

#[tokio::test]
async fn a_truncated_file_is_refused_or_its_damage_is_told() {
    let directory = TempDir::new().unwrap();
    let whole = whole_file(directory.path()).await;
    let path = directory.path().join("store.db");
    for pages in 0..whole.len() / 4_096 {
        fs::write(&path, &whole[..pages * 4_096]).unwrap();
        refusal(&path);
    }
    for length in [1, 15, 16, 50, 99, 100, 1_000, 5_000, whole.len() - 3_000] {
        let _ = fs::remove_file(directory.path().join("store.db-wal"));
        fs::write(&path, &whole[..length]).unwrap();
        damage_is_told(&path).await;
    }
}

#[tokio::test]
async fn a_flipped_bit_never_makes_a_wrong_value() {
    const FLIPS: usize = 250;
    let directory = TempDir::new().unwrap();
    let whole = whole_file(directory.path()).await;
    let seed = rand::random();
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let mut told = 0;
    for flip in 0..FLIPS {
        let (byte, bit) = (random.random_range(0..whole.len()), random.random_range(0..8));
        println!("flip {flip}: bit {bit} of byte {byte}");
        let mut damaged = whole.clone();
        damaged[byte] ^= 1 << bit;
        let path = directory.path().join(format!("{flip}.db"));
        fs::write(&path, damaged).unwrap();
        told += usize::from(damage_is_told(&path).await);
        fs::remove_file(path).unwrap();
    }
    // The rest hit what holds nothing: free space of pages, and counters.
    println!("{told} of {FLIPS} flips were told");
    assert!(told > FLIPS / 2, "only {told} of {FLIPS} flips were told");
}

/// Where the inner pages point to their children: four bytes each, as SQLite's file format has it.
fn pointers(whole: &[u8]) -> Vec<usize> {
    let number = |at: usize| usize::from(u16::from_be_bytes([whole[at], whole[at + 1]]));
    let inner = (4_096..whole.len()).step_by(4_096).filter(|page| whole[*page] == 2);
    inner.flat_map(|page| std::iter::once(page + 8).chain((0..number(page + 3)).map(move |n| page + number(page + 12 + 2 * n)))).collect()
}

#[tokio::test]
async fn verify_finds_a_pointer_to_another_page() {
    let directory = TempDir::new().unwrap();
    let whole = whole_file(directory.path()).await;
    let pointers = pointers(&whole);
    assert!(pointers.len() > 20, "too few pages for this test: {pointers:?}");
    for (n, pointer) in pointers.into_iter().enumerate() {
        let path = directory.path().join(format!("{n}.db"));
        let mut damaged = whole.clone();
        damaged[pointer + 3] ^= 1 << (n % 8);
        fs::write(&path, damaged).unwrap();
        let error = Sqlite::open(Config { verify: true, ..Config::new(&path) }).unwrap_err();
        assert!(matches!(error, Error::Corrupt(_)), "{error:?}");
        damage_is_told(&path).await;
    }
}

#[tokio::test]
async fn verify_finds_damage_when_opening() {
    let directory = TempDir::new().unwrap();
    let whole = whole_file(directory.path()).await;
    let path = directory.path().join("store.db");
    // In the middle of a large value, where nothing but a checksum can see it, wherever a copy of the row may be.
    let row = [partition("ab").as_bytes(), b"key/00120"].concat();
    let mut damaged = whole.clone();
    for (at, _) in whole.windows(row.len()).enumerate().filter(|(_, window)| *window == row) {
        damaged[at + row.len() + 50] ^= 1;
    }
    fs::write(&path, damaged).unwrap();
    drop(Sqlite::open(Config::new(&path)).unwrap());
    let error = Sqlite::open(Config { verify: true, ..Config::new(&path) }).unwrap_err();
    assert!(error.to_string().contains("key/00120"), "{error}");
    let store = Sqlite::open(Config::new(&path)).unwrap();
    assert!(matches!(store.get(&partition("ab"), b"key/00120").await, Err(Error::Corrupt(_))));
    assert_eq!(scan_all(&store, &partition("a"), Range::all(), 100).await, truth()[0].1);
}

/// The bytes of an open store and of its log, which holds `commits` commits of one row each.
async fn with_log(directory: &Path, commits: usize) -> (Vec<u8>, Vec<u8>) {
    let path = directory.join("logged.db");
    let store = Sqlite::open(Config::new(&path)).unwrap();
    for n in 0..commits {
        let mut batch = Batch::new(partition("a"));
        batch.put(format!("key/{n:05}"), vec![u8::try_from(n % 251).unwrap(); 50 + n * 7 % 3_000]);
        store.commit(batch).await.unwrap();
    }
    let files = (fs::read(&path).unwrap(), fs::read(directory.join("logged.db-wal")).unwrap());
    store.close().await.unwrap();
    files
}

/// How many of the commits a store has whose log is this; `None` when it is refused.
async fn commits_in(directory: &Path, file: &[u8], log: &[u8]) -> Option<usize> {
    let path = directory.join("store.db");
    let _ = fs::remove_file(directory.join("store.db-shm"));
    fs::write(&path, file).unwrap();
    fs::write(directory.join("store.db-wal"), log).unwrap();
    let store = match Sqlite::open(Config::new(&path)) {
        Ok(store) => store,
        Err(error) => {
            assert!(matches!(error, Error::Corrupt(_)), "{error:?}");
            assert!(error.to_string().contains("store.db-wal") && error.to_string().contains("backup"), "{error}");
            assert_eq!(fs::read(directory.join("store.db-wal")).unwrap(), log, "the refused log was changed");
            return None;
        }
    };
    let entries = scan_all(&store, &partition("a"), Range::all(), 1_000).await;
    for (n, (key, value)) in entries.iter().enumerate() {
        assert_eq!((key, value.len()), (&Bytes::from(format!("key/{n:05}")), 50 + n * 7 % 3_000), "a commit is missing before others");
        assert!(value.iter().all(|byte| usize::from(*byte) == n % 251));
    }
    store.close().await.unwrap();
    Some(entries.len())
}

#[tokio::test]
async fn a_flipped_bit_in_the_log_is_told_unless_it_may_be_a_loss_of_power() {
    const COMMITS: usize = 60;
    let directory = TempDir::new().unwrap();
    let (file, log) = with_log(directory.path(), COMMITS).await;
    assert_eq!(commits_in(directory.path(), &file, &log).await, Some(COMMITS));
    let seed = rand::random();
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let mut told = 0;
    for flip in 0..250 {
        // Each byte of the header, and then anywhere.
        let byte = if flip < 32 { flip } else { random.random_range(0..log.len()) };
        let mut damaged = log.clone();
        damaged[byte] ^= 1 << random.random_range(0..8);
        match commits_in(directory.path(), &file, &damaged).await {
            None => told += 1,
            // The last transaction may not have been synced.
            Some(commits) => assert!(commits >= COMMITS - 1, "flip in byte {byte}: {commits} of {COMMITS} commits and not a word"),
        }
    }
    println!("{told} of 250 flips were told");
    assert!(told > 200, "only {told} of 250 flips were told");
}

#[tokio::test]
async fn a_log_that_ends_early_gives_the_commits_up_to_there() {
    let directory = TempDir::new().unwrap();
    let (file, log) = with_log(directory.path(), 40).await;
    let mut last = 0;
    for length in (0..log.len()).step_by(1_777).chain([log.len()]) {
        let commits = commits_in(directory.path(), &file, &log[..length]).await.unwrap();
        assert!(commits >= last);
        last = commits;
    }
    assert_eq!(last, 40);
}
