//! Reading a facet's configuration so that every mistake in it is named.

use std::time::Duration;

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::actor::millis;
use crate::children::check_run_timeout;
use crate::{Behavior, Profile};

/// A facet's configuration while it is read: each key is asked for once, and what nobody asked for is an error.
pub struct FacetSettings<'a> {
    given: &'a Map<String, Value>,
    known: Vec<&'static str>,
}

impl<'a> FacetSettings<'a> {
    /// Begins to read.
    #[must_use]
    pub fn new(given: &'a Map<String, Value>) -> Self {
        Self { given, known: Vec::new() }
    }

    /// A key's value, if it is given.
    pub fn optional<T: DeserializeOwned>(&mut self, key: &'static str) -> Result<Option<T>, String> {
        self.known.push(key);
        let Some(value) = self.given.get(key) else { return Ok(None) };
        serde_json::from_value(value.clone()).map(Some).map_err(|error| format!("{key} is {value}: {error}"))
    }

    /// A key's value.
    pub fn required<T: DeserializeOwned>(&mut self, key: &'static str) -> Result<T, String> {
        if let Some(value) = self.optional(key)? {
            return Ok(value);
        }
        let near = self.given.keys().find(|given| !plexspaces_types::suggestion(given, [key]).is_empty());
        Err(near.map_or_else(|| format!("{key} is missing"), |given| format!("{key} is missing; is {given:?} meant to be it?")))
    }

    /// A time such as `"500ms"`, `"10s"` or `"30m"`, at least a millisecond.
    pub fn duration(&mut self, key: &'static str) -> Result<Option<Duration>, String> {
        let Some(text) = self.optional::<String>(key)? else { return Ok(None) };
        let wrong = || format!("{key} is {text:?}, expected a duration of at least 1ms such as \"500ms\", \"10s\" or \"30m\"");
        let time = humantime::parse_duration(&text).map_err(|_| wrong())?;
        if time < Duration::from_millis(1) { Err(wrong()) } else { Ok(Some(time)) }
    }

    /// What the facet `durability` says of how states and histories are kept, and of how long runs may take.
    pub fn durability(&mut self, profile: &mut Profile, behavior: Behavior) -> Result<(), String> {
        profile.keeping.interval = self.count("checkpoint_interval")?.map(|turns| turns as u64);
        if let Some(turns) = self.count("history")? {
            profile.keeping.history = turns as u64;
        }
        profile.run_timeout = self.duration("run_timeout")?;
        match profile.run_timeout {
            Some(_) if behavior != Behavior::Workflow => Err("run_timeout is for the runs of workflows".to_owned()),
            Some(time) => check_run_timeout(millis(time)).map(drop).map_err(|failure| format!("run_timeout: {}", failure.message)),
            None => Ok(()),
        }
    }

    /// A number from 1.
    pub fn count(&mut self, key: &'static str) -> Result<Option<usize>, String> {
        match self.optional::<usize>(key)? {
            Some(0) => Err(format!("{key} is 0, expected a number from 1")),
            count => Ok(count),
        }
    }

    /// Refuses keys that were not asked for.
    pub fn finish(self) -> Result<(), String> {
        let Some(unknown) = self.given.keys().find(|key| !self.known.contains(&key.as_str())) else { return Ok(()) };
        if self.known.is_empty() {
            return Err(format!("unknown key {unknown:?}, it has no configuration"));
        }
        let suggestion = plexspaces_types::suggestion(unknown, self.known.iter().copied());
        Err(format!("unknown key {unknown:?}, expected one of {}{suggestion}", self.known.join(", ")))
    }
}
