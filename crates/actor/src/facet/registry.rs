//! Which facets there are: from a name and a configuration to a facet, or a precise error.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::RwLock;
use plexspaces_types::{Code, Failure};
use serde_json::{Map, Value};

use super::builtin;
use crate::{Facet, FacetSpec};

/// Makes a facet of its configuration, or says what is wrong with it.
pub type FacetFactory = Arc<dyn Fn(&Map<String, Value>) -> Result<Box<dyn Facet>, String> + Send + Sync>;

/// Facets that decide how an actor lives instead of wrapping its messages. They are part of its deployment and nobody registers them.
const DEPLOYED: [&str; 2] = ["durability", "virtual_actor"];

/// The facets that actors can have, by name. Clones are the same registry.
#[derive(Clone, Default)]
pub struct FacetRegistry(Arc<RwLock<BTreeMap<String, FacetFactory>>>);

impl FacetRegistry {
    /// The facets that every node has.
    #[must_use]
    pub fn builtin() -> Self {
        let registry = Self::default();
        builtin::register(&registry);
        registry
    }

    /// Makes a facet known by a name that no other has.
    pub fn register(
        &self,
        name: &str,
        factory: impl Fn(&Map<String, Value>) -> Result<Box<dyn Facet>, String> + Send + Sync + 'static,
    ) -> Result<(), Failure> {
        if name.is_empty() || self.names().iter().any(|known| known == name) {
            return Err(Failure::new(Code::Conflict, format!("there is a facet {name:?} already")).with_field("facet"));
        }
        self.add(name, factory);
        Ok(())
    }

    pub(super) fn add(&self, name: &str, factory: impl Fn(&Map<String, Value>) -> Result<Box<dyn Facet>, String> + Send + Sync + 'static) {
        self.0.write().insert(name.to_owned(), Arc::new(factory));
    }

    /// The name of a facet that is known by this name or, as in `MetricsFacet`, by that of its class.
    pub fn canonical(&self, name: &str) -> Result<String, Failure> {
        let names = self.names();
        let of_class = name.strip_suffix("Facet").map(snake_case);
        let meant = [Some(name), of_class.as_deref()].into_iter().flatten().find(|name| names.iter().any(|known| known == name));
        let unknown = || {
            let suggestion = plexspaces_types::suggestion(name, names.iter().map(String::as_str));
            invalid(format!("unknown facet {name:?}, expected one of {}{suggestion}", names.join(", ")))
        };
        meant.map(str::to_owned).ok_or_else(unknown)
    }

    /// The names of all facets, sorted.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = self.0.read().keys().cloned().chain(DEPLOYED.map(str::to_owned)).collect();
        names.sort_unstable();
        names
    }

    /// Makes a facet.
    pub fn make(&self, spec: &FacetSpec) -> Result<Box<dyn Facet>, Failure> {
        let name = self.canonical(&spec.name)?;
        let factory = self.0.read().get(&name).cloned();
        let deployed = || {
            let message =
                format!("the facet {name} decides how an actor lives: it is deployed with the actor's type, not put around its messages");
            invalid(message)
        };
        factory.ok_or_else(deployed)?(&spec.config).map_err(|error| invalid(format!("facet {name}: {error}")))
    }
}

impl std::fmt::Debug for FacetRegistry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("FacetRegistry").field(&self.names()).finish()
    }
}

fn invalid(message: String) -> Failure {
    Failure::new(Code::InvalidConfig, message).with_field("config")
}

fn snake_case(class: &str) -> String {
    let mut out = String::with_capacity(class.len() + 4);
    for (index, letter) in class.chars().enumerate() {
        if letter.is_ascii_uppercase() && index > 0 {
            out.push('_');
        }
        out.push(letter.to_ascii_lowercase());
    }
    out
}
