//! What clients see over HTTP of the services of a node that is killed again and again, recorded and checked: there is one order of all
//! operations in which each has the effect and the reply that `docs/services.md` says.
//!
//! The choices of the clients come from a seed, which is printed; `PLEXSPACES_SEED` sets it. `PLEXSPACES_HISTORIES` asks for more histories than
//! the 16 that are made side by side.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use http::Method;
use plexspaces_testkit::histories::workload::{self, Client, Workload};
use plexspaces_testkit::histories::{Begun, History, Judged};
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use serde_json::{Value, json};
use support::{Http, Node, PATIENCE};
use tokio::sync::watch;

/// Services of several namespaces, so that each history is short enough to be judged.
const NAMESPACES: u64 = 4;
const CLIENTS: u64 = 3;
const CALLS: u64 = 16;
const KILLS: u64 = 4;

/// How late the end of a lease may be seen: a node that starts then has to come to life first.
const LATE_MS: u64 = 2000;

fn now_ms() -> u64 {
    u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap()
}

/// An operation as a request: method, path, body; and whether a repetition with its key is carried out once.
fn request(service: &str, namespace: &str, operation: &str, arguments: &Value) -> (Method, String, Value, bool) {
    let mut body = arguments.clone();
    let mut take =
        |name: &str| body.as_object_mut().unwrap().remove(name).and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default();
    let query = |pattern: &Value| pattern.to_string().replace('"', "%22").replace('[', "%5B").replace(']', "%5D");
    let (method, path, keyed) = match (service, operation) {
        ("kv", "get") => (Method::GET, format!("kv/{}", take("key")), false),
        ("kv", "list") => (Method::GET, "kv".to_owned(), false),
        ("kv", "put") => (Method::PUT, format!("kv/{}", take("key")), true),
        ("kv", "delete") => (Method::DELETE, format!("kv/{}", take("key")), false),
        ("kv", "cas") => (Method::POST, format!("kv/{}:cas", take("key")), true),
        ("locks", "get") => (Method::GET, format!("locks/{}", take("key")), false),
        ("locks", operation) => (Method::POST, format!("locks/{}:{operation}", take("key")), operation != "renew"),
        ("tuples", "write") => (Method::POST, "tuples".to_owned(), true),
        ("tuples", "confirm" | "release") => (Method::POST, format!("tuples/leases/{}:{operation}", take("lease")), true),
        ("tuples", "read_all") => (Method::GET, format!("tuples?page_size=1000&pattern={}", query(&arguments["pattern"])), false),
        ("tuples", "count") => (Method::GET, format!("tuples:count?pattern={}", query(&arguments["pattern"])), false),
        ("tuples", "read") => {
            let timeout_ms = arguments["timeout_ms"].as_u64().unwrap_or(0);
            (Method::GET, format!("tuples:read?timeout_ms={timeout_ms}&pattern={}", query(&arguments["pattern"])), false)
        }
        ("tuples", operation) => (Method::POST, format!("tuples:{}", operation.replace('_', "-")), true),
        (_, "send") => (Method::POST, "channels/work/messages".to_owned(), true),
        (_, "receive") => (Method::POST, "channels/work/messages:receive".to_owned(), true),
        (_, "ack" | "nack") => (Method::POST, format!("channels/work/messages/{}:{operation}", take("msg_id")), operation == "nack"),
        (_, "publish") => (Method::POST, "channels/work:publish".to_owned(), true),
        (_, "next") => (Method::POST, format!("channels/work/subscribers/{}:next", take("subscriber")), true),
        (_, operation) => (Method::POST, format!("channels/work/dead-letters:{operation}"), true),
    };
    if matches!(method, Method::GET | Method::DELETE) {
        let sign = if path.contains('?') { '&' } else { '?' };
        return (method, format!("/api/v1/{path}{sign}namespace={namespace}"), Value::Null, keyed);
    }
    body["namespace"] = json!(namespace);
    (method, format!("/api/v1/{path}"), body, keyed)
}

/// A service of a namespace, and what its clients have seen.
#[derive(Clone)]
struct Place {
    workload: Workload,
    namespace: String,
    history: History,
}

struct World {
    http: Http,
    /// The present node, and how many there were before it.
    url: watch::Receiver<(u64, String)>,
    seed: u64,
    calls: AtomicU64,
}

