//! What the facets of code and configuration make of an actor's life. Two of them are settings of the runtime; the others wrap the handling of
//! messages.

use std::time::Duration;

use plexspaces_actor::{FacetRegistry, FacetSpec, Profile};
use serde_json::{Map, Value};

use crate::units;

/// A facet that was asked for, wherever it was written.
pub(crate) struct Asked<'a> {
    pub(crate) name: String,
    pub(crate) priority: Option<u32>,
    pub(crate) config: &'a Map<String, Value>,
}

const SETTINGS: [&str; 2] = ["durability", "virtual_actor"];

/// The facet's name in configurations; the name of its class means the same.
pub(crate) fn canonical(registry: &FacetRegistry, name: &str) -> Result<String, String> {
    let setting = match name {
        "durability" | "DurabilityFacet" => Some("durability"),
        "virtual_actor" | "VirtualActorFacet" => Some("virtual_actor"),
        _ => None,
    };
    setting.map(str::to_owned).or_else(|| registry.canonical(name)).ok_or_else(|| {
        let mut known = registry.names();
        known.extend(SETTINGS.map(str::to_owned));
        known.sort_unstable();
        format!("unknown facet {name:?}, expected one of {}", known.join(", "))
    })
}

/// Applies the facets that were asked for.
pub(crate) fn profile(registry: &FacetRegistry, asked: &[Asked<'_>]) -> Result<Profile, String> {
    let mut profile = Profile::default();
    for facet in asked {
        if SETTINGS.contains(&facet.name.as_str()) {
            set(&mut profile, facet)?;
            continue;
        }
        let spec = FacetSpec { name: facet.name.clone(), priority: facet.priority, config: facet.config.clone() };
        registry.make(&spec).map_err(|failure| failure.message)?;
        profile.facets.push(spec);
    }
    if !profile.durable && profile.facets.iter().any(|spec| spec.name == "reminder") {
        return Err("facet reminder: a reminder is stored with its actor, which needs the facet durability too".to_owned());
    }
    Ok(profile)
}

fn set(profile: &mut Profile, facet: &Asked<'_>) -> Result<(), String> {
    let name = facet.name.as_str();
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
