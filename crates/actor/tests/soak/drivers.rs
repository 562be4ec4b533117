//! Those who send messages from outside in the soak test.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use plexspaces_actor::{Request, Runtime, Target};
use plexspaces_types::{Code, Failure, Name, Payload, RequestContext};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use serde_json::{Map, Value, json};

use crate::actors::{ECHOES, LEDGERS, NAPPERS, TASKS, Tally, WATCHERS, name, somebody};

/// What one who sends has seen.
#[derive(Default)]
pub struct Outcome {
    pub sent: u64,
    pub echoed: u64,
    pub echo_tells: u64,
    pub added: u64,
    pub add_attempts: u64,
    pub spawned: u64,
    pub ended: u64,
    /// What must not happen, with how often it did.
    pub unexpected: BTreeMap<String, u64>,
}

impl Outcome {
    pub fn add(&mut self, other: &Self) {
        self.sent += other.sent;
        self.echoed += other.echoed;
        self.echo_tells += other.echo_tells;
        self.added += other.added;
        self.add_attempts += other.add_attempts;
        self.spawned += other.spawned;
        self.ended += other.ended;
        for (what, times) in &other.unexpected {
            *self.unexpected.entry(what.clone()).or_default() += times;
        }
    }

    pub fn print(&self, tally: &Tally) -> String {
        let mut text = format!(
            "{} requests: {} echoed, {} added, {} spawned, {} stopped or killed;",
            self.sent, self.echoed, self.added, self.spawned, self.ended
        );
        let counts = [
            ("turns of work", &tally.worked),
            ("crashes", &tally.crashed),
            ("timers", &tally.fired),
            ("watches", &tally.watched),
            ("links that ended", &tally.exits),
        ];
        for (what, count) in counts {
            let _ = write!(text, " {} {what},", count.load(Relaxed));
        }
        let _ = write!(text, " refused within turns: {:?}", tally.refused.lock().unwrap());
        text
    }

    fn must_not(&mut self, what: &str, failure: &Failure) {
        *self.unexpected.entry(format!("{what}: {} {}", failure.code.name(), failure.message)).or_default() += 1;
    }
}

/// A caller's context with a deadline that nothing here needs.
pub fn ctx() -> RequestContext {
    within(Duration::from_secs(120))
}

fn within(time: Duration) -> RequestContext {
    let scope = Name::default_scope();
    RequestContext::external(scope.clone(), scope, "soak").with_deadline(Instant::now() + time)
}

fn request(operation: &str, payload: &Value) -> Request {
    Request { operation: operation.to_owned(), payload: Payload::from_value(payload), idempotency_key: None }
}

/// Sends what follows from the seed until the time is over.
pub async fn drive(runtime: Runtime, tally: Arc<Tally>, seed: u64, until: Instant) -> Outcome {
    let mut random = StdRng::seed_from_u64(seed);
    let mut outcome = Outcome::default();
    while Instant::now() < until {
        outcome.sent += 1;
        one(&runtime, &tally, &mut random, &mut outcome).await;
    }
    outcome
}

