//! Redis Streams.
//!
//! A channel is a set of keys that begin with `plexspaces:{TENANT/NAMESPACE/CHANNEL}`: a stream with a consumer group for the queue, sorted sets
//! for what is delayed and what is in hand, a stream for dead letters, a stream for the topic, a hash for the places of subscribers. Each
//! operation is one script, so it happens whole or not at all; the time is that of the server.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use parking_lot::Mutex;
use plexspaces_actor::{Broker, BrokerRequest};
use plexspaces_coord::channels::{From, MAX_DELIVERIES, MAX_PUBLISHED, MAX_QUEUED, MAX_SUBSCRIBERS, RETENTION_MS};
use plexspaces_types::{ActorId, Code, Failure, Payload};
use redis::{AsyncCommands as _, ConnectionAddr, ConnectionInfo, FromRedisValue, IntoConnectionInfo as _, Script, ToRedisArgs};

use crate::backend::{Backend, PAGE_BYTES, Status, answer};
use crate::message::Message;
use crate::{DUPLICATE_WINDOW_SECS, PATIENCE_SECS, masked};

mod wakes;
mod wire;

use wakes::Wakes;
use wire::Wire;

const PATIENCE: Duration = Duration::from_secs(PATIENCE_SECS);

/// How long one wait takes at most until it is looked again whether something has come.
const SLICE: Duration = Duration::from_secs(2);

/// Dead letters that are kept; a message that would be one more stays in the queue.
const MAX_DEAD: usize = 100_000;

/// Dead letters that one request puts back into the queue, and that are looked at together.
const REDRIVE_AT_ONCE: usize = 1000;

/// Scripts, each with what they share before it.
macro_rules! script {
    ($name:ident, $file:literal) => {
        static $name: LazyLock<Script> = LazyLock::new(|| Script::new(concat!(include_str!("redis/common.lua"), include_str!($file))));
    };
}
script!(SEND, "redis/send.lua");
script!(RECEIVE, "redis/receive.lua");
script!(SETTLE, "redis/settle.lua");
script!(STATUS, "redis/status.lua");
script!(DEAD, "redis/dead.lua");
script!(REDRIVE, "redis/redrive.lua");
script!(PUBLISH, "redis/publish.lua");
script!(SUBSCRIBE, "redis/subscribe.lua");
script!(NEXT, "redis/next.lua");
script!(TAIL, "redis/tail.lua");
script!(BEHIND, "redis/behind.lua");
script!(ADVANCE, "redis/advance.lua");
script!(DROP, "redis/drop.lua");

/// How a server is reached.
#[derive(Clone)]
pub struct RedisConfig {
    /// `redis://user:password@host:port/number`, or `rediss` for encrypted connections, for which the server's certificate is checked, name
    /// included.
    pub url: String,
    /// Certificates in PEM of authorities that are trusted besides those of the system.
    pub ca_file: Option<PathBuf>,
}

impl RedisConfig {
    /// A server whose certificate, if it has one, is of an authority that the system trusts.
    pub fn new(url: impl Into<String>) -> Self {
        Self { url: url.into(), ca_file: None }
    }

    /// Refuses what cannot be.
    pub fn check(&self) -> Result<(), Failure> {
        self.address().map(drop)
    }

    fn is_encrypted(&self) -> bool {
        self.url.starts_with(ENCRYPTED)
    }

    /// Who connects, and to where.
    fn address(&self) -> Result<(ConnectionInfo, String, u16), Failure> {
        let unusable = || {
            let expected = "expected redis://:password@host:port/0, or rediss:// for encrypted connections";
            Failure::invalid("channels.redis.url", format!("channels.redis.url cannot be read, {expected}"))
        };
        if self.ca_file.is_some() && !self.is_encrypted() {
            let message = "channels.redis.ca_file is for a URL that begins with rediss://";
            return Err(Failure::invalid("channels.redis.ca_file", message));
        }
        // The library's own encryption trusts whom it likes to. What stands behind a `#` would be a wish to check nothing.
        let url = match self.url.strip_prefix(ENCRYPTED) {
            Some(rest) if rest.contains('#') => return Err(unusable()),
            Some(rest) => format!("redis://{rest}"),
            None => self.url.clone(),
        };
        masked(&url).ok_or_else(unusable)?;
        let info = url.into_connection_info().map_err(|_| unusable())?;
        match info.addr().clone() {
            ConnectionAddr::Tcp(host, port) => Ok((info, host, port)),
            _ => Err(unusable()),
        }
    }
}

/// What the URL of a server begins with to which connections are encrypted.
const ENCRYPTED: &str = "rediss://";

impl std::fmt::Debug for RedisConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RedisConfig").field("url", &masked(&self.url)).field("ca_file", &self.ca_file).finish()
    }
}

