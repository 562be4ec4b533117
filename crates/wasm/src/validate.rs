//! Whether something is a component that this node can run, and precisely why not.

use std::collections::HashSet;

use plexspaces_actor::Description;
use plexspaces_types::Name;
use wasmtime::component::Component;

use crate::Error;

/// The interface that makes a component an actor.
const GUEST: &str = "plexspaces:actor/guest@0.1.0";

const IMPORTS: &[(&str, &[&str], &str)] = &[
    (
        "plexspaces:actor/",
        &["blobs", "context", "durability", "http", "key-value", "lifecycle", "logging", "messaging", "services", "timers", "types"],
        "0.1.",
    ),
    ("wasi:cli/", &[], "0.2."),
    ("wasi:clocks/", &[], "0.2."),
    ("wasi:filesystem/", &[], "0.2."),
    ("wasi:io/", &[], "0.2."),
    ("wasi:random/", &[], "0.2."),
    ("wasi:sockets/", &[], "0.2."),
];

/// Whether `wasm` begins as a component does.
pub(crate) fn format(wasm: &[u8]) -> Result<(), Error> {
    let found = match wasm {
        [] => "nothing (0 bytes)".to_owned(),
        [0, b'a', b's', b'm', 0x0d, 0, 1, 0, ..] => return Ok(()),
        [0, b'a', b's', b'm', 1, 0, 0, 0, ..] => {
            "a core WebAssembly module; make a component of it, for example with `wasm-tools component new`".to_owned()
        }
        [0, b'a', b's', b'm', version @ ..] => format!("WebAssembly of another version: {:02x?}", version.get(..4).unwrap_or(version)),
        other => {
            let start = other.get(..16).unwrap_or(other);
            format!("{} bytes that begin with \"{}\"", other.len(), start.escape_ascii())
        }
    };
    Err(Error::NotAComponent { found })
}

/// Whether a component imports only what there is and exports an actor, by names. Signatures are checked when it is linked.
pub(crate) fn world(engine: &wasmtime::Engine, component: &Component) -> Result<(), Error> {
    let ty = component.component_type();
    let names: Vec<String> = ty.imports(engine).map(|(name, _)| name.to_owned()).filter(|name| !is_known_import(name)).collect();
    if !names.is_empty() {
        return Err(Error::UnknownImports { names });
    }
    let exports: Vec<&str> = ty.exports(engine).map(|(name, _)| name).collect();
    if exports.contains(&GUEST) {
        return Ok(());
    }
    let found = if exports.is_empty() { "no exports".to_owned() } else { exports.join(", ") };
    Err(Error::MissingExport { expected: GUEST, found })
}

fn is_known_import(name: &str) -> bool {
    IMPORTS.iter().any(|(package, interfaces, version)| {
        let Some((interface, found)) = name.strip_prefix(package).and_then(|rest| rest.split_once('@')) else { return false };
        (interfaces.is_empty() || interfaces.contains(&interface)) && found.starts_with(version)
    })
}

/// Reads what a component says of itself.
pub(crate) fn description(json: &str) -> Result<Description, Error> {
    let invalid = |detail: String| Error::InvalidDescription { detail };
    let description: Description = serde_json::from_str(json).map_err(|error| invalid(error.to_string()))?;
    if description.actors.is_empty() {
        return Err(invalid("expected at least one actor type, found none".to_owned()));
    }
    let mut names = HashSet::new();
    for actor in &description.actors {
        for name in std::iter::once(&actor.name).chain(&actor.aliases) {
            Name::new("actor type", name).map_err(|error| invalid(error.to_string()))?;
            if !names.insert(name) {
                return Err(invalid(format!("expected each type and alias once, found {name:?} twice")));
            }
        }
        let mut operations = HashSet::new();
        for handler in &actor.handlers {
            if !operations.insert(&handler.operation) {
                return Err(invalid(format!("expected each operation of {:?} once, found {:?} twice", actor.name, handler.operation)));
            }
        }
    }
    Ok(description)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fuzz_components_and_descriptions() {
        let examples: [&[u8]; 3] = [
            b"\0asm\x0d\0\x01\0",
            br#"{"sdk":{"language":"rust","version":"0"},"actors":[{"name":"a","class":"A","behavior":"GenServer","handlers":[{"operation":"o","kind":"call"}]}]}"#,
            b"plexspaces:actor/http@0.1.0",
        ];
        plexspaces_testkit::fuzz!(examples, |bytes: &Vec<u8>| {
            if let Err(error) = format(bytes) {
                assert!(!error.to_string().is_empty());
            }
            let text = String::from_utf8_lossy(bytes);
            let _ = is_known_import(&text);
            match description(&text) {
                Ok(description) => assert!(!description.actors.is_empty()),
                Err(error) => assert!(!error.to_string().is_empty()),
            }
        });
    }
}
