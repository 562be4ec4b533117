//! `metrics`: how often and how long, by actor type and operation.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use metrics::{Counter, Histogram, counter, histogram};
use parking_lot::Mutex;
use plexspaces_types::{ActorId, Failure, Name};
use serde_json::{Map, Value};

use crate::{Call, Facet, FacetError, FacetSettings, InterceptResult, Turn};

const MAX_OPERATIONS: usize = 100;

/// The label of operations above the bound and of those that never succeeded: a caller can make up any number of names.
const OTHER: &str = "other";

/// The operations of each type that have series of their own. It is the registry's, since the bound is one for all actors of a type.
type Named = Arc<Mutex<HashMap<(Name, Name), HashSet<String>>>>;

struct Metrics {
    named: Named,
    max_operations: usize,
    actor: Option<ActorId>,
    series: HashMap<String, Series>,
    begun: Option<Instant>,
}

struct Series {
    handled: Counter,
    failed: Counter,
    seconds: Histogram,
}

pub(super) fn factory() -> impl Fn(&Map<String, Value>) -> Result<Box<dyn Facet>, String> + Send + Sync {
    let named = Named::default();
    move |config| {
        let mut settings = FacetSettings::new(config);
        let max_operations = settings.count("max_operations")?.unwrap_or(MAX_OPERATIONS);
        settings.finish()?;
        Ok(Box::new(Metrics { named: named.clone(), max_operations, actor: None, series: HashMap::new(), begun: None }))
    }
}

impl Metrics {
    fn count(&mut self, operation: &str, succeeded: bool) {
        let Some(actor) = &self.actor else { return };
        let label = if self.series.contains_key(operation) {
            operation
        } else {
            label(&self.named, self.max_operations, actor, operation, succeeded)
        };
        let series = match self.series.get(label) {
            Some(series) => series,
            None => self.series.entry(label.to_owned()).or_insert_with(|| Series::new(actor, label)),
        };
        if succeeded {
            series.handled.increment(1)
        } else {
            series.failed.increment(1)
        }
        if let Some(begun) = self.begun.take() {
            series.seconds.record(crate::now().duration_since(begun));
        }
    }
}

/// The operation's own name, or the one for all others.
fn label<'a>(named: &Named, max: usize, actor: &ActorId, operation: &'a str, succeeded: bool) -> &'a str {
    let mut named = named.lock();
    let named = named.entry((actor.namespace.clone(), actor.actor_type.clone())).or_default();
    if named.contains(operation) {
        return operation;
    }
    if !succeeded || named.len() >= max {
        return OTHER;
    }
    named.insert(operation.to_owned());
    operation
}

impl Series {
    fn new(actor: &ActorId, operation: &str) -> Self {
        let (namespace, actor_type, operation) = (actor.namespace.to_string(), actor.actor_type.to_string(), operation.to_owned());
        let labels = [("namespace", namespace), ("type", actor_type), ("operation", operation)];
        let outcome = |outcome: &str| {
            let labels: Vec<_> = labels.iter().cloned().chain([("outcome", outcome.to_owned())]).collect();
            counter!("plexspaces_facet_calls_total", &labels)
        };
        Self { handled: outcome("handled"), failed: outcome("failed"), seconds: histogram!("plexspaces_facet_call_seconds", &labels) }
    }
}

#[async_trait]
impl Facet for Metrics {
    fn name(&self) -> &str {
        "metrics"
    }

    fn priority(&self) -> u32 {
        700
    }

    async fn on_attach(&mut self, actor: &ActorId) -> Result<(), FacetError> {
        self.actor = Some(actor.clone());
        Ok(())
    }

    async fn before(&mut self, _call: &Call<'_>, _turn: &mut Turn) -> Result<InterceptResult, FacetError> {
        self.begun = Some(crate::now());
        Ok(InterceptResult::Continue)
    }

    async fn after(&mut self, call: &Call<'_>, _reply: &[u8], _turn: &mut Turn) -> Result<InterceptResult, FacetError> {
        self.count(call.operation, true);
        Ok(InterceptResult::Continue)
    }

    async fn on_error(&mut self, method: &str, _payload: &[u8], _failure: &Failure) {
        self.count(method, false);
    }
}
