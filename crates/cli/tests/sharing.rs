//! The examples of what actors share, on a real node, over HTTP, as their READMEs say.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod support;

use std::path::Path;

use plexspaces_testkit::servers;
use serde_json::{Value, json};
use support::{Http, Node, Server, root, until};
use tempfile::TempDir;

/// A node with an example.
fn node_with(example: &str, data: &Path) -> (Node, Http) {
    let node = Node::start(data);
    node.deploy_example(example);
    (node, Http::new())
}

#[tokio::test]
async fn chat_room() {
    let data = tempfile::tempdir().unwrap();
    let (node, http) = node_with("chat_room", data.path());
    let guest = async |node: &Node, name: &str, body: Value| http.ask(node, &format!("chat/guest?actor_id={name}"), body).await.body;
    for name in ["ann", "bob"] {
        assert_eq!(guest(&node, name, json!({"op": "join", "room": "tea"})).await, json!({"joined": "tea"}));
    }
    guest(&node, "eve", json!({"op": "say", "room": "tea", "text": "knock"})).await;
    until(async || guest(&node, "bob", json!({"op": "heard"})).await == json!({"heard": [["tea", "eve", "knock"]]})).await;

    // What is said reaches each member once, and the room is still there, when the node is killed.
    guest(&node, "ann", json!({"op": "say", "room": "tea", "text": "come in"})).await;
    node.kill();
    let node = Node::start(data.path());
    let heard = json!({"heard": [["tea", "eve", "knock"], ["tea", "ann", "come in"]]});
    for name in ["ann", "bob"] {
        until(async || guest(&node, name, json!({"op": "heard"})).await == heard).await;
    }
    guest(&node, "ann", json!({"op": "leave", "room": "tea"})).await;
    guest(&node, "eve", json!({"op": "join", "room": "tea"})).await;
    until(async || guest(&node, "eve", json!({"op": "who", "room": "tea"})).await == json!({"guests": ["bob", "eve"]})).await;
    assert_eq!(guest(&node, "bob", json!({"op": "heard"})).await, heard);
}

/// A node whose configuration has a message broker for its channels.
fn node_on(data: &Path, channels: &str) -> Node {
    let config = data.join("node.toml");
    std::fs::write(&config, channels).unwrap();
    Node::start_with(data, &["--config", config.to_str().unwrap()])
}

#[tokio::test]
async fn task_queue() {
    tasks(Node::start, || ()).await;
}

#[tokio::test]
async fn task_queue_on_nats_that_comes_later() {
    let mut server = servers::Nats::start().unwrap();
    let config = format!("[channels.nats]\nurl = \"{}\"\n", server.url());
    let start = |data: &Path| node_on(data, &config);
    // What durable actors send while the broker is away waits with them.
    server.stop();
    let (node, _data) = tasks(start, || server.again().unwrap()).await;
    server.stop();
    is_away(&node, "tasks", "tasks", "NATS").await;
}

#[tokio::test]
async fn task_queue_on_kafka_that_comes_later() {
    let mut server = servers::Kafka::start().unwrap();
    let config = format!("[channels.kafka]\nbootstrap = [\"{}\"]\n", server.url());
    server.stop();
    let (node, _data) = tasks(|data| node_on(data, &config), || server.again().unwrap()).await;
    server.stop();
    is_away(&node, "tasks", "tasks", "Kafka").await;
}

#[tokio::test]
async fn task_queue_at_sqs() {
    let mut server = servers::Sqs::start().unwrap();
    let start = |data: &Path| {
        let config = data.join("node.toml");
        std::fs::write(&config, format!("[channels.sqs]\nregion = \"eu-west-1\"\nendpoint = \"{}\"\n", server.url())).unwrap();
        let mut command = Node::command(data, &["--config", config.to_str().unwrap()]);
        command.env("AWS_ACCESS_KEY_ID", "plex").env("AWS_SECRET_ACCESS_KEY", "s3cret");
        Node::spawn(command)
    };
    let (node, _data) = tasks(start, || ()).await;
    server.stop();
    is_away(&node, "tasks", "tasks", "SQS").await;
}

/// Where a channel is shows when that is away.
async fn is_away(node: &Node, namespace: &str, channel: &str, broker: &str) {
    let answer = Http::new().get(node, &format!("/api/v1/channels/{channel}?namespace={namespace}")).await;
    assert_eq!(answer.status, 503, "{}", answer.body);
    assert!(answer.body["message"].as_str().unwrap().contains(broker), "{}", answer.body);
}

