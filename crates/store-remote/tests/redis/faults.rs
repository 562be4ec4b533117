//! Connections that are killed, servers that end, wait or come back with less.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use plexspaces_store::conformance::faults::{Told, finish, pause, surely_get, surely_put, two_nodes_lose_nothing_to_one_another, writers};
use plexspaces_store::conformance::{partition, put};
use plexspaces_store::{Batch, Error, Partition, Store};
use plexspaces_store_remote::Redis;
use plexspaces_store_remote::redis::Config;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout_at;

use crate::support::{Place, connect, server, tell};

/// Within this everything comes to pass, however much the machine has to do besides.
const LONG: Duration = Duration::from_secs(240);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_outcome_is_unknown_while_only_connections_are_killed() {
    let server = server().await;
    // Enough time for a machine that has much to do: an outcome is unknown only when it is over.
    let timeout = Duration::from_secs(600);
    let (store, told) = (Arc::new(Redis::open(&Config { timeout, ..Config::new(server.url()) }).unwrap()), Arc::new(Told::default()));
    let writers = writers(&store, &told);
    let killer = connect(&server.url()).await;
    let deadline = Instant::now() + LONG;
    let mut killed = 0;
    while killed < 400 || told.acknowledged() < 2_000 {
        assert!(Instant::now() < deadline && !writers.is_empty(), "{killed} killed, {} acknowledged", told.acknowledged());
        killed += tell::<u64>(&killer, "CLIENT KILL TYPE normal SKIPME yes").await;
        // The next kill comes when there is something to kill again.
        let _ = timeout_at(deadline.into(), told.more(10)).await;
    }
    finish(&told, writers).await;
    assert_eq!(told.unknown(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acknowledged_batches_survive_a_redis_that_is_killed_and_one_that_is_stopped() {
    let mut server = server().await;
    let timeout = Duration::from_secs(1);
    let store = Arc::new(Redis::open(&Config { timeout, ..Config::new(server.url()) }).unwrap());
    let told = Arc::new(Told::default());
    let writers = writers(&store, &told);
    for round in 0..6 {
        told.more(200).await;
        tokio::task::block_in_place(|| if round % 2 == 0 { server.kill().unwrap() } else { server.stop() });
        assert!(matches!(store.get(&partition("here"), b"k").await, Err(Error::Unavailable(_))));
        if round % 3 == 0 {
            // Long enough that nobody waits for the outcome any more.
            let before = told.unknown();
            while told.unknown() == before {
                pause().await;
            }
        }
        tokio::task::block_in_place(|| server.again().unwrap());
    }
    finish(&told, writers).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_nodes_on_one_redis_lose_nothing_to_one_another() {
    let place = Place::new();
    two_nodes_lose_nothing_to_one_another([Arc::new(place.store()), Arc::new(place.store())]).await;
}

/// A server that stands still: whether it will write what it was sent cannot be known, until it is known for good.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_stands_still_is_unknown_in_time_and_settled_before_the_next_read() {
    let server = server().await;
    let timeout = Duration::from_secs(1);
    let store = Arc::new(Redis::open(&Config { connections: 2, timeout, ..Config::new(server.url()) }).unwrap());
    let patient = Redis::open(&Config::new(server.url())).unwrap();
    let here = partition("here");
    for round in 0..4_u32 {
        surely_put(&*store, &here, "k", "before").await;
        server.hold(true).unwrap();
        let began = Instant::now();
        let outcome = put(&*store, &here, "k", "after").await;
        assert!(matches!(outcome, Err(Error::Unknown(_))), "round {round}: {outcome:?}");
        // Less than the time that a store has where none is given.
        assert!(began.elapsed() < Duration::from_secs(7), "{:?}", began.elapsed());
        // Nobody may look, and nobody may write, while it may still happen.
        let mut tasks = JoinSet::new();
        for n in 0..100 {
            let (store, here) = (store.clone(), here.clone());
            tasks.spawn(async move {
                if n % 2 == 0 { put(&*store, &here, "other", "1").await } else { store.get(&here, b"k").await.map(drop) }
            });
        }
        while let Some(outcome) = tasks.join_next().await {
            let outcome = outcome.unwrap();
            assert!(matches!(outcome, Err(Error::Unavailable(_))), "round {round}: {outcome:?}");
        }
        assert!(began.elapsed() < Duration::from_secs(9), "{:?}", began.elapsed());
        server.hold(false).unwrap();
        let settled = read(&store, &here).await;
        assert!(settled == "before" || settled == "after");
        assert_eq!(surely_get(&*store, &here, "other").await, None);
        let mut batch = Batch::new(here.clone());
        batch.require("k", Some(settled)).put("k", "again");
        patient.commit(batch).await.unwrap();
    }
}

/// Where connections of a store go through, of which some can be held up.
struct Passage {
    url: String,
    held: watch::Sender<bool>,
    /// Connections from this one on are not held up.
    since: Arc<AtomicU32>,
    made: Arc<AtomicU32>,
}

impl Passage {
    async fn to(url: &str) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let (credentials, target) = url.trim_end_matches("/0").rsplit_once('@').unwrap();
        let url = format!("{credentials}@{}/0", listener.local_addr().unwrap());
        let (held, watched) = watch::channel(false);
        let (since, made) = (Arc::new(AtomicU32::new(u32::MAX)), Arc::new(AtomicU32::new(0)));
        let (target, limit, count) = (target.to_owned(), since.clone(), made.clone());
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let number = count.fetch_add(1, Ordering::Relaxed);
                let far = TcpStream::connect(&target).await.unwrap();
                let ((mut near_in, mut near_out), (mut far_in, mut far_out)) = (near.into_split(), far.into_split());
                tokio::spawn(async move { tokio::io::copy(&mut far_in, &mut near_out).await });
                let (mut watched, limit) = (watched.clone(), limit.clone());
                tokio::spawn(async move {
                    let mut bytes = vec![0; 64 << 10];
                    while let Ok(count @ 1..) = near_in.read(&mut bytes).await {
                        // What came before its connection ended goes on all the same.
                        if number < limit.load(Ordering::Relaxed) {
                            let Ok(_) = watched.wait_for(|held| !held).await else { break };
                        }
                        if far_out.write_all(&bytes[..count]).await.is_err() {
                            break;
                        }
                    }
                });
            }
        });
        Self { url, held, since, made }
    }

    /// Holds up what goes over the connections that there are.
    fn hold(&self, held: bool) {
        self.since.store(self.made.load(Ordering::Relaxed), Ordering::Relaxed);
        self.held.send(held).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_that_arrives_late_is_not_written() {
    let server = server().await;
    let passage = Passage::to(&server.url()).await;
    let timeout = Duration::from_secs(1);
    let store = Redis::open(&Config { timeout, ..Config::new(passage.url.clone()) }).unwrap();
    let here = partition("here");
    let operator = connect(&server.url()).await;
    for round in 0..5 {
        surely_put(&store, &here, "k", "before").await;
        passage.hold(true);
        let outcome = put(&store, &here, "k", "after").await;
        assert!(matches!(outcome, Err(Error::Unknown(_))), "round {round}: {outcome:?}");
        assert_eq!(read(&store, &here).await, "before");
        let before = evalshas(&operator).await;
        passage.hold(false);
        // It arrives, and the server runs it.
        while evalshas(&operator).await == before {
            pause().await;
        }
        assert_eq!(read(&store, &here).await, "before");
    }
}

/// What arrives late among commits that go on would make one of them fail, or be there twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acknowledged_batches_survive_groups_that_arrive_late() {
    let server = server().await;
    let passage = Passage::to(&server.url()).await;
    let timeout = Duration::from_millis(500);
    let store = Arc::new(Redis::open(&Config { timeout, ..Config::new(passage.url.clone()) }).unwrap());
    let told = Arc::new(Told::default());
    let writers = writers(&store, &told);
    let deadline = Instant::now() + LONG;
    for _ in 0..10 {
        told.more(50).await;
        let before = told.unknown();
        passage.hold(true);
        while told.unknown() == before {
            assert!(Instant::now() < deadline && !writers.is_empty());
            pause().await;
        }
        told.more(20).await;
        passage.hold(false);
    }
    finish(&told, writers).await;
}

