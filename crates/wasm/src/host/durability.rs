//! `durability`: waiting for long, and what reaches a workflow while it runs.

use plexspaces_types::Payload;

use super::{Host, no_turn, refuse};
use crate::bindings::plexspaces::actor::durability;
use crate::bindings::plexspaces::actor::types::{Error, PayloadResult};

impl durability::Host for Host {
    async fn sleep_until(&mut self, until_ms: u64) -> wasmtime::Result<Result<bool, Error>> {
        let Some(turn) = &mut self.turn else { return Ok(Err(no_turn())) };
        let slept = Self::wait(&self.ticks, &mut self.cpu, turn.sleep_until(until_ms)).await;
        self.keep_time();
        Ok(slept.map_err(refuse))
    }

    fn take_signals(&mut self) -> wasmtime::Result<Vec<durability::Signal>> {
        let signals = self.turn.as_mut().map(plexspaces_actor::Turn::take_signals).unwrap_or_default();
        Ok(signals.into_iter().map(|(operation, payload)| durability::Signal { operation, payload: payload.into() }).collect())
    }

    fn publish(&mut self, state: PayloadResult) -> wasmtime::Result<Result<(), Error>> {
        let Some(turn) = &mut self.turn else { return Ok(Err(no_turn())) };
        Ok(turn.publish(Payload::from(state)).map_err(refuse))
    }
}
