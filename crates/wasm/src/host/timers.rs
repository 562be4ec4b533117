//! `timers`: messages to the actor itself, later.

use std::time::Duration;

use plexspaces_actor::Schedule;
use plexspaces_types::{Failure, Payload};

use super::{Host, no_turn, refuse};
use crate::bindings::plexspaces::actor::timers;
use crate::bindings::plexspaces::actor::types::{Error, PayloadResult};

impl timers::Host for Host {
    async fn start(
        &mut self,
        name: Option<String>,
        schedule: timers::Schedule,
        operation: String,
        payload: PayloadResult,
        durable: bool,
    ) -> wasmtime::Result<Result<String, Error>> {
        let payload = Payload::from(payload);
        if let Err(error) = self.check_size("message", payload.len()) {
            return Ok(Err(error));
        }
        let Some(turn) = &mut self.turn else { return Ok(Err(no_turn())) };
        let schedule = match read(schedule) {
            Ok(schedule) => schedule,
            Err(failure) => return Ok(Err(refuse(failure))),
        };
        let starting = turn.start_timer(name.as_deref(), schedule, &operation, payload, durable);
        Ok(Self::wait(&self.ticks, &mut self.cpu, starting).await.map_err(refuse))
    }

    async fn cancel(&mut self, id: String, durable: bool) -> wasmtime::Result<Result<bool, Error>> {
        let Some(turn) = &mut self.turn else { return Ok(Err(no_turn())) };
        let cancelled = Self::wait(&self.ticks, &mut self.cpu, turn.cancel_timer(&id, durable)).await;
        Ok(cancelled.map_err(refuse))
    }
}

fn read(schedule: timers::Schedule) -> Result<Schedule, Failure> {
    match schedule {
        timers::Schedule::After(delay) => Ok(Schedule::After(Duration::from_millis(delay))),
        timers::Schedule::Every(period) => Ok(Schedule::Every(Duration::from_millis(period))),
        timers::Schedule::Cron(expression) => Schedule::cron(&expression),
    }
}
