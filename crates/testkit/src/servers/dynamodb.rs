//! DynamoDB Local.

use anyhow::Result;

use super::{Server, answers_http, jvm};

const POM: &str = r#"<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>plexspaces</groupId>
  <artifactId>dynamodb</artifactId>
  <version>1</version>
  <packaging>pom</packaging>
  <dependencies>
    <dependency><groupId>com.amazonaws</groupId><artifactId>DynamoDBLocal</artifactId><version>2.5.4</version></dependency>
  </dependencies>
</project>
"#;

/// DynamoDB Local, which keeps its tables in files, apart for each access key and region.
///
/// It answers before its file has a change, and loses the last ones when it is killed. The service that it stands for does not, so that it can
/// be stopped here and not killed.
pub struct DynamoDb {
    server: Server,
    class_path: String,
}

impl DynamoDb {
    /// Makes a server and waits until it answers.
    pub fn start() -> Result<Self> {
        let mut this = Self { server: Server::new("dynamodb")?, class_path: jvm::class_path("dynamodb", POM)? };
        this.again()?;
        Ok(this)
    }

    /// Where it is.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.server.port)
    }

    /// Starts it after [`DynamoDb::stop`], at the same address.
    pub fn again(&mut self) -> Result<()> {
        let class_path = self.class_path.clone();
        let command = move |server: &Server| {
            let mut command = vec!["java".to_owned(), "-Xmx512m".to_owned(), "-XX:+UseSerialGC".to_owned()];
            command.extend(["-XX:TieredStopAtLevel=1".to_owned(), format!("-Djava.library.path={}", class_path.trim_end_matches("/*"))]);
            command.extend(["-cp".to_owned(), class_path.clone()]);
            command.push("com.amazonaws.services.dynamodbv2.local.main.ServerRunner".to_owned());
            command.extend(["-disableTelemetry".to_owned(), "-dbPath".to_owned(), server.path().display().to_string()]);
            command.extend(["-port".to_owned(), server.port.to_string()]);
            Ok(command)
        };
        self.server.start("TERM", command, |server| answers_http(server.port, "/", "HTTP/").unwrap_or(false))
    }

    /// Stops it: connections are ended, and what was acknowledged is kept.
    pub fn stop(&mut self) {
        self.server.stop();
    }

    /// Holds it, so that it keeps its connections and answers nothing, or lets it go on.
    pub fn hold(&self, held: bool) -> Result<()> {
        self.server.hold(held)
    }
}
