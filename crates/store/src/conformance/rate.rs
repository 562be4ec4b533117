//! What the benchmarks of backends have in common: callers that commit as fast as they can, and the medians of rounds.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use plexspaces_types::Name;
use tokio::runtime::Runtime;

use crate::{Batch, Error, Partition, Store};

/// Rounds of each measurement.
pub const ROUNDS: usize = 9;
/// How long a round takes.
pub const ROUND: Duration = Duration::from_millis(800);
/// What is committed under each key.
pub const VALUE: [u8; 200] = [7; 200];

/// The partition of a caller.
#[must_use]
pub fn partition(caller: usize) -> Partition {
    Partition::tenant(&Name::default_scope(), &format!("caller{caller}"))
}

/// Lets each caller commit one value after the other, in its own partition, for one round. Gives the commits of a second.
pub fn through(store: Arc<impl Store>, runtime: &Runtime, callers: usize) -> f64 {
    let stop = Arc::new(AtomicBool::new(false));
    let begin = Instant::now();
    let tasks: Vec<_> = (0..callers)
        .map(|caller| {
            let (store, stop, partition) = (Arc::clone(&store), Arc::clone(&stop), partition(caller));
            runtime.spawn(async move {
                let mut n = 0_u64;
                while !stop.load(Ordering::Relaxed) {
                    let mut batch = Batch::new(partition.clone());
                    batch.put(n.to_be_bytes().to_vec(), &VALUE[..]);
                    store.commit(batch).await.map(|()| n += 1)?;
                }
                Ok::<_, Error>(n)
            })
        })
        .collect();
    std::thread::sleep(ROUND);
    stop.store(true, Ordering::Relaxed);
    let rows: u64 = tasks.into_iter().map(|task| ok(ok(runtime.block_on(task)))).sum();
    rows as f64 / begin.elapsed().as_secs_f64()
}

/// The runtime of all measurements.
#[must_use]
pub fn runtime() -> Runtime {
    ok(tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build())
}

/// The middle one.
#[must_use]
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

/// What was expected, or the end of the benchmark.
pub fn ok<T, E: std::fmt::Display>(result: Result<T, E>) -> T {
    result.unwrap_or_else(|error| {
        eprintln!("{error}");
        std::process::exit(1)
    })
}
