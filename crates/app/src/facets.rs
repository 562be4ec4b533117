//! What the facets of code and configuration make of an actor's life. Two of them are settings of the runtime; the others wrap the handling of
//! messages.

use std::collections::BTreeMap;

use plexspaces_actor::{Behavior, FacetRegistry, FacetSettings, FacetSpec, Profile};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::config::Facet;

/// A facet that was asked for, wherever it was written.
pub(crate) struct Asked<'a> {
    pub(crate) name: &'a str,
    pub(crate) priority: Option<u32>,
    pub(crate) config: &'a Map<String, Value>,
}

impl<'a> From<&'a Facet> for Asked<'a> {
    fn from(facet: &'a Facet) -> Self {
        Self { name: &facet.name, priority: facet.priority, config: &facet.config }
    }
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Activation {
    #[default]
    Lazy,
    Eager,
}

/// One list of facets over another: a facet of the later list takes the place of the earlier one of its name. Names become those under which
/// facets are registered.
pub(crate) fn merged<'a>(registry: &FacetRegistry, lists: Vec<Vec<Asked<'a>>>) -> Result<Vec<(String, Asked<'a>)>, String> {
    let mut merged: Vec<(String, Asked<'a>)> = Vec::new();
    for list in lists {
        let mut names: Vec<String> = Vec::new();
        for facet in list {
            let name = registry.canonical(facet.name).map_err(|failure| failure.message)?;
            if names.contains(&name) {
                return Err(format!("the facet {name} is given twice"));
            }
            names.push(name.clone());
            match merged.iter_mut().find(|(known, _)| *known == name) {
                Some((_, known)) => *known = facet,
                None => merged.push((name, facet)),
            }
        }
    }
    Ok(merged)
}

/// The life of an actor with these facets.
pub(crate) fn profile(registry: &FacetRegistry, behavior: Behavior, asked: Vec<(String, Asked<'_>)>) -> Result<Profile, String> {
    let mut profile = Profile::default();
    for (name, facet) in asked {
        let in_facet = |error: String| format!("facet {name}: {error}");
        match name.as_str() {
            "durability" => durability(&mut profile, behavior, facet.config).map_err(in_facet)?,
            "virtual_actor" => virtual_actor(&mut profile, facet.config).map_err(in_facet)?,
            _ => {
                let spec = FacetSpec { name, priority: facet.priority, config: facet.config.clone() };
                registry.make(&spec).map_err(|failure| failure.message)?;
                profile.facets.push(spec);
            }
        }
    }
    if !profile.durable && profile.facets.iter().any(|spec| spec.name == "reminder") {
        return Err("facet reminder: a reminder is stored with its actor, which needs the facet durability too".to_owned());
    }
    Ok(profile)
}

fn durability(profile: &mut Profile, behavior: Behavior, config: &Map<String, Value>) -> Result<(), String> {
    let mut settings = FacetSettings::new(config);
    settings.durability(profile, behavior)?;
    settings.finish()?;
    profile.durable = true;
    Ok(())
}

fn virtual_actor(profile: &mut Profile, config: &Map<String, Value>) -> Result<(), String> {
    let mut settings = FacetSettings::new(config);
    profile.idle_timeout = settings.duration("idle_timeout")?;
    profile.eager = matches!(settings.optional("activation_strategy")?.unwrap_or_default(), Activation::Eager);
    profile.labels = settings.optional::<BTreeMap<String, String>>("labels")?.unwrap_or_default();
    settings.finish()
}
