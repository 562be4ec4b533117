//! What native actors share: each service, from an actor that is durable and from one that is not.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use plexspaces_sdk::{
    ActorContext, BehaviorError, BlobAccess, Code, Election, Failure, Message, Node, NodeBuilder, Registering, RequestContext, Sending,
    Start, Value, call_message, gen_server_actor, handler, json, plexspaces_handlers, run_handler, workflow_actor,
};
use plexspaces_store::Memory;
use serde::{Deserialize, Serialize};

const PATIENCE: Duration = Duration::from_secs(10);
const NOW: Duration = Duration::ZERO;
const SOON: Duration = Duration::from_millis(5);
const LONG: Duration = Duration::from_secs(60);

async fn tuples(ctx: &ActorContext) -> Result<Value, BehaviorError> {
    let space = ctx.tuples();
    for n in 1..=3 {
        space.write(json!(["job", n]), None).await?;
    }
    space.write(vec![json!("brief")], Some(LONG)).await?;
    let any = || json!(["job", null]);
    let read = space.read(json!(["job", {"$gt": 1}]), NOW).await?;
    let none = space.read(json!(["none"]), SOON).await?;
    let taken = space.take(any(), NOW).await?;
    let (leased, lease) = space.lease(any(), NOW, LONG).await?.unwrap();
    let hidden = space.count(any()).await?;
    space.release(&lease).await?;
    let (_, lease) = space.lease(any(), NOW, LONG).await?.unwrap();
    space.confirm(&lease).await?;
    let late = space.confirm(&lease).await.unwrap_err().code.name();
    let once = [space.write_once(any(), json!(["job", 9]), None).await?, space.write_once(json!(["one"]), json!(["one"]), None).await?];
    let replaced = [space.replace(json!(["one"]), json!(["two"]), None).await?, space.replace(json!(["one"]), json!(["no"]), None).await?];
    let all = [space.read_all(any()).await?, space.take_all(any()).await?, space.read_all(any()).await?];
    let subscription = space.subscribe(json!(["heard", null])).await?;
    space.write(json!(["heard", 1]), None).await?;
    space.unsubscribe(&subscription).await?;
    space.take_all(json!([null])).await?;
    Ok(json!([read, none, taken, leased, hidden, late, once, replaced, all]))
}

async fn locks(ctx: &ActorContext) -> Result<Value, BehaviorError> {
    let locks = ctx.locks();
    let lock = locks.acquire("l", LONG, NOW).await?.unwrap();
    let held = locks.acquire("l", LONG, SOON).await?;
    let renewed = [locks.renew("l", &lock.version, LONG).await?, locks.renew("l", "0", LONG).await?];
    let seen = locks.get("l").await?.map(|seen| seen.version == lock.version);
    let released = [locks.release("l", &lock.version).await?, locks.release("l", &lock.version).await?];
    let named = locks.acquire_as("m", "ada", LONG, NOW).await?.unwrap();
    let again = locks.acquire_as("m", "ada", LONG, NOW).await?.unwrap();
    let other = locks.acquire_as("m", "bob", LONG, NOW).await?;
    let mine = [json!(named.holder), json!(named.key), json!(named.version == again.version)];
    locks.release("m", &named.version).await?;
    Ok(json!([held.is_none(), renewed, seen, released, mine, other.is_none(), locks.get("l").await?.is_none()]))
}

async fn pairs(ctx: &ActorContext) -> Result<Value, BehaviorError> {
    let kv = ctx.shared_kv();
    let before = kv.watch("p/", None, NOW).await?;
    kv.put("p/a", "1", None).await?;
    kv.put("p/b", "2", Some(LONG)).await?;
    let got = [kv.get("p/a").await?, kv.get("p/none").await?];
    let swapped = [kv.cas("p/a", Some("2"), "3", None).await?, kv.cas("p/a", Some("1"), "3", None).await?];
    let made = kv.cas("p/c", None, "4", None).await?;
    let keys = kv.list("p/").await?;
    let changed = kv.watch("p/", Some(before.version), NOW).await?;
    let changes: Vec<Value> = changed.changes.iter().map(|change| json!([change.key, change.value])).collect();
    let deleted = [kv.delete("p/a").await?, kv.delete("p/a").await?];
    let gone = kv.watch("p/", Some(changed.version), NOW).await?;
    kv.delete("p/b").await?;
    kv.delete("p/c").await?;
    Ok(json!([got, swapped, made, keys, changes, changed.reset, deleted, gone.changes[0].value]))
}

