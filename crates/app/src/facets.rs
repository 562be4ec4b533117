//! The facets that this node knows, and what they make of an actor's life.

use std::time::Duration;

use plexspaces_actor::Profile;
use serde_json::{Map, Value};

use crate::units;

/// A facet that was asked for, wherever it was written.
pub(crate) struct Asked<'a> {
    pub(crate) name: &'a str,
    pub(crate) config: &'a Map<String, Value>,
}

const KNOWN: [&str; 2] = ["durability", "virtual_actor"];

/// The facet's name in configurations; the name of its class means the same.
pub(crate) fn canonical(name: &str) -> Result<&'static str, String> {
    match name {
        "durability" | "DurabilityFacet" => Ok("durability"),
        "virtual_actor" | "VirtualActorFacet" => Ok("virtual_actor"),
        other => Err(format!("unknown facet {other:?}, expected one of {}", KNOWN.join(", "))),
    }
}

/// Applies one facet.
pub(crate) fn apply(profile: &mut Profile, facet: &Asked<'_>) -> Result<(), String> {
    let name = canonical(facet.name)?;
    let known: &[&str] = match name {
        "durability" => &["checkpoint_interval"],
        _ => &["idle_timeout", "activation_strategy"],
    };
    if let Some(key) = facet.config.keys().find(|key| !known.contains(&key.as_str())) {
        return Err(format!("unknown key {key:?} in the configuration of facet {name}, expected one of {}", known.join(", ")));
    }
    if name == "durability" {
        profile.durable = true;
        // A state is stored with every turn that changes it, which is at least as often as any interval asks for.
        return match facet.config.get("checkpoint_interval") {
            None => Ok(()),
            Some(interval) if interval.as_u64().is_some_and(|interval| interval > 0) => Ok(()),
            Some(other) => Err(format!("checkpoint_interval is {other}, expected a number of turns from 1")),
        };
    }
    profile.eager = match facet.config.get("activation_strategy").map(|value| (value, value.as_str())) {
        None | Some((_, Some("lazy"))) => false,
        Some((_, Some("eager"))) => true,
        Some((other, _)) => return Err(format!("activation_strategy is {other}, expected \"lazy\" or \"eager\"")),
    };
    profile.idle_timeout = match facet.config.get("idle_timeout") {
        None => None,
        Some(value) => {
            let text = value.as_str().ok_or_else(|| format!("idle_timeout is {value}, expected a duration such as \"10m\""))?;
            let idle = units::Duration::parse(text)?.0;
            if idle < Duration::from_millis(1) {
                return Err("idle_timeout is 0, expected at least 1ms".to_owned());
            }
            Some(idle)
        }
    };
    Ok(())
}
