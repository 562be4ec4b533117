//! Everything at once for a while, and then nothing may be left: no actor, task, timer, tie or memory.
//!
//! `PLEXSPACES_SOAK` says for how long (`15s` unless given; `make soak` takes five minutes), `PLEXSPACES_SOAK_SEED` with which choices. Which
//! messages are sent to whom follows from the seed; in which order they meet does not, so a failing seed may have to be run several times.
#![allow(missing_docs, unreachable_pub, clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

#[path = "soak/actors.rs"]
mod actors;
#[path = "soak/drivers.rs"]
mod drivers;
#[path = "soak/heap.rs"]
mod heap;

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use actors::{Code, Tally, application, name};
use drivers::{Outcome, ctx, drive};
use plexspaces_actor::{ActorFilter, Budget, Census, Config, Request, Runtime, Target};
use plexspaces_store::Memory;
use plexspaces_types::{Clock, Name, Payload};
use serde_json::Value;

/// Within this everything comes to pass that does at all.
const PATIENCE: Duration = Duration::from_secs(60);

/// Tasks that send messages.
const DRIVERS: u64 = 8;

/// What may be in use at the end beyond what was in use before. Both were measured after everything was dropped, so it does not grow with the
/// time that the test ran: metrics of the process, the blocks of channels and thread-local buffers of worker threads that came to it late.
const HEAP_TOLERANCE: isize = 256 << 10;

/// What a runtime may keep when everything has ended and it goes on: the room of its tables, which is that of their fullest moment. A few
/// thousand actors are alive here at most.
const IDLE_TOLERANCE: isize = 8 << 20;

#[test]
fn nothing_is_left_of_what_lived_and_ended() {
    let text = std::env::var("PLEXSPACES_SOAK").unwrap_or_else(|_| "15s".to_owned());
    let time = humantime::parse_duration(&text).unwrap_or_else(|error| panic!("PLEXSPACES_SOAK={text:?} is no duration like 5m: {error}"));
    let seed = std::env::var("PLEXSPACES_SOAK_SEED").ok().map_or_else(rand::random, |text| text.parse().unwrap());
    println!("soak: {time:?}; to choose the same again: PLEXSPACES_SOAK_SEED={seed}");
    actors::keep_silent_about_wanted_panics();
    let tokio = tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_all().build().unwrap();
    let wrong = tokio.block_on(async {
        let short = time.min(Duration::from_secs(2));
        // What is made once in a process is made here.
        let mut wrong = round(short, seed ^ 1, Ending::AllEnd).await;
        let before = heap::settled().await;
        wrong.extend(round(time, seed, Ending::AllEnd).await);
        wrong.extend(round(short, seed ^ 2, Ending::NodeEnds).await);
        let after = heap::settled_at(before.bytes + HEAP_TOLERANCE).await;
        let (grown, objects) = (after.bytes - before.bytes, after.objects - before.objects);
        println!("heap: {} bytes in {} objects before, {grown:+} bytes and {objects:+} objects after", before.bytes, before.objects);
        if grown > HEAP_TOLERANCE {
            wrong.push(format!("{grown} bytes in {objects} objects are in use beyond those before"));
        }
        let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
        if !in_time(|| tasks() == 0).await {
            wrong.push(format!("{} tasks live on", tasks()));
        }
        wrong
    });
    assert!(wrong.is_empty(), "with PLEXSPACES_SOAK_SEED={seed}:\n{}", wrong.join("\n"));
}

/// How a round ends.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ending {
    /// First all actors and then the node.
    AllEnd,
    /// The node with all actors that there are.
    NodeEnds,
}

