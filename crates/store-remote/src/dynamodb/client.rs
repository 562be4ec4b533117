//! Requests to the service: sent, and sent again where that may help.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use plexspaces_store::Error;
use serde_json::Value;
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep, timeout_at};

use super::config::Config;
use super::fault::{Fault, Place};

/// The service's interface and its version.
const INTERFACE: &str = "DynamoDB_20120810";
/// An answer has at most 16 MB of items, whose bytes are in base64.
const ANSWER: usize = 32 << 20;
/// How long is waited before a request is sent again: at first, and at most.
const PAUSES: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(1));
/// How long an answer is waited for at least before the request is sent again, where there is time.
const PATIENCE: Duration = Duration::from_millis(200);
/// Nothing is sent where an answer could be waited for less than this.
const LEAST: Duration = Duration::from_millis(20);

pub(super) struct Client {
    service: plexspaces_aws::Client,
    turns: Semaphore,
    pub(super) place: Place,
}

impl Client {
    pub(super) fn new(config: &Config) -> Result<Self, Error> {
        let settings = plexspaces_aws::Config {
            service: "dynamodb",
            interface: INTERFACE,
            region: &config.region,
            endpoint: config.endpoint.as_deref(),
            credentials: &config.credentials,
            ca_file: config.ca_file.as_deref(),
            // Where nobody answers is known before a request counts as sent.
            connect_timeout: config.timeout / 3,
            answer_bytes: ANSWER,
        };
        let told = |error: plexspaces_aws::Error| match error {
            plexspaces_aws::Error::NoAuthority => Error::Failed(format!("{error}, and there is no ca_file")),
            error => Error::Failed(error.to_string()),
        };
        let service = plexspaces_aws::Client::new(&settings).map_err(told)?;
        let place = Place::new(&format!("dynamodb://{}/{}", config.region, config.table));
        Ok(Self { service, turns: Semaphore::new(config.connections.max(1)), place })
    }

    /// Asks until there is an answer or the time is over, or there is nobody to ask. A request must mean the same however often it is sent.
    pub(super) async fn ask(&self, operation: &str, body: &Value, deadline: Instant) -> Result<Value, Fault> {
        let body = Bytes::from(body.to_string());
        let (mut pause, mut was_sent) = (PAUSES.0, false);
        loop {
            let fault = match self.once(operation, &body, deadline).await {
                Ok(answer) => return Ok(answer),
                Err(Fault::Passing { what, sent }) => {
                    was_sent |= sent;
                    Fault::Passing { what, sent: was_sent }
                }
                Err(Fault::Unreachable(what)) if was_sent => Fault::Passing { what, sent: true },
                // It may have met itself.
                Err(Fault::Condition { .. }) => return Err(Fault::Condition { again: was_sent }),
                // What is refused now may have been done when it was sent before.
                Err(Fault::Refused(error)) if was_sent => return Err(Fault::Passing { what: error.to_string(), sent: true }),
                Err(Fault::NoTable) if was_sent => return Err(Fault::Passing { what: "the table is gone".to_owned(), sent: true }),
                Err(fault) => return Err(fault),
            };
            let jittered = jittered(pause);
            if Instant::now() + jittered >= deadline {
                return Err(fault);
            }
            sleep(jittered).await;
            pause = (pause * 2).min(PAUSES.1);
        }
    }

    /// The same where nothing but an answer is expected.
    pub(super) async fn answer(&self, operation: &str, body: &Value, deadline: Instant) -> Result<Value, Error> {
        self.ask(operation, body, deadline).await.map_err(|fault| fault.into_error(&self.place))
    }

    async fn once(&self, operation: &str, body: &Bytes, deadline: Instant) -> Result<Value, Fault> {
        let busy = |what: &str| Fault::Passing { what: what.to_owned(), sent: false };
        let turn = timeout_at(deadline, self.turns.acquire()).await;
        let _turn = turn.map_err(|_| busy("too many requests are under way"))?.map_err(|_| busy("the store is closed"))?;
        let left = deadline.saturating_duration_since(Instant::now());
        // What is sent and not waited for would only make the outcome unknown.
        if left < LEAST {
            return Err(busy("no time is left for a request"));
        }
        // An answer that does not come leaves time for another.
        let patience = (left / 2).max(PATIENCE).min(left);
        let answer = self.service.post(operation, body.clone(), patience).await.map_err(|fault| self.place.unanswered(fault))?;
        if !answer.is_success() {
            return Err(self.place.fault(&answer));
        }
        serde_json::from_slice(&answer.body).map_err(|error| Fault::Passing { what: error.to_string(), sent: true })
    }
}

/// About this long: what failed together shall not come back together.
fn jittered(pause: Duration) -> Duration {
    let nanos = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |now| now.subsec_nanos());
    pause / 2 + pause * (nanos / 1_000 % 1_000) / 1_000
}
