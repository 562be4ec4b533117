//! Which tuples are meant.
//!
//! A pattern is a JSON array as long as the tuples that it means. `null` means any element; an object whose keys begin with `$` is a list
//! of conditions; anything else means an element that equals it. Numbers are equal by value, so that 1 equals 1.0.

use std::hash::{Hash as _, Hasher as _};

use plexspaces_types::{Code, Failure};
use serde_json::{Map, Number, Value};
use siphasher::sip::SipHasher13;

/// Elements of one tuple.
const MAX_ELEMENTS: usize = 64;

/// In so many parts the rows of a space lie: tuples of one length with one first element are in the same.
const BUCKETS: u64 = 1024;

/// How a tuple begins: which of its first two elements are known, and what they are.
pub(super) type Start = u64;

/// The elements that [`Start`]s tell apart.
pub(super) const STARTS: [(bool, bool); 4] = [(false, false), (true, false), (false, true), (true, true)];

#[derive(Clone, Debug)]
pub(super) struct Pattern {
    elements: Vec<Element>,
    /// The narrowest start that all its tuples have.
    pub(super) start: Start,
}

#[derive(Clone, Debug)]
enum Element {
    Any,
    Equal(Value, u64),
    /// Conditions, and the hash of the element if they leave one value only.
    Where(Vec<Condition>, Option<u64>),
}

impl Element {
    /// The hash of the one value that is meant.
    fn hash(&self) -> Option<u64> {
        match self {
            Self::Any => None,
            Self::Equal(_, hash) => Some(*hash),
            Self::Where(_, hash) => *hash,
        }
    }
}

#[derive(Clone, Debug)]
enum Condition {
    Equal(Value),
    Different(Value),
    Above(Value),
    AtLeast(Value),
    Below(Value),
    AtMost(Value),
    OneOf(Vec<Value>),
    Prefix(String),
    Type(&'static str),
}

const TYPES: [&str; 7] = ["null", "boolean", "number", "integer", "string", "array", "object"];

impl Pattern {
    pub(super) fn parse(elements: Vec<Value>) -> Result<Self, Failure> {
        check_length("pattern", elements.len())?;
        let elements: Vec<Element> =
            elements.into_iter().enumerate().map(|(index, value)| element(index, value)).collect::<Result<_, _>>()?;
        let hash = |index: usize| elements.get(index).and_then(Element::hash);
        Ok(Self { start: start(elements.len(), hash(0), hash(1)), elements })
    }

    /// Whether a tuple with these hashes may be one that is meant; cheap, and wrong only in that it may say so of too many.
    pub(super) fn may_mean(&self, hashes: &[u64]) -> bool {
        let fits = |(element, hash): (&Element, &u64)| element.hash().is_none_or(|wanted| wanted == *hash);
        self.elements.len() == hashes.len() && self.elements.iter().zip(hashes).all(fits)
    }

    /// Whether this tuple is meant.
    pub(super) fn means(&self, tuple: &[Value]) -> bool {
        let fits = |(element, value): (&Element, &Value)| match element {
            Element::Any => true,
            Element::Equal(wanted, _) => equal(wanted, value),
            Element::Where(conditions, _) => conditions.iter().all(|condition| condition.holds(value)),
        };
        self.elements.len() == tuple.len() && self.elements.iter().zip(tuple).all(fits)
    }
}

pub(super) fn check_length(field: &'static str, length: usize) -> Result<(), Failure> {
    if (1..=MAX_ELEMENTS).contains(&length) {
        return Ok(());
    }
    Err(Failure::invalid(field, format!("a {field} has {length} elements, expected 1 to {MAX_ELEMENTS}")))
}

/// The start of tuples of a length whose first elements have these hashes.
pub(super) fn start(length: usize, first: Option<u64>, second: Option<u64>) -> Start {
    let mut hasher = SipHasher13::new();
    (length, first, second).hash(&mut hasher);
    hasher.finish()
}

/// The bucket of tuples with these hashes.
pub(super) fn bucket(hashes: &[u64]) -> u16 {
    u16::try_from(start(hashes.len(), hashes.first().copied(), None) % BUCKETS).unwrap_or_default()
}

/// The starts under which a tuple with these hashes is found.
pub(super) fn starts(hashes: &[u64]) -> impl Iterator<Item = Start> {
    let (length, first, second) = (hashes.len(), hashes.first().copied(), hashes.get(1).copied());
    let known = STARTS.iter().filter(move |(_, by_second)| !by_second || second.is_some());
    known.map(move |(by_first, by_second)| start(length, first.filter(|_| *by_first), second.filter(|_| *by_second)))
}

fn element(index: usize, value: Value) -> Result<Element, Failure> {
    match value {
        Value::Null => Ok(Element::Any),
        Value::Object(conditions) if conditions.keys().any(|key| key.starts_with('$')) => {
            let path = format!("pattern[{index}]");
            let invalid = |message: String| Failure::new(Code::InvalidArgument, message).with_field(path.clone());
            let conditions: Vec<Condition> =
                conditions.into_iter().map(|(name, value)| condition(&name, value).map_err(invalid)).collect::<Result<_, _>>()?;
            let hash = conditions.iter().find_map(Condition::only).map(hash);
            Ok(Element::Where(conditions, hash))
        }
        value => {
            let hash = hash(&value);
            Ok(Element::Equal(value, hash))
        }
    }
}

fn condition(name: &str, value: Value) -> Result<Condition, String> {
    let ordered = |value: Value| match value {
        Value::Number(_) | Value::String(_) => Ok(value),
        other => Err(format!("{name} takes a number or a string, found {other}")),
    };
    match (name, value) {
        ("$eq", value) => Ok(Condition::Equal(value)),
        ("$ne", value) => Ok(Condition::Different(value)),
        ("$gt", value) => ordered(value).map(Condition::Above),
        ("$gte", value) => ordered(value).map(Condition::AtLeast),
        ("$lt", value) => ordered(value).map(Condition::Below),
        ("$lte", value) => ordered(value).map(Condition::AtMost),
        ("$in", Value::Array(values)) => Ok(Condition::OneOf(values)),
        ("$in", other) => Err(format!("$in takes an array, found {other}")),
        ("$prefix", Value::String(prefix)) => Ok(Condition::Prefix(prefix)),
        ("$prefix", other) => Err(format!("$prefix takes a string, found {other}")),
        ("$type", Value::String(name)) => {
            let known = TYPES.iter().find(|known| **known == name);
            known.map(|known| Condition::Type(known)).ok_or_else(|| format!("unknown type {name:?}; known are {}", TYPES.join(", ")))
        }
        ("$type", other) => Err(format!("$type takes one of {}, found {other}", TYPES.join(", "))),
        (name, _) => Err(format!("unknown condition {name:?}; known are $eq, $ne, $gt, $gte, $lt, $lte, $in, $prefix, $type")),
    }
}

impl Condition {
    /// The one value for which it holds.
    fn only(&self) -> Option<&Value> {
        match self {
            Self::Equal(wanted) => Some(wanted),
            Self::OneOf(wanted) => wanted.split_first().filter(|(_, others)| others.is_empty()).map(|(only, _)| only),
            _ => None,
        }
    }

