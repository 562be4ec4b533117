//! What all services do with a request's payload.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use plexspaces_actor::SystemRequest;
use plexspaces_types::{ActorId, Code, Failure, Payload};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

/// The longest that a request may wait inside a service: a day.
const LONGEST_WAIT_MS: u64 = 24 * 60 * 60 * 1000;

const LONGEST_LIFE_MS: u64 = 366 * 24 * 60 * 60 * 1000;

const MAX_KEY_BYTES: usize = 512;

/// Reads the arguments of an operation.
pub(crate) fn arguments<T: DeserializeOwned>(payload: &Payload) -> Result<T, Failure> {
    let Payload::Json(text) = payload else {
        return Err(Failure::new(Code::InvalidArgument, "expected a JSON object, found bytes"));
    };
    serde_json::from_str(text).map_err(|error| {
        // The position is one in text that the caller has not seen.
        let message = error.to_string();
        let message = message.split_once(" at line ").map_or(message.as_str(), |(reason, _)| reason);
        let named = ["missing field `", "unknown field `"].iter().find_map(|start| message.strip_prefix(start)?.split('`').next());
        let failure = Failure::new(Code::InvalidArgument, message);
        match named {
            Some(field) => failure.with_field(field),
            None => failure,
        }
    })
}

/// When a request that may wait stops waiting.
pub(crate) fn until(now_ms: u64, timeout_ms: u64) -> Result<u64, Failure> {
    if timeout_ms > LONGEST_WAIT_MS {
        let message = format!("timeout_ms is {timeout_ms}, expected at most {LONGEST_WAIT_MS} (a day)");
        return Err(Failure::invalid("timeout_ms", message));
    }
    Ok(now_ms.saturating_add(timeout_ms))
}

/// The end of a life that is given in milliseconds.
pub(crate) fn expiry(now_ms: u64, field: &'static str, ttl_ms: Option<u64>) -> Result<Option<u64>, Failure> {
    match ttl_ms {
        Some(0) => Err(Failure::invalid(field, format!("{field} is 0, expected at least 1"))),
        ttl_ms => Ok(ttl_ms.map(|ttl| now_ms.saturating_add(ttl))),
    }
}

pub(crate) fn unknown(service: &str, operation: &str) -> Failure {
    Failure::new(Code::UnknownOperation, format!("{service} have no operation {operation:?}"))
}

/// A row that cannot be read.
pub(crate) fn unreadable(row: &str) -> Failure {
    Failure::new(Code::StorageFailed, format!("a stored {row} cannot be read"))
}

/// Items in one page of a list.
const MAX_PAGE: usize = 1000;

/// Bytes of the items of one answer, after which it ends early.
pub const PAGE_BYTES: usize = 4 << 20;

/// What one answer holds of all that there is, and whether there is more. It holds one item at least, if there is one.
pub(crate) fn cut<T>(all: impl IntoIterator<Item = T>, limit: usize, bytes: impl Fn(&T) -> usize) -> (Vec<T>, bool) {
    let (mut page, mut sum) = (Vec::new(), 0);
    for item in all {
        sum += bytes(&item);
        if page.len() == limit || (sum > PAGE_BYTES && !page.is_empty()) {
            return (page, true);
        }
        page.push(item);
    }
    (page, false)
}

/// The types of actors that are to be forgotten.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Forget {
    types: BTreeSet<String>,
}

impl Forget {
    /// Whether a text is the printed identity of such an actor of the service's namespace.
    pub(crate) fn means(&self, request: &SystemRequest<'_>, printed: &str) -> bool {
        ActorId::parse(request.tenant, printed).is_some_and(|id| self.is_of(request, &id))
    }

    pub(crate) fn is_of(&self, request: &SystemRequest<'_>, id: &ActorId) -> bool {
        id.namespace == *request.namespace && self.types.contains(id.actor_type.as_str())
    }
}

/// The arguments of a list.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct List {
    #[serde(default)]
    pub(crate) prefix: String,
    /// The last item of the page before.
    #[serde(default)]
    pub(crate) after: Option<String>,
    #[serde(default)]
    pub(crate) limit: Option<usize>,
}

/// Items with their keys, and the key after which there are more.
type Page<'a, V> = (Vec<(&'a String, &'a V)>, Option<&'a String>);

