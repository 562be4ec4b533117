//! The facets that every node has. `docs/facets.md` describes their configurations.

use super::FacetRegistry;

mod authentication;
mod authorization;
mod caching;
mod event_emitter;
mod logging;
mod metrics;
mod schedule;
mod tracing;

pub(super) fn register(registry: &FacetRegistry) {
    registry.register("authentication", authentication::make);
    registry.register("authorization", authorization::make);
    registry.register("caching", caching::make);
    registry.register("event_emitter", event_emitter::make);
    registry.register("logging", logging::make);
    registry.register("metrics", metrics::factory());
    registry.register("reminder", schedule::reminders);
    registry.register("timer", schedule::timers);
    registry.register("tracing", tracing::make);
}
