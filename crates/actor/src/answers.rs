//! The answers to idempotency keys of an actor that is not durable.

use std::collections::{HashMap, VecDeque};

use plexspaces_durable::{Answer, RETENTION_MS};
use plexspaces_types::Payload;

/// How many answers an actor remembers; the oldest goes first.
const CAPACITY: usize = 1024;

#[derive(Default)]
pub(crate) struct Answers {
    by_key: HashMap<String, Answer>,
    order: VecDeque<String>,
}

impl Answers {
    pub(crate) fn get(&self, key: &str, now_ms: u64) -> Option<Answer> {
        self.by_key.get(key).filter(|answer| now_ms < answer.expires_ms).cloned()
    }

    pub(crate) fn insert(&mut self, key: String, fingerprint: [u8; 32], reply: Payload, now_ms: u64) {
        let answer = Answer { fingerprint, expires_ms: now_ms.saturating_add(RETENTION_MS), failed: false, reply };
        if self.by_key.insert(key.clone(), answer).is_none() {
            self.order.push_back(key);
        }
        if self.order.len() > CAPACITY
            && let Some(oldest) = self.order.pop_front()
        {
            self.by_key.remove(&oldest);
        }
    }
}
