//! How entries are read, each read from one state of its partition.

use bytes::Bytes;
use plexspaces_store::{Error, Page, Partition, Range};
use serde_json::Value;
use tokio::time::Instant;

use super::config::LIMITS;
use super::handle::Shared;
use super::head::Head;
use super::item::{HEAD, Held, Item, KEY, above, entry};
use super::place::Place;
use super::table::{Wanted, among, head_among};

/// After so many attempts on a partition that changes all the time, this node's own commits wait.
const ATTEMPTS: usize = 2;

/// Entries of a page whose values may be in parts.
struct Found {
    entries: Vec<(Bytes, Held)>,
    more: bool,
}

impl Shared {
    /// The value of a key.
    pub(super) async fn get(&self, here: &Partition, key: &[u8]) -> Result<Option<Bytes>, Error> {
        let deadline = self.deadline();
        self.begin(deadline).await?;
        if key.len() > KEY {
            return Ok(None);
        }
        let place = self.places.take(here);
        self.settled(here, &place, deadline).await?;
        let second = entry(key);
        while Instant::now() < deadline {
            let before = place.seen();
            let items = self.table.get_all(here, &[HEAD.to_vec(), second.clone()], deadline).await?;
            let head = self.read_head(&place, before, head_among(&items))?;
            if head.pending.is_some() {
                self.carry_out(here, &head, deadline).await?;
                continue;
            }
            // Both are of one state if nothing was committed since before. If not, the entry is read after the head: a commit since then may be
            // seen or not, and none that was acknowledged before is missed.
            let item: Option<Item> = if before == Some(head.version) {
                among(&items, &second).cloned()
            } else {
                self.table.get(here, &second, deadline).await?
            };
            let Some(item) = item else { return Ok(None) };
            if let Some(value) = self.table.value(here, self.table.held(&item)?, deadline).await? {
                return Ok(Some(value));
            }
        }
        Err(changed())
    }

    /// A page of a range.
    pub(super) async fn scan(&self, here: &Partition, range: &Range, limit: usize) -> Result<Page, Error> {
        let deadline = self.deadline();
        self.begin(deadline).await?;
        if range.end.as_ref().is_some_and(|end| *end <= range.start) {
            return Ok(Page::default());
        }
        let place = self.places.take(here);
        self.settled(here, &place, deadline).await?;
        let limit = limit.min(LIMITS.page_entries);
        let (mut attempts, mut own) = (0, None);
        let mut before = match place.seen() {
            Some(version) => version,
            None => self.clear_head(here, &place, deadline).await?.version,
        };
        while Instant::now() < deadline {
            if attempts == ATTEMPTS {
                own = Some(place.lock(deadline).await?);
            }
            attempts += 1;
            let found = self.find(here, range, limit, deadline).await?;
            // What was read is one state if nothing was committed meanwhile.
            let after = self.clear_head(here, &place, deadline).await?.version;
            if after == std::mem::replace(&mut before, after)
                && let Some(page) = self.page(here, found, deadline).await?
            {
                return Ok(page);
            }
        }
        drop(own);
        Err(changed())
    }

    /// The head of a partition with nothing pending.
    async fn clear_head(&self, here: &Partition, place: &Place, deadline: Instant) -> Result<Head, Error> {
        while Instant::now() < deadline {
            let head = self.head(here, place, deadline).await?;
            if head.pending.is_none() {
                return Ok(head);
            }
            self.carry_out(here, &head, deadline).await?;
        }
        Err(changed())
    }

    async fn find(&self, here: &Partition, range: &Range, limit: usize, deadline: Instant) -> Result<Found, Error> {
        let (from, to) = (entry(&range.start), range.end.as_ref().map_or_else(above, |end| entry(end)));
        let wanted = Wanted { here, from: &from, to: &to, limit: limit + 1 };
        let (mut found, mut bytes) = (Found { entries: Vec::new(), more: false }, 0_usize);
        let mut next: Option<Value> = None;
        loop {
            let (items, rest) = self.table.query(&wanted, next.take(), deadline).await?;
            for item in items {
                let key = item.key().ok_or_else(|| self.table.client.place.foreign("it holds an item that is no entry of a partition"))?;
                if !range.contains(&key) {
                    continue;
                }
                let held = self.table.held(&item)?;
                bytes = bytes.saturating_add(key.len()).saturating_add(held.length());
                if found.entries.len() == limit || (!found.entries.is_empty() && bytes > LIMITS.page_bytes) {
                    found.more = true;
                    return Ok(found);
                }
                found.entries.push((key, held));
            }
            match rest {
                Some(rest) => next = Some(rest),
                None => return Ok(found),
            }
        }
    }

    /// The entries with their values; nothing when one was replaced meanwhile.
    async fn page(&self, here: &Partition, found: Found, deadline: Instant) -> Result<Option<Page>, Error> {
        let mut page = Page { entries: Vec::with_capacity(found.entries.len()), more: found.more };
        for (key, held) in found.entries {
            let Some(value) = self.table.value(here, held, deadline).await? else { return Ok(None) };
            page.entries.push((key, value));
        }
        Ok(Some(page))
    }
}

fn changed() -> Error {
    Error::Unavailable("the partition is changed all the time while it is read".to_owned())
}
