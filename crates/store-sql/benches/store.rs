//! The SQLite store against plain SQLite that writes the same rows in the same groups: what the contract costs. The same with PostgreSQL.
//!
//! `cargo bench -p plexspaces-store-sql` prints one table. The plain side has the same settings and no checksums, threads or tasks. It
//! writes groups of the sizes that the store made, and, for comparison, groups of as many rows as there are callers.

use std::sync::Arc;
use std::time::Instant;

use plexspaces_store::conformance::rate::{ROUND, ROUNDS, VALUE, median, ok, partition, runtime, through};
use plexspaces_store::{Batch, Store};
use plexspaces_store_sql::sqlite::Config;
use plexspaces_store_sql::{Sqlite, postgres};
use plexspaces_testkit::GroupSizes;
use plexspaces_testkit::servers::Postgres;
use rusqlite::Connection;
use tempfile::TempDir;
use tokio_postgres::NoTls;

const READS: u64 = 20_000;

fn main() {
    let sizes = ok(GroupSizes::install());
    println!("commits of one 200-byte value, {} cores; rows per second, medians of {ROUNDS} rounds", cores());
    println!(
        "{:>8} {:>10} {:>10} {:>12} {:>7} {:>14} {:>7}",
        "callers", "store", "mean group", "plain, same", "ratio", "plain, full", "ratio"
    );
    for callers in [1, 16, 256] {
        commits(callers, &sizes);
    }
    match Postgres::start() {
        Ok(server) => postgres(&server, &sizes),
        Err(error) => println!("\nno PostgreSQL: {error:#}"),
    }
    println!("\nreads of one 200-byte value among {READS}; reads per second");
    println!("{:>8} {:>10} {:>12} {:>7}", "callers", "store", "plain, 1", "ratio");
    for callers in [1, 16] {
        reads(callers);
    }
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(0, usize::from)
}

fn commits(callers: usize, sizes: &GroupSizes) {
    let (mut store, mut same, mut full, mut groups) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    // The rounds of all sides follow one another, so that what the machine does besides meets all.
    for _ in 0..ROUNDS {
        sizes.take();
        store.push(through_store(callers));
        let made = sizes.take();
        groups.push(made.iter().sum::<usize>() as f64 / made.len().max(1) as f64);
        same.push(plain(callers, made.into_iter().cycle()));
        full.push(plain(callers, std::iter::repeat(callers)));
    }
    // A ratio is that of neighbours in time.
    let ratio = |of: &[f64]| median(store.iter().zip(of).map(|(store, plain)| store / plain).collect());
    let (to_same, to_full) = (ratio(&same), ratio(&full));
    let (store, same, full, groups) = (median(store), median(same), median(full), median(groups));
    println!("{callers:>8} {store:>10.0} {groups:>10.1} {same:>12.0} {to_same:>7.2} {full:>14.0} {to_full:>7.2}");
}

/// The same on PostgreSQL, against one connection that inserts groups of the same sizes, each with one statement.
fn postgres(server: &Postgres, sizes: &GroupSizes) {
    println!("\nPostgreSQL on this machine: the same commits; rows per second");
    println!("{:>8} {:>10} {:>10} {:>12} {:>7}", "callers", "store", "mean group", "plain, same", "ratio");
    let runtime = runtime();
    let client = runtime.block_on(async {
        let (client, connection) = ok(tokio_postgres::connect(&server.url(), NoTls).await);
        tokio::spawn(connection);
        ok(client.batch_execute("CREATE TABLE plain (partition bytea, key bytea, value bytea, PRIMARY KEY (partition, key))").await);
        client
    });
    for callers in [1, 16, 256] {
        let (mut store, mut plain, mut groups) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            sizes.take();
            let opened =
                runtime.block_on(async { Arc::new(ok(plexspaces_store_sql::Postgres::open(&postgres::Config::new(server.url())))) });
            store.push(through(opened, &runtime, callers));
            let made = sizes.take();
            groups.push(made.iter().sum::<usize>() as f64 / made.len().max(1) as f64);
            plain.push(runtime.block_on(plain_postgres(&client, callers, made)));
            ok(runtime.block_on(client.batch_execute("TRUNCATE plain; TRUNCATE plexspaces_entries")));
        }
        let ratio = median(store.iter().zip(&plain).map(|(store, plain)| store / plain).collect());
        println!("{callers:>8} {:>10.0} {:>10.1} {:>12.0} {ratio:>7.2}", median(store), median(groups), median(plain));
    }
}

