//! Types from which the node makes actors itself: at their first message, and again when they have failed.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::RwLock;
use plexspaces_actor::{Behavior, FacetSettings, FacetSpec, Profile, TypeInfo};
use plexspaces_types::{Code, Failure};
use serde_json::{Map, Value};

use crate::native::{Maker, Native, describe};
use crate::{Actor, ActorContext, ServiceLocator};

/// The registered types of a node.
#[derive(Default)]
pub struct ActorRegistry {
    types: RwLock<HashMap<String, Registration>>,
}

/// One type.
#[derive(Clone)]
pub(crate) struct Registration {
    pub(crate) info: TypeInfo,
    pub(crate) version: u64,
    /// None for a type whose actors are only given as values.
    pub(crate) maker: Option<Maker>,
    /// How its actors live.
    pub(crate) profile: Profile,
    /// Whether its actors' `init` reads their configuration.
    pub(crate) has_init: bool,
}

impl Registration {
    /// A type whose actors are given as values.
    pub(crate) fn of_values<A: Actor>() -> Self {
        Self {
            info: describe::<A>(A::NAME),
            version: A::VERSION,
            maker: None,
            profile: Profile { temporary: true, ..lives::<A>(None) },
            has_init: A::HAS_INIT,
        }
    }
}

impl ActorRegistry {
    /// Registers a type: `name/key` is then an actor that `make` makes when it is needed, with itself in the context. Types are registered
    /// before their first actor is.
    pub fn register<A, F>(&self, name: &str, make: F) -> Result<(), Failure>
    where
        A: Actor,
        F: Fn(&ActorContext) -> A + Send + Sync + 'static,
    {
        self.add::<A, F>(name, None, make)
    }

    /// The same; an actor that was idle so long leaves memory until its next message. Only a durable one has its state then.
    pub fn register_idle<A, F>(&self, name: &str, idle_timeout: Duration, make: F) -> Result<(), Failure>
    where
        A: Actor,
        F: Fn(&ActorContext) -> A + Send + Sync + 'static,
    {
        self.add::<A, F>(name, Some(idle_timeout), make)
    }

    /// Puts facets around each actor of a registered type; [`crate::VirtualActorFacet`] and [`crate::DurabilityFacet`] say how it lives instead.
    /// Like the type it comes before the first actor; whether there are such facets turns out with that.
    pub fn set_facets(&self, name: &str, facets: Vec<FacetSpec>) -> Result<(), Failure> {
        let mut types = self.types.write();
        let unknown = || Failure::not_found(format!("the actor type {name:?} is not registered")).with_field("actor_type");
        let registration = types.get_mut(name).ok_or_else(unknown)?;
        let mut profile = Profile { facets: Vec::new(), ..registration.profile.clone() };
        for facet in facets {
            let wrong = |error: String| Failure::new(Code::InvalidConfig, format!("facet {}: {error}", facet.name)).with_field("facets");
            match facet.name.as_str() {
                "virtual_actor" | "VirtualActorFacet" => virtual_actor(&mut profile, &facet.config).map_err(wrong)?,
                "durability" | "DurabilityFacet" => durability(&mut profile, registration.info.behavior, &facet.config).map_err(wrong)?,
                _ => profile.facets.push(facet),
            }
        }
        registration.profile = profile;
        Ok(())
    }

    fn add<A, F>(&self, name: &str, idle_timeout: Option<Duration>, make: F) -> Result<(), Failure>
    where
        A: Actor,
        F: Fn(&ActorContext) -> A + Send + Sync + 'static,
    {
        plexspaces_types::Name::new("actor type", name).map_err(|error| Failure::invalid("actor_type", error.to_string()))?;
        let maker: Maker =
            Arc::new(move |ctx: &ActorContext, locator: &Arc<ServiceLocator>| Box::new(Native::new(make(ctx), locator.clone())));
        let registration = Registration {
            info: describe::<A>(name),
            version: A::VERSION,
            maker: Some(maker),
            profile: lives::<A>(idle_timeout),
            has_init: A::HAS_INIT,
        };
        let mut types = self.types.write();
        if types.contains_key(name) {
            return Err(Failure::new(Code::Conflict, format!("the actor type {name:?} is registered already")).with_field("actor_type"));
        }
        types.insert(name.to_owned(), registration);
        Ok(())
    }

    /// The names of the registered types, sorted.
    #[must_use]
    pub fn types(&self) -> Vec<String> {
        let mut names: Vec<String> = self.types.read().keys().cloned().collect();
        names.sort_unstable();
        names
    }

    pub(crate) fn get(&self, name: &str) -> Result<Registration, Failure> {
        let unknown = || Failure::not_found(format!("no actor type {name:?} is registered; there are: {}", self.types().join(", ")));
        let found = self.types.read().get(name).cloned();
        found.ok_or_else(unknown)
    }
}

/// How actors live of which nothing else is said: in memory until they were idle for long enough, if that is.
fn lives<A: Actor>(idle_timeout: Option<Duration>) -> Profile {
    Profile { durable: A::DURABLE, idle_timeout, eager: true, ..Profile::default() }
}

fn virtual_actor(profile: &mut Profile, config: &Map<String, Value>) -> Result<(), String> {
    let mut settings = FacetSettings::new(config);
    profile.idle_timeout = settings.duration("idle_timeout")?.or(profile.idle_timeout);
    profile.labels = settings.optional("labels")?.unwrap_or_default();
    settings.finish()
}

fn durability(profile: &mut Profile, behavior: Behavior, config: &Map<String, Value>) -> Result<(), String> {
    if !profile.durable {
        return Err("only the actor's code can make it durable: give its attribute the argument durable".to_owned());
    }
    let mut settings = FacetSettings::new(config);
    settings.durability(profile, behavior)?;
    settings.finish()
}
