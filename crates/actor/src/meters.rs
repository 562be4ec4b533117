//! What `/metrics` shows of actors: sums for each actor type, never a series for one actor.
//!
//! A turn pays for its own counters alone. What all actors of a type have together is counted when somebody asks for it, and no more often
//! than a hundredth of the time can pay for.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use metrics::{Counter, Gauge, Histogram, Unit, counter, gauge, histogram};
use parking_lot::Mutex;
use plexspaces_types::Name;

use crate::cell::Cell;
use crate::directory::Directory;

/// Actor types with series of their own; those that come later are `other` together.
const MAX_TYPES: usize = 200;

/// What stands in place of the names of those.
const OTHER: &str = "other";

/// How many times as long as counting took nothing is counted again.
const PAUSE: u32 = 100;

/// The series of one actor type; looked up once, since a look-up costs as much as a turn of a native actor.
pub(crate) struct Meter {
    pub(crate) handled: Counter,
    pub(crate) rejected: Counter,
    pub(crate) crashed: Counter,
    pub(crate) restarts: Counter,
    pub(crate) turn_seconds: Histogram,
    actors: Sum,
    mailbox_depth: Sum,
    memory_bytes: Sum,
}

/// A gauge of what all actors of a type have together, and the sum while it is being counted.
struct Sum {
    gauge: Gauge,
    counted: AtomicUsize,
}

impl Sum {
    fn new(gauge: Gauge) -> Self {
        Self { gauge, counted: AtomicUsize::new(0) }
    }

    fn add(&self, value: usize) {
        self.counted.fetch_add(value, Ordering::Relaxed);
    }

    fn show(&self) {
        self.gauge.set(self.counted.swap(0, Ordering::Relaxed) as f64);
    }
}

impl Meter {
    fn new(namespace: &str, app: &str, actor_type: &str) -> Self {
        let labels = [("namespace", namespace.to_owned()), ("app", app.to_owned()), ("type", actor_type.to_owned())];
        let outcome = |outcome: &str| {
            let labels: Vec<_> = labels.iter().cloned().chain([("outcome", outcome.to_owned())]).collect();
            counter!("plexspaces_actor_messages_total", &labels)
        };
        Self {
            handled: outcome("handled"),
            rejected: outcome("rejected"),
            crashed: outcome("crashed"),
            restarts: counter!("plexspaces_actor_restarts_total", &labels),
            turn_seconds: histogram!("plexspaces_actor_turn_seconds", &labels),
            actors: Sum::new(gauge!("plexspaces_actor_count", &labels)),
            mailbox_depth: Sum::new(gauge!("plexspaces_actor_mailbox_depth", &labels)),
            memory_bytes: Sum::new(gauge!("plexspaces_actor_memory_bytes", &labels)),
        }
    }
}

/// The series of all actor types.
#[derive(Default)]
pub(crate) struct Meters {
    by_type: Mutex<HashMap<(Name, Name, Name), Arc<Meter>>>,
    other: Mutex<Option<Arc<Meter>>>,
    /// Until when what was counted last will do.
    counted: Mutex<Option<Instant>>,
}

impl Meters {
    /// The series of a type. They stay when the type goes, as Prometheus wants it.
    pub(crate) fn of(&self, namespace: &Name, application: &Name, actor_type: &Name) -> Arc<Meter> {
        let mut by_type = self.by_type.lock();
        let key = (namespace.clone(), application.clone(), actor_type.clone());
        if let Some(meter) = by_type.get(&key) {
            return meter.clone();
        }
        if by_type.len() >= MAX_TYPES {
            return self.other.lock().get_or_insert_with(|| Arc::new(Meter::new(OTHER, OTHER, OTHER))).clone();
        }
        let meter = Arc::new(Meter::new(namespace.as_str(), application.as_str(), actor_type.as_str()));
        by_type.insert(key, meter.clone());
        meter
    }

    /// Counts what there is, unless that was done a moment ago.
    pub(crate) fn count<I: Clone + Eq + std::hash::Hash>(&self, cells: &Directory<I, Cell>) {
        // Two who ask at once would count everything twice.
        let mut counted = self.counted.lock();
        let began = Instant::now();
        if counted.is_some_and(|until| began < until) {
            return;
        }
        cells.each(|cell| {
            cell.meter.actors.add(1);
            cell.meter.mailbox_depth.add(cell.mailbox.len());
            cell.meter.memory_bytes.add(cell.counters.memory_bytes.load(Ordering::Relaxed));
        });
        let meters = self.by_type.lock().values().cloned().chain(self.other.lock().clone()).collect::<Vec<_>>();
        for meter in meters {
            [&meter.actors, &meter.mailbox_depth, &meter.memory_bytes].into_iter().for_each(Sum::show);
        }
        let took: Duration = began.elapsed();
        *counted = Some(began + took * PAUSE);
    }
}

/// What the metrics of this crate are, for those who read them.
pub(crate) fn describe() {
    metrics::describe_counter!("plexspaces_actor_messages_total", Unit::Count, "Messages by what came of them");
    metrics::describe_counter!("plexspaces_actor_restarts_total", Unit::Count, "Actors that were started again after an end");
    metrics::describe_histogram!("plexspaces_actor_turn_seconds", Unit::Seconds, "From a turn's beginning to its commit");
    metrics::describe_gauge!("plexspaces_actor_count", Unit::Count, "Actors on this node");
    metrics::describe_gauge!("plexspaces_actor_mailbox_depth", Unit::Count, "Messages that wait for actors");
    metrics::describe_gauge!("plexspaces_actor_memory_bytes", Unit::Bytes, "Memory that the code of actors holds");
    metrics::describe_gauge!("plexspaces_actors", Unit::Count, "Actors on this node");
    metrics::describe_counter!("plexspaces_actor_evictions_total", Unit::Count, "Actors that left memory to make room for others");
    metrics::describe_counter!("plexspaces_dead_letters_total", Unit::Count, "Messages that were given up");
    metrics::describe_counter!("plexspaces_facet_calls_total", Unit::Count, "Messages through the facet metrics, by what came of them");
    metrics::describe_histogram!("plexspaces_facet_call_seconds", Unit::Seconds, "How long these messages took");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_beyond_a_bound_share_their_series() {
        let meters = Meters::default();
        let name = |number: usize| Name::new("name", &format!("n{number}")).unwrap();
        let of = |number| meters.of(&name(number), &name(number), &name(number));
        let own: Vec<_> = (0..MAX_TYPES).map(of).collect();
        let other = of(MAX_TYPES);
        assert!(own.iter().all(|meter| !Arc::ptr_eq(meter, &other)));
        assert!(Arc::ptr_eq(&other, &of(MAX_TYPES + 1)));
        assert!(Arc::ptr_eq(&own[7], &of(7)));
    }
}
