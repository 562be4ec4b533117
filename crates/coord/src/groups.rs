//! The process groups of a namespace, after Erlang's pg.
//!
//! | row | value |
//! | --- | --- |
//! | `g` order | a membership: the order in which it began tells it from others |

use std::collections::{BTreeMap, BTreeSet, HashMap};

use plexspaces_actor::{Effects, Nature, RESERVED, SystemActor, SystemRequest, SystemType};
use plexspaces_types::{ActorId, Code, Failure, Name, Payload};
use serde::{Deserialize, Serialize};
use serde_json::json;
use serde_json::value::RawValue;

mod channel;

use crate::request::{List, arguments, check_key, decode, encode, number, page_limit, reply, row_key, unknown, unreadable};

/// Process groups. There is one service of them in each namespace, named `default`.
pub const TYPE: SystemType = SystemType { name: "groups", many: false, knows_actors: false, make: |_| Box::<Groups>::default(), nature };

/// Memberships in one namespace.
const MAX_MEMBERSHIPS: usize = 1_000_000;

/// Topics of one membership.
const MAX_TOPICS: usize = 100;

/// What a message to a group is called when nobody calls it otherwise.
const MESSAGE: &str = "group_message";

#[derive(Default)]
struct Groups {
    groups: BTreeMap<String, BTreeMap<u64, Member>>,
    by_actor: HashMap<ActorId, BTreeSet<(String, u64)>>,
    last_order: u64,
    memberships: usize,
    /// Memberships that have ended and whose rows are there still.
    ended: Vec<u64>,
}

struct Member {
    actor: ActorId,
    /// Of nothing else is it told; all when empty.
    topics: Vec<String>,
}

