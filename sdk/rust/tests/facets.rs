//! Facets around native actors. `docs/semantics.md` names these tests.
#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing)]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use plexspaces_core::{Facet, FacetError, FacetSettings, FacetSpec, InterceptResult};
use plexspaces_sdk::{
    ActorContext, ActorId, ActorRef, AuthenticationFacet, AuthorizationFacet, BehaviorError, BlobStorageFacet, CachingFacet,
    DurabilityFacet, EventEmitterFacet, HttpClientFacet, KeyValueFacet, LockFacet, LoggingFacet, Message, MetricsFacet, NodeBuilder,
    ProcessGroupFacet, RegistryFacet, ReminderFacet, RequestContext, Rule, TimerFacet, TracingFacet, VirtualActorFacet, call_message,
    gen_server_actor, handler, json, plexspaces_handlers, spawn_with_facets,
};
use serde_json::{Map, Value};

#[gen_server_actor]
struct Payments {
    paid: u64,
}

#[plexspaces_handlers]
impl Payments {
    #[handler("pay")]
    async fn pay(&mut self, _ctx: &ActorContext, msg: &Message) -> Result<Value, BehaviorError> {
        let request: Value = serde_json::from_slice(&msg.payload)?;
        self.paid += request["amount"].as_u64().unwrap_or(0);
        Ok(json!({"paid": self.paid}))
    }
}

/// Refuses what is too much.
struct FraudDetection {
    limit: f64,
}

impl FraudDetection {
    fn judge(&self, payload: &[u8]) -> Result<f64, FacetError> {
        let request: Value = serde_json::from_slice(payload).map_err(|error| FacetError::Custom(error.to_string()))?;
        Ok(request["amount"].as_f64().unwrap_or(0.0) / self.limit)
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
        if method == "pay" && self.judge(payload)? > 1.0 {
            return Err(FacetError::Custom("fraud_detected".into()));
        }
        Ok(InterceptResult::Continue)
    }
}

/// Notes what passes it, and does what it is told to.
struct Probe {
    name: &'static str,
    priority: u32,
    seen: Arc<Mutex<Vec<String>>>,
    before: InterceptResult,
    after: InterceptResult,
}

#[async_trait]
impl Facet for Probe {
    fn name(&self) -> &str {
        self.name
    }

    fn priority(&self) -> u32 {
        self.priority
    }

    async fn before_method(&mut self, method: &str, _: &[u8]) -> Result<InterceptResult, FacetError> {
        self.seen.lock().unwrap().push(format!("{} before {method}", self.name));
        Ok(self.before.clone())
    }

    async fn after_method(&mut self, method: &str, _: &[u8], _: &[u8]) -> Result<InterceptResult, FacetError> {
        self.seen.lock().unwrap().push(format!("{} after {method}", self.name));
        Ok(self.after.clone())
    }

    async fn on_error(&mut self, method: &str, _: &[u8], failure: &plexspaces_sdk::Failure) {
        self.seen.lock().unwrap().push(format!("{} error {method}: {}", self.name, failure.message));
    }
}

struct Bench {
    _node: Arc<plexspaces_sdk::Node>,
    payments: ActorRef,
}

async fn payments(facets: Vec<Box<dyn Facet>>) -> Bench {
    let node = Arc::new(NodeBuilder::new("facets").build().await);
    let ctx = RequestContext::new_without_auth("default".into(), "default".into());
    let id = ActorId::from("payments");
    let payments = spawn_with_facets(&ctx, node.service_locator(), id, "default", Payments { paid: 0 }, facets).await.unwrap();
    Bench { _node: node, payments }
}

async fn pay(bench: &Bench, amount: u64) -> Result<Value, String> {
    let request = call_message(json!({"action": "pay", "amount": amount}));
    let reply = bench.payments.ask(request, Duration::from_secs(5)).await.map_err(|error| error.to_string())?;
    Ok(serde_json::from_slice(&reply.payload).unwrap())
}

