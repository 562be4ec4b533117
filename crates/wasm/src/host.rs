//! What a guest can reach: the data of its store and the linker that all components share.

mod blobs;
mod constancy;
mod context;
mod durability;
#[cfg(test)]
mod fuzz;
mod http;
mod key_value;
mod lifecycle;
mod logging;
mod messaging;
mod services;
mod timers;
mod wasi;

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use plexspaces_actor::{Limits, Turn};
use plexspaces_types::{Code, Failure};
use wasmtime::component::{HasSelf, Linker};

use crate::bindings::Actor;
use crate::bindings::plexspaces::actor::types;
use crate::limiter::{CpuUse, MemoryUse};
use constancy::Constancy;
use wasi::{Output, Wasi};

/// The data of one instance's store.
pub(crate) struct Host {
    /// The actor's printed identity; empty while there is none.
    id: String,
    /// The turn that is being run; none while a snapshot is taken or restored.
    turn: Option<Turn>,
    limits: Limits,
    pub(crate) memory: MemoryUse,
    pub(crate) cpu: CpuUse,
    ticks: Arc<AtomicU64>,
    constancy: Constancy,
    /// Made at the first WASI call: many guests never make one.
    wasi: Option<Box<Wasi>>,
    output: Output,
}

impl Host {
    pub(crate) fn new(limits: Limits, ticks: Arc<AtomicU64>) -> Self {
        Self {
            id: String::new(),
            turn: None,
            limits,
            memory: MemoryUse::new(limits.memory_bytes),
            cpu: CpuUse::new(limits.turn_cpu),
            ticks,
            constancy: Constancy::default(),
            wasi: None,
            output: Output::default(),
        }
    }

    #[cfg(test)]
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    pub(crate) fn belongs_to(&mut self, id: String) {
        self.id = id;
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Lets host calls reach `turn` from now on.
    pub(crate) fn begin(&mut self, turn: Option<Turn>) {
        self.constancy.begin(turn.as_ref().and_then(Turn::determinism));
        self.turn = turn;
        self.cpu.begin();
    }

    /// The turn has waited: time has passed for the guest, and what it computes from here on is counted anew.
    fn keep_time(&mut self) {
        if let Some((now_ms, _)) = self.turn.as_ref().and_then(Turn::determinism) {
            self.constancy.advance(now_ms);
            self.cpu.begin();
        }
    }

    /// Writes what the guest printed to its log and gives the turn back.
    pub(crate) fn end(&mut self) -> Option<Turn> {
        self.flush_output();
        self.turn.take()
    }

    /// Runs a host call that may wait. What it waits is not CPU time of the guest.
    async fn wait<T>(ticks: &AtomicU64, cpu: &mut CpuUse, call: impl Future<Output = T>) -> T {
        let before = ticks.load(Ordering::Relaxed);
        let result = call.await;
        if ticks.load(Ordering::Relaxed) != before {
            cpu.waited();
        }
        result
    }

    fn check_size(&self, what: &str, bytes: usize) -> Result<(), types::Error> {
        if bytes <= self.limits.payload_bytes {
            return Ok(());
        }
        Err(refuse(Failure::new(
            Code::PayloadTooLarge,
            format!("the {what} is {bytes} bytes, more than the limit of {} bytes", self.limits.payload_bytes),
        )))
    }
}

/// A failure as a guest sees it.
fn refuse(failure: Failure) -> types::Error {
    types::Error { code: failure.code.name().to_owned(), message: failure.message, retryable: failure.code.retryable() }
}

/// The answer to a host call that needs a message while none is being handled.
fn no_turn() -> types::Error {
    refuse(Failure::new(Code::Conflict, "a snapshot may not send messages or use keys: no message is being handled"))
}

impl types::Host for Host {}

/// Everything that a guest may import.
pub(crate) fn linker(engine: &wasmtime::Engine) -> wasmtime::Result<Linker<Host>> {
    let mut linker = Linker::new(engine);
    wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
    Actor::add_to_linker::<Host, HasSelf<Host>>(&mut linker, |host| host)?;
    Ok(linker)
}
