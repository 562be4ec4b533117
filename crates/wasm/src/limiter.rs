//! The limits of one instance: how much memory it holds and how much CPU time its turn has used.

use std::time::Duration;

use wasmtime::{ResourceLimiter, UpdateDeadline};

/// How often the engine looks at a guest that does not come back.
pub(crate) const TICK: Duration = Duration::from_millis(10);

/// Elements of one table. A table costs 8 bytes for each that is used.
pub(crate) const TABLE_ELEMENTS: usize = 100_000;

/// A limit that the guest went over. It ends the guest like a trap.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Exceeded {
    #[error("the actor used more than {} of memory", mebibytes(*.0))]
    Memory(usize),
    #[error("the actor used more than {0:?} of CPU time in one turn")]
    Cpu(Duration),
    #[error("the actor used more than {0} elements of a table")]
    Table(usize),
}

fn mebibytes(bytes: usize) -> String {
    if bytes.is_multiple_of(1 << 20) { format!("{} MiB", bytes >> 20) } else { format!("{bytes} bytes") }
}

/// The linear memory of one instance, all its memories together.
pub(crate) struct MemoryUse {
    bytes: usize,
    limit: usize,
}

impl MemoryUse {
    pub(crate) fn new(limit: usize) -> Self {
        Self { bytes: 0, limit }
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }
}

impl ResourceLimiter for MemoryUse {
    fn memory_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        if maximum.is_some_and(|maximum| desired > maximum) {
            return Ok(false);
        }
        let bytes = self.bytes.saturating_add(desired.saturating_sub(current));
        if bytes > self.limit {
            return Err(Exceeded::Memory(self.limit).into());
        }
        self.bytes = bytes;
        Ok(true)
    }

    fn memory_grow_failed(&mut self, error: wasmtime::Error) -> wasmtime::Result<()> {
        tracing::debug!("memory could not grow: {error:#}");
        Ok(())
    }

    fn table_growing(&mut self, _current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        if maximum.is_some_and(|maximum| desired > maximum) {
            return Ok(false);
        }
        if desired > TABLE_ELEMENTS {
            return Err(Exceeded::Table(TABLE_ELEMENTS).into());
        }
        Ok(true)
    }
}

/// CPU time of the running turn, counted in ticks: the guest is charged for each tick that finds it running. A turn that mostly waits
/// is mostly found waiting.
pub(crate) struct CpuUse {
    limit: Duration,
    used: Duration,
    waited: bool,
}

impl CpuUse {
    pub(crate) fn new(limit: Duration) -> Self {
        Self { limit, used: Duration::ZERO, waited: false }
    }

    /// A new turn begins.
    pub(crate) fn begin(&mut self) {
        self.used = Duration::ZERO;
        self.waited = false;
    }

    /// The last tick passed while the guest waited for the host.
    pub(crate) fn waited(&mut self) {
        self.waited = true;
    }

    /// The guest runs and sees that a tick has passed. Unless it has used up its time, it lets others run and goes on.
    pub(crate) fn tick(&mut self) -> wasmtime::Result<UpdateDeadline> {
        if std::mem::take(&mut self.waited) {
            return Ok(UpdateDeadline::Continue(1));
        }
        self.used += TICK;
        if self.used > self.limit {
            return Err(Exceeded::Cpu(self.limit).into());
        }
        Ok(UpdateDeadline::YieldCustom(1, Box::pin(tokio::task::yield_now())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_memories_of_an_instance_count_together() {
        let mut memory = MemoryUse::new(100);
        assert!(memory.memory_growing(0, 60, None).unwrap());
        assert!(memory.memory_growing(0, 40, None).unwrap());
        let error = memory.memory_growing(40, 41, None).unwrap_err();
        assert_eq!(error.downcast_ref(), Some(&Exceeded::Memory(100)));
        assert_eq!(memory.bytes(), 100);
    }

    #[test]
    fn waiting_is_not_cpu_time() {
        let mut cpu = CpuUse::new(2 * TICK);
        for _ in 0..100 {
            cpu.waited();
            assert!(cpu.tick().is_ok());
        }
        assert!(cpu.tick().is_ok() && cpu.tick().is_ok());
        let error = cpu.tick().map(|_| ()).unwrap_err();
        assert_eq!(error.to_string(), "the actor used more than 20ms of CPU time in one turn");
        cpu.begin();
        assert!(cpu.tick().is_ok(), "the next turn begins at nothing");
    }
}
