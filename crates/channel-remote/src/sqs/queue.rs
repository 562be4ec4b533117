//! The queue of a channel at SQS: what is in it, what this node has given out of it, and how that is settled.

use std::time::{Duration, Instant};

use plexspaces_coord::channels::MAX_DELIVERIES;
use plexspaces_types::{ActorId, Code, Failure};
use serde_json::{Value, json};

use super::client::Fault;
use super::hands::Hand;
use super::names::{Kind, digest};
use super::{SLICE, Sqs, number};
use crate::message::Message;

/// The longest time for which SQS hides a message, in seconds.
pub(super) const LONGEST_SECS: u64 = 12 * 60 * 60;

/// Bytes of a message at most.
const MAX_BYTES: usize = 1 << 20;

/// How long and of how many messages it is remembered that they are done.
const SETTLED: Duration = Duration::from_secs(120);
const MAX_SETTLED: usize = 10_000;

/// How often a request that may have been answered before is begun anew.
const MAX_REFUSED: u32 = 3;

/// How often a message was given out before, of one that is moved from queue to queue.
pub(super) const DELIVERED: &str = "Delivered";

/// What becomes of a message that was given out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Done,
    Again,
    Dead,
}

/// A message as SQS gives it.
pub(super) struct Received {
    pub(super) body: String,
    pub(super) receipt: String,
    pub(super) sqs_id: String,
    /// How often it was given out.
    pub(super) count: u64,
    /// Its place among those of a FIFO queue.
    pub(super) number: u64,
    attributes: Value,
}

impl Received {
    fn read(message: &Value) -> Option<Self> {
        let text = |name: &str| message.get(name).and_then(Value::as_str).map(str::to_owned);
        let system = |name: &str| message.get("Attributes").and_then(|all| all.get(name));
        Some(Self {
            body: text("Body")?,
            receipt: text("ReceiptHandle")?,
            sqs_id: text("MessageId")?,
            count: system("ApproximateReceiveCount").and_then(number).unwrap_or(1),
            number: system("SequenceNumber").and_then(Value::as_str).and_then(sequence).unwrap_or(0),
            attributes: message.get("MessageAttributes").cloned().unwrap_or_default(),
        })
    }

    /// A number that was sent along.
    pub(super) fn along(&self, name: &str) -> Option<u64> {
        self.attributes.get(name).and_then(|attribute| attribute.get("StringValue")).and_then(number)
    }
}

/// The number of a message of a FIFO queue, which rises. It has up to 20 digits at SQS, of which the first is always the same.
fn sequence(text: &str) -> Option<u64> {
    let digits = text.len().saturating_sub(19);
    text.get(digits..)?.parse().ok()
}

/// Numbers that are sent along with a message.
pub(super) fn along(name: &str, value: u64) -> Value {
    json!({name: {"DataType": "Number", "StringValue": value.to_string()}})
}

/// The text of a message. SQS refuses two characters, which stand in texts of JSON only.
pub(super) fn body(message: &Message) -> Result<String, Failure> {
    let text = String::from_utf8(message.encode()?).map_err(|error| Failure::new(Code::Internal, error.to_string()))?;
    let text = text.replace('\u{fffe}', "\\ufffe").replace('\u{ffff}', "\\uffff");
    if text.len() <= MAX_BYTES {
        return Ok(text);
    }
    let message = format!("a message of {} bytes is larger than what SQS takes, {MAX_BYTES} bytes", text.len());
    Err(Failure::new(Code::PayloadTooLarge, message).with_field("payload"))
}

impl Sqs {
    pub(super) async fn put_into_queue(&self, channel: &ActorId, message: &Message) -> Result<(), Failure> {
        self.put(channel, Kind::Queue, message, &digest(&["s", &message.msg_id]), &json!({})).await
    }

    /// Puts a message into one of the FIFO queues, unless one with the same identifier came lately.
    pub(super) async fn put(
        &self,
        channel: &ActorId,
        kind: Kind,
        message: &Message,
        identifier: &str,
        along: &Value,
    ) -> Result<(), Failure> {
        let text = body(message)?;
        let name = self.name(channel, kind);
        let url = self.make(&name, kind).await?;
        let group = match kind {
            // Of one group SQS gives out ten messages at most until they are done, and dead letters are only looked at.
            Kind::Dead => digest(&[identifier]),
            _ if self.0.ordered => "all".to_owned(),
            _ => digest(&[&message.msg_id]),
        };
        let body = json!({
            "QueueUrl": url,
            "MessageBody": text,
            "MessageGroupId": group,
            "MessageDeduplicationId": identifier,
            "MessageAttributes": along,
        });
        let sent = self.ask(&name, "SendMessage", &body, Duration::ZERO).await;
        sent.map(drop).map_err(|fault| self.failure(&fault))
    }

