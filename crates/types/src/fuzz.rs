//! What arrives from outside as a name, an identity or a trace is read or refused.

use plexspaces_testkit::fuzz;

use crate::{ActorId, Code, Key, Name, TraceContext};

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap_or_default()
}

#[test]
fn any_text_is_an_identity_that_prints_as_it_was_or_none() {
    let tenant = Name::default_scope();
    fuzz!(["default/bank_account/alice@example.com", "n/t/k", "a.b-c/_x/ä ö"], |bytes: &Vec<u8>| {
        let text = text(bytes);
        if let Some(id) = ActorId::parse(&tenant, text) {
            assert_eq!(id.to_string(), text);
        }
        if let Ok(key) = Key::new(text) {
            assert!(!key.as_str().contains(['/', '\0']));
        }
        if let Ok(name) = Name::new("name", text) {
            assert!(!name.as_str().contains(['/', '\0', ' ']));
        }
        let _ = text.parse::<Code>();
    });
}

#[test]
fn any_text_is_a_trace_that_prints_as_it_was_or_none() {
    fuzz!(["00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"], |bytes: &Vec<u8>| {
        if let Some(trace) = TraceContext::parse(text(bytes)) {
            // A later version may say more, and is answered with this one.
            assert_eq!(trace.to_string().get(3..52), text(bytes).trim().get(3..52));
        }
    });
}
