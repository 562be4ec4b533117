//! Requests that are lost, refused and held up, and servers that end, wait or come back with less.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use plexspaces_store::conformance::faults::{
    Told, finish, nth, pause, surely_get, surely_put, two_nodes_lose_nothing_to_one_another, writers,
};
use plexspaces_store::conformance::{partition, put};
use plexspaces_store::{Batch, Error, Partition, Store};
use plexspaces_store_remote::DynamoDb;
use plexspaces_store_remote::dynamodb::Config;

use crate::support::{Passage, Table, Way, config, empty, server};

/// What is there, as soon as there is an answer.
async fn read(store: &DynamoDb, here: &Partition) -> Bytes {
    surely_get(store, here, "k").await.unwrap()
}

/// Besides its own timeout a store may need this, and no more: less than the timeout that it has where none is given.
const MARGIN: Duration = Duration::from_secs(6);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acknowledged_batches_survive_a_dynamodb_that_is_stopped_again_and_again() {
    let mut server = server().await;
    let open = Arc::new(AtomicBool::new(true));
    let choice = {
        let open = open.clone();
        move |_, _: &str| if open.load(Ordering::SeqCst) { Way::Through } else { Way::Lost }
    };
    let passage = Passage::to(&server.url(), choice).await;
    let timeout = Duration::from_secs(2);
    let store = Arc::new(DynamoDb::open(&Config { timeout, ..config(passage.url.clone(), "table") }).unwrap());
    let told = Arc::new(Told::default());
    let writers = writers(&store, &told);
    for round in 0..4 {
        told.more(100).await;
        // This server answers before its file has a change, and forgets what it has not yet written when it stops: it gets a moment in which
        // nothing reaches it.
        let before = told.unknown();
        open.store(false, Ordering::SeqCst);
        tokio::time::sleep(Duration::from_secs(2)).await;
        tokio::task::block_in_place(|| server.stop());
        assert!(matches!(store.get(&partition("here"), b"k").await, Err(Error::Unavailable(_))));
        if round == 2 {
            // Long enough that nobody waits for the outcome any more.
            while told.unknown() == before {
                assert!(!writers.is_empty());
                pause().await;
            }
        }
        tokio::task::block_in_place(|| server.again().unwrap());
        open.store(true, Ordering::SeqCst);
    }
    finish(&told, writers).await;
}

/// Some requests do not arrive, others are not answered, refused for now, or done and answered with an error.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_outcome_is_unknown_while_only_requests_and_answers_are_lost() {
    let (table, ways) = (Table::new(), [Way::Lost, Way::Unanswered, Way::Throttled, Way::Failed]);
    let choice = move |number: u64, _: &str| match usize::try_from(number % 32).unwrap() {
        some if some % 8 == 5 => ways[some / 8],
        _ => Way::Through,
    };
    let passage = Passage::to(&table.config().endpoint.unwrap(), choice).await;
    // Enough time for a server that has much to do: an outcome is unknown only when it is over.
    let timeout = Duration::from_secs(60);
    let store = Arc::new(DynamoDb::open(&Config { timeout, ..config(passage.url.clone(), &table.name) }).unwrap());
    let told = Arc::new(Told::default());
    let writers = writers(&store, &told);
    told.more(600).await;
    finish(&told, writers).await;
    assert_eq!(told.unknown(), 0);
    assert!(passage.count() > 600);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_that_refuses_for_now_is_asked_again_ever_more_seldom() {
    let table = Table::new();
    let throttled = Arc::new(AtomicBool::new(false));
    let now = throttled.clone();
    let choice = move |_, _: &str| if now.load(Ordering::SeqCst) { Way::Throttled } else { Way::Through };
    let passage = Passage::to(&table.config().endpoint.unwrap(), choice).await;
    let timeout = Duration::from_secs(2);
    let store = DynamoDb::open(&Config { timeout, ..config(passage.url.clone(), &table.name) }).unwrap();
    let here = partition("here");
    surely_put(&store, &here, "k", "before").await;
    throttled.store(true, Ordering::SeqCst);
    let (before, began) = (passage.count(), Instant::now());
    let outcome = put(&store, &here, "k", "after").await;
    assert!(matches!(&outcome, Err(Error::Unavailable(text)) if text.contains("Throttling")), "{outcome:?}");
    assert!(began.elapsed() < timeout + MARGIN, "{:?}", began.elapsed());
    let asked = passage.count() - before;
    assert!((4..20).contains(&asked), "{asked} requests");
    throttled.store(false, Ordering::SeqCst);
    assert_eq!(read(&store, &here).await, "before");
}

