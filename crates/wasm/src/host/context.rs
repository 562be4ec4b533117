//! `context`: who the actor is, and its clock.

use super::Host;
use crate::bindings::plexspaces::actor::context;

impl context::Host for Host {
    fn actor_id(&mut self) -> wasmtime::Result<String> {
        Ok(self.id.clone())
    }

    fn now_ms(&mut self) -> wasmtime::Result<f64> {
        let now = self.turn.as_ref().map_or_else(|| self.constancy.now_ms(), plexspaces_actor::Turn::now_ms);
        #[allow(clippy::cast_precision_loss)]
        Ok(now as f64)
    }
}
