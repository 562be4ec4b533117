//! UDP multicast: topics among the nodes of a cluster, without a server and without any promise that a message arrives.
//!
//! A message is one datagram to a multicast group. Each node takes those of its cluster for the channels that somebody listens to there. There
//! is no queue and no history: what is lost, comes twice or comes too fast is what the network and `hub` make of it.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use plexspaces_actor::{Broker, BrokerRequest};
use plexspaces_coord::channels::{Operation, no_groups, no_queue};
use plexspaces_types::{ActorId, Code, Failure, Payload};
use serde_json::{Value, json};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::UdpSocket;
use tokio::task::AbortHandle;

use crate::backend::{one, tail};
use crate::message::{Message, now_ms};

mod datagram;
mod hub;

use datagram::{Body, Refusal, Seal};
use hub::{Answer, Hub};

/// Where such a channel is, for errors.
const PLACE: &str = "on udp";

/// Bytes that the system may hold for a node that does not keep up.
const RECEIVE_BUFFER: usize = 4 << 20;

/// How long one wait takes at most until it is said again that somebody listens.
const LOOK: Duration = Duration::from_secs(60);

/// How often it is told that datagrams were refused.
const TELL: Duration = Duration::from_secs(60);

/// The shortest secret, in bytes.
const SHORTEST_SECRET: usize = 16;

/// Where the nodes of a cluster meet.
#[derive(Clone, PartialEq, Eq)]
pub struct UdpConfig {
    /// The multicast group.
    pub group: Ipv4Addr,
    /// Its port.
    pub port: u16,
    /// Whose messages are taken: letters, digits, `.`, `_` and `-`, 64 at most. Others that use the same group and port are left alone.
    pub cluster_name: String,
    /// The address of the network interface over which messages go; without it the system chooses one.
    pub interface: Option<Ipv4Addr>,
    /// How many routers a message may pass, and one more; 0 is this machine alone.
    pub ttl: u8,
    /// What all nodes of the cluster know and nobody else: messages without its seal are refused. At least 16 bytes.
    pub secret: Option<String>,
}

impl UdpConfig {
    /// Refuses what cannot be.
    pub fn check(&self) -> Result<(), Failure> {
        if !self.group.is_multicast() {
            let message = format!("channels.udp.group is {}, expected a multicast address, 224.0.0.0 to 239.255.255.255", self.group);
            return Err(Failure::invalid("channels.udp.group", message));
        }
        if self.port == 0 {
            return Err(Failure::invalid("channels.udp.port", "channels.udp.port is 0, expected 1 to 65535"));
        }
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
        if !(1..=64).contains(&self.cluster_name.len()) || !self.cluster_name.bytes().all(fits) {
            let expected = "expected 1 to 64 letters, digits, `.`, `_` and `-`";
            let message = format!("channels.udp.cluster_name is {:?}, {expected}", self.cluster_name);
            return Err(Failure::invalid("channels.udp.cluster_name", message));
        }
        if self.secret.as_ref().is_some_and(|secret| secret.len() < SHORTEST_SECRET) {
            let message = format!("channels.udp.secret is too short, expected at least {SHORTEST_SECRET} bytes");
            return Err(Failure::invalid("channels.udp.secret", message));
        }
        Ok(())
    }
}

impl std::fmt::Debug for UdpConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { group, port, cluster_name, interface, ttl, secret } = self;
        let mut shown = f.debug_struct("UdpConfig");
        shown.field("group", group).field("port", port).field("cluster_name", cluster_name).field("interface", interface);
        shown.field("ttl", ttl).field("secret", &secret.as_ref().map(|_| "(hidden)")).finish()
    }
}

/// A node's part in the topics of a cluster. Clones are the same.
#[derive(Clone)]
pub struct Udp(Arc<Inner>);