/// One node from its start to its end. Returns what was wrong.
async fn round(time: Duration, seed: u64, ending: Ending) -> Vec<String> {
    let store = Arc::new(Memory::new());
    let tally = Arc::new(Tally::default());
    let config = Config::new(name("node1"), store.clone(), Clock::system());
    // Less room than there are durable actors, so that some have to leave.
    let budget = Budget { memory_bytes: None, actors: Some(300) };
    let runtime = Runtime::new(Config { budget, services: plexspaces_coord::services(), ..config });
    let empty = heap::settled().await;
    runtime.deploy(&application(&Arc::new(Code::new(&tally)))).await.unwrap();
    for worker in 0..actors::WORKERS {
        tally.addresses.lock().unwrap().push(runtime.address(&ctx(), &format!("worker/{worker}")).unwrap());
    }
    let until = Instant::now() + time;
    let drivers = (0..DRIVERS).map(|number| tokio::spawn(drive(runtime.clone(), tally.clone(), seed.wrapping_add(number), until)));
    let mut outcome = Outcome::default();
    for driver in drivers.collect::<Vec<_>>() {
        outcome.add(&driver.await.unwrap());
    }
    let mut wrong = Vec::new();
    println!("{}", outcome.print(&tally));
    if ending == Ending::AllEnd {
        all_end(&runtime, &tally, &outcome, &mut wrong).await;
    }
    if !runtime.shutdown(PATIENCE).await {
        wrong.push(format!("the node did not end in time: {:?}", runtime.census()));
    }
    if !in_time(|| runtime.census() == Census::default()).await {
        wrong.push(format!("after the node's end there was {:?}", runtime.census()));
    }
    tally.addresses.lock().unwrap().clear();
    let with_runtime = heap::settled().await;
    drop(runtime);
    let without = heap::settled().await;
    let kept = with_runtime.bytes - without.bytes;
    println!("the runtime kept {kept} bytes when all had ended, the store has {} bytes", without.bytes - empty.bytes);
    drop(store);
    if kept > IDLE_TOLERANCE {
        wrong.push(format!("a runtime in which everything has ended kept {kept} bytes"));
    }
    wrong
}

/// Ends all actors, and looks what they have done and left.
async fn all_end(runtime: &Runtime, tally: &Tally, outcome: &Outcome, wrong: &mut Vec<String>) {
    end_tasks(runtime).await;
    check(runtime, tally, outcome, wrong).await;
    let scope = Name::default_scope();
    runtime.undeploy(&scope, &scope, &name("soak")).await.unwrap();
    // Services stay for minutes, each with one look in the wheel. What is stored of reminders is kept for a later deployment.
    let is_empty = |Census { services, reminders, wheel, .. }: Census| {
        runtime.census() == Census { services, reminders, wheel, ..Census::default() } && wheel == services + reminders
    };
    if !in_time(|| is_empty(runtime.census())).await {
        wrong.push(format!("when all had ended there was {:?}", runtime.census()));
    }
}

/// Ends the actors that only an order ends.
async fn end_tasks(runtime: &Runtime) {
    let scope = Name::default_scope();
    let filter = ActorFilter { tenant: &scope, namespace: None, actor_type: Some("task") };
    let ended = async || {
        let (tasks, _) = runtime.list_actors(filter, None, 10_000);
        for task in &tasks {
            let _ = runtime.kill_actor(&ctx(), Target { name: "task", key: Some(task.id.key.as_str()) });
        }
        tasks.is_empty()
    };
    let deadline = Instant::now() + PATIENCE;
    while !ended().await && Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// What was promised to those who sent messages.
async fn check(runtime: &Runtime, tally: &Tally, outcome: &Outcome, wrong: &mut Vec<String>) {
    // Every watch is told of once: the watched are gone.
    if !in_time(|| tally.downs.load(Relaxed) == tally.watched.load(Relaxed)).await {
        wrong.push(format!("{} watches, {} ends told", tally.watched.load(Relaxed), tally.downs.load(Relaxed)));
    }
    // An echo leaves memory again and again and never fails: what it was given it handles once.
    let sent = outcome.echoed + outcome.echo_tells;
    if !in_time(|| tally.echoed.load(Relaxed) == sent).await {
        wrong.push(format!("{sent} messages to echoes were accepted, {} were handled", tally.echoed.load(Relaxed)));
    }
    // No timer is lost where its actor is about to leave memory.
    if !in_time(|| tally.woken.load(Relaxed) == tally.naps.load(Relaxed)).await {
        wrong.push(format!("of {} timers {} fired", tally.naps.load(Relaxed), tally.woken.load(Relaxed)));
    }
    // What was acknowledged is kept; what was killed half-way may be.
    let mut total = 0;
    for key in 0..actors::LEDGERS {
        let request = Request { operation: "total".to_owned(), payload: Payload::empty(), idempotency_key: None };
        match runtime.ask(&ctx(), Target { name: "ledger", key: Some(&key.to_string()) }, request).await {
            Ok(reply) => total += serde_json::from_slice::<Value>(&reply).unwrap().as_u64().unwrap(),
            Err(failure) => wrong.push(format!("ledger {key} does not answer: {failure}")),
        }
    }
    let (least, most) = (outcome.added + tally.added.load(Relaxed), outcome.add_attempts + tally.add_attempts.load(Relaxed));
    if total < least || total > most {
        wrong.push(format!("the ledgers have {total}; {least} were acknowledged, {most} attempted"));
    }
    wrong.extend(outcome.unexpected.iter().map(|(what, times)| format!("{times} times: {what}")));
}

async fn in_time(holds: impl Fn() -> bool) -> bool {
    let deadline = Instant::now() + PATIENCE;
    while !holds() && Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    holds()
}
