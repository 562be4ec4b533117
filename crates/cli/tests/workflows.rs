//! Workflows of Python on a real node: killed, paused, cancelled, asked while they run, asleep for long.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod support;

use std::process::Output;
use std::time::{Duration, Instant};

use http::Method;
use serde_json::{Value, json};
use support::{Answer, Http, Node, PATIENCE, root, stderr, stdout};

/// The node with the workflows of `guests/flows`.
fn flows(data: &std::path::Path) -> Node {
    let node = Node::start(data);
    deploy(&node, "flows");
    node
}

fn deploy(node: &Node, version: &str) {
    let output = try_deploy(node, version, "abort");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn try_deploy(node: &Node, version: &str, on_incompatible: &str) -> Output {
    let guests = root().join("crates/cli/tests/guests");
    let component = plexspaces_testkit::python::component(&guests.join(format!("{version}/flows.py"))).unwrap();
    let config = guests.join("flows/app-config.toml");
    let (component, config) = (component.to_str().unwrap(), config.to_str().unwrap());
    node.cli(&["deploy", "--wasm", component, "--config", config, "--on-incompatible", on_incompatible])
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
        self.http.send(Method::POST, &url, &[("idempotency-key", &format!("the run of {:<16}", self.name))], input.to_string()).await
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
        assert!(started.elapsed() < PATIENCE, "not in {PATIENCE:?}: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_run_does_its_steps_hears_signals_and_is_asked_meanwhile() {
    let data = tempfile::tempdir().unwrap();
    let (node, http) = (flows(data.path()), Http::new());
    let flow = Flow { http: &http, name: "steps/a" };
    flow.start(&node, json!({"steps": 3, "pause_ms": 4000})).await;
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

#[tokio::test]
async fn a_run_is_paused_resumed_cancelled_and_terminated() {
    let data = tempfile::tempdir().unwrap();
    let (mut node, http) = (flows(data.path()), Http::new());
    let paused = Flow { http: &http, name: "steps/paused" };
    paused.start(&node, json!({"steps": 4, "pause_ms": 2000})).await;
    until("the second step", async || paused.query(&node, "status").await["step"] == 1).await;
    assert_eq!(paused.send(&node, "workflow_pause", json!({})).await.status, 200);
    assert_eq!(paused.send(&node, "workflow_signal:word", json!({"text": "meanwhile"})).await.status, 200);
    tokio::time::sleep(Duration::from_millis(2500)).await;
    let step = paused.query(&node, "status").await["step"].clone();
    // It stands still through a crash as well, and hears the signals in the same place when it does its steps again.
    node.kill();
    node = Node::start(data.path());
    tokio::time::sleep(Duration::from_millis(2500)).await;
    assert_eq!(paused.query(&node, "status").await["step"], step);
    assert_eq!(paused.send(&node, "workflow_resume", json!({})).await.status, 200);
    until("the next step", async || paused.query(&node, "status").await["step"].as_u64() > step.as_u64()).await;
    node.kill();
    node = Node::start(data.path());
    until("the end", async || paused.query(&node, "status").await == json!({"step": 4, "heard": ["meanwhile"]})).await;
    let seen = notes(&http, &node).await;
    assert_eq!(seen.len(), 9, "{seen:?}");

    // Cancelled, it undoes what it did.
    let cancelled = Flow { http: &http, name: "order/cancelled" };
    cancelled.start(&node, json!({})).await;
    until("the payment", async || cancelled.query(&node, "status").await["status"] == "paid").await;
    assert_eq!(cancelled.send(&node, "workflow_signal:cancel", json!({"reason": "regret"})).await.status, 200);
    assert_eq!(cancelled.send(&node, "workflow_cancel", json!({})).await.status, 200);
    until("the end", async || cancelled.query(&node, "status").await == json!({"status": "cancelled", "reason": "regret"})).await;
    assert_eq!(notes(&http, &node).await[9..], ["pay", "refund"]);

    // One that does not care ends there, which is no failure: its state is what it was before, and nothing is tried again.
    let careless = Flow { http: &http, name: "long/careless" };
    let (ended, answer) = tokio::join!(careless.run(&node, json!({"ms": 60_000})), async {
        until("it sleeps", async || careless.query(&node, "status").await == "sleeping").await;
        careless.send(&node, "workflow_cancel", json!({})).await
    });
    assert_eq!(answer.status, 200, "{}", answer.body);
    let ended = ended.unwrap();
    assert_eq!((ended.status, &ended.body["reason"]), (409, &json!("cancelled")), "{}", ended.body);
    assert_eq!(careless.query(&node, "status").await, "new");
    assert_eq!(notes(&http, &node).await[11..], ["before"]);
    assert_eq!(http.get(&node, "/api/v1/dead-letters?namespace=flows").await.body["dead_letters"], json!([]));

    // Terminated, it does nothing more; whoever waits for it is told.
    let terminated = Flow { http: &http, name: "order/terminated" };
    let (ended, answer) = tokio::join!(terminated.run(&node, json!({})), async {
        until("the payment", async || terminated.query(&node, "status").await["status"] == "paid").await;
        terminated.send(&node, "workflow_terminate", json!({})).await
    });
    assert_eq!(answer.status, 200, "{}", answer.body);
    let ended = ended.unwrap();
    assert_eq!((ended.status, &ended.body["reason"]), (409, &json!("cancelled")), "{}", ended.body);
    assert_eq!(notes(&http, &node).await[12..], ["pay"]);
    let refused = terminated.send(&node, "workflow_pause", json!({})).await;
    assert_eq!(refused.status, 409, "there is no run any more: {}", refused.body);
}

#[tokio::test]
async fn a_signal_is_waited_for_and_its_payload_is_given() {
    let data = tempfile::tempdir().unwrap();
    let (mut node, http) = (flows(data.path()), Http::new());
    let order = Flow { http: &http, name: "order/one" };
    order.start(&node, json!({})).await;
    until("the payment", async || order.query(&node, "status").await["status"] == "paid").await;
    node.kill();
    node = Node::start(data.path());
    assert_eq!(order.send(&node, "workflow_signal:shipped", json!({"number": 7})).await.status, 200);
    until("the end", async || order.query(&node, "status").await["status"] == "shipped").await;
    // Without the signal it goes on when its time is over.
    let late = Flow { http: &http, name: "order/late" };
    let answer = late.run(&node, json!({"timeout_ms": 300})).await.unwrap();
    assert_eq!(answer.body, json!({"status": "late", "parcel": null}));
    assert_eq!(notes(&http, &node).await, ["pay", "pay"]);
}

#[tokio::test]
async fn a_run_that_fails_is_not_done_anew() {
    let data = tempfile::tempdir().unwrap();
    let (node, http) = (flows(data.path()), Http::new());
    let failing = Flow { http: &http, name: "failing/one" };
    failing.start(&node, json!({})).await;
    until("the dead letter", async || {
        let letters = http.get(&node, "/api/v1/dead-letters?namespace=flows").await.body["dead_letters"].clone();
        letters.as_array().is_some_and(|letters| letters.len() == 1 && letters[0]["attempts"] == 1)
    })
    .await;
    assert_eq!(notes(&http, &node).await, ["begun"]);
    // A step is tried again where the workflow says so. The recorder's own turns fail, and leave nothing.
    let retried = Flow { http: &http, name: "failing/two" };
    let answer = retried.run(&node, json!({"retry": true})).await.unwrap();
    assert_eq!((answer.status, &answer.body["reason"]), (500, &json!("handler_failed")), "{}", answer.body);
    let recorder = http.get(&node, "/api/v1/actors?namespace=flows").await.body.to_string();
    assert!(recorder.contains("flows/recorder/recorder"), "{recorder}");
    assert_eq!(notes(&http, &node).await, ["begun", "begun"]);
}

/// The number of instances, by the node's metrics.
async fn instances(http: &Http, node: &Node) -> f64 {
    let metrics = http.get(node, "/metrics").await.body;
    let text = metrics.as_str().unwrap_or_default();
    let line = text.lines().find(|line| line.starts_with("plexspaces_wasm_instances ")).unwrap();
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

#[tokio::test]
async fn a_long_sleep_leaves_memory_and_goes_on_in_time() {
    let data = tempfile::tempdir().unwrap();
    let (node, http) = (flows(data.path()), Http::new());
    let idle = instances(&http, &node).await;
    let long = Flow { http: &http, name: "long/one" };
    let begun = Instant::now();
    long.start(&node, json!({"ms": 50_000})).await;
    until("it sleeps", async || long.query(&node, "status").await == "sleeping").await;
    let asleep = instances(&http, &node).await;
    assert!(asleep > idle, "{asleep} {idle}");
    until("it has left memory", async || instances(&http, &node).await < asleep).await;
    assert!(begun.elapsed() > Duration::from_secs(29) && begun.elapsed() < Duration::from_secs(49), "{:?}", begun.elapsed());
    assert_eq!(long.query(&node, "status").await, "sleeping", "a query does not wake it");
    until("it has slept", async || long.query(&node, "status").await == "done").await;
    assert!(begun.elapsed() > Duration::from_secs(50) && begun.elapsed() < Duration::from_secs(80), "{:?}", begun.elapsed());
    assert_eq!(notes(&http, &node).await, ["before", "after"]);
}

#[tokio::test]
async fn code_that_does_something_else_stops_and_leaves_the_history_as_it_was() {
    let data = tempfile::tempdir().unwrap();
    let (node, http) = (Node::start(data.path()), Http::new());
    deploy(&node, "changed");
    deploy(&node, "flows");
    let idle = instances(&http, &node).await;
    let long = Flow { http: &http, name: "long/changed" };
    long.start(&node, json!({"ms": 55_000})).await;
    until("it sleeps", async || long.query(&node, "status").await == "sleeping").await;
    let asleep = instances(&http, &node).await;
    assert!(asleep > idle, "{asleep} {idle}");
    // What is in memory ends with the code that it began with.
    until("it has left memory", async || instances(&http, &node).await < asleep).await;
    let refused = try_deploy(&node, "changed", "abort");
    assert!(!refused.status.success() && stderr(&refused).contains("flows/long/changed"), "{}", stderr(&refused));
    assert!(try_deploy(&node, "changed", "replace").status.success());
    let stopped = long.send(&node, "workflow_signal:any", json!({})).await;
    assert_eq!((stopped.status, &stopped.body["reason"]), (500, &json!("non_deterministic")), "{}", stopped.body);
    let message = stopped.body["message"].as_str().unwrap();
    for part in ["flows/long/changed", "ask recorder note", "ask recorder notes"] {
        assert!(message.contains(part), "{part}: {message}");
    }
    // The version that it began with takes it to its end.
    deploy(&node, "flows");
    until("the end", async || long.query(&node, "status").await == "done").await;
    assert_eq!(notes(&http, &node).await, ["before", "after"]);
}

#[tokio::test]
async fn a_parent_and_two_children_that_are_killed_in_the_middle_end_with_each_step_once() {
    let data = tempfile::tempdir().unwrap();
    let (mut node, http) = (flows(data.path()), Http::new());
    let parent = Flow { http: &http, name: "parent/one" };
    parent.start(&node, json!({"ms": 1500})).await;
    for _ in 0..4 {
        until("it lives", async || parent.query(&node, "status").await != "new").await;
        tokio::time::sleep(Duration::from_millis(200)).await;
        node.kill();
        node = Node::start(data.path());
    }
    until("the end", async || notes(&http, &node).await.contains(&"all done".to_owned())).await;
    let mut seen = notes(&http, &node).await;
    seen.sort();
    assert_eq!(seen, ["all done", "part 0 begun", "part 0 done", "part 1 begun", "part 1 done"]);

    // Who cancels the parent cancels the children.
    let cancelled = Flow { http: &http, name: "parent/two" };
    cancelled.start(&node, json!({"ms": 60_000})).await;
    until("both have begun", async || notes(&http, &node).await.len() == 7).await;
    assert_eq!(cancelled.send(&node, "workflow_cancel", json!({})).await.status, 200);
    until("both have undone it", async || {
        let seen = notes(&http, &node).await;
        seen.contains(&"part 0 undone".to_owned()) && seen.contains(&"part 1 undone".to_owned())
    })
    .await;
    until("they are listed so", async || {
        let list = http.get(&node, "/api/v1/workflows?namespace=flows&actor_type=part&status=cancelled").await.body;
        list["workflows"].as_array().is_some_and(|runs| runs.len() == 2)
    })
    .await;
}

#[tokio::test]
async fn what_a_compensation_sends_arrives_once_though_its_run_fails() {
    let data = tempfile::tempdir().unwrap();
    let (mut node, http) = (flows(data.path()), Http::new());
    let undoing = Flow { http: &http, name: "undoing/one" };
    undoing.start(&node, json!({})).await;
    let undone = ["begun", "no flight", "no hotel"];
    until("both are undone", async || notes(&http, &node).await == undone).await;
    let path = "/api/v1/workflows/one?actor_type=undoing&namespace=flows";
    until("it has failed", async || http.get(&node, path).await.body["status"] == "STATUS_FAILED").await;
    node.kill();
    node = Node::start(data.path());
    http.ask(&node, "flows/recorder", json!({"op": "note", "what": "later"})).await;
    assert_eq!(notes(&http, &node).await, [&undone[..], &["later"]].concat());
}

#[tokio::test]
async fn a_run_in_python_is_timed_out_also_by_its_type_and_undoes_what_it_did() {
    let data = tempfile::tempdir().unwrap();
    let (node, http) = (Node::start(data.path()), Http::new());
    let guest = root().join("crates/cli/tests/guests/flows");
    let component = plexspaces_testkit::python::component(&guest.join("flows.py")).unwrap();
    let config = data.path().join("app-config.toml");
    let hasty = "[types.long]\nfacets = [{ type = \"durability\", config = { run_timeout = \"1s\" } }]\n";
    std::fs::write(&config, std::fs::read_to_string(guest.join("app-config.toml")).unwrap() + hasty).unwrap();
    let deployed = node.cli(&["deploy", "--wasm", component.to_str().unwrap(), "--config", config.to_str().unwrap()]);
    assert!(deployed.status.success(), "{}", stderr(&deployed));
    let start = async |id: &str, input: Value| {
        let request = json!({"namespace": "flows", "actor_type": "order", "workflow_id": id, "input": input, "run_timeout_ms": 1500});
        http.send(Method::POST, &format!("{}/api/v1/workflows", node.url), &[], request.to_string()).await.unwrap()
    };
    let started = start("late", json!({})).await;
    assert_eq!(started.status, 202, "{}", started.body);
    assert!(started.body["deadline_at"].is_string(), "{}", started.body);
    let show = async |id: &str| http.get(&node, &format!("/api/v1/workflows/{id}?actor_type=order&namespace=flows")).await.body;
    until("it is timed out", async || show("late").await["status"] == "STATUS_TIMED_OUT").await;
    assert_eq!(show("late").await["result"], json!({"status": "cancelled", "reason": ""}));
    assert_eq!(notes(&http, &node).await, ["pay", "refund"]);
    let listed = http.get(&node, "/api/v1/workflows?namespace=flows&status=timed_out").await.body;
    assert_eq!(listed["workflows"].as_array().unwrap().len(), 1, "{listed}");
    // One that lets the error out, of a type whose runs have a time; and one that a run gives a time.
    let careless = Flow { http: &http, name: "long/hasty" };
    let ended = careless.run(&node, json!({"ms": 60_000})).await.unwrap();
    assert_eq!((ended.status, &ended.body["reason"]), (504, &json!("timed_out")), "{}", ended.body);
    let parent = Flow { http: &http, name: "parent/hasty" };
    let ended = parent.run(&node, json!({"ms": 60_000, "run_timeout_ms": 500})).await.unwrap();
    assert_eq!((ended.status, &ended.body["reason"]), (500, &json!("handler_failed")), "{}", ended.body);
    assert!(ended.body["message"].as_str().unwrap().contains("AskTimeoutError"), "{}", ended.body);
}

/// How many components the node keeps.
fn components(data: &std::path::Path) -> usize {
    std::fs::read_dir(data.join("components")).unwrap().count()
}

#[tokio::test]
async fn a_pinned_run_ends_with_its_version_and_what_begins_runs_the_new_one() {
    let data = tempfile::tempdir().unwrap();
    let (mut node, http) = (Node::start(data.path()), Http::new());
    // Both are built before the time counts.
    deploy(&node, "changed");
    deploy(&node, "flows");
    let old = Flow { http: &http, name: "long/old" };
    old.start(&node, json!({"ms": 25_000})).await;
    until("it sleeps", async || old.query(&node, "status").await == "sleeping").await;
    let refused = try_deploy(&node, "changed", "abort");
    assert!(!refused.status.success() && stderr(&refused).contains("on_incompatible = \"pin\""), "{}", stderr(&refused));
    let pinned = try_deploy(&node, "changed", "pin");
    assert!(pinned.status.success(), "{}", stderr(&pinned));
    let new = Flow { http: &http, name: "long/new" };
    new.start(&node, json!({"ms": 60_000})).await;
    until("the new version sleeps", async || new.query(&node, "status").await == "sleeping anew").await;
    // Who asks is told, also after a crash, which both versions survive.
    node.kill();
    node = Node::start(data.path());
    assert_eq!(components(data.path()), 2);
    let list = stdout(&node.cli(&["list"]));
    assert!(list.contains("flows/flows goes on with") && list.contains("flows/long/old"), "{list}");
    let show = stdout(&node.cli(&["workflow", "show", "flows/long/old"]));
    assert!(show.contains("running") && show.contains("(pinned)"), "{show}");
    let table = stdout(&node.cli(&["workflow", "list", "--status", "running", "--namespace", "flows"]));
    let line = |name: &str| table.lines().find(|line| line.contains(name)).unwrap_or_default().to_owned();
    assert!(line("flows/long/old").contains("(pinned)") && !line("flows/long/new").contains("(pinned)"), "{table}");
    assert_eq!(new.query(&node, "status").await, "sleeping anew");
    // Its last step is that of the earlier version.
    until("the end", async || notes(&http, &node).await == ["before", "after"]).await;
    until("the earlier version is let go", async || components(data.path()) == 1).await;
    assert!(!stdout(&node.cli(&["list"])).contains("goes on with"));
    assert_eq!(old.query(&node, "status").await, "done", "its state came to the new version");
    // The recorder's state was migrated once, whatever happened since.
    for _ in 0..2 {
        assert_eq!(http.ask(&node, "flows/recorder", json!({"op": "migrated"})).await.body, 1);
        node.kill();
        node = Node::start(data.path());
    }
}