struct Inner {
    socket: UdpSocket,
    target: SocketAddrV4,
    seal: Arc<Seal>,
    hub: Arc<Hub>,
    listening: AbortHandle,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

impl Udp {
    /// Joins the group. It is left when the last clone is dropped.
    pub fn open(config: &UdpConfig) -> Result<Self, Failure> {
        config.check()?;
        let target = SocketAddrV4::new(config.group, config.port);
        let impossible = |error: std::io::Error| {
            let by = config.interface.map_or_else(String::new, |address| format!(" over the interface {address}"));
            let message =
                format!("channels.udp cannot use the multicast group {target}{by}: {error}; channels.udp.interface chooses another");
            Failure::new(Code::InvalidConfig, message)
        };
        let listener = listener(config, target).map_err(impossible)?;
        let socket = sender(config).map_err(impossible)?;
        let seal = Arc::new(Seal::new(&config.cluster_name, config.secret.as_deref())?);
        let hub = Arc::new(Hub::new(config.secret.is_some()));
        let listening = tokio::spawn(listen(listener, target, seal.clone(), hub.clone())).abort_handle();
        Ok(Self(Arc::new(Inner { socket, target, seal, hub, listening })))
    }

    async fn publish(&self, channel: &ActorId, message: Message) -> Result<(), Failure> {
        let Inner { socket, target, seal, hub, .. } = &*self.0;
        let [tenant, namespace] = [&channel.tenant, &channel.namespace].map(ToString::to_string);
        let body = Body { tenant, namespace, channel: channel.key.as_str().to_owned(), message };
        let datagram = seal.encode(&body)?;
        let unsent = |error: std::io::Error| {
            let message = format!("a datagram of {} bytes could not be sent to {target}: {error}", datagram.len());
            Failure::new(Code::Unavailable, message)
        };
        socket.send_to(&datagram, *target).await.map_err(unsent)?;
        // Who listens on this node hears it surely. What comes back from the network is known then.
        hub.take_own(&name(&body.tenant, &body.namespace, &body.channel), body.message, datagram.len());
        Ok(())
    }

    async fn next(&self, place: &str, subscriber: &str, key: Option<&str>, until: Instant) -> Result<Option<Message>, Failure> {
        loop {
            let mut news = match self.0.hub.next(place, subscriber, key)? {
                Answer::Here(message) => return Ok(Some(message)),
                Answer::Nothing(news) => news,
            };
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            let _ = tokio::time::timeout(left.min(LOOK), news.changed()).await;
        }
    }

