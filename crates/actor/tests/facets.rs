//! Guarantees of facets. `docs/semantics.md` names these tests.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use plexspaces_actor::{Config, Facet, FacetError, FacetRegistry, FacetSettings, FacetSpec, InterceptResult, Profile, Runtime, Target};
use plexspaces_store::{Batch, Error, Limits, Memory, Page, Partition, Range, Store};
use plexspaces_types::{ActorId, Clock, Code, Failure, Name, RequestContext};
use serde_json::{Map, Value, json};
use support::{Lab, ProbeFactory, application, name, request};

/// Refuses deposits above a limit.
struct FraudDetection {
    limit: f64,
}

impl FraudDetection {
    fn make(config: &Map<String, Value>) -> Result<Box<dyn Facet>, String> {
        let mut settings = FacetSettings::new(config);
        let limit = settings.required("limit")?;
        settings.finish()?;
        Ok(Box::new(Self { limit }))
    }

    fn score(&self, payload: &[u8]) -> Result<f64, FacetError> {
        let payload: Value = serde_json::from_slice(payload).map_err(|error| error.to_string())?;
        Ok(payload["by"].as_f64().unwrap_or_default() / self.limit)
    }
}

#[async_trait]
impl Facet for FraudDetection {
    fn name(&self) -> &str {
        "fraud_detection"
    }

    fn priority(&self) -> u32 {
        200
    }

    async fn before_method(&mut self, method: &str, payload: &[u8]) -> Result<InterceptResult, FacetError> {
        if method == "add" && self.score(payload)? > 1.0 {
            return Err("fraud_detected".into());
        }
        Ok(InterceptResult::Continue)
    }
}

type Journal = Arc<Mutex<Vec<String>>>;

/// Writes down what it hears, and does on the operation `when` what its configuration says.
struct Scribe {
    label: String,
    config: Map<String, Value>,
    journal: Journal,
}

impl Scribe {
    fn note(&self, what: &str) {
        self.journal.lock().unwrap().push(format!("{} {what}", self.label));
    }

    fn act(&self, phase: &str, method: &str) -> Result<InterceptResult, FacetError> {
        let Some(act) = self.config.get(phase).filter(|_| self.config.get("when").is_none_or(|when| when == method)) else {
            return Ok(InterceptResult::Continue);
        };
        let value = || act["value"].to_string().into_bytes();
        match act["do"].as_str().unwrap() {
            "reply" => Ok(InterceptResult::Reply(value())),
            "replace" => Ok(InterceptResult::Replace(value())),
            "reject" => Err("no".into()),
            "deny" => Err(FacetError::Denied("not you".into())),
            "panic" => panic!("a facet at the disco"),
            other => panic!("{other}"),
        }
    }
}

#[async_trait]
impl Facet for Scribe {
    fn name(&self) -> &str {
        &self.label
    }

    async fn before_method(&mut self, method: &str, _payload: &[u8]) -> Result<InterceptResult, FacetError> {
        self.note("before");
        self.act("before", method)
    }

    async fn after_method(&mut self, method: &str, _payload: &[u8], _reply: &[u8]) -> Result<InterceptResult, FacetError> {
        self.note("after");
        self.act("after", method)
    }

    async fn on_error(&mut self, _method: &str, _payload: &[u8], failure: &Failure) {
        self.note(&format!("error {}", failure.code));
    }

    async fn on_attach(&mut self, actor: &ActorId) -> Result<(), FacetError> {
        self.note(&format!("attach {}", actor.key.as_str()));
        self.act("attach", "").map(drop)
    }

    fn on_detach(&mut self) {
        self.note("detach");
    }
}

fn spec(name: &str, priority: Option<u32>, config: Value) -> FacetSpec {
    FacetSpec { name: name.to_owned(), priority, config: config.as_object().cloned().unwrap_or_default() }
}

