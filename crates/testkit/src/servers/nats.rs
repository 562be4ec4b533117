//! NATS with JetStream.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

use anyhow::Result;

use super::Server;

/// NATS with JetStream in files, for the user `plex` with the password `s3cret` unless its configuration says otherwise.
pub struct Nats(Server, Option<String>);

impl Nats {
    /// The password.
    pub const PASSWORD: &'static str = "s3cret";

    /// Makes a server and waits until it answers.
    pub fn start() -> Result<Self> {
        let mut this = Self(Server::new("nats-server")?, None);
        this.again()?;
        Ok(this)
    }

    /// Makes a server with a configuration, which says who may connect and how.
    pub fn configured(config: &str) -> Result<Self> {
        let mut this = Self(Server::new("nats-server")?, Some(config.to_owned()));
        this.again()?;
        Ok(this)
    }

    /// Where it is.
    #[must_use]
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.0.port)
    }

    /// The URL of the server.
    #[must_use]
    pub fn url(&self) -> String {
        format!("nats://plex:{}@127.0.0.1:{}", Self::PASSWORD, self.0.port)
    }

    /// Starts it after [`Nats::stop`], at the same address.
    pub fn again(&mut self) -> Result<()> {
        let command = |server: &Server| {
            let mut command = vec!["nats-server".to_owned(), "-js".to_owned()];
            for (key, value) in [("-a", "127.0.0.1"), ("-p", &server.port.to_string()), ("-sd", &server.path().display().to_string())] {
                command.extend([key.to_owned(), value.to_owned()]);
            }
            command.extend(match &self.1 {
                None => ["--user", "plex", "--pass", Self::PASSWORD].map(str::to_owned).to_vec(),
                Some(config) => {
                    let file = server.path().join("nats.conf");
                    std::fs::write(&file, config)?;
                    vec!["-c".to_owned(), file.display().to_string()]
                }
            });
            Ok(command)
        };
        let ready: fn(u16) -> Result<bool> = if self.1.is_none() { answers } else { greets };
        self.0.start("TERM", command, |server| ready(server.port).unwrap_or(false))
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

/// Whether it takes connections, which it does when it has read what it keeps.
fn answers(port: u16) -> Result<bool> {
    let mut connection = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    connection.set_read_timeout(Some(Duration::from_secs(1)))?;
    let connect = format!("CONNECT {{\"user\":\"plex\",\"pass\":\"{}\",\"verbose\":false}}\r\nPING\r\n", Nats::PASSWORD);
    connection.write_all(connect.as_bytes())?;
    for line in BufReader::new(connection).lines().take(3) {
        if line?.starts_with("PONG") {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether it takes connections, whatever it asks of those who make one.
fn greets(port: u16) -> Result<bool> {
    let connection = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    connection.set_read_timeout(Some(Duration::from_secs(1)))?;
    let mut line = String::new();
    BufReader::new(connection).read_line(&mut line)?;
    Ok(line.starts_with("INFO "))
}
