//! How batches are committed.
//!
//! What a batch requires is judged on the entries as they are at a version of the partition, and its changes are written on condition that the
//! head still has that version, in one transaction that also makes the next. So what was judged holds when it is written, also where several
//! batches go together, and of two nodes that judge the same version one is refused and judges anew.
//!
//! A transaction that is sent again finds the version that it made itself, which it knows by the name of the commit in the head. One that may
//! still arrive when nobody waits for it any more is locked out by another version.
//!
//! What is too much for a transaction is put aside, as bytes in parts that nothing names. The commit is then one write of the head, which names
//! them, and whoever meets such a head carries it out before anything else: entry by entry, on condition that the head still says so.

use std::sync::atomic::Ordering;

use bytes::Bytes;
use plexspaces_store::{Batch, Error, Outcome, Partition};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::fault::Fault;
use super::handle::Shared;
use super::head::{Fate, Head, Id};
use super::item::{Change, HEAD, Held, Item, Name, Note, PART, binary, decode, encode, entry, keys, note, part, parts};
use super::known::{BYTES, Changes, ITEM, ITEMS, Judged, Known, Values, judge};
use super::place::Place;
use super::table::{Wanted, among, head_among};

/// How much longer than an operation it may take to carry out a commit that was put aside.
const PATIENCE: u32 = 3;
/// Notes that are looked at when a partition is read for the first time.
const NOTES: usize = 100;

/// Why a step was not done, and how many batches it was for.
struct Ended {
    error: Error,
    batches: usize,
}

/// The second key behind that of each note.
pub(super) fn behind_notes() -> Vec<u8> {
    note(&[0xff; 16])
}

fn unique() -> Name {
    uuid::Uuid::new_v4().into_bytes()
}

fn id() -> Id {
    let [a, b, c, d, e, f, _, _, _, g, h, ..] = unique();
    [a, b, c, d, e, f, g, h]
}

impl Shared {
    /// Commits batches of one partition, one after the other, and gives the outcome of each.
    pub(super) async fn commit(&self, here: &Partition, batches: &[&Batch], oldest: Instant) -> Vec<Outcome> {
        let mut outcomes = Vec::with_capacity(batches.len());
        if let Err(error) = self.commit_all(here, batches, oldest, &mut outcomes).await {
            outcomes.resize(batches.len(), Err(error));
        }
        outcomes
    }

    async fn commit_all(&self, here: &Partition, batches: &[&Batch], oldest: Instant, outcomes: &mut Vec<Outcome>) -> Result<(), Error> {
        // Waiting for a turn is one time, the work itself is another.
        let waited = oldest + self.timeout;
        self.begin(waited).await?;
        let place = self.places.take(here);
        let mut known = place.lock(waited).await?;
        self.settle(here, &place, &mut known, waited).await?;
        let mut most = usize::MAX;
        while let Some(rest) = batches.get(outcomes.len()..).filter(|rest| !rest.is_empty()) {
            let some = rest.get(..most).unwrap_or(rest);
            match self.step(here, &place, &mut known, some, self.deadline()).await {
                Ok(done) => outcomes.extend(done),
                Err(Ended { error: Error::Unknown(what), batches: told }) => {
                    outcomes.resize(outcomes.len() + told, Err(Error::Unknown(what)));
                    return Err(Error::Unavailable("it is not known yet what became of an earlier commit".to_owned()));
                }
                Err(Ended { error: error @ Error::Unavailable(_), .. }) => return Err(error),
                // One that cannot be written must not fail those that can.
                Err(_) if some.len() > 1 => most = 1,
                Err(Ended { error, .. }) => outcomes.push(Err(error)),
            }
        }
        if known.is_to_be_swept()
            && let Some(shared) = self.own.upgrade()
        {
            let here = here.clone();
            tokio::spawn(async move { shared.sweep(&here).await });
        }
        Ok(())
    }

