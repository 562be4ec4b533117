//! Dead letters at SQS. A queue can be read only by receiving from it, so all are received, shown, and given back.

use std::time::Duration;

use plexspaces_types::{ActorId, Failure};
use serde_json::{Value, json};

use super::Sqs;
use super::names::{Kind, digest};
use super::queue::{DELIVERED, Received};
use crate::backend::PAGE_BYTES;
use crate::message::Message;

/// Dead letters that are looked at; of more than that the oldest that SQS gives are shown, and the others when those are gone.
const MAX_READ: usize = 10_000;

/// Dead letters that one request puts back into the queue.
const REDRIVE_AT_ONCE: usize = 1000;

/// For how long what is read is hidden from others unless it is given back, in seconds.
const READ_SECS: u64 = 60;

/// What SQS takes in one request.
const BATCH: usize = 10;

impl Sqs {
    /// All dead letters in their order, hidden from others.
    async fn read_dead(&self, name: &str, url: &str) -> Result<Vec<Received>, Failure> {
        let mut all: Vec<Received> = Vec::new();
        while all.len() < MAX_READ {
            // With a wait all servers of the queue are asked.
            let taken = self.take(name, url, BATCH, READ_SECS, Duration::from_secs(1), None).await;
            let taken = match taken {
                Err(fault) if fault.is_no_queue() => Vec::new(),
                taken => taken.map_err(|fault| self.failure(&fault))?,
            };
            if taken.is_empty() {
                break;
            }
            all.extend(taken);
        }
        all.sort_by_key(|received| received.number);
        Ok(all)
    }

    /// Lets others see what was read.
    async fn give_back(&self, name: &str, url: &str, read: &[Received]) -> Result<(), Failure> {
        for batch in read.chunks(BATCH) {
            let entry = |(number, received): (usize, &Received)| json!({"Id": number.to_string(), "ReceiptHandle": received.receipt, "VisibilityTimeout": 0});
            let entries: Vec<Value> = batch.iter().enumerate().map(entry).collect();
            let body = json!({"QueueUrl": url, "Entries": entries});
            let answer = self.ask(name, "ChangeMessageVisibilityBatch", &body, Duration::ZERO).await;
            answer.map(drop).map_err(|fault| self.failure(&fault))?;
        }
        Ok(())
    }

    pub(super) async fn list_dead(
        &self,
        channel: &ActorId,
        after: Option<u64>,
        limit: usize,
    ) -> Result<(Vec<(u64, Message)>, bool), Failure> {
        let name = self.name(channel, Kind::Dead);
        let Some(url) = self.find(&name).await? else { return Ok((Vec::new(), false)) };
        let _one_at_a_time = self.0.reading.lock().await;
        let all = self.read_dead(&name, &url).await?;
        let given_back = self.give_back(&name, &url, &all).await;
        let (mut page, mut bytes, mut more) = (Vec::new(), 0, false);
        for received in all.iter().filter(|received| after.is_none_or(|after| received.number > after)) {
            if page.len() >= limit || bytes >= PAGE_BYTES {
                more = true;
                break;
            }
            bytes += received.body.len();
            page.push((received.number, letter(received)?));
        }
        given_back.map(|()| (page, more))
    }

    pub(super) async fn bring_back(&self, channel: &ActorId, msg_ids: Option<&[String]>) -> Result<usize, Failure> {
        let name = self.name(channel, Kind::Dead);
        let Some(url) = self.find(&name).await? else { return Ok(0) };
        let _one_at_a_time = self.0.reading.lock().await;
        let (mut redriven, mut left) = (0, Vec::new());
        for received in self.read_dead(&name, &url).await? {
            let message = letter(&received)?;
            let is_wanted = msg_ids.is_none_or(|ids| ids.contains(&message.msg_id));
            if !is_wanted || redriven >= REDRIVE_AT_ONCE {
                left.push(received);
                continue;
            }
            let identifier = digest(&["r", &received.sqs_id]);
            self.put(channel, Kind::Queue, &message, &identifier, &json!({})).await?;
            self.remove(&name, &url, &received.receipt).await.map_err(|fault| self.failure(&fault))?;
            redriven += 1;
        }
        self.give_back(&name, &url, &left).await?;
        Ok(redriven)
    }
}

fn letter(received: &Received) -> Result<Message, Failure> {
    Message::decode(received.body.as_bytes(), received.along(DELIVERED).unwrap_or(1))
}
