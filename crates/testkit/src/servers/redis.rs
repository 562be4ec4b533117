//! Redis.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

use anyhow::Result;

use super::Server;

/// Redis, which writes each change to its file and syncs it before it answers, with the password `s3cret`.
pub struct Redis(Server);

impl Redis {
    /// The password.
    pub const PASSWORD: &'static str = "s3cret";

    /// Makes a server and waits until it answers.
    pub fn start() -> Result<Self> {
        let mut this = Self(Server::new("redis-server")?);
        this.again()?;
        Ok(this)
    }

    /// The URL of the database.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis://:{}@127.0.0.1:{}/0", Self::PASSWORD, self.0.port)
    }

    /// Starts it after [`Redis::stop`], at the same address.
    pub fn again(&mut self) -> Result<()> {
        let command = |server: &Server| {
            let mut command = vec!["redis-server".to_owned()];
            for (key, value) in [
                ("--bind", "127.0.0.1"),
                ("--port", &server.port.to_string()),
                ("--dir", &server.path().display().to_string()),
                ("--requirepass", Self::PASSWORD),
                ("--appendonly", "yes"),
                ("--appendfsync", "always"),
                ("--save", ""),
            ] {
                command.extend([key.to_owned(), value.to_owned()]);
            }
            Ok(command)
        };
        self.0.start("TERM", command, |server| answers(server.port).unwrap_or(false))
    }

    /// Stops it: connections are ended, and what was acknowledged is kept.
    pub fn stop(&mut self) {
        self.0.stop();
    }

    /// Kills it without a warning.
    pub fn kill(&mut self) -> Result<()> {
        self.0.kill("KILL")
    }

    /// Holds it, so that it keeps its connections and answers nothing, or lets it go on.
    pub fn hold(&self, held: bool) -> Result<()> {
        self.0.hold(held)
    }
}

/// Whether it answers, and has read what is in its file.
fn answers(port: u16) -> Result<bool> {
    let mut connection = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    connection.set_read_timeout(Some(Duration::from_secs(1)))?;
    connection.write_all(format!("AUTH {}\r\nPING\r\n", Redis::PASSWORD).as_bytes())?;
    let mut answer = Vec::new();
    while !answer.ends_with(b"+PONG\r\n") {
        let mut byte = [0];
        connection.read_exact(&mut byte)?;
        answer.extend(byte);
        if answer.len() > 1024 {
            return Ok(false);
        }
    }
    Ok(true)
}
