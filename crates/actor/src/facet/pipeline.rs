//! How facets wrap the handling of a message: in through all of them, to the code, and out again.

use std::borrow::Cow;
use std::panic::{AssertUnwindSafe, catch_unwind};

use plexspaces_types::{ActorId, Failure, Message, Payload, RequestContext};
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::{Call, FacetRegistry};
use crate::{Facet, FacetError, FacetSpec, Fault, Instance, InterceptResult, Reply, Turn};

/// The facets of one incarnation of an actor, outermost first. Dropping it detaches them.
#[derive(Default)]
pub(crate) struct Pipeline {
    links: Vec<Link>,
}

struct Link {
    spec: FacetSpec,
    priority: u32,
    facet: Box<dyn Facet>,
}

impl Link {
    fn new(registry: &FacetRegistry, spec: FacetSpec) -> Result<Self, Failure> {
        let facet = registry.make(&spec)?;
        Ok(Self { priority: spec.priority.unwrap_or_else(|| facet.priority()), spec, facet })
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        // The others still have to hear of it.
        if catch_unwind(AssertUnwindSafe(|| self.facet.on_detach())).is_err() {
            tracing::error!(facet = self.spec.name, "a facet panicked when it was detached");
        }
    }
}

impl Pipeline {
    /// The facets of an actor that comes to life.
    pub(crate) async fn attached(
        registry: &FacetRegistry,
        specs: &[FacetSpec],
        actor: &ActorId,
        turn: &mut Turn,
    ) -> Result<Box<Self>, Failure> {
        let mut pipeline = Box::<Self>::default();
        pipeline.become_these(registry, specs, actor, turn).await?;
        Ok(pipeline)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.links.is_empty()
    }

    /// Makes it consist of exactly these facets. Those that stay keep what they know; new ones are attached and may use the turn.
    pub(crate) async fn become_these(
        &mut self,
        registry: &FacetRegistry,
        specs: &[FacetSpec],
        actor: &ActorId,
        turn: &mut Turn,
    ) -> Result<(), Failure> {
        let mut added = Vec::new();
        for spec in specs.iter().filter(|spec| !self.links.iter().any(|link| link.spec == **spec)) {
            let mut link = Link::new(registry, spec.clone())?;
            let attached = match link.facet.on_attach(actor).await {
                Ok(()) => link.facet.on_activate(turn).await,
                Err(error) => Err(error),
            };
            attached.map_err(|error| failed(&link, error))?;
            added.push(link);
        }
        self.links.retain(|link| specs.contains(&link.spec));
        self.links.append(&mut added);
        let declared = |link: &Link| specs.iter().position(|spec| *spec == link.spec);
        self.links.sort_by_key(|link| (std::cmp::Reverse(link.priority), declared(link)));
        Ok(())
    }

    /// Whether the sender may send this.
    pub(crate) async fn admit(&mut self, message: &Message, ctx: &RequestContext) -> Result<(), Failure> {
        let operation = operation(message).into_owned();
        let call = Call { operation: &operation, message };
        for link in &mut self.links {
            link.facet.admit(&call, ctx).await?;
        }
        Ok(())
    }

    /// Hands a message to the code through the facets.
    pub(crate) async fn handle(
        &mut self,
        instance: &mut dyn Instance,
        message: &Message,
        mut turn: Turn,
        want_state: bool,
    ) -> Result<(Reply, Turn), Fault> {
        let operation = operation(message).into_owned();
        let mut message = Cow::Borrowed(message);
        let ctx = turn.context().clone();
        let mut early = None;
        let mut entered = 0;
        for link in &mut self.links {
            let call = Call { operation: &operation, message: &message };
            let result = match link.facet.admit(&call, &ctx).await {
                Ok(()) => link.facet.before(&call, &mut turn).await,
                Err(error) => Err(error),
            };
            match result {
                Ok(InterceptResult::Continue) => {}
                Ok(InterceptResult::Replace(bytes)) => message.to_mut().payload = payload(bytes),
                Ok(InterceptResult::Reply(bytes)) => {
                    early = Some(Reply { payload: payload(bytes), state: None });
                    break;
                }
                Err(error) => {
                    let failure = Failure::from(error);
                    self.fail(entered, &operation, &message, &failure).await;
                    return Err(Fault::Rejected(failure));
                }
            }
            entered += 1;
        }
        let handled = match early {
            Some(reply) => Ok((reply, turn)),
            None => instance.handle(&message, turn, want_state).await,
        };
        let (mut reply, mut turn) = match handled {
            Ok(handled) => handled,
            Err(fault) => {
                let (Fault::Rejected(failure) | Fault::Crashed { failure, .. }) = &fault;
                self.fail(entered, &operation, &message, failure).await;
                return Err(fault);
            }
        };
        for index in (0..entered).rev() {
            let Some(link) = self.links.get_mut(index) else { continue };
            let call = Call { operation: &operation, message: &message };
            match link.facet.after(&call, reply.payload.as_bytes(), &mut turn).await {
                Ok(InterceptResult::Continue) => {}
                Ok(InterceptResult::Reply(bytes) | InterceptResult::Replace(bytes)) => reply.payload = payload(bytes),
                Err(error) => {
                    let trace = format!("the facet {} failed the turn after the handler", link.spec.name);
                    let failure = Failure::from(error);
                    self.fail(index, &operation, &message, &failure).await;
                    return Err(Fault::Crashed { failure, trace });
                }
            }
        }
        Ok((reply, turn))
    }

    /// Tells those outside of where a message failed, from there outwards.
    async fn fail(&mut self, outside: usize, operation: &str, message: &Message, failure: &Failure) {
        for link in self.links.iter_mut().take(outside).rev() {
            link.facet.on_error(operation, message.payload.as_bytes(), failure).await;
        }
    }
}

fn failed(link: &Link, error: FacetError) -> Failure {
    let mut failure = Failure::from(error);
    failure.message = format!("the facet {} could not be attached: {}", link.spec.name, failure.message);
    failure
}

/// Bytes that a facet made: JSON if they are.
fn payload(bytes: Vec<u8>) -> Payload {
    match String::from_utf8(bytes) {
        Ok(text) if serde_json::from_str::<IgnoredAny>(&text).is_ok() => Payload::Json(text),
        Ok(text) => Payload::Bytes(text.into()),
        Err(error) => Payload::Bytes(error.into_bytes().into()),
    }
}

/// What a message asks for, as its receiver finds it too.
fn operation(message: &Message) -> Cow<'_, str> {
    #[derive(Deserialize)]
    struct Routed<'a> {
        #[serde(borrow, default)]
        op: Option<Cow<'a, str>>,
        #[serde(borrow, default)]
        action: Option<Cow<'a, str>>,
    }
    if !message.operation.is_empty() {
        return Cow::Borrowed(&message.operation);
    }
    let routed = serde_json::from_slice::<Routed<'_>>(message.payload.as_bytes()).ok();
    routed.and_then(|routed| routed.op.or(routed.action)).unwrap_or_default()
}