async fn groups(ctx: &ActorContext) -> Result<Value, BehaviorError> {
    let groups = ctx.process_groups();
    groups.join("g").await?;
    groups.join("g").await?;
    groups.join_topics("t", &["news"]).await?;
    groups.add("g", "default/ear/1").await?;
    let members = groups.members("g", None).await?;
    let by_topic = [groups.members("t", Some("news")).await?.len(), groups.members("t", Some("other")).await?.len()];
    let named = groups.list("").await?;
    groups.publish("g", call_message(json!({"text": "hello"})), None).await?;
    groups.publish("g", call_message(json!({"op": "named"})), None).await?;
    groups.remove("g", "default/ear/1").await?;
    groups.leave("g").await?;
    groups.leave("t").await?;
    Ok(json!([members.len(), members[1], by_topic, named, groups.members("g", None).await?]))
}

async fn names(ctx: &ActorContext) -> Result<Value, BehaviorError> {
    let registry = ctx.registry();
    registry.register("me", Registering::default()).await?;
    let labels = BTreeMap::from([("kind".to_owned(), "ear".to_owned())]);
    let ear = Registering { target: Some("ear/1".to_owned()), labels: labels.clone(), metadata: json!({"n": 1}), ttl: Some(LONG) };
    registry.register("listener", ear).await?;
    let taken = registry.register("listener", Registering::default()).await.unwrap_err().code.name();
    let entry = registry.lookup("listener").await?.unwrap();
    let me = registry.lookup("me").await?.unwrap().target == ctx.self_id().to_string();
    let renewed = [registry.renew("listener", None, false).await?, registry.renew("nobody", None, true).await?];
    let found = [registry.find(&labels, None).await?.len(), registry.find(&labels, Some(true)).await?.len()];
    // A name of the registry reaches its target.
    let asked: Value = ctx.ask("listener", call_message(json!({"op": "who"})), PATIENCE).await?.json()?;
    ctx.tell("listener", call_message(json!({"op": "by name"}))).await?;
    let gone = [registry.unregister("listener").await?, registry.unregister("listener").await?, registry.unregister("me").await?];
    let unknown = ctx.ask("listener", call_message(json!({"op": "who"})), PATIENCE).await.unwrap_err().code.name();
    Ok(json!([taken, entry.metadata, entry.labels, entry.expires_ms.is_some(), me, renewed, found, asked, gone, unknown]))
}

async fn channels(ctx: &ActorContext) -> Result<Value, BehaviorError> {
    let queue = ctx.channel("q");
    let job = |n: u64| Message::new("job", &json!({"n": n}));
    let sent = queue.send(job(1)?).await?;
    let twice = Sending { msg_id: Some("two".to_owned()), delay: None };
    for _ in 0..2 {
        assert_eq!(queue.send_with(job(2)?, twice.clone()).await?, "two");
    }
    queue.send_with(job(3)?, Sending { delay: Some(LONG), ..Sending::default() }).await?;
    let first = queue.receive(NOW, Some(LONG)).await?.unwrap();
    queue.nack(&first, true).await?;
    let again = queue.receive(NOW, None).await?.unwrap();
    queue.ack(&again).await?;
    let second = queue.receive(NOW, None).await?.unwrap();
    queue.nack(&second, false).await?;
    let none = queue.receive(SOON, None).await?;
    let status = queue.status().await?;
    let counts = ["ready", "delayed", "in_flight", "dead"].map(|name| status[name]);
    let topic = ctx.channel("news");
    topic.publish(job(4)?).await?;
    let (all, new) = (topic.subscribe(Start::Earliest).await?, topic.subscribe_as("late", Start::Latest).await?);
    topic.publish(job(5)?).await?;
    let heard = [all.next(NOW).await?, all.next(NOW).await?, all.next(SOON).await?, new.next(NOW).await?];
    let heard = heard.map(|message| message.map(|message| message.payload["n"].clone()));
    all.unsubscribe().await?;
    new.unsubscribe().await?;
    let first = json!([first.msg_id == sent, first.msg_type, first.payload, first.delivery_count, again.delivery_count]);
    Ok(json!([first, second.msg_id, none.is_none(), counts, heard]))
}

