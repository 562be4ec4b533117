//! Guest components of a few kilobytes, built from WebAssembly text when a test first asks for one.
//!
//! [`echo`] and [`hostile`] are one program, `guests/guest.wat`, whose operations are listed in [`OPERATIONS`]; every other operation
//! answers its own payload. They keep one number as their state.

use std::sync::OnceLock;

use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::{Resolve, WorldId};

const PROGRAM: &str = include_str!("guests/guest.wat");

/// Operations with the code that answers them. `$payload`, `$kind` and `$len` are the message's payload.
pub const OPERATIONS: &[(&str, &str)] = &[
    // What a good guest does.
    ("count", "(call $count)"),
    ("kv_put", "(call $kv_put)"),
    ("kv_get", "(call $kv_get)"),
    ("ask", "(call $ask)"),
    ("tell", "(call $tell)"),
    ("log", "(call $log)"),
    ("whoami", "(call $whoami)"),
    // Failures that it reports.
    ("reject", "(call $failure (i32.const 0))"),
    ("fail", "(call $failure (i32.const 1))"),
    // What a hostile one does.
    ("spin", "(loop $again (br $again)) (unreachable)"),
    ("allocate", "(loop $again (br_if $again (i32.ne (memory.grow (i32.const 64)) (i32.const -1)))) (unreachable)"),
    ("recurse", "(call $recurse (i32.const 1))"),
    ("trap", "(call $explode)"),
    ("bad_pointer", "(call $reply (i32.const 0) (i32.const -65536) (i32.const 100))"),
    ("bad_utf8", "(call $reply (i32.const 0) (global.get $not_utf8) (i32.const 2))"),
    ("not_json", "(call $reply (i32.const 0) (global.get $not_utf8) (i32.const 0))"),
    ("huge", "(call $huge)"),
    ("leak", "(drop (memory.grow (i32.const 16))) (call $count)"),
];

/// A component with one type, `echo`.
#[must_use]
pub fn echo() -> Vec<u8> {
    static BUILT: OnceLock<Vec<u8>> = OnceLock::new();
    BUILT.get_or_init(|| described(&description("echo"))).clone()
}

/// A component with one type, `hostile`.
#[must_use]
pub fn hostile() -> Vec<u8> {
    static BUILT: OnceLock<Vec<u8>> = OnceLock::new();
    BUILT.get_or_init(|| described(&description("hostile"))).clone()
}

/// The description of a component with one type that takes every operation.
#[must_use]
pub fn description(name: &str) -> String {
    format!(
        r#"{{"sdk":{{"language":"wat","version":"0"}},"actors":[{{"type":"{name}","behavior":"GenServer","handlers":[{{"operation":"*","kind":"call"}}]}}]}}"#
    )
}

/// The same program with a description of the test's own.
///
/// # Panics
/// When the program in this crate cannot be built.
#[must_use]
#[allow(clippy::expect_used)]
pub fn described(description: &str) -> Vec<u8> {
    let wit = crate::repository().join("wit");
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_dir(&wit).expect("the repository's wit/ is read");
    let world = resolve.select_world(&[package], Some("actor")).expect("wit/ has the world actor");
    encode(&core(description), &resolve, world)
}

/// A valid component of another world: it imports `other:planet/api` and exports `other:planet/run`.
#[must_use]
#[allow(clippy::expect_used)]
pub fn wrong_world() -> Vec<u8> {
    other_world(
        "package other:planet; interface api { greet: func(); } interface run { run: func(); } world other { import api; export run; }",
        r#"(module (import "other:planet/api" "greet" (func)) (func (export "other:planet/run#run")))"#,
    )
}

/// A valid component that imports nothing and exports another interface.
#[must_use]
pub fn no_actor() -> Vec<u8> {
    other_world(
        "package other:planet; interface run { run: func(); } world other { export run; }",
        r#"(module (func (export "other:planet/run#run")))"#,
    )
}

/// A valid module that is not a component.
#[must_use]
#[allow(clippy::expect_used)]
pub fn core_module() -> Vec<u8> {
    wat::parse_str("(module)").expect("an empty module is valid")
}

#[allow(clippy::expect_used)]
fn other_world(wit: &str, module: &str) -> Vec<u8> {
    let mut resolve = Resolve::default();
    let package = resolve.push_str("other.wit", wit).expect("the other world is valid");
    let world = resolve.select_world(&[package], None).expect("there is one world");
    encode(&wat::parse_str(module).expect("the module is valid"), &resolve, world)
}

#[allow(clippy::expect_used)]
fn encode(module: &[u8], resolve: &Resolve, world: WorldId) -> Vec<u8> {
    let mut module = module.to_vec();
    embed_component_metadata(&mut module, resolve, world, StringEncoding::UTF8, false).expect("the world can be embedded");
    let mut encoder = ComponentEncoder::default();
    encoder.validate(true).module(&module).expect("the module fits the world").encode().expect("the component is valid")
}

/// The program with its texts in memory: the description, the names of the operations, and some that the code refers to.
#[allow(clippy::expect_used)]
fn core(description: &str) -> Vec<u8> {
    let mut texts = Texts { next: 1024, segments: String::new() };
    let (at, len) = texts.add(description.as_bytes());
    let mut globals = format!("(global $describe_at i32 (i32.const {at})) (global $describe_len i32 (i32.const {len}))");
    for (name, text) in [("not_utf8", &b"\xff\xfe"[..]), ("key", b"k"), ("target", b"echo/other"), ("code", b"invalid_argument")] {
        let (at, _) = texts.add(text);
        globals.push_str(&format!("(global ${name} i32 (i32.const {at}))"));
    }
    let mut dispatch = String::new();
    for (name, code) in OPERATIONS {
        let (at, len) = texts.add(name.as_bytes());
        dispatch.push_str(&format!("(if (call $is (i32.const {at}) (i32.const {len})) (then (return {code})))\n"));
    }
    let globals = format!("{globals} (global $heap_start i32 (i32.const {}))", texts.next.next_multiple_of(8));
    let heap = format!("(global $heap (mut i32) (i32.const {}))", texts.next.next_multiple_of(8));
    let program = PROGRAM.replace(";; @texts", &format!("{globals} {heap} {}", texts.segments)).replace(";; @dispatch", &dispatch);
    wat::parse_str(program).expect("guest.wat is valid")
}

struct Texts {
    next: usize,
    segments: String,
}

impl Texts {
    fn add(&mut self, text: &[u8]) -> (usize, usize) {
        let at = self.next;
        let escaped: String = text.iter().map(|byte| format!("\\{byte:02x}")).collect();
        self.segments.push_str(&format!("(data (i32.const {at}) \"{escaped}\")\n"));
        self.next += text.len();
        (at, text.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_guest_is_built() {
        for guest in [echo(), hostile(), wrong_world(), no_actor(), core_module()] {
            assert!(guest.starts_with(b"\0asm"));
        }
    }
}
