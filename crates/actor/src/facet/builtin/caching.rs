//! `caching`: replies of reading operations, kept for a while.

use std::collections::{HashMap, HashSet, VecDeque};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use plexspaces_types::MessageKind;
use serde_json::{Map, Value};

use crate::{Call, Facet, FacetError, FacetSettings, InterceptResult, Turn};

const TTL: Duration = Duration::from_secs(60);
const CAPACITY: usize = 1000;

type Key = (String, Vec<u8>);

struct Caching {
    operations: HashSet<String>,
    ttl: Duration,
    capacity: usize,
    /// Whether an operation that is not listed may change what the listed ones read.
    invalidate: bool,
    replies: HashMap<Key, (Vec<u8>, Instant)>,
    /// Keys in the order of their replies, so that the oldest makes room.
    order: VecDeque<Key>,
}

pub(super) fn make(config: &Map<String, Value>) -> Result<Box<dyn Facet>, String> {
    let mut settings = FacetSettings::new(config);
    let operations: HashSet<String> = settings.required("operations")?;
    let ttl = settings.duration("ttl")?.unwrap_or(TTL);
    let capacity = settings.count("capacity")?.unwrap_or(CAPACITY);
    let invalidate = settings.optional("invalidate")?.unwrap_or(true);
    settings.finish()?;
    if operations.is_empty() {
        return Err("operations is empty, expected the names of operations that only read".to_owned());
    }
    Ok(Box::new(Caching { operations, ttl, capacity, invalidate, replies: HashMap::new(), order: VecDeque::new() }))
}

impl Caching {
    fn covers(&self, call: &Call<'_>) -> bool {
        call.message.kind == MessageKind::Call && self.operations.contains(call.operation)
    }

    fn forget_all(&mut self) {
        self.replies.clear();
        self.order.clear();
    }
}

fn key(call: &Call<'_>) -> Key {
    (call.operation.to_owned(), call.message.payload.as_bytes().to_vec())
}

#[async_trait]
impl Facet for Caching {
    fn name(&self) -> &str {
        "caching"
    }

    fn priority(&self) -> u32 {
        50
    }

    async fn before(&mut self, call: &Call<'_>, _turn: &mut Turn) -> Result<InterceptResult, FacetError> {
        if !self.covers(call) {
            // Forgotten before it runs, so that a failure on the way out leaves nothing old behind.
            if self.invalidate && !self.operations.contains(call.operation) {
                self.forget_all();
            }
            return Ok(InterceptResult::Continue);
        }
        let fresh = self.replies.get(&key(call)).filter(|(_, until)| crate::now() < *until);
        Ok(fresh.map_or(InterceptResult::Continue, |(reply, _)| InterceptResult::Reply(reply.clone())))
    }

    async fn after(&mut self, call: &Call<'_>, reply: &[u8], _turn: &mut Turn) -> Result<InterceptResult, FacetError> {
        if !self.covers(call) {
            return Ok(InterceptResult::Continue);
        }
        let key = key(call);
        if self.replies.insert(key.clone(), (reply.to_vec(), crate::now() + self.ttl)).is_some() {
            self.order.retain(|known| *known != key);
        }
        self.order.push_back(key);
        if self.order.len() > self.capacity
            && let Some(oldest) = self.order.pop_front()
        {
            self.replies.remove(&oldest);
        }
        Ok(InterceptResult::Continue)
    }
}
