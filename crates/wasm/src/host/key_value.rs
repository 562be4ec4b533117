//! `key-value`: the actor's own pairs.

use std::time::Duration;

use plexspaces_types::{Code, Failure};

use super::{Host, no_turn, refuse};
use crate::bindings::plexspaces::actor::key_value;
use crate::bindings::plexspaces::actor::types::Error;

impl key_value::Host for Host {
    async fn get(&mut self, key: String) -> wasmtime::Result<Result<Option<String>, Error>> {
        let Some(turn) = &mut self.turn else { return Ok(Err(no_turn())) };
        Ok(Self::wait(&self.ticks, &mut self.cpu, turn.kv_get(&key)).await.map_err(refuse))
    }

    async fn put(&mut self, key: String, value: String, ttl_ms: Option<u32>) -> wasmtime::Result<Result<(), Error>> {
        if let Err(error) = self.check_size("value", value.len()) {
            return Ok(Err(error));
        }
        let Some(turn) = &mut self.turn else { return Ok(Err(no_turn())) };
        let ttl = ttl_ms.map(|ms| Duration::from_millis(u64::from(ms)));
        Ok(Self::wait(&self.ticks, &mut self.cpu, turn.kv_put(&key, value, ttl)).await.map_err(refuse))
    }

    async fn delete(&mut self, key: String) -> wasmtime::Result<Result<bool, Error>> {
        let Some(turn) = &mut self.turn else { return Ok(Err(no_turn())) };
        Ok(Self::wait(&self.ticks, &mut self.cpu, turn.kv_delete(&key)).await.map_err(refuse))
    }

    async fn compare_and_set(&mut self, key: String, expected: Option<String>, value: String) -> wasmtime::Result<Result<bool, Error>> {
        if let Err(error) = self.check_size("value", value.len()) {
            return Ok(Err(error));
        }
        let Some(turn) = &mut self.turn else { return Ok(Err(no_turn())) };
        let set = turn.kv_compare_and_set(&key, expected.as_deref(), value);
        Ok(Self::wait(&self.ticks, &mut self.cpu, set).await.map_err(refuse))
    }

    async fn list_keys(&mut self, prefix: String, after: Option<String>, limit: u32) -> wasmtime::Result<Result<Vec<String>, Error>> {
        let limit = match usize::try_from(limit) {
            Ok(limit @ 1..=1000) => limit,
            _ => {
                let message = format!("a list of keys takes a limit of 1 to 1000, found {limit}");
                return Ok(Err(refuse(Failure::new(Code::InvalidArgument, message))));
            }
        };
        let Some(turn) = &mut self.turn else { return Ok(Err(no_turn())) };
        let list = turn.kv_list(&prefix, after.as_deref(), limit);
        Ok(Self::wait(&self.ticks, &mut self.cpu, list).await.map_err(refuse))
    }
}
