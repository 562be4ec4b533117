//! A node's life and the command line, as an operator uses them.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod support;

use std::path::Path;
use std::process::Command;

use http::Method;
use serde_json::{Value, json};
use support::{Http, Node, PLEXSPACES, cli, example, stderr, stdout};

#[tokio::test]
async fn sigterm_finishes_what_was_accepted_and_ends_with_zero() {
    let data = tempfile::tempdir().unwrap();
    let (node, http) = (Node::start(data.path()), Http::new());
    node.deploy_example("bank_account");
    let url = format!("{}/api/v1/actors/bank/branch?invocation=call", node.url);
    let asks: Vec<_> = (0..100)
        .map(|_| {
            let (http, url) = (http.clone(), url.clone());
            tokio::spawn(async move { http.send(Method::POST, &url, &[], r#"{"op": "deposit", "amount": 1}"#).await })
        })
        .collect();
    let first = http.send(Method::POST, &url, &[], r#"{"op": "deposit", "amount": 1}"#).await.unwrap();
    assert_eq!(first.status, 200);
    let ended = tokio::task::spawn_blocking(move || node.terminate()).await.unwrap();
    assert_eq!(ended, Some(0));
    let mut acknowledged = 1;
    for ask in asks {
        // A connection that came too late is refused; an accepted request is answered.
        if ask.await.unwrap().is_ok_and(|answer| answer.status == 200) {
            acknowledged += 1;
        }
    }
    let node = Node::start(data.path());
    assert_eq!(http.get(&node, "/api/v1/actors/bank/branch").await.body["balance"], acknowledged);
}

#[tokio::test]
async fn the_command_line_does_what_the_interface_does() {
    let data = tempfile::tempdir().unwrap();
    let node = Node::start(data.path());
    let component = example("counter");
    let wasm = component.to_str().unwrap();
    let deployed = node.cli(&["deploy", "--app", "counting", "--wasm", wasm, "--actor-type", "counter", "--json"]);
    let deployed: Value = serde_json::from_str(&stdout(&deployed)).unwrap();
    assert_eq!(deployed["application"]["actor_ids"], json!(["default/counter/counter"]));
    assert!(stdout(&node.cli(&["list"])).contains("default    counting"));
    let reply = node.cli(&["invoke", "default/counter/bob", "increment", r#"{"amount": 3}"#]);
    assert_eq!(stdout(&reply), "{\"count\":3}\n");
    let told = node.cli(&["invoke", "counter", "increment", "--tell"]);
    assert!(stdout(&told).contains("\"accepted\""), "{}", stderr(&told));
    let status = node.cli(&["status"]);
    assert!(stdout(&status).contains("applications 1") && stdout(&status).contains("store ok"), "{}", stdout(&status));
    let logs = node.cli(&["logs", "-n", "1000"]);
    assert!(stdout(&logs).contains("deployed"), "{}", stdout(&logs));
    for stored in ["KeyValue", "Locks", "Journal", "Blob"] {
        assert!(stdout(&logs).contains(&format!("{stored} storage initialized")), "{}", stdout(&logs));
    }
    assert!(node.cli(&["undeploy", "--app", "counting"]).status.success());
    let gone = node.cli(&["invoke", "counter", "get"]);
    assert_eq!(gone.status.code(), Some(1));
    assert!(stderr(&gone).contains("not_found"), "{}", stderr(&gone));
}

#[tokio::test]
async fn the_facets_of_an_actor_are_listed_attached_and_detached() {
    let data = tempfile::tempdir().unwrap();
    let node = Node::start(data.path());
    node.deploy_example("counter");
    let facets = |arguments: &[&str]| node.cli(&[&["facets"], arguments].concat());
    let bob = "default/counter/bob";
    assert_eq!(stdout(&facets(&["list", bob])), "no facets wrap the actor\n");
    let attach = |priority: &str| facets(&["attach", bob, "caching", r#"{"operations": ["get"]}"#, "--priority", priority]);
    assert_eq!(stdout(&attach("60")), "attached\n");
    assert_eq!(stdout(&attach("61")), "replaced\n");
    let listed = stdout(&facets(&["list", bob]));
    let row: Vec<&str> = listed.lines().nth(1).unwrap().split_whitespace().collect();
    assert_eq!(row, ["caching", "61", r#"{"operations":["get"]}"#]);
    let json: Value = serde_json::from_str(&stdout(&facets(&["list", bob, "--json"]))).unwrap();
    assert_eq!(json["facets"][0]["type"], "caching");
    for (config, said) in [("[", "is not a JSON object"), (r#"{"operation": ["get"]}"#, "is \"operation\" meant to be it?")] {
        let refused = facets(&["attach", bob, "caching", config]);
        assert_eq!(refused.status.code(), Some(1));
        assert!(stderr(&refused).contains(said), "{}", stderr(&refused));
    }
    assert_eq!(stdout(&facets(&["detach", bob, "caching"])), "detached\n");
    let gone = facets(&["detach", bob, "caching"]);
    assert_eq!(gone.status.code(), Some(1));
    assert!(stderr(&gone).contains("the actor has no facet \"caching\""), "{}", stderr(&gone));
}

#[test]
fn configurations_can_be_dumped_checked_and_described() {
    let dump = cli(&["config", "dump", "--node-id", "n7", "--listen-addr", "127.0.0.1:9999"]);
    let text = stdout(&dump);
    assert!(text.contains("id = \"n7\"") && text.contains("127.0.0.1:9999") && text.contains("[limits]"), "{text}");
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("node.toml");
    std::fs::write(&path, text).unwrap();
    assert!(cli(&["config", "check", path.to_str().unwrap()]).status.success());
    for arguments in [vec!["config", "schema"], vec!["config", "schema", "--app"]] {
        let schema: Value = serde_json::from_str(&stdout(&cli(&arguments))).unwrap();
        assert!(schema["properties"].is_object());
    }
    for shell in ["bash", "zsh", "fish"] {
        assert!(stdout(&cli(&["completions", shell])).contains("plexspaces"));
    }
    let secret = cli(&["config", "dump", "--admin-token", "a-very-secret-token"]);
    assert!(!stdout(&secret).contains("a-very-secret-token"));
}

#[tokio::test]
async fn a_node_that_can_be_reached_from_outside_makes_a_token() {
    let data = tempfile::tempdir().unwrap();
    let mut command = Command::new(PLEXSPACES);
    command.args(["start", "--listen-addr", "0.0.0.0:0", "--no-default-ports", "--data-dir"]).arg(data.path());
    let mut node = Node::spawn(command);
    node.url = node.url.replace("0.0.0.0", "127.0.0.1");
    let line = node.line_with("export PLEXSPACES_TOKEN=");
    let token = line.split('=').nth(1).unwrap();
    let http = Http::new();
    let list = format!("{}/api/v1/applications", node.url);
    let refused = http.send(Method::GET, &list, &[], "").await.unwrap();
    assert_eq!((refused.status, refused.body["code"].as_str()), (401, Some("UNAUTHENTICATED")));
    let accepted = http.send(Method::GET, &list, &[("authorization", &format!("Bearer {token}"))], "").await.unwrap();
    assert_eq!(accepted.status, 200);
    assert_eq!(http.get(&node, "/health/live").await.status, 200);
}

#[tokio::test]
async fn health_metrics_and_the_contract_are_served() {
    let data = tempfile::tempdir().unwrap();
    let (node, http) = (Node::start(data.path()), Http::new());
    node.deploy_example("counter");
    http.ask(&node, "default/counter", json!({"op": "increment"})).await;
    for path in ["/health", "/health/live", "/health/ready", "/health/deep"] {
        assert_eq!(http.get(&node, path).await.status, 200, "{path}");
    }
    let metrics = http.get(&node, "/metrics").await.body;
    let metrics = metrics.as_str().unwrap();
    for name in
        ["plexspaces_actor_messages_total", "plexspaces_actors 1", "plexspaces_http_request_seconds", "plexspaces_store_commit_seconds"]
    {
        assert!(metrics.contains(name), "{name} is not in {metrics}");
    }
    let page = std::fs::read_to_string(support::root().join("docs/metrics.md")).unwrap();
    for name in metrics.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()) {
        assert!(page.contains(&format!("`{name}`")), "docs/metrics.md does not name {name}");
    }
    assert_eq!(http.get(&node, "/openapi.json").await.body["openapi"], "3.1.0");
}

/// A newcomer's class.
fn hello(greeting: &str) -> String {
    format!(
        "\"\"\"Mine.\"\"\"\nfrom plexspaces import actor, handler, state\n\n\n@actor\nclass Hello:\n    seen: int = state(default=0)\n\n    \
         @handler(\"hi\")\n    def hi(self, name: str = \"you\") -> dict:\n        self.seen += 1\n        \
         return {{\"text\": \"{greeting} \" + name, \"seen\": self.seen}}\n"
    )
}

/// `plexspaces dev` in a directory.
fn dev(directory: &Path) -> Command {
    let mut command = Command::new(PLEXSPACES);
    command.arg("dev").arg(directory).args(["--listen-addr", "127.0.0.1:0"]);
    command.env("PYTHONPATH", support::root().join("sdk/python/src"));
    command
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ten_line_class_works_at_the_first_try_and_keeps_its_state_when_it_changes() {
    let directory = tempfile::tempdir().unwrap();
    let source = directory.path().join("hello.py");
    std::fs::write(&source, hello("Hello")).unwrap();
    let (node, http) = (Node::spawn(dev(directory.path())), Http::new());
    let curl = node.line_with("curl");
    assert!(curl.contains("/api/v1/actors/default/hello?invocation=call"), "{curl}");
    let reply = http.ask(&node, "default/hello", json!({"op": "hi"})).await;
    assert_eq!(reply.body, json!({"text": "Hello you", "seen": 1}));
    std::fs::write(&source, hello("Moin")).unwrap();
    node.line_with("redeployed");
    let reply = http.ask(&node, "default/hello", json!({"op": "hi", "name": "Ada"})).await;
    assert_eq!(reply.body, json!({"text": "Moin Ada", "seen": 2}));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_changes_while_the_first_build_runs_is_built_too() {
    let directory = tempfile::tempdir().unwrap();
    let source = directory.path().join("hello.py");
    std::fs::write(&source, hello("Hello")).unwrap();
    let (begun, changed) = (directory.path().join(".plexspaces"), source.clone());
    let editor = std::thread::spawn(move || {
        while !begun.exists() {
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        std::fs::write(changed, hello("Moin")).unwrap();
    });
    let (node, http) = (Node::spawn(dev(directory.path())), Http::new());
    editor.join().unwrap();
    node.line_with("redeployed");
    let reply = http.ask(&node, "default/hello", json!({"op": "hi"})).await;
    assert_eq!(reply.body, json!({"text": "Moin you", "seen": 1}));
}