    /// Up to ten messages of a queue, hidden for a time.
    pub(super) async fn take(
        &self,
        name: &str,
        url: &str,
        most: usize,
        hidden_secs: u64,
        wait: Duration,
        attempt: Option<&str>,
    ) -> Result<Vec<Received>, Fault> {
        let mut body = json!({
            "QueueUrl": url,
            "MaxNumberOfMessages": most,
            "VisibilityTimeout": hidden_secs,
            "WaitTimeSeconds": wait.as_secs(),
            "AttributeNames": ["All"],
            "MessageAttributeNames": ["All"],
        });
        if let (Some(attempt), Value::Object(body)) = (attempt, &mut body) {
            body.insert("ReceiveRequestAttemptId".to_owned(), attempt.into());
        }
        let answer = self.ask(name, "ReceiveMessage", &body, wait).await?;
        let messages = answer.get("Messages").and_then(Value::as_array);
        Ok(messages.into_iter().flatten().filter_map(Received::read).collect())
    }

    /// An actor that asks again under the same key is given what it was given, as long as that is not settled: SQS remembers the request.
    pub(super) async fn take_from_queue(
        &self,
        channel: &ActorId,
        visibility: Duration,
        until: Instant,
        asked: Option<(&ActorId, &str)>,
    ) -> Result<Option<Message>, Failure> {
        let hidden_secs = hidden_secs(visibility)?;
        let name = self.name(channel, Kind::Queue);
        let url = self.make(&name, Kind::Queue).await?;
        self.tend(channel);
        let (mut rounds, mut refused) = (0_u32, 0_u32);
        loop {
            self.0.hands.lock().check_room(Instant::now())?;
            let left = until.saturating_duration_since(Instant::now());
            let attempt = asked.map(|(sender, key)| digest(&[&sender.to_string(), key, &rounds.to_string()]));
            let begun = Instant::now();
            let taken = self.take(&name, &url, 1, hidden_secs, Duration::from_secs(left.as_secs()).min(SLICE), attempt.as_deref()).await;
            match taken {
                Ok(mut taken) => {
                    if let Some(received) = taken.pop() {
                        let hidden_until = begun + Duration::from_secs(hidden_secs);
                        if let Some(message) = self.give_out(channel, &name, &url, received, hidden_until).await? {
                            return Ok(Some(message));
                        }
                        rounds += 1;
                        continue;
                    }
                }
                // What was given for the request before is settled, or it was too long ago.
                Err(fault @ Fault::Refused(..)) if attempt.is_some() && refused < MAX_REFUSED && !fault.is_no_queue() => {
                    refused += 1;
                    rounds += 1;
                    continue;
                }
                Err(fault) => return Err(self.failure(&fault)),
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            if left < Duration::from_secs(1) {
                // SQS waits for whole seconds.
                tokio::time::sleep(left).await;
            }
            self.tend(channel);
        }
    }

    /// Takes a message in hand; `None` for one that was given out too often.
    async fn give_out(
        &self,
        channel: &ActorId,
        name: &str,
        url: &str,
        received: Received,
        until: Instant,
    ) -> Result<Option<Message>, Failure> {
        let mut message = Message::decode(received.body.as_bytes(), received.count)?;
        if received.count > u64::from(MAX_DELIVERIES) {
            message.delivery_count -= 1;
            self.bury(channel, &message, &received.sqs_id).await?;
            self.remove(name, url, &received.receipt).await.map_err(|fault| self.failure(&fault))?;
            return Ok(None);
        }
        message.receipt = Some(received.receipt.clone());
        let Received { receipt, sqs_id, body, .. } = received;
        let hand = Hand { receipt, sqs_id, message: message.clone(), bytes: body.len(), until, may_be_gone: false };
        self.0.hands.lock().insert((name.to_owned(), message.msg_id.clone()), hand, Instant::now());
        Ok(Some(message))
    }

    /// Makes a dead letter of a message, as often as it is asked for the same.
    async fn bury(&self, channel: &ActorId, message: &Message, sqs_id: &str) -> Result<(), Failure> {
        let identifier = digest(&["d", &message.msg_id, sqs_id]);
        self.put(channel, Kind::Dead, message, &identifier, &along(DELIVERED, message.delivery_count)).await
    }

    pub(super) async fn remove(&self, name: &str, url: &str, receipt: &str) -> Result<(), Fault> {
        self.ask(name, "DeleteMessage", &json!({"QueueUrl": url, "ReceiptHandle": receipt}), Duration::ZERO).await.map(drop)
    }

    pub(super) async fn hide(&self, name: &str, url: &str, receipt: &str, secs: u64) -> Result<(), Fault> {
        let body = json!({"QueueUrl": url, "ReceiptHandle": receipt, "VisibilityTimeout": secs});
        match self.ask(name, "ChangeMessageVisibility", &body, Duration::ZERO).await {
            // It is in nobody's hands, and so to be had.
            Err(Fault::Refused(error, _)) if error.ends_with("MessageNotInflight") => Ok(()),
            answer => answer.map(drop),
        }
    }

    /// Settles a message: the delivery of a receipt, or that which this node knows.
    pub(super) async fn settle(&self, channel: &ActorId, msg_id: &str, receipt: Option<&str>, verdict: Verdict) -> Result<(), Failure> {
        let name = self.name(channel, Kind::Queue);
        let key = (name.clone(), msg_id.to_owned());
        let hand = self.0.hands.lock().get(&key);
        let handle = match (&hand, receipt) {
            (Some(hand), Some(receipt)) if hand.receipt != receipt && hand.until > Instant::now() => return Err(over(msg_id)),
            (_, Some(receipt)) => receipt.to_owned(),
            (Some(hand), None) => hand.receipt.clone(),
            (None, None) if self.was_settled(&key) => return Ok(()),
            (None, None) => {
                let message = format!(
                    "the message {msg_id:?} was not given out by this node, or its time is over, and SQS settles a message by its receipt only, \
                     which {} needs then",
                    if verdict == Verdict::Done { "ack" } else { "nack" }
                );
                return Err(Failure::new(Code::Conflict, message).with_field("msg_id"));
            }
        };
        let known = hand.filter(|hand| hand.receipt == handle);
        let url = self.make(&name, Kind::Queue).await?;
        let is_last = known.as_ref().is_some_and(|hand| hand.message.delivery_count >= u64::from(MAX_DELIVERIES));
        let settled = match (verdict, &known) {
            (Verdict::Again, _) if !is_last => self.hide(&name, &url, &handle, 0).await,
            (Verdict::Done, _) => self.remove(&name, &url, &handle).await,
            (_, Some(hand)) => {
                self.bury(channel, &hand.message, &hand.sqs_id).await?;
                self.remove(&name, &url, &handle).await
            }
            (_, None) => {
                let message = format!("only the node that has given out the message {msg_id:?} can make it a dead letter at SQS");
                return Err(Failure::new(Code::Conflict, message).with_field("requeue"));
            }
        };
        let is_gone = verdict != Verdict::Again || is_last;
        match settled {
            Ok(()) => {}
            Err(fault @ Fault::Away(_)) => {
                if is_gone {
                    self.0.hands.lock().doubt(&key, &handle);
                }
                return Err(self.failure(&fault));
            }
            Err(Fault::Refused(error, _)) if error.contains("Receipt") || error.contains("InvalidParameterValue") => {
                // The receipt of what is gone does not hold any more. Any other refusal says nothing of that.
                if !is_gone || known.is_none_or(|hand| !hand.may_be_gone) {
                    return Err(over(msg_id));
                }
            }
            Err(fault) => return Err(self.failure(&fault)),
        }
        self.0.hands.lock().remove(&key, &handle);
        if is_gone {
            let mut settled = self.0.settled.lock();
            settled.push_back((Instant::now(), key));
            while settled.len() > MAX_SETTLED || settled.front().is_some_and(|(at, _)| at.elapsed() > SETTLED) {
                settled.pop_front();
            }
        }
        Ok(())
    }

    /// Whether this node has settled a message lately, which then is not there any more.
    fn was_settled(&self, key: &(String, String)) -> bool {
        self.0.settled.lock().iter().any(|(at, settled)| settled == key && at.elapsed() <= SETTLED)
    }
}

fn over(msg_id: &str) -> Failure {
    let message = format!("the receipt of the message {msg_id:?} does not hold any more: its time is over, or the message was given back");
    Failure::new(Code::Conflict, message).with_field("receipt")
}

/// For how long SQS is to hide a message: whole seconds.
fn hidden_secs(visibility: Duration) -> Result<u64, Failure> {
    let secs = visibility.as_millis().div_ceil(1000);
    match u64::try_from(secs) {
        Ok(secs) if secs <= LONGEST_SECS => Ok(secs),
        _ => {
            let text =
                format!("visibility_ms is {}, expected at most {}: SQS hides for 12 hours", visibility.as_millis(), LONGEST_SECS * 1000);
            Err(Failure::invalid("visibility_ms", text))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_messages_rise() {
        assert_eq!(sequence("7"), Some(7));
        assert_eq!(sequence("18870844355071978240"), Some(8_870_844_355_071_978_240));
        assert!(sequence("18870844355071978240") < sequence("18870844355071978241"));
        assert_eq!(sequence("x"), None);
    }

    #[test]
    fn what_is_hidden_too_long_is_refused() {
        assert_eq!(hidden_secs(Duration::from_millis(1)).unwrap(), 1);
        assert_eq!(hidden_secs(Duration::from_secs(LONGEST_SECS)).unwrap(), LONGEST_SECS);
        let failure = hidden_secs(Duration::from_secs(LONGEST_SECS) + Duration::from_millis(1)).unwrap_err();
        assert_eq!(failure.field.as_deref(), Some("visibility_ms"));
    }

    #[test]
    fn fuzz_messages_of_sqs() {
        let example = json!({
            "Body": "text", "ReceiptHandle": "r", "MessageId": "i",
            "Attributes": {"ApproximateReceiveCount": "3", "SequenceNumber": "18849496460467696128"},
            "MessageAttributes": along("due", 7),
        });
        plexspaces_testkit::fuzz!([example.to_string()], |bytes: &Vec<u8>| {
            let Ok(message) = serde_json::from_slice(bytes) else { return };
            if let Some(read) = Received::read(&message) {
                let _ = (read.along("due"), Message::decode(read.body.as_bytes(), read.count));
            }
        });
    }
}
