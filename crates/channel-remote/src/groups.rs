//! Groups of consumers of a topic at a broker: each message goes to one consumer of each group, until it is acknowledged.
//!
//! A group is a subscriber, whose place in the topic is behind the last message that was put into a queue of its own. Messages go there when a
//! consumer asks for one and none is ready: first they are sent, then the place moves. What is cut off in between is sent again, and the queue
//! drops what it was sent lately.

use std::time::{Duration, Instant};

use plexspaces_coord::channels::From;
use plexspaces_types::{ActorId, Code, Failure, Key};
use serde::Serialize;
use sha2::{Digest as _, Sha256};

use crate::backend::{Backend, Status};
use crate::message::{Message, hex};

/// Messages that go into a group's queue together.
const AT_ONCE: usize = 16;

/// How long one waits for the topic until one looks at the queue again: what comes back there wakes nobody who waits here.
const SLICE: Duration = Duration::from_millis(500);

/// Bytes of a channel's name that a group's queue has in its own, for whoever looks at the broker.
const SHOWN: usize = 120;

/// The queue of a group.
pub(crate) fn queue_of(channel: &ActorId, group: &str) -> Result<ActorId, Failure> {
    let name = channel.key.as_str();
    // A channel's name has no slash, so no other channel and group have the same digest.
    let digest = hex(&Sha256::digest(format!("{name}/{group}")));
    let key = Key::new(&format!("{}~{digest}", &name[..name.floor_char_boundary(SHOWN)]));
    let key = key.map_err(|error| Failure::new(Code::Internal, error.to_string()))?;
    Ok(ActorId::new(channel.tenant.clone(), channel.namespace.clone(), channel.actor_type.clone(), key))
}

/// The next message for a group. One that is new begins with the oldest message that is kept.
pub(crate) async fn receive(
    backend: &dyn Backend,
    channel: &ActorId,
    group: &str,
    visibility: Duration,
    until: Instant,
    asked: Option<(&ActorId, &str)>,
) -> Result<Option<Message>, Failure> {
    let queue = queue_of(channel, group)?;
    loop {
        let received = backend.receive(&queue, visibility, Instant::now(), asked).await;
        if let Some(message) = unless_gone(backend, channel, group, received).await? {
            return Ok(Some(message));
        }
        let look_again = until.min(Instant::now() + SLICE);
        let fed = feed(backend, channel, group, &queue, look_again).await;
        if unless_gone(backend, channel, group, fed).await? == Fed::Nothing && look_again == until {
            return Ok(None);
        }
    }
}

/// Whether a queue may have more than before.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Fed {
    #[default]
    Nothing,
    Something,
}

/// Moves messages from the topic into a group's queue, for which it waits.
async fn feed(backend: &dyn Backend, channel: &ActorId, group: &str, queue: &ActorId, until: Instant) -> Result<Fed, Failure> {
    let Some(place) = backend.place(channel, group).await? else {
        backend.subscribe(channel, group, From::Earliest).await?;
        return Ok(Fed::Something);
    };
    let (messages, next) = backend.tail(channel, Some(place), AT_ONCE, until).await?;
    for (_, message) in &messages {
        backend.send(queue, message, Duration::ZERO).await?;
    }
    if next != place {
        backend.advance(channel, group, place, next).await?;
    }
    Ok(if messages.is_empty() { Fed::Nothing } else { Fed::Something })
}

/// Nothing, where a queue was not to be found since its group was given up meanwhile.
async fn unless_gone<T: Default>(backend: &dyn Backend, channel: &ActorId, group: &str, result: Result<T, Failure>) -> Result<T, Failure> {
    match result {
        Err(failure) if failure.code == Code::Unavailable && backend.place(channel, group).await?.is_none() => Ok(T::default()),
        result => result,
    }
}

/// What became of a message, which is done with where its group is gone.
pub(crate) async fn settled(
    backend: &dyn Backend,
    channel: &ActorId,
    group: Option<&str>,
    result: Result<(), Failure>,
) -> Result<(), Failure> {
    match group {
        Some(group) => unless_gone(backend, channel, group, result).await,
        None => result,
    }
}

/// Gives a subscriber up, and the queue that it has if it is a group. What is put there in the meantime a new group of that name is given twice
/// rather than never.
pub(crate) async fn leave(backend: &dyn Backend, channel: &ActorId, subscriber: &str) -> Result<(), Failure> {
    backend.drop_queue(&queue_of(channel, subscriber)?).await?;
    backend.unsubscribe(channel, subscriber).await
}

/// How a group stands.
#[derive(Serialize)]
pub(crate) struct Standing {
    /// What is in its queue.
    #[serde(flatten)]
    queue: Status,
    /// How many messages of the topic it has not come to.
    behind: u64,
}

pub(crate) async fn status(backend: &dyn Backend, channel: &ActorId, group: &str) -> Result<Standing, Failure> {
    let Status { published, subscribers, .. } = backend.status(channel).await?;
    let behind = backend.behind(channel, backend.place(channel, group).await?.unwrap_or(0)).await?;
    let queue = backend.status(&queue_of(channel, group)?).await?;
    Ok(Standing { queue: Status { published, subscribers, ..queue }, behind })
}