/// A client of Redis. Clones are the same.
#[derive(Clone)]
pub struct Redis(Arc<Inner>);

struct Inner {
    wire: Wire,
    wakes: Arc<Wakes>,
    /// Those who wait for the next message of a queue, who are served one after the other.
    lines: Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>,
}

/// What somebody who receives wants.
struct Wish<'a> {
    visibility_ms: u64,
    /// The actor that asks under a key, and the key; else empty.
    sender: &'a str,
    key: &'a str,
}

/// Somebody who waits for news of a channel.
struct Waiter {
    redis: Redis,
    name: String,
    news: tokio::sync::watch::Receiver<()>,
}

impl Drop for Waiter {
    fn drop(&mut self) {
        if self.redis.0.wakes.leave(&self.name) {
            let (redis, name) = (self.redis.clone(), self.name.clone());
            tokio::spawn(async move {
                // One that is lost has no subscriptions any more.
                let Some(link) = redis.0.wire.known() else { return };
                let _ = link.connection().unsubscribe(&name).await;
                // Who came meanwhile has subscribed before this was done, or subscribes now.
                if redis.0.wakes.is_awaited(&name) {
                    let _ = link.connection().subscribe(&name).await;
                }
            });
        }
    }
}

impl Redis {
    /// A client that connects by itself when it is needed, and again whenever the connection is lost.
    pub fn open(config: &RedisConfig) -> Result<Self, Failure> {
        let wakes = Arc::<Wakes>::default();
        let wire = Wire::new(config, wakes.clone())?;
        Ok(Self(Arc::new(Inner { wire, wakes, lines: Mutex::default() })))
    }

    /// Runs a script on a channel.
    async fn run<T: FromRedisValue>(&self, script: &Script, channel: &ActorId, arguments: &[&dyn Argument]) -> Result<T, Failure> {
        let mut invocation = script.prepare_invoke();
        invocation.key(base(channel));
        for argument in arguments {
            argument.add(&mut invocation);
        }
        let link = self.0.wire.link().await?;
        let result = invocation.invoke_async(&mut link.connection()).await;
        result.map_err(|error| self.0.wire.failed(&link, &error))
    }

    /// Waits until there may be news of a channel, or for a time. The first time it begins to listen, and something may have come before that.
    async fn news(&self, channel: &ActorId, waiter: &mut Option<Waiter>, wait: Duration) -> Result<(), Failure> {
        let Some(waiter) = waiter else {
            let name = format!("{}:wake", base(channel));
            let (is_first, news) = self.0.wakes.enter(&name);
            let waiting = waiter.insert(Waiter { redis: self.clone(), name, news });
            if is_first {
                let link = self.0.wire.link().await?;
                if let Err(error) = link.connection().subscribe(&waiting.name).await {
                    let failure = self.0.wire.failed(&link, &error);
                    // The connection that is made in place of a lost one listens for everybody who waits.
                    return if link.is_gone() { Ok(()) } else { Err(failure) };
                }
            }
            return Ok(());
        };
        let _ = tokio::time::timeout(wait.min(SLICE), waiter.news.changed()).await;
        Ok(())
    }

    /// The next message, or for how long there is surely none.
    async fn try_receive(&self, channel: &ActorId, wish: &Wish<'_>) -> Result<Result<Message, Option<Duration>>, Failure> {
        let arguments: [&dyn Argument; 5] = [&wish.visibility_ms, &MAX_DELIVERIES, &MAX_DEAD, &wish.sender, &wish.key];
        let (body, number): (Vec<u8>, i64) = self.run(&RECEIVE, channel, &arguments).await?;
        if body.is_empty() {
            return Ok(Err(u64::try_from(number).ok().map(Duration::from_millis)));
        }
        Message::decode(&body, u64::try_from(number).unwrap_or(1)).map(Ok)
    }

    /// One of those who wait for a queue at a time looks for its next message: who came first is served first.
    async fn wait_to_receive(&self, channel: &ActorId, wish: &Wish<'_>, until: Instant) -> Result<Option<Message>, Failure> {
        let mut waiter = None;
        loop {
            let wait = match self.try_receive(channel, wish).await? {
                Ok(message) => return Ok(Some(message)),
                Err(wait) => wait,
            };
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            // What is due is due at the server's time, which is in whole milliseconds.
            let wait = wait.map_or(left, |wait| (wait + Duration::from_millis(1)).min(left));
            self.news(channel, &mut waiter, wait).await?;
        }
    }

    async fn settle(&self, channel: &ActorId, msg_id: &str, verdict: &str) -> Result<(), Failure> {
        match self.run(&SETTLE, channel, &[&msg_id, &verdict, &MAX_DELIVERIES, &MAX_DEAD]).await? {
            -1 => Err(Failure::new(Code::Conflict, format!("the message {msg_id:?} was not given to anybody yet")).with_field("msg_id")),
            _ => Ok(()),
        }
    }

