//! Real nodes: the built program in a process of its own, on a free port, with its data in a temporary directory.
#![allow(dead_code, unreachable_pub, missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::io::{BufRead as _, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;

pub const PLEXSPACES: &str = env!("CARGO_BIN_EXE_plexspaces");

/// Within this everything comes to pass that does at all, however much the machine has to do besides.
pub const PATIENCE: Duration = Duration::from_secs(120);

pub fn root() -> PathBuf {
    plexspaces_testkit::repository().canonicalize().unwrap()
}

/// Each metric says what it is, and so does the page.
#[track_caller]
pub fn check_metrics(metrics: &str) {
    let page = std::fs::read_to_string(root().join("docs/metrics.md")).unwrap();
    for name in metrics.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()) {
        assert!(metrics.contains(&format!("# HELP {name} ")), "{name} has no HELP");
        assert!(page.contains(&format!("`{name}`")), "docs/metrics.md does not name {name}");
    }
}

/// The component of an example.
pub fn example(name: &str) -> PathBuf {
    plexspaces_testkit::python::component(&root().join(format!("examples/python/{name}/{name}.py"))).unwrap()
}

/// A node that is killed when the test ends, however it ends.
pub struct Node {
    child: Child,
    pub url: String,
    lines: mpsc::Receiver<String>,
    errors: mpsc::Receiver<String>,
}

impl Node {
    pub fn start(data: &Path) -> Self {
        Self::start_with(data, &[])
    }

    pub fn start_with(data: &Path, arguments: &[&str]) -> Self {
        Self::spawn(Self::command(data, arguments))
    }

    /// What [`Self::start_with`] runs.
    pub fn command(data: &Path, arguments: &[&str]) -> Command {
        std::fs::create_dir_all(data).unwrap();
        // It is there already where a node has run.
        let _ = std::os::unix::fs::symlink(plexspaces_testkit::python::compiled().unwrap(), data.join("compiled"));
        let mut command = Command::new(PLEXSPACES);
        command.args(["start", "--listen-addr", "127.0.0.1:0", "--no-default-ports", "--data-dir"]).arg(data).args(arguments);
        command
    }

    /// Waits for the line that says that it is ready.
    pub fn spawn(mut command: Command) -> Self {
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (lines, errors) = (lines_of(child.stdout.take().unwrap()), lines_of(child.stderr.take().unwrap()));
        let mut node = Self { child, url: String::new(), lines, errors };
        loop {
            match node.lines.recv_timeout(2 * PATIENCE) {
                Ok(line) => {
                    let found = line.split_whitespace().find_map(|word| word.strip_prefix("http://"));
                    if let Some(address) = found {
                        node.url = format!("http://{}", address.trim_end_matches([';', ',', '\'']));
                        return node;
                    }
                }
                Err(_) => {
                    let _ = node.child.kill();
                    panic!("the node did not start: {}", node.errors.iter().collect::<Vec<_>>().join("\n"));
                }
            }
        }
    }

    /// The next line on standard output that holds a text.
    pub fn line_with(&self, text: &str) -> String {
        next_with(&self.lines, text)
    }

    /// The next line on standard error, which is the log, that holds a text.
    pub fn logged(&self, text: &str) -> String {
        next_with(&self.errors, text)
    }

    pub fn pid(&self) -> String {
        self.child.id().to_string()
    }

    /// SIGKILL: nothing is flushed, nothing is said.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// SIGTERM; returns the exit status.
    pub fn terminate(self) -> Option<i32> {
        assert!(Command::new("kill").arg(self.pid()).status().unwrap().success());
        self.wait()
    }

    /// Waits for its end; returns the exit status.
    pub fn wait(mut self) -> Option<i32> {
        self.child.wait().unwrap().code()
    }

    /// Runs a command of the command line against this node.
    pub fn cli(&self, arguments: &[&str]) -> Output {
        cli(&[arguments, &["--node", &self.url]].concat())
    }

    pub fn deploy_example(&self, name: &str) {
        self.deploy_as(name, &root().join(format!("examples/python/{name}/app-config.toml")));
    }

