//! The tuple space of a namespace (Gelernter's Linda): actors meet by what they write and what they look for, not by each other's names.
//!
//! | row | value |
//! | --- | --- |
//! | `t` bucket number | a tuple, with its time to live and the lease under which it is taken |
//! | `s` id | a subscription |
//! | `v` | up to which number they are reserved |
//!
//! The rows of a bucket are a range of keys, so that it can go to another actor on another node as it is. Numbers are those of the space: they are
//! the order of its tuples, in whichever buckets these are.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use bytes::Bytes;
use plexspaces_actor::{Effects, FORGET, Nature, SystemActor, SystemRequest, SystemType};
use plexspaces_types::{ActorId, Code, Failure, Name, Payload};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

mod pattern;
mod space;
#[cfg(test)]
mod tests;
mod waiters;

use pattern::Pattern;
use space::{Place, Space, Tuple};
use waiters::{Waiter, Waiters, Wish};

use crate::numbers::Numbers;
use crate::request::{Forget, arguments, cut, expiry, page_limit, unknown, unreadable, until};

/// Tuple spaces. There is one in each namespace, named `default`.
pub const TYPE: SystemType = SystemType { name: "tuples", many: false, knows_actors: true, make: |_| Box::<TupleSpace>::default(), nature };

/// Tuples in one space.
const MAX_TUPLES: usize = 10_000_000;

/// Bytes of one tuple's JSON text.
const MAX_BYTES: usize = 1 << 20;

/// How tuples begin in which a service has written which actor it is: `["svc", name, actor]`.
const SLOT: &str = "svc";

/// Patterns to which actors have subscribed.
const MAX_SUBSCRIPTIONS: usize = 10_000;

/// Tuples that one step removes because their time is over.
const EXPIRE_AT_ONCE: usize = 500;

#[derive(Default)]
struct TupleSpace {
    space: Space,
    /// What has been read and is not in the space yet, which is filled in the order of its numbers.
    read: Vec<(u64, Tuple)>,
    numbers: Numbers,
    /// What was taken and is not confirmed yet, by lease.
    leased: HashMap<String, Leased>,
    lease_ends: BTreeSet<(u64, String)>,
    waiters: Waiters,
    subscriptions: BTreeMap<String, Subscription>,
}

/// A tuple's place and text.
type Found = (Place, Box<str>);

struct Leased {
    number: u64,
    tuple: Tuple,
    until_ms: u64,
}

struct Subscription {
    pattern: Pattern,
    /// The pattern as JSON.
    text: String,
    actor: ActorId,
}

/// A stored tuple.
#[derive(Serialize, Deserialize)]
struct Row<'a> {
    expires_ms: Option<u64>,
    /// The lease and its end.
    lease: Option<(String, u64)>,
    text: &'a str,
}