    fn full(&self, what: &str) -> Failure {
        Failure::new(Code::Overloaded, format!("{what} at Redis ({})", self.0.wire.place))
    }
}

/// What all keys of a channel begin with.
fn base(channel: &ActorId) -> String {
    format!("plexspaces:{{{}/{}/{}}}", channel.tenant, channel.namespace, channel.key)
}

/// An argument of a script.
trait Argument: Sync {
    fn add(&self, invocation: &mut redis::ScriptInvocation<'_>);
}

impl<T: ToRedisArgs + Sync> Argument for T {
    fn add(&self, invocation: &mut redis::ScriptInvocation<'_>) {
        invocation.arg(self);
    }
}

const WINDOW_MS: u64 = DUPLICATE_WINDOW_SECS * 1000;

fn milliseconds(duration: Duration) -> u64 {
    // Lua's numbers are exact up to here, and no time is longer.
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX).min(1 << 50)
}

#[async_trait]
impl Broker for Redis {
    async fn ask(&self, channel: &ActorId, request: BrokerRequest<'_>) -> Result<Payload, Failure> {
        answer(self, channel, request).await
    }
}

#[async_trait]
impl Backend for Redis {
    async fn send(&self, channel: &ActorId, message: &Message, delay: Duration) -> Result<(), Failure> {
        let (body, delay_ms) = (message.encode()?, milliseconds(delay));
        match self.run(&SEND, channel, &[&message.msg_id, &body, &delay_ms, &MAX_QUEUED, &WINDOW_MS]).await? {
            -1 => Err(self.full(&format!("the queue of channel {:?} is full: {MAX_QUEUED} messages wait", channel.key.as_str()))),
            _ => Ok(()),
        }
    }

