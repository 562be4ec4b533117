//! A node whose store is a database elsewhere, which comes late, goes and comes back.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

mod support;

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use http::Method;
use plexspaces_testkit::servers::{Postgres, Redis};
use serde_json::json;
use support::{Http, Node, PLEXSPACES, cli, stderr, stdout};

/// A database that a node can have.
trait Database {
    /// Its name in the configuration.
    const BACKEND: &str;
    fn url(&self) -> String;
    fn stop(&mut self);
    fn again(&mut self);
    fn kill(&mut self);
}

macro_rules! database {
    ($server:ty, $backend:literal) => {
        impl Database for $server {
            const BACKEND: &str = $backend;

            fn url(&self) -> String {
                <$server>::url(self)
            }

            fn stop(&mut self) {
                <$server>::stop(self);
            }

            fn again(&mut self) {
                <$server>::again(self).unwrap();
            }

            fn kill(&mut self) {
                <$server>::kill(self).unwrap();
            }
        }
    };
}

database!(Postgres, "postgres");
database!(Redis, "redis");

fn config(backend: &str) -> String {
    format!("[store]\nbackend = \"{backend}\"\npool_size = 4\ntimeout = \"3s\"\n")
}

/// A node with its data in a directory, whose configuration is there too.
fn node<D: Database>(data: &Path, server: &D) -> Node {
    let file = data.join("node.toml");
    std::fs::write(&file, config(D::BACKEND)).unwrap();
    let mut command = Command::new(PLEXSPACES);
    command.args(["start", "--listen-addr", "127.0.0.1:0", "--no-default-ports", "--data-dir"]).arg(data);
    command.arg("--config").arg(file).env("PLEXSPACES_STORE_URL", server.url());
    Node::spawn(command)
}

async fn becomes(http: &Http, node: &Node, ready: u16) {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let answer = http.get(node, "/health/ready").await;
        if answer.status == ready {
            return;
        }
        assert!(Instant::now() < deadline, "{} {}", answer.status, answer.body);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_waits_for_its_database_and_loses_nothing_when_it_is_killed() {
    survives(Postgres::start().unwrap()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_waits_for_redis_and_loses_nothing_when_it_is_killed() {
    survives(Redis::start().unwrap()).await;
}

async fn survives<D: Database>(mut server: D) {
    let (data, http) = (tempfile::tempdir().unwrap(), Http::new());
    server.stop();
    let mut running = node(data.path(), &server);
    assert_eq!(http.get(&running, "/health/live").await.status, 200);
    let answer = http.get(&running, "/health/ready").await;
    assert_eq!(answer.status, 503);
    assert!(answer.body["message"].as_str().unwrap().contains(&format!("the store ({}) does not answer", D::BACKEND)), "{}", answer.body);
    assert_eq!(http.get(&running, "/api/v1/applications").await.status, 503);
    server.again();
    becomes(&http, &running, 200).await;
    running.line_with("plexspaces is ready on");
    running.deploy_example("bank_account");

    // Each deposit is repeated under its key until it is acknowledged, whatever ends meanwhile.
    for n in 0..40_u32 {
        match n {
            5 | 15 => {
                server.kill();
                let body = json!({"op": "deposit", "amount": 7}).to_string();
                let url = format!("{}/api/v1/actors/bank/bank_account?invocation=call", running.url);
                let answer = http.send(Method::POST, &url, &[("idempotency-key", &format!("deposit-{n:012}"))], body).await.unwrap();
                assert!(answer.status >= 500, "{}: {}", answer.status, answer.body);
                becomes(&http, &running, 503).await;
                assert_eq!(http.get(&running, "/health/live").await.status, 200);
                server.again();
                becomes(&http, &running, 200).await;
            }
            25 => {
                running.kill();
                running = node(data.path(), &server);
            }
            _ => {}
        }
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            let body = json!({"op": "deposit", "amount": 7}).to_string();
            let url = format!("{}/api/v1/actors/bank/bank_account?invocation=call", running.url);
            let answer = http.send(Method::POST, &url, &[("idempotency-key", &format!("deposit-{n:012}"))], body).await;
            match answer {
                Ok(answer) if answer.status == 200 => break,
                Ok(answer) => assert!(answer.status >= 500 && Instant::now() < deadline, "{}: {}", answer.status, answer.body),
                Err(error) => panic!("{error}"),
            }
        }
    }
    let reply = http.ask(&running, "bank/bank_account", json!({"op": "replay"})).await;
    assert_eq!(reply.body, json!({"balance": 280, "replayed": 280, "consistent": true}));
    assert_eq!(running.terminate(), Some(0));
}

#[test]
fn what_a_start_and_a_dump_say_does_not_hold_the_password() {
    refuses(&Postgres::start().unwrap(), "plex:(hidden)", Postgres::PASSWORD, "password authentication failed");
    refuses(&Redis::start().unwrap(), ":(hidden)", Redis::PASSWORD, "WRONGPASS");
}

fn refuses<D: Database>(server: &D, shown: &str, password: &str, refusal: &str) {
    let data = tempfile::tempdir().unwrap();
    let file = data.path().join("node.toml");
    std::fs::write(&file, config(D::BACKEND)).unwrap();
    let config = file;
    let arguments = ["--config", config.to_str().unwrap(), "--store-url", &server.url()];
    let dump = stdout(&cli(&[&["config", "dump"], &arguments[..]].concat()));
    assert!(dump.contains(&format!("{}://{shown}@127.0.0.1:", D::BACKEND)) && !dump.contains(password), "{dump}");

    // Nothing that waiting would mend, so it does not start.
    let said = stderr(&cli(&[
        "start",
        "--data-dir",
        data.path().to_str().unwrap(),
        "--listen-addr",
        "127.0.0.1:0",
        "--config",
        config.to_str().unwrap(),
    ]));
    assert!(said.contains("store.url is missing"), "{said}");
    let wrong = server.url().replace(password, "wr0ng");
    let data_dir = data.path().to_str().unwrap();
    let start = ["start", "--listen-addr", "127.0.0.1:0", "--no-default-ports", "--data-dir", data_dir];
    let output = cli(&[&start[..], &["--config", config.to_str().unwrap(), "--store-url", &wrong]].concat());
    let said = stderr(&output) + &stdout(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains(refusal) && !said.contains("wr0ng"), "{said}");
}
