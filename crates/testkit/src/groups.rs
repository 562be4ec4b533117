//! What the benchmarks know of the store's groups: a plain reference must write in groups of the same sizes.

use std::sync::{Arc, Mutex, PoisonError};

use metrics::{Counter, Gauge, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder, SharedString, Unit};

/// The sizes of the groups that the stores of this process commit.
#[derive(Clone, Default)]
pub struct GroupSizes(Arc<Mutex<Vec<usize>>>);

impl GroupSizes {
    /// Records them from now on, in place of every other recorder of metrics; an error when there is one.
    pub fn install() -> Result<Self, metrics::SetRecorderError<Self>> {
        let this = Self::default();
        metrics::set_global_recorder(this.clone())?;
        Ok(this)
    }

    /// The sizes since this was last called, in order, which are then forgotten.
    pub fn take(&self) -> Vec<usize> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl HistogramFn for GroupSizes {
    fn record(&self, value: f64) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(value as usize);
    }
}

impl Recorder for GroupSizes {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, _: &Key, _: &Metadata<'_>) -> Counter {
        Counter::noop()
    }

    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::noop()
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        if key.name() == "plexspaces_store_group_size" { Histogram::from_arc(Arc::new(self.clone())) } else { Histogram::noop() }
    }
}
