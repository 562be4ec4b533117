//! What actors share: every method once, over HTTP or gRPC.

use std::sync::Arc;

use plexspaces_client::Error;
use plexspaces_types::Code;
use serde_json::{Value, json};

use crate::support::{Answer, Node};

const KEY: &str = "a-key-of-16-bytes-or-more";

/// A request with a JSON body.
pub(crate) async fn send(node: &Node, method: &str, path: &str, body: Value) -> Answer {
    node.send(method, &format!("/api/v1{path}"), &[], body.to_string()).await
}

/// The body of a success.
#[track_caller]
fn json_of(answer: &Answer) -> Value {
    assert_eq!(answer.status, 200, "{:?}", answer.body);
    answer.json()
}

async fn post(node: &Node, path: &str, body: Value) -> Value {
    json_of(&send(node, "POST", path, body).await)
}

async fn get(node: &Node, path: &str) -> Value {
    json_of(&node.get(&format!("/api/v1{path}")).await)
}

/// A pattern or another document in a query.
pub(crate) fn query(document: &Value) -> String {
    document.to_string().replace('"', "%22").replace(' ', "%20").replace('{', "%7B").replace('}', "%7D").replace('$', "%24")
}

#[tokio::test]
async fn the_last_colon_of_a_path_is_that_of_its_custom_method() {
    let node = Node::start().await;
    let put = async |key: &str, value: &str| json_of(&send(&node, "PUT", &format!("/kv/{key}"), json!({"value": value})).await);
    // A key may look like a custom method where there is none for this verb, or be written so that it does not.
    put("a:cas", "1").await;
    put("user:7:x", "1").await;
    assert_eq!(get(&node, "/kv/a%3Acas").await["value"], json!("1"));
    let swap = json!({"expected": "1", "value": "2"});
    for path in ["/kv/a:cas:cas", "/kv/user%3A7:x:cas"] {
        assert_eq!(post(&node, path, swap.clone()).await["swapped"], json!(true), "{path}");
    }
    assert_eq!(get(&node, "/kv?prefix=").await["pairs"][0], json!({"key": "a:cas", "value": "2", "version": 3}));
    assert_eq!(get(&node, "/kv/user:7:x").await["value"], json!("2"));
    let slash = send(&node, "POST", "/kv/a/cas", swap.clone()).await;
    assert_eq!(slash.reason(), "not_found");
    for (path, allow) in
        [("/kv/a:explode", "GET, PUT, DELETE, HEAD"), ("/kv/a%3Acas", "GET, PUT, DELETE, HEAD"), ("/kv/:cas", "GET, PUT, DELETE, HEAD")]
    {
        let unknown = send(&node, "POST", path, swap.clone()).await;
        assert_eq!((unknown.reason().as_str(), unknown.header("allow")), ("method_not_allowed", allow), "{path}");
    }
    let verb = node.send("GET", "/api/v1/locks/a:acquire:renew", &[], "").await;
    assert_eq!(verb.status, 404, "a lock of that name is not there: {verb:?}");
    let run = send(&node, "POST", "/workflows/a:b:cancel", json!({"actor_type": "mirror"})).await;
    assert_eq!((run.reason().as_str(), run.field().as_str()), ("invalid_argument", "actor_type"), "{run:?}");
    let nobody = send(&node, "POST", "/dead-letters/no:such:redrive", json!({})).await;
    assert_eq!(nobody.reason(), "not_found");
    assert!(nobody.json()["message"].as_str().unwrap().contains("no:such"), "{nobody:?}");
    let list = node.get("/openapi.json").await.json();
    assert!(list["paths"]["/api/v1/workflows/{workflow_id}:pause"]["post"]["parameters"][0]["name"] == "workflow_id");
}

