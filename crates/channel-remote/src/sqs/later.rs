//! Delayed messages. SQS puts them off for 15 minutes at most and not in FIFO queues, so they are in a queue of their own, from which they are
//! moved into that of the channel when they are due.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use plexspaces_types::{ActorId, Failure};
use serde_json::json;

use super::names::Kind;
use super::queue::{LONGEST_SECS, Received, along, body};
use super::{SLICE, Sqs};
use crate::message::Message;

/// For how long SQS puts a message off, in seconds.
const LONGEST_DELAY_SECS: u64 = 15 * 60;

/// For how long a message can be put off here: well before SQS forgets it.
const MAX_DELAY: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// For how long delayed messages of a channel are looked after when nobody receives from it any more.
const TENDED: Duration = Duration::from_secs(60);

/// How long messages are hidden while they are moved, in seconds.
const MOVED_SECS: u64 = 30;

/// The longest time for which a message that is not due is hidden, in seconds. SQS counts from when it was received, which was some moments ago.
const HIDDEN_SECS: u64 = LONGEST_SECS - 2 * MOVED_SECS;

/// Messages that are due within this time are waited for.
const SOON: Duration = Duration::from_secs(5);

/// When a message is due, in milliseconds since the Unix epoch.
const DUE: &str = "Due";

impl Sqs {
    pub(super) async fn put_off(&self, channel: &ActorId, message: &Message, delay: Duration) -> Result<(), Failure> {
        if delay > MAX_DELAY {
            let text = format!("delay_ms is {}, expected at most {}: seven days at SQS", delay.as_millis(), MAX_DELAY.as_millis());
            return Err(Failure::invalid("delay_ms", text));
        }
        let text = body(message)?;
        let name = self.name(channel, Kind::Later);
        let url = self.make(&name, Kind::Later).await?;
        let due = now_ms().saturating_add(u64::try_from(delay.as_millis()).unwrap_or(u64::MAX));
        let body = json!({
            "QueueUrl": url,
            "MessageBody": text,
            "DelaySeconds": delay.as_secs().min(LONGEST_DELAY_SECS),
            "MessageAttributes": along(DUE, due),
        });
        let sent = self.ask(&name, "SendMessage", &body, Duration::ZERO).await;
        sent.map(drop).map_err(|fault| self.failure(&fault))
    }

    /// Moves delayed messages of a channel into its queue when they are due, as long as somebody receives from it here.
    pub(super) fn tend(&self, channel: &ActorId) {
        let name = self.name(channel, Kind::Later);
        let mut tended = self.0.tended.lock();
        if tended.insert(name.clone(), Instant::now() + TENDED).is_none() {
            tokio::spawn(self.clone().look_after(channel.clone(), name));
        }
    }

    async fn look_after(self, channel: ActorId, name: String) {
        loop {
            if let Err(failure) = self.look_once(&channel, &name).await {
                tracing::debug!(queue = name, %failure, "delayed messages could not be looked after");
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            let mut tended = self.0.tended.lock();
            if tended.get(&name).is_none_or(|until| *until <= Instant::now()) {
                tended.remove(&name);
                return;
            }
        }
    }

    async fn look_once(&self, channel: &ActorId, name: &str) -> Result<(), Failure> {
        let url = self.make(name, Kind::Later).await?;
        let taken = self.take(name, &url, 10, MOVED_SECS, SLICE, None).await.map_err(|fault| self.failure(&fault))?;
        let mut taken: Vec<_> = taken.into_iter().map(|received| (received.along(DUE).unwrap_or(0), received)).collect();
        taken.sort_by_key(|(due, _)| *due);
        let mut trouble = Ok(());
        for (due, received) in taken {
            // One that cannot be moved holds no other up.
            if let Err(failure) = self.look_at(channel, (name, &url), due, &received).await {
                trouble = Err(failure);
            }
        }
        trouble
    }

    /// Moves a delayed message that is due, and hides another until it is.
    async fn look_at(&self, channel: &ActorId, (name, url): (&str, &str), due: u64, received: &Received) -> Result<(), Failure> {
        let left = Duration::from_millis(due.saturating_sub(now_ms()));
        if left > SOON {
            let hidden = self.hide(name, url, &received.receipt, left.as_secs().clamp(1, HIDDEN_SECS)).await;
            return hidden.map_err(|fault| self.failure(&fault));
        }
        tokio::time::sleep(left).await;
        self.put_into_queue(channel, &Message::decode(received.body.as_bytes(), 0)?).await?;
        self.remove(name, url, &received.receipt).await.map_err(|fault| self.failure(&fault))
    }
}

fn now_ms() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}