/// What is there, as soon as there is an answer.
async fn read(store: &Redis, here: &Partition) -> bytes::Bytes {
    surely_get(store, here, "k").await.unwrap()
}

/// Scripts that the server has run.
async fn evalshas(operator: &redis::aio::MultiplexedConnection) -> u64 {
    let text: String = tell(operator, "INFO commandstats").await;
    let line = text.lines().find_map(|line| line.strip_prefix("cmdstat_evalsha:calls=")).unwrap();
    line.split(',').next().unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_has_lost_what_it_acknowledged_is_found_out() {
    for lose in ["FLUSHALL", "kill", "restored"] {
        let mut server = server().await;
        let operator = connect(&server.url()).await;
        if lose == "kill" {
            let () = tell(&operator, "CONFIG SET appendonly no").await;
        }
        let durability = plexspaces_store_remote::redis::Durability::Server;
        let store = Redis::open(&Config { durability, ..Config::new(server.url()) }).unwrap();
        let here = partition("here");
        for n in 1..5 {
            store.commit(plexspaces_store::conformance::faults::nth(&here, n)).await.unwrap();
        }
        match lose {
            "FLUSHALL" => tell(&operator, lose).await,
            "kill" => tokio::task::block_in_place(|| {
                server.kill().unwrap();
                server.again().unwrap();
            }),
            _ => {
                // The state of an earlier time, in which the lane was at an earlier number.
                for key in tell::<Vec<String>>(&operator, "KEYS plexspaces:lane:*").await {
                    let () = tell(&operator, &format!("SET {key} 1|")).await;
                }
            }
        }
        let error = loop {
            match put(&store, &here, "k", "v").await.unwrap_err() {
                // It was on its way when the server ended, or the server begins.
                Error::Unknown(_) | Error::Unavailable(_) => pause().await,
                other => break other,
            }
        };
        assert!(matches!(&error, Error::Failed(text) if text.contains("it has lost changes that it had acknowledged")), "{lose}: {error}");
        let looked = store.get(&here, b"k").await;
        assert!(matches!(looked, Err(Error::Failed(_))), "{lose}: {looked:?}");
        // Who begins anew goes on with what is there.
        let store = Redis::open(&Config { durability, ..Config::new(server.url()) }).unwrap();
        put(&store, &here, "k", "v").await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_full_refuses_changes_and_takes_deletes() {
    let server = server().await;
    let store = Redis::open(&Config::new(server.url())).unwrap();
    let here = partition("here");
    for n in 0..20 {
        put(&store, &here, format!("k{n}"), vec![7; 100_000]).await.unwrap();
    }
    let operator = connect(&server.url()).await;
    let () = tell(&operator, "CONFIG SET maxmemory 1mb").await;
    let mut batch = Batch::new(here.clone());
    batch.put("a", "1").delete("k0");
    assert!(matches!(store.commit(batch).await, Err(Error::Full(_))));
    assert_eq!((store.get(&here, b"a").await.unwrap(), store.get(&here, b"k0").await.unwrap().is_some()), (None, true));
    // Also through a handle that has not written before.
    let other = Redis::open(&Config::new(server.url())).unwrap();
    for n in 0..20 {
        let mut batch = Batch::new(here.clone());
        batch.delete(format!("k{n}"));
        if n % 2 == 0 { store.commit(batch).await.unwrap() } else { other.commit(batch).await.unwrap() }
    }
    let () = tell(&operator, "CONFIG SET maxmemory 0").await;
    put(&store, &here, "a", "1").await.unwrap();
}

/// A batch that the server cannot take does not fail those that wait with it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_that_meets_something_else_fails_alone() {
    let server = server().await;
    let store = Arc::new(Redis::open(&Config::new(server.url())).unwrap());
    put(&*store, &partition("here"), "k", "v").await.unwrap();
    let operator = connect(&server.url()).await;
    let theirs = |n: usize| partition(&format!("p{n}"));
    for n in (0..200).filter(|n| n % 50 == 7) {
        let name = String::from_utf8(theirs(n).as_bytes().to_vec()).unwrap();
        let () = redis::cmd("SET").arg(format!("plexspaces:{{{name}}}o")).arg("theirs").query_async(&mut operator.clone()).await.unwrap();
    }
    let mut tasks = JoinSet::new();
    for n in 0..200 {
        let (store, here): (_, Partition) = (store.clone(), theirs(n));
        tasks.spawn(async move { (n, put(&*store, &here, "k", "v").await, store.get(&here, b"k").await) });
    }
    while let Some(done) = tasks.join_next().await {
        let (n, outcome, found) = done.unwrap();
        if n % 50 == 7 {
            assert!(matches!(&outcome, Err(Error::Corrupt(text)) if text.contains("something else")), "{outcome:?}");
            assert_eq!(found.unwrap(), None);
        } else {
            assert_eq!((outcome, found.unwrap().unwrap()), (Ok(()), "v".into()));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scripts_that_the_server_has_forgotten_are_brought_again() {
    let server = server().await;
    let store = Redis::open(&Config::new(server.url())).unwrap();
    let operator = connect(&server.url()).await;
    for n in 0..3 {
        put(&store, &partition("here"), "k", n.to_string()).await.unwrap();
        let () = tell(&operator, "SCRIPT FLUSH").await;
        let page = store.scan(&partition("here"), plexspaces_store::Range::all(), 10).await.unwrap();
        assert_eq!(page.entries, [("k".into(), n.to_string().into())]);
        let () = tell(&operator, "SCRIPT FLUSH").await;
    }
}