#[tokio::test]
async fn a_tuple_comes_back_as_it_was_written() {
    let node = Node::start().await;
    let tuple = json!([1, 1.5, "a", null, true, [-3, 1e-7], {"n": 9_007_199_254_740_991_u64, "s": {}}]);
    assert_eq!(post(&node, "/tuples", json!({"tuple": tuple})).await, json!({}));
    let pattern = json!([null, 1.5, "a", {"$eq": null}, true, null, null]);
    let read = node.get(&format!("/api/v1/tuples:read?pattern={}", query(&pattern))).await;
    assert!(String::from_utf8_lossy(&read.body).contains(r#"[1,1.5,"a",null,true,[-3,1e-7],"#), "{:?}", read.body);
    assert_eq!(read.json()["tuple"], tuple);
    let client = node.client().await;
    let read = client.call("TupleService.ReadTuple", json!({"pattern": pattern})).await.unwrap();
    assert_eq!(read["tuple"], tuple);
    let large = send(&node, "POST", "/tuples", json!({"tuple": [[9_007_199_254_740_993_u64]]})).await;
    assert_eq!((large.reason().as_str(), large.field().as_str()), ("invalid_argument", "tuple"));
}

#[tokio::test]
async fn tuples_are_written_read_taken_and_counted() {
    let node = Node::start().await;
    for number in 1..=3 {
        post(&node, "/tuples", json!({"tuple": ["job", number], "ttl_ms": 60_000})).await;
    }
    let pattern = json!(["job", null]);
    assert_eq!(get(&node, &format!("/tuples:count?pattern={}", query(&pattern))).await, json!({"count": 3}));
    let once = post(&node, "/tuples:write-once", json!({"pattern": ["job", 1], "tuple": ["job", 9]})).await;
    assert_eq!(once, json!({"written": false, "existing": ["job", 1]}));
    let replaced = post(&node, "/tuples:replace", json!({"pattern": ["job", 2], "tuple": ["job", 4]})).await;
    assert_eq!(replaced, json!({"tuple": ["job", 2]}));
    let none = post(&node, "/tuples:replace", json!({"pattern": ["job", 2], "tuple": ["job", 4]})).await;
    assert_eq!(none, json!({}), "what is not there is absent");

    let taken = post(&node, "/tuples:take", json!({"pattern": pattern, "lease_ms": 1000})).await;
    assert_eq!(taken["tuple"], json!(["job", 1]));
    let lease = |what: &str| format!("/tuples/leases/{}:{what}", taken["lease"].as_str().unwrap());
    assert_eq!(post(&node, &lease("release"), json!({})).await, json!({}));
    assert_eq!(post(&node, "/tuples:take", json!({"pattern": pattern})).await, json!({"tuple": ["job", 1]}));
    let over = send(&node, "POST", &lease("confirm"), json!({})).await;
    assert_eq!((over.reason().as_str(), over.field().as_str()), ("conflict", "lease"));
    let leased = post(&node, "/tuples:take", json!({"pattern": pattern, "lease_ms": 1000})).await;
    let confirm = format!("/tuples/leases/{}:confirm", leased["lease"].as_str().unwrap());
    assert_eq!((&leased["tuple"], post(&node, &confirm, json!({})).await), (&json!(["job", 3]), json!({})));
    let all = post(&node, "/tuples:take-all", json!({"pattern": pattern})).await;
    assert_eq!(all, json!({"tuples": [["job", 4]]}));
}

#[tokio::test]
async fn lists_go_on_page_by_page() {
    let node = Node::start().await;
    for number in 0..5 {
        post(&node, "/tuples", json!({"tuple": ["page", number]})).await;
        send(&node, "PUT", &format!("/kv/page%2F{number}"), json!({"value": "v"})).await;
    }
    for (list, items) in [("/tuples?pattern=[%22page%22,null]", "tuples"), ("/kv?prefix=page/", "pairs")] {
        let (mut found, mut token) = (Vec::new(), String::new());
        loop {
            let page = get(&node, &format!("{list}&page_size=2{token}")).await;
            found.extend(page[items].as_array().unwrap().clone());
            let Some(next) = page["next_page_token"].as_str() else { break };
            token = format!("&page_token={next}");
        }
        assert_eq!(found.len(), 5);
        assert_eq!(found[4], found.iter().max_by_key(|item| item.to_string()).unwrap().clone());
        let other = node.get(&format!("/api/v1{list}&namespace=other&page_size=2")).await;
        assert_eq!(other.json()[items], json!([]), "another namespace has nothing of it");
        let page = get(&node, &format!("{list}&page_size=2")).await;
        let stolen = format!("/api/v1{list}&tenant_id=other&page_token={}", page["next_page_token"].as_str().unwrap());
        assert_eq!(node.get(&stolen).await.reason(), "permission_denied");
        assert_eq!(node.get(&format!("/api/v1{list}&page_size=1001")).await.field(), "page_size");
    }
}

#[tokio::test]
async fn a_take_that_is_repeated_gives_the_same_tuple() {
    let node = Node::start().await;
    for number in 1..=2 {
        post(&node, "/tuples", json!({"tuple": ["once", number]})).await;
    }
    let take = async |body: Value| node.send("POST", "/api/v1/tuples:take", &[("idempotency-key", KEY)], body.to_string()).await;
    for _ in 0..3 {
        assert_eq!(take(json!({"pattern": ["once", null]})).await.json()["tuple"], json!(["once", 1]));
    }
    let client = node.client().await;
    let again = client.call("TupleService.TakeTuple", json!({"pattern": ["once", null], "client_token": KEY})).await.unwrap();
    assert_eq!(again["tuple"], json!(["once", 1]));
    let other = take(json!({"pattern": ["once", 2]})).await;
    assert_eq!((other.reason().as_str(), other.field().as_str()), ("conflict", "client_token"));
    let short = send(&node, "POST", "/tuples:take", json!({"pattern": ["once", null], "client_token": "short"})).await;
    assert_eq!(short.field(), "client_token");
    assert_eq!(get(&node, "/tuples:count?pattern=[%22once%22,null]").await, json!({"count": 1}));
}

#[tokio::test]
async fn a_take_that_waits_is_answered_by_a_later_write() {
    let node = Arc::new(Node::start().await);
    let waiting = tokio::spawn({
        let node = node.clone();
        async move { post(&node, "/tuples:take", json!({"pattern": ["late", null], "timeout_ms": 3_600_000})).await }
    });
    let client = node.client().await;
    // The tuple goes to whoever waits; it is written again until somebody did.
    while !waiting.is_finished() {
        client.call("TupleService.WriteTuple", json!({"tuple": ["late", 1]})).await.unwrap();
        tokio::task::yield_now().await;
    }
    assert_eq!(waiting.await.unwrap(), json!({"tuple": ["late", 1]}));
}

#[tokio::test]
async fn who_waits_is_let_go_when_the_node_stops() {
    let node = Arc::new(Node::start().await);
    let waiting = tokio::spawn({
        let node = node.clone();
        async move { send(&node, "POST", "/tuples:take", json!({"pattern": ["never"], "timeout_ms": 3_600_000})).await }
    });
    while !waiting.is_finished() {
        node.services.shutdown.cancel();
        tokio::task::yield_now().await;
    }
    assert_eq!(waiting.await.unwrap().reason(), "unavailable");
}

#[tokio::test]
async fn what_is_wrong_is_named() {
    let node = Node::start().await;
    for (method, path, body, reason, field) in [
        ("POST", "/tuples", json!({}), "invalid_argument", "tuple"),
        ("POST", "/tuples", json!({"tuple": [1], "ttl_ms": 0}), "invalid_argument", "ttl_ms"),
        ("POST", "/tuples:take", json!({"pattern": [1], "timeout_ms": 3_600_001}), "invalid_argument", "timeout_ms"),
        ("POST", "/tuples", json!({"tuple": [1], "namespace": "no/name"}), "invalid_argument", "namespace"),
        ("PUT", "/kv/k", json!({}), "invalid_argument", "value"),
        ("POST", "/locks/l:acquire", json!({"ttl_ms": 0}), "invalid_argument", "ttl_ms"),
        ("POST", "/locks/l:renew", json!({"version": "x", "ttl_ms": 5}), "invalid_argument", "version"),
        ("PUT", "/registry/n", json!({}), "invalid_argument", "target"),
        ("PUT", "/groups/g/members/nobody", json!({}), "invalid_argument", "actor"),
        ("POST", "/channels/c:publish", json!({}), "invalid_argument", "payload"),
        ("POST", "/channels/c/messages", json!({"payload": "x".repeat((1 << 20) + 1)}), "payload_too_large", "payload"),
        ("GET", "/kv/nothing", Value::Null, "not_found", ""),
        ("GET", "/locks/nothing", Value::Null, "not_found", ""),
        ("GET", "/registry/nothing", Value::Null, "not_found", ""),
        ("GET", "/tuples?pattern=x", Value::Null, "invalid_argument", "pattern"),
        ("GET", "/tuples:watch", Value::Null, "invalid_argument", "pattern"),
    ] {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let refused = node.send(method, &format!("/api/v1{path}"), &[], body).await;
        assert_eq!((refused.reason().as_str(), refused.field().as_str()), (reason, field), "{method} {path}");
    }
    let client = node.client().await;
    let failure = async |method: &str, request: Value| match client.call(method, request).await {
        Err(Error::Node { failure, .. }) => (failure.code, failure.field.unwrap_or_default()),
        other => panic!("{other:?}"),
    };
    assert_eq!(failure("TupleService.TakeTuple", json!({})).await, (Code::InvalidArgument, "pattern".to_owned()));
    assert_eq!(failure("ChannelService.GetChannel", json!({})).await, (Code::InvalidArgument, "channel".to_owned()));
    assert_eq!(failure("KvService.GetPair", json!({"key": "nothing"})).await, (Code::NotFound, String::new()));
    assert_eq!(failure("KvService.GetPair", json!({"kay": "x"})).await.0, Code::InvalidArgument);
}

#[tokio::test]
async fn a_queue_gives_each_message_to_one_consumer() {
    let node = Node::start().await;
    let sent = post(&node, "/channels/jobs/messages", json!({"payload": {"n": 1}, "msg_type": "job", "msg_id": "m1"})).await;
    assert_eq!(sent, json!({"msg_id": "m1"}));
    post(&node, "/channels/jobs/messages", json!({"payload": null, "delay_ms": 60_000})).await;
    let received = post(&node, "/channels/jobs/messages:receive", json!({"visibility_ms": 1000})).await;
    let expected = json!({"msg_id": "m1", "msg_type": "job", "payload": {"n": 1}, "channel": "jobs", "delivery_count": 1,
        "timestamp": "2023-11-14T22:13:20.123Z"});
    let mut message = received["message"].clone();
    let receipt = message.as_object_mut().unwrap().remove("receipt").unwrap();
    assert_eq!(message, expected);
    assert_eq!(post(&node, "/channels/jobs/messages:receive", json!({})).await, json!({}));
    post(&node, "/channels/jobs/messages/m1:nack", json!({"receipt": receipt})).await;
    post(&node, "/channels/jobs/messages:receive", json!({})).await;
    let late = send(&node, "POST", "/channels/jobs/messages/m1:ack", json!({"receipt": receipt})).await;
    assert_eq!((late.reason().as_str(), late.field().as_str()), ("conflict", "receipt"));
    post(&node, "/channels/jobs/messages/m1:nack", json!({"requeue": false})).await;
    let status = json!({"ready": 0, "delayed": 1, "in_flight": 0, "dead": 1, "published": 0, "subscribers": 0});
    assert_eq!(get(&node, "/channels/jobs").await, status);
    let dead = get(&node, "/channels/jobs/dead-letters?page_size=5").await;
    assert_eq!((dead["messages"][0]["msg_id"].as_str(), dead.get("next_page_token")), (Some("m1"), None));
    assert_eq!(post(&node, "/channels/jobs/dead-letters:redrive", json!({"msg_ids": ["m1"]})).await, json!({"redriven": 1}));
    post(&node, "/channels/jobs/messages:receive", json!({})).await;
    assert_eq!(post(&node, "/channels/jobs/messages/m1:ack", json!({})).await, json!({}));
    assert_eq!(get(&node, "/channels/jobs").await["in_flight"], json!(0));
}

#[tokio::test]
async fn a_named_subscriber_has_a_place_of_its_own() {
    let node = Node::start().await;
    post(&node, "/channels/news:publish", json!({"payload": 1})).await;
    let subscriber = async |name: &str, from: &str| {
        json_of(&send(&node, "PUT", &format!("/channels/news/subscribers/{name}"), json!({"from": from})).await)
    };
    subscriber("late", "SUBSCRIBE_FROM_LATEST").await;
    subscriber("early", "SUBSCRIBE_FROM_EARLIEST").await;
    post(&node, "/channels/news:publish", json!({"payload": 2})).await;
    let next = async |name: &str| {
        let answer = post(&node, &format!("/channels/news/subscribers/{name}:next"), json!({})).await;
        answer["message"]["payload"].clone()
    };
    assert_eq!((next("late").await, next("early").await), (json!(2), json!(1)));
    assert_eq!((next("late").await, next("early").await), (Value::Null, json!(2)));
    json_of(&node.send("DELETE", "/api/v1/channels/news/subscribers/late", &[], "").await);
    assert_eq!(get(&node, "/channels/news").await["subscribers"], json!(1));
}

#[tokio::test]
async fn groups_have_members_that_are_sent_messages() {
    let node = Node::start().await;
    for key in ["a", "b"] {
        let joined = send(&node, "PUT", &format!("/groups/all/members/default%2Fmirror%2F{key}"), json!({"topics": [key]})).await;
        assert_eq!(json_of(&joined), json!({}));
    }
    assert_eq!(get(&node, "/groups").await, json!({"groups": [{"group": "all", "members": 2}]}));
    assert_eq!(get(&node, "/groups/all/members?topic=a").await, json!({"members": ["default/mirror/a"]}));
    let first = get(&node, "/groups/all/members?page_size=1").await;
    let token = first["next_page_token"].as_str().unwrap();
    assert_eq!(get(&node, &format!("/groups/all/members?page_size=1&page_token={token}")).await, json!({"members": ["default/mirror/b"]}));
    let key = json!({"operation": "heard", "payload": {"n": 1}, "client_token": KEY});
    assert_eq!(
        (post(&node, "/groups/all:publish", key.clone()).await, post(&node, "/groups/all:publish", key).await),
        (json!({}), json!({}))
    );
    // The message is under way when the request is answered.
    let (mut asked, mut heard) = (0, 0);
    while heard == 0 {
        asked += 1;
        let messages = node.get("/api/v1/actors/mirror?actor_id=a&op=count").await.json()["messages"].as_u64().unwrap();
        heard = messages - asked;
    }
    assert_eq!(heard, 1);
    json_of(&node.send("DELETE", "/api/v1/groups/all/members/default%2Fmirror%2Fa", &[], "").await);
    assert_eq!(get(&node, "/groups").await["groups"][0]["members"], json!(1));
}

#[tokio::test]
async fn a_lock_has_one_holder_and_a_rising_version() {
    let node = Node::start().await;
    let held = post(&node, "/locks/l:acquire", json!({"ttl_ms": 1000, "holder": "me"})).await;
    assert_eq!(held, json!({"version": "1", "holder": "me", "expires_at": "2023-11-14T22:13:21.123Z"}));
    let refused = post(&node, "/locks/l:acquire", json!({"ttl_ms": 1000, "holder": "you"})).await;
    assert_eq!(refused, json!({"holder": "me", "expires_at": "2023-11-14T22:13:21.123Z"}));
    assert_eq!(post(&node, "/locks/l:renew", json!({"version": "1", "ttl_ms": 2000})).await, json!({"renewed": true}));
    let lock = json!({"key": "l", "holder": "me", "version": "1", "expires_at": "2023-11-14T22:13:22.123Z"});
    assert_eq!(get(&node, "/locks/l").await, lock);
    assert_eq!(get(&node, "/locks?prefix=l").await, json!({"locks": [lock]}));
    assert_eq!(post(&node, "/locks/l:release", json!({"version": "7"})).await, json!({"released": false}));
    assert_eq!(post(&node, "/locks/l:release", json!({"version": "1"})).await, json!({"released": true}));
    assert_eq!(post(&node, "/locks/l:acquire", json!({"ttl_ms": 1000, "holder": "you"})).await["version"], json!("2"));
}

#[tokio::test]
async fn pairs_are_set_swapped_and_removed() {
    let node = Node::start().await;
    let put = async |value: &str| json_of(&send(&node, "PUT", "/kv/a%2Fb", json!({"value": value})).await);
    assert_eq!(put("").await, json!({}), "an empty value is a value");
    assert_eq!(get(&node, "/kv/a%2Fb").await, json!({"value": "", "version": 1}));
    let cas = async |body: Value| post(&node, "/kv/a%2Fb:cas", body).await;
    assert_eq!(cas(json!({"value": "2"})).await, json!({"swapped": false, "value": "", "version": 1}));
    assert_eq!(cas(json!({"expected": "", "value": "2"})).await, json!({"swapped": true, "value": "2", "version": 2}));
    assert_eq!(get(&node, "/kv?prefix=a").await, json!({"pairs": [{"key": "a/b", "value": "2", "version": 2}]}));
    let delete = async || json_of(&node.send("DELETE", "/api/v1/kv/a%2Fb", &[], "").await);
    assert_eq!((delete().await, delete().await), (json!({"deleted": true}), json!({"deleted": false})));
    assert_eq!(node.get("/api/v1/kv/a%2Fb?tenant_id=other").await.reason(), "not_found");
}

#[tokio::test]
async fn names_stand_for_targets_and_are_found_by_labels() {
    let node = Node::start().await;
    let register = async |name: &str, target: &str| {
        let body = json!({"target": target, "labels": {"zone": name}, "metadata": {"n": [1, 0.5]}, "ttl_ms": 1000});
        send(&node, "PUT", &format!("/registry/{name}"), body).await
    };
    assert_eq!(json_of(&register("a", "default/mirror/a").await), json!({}));
    assert_eq!(json_of(&register("b", "http://elsewhere/").await), json!({}));
    let taken = register("a", "default/mirror/b").await;
    assert_eq!((taken.reason().as_str(), taken.field().as_str()), ("conflict", "name"));
    let entry = json!({"name": "a", "target": "default/mirror/a", "labels": {"zone": "a"}, "metadata": {"n": [1, 0.5]}, "healthy": true,
        "expires_at": "2023-11-14T22:13:21.123Z"});
    assert_eq!(get(&node, "/registry/a").await, entry);
    assert_eq!(post(&node, "/registry/b:renew", json!({"healthy": false})).await, json!({"renewed": true}));
    assert_eq!(get(&node, "/registry?healthy=true").await, json!({"entries": [entry]}));
    assert_eq!(get(&node, "/registry?labels=%7B%22zone%22:%22b%22%7D").await["entries"][0]["name"], json!("b"));
    let gone = node.send("DELETE", "/api/v1/registry/a", &[], "").await;
    assert_eq!(json_of(&gone), json!({"unregistered": true}));
}

#[tokio::test]
async fn tenants_and_namespaces_share_nothing() {
    let node = Node::start().await;
    let client = node.client().await;
    let put = json!({"key": "k", "value": "theirs", "tenant_id": "acme", "namespace": "shop"});
    client.call("KvService.PutPair", put).await.unwrap();
    for (tenant, namespace, status) in [("acme", "shop", 200), ("acme", "default", 404), ("default", "shop", 404)] {
        let found = node.get(&format!("/api/v1/kv/k?tenant_id={tenant}&namespace={namespace}")).await;
        assert_eq!(found.status, status, "{tenant} {namespace}");
    }
}
