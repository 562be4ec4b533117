//! What a facet is made of, for crates that hold facets and nothing else of the SDK.
//!
//! Programs with actors use `plexspaces_sdk`, which exports the same names.

pub use plexspaces_actor::{
    Call, Facet, FacetError, FacetFactory, FacetRegistry, FacetSettings, FacetSpec, InterceptResult, LogLevel, Turn,
};
