//! From a file with a class to an actor that answers, as a newcomer comes by it.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod support;

use std::path::Path;
use std::process::{Command, Output};

use serde_json::json;
use support::{Http, Node, PLEXSPACES, failed, root, said, stderr, stdout};

/// A newcomer's class.
fn hello(greeting: &str) -> String {
    format!(
        "\"\"\"Mine.\"\"\"\nfrom plexspaces import actor, handler, host, state\n\n\n@actor\nclass Hello:\n    seen: int = state(default=0)\n\n    \
         @handler(\"hi\")\n    def hi(self, name: str = \"you\") -> dict:\n        self.seen += 1\n        host.info(f\"greeting {{name}}\")\n        \
         return {{\"text\": \"{greeting} \" + name, \"seen\": self.seen}}\n"
    )
}

/// A command that can build Python's actors.
fn with_python(arguments: &[&str]) -> Command {
    let mut command = Command::new(PLEXSPACES);
    command.args(arguments).env("PYTHONPATH", root().join("sdk/python/src")).env_remove("PLEXSPACES_NODE");
    command
}

/// `plexspaces dev` in a directory.
fn dev(directory: &Path) -> Command {
    with_python(&["dev", directory.to_str().unwrap(), "--listen-addr", "127.0.0.1:0"])
}

/// A directory with the class in a file.
fn directory() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("hello.py"), hello("Hello")).unwrap();
    directory
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ten_line_class_works_at_the_first_try_and_keeps_its_state_when_it_changes() {
    let directory = directory();
    let source = directory.path().join("hello.py");
    let (node, http) = (Node::spawn(dev(directory.path())), Http::new());
    // What it says is to be tried is tried as it stands.
    let curl = node.line_with("curl");
    let tried = Command::new("sh").args(["-c", &curl]).output().unwrap();
    assert_eq!(said(&tried), r#"{"text":"Hello you","seen":1}"#, "{curl}");
    let logged = node.logged("greeting you");
    assert!(logged.contains("default/hello/hello") && logged.contains("trace_id="), "{logged}");

    std::fs::write(&source, hello("Moin")).unwrap();
    node.line_with("redeployed");
    let reply = http.ask(&node, "default/hello", json!({"op": "hi", "name": "Ada"})).await;
    assert_eq!(reply.body, json!({"text": "Moin Ada", "seen": 2}));

    std::fs::write(&source, "from plexspaces import actor\n\n@actor\nclass Hello\n").unwrap();
    let error = node.logged("error:");
    assert!(error.contains("hello.py"), "{error}");
    node.logged("the earlier version runs on");
    let reply = http.ask(&node, "default/hello", json!({"op": "hi"})).await;
    assert_eq!(reply.body, json!({"text": "Moin you", "seen": 3}));
    assert_eq!(tokio::task::spawn_blocking(move || node.terminate()).await.unwrap(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_changes_while_the_first_build_runs_is_built_too() {
    let directory = directory();
    let (begun, changed) = (directory.path().join(".plexspaces"), directory.path().join("hello.py"));
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

/// Runs a command with a terminal; gives what it shows there.
fn in_a_terminal(command: &Command) -> Output {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let line: Vec<String> = words.map(|word| format!("'{}'", word.to_str().unwrap())).collect();
    let mut script = Command::new("script");
    script.args(["--quiet", "--return", "--command", &line.join(" "), "/dev/null"]).env("TERM", "xterm");
    script.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    script.output().unwrap()
}

#[tokio::test]
async fn a_source_becomes_a_component_that_a_node_runs() {
    let directory = directory();
    let (source, data) = (directory.path().join("hello.py"), directory.path().join("data"));
    let source = source.to_str().unwrap();
    let built = with_python(&["build", source]).output().unwrap();
    let component = directory.path().join("hello.wasm");
    let component = component.to_str().unwrap();
    assert!(said(&built).starts_with(&format!("{component}: ")), "{built:?}");
    assert!(said(&built).ends_with("actor types: hello") && stderr(&built).is_empty(), "{built:?}");
    let node = Node::start(&data);
    let deploy = ["deploy", "--app", "hello", "--wasm", component, "--node", &node.url];
    // Whoever waits before a terminal sees what for.
    let shown = said(&in_a_terminal(&with_python(&deploy)));
    assert!(shown.contains("uploading") && shown.contains("compiling and starting") && shown.contains("deployed hello"), "{shown:?}");
    let quiet = with_python(&deploy).output().unwrap();
    assert!(said(&quiet).starts_with("replaced hello") && stderr(&quiet).is_empty(), "{quiet:?}");
    assert_eq!(said(&node.cli(&["invoke", "default/hello", "hi"])), r#"{"text":"Hello you","seen":1}"#);
}

#[test]
fn what_cannot_be_built_says_why_and_what_would_help() {
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let refused = |arguments: &[&str]| failed(&with_python(arguments).output().unwrap());
    let other = file("actor.rb", "class Hello; end\n");
    assert!(refused(&["build", &other]).contains("expected a Python file (.py)"));
    let undecorated = file("plain.py", "class Hello:\n    pass\n");
    let error = refused(&["build", &undecorated]);
    assert!(error.contains("@actor") && error.contains("plain.py"), "{error}");
    assert!(!directory.path().join("plain.wasm").exists());
    let shown = in_a_terminal(&with_python(&["build", &undecorated]));
    assert!(!shown.status.success() && stdout(&shown).contains("building") && stdout(&shown).contains("@actor"), "{shown:?}");
    let source = file("hello.py", &hello("Hello"));
    let mut without = with_python(&["build", &source]);
    without.env("PATH", directory.path()).env_remove("PYTHONPATH");
    let error = failed(&without.output().unwrap());
    assert!(error.contains("pip install"), "{error}");
}
