//! Which version of its type's code an actor runs, and how its state comes from one version to the next.

use std::sync::Arc;

use plexspaces_durable::Past;
use plexspaces_types::{Failure, Message, MessageKind, Payload};

use crate::registry::Kind;
use crate::turn::Looking;
use crate::{Factory, Fault, Instance, Spec, Turn};

/// The operation that makes of a state of another version of the type one of this version. A type that handles it is asked before such a
/// state is laid over an instance; it changes nothing else.
pub const MIGRATE: &str = "__MIGRATE__";

/// The code that an actor runs.
pub(crate) struct Version {
    pub(crate) factory: Arc<dyn Factory>,
    pub(crate) guest_type: String,
    /// False for an earlier version, with which a run goes on that began with it.
    pub(crate) present: bool,
}

impl Kind {
    /// The code for an actor with this past: what began the turns that must be run again, while that is kept, else the present code.
    pub(crate) fn version(&self, past: Option<&Past>) -> Version {
        let present = Version { factory: self.factory.clone(), guest_type: self.guest_type.clone(), present: true };
        let Some(code) = past.and_then(Past::code).filter(|code| *code != self.factory.code()) else { return present };
        let earlier = self.application.earlier.read();
        let Some(factory) = earlier.iter().find(|factory| factory.code() == code) else { return present };
        Version { guest_type: named(&**factory, &self.guest_type), factory: factory.clone(), present: false }
    }
}

/// The name of a type in an earlier version: an only type may have been renamed.
fn named(factory: &dyn Factory, guest_type: &str) -> String {
    match factory.description().actors.as_slice() {
        [only] => only.name.clone(),
        _ => guest_type.to_owned(),
    }
}

/// Lays a state over a new instance; one of another version is migrated first, where the type does that.
pub(crate) async fn restore(
    factory: &dyn Factory,
    spec: &Spec,
    instance: &mut dyn Instance,
    state: &Payload,
    code: u64,
) -> Result<(), Fault> {
    let known = factory.description().actors.iter().find(|info| info.name == spec.guest_type);
    let migrates = known.is_some_and(|info| info.handlers.iter().any(|handler| handler.operation == MIGRATE));
    if code == factory.code() || !migrates {
        return instance.restore(state).await;
    }
    let (operation, payload) = (MIGRATE.to_owned(), state.clone());
    let message = Message { operation, kind: MessageKind::Call, payload, sender: None, idempotency_key: None };
    // What the type makes of it must depend on the state alone: it is made again until a state of this version is kept.
    let turn = Turn::detached(spec.id.clone()).only_looking(Looking::Query);
    let migrated = instance.handle(&message, turn, false).await.map_err(|fault| of_migration(fault, &spec.id.to_string()))?;
    instance.restore(&migrated.0.payload).await
}

fn of_migration(fault: Fault, id: &str) -> Fault {
    let said = |failure: Failure| Failure { message: format!("the state of {id} could not be migrated: {}", failure.message), ..failure };
    match fault {
        Fault::Rejected(failure) => Fault::Crashed { failure: said(failure), trace: String::new() },
        Fault::Crashed { failure, trace } => Fault::Crashed { failure: said(failure), trace },
    }
}