/// A laboratory that also knows `fraud_detection` and the scribes `a`, `b` and `c`.
async fn lab_on(store: Arc<dyn Store>, profile: Profile) -> Result<(Lab, Journal), Failure> {
    let journal = Journal::default();
    let registry = FacetRegistry::builtin();
    registry.register("fraud_detection", FraudDetection::make).unwrap();
    for label in ["a", "b", "c"] {
        let journal = journal.clone();
        let make = move |config: &Map<String, Value>| {
            Ok(Box::new(Scribe { label: label.to_owned(), config: config.clone(), journal: journal.clone() }) as Box<dyn Facet>)
        };
        registry.register(label, make).unwrap();
    }
    let clock = Clock::manual(1_000_000);
    let runtime = Runtime::new(Config { facets: registry, ..Config::new(name("node1"), store.clone(), clock.clone()) });
    let factory = ProbeFactory::new("v1");
    let application = application(factory.clone(), profile, Vec::new());
    runtime.deploy(&application).await?;
    Ok((Lab { runtime, store, clock, factory, application }, journal))
}

async fn lab(facets: Vec<FacetSpec>) -> (Lab, Journal) {
    lab_on(Arc::new(Memory::new()), Profile { facets, ..Profile::default() }).await.unwrap()
}

async fn durable_lab(facets: Vec<FacetSpec>) -> (Lab, Journal) {
    lab_on(Arc::new(Memory::new()), Profile { facets, durable: true, ..Profile::default() }).await.unwrap()
}

fn take(journal: &Journal) -> Vec<String> {
    std::mem::take(&mut *journal.lock().unwrap())
}

fn probe(key: &str) -> Target<'_> {
    Target { name: "probe", key: Some(key) }
}

async fn ask_as(lab: &Lab, principal: &str, operation: &str, idempotency_key: Option<&str>) -> Result<Value, Failure> {
    let ctx = RequestContext { principal: principal.into(), ..lab.ctx() };
    let reply = lab.runtime.ask(&ctx, probe("x"), request(operation, &json!({}), idempotency_key)).await?;
    Ok(serde_json::from_slice(reply.as_bytes()).unwrap())
}

#[tokio::test]
async fn a_facet_of_ones_own_rejects_a_call_before_the_handler() {
    let (lab, _) = lab(vec![spec("fraud_detection", None, json!({"limit": 100.0}))]).await;
    assert_eq!(lab.ask("x", "add", json!({"by": 70})).await, Ok(json!({"count": 70})));
    let refused = lab.ask("x", "add", json!({"by": 101})).await.unwrap_err();
    assert_eq!((refused.code, refused.message.as_str()), (Code::Rejected, "fraud_detected"));
    assert_eq!(lab.count("x").await, 70);
    assert_eq!(lab.made(), 1, "the actor lives on");
}

#[tokio::test]
async fn facets_run_by_priority_on_the_way_in_and_in_reverse_on_the_way_out() {
    let (lab, journal) = lab(vec![spec("a", None, json!({})), spec("b", Some(900), json!({})), spec("c", None, json!({}))]).await;
    lab.ask("x", "get", json!({})).await.unwrap();
    let heard = take(&journal);
    assert_eq!(heard[3..], ["b before", "a before", "c before", "c after", "a after", "b after"]);
}

#[tokio::test]
async fn a_rejection_is_heard_by_the_facets_outside_of_it_only() {
    let reject = json!({"when": "add", "before": {"do": "reject"}});
    let (lab, journal) = lab(vec![spec("a", Some(3), json!({})), spec("b", Some(2), reject), spec("c", Some(1), json!({}))]).await;
    lab.ask("x", "get", json!({})).await.unwrap();
    take(&journal);
    assert_eq!(lab.ask("x", "add", json!({})).await.unwrap_err().code, Code::Rejected);
    assert_eq!(take(&journal), ["a before", "b before", "a error rejected"]);
    let (lab, _) = lab_of_denial().await;
    assert_eq!(lab.ask("x", "add", json!({})).await.unwrap_err().code, Code::PermissionDenied);
}

async fn lab_of_denial() -> (Lab, Journal) {
    lab(vec![spec("a", None, json!({"before": {"do": "deny"}}))]).await
}

#[tokio::test]
async fn a_failure_of_the_handler_is_heard_by_all_facets_and_ends_their_incarnation() {
    let (lab, journal) = lab(vec![spec("a", Some(2), json!({})), spec("b", Some(1), json!({}))]).await;
    lab.ask("x", "crash", json!({})).await.unwrap_err();
    let heard = take(&journal);
    assert_eq!(heard[2..6], ["a before", "b before", "b error handler_failed", "a error handler_failed"]);
    assert_eq!(lab.count("x").await, 0);
    let heard = take(&journal);
    assert_eq!(heard.iter().filter(|line| line.contains("attach x")).count(), 2, "{heard:?}");
}

