//! Histories and workflows as operators use them: from the command line and by plain HTTP.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod support;

use std::process::Command;
use std::time::{Duration, SystemTime};

use http::Method;
use plexspaces_client::{Client, v1};
use serde_json::{Value, json};
use support::{Answer, Http, Node, failed, root, said, until};

const RECORDER: &str = "flows/recorder/recorder";

fn component() -> String {
    let source = root().join("crates/cli/tests/guests/flows/flows.py");
    plexspaces_testkit::python::component(&source).unwrap().to_str().unwrap().to_owned()
}

/// A node with the workflows of `guests/flows`.
fn flows(data: &std::path::Path) -> Node {
    let node = Node::start(data);
    let config = root().join("crates/cli/tests/guests/flows/app-config.toml");
    said(&node.cli(&["deploy", "--wasm", &component(), "--config", config.to_str().unwrap()]));
    node
}

async fn note(http: &Http, node: &Node, what: &str) {
    let answer = http.ask(node, "flows/recorder", json!({"op": "note", "what": what})).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
}

/// A time between what is before and what comes after, in milliseconds.
async fn between() -> u64 {
    tokio::time::sleep(Duration::from_millis(20)).await;
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis();
    tokio::time::sleep(Duration::from_millis(20)).await;
    u64::try_from(now).unwrap()
}

/// The turns in which something was noted.
fn noted(turns: &Value) -> Vec<u64> {
    let turns = turns["turns"].as_array().unwrap().iter().filter(|turn| turn["operation"] == "note");
    turns.map(|turn| turn["turn"].as_u64().unwrap()).collect()
}

