//! A message broker that speaks the protocol of Amazon SQS.

use anyhow::Result;

use super::{Server, answers_http, jvm};

const POM: &str = r#"<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>plexspaces</groupId>
  <artifactId>sqs</artifactId>
  <version>1</version>
  <packaging>pom</packaging>
  <dependencies>
    <dependency><groupId>org.elasticmq</groupId><artifactId>elasticmq-server_2.13</artifactId><version>1.6.11</version></dependency>
  </dependencies>
</project>
"#;

/// ElasticMQ, which keeps its messages in a file and takes them as large as SQS does.
pub struct Sqs {
    server: Server,
    class_path: String,
}

impl Sqs {
    /// Makes a server and waits until it answers.
    pub fn start() -> Result<Self> {
        let mut this = Self { server: Server::new("elasticmq")?, class_path: jvm::class_path("sqs", POM)? };
        this.again()?;
        Ok(this)
    }

    /// Where it is.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.server.port)
    }

    /// Starts it after [`Sqs::stop`], at the same address.
    pub fn again(&mut self) -> Result<()> {
        let class_path = self.class_path.clone();
        let command = move |server: &Server| {
            let mut command: Vec<String> = ["java", "-Xmx384m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"].map(str::to_owned).into();
            let file = server.path().join("messages");
            for (name, value) in [
                ("node-address.host", "127.0.0.1"),
                ("node-address.port", &server.port.to_string()),
                ("rest-sqs.bind-hostname", "127.0.0.1"),
                ("rest-sqs.bind-port", &server.port.to_string()),
                ("rest-sqs.sqs-limits", "relaxed"),
                ("rest-stats.enabled", "false"),
                ("messages-storage.enabled", "true"),
                ("messages-storage.uri", &format!("jdbc:h2:{};WRITE_DELAY=0", file.display())),
            ] {
                command.push(format!("-D{name}={value}"));
            }
            command.extend(["-cp".to_owned(), class_path.clone(), "org.elasticmq.server.Main".to_owned()]);
            Ok(command)
        };
        self.server.start("TERM", command, |server| answers_http(server.port, "/", "HTTP/").unwrap_or(false))
    }

    /// Stops it: connections are ended, and what was acknowledged is kept.
    pub fn stop(&mut self) {
        self.server.stop();
    }

    /// Kills it without a warning.
    pub fn kill(&mut self) -> Result<()> {
        self.server.kill("KILL")
    }

    /// Holds it, so that it keeps its connections and answers nothing, or lets it go on.
    pub fn hold(&self, held: bool) -> Result<()> {
        self.server.hold(held)
    }
}