impl List {
    /// One page of a map; `bytes` says how large a value is.
    pub(crate) fn page<'a, V>(
        &self,
        map: &'a BTreeMap<String, V>,
        live: impl Fn(&V) -> bool,
        bytes: impl Fn(&V) -> usize,
    ) -> Result<Page<'a, V>, Failure> {
        let limit = page_limit(self.limit)?;
        let start = match &self.after {
            Some(after) if *after >= self.prefix => Bound::Excluded(after.as_str()),
            _ => Bound::Included(self.prefix.as_str()),
        };
        let all = map
            .range::<str, _>((start, Bound::Unbounded))
            .take_while(|(key, _)| key.starts_with(&self.prefix))
            .filter(|(_, value)| live(value));
        let (page, more) = cut(all, limit, |(key, value)| key.len() + bytes(value));
        let next = page.last().filter(|_| more).map(|(key, _)| *key);
        Ok((page, next))
    }
}

/// How many items a page may have.
pub(crate) fn page_limit(limit: Option<usize>) -> Result<usize, Failure> {
    match limit.unwrap_or(MAX_PAGE) {
        limit @ 1..=MAX_PAGE => Ok(limit),
        limit => Err(Failure::invalid("limit", format!("limit is {limit}, expected 1 to {MAX_PAGE}"))),
    }
}

/// Checks a name or a key.
pub(crate) fn check_key(field: &'static str, key: &str) -> Result<(), Failure> {
    if (1..=MAX_KEY_BYTES).contains(&key.len()) {
        return Ok(());
    }
    Err(Failure::invalid(field, format!("a {field} has {} bytes, expected 1 to {MAX_KEY_BYTES}", key.len())))
}

/// Checks a JSON document that replies show. Readers of JSON take 127 levels of arrays and objects, of which a reply itself has three, and
/// numbers of 64 bits; a document beyond that could be kept and not be read again.
pub(crate) fn check_document(field: &'static str, document: &RawValue) -> Result<(), Failure> {
    let shown = serde_json::from_str::<Value>(&format!("[[[{}]]]", document.get()));
    shown.map(drop).map_err(|error| {
        let reason = error.to_string();
        let reason = reason.split_once(" at line ").map_or(reason.as_str(), |(reason, _)| reason);
        Failure::invalid(field, format!("expected JSON of at most 124 levels with numbers of 64 bits: {reason}"))
    })
}

/// The life of what must have one.
pub(crate) fn life(now_ms: u64, ttl_ms: u64) -> Result<u64, Failure> {
    if (1..=LONGEST_LIFE_MS).contains(&ttl_ms) {
        return Ok(now_ms.saturating_add(ttl_ms));
    }
    Err(Failure::invalid("ttl_ms", format!("ttl_ms is {ttl_ms}, expected 1 to {LONGEST_LIFE_MS} (a year)")))
}

/// The key of a row: its kind and its name.
pub(crate) fn row_key(kind: u8, name: &[u8]) -> Vec<u8> {
    let mut key = Vec::with_capacity(1 + name.len());
    key.push(kind);
    key.extend_from_slice(name);
    key
}

pub(crate) fn encode<T: Serialize>(row: &T) -> Vec<u8> {
    // Rows are plain data, which postcard always encodes.
    postcard::to_stdvec(row).unwrap_or_default()
}

pub(crate) fn decode<'a, T: Deserialize<'a>>(what: &str, value: &'a [u8]) -> Result<T, Failure> {
    postcard::from_bytes(value).map_err(|_| unreadable(what))
}

pub(crate) fn text(what: &str, bytes: &[u8]) -> Result<String, Failure> {
    String::from_utf8(bytes.to_vec()).map_err(|_| unreadable(what))
}

pub(crate) fn number(what: &str, bytes: &[u8]) -> Result<u64, Failure> {
    bytes.try_into().map(u64::from_be_bytes).map_err(|_| unreadable(what))
}

/// The reply of an operation.
pub(crate) fn reply<T: Serialize>(value: &T) -> Result<Option<Payload>, Failure> {
    let text =
        serde_json::to_string(value).map_err(|error| Failure::new(Code::Internal, format!("a reply could not be written: {error}")))?;
    Ok(Some(Payload::Json(text)))
}
