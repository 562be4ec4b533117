//! What a history must not show, whatever order its calls have: what can be said of it without a search.
// What a document does not have is null.
#![allow(clippy::indexing_slicing)]

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::Call;

/// The replies of an operation, without refusals.
fn replies<'a>(calls: &'a [Call], operation: &'a str) -> impl Iterator<Item = (&'a Call, &'a Value)> {
    calls.iter().filter(move |call| call.operation == operation).filter_map(|call| Some((call, call.reply.as_ref()?.as_ref().ok()?)))
}

/// No version is given to two changes.
pub(super) fn pairs(calls: &[Call]) -> Result<(), String> {
    let mut values = BTreeMap::new();
    for (call, reply) in replies(calls, "cas").filter(|(_, reply)| reply["swapped"] == true) {
        let other = reply["version"].as_u64().and_then(|version| values.insert(version, &call.arguments));
        if let Some(other) = other {
            return Err(format!("{other} and {} have one version", call.arguments));
        }
    }
    Ok(())
}

/// A tuple is not taken more often than it may have been written: each is written by one call, and by another where nobody knows whether the
/// first was carried out.
pub(super) fn tuples(calls: &[Call]) -> Result<(), String> {
    let mut taken: BTreeMap<String, (&Value, usize)> = BTreeMap::new();
    let takes = replies(calls, "take").filter(|(call, _)| call.arguments.get("lease_ms").is_none());
    let one = takes.map(|(_, reply)| &reply["tuple"]).filter(|tuple| !tuple.is_null());
    let all = replies(calls, "take_all").filter_map(|(_, reply)| reply["tuples"].as_array()).flatten();
    for tuple in one.chain(all) {
        taken.entry(tuple.to_string()).or_insert((tuple, 0)).1 += 1;
    }
    let written = |tuple: &Value| {
        let writes = |(name, argument): (&String, &Value)| name != "pattern" && argument == tuple;
        calls.iter().filter(|call| call.arguments.as_object().is_some_and(|arguments| arguments.iter().any(writes))).count()
    };
    // One of which no write is known is not looked for here.
    match taken.values().find(|(tuple, times)| *times > written(tuple).max(1)) {
        Some((tuple, times)) => {
            Err(format!("{tuple} was taken {times} times, which is more often than it was written ({})", written(tuple)))
        }
        None => Ok(()),
    }
}

/// A version of a lock has one holder, and later ones are greater.
pub(super) fn locks(calls: &[Call]) -> Result<(), String> {
    let held = |(call, reply): (&Call, &Value)| {
        let version: u64 = reply["version"].as_str()?.parse().ok()?;
        Some((version, call.began, call.ended, call.text("key").to_owned(), call.text("holder").to_owned()))
    };
    let held: Vec<_> = replies(calls, "acquire").filter_map(held).collect();
    for one in &held {
        for other in &held {
            let (version, _, ended, key, holder) = one;
            let (later, began, _, other_key, other_holder) = other;
            if version == later && (key, holder) != (other_key, other_holder) {
                return Err(format!("{holder} of {key} and {other_holder} of {other_key} hold version {version}"));
            }
            if key == other_key && ended < began && version > later {
                return Err(format!("{key} was given with version {version}, and then with {later}"));
            }
        }
    }
    Ok(())
}

/// What was acknowledged to its sender has been received by somebody in the end, if nobody said that it is done; what one client sends is
/// given out in that order.
pub(super) fn channel(calls: &[Call]) -> Result<(), String> {
    let received = replies(calls, "receive").map(|(_, reply)| reply["message"]["msg_id"].to_string());
    // Those who subscribe to the topic know of messages that others have sent to the queue too.
    let done = calls.iter().filter(|call| call.operation == "ack").map(|call| call.arguments["msg_id"].to_string());
    let seen: BTreeSet<_> = received.chain(done).collect();
    let is_lost = |call: &&Call| {
        let is_sent = call.operation == "send" && (call.certain || call.reply.as_ref().is_some_and(Result::is_ok));
        is_sent && !seen.contains(&call.arguments["msg_id"].to_string())
    };
    if let Some(call) = calls.iter().find(is_lost) {
        return Err(format!("{} is lost", call.arguments));
    }
    let queue: Vec<_> = replies(calls, "receive").filter(|(_, reply)| reply["message"]["delivery_count"] == 1).collect();
    in_order(calls, "send", &queue)?;
    for subscriber in ["s", "t"] {
        let topic: Vec<_> = replies(calls, "next").filter(|(call, _)| call.text("subscriber") == subscriber).collect();
        in_order(calls, "publish", &topic)?;
    }
    Ok(())
}

/// Of two messages that were sent one after the other the second was not given out before the first.
fn in_order(calls: &[Call], operation: &str, given: &[(&Call, &Value)]) -> Result<(), String> {
    let names = |call: &Call, id: &str| call.text("msg_id") == id;
    let mut in_place = Vec::new();
    for call in calls.iter().filter(|call| call.operation == operation && (call.certain || call.reply.is_some())) {
        let id = call.text("msg_id");
        // What is sent once more, or is a dead letter and sent again, is given out for the first time once more.
        let sent = calls.iter().filter(|call| call.operation == operation && names(call, id)).count();
        let given_up = calls.iter().any(|call| call.operation == "nack" && call.arguments["requeue"] == false && names(call, id));
        let mut found = given.iter().filter(|(_, reply)| reply["message"]["msg_id"].as_str() == Some(id));
        if let (Some((given, _)), None, 1, false) = (found.next(), found.next(), sent, given_up) {
            in_place.push((call, *given));
        }
    }
    for (first, given_first) in &in_place {
        let before = |(second, given_second): &&(&Call, &Call)| first.ended < second.began && given_second.ended < given_first.began;
        if let Some((second, _)) = in_place.iter().find(before) {
            let (first, second) = (first.text("msg_id"), second.text("msg_id"));
            return Err(format!("{second} was given out before {first}, which was sent before it"));
        }
    }
    Ok(())
}