#[tokio::test]
async fn a_facet_refuses_a_message_before_the_handler_and_the_actor_goes_on() {
    let bench = payments(vec![Box::new(FraudDetection { limit: 100.0 })]).await;
    assert_eq!(pay(&bench, 10).await, Ok(json!({"paid": 10})));
    assert!(pay(&bench, 1000).await.unwrap_err().contains("fraud_detected"));
    assert_eq!(pay(&bench, 5).await, Ok(json!({"paid": 15})));
}

#[tokio::test]
async fn facets_run_from_the_highest_priority_in_and_in_reverse_out() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let probe = |name, priority| {
        let (before, after) = (InterceptResult::Continue, InterceptResult::Continue);
        Box::new(Probe { name, priority, seen: seen.clone(), before, after }) as Box<dyn Facet>
    };
    let bench = payments(vec![probe("inner", 50), probe("outer", 800), Box::new(FraudDetection { limit: 100.0 })]).await;
    pay(&bench, 1).await.unwrap();
    assert_eq!(*seen.lock().unwrap(), ["outer before pay", "inner before pay", "inner after pay", "outer after pay"]);
    seen.lock().unwrap().clear();
    pay(&bench, 1000).await.unwrap_err();
    assert_eq!(*seen.lock().unwrap(), ["outer before pay", "outer error pay: fraud_detected"]);
}

#[tokio::test]
async fn a_facet_can_answer_and_replace() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let probe = |before, after| vec![Box::new(Probe { name: "p", priority: 1, seen: seen.clone(), before, after }) as Box<dyn Facet>];
    let bytes = |value: Value| value.to_string().into_bytes();
    let bench = payments(probe(InterceptResult::Reply(bytes(json!({"cached": true}))), InterceptResult::Continue)).await;
    assert_eq!(pay(&bench, 1).await, Ok(json!({"cached": true})));
    let bench = payments(probe(InterceptResult::Replace(bytes(json!({"amount": 7}))), InterceptResult::Continue)).await;
    assert_eq!(pay(&bench, 1).await, Ok(json!({"paid": 7})));
    let bench = payments(probe(InterceptResult::Continue, InterceptResult::Replace(bytes(json!({"hidden": true}))))).await;
    assert_eq!(pay(&bench, 1).await, Ok(json!({"hidden": true})));
}

fn limit(config: &Map<String, Value>) -> Result<Box<dyn Facet>, String> {
    let mut settings = FacetSettings::new(config);
    let limit = settings.required("limit")?;
    settings.finish()?;
    Ok(Box::new(FraudDetection { limit }))
}

fn fraud_detection(limit: u64) -> FacetSpec {
    let config = json!({"limit": limit}).as_object().unwrap().clone();
    FacetSpec::new("fraud_detection", config)
}

#[tokio::test]
async fn a_facet_that_was_registered_is_attached_by_its_name() {
    let node = NodeBuilder::new("facets").facet("fraud_detection", limit).build().await;
    let (locator, ctx) = (node.service_locator(), RequestContext::new_without_auth("default".into(), "default".into()));
    let pay = async |id: &str, amount: u64| {
        let actor = locator.actor_ref(&ctx, id).unwrap();
        actor.ask(call_message(json!({"action": "pay", "amount": amount})), Duration::from_secs(5)).await.map_err(|failure| failure.message)
    };
    // Around all actors of a type.
    locator.actor_registry().register("till", |_| Payments { paid: 0 }).unwrap();
    locator.actor_registry().set_facets("till", vec![fraud_detection(100)]).unwrap();
    pay("till/1", 100).await.unwrap();
    assert_eq!(pay("till/1", 101).await.unwrap_err(), "fraud_detected");
    // Around one actor, while it lives.
    assert_eq!(locator.attach_facet(&ctx, "till/1", fraud_detection(500)).await, Ok(true));
    pay("till/1", 101).await.unwrap();
    assert_eq!(pay("till/2", 101).await.unwrap_err(), "fraud_detected");
    let facets = locator.facets(&ctx, "till/1").unwrap();
    assert_eq!(facets, [FacetSpec { priority: Some(200), ..fraud_detection(500) }]);
    assert_eq!(locator.detach_facet(&ctx, "till/1", "fraud_detection").await, Ok(true));
    pay("till/1", 10_000).await.unwrap();
    // With a spawn.
    let made = locator.facet_registry().unwrap().make(&fraud_detection(5)).unwrap();
    spawn_with_facets(&ctx, locator.clone(), ActorId::from("box"), "default", Payments { paid: 0 }, vec![made]).await.unwrap();
    assert_eq!(pay("box", 6).await.unwrap_err(), "fraud_detected");
    node.shutdown().await;
}

