//! How the items of the table look, in the service's JSON.
//!
//! All items of a partition have its bytes as the table's first key `p`. The second key `s` begins with a byte that says what an item is:
//! - the partition's head, of which there is one;
//! - a note of bytes that are too many for one item, with their name, beside the head, so that one query finds both;
//! - an entry: a key with its value, or with the name of the bytes that are its value;
//! - a part of such bytes, with their name and its number.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use plexspaces_store::Partition;
use serde_json::{Map, Value, json};

/// Bytes of one value or part at most; the service ends at 400 KB with names and keys.
pub(super) const PART: usize = 350_000;
/// Bytes of a key at most. The service ends at 1,024: one goes to the kind of item, one to the key that follows the longest.
pub(super) const KEY: usize = 1_022;

/// The name of bytes that are too many for one item.
pub(super) type Name = [u8; 16];

pub(super) const HEAD: &[u8] = &[0];
const NOTE: u8 = 0;
const ENTRY: u8 = 1;
const PARTS: u8 = 2;
/// Above every entry, and below every part.
const ABOVE: &[u8] = &[PARTS];

/// The second key of an entry, or of the end of a range. What is longer than any key is cut off, where it still lies between the same keys.
pub(super) fn entry(key: &[u8]) -> Vec<u8> {
    [&[ENTRY], key.get(..=KEY).unwrap_or(key)].concat()
}

/// The last of the second keys of a range of entries without an end.
pub(super) fn above() -> Vec<u8> {
    ABOVE.to_vec()
}

/// The second key of a note.
pub(super) fn note(name: &Name) -> Vec<u8> {
    [&[NOTE], &name[..]].concat()
}

/// The second key of a part.
pub(super) fn part(name: &Name, number: u32) -> Vec<u8> {
    [&[PARTS], &name[..], &number.to_be_bytes()[..]].concat()
}

/// So many parts have these bytes.
pub(super) fn parts(bytes: usize) -> u32 {
    u32::try_from(bytes.div_ceil(PART)).unwrap_or(u32::MAX)
}

pub(super) fn binary(bytes: &[u8]) -> Value {
    json!({"B": STANDARD.encode(bytes)})
}

pub(super) fn number(number: u64) -> Value {
    json!({"N": number.to_string()})
}

/// Sets an attribute of an item, or a field of a request.
pub(super) fn set(object: &mut Value, name: &str, value: Value) {
    if let Value::Object(fields) = object {
        fields.insert(name.to_owned(), value);
    }
}

pub(super) fn keys(partition: &Partition, second: &[u8]) -> Value {
    json!({"p": binary(partition.as_bytes()), "s": binary(second)})
}

/// An item as it was read.
#[derive(Clone, Debug)]
pub(super) struct Item(Map<String, Value>);

impl Item {
    pub(super) fn new(value: Value) -> Option<Self> {
        match value {
            Value::Object(attributes) => Some(Self(attributes)),
            _ => None,
        }
    }

    pub(super) fn binary(&self, name: &str) -> Option<Bytes> {
        STANDARD.decode(self.0.get(name)?.get("B")?.as_str()?).ok().map(Bytes::from)
    }

    pub(super) fn number(&self, name: &str) -> Option<u64> {
        self.0.get(name)?.get("N")?.as_str()?.parse().ok()
    }

    pub(super) fn name(&self, name: &str) -> Option<Name> {
        self.binary(name)?.as_ref().try_into().ok()
    }

    /// The key of an entry.
    pub(super) fn key(&self) -> Option<Bytes> {
        let second = self.binary("s")?;
        (second.first() == Some(&ENTRY)).then(|| second.slice(1..))
    }

    /// What a note says, or nothing for any other item.
    pub(super) fn note(&self) -> Option<Note> {
        let second = self.binary("s")?;
        let (kind, name) = second.split_first()?;
        let name = name.try_into().ok().filter(|_| *kind == NOTE)?;
        Some(Note { name, version: self.number("v")?, parts: self.count()?, key: self.binary("k") })
    }

    fn count(&self) -> Option<u32> {
        u32::try_from(self.number("c")?).ok()
    }
}

/// Says that bytes may be there that are too many for one item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Note {
    pub(super) name: Name,
    /// The only version of the partition with which they could come into use.
    pub(super) version: u64,
    pub(super) parts: u32,
    /// The key whose value they are; without one they are the changes of a commit.
    pub(super) key: Option<Bytes>,
}

impl Note {
    pub(super) fn item(&self, here: &Partition) -> Value {
        let mut item = keys(here, &note(&self.name));
        set(&mut item, "v", number(self.version));
        set(&mut item, "c", number(u64::from(self.parts)));
        if let Some(key) = &self.key {
            set(&mut item, "k", binary(key));
        }
        item
    }
}

/// A value as an item has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Held {
    /// In the item itself.
    Own(Bytes),
    /// In parts.
    Parts {
        /// Their name.
        name: Name,
        /// How many there are.
        parts: u32,
        /// Bytes of all.
        length: u64,
    },
}

impl Held {
    pub(super) fn read(item: &Item) -> Option<Self> {
        if let Some(bytes) = item.binary("d") {
            return Some(Self::Own(bytes));
        }
        Some(Self::Parts { name: item.name("n")?, parts: item.count()?, length: item.number("l")? })
    }

    pub(super) fn item(&self, here: &Partition, key: &[u8]) -> Value {
        let mut item = keys(here, &entry(key));
        match self {
            Self::Own(bytes) => set(&mut item, "d", binary(bytes)),
            Self::Parts { name, parts, length } => {
                set(&mut item, "n", binary(name));
                set(&mut item, "c", number(u64::from(*parts)));
                set(&mut item, "l", number(*length));
            }
        }
        item
    }

