//! Where the brokers of channels are. What is secret may come from the environment in place of the file.

use std::net::Ipv4Addr;
use std::path::PathBuf;

use plexspaces_app::ConfigError;
use plexspaces_channel_remote as remote;
use plexspaces_types::Failure;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{BrokerUrl, ChannelsConfig, HIDDEN};

/// `[channels.nats]`
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct NatsConfig {
    /// Its address: `nats://user:password@host:port` or `nats://token@host:port`; with `tls` in place of `nats` connections are encrypted.
    /// `PLEXSPACES_CHANNELS_NATS_URL` stands over it.
    pub url: Option<BrokerUrl>,
    /// Certificates in PEM of authorities that are trusted besides those of the system, for a URL that begins with `tls`.
    pub ca_file: Option<PathBuf>,
    /// A file with the JWT of a user and the seed of its key, as `nsc` writes it, in place of a user or token in the URL.
    pub credentials_file: Option<PathBuf>,
}

impl NatsConfig {
    fn access(&self) -> Option<remote::NatsConfig> {
        let Self { url, ca_file, credentials_file } = self.clone();
        Some(remote::NatsConfig { ca_file, credentials_file, ..remote::NatsConfig::new(url?.0) })
    }

    pub(crate) fn complete(&self) -> Result<remote::NatsConfig, ConfigError> {
        self.access().ok_or_else(|| missing("channels.nats.url", NATS_URL))
    }
}

/// `[channels.redis]`
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RedisConfig {
    /// Its address: `redis://user:password@host:port/number`; with `rediss` in place of `redis` connections are encrypted.
    /// `PLEXSPACES_CHANNELS_REDIS_URL` stands over it.
    pub url: Option<BrokerUrl>,
    /// Certificates in PEM of authorities that are trusted besides those of the system, for a URL that begins with `rediss`.
    pub ca_file: Option<PathBuf>,
}

impl RedisConfig {
    fn access(&self) -> Option<remote::RedisConfig> {
        let Self { url, ca_file } = self.clone();
        Some(remote::RedisConfig { ca_file, ..remote::RedisConfig::new(url?.0) })
    }

    pub(crate) fn complete(&self) -> Result<remote::RedisConfig, ConfigError> {
        self.access().ok_or_else(|| missing("channels.redis.url", REDIS_URL))
    }
}

/// `[channels.udp]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct UdpConfig {
    /// Which nodes share channels: those that have the same name, group, port and secret.
    pub cluster_name: String,
    /// The multicast group to which messages are sent.
    pub group: Ipv4Addr,
    /// The port to which they are sent.
    pub port: u16,
    /// The address of the network interface over which they go. Without it the system chooses one.
    pub interface: Option<Ipv4Addr>,
    /// How many routers a message may pass, and one more; 0 is this machine alone.
    pub ttl: u8,
    /// What the nodes of the cluster know and nobody else, at least 16 bytes: a message without its seal is refused. Without it whoever reaches
    /// the group can publish. `PLEXSPACES_CHANNELS_UDP_SECRET` stands over it.
    pub secret: Option<ClusterSecret>,
}

impl Default for UdpConfig {
    fn default() -> Self {
        let (cluster_name, group) = (String::new(), Ipv4Addr::new(239, 255, 80, 88));
        Self { cluster_name, group, port: 8095, interface: None, ttl: 1, secret: None }
    }
}

impl UdpConfig {
    pub(crate) fn access(&self) -> remote::UdpConfig {
        let Self { cluster_name, group, port, interface, ttl, secret } = self.clone();
        remote::UdpConfig { group, port, cluster_name, interface, ttl, secret: secret.map(|secret| secret.0) }
    }
}

/// What the nodes of a cluster share.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct ClusterSecret(pub String);

impl std::fmt::Debug for ClusterSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(HIDDEN)
    }
}

