//! `http_client`: which of its application's service links an actor may use. The facet wraps nothing; a turn asks it before a request leaves, so
//! that it also holds where code is run again without its facets.

use std::collections::BTreeSet;

use async_trait::async_trait;
use plexspaces_types::{ActorId, Code, Failure};
use serde_json::{Map, Value};

use crate::{Facet, FacetSettings, FacetSpec};

pub(super) const NAME: &str = "http_client";

/// Programs may say it so.
const CLASS: &str = "HttpClientFacet";

struct HttpClient;

pub(super) fn make(config: &Map<String, Value>) -> Result<Box<dyn Facet>, String> {
    links(config).map(|_| Box::new(HttpClient) as Box<dyn Facet>)
}

#[async_trait]
impl Facet for HttpClient {
    fn name(&self) -> &str {
        NAME
    }

    fn priority(&self) -> u32 {
        50
    }
}

/// The links that a configuration names; none where it leaves all of them.
fn links(config: &Map<String, Value>) -> Result<Option<BTreeSet<String>>, String> {
    let mut settings = FacetSettings::new(config);
    let links = settings.optional("links")?;
    settings.finish()?;
    Ok(links)
}

fn is_meant(spec: &FacetSpec) -> bool {
    spec.name == NAME || spec.name == CLASS
}

/// Refuses a facet `http_client` that names a service link which the application does not have.
pub fn check_service_links(facet: &FacetSpec, known: &[String]) -> Result<(), Failure> {
    if !is_meant(facet) {
        return Ok(());
    }
    let invalid = |message: String| Failure::new(Code::InvalidConfig, format!("facet {NAME}: {message}")).with_field("config");
    let named = links(&facet.config).map_err(invalid)?.unwrap_or_default();
    let Some(unknown) = named.iter().find(|link| !known.contains(link)) else { return Ok(()) };
    let what = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
    let suggestion = plexspaces_types::suggestion(unknown, known.iter().map(String::as_str));
    Err(invalid(format!("links has the unknown service link {unknown:?}; the application has {what}{suggestion}")))
}

/// Refuses a request over a link that the actor's facets do not leave it.
pub(crate) fn admit(id: &ActorId, facets: &[FacetSpec], link: &str) -> Result<(), Failure> {
    let Some(spec) = facets.iter().find(|spec| is_meant(spec)) else { return Ok(()) };
    // It was read when the facet came to the actor.
    let allowed = links(&spec.config).map_err(|error| Failure::new(Code::Internal, error))?;
    if allowed.is_none_or(|allowed| allowed.contains(link)) {
        return Ok(());
    }
    let message = format!("{id} may not use the service link {link:?}: its facet {NAME} does not name it");
    Err(Failure::new(Code::PermissionDenied, message).with_field("link"))
}
