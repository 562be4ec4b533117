//! What a node refuses, how it says so, and that nothing is lost by it.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod support;

use std::net::TcpListener;
use std::process::{Command, Stdio};

use http::Method;
use plexspaces_testkit::guests;
use serde_json::json;
use support::{Http, Node, PLEXSPACES, cli, example, stderr, stdout};

/// Starts a node that must not start, and returns what it says.
fn refused(arguments: &[&str]) -> String {
    let output = cli(&[&["start"], arguments].concat());
    assert_eq!(output.status.code(), Some(1), "{}", stdout(&output));
    stderr(&output)
}

#[test]
fn a_port_in_use_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let data = tempfile::tempdir().unwrap();
    let said = refused(&["--no-default-ports", "--listen-addr", &address, "--data-dir", data.path().to_str().unwrap()]);
    assert!(said.contains(&format!("error: cannot listen on {address}")) && said.contains("--listen-addr"), "{said}");
}

#[tokio::test]
async fn a_second_node_on_a_data_directory_is_refused_and_the_first_goes_on() {
    let data = tempfile::tempdir().unwrap();
    let node = Node::start(data.path());
    let said = refused(&["--no-default-ports", "--listen-addr", "127.0.0.1:0", "--data-dir", data.path().to_str().unwrap()]);
    assert!(said.contains("is in use by another node") && said.contains(&node.pid()), "{said}");
    assert_eq!(Http::new().get(&node, "/health/ready").await.status, 200);
}

#[test]
fn a_wrong_configuration_is_refused_with_its_line_and_the_nearest_key() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("node.toml");
    std::fs::write(&path, "[node]\nid = \"n\"\ndata_dirr = \"x\"\n").unwrap();
    let path = path.to_str().unwrap();
    let said = refused(&["--config", path]);
    assert!(said.contains("line 3: unknown field `data_dirr`") && said.contains("did you mean `data_dir`?"), "{said}");
    let checked = cli(&["config", "check", path]);
    assert_eq!(checked.status.code(), Some(1));
    let app = directory.path().join("app-config.toml");
    std::fs::write(&app, "[supervisor]\nstrategy = \"one_for_one\"\nmax_restarts = \"many\"\n").unwrap();
    let checked = cli(&["config", "check", app.to_str().unwrap()]);
    assert!(stderr(&checked).contains("app-config.toml, line 3: invalid type: string \"many\", expected u32"), "{}", stderr(&checked));
    std::fs::write(&app, "[supervisor]\nmax_restart_window_secs = 5\nmax_restart_window = \"6s\"\n").unwrap();
    let checked = cli(&["config", "check", app.to_str().unwrap()]);
    let said = stderr(&checked);
    assert!(said.contains("app-config.toml, line 3: max_restart_window_secs = 5s and max_restart_window = 6s mean the same key"), "{said}");
    assert_eq!(checked.status.code(), Some(1));
    std::fs::write(&app, "[[supervisor.children]]\nid = \"a\"\ncount = 2\n[[supervisor.children]]\nid = \"b\"\ndepends_on = [\"a\"]\n")
        .unwrap();
    let checked = cli(&["config", "check", app.to_str().unwrap()]);
    assert!(checked.status.success(), "{}", stderr(&checked));
}

/// The credentials are in the environment, and half of them are none.
#[cfg(feature = "sqs")]
#[test]
fn a_start_without_the_whole_credentials_for_sqs_ends_and_does_not_tell_them() {
    let data = tempfile::tempdir().unwrap();
    let config = data.path().join("node.toml");
    std::fs::write(&config, "[channels.sqs]\nregion = \"eu-west-1\"\nendpoint = \"http://127.0.0.1:1\"\n").unwrap();
    for (there, missing) in [("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"), ("AWS_SECRET_ACCESS_KEY", "AWS_ACCESS_KEY_ID")] {
        let mut command = Node::command(data.path(), &[]);
        command.arg("--config").arg(&config).env(there, "s3cret").env_remove(missing);
        let output = command.output().unwrap();
        let said = stderr(&output);
        assert!(output.status.code() == Some(1) && !said.contains("s3cret"), "{said}");
        assert!(said.contains(&format!("[channels.sqs]: the environment variable {missing} is not set")), "{said}");
    }
}

