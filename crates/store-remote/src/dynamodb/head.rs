//! The head of a partition: which version it has. Every commit requires the version that it was judged on, and makes the next.

use plexspaces_store::Partition;
use serde_json::{Value, json};

use super::item::{HEAD, Item, Name, binary, keys, number, set};

/// Commits that the head remembers.
const REMEMBERED: usize = 16;

/// The name of a commit.
pub(super) type Id = [u8; 8];

/// What a partition without an item has is the default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Head {
    /// How many commits there were.
    pub(super) version: u64,
    /// Those that were the last, the newest first.
    ids: Vec<Id>,
    /// The name and the number of the parts of changes that are committed and that the entries do not show yet.
    pub(super) pending: Option<(Name, u32)>,
}

/// What became of a commit that others may have followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It is there.
    Kept,
    /// It is not, and never will be.
    Refused,
    /// One of the two, but not which: too many have followed.
    Forgotten,
}

impl Head {
    pub(super) fn read(item: Option<&Item>) -> Option<Self> {
        let Some(item) = item else { return Some(Self::default()) };
        let ids = item.binary("i")?.chunks_exact(size_of::<Id>()).filter_map(|id| id.try_into().ok()).collect();
        let pending = match item.name("x") {
            Some(name) => Some((name, u32::try_from(item.number("c")?).ok()?)),
            None => None,
        };
        Some(Self { version: item.number("v")?, ids, pending })
    }

    pub(super) fn item(&self, here: &Partition) -> Value {
        let mut item = keys(here, HEAD);
        set(&mut item, "v", number(self.version));
        set(&mut item, "i", binary(&self.ids.concat()));
        if let Some((name, parts)) = &self.pending {
            set(&mut item, "x", binary(name));
            set(&mut item, "c", number(u64::from(*parts)));
        }
        item
    }

    /// The head after a commit.
    pub(super) fn next(&self, id: Id) -> Self {
        let ids = std::iter::once(id).chain(self.ids.iter().copied()).take(REMEMBERED).collect();
        Self { version: self.version + 1, ids, pending: None }
    }

    /// The same when the entries show everything.
    pub(super) fn cleared(&self) -> Self {
        Self { pending: None, ..self.clone() }
    }

    /// Puts a head where this one still is.
    pub(super) fn replace(&self, here: &Partition, next: &Self, table: &str) -> Value {
        let mut put = json!({"TableName": table, "Item": next.item(here)});
        match (&self.pending, self.version) {
            (Some((name, _)), _) => {
                set(&mut put, "ConditionExpression", "x = :x".into());
                set(&mut put, "ExpressionAttributeValues", json!({":x": binary(name)}));
            }
            (None, 0) => set(&mut put, "ConditionExpression", "attribute_not_exists(v)".into()),
            (None, version) => {
                set(&mut put, "ConditionExpression", "v = :v AND attribute_not_exists(x)".into());
                set(&mut put, "ExpressionAttributeValues", json!({":v": number(version)}));
            }
        }
        put
    }

    /// What became of the commit that was to make a version.
    pub(super) fn fate(&self, id: &Id, version: u64) -> Fate {
        if self.ids.contains(id) {
            Fate::Kept
        } else if self.version < version + REMEMBERED as u64 {
            Fate::Refused
        } else {
            Fate::Forgotten
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_read_as_it_was_written() {
        let here = Partition::node("here");
        let mut head = Head::default().next([1; 8]).next([2; 8]);
        for pending in [None, Some(([3; 16], 4))] {
            head.pending = pending;
            assert_eq!(Head::read(Item::new(head.item(&here)).as_ref()), Some(head.clone()));
        }
        assert_eq!(Head::read(None), Some(Head::default()));
        assert_eq!(Head::read(Item::new(keys(&here, HEAD)).as_ref()), None);
    }

    #[test]
    fn a_head_knows_what_became_of_the_last_commits() {
        let mut head = Head::default().next([1; 8]);
        let first = head.clone();
        for other in 2..=16 {
            assert_eq!((head.fate(&[1; 8], 1), head.fate(&[0; 8], 1)), (Fate::Kept, Fate::Refused));
            head = head.next([other; 8]);
        }
        assert_eq!((head.fate(&[1; 8], 1), head.fate(&[0; 8], 1)), (Fate::Kept, Fate::Refused));
        head = head.next([17; 8]);
        assert_eq!((head.version, head.fate(&[1; 8], 1)), (17, Fate::Forgotten));
        // One that found something pending in its way.
        assert_eq!(first.fate(&[9; 8], 2), Fate::Refused);
    }
}