    /// Commits as many of the batches together as go together.
    async fn step(
        &self,
        here: &Partition,
        place: &Place,
        known: &mut Known,
        batches: &[&Batch],
        deadline: Instant,
    ) -> Result<Vec<Outcome>, Ended> {
        let before = |error| Ended { error, batches: 0 };
        loop {
            if Instant::now() >= deadline {
                return Err(before(Error::Unavailable("others change the same partition all the time".to_owned())));
            }
            let Some(head) = known.head.clone() else {
                self.load(here, place, known, deadline).await.map_err(before)?;
                continue;
            };
            let (count, mut values, missing) = known.required(batches);
            let batches = batches.get(..count).unwrap_or(batches);
            if !missing.is_empty() {
                let Some(found) = self.values(here, &missing, deadline).await.map_err(before)? else {
                    known.forget();
                    continue;
                };
                values.extend(found);
            }
            let Judged { outcomes, changes } = judge(&values, batches);
            if changes.is_empty() {
                // The values are those of one state if it is still there.
                if self.head(here, place, deadline).await.map_err(before)? == head {
                    return Ok(outcomes);
                }
                known.forget();
                continue;
            }
            let written = self.write(here, place, known, values, &changes, &head, deadline).await;
            if written.map_err(|error| Ended { error, batches: outcomes.len() })? {
                return Ok(outcomes);
            }
            known.forget();
        }
    }

    /// The values of keys; nothing when one was replaced meanwhile.
    async fn values(&self, here: &Partition, wanted: &[Bytes], deadline: Instant) -> Result<Option<Values>, Error> {
        let seconds: Vec<_> = wanted.iter().map(|key| entry(key)).collect();
        let items = self.table.get_all(here, &seconds, deadline).await?;
        let mut values = Values::with_capacity(wanted.len());
        for (key, second) in wanted.iter().zip(&seconds) {
            let value = match among(&items, second) {
                None => None,
                Some(item) => match self.table.value(here, self.table.held(item)?, deadline).await? {
                    None => return Ok(None),
                    found => found,
                },
            };
            values.insert(key.clone(), value);
        }
        Ok(Some(values))
    }

    /// Writes changes. It is false when others were first, and nothing was or will be changed.
    #[expect(clippy::too_many_arguments, reason = "it is the second half of a step")]
    async fn write(
        &self,
        here: &Partition,
        place: &Place,
        known: &mut Known,
        required: Values,
        changes: &Changes,
        head: &Head,
        deadline: Instant,
    ) -> Result<bool, Error> {
        let id = id();
        let mut next = head.next(id);
        let mut held: Vec<Change> = Vec::with_capacity(changes.len());
        for (key, value) in changes {
            let value = match value {
                Some(value) if value.len() > PART => Some(self.put_aside(here, known, next.version, Some(key), value, deadline).await?),
                Some(value) => Some(Held::Own(value.clone())),
                None => None,
            };
            held.push((key.clone(), value));
        }
        let mut writes = Vec::new();
        if fits(&held) {
            writes.extend(held.iter().map(|change| self.change(here, change)));
        } else {
            let bytes = encode(&held).map_err(|error| self.table.client.place.failed(&error.to_string()))?;
            if let Held::Parts { name, parts, .. } = self.put_aside(here, known, next.version, None, &bytes, deadline).await? {
                next.pending = Some((name, parts));
            }
        }
        if !self.make(here, place, known, (head, &next, id), writes, deadline).await? {
            return Ok(false);
        }
        if next.pending.is_some() {
            // It is committed, whoever carries it out.
            if let Err(error) = self.carry_out(here, &next, deadline).await {
                tracing::warn!(store = self.table.client.place.name(), %error, "a commit will be carried out with the next operation");
                known.forget();
                return Ok(true);
            }
        }
        let head = next.cleared();
        place.saw(head.version);
        known.follow(head, required, changes);
        Ok(true)
    }