#[test]
fn variables_that_nothing_reads_are_refused_and_those_of_others_are_not() {
    let data = tempfile::tempdir().unwrap();
    for (name, expected) in [
        ("PLEXSPACES_JWT_SECRET", "is not supported by this version: a node knows one credential"),
        ("PLEXSPACES_CLUSTER_NAME", "is not supported by this version: nodes form no cluster"),
        ("PLEXSPACES_SEED_NODES", "is not supported by this version: nodes form no cluster"),
        ("PLEXSPACES_ADMIN_TOKN", "did you mean `PLEXSPACES_ADMIN_TOKEN`?"),
        ("PLEXSPACES_DISABLE_AUTHN", "did you mean `PLEXSPACES_DISABLE_AUTH`?"),
    ] {
        let output = Node::command(data.path(), &[]).env(name, "x").output().unwrap();
        let said = stderr(&output);
        assert!(output.status.code() == Some(1) && said.contains(name) && said.contains(expected), "{said}");
    }
    let mut command = Command::new(PLEXSPACES);
    let others = [("SECRET_LLM_KEY", "x"), ("SERVICE_HOST", "x"), ("PORT", "tcp://x"), ("PORT_8080_TCP_ADDR", "x"), ("BENCH_SECONDS", "1")];
    let output = command.args(["config", "dump"]).envs(others.map(|(name, value)| (format!("PLEXSPACES_{name}"), value))).output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
}

#[test]
fn a_node_that_requires_authentication_does_not_start_without() {
    let data = tempfile::tempdir().unwrap();
    let config = data.path().join("node.toml");
    std::fs::write(&config, "[security]\nrequire_auth = true\n").unwrap();
    for (name, value, expected) in [
        ("PLEXSPACES_NODE_ID", "n", "security.require_auth is true and there are no credentials"),
        ("PLEXSPACES_DISABLE_AUTH", "1", "security.require_auth is true and authentication is disabled"),
    ] {
        let output = Node::command(data.path(), &["--config", config.to_str().unwrap()]).env(name, value).output().unwrap();
        assert!(output.status.code() == Some(1) && stderr(&output).contains(expected), "{}", stderr(&output));
    }
}

#[tokio::test]
async fn the_variable_that_disables_authentication_stands_over_a_token_in_the_file() {
    let (data, http) = (tempfile::tempdir().unwrap(), Http::new());
    let config = data.path().join("node.toml");
    std::fs::write(&config, "[security]\nadmin_token = \"0123456789abcdef\"\n").unwrap();
    for (value, status) in [("1", 200), ("0", 401)] {
        let mut command = Node::command(data.path(), &["--config", config.to_str().unwrap()]);
        command.env("PLEXSPACES_DISABLE_AUTH", value);
        let node = Node::spawn(command);
        assert_eq!(http.get(&node, "/api/v1/system").await.status, status);
        node.terminate();
    }
}

#[test]
fn a_damaged_or_foreign_database_is_refused_with_what_to_do() {
    let data = tempfile::tempdir().unwrap();
    std::fs::write(data.path().join("plexspaces.db"), "this is no database, but a letter to a friend").unwrap();
    let said = refused(&["--no-default-ports", "--listen-addr", "127.0.0.1:0", "--data-dir", data.path().to_str().unwrap()]);
    assert!(said.contains("plexspaces.db") && said.contains("error: "), "{said}");
    let kept = std::fs::read_to_string(data.path().join("plexspaces.db")).unwrap();
    assert_eq!(kept, "this is no database, but a letter to a friend");
}

#[tokio::test]
async fn what_is_no_component_of_this_world_is_refused() {
    let data = tempfile::tempdir().unwrap();
    let node = Node::start(data.path());
    let directory = tempfile::tempdir().unwrap();
    let deploy = |name: &str, bytes: &[u8]| {
        let path = directory.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        let output = node.cli(&["deploy", "--wasm", path.to_str().unwrap()]);
        assert_eq!(output.status.code(), Some(1), "{name}: {}", stdout(&output));
        stderr(&output)
    };
    for (name, bytes) in [
        ("text", b"not wasm at all".to_vec()),
        ("empty", Vec::new()),
        ("module", guests::core_module()),
        ("world", guests::wrong_world()),
        ("nobody", guests::no_actor()),
    ] {
        let said = deploy(name, &bytes);
        assert!(said.contains("invalid_component") || said.contains("invalid_argument"), "{name}: {said}");
    }
    assert_eq!(stdout(&node.cli(&["list"])), "nothing is deployed\n");
}

