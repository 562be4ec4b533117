//! A node's life and the command line, as an operator uses them.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod support;

use std::process::{Child, Command, Stdio};
use std::sync::mpsc::Receiver;

use http::Method;
use serde_json::{Value, json};
use support::{Http, Node, PLEXSPACES, cli, example, lines_of, next_with, stderr, stdout};

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
    for said in ["memory = \"256MiB\"", "mailbox = 1024", "control_addr = \"127.0.0.1:8094\"", "dir = \"plexspaces-data/blobs\""] {
        assert!(text.contains(said), "{said} is not in {text}");
    }
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
        let head = http.send(Method::HEAD, &format!("{}{path}", node.url), &[], "").await.unwrap();
        assert_eq!((head.status, &head.body), (200, &json!("")), "{path}");
    }
    let metrics = http.get(&node, "/metrics").await.body;
    let metrics = metrics.as_str().unwrap();
    for name in
        ["plexspaces_actor_messages_total", "plexspaces_actors 1", "plexspaces_http_request_seconds", "plexspaces_store_commit_seconds"]
    {
        assert!(metrics.contains(name), "{name} is not in {metrics}");
    }
    support::check_metrics(metrics);
    assert_eq!(http.get(&node, "/openapi.json").await.body["openapi"], "3.1.0");
}

/// The command line's follower of a log, until it is dropped.
struct Following {
    child: Child,
    lines: Receiver<String>,
}

impl Following {
    fn start(node: &Node, arguments: &[&str]) -> Self {
        let mut command = Command::new(PLEXSPACES);
        command.args(["logs", "--follow", "--node", &node.url]).args(arguments).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let lines = lines_of(child.stdout.take().unwrap());
        Self { child, lines }
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A form with a component.
fn form(boundary: &str, app: &str, wasm: &[u8]) -> Vec<u8> {
    let part = |name: &str| format!("--{boundary}\r\nContent-Disposition: form-data; name=\"{name}\"");
    let text = format!("{}\r\n\r\n{app}\r\n{}; filename=\"a.wasm\"\r\n\r\n", part("app"), part("wasm"));
    [text.as_bytes(), wasm, format!("\r\n--{boundary}--\r\n").as_bytes()].concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_can_be_followed_and_each_line_names_the_trace_that_it_belongs_to() {
    let data = tempfile::tempdir().unwrap();
    let config = data.path().join("node.toml");
    std::fs::write(&config, "[log]\nformat = \"json\"\nfilter = \"error\"\n").unwrap();
    let mut command = Command::new(PLEXSPACES);
    command.args(["start", "--listen-addr", "127.0.0.1:0", "--no-default-ports", "--data-dir"]).arg(data.path().join("data"));
    // The environment stands over the file, which would have errors alone.
    command.arg("--config").arg(&config).env("RUST_LOG", "info,plexspaces_actor=debug");
    let (node, http) = (Node::spawn(command), Http::new());
    let all = Following::start(&node, &["-n", "1000"]);
    let actors = Following::start(&node, &["-n", "1000", "--actor-id", "default/hello_log/bob", "--json"]);
    next_with(&all.lines, "storage initialized");

    let (trace, boundary) = ("0af7651916cd43dd8448eb211c80319c", "a-boundary-that-no-component-has");
    let parent = format!("00-{trace}-b7ad6b7169203331-01");
    let source = data.path().join("hello_log.py");
    let code = "\"\"\"Speaks.\"\"\"\nfrom plexspaces import actor, handler, host\n\n\n@actor\nclass HelloLog:\n    \
                @handler(\"hi\")\n    def hi(self) -> None:\n        host.warn(\"so it is\")\n";
    std::fs::write(&source, code).unwrap();
    let wasm = std::fs::read(plexspaces_testkit::python::component(&source).unwrap()).unwrap();
    let kind = format!("multipart/form-data; boundary={boundary}");
    let headers = [("traceparent", parent.as_str()), ("content-type", &kind)];
    let deployed =
        http.send(Method::POST, &format!("{}/api/v1/deploy", node.url), &headers, form(boundary, "default", &wasm)).await.unwrap();
    assert_eq!(deployed.status, 201, "{}", deployed.body);
    assert_eq!(deployed.headers["x-request-id"], trace);
    let asked = http.ask(&node, "default/hello_log?actor_id=bob", json!({"op": "hi"})).await;
    assert_eq!(asked.status, 200, "{}", asked.body);

    for message in ["compiled a component", "deployed"] {
        let line: Value = serde_json::from_str(&node.logged(message)).unwrap();
        assert_eq!((line["level"].as_str(), line["trace_id"].as_str()), (Some("INFO"), Some(trace)), "{line}");
    }
    next_with(&all.lines, "deployed created=true");
    let line: Value = serde_json::from_str(&next_with(&actors.lines, "so it is")).unwrap();
    assert_eq!(line["trace_id"].as_str(), asked.headers["x-request-id"].to_str().ok(), "{line}");
    next_with(&all.lines, "default/hello_log/bob: so it is");
}

#[tokio::test]
async fn a_node_that_is_to_stop_says_so_before_it_refuses_anything() {
    let (data, http) = (tempfile::tempdir().unwrap(), Http::new());
    let config = data.path().join("node.toml");
    std::fs::write(&config, "[node]\ndrain_delay = \"5s\"\n").unwrap();
    let node = Node::start_with(data.path(), &["--config", config.to_str().unwrap()]);
    http.becomes(&node, 200).await;
    assert!(std::process::Command::new("kill").arg(node.pid()).status().unwrap().success());
    assert_eq!(http.becomes(&node, 503).await, "the node is shutting down");
    // A connection of its own, which must still be accepted.
    let other = Http::new().get(&node, "/api/v1/applications").await;
    assert_eq!(other.status, 200, "{}", other.body);
    assert_eq!(node.wait(), Some(0));
}