    /// Bytes of the value.
    pub(super) fn length(&self) -> usize {
        match self {
            Self::Own(bytes) => bytes.len(),
            Self::Parts { length, .. } => usize::try_from(*length).unwrap_or(usize::MAX),
        }
    }

    /// Bytes that stand in the item.
    pub(super) fn weight(&self) -> usize {
        match self {
            Self::Own(bytes) => bytes.len(),
            Self::Parts { .. } => 64,
        }
    }
}

/// A key with its new value, or none where it is removed.
pub(super) type Change = (Bytes, Option<Held>);

/// A change in the form in which it is kept.
type Kept = (Bytes, Option<Bytes>, Option<(Name, u32, u64)>);

/// The bytes of changes.
pub(super) fn encode(changes: &[Change]) -> Result<Bytes, postcard::Error> {
    let kept = changes.iter().map(|(key, held)| match held {
        None => (key.clone(), None, None),
        Some(Held::Own(bytes)) => (key.clone(), Some(bytes.clone()), None),
        Some(Held::Parts { name, parts, length }) => (key.clone(), None, Some((*name, *parts, *length))),
    });
    postcard::to_stdvec(&kept.collect::<Vec<Kept>>()).map(Bytes::from)
}

pub(super) fn decode(bytes: &[u8]) -> Option<Vec<Change>> {
    let kept: Vec<Kept> = postcard::from_bytes(bytes).ok()?;
    let change = |(key, own, named): Kept| match (own, named) {
        (Some(bytes), _) => (key, Some(Held::Own(bytes))),
        (None, Some((name, parts, length))) => (key, Some(Held::Parts { name, parts, length })),
        (None, None) => (key, None),
    };
    Some(kept.into_iter().map(change).collect())
}

#[cfg(test)]
mod tests {
    use super::super::head::Head;
    use super::*;

    #[test]
    fn changes_come_back_as_they_were() {
        let named = Held::Parts { name: [7; 16], parts: 3, length: 1_000_000 };
        let changes: Vec<Change> =
            vec![(Bytes::new(), None), ("k".into(), Some(Held::Own(Bytes::new()))), (vec![0, 255].into(), Some(named))];
        assert_eq!(decode(&encode(&changes).unwrap()), Some(changes));
        assert_eq!(decode(&[9, 9]), None);
    }

    #[test]
    fn items_are_read_as_they_were_written() {
        let here = Partition::node("here");
        for held in [Held::Own("v".into()), Held::Parts { name: [1; 16], parts: 2, length: 400_000 }] {
            let item = Item::new(held.item(&here, b"k")).unwrap();
            assert_eq!((item.key(), Held::read(&item), item.note()), (Some("k".into()), Some(held), None));
        }
        for key in [None, Some(Bytes::from("k"))] {
            let note = Note { name: [2; 16], version: 9, parts: 4, key };
            let item = Item::new(note.item(&here)).unwrap();
            assert_eq!((item.note(), item.key()), (Some(note), None));
        }
    }

    #[test]
    fn the_ends_of_ranges_are_cut_off_where_no_key_is_between() {
        let long = vec![7; 2_000];
        assert_eq!(entry(&long).len(), 1_024);
        assert!(entry(&[7; KEY]) < entry(&long) && entry(&long) < entry(&[8]) && entry(&[255; KEY]) < above());
    }

    #[test]
    fn each_part_but_the_last_is_full() {
        assert_eq!([0, 1, PART, PART + 1, 16 << 20].map(parts), [0, 1, 1, 2, 48]);
    }

    #[test]
    fn fuzz_items() {
        let here = Partition::node("here");
        let named = Held::Parts { name: [1; 16], parts: 2, length: 400_000 };
        let note = Note { name: [2; 16], version: 9, parts: 4, key: Some("k".into()) };
        let head = json!({"s": binary(HEAD), "v": number(7), "i": binary(&[1; 16]), "x": binary(&[3; 16]), "c": number(4)});
        let items = [Held::Own("v".into()).item(&here, b"k"), named.item(&here, b"k"), note.item(&here), head];
        plexspaces_testkit::fuzz!(items.map(|item| item.to_string()), |bytes: &Vec<u8>| {
            let Some(item) = serde_json::from_slice(bytes).ok().and_then(Item::new) else { return };
            if let (Some(key), Some(held)) = (item.key(), Held::read(&item)) {
                let written = Item::new(held.item(&here, &key)).unwrap();
                assert_eq!(Held::read(&written), Some(held), "what is read is what is written");
            }
            if let Some(note) = item.note() {
                assert_eq!(Item::new(note.item(&here)).unwrap().note(), Some(note));
            }
            if let Some(head) = Head::read(Some(&item)) {
                assert_eq!(Head::read(Item::new(head.item(&here)).as_ref()), Some(head));
            }
        });
    }

    #[test]
    fn fuzz_changes_that_are_kept() {
        let named = Held::Parts { name: [7; 16], parts: 3, length: 1_000_000 };
        let changes = [("k".into(), None), ("l".into(), Some(Held::Own("v".into()))), ("m".into(), Some(named))];
        plexspaces_testkit::fuzz!([encode(&changes).unwrap()], |bytes: &Vec<u8>| {
            let Some(changes) = decode(bytes) else { return };
            assert_eq!(decode(&encode(&changes).unwrap()), Some(changes));
        });
    }
}