#[tokio::test]
async fn requests_that_cannot_be_served_get_the_error_shape() {
    let data = tempfile::tempdir().unwrap();
    let (node, http) = (Node::start(data.path()), Http::new());
    node.deploy_example("bank_account");
    let actors = format!("{}/api/v1/actors", node.url);
    let post = async |path: &str, body: &str| http.send(Method::POST, &format!("{actors}/{path}"), &[], body.to_owned()).await.unwrap();
    let cases = [
        ("bank/bank_account?invocation=call", "{broken", 400, "invalid_argument"),
        ("bank/bank_account?invocation=call", r#"{"op": "nonsense"}"#, 404, "unknown_operation"),
        ("bank/bank_account?invocation=call", r#"{"op": "deposit"}"#, 400, "invalid_argument"),
        ("bank/bank_account?invocation=call", r#"{"amount": 5}"#, 400, "invalid_argument"),
        ("bank/bank_account", "", 400, "invalid_argument"),
        ("bank/nobody?invocation=call", r#"{"op": "get"}"#, 404, "not_found"),
        ("bank/bank_account?invocation=sometimes", r#"{"op": "get"}"#, 400, "invalid_argument"),
    ];
    for (path, body, status, reason) in cases {
        let answer = post(path, body).await;
        assert_eq!((answer.status, answer.body["reason"].as_str()), (status, Some(reason)), "{path} {body}: {}", answer.body);
        assert!(answer.body["request_id"].is_string() && answer.body["retryable"].is_boolean(), "{}", answer.body);
    }
    let missing = post("bank/bank_account?invocation=call", r#"{"op": "deposit"}"#).await;
    assert_eq!(missing.body["field_violations"][0]["field"], "amount");
    // None of that cost the account anything.
    assert_eq!(http.get(&node, "/api/v1/actors/bank/branch").await.body, json!({"balance": 0, "transaction_count": 0}));
}

#[tokio::test]
async fn a_crash_in_the_code_rolls_back_and_tells_the_caller_no_internals() {
    let directory = tempfile::tempdir().unwrap();
    let source = directory.path().join("fragile.py");
    std::fs::write(
        &source,
        r#""""An actor that fails half-way."""
from plexspaces import actor, handler, host, state


@actor(facets=["durability"])
class Fragile:
    count: int = state(default=0)

    @handler("add")
    def add(self, then: str = "") -> dict:
        self.count += 1
        host.kv_put("count", str(self.count))
        if then == "raise":
            raise RuntimeError("secret path /etc/plexspaces")
        if then == "loop":
            while True:
                pass
        if then == "recurse":
            return self.add(then)
        if then == "set":
            return {"a", "set"}
        if then == "exit":
            raise SystemExit(3)
        if then == "hoard":
            self.hoard = []
            while True:
                self.hoard.append(bytearray(1 << 20))
        return {"count": self.count, "kv": host.kv_get("count")}
"#,
    )
    .unwrap();
    let component = plexspaces_testkit::python::component(&source).unwrap();
    let config = directory.path().join("app-config.toml");
    std::fs::write(&config, "[app]\nname = \"fragile\"\nnamespace = \"default\"\n[limits]\nturn_cpu = \"3s\"\nmemory = \"64MiB\"\n[supervisor]\nmax_restarts = 100\n").unwrap();
    let data = tempfile::tempdir().unwrap();
    let (node, http) = (Node::start(data.path()), Http::new());
    let deployed = node.cli(&["deploy", "--wasm", component.to_str().unwrap(), "--config", config.to_str().unwrap()]);
    assert!(deployed.status.success(), "{}", stderr(&deployed));
    assert_eq!(http.ask(&node, "default/fragile", json!({"op": "add"})).await.body, json!({"count": 1, "kv": "1"}));
    for (then, reason, message) in [
        ("raise", "handler_failed", "RuntimeError: secret path /etc/plexspaces"),
        ("recurse", "handler_failed", "RecursionError"),
        ("set", "handler_failed", "reply is of type set"),
        ("exit", "handler_failed", "SystemExit: 3"),
        ("loop", "limit_exceeded", "CPU time"),
        ("hoard", "", "emory"),
    ] {
        let key = format!("default/fragile?actor_id={then}");
        http.ask(&node, &key, json!({"op": "add"})).await;
        let answer = http.ask(&node, &key, json!({"op": "add", "then": then})).await;
        assert_eq!(answer.status, 500, "{then}: {}", answer.body);
        let text = answer.body.to_string();
        assert!(text.contains(message) && !text.contains("Traceback"), "{then}: {text}");
        assert!(reason.is_empty() || answer.body["reason"] == reason, "{then}: {text}");
        let after = http.ask(&node, &key, json!({"op": "add"})).await;
        assert_eq!(after.body, json!({"count": 2, "kv": "2"}), "{then}");
    }
}

#[tokio::test]
async fn a_full_disk_refuses_the_change_and_keeps_what_was_there() {
    let mount = tempfile::tempdir().unwrap();
    let path = mount.path().to_str().unwrap().to_owned();
    let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=96m", "tmpfs", &path]).status().unwrap();
    assert!(mounted.success(), "this test needs the right to mount a tmpfs");
    let _unmount = Unmount(path.clone());
    let (node, http) = (Node::start(mount.path()), Http::new());
    node.deploy_example("bank_account");
    http.ask(&node, "bank/branch", json!({"op": "deposit", "amount": 5})).await;
    // What is left of the disk goes to a file, so that the database has no room to grow.
    let filler = mount.path().join("filler");
    let filled = std::io::copy(&mut std::io::repeat(0), &mut std::fs::File::create(&filler).unwrap());
    assert!(filled.is_err());
    let memo = "x".repeat(2 << 20);
    let refused = http.ask(&node, "bank/branch", json!({"op": "deposit", "amount": 1, "memo": memo})).await;
    assert_eq!((refused.status, refused.body["reason"].as_str()), (503, Some("storage_full")), "{}", refused.body);
    assert_eq!(http.get(&node, "/api/v1/actors/bank/branch").await.body["balance"], 5);
    std::fs::remove_file(filler).unwrap();
    let accepted = http.ask(&node, "bank/branch", json!({"op": "deposit", "amount": 1, "memo": memo})).await;
    assert_eq!((accepted.status, &accepted.body["balance"]), (200, &json!(6)), "{}", accepted.body);
    node.kill();
}

struct Unmount(String);

impl Drop for Unmount {
    fn drop(&mut self) {
        let _ = Command::new("umount").args(["-l", &self.0]).status();
    }
}

#[test]
fn wrong_usage_ends_with_status_two_and_a_failure_with_one() {
    assert_eq!(cli(&["frobnicate"]).status.code(), Some(2));
    assert_eq!(cli(&["deploy"]).status.code(), Some(2));
    let unreachable = cli(&["list", "--node", "http://127.0.0.1:9"]);
    assert_eq!(unreachable.status.code(), Some(1));
    assert!(stderr(&unreachable).contains("no node answers at http://127.0.0.1:9"), "{}", stderr(&unreachable));
    let missing = cli(&["deploy", "--wasm", "/nonexistent.wasm"]);
    assert!(stderr(&missing).contains("cannot read /nonexistent.wasm"));
}

#[test]
fn output_that_cannot_be_written_is_an_error_and_output_that_nobody_reads_is_the_end() {
    let run = |arguments: &[&str], to: Stdio| Command::new(PLEXSPACES).args(arguments).stdout(to).stderr(Stdio::piped()).output().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("node.toml");
    std::fs::write(&file, "").unwrap();
    let check = ["config", "check", file.to_str().unwrap()];
    for arguments in [&["completions", "zsh"][..], &["config", "dump"], &["config", "schema"], &check] {
        let full = run(arguments, std::fs::File::create("/dev/full").unwrap().into());
        assert_eq!(full.status.code(), Some(1), "{arguments:?}");
        assert!(stderr(&full).starts_with("error: cannot write the output: No space left"), "{arguments:?}: {}", stderr(&full));
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let unread = run(arguments, writer.into());
        assert_eq!((unread.status.code(), stderr(&unread).as_str()), (Some(0), ""), "{arguments:?}");
    }
}

#[tokio::test]
async fn a_cached_component_that_is_damaged_is_compiled_again() {
    let data = tempfile::tempdir().unwrap();
    // Its own.
    std::fs::create_dir(data.path().join("compiled")).unwrap();
    let node = Node::start(data.path());
    node.deploy_example("counter");
    node.kill();
    for entry in std::fs::read_dir(data.path().join("compiled")).unwrap() {
        std::fs::write(entry.unwrap().path(), "not machine code").unwrap();
    }
    let (node, http) = (Node::start(data.path()), Http::new());
    assert_eq!(http.ask(&node, "default/counter", json!({"op": "increment"})).await.body, json!({"count": 1}));
    assert!(example("counter").is_file());
}

#[test]
fn a_check_refuses_what_a_start_refuses_and_says_everything_once() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("node.toml");
    for (text, says) in [
        ("[log]\nfilter = \"][\"", "log.filter"),
        ("[store]\nbackend = \"postgres\"", "store.url is missing"),
        ("[limits]\nmailbox = 0", "limits.mailbox"),
    ] {
        std::fs::write(&file, text).unwrap();
        let output = cli(&["config", "check", file.to_str().unwrap()]);
        assert!(output.status.code() == Some(1) && stderr(&output).contains(says), "{text}: {}", stderr(&output));
    }
    let said = stderr(&cli(&["config", "check", "/nonexistent.toml"]));
    assert_eq!(said.matches("No such file").count(), 1, "{said}");
}

#[test]
fn a_host_may_be_a_name_and_needs_a_port() {
    let directory = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("localhost:{}", taken.local_addr().unwrap().port());
    let said = refused(&["--no-default-ports", "--listen-addr", &address, "--data-dir", directory.path().to_str().unwrap()]);
    assert_eq!(said.matches("Address already in use").count(), 1, "{said}");
    let output = cli(&["start", "--listen-addr", "8090"]);
    assert!(output.status.code() == Some(2) && stderr(&output).contains("expected HOST:PORT"), "{}", stderr(&output));
}
