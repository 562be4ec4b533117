//! Process groups: actors under a common name, and messages to all of them.

use plexspaces_types::Failure;
use serde_json::{Value, json};

use super::Service;
use crate::{ActorContext, Message};

/// What a message to a group is that does not say it.
const GROUP_MESSAGE: &str = "group_message";

/// The groups of the actor's namespace. One begins with its first member and ends with its last; members are in the order in which they
/// joined, and one that ends leaves.
#[derive(Clone, Copy)]
pub struct ProcessGroups<'a>(Service<'a>);

impl ActorContext {
    /// The process groups.
    #[must_use]
    pub fn process_groups(&self) -> ProcessGroups<'_> {
        ProcessGroups(Service::only(self, "groups"))
    }
}

impl ProcessGroups<'_> {
    /// This actor becomes a member; if it is one already it stays it.
    pub async fn join(&self, group: &str) -> Result<(), Failure> {
        self.0.ask("join", json!({"group": group})).await.map(drop)
    }

    /// This actor becomes a member for these topics only.
    pub async fn join_topics(&self, group: &str, topics: &[&str]) -> Result<(), Failure> {
        self.0.ask("join", json!({"group": group, "topics": topics})).await.map(drop)
    }

    /// Another actor, by its printed identity, becomes a member.
    pub async fn add(&self, group: &str, actor: &str) -> Result<(), Failure> {
        self.0.ask("join", json!({"group": group, "actor": actor})).await.map(drop)
    }

    /// This actor is a member no more.
    pub async fn leave(&self, group: &str) -> Result<(), Failure> {
        self.0.ask("leave", json!({"group": group})).await.map(drop)
    }

    /// Another actor, by its printed identity, is a member no more.
    pub async fn remove(&self, group: &str, actor: &str) -> Result<(), Failure> {
        self.0.ask("leave", json!({"group": group, "actor": actor})).await.map(drop)
    }

    /// The printed identities of the members, of a topic or all; none of a group that is not there.
    pub async fn members(&self, group: &str, topic: Option<&str>) -> Result<Vec<String>, Failure> {
        self.0.field("members", json!({"group": group, "topic": topic}), "members").await
    }

    /// Sends a cast to each member, of a topic or all, this actor included if it is one. A message that does not say what it is is a
    /// `group_message`. Each is told by itself: such a message of a durable actor reaches each member once.
    pub async fn publish(&self, group: &str, mut message: Message, topic: Option<&str>) -> Result<(), Failure> {
        if message.msg_type.is_empty() {
            GROUP_MESSAGE.clone_into(&mut message.msg_type);
        }
        let mut told = Ok(());
        // One that has no room keeps no other from being told.
        for member in self.members(group, topic).await? {
            let this = self.0.ctx.tell(&member, message.clone()).await;
            told = told.and(this);
        }
        told
    }

    /// The groups whose names begin with `prefix`, in byte order.
    pub async fn list(&self, prefix: &str) -> Result<Vec<String>, Failure> {
        let groups: Vec<Value> = self.0.pages("list", json!({"prefix": prefix}), "groups", Value::Null).await?;
        let name = |mut group: Value| self.0.read("list", group.get_mut("group").map(Value::take));
        groups.into_iter().map(name).collect()
    }
}
