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

    /// Makes a facet known. One of the same name is replaced; actors keep the one that they have until they come to life again.
    pub fn register(&self, name: &str, factory: impl Fn(&Map<String, Value>) -> Result<Box<dyn Facet>, String> + Send + Sync + 'static) {
        self.0.write().insert(name.to_owned(), Arc::new(factory));
    }

    /// The name of a facet that is known by this name or, as in `MetricsFacet`, by that of its class.
    #[must_use]
    pub fn canonical(&self, name: &str) -> Option<String> {
        let known = self.0.read();
        if known.contains_key(name) {
            return Some(name.to_owned());
        }
        let snake = snake_case(name.strip_suffix("Facet")?);
        known.contains_key(&snake).then_some(snake)
    }

    /// The names of all facets, sorted.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        self.0.read().keys().cloned().collect()
    }

    /// Makes a facet.
    pub fn make(&self, spec: &FacetSpec) -> Result<Box<dyn Facet>, Failure> {
        let invalid = |message: String| Failure::new(Code::InvalidConfig, message).with_field("config");
        let factory = self.0.read().get(&spec.name).cloned();
        let unknown = || invalid(format!("unknown facet {:?}, expected one of {}", spec.name, self.names().join(", ")));
        factory.ok_or_else(unknown)?(&spec.config).map_err(|error| invalid(format!("facet {}: {error}", spec.name)))
    }
}

impl std::fmt::Debug for FacetRegistry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("FacetRegistry").field(&self.names()).finish()
    }
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