/// A service that takes its time, and more requests than may be under way.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_for_a_slow_dynamodb_is_told_in_time_and_nothing_acknowledged_is_lost() {
    let table = Table::new();
    let slow = Arc::new(AtomicBool::new(false));
    let now = slow.clone();
    let choice = move |_, _: &str| if now.load(Ordering::SeqCst) { Way::Held } else { Way::Through };
    let passage = Passage::to(&table.config().endpoint.unwrap(), choice).await;
    let timeout = Duration::from_secs(2);
    let config = Config { timeout, connections: 2, ..config(passage.url.clone(), &table.name) };
    let store = Arc::new(DynamoDb::open(&config).unwrap());
    let places: Vec<Partition> = (0..12).map(|number| partition(&format!("p{number}"))).collect();
    for place in &places {
        surely_put(&*store, place, "k", "before").await;
    }
    slow.store(true, Ordering::SeqCst);
    let (before, began) = (passage.count(), Instant::now());
    let mut tasks = tokio::task::JoinSet::new();
    for (number, place) in places.iter().cloned().enumerate() {
        let store = store.clone();
        tasks.spawn(async move {
            let outcome = match number % 2 {
                0 => put(&*store, &place, "k", "after").await,
                _ => store.get(&place, b"k").await.map(drop),
            };
            outcome.unwrap_err()
        });
    }
    let mut texts = Vec::new();
    while let Some(error) = tasks.join_next().await {
        let error = error.unwrap();
        assert!(matches!(error, Error::Unavailable(_) | Error::Unknown(_)), "{error}");
        texts.push(error.to_string());
    }
    assert!(began.elapsed() < timeout + MARGIN, "{:?}", began.elapsed());
    assert!(texts.iter().any(|text| text.contains("too many requests are under way")), "{texts:?}");
    // Each of the twelve would have sent four or more, if all of them might.
    assert!(passage.count() - before < 24, "no more than two were under way at a time: {}", passage.count() - before);
    slow.store(false, Ordering::SeqCst);
    passage.release();
    for place in &places {
        let settled = read(&store, place).await;
        assert!(settled == "before" || settled == "after", "{settled:?}");
        let mut batch = Batch::new(place.clone());
        batch.require("k", Some(settled)).put("k", "again");
        store.commit(batch).await.unwrap();
        assert_eq!(read(&table.store(), place).await, "again");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_nodes_on_one_table_lose_nothing_to_one_another() {
    let table = Table::new();
    two_nodes_lose_nothing_to_one_another([Arc::new(table.store()), Arc::new(table.store())]).await;
}

/// A server that stands still: whether it will write what it was sent cannot be known, until it is known for good.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dynamodb_that_stands_still_is_unknown_in_time_and_settled_before_the_next_read() {
    let server = server().await;
    let timeout = Duration::from_millis(1_000);
    let patient = DynamoDb::open(&config(server.url(), "table")).unwrap();
    let store = DynamoDb::open(&Config { timeout, ..config(server.url(), "table") }).unwrap();
    let here = partition("here");
    surely_put(&patient, &here, "k", "0").await;
    for round in 0..3_u32 {
        let before = read(&store, &here).await;
        surely_put(&store, &here, "other", "1").await;
        server.hold(true).unwrap();
        let began = Instant::now();
        let outcome = put(&store, &here, "k", format!("after{round}")).await;
        assert!(matches!(outcome, Err(Error::Unknown(_))), "round {round}: {outcome:?}");
        assert!(began.elapsed() < timeout + MARGIN, "{:?}", began.elapsed());
        // Nobody may look, and nobody may write, while it may still happen.
        let looked = store.get(&here, b"k").await;
        assert!(matches!(looked, Err(Error::Unavailable(_))), "round {round}: {looked:?}");
        let wrote = put(&store, &here, "other", "2").await;
        assert!(matches!(wrote, Err(Error::Unavailable(_))), "round {round}: {wrote:?}");
        server.hold(false).unwrap();
        let settled = read(&store, &here).await;
        assert!(settled == before || settled == format!("after{round}"), "{settled:?}");
        assert_eq!(read(&patient, &here).await, settled);
        let mut batch = Batch::new(here.clone());
        batch.require("k", Some(settled)).require("other", Some("1".into())).put("k", format!("again{round}"));
        patient.commit(batch).await.unwrap();
    }
}

