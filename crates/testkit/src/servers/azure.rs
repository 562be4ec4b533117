//! An object store that is Azure's emulator.

use std::fs;
use std::net::{Ipv4Addr, TcpStream};
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use super::{Server, npm};

/// Azurite, which checks signatures, with one account and the container `blobs`.
pub struct Azure {
    server: Server,
    package: PathBuf,
}

impl Azure {
    /// The account.
    pub const ACCOUNT: &'static str = "plexspaces";

    /// The account's key, in Base64.
    pub const KEY: &'static str = "czNjcmV0LW9mLXRoZS1vYmplY3Qtc3RvcmUtb24tYXp1cmU=";

    /// The container.
    pub const CONTAINER: &'static str = "blobs";

    /// Makes a server and waits until it answers.
    pub fn start() -> Result<Self> {
        // Later ones need a newer Node.js than Debian's.
        let package = npm::package("azurite", "3.35.0")?;
        let mut this = Self { server: Server::new("azurite")?, package };
        fs::create_dir_all(this.directory())?;
        fs::write(this.server.path().join("azure.mjs"), include_str!("azure.mjs"))?;
        this.again()?;
        Ok(this)
    }

    /// Where it is.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}/{}", self.server.port, Self::ACCOUNT)
    }

    /// Where its files are. They are not those of single objects.
    #[must_use]
    pub fn directory(&self) -> PathBuf {
        self.server.path().join("data")
    }

    /// How many objects there are.
    pub fn count(&self) -> Result<usize> {
        Ok(self.ask("count")?.trim().parse()?)
    }

    fn ask(&self, what: &str) -> Result<String> {
        let mut node = Command::new("node");
        node.arg(self.server.path().join("azure.mjs")).arg(self.server.port.to_string());
        let output = node.args([Self::ACCOUNT, Self::KEY, Self::CONTAINER, what]).output().context("node cannot be run")?;
        if !output.status.success() {
            bail!("azurite could not {what}: {}", String::from_utf8_lossy(&output.stderr));
        }
        Ok(String::from_utf8(output.stdout)?)
    }

    /// Starts it after [`Azure::stop`], at the same address.
    pub fn again(&mut self) -> Result<()> {
        let program = self.package.join("dist/src/blob/main.js").display().to_string();
        let directory = self.directory().display().to_string();
        let command = |server: &Server| {
            let account = format!("AZURITE_ACCOUNTS={}:{}", Self::ACCOUNT, Self::KEY);
            let mut command = ["env", &account, "node", &program, "--silent", "--disableTelemetry"].map(str::to_owned).to_vec();
            for (key, value) in [("--blobHost", "127.0.0.1"), ("--blobPort", &server.port.to_string()), ("--location", &directory)] {
                command.extend([key.to_owned(), value.to_owned()]);
            }
            Ok(command)
        };
        self.server.start("TERM", command, |server| TcpStream::connect((Ipv4Addr::LOCALHOST, server.port)).is_ok())?;
        self.ask("create").map(drop)
    }

    /// Stops it: connections are ended, and what was written is kept.
    pub fn stop(&mut self) {
        self.server.stop();
    }

    /// Holds it, so that it keeps its connections and answers nothing, or lets it go on.
    pub fn hold(&self, held: bool) -> Result<()> {
        self.server.hold(held)
    }
}
