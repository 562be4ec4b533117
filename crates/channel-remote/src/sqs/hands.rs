//! What this node has given out: by what each message is settled, and the message, which becomes a dead letter where it has to. What its time is
//! over for is forgotten, and what is left is bounded in number and in bytes.

use std::collections::HashMap;
use std::time::Instant;

use plexspaces_types::{Code, Failure};

use crate::message::Message;

/// Messages that this node may have given out, and their bytes.
const MAX_HANDS: usize = 100_000;
const MAX_BYTES: usize = 256 << 20;

/// From how many on it is looked for those whose time is over, and again whenever they are twice as many as were left.
const SWEEP_AT: usize = 64;

/// A queue and the id of a message.
type Key = (String, String);

/// A message that this node has given out.
#[derive(Clone)]
pub(super) struct Hand {
    /// SQS's word for this delivery.
    pub(super) receipt: String,
    /// SQS's name for the message.
    pub(super) sqs_id: String,
    pub(super) message: Message,
    pub(super) bytes: usize,
    pub(super) until: Instant,
    /// Whether it may be gone already, since a request to remove it was not answered.
    pub(super) may_be_gone: bool,
}

/// All messages that this node has given out.
#[derive(Default)]
pub(super) struct Hands {
    by_key: HashMap<Key, Hand>,
    bytes: usize,
    sweep_at: usize,
    /// When the time of the first one is over, or before.
    first: Option<Instant>,
}

impl Hands {
    /// Fails where no more can be given out.
    pub(super) fn check_room(&mut self, now: Instant) -> Result<(), Failure> {
        if self.is_full() {
            self.sweep(now);
        }
        if !self.is_full() {
            return Ok(());
        }
        let (count, bytes) = (self.by_key.len(), self.bytes);
        let message = format!(
            "{count} messages of {bytes} bytes that this node has given out wait for their acknowledgement, expected less than {MAX_HANDS} \
             and {MAX_BYTES} bytes"
        );
        Err(Failure::new(Code::Overloaded, message))
    }

    fn is_full(&self) -> bool {
        self.by_key.len() >= MAX_HANDS || self.bytes >= MAX_BYTES
    }

    pub(super) fn insert(&mut self, key: Key, hand: Hand, now: Instant) {
        if self.by_key.len() >= self.sweep_at.max(SWEEP_AT) {
            self.sweep(now);
            self.sweep_at = self.by_key.len().saturating_mul(2);
        }
        self.first = Some(self.first.map_or(hand.until, |first| first.min(hand.until)));
        self.bytes += hand.bytes;
        if let Some(before) = self.by_key.insert(key, hand) {
            self.bytes -= before.bytes;
        }
    }

    pub(super) fn get(&self, key: &Key) -> Option<Hand> {
        self.by_key.get(key).cloned()
    }

    /// A delivery that may be gone.
    pub(super) fn doubt(&mut self, key: &Key, receipt: &str) {
        if let Some(hand) = self.by_key.get_mut(key).filter(|hand| hand.receipt == receipt) {
            hand.may_be_gone = true;
        }
    }

    /// Forgets a delivery, unless the message was given out again since.
    pub(super) fn remove(&mut self, key: &Key, receipt: &str) {
        if self.by_key.get(key).is_some_and(|hand| hand.receipt == receipt)
            && let Some(hand) = self.by_key.remove(key)
        {
            self.bytes -= hand.bytes;
        }
    }

    /// Forgets what its time is over for.
    fn sweep(&mut self, now: Instant) {
        if self.first.is_none_or(|first| first > now) {
            return;
        }
        self.by_key.retain(|_, hand| hand.until > now);
        self.bytes = self.by_key.values().map(|hand| hand.bytes).sum();
        self.first = self.by_key.values().map(|hand| hand.until).min();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use plexspaces_coord::channels::Given;
    use serde_json::value::to_raw_value;

    use super::*;

    fn give(hands: &mut Hands, number: usize, bytes: usize, until: Instant, now: Instant) {
        let given = Given { msg_id: Some(number.to_string()), msg_type: String::new(), payload: to_raw_value(&1).unwrap() };
        let message = Message::new(given, None, None);
        let (receipt, sqs_id) = (format!("r{number}"), String::new());
        hands.insert(key(number), Hand { receipt, sqs_id, message, bytes, until, may_be_gone: false }, now);
    }

    fn key(number: usize) -> Key {
        ("q".to_owned(), number.to_string())
    }

    #[test]
    fn what_its_time_is_over_for_is_forgotten_as_others_are_given_out() {
        let (mut hands, begin) = (Hands::default(), Instant::now());
        let at = |secs| begin + Duration::from_secs(secs);
        for number in 0..10_000 {
            let now = at(u64::try_from(number).unwrap());
            give(&mut hands, number, 1, now + Duration::from_secs(30), now);
            assert!(hands.by_key.len() <= 64, "{number}: {}", hands.by_key.len());
            assert_eq!(hands.bytes, hands.by_key.len());
        }
        assert!(hands.get(&key(9_999)).is_some() && hands.get(&key(1)).is_none());
    }

    #[test]
    fn what_this_node_has_given_out_is_bounded() {
        let (mut hands, begin) = (Hands::default(), Instant::now());
        let (soon, late) = (begin + Duration::from_secs(1), begin + Duration::from_secs(60));
        for number in 0..256 {
            hands.check_room(begin).unwrap();
            give(&mut hands, number, 1 << 20, if number == 7 { soon } else { late }, begin);
        }
        let refused = hands.check_room(begin).unwrap_err();
        assert_eq!(refused.code, Code::Overloaded, "{refused}");
        hands.check_room(soon).unwrap();
        give(&mut hands, 7, 1 << 20, late, soon);
        assert!(hands.check_room(soon).is_err());
        // The same one once more takes no more room, and the receipt of another delivery frees none.
        give(&mut hands, 7, 1 << 20, late, soon);
        hands.remove(&key(7), "another");
        assert_eq!(hands.bytes, MAX_BYTES);
        hands.doubt(&key(7), "r7");
        assert!(hands.get(&key(7)).unwrap().may_be_gone);
        hands.remove(&key(7), "r7");
        hands.check_room(soon).unwrap();

        let mut hands = Hands::default();
        for number in 0..MAX_HANDS {
            give(&mut hands, number, 1, late, begin);
        }
        assert!(hands.check_room(begin).is_err());
        hands.check_room(late).unwrap();
        assert!(hands.by_key.is_empty());
    }
}
