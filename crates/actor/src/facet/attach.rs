//! Facets that single actors are given or lose while they live.

use std::collections::HashMap;

use parking_lot::RwLock;
use plexspaces_types::{ActorId, Failure};
use tokio::sync::oneshot;

use crate::{FacetSpec, Profile};

/// A change of an actor's facets that a live actor has still to follow.
pub(crate) struct Revision {
    /// The facet that it is about.
    pub(crate) name: String,
    /// What was noted of it before the change.
    pub(crate) before: Option<Option<FacetSpec>>,
    pub(crate) answer: oneshot::Sender<Result<(), Failure>>,
}

/// What differs from the deployed facets, by actor. It outlasts the actor's failures and its absence from memory, and ends with its
/// application or the node.
#[derive(Default)]
pub(crate) struct Attachments(RwLock<HashMap<ActorId, HashMap<String, Option<FacetSpec>>>>);

impl Attachments {
    /// The facets that an actor is to have.
    pub(crate) fn effective(&self, id: &ActorId, profile: &Profile) -> Vec<FacetSpec> {
        let changes = self.0.read();
        let Some(changes) = changes.get(id) else { return profile.facets.clone() };
        let mut specs: Vec<FacetSpec> = Vec::new();
        for spec in &profile.facets {
            match changes.get(&spec.name) {
                None => specs.push(spec.clone()),
                Some(changed) => specs.extend(changed.clone()),
            }
        }
        let mut new: Vec<_> = changes.values().flatten().filter(|spec| !specs.contains(spec)).cloned().collect();
        new.sort_by(|one, other| one.name.cmp(&other.name));
        specs.append(&mut new);
        specs
    }

    /// Notes a change and returns what was noted before.
    pub(crate) fn change(&self, id: &ActorId, name: &str, spec: Option<FacetSpec>) -> Option<Option<FacetSpec>> {
        self.0.write().entry(id.clone()).or_default().insert(name.to_owned(), spec)
    }

    /// Notes again what was noted before.
    pub(crate) fn restore(&self, id: &ActorId, name: &str, before: Option<Option<FacetSpec>>) {
        let mut all = self.0.write();
        let Some(changes) = all.get_mut(id) else { return };
        match before {
            Some(before) => changes.insert(name.to_owned(), before),
            None => changes.remove(name),
        };
        if changes.is_empty() {
            all.remove(id);
        }
    }

    /// Forgets the actors for which this holds.
    pub(crate) fn forget(&self, gone: impl Fn(&ActorId) -> bool) {
        self.0.write().retain(|id, _| !gone(id));
    }
}
