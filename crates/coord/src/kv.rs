//! The pairs that the actors of a namespace share.
//!
//! | row | value |
//! | --- | --- |
//! | `k` key | a pair |
//! | `v` | the version of the last change |

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::ops::Bound;

use plexspaces_actor::{Effects, Nature, SystemActor, SystemRequest, SystemType};
use plexspaces_types::{Code, Condition, Failure, Payload};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::request::{List, arguments, check_key, cut, decode, encode, expiry, number, reply, row_key, text, unknown, unreadable, until};
use crate::waiting::Waiting;

/// Shared key-value pairs. There is one service of them in each namespace, named `default`.
pub const TYPE: SystemType = SystemType { name: "kv", many: false, knows_actors: false, make: |_| Box::<Pairs>::default(), nature };

/// Pairs in one namespace.
const MAX_PAIRS: usize = 10_000_000;

/// Bytes of one value.
const MAX_BYTES: usize = 1 << 20;

/// Changes that those who watch can look back on.
const MAX_CHANGES: usize = 10_000;

/// Pairs that one step removes because their time is over.
const EXPIRE_AT_ONCE: usize = 500;

#[derive(Default)]
struct Pairs {
    pairs: BTreeMap<String, Pair>,
    ends: BTreeSet<(u64, String)>,
    version: u64,
    /// The last changes, oldest first. Before the first of them nothing is known.
    changes: VecDeque<(u64, String)>,
    known_from: u64,
    watching: Waiting<Watch>,
}