async fn consumers(ctx: &ActorContext) -> Result<Value, BehaviorError> {
    let topic = ctx.channel("shared");
    for n in 1..=2_u64 {
        topic.publish(Message::new("job", &json!({"n": n}))?).await?;
    }
    let (one, other) = (topic.subscribe_as("g", Start::Earliest).await?, topic.subscribe_as("g", Start::Latest).await?);
    let (first, second) = (one.receive(NOW, Some(LONG)).await?.unwrap(), other.receive(NOW, None).await?.unwrap());
    other.ack(&second).await?;
    one.nack(&first, true).await?;
    let again = other.receive(SOON, None).await?.unwrap();
    let late = one.ack(&first).await;
    // What has no result leaves a durable actor with its turn.
    let late = late.err().map_or("sent", |failure| failure.code.name());
    other.nack(&again, false).await?;
    let none = one.receive(SOON, None).await?;
    let own = topic.subscribe(Start::Earliest).await?.receive(NOW, None).await?.unwrap();
    one.unsubscribe().await?;
    assert!(late == "conflict" || late == "sent", "{late}");
    Ok(json!([first.payload, second.payload, again.delivery_count, none.is_none(), own.payload]))
}

async fn election(ctx: &ActorContext) -> Result<Value, BehaviorError> {
    let mut election = Election::new("boss", LONG);
    let before = [election.is_leader(ctx), election.renew(ctx).await?, election.resign(ctx).await?, election.leader(ctx).await?.is_some()];
    let won = election.campaign(ctx, NOW).await?;
    let token: u64 = election.token(ctx).unwrap().parse().unwrap();
    let leads = [won, election.is_leader(ctx), election.renew(ctx).await?, election.campaign(ctx, NOW).await?];
    assert_eq!(election.token(ctx), Some(token.to_string().as_str()), "one that leads keeps its token");
    assert_eq!(election.leader(ctx).await?, Some(ctx.self_id().to_string()));
    // Whoever comes to life anew leads on.
    let mut anew = Election::new("boss", LONG);
    assert!(anew.campaign(ctx, NOW).await? && anew.token(ctx) == election.token(ctx));
    let resigned = [election.resign(ctx).await?, election.is_leader(ctx), election.resign(ctx).await?];
    let another = ctx.locks().acquire_as("boss", "another", LONG, NOW).await?.unwrap();
    assert!(another.version.parse::<u64>().unwrap() > token);
    let lost = [anew.renew(ctx).await?, anew.is_leader(ctx), anew.campaign(ctx, SOON).await?];
    ctx.locks().release("boss", &another.version).await?;
    // A lease that is over is over for its holder too.
    let mut brief = Election::new("boss", SOON);
    let brief_won = brief.campaign(ctx, NOW).await?;
    ctx.sleep(2 * SOON).await?;
    Ok(json!([before, leads, resigned, lost, [brief_won, brief.is_leader(ctx), brief.renew(ctx).await?]]))
}

async fn blobs(ctx: &ActorContext) -> Result<Value, BehaviorError> {
    let blobs = ctx.blobs();
    let put = blobs.put("b/1", "text/plain", "hello world").await?;
    blobs.put("b/2", "application/octet-stream", vec![0xff, 0]).await?;
    let text = |bytes: Option<bytes::Bytes>| bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    let whole = text(blobs.get("b/1").await?);
    let part = text(blobs.get_part("b/1", 6, Some(3)).await?);
    let none = [blobs.get("b/none").await?.is_none(), blobs.head("b/none").await?.is_none()];
    let head = blobs.head("b/1").await? == Some(put.clone());
    let listed: Vec<String> = blobs.list("b/").await?.into_iter().map(|blob| blob.name).collect();
    let presigned = blobs.presign("b/1", BlobAccess::Read, LONG).await.is_ok();
    let deleted = [blobs.delete("b/1").await?, blobs.delete("b/1").await?];
    Ok(json!([put.size, whole, part, none, head, listed, deleted, presigned]))
}

async fn drive(ctx: &ActorContext, msg: &Message) -> Result<Value, BehaviorError> {
    match msg.json::<Value>()?["what"].as_str().unwrap_or_default() {
        "tuples" => tuples(ctx).await,
        "locks" => locks(ctx).await,
        "consumers" => consumers(ctx).await,
        "election" => election(ctx).await,
        "pairs" => pairs(ctx).await,
        "groups" => groups(ctx).await,
        "names" => names(ctx).await,
        "channels" => channels(ctx).await,
        "blobs" => blobs(ctx).await,
        "jobs" => {
            for n in 1..=2 {
                ctx.tuples().write(json!(["job", n]), None).await?;
            }
            Ok(json!(null))
        }
        "begun" => Ok(json!(ctx.shared_kv().get("begun").await?)),
        _ => Ok(ctx.service("kv", "default", "nonsense", json!({})).await?),
    }
}

