//! What the Python SDK's functions for lives and timers do on a real node.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod support;

use std::path::Path;

use http::Method;
use serde_json::{Value, json};
use support::{Http, Node, root, stderr, stdout, until};

struct Lab {
    node: Node,
    http: Http,
    _data: tempfile::TempDir,
}

impl Lab {
    fn start() -> Self {
        Self::started(&[], "")
    }

    /// On a node with these arguments, and with more in the application's configuration.
    fn started(arguments: &[&str], config: &str) -> Self {
        let data = tempfile::tempdir().unwrap();
        let node = Node::start_with(data.path(), arguments);
        deploy(&node, data.path(), config);
        Self { node, http: Http::new(), _data: data }
    }

    async fn ask(&self, actor: &str, operation: &str, payload: Value) -> (u16, Value) {
        let (kind, key) = actor.split_once('/').unwrap();
        let url = format!("{}/api/v1/actors/lives/{kind}?actor_id={key}&msg_type={operation}&invocation=call", self.node.url);
        let answer = self.http.send(Method::POST, &url, &[], payload.to_string()).await.unwrap();
        (answer.status, answer.body)
    }

    /// Calls a function of `host` in the watcher.
    async fn host(&self, call: &str, arguments: Value, options: Value) -> Value {
        let (status, reply) = self.ask("watcher/w", "do", json!({"call": call, "arguments": arguments, "options": options})).await;
        assert_eq!(status, 200, "{call}{arguments}: {reply}");
        reply["result"].clone()
    }

    async fn heard(&self) -> Vec<Value> {
        self.ask("watcher/w", "heard", json!({})).await.1["heard"].as_array().unwrap().clone()
    }

    async fn hears(&self, wanted: Value) {
        until(async || self.heard().await.contains(&wanted)).await;
    }
}

fn deploy(node: &Node, directory: &Path, config: &str) {
    let source = root().join("crates/cli/tests/guests/lives/lives.py");
    let component = plexspaces_testkit::python::component(&source).unwrap();
    let path = directory.join("app-config.toml");
    std::fs::write(&path, format!("[app]\nname = 'lives'\nnamespace = 'lives'\n{config}")).unwrap();
    let deployed = node.cli(&["deploy", "--wasm", component.to_str().unwrap(), "--config", path.to_str().unwrap()]);
    assert!(deployed.status.success(), "{}", stderr(&deployed));
}

