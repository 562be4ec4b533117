//! `messaging`: asks and tells to other actors.

use std::time::Duration;

use bytes::Bytes;
use plexspaces_types::Payload;

use super::{Host, no_turn, refuse};
use crate::bindings::plexspaces::actor::messaging;
use crate::bindings::plexspaces::actor::types::{Error, PayloadResult};

impl messaging::Host for Host {
    async fn ask(
        &mut self,
        target: String,
        operation: String,
        payload: PayloadResult,
        timeout_ms: u32,
    ) -> wasmtime::Result<Result<PayloadResult, Error>> {
        let payload = Payload::from(payload);
        if let Err(error) = self.check_size("message", payload.len()) {
            return Ok(Err(error));
        }
        let Some(turn) = &mut self.turn else { return Ok(Err(no_turn())) };
        let timeout = Duration::from_millis(u64::from(timeout_ms));
        let reply = Self::wait(&self.ticks, &mut self.cpu, turn.ask(&target, &operation, payload, timeout)).await;
        self.keep_time();
        Ok(reply.map(PayloadResult::from).map_err(refuse))
    }

    async fn tell(&mut self, target: String, operation: String, payload: PayloadResult) -> wasmtime::Result<Result<(), Error>> {
        let payload = Payload::from(payload);
        if let Err(error) = self.check_size("message", payload.len()) {
            return Ok(Err(error));
        }
        let Some(turn) = &mut self.turn else { return Ok(Err(no_turn())) };
        let sent = Self::wait(&self.ticks, &mut self.cpu, turn.tell(&target, &operation, payload)).await;
        Ok(sent.map_err(refuse))
    }
}

impl From<PayloadResult> for Payload {
    fn from(payload: PayloadResult) -> Self {
        match payload {
            PayloadResult::Json(text) => Self::Json(text),
            PayloadResult::Bytes(bytes) => Self::Bytes(Bytes::from(bytes)),
        }
    }
}

impl From<Payload> for PayloadResult {
    fn from(payload: Payload) -> Self {
        match payload {
            Payload::Json(text) => Self::Json(text),
            Payload::Bytes(bytes) => Self::Bytes(bytes.into()),
        }
    }
}
