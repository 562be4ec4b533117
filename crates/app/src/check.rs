//! What is wrong with a configuration whatever component it is deployed with, and on whatever node.

use std::collections::BTreeSet;

use plexspaces_actor::supervision::MAX_DEPTH;
use plexspaces_actor::{Behavior, FacetRegistry, check_service_links};
use plexspaces_types::{Key, Name};
use serde_json::Map;

use crate::children::{either, started};
use crate::config::{AppConfig, Child, Facet, LimitsConfig, Supervisor};
use crate::facets::{self, Asked};
use crate::strict::{Step, Wrong};

pub(crate) fn check(config: &AppConfig) -> Result<(), Wrong> {
    let app = &config.app;
    for (key, what, name) in [("name", "application", &app.name), ("namespace", "namespace", &app.namespace)] {
        if let Some(name) = name {
            let wrong =
                |error: plexspaces_types::InvalidName| Wrong::new(error.to_string()).within(Step::Key(key)).within(Step::Key("app"));
            Name::new(what, name).map_err(wrong)?;
        }
    }
    let limits = |limits: &LimitsConfig| limits.check().map_err(|message| Wrong::new(message).within(Step::Key("limits")));
    limits(&config.limits)?;
    let registry = FacetRegistry::builtin();
    let links: Vec<String> = config.service_links.iter().map(|link| link.name.clone()).collect();
    for (name, of_type) in &config.types {
        let here = |wrong: Wrong| wrong.within(Step::Key("facets")).within(Step::Named(name.clone())).within(Step::Key("types"));
        check_facets(&registry, &links, &of_type.facets).map_err(here)?;
        limits(&of_type.limits).map_err(|wrong| wrong.within(Step::Named(name.clone())).within(Step::Key("types")))?;
    }
    if let Some(supervisor) = &config.supervisor {
        let mut tree = Tree { registry: &registry, links: &links, actors: BTreeSet::new() };
        let here = |wrong: Wrong| wrong.within(Step::Key("supervisor"));
        supervisor.window().map_err(here)?;
        check_name(supervisor.id.as_deref().unwrap_or("root")).map_err(|wrong| here(wrong.within(Step::Key("id"))))?;
        tree.children(&supervisor.children, 2).map_err(here)?;
    }
    crate::links::check(&config.service_links)
}

struct Tree<'a> {
    registry: &'a FacetRegistry,
    /// The names of the service links.
    links: &'a [String],
    /// The names of all actors so far: each is a name in the namespace.
    actors: BTreeSet<String>,
}

impl Tree<'_> {
    fn children(&mut self, children: &[Child], depth: usize) -> Result<(), Wrong> {
        let here = |wrong: Wrong| wrong.within(Step::Key("children"));
        if depth > MAX_DEPTH && !children.is_empty() {
            return Err(here(Wrong::new(format!("a supervision tree has at most {MAX_DEPTH} levels, found more"))));
        }
        for (index, child) in children.iter().enumerate() {
            self.child(child, depth).map_err(|wrong| here(wrong.within(Step::Item(index))))?;
        }
        for one in started(children).map_err(here)? {
            // A child of type "supervisor" may be a supervisor, which is known by its path.
            if one.child.given_type().map_err(here)? != Some("supervisor") && !self.actors.insert(one.name.clone()) {
                let index = children.iter().position(|child| std::ptr::eq(child, one.child)).unwrap_or_default();
                return Err(here(Wrong::new(format!("two children are named {:?}", one.name)).within(Step::Item(index))));
            }
        }
        Ok(())
    }

    fn child(&mut self, child: &Child, depth: usize) -> Result<(), Wrong> {
        let name = child.identity()?;
        let in_child = |key: &'static str, message: String| Wrong::new(format!("child {name:?}: {message}")).within(Step::Key(key));
        let key = if child.id.is_some() { "id" } else { "name" };
        check_name(name).map_err(|wrong| wrong.within(Step::Key(key)))?;
        let may_be_supervisor = child.given_type()? == Some("supervisor");
        // A component may have a type of that name, so either kind of keys is right, but not both.
        match (may_be_supervisor, child.supervisor_key(), child.actor_key()) {
            (false, Some(key), _) => return Err(in_child(key, format!("{key} is only for a child with type = \"supervisor\""))),
            (true, Some(_), Some(key)) => return Err(in_child(key, format!("{key} is not for a supervisor"))),
            (true, ..) => {
                child.supervisor().window()?;
                self.children(&child.children, depth + 1)?;
            }
            (false, None, _) => {
                for name in child.names(name) {
                    Key::new(&name).map_err(|error| in_child(key, error.to_string()))?;
                }
            }
        }
        child.limits.check().map_err(|message| in_child("limits", message))?;
        check_facets(self.registry, self.links, &child.facets).map_err(|wrong| in_child("facets", wrong.message))
    }
}

fn check_name(name: &str) -> Result<(), Wrong> {
    let is_wrong = name.is_empty() || name.contains('/');
    if is_wrong { Err(Wrong::new(format!("a child's name must not be empty or contain '/', found {name:?}"))) } else { Ok(()) }
}

/// Checks the facets that every node has. A name that is none of theirs may be that of a facet of one node.
fn check_facets(registry: &FacetRegistry, links: &[String], facets: &[Facet]) -> Result<(), Wrong> {
    let known = facets.iter().filter(|facet| registry.canonical(&facet.name).is_ok()).map(Asked::from).collect();
    // The code may declare what some facets need.
    let (durability, nothing) = ("durability", Map::new());
    let code = vec![Asked { name: durability, priority: None, config: &nothing }];
    let merged = facets::merged(registry, vec![code, known]).map_err(Wrong::new)?;
    // Whether it is a workflow is for the component to say.
    let profile = facets::profile(registry, Behavior::Workflow, merged).map_err(Wrong::new)?;
    profile.facets.iter().try_for_each(|spec| check_service_links(spec, links)).map_err(|failure| Wrong::new(failure.message))
}

impl Supervisor {
    /// The time within which restarts count, in one of its spellings.
    pub(crate) fn window(&self) -> Result<Option<std::time::Duration>, Wrong> {
        let (secs, seconds) = ("max_restart_window_secs", "max_restart_window_seconds");
        let long = either((secs, self.max_restart_window_secs), (seconds, self.max_restart_window_seconds))?;
        let spelling = if self.max_restart_window_secs.is_some() { secs } else { seconds };
        let long = long.map(std::time::Duration::from_secs);
        either((spelling, long), ("max_restart_window", self.max_restart_window.map(|window| window.0)))
    }
}
