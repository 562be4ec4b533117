//! The facets that every node has. `docs/facets.md` describes their configurations.

use super::FacetRegistry;

mod authentication;
mod authorization;
mod blob;
mod caching;
mod event_emitter;
pub(crate) mod http_client;
mod key_value;
mod lock;
mod logging;
mod metrics;
mod process_group;
mod registry;
mod schedule;
mod tracing;

pub(super) fn register(facets: &FacetRegistry) {
    facets.add("authentication", authentication::make);
    facets.add("authorization", authorization::make);
    facets.add("blob", blob::make);
    facets.add("caching", caching::make);
    facets.add("event_emitter", event_emitter::make);
    facets.add(http_client::NAME, http_client::make);
    facets.add("key_value", key_value::make);
    facets.add("lock", lock::make);
    facets.add("logging", logging::make);
    facets.add("metrics", metrics::factory());
    facets.add("process_group", process_group::make);
    facets.add("registry", registry::make);
    facets.add("reminder", schedule::reminders);
    facets.add("timer", schedule::timers);
    facets.add("tracing", tracing::make);
}
