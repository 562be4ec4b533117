//! The locks of a namespace: leases with fencing tokens, as Chubby's sequencers and Kleppmann's analysis ask for them.
//!
//! | row | value |
//! | --- | --- |
//! | `l` key | a lock that is held |
//! | `v` | the last version that was given |

use std::collections::{BTreeMap, BTreeSet};

use plexspaces_actor::{Effects, Nature, SystemActor, SystemRequest, SystemType};
use plexspaces_types::{Code, Failure, Payload};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::request::{List, arguments, check_key, decode, encode, life, number, reply, row_key, text, unknown, unreadable, until};
use crate::waiting::Waiting;

/// Locks. There is one service of them in each namespace, named `default`.
pub const TYPE: SystemType = SystemType { name: "locks", many: false, knows_actors: false, make: |_| Box::<Locks>::default(), nature };

/// Locks that are held at the same time.
const MAX_LOCKS: usize = 1_000_000;

/// Leases that one step ends because their time is over.
const END_AT_ONCE: usize = 500;

#[derive(Default)]
struct Locks {
    held: BTreeMap<String, Lock>,
    ends: BTreeSet<(u64, String)>,
    last_version: u64,
    /// With the actor that asks.
    waiting: Waiting<(Acquire, String)>,
}

#[derive(Clone, Serialize, Deserialize)]
struct Lock {
    holder: String,
    /// Whether the holder has named itself, and may acquire the lock again.
    named: bool,
    version: u64,
    until_ms: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Acquire {
    key: String,
    ttl_ms: u64,
    #[serde(default)]
    holder: Option<String>,
    #[serde(default)]
    timeout_ms: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Renew {
    key: String,
    version: String,
    ttl_ms: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Release {
    key: String,
    version: String,
    /// Who releases it, if that is to be checked too.
    #[serde(default)]
    holder: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Get {
    key: String,
}

fn nature(operation: &str, _: &Payload) -> Result<Nature, Failure> {
    Ok(if matches!(operation, "get" | "list") { Nature::Look } else { Nature::Change })
}

impl SystemActor for Locks {
    fn load(&mut self, key: &[u8], value: &[u8]) -> Result<(), Failure> {
        match key.split_first() {
            Some((b'l', key)) => {
                let (key, lock): (_, Lock) = (text("lock", key)?, decode("lock", value)?);
                self.ends.insert((lock.until_ms, key.clone()));
                self.held.insert(key, lock);
            }
            Some((b'v', [])) => self.last_version = number("version of a lock", value)?,
            _ => return Err(unreadable("row of locks")),
        }
        Ok(())
    }

    fn handle(&mut self, request: &SystemRequest<'_>, effects: &mut Effects<'_>) -> Result<Option<Payload>, Failure> {
        let now_ms = effects.now_ms();
        match request.operation {
            "acquire" => {
                let mut acquire: Acquire = arguments(request.payload)?;
                check_key("key", &acquire.key)?;
                let until_ms = until(now_ms, acquire.timeout_ms)?;
                life(now_ms, acquire.ttl_ms)?;
                if acquire.holder.as_deref() == Some("") {
                    acquire.holder = None;
                }
                let sender = request.sender.map_or_else(String::new, ToString::to_string);
                // A lease may have ended since the last look: those who wait come before one who comes only now.
                if self.held.get(&acquire.key).is_some_and(|lock| lock.until_ms <= now_ms) {
                    self.free(&acquire.key, effects);
                }
                match self.holder_of(&acquire.key, now_ms) {
                    None => self.grant(&acquire, &sender, effects).map(Some),
                    Some(lock) if lock.named && acquire.holder.as_deref() == Some(lock.holder.as_str()) => {
                        let lock = Lock { until_ms: life(now_ms, acquire.ttl_ms)?, ..lock.clone() };
                        let granted = granted(&lock);
                        self.put(acquire.key, lock, effects);
                        Ok(Some(granted))
                    }
                    Some(_) if acquire.timeout_ms > 0 => {
                        self.waiting.add(request.ticket, until_ms, (acquire, sender));
                        Ok(None)
                    }
                    Some(lock) => Ok(Some(refused(lock))),
                }
            }
            "renew" => {
                let Renew { key, version, ttl_ms } = arguments(request.payload)?;
                let until_ms = life(now_ms, ttl_ms)?;
                let Some(lock) = self.held_as(&key, &version, now_ms)? else { return reply(&json!({"renewed": false})) };
                let lock = Lock { until_ms, ..lock.clone() };
                self.put(key, lock, effects);
                reply(&json!({"renewed": true}))
            }
            "release" => {
                let Release { key, version, holder } = arguments(request.payload)?;
                let is_its = |lock: &&Lock| holder.as_ref().is_none_or(|holder| *holder == lock.holder);
                let released = self.held_as(&key, &version, now_ms)?.filter(is_its).is_some();
                if released {
                    self.free(&key, effects);
                }
                reply(&json!({"released": released}))
            }
            "get" => {
                let Get { key } = arguments(request.payload)?;
                reply(&json!({"lock": self.holder_of(&key, now_ms).map(|lock| shown(&key, lock))}))
            }
            "list" => {
                let list: List = arguments(request.payload)?;
                let (page, next) = list.page(&self.held, |lock| lock.until_ms > now_ms, |lock| lock.holder.len())?;
                let locks: Vec<_> = page.into_iter().map(|(key, lock)| shown(key, lock)).collect();
                reply(&json!({"locks": locks, "next": next}))
            }
            other => Err(unknown("locks", other)),
        }
    }

    fn due_ms(&self) -> Option<u64> {
        let lock = self.ends.first().map(|(until_ms, _)| *until_ms);
        [lock, self.waiting.next_end()].into_iter().flatten().min()
    }

    fn tick(&mut self, effects: &mut Effects<'_>) {
        let now_ms = effects.now_ms();
        for _ in 0..END_AT_ONCE {
            let over = self.ends.first().filter(|(until_ms, _)| *until_ms <= now_ms && !effects.is_full());
            let Some((_, key)) = over.cloned() else { break };
            self.free(&key, effects);
        }
        if self.ends.first().is_some_and(|(until_ms, _)| *until_ms <= now_ms) {
            // Whoever waits may have one of the others.
            return;
        }
        while let Some((ticket, (acquire, _))) = self.waiting.over(now_ms) {
            let answer = self.holder_of(&acquire.key, now_ms).map_or_else(|| Payload::Json(r#"{"version":null}"#.to_owned()), refused);
            effects.show(ticket, answer);
        }
    }
}

impl Locks {
    /// Who holds a lock now.
    fn holder_of(&self, key: &str, now_ms: u64) -> Option<&Lock> {
        self.held.get(key).filter(|lock| lock.until_ms > now_ms)
    }

    /// The lock if it is held under this version.
    fn held_as(&self, key: &str, version: &str, now_ms: u64) -> Result<Option<&Lock>, Failure> {
        let wanted: u64 = version.parse().map_err(|_| {
            Failure::invalid("version", format!("{version:?} is not a version of a lock: those are decimal numbers in strings"))
        })?;
        Ok(self.holder_of(key, now_ms).filter(|lock| lock.version == wanted))
    }

    fn grant(&mut self, acquire: &Acquire, sender: &str, effects: &mut Effects<'_>) -> Result<Payload, Failure> {
        if self.held.len() >= MAX_LOCKS {
            return Err(Failure::new(Code::Overloaded, format!("{MAX_LOCKS} locks are held in this namespace")));
        }
        self.last_version += 1;
        effects.put(b"v", self.last_version.to_be_bytes().to_vec());
        let (holder, named) = acquire.holder.clone().map_or_else(|| (sender.to_owned(), false), |holder| (holder, true));
        let lock = Lock { holder, named, version: self.last_version, until_ms: life(effects.now_ms(), acquire.ttl_ms)? };
        let granted = granted(&lock);
        self.put(acquire.key.clone(), lock, effects);
        Ok(granted)
    }

    fn put(&mut self, key: String, lock: Lock, effects: &mut Effects<'_>) {
        effects.put(&row_key(b'l', key.as_bytes()), encode(&lock));
        if let Some(before) = self.held.get(&key) {
            self.ends.remove(&(before.until_ms, key.clone()));
        }
        self.ends.insert((lock.until_ms, key.clone()));
        self.held.insert(key, lock);
    }

    /// The lock is free: whoever has waited longest has it next.
    fn free(&mut self, key: &str, effects: &mut Effects<'_>) {
        if let Some(lock) = self.held.remove(key) {
            self.ends.remove(&(lock.until_ms, key.to_owned()));
        }
        let next = self.waiting.first(|ticket, (acquire, _)| acquire.key == key && effects.is_awaited(ticket));
        match next {
            None => effects.delete(&row_key(b'l', key.as_bytes())),
            Some((ticket, (acquire, sender))) => {
                let granted = self.grant(&acquire, &sender, effects);
                effects.answer(ticket, granted);
            }
        }
    }
}

fn granted(lock: &Lock) -> Payload {
    Payload::from_value(&json!({"version": lock.version.to_string(), "holder": lock.holder, "expires_ms": lock.until_ms}))
}

fn refused(lock: &Lock) -> Payload {
    Payload::from_value(&json!({"version": null, "holder": lock.holder, "expires_ms": lock.until_ms}))
}

fn shown(key: &str, lock: &Lock) -> serde_json::Value {
    json!({"key": key, "holder": lock.holder, "version": lock.version.to_string(), "expires_ms": lock.until_ms})
}