#[gen_server_actor]
struct Volatile;

#[plexspaces_handlers]
impl Volatile {
    #[handler("drive")]
    async fn drive(&mut self, ctx: &ActorContext, msg: &Message) -> Result<Value, BehaviorError> {
        drive(ctx, msg).await
    }

    #[handler("*", "cast")]
    async fn hear(&mut self, _ctx: &ActorContext, _msg: &Message) -> Result<(), BehaviorError> {
        Ok(())
    }
}

#[gen_server_actor(durable)]
#[derive(Default, Serialize, Deserialize)]
struct Lasting {}

#[plexspaces_handlers]
impl Lasting {
    #[handler("drive")]
    async fn drive(&mut self, ctx: &ActorContext, msg: &Message) -> Result<Value, BehaviorError> {
        drive(ctx, msg).await
    }

    #[handler("*", "cast")]
    async fn hear(&mut self, _ctx: &ActorContext, _msg: &Message) -> Result<(), BehaviorError> {
        Ok(())
    }
}

/// Notes what it hears.
#[gen_server_actor]
#[derive(Default)]
struct Ear {
    heard: Vec<String>,
}

#[plexspaces_handlers]
impl Ear {
    #[handler("who")]
    async fn who(&mut self, ctx: &ActorContext, _msg: &Message) -> Result<String, BehaviorError> {
        Ok(ctx.self_id().to_string())
    }

    #[handler("heard")]
    async fn heard(&mut self, _ctx: &ActorContext, _msg: &Message) -> Result<Vec<String>, BehaviorError> {
        Ok(self.heard.clone())
    }

    #[handler("*", "cast")]
    async fn hear(&mut self, _ctx: &ActorContext, msg: &Message) -> Result<(), BehaviorError> {
        self.heard.push(msg.msg_type.clone());
        Ok(())
    }
}

/// Takes and sends, and waits in between.
#[workflow_actor(durable)]
#[derive(Default, Serialize, Deserialize)]
struct Worker {}

#[plexspaces_handlers]
impl Worker {
    #[run_handler]
    async fn run(&mut self, ctx: &ActorContext, _msg: &Message) -> Result<Value, BehaviorError> {
        let mine = ctx.tuples().take(json!(["job", null]), NOW).await?.unwrap();
        let sent = ctx.channel("done").send(Message::new("done", &json!(mine))?).await?;
        ctx.shared_kv().put("begun", "yes", None).await?;
        ctx.sleep(Duration::from_millis(300)).await?;
        let left = ctx.tuples().count(json!(["job", null])).await?;
        Ok(json!([mine, sent, left, ctx.channel("done").status().await?["ready"]]))
    }
}

fn ctx() -> RequestContext {
    RequestContext::new_without_auth("acme".into(), "default".into())
}

async fn node(builder: NodeBuilder) -> Node {
    let node = builder.build().await;
    let locator = node.service_locator();
    let registry = locator.actor_registry();
    registry.register("volatile", |_| Volatile).unwrap();
    registry.register("lasting", |_| Lasting::default()).unwrap();
    registry.register("ear", |_| Ear::default()).unwrap();
    registry.register("worker", |_| Worker::default()).unwrap();
    locator.actor_ref(&ctx(), "ear/1").unwrap();
    node
}

async fn ask(node: &Node, actor: &str, request: Value) -> Result<Value, Failure> {
    let actor = node.service_locator().actor_ref(&ctx(), actor).unwrap();
    Ok(actor.ask(call_message(request), PATIENCE).await?.json().unwrap())
}

