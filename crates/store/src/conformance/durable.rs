//! What outlives the handle.

use super::{Fixture, bytes, partition, put, scan_all};
use crate::{Batch, Durability, Range};

async fn survives(fixture: &impl Fixture, orderly: bool) {
    let names = ["a", "b"];
    for round in 0..5_u32 {
        let store = fixture.open().await;
        assert_eq!(store.limits().durability, Durability::Synced);
        for here in names.map(partition) {
            let found = scan_all(&*store, &here, Range::prefix(b"k"), 100).await;
            let expected: Vec<_> = (0..round * 10).map(|n| (bytes(&format!("k{n:03}")), bytes(&n.to_string()))).collect();
            assert_eq!(found, expected, "round {round}");
            for n in round * 10..(round + 1) * 10 {
                let mut batch = Batch::new(here.clone());
                batch.require("head", (n > 0).then(|| bytes(&(n - 1).to_string()))).put("head", n.to_string());
                batch.put(format!("k{n:03}"), n.to_string());
                store.commit(batch).await.unwrap();
            }
        }
        if orderly {
            fixture.close(store).await;
        } else {
            drop(store);
        }
    }
}

/// Closed and opened again, it holds what was committed.
pub async fn what_was_committed_is_there_after_reopening(fixture: &impl Fixture) {
    survives(fixture, true).await;
}

/// The same when the handle was only dropped.
pub async fn what_was_committed_is_there_after_dropping_without_closing(fixture: &impl Fixture) {
    survives(fixture, false).await;
}

/// A large value comes back whole.
pub async fn large_values_survive_reopening(fixture: &impl Fixture) {
    let here = partition("large");
    let store = fixture.open().await;
    let value = bytes(&"0123456789".repeat(store.limits().value_bytes.min(1 << 20) / 10));
    put(&*store, &here, "k", value.clone()).await.unwrap();
    fixture.close(store).await;
    assert!(fixture.open().await.get(&here, b"k").await.unwrap() == Some(value));
}
