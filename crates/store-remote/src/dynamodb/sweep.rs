//! How parts are removed that nothing names: of values that were replaced, and of commits that were not made.
//!
//! A note says with which version its parts could come into use. When the partition has that version and nothing is pending, the entry of the
//! note's key names them now, or nothing ever will again.

use plexspaces_store::{Error, Partition};
use tokio::time::Instant;

use super::commit::behind_notes;
use super::handle::Shared;
use super::item::{HEAD, Held, Note, entry};
use super::table::{Wanted, among};

/// Notes that are looked at together.
const TOGETHER: usize = 100;
/// How much longer than an operation a sweep may take.
const PATIENCE: u32 = 6;

impl Shared {
    /// Looks for such parts and removes them. One that fails is done again with later commits.
    pub(super) async fn sweep(&self, here: &Partition) {
        match self.try_to_sweep(here, Instant::now() + self.timeout * PATIENCE).await {
            Ok(used) => {
                let place = self.places.take(here);
                if let Ok(mut known) = place.lock(self.deadline()).await {
                    known.used = used;
                }
            }
            Err(error) => tracing::warn!(store = self.table.client.place.name(), %error, "parts that nothing names were not removed yet"),
        }
    }

    /// The number of notes that are left.
    async fn try_to_sweep(&self, here: &Partition, deadline: Instant) -> Result<usize, Error> {
        let place = self.places.take(here);
        let head = self.head(here, &place, deadline).await?;
        if head.pending.is_some() {
            return Ok(0);
        }
        let to = behind_notes();
        let wanted = Wanted { here, from: HEAD, to: &to, limit: TOGETHER };
        let (mut used, mut next) = (0, None);
        loop {
            let (items, rest) = self.table.query(&wanted, next.take(), deadline).await?;
            let notes: Vec<Note> = items.iter().filter_map(super::item::Item::note).collect();
            let settled = notes.iter().filter(|note| note.version <= head.version);
            let (kept, free): (Vec<&Note>, Vec<&Note>) = settled.partition(|note| note.key.is_some());
            used += notes.len() - free.len();
            let keys: Vec<_> = kept.iter().filter_map(|note| note.key.as_deref()).map(entry).collect();
            let entries = self.table.get_all(here, &distinct(keys), deadline).await?;
            let is_named = |note: &Note| {
                let entry = note.key.as_deref().and_then(|key| among(&entries, &entry(key)));
                entry.and_then(Held::read).is_some_and(|held| matches!(held, Held::Parts { name, .. } if name == note.name))
            };
            for note in kept.into_iter().filter(|note| !is_named(note)).chain(free) {
                if note.key.is_some() {
                    used -= 1;
                }
                self.remove_parts(here, &note.name, note.parts, deadline).await?;
            }
            match rest {
                Some(rest) => next = Some(rest),
                None => return Ok(used),
            }
        }
    }
}

/// A request must not ask for one item twice.
fn distinct(mut keys: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    keys.sort_unstable();
    keys.dedup();
    keys
}
