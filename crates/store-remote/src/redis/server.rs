//! What a server has to be, read from what it tells of itself.

use std::collections::HashMap;

use plexspaces_store::Error;

use super::config::Durability;
use super::fault::Place;

/// The oldest server.
const OLDEST: u32 = 7;

/// The settings that are asked for.
pub(super) const SETTINGS: [&str; 3] = ["appendonly", "appendfsync", "no-appendfsync-on-rewrite"];

/// What `INFO` answers.
pub(super) struct Info<'t>(HashMap<&'t str, &'t str>);

impl<'t> Info<'t> {
    pub(super) fn parse(text: &'t str) -> Self {
        Self(text.lines().filter_map(|line| line.trim_end().split_once(':')).collect())
    }

    fn get(&self, name: &str) -> &'t str {
        self.0.get(name).copied().unwrap_or_default()
    }

    /// Whether it is one that can hold a store.
    pub(super) fn check(&self, place: &Place) -> Result<(), Error> {
        let version = self.get("redis_version");
        if version.split('.').next().and_then(|major| major.parse::<u32>().ok()).is_none_or(|major| major < OLDEST) {
            return Err(place.failed(&format!("expected Redis {OLDEST} or newer, found {version:?}")));
        }
        let mode = self.get("redis_mode");
        if mode != "standalone" {
            return Err(place.failed(&format!("expected a server of its own, found one whose redis_mode is {mode:?}")));
        }
        if self.get("loading") == "1" {
            return Err(Error::Unavailable("the database is reading its file".to_owned()));
        }
        if self.get("role") != "master" {
            return Err(Error::Unavailable("the database takes no writes: it is a replica".to_owned()));
        }
        let policy = self.get("maxmemory_policy");
        if policy != "noeviction" {
            let remedy = "CONFIG SET maxmemory-policy noeviction";
            return Err(place.failed(&format!("it forgets keys when its memory is full (maxmemory-policy is {policy}); {remedy}")));
        }
        Ok(())
    }
}

/// Whether it keeps what it acknowledges. `None` stands for settings that may not be read.
pub(super) fn check_durability(place: &Place, durability: Durability, settings: Option<&HashMap<String, String>>) -> Result<(), Error> {
    if durability == Durability::Server {
        return Ok(());
    }
    let accept = "or set store.durability = \"server\" to take what the server promises";
    let Some(settings) = settings else {
        return Err(place.failed(&format!("whether it keeps what it acknowledges is not known: allow the user `config|get`, {accept}")));
    };
    for (name, wanted) in SETTINGS.into_iter().zip(["yes", "always", "no"]) {
        let found = settings.get(name).map_or("", String::as_str);
        if found != wanted {
            let lost = "something acknowledged would not survive a loss of power";
            return Err(place.failed(&format!("it runs with {name} {found}, so that {lost}; CONFIG SET {name} {wanted}, {accept}")));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str =
        "# Server\r\nredis_version:7.0.15\r\nredis_mode:standalone\r\nrole:master\r\nloading:0\r\nmaxmemory_policy:noeviction\r\n";

    #[test]
    fn what_cannot_hold_a_store_is_refused_with_the_reason() {
        let place = Place::new("redis://db");
        let check = |text: &str| Info::parse(text).check(&place);
        assert_eq!(check(GOOD), Ok(()));
        assert_eq!(check(&GOOD.replace("7.0.15", "10.1.0")), Ok(()));
        for (from, to, said) in [
            ("7.0.15", "6.2.1", "found \"6.2.1\""),
            ("standalone", "cluster", "\"cluster\""),
            ("role:master", "role:slave", "replica"),
            ("loading:0", "loading:1", "reading its file"),
            ("noeviction", "allkeys-lru", "maxmemory-policy is allkeys-lru"),
            ("redis_version", "other", "found \"\""),
        ] {
            let error = check(&GOOD.replace(from, to)).unwrap_err();
            assert!(error.to_string().contains(said), "{error}");
        }
    }

    #[test]
    fn a_server_that_loses_what_it_acknowledges_is_refused_unless_that_is_taken() {
        let place = Place::new("redis://db");
        let settings =
            |values: [&str; 3]| SETTINGS.iter().zip(values).map(|(name, value)| ((*name).to_owned(), value.to_owned())).collect();
        let check = |durability, values| check_durability(&place, durability, Some(&settings(values)));
        assert_eq!(check(Durability::Synced, ["yes", "always", "no"]), Ok(()));
        for (values, said) in [
            (["no", "always", "no"], "CONFIG SET appendonly yes"),
            (["yes", "everysec", "no"], "CONFIG SET appendfsync always"),
            (["yes", "always", "yes"], "CONFIG SET no-appendfsync-on-rewrite no"),
        ] {
            let error = check(Durability::Synced, values).unwrap_err();
            assert!(matches!(&error, Error::Failed(text) if text.contains(said)), "{error}");
            assert_eq!(check(Durability::Server, values), Ok(()));
        }
        assert!(check_durability(&place, Durability::Synced, None).unwrap_err().to_string().contains("config|get"));
        assert_eq!(check_durability(&place, Durability::Server, None), Ok(()));
    }
}
