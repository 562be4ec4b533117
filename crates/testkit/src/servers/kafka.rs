//! Apache Kafka.

use std::io::Write as _;
use std::net::{Ipv4Addr, TcpStream};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

use super::{Server, free_port, jvm, run};

const POM: &str = r#"<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>plexspaces</groupId>
  <artifactId>kafka</artifactId>
  <version>1</version>
  <packaging>pom</packaging>
  <dependencies>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>4.0.0</version></dependency>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka-tools</artifactId><version>4.0.0</version></dependency>
  </dependencies>
</project>
"#;

/// One node of Kafka, which is broker and controller.
pub struct Kafka {
    server: Server,
    class_path: String,
    controller_port: u16,
    /// Where it is reached in encrypted connections, its certificate and key.
    encrypted: Option<(u16, String, String)>,
}

impl Kafka {
    /// The password of the user `plex`, which encrypted connections need.
    pub const PASSWORD: &'static str = "s3cret";

    /// Makes a server and waits until it answers.
    pub fn start() -> Result<Self> {
        Self::start_with(None)
    }

    /// The same, which is reached in encrypted connections too, by the user `plex` with [`Kafka::PASSWORD`]. Certificate and key are in PEM.
    pub fn start_encrypted(certificate: &str, key: &str) -> Result<Self> {
        Self::start_with(Some((free_port()?, certificate.to_owned(), key.to_owned())))
    }

    fn start_with(encrypted: Option<(u16, String, String)>) -> Result<Self> {
        let class_path = jvm::class_path("kafka", POM)?;
        let mut this = Self { server: Server::new("kafka")?, class_path, controller_port: free_port()?, encrypted };
        this.again()?;
        Ok(this)
    }

    /// Where it is in encrypted connections.
    pub fn encrypted_url(&self) -> Result<String> {
        let (port, ..) = self.encrypted.as_ref().context("it has no encrypted connections")?;
        Ok(format!("127.0.0.1:{port}"))
    }

    /// Where it is.
    #[must_use]
    pub fn url(&self) -> String {
        format!("127.0.0.1:{}", self.server.port)
    }

    /// Starts it after [`Kafka::stop`], at the same address.
    pub fn again(&mut self) -> Result<()> {
        let (class_path, controller_port, encrypted) = (self.class_path.clone(), self.controller_port, self.encrypted.clone());
        let command = move |server: &Server| {
            let (file, logs) = (server.path().join("server.properties"), server.path().join("logs"));
            let mut settings = String::new();
            let secure = encrypted.as_ref().map_or(String::new(), |(port, ..)| format!("SASL_SSL://127.0.0.1:{port},"));
            if let Some((_, certificate, key)) = &encrypted {
                let line = |text: &str| text.trim().replace('\n', "\\n");
                settings.push_str(&format!("ssl.keystore.type=PEM\nssl.keystore.certificate.chain={}\n", line(certificate)));
                settings.push_str(&format!("ssl.keystore.key={}\nsasl.enabled.mechanisms=PLAIN\n", line(key)));
                let login = format!("org.apache.kafka.common.security.plain.PlainLoginModule required user_plex=\"{}\";", Self::PASSWORD);
                settings.push_str(&format!("listener.name.sasl_ssl.plain.sasl.jaas.config={login}\n"));
            }
            for (name, value) in [
                ("process.roles", "broker,controller"),
                ("node.id", "1"),
                ("listeners", &format!("{secure}PLAINTEXT://127.0.0.1:{},CONTROLLER://127.0.0.1:{controller_port}", server.port)),
                ("advertised.listeners", &format!("{secure}PLAINTEXT://127.0.0.1:{}", server.port)),
                ("inter.broker.listener.name", "PLAINTEXT"),
                ("controller.listener.names", "CONTROLLER"),
                ("listener.security.protocol.map", "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SASL_SSL:SASL_SSL"),
                ("controller.quorum.voters", &format!("1@127.0.0.1:{controller_port}")),
                ("log.dirs", &logs.display().to_string()),
                ("auto.create.topics.enable", "false"),
                ("offsets.topic.replication.factor", "1"),
                ("log.cleaner.dedupe.buffer.size", "4194304"),
                ("num.network.threads", "2"),
                ("num.io.threads", "2"),
            ] {
                settings.push_str(&format!("{name}={value}\n"));
            }
            std::fs::write(&file, settings)?;
            let java = |class: &str| {
                let options = ["java", "-Xmx384m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp", &class_path, class];
                options.map(str::to_owned).to_vec()
            };
            let file = file.display().to_string();
            if !logs.join("meta.properties").exists() {
                let mut format = java("kafka.tools.StorageTool");
                format.extend(["format", "--cluster-id", "cGxleHNwYWNlcy10ZXN0cw", "--config", &file].map(str::to_owned));
                run(&format)?;
            }
            let mut start = java("kafka.Kafka");
            start.push(file);
            Ok(start)
        };
        self.server.start("TERM", command, |server| TcpStream::connect((Ipv4Addr::LOCALHOST, server.port)).is_ok())
    }

    /// Writes texts into a topic as another program does.
    pub fn produce(&self, topic: &str, texts: &[&str]) -> Result<()> {
        self.write(topic, &[], &texts.join("\n"))
    }

    /// Writes a text with a header into a topic.
    pub fn produce_with(&self, topic: &str, (name, value): (&str, &str), text: &str) -> Result<()> {
        let properties = ["parse.headers=true", "headers.separator=;", "headers.key.separator=="];
        self.write(topic, &properties, &format!("{name}={value}\t{text}"))
    }

    fn write(&self, topic: &str, properties: &[&str], lines: &str) -> Result<()> {
        let mut command = Command::new("java");
        command.args(["-Xmx128m", "-XX:TieredStopAtLevel=1", "-cp", &self.class_path, "org.apache.kafka.tools.ConsoleProducer"]);
        command.args(["--bootstrap-server", &self.url(), "--topic", topic]);
        for property in properties {
            command.args(["--property", property]);
        }
        let mut producer = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
        let mut input = producer.stdin.take().context("the producer has an input")?;
        writeln!(input, "{lines}")?;
        drop(input);
        let output = producer.wait_with_output()?;
        if !output.status.success() {
            bail!("the producer failed: {}", String::from_utf8_lossy(&output.stderr));
        }
        Ok(())
    }

    /// The first offset that a topic still has, and that of the next record.
    pub fn offsets(&self, topic: &str) -> Result<(u64, u64)> {
        Ok((self.offset(topic, "-2")?, self.offset(topic, "-1")?))
    }

    fn offset(&self, topic: &str, time: &str) -> Result<u64> {
        let mut command = Command::new("java");
        command.args(["-Xmx128m", "-XX:TieredStopAtLevel=1", "-cp", &self.class_path, "org.apache.kafka.tools.GetOffsetShell"]);
        let output = command.args(["--bootstrap-server", &self.url(), "--topic", topic, "--time", time]).output()?;
        let text = String::from_utf8_lossy(&output.stdout);
        let offset = text.trim().rsplit(':').next().and_then(|offset| offset.parse().ok());
        offset.with_context(|| format!("the offset cannot be read: {text}{}", String::from_utf8_lossy(&output.stderr)))
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