#[tokio::test]
async fn python_actors_watch_link_start_and_stop_each_other() {
    let lab = Lab::start();
    let spawned = lab.host("spawn", json!(["mortal", "one", {"colour": "red"}]), json!({})).await;
    assert_eq!(spawned, json!("lives/mortal/one"));
    assert_eq!(lab.ask("mortal/one", "ping", json!({})).await.1, json!({"args": {"colour": "red", "role": "mortal"}}));
    let twice = lab.ask("watcher/w", "do", json!({"call": "spawn", "arguments": ["mortal", "one"]})).await;
    assert!(twice.1["message"].as_str().unwrap().contains("lives already"), "{}", twice.1);

    let watched = lab.host("monitor", json!([spawned]), json!({})).await;
    assert_eq!(lab.ask("mortal/one", "leave", json!({})).await.1, json!({"lived": true}));
    lab.hears(json!(["down", watched, spawned, "normal"])).await;

    let two = lab.host("spawn", json!(["mortal", "two"]), json!({})).await;
    let watched = lab.host("monitor", json!([two]), json!({})).await;
    assert_eq!(lab.host("stop", json!([two]), json!({})).await, json!(true));
    lab.hears(json!(["down", watched, two, "shutdown"])).await;
    assert_eq!(lab.host("stop", json!(["lives/mortal/nobody"]), json!({})).await, json!(false));
    // Who was spawned and has ended is nobody: no message brings it back.
    for ended in ["mortal/one", "mortal/two"] {
        let (status, body) = lab.ask(ended, "ping", json!({})).await;
        assert_eq!((status, body["reason"].as_str()), (404, Some("not_found")), "{body}");
    }
    let watched = lab.host("monitor", json!([two]), json!({})).await;
    lab.hears(json!(["down", watched, two, "noproc"])).await;
    lab.host("link", json!([two]), json!({})).await;
    lab.hears(json!(["exit", two, "error: noproc"])).await;

    // A watch that is ended is silent, and so is a link.
    let three = lab.host("spawn", json!(["mortal", "three"]), json!({})).await;
    let ended = lab.host("monitor", json!([three]), json!({})).await;
    for _ in 0..2 {
        lab.host("demonitor", json!([ended]), json!({})).await;
    }
    lab.host("link", json!([three]), json!({})).await;
    lab.host("unlink", json!([three]), json!({})).await;
    let watched = lab.host("monitor", json!([three]), json!({})).await;
    assert_eq!(lab.ask("mortal/three", "fail", json!({})).await.0, 500);
    lab.hears(json!(["down", watched, three, "error: RuntimeError: boom"])).await;

    // Who handles exits hears of them; who does not shares the fate.
    let (four, five) = (lab.host("spawn", json!(["mortal", "four"]), json!({})).await, json!("lives/mortal/five"));
    lab.host("spawn", json!(["mortal", "five"]), json!({})).await;
    lab.host("link", json!([five]), json!({})).await;
    assert_eq!(lab.ask("mortal/five", "tie", json!({"peer": four})).await.0, 200);
    assert_eq!(lab.ask("mortal/four", "fail", json!({})).await.0, 500);
    lab.hears(json!(["exit", five, "error: RuntimeError: boom"])).await;
    let heard = lab.heard().await;
    assert!(!heard.iter().any(|of| of[1] == ended || *of == json!(["exit", three, "error: RuntimeError: boom"])), "{heard:?}");
}

#[tokio::test]
async fn python_actors_have_timers_and_reminders() {
    let lab = Lab::start();
    let tick = |of: &str| json!({"of": of});
    lab.host("send_after", json!([50, "tick", tick("once")]), json!({})).await;
    let every = lab.host("timer_start", json!(["tick", tick("every")]), json!({"every_ms": 50})).await;
    lab.host("timer_start", json!(["tick", tick("never")]), json!({"after_ms": 60_000, "name": "late"})).await;
    lab.host("timer_start", json!(["tick", tick("cron")]), json!({"cron": "* * * * * *"})).await;
    lab.host("reminder_register", json!(["daily", "tick", tick("reminder")]), json!({"after_ms": 50})).await;
    for of in ["once", "every", "cron", "reminder"] {
        lab.hears(json!(["tick", of])).await;
    }
    assert_eq!(lab.host("timer_cancel", json!([every]), json!({})).await, json!(true));
    assert_eq!(lab.host("timer_cancel", json!([every]), json!({})).await, json!(false));
    assert_eq!(lab.host("timer_cancel", json!(["late"]), json!({})).await, json!(true));
    assert_eq!(lab.host("reminder_unregister", json!(["daily"]), json!({})).await, json!(false), "it was due once");
    let count = async |of: &str| lab.heard().await.iter().filter(|heard| heard[1] == of).count();
    let before = count("every").await;
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    assert_eq!((count("once").await, count("every").await, count("never").await), (1, before, 0));
}

/// An application with two children.
const SUPERVISED: &str = "[supervisor]\nmax_restarts = 100\n\
    children = [{ id = 'one', type = 'mortal' }, { id = 'two', type = 'mortal' }]\n";

