//! Facets that single actors are given or lose while they live.

use std::collections::HashMap;

use parking_lot::RwLock;
use plexspaces_types::{ActorId, Code, Failure};
use tokio::sync::oneshot;

use crate::{FacetSpec, Profile};

/// Actors of one node whose facets may differ from the deployed ones.
const MAX_ACTORS: usize = 100_000;

/// A facet that an actor is to have, or is to have no longer.
pub(crate) struct Revision {
    pub(crate) name: String,
    /// `None` to take it away.
    pub(crate) spec: Option<FacetSpec>,
    /// Whether there was one of this name.
    pub(crate) answer: oneshot::Sender<Result<bool, Failure>>,
}

/// By the name of a facet: what an actor has in place of the deployed one.
type Changes = Vec<(String, Option<FacetSpec>)>;

/// What differs from the deployed facets, by actor; each actor notes its own. It outlasts the actor's failures and its absence from memory,
/// and ends with its application or the node.
#[derive(Default)]
pub(crate) struct Attachments(RwLock<HashMap<ActorId, Changes>>);

impl Attachments {
    /// The facets that an actor is to have: the deployed ones, then those that it was given, in the order of their arrival.
    pub(crate) fn effective(&self, id: &ActorId, profile: &Profile) -> Vec<FacetSpec> {
        let all = self.0.read();
        let Some(changes) = all.get(id) else { return profile.facets.clone() };
        let changed = |spec: &FacetSpec| changes.iter().any(|(name, _)| *name == spec.name);
        let kept = profile.facets.iter().filter(|spec| !changed(spec));
        kept.chain(changes.iter().filter_map(|(_, spec)| spec.as_ref())).cloned().collect()
    }

    /// Refuses another actor when there are too many.
    pub(crate) fn check_room(&self, id: &ActorId) -> Result<(), Failure> {
        let all = self.0.read();
        if all.len() < MAX_ACTORS || all.contains_key(id) {
            return Ok(());
        }
        let message = format!("{MAX_ACTORS} actors have facets of their own already; deploy the facet with its type instead");
        Err(Failure::new(Code::Overloaded, message))
    }

    /// Notes a change.
    pub(crate) fn change(&self, id: &ActorId, name: &str, spec: Option<FacetSpec>) {
        let mut all = self.0.write();
        let changes = all.entry(id.clone()).or_default();
        changes.retain(|(known, _)| known != name);
        changes.push((name.to_owned(), spec));
    }

    /// What is noted of an actor.
    pub(crate) fn of(&self, id: &ActorId) -> Option<Changes> {
        self.0.read().get(id).cloned()
    }

    /// Notes what was noted before.
    pub(crate) fn restore(&self, id: &ActorId, before: Option<Changes>) {
        match before {
            Some(before) => drop(self.0.write().insert(id.clone(), before)),
            // Of most there is nothing, and those that end at the same time do not wait for each other.
            None if self.0.read().contains_key(id) => drop(self.0.write().remove(id)),
            None => {}
        }
    }

    /// Forgets the actors for which this holds.
    pub(crate) fn forget(&self, gone: impl Fn(&ActorId) -> bool) {
        self.0.write().retain(|id, _| !gone(id));
    }
}