/// A stored subscription.
#[derive(Serialize, Deserialize)]
struct SubscriptionRow {
    tenant: String,
    actor: String,
    pattern: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Write {
    tuple: Box<RawValue>,
    #[serde(default)]
    ttl_ms: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Exchange {
    pattern: Vec<Value>,
    tuple: Box<RawValue>,
    #[serde(default)]
    ttl_ms: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Look {
    pattern: Vec<Value>,
    #[serde(default)]
    timeout_ms: u64,
    #[serde(default)]
    lease_ms: Option<u64>,
    /// Only tuples that were written after the one with this position.
    #[serde(default)]
    after: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Many {
    pattern: Vec<Value>,
    #[serde(default)]
    limit: Option<usize>,
    #[serde(default)]
    after: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Lease {
    lease: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Subscribe {
    pattern: Vec<Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Unsubscribe {
    subscription: String,
}

fn nature(operation: &str, payload: &Payload) -> Result<Nature, Failure> {
    Ok(match operation {
        "write" => {
            let Write { tuple, ttl_ms } = arguments(payload)?;
            expiry(0, "ttl_ms", ttl_ms)?;
            check(&tuple).and_then(|()| Tuple::parse(tuple.get(), None))?;
            Nature::Post
        }
        "read" if arguments::<Look>(payload)?.timeout_ms == 0 => Nature::Look,
        "read_all" | "count" => Nature::Look,
        // Only the runtime asks for it.
        FORGET => return Err(unknown("tuple spaces", operation)),
        _ => Nature::Change,
    })
}

impl SystemActor for TupleSpace {
    fn load(&mut self, key: &[u8], value: &[u8]) -> Result<(), Failure> {
        match key.split_first() {
            Some((b't', place)) => {
                let (bucket, number) = place.split_first_chunk().ok_or_else(|| unreadable("tuple"))?;
                let number = u64::from_be_bytes(number.try_into().map_err(|_| unreadable("tuple"))?);
                let row: Row<'_> = postcard::from_bytes(value).map_err(|_| unreadable("tuple"))?;
                let mut tuple = Tuple::parse(row.text, row.expires_ms)?;
                tuple.bucket = u16::from_be_bytes(*bucket);
                match row.lease {
                    None => self.read.push((number, tuple)),
                    Some((lease, until_ms)) => self.lend(lease, Leased { number, tuple, until_ms }),
                }
            }
            Some((b's', id)) => {
                let row: SubscriptionRow = postcard::from_bytes(value).map_err(|_| unreadable("subscription"))?;
                let parse = || {
                    let tenant = Name::new("tenant", &row.tenant).ok()?;
                    let pattern = Pattern::parse(serde_json::from_str(&row.pattern).ok()?).ok()?;
                    Some(Subscription { pattern, text: row.pattern.clone(), actor: ActorId::parse(&tenant, &row.actor)? })
                };
                let subscription = parse().ok_or_else(|| unreadable("subscription"))?;
                self.subscriptions.insert(String::from_utf8_lossy(id).into_owned(), subscription);
            }
            Some((b'v', [])) => self.numbers.load(value)?,
            _ => return Err(unreadable("row of a tuple space")),
        }
        Ok(())
    }

    fn loaded(&mut self, _effects: &mut Effects<'_>) {
        let mut read = std::mem::take(&mut self.read);
        read.sort_unstable_by_key(|(number, _)| *number);
        for (number, tuple) in read {
            self.space.insert(number, tuple);
        }
    }

    fn handle(&mut self, request: &SystemRequest<'_>, effects: &mut Effects<'_>) -> Result<Option<Payload>, Failure> {
        match request.operation {
            "write" => {
                let Write { tuple, ttl_ms } = arguments(request.payload)?;
                let tuple = self.admit(&tuple, ttl_ms, effects)?;
                self.write(tuple, effects);
                Ok(Some(Payload::empty()))
            }
            "write_once" => {
                let Exchange { pattern, tuple, ttl_ms } = arguments(request.payload)?;
                let pattern = Pattern::parse(pattern)?;
                let tuple = self.admit(&tuple, ttl_ms, effects)?;
                let existing = self.oldest(&pattern, None, effects.now_ms()).map(|(_, tuple)| Box::<str>::from(tuple.text()));
                if existing.is_none() {
                    self.write(tuple, effects);
                }
                let written = existing.is_none();
                Ok(Some(Payload::Json(format!(r#"{{"written":{written},"existing":{}}}"#, existing.as_deref().unwrap_or("null")))))
            }
            "replace" => {
                let Exchange { pattern, tuple, ttl_ms } = arguments(request.payload)?;
                let pattern = Pattern::parse(pattern)?;
                let tuple = self.admit(&tuple, ttl_ms, effects)?;
                let replaced = self.oldest(&pattern, None, effects.now_ms()).map(|(place, tuple)| (place, Box::<str>::from(tuple.text())));
                if let Some((place, _)) = &replaced {
                    self.remove(*place, effects);
                    self.write(tuple, effects);
                }
                Ok(Some(one(replaced.as_ref().map(|(_, text)| text.as_ref()))))
            }
            "read" | "take" => self.look(request, effects),
            "read_all" => {
                let Many { pattern, limit, after } = arguments(request.payload)?;
                let (found, next) = self.page(&Pattern::parse(pattern)?, after, limit, effects.now_ms())?;
                Ok(Some(many(found.iter().map(|(_, text)| text.as_ref()), next)))
            }
            "take_all" => {
                let Many { pattern, limit, after } = arguments(request.payload)?;
                let (found, next) = self.page(&Pattern::parse(pattern)?, after, limit, effects.now_ms())?;
                for (place, _) in &found {
                    self.remove(*place, effects);
                }
                Ok(Some(many(found.iter().map(|(_, text)| text.as_ref()), next)))
            }
            "count" => {
                let Subscribe { pattern } = arguments(request.payload)?;
                let (pattern, now_ms) = (Pattern::parse(pattern)?, effects.now_ms());
                let count = self.space.find(&pattern, None).filter(|(_, tuple)| is_live(tuple, now_ms)).count();
                Ok(Some(Payload::Json(format!(r#"{{"count":{count}}}"#))))
            }
            "confirm" => {
                let Lease { lease } = arguments(request.payload)?;
                let leased = self.end_lease(&lease).ok_or_else(|| no_lease(&lease))?;
                effects.delete(&tuple_key(leased.number, &leased.tuple));
                Ok(Some(Payload::empty()))
            }
            "release" => {
                let Lease { lease } = arguments(request.payload)?;
                let leased = self.end_lease(&lease).ok_or_else(|| no_lease(&lease))?;
                self.come_back(leased, effects);
                Ok(Some(Payload::empty()))
            }
            "subscribe" => {
                let Subscribe { pattern } = arguments(request.payload)?;
                self.subscribe(pattern, request.sender, effects).map(Some)
            }
            "unsubscribe" => {
                let Unsubscribe { subscription } = arguments(request.payload)?;
                if self.subscriptions.get(&subscription).is_some_and(|known| Some(&known.actor) == request.sender) {
                    self.subscriptions.remove(&subscription);
                    effects.delete(&subscription_key(&subscription));
                }
                Ok(Some(Payload::empty()))
            }
            FORGET => {
                let forget: Forget = arguments(request.payload)?;
                let more = self.forget(&forget, request, effects)?;
                Ok(Some(Payload::Json(format!(r#"{{"more":{more}}}"#))))
            }
            other => Err(unknown("tuple spaces", other)),
        }
    }

    fn due_ms(&self) -> Option<u64> {
        let lease = self.lease_ends.first().map(|(until, _)| *until);
        [self.space.next_expiry(), lease, self.waiters.next_end()].into_iter().flatten().min()
    }

    fn tick(&mut self, effects: &mut Effects<'_>) {
        let now_ms = effects.now_ms();
        while let Some(waiter) = self.waiters.over(now_ms) {
            effects.answer(waiter.ticket, Ok(one(None)));
        }
        for _ in 0..EXPIRE_AT_ONCE {
            let Some(place) = self.space.expired(now_ms) else { break };
            self.remove(place, effects);
        }
        for _ in 0..EXPIRE_AT_ONCE {
            let over = self.lease_ends.first().filter(|(until, _)| *until <= now_ms && !effects.is_full()).map(|(_, lease)| lease.clone());
            let Some(leased) = over.and_then(|lease| self.end_lease(&lease)) else { break };
            self.come_back(leased, effects);
        }
    }
}

impl TupleSpace {
    fn admit(&self, text: &RawValue, ttl_ms: Option<u64>, effects: &Effects<'_>) -> Result<Tuple, Failure> {
        check(text)?;
        if self.space.len() + self.leased.len() >= MAX_TUPLES {
            return Err(Failure::new(Code::Overloaded, format!("the tuple space holds {MAX_TUPLES} tuples")));
        }
        Tuple::parse(text.get(), expiry(effects.now_ms(), "ttl_ms", ttl_ms)?)
    }

    /// Adds a tuple: whoever waits for it is given it first.
    fn write(&mut self, tuple: Tuple, effects: &mut Effects<'_>) {
        let number = self.numbers.next(b"v", effects);
        for (id, subscription) in &self.subscriptions {
            if tuple.is_meant_by(&subscription.pattern) {
                let payload = format!(r#"{{"tuple":{},"subscription":"{id}"}}"#, tuple.text());
                effects.tell(subscription.actor.clone(), "tuple_written", Payload::Json(payload));
            }
        }
        self.offer(number, tuple, effects);
    }

    /// Gives a tuple to those who wait for it, in their order: to all who read it up to the first who takes it.
    fn offer(&mut self, number: u64, tuple: Tuple, effects: &mut Effects<'_>) {
        for (ticket, start) in self.waiters.waiting_for(&tuple, number) {
            let Some(waiter) = self.waiters.remove(start, ticket).filter(|_| effects.is_awaited(ticket)) else { continue };
            match waiter.wish {
                Wish::Read => effects.show(ticket, read(number, tuple.text())),
                Wish::Take { lease_ms } => {
                    let reply = self.hand_over(number, tuple, lease_ms, effects);
                    effects.answer(ticket, Ok(reply));
                    return;
                }
            }
        }
        effects.put(&tuple_key(number, &tuple), row(&tuple, None));
        self.space.insert(number, tuple);
    }

    /// Gives a tuple away, for good or for the time of a lease.
    fn hand_over(&mut self, number: u64, tuple: Tuple, lease_ms: Option<u64>, effects: &mut Effects<'_>) -> Payload {
        let Some(lease_ms) = lease_ms else {
            effects.delete(&tuple_key(number, &tuple));
            return one(Some(tuple.text()));
        };
        let lease = format!("lease-{:016x}", rand::random::<u64>());
        let until_ms = effects.now_ms().saturating_add(lease_ms);
        effects.put(&tuple_key(number, &tuple), row(&tuple, Some((lease.clone(), until_ms))));
        let reply = Payload::Json(format!(r#"{{"tuple":{},"lease":"{lease}"}}"#, tuple.text()));
        self.lend(lease, Leased { number, tuple, until_ms });
        reply
    }

    fn lend(&mut self, lease: String, leased: Leased) {
        self.lease_ends.insert((leased.until_ms, lease.clone()));
        self.leased.insert(lease, leased);
    }

    fn end_lease(&mut self, lease: &str) -> Option<Leased> {
        let leased = self.leased.remove(lease)?;
        self.lease_ends.remove(&(leased.until_ms, lease.to_owned()));
        Some(leased)
    }

    /// A tuple that was taken and not confirmed is there again, as old as it was.
    fn come_back(&mut self, leased: Leased, effects: &mut Effects<'_>) {
        if is_live(&leased.tuple, effects.now_ms()) {
            self.offer(leased.number, leased.tuple, effects);
        } else {
            effects.delete(&tuple_key(leased.number, &leased.tuple));
        }
    }

    fn remove(&mut self, place: Place, effects: &mut Effects<'_>) {
        if let Some(tuple) = self.space.remove(place) {
            effects.delete(&tuple_key(place.number, &tuple));
        }
    }

    /// The oldest tuple that a pattern means. One whose time is over counts as gone.
    fn oldest<'a>(&'a self, pattern: &Pattern, after: Option<u64>, now_ms: u64) -> Option<(Place, &'a Tuple)> {
        self.space.find(pattern, after).find(|(_, tuple)| is_live(tuple, now_ms))
    }

    fn look(&mut self, request: &SystemRequest<'_>, effects: &mut Effects<'_>) -> Result<Option<Payload>, Failure> {
        let Look { pattern, timeout_ms, lease_ms, after } = arguments(request.payload)?;
        let pattern = Pattern::parse(pattern)?;
        let takes = request.operation == "take";
        if (lease_ms.is_some() && !takes) || (after.is_some() && takes) {
            let field = if takes { "after" } else { "lease_ms" };
            return Err(Failure::invalid(field, format!("{} takes no {field}", request.operation)));
        }
        expiry(effects.now_ms(), "lease_ms", lease_ms)?;
        let until_ms = until(effects.now_ms(), timeout_ms)?;
        let found = self.oldest(&pattern, after, effects.now_ms()).map(|(place, tuple)| (place, Box::<str>::from(tuple.text())));
        match found {
            Some((place, _)) if takes => {
                let Some(tuple) = self.space.remove(place) else { return Ok(Some(one(None))) };
                Ok(Some(self.hand_over(place.number, tuple, lease_ms, effects)))
            }
            Some((place, text)) => Ok(Some(read(place.number, &text))),
            None if timeout_ms == 0 => Ok(Some(one(None))),
            None => {
                let wish = if takes { Wish::Take { lease_ms } } else { Wish::Read };
                self.waiters.add(Waiter { ticket: request.ticket, pattern, wish, after, until_ms });
                Ok(None)
            }
        }
    }

    /// Some of the tuples that a pattern means, and the position after which there are more.
    fn page(&self, pattern: &Pattern, after: Option<u64>, limit: Option<usize>, now_ms: u64) -> Result<(Vec<Found>, Option<u64>), Failure> {
        let limit = page_limit(limit)?;
        let live = self.space.find(pattern, after).filter(|(_, tuple)| is_live(tuple, now_ms));
        let (page, more) = cut(live, limit, |(_, tuple)| tuple.text().len());
        let next = page.last().filter(|_| more).map(|(place, _)| place.number);
        Ok((page.into_iter().map(|(place, tuple)| (place, Box::from(tuple.text()))).collect(), next))
    }

    /// Removes what stands for actors that are gone: their subscriptions, and the slots in which services have written who they are. Whether
    /// there are more.
    fn forget(&mut self, forget: &Forget, request: &SystemRequest<'_>, effects: &mut Effects<'_>) -> Result<bool, Failure> {
        let is_gone = |subscription: &Subscription| forget.is_of(request, &subscription.actor);
        let subscriptions = self.subscriptions.iter().filter(|(_, known)| is_gone(known)).map(|(id, _)| id.clone()).collect::<Vec<_>>();
        let slots = Pattern::parse(vec![SLOT.into(), Value::Null, Value::Null])?;
        let target = |tuple: &Tuple| serde_json::from_str::<(Value, Value, String)>(tuple.text()).ok().map(|(_, _, target)| target);
        let is_gone = |tuple: &Tuple| target(tuple).is_some_and(|target| forget.means(request, &target));
        let tuples: Vec<Place> = self.space.find(&slots, None).filter(|(_, tuple)| is_gone(tuple)).map(|(place, _)| place).collect();
        for id in &subscriptions {
            if effects.is_full() {
                return Ok(true);
            }
            self.subscriptions.remove(id);
            effects.delete(&subscription_key(id));
        }
        for place in tuples {
            if effects.is_full() {
                return Ok(true);
            }
            self.remove(place, effects);
        }
        Ok(false)
    }

    fn subscribe(&mut self, pattern: Vec<Value>, sender: Option<&ActorId>, effects: &mut Effects<'_>) -> Result<Payload, Failure> {
        let Some(actor) = sender else {
            return Err(Failure::new(Code::InvalidArgument, "only an actor can subscribe; from outside, watch the pattern"));
        };
        let text = Value::from(pattern.clone()).to_string();
        // An actor that subscribes whenever it comes to life has subscribed once.
        let known = self.subscriptions.iter().find(|(_, known)| known.actor == *actor && known.text == text);
        if let Some((id, _)) = known {
            return Ok(Payload::Json(format!(r#"{{"subscription":"{id}"}}"#)));
        }
        if self.subscriptions.len() >= MAX_SUBSCRIPTIONS {
            return Err(Failure::new(Code::Overloaded, format!("the tuple space has {MAX_SUBSCRIPTIONS} subscriptions")));
        }
        let pattern = Pattern::parse(pattern)?;
        let row = SubscriptionRow { tenant: actor.tenant.to_string(), actor: actor.to_string(), pattern: text.clone() };
        let id = format!("subscription-{:016x}", rand::random::<u64>());
        effects.put(&subscription_key(&id), postcard::to_stdvec(&row).unwrap_or_default());
        self.subscriptions.insert(id.clone(), Subscription { pattern, text, actor: actor.clone() });
        Ok(Payload::Json(format!(r#"{{"subscription":"{id}"}}"#)))
    }
}

fn check(text: &RawValue) -> Result<(), Failure> {
    if text.get().len() <= MAX_BYTES {
        return Ok(());
    }
    let message = format!("a tuple of {} bytes is larger than the limit of {MAX_BYTES} bytes", text.get().len());
    Err(Failure::new(Code::PayloadTooLarge, message).with_field("tuple"))
}

fn is_live(tuple: &Tuple, now_ms: u64) -> bool {
    tuple.expires_ms.is_none_or(|expires| now_ms < expires)
}

fn no_lease(lease: &str) -> Failure {
    Failure::new(Code::Conflict, format!("the lease {lease:?} is over or was never given; the tuple may be another's now"))
        .with_field("lease")
}

fn row(tuple: &Tuple, lease: Option<(String, u64)>) -> Bytes {
    let row = Row { expires_ms: tuple.expires_ms, lease, text: tuple.text() };
    postcard::to_stdvec(&row).unwrap_or_default().into()
}

fn tuple_key(number: u64, tuple: &Tuple) -> [u8; 11] {
    let mut key = [b't'; 11];
    key[1..3].copy_from_slice(&tuple.bucket.to_be_bytes());
    key[3..].copy_from_slice(&number.to_be_bytes());
    key
}

fn subscription_key(id: &str) -> Vec<u8> {
    [b"s", id.as_bytes()].concat()
}

/// The answer with one tuple or none.
fn one(text: Option<&str>) -> Payload {
    Payload::Json(format!(r#"{{"tuple":{}}}"#, text.unwrap_or("null")))
}

/// The answer to a read, with the position after which the next may be looked for.
fn read(number: u64, text: &str) -> Payload {
    Payload::Json(format!(r#"{{"tuple":{text},"position":{number}}}"#))
}

fn many<'a>(texts: impl Iterator<Item = &'a str>, next: Option<u64>) -> Payload {
    let tuples: Vec<&str> = texts.collect();
    let next = next.map_or_else(|| "null".to_owned(), |next| next.to_string());
    Payload::Json(format!(r#"{{"tuples":[{}],"next":{next}}}"#, tuples.join(",")))
}
