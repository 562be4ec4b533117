//! The facets that every node has. `docs/facets.md` describes their configurations.

use super::FacetRegistry;

mod authentication;
mod authorization;
mod caching;
mod event_emitter;
mod key_value;
mod logging;
mod metrics;
mod schedule;
mod tracing;

pub(super) fn register(registry: &FacetRegistry) {
    registry.add("authentication", authentication::make);
    registry.add("authorization", authorization::make);
    registry.add("caching", caching::make);
    registry.add("event_emitter", event_emitter::make);
    registry.add("key_value", key_value::make);
    registry.add("logging", logging::make);
    registry.add("metrics", metrics::factory());
    registry.add("reminder", schedule::reminders);
    registry.add("timer", schedule::timers);
    registry.add("tracing", tracing::make);
}