    /// Makes the next version of a partition, with what else is to be written. It is false when others were first.
    async fn make(
        &self,
        here: &Partition,
        place: &Place,
        known: &mut Known,
        (head, next, id): (&Head, &Head, Id),
        mut writes: Vec<Value>,
        deadline: Instant,
    ) -> Result<bool, Error> {
        let put = head.replace(here, next, &self.table.name);
        let (operation, body) = if writes.is_empty() {
            ("PutItem", put)
        } else {
            writes.insert(0, json!({"Put": put}));
            ("TransactWriteItems", json!({"TransactItems": writes}))
        };
        let service = &self.table.client;
        let what = match service.ask(operation, &body, deadline).await {
            Ok(_) => return Ok(true),
            Err(Fault::Condition { again: false }) => return Ok(false),
            // It may be itself that it met.
            Err(Fault::Condition { again: true }) => {
                match self.head(here, place, deadline).await.map(|found| found.fate(&id, next.version)) {
                    Ok(Fate::Kept) => return Ok(true),
                    Ok(Fate::Refused) => return Ok(false),
                    // Nothing of it is under way any more.
                    Ok(Fate::Forgotten) => {
                        known.forget();
                        return Err(service.place.unknown("others have changed the partition too often since"));
                    }
                    Err(error) => error.to_string(),
                }
            }
            Err(Fault::Passing { what, sent: true }) => what,
            Err(other) => return Err(other.into_error(&service.place)),
        };
        known.forget();
        known.doubted = known.doubted.max(Some(next.version));
        place.doubted.store(true, Ordering::Release);
        Err(service.place.unknown(&what))
    }

    /// Returns when nothing of the partition is in doubt, which costs nothing while all is well. To be called before it is read.
    pub(super) async fn settled(&self, here: &Partition, place: &Place, deadline: Instant) -> Result<(), Error> {
        if !place.doubted.load(Ordering::Acquire) {
            return Ok(());
        }
        let mut known = place.lock(deadline).await?;
        self.settle(here, place, &mut known, deadline).await
    }

    /// Sees to it that what may still arrive is refused: it requires a version that will be gone.
    async fn settle(&self, here: &Partition, place: &Place, known: &mut Known, deadline: Instant) -> Result<(), Error> {
        let Some(version) = known.doubted else { return Ok(()) };
        known.forget();
        self.load(here, place, known, deadline).await?;
        if let Some(head) = known.head.clone()
            && head.version < version
        {
            let id = id();
            let next = head.next(id);
            match self.make(here, place, known, (&head, &next, id), Vec::new(), deadline).await {
                Ok(_) => known.forget(),
                Err(Error::Unknown(what)) => return Err(Error::Unavailable(format!("an earlier commit is not settled yet: {what}"))),
                Err(other) => return Err(other),
            }
        }
        known.doubted = None;
        place.doubted.store(false, Ordering::Release);
        Ok(())
    }

    /// Reads a partition's head and sees what is beside it.
    async fn load(&self, here: &Partition, place: &Place, known: &mut Known, deadline: Instant) -> Result<(), Error> {
        loop {
            let before = place.seen();
            let wanted = Wanted { here, from: HEAD, to: &behind_notes(), limit: NOTES };
            let (items, _) = self.table.query(&wanted, None, deadline).await?;
            let head = self.read_head(place, before, head_among(&items))?;
            known.found(items.iter().filter(|item| item.note().is_some()).count());
            if head.pending.is_none() {
                known.head = Some(head);
                return Ok(());
            }
            self.carry_out(here, &head, deadline).await?;
            in_time(deadline)?;
        }
    }

    /// Writes bytes that are too many for one item, so that a commit can name them.
    async fn put_aside(
        &self,
        here: &Partition,
        known: &mut Known,
        version: u64,
        key: Option<&Bytes>,
        bytes: &Bytes,
        deadline: Instant,
    ) -> Result<Held, Error> {
        let (name, parts) = (unique(), parts(bytes.len()));
        known.noted(1);
        // What is cut off in between is found by the note.
        self.table.put(Note { name, version, parts, key: key.cloned() }.item(here), deadline).await?;
        self.table.put_parts(here, &name, bytes, deadline).await?;
        Ok(Held::Parts { name, parts, length: bytes.len() as u64 })
    }

