//! `lifecycle`: other actors' lives.

use plexspaces_types::Failure;
use serde_json::{Map, Value};

use super::{Host, no_turn, refuse};
use crate::bindings::plexspaces::actor::lifecycle;
use crate::bindings::plexspaces::actor::types::Error;

impl lifecycle::Host for Host {
    fn monitor(&mut self, target: String) -> wasmtime::Result<Result<String, Error>> {
        let Some(turn) = &mut self.turn else { return Ok(Err(no_turn())) };
        Ok(turn.monitor(&target).map_err(refuse))
    }

    fn demonitor(&mut self, monitor_ref: String) -> wasmtime::Result<()> {
        if let Some(turn) = &mut self.turn {
            turn.demonitor(&monitor_ref);
        }
        Ok(())
    }

    fn link(&mut self, peer: String) -> wasmtime::Result<Result<(), Error>> {
        let Some(turn) = &mut self.turn else { return Ok(Err(no_turn())) };
        Ok(turn.link(&peer).map_err(refuse))
    }

    fn unlink(&mut self, peer: String) -> wasmtime::Result<Result<(), Error>> {
        let Some(turn) = &mut self.turn else { return Ok(Err(no_turn())) };
        Ok(turn.unlink(&peer).map_err(refuse))
    }

    async fn spawn(&mut self, actor_type: String, name: String, args: String) -> wasmtime::Result<Result<String, Error>> {
        let Some(turn) = &mut self.turn else { return Ok(Err(no_turn())) };
        let args: Map<String, Value> = match serde_json::from_str(&args) {
            Ok(args) => args,
            Err(error) => return Ok(Err(refuse(Failure::invalid("args", format!("args must be a JSON object: {error}"))))),
        };
        let spawned = Self::wait(&self.ticks, &mut self.cpu, turn.spawn(&actor_type, &name, args)).await;
        Ok(spawned.map(|id| id.to_string()).map_err(refuse))
    }

    async fn stop(&mut self, target: String) -> wasmtime::Result<Result<bool, Error>> {
        let Some(turn) = &mut self.turn else { return Ok(Err(no_turn())) };
        let stopped = Self::wait(&self.ticks, &mut self.cpu, turn.stop(&target)).await;
        Ok(stopped.map_err(refuse))
    }
}
