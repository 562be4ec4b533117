//! The children of one supervisor as they are started: each under a name of its own, after those that it depends on.

use std::collections::{BTreeMap, BTreeSet};

use crate::config::{Child, LimitsConfig};
use crate::strict::{Step, Wrong};

/// One actor or supervisor that is started.
pub(crate) struct Started<'a> {
    pub(crate) name: String,
    pub(crate) child: &'a Child,
}

/// All children in start order. Those that nothing orders keep the order of the file, and the copies of a child follow each other.
pub(crate) fn started(children: &[Child]) -> Result<Vec<Started<'_>>, Wrong> {
    let at = |index: usize| move |wrong: Wrong| wrong.within(Step::Item(index));
    let mut names: Vec<&str> = Vec::new();
    // Which child each name means: that of a child with copies means all of them.
    let mut meant: BTreeMap<String, usize> = BTreeMap::new();
    for (index, child) in children.iter().enumerate() {
        let name = child.identity().map_err(at(index))?;
        let copies = (child.count.is_some()).then(|| name.to_owned());
        for own in copies.into_iter().chain(child.names(name)) {
            if meant.insert(own.clone(), index).is_some() {
                return Err(Wrong::new(format!("two children of one supervisor are named {own:?}")).within(Step::Item(index)));
            }
        }
        names.push(name);
    }
    let mut needed: Vec<BTreeSet<usize>> = Vec::new();
    for (index, child) in children.iter().enumerate() {
        let mut found = BTreeSet::new();
        for wanted in &child.depends_on {
            let other = meant.get(wanted).ok_or_else(|| unknown(&names, index, wanted));
            found.insert(*other.map_err(|wrong| wrong.within(Step::Key("depends_on")).within(Step::Item(index)))?);
        }
        needed.push(found);
    }
    let mut waiting: Vec<usize> = (0..children.len()).collect();
    let mut order = Vec::new();
    while !waiting.is_empty() {
        let is_free = |index: &usize| needed.get(*index).is_some_and(|needed| needed.iter().all(|other| !waiting.contains(other)));
        let Some(place) = waiting.iter().position(is_free) else { return Err(circle(&names, &needed, &waiting)) };
        order.push(waiting.remove(place));
    }
    let named = order.into_iter().filter_map(|index| Some((children.get(index)?, *names.get(index)?)));
    Ok(named.flat_map(|(child, name)| child.names(name).into_iter().map(move |name| Started { name, child })).collect())
}

fn unknown(names: &[&str], index: usize, wanted: &str) -> Wrong {
    let name = names.get(index).copied().unwrap_or_default();
    let siblings: Vec<&str> = names.iter().copied().filter(|other| *other != name).collect();
    let known = if siblings.is_empty() { "none".to_owned() } else { siblings.join(", ") };
    let near = plexspaces_types::suggestion(wanted, siblings);
    Wrong::new(format!("child {name:?}: depends_on has {wanted:?}, which is not one of its siblings: {known}{near}"))
}

/// Each child of those that wait needs another of them, so who follows the needs comes back to where it was.
fn circle(names: &[&str], needed: &[BTreeSet<usize>], waiting: &[usize]) -> Wrong {
    let next = |index: usize| needed.get(index).and_then(|needed| needed.iter().copied().find(|other| waiting.contains(other)));
    let mut path: Vec<usize> = waiting.first().copied().into_iter().collect();
    while let Some(found) = path.last().and_then(|last| next(*last)) {
        let seen = path.iter().position(|index| *index == found);
        path.push(found);
        if let Some(begin) = seen {
            path.drain(..begin);
            break;
        }
    }
    let shown: Vec<String> = path.iter().filter_map(|index| names.get(*index)).map(|name| format!("{name:?}")).collect();
    let place = path.first().copied().unwrap_or_default();
    Wrong::new(format!("the children depend on each other in a circle: {}", shown.join(" needs ")))
        .within(Step::Key("depends_on"))
        .within(Step::Item(place))
}

impl Child {
    /// The name that it was given.
    pub(crate) fn identity(&self) -> Result<&str, Wrong> {
        let id = either(("id", self.id.as_deref()), ("name", self.name.as_deref()))?;
        id.ok_or_else(|| Wrong::new("a child of the supervisor has no id (or name)"))
    }

    /// The type that it was given.
    pub(crate) fn given_type(&self) -> Result<Option<&str>, Wrong> {
        either(("type", self.actor_type.as_deref()), ("actor_type", self.actor_type_long.as_deref()))
    }

    /// The names of what is started for it.
    pub(crate) fn names(&self, name: &str) -> Vec<String> {
        match self.count {
            None => vec![name.to_owned()],
            Some(count) => (1..=count.0).map(|number| format!("{name}-{number}")).collect(),
        }
    }

    /// A key that it has and that only an actor can have.
    pub(crate) fn actor_key(&self) -> Option<&'static str> {
        let keys = [
            ("role", self.role.is_some()),
            ("behavior_kind", self.behavior_kind.is_some()),
            ("args", !self.args.is_empty()),
            ("facets", !self.facets.is_empty()),
            ("limits", self.limits != LimitsConfig::default()),
            ("shutdown_timeout", self.shutdown_timeout.is_some()),
            ("count", self.count.is_some()),
        ];
        keys.iter().find(|(_, given)| *given).map(|(key, _)| *key)
    }

    /// A key that it has and that only a supervisor can have.
    pub(crate) fn supervisor_key(&self) -> Option<&'static str> {
        let keys = [
            ("strategy", self.strategy.is_some()),
            ("max_restarts", self.max_restarts.is_some()),
            ("max_restart_window_secs", self.max_restart_window_secs.is_some()),
            ("max_restart_window_seconds", self.max_restart_window_seconds.is_some()),
            ("max_restart_window", self.max_restart_window.is_some()),
            ("children", !self.children.is_empty()),
        ];
        keys.iter().find(|(_, given)| *given).map(|(key, _)| *key)
    }
}

/// One of several spellings of a key; two that contradict one another are an error.
pub(crate) fn either<T: PartialEq + std::fmt::Debug>(
    (one, a): (&'static str, Option<T>),
    (other, b): (&'static str, Option<T>),
) -> Result<Option<T>, Wrong> {
    match (a, b) {
        (Some(a), Some(b)) if a != b => {
            let message = format!("{one} = {a:?} and {other} = {b:?} mean the same key; give one of them");
            Err(Wrong::new(message).within(Step::Key(other)))
        }
        (a, b) => Ok(a.or(b)),
    }
}
