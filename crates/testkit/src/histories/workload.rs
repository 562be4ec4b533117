//! What clients do at random to find out whether a service keeps its promises.
// What a document does not have is null.
#![allow(clippy::indexing_slicing)]

use rand::Rng as _;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use serde_json::{Value, json};

use super::channels::apart;
use super::{Call, Locks, Pairs, Queue, Refusal, Topic, Tuples, promises, search};

/// A service and how it is used.
#[derive(Clone, Copy, Debug)]
pub struct Workload {
    /// The service's name.
    pub service: &'static str,
    /// The operations that change nothing.
    pub looks: &'static [&'static str],
    next: fn(&mut Client) -> (&'static str, Value),
    promise: fn(&[Call]) -> Result<(), String>,
    check: fn(&[Call], u64) -> Result<(), Box<Refusal>>,
}

impl Workload {
    /// Whether a history shows nothing that none may show, linearizable or not.
    ///
    /// # Errors
    /// When it does.
    pub fn promise(&self, calls: &[Call]) -> Result<(), String> {
        (self.promise)(calls)
    }

    /// Whether a history is linearizable, where the end of a lease may be seen late by so much.
    ///
    /// # Errors
    /// When it is not, or it was not found out.
    pub(super) fn check(&self, calls: &[Call], late_ms: u64) -> Result<(), Box<Refusal>> {
        (self.check)(calls, late_ms)
    }
}

/// Shared pairs: few keys, so that clients meet.
pub const PAIRS: Workload =
    Workload { service: "kv", looks: &["get", "list"], next: pairs, promise: promises::pairs, check: |calls, _| search(&Pairs, calls) };

/// Tuples, some taken for a time.
pub const TUPLES: Workload = Workload {
    service: "tuples",
    looks: &["read", "read_all", "count"],
    next: tuples,
    promise: promises::tuples,
    check: |calls, late_ms| search(&Tuples { late_ms }, calls),
};

/// Locks with short and long leases.
pub const LOCKS: Workload = Workload {
    service: "locks",
    looks: &["get"],
    next: locks,
    promise: promises::locks,
    check: |calls, late_ms| search(&Locks { late_ms }, calls),
};

/// A queue and a topic.
pub const CHANNEL: Workload = Workload {
    service: "channels",
    looks: &[],
    next: channel,
    promise: promises::channel,
    check: |calls, late_ms| channels(calls, Queue { late_ms, is_at_broker: false }),
};

/// The same at a broker.
pub const BROKER: Workload = Workload { check: |calls, late_ms| channels(calls, Queue { late_ms, is_at_broker: true }), ..CHANNEL };

fn channels(calls: &[Call], model: Queue) -> Result<(), Box<Refusal>> {
    let (queue, topic) = apart(calls);
    let parts = [search(&model, &queue), search(&Topic, &topic)];
    parts.into_iter().filter_map(Result::err).max_by_key(|refusal| refusal.is_certain()).map_or(Ok(()), Err)
}

/// All services of a node.
pub const ALL: [Workload; 4] = [PAIRS, TUPLES, LOCKS, CHANNEL];

/// One client: a name, a source of random numbers, and what it knows.
#[derive(Debug)]
pub struct Client {
    /// Its name, which is also that of the holder of its locks.
    pub name: String,
    /// Where its choices come from.
    pub rng: StdRng,
    made: usize,
    /// Leases of tuples, versions of locks with their keys, messages.
    known: Vec<Value>,
}

impl Client {
    /// A client that knows nothing.
    #[must_use]
    pub fn new(name: String, rng: StdRng) -> Self {
        Self { name, rng, made: 0, known: Vec::new() }
    }

    /// What it asks for next.
    pub fn next(&mut self, workload: &Workload) -> (&'static str, Value) {
        (workload.next)(self)
    }

    /// Takes note of a reply.
    pub fn learn(&mut self, arguments: &Value, reply: &Value) {
        let (lease, version, id) = (&reply["lease"], &reply["version"], &reply["message"]["msg_id"]);
        if version.is_string() {
            self.known.push(json!({"key": arguments["key"], "version": version}));
        }
        self.known.extend([lease, id].into_iter().filter(|value| value.is_string()).cloned());
        if self.known.len() > 4 {
            self.known.remove(0);
        }
    }

    fn one_of<T: Copy + Default>(&mut self, all: &[T]) -> T {
        all.choose(&mut self.rng).copied().unwrap_or_default()
    }

    /// What nobody else makes.
    fn fresh(&mut self) -> String {
        self.made += 1;
        format!("{}-{}", self.name, self.made)
    }

    fn known(&mut self) -> Option<Value> {
        self.known.choose(&mut self.rng).cloned()
    }

