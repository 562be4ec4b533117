//! Whose request it is, as programs write it.

use plexspaces_types as types;
use plexspaces_types::{Failure, Name};

/// The tenant and the namespace of a request. A node that is part of a program trusts it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestContext {
    tenant: String,
    namespace: String,
}

impl RequestContext {
    /// A context that no credential stands behind. Names that cannot be used are reported by what uses them.
    #[must_use]
    pub fn new_without_auth(tenant: String, namespace: String) -> Self {
        Self { tenant, namespace }
    }

    /// The tenant.
    #[must_use]
    pub fn tenant(&self) -> &str {
        &self.tenant
    }

    /// The namespace where names are looked up.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The runtime's context in this namespace or another.
    pub(crate) fn enter(&self, namespace: Option<&str>) -> Result<types::RequestContext, Failure> {
        let name = |what: &'static str, text: &str| Name::new(what, text).map_err(|error| Failure::invalid(what, error.to_string()));
        let tenant = name("tenant", &self.tenant)?;
        let namespace = name("namespace", namespace.unwrap_or(&self.namespace))?;
        Ok(types::RequestContext::external(tenant, namespace, "embedded"))
    }
}
