//! What shared pairs promise.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{Call, Model};

/// The service `kv`, without times to live.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Pairs;

/// All pairs with their versions, and the version of the last change.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct State {
    pairs: BTreeMap<String, (String, u64)>,
    version: u64,
}

impl State {
    fn set(&self, call: &Call) -> Self {
        let mut next = self.clone();
        next.version += 1;
        next.pairs.insert(call.text("key").to_owned(), (call.text("value").to_owned(), next.version));
        next
    }

    fn shown(&self, key: &str) -> [(&'static str, Value); 2] {
        let pair = self.pairs.get(key);
        [("value", json!(pair.map(|(value, _)| value))), ("version", json!(pair.map(|(_, version)| version)))]
    }
}

impl Model for Pairs {
    type State = State;

    fn start(&self) -> State {
        State::default()
    }

    fn step(&self, state: &State, call: &Call) -> Vec<State> {
        let key = call.text("key");
        let next = match call.operation.as_str() {
            "get" if call.says(&state.shown(key)) => Some(state.clone()),
            // Over HTTP what is not there is not found.
            "get" => (call.refused("not_found") && !state.pairs.contains_key(key)).then(|| state.clone()),
            "put" => call.says(&[]).then(|| state.set(call)),
            "delete" => {
                let mut next = state.clone();
                let deleted = next.pairs.remove(key).is_some();
                next.version += u64::from(deleted);
                call.says(&[("deleted", json!(deleted))]).then_some(next)
            }
            "cas" => {
                let expected = call.arguments.get("expected").and_then(Value::as_str);
                let swapped = state.pairs.get(key).map(|(value, _)| value.as_str()) == expected;
                let next = if swapped { state.set(call) } else { state.clone() };
                let said = [("swapped", json!(swapped))].into_iter().chain(next.shown(key)).collect::<Vec<_>>();
                call.says(&said).then_some(next)
            }
            "list" => {
                let shown = |(key, (value, version)): (&String, &(String, u64))| json!({"key": key, "value": value, "version": version});
                let pairs: Vec<Value> = state.pairs.iter().filter(|(key, _)| key.starts_with(call.text("prefix"))).map(shown).collect();
                call.says(&[("pairs", json!(pairs))]).then(|| state.clone())
            }
            _ => None,
        };
        next.into_iter().collect()
    }
}