#[tokio::test]
async fn a_facet_may_answer_in_place_of_the_handler() {
    let reply = json!({"when": "get", "before": {"do": "reply", "value": {"count": "secret"}}});
    let (lab, journal) = lab(vec![spec("a", Some(3), json!({})), spec("b", Some(2), reply), spec("c", Some(1), json!({}))]).await;
    assert_eq!(lab.ask("x", "get", json!({})).await, Ok(json!({"count": "secret"})));
    assert_eq!(take(&journal)[3..], ["a before", "b before", "a after"]);
    assert!(lab.factory.watch.handled.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_facet_may_replace_payload_and_reply() {
    let before = json!({"when": "add", "before": {"do": "replace", "value": {"by": 5}}});
    let after = json!({"when": "get", "after": {"do": "replace", "value": "hidden"}});
    let (lab, _) = lab(vec![spec("a", None, before), spec("b", None, after)]).await;
    assert_eq!(lab.ask("x", "add", json!({"by": 1})).await, Ok(json!({"count": 5})));
    assert_eq!(lab.ask("x", "get", json!({})).await, Ok(json!("hidden")));
}

#[tokio::test]
async fn an_error_after_the_handler_rolls_the_turn_back() {
    let after = json!({"when": "add", "after": {"do": "reject"}});
    let (lab, journal) = durable_lab(vec![spec("a", Some(2), json!({})), spec("b", Some(1), after)]).await;
    lab.ask("x", "put", json!({"key": "k", "value": "v"})).await.unwrap();
    take(&journal);
    assert_eq!(lab.ask("x", "add", json!({"by": 5})).await.unwrap_err().code, Code::Rejected);
    assert_eq!(take(&journal)[..4], ["a before", "b before", "b after", "a error rejected"]);
    assert_eq!(lab.count("x").await, 0);
    assert_eq!(lab.ask("x", "read", json!({"key": "k"})).await, Ok(json!("v")));
}

#[tokio::test]
async fn a_panic_in_a_facet_costs_only_its_actor() {
    let (lab, _) = durable_lab(vec![spec("a", None, json!({"when": "add", "before": {"do": "panic"}}))]).await;
    lab.ask("other", "get", json!({})).await.unwrap();
    assert_eq!(lab.ask("x", "add", json!({})).await.unwrap_err().code, Code::HandlerFailed);
    assert_eq!(lab.count("x").await, 0);
    assert_eq!(lab.count("other").await, 0);
    assert_eq!(lab.made(), 3, "x was made twice, other once");
}

#[tokio::test]
async fn a_facet_that_cannot_be_attached_keeps_its_actor_from_living() {
    let (lab, _) = lab(vec![spec("a", None, json!({"attach": {"do": "reject"}}))]).await;
    let refused = lab.ask("x", "get", json!({})).await.unwrap_err();
    assert_eq!((refused.code, refused.message.as_str()), (Code::Rejected, "the facet a could not be attached: no"));
}

#[tokio::test]
async fn an_unknown_facet_and_a_wrong_configuration_are_refused() {
    for (facet, part) in [
        (spec("mobility", None, json!({})), "unknown facet \"mobility\", expected one of a, authentication, authorization,"),
        (spec("metrisc", None, json!({})), "did you mean `metrics`?"),
        (spec("durability", None, json!({})), "the facet durability decides how an actor lives"),
        (
            spec("metrics", None, json!({"max_operation": 1})),
            "unknown key \"max_operation\", expected one of max_operations; did you mean `max_operations`?",
        ),
        (spec("key_value", None, json!({"initial": {"": 1}})), "facet key_value: initial has a wrong key: a key has 0 bytes"),
        (spec("tracing", None, json!({"rate": 1})), "facet tracing: unknown key \"rate\", it has no configuration"),
        (spec("metrics", None, json!({"max_operations": "many"})), "facet metrics: max_operations is \"many\": invalid type"),
        (spec("caching", None, json!({})), "facet caching: operations is missing"),
        (spec("caching", None, json!({"operations": ["get"], "ttl": "soon"})), "facet caching: ttl is \"soon\", expected a duration"),
        (spec("logging", None, json!({"level": "loud"})), "facet logging: level is \"loud\": unknown variant"),
        (spec("logging", None, json!({"redact": ["x"]})), "no payload is logged without payload = true"),
        (spec("authorization", None, json!({})), "facet authorization: it has no rule"),
        (spec("lock", None, json!({})), "facet lock: key is missing"),
        (spec("blob", None, json!({"initial": {}})), "facet blob: initial has no blob"),
        (spec("blob", None, json!({"initial": {"/a": 1}})), "facet blob: initial has a wrong name: a blob's name has 1 to 512 bytes"),
        (spec("process_group", None, json!({"groups": []})), "facet process_group: groups has no name"),
        (spec("registry", None, json!({"name": ""})), "facet registry: name is empty"),
        (spec("event_emitter", None, json!({})), "facet event_emitter: target is missing"),
        (spec("timer", None, json!({"schedules": [{"name": "t", "operation": "add"}]})), "schedule \"t\": expected exactly one of"),
        (spec("reminder", None, json!({"schedules": [{"name": "t", "operation": "add", "after": "1s"}]})), "expected every or cron"),
        (spec("fraud_detection", None, json!({"limit": "high"})), "facet fraud_detection: limit is \"high\": invalid type"),
    ] {
        let Err(refused) = lab_on(Arc::new(Memory::new()), Profile { facets: vec![facet], ..Profile::default() }).await else {
            panic!("accepted: {part}");
        };
        assert_eq!(refused.code, Code::InvalidConfig);
        assert!(refused.message.contains(part), "{refused}");
    }
}

#[tokio::test]
async fn a_facet_is_attached_and_detached_between_two_messages() {
    let (lab, journal) = lab(vec![spec("a", Some(10), json!({}))]).await;
    lab.ask("x", "add", json!({})).await.unwrap();
    take(&journal);
    let limit = spec("fraud_detection", None, json!({"limit": 100.0}));
    lab.runtime.attach_facet(&lab.ctx(), probe("x"), limit.clone()).await.unwrap();
    let names = |specs: Vec<FacetSpec>| specs.into_iter().map(|spec| (spec.name, spec.priority)).collect::<Vec<_>>();
    let both = [("fraud_detection".to_owned(), Some(200)), ("a".to_owned(), Some(10))];
    assert_eq!(names(lab.runtime.facets(&lab.ctx(), probe("x")).unwrap()), both);
    assert_eq!(lab.ask("x", "add", json!({"by": 500})).await.unwrap_err().message, "fraud_detected");
    assert_eq!(lab.ask("other", "add", json!({"by": 500})).await, Ok(json!({"count": 500})), "only that actor has it");
    // It outlasts the actor's failure.
    lab.ask("x", "crash", json!({})).await.unwrap_err();
    assert_eq!(lab.ask("x", "add", json!({"by": 500})).await.unwrap_err().message, "fraud_detected");
    assert_eq!(lab.runtime.detach_facet(&lab.ctx(), probe("x"), "fraud_detection").await, Ok(true));
    assert_eq!(lab.runtime.detach_facet(&lab.ctx(), probe("x"), "fraud_detection").await, Ok(false));
    assert_eq!(lab.ask("x", "add", json!({"by": 500})).await, Ok(json!({"count": 500})));
    take(&journal);
    assert_eq!(lab.runtime.detach_facet(&lab.ctx(), probe("x"), "a").await, Ok(true));
    assert_eq!(take(&journal), ["a detach"]);
    assert_eq!(lab.count("x").await, 500, "the state stayed");
}

#[tokio::test]
async fn a_facet_that_fails_to_attach_changes_nothing() {
    let (lab, _) = lab(Vec::new()).await;
    lab.ask("x", "add", json!({})).await.unwrap();
    let refused = lab.runtime.attach_facet(&lab.ctx(), probe("x"), spec("a", None, json!({"attach": {"do": "reject"}}))).await;
    assert_eq!(refused.unwrap_err().code, Code::Rejected);
    assert_eq!(
        lab.runtime.attach_facet(&lab.ctx(), probe("x"), spec("mobility", None, json!({}))).await.unwrap_err().code,
        Code::InvalidConfig
    );
    assert_eq!(lab.runtime.facets(&lab.ctx(), probe("x")), Ok(Vec::new()));
    assert_eq!(lab.count("x").await, 1);
}

#[tokio::test]
async fn authentication_refuses_callers_without_a_credential_also_for_stored_answers() {
    let (lab, _) = durable_lab(vec![spec("authentication", None, json!({}))]).await;
    assert_eq!(ask_as(&lab, "anonymous", "get", None).await.unwrap_err().code, Code::Unauthenticated);
    assert_eq!(ask_as(&lab, "alice", "add", Some("key")).await, Ok(json!({"count": 1})));
    assert_eq!(ask_as(&lab, "alice", "add", Some("key")).await, Ok(json!({"count": 1})));
    assert_eq!(ask_as(&lab, "anonymous", "add", Some("key")).await.unwrap_err().code, Code::Unauthenticated);
}

#[tokio::test]
async fn authorization_follows_its_lists_by_operation() {
    let rules = json!({"deny": ["mallory"], "operations": {"add": {"allow": ["alice"]}, "version": {"allow": ["*"]}}});
    let (lab, _) = lab(vec![spec("authorization", None, rules)]).await;
    for (principal, operation, admitted) in [
        ("alice", "add", true),
        ("bob", "add", false),
        ("bob", "get", true),
        ("mallory", "get", false),
        ("mallory", "version", true),
        ("mallory", "add", false),
    ] {
        let result = ask_as(&lab, principal, operation, None).await;
        assert_eq!(result.is_ok(), admitted, "{principal} {operation}");
        assert!(result.is_ok() || result.unwrap_err().code == Code::PermissionDenied);
    }
    // An operation that only the payload names is no way around.
    let ctx = RequestContext { principal: "bob".into(), ..lab.ctx() };
    let hidden = lab.runtime.ask(&ctx, probe("x"), request("", &json!({"op": "add"}), None)).await;
    assert_eq!(hidden.unwrap_err().code, Code::PermissionDenied);
}

#[tokio::test(start_paused = true)]
async fn a_cached_reply_is_given_until_it_is_old_or_something_else_was_done() {
    let (lab, _) = lab(vec![spec("caching", None, json!({"operations": ["get"], "ttl": "10s", "capacity": 2}))]).await;
    let handled = |lab: &Lab| lab.factory.watch.handled.lock().unwrap().iter().filter(|operation| *operation == "get").count();
    for _ in 0..3 {
        assert_eq!(lab.count("x").await, 0);
    }
    assert_eq!(handled(&lab), 1);
    lab.ask("x", "add", json!({})).await.unwrap();
    assert_eq!((lab.count("x").await, handled(&lab)), (1, 2));
    tokio::time::sleep(Duration::from_secs(11)).await;
    assert_eq!((lab.count("x").await, handled(&lab)), (1, 3));
    // The payload belongs to the key, and the oldest of three makes room.
    for by in [1, 2, 2] {
        lab.ask("x", "get", json!({"by": by})).await.unwrap();
    }
    assert_eq!(handled(&lab), 5);
    assert_eq!((lab.count("x").await, handled(&lab)), (1, 6));
}

#[tokio::test]
async fn an_event_emitter_tells_its_target_what_was_handled() {
    let config = json!({"target": "probe/ear", "event": "__DOWN__", "operations": ["add", "crash"], "payload": true, "reply": true});
    let (lab, _) = durable_lab(vec![spec("event_emitter", None, config)]).await;
    lab.ask("x", "get", json!({})).await.unwrap();
    lab.ask("x", "crash", json!({})).await.unwrap_err();
    lab.ask("x", "add", json!({"by": 4})).await.unwrap();
    let heard = lab.heard("probe/ear", 1).await;
    let event = json!({"actor": "default/probe/x", "operation": "add", "at_ms": 1_000_000, "payload": {"by": 4}, "reply": {"count": 4}});
    assert_eq!(heard, [json!(["__DOWN__", event])]);
}

#[tokio::test(start_paused = true)]
async fn a_declared_timer_runs_from_the_actors_activation() {
    let schedules = json!({"schedules": [{"name": "tick", "every": "100ms", "operation": "add", "payload": {"by": 2}}]});
    let (lab, _) = lab(vec![spec("timer", None, schedules)]).await;
    assert_eq!(lab.count("x").await, 0);
    tokio::time::sleep(Duration::from_millis(1050)).await;
    assert_eq!(lab.count("x").await, 20);
    lab.ask("x", "crash", json!({})).await.unwrap_err();
    assert_eq!(lab.count("x").await, 0);
    tokio::time::sleep(Duration::from_millis(1050)).await;
    assert_eq!(lab.count("x").await, 20);
}

#[tokio::test(start_paused = true)]
async fn a_declared_reminder_is_stored_once() {
    let store: Arc<dyn Store> = Arc::new(Memory::new());
    let schedules = json!({"schedules": [{"name": "bill", "every": "1h", "operation": "add"}]});
    let profile = Profile { durable: true, facets: vec![spec("reminder", None, schedules)], ..Profile::default() };
    let (first, _) = lab_on(store.clone(), profile.clone()).await.unwrap();
    assert_eq!(first.count("x").await, 0);
    let due = async |lab: &Lab| {
        let id = ActorId::new(Name::default_scope(), Name::default_scope(), name("probe"), plexspaces_types::Key::new("x").unwrap());
        let key = plexspaces_durable::Reminder::key("bill");
        let stored = lab.store.get(&plexspaces_store::Partition::actor(&id), &key).await.unwrap().unwrap();
        plexspaces_durable::Reminder::decode(&stored).unwrap().due_ms
    };
    let planned = due(&first).await;
    first.clock.advance(1_000);
    first.ask("x", "crash", json!({})).await.unwrap_err();
    assert_eq!(first.count("x").await, 0);
    assert_eq!(due(&first).await, planned, "another activation did not put it off");
    first.clock.advance(3_600_000);
    tokio::time::sleep(Duration::from_secs(3_700)).await;
    assert_eq!(first.count("x").await, 1);
}

#[tokio::test(start_paused = true)]
async fn a_declared_timer_ends_when_its_facet_is_detached_and_changes_with_its_configuration() {
    let every = |every: &str| json!({"schedules": [{"name": "tick", "every": every, "operation": "add"}]});
    let (lab, _) = lab(vec![spec("timer", None, every("100ms"))]).await;
    assert_eq!(lab.count("x").await, 0);
    tokio::time::sleep(Duration::from_millis(1050)).await;
    assert_eq!(lab.count("x").await, 10);
    assert_eq!(lab.runtime.attach_facet(&lab.ctx(), probe("x"), spec("timer", None, every("1s"))).await, Ok(true));
    tokio::time::sleep(Duration::from_millis(1050)).await;
    assert_eq!(lab.count("x").await, 11);
    assert_eq!(lab.runtime.detach_facet(&lab.ctx(), probe("x"), "TimerFacet").await, Ok(true));
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(lab.count("x").await, 11);
}

#[tokio::test(start_paused = true)]
async fn a_declared_reminder_ends_when_its_facet_is_detached_from_an_actor_that_was_not_in_memory() {
    let store: Arc<dyn Store> = Arc::new(Memory::new());
    let schedules = json!({"schedules": [{"name": "bill", "every": "1h", "operation": "add"}]});
    let profile = Profile { durable: true, facets: vec![spec("reminder", None, schedules.clone())], ..Profile::default() };
    let (lab, _) = lab_on(store.clone(), profile).await.unwrap();
    assert_eq!(lab.count("x").await, 0);
    lab.runtime.stop_actor(&lab.ctx(), probe("x")).unwrap();
    assert_eq!(lab.runtime.detach_facet(&lab.ctx(), probe("x"), "reminder").await, Ok(true));
    let stored = async || {
        let id = ActorId::new(Name::default_scope(), Name::default_scope(), name("probe"), plexspaces_types::Key::new("x").unwrap());
        lab.store.get(&plexspaces_store::Partition::actor(&id), &plexspaces_durable::Reminder::key("bill")).await.unwrap()
    };
    assert_eq!(stored().await, None);
    assert_eq!(lab.runtime.attach_facet(&lab.ctx(), probe("x"), spec("reminder", None, schedules)).await, Ok(false));
    assert!(stored().await.is_some());
}

#[tokio::test]
async fn a_reminder_cannot_be_attached_to_an_actor_that_stores_nothing() {
    let (lab, _) = lab(Vec::new()).await;
    let schedules = json!({"schedules": [{"name": "bill", "every": "1h", "operation": "add"}]});
    let refused = lab.runtime.attach_facet(&lab.ctx(), probe("x"), spec("reminder", None, schedules)).await.unwrap_err();
    assert!(refused.message.contains("give it the facet durability"), "{refused}");
    assert_eq!(lab.runtime.facets(&lab.ctx(), probe("x")), Ok(Vec::new()));
}

#[tokio::test]
async fn initial_pairs_are_set_where_there_are_none() {
    let initial = json!({"initial": {"k": "begun", "number": 7, "list": ["a"]}});
    let (lab, _) = durable_lab(vec![spec("key_value", None, initial)]).await;
    let read = async |key: &str| lab.ask("x", "read", json!({"key": key})).await;
    assert_eq!((read("k").await, read("number").await, read("list").await), (Ok(json!("begun")), Ok(json!("7")), Ok(json!("[\"a\"]"))));
    lab.ask("x", "put", json!({"key": "k", "value": "changed"})).await.unwrap();
    lab.ask("x", "crash", json!({})).await.unwrap_err();
    assert_eq!(read("k").await, Ok(json!("changed")));
}

#[tokio::test]
async fn what_is_attached_brings_an_actor_to_life_and_a_broken_facet_can_be_detached() {
    let (lab, journal) = lab(vec![spec("a", None, json!({"attach": {"do": "reject"}}))]).await;
    assert_eq!(lab.ask("x", "get", json!({})).await.unwrap_err().code, Code::Rejected);
    let attached = lab.runtime.attach_facet(&lab.ctx(), probe("x"), spec("b", None, json!({}))).await;
    assert_eq!(attached.unwrap_err().message, "the facet a could not be attached: no");
    assert_eq!(lab.runtime.detach_facet(&lab.ctx(), probe("x"), "a").await, Ok(true));
    assert_eq!(lab.count("x").await, 0);
    take(&journal);
    let made = lab.made();
    assert_eq!(lab.runtime.attach_facet(&lab.ctx(), probe("y"), spec("a", None, json!({}))).await.unwrap_err().code, Code::Rejected);
    lab.runtime.detach_facet(&lab.ctx(), probe("y"), "a").await.unwrap();
    assert_eq!(lab.runtime.attach_facet(&lab.ctx(), probe("y"), spec("b", None, json!({}))).await, Ok(false));
    assert!(lab.made() > made, "y is in memory without a message");
}

#[tokio::test]
async fn changes_of_one_actors_facets_happen_one_after_the_other() {
    let (lab, _) = lab(Vec::new()).await;
    let (bad, good) = (json!({"attach": {"do": "reject"}}), json!({}));
    let attach = async |config: &Value| lab.runtime.attach_facet(&lab.ctx(), probe("x"), spec("a", None, config.clone())).await.is_ok();
    let done = tokio::join!(attach(&bad), attach(&good), attach(&bad), attach(&good), attach(&bad));
    assert_eq!(done, (false, true, false, true, false));
    assert_eq!(lab.runtime.facets(&lab.ctx(), probe("x")).unwrap(), [spec("a", Some(200), good)]);
}

#[tokio::test]
async fn metrics_count_by_operation_up_to_a_bound() {
    let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
    let handle = recorder.handle();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let (lab, _) = lab(vec![spec("metrics", None, json!({"max_operations": 1}))]).await;
    lab.ask("x", "add", json!({})).await.unwrap();
    lab.ask("x", "get", json!({})).await.unwrap();
    lab.ask("x", "reject", json!({})).await.unwrap_err();
    let text = handle.render();
    let line = |operation: &str, outcome: &str, count: u32| {
        format!(
            "plexspaces_facet_calls_total{{namespace=\"default\",type=\"probe\",operation=\"{operation}\",outcome=\"{outcome}\"}} {count}"
        )
    };
    for line in [line("add", "handled", 1), line("other", "handled", 1), line("other", "failed", 1)] {
        assert!(text.contains(&line), "{line} is not in {text}");
    }
    assert!(text.contains("plexspaces_facet_call_seconds"), "{text}");
}

/// What was logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn logging_and_tracing_write_a_line_for_each_message_without_what_is_hidden() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_max_level(tracing::Level::DEBUG).with_writer(move || writer.clone());
    let _guard = tracing::subscriber::set_default(subscriber.finish());
    let logging = json!({"level": "warn", "payload": true, "redact": ["Secret"], "max_bytes": 60});
    let (lab, _) = lab(vec![spec("logging", None, logging), spec("tracing", None, json!({}))]).await;
    let arguments = json!({"by": 3, "inner": [{"secret": "hunter2"}], "tail": "x".repeat(100)});
    lab.ask("x", "add", arguments).await.unwrap();
    lab.ask("x", "reject", json!({})).await.unwrap_err();
    let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    let lines = |part: &str| text.lines().filter(|line| line.contains(part)).collect::<Vec<_>>();
    let received = lines("received \"add\"");
    assert!(received.len() == 1 && received[0].contains("WARN") && received[0].contains("[redacted]"), "{text}");
    assert!(received[0].contains('…') && !text.contains("hunter2"), "{text}");
    assert_eq!(lines("handled \"add\" {\"count\":3}").len(), 1, "{text}");
    assert_eq!(lines("failed \"reject\"").len(), 1, "{text}");
    let traced = lines("a message was handled");
    assert_eq!(traced.len(), 2, "{text}");
    assert!(
        traced[0].contains("operation=\"add\"") && traced[0].contains("trace_id") && traced[0].contains("outcome=\"handled\""),
        "{text}"
    );
    assert!(traced[1].contains("outcome=\"invalid_argument\""), "{text}");
}

#[tokio::test]
async fn an_actor_is_told_the_labels_of_its_deployment() {
    let labels = [("tier".to_owned(), "gold".to_owned())].into();
    let (lab, _) = lab_on(Arc::new(Memory::new()), Profile { labels, ..Profile::default() }).await.unwrap();
    assert_eq!(lab.ask("x", "config", json!({})).await.unwrap()["labels"], json!({"tier": "gold"}));
}

/// Writes down each commit of an actor.
struct Noting {
    inner: Memory,
    journal: Mutex<Option<Journal>>,
}

#[async_trait]
impl Store for Noting {
    fn backend(&self) -> &'static str {
        "noting"
    }

    fn limits(&self) -> &Limits {
        self.inner.limits()
    }

    async fn get(&self, partition: &Partition, key: &[u8]) -> Result<Option<Bytes>, Error> {
        self.inner.get(partition, key).await
    }

    async fn scan(&self, partition: &Partition, range: Range, limit: usize) -> Result<Page, Error> {
        self.inner.scan(partition, range, limit).await
    }

    async fn commit(&self, batch: Batch) -> Result<(), Error> {
        let is_actors = batch.partition.as_bytes().windows(7).any(|part| part == b"\0actor\0");
        if let Some(journal) = self.journal.lock().unwrap().as_ref().filter(|_| is_actors) {
            journal.lock().unwrap().push("commit".to_owned());
        }
        self.inner.commit(batch).await
    }
}

