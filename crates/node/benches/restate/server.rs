//! A Restate server and the process with its handlers, both from npm, on free ports of the loopback interface.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use tempfile::TempDir;

use crate::http_client::Connection;

const PACKAGES: &str = include_str!("package.json");
const HANDLER: &str = include_str!("handler.mjs");

/// How long the server may take until it knows the handlers.
const START: Duration = Duration::from_secs(60);

/// Runs a program until the end of the shell's input, which is the end of whoever holds it, however that ends.
const KEEPER: &str = r#""$@" & program=$!; exec >/dev/null; read -r _; kill -9 $program; wait $program"#;

/// Both processes. They end when this is dropped.
pub(crate) struct Restate {
    /// Where requests to handlers are taken.
    pub(crate) ingress: SocketAddr,
    _server: Process,
    _handlers: Process,
    _directory: TempDir,
}

impl Restate {
    /// Starts both, with the server's own defaults: it syncs its log to the disk before it answers.
    pub(crate) async fn start() -> Result<Self> {
        let packages = tokio::task::block_in_place(install)?;
        let directory = TempDir::with_prefix("plexspaces-restate")?;
        let (server_log, handlers_log) = (directory.path().join("server.log"), directory.path().join("handlers.log"));

        let mut command = keeper();
        command.arg("node").arg(packages.join("handler.mjs")).env("NODE_ENV", "production").env("RESTATE_LOGGING", "WARN");
        let mut handlers = Process::spawn(command.stdout(Stdio::piped()), &handlers_log)?;
        let mut line = String::new();
        let stdout = handlers.0.stdout.take().context("the shell has an output")?;
        tokio::task::block_in_place(|| BufReader::new(stdout).read_line(&mut line))?;
        let port = line.trim().parse::<u16>().with_context(|| format!("the handlers did not start: {}", text(&handlers_log)))?;

        let (ingress, admin, fabric) = free_addresses()?;
        let mut command = keeper();
        command.arg(binary(&packages)?).args(["--no-logo", "--node-name", "bench", "--base-dir"]).arg(directory.path().join("data"));
        command.envs([("RESTATE_LISTEN_MODE", "tcp"), ("RESTATE_DISABLE_TELEMETRY", "true"), ("RESTATE_LOG_FILTER", "warn")]);
        command.env("RESTATE_INGRESS__BIND_ADDRESS", ingress.to_string()).env("RESTATE_ADMIN__BIND_ADDRESS", admin.to_string());
        command.env("RESTATE_BIND_ADDRESS", fabric.to_string()).stdout(File::create(directory.path().join("output"))?);
        let server = Process::spawn(&mut command, &server_log)?;

        let started = Instant::now();
        let register = async || {
            let registered = tokio::time::timeout(START, register(admin, ingress, port)).await;
            registered.unwrap_or_else(|elapsed| Err(elapsed.into()))
        };
        while let Err(error) = register().await {
            if started.elapsed() > START {
                let (output, log) = (text(&directory.path().join("output")), text(&server_log));
                bail!("the Restate server did not start in {START:?}: {error:#}\n{output}{log}");
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Ok(Self { ingress, _server: server, _handlers: handlers, _directory: directory })
    }
}

/// Tells the server of the handlers, and waits until it answers with one of them.
async fn register(admin: SocketAddr, ingress: SocketAddr, handlers: u16) -> Result<()> {
    let deployment = format!(r#"{{"uri": "http://127.0.0.1:{handlers}", "force": true}}"#);
    Connection::open(admin).await?.post("/deployments", &deployment).await?;
    Connection::open(ingress).await?.post("/counter/first/add", "").await?;
    Ok(())
}

/// The directory with the packages. The first time they are fetched.
fn install() -> Result<PathBuf> {
    let home = std::env::var_os("HOME").context("HOME is not set: there is no place for Restate's packages")?;
    let directory = PathBuf::from(home).join(".cache/plexspaces/bench-restate");
    fs::create_dir_all(&directory)?;
    fs::write(directory.join("handler.mjs"), HANDLER)?;
    let installed = directory.join("installed.json");
    if fs::read_to_string(&installed).is_ok_and(|text| text == PACKAGES) {
        return Ok(directory);
    }
    println!("npm fetches Restate's server and SDK, 220 MB, into {}", directory.display());
    fs::write(directory.join("package.json"), PACKAGES)?;
    let mut npm = Command::new("npm");
    npm.args(["install", "--ignore-scripts", "--no-package-lock", "--no-audit", "--no-fund"]).current_dir(&directory);
    let output = npm.output().context("npm cannot be run: this benchmark needs Node.js from version 20 on with npm")?;
    if !output.status.success() {
        bail!("npm could not fetch Restate's packages: {}", String::from_utf8_lossy(&output.stderr));
    }
    fs::write(&installed, PACKAGES)?;
    Ok(directory)
}

/// The server itself: the package's own command starts it as a child, which would outlive it.
fn binary(packages: &Path) -> Result<PathBuf> {
    let system = match std::env::consts::OS {
        "macos" => "darwin",
        other => other,
    };
    let processor = match std::env::consts::ARCH {
        "x86_64" => "x64",
        "aarch64" => "arm64",
        other => other,
    };
    let path = packages.join(format!("node_modules/@restatedev/restate-server-{system}-{processor}/bin/restate-server"));
    if !path.is_file() {
        bail!("there is no Restate server for {system} on {processor}: {} is missing", path.display());
    }
    Ok(path)
}

fn free_addresses() -> Result<(SocketAddr, SocketAddr, SocketAddr)> {
    let bind = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
    let (one, two, three) = (bind()?, bind()?, bind()?);
    Ok((one.local_addr()?, two.local_addr()?, three.local_addr()?))
}

fn text(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

fn keeper() -> Command {
    let mut shell = Command::new("sh");
    shell.args(["-c", KEEPER, "keeper"]);
    shell
}

/// A shell that keeps a program.
struct Process(Child);

impl Process {
    fn spawn(command: &mut Command, log: &Path) -> Result<Self> {
        let child = command.stdin(Stdio::piped()).stderr(File::create(log)?).spawn();
        Ok(Self(child.context("sh cannot be run")?))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}
