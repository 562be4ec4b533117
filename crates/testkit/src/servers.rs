//! Real servers for tests: each on a free port of the loopback interface, with its data in a temporary directory.
//!
//! A server ends with the process that started it, however that ends: a shell waits for the end of its standard input, which that process
//! holds, and then stops the server by its number.

use std::fs::Permissions;
use std::io::Write as _;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use tempfile::TempDir;

/// How long a server may take to answer.
const START: Duration = Duration::from_secs(60);

/// Runs a server until the end of the shell's input and stops it with a signal. Its directory goes too, unless a line came before the end.
const KEEPER: &str = r#"signal=$1; directory=$2; shift 2; "$@" >&2 & server=$!; echo $server; exec >/dev/null
read -r _; keep=$?; kill -s "$signal" $server; wait $server; [ $keep = 0 ] || rm -rf "$directory""#;

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
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Some(mut input) = self.shell.stdin.take() {
            let _ = input.write_all(b"keep\n");
        }
        let _ = self.shell.wait();
    }
}

/// PostgreSQL, with the user `plex`, whose password is `s3cret`, and the database `plex`.
pub struct Postgres {
    process: Option<Process>,
    directory: TempDir,
    port: u16,
}

impl Postgres {
    /// The password.
    pub const PASSWORD: &'static str = "s3cret";

    /// Makes a server and waits until it answers.
    pub fn start() -> Result<Self> {
        let directory = TempDir::with_prefix("plexspaces-postgres")?;
        let password = directory.path().join("password");
        std::fs::write(&password, Self::PASSWORD)?;
        own(directory.path())?;
        own(&password)?;
        let mut this = Self { process: None, directory, port: 0 };
        let mut initdb = this.command("initdb")?;
        initdb.extend(["--no-sync", "--username=plex", "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C"].map(str::to_owned));
        initdb.push(format!("--pwfile={}", password.display()));
        initdb.push(format!("--pgdata={}", this.data().display()));
        run(&initdb)?;
        this.again()?;
        let mut createdb = this.command("createdb")?;
        createdb.extend(["--maintenance-db".to_owned(), this.url_of("postgres"), "plex".to_owned()]);
        run(&createdb)?;
        Ok(this)
    }

    /// The URL of the database.
    #[must_use]
    pub fn url(&self) -> String {
        self.url_of("plex")
    }

    fn url_of(&self, database: &str) -> String {
        format!("postgres://plex:{}@127.0.0.1:{}/{database}", Self::PASSWORD, self.port)
    }

    /// Starts it after [`Postgres::stop`], at the same address.
    pub fn again(&mut self) -> Result<()> {
        let deadline = Instant::now() + START;
        // A free port may be taken by another before the server has it.
        loop {
            if self.port == 0 {
                self.port = free_port()?;
            }
            let mut command = self.command("postgres")?;
            command.extend([String::from("-D"), self.data().display().to_string()]);
            for setting in ["listen_addresses=127.0.0.1", "unix_socket_directories=", "max_connections=80", "shared_buffers=64MB"] {
                command.extend(["-c".to_owned(), setting.to_owned()]);
            }
            command.extend(["-c".to_owned(), format!("port={}", self.port)]);
            let process = Process::start(&command, "INT", self.directory.path())?;
            if self.answers(&process, deadline)? {
                self.process = Some(process);
                return Ok(());
            }
            let log = std::fs::read_to_string(self.directory.path().join(LOG)).unwrap_or_default();
            if !log.contains("Address already in use") || Instant::now() > deadline {
                bail!("PostgreSQL did not start: {log}");
            }
            self.port = 0;
        }
    }

    fn answers(&self, process: &Process, deadline: Instant) -> Result<bool> {
        let mut ready = self.command("pg_isready")?;
        ready.extend(["--quiet".to_owned(), "--dbname".to_owned(), self.url_of("postgres")]);
        while Instant::now() < deadline {
            // A process that has ended has no program, also while the shell has not taken notice.
            if std::fs::read_link(format!("/proc/{}/exe", process.pid)).is_err() {
                return Ok(false);
            }
            if run(&ready).is_ok() {
                return Ok(true);
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(false)
    }

    /// Gives it a certificate and its key, in PEM, which it uses from the next time that its configuration is read with `ssl = on`.
    pub fn certify(&self, certificate: &str, key: &str) -> Result<()> {
        for (name, text) in [("server.crt", certificate), ("server.key", key)] {
            let path = self.data().join(name);
            std::fs::write(&path, text)?;
            std::fs::set_permissions(&path, Permissions::from_mode(0o600))?;
            own(&path)?;
        }
        Ok(())
    }

    /// Stops it: connections are ended, and what was committed is kept.
    pub fn stop(&mut self) {
        self.process = None;
    }

    /// Kills the server's first process and with it all others, as a loss of power would.
    pub fn kill(&mut self) -> Result<()> {
        let Some(process) = self.process.take() else { bail!("the server does not run") };
        send(&process.pid, "QUIT")
    }

    /// Sends a signal to the process of one connection, whose number the server tells.
    pub fn signal(pid: i32, signal: &str) -> Result<()> {
        send(&pid.to_string(), signal)
    }

    fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    /// A program of the server, run by somebody else than root, for whom it does not work.
    fn command(&self, program: &str) -> Result<Vec<String>> {
        let mut command = as_other_user();
        command.push(postgres_program(program)?.display().to_string());
        Ok(command)
    }
}

/// The newest of the installed versions.
fn postgres_program(name: &str) -> Result<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").context("PostgreSQL is not installed: apt-get install postgresql")?;
    let mut found: Vec<(u32, PathBuf)> = versions
        .filter_map(|entry| {
            let entry = entry.ok()?;
            Some((entry.file_name().to_str()?.parse().ok()?, entry.path().join("bin").join(name)))
        })
        .filter(|(_, path)| path.is_file())
        .collect();
    found.sort();
    found.pop().map(|(_, path)| path).with_context(|| format!("PostgreSQL's {name} is not installed: apt-get install postgresql"))
}

fn is_root() -> bool {
    id("-u", None).is_some_and(|id| id == 0)
}

fn id(which: &str, user: Option<&str>) -> Option<u32> {
    let output = Command::new("id").arg(which).args(user).stderr(Stdio::null()).output().ok()?;
    String::from_utf8(output.stdout).ok()?.trim().parse().ok()
}

fn other_user() -> &'static str {
    if id("-u", Some("postgres")).is_some() { "postgres" } else { "nobody" }
}

fn as_other_user() -> Vec<String> {
    if !is_root() {
        return Vec::new();
    }
    let user = other_user();
    let group = id("-g", Some(user)).unwrap_or(65_534);
    ["setpriv", &format!("--reuid={user}"), &format!("--regid={group}"), "--clear-groups"].map(str::to_owned).into()
}

/// Gives a file to the user who runs the server.
fn own(path: &Path) -> Result<()> {
    if is_root() {
        chown(path, id("-u", Some(other_user())), None)?;
    }
    Ok(())
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

fn free_port() -> Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}