const NATS_URL: &str = "PLEXSPACES_CHANNELS_NATS_URL";
const REDIS_URL: &str = "PLEXSPACES_CHANNELS_REDIS_URL";
const UDP_SECRET: &str = "PLEXSPACES_CHANNELS_UDP_SECRET";

fn missing(key: &str, variable: &str) -> ConfigError {
    ConfigError::new("the configuration", format!("{key} is missing, and {variable} is not set"))
}

impl ChannelsConfig {
    /// Variables of the environment that stand over keys.
    pub const ENVIRONMENT: [&str; 3] = [NATS_URL, REDIS_URL, UDP_SECRET];

    /// Takes what one of those variables says.
    pub fn take(&mut self, variable: &str, value: String) -> Result<(), ConfigError> {
        match (variable, &mut self.udp) {
            (NATS_URL, _) => self.nats.get_or_insert_default().url = Some(BrokerUrl(value)),
            (REDIS_URL, _) => self.redis.get_or_insert_default().url = Some(BrokerUrl(value)),
            (UDP_SECRET, Some(udp)) => udp.secret = Some(ClusterSecret(value)),
            (UDP_SECRET, None) => {
                return Err(ConfigError::new(UDP_SECRET, "it is set, and there is no [channels.udp] with a cluster_name"));
            }
            _ => return Err(ConfigError::new(variable, format!("expected one of {}", Self::ENVIRONMENT.join(", ")))),
        }
        Ok(())
    }

    /// What the types of single keys cannot say. The file may leave a URL to the environment.
    pub(super) fn check_brokers(&self) -> Result<(), Failure> {
        self.nats.as_ref().and_then(NatsConfig::access).map_or(Ok(()), |nats| nats.check())?;
        self.redis.as_ref().and_then(RedisConfig::access).map_or(Ok(()), |redis| redis.check())?;
        self.udp.as_ref().map_or(Ok(()), |udp| udp.access().check())
    }

    /// To be shown.
    pub(super) fn hide_secrets(&mut self) {
        let urls = [self.nats.as_mut().map(|nats| &mut nats.url), self.redis.as_mut().map(|redis| &mut redis.url)];
        for url in urls.into_iter().flatten().flatten() {
            *url = BrokerUrl(url.shown().unwrap_or_else(|| HIDDEN.to_owned()));
        }
        for secret in self.udp.iter_mut().flat_map(|udp| &mut udp.secret) {
            *secret = ClusterSecret(HIDDEN.to_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_stands_over_the_file() {
        let mut config = ChannelsConfig::default();
        config.take(NATS_URL, "tls://plex:s3cret@mq".to_owned()).unwrap();
        assert_eq!(config.nats.as_ref().unwrap().complete().unwrap().url, "tls://plex:s3cret@mq");
        config.redis = Some(RedisConfig { ca_file: Some("ca.pem".into()), ..RedisConfig::default() });
        assert!(config.redis.as_ref().unwrap().complete().unwrap_err().to_string().contains(REDIS_URL));
        config.check_brokers().unwrap();
        config.take(REDIS_URL, "rediss://:s3cret@mq".to_owned()).unwrap();
        config.check_brokers().unwrap();
        config.take(REDIS_URL, "redis://:s3cret@mq".to_owned()).unwrap();
        assert!(config.check_brokers().unwrap_err().message.contains("rediss://"));
        let refused = config.take(UDP_SECRET, "0123456789s3cret".to_owned()).unwrap_err().to_string();
        assert!(refused.contains("cluster_name") && !refused.contains("s3cret"), "{refused}");
        config.udp = Some(UdpConfig { cluster_name: "lab".to_owned(), ..UdpConfig::default() });
        config.take(UDP_SECRET, "0123456789s3cret".to_owned()).unwrap();
        assert_eq!(config.udp.as_ref().unwrap().access().secret.as_deref(), Some("0123456789s3cret"));
        assert!(!format!("{config:?} {:?}", config.udp.as_ref().unwrap().access()).contains("s3cret"));
    }
}
