//! A compiled component, from which actors are made.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use plexspaces_actor::{Description, Factory, Fault, Instance, Limits, Spec, Turn};
use plexspaces_types::{Code, Failure};

use crate::bindings::ActorPre;
use crate::engine::Engine;
use crate::host::Host;
use crate::instance::Guest;
use crate::ready::Linked;
use crate::{Error, validate};

/// How long a component may take to describe itself.
const DESCRIBE_TIME: Duration = Duration::from_secs(30);

/// A component that is ready to make actors, with what it says of itself.
pub struct Component {
    pub(crate) linked: Arc<Linked>,
    description: Description,
    digest: String,
}

impl Component {
    /// Reads the description of a linked component.
    pub(crate) async fn describe(engine: Engine, pre: ActorPre<Host>, digest: String) -> Result<Self, Error> {
        let linked = Linked::new(engine, pre);
        let describe = async {
            let made = linked.instantiate(Limits::default()).await?;
            let mut guest = Guest::new(made, linked.engine().config().replace_at_bytes);
            guest.begin(None)?;
            let result = guest.actor.plexspaces_actor_guest().call_describe(&mut guest.store).await;
            guest.end(result.map(Ok), |_, _| Ok(())).map(|(json, _)| json)
        };
        let json = match tokio::time::timeout(DESCRIBE_TIME, describe).await {
            Ok(Ok(json)) => json,
            Ok(Err(fault)) => return Err(Error::Describe(fault.into_failure())),
            Err(_) => {
                let message = format!("expected an answer in {DESCRIBE_TIME:?}, found none");
                return Err(Error::Describe(Failure::new(Code::LimitExceeded, message)));
            }
        };
        let description = validate::description(&json)?;
        Ok(Self { linked, description, digest })
    }

    /// The SHA-256 digest of the component's bytes, as 64 hexadecimal digits.
    #[must_use]
    pub fn digest(&self) -> &str {
        &self.digest
    }
}

#[async_trait]
impl Factory for Component {
    fn description(&self) -> &Description {
        &self.description
    }

    fn code(&self) -> u64 {
        code_of(&self.digest)
    }

    async fn create(&self, spec: &Spec, turn: Turn) -> Result<(Box<dyn Instance>, Turn), Fault> {
        if !self.description.actors.iter().any(|actor| actor.name == spec.guest_type) {
            let names: Vec<&str> = self.description.actors.iter().map(|actor| actor.name.as_str()).collect();
            let message = format!("the component has no actor type {:?}, it has {}", spec.guest_type, names.join(", "));
            return Err(Fault::Rejected(Failure::not_found(message)));
        }
        let started = Instant::now();
        let mut made = match self.linked.take(spec.limits) {
            Some(made) => made,
            None => self.linked.instantiate(spec.limits).await?,
        };
        made.give_to(spec.id.to_string(), turn);
        let mut guest = Guest::new(made, self.linked.engine().config().replace_at_bytes);
        guest.usable = false;
        let result = guest.actor.plexspaces_actor_guest().call_init(&mut guest.store, &spec.guest_type, &spec.config).await;
        let ((), turn) = guest.end(result, |(), _| Ok(()))?;
        guest.settle();
        metrics::histogram!("plexspaces_wasm_instantiate_seconds").record(started.elapsed().as_secs_f64());
        let turn = turn.ok_or_else(|| Fault::Crashed { failure: lost_turn(), trace: String::new() })?;
        self.linked.keep(spec.limits);
        Ok((Box::new(guest), turn))
    }
}

/// The number of a component's version: the first 16 digits of its digest.
#[must_use]
pub fn code_of(digest: &str) -> u64 {
    digest.get(..16).and_then(|digits| u64::from_str_radix(digits, 16).ok()).unwrap_or_default()
}

pub(crate) fn lost_turn() -> Failure {
    Failure::new(Code::Internal, "the turn was lost on its way")
}