    fn holds(&self, value: &Value) -> bool {
        use std::cmp::Ordering::{Equal, Greater, Less};
        match self {
            Self::Equal(wanted) => equal(wanted, value),
            Self::Different(wanted) => !equal(wanted, value),
            Self::Above(bound) => compare(value, bound) == Some(Greater),
            Self::AtLeast(bound) => matches!(compare(value, bound), Some(Greater | Equal)),
            Self::Below(bound) => compare(value, bound) == Some(Less),
            Self::AtMost(bound) => matches!(compare(value, bound), Some(Less | Equal)),
            Self::OneOf(wanted) => wanted.iter().any(|wanted| equal(wanted, value)),
            Self::Prefix(prefix) => value.as_str().is_some_and(|text| text.starts_with(prefix.as_str())),
            Self::Type(name) => is_of(name, value),
        }
    }
}

fn is_of(name: &str, value: &Value) -> bool {
    match (name, value) {
        ("null", Value::Null)
        | ("boolean", Value::Bool(_))
        | ("number", Value::Number(_))
        | ("string", Value::String(_))
        | ("array", Value::Array(_))
        | ("object", Value::Object(_)) => true,
        ("integer", Value::Number(number)) => whole(number).is_some(),
        _ => false,
    }
}

/// A number's exact value if it is a whole one.
fn whole(number: &Number) -> Option<i128> {
    if let Some(value) = number.as_i64() {
        return Some(value.into());
    }
    if let Some(value) = number.as_u64() {
        return Some(value.into());
    }
    // Beyond 2^100 the conversion would still be exact, and nobody counts so far.
    number.as_f64().filter(|value| value.fract() == 0.0 && value.abs() < 1e30).map(|value| value as i128)
}

fn compare(one: &Value, other: &Value) -> Option<std::cmp::Ordering> {
    match (one, other) {
        (Value::String(one), Value::String(other)) => Some(one.cmp(other)),
        (Value::Number(one), Value::Number(other)) => match (whole(one), whole(other)) {
            (Some(one), Some(other)) => Some(one.cmp(&other)),
            _ => one.as_f64()?.partial_cmp(&other.as_f64()?),
        },
        _ => None,
    }
}

/// Whether two values are the same value, numbers by value and objects in any order.
pub(super) fn equal(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(_), Value::Number(_)) => compare(one, other) == Some(std::cmp::Ordering::Equal),
        (Value::Array(one), Value::Array(other)) => one.len() == other.len() && one.iter().zip(other).all(|(one, other)| equal(one, other)),
        (Value::Object(one), Value::Object(other)) => {
            let same = |(key, value): (&String, &Value)| other.get(key).is_some_and(|found| equal(value, found));
            one.len() == other.len() && one.iter().all(same)
        }
        (one, other) => one == other,
    }
}

/// A hash that equal values share.
pub(super) fn hash(value: &Value) -> u64 {
    let mut hasher = SipHasher13::new();
    match value {
        Value::Null => 0_u8.hash(&mut hasher),
        Value::Bool(value) => (1_u8, value).hash(&mut hasher),
        Value::Number(number) => match whole(number) {
            Some(value) => (2_u8, value).hash(&mut hasher),
            None => (3_u8, number.as_f64().unwrap_or_default().to_bits()).hash(&mut hasher),
        },
        Value::String(text) => (4_u8, text).hash(&mut hasher),
        Value::Array(values) => {
            5_u8.hash(&mut hasher);
            values.iter().for_each(|value| hash(value).hash(&mut hasher));
        }
        Value::Object(members) => (6_u8, unordered(members)).hash(&mut hasher),
    }
    hasher.finish()
}

fn unordered(members: &Map<String, Value>) -> u64 {
    members.iter().fold(0, |sum, (key, value)| {
        let mut hasher = SipHasher13::new();
        (key, hash(value)).hash(&mut hasher);
        sum.wrapping_add(hasher.finish())
    })
}