#[tokio::test]
async fn the_commands_for_the_past_show_fork_and_run_it_again() {
    let data = tempfile::tempdir().unwrap();
    let (node, http) = (flows(data.path()), Http::new());
    let journal = |arguments: &[&str]| node.cli(&[&["journal"], arguments].concat());
    let json = |arguments: &[&str]| -> Value { serde_json::from_str(&said(&journal(&[arguments, &["--json"]].concat()))).unwrap() };
    for what in ["a", "b"] {
        note(&http, &node, what).await;
    }
    let time = between().await;
    note(&http, &node, "c").await;
    http.ask(&node, "flows/recorder", json!({"op": "slow", "what": "d", "ms": 1})).await;

    let turns = json(&["list", RECORDER]);
    let numbers = noted(&turns);
    assert_eq!(numbers.len(), 3, "{turns}");
    let [first, second, third] = [0, 1, 2].map(|n| numbers[n].to_string());
    let table = said(&journal(&["list", RECORDER]));
    let row = |text: &str| table.lines().any(|line| line.split_whitespace().collect::<Vec<_>>().join(" ").starts_with(text));
    assert!(row("TURN ENTRY WHAT RESULT") && row(&format!("{first} note")) && row("1 sleep"), "{table}");

    let state = |arguments: &[&str]| json(&[&["state", RECORDER], arguments].concat())["state"]["notes"].clone();
    assert_eq!(state(&[]), json!(["a", "b", "c", "d"]));
    assert_eq!(state(&["--turn", &first]), json!(["a"]));
    assert_eq!(state(&["--at", &time.to_string()]), json!(["a", "b"]));
    assert_eq!(state(&["--at", "2999-01-01T00:00:00Z"]), json!(["a", "b", "c", "d"]));
    let at = turns["turns"].as_array().unwrap().iter().find(|turn| turn["turn"] == numbers[2]).unwrap()["started_at"].clone();
    let shown = said(&journal(&["state", RECORDER, "--at", at.as_str().unwrap()]));
    assert!(shown.starts_with("after turn "), "{shown}");
    let text = said(&journal(&["state", RECORDER, "--turn", &second, "--since", &first]));
    assert!(text.starts_with(&format!("after turn {second}\n")) && text.contains("\"/notes/1\""), "{text}");
    for wrong in [&["--at", "yesterday"][..], &["--at", "5", "--turn", "1"]] {
        assert_eq!(journal(&[&["state", RECORDER], wrong].concat()).status.code(), Some(2), "{wrong:?}");
    }
    let diff = |arguments: &[&str]| -> Value { serde_json::from_str(&said(&journal(&[&["diff", RECORDER], arguments].concat()))).unwrap() };
    assert_eq!(diff(&[&first, &second]), json!([{"op": "add", "path": "/notes/1", "value": "b"}]));
    assert_eq!(diff(&[&third]), json!([{"op": "add", "path": "/notes/3", "value": "d"}]));
    assert!(failed(&journal(&["state", RECORDER, "--turn", "999"])).contains("999"));

    assert_eq!(said(&journal(&["fork", RECORDER, "early", "--turn", &second])), "flows/recorder/early");
    assert!(failed(&journal(&["fork", RECORDER, "early", "--turn", &second])).contains("conflict"));
    let notes = async |key: &str| http.ask(&node, &format!("flows/recorder?actor_id={key}"), json!({"op": "notes"})).await.body;
    assert_eq!(notes("early").await, json!(["a", "b"]));
    // In the middle of the slow turn, with another payload.
    let other = ["fork", RECORDER, "other", "--turn", &third, "--entry", "1", "--payload", r#"{"what": "D", "ms": 1}"#];
    assert_eq!(said(&journal(&other)), "flows/recorder/other");
    until(async || notes("other").await == json!(["a", "b", "c", "D"])).await;
    assert_eq!(journal(&["fork", RECORDER, "x", "--payload", "{}"]).status.code(), Some(2), "a payload is that of a turn that is begun");
    assert!(failed(&journal(&["fork", RECORDER, "x", "--turn", &third, "--entry", "1", "--payload", "{"])).contains("is not JSON"));
    assert_eq!(state(&[]), json!(["a", "b", "c", "d"]), "who was forked has not changed");

    let file = data.path().join("history.json");
    std::fs::write(&file, said(&journal(&["export", RECORDER]))).unwrap();
    let file = file.to_str().unwrap().to_owned();
    drop(node);
    let again = said(&support::cli(&["replay", &file, "--wasm", &component()]));
    assert!(again.contains("turns were run again and did what they did before"), "{again}");
    let state: Value = serde_json::from_str(again.lines().last().unwrap().strip_prefix("state: ").unwrap()).unwrap();
    assert_eq!(state["notes"], json!(["a", "b", "c", "d"]));
    assert!(failed(&support::cli(&["replay", "/nowhere", "--wasm", &component()])).contains("cannot read /nowhere"));
    let echo = data.path().join("echo.wasm");
    std::fs::write(&echo, plexspaces_testkit::guests::echo()).unwrap();
    failed(&support::cli(&["replay", &file, "--wasm", echo.to_str().unwrap()]));
}

/// What both clients are to find: each note's turn, states, changes, forks and the document that runs it again.
fn found(shown: &Value, fork: &str) {
    assert_eq!(shown["notes"], json!(["a", "b", "c"]), "{shown}");
    assert_eq!(shown["under_way"], json!([]), "{shown}");
    assert_eq!(shown["states"], json!([["a"], ["a", "b"], ["a", "b", "c"]]), "{shown}");
    assert_eq!(shown["diff"], json!([{"op": "add", "path": "/notes/1", "value": "b"}]), "{shown}");
    assert_eq!(shown["fork"], json!(format!("flows/recorder/{fork}")), "{shown}");
    assert_eq!(shown["conflict"], json!("conflict"), "{shown}");
    assert_eq!(shown["exported"], json!("flows/recorder/recorder"), "{shown}");
}

#[tokio::test]
async fn the_client_of_python_shows_the_past_forks_it_and_exports_it() {
    let data = tempfile::tempdir().unwrap();
    let (node, http) = (flows(data.path()), Http::new());
    for what in ["a", "b"] {
        note(&http, &node, what).await;
    }
    let time = between().await;
    note(&http, &node, "c").await;
    let program = "\
import json, sys
from datetime import datetime, timezone
from plexspaces.client import Client
from plexspaces.errors import ConflictError
client, actor, time = Client(sys.argv[1]), 'flows/recorder/recorder', int(sys.argv[2])
noted = [turn for turn in client.history(actor) if turn.operation == 'note']
numbers = [turn.turn for turn in noted]
at = datetime.fromtimestamp(time / 1000, timezone.utc)
states = [client.state(actor, turn=numbers[0]), client.state(actor, at=at), client.state(actor)]
assert client.state(actor, at=time) == states[1]
fork = client.fork(actor, 'python', turn=numbers[1])
try:
    client.fork(actor, 'python', turn=numbers[1])
except ConflictError as error:
    conflict = error.code
print(json.dumps({
    'notes': [turn.payload['what'] for turn in noted],
    'under_way': [turn for turn in noted if turn.ended_at is None],
    'states': [shown.state['notes'] for shown in states],
    'diff': client.diff(actor, numbers[0], turn=numbers[1]),
    'fork': fork,
    'conflict': conflict,
    'exported': json.loads(client.export(actor))['actor'],
}))
";
    let mut python = Command::new("python3");
    python.args(["-c", program, &node.url, &time.to_string()]).env("PYTHONPATH", root().join("sdk/python/src"));
    let shown = said(&python.output().unwrap());
    found(&serde_json::from_str(&shown).unwrap(), "python");
    let notes = http.ask(&node, "flows/recorder?actor_id=python", json!({"op": "notes"})).await.body;
    assert_eq!(notes, json!(["a", "b"]));
}

#[tokio::test]
async fn the_client_of_rust_shows_the_past_forks_it_and_exports_it() {
    let data = tempfile::tempdir().unwrap();
    let (node, http) = (flows(data.path()), Http::new());
    for what in ["a", "b", "c"] {
        note(&http, &node, what).await;
    }
    let client = Client::connect(&node.url, None).await.unwrap();
    let (namespace, actor_type) = ("flows".to_owned(), "recorder".to_owned());
    let whose = v1::ListTurnsRequest { namespace: namespace.clone(), actor_type: actor_type.clone(), ..v1::ListTurnsRequest::default() };
    let turns = client.history(whose.clone(), 1000).await.unwrap();
    let noted: Vec<_> = turns.iter().filter(|turn| turn.operation.as_deref() == Some("note")).collect();
    let numbers: Vec<u64> = noted.iter().map(|turn| turn.turn).collect();
    let value = |value: &Option<prost_types::Value>| plexspaces_client::to_value(value.clone().unwrap()).unwrap();
    let which =
        |turn| v1::GetStateRequest { namespace: namespace.clone(), actor_type: actor_type.clone(), turn, ..v1::GetStateRequest::default() };
    let mut states = Vec::new();
    for turn in [Some(numbers[0]), Some(numbers[1]), None] {
        states.push(value(&client.state(which(turn)).await.unwrap().state)["notes"].clone());
    }
    let request = v1::ForkActorRequest {
        namespace: namespace.clone(),
        actor_type: actor_type.clone(),
        new_actor_id: "rust".to_owned(),
        turn: Some(numbers[1]),
        ..v1::ForkActorRequest::default()
    };
    let fork = client.fork(request.clone()).await.unwrap();
    let conflict = client.fork(request).await.unwrap_err();
    let export =
        v1::ExportJournalRequest { namespace: namespace.clone(), actor_type: actor_type.clone(), ..v1::ExportJournalRequest::default() };
    let exported: Value = serde_json::from_str(&client.export(export).await.unwrap()).unwrap();
    let shown = json!({
        "notes": noted.iter().map(|turn| value(&turn.payload)["what"].clone()).collect::<Vec<_>>(),
        "under_way": noted.iter().filter(|turn| turn.ended_at.is_none()).map(|turn| turn.turn).collect::<Vec<_>>(),
        "states": states,
        "diff": client.diff(numbers[0], which(Some(numbers[1]))).await.unwrap(),
        "fork": fork,
        "conflict": conflict.code().name(),
        "exported": exported["actor"],
    });
    found(&shown, "rust");
    assert_eq!(client.history(whose, 2).await.unwrap().len(), 2);
}

#[tokio::test]
async fn the_commands_for_workflows_start_pause_resume_cancel_and_terminate() {
    let data = tempfile::tempdir().unwrap();
    let (node, http) = (flows(data.path()), Http::new());
    let workflow = |arguments: &[&str]| node.cli(&[&["workflow"], arguments].concat());
    let show = |name: &str| -> Value { serde_json::from_str(&said(&workflow(&["show", name, "--json"]))).unwrap() };
    let is = async |name: &str, status: &str| until(async || show(name)["status"] == status).await;
    let asks = async |name: &str, query: &str| {
        let path = format!("flows/order?actor_id={name}&msg_type=workflow_query:{query}");
        http.ask(&node, &path, json!({})).await.body
    };
    let waits = async |name: &str| until(async || asks(name, "status").await["status"] == "paid").await;

    let started = said(&workflow(&["start", "flows/steps/one", r#"{"steps": 2, "pause_ms": 5}"#]));
    assert!(started.starts_with("flows/steps/one "), "{started}");
    is("flows/steps/one", "STATUS_COMPLETED").await;
    assert_eq!(show("flows/steps/one")["result"]["steps"], 2);
    assert!(said(&workflow(&["start", "flows/steps/one", r#"{"steps": 2, "pause_ms": 5}"#])).contains("completed"), "it is the same run");
    assert!(failed(&workflow(&["start", "flows/steps/one", r#"{"steps": 3}"#])).contains("conflict"));
    let late = said(&workflow(&["start", "flows/order/late", "--run-timeout", "2s"]));
    assert!(late.contains("\ndeadline 20"), "{late}");
    is("flows/order/late", "STATUS_TIMED_OUT").await;
    assert!(said(&workflow(&["list", "--status", "timed_out"])).contains("flows/order/late"));
    assert!(failed(&workflow(&["start", "flows/order/never", "--run-timeout", "0s"])).contains("the time of a run is 0 ms"));
    assert_eq!(workflow(&["start", "flows/order/never", "--run-timeout", "soon"]).status.code(), Some(2));
    let generated = said(&workflow(&["start", "flows/steps", r#"{"steps": 1}"#]));
    assert!(generated.starts_with("flows/steps/") && !generated.starts_with("flows/steps/one"), "{generated}");
    assert!(failed(&workflow(&["start", "flows/recorder/x"])).contains("expected a Workflow"));
    assert!(failed(&workflow(&["start", "flows/steps/two", "{"])).contains("is not JSON"));

    said(&workflow(&["start", "flows/order/o"]));
    waits("o").await;
    assert!(said(&workflow(&["pause", "flows/order/o"])).starts_with("flows/order/o "));
    is("flows/order/o", "STATUS_PAUSED").await;
    said(&workflow(&["resume", "flows/order/o"]));
    is("flows/order/o", "STATUS_RUNNING").await;
    said(&workflow(&["cancel", "flows/order/o"]));
    until(async || asks("o", "status").await["status"] == "cancelled").await;
    until(async || show("flows/order/o")["status"] != "STATUS_RUNNING").await;
    said(&workflow(&["start", "flows/order/t"]));
    waits("t").await;
    said(&workflow(&["terminate", "flows/order/t"]));
    is("flows/order/t", "STATUS_TERMINATED").await;
    assert!(failed(&workflow(&["pause", "flows/order/t"])).contains("conflict"));
    assert!(failed(&workflow(&["pause", "flows"])).contains("expected NAMESPACE/TYPE/ID"));
    let list = said(&workflow(&["list", "--namespace", "flows", "--actor-type", "order"]));
    assert!(list.contains("flows/order/o") && list.contains("flows/order/t") && list.contains("terminated"), "{list}");
}

#[tokio::test]
async fn plain_http_does_the_same() {
    let data = tempfile::tempdir().unwrap();
    let (node, http) = (flows(data.path()), Http::new());
    let post = async |path: &str, body: Value| -> Answer {
        http.send(Method::POST, &format!("{}{path}", node.url), &[("content-type", "application/json")], body.to_string()).await.unwrap()
    };
    let get = async |path: &str| http.get(&node, path).await;

    let input = json!({"namespace": "flows", "actor_type": "order", "workflow_id": "a:b", "input": {}});
    let started = post("/api/v1/workflows", input.clone()).await;
    assert_eq!((started.status, &started.body["workflow_id"]), (202, &json!("a:b")), "{}", started.body);
    let link = started.body["self_link"].as_str().unwrap().to_owned();
    assert_eq!(link, "/api/v1/workflows/a%3Ab?actor_type=order&namespace=flows");
    let is = async |status: &str| until(async || get(&link).await.body["status"] == status).await;
    assert_eq!(get("/api/v1/workflows/a:b?namespace=flows&actor_type=order").await.body["workflow_id"], "a:b");
    let changed = post("/api/v1/workflows", json!({"namespace": "flows", "actor_type": "order", "workflow_id": "a:b", "input": {"n": 1}}));
    assert_eq!(changed.await.status, 409);
    until(async || get(&link).await.body["step_count"] == 1).await;
    let which = json!({"namespace": "flows", "actor_type": "order"});
    for (verb, status) in [("pause", "STATUS_PAUSED"), ("resume", "STATUS_RUNNING"), ("terminate", "STATUS_TERMINATED")] {
        let answer = post(&format!("/api/v1/workflows/a:b:{verb}"), which.clone()).await;
        assert_eq!((answer.status, &answer.body), (200, &json!({})), "{verb}");
        is(status).await;
    }
    assert_eq!(post("/api/v1/workflows/a:b:terminate", which.clone()).await.status, 200, "it has ended so");
    assert_eq!(post("/api/v1/workflows/a:b:cancel", which.clone()).await.status, 409);
    assert_eq!(get(&link).await.body["cancel_link"], Value::Null);
    let live = async || get("/api/v1/system").await.body["actor_count"].clone();
    let before = live().await;
    assert_eq!(post("/api/v1/workflows/nobody:cancel", which.clone()).await.status, 404);
    assert_eq!(live().await, before, "nobody comes to life for it");
    let untyped = post("/api/v1/workflows/a:b:cancel", json!({"namespace": "flows"})).await;
    assert_eq!((untyped.status, &untyped.body["field_violations"][0]["field"]), (400, &json!("actor_type")), "{}", untyped.body);
    // As its link says it is cancelled without a body, and again.
    let linked = json!({"namespace": "flows", "actor_type": "order", "workflow_id": "linked", "input": {}});
    let linked = post("/api/v1/workflows", linked).await.body["cancel_link"].as_str().unwrap().to_owned();
    for _ in 0..2 {
        assert_eq!(post(&linked, json!({})).await.status, 200);
        let is_over = async || get("/api/v1/workflows/linked?actor_type=order&namespace=flows").await.body["status"] == "STATUS_CANCELLED";
        until(is_over).await;
    }
    assert_eq!(post("/api/v1/workflows/a:b/cancel", which).await.status, 404);
    // A workflow is started by a plain message too: its run is what it does when nothing is said.
    let url = format!("{}/api/v1/actors/flows/order?actor_id=plain", node.url);
    let plain = http.send(Method::POST, &url, &[], "{}").await.unwrap();
    assert_eq!(plain.status, 202, "{}", plain.body);
    let link = "/api/v1/workflows/plain?namespace=flows&actor_type=order";
    until(async || get(link).await.body["status"] == "STATUS_RUNNING").await;

    for what in ["a", "b"] {
        note(&http, &node, what).await;
    }
    let time = between().await;
    note(&http, &node, "c").await;
    let journal = "/api/v1/journals/flows/recorder";
    let numbers = noted(&get(&format!("{journal}?actor_id=recorder&page_size=1000")).await.body);
    let page = get(&format!("{journal}?page_size=1")).await.body;
    assert!(page["turns"].as_array().unwrap().len() == 1 && page["next_page_token"].is_string(), "{page}");
    let (last, before) = (numbers[numbers.len() - 1], numbers[numbers.len() - 2]);
    let state = get(&format!("{journal}/state?turn={last}&since={before}")).await.body;
    let notes = state["state"]["notes"].as_array().unwrap();
    let place = format!("/notes/{}", notes.len() - 1);
    assert_eq!(state["changes"], json!([{"op": "add", "path": place, "value": "c"}]), "{state}");
    let then = get(&format!("{journal}/state?state_at={}", rfc3339(time))).await.body;
    assert_eq!(then["state"]["notes"].as_array().unwrap().len(), notes.len() - 1, "{then}");
    let wrong = get(&format!("{journal}/state?state_at=yesterday")).await.body;
    assert_eq!(wrong["field_violations"][0]["field"], "state_at", "{wrong}");
    let forked = post(&format!("{journal}:fork"), json!({"new_actor_id": "copy", "turn": before})).await;
    assert_eq!((forked.status, &forked.body), (200, &json!({"actor_id": "flows/recorder/copy"})));
    let copy = http.ask(&node, "flows/recorder?actor_id=copy", json!({"op": "notes"})).await.body;
    assert_eq!(copy.as_array().unwrap().len(), notes.len() - 1, "{copy}");
    let exported = get(&format!("{journal}:export")).await;
    assert!(exported.status == 200 && exported.body["document"].as_str().unwrap().contains("recorder"), "{}", exported.body);
}

/// Milliseconds since 1970 as RFC 3339, by the system's `date`.
fn rfc3339(ms: u64) -> String {
    let at = format!("@{}.{:03}", ms / 1000, ms % 1000);
    said(&std::process::Command::new("date").args(["-u", "-d", &at, "+%Y-%m-%dT%H:%M:%S.%3NZ"]).output().unwrap())
}