#[tokio::test]
async fn facets_of_a_spawn_can_be_seen_and_detached_and_end_with_their_actor() {
    let bench = payments(vec![Box::new(FraudDetection { limit: 1.0 })]).await;
    let (locator, ctx) = (bench._node.service_locator(), RequestContext::new_without_auth("default".into(), "default".into()));
    let names = || locator.facets(&ctx, "payments").map(|facets| facets.into_iter().map(|facet| facet.name).collect::<Vec<_>>());
    assert_eq!(names(), Ok(vec!["fraud_detection".to_owned()]));
    // The others stay when one more comes.
    assert_eq!(locator.attach_facet(&ctx, "payments", FacetSpec::new("metrics", Map::new())).await, Ok(false));
    assert_eq!(names().unwrap(), ["metrics", "fraud_detection"]);
    assert_eq!(pay(&bench, 2).await.unwrap_err(), "rejected: fraud_detected");
    assert_eq!(locator.detach_facet(&ctx, "payments", "fraud_detection").await, Ok(true));
    assert_eq!(locator.detach_facet(&ctx, "payments", "fraud_detection").await, Ok(false));
    assert_eq!(pay(&bench, 2).await, Ok(json!({"paid": 2})));
    let payments = spawn_payments(&bench, vec![]).await;
    assert_eq!(payments.unwrap_err().code, plexspaces_sdk::Code::Conflict);
    assert!(bench.payments.kill());
    while bench.payments.is_live() {
        tokio::task::yield_now().await;
    }
    assert_eq!(
        locator.attach_facet(&ctx, "payments", FacetSpec::new("metrics", Map::new())).await.unwrap_err().code,
        plexspaces_sdk::Code::NotFound
    );
    spawn_payments(&bench, vec![]).await.unwrap();
    assert_eq!(names(), Ok(Vec::new()), "the new one has none of the old one's");
}

async fn spawn_payments(bench: &Bench, facets: Vec<Box<dyn Facet>>) -> Result<ActorRef, plexspaces_sdk::Failure> {
    let ctx = RequestContext::new_without_auth("default".into(), "default".into());
    spawn_with_facets(&ctx, bench._node.service_locator(), ActorId::from("payments"), "default", Payments { paid: 0 }, facets).await
}

#[tokio::test]
async fn two_facets_of_one_name_and_a_name_that_is_taken_are_refused() {
    let bench = payments(vec![]).await;
    let ctx = RequestContext::new_without_auth("default".into(), "default".into());
    let facets: Vec<Box<dyn Facet>> = vec![Box::new(FraudDetection { limit: 1.0 }), Box::new(FraudDetection { limit: 2.0 })];
    let locator = bench._node.service_locator();
    let refused = spawn_with_facets(&ctx, locator, ActorId::from("other"), "default", Payments { paid: 0 }, facets).await.unwrap_err();
    assert_eq!(refused.message, "the actor default/Payments/other would have two facets fraud_detection");
    let node = NodeBuilder::new("facets").facet("metrics", limit).build().await;
    assert_eq!(node.start().await.unwrap_err().message, "there is a facet \"metrics\" already");
}

/// Says what its configuration labels it with.
#[gen_server_actor(durable)]
#[derive(Default, serde::Serialize, serde::Deserialize)]
struct Labelled {
    color: String,
    asked: u64,
}

#[plexspaces_handlers]
impl Labelled {
    #[plexspaces_sdk::init_handler]
    async fn start(&mut self, _ctx: &ActorContext, config: &Value) -> Result<(), BehaviorError> {
        self.color = config["labels"]["color"].as_str().unwrap_or_default().to_owned();
        Ok(())
    }

