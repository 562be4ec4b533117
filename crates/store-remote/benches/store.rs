//! The Redis store against one plain connection that writes the same: what the contract costs and what its groups gain.
//!
//! `cargo bench -p plexspaces-store-remote` prints one table. The plain side sends, for each commit, the commands that write its value and
//! its key: in groups of the sizes that the store made, each one transaction, and, for comparison, one commit after the other.

use std::sync::Arc;
use std::time::Instant;

use plexspaces_store::conformance::rate::{ROUND, ROUNDS, VALUE, median, ok, partition, runtime, through};
use plexspaces_store_remote::redis::Config;
use plexspaces_testkit::GroupSizes;
use plexspaces_testkit::servers::Redis;
use redis::aio::MultiplexedConnection;

fn main() {
    let (sizes, server, runtime) = (ok(GroupSizes::install()), ok(Redis::start()), runtime());
    println!("Redis on this machine: commits of one 200-byte value; commits per second, medians of {ROUNDS} rounds");
    println!(
        "{:>8} {:>10} {:>10} {:>12} {:>7} {:>12} {:>7}",
        "callers", "store", "mean group", "plain, same", "ratio", "plain, 1", "ratio"
    );
    let plain = runtime.block_on(connect(&server.url()));
    for callers in [1, 16, 256] {
        let (mut store, mut same, mut single, mut groups) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            sizes.take();
            let opened = runtime.block_on(async { Arc::new(ok(plexspaces_store_remote::Redis::open(&Config::new(server.url())))) });
            store.push(through(opened, &runtime, callers));
            let made = sizes.take();
            groups.push(made.iter().sum::<usize>() as f64 / made.len().max(1) as f64);
            same.push(runtime.block_on(write(&plain, callers, made)));
            single.push(runtime.block_on(write(&plain, callers, vec![1])));
            let _: redis::Value = ok(runtime.block_on(redis::cmd("FLUSHALL").query_async(&mut plain.clone())));
        }
        // A ratio is that of neighbours in time.
        let ratio = |of: &[f64]| median(store.iter().zip(of).map(|(store, plain)| store / plain).collect());
        let (to_same, to_single) = (ratio(&same), ratio(&single));
        let (store, same, single, groups) = (median(store), median(same), median(single), median(groups));
        println!("{callers:>8} {store:>10.0} {groups:>10.1} {same:>12.0} {to_same:>7.2} {single:>12.0} {to_single:>7.2}");
    }
}

async fn connect(url: &str) -> MultiplexedConnection {
    let config = redis::AsyncConnectionConfig::new().set_response_timeout(None);
    ok(ok(redis::Client::open(url)).get_multiplexed_async_connection_with_config(&config).await)
}

async fn write(connection: &MultiplexedConnection, callers: usize, groups: Vec<usize>) -> f64 {
    let partitions: Vec<_> = (0..callers).map(|caller| partition(caller).as_bytes().to_vec()).collect();
    let mut next = (0_u64..).flat_map(|n| partitions.iter().map(move |partition| (partition, n.to_be_bytes())));
    let (begin, mut commits) = (Instant::now(), 0);
    for size in groups.into_iter().cycle() {
        let mut pipeline = redis::pipe();
        pipeline.atomic();
        for (partition, key) in next.by_ref().take(size) {
            let (values, order) = ([b"plain:v:", &partition[..]].concat(), [b"plain:o:", &partition[..]].concat());
            pipeline.cmd("HSET").arg(values).arg(&key).arg(&VALUE).ignore();
            pipeline.cmd("ZADD").arg(order).arg(0).arg(&key).ignore();
        }
        let () = ok(pipeline.query_async(&mut connection.clone()).await);
        commits += size;
        if begin.elapsed() >= ROUND {
            break;
        }
    }
    commits as f64 / begin.elapsed().as_secs_f64()
}
