//! Room in the stream of a queue. A message that is moved, since it is due, dead or put back, is in the stream twice until the move is done. So
//! what is sent leaves some places free: a stream without any could never move what it holds, and so never be emptied.

use std::time::{Duration, Instant};

use async_nats::jetstream::stream::{RawMessageErrorKind, Stream};
use plexspaces_types::Failure;

use super::Nats;
use super::names::subject;

/// Places that are left free at most.
pub(super) const MAX_FREE: u64 = 500;

/// For how long, and for how many messages at most, it is believed that there is room.
const BELIEVED: Duration = Duration::from_secs(5);
const MAX_BELIEVED: u64 = 100;

/// The part of the room that one node takes without looking again, so that several nodes do not fill the stream together.
const PART: u64 = 16;

/// Streams of which it is remembered that they have room.
const MAX_KNOWN: usize = 10_000;

/// How many messages may be sent without looking, and until when.
pub(super) struct Room {
    left: u64,
    until: Instant,
}

/// How many messages may be sent to a stream that has so many and holds so many at most.
fn room(messages: u64, limit: u64) -> u64 {
    limit.saturating_sub((limit / 100).clamp(1, MAX_FREE)).saturating_sub(messages)
}

impl Nats {
    /// Whether a message may be sent to the queue.
    pub(super) async fn has_room(&self, name: &str, handle: &Stream<()>) -> Result<bool, Failure> {
        if let Some(room) = self.0.rooms.lock().get_mut(name).filter(|room| room.left > 0 && room.until > Instant::now()) {
            room.left -= 1;
            return Ok(true);
        }
        let info = handle.get_info().await.map_err(|error| self.lost(name, error))?;
        let room = match u64::try_from(info.config.max_messages) {
            Ok(limit) if limit > 0 => room(info.state.messages, limit),
            _ => u64::MAX,
        };
        let mut rooms = self.0.rooms.lock();
        if rooms.len() >= MAX_KNOWN {
            rooms.clear();
        }
        rooms.insert(name.to_owned(), Room { left: (room / PART).min(MAX_BELIEVED), until: Instant::now() + BELIEVED });
        Ok(room > 0)
    }

    /// Whether a message waits in the queue, or will when it is due.
    pub(super) async fn waits(&self, name: &str, handle: &Stream<()>, id: &str) -> Result<bool, Failure> {
        for kind in ["ready", "later"] {
            match handle.get_last_raw_message_by_subject(&subject(name, &format!("{kind}.{id}"))).await {
                Ok(_) => return Ok(true),
                Err(error) if error.kind() == RawMessageErrorKind::NoMessageFound => {}
                Err(error) => return Err(self.lost(name, error)),
            }
        }
        Ok(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_left_free_for_what_is_moved() {
        assert_eq!([0, 2, 3, 4].map(|messages| room(messages, 4)), [3, 1, 0, 0]);
        assert_eq!((room(0, 1), room(0, 1000), room(99_999, 100_500), room(100_000, 100_500)), (0, 990, 1, 0));
    }
}