    #[handler("look")]
    async fn look(&mut self, _ctx: &ActorContext, _msg: &Message) -> Result<Value, BehaviorError> {
        self.asked += 1;
        Ok(json!([self.color, self.asked]))
    }
}

#[tokio::test]
async fn facets_of_a_type_say_how_its_actors_live() {
    let node = NodeBuilder::new("facets").build().await;
    let (locator, ctx) = (node.service_locator(), RequestContext::new_without_auth("default".into(), "default".into()));
    locator.actor_registry().register("labelled", |_| Labelled::default()).unwrap();
    locator.actor_registry().register("till", |_| Payments { paid: 0 }).unwrap();
    let labels = [("color".to_owned(), "red".to_owned())].into();
    let virtual_actor = VirtualActorFacet { idle_timeout: Some(Duration::from_millis(1)), labels };
    let durability = DurabilityFacet { checkpoint_interval: Some(2), history: Some(8), run_timeout: None };
    locator.actor_registry().set_facets("labelled", vec![virtual_actor.into(), durability.into(), MetricsFacet::default().into()]).unwrap();
    let actor = locator.actor_ref(&ctx, "labelled/1").unwrap();
    for asked in 1..=3 {
        let reply = actor.ask(call_message(json!({"op": "look"})), Duration::from_secs(5)).await.unwrap();
        assert_eq!(reply.json::<Value>().unwrap(), json!(["red", asked]));
        // It leaves memory by itself.
        while actor.is_live() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    let set = |facet: FacetSpec| locator.actor_registry().set_facets("till", vec![facet]).map_err(|failure| failure.message);
    let refused = set(DurabilityFacet::default().into()).unwrap_err();
    assert!(refused.contains("only the actor's code can make it durable"), "{refused}");
    let unknown = set(FacetSpec::new("virtual_actor", json!({"idle": "1s"}).as_object().unwrap().clone())).unwrap_err();
    assert!(unknown.contains("idle"), "{unknown}");
}

#[tokio::test]
async fn each_facet_that_a_node_has_can_be_made_from_its_type() {
    let node = NodeBuilder::new("facets").build().await;
    let locator = node.service_locator();
    let (names, initial) = (|| vec!["a".to_owned()], || json!({"k": "v"}).as_object().unwrap().clone());
    let second = Some(Duration::from_secs(1));
    let every = json!({"name": "t", "operation": "tick", "every": "1s"});
    let specs: Vec<FacetSpec> = vec![
        AuthenticationFacet {}.into(),
        AuthorizationFacet {
            allow: Some(names()),
            deny: Some(names()),
            operations: [("pay".to_owned(), Rule { allow: Some(names()), deny: None })].into(),
        }
        .into(),
        LoggingFacet { level: Some("warn".to_owned()), payload: true, redact: names(), max_bytes: Some(9) }.into(),
        TracingFacet {}.into(),
        MetricsFacet { max_operations: Some(3) }.into(),
        CachingFacet { operations: names(), ttl: second, capacity: Some(9), invalidate: Some(false) }.into(),
        EventEmitterFacet {
            target: "till/1".to_owned(),
            event: Some("paid".to_owned()),
            operations: Some(names()),
            payload: true,
            reply: true,
        }
        .into(),
        HttpClientFacet { links: Some(names()) }.into(),
        HttpClientFacet::default().into(),
        KeyValueFacet { initial: initial() }.into(),
        BlobStorageFacet { initial: initial() }.into(),
        LockFacet { key: "k".to_owned(), operations: Some(names()), ttl: second, wait: second }.into(),
        ProcessGroupFacet { groups: names(), topics: Some(names()) }.into(),
        RegistryFacet { name: Some("n".to_owned()), labels: [("a".to_owned(), "b".to_owned())].into(), metadata: json!({"n": 1}) }.into(),
        TimerFacet { schedules: vec![every.clone()] }.into(),
        ReminderFacet { schedules: vec![every] }.into(),
    ];
    for spec in specs {
        let made = locator.facet_registry().unwrap().make(&spec);
        assert_eq!(made.map(|facet| facet.name().to_owned()), Ok(spec.name));
    }
}