#[tokio::test]
async fn the_history_of_supervisors_outlives_a_kill_of_the_node_and_comes_page_by_page() {
    let data = tempfile::tempdir().unwrap();
    let (node, http) = (Node::start(data.path()), Http::new());
    deploy(&node, data.path(), SUPERVISED);
    let fail = async |node: &Node| {
        let failed = http.ask(node, "lives/two", json!({"op": "fail"})).await;
        assert_eq!((failed.status, failed.body["reason"].as_str()), (500, Some("handler_failed")), "{}", failed.body);
        until(async || http.ask(node, "lives/two", json!({"op": "ping"})).await.status == 200).await;
    };
    // In pages of two, each event as its path and what happened.
    let told = async |node: &Node| {
        let (mut told, mut token) = (Vec::new(), String::new());
        loop {
            let path = format!("/api/v1/applications/lives/supervision/events?page_size=2&page_token={token}");
            let page = http.get(node, &path).await.body;
            let events = page["events"].as_array().unwrap();
            assert!(events.len() <= 2, "{page}");
            for event in events {
                assert_eq!(event["number"], json!(told.len()), "{page}");
                told.push(format!("{} {}", event["path"].as_str().unwrap(), event["what"].as_str().unwrap()));
            }
            match page["next_page_token"].as_str() {
                Some(next) => token = next.to_owned(),
                None => return told,
            }
        }
    };
    fail(&node).await;
    let restarted = ["root/two exited (error: RuntimeError: boom)", "root/two restarting because of root/two", "root/two started"];
    let before = told(&node).await;
    assert_eq!(before, [&["root started"], &restarted[..]].concat());
    node.kill();

    let node = Node::start(data.path());
    fail(&node).await;
    assert_eq!(told(&node).await, [&before[..], &["root started".to_owned()], &restarted.map(str::to_owned)].concat());
    let history = stdout(&node.cli(&["history", "lives"]));
    assert_eq!(history.lines().count(), 8, "{history}");
    assert!(node.cli(&["undeploy", "--app", "lives"]).status.success());
    deploy(&node, data.path(), SUPERVISED);
    assert_eq!(told(&node).await, ["root started"]);
}

/// What the configuration says of how the watcher lives.
const IDLE: &str = "[types.watcher]\nfacets = [{ type = 'durability' },\n \
    { type = 'virtual_actor', config = { idle_timeout = '1s', labels = { tier = 'gold' } } }]\n";

#[tokio::test]
async fn an_actor_leaves_memory_after_its_idle_time_and_is_told_its_labels() {
    let lab = Lab::started(&[], IDLE);
    assert_eq!(lab.ask("watcher/w", "labels", json!({})).await.1, json!({"tier": "gold"}));
    assert_eq!(lab.ask("watcher/w", "tick", json!({"of": "here"})).await.0, 200);
    assert_eq!(lab.ask("mortal/m", "ping", json!({})).await.0, 200);
    let here = async || {
        let actors = lab.http.get(&lab.node, "/api/v1/actors").await.body;
        let actors = actors["actors"].as_array().cloned().unwrap_or_default();
        actors.iter().map(|actor| actor["actor_id"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    // What has no idle time stays.
    until(async || here().await == ["lives/mortal/m"]).await;
    assert_eq!(lab.heard().await, [json!(["tick", "here"])]);
    until(async || here().await == ["lives/mortal/m"]).await;
}

const ACTORS: usize = 50;

#[tokio::test]
async fn under_a_budget_for_memory_actors_leave_it_and_lose_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let config = directory.path().join("node.toml");
    // Less than the node takes up itself: all leave but a few, which there are always.
    std::fs::write(&config, "[wasm]\nmemory_budget = \"1MiB\"\n").unwrap();
    let lab = Lab::started(&["--config", config.to_str().unwrap()], "");
    for key in 0..ACTORS {
        assert_eq!(lab.ask(&format!("watcher/{key}"), "tick", json!({"of": key.to_string()})).await.0, 200);
    }
    let here = async || {
        let actors = lab.http.get(&lab.node, "/api/v1/actors").await.body;
        actors["actors"].as_array().map_or(0, Vec::len)
    };
    until(async || here().await < ACTORS / 2).await;
    for key in 0..ACTORS {
        let heard = lab.ask(&format!("watcher/{key}"), "heard", json!({})).await.1;
        assert_eq!(heard, json!({"heard": [["tick", key.to_string()]]}));
    }
}
