//! Types from which the node makes actors itself: at their first message, and again when they have failed.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::RwLock;
use plexspaces_actor::{FacetSpec, TypeInfo};
use plexspaces_types::{Code, Failure};

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
    pub(crate) durable: bool,
    pub(crate) version: u64,
    /// None for a type whose actors are only given as values.
    pub(crate) maker: Option<Maker>,
    pub(crate) idle_timeout: Option<Duration>,
    pub(crate) facets: Vec<FacetSpec>,
    /// Whether its actors' `init` reads their configuration.
    pub(crate) has_init: bool,
}

impl Registration {
    /// A type whose actors are given as values.
    pub(crate) fn of_values<A: Actor>() -> Self {
        Self {
            info: describe::<A>(A::NAME),
            durable: A::DURABLE,
            version: A::VERSION,
            maker: None,
            idle_timeout: None,
            facets: Vec::new(),
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

    /// Puts facets around each actor of a registered type. Like the type it comes before the first actor; whether there are such facets turns
    /// out with that.
    pub fn set_facets(&self, name: &str, facets: Vec<FacetSpec>) -> Result<(), Failure> {
        let mut types = self.types.write();
        let unknown = || Failure::not_found(format!("the actor type {name:?} is not registered")).with_field("actor_type");
        types.get_mut(name).ok_or_else(unknown)?.facets = facets;
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
            durable: A::DURABLE,
            version: A::VERSION,
            maker: Some(maker),
            idle_timeout,
            facets: Vec::new(),
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