#[derive(Serialize, Deserialize)]
struct Pair {
    value: String,
    version: u64,
    expires_ms: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Key {
    key: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Put {
    key: String,
    value: String,
    #[serde(default)]
    ttl_ms: Option<u64>,
    #[serde(default)]
    if_match: Option<Condition>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Delete {
    key: String,
    #[serde(default)]
    if_match: Option<Condition>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Cas {
    key: String,
    expected: Option<String>,
    value: String,
    #[serde(default)]
    ttl_ms: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Watch {
    #[serde(default)]
    prefix: String,
    #[serde(default)]
    after: Option<u64>,
    #[serde(default)]
    timeout_ms: u64,
}

fn nature(operation: &str, payload: &Payload) -> Result<Nature, Failure> {
    Ok(match operation {
        "put" => {
            let put: Put = arguments(payload)?;
            check(&put.key, &put.value)?;
            expiry(0, "ttl_ms", put.ttl_ms)?;
            if put.if_match.is_some() { Nature::Change } else { Nature::Post }
        }
        "get" | "list" => Nature::Look,
        _ => Nature::Change,
    })
}

fn check(key: &str, value: &str) -> Result<(), Failure> {
    check_key("key", key)?;
    if value.len() <= MAX_BYTES {
        return Ok(());
    }
    let message = format!("a value of {} bytes is larger than the limit of {MAX_BYTES} bytes", value.len());
    Err(Failure::new(Code::PayloadTooLarge, message).with_field("value"))
}

impl SystemActor for Pairs {
    fn load(&mut self, key: &[u8], value: &[u8]) -> Result<(), Failure> {
        match key.split_first() {
            Some((b'k', key)) => {
                let (key, pair): (_, Pair) = (text("shared pair", key)?, decode("shared pair", value)?);
                self.ends.extend(pair.expires_ms.map(|expires| (expires, key.clone())));
                self.pairs.insert(key, pair);
            }
            Some((b'v', [])) => {
                self.version = number("version of shared pairs", value)?;
                self.known_from = self.version;
            }
            _ => return Err(unreadable("row of shared pairs")),
        }
        Ok(())
    }

    fn handle(&mut self, request: &SystemRequest<'_>, effects: &mut Effects<'_>) -> Result<Option<Payload>, Failure> {
        let now_ms = effects.now_ms();
        match request.operation {
            "get" => {
                let Key { key } = arguments(request.payload)?;
                let pair = self.live(&key, now_ms);
                reply(&json!({"value": pair.map(|pair| &pair.value), "version": pair.map(|pair| pair.version)}))
            }
            "put" => {
                let Put { key, value, ttl_ms, if_match } = arguments(request.payload)?;
                let expires_ms = expiry(now_ms, "ttl_ms", ttl_ms)?;
                self.meets(if_match.as_ref(), &key, now_ms)?;
                self.set(key, value, expires_ms, effects)?;
                Ok(Some(Payload::empty()))
            }
            "delete" => {
                let Delete { key, if_match } = arguments(request.payload)?;
                self.meets(if_match.as_ref(), &key, now_ms)?;
                let deleted = self.live(&key, now_ms).is_some();
                if deleted {
                    self.remove(&key, effects);
                }
                reply(&json!({"deleted": deleted}))
            }
            "cas" => {
                let Cas { key, expected, value, ttl_ms } = arguments(request.payload)?;
                let expires_ms = expiry(now_ms, "ttl_ms", ttl_ms)?;
                let swapped = self.live(&key, now_ms).map(|pair| &pair.value) == expected.as_ref();
                if swapped {
                    self.set(key.clone(), value, expires_ms, effects)?;
                }
                let pair = self.live(&key, now_ms);
                reply(&json!({"swapped": swapped, "value": pair.map(|pair| &pair.value), "version": pair.map(|pair| pair.version)}))
            }
            "list" => {
                let list: List = arguments(request.payload)?;
                let (page, next) = list.page(&self.pairs, |pair| is_live(pair, now_ms), |pair| pair.value.len())?;
                let shown: Vec<_> =
                    page.into_iter().map(|(key, pair)| json!({"key": key, "value": pair.value, "version": pair.version})).collect();
                reply(&json!({"pairs": shown, "next": next}))
            }
            "watch" => {
                let mut watch: Watch = arguments(request.payload)?;
                let until_ms = until(now_ms, watch.timeout_ms)?;
                watch.after.get_or_insert(self.version);
                let changes = self.changes(&watch, now_ms);
                if watch.timeout_ms == 0 || changes.is_some() {
                    return Ok(Some(changes.unwrap_or_else(|| self.nothing())));
                }
                self.watching.add(request.ticket, until_ms, watch);
                Ok(None)
            }
            other => Err(unknown("shared pairs", other)),
        }
    }

    fn due_ms(&self) -> Option<u64> {
        let pair = self.ends.first().map(|(expires, _)| *expires);
        [pair, self.watching.next_end()].into_iter().flatten().min()
    }

    fn tick(&mut self, effects: &mut Effects<'_>) {
        let now_ms = effects.now_ms();
        for _ in 0..EXPIRE_AT_ONCE {
            let Some((_, key)) = self.ends.first().filter(|(expires, _)| *expires <= now_ms).cloned() else { break };
            self.remove(&key, effects);
        }
        while let Some((ticket, _)) = self.watching.over(now_ms) {
            effects.show(ticket, self.nothing());
        }
    }
}

impl Pairs {
    fn live(&self, key: &str, now_ms: u64) -> Option<&Pair> {
        self.pairs.get(key).filter(|pair| is_live(pair, now_ms))
    }

    fn meets(&self, condition: Option<&Condition>, key: &str, now_ms: u64) -> Result<(), Failure> {
        let Some(condition) = condition else { return Ok(()) };
        let version = self.live(key, now_ms).map(|pair| pair.version.to_string());
        condition.check(&format!("kv/{key}"), version.as_deref())
    }

    fn set(&mut self, key: String, value: String, expires_ms: Option<u64>, effects: &mut Effects<'_>) -> Result<(), Failure> {
        check(&key, &value)?;
        if self.pairs.len() >= MAX_PAIRS && !self.pairs.contains_key(&key) {
            return Err(Failure::new(Code::Overloaded, format!("the namespace has {MAX_PAIRS} shared pairs")));
        }
        let pair = Pair { value, version: self.version + 1, expires_ms };
        effects.put(&row_key(b'k', key.as_bytes()), encode(&pair));
        self.forget_end(&key);
        self.ends.extend(expires_ms.map(|expires| (expires, key.clone())));
        self.pairs.insert(key.clone(), pair);
        self.changed(key, effects);
        Ok(())
    }

    fn remove(&mut self, key: &str, effects: &mut Effects<'_>) {
        effects.delete(&row_key(b'k', key.as_bytes()));
        self.forget_end(key);
        self.pairs.remove(key);
        self.changed(key.to_owned(), effects);
    }

    fn forget_end(&mut self, key: &str) {
        if let Some(expires) = self.pairs.get(key).and_then(|pair| pair.expires_ms) {
            self.ends.remove(&(expires, key.to_owned()));
        }
    }

    /// Counts a change and tells those who watch.
    fn changed(&mut self, key: String, effects: &mut Effects<'_>) {
        self.version += 1;
        effects.put(b"v", self.version.to_be_bytes().to_vec());
        let told = self.watching.of(|watch| key.starts_with(&watch.prefix));
        self.changes.push_back((self.version, key));
        if self.changes.len() > MAX_CHANGES
            && let Some((version, _)) = self.changes.pop_front()
        {
            self.known_from = version;
        }
        for ticket in told {
            let Some((_, watch)) = self.watching.remove(ticket) else { continue };
            let changes = self.changes(&watch, effects.now_ms()).unwrap_or_else(|| self.nothing());
            effects.show(ticket, changes);
        }
    }

    /// What has changed since the version that a watcher knows, each pair once. Where that is more than one answer holds, it is up to an
    /// earlier version than the present one. A watcher whose version is too old to tell is given all pairs.
    fn changes(&self, watch: &Watch, now_ms: u64) -> Option<Payload> {
        let after = watch.after.unwrap_or(self.version);
        if after < self.known_from {
            return Some(self.all(&watch.prefix, now_ms));
        }
        let since = self.changes.partition_point(|(version, _)| *version <= after);
        let changes = self.changes.range(since..).filter(|(_, key)| key.starts_with(&watch.prefix));
        let last: HashMap<&String, u64> = changes.clone().map(|(version, key)| (key, *version)).collect();
        let once = changes.filter(|(version, key)| last.get(key) == Some(version));
        let (mut page, more) = cut(once, usize::MAX, |(_, key)| self.bytes(key, now_ms));
        let version = page.last().filter(|_| more).map_or(self.version, |(version, _)| *version);
        page.sort_unstable_by(|one, other| one.1.cmp(&other.1));
        let changes: Vec<_> = page.into_iter().map(|(_, key)| self.shown(key, now_ms)).collect();
        (!changes.is_empty()).then(|| Payload::from_value(&json!({"changes": changes, "version": version, "reset": false})))
    }

    /// All pairs there are, or the first of them and where the list of the others begins.
    fn all(&self, prefix: &str, now_ms: u64) -> Payload {
        let of_prefix = self.pairs.range::<str, _>((Bound::Included(prefix), Bound::Unbounded)).map(|(key, _)| key);
        let live = of_prefix.take_while(|key| key.starts_with(prefix)).filter(|key| self.live(key, now_ms).is_some());
        let (page, more) = cut(live, usize::MAX, |key| self.bytes(key, now_ms));
        let changes: Vec<_> = page.iter().map(|key| self.shown(key, now_ms)).collect();
        let mut all = json!({"changes": changes, "version": self.version, "reset": true});
        if let (Some(last), Value::Object(members)) = (page.last().filter(|_| more), &mut all) {
            members.insert("next".to_owned(), json!(last));
        }
        Payload::from_value(&all)
    }

    fn bytes(&self, key: &str, now_ms: u64) -> usize {
        key.len() + self.live(key, now_ms).map_or(0, |pair| pair.value.len())
    }

    fn shown(&self, key: &str, now_ms: u64) -> Value {
        let pair = self.live(key, now_ms);
        json!({"key": key, "value": pair.map(|pair| &pair.value), "version": pair.map(|pair| pair.version)})
    }

    fn nothing(&self) -> Payload {
        Payload::from_value(&json!({"changes": [], "version": self.version, "reset": false}))
    }
}

fn is_live(pair: &Pair, now_ms: u64) -> bool {
    pair.expires_ms.is_none_or(|expires| now_ms < expires)
}