/// A commit that is on its way when nobody waits for it any more, and arrives after the partition was read.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_that_arrives_late_is_not_written() {
    let table = Table::new();
    let holds = Arc::new(AtomicBool::new(false));
    let now = holds.clone();
    let choice = move |_, operation: &str| match operation {
        "TransactWriteItems" if now.load(Ordering::SeqCst) => Way::Held,
        _ => Way::Through,
    };
    let passage = Passage::to(&table.config().endpoint.unwrap(), choice).await;
    let timeout = Duration::from_secs(2);
    let store = DynamoDb::open(&Config { timeout, ..config(passage.url.clone(), &table.name) }).unwrap();
    let here = partition("here");
    surely_put(&store, &here, "k", "before").await;
    holds.store(true, Ordering::SeqCst);
    let outcome = put(&store, &here, "k", "late").await;
    assert!(matches!(outcome, Err(Error::Unknown(_))), "{outcome:?}");
    assert_eq!(read(&store, &here).await, "before");
    holds.store(false, Ordering::SeqCst);
    passage.release();
    while passage.arrived.load(Ordering::SeqCst) == 0 {
        pause().await;
    }
    assert_eq!((read(&store, &here).await, read(&table.store(), &here).await), ("before".into(), "before".into()));
}

/// One that is held up is sent again and done; then it arrives too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_sent_twice_is_done_once() {
    let table = Table::new();
    let holds = Arc::new(AtomicBool::new(false));
    let now = holds.clone();
    let choice = move |_, operation: &str| match operation {
        "TransactWriteItems" if now.swap(false, Ordering::SeqCst) => Way::Held,
        _ => Way::Through,
    };
    let passage = Passage::to(&table.config().endpoint.unwrap(), choice).await;
    // Half of it is waited for the answer that does not come.
    let timeout = Duration::from_secs(6);
    let store = DynamoDb::open(&Config { timeout, ..config(passage.url.clone(), &table.name) }).unwrap();
    let here = partition("here");
    surely_put(&store, &here, "k", "before").await;
    holds.store(true, Ordering::SeqCst);
    put(&store, &here, "k", "first").await.unwrap();
    assert!(!holds.load(Ordering::SeqCst));
    put(&store, &here, "k", "second").await.unwrap();
    passage.release();
    while passage.arrived.load(Ordering::SeqCst) == 0 {
        pause().await;
    }
    assert_eq!((read(&store, &here).await, read(&table.store(), &here).await), ("second".into(), "second".into()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_that_has_lost_what_it_acknowledged_is_found_out() {
    for writes in [true, false] {
        let table = Table::new();
        let (store, here) = (table.store(), partition("here"));
        for n in 1..4 {
            store.commit(nth(&here, n)).await.unwrap();
        }
        empty(&table, &here);
        let error = if writes { put(&store, &here, "k", "v").await.unwrap_err() } else { store.get(&here, b"k").await.unwrap_err() };
        assert!(matches!(&error, Error::Failed(text) if text.contains("it has lost changes")), "{error}");
        assert!(matches!(store.get(&here, b"k").await, Err(Error::Failed(_))));
        assert!(matches!(put(&store, &partition("other"), "k", "v").await, Err(Error::Failed(_))));
        // Who begins anew goes on with what is there.
        put(&table.store(), &here, "k", "v").await.unwrap();
    }
}
