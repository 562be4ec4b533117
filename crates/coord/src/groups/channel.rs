//! A process group as a channel: what is published reaches the members that there are, as casts. Nothing is kept, so there is no queue and
//! nothing to ask for.

use plexspaces_actor::{Effects, SystemRequest};
use plexspaces_types::{Failure, Payload};
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;

use super::{Groups, Member, named};
use crate::channels::{Given, Operation, fresh_id, no_groups, no_queue};
use crate::request::{arguments, reply};

/// What the operations of a channel begin with when they are asked of the groups.
pub(super) const PREFIX: &str = "channel.";

/// Where such a channel is, for errors.
const PLACE: &str = "a process group";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    channel: String,
    arguments: Box<RawValue>,
}

/// Carries out an operation of the channel that has the group's name.
pub(super) fn handle(
    groups: &mut Groups,
    operation: &str,
    request: &SystemRequest<'_>,
    effects: &mut Effects<'_>,
) -> Result<Option<Payload>, Failure> {
    let Asked { channel, arguments: given } = arguments(request.payload)?;
    let asked = Operation::read(operation, &Payload::Json(given.get().to_owned()), request.sender)?;
    if asked.group().is_some() {
        return Err(no_groups(&channel));
    }
    match asked {
        Operation::Publish { message } => {
            let Given { msg_id, msg_type, payload } = message;
            groups.publish(&channel, &msg_type, None, &payload, effects);
            reply(&json!({"msg_id": msg_id.unwrap_or_else(fresh_id)}))
        }
        Operation::Subscribe { subscriber, .. } => {
            let actor = named("subscriber", &subscriber, request)?;
            // One that is a member already keeps the topics of its membership.
            if groups.order_of(&channel, &actor).is_none() {
                groups.join(channel, Member { actor, topics: Vec::new() }, effects)?;
            }
            Ok(Some(Payload::empty()))
        }
        Operation::Unsubscribe { subscriber } => {
            let actor = named("subscriber", &subscriber, request)?;
            if let Some(order) = groups.order_of(&channel, &actor) {
                groups.leave(&channel, order, effects);
            }
            Ok(Some(Payload::empty()))
        }
        Operation::Status { .. } => {
            let members = groups.addressed(&channel, None, 0).count();
            reply(&json!({"ready": 0, "delayed": 0, "in_flight": 0, "dead": 0, "published": 0, "subscribers": members}))
        }
        Operation::Next { .. } | Operation::Tail { .. } => {
            let message = format!(
                "the channel {channel:?} is {PLACE}, which tells its members what is published and keeps nothing: {operation} needs a \
                 channel in the store, on a broker such as nats, or on udp"
            );
            Err(Failure::invalid("channel", message))
        }
        Operation::Send { .. }
        | Operation::Receive { .. }
        | Operation::Ack { .. }
        | Operation::Nack { .. }
        | Operation::DeadLetters { .. }
        | Operation::Redrive { .. } => Err(no_queue(&channel, PLACE, operation)),
    }
}