async fn one(runtime: &Runtime, tally: &Tally, random: &mut StdRng, outcome: &mut Outcome) {
    let (role, key) = somebody(random);
    let any = Target { name: role, key: Some(&key) };
    let seeded = json!({"seed": random.random::<u64>()});
    match random.random_range(0..20) {
        0..3 => {
            let echo = random.random_range(0..ECHOES).to_string();
            match runtime.ask(&ctx(), Target { name: "echo", key: Some(&echo) }, request("echo", &Value::Null)).await {
                Ok(_) => outcome.echoed += 1,
                Err(failure) => outcome.must_not("an echo does not answer", &failure),
            }
        }
        3 => {
            let echo = random.random_range(0..ECHOES).to_string();
            match runtime.tell(&ctx(), Target { name: "echo", key: Some(&echo) }, request("echo", &Value::Null)).await {
                Ok(()) => outcome.echo_tells += 1,
                Err(failure) if failure.code == Code::Overloaded => {}
                Err(failure) => outcome.must_not("an echo takes no message", &failure),
            }
        }
        4..6 => {
            outcome.add_attempts += 1;
            let ledger = random.random_range(0..LEDGERS).to_string();
            let mut request = request("add", &Value::Null);
            request.idempotency_key = random.random_bool(0.2).then(|| format!("{:x}", random.random::<u64>()));
            if runtime.ask(&ctx(), Target { name: "ledger", key: Some(&ledger) }, request).await.is_ok() {
                outcome.added += 1;
            }
        }
        6..10 if role != "echo" => drop(runtime.tell(&ctx(), any, request("work", &seeded)).await),
        10 | 11 if role != "echo" => {
            if let Err(failure) = runtime.ask(&ctx(), any, request("work", &seeded)).await
                && failure.code == Code::DeadlineExceeded
            {
                outcome.must_not(&format!("{role} {key} does not answer"), &failure);
            }
        }
        12 if role != "echo" => {
            // It stops waiting: at its deadline, or because it is dropped.
            let asked = runtime.ask(&within(Duration::from_millis(random.random_range(0..5))), any, request("work", &seeded)).await;
            drop(asked);
            let ctx = ctx();
            let impatient = runtime.ask(&ctx, any, request("work", &seeded));
            let _ = tokio::time::timeout(Duration::from_micros(random.random_range(0..500)), impatient).await;
        }
        13 => {
            let task = random.random_range(0..TASKS).to_string();
            let args: Map<String, Value> = random.random_bool(0.1).then(|| ("fail".to_owned(), json!(true))).into_iter().collect();
            let spawned = runtime.spawn(&ctx(), &name("soak"), "task", &task, args).await;
            outcome.spawned += u64::from(spawned.is_ok());
        }
        14 | 15 if role != "echo" => {
            let kill = random.random_bool(0.5);
            let ended = if kill { runtime.kill_actor(&ctx(), any) } else { runtime.stop_actor(&ctx(), any) };
            outcome.ended += u64::from(ended == Ok(true));
        }
        16 => {
            let ledger = random.random_range(0..LEDGERS).to_string();
            let _ = runtime.kill_actor(&ctx(), Target { name: "ledger", key: Some(&ledger) });
        }
        17 => {
            let watcher = random.random_range(0..WATCHERS).to_string();
            // What a watcher has to hear comes first: it is not asked for more than it can.
            if tally.watched.load(Relaxed) < tally.downs.load(Relaxed) + 500 {
                let _ = runtime.ask(&ctx(), Target { name: "watcher", key: Some(&watcher) }, request("watch", &seeded)).await;
            }
        }
        18 if role == "keeper" => {
            let napper = random.random_range(0..NAPPERS).to_string();
            if let Err(failure) = runtime.ask(&ctx(), Target { name: "napper", key: Some(&napper) }, request("nap", &seeded)).await {
                outcome.must_not("a napper does not answer", &failure);
            }
        }
        18 if role == "worker" || role == "task" => drop(runtime.ask(&ctx(), any, request("share", &seeded)).await),
        _ => service(runtime, random, outcome).await,
    }
}

async fn service(runtime: &Runtime, random: &mut StdRng, outcome: &mut Outcome) {
    let key = format!("k{}", random.random_range(0..50));
    let (service, operation, payload) = match random.random_range(0..8) {
        0 => ("kv", "put", json!({"key": key, "value": "v", "ttl_ms": random.random_range(1..100)})),
        1 => ("kv", "get", json!({"key": key})),
        2 => ("kv", "delete", json!({"key": key})),
        3 => ("tuples", "write", json!({"tuple": [key, 1], "ttl_ms": random.random_range(1..200)})),
        4 => ("tuples", "take", json!({"pattern": [key, null], "timeout_ms": random.random_range(0..3)})),
        5 => ("channels", "send", json!({"payload": 1, "msg_type": "t"})),
        6 => ("channels", "receive", json!({"timeout_ms": random.random_range(0..3), "visibility_ms": 20})),
        _ => ("locks", "acquire", json!({"key": key, "ttl_ms": random.random_range(1..50), "timeout_ms": random.random_range(0..3)})),
    };
    if let Err(failure) = runtime.ask_service(&ctx(), service, "default", request(operation, &payload)).await
        && !matches!(failure.code, Code::Conflict | Code::DeadlineExceeded | Code::Overloaded)
    {
        outcome.must_not(&format!("{service}.{operation}"), &failure);
    }
}
