//! What the store tells about itself.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test may panic")]

use std::sync::Arc;

use metrics_exporter_prometheus::PrometheusBuilder;
use plexspaces_store::conformance::{partition, put};
use plexspaces_store_sql::Sqlite;
use plexspaces_store_sql::sqlite::Config;
use tempfile::TempDir;
use tokio::task::JoinSet;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commits_and_their_groups_are_counted() {
    const COMMITS: usize = 500;
    let recorder = PrometheusBuilder::new().build_recorder();
    let rendered = recorder.handle();
    metrics::set_global_recorder(recorder).unwrap();

    let directory = TempDir::new().unwrap();
    let store = Arc::new(Sqlite::open(Config::new(directory.path().join("store.db"))).unwrap());
    let mut tasks = JoinSet::new();
    for n in 0..COMMITS {
        let store = Arc::clone(&store);
        tasks.spawn(async move { put(&*store, &partition(&format!("p{n}")), "k", "v").await });
    }
    while let Some(task) = tasks.join_next().await {
        task.unwrap().unwrap();
    }
    store.close().await.unwrap();

    let text = rendered.render();
    let value = |name: &str| -> f64 {
        let line = text.lines().find(|line| line.starts_with(&format!("{name} "))).unwrap_or_else(|| panic!("no {name} in {text}"));
        line.rsplit(' ').next().unwrap().parse().unwrap()
    };
    assert_eq!(value("plexspaces_store_commits_total"), COMMITS as f64);
    assert_eq!(value("plexspaces_store_commit_seconds_count"), COMMITS as f64);
    assert_eq!(value("plexspaces_store_group_size_sum"), COMMITS as f64);
    assert!(value("plexspaces_store_group_size_count") < COMMITS as f64 / 2.0, "commits were not grouped: {text}");
}
