//! Connections that are killed, servers that end, wait or refuse.

use std::sync::Arc;
use std::time::{Duration, Instant};

use plexspaces_store::conformance::faults::{Told, finish, pause, surely_get, surely_put, two_nodes_lose_nothing_to_one_another, writers};
use plexspaces_store::conformance::{partition, put};
use plexspaces_store::{Error, Store};
use plexspaces_store_sql::Postgres;
use plexspaces_store_sql::postgres::Config;
use plexspaces_testkit::servers;
use tokio::task::JoinSet;
use tokio::time::timeout_at;

use crate::support::{Schema, connect};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acknowledged_batches_survive_connections_that_are_killed() {
    let schema = Schema::new().await;
    let (store, told) = (Arc::new(schema.store()), Arc::new(Told::default()));
    let writers = writers(&store, &told);
    let killer = connect(&schema.url).await;
    let kill = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = $1";
    let deadline = Instant::now() + Duration::from_secs(240);
    while told.unknown() < 100 || told.acknowledged() < 2_000 {
        assert!(Instant::now() < deadline && !writers.is_empty());
        killer.query_one(kill, &[&schema.application]).await.unwrap();
        // The next kill comes when there is something to kill again.
        let _ = timeout_at(deadline.into(), told.more(20)).await;
    }
    finish(&told, writers).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acknowledged_batches_survive_a_server_that_is_killed_and_one_that_is_stopped() {
    let mut server = tokio::task::spawn_blocking(|| servers::Postgres::start().unwrap()).await.unwrap();
    let store = Arc::new(Postgres::open(&Config::new(server.url())).unwrap());
    let told = Arc::new(Told::default());
    let writers = writers(&store, &told);
    for round in 0..4 {
        told.more(200).await;
        tokio::task::block_in_place(|| if round % 2 == 0 { server.kill().unwrap() } else { server.stop() });
        assert!(matches!(store.get(&partition("here"), b"k").await, Err(Error::Unavailable(_))));
        tokio::task::block_in_place(|| server.again().unwrap());
    }
    finish(&told, writers).await;

    // A server that would lose what it acknowledges is refused.
    let operator = connect(&server.url()).await;
    operator.batch_execute("ALTER SYSTEM SET fsync = off").await.unwrap();
    tokio::task::block_in_place(|| {
        server.stop();
        server.again().unwrap();
    });
    let error = loop {
        match put(&*store, &partition("here"), "k", "v").await.unwrap_err() {
            // It was on its way when the server ended, or the server begins.
            Error::Unknown(_) | Error::Unavailable(_) => pause().await,
            other => break other,
        }
    };
    assert!(matches!(&error, Error::Failed(text) if text.contains("fsync = off")), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_nodes_on_one_database_lose_nothing_to_one_another() {
    let schema = Schema::new().await;
    let stores = [Arc::new(schema.store()), Arc::new(schema.store())];
    two_nodes_lose_nothing_to_one_another(stores).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_for_a_busy_server_is_refused_in_time_and_nothing_of_it_is_kept() {
    let schema = Schema::new().await;
    let timeout = Duration::from_millis(1_000);
    let store = Arc::new(Postgres::open(&Config { connections: 2, timeout, ..schema.config() }).unwrap());
    let here = partition("here");
    surely_put(&*store, &here, "k", "1").await;

    let other = connect(&schema.url).await;
    other.batch_execute("BEGIN; LOCK TABLE plexspaces_entries IN ACCESS EXCLUSIVE MODE").await.unwrap();
    let began = Instant::now();
    let mut tasks = JoinSet::new();
    for n in 0..10 {
        let (store, here) = (store.clone(), here.clone());
        tasks.spawn(async move {
            if n == 0 { put(&*store, &here, "k", "2").await.unwrap_err() } else { store.get(&here, b"k").await.unwrap_err() }
        });
    }
    let mut texts = Vec::new();
    while let Some(error) = tasks.join_next().await {
        let error = error.unwrap();
        assert!(matches!(error, Error::Unavailable(_)), "{error}");
        texts.push(error.to_string());
    }
    // Less than the time that a store has where none is given.
    assert!(began.elapsed() < Duration::from_secs(9), "{:?}", began.elapsed());
    assert!(texts.iter().any(|text| text.contains("all 2 connections to the database are in use")), "{texts:?}");
    assert!(texts.iter().any(|text| text.contains("the database took too long")), "{texts:?}");
    other.batch_execute("COMMIT").await.unwrap();
    assert_eq!(surely_get(&*store, &here, "k").await.unwrap(), "1");
    surely_put(&*store, &here, "k", "3").await;
}

/// A server's process that stands still: whether its transaction will be committed cannot be known, until it is known for good.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_without_an_answer_is_unknown_in_time_and_settled_before_the_next_read() {
    let schema = Schema::new().await;
    let timeout = Duration::from_secs(1);
    let store = Postgres::open(&Config { timeout, ..schema.config() }).unwrap();
    let here = partition("here");
    let operator = connect(&schema.url).await;
    for round in 0..5_u32 {
        surely_put(&store, &here, "k", "before").await;
        let all = "SELECT pid FROM pg_stat_activity WHERE application_name = $1";
        let pids: Vec<i32> = operator.query(all, &[&schema.application]).await.unwrap().iter().map(|row| row.get(0)).collect();
        assert!(!pids.is_empty());
        pids.iter().for_each(|pid| servers::Postgres::signal(*pid, "STOP").unwrap());
        let began = Instant::now();
        let outcome = put(&store, &here, "k", "after").await;
        assert!(matches!(outcome, Err(Error::Unknown(_))), "round {round}: {outcome:?}");
        assert!(began.elapsed() < Duration::from_secs(7), "{:?}", began.elapsed());
        // Nobody may look, and nobody may write, while it may still happen.
        let looked = store.get(&here, b"k").await;
        assert!(matches!(looked, Err(Error::Unavailable(_))), "round {round}: {looked:?}");
        let written = put(&store, &here, "other", "1").await;
        assert!(matches!(written, Err(Error::Unavailable(_))), "round {round}: {written:?}");
        pids.iter().for_each(|pid| servers::Postgres::signal(*pid, "CONT").unwrap());
        let settled = surely_get(&store, &here, "k").await.unwrap();
        let left: i64 = operator.query_one("SELECT count(*) FROM pg_stat_activity WHERE pid = ANY($1)", &[&pids]).await.unwrap().get(0);
        assert!(settled == "before" || settled == "after");
        assert!(usize::try_from(left).unwrap() < pids.len(), "the connection whose outcome was unknown is still there");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_that_cannot_be_written_fails_alone() {
    let schema = Schema::new().await;
    let store = Arc::new(schema.store());
    put(&*store, &partition("here"), "k", "v").await.unwrap();
    let guard = "CREATE FUNCTION guard() RETURNS trigger LANGUAGE plpgsql AS \
         $$ BEGIN IF NEW.key = 'bad' THEN RAISE EXCEPTION 'not this one'; END IF; RETURN NEW; END $$; \
         CREATE TRIGGER guard BEFORE INSERT ON plexspaces_entries FOR EACH ROW EXECUTE FUNCTION guard()";
    connect(&schema.url).await.batch_execute(guard).await.unwrap();
    let mut tasks = JoinSet::new();
    for n in 0..200 {
        let store = store.clone();
        let key = if n % 50 == 7 { "bad" } else { "good" };
        tasks.spawn(async move { (key, put(&*store, &partition(&format!("p{n}")), key, "v").await) });
    }
    while let Some(done) = tasks.join_next().await {
        let (key, outcome) = done.unwrap();
        assert_eq!(outcome.is_ok(), key == "good", "{outcome:?}");
        assert!(outcome.err().is_none_or(|error| matches!(&error, Error::Failed(text) if text.contains("not this one"))));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_stands_in_the_way_is_told_without_the_password() {
    let schema = Schema::new().await;
    let right = servers::Postgres::PASSWORD;
    let outcome = async |url: String| {
        let error = Postgres::open(&Config::new(url)).unwrap().get(&partition("here"), b"k").await.unwrap_err();
        assert!(!format!("{error:?}").contains(right) && !format!("{error:?}").contains("wr0ng"), "{error:?}");
        error
    };
    let error = outcome(schema.url.replace(right, "wr0ng")).await;
    assert!(matches!(&error, Error::Failed(text) if text.contains("password authentication failed")), "{error}");
    let error = outcome(schema.url.replace("/plex?", "/nowhere?")).await;
    assert!(matches!(&error, Error::Failed(text) if text.contains("\"nowhere\" does not exist")), "{error}");
    let error = outcome(format!("postgres://plex:{right}@127.0.0.1:1/plex")).await;
    assert!(matches!(&error, Error::Unavailable(text) if text.contains("refused")), "{error}");
    let error = outcome(format!("{}&sslmode=require", schema.url)).await;
    assert!(matches!(&error, Error::Failed(_)), "{error}");
    assert!(matches!(Postgres::open(&Config::new("mysql://plex:wr0ng@here/plex")), Err(Error::Failed(_))));

    let operator = connect(&schema.url).await;
    operator.batch_execute("CREATE TABLE plexspaces_entries (theirs text)").await.unwrap();
    assert!(matches!(outcome(schema.url.clone()).await, Error::Corrupt(text) if text.contains("something else")));
    operator.batch_execute("COMMENT ON TABLE plexspaces_entries IS 'plexspaces store, version 7'").await.unwrap();
    assert!(matches!(outcome(schema.url.clone()).await, Error::Corrupt(text) if text.contains("version 7")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_is_encrypted_with_a_server_whose_certificate_is_trusted() {
    let server = tokio::task::spawn_blocking(|| servers::Postgres::start().unwrap()).await.unwrap();
    let operator = connect(&server.url()).await;
    let secure = format!("{}?sslmode=require&application_name=secure", server.url());
    let outcome = async |config: &Config| put(&Postgres::open(config).unwrap(), &partition("here"), "k", "v").await;
    let error = outcome(&Config::new(&secure)).await.unwrap_err();
    assert!(matches!(&error, Error::Failed(text) if text.contains("TLS")), "{error}");

    let own = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    server.certify(&own.cert.pem(), &own.signing_key.serialize_pem()).unwrap();
    operator.batch_execute("ALTER SYSTEM SET ssl = on").await.unwrap();
    operator.batch_execute("SELECT pg_reload_conf()").await.unwrap();
    // The server reads its configuration a moment later.
    let error = loop {
        match outcome(&Config::new(&secure)).await.unwrap_err() {
            Error::Failed(text) if text.contains("certificate") => break text,
            _ => pause().await,
        }
    };
    assert!(error.contains("UnknownIssuer"), "{error}");

    let directory = tempfile::tempdir().unwrap();
    let ca_file = directory.path().join("ca.pem");
    std::fs::write(&ca_file, own.cert.pem()).unwrap();
    let config = Config { ca_file: Some(ca_file), ..Config::new(&secure) };
    let store = Postgres::open(&config).unwrap();
    put(&store, &partition("here"), "k", "v").await.unwrap();
    let encrypted = "SELECT bool_and(ssl) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE application_name = 'secure'";
    assert_eq!(operator.query_one(encrypted, &[]).await.unwrap().get::<_, Option<bool>>(0), Some(true));
    // The certificate is for another name.
    let elsewhere = Config { url: secure.replace("127.0.0.1", "localhost"), ..config };
    let error = outcome(&elsewhere).await.unwrap_err();
    assert!(matches!(&error, Error::Failed(text) if text.contains("certificate")), "{error}");
}
