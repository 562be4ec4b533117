//! What a link counts. Its labels are names from configurations, of which there are few.

use std::time::Duration;

use metrics::{Counter, Gauge, Histogram, Unit, counter, gauge, histogram};
use plexspaces_actor::HttpResponse;
use plexspaces_types::Failure;

use crate::circuit::Position;
use crate::links::Owner;

pub(crate) struct Meters {
    labels: [(&'static str, String); 3],
    seconds: Histogram,
    pub(crate) retries: Counter,
    circuit: Gauge,
}

/// What the metrics of this crate are, for those who read them.
pub(crate) fn describe() {
    metrics::describe_histogram!("plexspaces_service_link_request_seconds", Unit::Seconds, "How long requests over service links took");
    metrics::describe_counter!("plexspaces_service_link_requests_total", Unit::Count, "Requests over service links, by what came of them");
    metrics::describe_counter!("plexspaces_service_link_retries_total", Unit::Count, "Attempts after the first of such requests");
    metrics::describe_gauge!("plexspaces_service_link_circuit", Unit::Count, "Circuits of service links: 0 closed, 1 half open, 2 open");
}

impl Meters {
    pub(crate) fn new(owner: Owner<'_>, link: &str) -> Self {
        let labels = [("namespace", owner.namespace.to_string()), ("app", owner.app.to_string()), ("link", link.to_owned())];
        Self {
            seconds: histogram!("plexspaces_service_link_request_seconds", &labels),
            retries: counter!("plexspaces_service_link_retries_total", &labels),
            circuit: gauge!("plexspaces_service_link_circuit", &labels),
            labels,
        }
    }

    /// Counts a call with all its attempts.
    pub(crate) fn note(&self, result: &Result<HttpResponse, Failure>, took: Duration) {
        let outcome = match result {
            Ok(response) => match response.status {
                0..300 => "2xx",
                300..400 => "3xx",
                400..500 => "4xx",
                _ => "5xx",
            },
            Err(failure) => failure.code.name(),
        };
        let [namespace, app, link] = self.labels.clone();
        counter!("plexspaces_service_link_requests_total", &[namespace, app, link, ("outcome", outcome.to_owned())]).increment(1);
        self.seconds.record(took.as_secs_f64());
    }

    /// 0 closed, 1 half-open, 2 open. Moved and not set, since a version of an application that goes shares it with the one that comes.
    pub(crate) fn turn(&self, before: Position, after: Position) {
        self.circuit.increment(level(after) - level(before));
    }
}

fn level(position: Position) -> f64 {
    match position {
        Position::Closed => 0.0,
        Position::HalfOpen => 1.0,
        Position::Open => 2.0,
    }
}
