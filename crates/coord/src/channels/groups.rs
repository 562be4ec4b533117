//! Groups of consumers of a topic: each message goes to one consumer of each group, until it is acknowledged.
//!
//! A group is a subscriber, whose place in the topic is the last message that it was given, and a queue of its own. A message goes from the
//! topic into that queue when a consumer asks for one and none is ready there: so what is in hand, what failed and what is dead is kept as in
//! any queue, and a topic need not know of what its groups have not come to yet.

use std::collections::BTreeMap;

use plexspaces_actor::Effects;
use plexspaces_types::{Code, Failure, Payload};

use super::queue::Queue;
use super::topic::Topic;
use super::{From, Message};
use crate::request::{row_key, text, unreadable};

/// Groups of one topic for which somebody receives.
const MAX_GROUPS: usize = 1000;

#[derive(Default)]
pub(super) struct Groups {
    by_name: BTreeMap<String, Queue>,
    /// Rows of groups that were given up, and the highest number among them: a new group of the same name has higher ones, so that its rows are
    /// others.
    gone: Vec<Vec<u8>>,
    last_gone: u64,
    /// Some who wait are not given yet what there is for them.
    is_behind: bool,
}

/// What the keys of a group's rows begin with.
fn rows(group: &str) -> Vec<u8> {
    // A name is at most 512 bytes.
    let length = u16::try_from(group.len()).unwrap_or(u16::MAX);
    row_key(b'g', &[&length.to_be_bytes(), group.as_bytes()].concat())
}

impl Groups {
    /// Takes a row, whose key is what comes after the `g`.
    pub(super) fn load(&mut self, key: &[u8], value: &[u8]) -> Result<(), Failure> {
        let parts = || {
            let (length, rest) = key.split_first_chunk::<2>()?;
            let (name, rest) = rest.split_at_checked(u16::from_be_bytes(*length).into())?;
            let (kind, number) = rest.split_first()?;
            Some((name, *kind, number))
        };
        let (name, kind, number) = parts().ok_or_else(|| unreadable("row of a group"))?;
        self.queue(text("group", name)?).load(kind, number, value)
    }

    /// Forgets groups that were given up by an activation that did not come to remove their rows.
    pub(super) fn loaded(&mut self, topic: &Topic) {
        let gone: Vec<String> = self.by_name.keys().filter(|name| !topic.has_subscriber(name)).cloned().collect();
        gone.iter().for_each(|name| drop(self.leave(name)));
    }

    fn queue(&mut self, group: String) -> &mut Queue {
        let at = rows(&group);
        self.by_name.entry(group).or_insert_with(|| Queue::at(at, self.last_gone))
    }

    /// A group that somebody has received for.
    pub(super) fn known(&mut self, group: &str) -> Option<&mut Queue> {
        self.by_name.get_mut(group)
    }

    /// The next message for a group. One that is new begins with the oldest message that is kept.
    pub(super) fn receive(
        &mut self,
        group: &str,
        visibility_ms: u64,
        topic: &mut Topic,
        channel: &str,
        effects: &mut Effects<'_>,
    ) -> Result<Option<Message>, Failure> {
        let is_new = !self.by_name.contains_key(group);
        if is_new && self.by_name.len() >= MAX_GROUPS {
            return Err(Failure::new(Code::Overloaded, format!("the topic has {MAX_GROUPS} groups of consumers")));
        }
        let queue = self.queue(group.to_owned());
        if queue.is_bare() {
            // What is refused has changed nothing.
            queue.has_room(channel)?;
            topic.subscribe(group, From::Earliest, effects)?;
            feed(queue, group, topic, channel, effects, Queue::is_bare)?;
        }
        Ok(queue.receive(visibility_ms, effects))
    }

    pub(super) fn wait(&mut self, group: &str, ticket: u64, until_ms: u64, visibility_ms: u64, topic: &Topic) {
        self.queue(group.to_owned()).wait(ticket, until_ms, visibility_ms);
        self.is_behind |= topic.has_more(group);
    }

    /// Gives those who wait what has come to the topic, as many as one step should.
    pub(super) fn serve(&mut self, topic: &mut Topic, channel: &str, effects: &mut Effects<'_>) {
        for (group, queue) in self.by_name.iter_mut().filter(|(_, queue)| queue.is_hungry()) {
            if effects.is_full() {
                self.is_behind = true;
                return;
            }
            // A group with more in hand than a queue holds is given the next when one of them is done.
            let _ = feed(queue, group, topic, channel, effects, Queue::is_hungry);
        }
        self.is_behind = effects.is_full();
    }

    /// Gives a group up, with all that it has in hand. Those who wait for it are told that there is nothing.
    pub(super) fn leave(&mut self, group: &str) -> Vec<u64> {
        let Some(mut queue) = self.by_name.remove(group) else { return Vec::new() };
        self.gone.extend(queue.all_rows());
        self.last_gone = self.last_gone.max(queue.last_number());
        queue.dismiss()
    }

    pub(super) fn due_ms(&self) -> Option<u64> {
        let now = (self.is_behind || !self.gone.is_empty()).then_some(0);
        self.by_name.values().filter_map(Queue::due_ms).chain(now).min()
    }

    pub(super) fn tick(&mut self, topic: &mut Topic, channel: &str, effects: &mut Effects<'_>) {
        for queue in self.by_name.values_mut() {
            queue.tick(channel, effects);
        }
        self.serve(topic, channel, effects);
        while !effects.is_full() {
            let Some(row) = self.gone.pop() else { break };
            effects.delete(&row);
        }
    }
}

/// Moves messages from the topic into a group's queue while they are wanted there. One whose id the group still has is not wanted twice.
fn feed(
    queue: &mut Queue,
    group: &str,
    topic: &mut Topic,
    channel: &str,
    effects: &mut Effects<'_>,
    is_wanted: impl Fn(&Queue) -> bool,
) -> Result<(), Failure> {
    while is_wanted(queue) && !effects.is_full() {
        queue.has_room(channel)?;
        let Some(message) = topic.next(group, effects)? else { break };
        queue.send(message, 0, channel, effects)?;
    }
    Ok(())
}

/// The answer to one who has waited in vain.
pub(super) fn nothing() -> Payload {
    Payload::Json(r#"{"message":null}"#.to_owned())
}
