//! Workflows of Python on a real node: killed, paused, cancelled, asked while they run, asleep for long.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod support;

use std::time::{Duration, Instant};

use http::Method;
use serde_json::{Value, json};
use support::{Answer, Http, Node, root};

/// The node with the workflows of `guests/flows`.
fn flows(data: &std::path::Path) -> Node {
    let node = Node::start(data);
    deploy(&node, "flows");
    node
}

fn deploy(node: &Node, version: &str) {
    let guests = root().join("crates/cli/tests/guests");
    let component = plexspaces_testkit::python::component(&guests.join(format!("{version}/flows.py"))).unwrap();
    let config = guests.join("flows/app-config.toml");
    let output = node.cli(&["deploy", "--wasm", component.to_str().unwrap(), "--config", config.to_str().unwrap()]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

struct Flow<'a> {
    http: &'a Http,
    name: &'a str,
}

impl Flow<'_> {
    fn url(&self, node: &Node, operation: &str, invocation: &str) -> String {
        let (kind, key) = self.name.split_once('/').unwrap();
        format!("{}/api/v1/actors/flows/{kind}?actor_id={key}&msg_type={operation}&invocation={invocation}", node.url)
    }

    /// Starts the run; returns when the node has accepted it.
    async fn start(&self, node: &Node, input: Value) {
        let answer = self.http.send(Method::POST, &self.url(node, "workflow_run", "tell"), &[], input.to_string()).await.unwrap();
        assert_eq!(answer.status, 202, "{}", answer.body);
    }

    /// Starts the run under a key, or waits for the one that was started under it.
    async fn run(&self, node: &Node, input: Value) -> Result<Answer, String> {
        let url = self.url(node, "workflow_run", "call") + "&timeout_ms=60000";
        self.http.send(Method::POST, &url, &[("idempotency-key", &format!("run-{}", self.name))], input.to_string()).await
    }

    async fn send(&self, node: &Node, operation: &str, payload: Value) -> Answer {
        self.http.send(Method::POST, &self.url(node, operation, "call"), &[], payload.to_string()).await.unwrap()
    }

    async fn query(&self, node: &Node, name: &str) -> Value {
        let answer = self.send(node, &format!("workflow_query:{name}"), json!({})).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer.body
    }
}

async fn notes(http: &Http, node: &Node) -> Vec<String> {
    let answer = http.ask(node, "flows/recorder", json!({"op": "notes"})).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    serde_json::from_value(answer.body).unwrap()
}

/// Waits until something is so.
async fn until(what: &str, holds: impl AsyncFn() -> bool) {
    let started = Instant::now();
    while !holds().await {
        assert!(started.elapsed() < Duration::from_secs(60), "not in 60 s: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_run_does_its_steps_hears_signals_and_is_asked_meanwhile() {
    let data = tempfile::tempdir().unwrap();
    let (node, http) = (flows(data.path()), Http::new());
    let flow = Flow { http: &http, name: "steps/a" };
    flow.start(&node, json!({"steps": 3, "pause_ms": 700})).await;
    until("the second step", async || flow.query(&node, "status").await["step"] == 1).await;
    assert_eq!(flow.send(&node, "workflow_signal:word", json!({"text": "hello"})).await.status, 200);
    until("the signal", async || flow.query(&node, "status").await["heard"] == json!(["hello"])).await;
    assert_eq!(flow.query(&node, "status").await["step"], 1, "a query changes nothing, and does not wait for the run");
    until("the end", async || flow.query(&node, "status").await["step"] == 3).await;
    let seen = notes(&http, &node).await;
    assert_eq!(seen.iter().filter(|note| note.starts_with("ask")).count(), 3, "{seen:?}");
    assert_eq!(seen.iter().filter(|note| note.starts_with("tell")).count(), 3, "{seen:?}");
    assert_eq!(seen.iter().filter(|note| *note == "word hello").count(), 1, "{seen:?}");
    // After its end it is an actor like another.
    assert_eq!(flow.send(&node, "workflow_signal:word", json!({"text": "again"})).await.status, 200);
    assert_eq!(flow.query(&node, "status").await, json!({"step": 3, "heard": ["hello", "again"]}));
}

/// Each kill hits another place of the run: while it asks, while it sleeps, between them.
#[tokio::test]
async fn a_run_that_is_killed_again_and_again_ends_with_each_effect_once() {
    let data = tempfile::tempdir().unwrap();
    let (mut node, http) = (flows(data.path()), Http::new());
    let flow = Flow { http: &http, name: "steps/killed" };
    let input = json!({"steps": 12, "pause_ms": 60});
    flow.start(&node, input.clone()).await;
    let mut kills = 0;
    for step in 0..12 {
        until("the next step", async || {
            let status = flow.query(&node, "status").await;
            status["step"].as_u64().unwrap() >= step
        })
        .await;
        if step % 4 == 0 {
            assert_eq!(flow.send(&node, "workflow_signal:word", json!({"text": step.to_string()})).await.status, 200);
        }
        tokio::time::sleep(Duration::from_millis(step * 13 % 60)).await;
        node.kill();
        node = Node::start(data.path());
        kills += 1;
    }
    until("the end", async || flow.query(&node, "status").await["step"] == 12).await;
    assert_eq!(flow.query(&node, "status").await["heard"], json!(["0", "4", "8"]));
    let seen = notes(&http, &node).await;
    for kind in ["ask", "tell"] {
        let steps: Vec<&str> = seen.iter().filter_map(|note| note.strip_prefix(kind)?.trim().split(' ').next()).collect();
        let expected: Vec<String> = (0..12).map(|step| step.to_string()).collect();
        assert_eq!(steps, expected, "{kind} after {kills} kills: {seen:?}");
    }
    assert_eq!(seen.iter().filter(|note| note.starts_with("word")).count(), 3, "{seen:?}");
}
