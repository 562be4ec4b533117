//! What the Python SDK's functions for lives and timers do on a real node.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod support;

use http::Method;
use serde_json::{Value, json};
use support::{Http, Node, root, stderr, until};

struct Lab {
    node: Node,
    http: Http,
    _data: tempfile::TempDir,
}

impl Lab {
    fn start() -> Self {
        let data = tempfile::tempdir().unwrap();
        let node = Node::start(data.path());
        let source = root().join("crates/cli/tests/guests/lives/lives.py");
        let component = plexspaces_testkit::python::component(&source).unwrap();
        let deployed = node.cli(&["deploy", "--wasm", component.to_str().unwrap(), "--app", "lives", "--namespace", "lives"]);
        assert!(deployed.status.success(), "{}", stderr(&deployed));
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