impl World {
    /// One request; an error when nobody can tell whether it was carried out.
    async fn ask(
        &self,
        Place { workload, namespace, history }: &Place,
        begun: Begun,
        operation: &str,
        arguments: &Value,
        key: &str,
    ) -> Result<Result<Value, String>, ()> {
        let (method, path, body, _) = request(workload.service, namespace, operation, arguments);
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let (number, url) = self.url.borrow().clone();
        history.sent(begun, number);
        let url = format!("{url}{path}");
        let answer = self.http.send(method, &url, &[("idempotency-key", key)], body).await.map_err(drop)?;
        match answer.status {
            200 if (workload.service, operation) == ("locks", "get") => Ok(Ok(json!({"lock": answer.body}))),
            200 => Ok(Ok(answer.body)),
            404 => Ok(Err("not_found".to_owned())),
            409 => Ok(Err("conflict".to_owned())),
            500.. => Err(()),
            status => panic!("{operation} {arguments}: {status} {}", answer.body),
        }
    }
}

async fn work(world: Arc<World>, place: Place, number: u64) {
    let Place { workload, namespace, history } = &place;
    let name = format!("{}-{namespace}-{number}", workload.service);
    let seed = name.bytes().fold(world.seed, |seed, byte| seed.wrapping_mul(31).wrapping_add(byte.into()));
    let mut client = Client::new(name.clone(), StdRng::seed_from_u64(seed));
    for call in 0..CALLS {
        let (operation, arguments) = client.next(workload);
        let is_keyed = request(workload.service, namespace, operation, &arguments).3;
        let key = format!("key-of-a-request-{name}-{call}");
        let begun = history.begin(&name, operation, &arguments, now_ms());
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Ok(reply) = world.ask(&place, begun, operation, &arguments, &key).await {
                if let Ok(reply) = &reply {
                    client.learn(&arguments, reply);
                }
                history.end(begun, reply, now_ms());
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
            // Without a key it may have been carried out, and nobody will know.
            if !is_keyed {
                break;
            }
            assert!(Instant::now() < deadline, "{operation} {arguments} was never answered");
        }
        world.calls.fetch_add(1, Ordering::SeqCst);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn histories_over_http_are_linearizable_though_the_node_is_killed() {
    let number = |name: &str| std::env::var(name).ok().and_then(|value| value.parse::<u64>().ok());
    let first = number("PLEXSPACES_SEED").unwrap_or_else(|| now_ms() % 1_000_000);
    let rounds = number("PLEXSPACES_HISTORIES").unwrap_or(1).div_ceil(NAMESPACES * workload::ALL.len() as u64);
    let mut judged = Judged::default();
    for seed in first..first + rounds {
        println!("PLEXSPACES_SEED={seed}");
        round(seed, &mut judged).await;
    }
    println!("{judged}");
    assert!(judged.is_enough(), "{judged}");
}

/// Records several histories at once on nodes that follow one another over the same data, and judges them.
async fn round(seed: u64, judged: &mut Judged) {
    let data = tempfile::tempdir().unwrap();
    let mut node = Node::start(data.path());
    let (sender, url) = watch::channel((0, node.url.clone()));
    let world = Arc::new(World { http: Http::new(), url, seed, calls: AtomicU64::new(0) });
    let place = |number: u64, workload| Place { workload, namespace: format!("n{number}"), history: History::default() };
    let places: Vec<Place> = (0..NAMESPACES).flat_map(|number| workload::ALL.map(|workload| place(number, workload))).collect();
    let clients: Vec<_> =
        places.iter().flat_map(|place| (0..CLIENTS).map(|number| tokio::spawn(work(world.clone(), place.clone(), number)))).collect();
    let all = places.len() as u64 * CLIENTS * CALLS;
    for kill in 1..=KILLS {
        // Each kill comes when another part of the calls is over, so that all of them hit a node under load.
        while world.calls.load(Ordering::SeqCst) < kill * all / (KILLS + 1) {
            assert!(!clients.iter().all(tokio::task::JoinHandle::is_finished), "the clients failed");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        node.kill();
        node = Node::start(data.path());
        sender.send((kill, node.url.clone())).unwrap();
    }
    for client in clients {
        client.await.unwrap();
    }
    // What is in the hands of a client comes back.
    tokio::time::sleep(Duration::from_millis(3200)).await;
    for place in &places {
        let Place { workload, namespace, history } = place;
        let ask = async |operation: &str, arguments: Value| {
            let begun = history.begin("auditor", operation, &arguments, now_ms());
            let key = format!("key-of-the-auditor-{}", world.calls.fetch_add(1, Ordering::SeqCst));
            let reply = world.ask(place, begun, operation, &arguments, &key).await.unwrap();
            history.end(begun, reply.clone(), now_ms());
            reply.unwrap_or_default()
        };
        workload::audit(workload, ask).await;
        let calls = history.calls(workload.looks);
        assert!(calls.len() > 20);
        let name = format!("PLEXSPACES_SEED={seed} {} {namespace}", workload.service);
        if let Err(why) = judged.add(&name, workload, &calls, LATE_MS) {
            panic!("{name}: {why}");
        }
    }
}
