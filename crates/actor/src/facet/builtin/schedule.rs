//! `timer` and `reminder`: messages of an actor to itself that its configuration declares.

use std::time::Duration;

use async_trait::async_trait;
use plexspaces_types::Payload;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::{Facet, FacetError, FacetSettings, Schedule, Turn};

/// One declared message, as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: String,
    operation: String,
    #[serde(default)]
    payload: Map<String, Value>,
    every: Option<String>,
    after: Option<String>,
    cron: Option<String>,
}

struct Declared {
    name: String,
    schedule: Schedule,
    operation: String,
    payload: Payload,
}

struct Schedules {
    /// Whether they survive the node.
    durable: bool,
    declared: Vec<Declared>,
}

pub(super) fn timers(config: &Map<String, Value>) -> Result<Box<dyn Facet>, String> {
    read(config, false)
}

pub(super) fn reminders(config: &Map<String, Value>) -> Result<Box<dyn Facet>, String> {
    read(config, true)
}

fn read(config: &Map<String, Value>, durable: bool) -> Result<Box<dyn Facet>, String> {
    let mut settings = FacetSettings::new(config);
    let entries: Vec<Entry> = settings.optional("schedules")?.unwrap_or_default();
    settings.finish()?;
    let mut declared: Vec<Declared> = Vec::new();
    for entry in entries {
        let entry_name = entry.name.clone();
        let in_entry = |error: String| format!("schedule {entry_name:?}: {error}");
        if declared.iter().any(|known| known.name == entry.name) {
            return Err(in_entry("the name is given twice".to_owned()));
        }
        declared.push(entry.check(durable).map_err(in_entry)?);
    }
    Ok(Box::new(Schedules { durable, declared }))
}

impl Entry {
    fn check(self, durable: bool) -> Result<Declared, String> {
        if self.name.is_empty() || self.operation.is_empty() {
            return Err("expected a name and an operation".to_owned());
        }
        let time = |key: &str, text: &str| {
            let wrong = || format!("{key} is {text:?}, expected a duration of at least 1ms such as \"500ms\", \"10s\" or \"30m\"");
            humantime::parse_duration(text).ok().filter(|time| *time >= Duration::from_millis(1)).ok_or_else(wrong)
        };
        let schedule = match (&self.every, &self.after, &self.cron) {
            (Some(every), None, None) => Schedule::Every(time("every", every)?),
            // It would be due again with each activation, which nobody means by once.
            (None, Some(_), None) if durable => return Err("a declared reminder recurs, expected every or cron".to_owned()),
            (None, Some(after), None) => Schedule::After(time("after", after)?),
            (None, None, Some(cron)) => Schedule::cron(cron).map_err(|failure| failure.message)?,
            _ => return Err("expected exactly one of every, after, cron".to_owned()),
        };
        schedule.check().map_err(|failure| failure.message)?;
        let payload = Payload::from_value(&Value::Object(self.payload));
        Ok(Declared { name: self.name, schedule, operation: self.operation, payload })
    }
}

#[async_trait]
impl Facet for Schedules {
    fn name(&self) -> &str {
        if self.durable { "reminder" } else { "timer" }
    }

    fn priority(&self) -> u32 {
        50
    }

    async fn on_activate(&mut self, turn: &mut Turn) -> Result<(), FacetError> {
        for Declared { name, schedule, operation, payload } in &self.declared {
            if self.durable {
                turn.declare_reminder(name, schedule.clone(), operation, payload.clone()).await?;
            } else {
                turn.start_timer(Some(name), schedule.clone(), operation, payload.clone(), false).await?;
            }
        }
        Ok(())
    }

    async fn on_deactivate(&mut self, turn: &mut Turn) -> Result<(), FacetError> {
        for Declared { name, .. } in &self.declared {
            turn.cancel_timer(name, self.durable).await?;
        }
        Ok(())
    }
}