async fn tasks(start: impl Fn(&Path) -> Node, submitted: impl FnOnce()) -> (Node, TempDir) {
    let (data, http) = (tempfile::tempdir().unwrap(), Http::new());
    let node = start(data.path());
    // A worker that is slow has its task for itself.
    node.deploy_example_with("task_queue", &[("visibility_ms = 1000", "visibility_ms = 5000")]);
    let ask = async |node: &Node, actor: &str, body: Value| http.ask(node, &format!("tasks/{actor}"), body).await.body;
    let submit = async |node: &Node, account: &str, amount: u32| {
        let reply = ask(node, "accounts", json!({"op": "submit", "account": account, "amount": amount})).await;
        assert!(reply["task"].is_string(), "{reply}");
    };
    for amount in 1..=10 {
        submit(&node, "ann", amount).await;
        submit(&node, "bob", 100 * amount).await;
    }
    // A worker that fails with a task in its hands is started anew; its task is done when its time is over.
    ask(&node, "worker-1", json!({"op": "take_and_die"})).await;
    node.kill();
    submitted();
    let node = start(data.path());
    let done = json!({"balances": {"ann": 55, "bob": 5500}});
    until(async || ask(&node, "accounts", json!({"op": "balances"})).await == done).await;
    submit(&node, "eve", 7).await;
    until(async || ask(&node, "accounts", json!({"op": "balances"})).await["balances"]["eve"] == 7).await;
    assert_eq!(ask(&node, "accounts", json!({"op": "balances"})).await, json!({"balances": {"ann": 55, "bob": 5500, "eve": 7}}));
    (node, data)
}

#[tokio::test]
async fn leader_election() {
    let data = tempfile::tempdir().unwrap();
    // A lease that a machine with other things to do does not let end.
    let (node, http) = (Node::start(data.path()), Http::new());
    node.deploy_example_with("leader_election", &[("lease_secs = 1", "lease_secs = 8")]);
    let ask = async |actor: &str, body: Value| http.ask(&node, &format!("election/{actor}"), body).await.body;
    let leads = async |actor: &str| ask(actor, json!({"op": "status"})).await["leads"] == true;
    until(async || leads("candidate-1").await != leads("candidate-2").await).await;
    let (leader, other) = if leads("candidate-1").await { ("candidate-1", "candidate-2") } else { ("candidate-2", "candidate-1") };
    assert_eq!(ask(leader, json!({"op": "write", "text": "first"})).await, json!({"lines": 1}));
    assert_eq!(ask(other, json!({"op": "write", "text": "no"})).await, json!({"error": "this candidate does not lead"}));

    // The leader hangs, its lease ends, the other one leads, and what the former leader still writes is refused.
    ask(leader, json!({"op": "pause"})).await;
    until(async || leads(other).await).await;
    assert_eq!(ask(other, json!({"op": "write", "text": "second"})).await, json!({"lines": 2}));
    assert!(leads(leader).await, "it does not know");
    assert_eq!(ask(leader, json!({"op": "write", "text": "no"})).await, json!({"error": "a later leader has written already"}));
    ask(leader, json!({"op": "pause", "paused": false})).await;
    until(async || !leads(leader).await).await;
    assert_eq!(ask("ledger", json!({"op": "read"})).await, json!({"lines": ["first", "second"]}));
}

#[tokio::test]
async fn dataflow() {
    let data = tempfile::tempdir().unwrap();
    let (node, http) = node_with("dataflow", data.path());
    let counts = async |node: &Node| http.ask(node, "words/counter", json!({"op": "counts"})).await.body["counts"].clone();
    for _ in 0..8 {
        http.ask(&node, "words/source", json!({"op": "put", "text": "to be or not to be"})).await;
    }
    until(async || counts(&node).await["to"].as_u64() >= Some(2)).await;
    node.kill();
    let node = Node::start(data.path());
    let all = json!({"to": 16, "be": 16, "or": 8, "not": 8});
    until(async || counts(&node).await == all).await;
    http.ask(&node, "words/source", json!({"op": "put", "text": "end"})).await;
    until(async || counts(&node).await["end"] == 1).await;
    assert_eq!(counts(&node).await, json!({"to": 16, "be": 16, "or": 8, "not": 8, "end": 1}));
}

