//! How facets wrap the handling of a message: in through all of them, to the code, and out again.

use std::borrow::Cow;
use std::panic::{AssertUnwindSafe, catch_unwind};

use plexspaces_types::{ActorId, Code, Failure, Message, Payload, RequestContext};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Map;

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

    fn brought(facet: Box<dyn Facet>) -> Self {
        let priority = facet.priority();
        Self { spec: FacetSpec { name: facet.name().to_owned(), priority: Some(priority), config: Map::new() }, priority, facet }
    }

    async fn begin(&mut self, actor: &ActorId, turn: &mut Turn) -> Result<(), Failure> {
        let begun = match self.facet.on_attach(actor).await {
            Ok(()) => self.facet.on_activate(turn).await,
            Err(error) => Err(error),
        };
        begun.map_err(|error| self.failed("attached", error))
    }

    fn failed(&self, what: &str, error: FacetError) -> Failure {
        let mut failure = Failure::from(error);
        failure.message = format!("the facet {} could not be {what}: {}", self.spec.name, failure.message);
        failure
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
    /// The facets of an actor that comes to life: those of these specifications, and those that it brings with it.
    pub(crate) async fn attached(
        registry: &FacetRegistry,
        specs: &[FacetSpec],
        brought: Vec<Box<dyn Facet>>,
        actor: &ActorId,
        turn: &mut Turn,
    ) -> Result<Box<Self>, Failure> {
        let mut pipeline = Box::<Self>::default();
        let made = specs.iter().map(|spec| Link::new(registry, spec.clone()));
        for link in made.chain(brought.into_iter().map(|facet| Ok(Link::brought(facet)))) {
            let mut link = link?;
            if pipeline.links.iter().any(|known| known.spec.name == link.spec.name) {
                let message = format!("the actor {actor} would have two facets {}", link.spec.name);
                return Err(Failure::new(Code::Conflict, message).with_field("facets"));
            }
            link.begin(actor, turn).await?;
            pipeline.links.push(link);
        }
        pipeline.order();
        Ok(pipeline)
    }

    /// Whether facets of these specifications let a message to an actor whose own are at work or not in memory.
    pub(crate) async fn admits(
        registry: &FacetRegistry,
        specs: &[FacetSpec],
        actor: &ActorId,
        message: &Message,
        ctx: &RequestContext,
    ) -> Result<(), Failure> {
        let mut pipeline = Self::default();
        for spec in specs {
            let mut link = Link::new(registry, spec.clone())?;
            link.facet.on_attach(actor).await.map_err(|error| link.failed("attached", error))?;
            pipeline.links.push(link);
        }
        pipeline.order();
        pipeline.admit(message, ctx).await
    }

    /// The specification of each.
    pub(crate) fn specs(&self) -> impl Iterator<Item = &FacetSpec> {
        self.links.iter().map(|link| &link.spec)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.links.is_empty()
    }

    /// Puts a facet in the place of the one of its name, or takes that away. The others keep what they know. After an error all is as it was,
    /// once the turn is dropped.
    pub(crate) async fn change(
        &mut self,
        registry: &FacetRegistry,
        name: &str,
        spec: Option<FacetSpec>,
        actor: &ActorId,
        turn: &mut Turn,
    ) -> Result<(), Failure> {
        let old = self.links.iter_mut().find(|link| link.spec.name == name);
        if spec.is_some() && old.as_ref().map(|link| &link.spec) == spec.as_ref() {
            return Ok(());
        }
        let mut new = spec.map(|spec| Link::new(registry, spec)).transpose()?;
        if let Some(old) = old {
            old.facet.on_deactivate(turn).await.map_err(|error| old.failed("detached", error))?;
        }
        if let Some(new) = &mut new {
            new.begin(actor, turn).await?;
        }
        self.links.retain(|link| link.spec.name != name);
        self.links.extend(new);
        self.order();
        Ok(())
    }

    /// Among equals the one that came first is outside.
    fn order(&mut self) {
        self.links.sort_by_key(|link| std::cmp::Reverse(link.priority));
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
        turn.leave_code();
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
        let answered_early = early.is_some();
        let handled = match early {
            Some(reply) => Ok((reply, turn)),
            None => {
                turn.enter_code(Some(&message.payload).filter(|_| matches!(message, Cow::Owned(_))));
                let handled = instance.handle(&message, turn, want_state).await;
                handled.map(|(reply, mut turn)| {
                    turn.code_replied(&reply.payload);
                    turn.leave_code();
                    (reply, turn)
                })
            }
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
        if !answered_early {
            turn.enter_code(None);
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