    async fn tail(&self, place: &str, mut after: Option<u64>, limit: usize, until: Instant) -> Result<(Vec<(u64, Message)>, u64), Failure> {
        loop {
            let (messages, next, mut news) = self.0.hub.tail(place, after, limit)?;
            let left = until.saturating_duration_since(Instant::now());
            if !messages.is_empty() || left.is_zero() {
                return Ok((messages, next));
            }
            after = Some(next);
            let _ = tokio::time::timeout(left.min(LOOK), news.changed()).await;
        }
    }
}

#[async_trait]
impl Broker for Udp {
    async fn ask(&self, id: &ActorId, request: BrokerRequest<'_>) -> Result<Payload, Failure> {
        let BrokerRequest { operation, payload, sender, idempotency_key: key } = request;
        let channel = id.key.as_str();
        let place = name(id.tenant.as_str(), id.namespace.as_str(), channel);
        let until = |timeout_ms| Instant::now() + Duration::from_millis(timeout_ms);
        let asked = Operation::read(operation, payload, sender)?;
        if asked.group().is_some() {
            return Err(no_groups(channel));
        }
        let reply = match asked {
            Operation::Publish { message } => {
                let message = Message::new(message, sender, key);
                let msg_id = message.msg_id.clone();
                self.publish(id, message).await?;
                json!({"msg_id": msg_id})
            }
            Operation::Subscribe { subscriber, .. } => {
                self.0.hub.subscribe(&place, &subscriber)?;
                json!({})
            }
            Operation::Unsubscribe { subscriber } => {
                self.0.hub.unsubscribe(&place, &subscriber);
                json!({})
            }
            Operation::Next { subscriber, timeout_ms } => {
                let message = self.next(&place, &subscriber, key, until(timeout_ms)).await?;
                return one(message.as_ref(), channel);
            }
            Operation::Tail { after, limit, timeout_ms } => {
                let (messages, next) = self.tail(&place, after, limit, until(timeout_ms)).await?;
                return tail(&messages, next, channel);
            }
            Operation::Status { .. } => {
                let (status, dropped) = self.0.hub.status(&place);
                let mut shown = json!(status);
                if let Value::Object(members) = &mut shown {
                    members.insert("dropped".to_owned(), json!(dropped));
                }
                shown
            }
            Operation::Send { .. }
            | Operation::Receive { .. }
            | Operation::Ack { .. }
            | Operation::Nack { .. }
            | Operation::DeadLetters { .. }
            | Operation::Redrive { .. } => return Err(no_queue(channel, PLACE, operation)),
        };
        Ok(Payload::from_value(&reply))
    }
}

/// A channel among those of all tenants and namespaces, whose names hold no `/`.
fn name(tenant: &str, namespace: &str, channel: &str) -> String {
    format!("{tenant}/{namespace}/{channel}")
}

fn socket() -> std::io::Result<Socket> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// Hears what is sent to the group, as others on this machine do.
fn listener(config: &UdpConfig, target: SocketAddrV4) -> std::io::Result<UdpSocket> {
    let socket = socket()?;
    socket.set_reuse_address(true)?;
    #[cfg(target_os = "macos")]
    socket.set_reuse_port(true)?;
    // The system may allow less.
    let _ = socket.set_recv_buffer_size(RECEIVE_BUFFER);
    // Not what is sent to the port otherwise.
    socket.bind(&target.into())?;
    socket.join_multicast_v4(&config.group, &config.interface.unwrap_or(Ipv4Addr::UNSPECIFIED))?;
    UdpSocket::from_std(socket.into())
}

fn sender(config: &UdpConfig) -> std::io::Result<UdpSocket> {
    let socket = socket()?;
    if let Some(interface) = &config.interface {
        socket.set_multicast_if_v4(interface)?;
    }
    socket.set_multicast_ttl_v4(config.ttl.into())?;
    // For other nodes of this machine.
    socket.set_multicast_loop_v4(true)?;
    socket.bind(&SocketAddrV4::new(config.interface.unwrap_or(Ipv4Addr::UNSPECIFIED), 0).into())?;
    UdpSocket::from_std(socket.into())
}

/// Takes what the network brings.
async fn listen(socket: UdpSocket, group: SocketAddrV4, seal: Arc<Seal>, hub: Arc<Hub>) {
    let mut bytes = vec![0; datagram::MAX_BYTES];
    let (mut refused, mut told) = (0_u64, None::<Instant>);
    let mut tell = |refusal: Refusal, from: String| {
        refused += 1;
        if told.is_none_or(|told| told.elapsed() >= TELL) {
            tracing::warn!(%group, from, refused, "datagrams for channels are refused, of this one: {refusal}");
            told = Some(Instant::now());
        }
    };
    loop {
        let (length, from) = match socket.recv_from(&mut bytes).await {
            Ok(received) => received,
            Err(error) => {
                tracing::warn!(%group, %error, "datagrams for channels cannot be received");
                tokio::time::sleep(Duration::from_secs(1)).await;
                continue;
            }
        };
        let taken = match seal.decode(bytes.get(..length).unwrap_or_default(), now_ms()) {
            Ok(Some(Body { tenant, namespace, channel, message })) => hub.take(&name(&tenant, &namespace, &channel), message, length),
            other => other.map(drop),
        };
        if let Err(refusal) = taken {
            tell(refusal, from.to_string());
        }
    }
}
