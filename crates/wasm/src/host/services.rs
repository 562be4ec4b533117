//! `services`: what the actors of a namespace share.

use plexspaces_types::Payload;

use super::{Host, no_turn, refuse};
use crate::bindings::plexspaces::actor::services;
use crate::bindings::plexspaces::actor::types::Error;

impl services::Host for Host {
    async fn request(
        &mut self,
        service: String,
        name: String,
        operation: String,
        arguments: String,
    ) -> wasmtime::Result<Result<String, Error>> {
        if let Err(error) = self.check_size("payload", arguments.len()) {
            return Ok(Err(error));
        }
        let Some(turn) = &mut self.turn else { return Ok(Err(no_turn())) };
        let asked = turn.service(&service, &name, &operation, Payload::Json(arguments));
        let reply = Self::wait(&self.ticks, &mut self.cpu, asked).await;
        self.keep_time();
        Ok(reply.map(text).map_err(refuse))
    }
}

/// Services speak JSON only.
fn text(reply: Payload) -> String {
    match reply {
        Payload::Json(text) => text,
        Payload::Bytes(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
    }
}