    /// Deploys an example with parts of its configuration replaced.
    pub fn deploy_example_with(&self, name: &str, changes: &[(&str, &str)]) {
        let mut text = std::fs::read_to_string(root().join(format!("examples/python/{name}/app-config.toml"))).unwrap();
        for (part, by) in changes {
            assert!(text.contains(part), "{text}");
            text = text.replace(part, by);
        }
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        self.deploy_as(name, file.path());
    }

    fn deploy_as(&self, name: &str, config: &Path) {
        let component = example(name);
        let mut arguments = vec!["deploy", "--wasm", component.to_str().unwrap()];
        if config.is_file() {
            arguments.extend(["--config", config.to_str().unwrap()]);
        } else {
            arguments.extend(["--actor-type", name]);
        }
        let output = self.cli(&arguments);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

/// The lines of a program's output, as they come.
pub fn lines_of(output: impl Read + Send + 'static) -> mpsc::Receiver<String> {
    let (sender, lines) = mpsc::channel();
    std::thread::spawn(move || BufReader::new(output).lines().map_while(Result::ok).all(|line| sender.send(line).is_ok()));
    lines
}

#[track_caller]
pub fn next_with(lines: &mpsc::Receiver<String>, text: &str) -> String {
    loop {
        let line = lines.recv_timeout(2 * PATIENCE).unwrap_or_else(|_| panic!("no line with {text:?}"));
        if line.contains(text) {
            return line;
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A Python program of an example that serves HTTP on a free port and says where; it ends with the test.
pub struct Server {
    child: Child,
    pub url: String,
}

impl Server {
    pub fn start(program: &Path) -> Self {
        let mut child = Command::new("python3").arg(program).arg("0").stdout(Stdio::piped()).spawn().unwrap();
        let mut url = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut url).unwrap();
        Self { child, url: url.trim().to_owned() }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits until something is so.
pub async fn until(holds: impl AsyncFn() -> bool) {
    let started = Instant::now();
    while !holds().await {
        assert!(started.elapsed() < PATIENCE, "it did not become so in {PATIENCE:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

pub fn cli(arguments: &[&str]) -> Output {
    Command::new(PLEXSPACES).args(arguments).stdin(Stdio::null()).env_remove("PLEXSPACES_NODE").output().unwrap()
}

pub fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

pub fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// What a command prints, after it has succeeded.
#[track_caller]
pub fn said(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(0), "{}", stderr(output));
    stdout(output).trim_end().to_owned()
}

/// Why a command has failed.
#[track_caller]
pub fn failed(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(1), "{}", stdout(output));
    stderr(output).trim_end().to_owned()
}

/// An HTTP client that does nothing by itself.
#[derive(Clone)]
pub struct Http(Client<HttpConnector, Full<Bytes>>);

pub struct Answer {
    pub status: u16,
    pub headers: http::HeaderMap,
    pub body: Value,
}

impl Http {
    pub fn new() -> Self {
        Self(Client::builder(TokioExecutor::new()).build_http())
    }

    pub async fn send(&self, method: Method, url: &str, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Result<Answer, String> {
        let mut request = Request::builder().method(method).uri(url);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(body.into())).unwrap();
        let response = self.0.request(request).await.map_err(|error| error.to_string())?;
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.map_err(|error| error.to_string())?.to_bytes();
        let body = serde_json::from_slice(&bytes).unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&bytes).into_owned()));
        Ok(Answer { status: parts.status.as_u16(), headers: parts.headers, body })
    }

    /// Asks an actor by POST.
    pub async fn ask(&self, node: &Node, actor: &str, body: Value) -> Answer {
        let mark = if actor.contains('?') { '&' } else { '?' };
        let url = format!("{}/api/v1/actors/{actor}{mark}invocation=call", node.url);
        self.send(Method::POST, &url, &[], body.to_string()).await.unwrap()
    }

    pub async fn get(&self, node: &Node, path: &str) -> Answer {
        self.send(Method::GET, &format!("{}{path}", node.url), &[], "").await.unwrap()
    }

    /// Waits until a node says with this status whether it is ready; gives the message.
    pub async fn becomes(&self, node: &Node, ready: u16) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let answer = self.get(node, "/health/ready").await;
            if answer.status == ready {
                return answer.body["message"].as_str().unwrap_or_default().to_owned();
            }
            assert!(Instant::now() < deadline, "{} {}", answer.status, answer.body);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}
