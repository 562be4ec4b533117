//! `logging`: lines for the node's log.

use plexspaces_actor::LogLevel;

use super::Host;
use crate::bindings::plexspaces::actor::logging;

impl logging::Host for Host {
    fn log(&mut self, level: logging::Level, message: String) -> wasmtime::Result<()> {
        let level = match level {
            logging::Level::Debug => LogLevel::Debug,
            logging::Level::Info => LogLevel::Info,
            logging::Level::Warn => LogLevel::Warn,
            logging::Level::Error => LogLevel::Error,
        };
        self.write_line(level, &message);
        Ok(())
    }
}

impl Host {
    /// Writes a line to the turn's log; outside of a turn, to the node's.
    pub(super) fn write_line(&self, level: LogLevel, message: &str) {
        match &self.turn {
            Some(turn) => turn.log(level, message),
            None => tracing::debug!(actor = self.id, ?level, "{message}"),
        }
    }
}