/// The last stage does two orders in a second, which is less than comes in on any machine.
const SLOW: (&str, &str) = ("every_ms = 200", "every_ms = 500");

#[tokio::test]
async fn seda_pipeline() {
    orders(Node::start, |node| node.deploy_example_with("seda_pipeline", &[SLOW])).await;
}

#[tokio::test]
async fn seda_pipeline_on_redis() {
    let mut server = servers::Redis::start().unwrap();
    let config = format!("[channels.redis]\nurl = \"{}\"\n", server.url());
    let selected = "[channels]\norders = \"redis\"\npriced = \"redis\"\npacked = \"redis\"\n\n[supervisor]";
    let deploy = |node: &Node| node.deploy_example_with("seda_pipeline", &[SLOW, ("[supervisor]", selected)]);
    let (node, _data) = orders(|data| node_on(data, &config), deploy).await;
    server.stop();
    is_away(&node, "orders", "priced", "Redis").await;
}

async fn orders(start: impl Fn(&Path) -> Node, deploy: impl Fn(&Node)) -> (Node, TempDir) {
    let (data, http) = (tempfile::tempdir().unwrap(), Http::new());
    let node = start(data.path());
    deploy(&node);
    let mut taken = Vec::new();
    let mut refused = 0;
    // Whoever orders faster than the last stage works is refused before long.
    for number in 0..200 {
        let order = format!("o-{number}");
        let reply = http.ask(&node, "orders/door", json!({"op": "order", "order": order, "amount": 100})).await.body;
        if reply["order"] == order.as_str() {
            taken.push(order);
        } else {
            assert_eq!(reply["error"], "too busy; come again later", "{reply}");
            refused += 1;
        }
        if refused >= 3 {
            break;
        }
    }
    assert!(refused >= 3 && taken.len() >= 5, "{refused} refused, {} taken", taken.len());
    node.kill();
    let node = start(data.path());
    let done = async || http.ask(&node, "orders/ship", json!({"op": "done"})).await.body["done"].as_array().cloned().unwrap_or_default();
    until(async || done().await.len() >= taken.len()).await;
    let done = done().await;
    let orders: Vec<&str> = done.iter().filter_map(|order| order["order"].as_str()).collect();
    assert_eq!(orders, taken);
    assert!(done.iter().all(|order| order["total"] == 119 && order["parcel"].is_string()), "{done:?}");
    (node, data)
}

#[tokio::test]
async fn feature_flags() {
    let data = tempfile::tempdir().unwrap();
    let (node, http) = node_with("feature_flags", data.path());
    let flags = async |node: &Node, body: Value| http.ask(node, "flags/flags", body).await.body;
    let way = async |node: &Node| http.ask(node, "flags/checkout", json!({"op": "pay", "user": "ann"})).await.body["way"].clone();
    assert_eq!(way(&node).await, "old");
    let version = flags(&node, json!({"op": "changes"})).await["version"].clone();
    // One waits for a change that another makes.
    let (told, _) = tokio::join!(
        flags(&node, json!({"op": "changes", "after": version, "timeout_ms": 20000})),
        http.ask(&node, "flags/flags?actor_id=other", json!({"op": "set", "flag": "new_checkout", "percent": 100})),
    );
    assert_eq!((&told["changes"][0]["key"], &told["changes"][0]["value"]), (&json!("flag/new_checkout"), &json!("100")), "{told}");
    assert_eq!(way(&node).await, "new");
    let stale = flags(&node, json!({"op": "set", "flag": "new_checkout", "percent": 5, "expected": 50})).await;
    assert_eq!(stale, json!({"error": "new_checkout has been changed meanwhile"}));
    node.kill();
    let node = Node::start(data.path());
    assert_eq!(flags(&node, json!({"op": "list"})).await, json!({"flags": {"new_checkout": 100}}));
    assert_eq!(flags(&node, json!({"op": "remove", "flag": "new_checkout"})).await, json!({"removed": true}));
    assert_eq!(way(&node).await, "old");
}

