//! PostgreSQL.

use std::fs::Permissions;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result};

use super::{Server, run, send};

/// PostgreSQL, with the user `plex`, whose password is `s3cret`, and the database `plex`.
pub struct Postgres(Server);

impl Postgres {
    /// The password.
    pub const PASSWORD: &'static str = "s3cret";

    /// Makes a server and waits until it answers.
    pub fn start() -> Result<Self> {
        let mut this = Self(Server::new("postgres")?);
        let password = this.0.path().join("password");
        std::fs::write(&password, Self::PASSWORD)?;
        own(this.0.path())?;
        own(&password)?;
        let mut initdb = command("initdb")?;
        initdb.extend(["--no-sync", "--username=plex", "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C"].map(str::to_owned));
        initdb.push(format!("--pwfile={}", password.display()));
        initdb.push(format!("--pgdata={}", this.data().display()));
        run(&initdb)?;
        this.again()?;
        this.database("plex")?;
        Ok(this)
    }

    /// Makes another database and gives its URL.
    pub fn database(&self, name: &str) -> Result<String> {
        let mut createdb = command("createdb")?;
        createdb.extend(["--maintenance-db".to_owned(), url(self.0.port, "postgres"), name.to_owned()]);
        run(&createdb)?;
        Ok(url(self.0.port, name))
    }

    /// The URL of the database.
    #[must_use]
    pub fn url(&self) -> String {
        url(self.0.port, "plex")
    }

    /// Starts it after [`Postgres::stop`], at the same address.
    pub fn again(&mut self) -> Result<()> {
        let data = self.data();
        let postgres = |server: &Server| {
            let mut command = command("postgres")?;
            command.extend([String::from("-D"), data.display().to_string()]);
            for setting in ["listen_addresses=127.0.0.1", "unix_socket_directories=", "max_connections=80", "shared_buffers=64MB"] {
                command.extend(["-c".to_owned(), setting.to_owned()]);
            }
            command.extend(["-c".to_owned(), format!("port={}", server.port)]);
            Ok(command)
        };
        let mut ready = command("pg_isready")?;
        ready.extend(["--quiet".to_owned(), "--dbname".to_owned()]);
        self.0.start("INT", postgres, |server| run(&[ready.as_slice(), &[url(server.port, "postgres")]].concat()).is_ok())
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
        self.0.stop();
    }

    /// Kills the server's first process and with it all others, as a loss of power would.
    pub fn kill(&mut self) -> Result<()> {
        self.0.kill("QUIT")
    }

    /// Sends a signal to the process of one connection, whose number the server tells.
    pub fn signal(pid: i32, signal: &str) -> Result<()> {
        send(&pid.to_string(), signal)
    }

    fn data(&self) -> PathBuf {
        self.0.path().join("data")
    }
}

fn url(port: u16, database: &str) -> String {
    format!("postgres://plex:{}@127.0.0.1:{port}/{database}", Postgres::PASSWORD)
}

/// A program of the server, run by somebody else than root, for whom it does not work.
fn command(program: &str) -> Result<Vec<String>> {
    let mut command = as_other_user();
    command.push(postgres_program(program)?.display().to_string());
    Ok(command)
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
