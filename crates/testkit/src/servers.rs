//! Real servers for tests: each on a free port of the loopback interface, with its data in a temporary directory.
//!
//! A server ends with the process that started it, however that ends: a shell waits for the end of its standard input, which that process
//! holds, and then stops the server by its number.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use tempfile::TempDir;

mod azure;
mod bucket;
mod dynamodb;
mod gcs;
pub mod go;
pub mod jvm;
mod kafka;
mod nats;
pub mod npm;
mod postgres;
mod redis;
mod s3;
mod sqs;

pub use azure::Azure;
pub use bucket::Bucket;
pub use dynamodb::DynamoDb;
pub use gcs::Gcs;
pub use kafka::Kafka;
pub use nats::Nats;
pub use postgres::Postgres;
pub use redis::Redis;
pub use s3::S3;
pub use sqs::Sqs;

/// How long a server may take to answer. Several that run on Java may start at once on a machine that has other things to do.
const START: Duration = Duration::from_secs(180);

/// Runs a server until the end of the shell's input and stops it with a signal, also one that is held. Its directory goes too, unless a line
/// came before the end.
const KEEPER: &str = r#"signal=$1; directory=$2; shift 2; "$@" >&2 & server=$!; echo $server; exec >/dev/null
read -r _; keep=$?; kill -s "$signal" $server; kill -s CONT $server; wait $server; [ $keep = 0 ] || rm -rf "$directory""#;

/// Below it there are ports that programs are known by.
const FIRST_PORT: u32 = 12_000;

/// What a server writes, in its directory.
const LOG: &str = "log";

/// A server's process.
struct Process {
    shell: Child,
    pid: String,
}

impl Process {
    fn start(command: &[String], signal: &str, directory: &Path) -> Result<Self> {
        let log = std::fs::File::options().create(true).append(true).open(directory.join(LOG))?;
        let mut shell = Command::new("sh");
        shell.args(["-c", KEEPER, "keeper", signal]).arg(directory).args(command);
        shell.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(log);
        let mut shell = shell.spawn().context("sh cannot be run")?;
        let mut line = String::new();
        let stdout = shell.stdout.take().context("the shell has an output")?;
        std::io::BufRead::read_line(&mut std::io::BufReader::new(stdout), &mut line)?;
        Ok(Self { shell, pid: line.trim().to_owned() })
    }

    /// Whether it has not ended. A process that has ended has no program, also while the shell has not taken notice.
    fn runs(&self) -> bool {
        std::fs::read_link(format!("/proc/{}/exe", self.pid)).is_ok()
    }
}

/// A server in a directory of its own, which keeps its port when it is stopped and started again.
struct Server {
    program: &'static str,
    process: Option<Process>,
    directory: TempDir,
    port: u16,
}

impl Server {
    fn new(program: &'static str) -> Result<Self> {
        Ok(Self { program, process: None, directory: TempDir::with_prefix(format!("plexspaces-{program}"))?, port: 0 })
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Starts what `command` says for a port, and waits until `ready` says that it answers there.
    fn start(&mut self, signal: &str, command: impl Fn(&Self) -> Result<Vec<String>>, ready: impl Fn(&Self) -> bool) -> Result<()> {
        let deadline = Instant::now() + START;
        // A free port may be taken by another before the server has it.
        loop {
            let chosen = self.port != 0;
            if !chosen {
                self.port = free_port()?;
            }
            let process = Process::start(&command(self)?, signal, self.path())?;
            while process.runs() && Instant::now() < deadline {
                // What answers is this server only if it has not ended because somebody else has its port.
                if ready(self) && process.runs() {
                    self.process = Some(process);
                    return Ok(());
                }
                thread::sleep(Duration::from_millis(20));
            }
            let log = std::fs::read_to_string(self.path().join(LOG)).unwrap_or_default();
            if chosen || !log.to_lowercase().contains("address already in use") || Instant::now() > deadline {
                bail!("{} did not start: {log}", self.program);
            }
            self.port = 0;
        }
    }

    /// Stops it: connections are ended, and what was acknowledged is kept.
    fn stop(&mut self) {
        self.process = None;
    }

    /// Ends its first process, without a warning to it.
    fn kill(&mut self, signal: &str) -> Result<()> {
        let Some(process) = self.process.take() else { bail!("{} does not run", self.program) };
        send(&process.pid, signal)
    }

    /// Holds it, so that it keeps its connections and answers nothing, or lets it go on.
    fn hold(&self, held: bool) -> Result<()> {
        let Some(process) = &self.process else { bail!("{} does not run", self.program) };
        send(&process.pid, if held { "STOP" } else { "CONT" })?;
        // Its threads stop one after the other, and some may answer meanwhile.
        let began = Instant::now();
        while held && !process.stands_still() {
            if began.elapsed() > START {
                bail!("{} does not stop", self.program);
            }
            thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }
}

impl Process {
    /// Whether all its threads are stopped.
    fn stands_still(&self) -> bool {
        let Ok(threads) = std::fs::read_dir(format!("/proc/{}/task", self.pid)) else { return false };
        let is_stopped = |status: String| status.lines().any(|line| line.starts_with("State:\tT"));
        threads.flatten().all(|thread| std::fs::read_to_string(thread.path().join("status")).is_ok_and(is_stopped))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Some(mut input) = self.shell.stdin.take() {
            let _ = input.write_all(b"keep\n");
        }
        let _ = self.shell.wait();
    }
}

fn send(pid: &str, signal: &str) -> Result<()> {
    let status = Command::new("kill").args(["-s", signal, pid]).status()?;
    if status.success() { Ok(()) } else { bail!("process {pid} could not be sent {signal}") }
}

fn run(command: &[String]) -> Result<()> {
    let Some((program, arguments)) = command.split_first() else { bail!("there is no command") };
    let output = Command::new(program).args(arguments).current_dir("/").output().with_context(|| format!("{program} cannot be run"))?;
    if !output.status.success() {
        bail!("{command:?} failed: {}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    }
    Ok(())
}

/// Whether an answer to a request of HTTP for a path begins so.
fn answers_http(port: u16, path: &str, beginning: &str) -> Result<bool> {
    let mut connection = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    connection.set_read_timeout(Some(Duration::from_secs(5)))?;
    connection.write_all(format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").as_bytes())?;
    let mut answer = vec![0; beginning.len()];
    connection.read_exact(&mut answer)?;
    Ok(answer == beginning.as_bytes())
}

/// A free port of the loopback interface, which the system gives to nobody who asks for any port: what is stopped finds it free when it is
/// started again.
pub fn free_port() -> Result<u16> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let range = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    let first: u32 = range.split_whitespace().next().and_then(|first| first.parse().ok()).unwrap_or(32_768);
    let others = first.saturating_sub(FIRST_PORT);
    for _ in 0..others {
        // Processes that run at the same time begin at different ones.
        let number = std::process::id().wrapping_mul(97).wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
        let port = u16::try_from(FIRST_PORT + number % others)?;
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return Ok(port);
        }
    }
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}