#[tokio::test(start_paused = true)]
async fn facets_see_a_message_when_its_actor_has_come_to_life_and_it_is_committed_when_all_have_agreed() {
    let store = Arc::new(Noting { inner: Memory::new(), journal: Mutex::default() });
    // However far outside and inside they are.
    let facets = vec![spec("a", Some(1_000_000), json!({})), spec("b", Some(0), json!({}))];
    let profile = Profile { durable: true, idle_timeout: Some(Duration::from_secs(60)), facets, ..Profile::default() };
    let (lab, journal) = lab_on(store.clone(), profile).await.unwrap();
    *store.journal.lock().unwrap() = Some(journal.clone());
    let around = ["a before", "b before", "b after", "a after", "commit"];
    for _ in 0..2 {
        lab.ask("x", "add", json!({})).await.unwrap();
        let told = std::mem::take(&mut *journal.lock().unwrap());
        assert!(told[..2].iter().all(|one| one.ends_with("attach x")), "{told:?}");
        assert_eq!(told[2..], around, "{told:?}");
        lab.ask("x", "add", json!({})).await.unwrap();
        assert_eq!(std::mem::take(&mut *journal.lock().unwrap()), around);
        tokio::time::sleep(Duration::from_secs(90)).await;
        assert_eq!(lab.runtime.actors(), 0);
        journal.lock().unwrap().clear();
    }
}
