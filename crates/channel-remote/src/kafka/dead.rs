//! Dead letters: a log of their own, in which they stay until they are put back.

use std::collections::{BTreeMap, HashMap};

use plexspaces_types::{ActorId, Code, Failure};
use serde::{Deserialize, Serialize};

use super::client::Entry;
use super::log::{Machine, Verdicts, now_ms};
use super::queue::{Candidate, Command};
use super::{Channel, Kafka};
use crate::message::Message;

/// Dead letters that are kept; a message that would be one more stays in the queue.
const MAX_DEAD: usize = 100_000;

/// Dead letters that one request puts back into the queue.
const REDRIVE_AT_ONCE: usize = 1000;

#[derive(Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
enum Word {
    /// A message of the queue, by its number there, that was given out so many times.
    Dead { number: i64, count: u64 },
    /// A dead letter is in the queue again.
    Gone { offset: i64 },
    /// The queue is given up, and its dead letters.
    Clear,
}

struct Letter {
    id: String,
    number: i64,
    count: u64,
}

#[derive(Default)]
pub(super) struct Dead {
    letters: BTreeMap<i64, Letter>,
    /// Where they are, by their numbers in the queue.
    numbers: HashMap<i64, i64>,
    verdicts: Verdicts,
}

impl Dead {
    pub(super) fn len(&self) -> usize {
        self.letters.len()
    }

    fn remove(&mut self, offset: i64) {
        if let Some(letter) = self.letters.remove(&offset) {
            self.numbers.remove(&letter.number);
        }
    }
}

impl Machine for Dead {
    fn settings() -> Vec<(&'static str, String)> {
        super::kept_for_ever()
    }

    fn apply(&mut self, entry: &Entry) {
        match entry.command.as_ref().and_then(|command| serde_json::from_slice(command).ok()) {
            Some(Word::Dead { number, count }) => {
                let message = entry.body.as_ref().and_then(|body| Message::decode(body, 0).ok());
                let Some(Message { msg_id: id, .. }) = message else { return };
                if let Some(cause) = self.numbers.get(&number) {
                    return self.verdicts.refuse(*cause, entry.offset);
                }
                self.numbers.insert(number, entry.offset);
                self.letters.insert(entry.offset, Letter { id, number, count });
            }
            Some(Word::Gone { offset }) => self.remove(offset),
            Some(Word::Clear) => *self = Self { verdicts: std::mem::take(&mut self.verdicts), ..Self::default() },
            None => {}
        }
    }

    fn low(&self, end: i64) -> i64 {
        self.verdicts.cut(self.letters.first_key_value().map_or(end, |(offset, _)| *offset))
    }

    fn lost(&mut self, start: i64) {
        let gone: Vec<i64> = self.letters.range(..start).map(|(offset, _)| *offset).collect();
        for offset in gone {
            self.remove(offset);
        }
        self.verdicts.lost(start);
    }

    fn again(&self, _: i64) -> Vec<(Option<i64>, Entry)> {
        Vec::new()
    }
}

impl Kafka {
    /// Makes a dead letter of a message that was given out so many times.
    pub(super) async fn bury(&self, channel: &Channel, found: &Candidate, count: u64) -> Result<(), Failure> {
        if channel.dead.fresh(|dead, _| dead.len()).await? >= MAX_DEAD {
            return Err(Failure::new(Code::Overloaded, format!("{MAX_DEAD} dead letters wait at Kafka")));
        }
        let body = self.body(channel, found).await?;
        let number = found.number;
        channel.dead.append(&Word::Dead { number, count }, Some(body), |_, _| ()).await?;
        channel.queue.append(&Command::Done { number }, None, |_, _| ()).await
    }

    pub(super) async fn clear_dead(&self, channel: &Channel) -> Result<(), Failure> {
        if channel.dead.look(false, |dead, _| dead.len()).await?.is_none_or(|letters| letters == 0) {
            return Ok(());
        }
        channel.dead.append(&Word::Clear, None, |_, _| ()).await
    }

    pub(super) async fn list_dead(
        &self,
        channel: &ActorId,
        after: Option<u64>,
        limit: usize,
    ) -> Result<(Vec<(u64, Message)>, bool), Failure> {
        let channel = self.channel(channel);
        let from = after.map_or(0, |after| i64::try_from(after).unwrap_or(i64::MAX).saturating_add(1));
        let page = |dead: &mut Dead, _| -> Vec<(i64, u64)> {
            dead.letters.range(from..).take(limit + 1).map(|(offset, letter)| (*offset, letter.count)).collect()
        };
        let page = channel.dead.look(false, page).await?.unwrap_or_default();
        let more = page.len() > limit;
        let counts: BTreeMap<i64, u64> = page.into_iter().take(limit).collect();
        let offsets: Vec<i64> = counts.keys().copied().collect();
        let mut found = Vec::new();
        let (bodies, is_cut) = channel.dead.bodies(&offsets).await?;
        for (offset, body) in bodies {
            let count = counts.get(&offset).copied().unwrap_or(1);
            found.push((u64::try_from(offset).unwrap_or(0), Message::decode(&body, count)?));
        }
        Ok((found, more || is_cut))
    }

    pub(super) async fn bring_back(&self, channel: &ActorId, msg_ids: Option<&[String]>) -> Result<usize, Failure> {
        let channel = self.channel(channel);
        let wanted = |dead: &mut Dead, _| -> Vec<(i64, String)> {
            let wanted = dead.letters.iter().filter(|(_, letter)| msg_ids.is_none_or(|ids| ids.contains(&letter.id)));
            wanted.take(REDRIVE_AT_ONCE).map(|(offset, letter)| (*offset, letter.id.clone())).collect()
        };
        let mut redriven = 0;
        for (offset, id) in channel.dead.look(false, wanted).await?.unwrap_or_default() {
            // One that waits already stays a dead letter.
            if channel.queue.fresh(|queue, _| queue.find(&id).is_some()).await? {
                continue;
            }
            let Some(body) = channel.dead.body(offset).await? else { continue };
            let send = Command::Send { due_ms: 0, again: true };
            // The same may have been sent since.
            if !channel.queue.append(&send, Some(body), |queue, offset| queue.was_accepted(offset)).await? {
                continue;
            }
            channel.dead.append(&Word::Gone { offset }, None, |_, _| ()).await?;
            redriven += 1;
        }
        Ok(redriven)
    }
}

/// When a message that is put off is due.
pub(super) fn due_ms(delay: std::time::Duration) -> u64 {
    match u64::try_from(delay.as_millis()) {
        Ok(0) => 0,
        Ok(delay_ms) => now_ms().saturating_add(delay_ms),
        Err(_) => u64::MAX,
    }
}