    fn timeout_ms(&mut self) -> u64 {
        self.one_of(&[0, 0, 5, 20])
    }
}

fn pairs(client: &mut Client) -> (&'static str, Value) {
    let key = client.one_of(&["a", "b", "c"]);
    match client.rng.random_range(0..10) {
        0..3 => ("get", json!({"key": key})),
        3 => ("list", json!({})),
        4..6 => ("put", json!({"key": key, "value": client.fresh()})),
        6 => ("delete", json!({"key": key})),
        7 => ("cas", json!({"key": key, "expected": null, "value": client.fresh()})),
        // Few values, so that some are expected rightly.
        8 => ("put", json!({"key": key, "value": client.one_of(&["x", "y"])})),
        _ => ("cas", json!({"key": key, "expected": client.one_of(&["x", "y"]), "value": client.one_of(&["x", "y"])})),
    }
}

fn tuples(client: &mut Client) -> (&'static str, Value) {
    let kind = client.one_of(&["p", "q"]);
    let pattern = if client.rng.random_bool(0.5) { json!([kind, null]) } else { json!([null, null]) };
    match client.rng.random_range(0..16) {
        0..6 => ("write", json!({"tuple": [kind, client.fresh()]})),
        6..9 => ("take", json!({"pattern": pattern, "timeout_ms": client.timeout_ms()})),
        9 => ("take", json!({"pattern": pattern, "lease_ms": client.one_of(&[15, 30])})),
        10 => ("read", json!({"pattern": pattern, "timeout_ms": client.timeout_ms()})),
        11 => ("write_once", json!({"pattern": [kind, null], "tuple": [kind, client.fresh()]})),
        12 => ("replace", json!({"pattern": [kind, null], "tuple": [kind, client.fresh()]})),
        13 => (client.one_of(&["read_all", "count"]), json!({"pattern": pattern})),
        14 if client.rng.random_bool(0.2) => ("take_all", json!({"pattern": pattern})),
        _ => match client.known() {
            Some(lease) => (client.one_of(&["confirm", "release"]), json!({"lease": lease})),
            None => ("count", json!({"pattern": pattern})),
        },
    }
}

fn locks(client: &mut Client) -> (&'static str, Value) {
    let key = client.one_of(&["door", "window"]);
    let ttl_ms = client.one_of(&[10, 25, 10_000]);
    match (client.rng.random_range(0..10), client.known()) {
        (0..2, Some(Value::Object(mut known))) => {
            known.insert("ttl_ms".to_owned(), json!(ttl_ms));
            ("renew", Value::Object(known))
        }
        (2..6, Some(known)) => ("release", known),
        (6, _) => ("get", json!({"key": key})),
        _ => ("acquire", json!({"key": key, "holder": client.name, "ttl_ms": ttl_ms, "timeout_ms": client.timeout_ms()})),
    }
}

fn channel(client: &mut Client) -> (&'static str, Value) {
    match (client.rng.random_range(0..16), client.known()) {
        (0..4, _) => ("send", json!({"payload": 1, "msg_id": client.fresh()})),
        (4..8, _) => ("receive", json!({"visibility_ms": client.one_of(&[15, 1000]), "timeout_ms": client.timeout_ms()})),
        (8..11, Some(id)) => ("ack", json!({"msg_id": id})),
        (11, Some(id)) => ("nack", json!({"msg_id": id, "requeue": client.one_of(&[true, true, false])})),
        // Once more what was sent already, maybe done, in somebody's hands or a dead letter.
        (12, Some(id)) => ("send", json!({"payload": 1, "msg_id": id})),
        (13, _) => ("publish", json!({"payload": 1, "msg_id": client.fresh()})),
        (14, _) if client.rng.random_bool(0.3) => ("redrive", json!({})),
        _ => ("next", json!({"subscriber": client.one_of(&["s", "t"]), "timeout_ms": client.timeout_ms()})),
    }
}

/// Asks one question after the other until it has seen what is left; to be used when all leases are over.
pub async fn audit(workload: &Workload, mut ask: impl AsyncFnMut(&str, Value) -> Value) {
    match workload.service {
        "kv" => drop(ask("list", json!({})).await),
        "tuples" => drop(ask("read_all", json!({"pattern": [null, null]})).await),
        "locks" => {
            for key in ["door", "window"] {
                ask("get", json!({"key": key})).await;
            }
        }
        _ => {
            ask("redrive", json!({})).await;
            loop {
                let id = ask("receive", json!({"visibility_ms": 60_000})).await["message"]["msg_id"].clone();
                if id.is_null() {
                    break;
                }
                ask("ack", json!({"msg_id": id})).await;
            }
            for subscriber in ["s", "t"] {
                while !ask("next", json!({"subscriber": subscriber})).await["message"].is_null() {}
            }
        }
    }
}
