//! A full disk refuses commits and harms nothing. The disk is a small one in memory, so mounting must be allowed.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test may panic")]

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use plexspaces_store::conformance::{partition, scan_all};
use plexspaces_store::{Batch, Error, Range, Store};
use plexspaces_store_sql::Sqlite;
use plexspaces_store_sql::sqlite::Config;
use tempfile::TempDir;

/// A disk of its own, gone at the end.
struct Disk(TempDir);

impl Disk {
    fn new(size: &str) -> Self {
        let directory = TempDir::new().unwrap();
        let mount = Command::new("mount").args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"]).arg(directory.path()).output();
        let mount = mount.expect("this test needs the program mount");
        assert!(mount.status.success(), "this test must be allowed to mount a tmpfs: {}", String::from_utf8_lossy(&mount.stderr));
        Self(directory)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(self.path()).status();
    }
}

fn pair(n: usize, size: usize) -> Batch {
    let mut batch = Batch::new(partition("full"));
    batch.put(format!("a{n:05}"), vec![1; size]).put(format!("b{n:05}"), vec![2; size]);
    batch
}

async fn check(store: &dyn Store, kept: &[usize]) {
    for side in ["a", "b"] {
        let found = scan_all(store, &partition("full"), Range::prefix(side.as_bytes()), 100).await;
        let found: Vec<_> = found.iter().map(|(key, _)| std::str::from_utf8(&key[1..]).unwrap().parse::<usize>().unwrap()).collect();
        assert_eq!(found, kept, "side {side}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_refuses_commits_and_the_store_goes_on_when_there_is_room() {
    let disk = Disk::new("8m");
    let config = Config::new(disk.path().join("store.db"));
    let store = Arc::new(Sqlite::open(config.clone()).unwrap());
    let filler = disk.path().join("filler");
    fs::write(&filler, vec![0; 4 << 20]).unwrap();

    let mut kept = Vec::new();
    let refused = loop {
        match store.commit(pair(kept.len(), 30_000)).await {
            Ok(()) => kept.push(kept.len()),
            Err(error) => break error,
        }
        assert!(kept.len() < 200, "the disk never filled");
    };
    assert!(matches!(&refused, Error::Full(text) if text.contains("store.db")), "{refused:?}");
    assert!(kept.len() > 5, "only {} commits fitted", kept.len());
    assert!(matches!(store.commit(pair(kept.len(), 30_000)).await, Err(Error::Full(_))));
    check(&*store, &kept).await;

    fs::remove_file(&filler).unwrap();
    store.commit(pair(kept.len(), 30_000)).await.unwrap();
    kept.push(kept.len());
    check(&*store, &kept).await;

    // A batch that does not fit does not fail those that are under way with it.
    let mut tasks = tokio::task::JoinSet::new();
    let (large, small) = (1_000, kept.len()..kept.len() + 20);
    for n in std::iter::once(large).chain(small) {
        let store = Arc::clone(&store);
        tasks.spawn(async move { (n, store.commit(pair(n, if n == large { 4 << 20 } else { 10 })).await) });
    }
    while let Some(task) = tasks.join_next().await {
        match task.unwrap() {
            (n, Ok(())) => kept.push(n),
            (n, Err(error)) => assert!(n == large && matches!(error, Error::Full(_)), "{n}: {error:?}"),
        }
    }
    kept.sort_unstable();
    assert!(kept.ends_with(&[kept.len() - 1]), "the large batch was kept");
    check(&*store, &kept).await;

    drop(store);
    let store = Sqlite::open(Config { verify: true, ..config }).unwrap();
    check(&store, &kept).await;
}