async fn plain_postgres(client: &tokio_postgres::Client, callers: usize, groups: Vec<usize>) -> f64 {
    let insert = ok(client.prepare("INSERT INTO plain SELECT * FROM unnest($1::bytea[], $2::bytea[], $3::bytea[])").await);
    let partitions: Vec<_> = (0..callers).map(partition).collect();
    let mut next = (0_u64..).flat_map(|n| partitions.iter().map(move |partition| (partition.as_bytes(), n.to_be_bytes().to_vec())));
    let (begin, mut rows) = (Instant::now(), 0);
    for size in groups.into_iter().cycle() {
        let (partitions, keys): (Vec<_>, Vec<_>) = next.by_ref().take(size).unzip();
        ok(client.execute(&insert, &[&partitions, &keys, &vec![&VALUE[..]; size]]).await);
        rows += size;
        if begin.elapsed() >= ROUND {
            break;
        }
    }
    rows as f64 / begin.elapsed().as_secs_f64()
}

fn through_store(callers: usize) -> f64 {
    let directory = directory();
    through(open(&directory), &runtime(), callers)
}

fn plain(callers: usize, groups: impl Iterator<Item = usize>) -> f64 {
    let directory = directory();
    let connection = ok(plain_connection(&directory));
    let begin = Instant::now();
    let write = || -> rusqlite::Result<usize> {
        let mut rows = 0;
        let mut put = connection.prepare("INSERT INTO entries (partition, key, value) VALUES (?1, ?2, ?3)")?;
        let (mut begin_group, mut commit) = (connection.prepare("BEGIN IMMEDIATE")?, connection.prepare("COMMIT")?);
        let partitions: Vec<_> = (0..callers).map(partition).collect();
        let mut next = (0_u64..).flat_map(|n| partitions.iter().map(move |partition| (partition, n)));
        for size in groups {
            begin_group.execute([])?;
            for (partition, n) in next.by_ref().take(size) {
                put.execute((partition.as_bytes(), n.to_be_bytes(), VALUE))?;
            }
            commit.execute([])?;
            rows += size;
            if begin.elapsed() >= ROUND {
                break;
            }
        }
        Ok(rows)
    };
    ok(write()) as f64 / begin.elapsed().as_secs_f64()
}

fn plain_connection(directory: &TempDir) -> rusqlite::Result<Connection> {
    let connection = Connection::open(directory.path().join("plain.db"))?;
    connection.execute_batch(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 4096; PRAGMA cache_size = -16384; \
         CREATE TABLE entries (partition BLOB NOT NULL, key BLOB NOT NULL, value BLOB NOT NULL, PRIMARY KEY (partition, key)) WITHOUT ROWID",
    )?;
    Ok(connection)
}

fn reads(callers: usize) {
    let runtime = runtime();
    let directory = directory();
    let store = open(&directory);
    let connection = ok(plain_connection(&directory));
    let here = partition(0);
    for first in (0..READS).step_by(1_000) {
        let mut batch = Batch::new(here.clone());
        for n in first..first + 1_000 {
            batch.put(n.to_be_bytes().to_vec(), &VALUE[..]);
            ok(connection.execute("INSERT INTO entries VALUES (?1, ?2, ?3)", (here.as_bytes(), n.to_be_bytes(), VALUE)));
        }
        ok(runtime.block_on(store.commit(batch)));
    }
    let begin = Instant::now();
    let tasks: Vec<_> = (0..callers)
        .map(|_| {
            let (store, here) = (Arc::clone(&store), here.clone());
            runtime.spawn(async move {
                for n in 0..READS {
                    assert!(store.get(&here, &n.to_be_bytes()).await.is_ok_and(|value| value.is_some()));
                }
            })
        })
        .collect();
    let total = READS * tasks.len() as u64;
    tasks.into_iter().for_each(|task| ok(runtime.block_on(task)));
    let through_store = total as f64 / begin.elapsed().as_secs_f64();

    let begin = Instant::now();
    let mut get = ok(connection.prepare("SELECT value FROM entries WHERE partition = ?1 AND key = ?2"));
    for n in 0..READS {
        let value: Vec<u8> = ok(get.query_row((here.as_bytes(), n.to_be_bytes()), |row| row.get(0)));
        assert_eq!(value.len(), VALUE.len());
    }
    let plain = READS as f64 / begin.elapsed().as_secs_f64();
    println!("{callers:>8} {through_store:>10.0} {plain:>12.0} {:>7.2}", through_store / plain);
}

fn open(directory: &TempDir) -> Arc<Sqlite> {
    Arc::new(ok(Sqlite::open(Config::new(directory.path().join("store.db")))))
}

fn directory() -> TempDir {
    ok(TempDir::new())
}