    async fn receive(
        &self,
        channel: &ActorId,
        visibility: Duration,
        until: Instant,
        asked: Option<(&ActorId, &str)>,
    ) -> Result<Option<Message>, Failure> {
        let (sender, key) = asked.map_or_else(Default::default, |(sender, key)| (sender.to_string(), key));
        let wish = Wish { visibility_ms: milliseconds(visibility), sender: &sender, key };
        if let Ok(message) = self.try_receive(channel, &wish).await? {
            return Ok(Some(message));
        }
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(None);
        }
        let name = base(channel);
        let line = self.0.lines.lock().entry(name.clone()).or_default().clone();
        let received = match tokio::time::timeout(left, line.lock()).await {
            Err(_) => Ok(None),
            Ok(_turn) => self.wait_to_receive(channel, &wish, until).await,
        };
        drop(line);
        // Where nobody else waits any more.
        let mut lines = self.0.lines.lock();
        if lines.get(&name).is_some_and(|line| Arc::strong_count(line) == 1) {
            lines.remove(&name);
        }
        received
    }

    async fn ack(&self, channel: &ActorId, msg_id: &str, _: Option<&str>) -> Result<(), Failure> {
        self.settle(channel, msg_id, "ack").await
    }

    async fn nack(&self, channel: &ActorId, msg_id: &str, _: Option<&str>, requeue: bool) -> Result<(), Failure> {
        self.settle(channel, msg_id, if requeue { "again" } else { "dead" }).await
    }

    async fn publish(&self, channel: &ActorId, message: &Message) -> Result<(), Failure> {
        let body = message.encode()?;
        let arguments: [&dyn Argument; 6] = [&message.msg_id, &body, &message.timestamp, &MAX_PUBLISHED, &WINDOW_MS, &RETENTION_MS];
        self.run::<i64>(&PUBLISH, channel, &arguments).await.map(drop)
    }

    async fn subscribe(&self, channel: &ActorId, subscriber: &str, from: From) -> Result<(), Failure> {
        let from = if from == From::Latest { "latest" } else { "earliest" };
        match self.run(&SUBSCRIBE, channel, &[&subscriber, &from, &MAX_SUBSCRIBERS]).await? {
            -1 => Err(self.full(&format!("the topic has {MAX_SUBSCRIBERS} subscribers"))),
            _ => Ok(()),
        }
    }

    async fn next(&self, channel: &ActorId, subscriber: &str, key: Option<&str>, until: Instant) -> Result<Option<Message>, Failure> {
        let mut waiter = None;
        loop {
            let key = key.unwrap_or_default();
            let reply = self.run(&NEXT, channel, &[&subscriber, &key, &MAX_SUBSCRIBERS, &RETENTION_MS]).await?;
            match reply {
                redis::Value::BulkString(body) if !body.is_empty() => return Message::decode(&body, 1).map(Some),
                redis::Value::Int(_) => return Err(self.full(&format!("the topic has {MAX_SUBSCRIBERS} subscribers"))),
                _ => {}
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            self.news(channel, &mut waiter, left).await?;
        }
    }

    async fn unsubscribe(&self, channel: &ActorId, subscriber: &str) -> Result<(), Failure> {
        let mut both = redis::pipe();
        both.atomic().hdel(format!("{}:places", base(channel)), subscriber).hdel(format!("{}:asked", base(channel)), subscriber);
        let link = self.0.wire.link().await?;
        both.query_async::<()>(&mut link.connection()).await.map_err(|error| self.0.wire.failed(&link, &error))
    }

    async fn place(&self, channel: &ActorId, subscriber: &str) -> Result<Option<u64>, Failure> {
        let link = self.0.wire.link().await?;
        let place = link.connection().hget(format!("{}:places", base(channel)), subscriber).await;
        place.map_err(|error| self.0.wire.failed(&link, &error))
    }

    async fn advance(&self, channel: &ActorId, subscriber: &str, from: u64, to: u64) -> Result<(), Failure> {
        self.run::<i64>(&ADVANCE, channel, &[&subscriber, &from, &to]).await.map(drop)
    }

    async fn behind(&self, channel: &ActorId, position: u64) -> Result<u64, Failure> {
        self.run(&BEHIND, channel, &[&position]).await
    }

    async fn drop_queue(&self, channel: &ActorId) -> Result<(), Failure> {
        self.run::<i64>(&DROP, channel, &[]).await.map(drop)
    }

    async fn tail(
        &self,
        channel: &ActorId,
        after: Option<u64>,
        limit: usize,
        until: Instant,
    ) -> Result<(Vec<(u64, Message)>, u64), Failure> {
        let (mut waiter, mut after) = (None, after.map_or(-1, |after| i64::try_from(after).unwrap_or(i64::MAX)));
        loop {
            let reply: Vec<Vec<u8>> = self.run(&TAIL, channel, &[&after, &limit, &RETENTION_MS, &PAGE_BYTES]).await?;
            let mut parts = reply.iter();
            let next = parts.next().and_then(|number| position(number)).unwrap_or(0);
            let mut messages = Vec::new();
            while let (Some(number), Some(body)) = (parts.next(), parts.next()) {
                messages.push((position(number).unwrap_or(0), Message::decode(body, 1)?));
            }
            let left = until.saturating_duration_since(Instant::now());
            if !messages.is_empty() || left.is_zero() {
                return Ok((messages, next));
            }
            after = i64::try_from(next).unwrap_or(i64::MAX);
            self.news(channel, &mut waiter, left).await?;
        }
    }

    async fn status(&self, channel: &ActorId) -> Result<Status, Failure> {
        let (ready, delayed, in_flight, dead, published, subscribers) = self.run(&STATUS, channel, &[]).await?;
        Ok(Status { ready, delayed, in_flight, dead, published, subscribers })
    }

    async fn dead_letters(&self, channel: &ActorId, after: Option<u64>, limit: usize) -> Result<(Vec<(u64, Message)>, bool), Failure> {
        let after = after.map_or(-1, |after| i64::try_from(after).unwrap_or(i64::MAX));
        let reply: Vec<Vec<u8>> = self.run(&DEAD, channel, &[&after, &limit, &PAGE_BYTES]).await?;
        let mut parts = reply.iter();
        let more = parts.next().is_some_and(|more| more == b"1");
        let mut found = Vec::new();
        while let (Some(number), Some(count), Some(body)) = (parts.next(), parts.next(), parts.next()) {
            found.push((position(number).unwrap_or(0), Message::decode(body, position(count).unwrap_or(0))?));
        }
        Ok((found, more))
    }

    async fn redrive(&self, channel: &ActorId, msg_ids: Option<&[String]>) -> Result<usize, Failure> {
        let (mut redriven, mut after) = (0, None);
        loop {
            let (page, more) = self.dead_letters(channel, after, REDRIVE_AT_ONCE).await?;
            after = page.last().map(|(number, _)| *number).or(after);
            let is_wanted = |message: &Message| msg_ids.is_none_or(|ids| ids.contains(&message.msg_id));
            let wanted: Vec<u64> = page.iter().filter(|(_, message)| is_wanted(message)).map(|(number, _)| *number).collect();
            if !wanted.is_empty() {
                redriven += self.run::<usize>(&REDRIVE, channel, &[&MAX_QUEUED, &wanted]).await?;
            }
            if !more || redriven >= REDRIVE_AT_ONCE {
                return Ok(redriven);
            }
        }
    }
}

fn position(text: &[u8]) -> Option<u64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}