#[derive(Serialize, Deserialize)]
struct Row {
    group: String,
    tenant: String,
    actor: String,
    topics: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Join {
    group: String,
    #[serde(default)]
    actor: Option<String>,
    #[serde(default)]
    topics: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Leave {
    group: String,
    #[serde(default)]
    actor: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Members {
    group: String,
    #[serde(default)]
    topic: Option<String>,
    /// The `next` of the page before.
    #[serde(default)]
    after: Option<u64>,
    #[serde(default)]
    limit: Option<usize>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Publish {
    group: String,
    #[serde(default)]
    operation: Option<String>,
    payload: Box<RawValue>,
    #[serde(default)]
    topic: Option<String>,
}

fn nature(operation: &str, payload: &Payload) -> Result<Nature, Failure> {
    match operation {
        "join" => {
            let join: Join = arguments(payload)?;
            check_key("group", &join.group)?;
            check_topics(&join.topics)?;
        }
        "leave" => drop(arguments::<Leave>(payload)?),
        "publish" => drop(arguments::<Publish>(payload)?),
        "members" | "list" => return Ok(Nature::Look),
        other => return Err(unknown("groups", other)),
    }
    Ok(Nature::Post)
}

fn check_topics(topics: &[String]) -> Result<(), Failure> {
    if topics.len() > MAX_TOPICS {
        return Err(Failure::invalid("topics", format!("{} topics, expected at most {MAX_TOPICS}", topics.len())));
    }
    topics.iter().try_for_each(|topic| check_key("topics", topic))
}

impl SystemActor for Groups {
    fn load(&mut self, key: &[u8], value: &[u8]) -> Result<(), Failure> {
        let Some((b'g', order)) = key.split_first() else { return Err(unreadable("row of groups")) };
        let order = number("membership", order)?;
        let row: Row = decode("membership", value)?;
        let tenant = Name::new("tenant", &row.tenant).map_err(|_| unreadable("membership"))?;
        let actor = ActorId::parse(&tenant, &row.actor).ok_or_else(|| unreadable("membership"))?;
        self.enter(order, row.group, Member { actor, topics: row.topics });
        Ok(())
    }

    fn loaded(&mut self, effects: &mut Effects<'_>) {
        for actor in self.by_actor.keys() {
            effects.watch_again(actor.clone());
        }
    }

    fn handle(&mut self, request: &SystemRequest<'_>, effects: &mut Effects<'_>) -> Result<Option<Payload>, Failure> {
        match request.operation {
            "join" => {
                let Join { group, actor, topics } = arguments(request.payload)?;
                check_key("group", &group)?;
                check_topics(&topics)?;
                let actor = member(actor.as_deref(), request)?;
                self.join(group, Member { actor, topics }, effects)?;
                Ok(Some(Payload::empty()))
            }
            "leave" => {
                let Leave { group, actor } = arguments(request.payload)?;
                let actor = member(actor.as_deref(), request)?;
                if let Some(order) = self.order_of(&group, &actor) {
                    self.leave(&group, order, effects);
                }
                Ok(Some(Payload::empty()))
            }
            "members" => {
                let Members { group, topic, after, limit } = arguments(request.payload)?;
                let limit = limit.map_or(Ok(usize::MAX), |limit| page_limit(Some(limit)))?;
                let mut all = self.addressed(&group, topic.as_deref(), after.map_or(0, |after| after.saturating_add(1)));
                let page: Vec<_> = all.by_ref().take(limit).collect();
                let next = all.next().and(page.last().map(|(order, _)| *order));
                let members: Vec<_> = page.into_iter().map(|(_, actor)| actor.to_string()).collect();
                reply(&json!({"members": members, "next": next}))
            }
            "list" => {
                let list: List = arguments(request.payload)?;
                let (page, next) = list.page(&self.groups, |_| true, |_| 0)?;
                let groups: Vec<_> = page.into_iter().map(|(group, members)| json!({"group": group, "members": members.len()})).collect();
                reply(&json!({"groups": groups, "next": next}))
            }
            "publish" => {
                let Publish { group, operation, payload, topic } = arguments(request.payload)?;
                self.publish(&group, operation.as_deref().unwrap_or_default(), topic.as_deref(), &payload, effects);
                Ok(Some(Payload::empty()))
            }
            other => match other.strip_prefix(channel::PREFIX) {
                Some(operation) => channel::handle(self, operation, request, effects),
                None => Err(unknown("groups", other)),
            },
        }
    }

    fn due_ms(&self) -> Option<u64> {
        (!self.ended.is_empty()).then_some(0)
    }

    /// Removes rows of memberships that have ended. If the node ends before that, the next one looks again who is there.
    fn tick(&mut self, effects: &mut Effects<'_>) {
        while !effects.is_full() {
            let Some(order) = self.ended.pop() else { break };
            effects.delete(&row_key(b'g', &order.to_be_bytes()));
        }
    }

    fn ended(&mut self, actor: &ActorId, effects: &mut Effects<'_>) {
        for (group, order) in self.by_actor.get(actor).cloned().unwrap_or_default() {
            self.forget(&group, order);
            self.ended.push(order);
        }
        self.tick(effects);
    }
}

impl Groups {
    fn enter(&mut self, order: u64, group: String, member: Member) {
        self.last_order = self.last_order.max(order);
        self.by_actor.entry(member.actor.clone()).or_default().insert((group.clone(), order));
        let known = self.groups.entry(group).or_default().insert(order, member);
        self.memberships += usize::from(known.is_none());
    }

    fn order_of(&self, group: &str, actor: &ActorId) -> Option<u64> {
        self.by_actor.get(actor)?.iter().find(|(joined, _)| joined == group).map(|(_, order)| *order)
    }

    /// Joins a group, or changes the topics of a member.
    fn join(&mut self, group: String, member: Member, effects: &mut Effects<'_>) -> Result<(), Failure> {
        let order = match self.order_of(&group, &member.actor) {
            Some(order) => order,
            None if self.memberships >= MAX_MEMBERSHIPS => {
                return Err(Failure::new(Code::Overloaded, format!("the groups of the namespace have {MAX_MEMBERSHIPS} members")));
            }
            None => self.last_order + 1,
        };
        if !self.by_actor.contains_key(&member.actor) {
            effects.watch(member.actor.clone());
        }
        let row = Row {
            group: group.clone(),
            tenant: member.actor.tenant.to_string(),
            actor: member.actor.to_string(),
            topics: member.topics.clone(),
        };
        effects.put(&row_key(b'g', &order.to_be_bytes()), encode(&row));
        self.enter(order, group, member);
        Ok(())
    }

    fn leave(&mut self, group: &str, order: u64, effects: &mut Effects<'_>) {
        effects.delete(&row_key(b'g', &order.to_be_bytes()));
        self.forget(group, order);
    }

    fn forget(&mut self, group: &str, order: u64) {
        let Some(members) = self.groups.get_mut(group) else { return };
        let left = members.remove(&order);
        if members.is_empty() {
            self.groups.remove(group);
        }
        let Some(Member { actor, .. }) = left else { return };
        self.memberships -= 1;
        if let Some(joined) = self.by_actor.get_mut(&actor) {
            joined.remove(&(group.to_owned(), order));
            if joined.is_empty() {
                self.by_actor.remove(&actor);
            }
        }
    }

    fn publish(&self, group: &str, operation: &str, topic: Option<&str>, payload: &RawValue, effects: &mut Effects<'_>) {
        let operation = if operation.is_empty() { MESSAGE } else { operation };
        for (_, actor) in self.addressed(group, topic, 0) {
            effects.tell(actor.clone(), operation, Payload::Json(payload.get().to_owned()));
        }
    }

    /// The members that hear of a topic, in the order in which they joined, from one on.
    fn addressed<'a>(&'a self, group: &str, topic: Option<&'a str>, from: u64) -> impl Iterator<Item = (u64, &'a ActorId)> {
        let members = self.groups.get(group).into_iter().flat_map(move |members| members.range(from..));
        let hears = move |(_, member): &(&u64, &Member)| match topic {
            Some(topic) => member.topics.is_empty() || member.topics.iter().any(|known| known == topic),
            None => true,
        };
        members.filter(hears).map(|(order, member)| (*order, &member.actor))
    }
}

/// Whose membership is meant: an actor of the tenant, or who asks.
fn member(actor: Option<&str>, request: &SystemRequest<'_>) -> Result<ActorId, Failure> {
    let Some(printed) = actor.filter(|printed| !printed.is_empty()) else {
        return request.sender.cloned().ok_or_else(|| Failure::invalid("actor", "a request from outside must name the actor"));
    };
    named("actor", printed, request)
}

/// The actor of the tenant with a printed identity.
fn named(field: &'static str, printed: &str, request: &SystemRequest<'_>) -> Result<ActorId, Failure> {
    ActorId::parse(request.tenant, printed)
        .filter(|actor| !actor.actor_type.as_str().starts_with(RESERVED))
        .ok_or_else(|| Failure::invalid(field, format!("{printed:?} is not an actor's printed identity (namespace/type/key)")))
}
