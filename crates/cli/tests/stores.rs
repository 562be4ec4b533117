//! A node whose store is a database elsewhere, which comes late, goes and comes back.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

mod support;

use std::path::{Path, PathBuf};
use std::time::Instant;

use http::Method;
#[cfg(feature = "dynamodb")]
use plexspaces_testkit::servers::DynamoDb;
use plexspaces_testkit::servers::{Postgres, Redis};
use serde_json::json;
use support::{Http, Node, PATIENCE, cli, stderr, stdout};

/// A database that a node can have.
trait Database {
    /// Its name in the configuration.
    const BACKEND: &str;
    /// What the configuration says besides its name.
    fn config(&self) -> String {
        String::new()
    }
    /// What the node's environment holds.
    fn environment(&self) -> Vec<(&'static str, String)>;
    fn stop(&mut self);
    fn again(&mut self);
    fn kill(&mut self);
}

macro_rules! database {
    ($server:ty, $backend:literal, { $($own:item)* }) => {
        impl Database for $server {
            const BACKEND: &str = $backend;

            $($own)*

            fn stop(&mut self) {
                <$server>::stop(self);
            }

            fn again(&mut self) {
                <$server>::again(self).unwrap();
            }

        }
    };
}

database!(Postgres, "postgres", {
    fn environment(&self) -> Vec<(&'static str, String)> {
        vec![("PLEXSPACES_STORE_URL", self.url())]
    }

    fn kill(&mut self) {
        Self::kill(self).unwrap();
    }
});

database!(Redis, "redis", {
    fn environment(&self) -> Vec<(&'static str, String)> {
        vec![("PLEXSPACES_STORE_URL", self.url())]
    }

    fn kill(&mut self) {
        Self::kill(self).unwrap();
    }
});

#[cfg(feature = "dynamodb")]
database!(DynamoDb, "dynamodb", {
    fn config(&self) -> String {
        format!("region = \"eu-west-1\"\nendpoint = \"{}\"\n", self.url())
    }

    fn environment(&self) -> Vec<(&'static str, String)> {
        vec![("AWS_ACCESS_KEY_ID", "plex".to_owned()), ("AWS_SECRET_ACCESS_KEY", "s3cret".to_owned())]
    }

    /// What this server has acknowledged does not survive a kill, unlike what the service has.
    fn kill(&mut self) {
        Self::stop(self);
    }
});

/// Writes a node's configuration into a directory.
fn config<D: Database>(data: &Path, server: &D) -> PathBuf {
    let file = data.join("node.toml");
    let text = format!("[store]\nbackend = \"{}\"\npool_size = 4\ntimeout = \"10s\"\n{}", D::BACKEND, server.config());
    std::fs::write(&file, text).unwrap();
    file
}

/// A node with its data in a directory, whose configuration is there too.
fn node<D: Database>(data: &Path, server: &D) -> Node {
    let mut command = Node::command(data, &[]);
    command.arg("--config").arg(config(data, server)).envs(server.environment());
    Node::spawn(command)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_waits_for_its_database_and_loses_nothing_when_it_is_killed() {
    survives(Postgres::start().unwrap()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_waits_for_redis_and_loses_nothing_when_it_is_killed() {
    survives(Redis::start().unwrap()).await;
}

#[cfg(feature = "dynamodb")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_waits_for_dynamodb_and_loses_nothing_when_it_is_stopped() {
    survives(DynamoDb::start().unwrap()).await;
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
    http.becomes(&running, 200).await;
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
                http.becomes(&running, 503).await;
                assert_eq!(http.get(&running, "/health/live").await.status, 200);
                server.again();
                http.becomes(&running, 200).await;
            }
            25 => {
                running.kill();
                running = node(data.path(), &server);
            }
            _ => {}
        }
        let deadline = Instant::now() + PATIENCE;
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
    let (postgres, redis) = (Postgres::start().unwrap(), Redis::start().unwrap());
    refuses(&postgres, &postgres.url(), "plex:(hidden)", Postgres::PASSWORD, "password authentication failed");
    refuses(&redis, &redis.url(), ":(hidden)", Redis::PASSWORD, "WRONGPASS");
}

/// The secret of DynamoDB is in the environment, so that there is nothing to dump.
#[cfg(feature = "dynamodb")]
#[test]
fn a_start_without_the_right_credentials_for_dynamodb_ends_and_does_not_tell_them() {
    let (server, data) = (DynamoDb::start().unwrap(), tempfile::tempdir().unwrap());
    let file = config(data.path(), &server);
    let start = |environment: &[(&str, &str)]| {
        let mut command = Node::command(data.path(), &[]);
        for name in ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_REGION", "AWS_DEFAULT_REGION"] {
            command.env_remove(name);
        }
        let output = command.arg("--config").arg(&file).envs(environment.iter().copied()).output().unwrap();
        let said = stderr(&output) + &stdout(&output);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(!said.contains("s3cret"), "{said}");
        said
    };
    let said = start(&[("AWS_SECRET_ACCESS_KEY", "s3cret")]);
    assert!(said.contains("AWS_ACCESS_KEY_ID is not set"), "{said}");
    let said = start(&[("AWS_ACCESS_KEY_ID", "not-a-key"), ("AWS_SECRET_ACCESS_KEY", "s3cret"), ("AWS_SESSION_TOKEN", "s3cret")]);
    assert!(said.contains("UnrecognizedClientException"), "{said}");
    std::fs::write(&file, "[store]\nbackend = \"dynamodb\"\n").unwrap();
    let said = start(&[("AWS_ACCESS_KEY_ID", "plex"), ("AWS_SECRET_ACCESS_KEY", "s3cret")]);
    assert!(said.contains("neither store.region nor AWS_REGION"), "{said}");
}

fn refuses<D: Database>(server: &D, url: &str, shown: &str, password: &str, refusal: &str) {
    let data = tempfile::tempdir().unwrap();
    let config = config(data.path(), server);
    let arguments = ["--config", config.to_str().unwrap(), "--store-url", url];
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
    let wrong = url.replace(password, "wr0ng");
    let data_dir = data.path().to_str().unwrap();
    let start = ["start", "--listen-addr", "127.0.0.1:0", "--no-default-ports", "--data-dir", data_dir];
    let output = cli(&[&start[..], &["--config", config.to_str().unwrap(), "--store-url", &wrong]].concat());
    let said = stderr(&output) + &stdout(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains(refusal) && !said.contains("wr0ng"), "{said}");
}