/// What both kinds of actors say, each of a node of its own.
async fn both(what: &str, wanted: Value) {
    for actor in ["volatile/1", "lasting/1"] {
        let directory = tempfile::tempdir().unwrap();
        let objects = Arc::new(plexspaces_objects::Kept::in_directory(directory.path()).unwrap());
        let node = node(NodeBuilder::new("node1").blobs(objects)).await;
        let told = ask(&node, actor, json!({"op": "drive", "what": what})).await;
        assert_eq!(told.as_ref(), Ok(&wanted), "{actor}");
        let heard = match what {
            "groups" => json!(["group_message", "named"]),
            "names" => json!(["by name"]),
            _ => json!([]),
        };
        for _ in 0..2000 {
            if ask(&node, "ear/1", json!({"op": "heard"})).await.unwrap() == heard {
                break;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(ask(&node, "ear/1", json!({"op": "heard"})).await.unwrap(), heard, "{actor}");
        node.shutdown().await;
    }
}

#[tokio::test]
async fn native_actors_share_a_tuple_space() {
    let jobs = json!([["job", 3]]);
    let wanted = json!([["job", 2], null, ["job", 1], ["job", 2], 1, "conflict", [false, true], [["one"], null], [jobs, jobs, []]]);
    both("tuples", wanted).await;
}

#[tokio::test]
async fn native_actors_share_locks() {
    let wanted = json!([true, [true, false], true, [true, false], ["ada", "m", true], true, true]);
    both("locks", wanted).await;
}

#[tokio::test]
async fn native_actors_elect_a_leader() {
    let before = [false; 4];
    both("election", json!([before, [true, true, true, true], [true, false, false], [false, false, false], [true, false, false]])).await;
}

#[tokio::test]
async fn native_actors_that_receive_at_one_place_share_a_topic() {
    both("consumers", json!([{"n": 1}, {"n": 2}, 2, true, {"n": 1}])).await;
}

#[tokio::test]
async fn native_actors_share_pairs() {
    let changes = json!([["p/a", "3"], ["p/b", "2"], ["p/c", "4"]]);
    let wanted = json!([["1", null], [false, true], true, ["p/a", "p/b", "p/c"], changes, false, [true, false], null]);
    both("pairs", wanted).await;
}

#[tokio::test]
async fn native_actors_are_members_of_groups() {
    both("groups", json!([2, "default/ear/1", [1, 0], ["g", "t"], []])).await;
}

#[tokio::test]
async fn native_actors_are_found_by_names_of_the_registry() {
    let gone = json!([true, false, true]);
    let asked = "default/ear/1";
    both("names", json!(["conflict", {"n": 1}, {"kind": "ear"}, true, true, [true, false], [1, 0], asked, gone, "not_found"])).await;
}

#[tokio::test]
async fn native_actors_use_channels() {
    let first = json!([true, "job", {"n": 1}, 1, 2]);
    both("channels", json!([first, "two", true, [0, 1, 0, 1], [4, 5, null, 5]])).await;
}

#[tokio::test]
async fn native_actors_read_and_write_blobs() {
    let listed = ["b/1", "b/2"];
    // A directory has no links of its own, and this node no port.
    let unlinked = false;
    both("blobs", json!([11, "hello world", "wor", [true, true], true, listed, [true, false], unlinked])).await;
}

#[tokio::test]
async fn a_node_without_blobs_and_an_operation_that_there_is_not_are_errors() {
    let node = node(NodeBuilder::new("node1")).await;
    let none = ask(&node, "volatile/1", json!({"op": "drive", "what": "blobs"})).await.unwrap_err();
    assert!(none.message.contains("keeps no blobs"), "{none}");
    let unknown = ask(&node, "volatile/1", json!({"op": "drive"})).await.unwrap_err();
    assert_eq!(unknown.code, Code::UnknownOperation);
}

#[tokio::test]
async fn a_run_that_goes_on_in_another_node_takes_and_sends_once() {
    let store: Arc<Memory> = Arc::default();
    let first = node(NodeBuilder::new("node1").store(store.clone())).await;
    ask(&first, "volatile/1", json!({"op": "drive", "what": "jobs"})).await.unwrap();
    let start = async |node: &Node| {
        let message = Message::new("workflow_start", &json!({})).unwrap().with_idempotency_key("one");
        let run = node.service_locator().actor_ref(&ctx(), "worker/1").unwrap();
        run.ask(message, PATIENCE).await.unwrap().json::<Value>().unwrap()
    };
    start(&first).await;
    while ask(&first, "volatile/1", json!({"op": "drive", "what": "begun"})).await.unwrap() != "yes" {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert!(first.shutdown().await);
    let second = node(NodeBuilder::new("node1").store(store)).await;
    for _ in 0..2000 {
        let told = start(&second).await;
        if told["ended"] == true {
            let result = &told["result"];
            assert_eq!((&result[0], &result[2], &result[3]), (&json!(["job", 1]), &json!(1), &json!(1)), "{told}");
            return;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    panic!("the run did not end");
}