#[tokio::test]
async fn web_crawler() {
    let site = Server::start(&root().join("examples/python/web_crawler/small_site.py"));
    let data = tempfile::tempdir().unwrap();
    let (node, http) = (Node::start(data.path()), Http::new());
    node.deploy_example_with("web_crawler", &[("http://127.0.0.1:9901", site.url.as_str())]);
    let crawler = async |body: Value| http.ask(&node, "crawl/crawler", body).await.body;
    // As many steps as there are pages: who finds a page first may have come a long way.
    assert_eq!(crawler(json!({"op": "crawl", "depth": 42})).await, json!({"begun": true}));
    until(async || crawler(json!({"op": "pages"})).await["complete"] == true).await;
    let pages = crawler(json!({"op": "pages"})).await["pages"].clone();
    assert_eq!((pages.as_object().unwrap().len(), &pages["/39"]), (42, &json!("Page 39")));
    let fetched = http.send(http::Method::GET, &format!("{}/log", site.url), &[], "").await.unwrap().body;
    let fetched = fetched.as_object().unwrap();
    assert!(fetched.len() == 42 && fetched.values().all(|times| *times == 1), "{fetched:?}");
}

/// What the SDK's test harness answers from memory is what a node answers.
#[tokio::test]
async fn services_answer_as_those_of_the_test_harness() {
    let tests = root().join("sdk/python/tests/services");
    let component = plexspaces_testkit::python::component(&tests.join("probe.py")).unwrap();
    let calls: Vec<(String, Value)> = serde_json::from_str(&std::fs::read_to_string(tests.join("calls.json")).unwrap()).unwrap();
    let data = tempfile::tempdir().unwrap();
    let (node, http) = (Node::start(data.path()), Http::new());
    for namespace in ["plain", "durable"] {
        let config = data.path().join("app-config.toml");
        std::fs::write(&config, format!("[app]\nname = {namespace:?}\nnamespace = {namespace:?}\n")).unwrap();
        let deployed = node.cli(&["deploy", "--wasm", component.to_str().unwrap(), "--config", config.to_str().unwrap()]);
        assert!(deployed.status.success(), "{}", support::stderr(&deployed));
        for (code, expected) in &calls {
            let answer = http
                .ask(&node, &format!("{namespace}/{namespace}?timeout_ms=30000"), json!({"op": "run", "code": format!("[{code}]")}))
                .await;
            assert_eq!((answer.status, &answer.body), (200, &json!([expected])), "{namespace}: {code}");
        }
    }
}

#[tokio::test]
async fn nodes_of_a_cluster_share_a_channel_over_udp() {
    let port = std::net::UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let config =
        format!("[channels]\ndefault = \"udp\"\n[channels.udp]\ncluster_name = \"lab\"\nport = {port}\ninterface = \"127.0.0.1\"\n");
    let (data, http) = ([tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()], Http::new());
    let secret = "the secret of a test";
    let mut texts = [format!("{config}secret = \"{secret}\"\n"), config].into_iter();
    let nodes = data.each_ref().map(|data| {
        let file = data.path().join("node.toml");
        let text = texts.next().unwrap();
        std::fs::write(&file, &text).unwrap();
        let mut command = Node::command(data.path(), &[]);
        command.arg("--config").arg(file);
        if !text.contains(secret) {
            command.env("PLEXSPACES_CHANNELS_UDP_SECRET", secret);
        }
        Node::spawn(command)
    });
    let json = |node: &Node, arguments: &[&str]| -> Value {
        let output = node.cli(arguments);
        assert!(output.status.success(), "{}", support::stderr(&output));
        serde_json::from_str(&support::stdout(&output)).unwrap()
    };
    let post = async |node: &Node, path: &str, body: Value| {
        let url = format!("{}/api/v1/channels/prices{path}", node.url);
        http.send(http::Method::POST, &url, &[], body.to_string()).await.unwrap()
    };
    let [one, other] = &nodes;
    assert_eq!(post(other, "/subscribers/s:next", json!({})).await.body, json!({}), "it listens from now on");
    post(one, ":publish", json!({"payload": {"eur": 7}})).await;
    let heard = post(other, "/subscribers/s:next", json!({"timeout_ms": 60_000})).await;
    assert_eq!(heard.body["message"]["payload"], json!({"eur": 7}), "{}", heard.body);
    let status = json(other, &["channel", "status", "prices", "--json"]);
    assert_eq!((status["dropped"].clone(), status["subscribers"].clone()), (json!(0), json!(1)), "{status}");
    let refused = post(one, "/messages", json!({"payload": 1})).await;
    assert_eq!(refused.status, 400, "{}", refused.body);
    assert!(refused.body["message"].as_str().unwrap().contains("which has no queue: send needs"), "{}", refused.body);
}
