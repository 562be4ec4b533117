//! The last numbers of durable actors whose messages a system actor has applied, so that each is applied once.
//!
//! A number is needed as long as its sender keeps the message: it may come a second time. Senders that keep none are looked for now and
//! then, so that a service does not remember every actor that there ever was.

use std::collections::BTreeMap;
use std::ops::Bound;

use futures::future::try_join_all;
use plexspaces_durable::{Outgoing, encode_heard, heard_key};
use plexspaces_store::{Partition, Write};
use plexspaces_types::{ActorId, Failure};

use super::cell::SystemCell;
use crate::Runtime;

/// Messages after which senders are looked through, and how many of them then. They are more, so that those of long ago get fewer.
const LOOK_AFTER: usize = 256;
const LOOK_AT_ONCE: usize = 512;

/// How many partitions are looked at side by side.
const SIDE_BY_SIDE: usize = 16;

/// A sender from which something came in this time is not looked at: it may not have heard yet that it has arrived.
const QUIET_MS: u64 = 60_000;

#[derive(Default)]
pub(super) struct Senders {
    /// By its printed identity, each sender's last number, and when that came to be known.
    heard: BTreeMap<String, (u64, u64)>,
    /// Messages since they were looked through.
    since: usize,
    /// Up to whom they were looked through.
    place: String,
    /// Who was found to keep nothing, with the number that was looked at.
    over: Vec<(String, u64)>,
    /// Messages that waited then and still wait: one may be a second copy.
    ahead: usize,
}

impl Senders {
    /// Takes a stored number.
    pub(super) fn load(&mut self, sender: String, number: u64, now_ms: u64) {
        self.heard.insert(sender, (number, now_ms));
    }

    /// Whether a kept message was applied before.
    pub(super) fn has_heard(&self, sender: &ActorId, number: u64) -> bool {
        self.heard.get(&sender.to_string()).is_some_and(|(last, _)| number <= *last)
    }

    pub(super) fn hear(&mut self, sender: &ActorId, number: u64, now_ms: u64) -> Write {
        let sender = sender.to_string();
        let write = Write::Put { key: heard_key(&sender), value: encode_heard(number) };
        self.heard.insert(sender, (number, now_ms));
        self.since += 1;
        write
    }

    /// A message was taken out of the mailbox.
    pub(super) fn took_one(&mut self) {
        self.ahead = self.ahead.saturating_sub(1);
    }

    /// Forgets who was found to keep nothing, once no second copy of theirs can wait any more.
    pub(super) fn forget(&mut self) -> Vec<Write> {
        if self.ahead > 0 {
            return Vec::new();
        }
        let mut writes = Vec::new();
        for (sender, number) in std::mem::take(&mut self.over) {
            if self.heard.get(&sender).is_some_and(|(last, _)| *last == number) {
                self.heard.remove(&sender);
                writes.push(Write::Delete { key: heard_key(&sender) });
            }
        }
        writes
    }

    pub(super) fn wants_a_look(&self) -> bool {
        self.since >= LOOK_AFTER && self.over.is_empty()
    }

    /// Looks which of some senders keep no message any more. Whoever removes the last one has delivered all copies before: they wait by now.
    pub(super) async fn look(&mut self, runtime: &Runtime, cell: &SystemCell, quiet_since_ms: u64) -> Result<(), Failure> {
        self.since = 0;
        let some = self.some(quiet_since_ms);
        let mut over = Vec::new();
        for some in some.chunks(SIDE_BY_SIDE) {
            let looks = some.iter().map(|(sender, number)| keeps(runtime, cell, sender, *number));
            let kept = try_join_all(looks).await?;
            over.extend(some.iter().zip(kept).filter(|(_, keeps)| !keeps).map(|(sender, _)| sender.clone()));
        }
        (self.over, self.ahead) = (over, cell.mailbox.len());
        Ok(())
    }

    /// The next ones from which nothing came since a time.
    fn some(&mut self, quiet_since_ms: u64) -> Vec<(String, u64)> {
        let from = (Bound::Excluded(self.place.as_str()), Bound::Unbounded);
        let next: Vec<_> = self.heard.range::<str, _>(from).take(LOOK_AT_ONCE).collect();
        let place = next.last().filter(|_| next.len() == LOOK_AT_ONCE).map(|(sender, _)| (*sender).clone());
        let quiet = next.into_iter().filter(|(_, (_, heard_ms))| *heard_ms <= quiet_since_ms);
        let quiet = quiet.map(|(sender, (number, _))| (sender.clone(), *number)).collect();
        self.place = place.unwrap_or_default();
        quiet
    }
}

/// From when on a sender that is looked at now must have been quiet.
pub(super) fn quiet_since(now_ms: u64) -> u64 {
    now_ms.saturating_sub(QUIET_MS)
}

/// Whether a sender keeps a message up to this number. For whom does not matter: what is sent to a channel may be answered by the groups.
async fn keeps(runtime: &Runtime, cell: &SystemCell, sender: &str, number: u64) -> Result<bool, Failure> {
    let Some(sender) = ActorId::parse(&cell.id.tenant, sender) else { return Ok(true) };
    let kept = runtime.config().store.scan(&Partition::actor(&sender), Outgoing::up_to(number), 1).await?;
    Ok(!kept.entries.is_empty())
}