    /// Carries out a commit that was put aside, unless another was faster: who needs it looks again.
    pub(super) async fn carry_out(&self, here: &Partition, head: &Head, deadline: Instant) -> Result<(), Error> {
        let Some((name, parts)) = head.pending else { return Ok(()) };
        // It begins anew each time, so it is given the time to end.
        let deadline = deadline.max(Instant::now() + self.timeout * PATIENCE);
        let Some(bytes) = self.table.parts(here, &name, parts, deadline).await? else { return Ok(()) };
        let service = &self.table.client;
        let changes = decode(&bytes).ok_or_else(|| service.place.foreign("the changes of a commit cannot be read"))?;
        let check = json!({"ConditionCheck": {
            "TableName": self.table.name, "Key": keys(here, HEAD), "ConditionExpression": "x = :x",
            "ExpressionAttributeValues": {":x": binary(&name)},
        }});
        let mut rest = changes.as_slice();
        while !rest.is_empty() {
            let (some, others) = rest.split_at(first(rest));
            let writes = std::iter::once(check.clone()).chain(some.iter().map(|change| self.change(here, change)));
            match service.ask("TransactWriteItems", &json!({"TransactItems": writes.collect::<Vec<_>>()}), deadline).await {
                Ok(_) => rest = others,
                Err(Fault::Condition { .. }) => return Ok(()),
                Err(fault) => return Err(fault.into_error(&service.place)),
            }
        }
        match service.ask("PutItem", &head.replace(here, &head.cleared(), &self.table.name), deadline).await {
            Ok(_) => {}
            Err(Fault::Condition { .. }) => return Ok(()),
            Err(fault) => return Err(fault.into_error(&service.place)),
        }
        if let Some(shared) = self.own.upgrade() {
            let here = here.clone();
            // What is left is found by its note.
            tokio::spawn(async move { shared.remove_parts(&here, &name, parts, Instant::now() + shared.timeout).await });
        }
        Ok(())
    }

    /// Removes parts and then the note of them.
    pub(super) async fn remove_parts(&self, here: &Partition, name: &Name, parts: u32, deadline: Instant) -> Result<(), Error> {
        let seconds: Vec<_> = (0..parts).map(|number| part(name, number)).collect();
        self.table.remove(here, &seconds, deadline).await?;
        self.table.remove(here, &[note(name)], deadline).await
    }

    /// The head of a partition.
    pub(super) async fn head(&self, here: &Partition, place: &Place, deadline: Instant) -> Result<Head, Error> {
        let before = place.seen();
        let found = self.table.get(here, HEAD, deadline).await?;
        self.read_head(place, before, found.as_ref())
    }

    /// What a head says that was read after a version was seen.
    pub(super) fn read_head(&self, place: &Place, before: Option<u64>, found: Option<&Item>) -> Result<Head, Error> {
        let unreadable = || self.table.client.place.foreign("the head of a partition cannot be read");
        let head = Head::read(found).ok_or_else(unreadable)?;
        if before.is_some_and(|before| head.version < before) {
            return Err(self.has_lost(&format!(
                "a partition is at version {}, after version {}",
                head.version,
                before.unwrap_or_default()
            )));
        }
        if head.pending.is_none() {
            place.saw(head.version);
        }
        Ok(head)
    }

    /// A change as an action of a transaction.
    fn change(&self, here: &Partition, (key, held): &Change) -> Value {
        match held {
            Some(held) => json!({"Put": {"TableName": self.table.name, "Item": held.item(here, key)}}),
            None => json!({"Delete": {"TableName": self.table.name, "Key": keys(here, &entry(key))}}),
        }
    }
}

fn in_time(deadline: Instant) -> Result<(), Error> {
    let late = || Error::Unavailable("a commit that was put aside is not carried out yet".to_owned());
    if Instant::now() < deadline { Ok(()) } else { Err(late()) }
}

/// How many changes go first in one transaction; at least one.
fn first(changes: &[Change]) -> usize {
    let mut bytes = 0;
    let fitting = changes.iter().take(ITEMS).take_while(|(key, held)| {
        bytes += ITEM + key.len() + held.as_ref().map_or(0, Held::weight);
        bytes <= BYTES
    });
    fitting.count().max(1)
}

/// Whether one transaction holds all of them.
fn fits(changes: &[Change]) -> bool {
    first(changes) >= changes.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_divided_by_their_number_and_their_bytes() {
        let small = |count: usize| vec![(Bytes::from("k"), None); count];
        let large = |count: usize| vec![(Bytes::from("k"), Some(Held::Own(vec![0_u8; PART].into()))); count];
        assert_eq!([1, 99, 100, 500].map(|count| first(&small(count))), [1, 99, 99, 99]);
        assert_eq!([1, 5, 6].map(|count| first(&large(count))), [1, 5, 5]);
        assert_eq!([99, 100].map(|count| fits(&small(count))), [true, false]);
        let named = vec![(Bytes::from("k"), Some(Held::Parts { name: [0; 16], parts: 48, length: 16 << 20 })); 99];
        assert!(fits(&named));
    }
}
