//! Requests to SQS, and what their refusals mean.

use std::time::Duration;

use bytes::Bytes;
use plexspaces_aws::Refusal;
use plexspaces_types::{Code, Failure};
use serde_json::Value;

use super::{Config, PATIENCE};

/// An answer holds at most ten messages of 1 MiB, which may be longer as JSON text.
const ANSWER: usize = 64 << 20;

/// Why there is no answer.
pub(super) enum Fault {
    /// SQS refuses: the error's name, and what it says.
    Refused(String, String),
    /// It was not asked: there are no keys to sign with, or none that can be used.
    Unasked(String),
    /// Nobody knows whether it has happened.
    Away(String),
}

impl Fault {
    /// Whether the queue is not there.
    pub(super) fn is_no_queue(&self) -> bool {
        matches!(self, Self::Refused(name, _) if name.ends_with("QueueDoesNotExist") || name.ends_with("NonExistentQueue"))
    }
}

impl From<plexspaces_aws::Fault> for Fault {
    fn from(fault: plexspaces_aws::Fault) -> Self {
        use plexspaces_aws::Fault as Of;
        match fault {
            Of::NoKeys(why) | Of::Unsigned(why) => Self::Unasked(why),
            Of::Unreachable(why) | Of::Untrusted(why) | Of::Lost(why) => Self::Away(why),
        }
    }
}

pub(super) struct Client(plexspaces_aws::Client);

impl Client {
    pub(super) fn new(config: &Config) -> Result<Self, Failure> {
        let settings = plexspaces_aws::Config {
            service: "sqs",
            interface: "AmazonSQS",
            region: &config.region,
            endpoint: config.endpoint.as_deref(),
            credentials: &config.credentials,
            ca_file: None,
            connect_timeout: PATIENCE,
            answer_bytes: ANSWER,
        };
        let client = plexspaces_aws::Client::new(&settings);
        client.map(Self).map_err(|error| Failure::new(error.code(), format!("[channels.sqs]: {error}")).with_field("channels.sqs"))
    }

    /// Asks, and waits for as long as the request itself may wait at the service and a little more.
    pub(super) async fn ask(&self, action: &str, body: &Value, wait: Duration) -> Result<Value, Fault> {
        let answer = self.0.post(action, Bytes::from(body.to_string()), PATIENCE + wait).await?;
        if answer.is_success() {
            // There may be nothing to say.
            let read = if answer.body.is_empty() { Ok(Value::Null) } else { serde_json::from_slice(&answer.body) };
            return read.map_err(|_| Fault::Away("the answer is no JSON".to_owned()));
        }
        let Refusal { kind, message, .. } = answer.refusal();
        let name = if kind.is_empty() { format!("HTTP status {}", answer.status) } else { kind };
        Err(Fault::Refused(name, message))
    }

    /// A fault as a caller sees it. What an operator can put right is `unavailable` too: a message that waits is sent then.
    pub(super) fn failure(&self, fault: &Fault) -> Failure {
        let place = self.0.endpoint();
        match fault {
            Fault::Refused(name, said) if said.contains("must be shorter") || name.ends_with("MessageTooLong") => {
                Failure::new(Code::PayloadTooLarge, format!("the message is larger than what SQS ({place}) takes: {said}"))
                    .with_field("payload")
            }
            Fault::Refused(name, said) if name.ends_with("OverLimit") => {
                Failure::new(Code::Overloaded, format!("SQS ({place}) lets no more be in hand for the channel: {said}"))
            }
            Fault::Refused(name, said) => {
                Failure::new(Code::Unavailable, format!("the message broker SQS ({place}) refuses: {name}: {said}"))
            }
            Fault::Unasked(why) => Failure::new(Code::Unavailable, format!("the message broker SQS ({place}) cannot be asked: {why}")),
            Fault::Away(why) => Failure::new(Code::Unavailable, format!("the message broker SQS ({place}) does not answer: {why}")),
        }
    }
}
