//! The bridge to the runtime: a type of native actors as a factory, one actor as an instance.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::Mutex;
use plexspaces_actor::{
    Behavior, Description, Facet, Factory, Fault, HandlerInfo, HandlerKind, Instance, LogLevel, Reply, Sdk, Spec, Turn, TypeInfo,
};
use plexspaces_types as types;
use plexspaces_types::{Code, Failure, Payload};
use serde_json::{Value, json};

use crate::{Actor, ActorContext, BehaviorError, Message, Operation, ServiceLocator};

/// An actor that has not run its `init`.
#[async_trait]
pub(crate) trait Unborn: Instance {
    /// Runs `init`.
    async fn init(&mut self, config: &str, turn: Turn) -> Result<Turn, Fault>;

    /// Whether `init` reads its configuration.
    fn reads_config(&self) -> bool;
}

/// Makes an actor of a registered type.
pub(crate) type Maker = Arc<dyn Fn(&ActorContext, &Arc<ServiceLocator>) -> Box<dyn Unborn> + Send + Sync>;

/// All actors of one type in one namespace.
pub(crate) struct NativeType {
    description: Description,
    version: u64,
    locator: Arc<ServiceLocator>,
    maker: Option<Maker>,
    /// Whether those that it makes read their configuration.
    has_init: bool,
    /// Values that were given to a spawn and wait to be started.
    given: Mutex<HashMap<types::ActorId, Given>>,
}

/// A value that was given to a spawn, and what is to be around it.
pub(crate) struct Given {
    pub(crate) actor: Box<dyn Unborn>,
    pub(crate) facets: Vec<Box<dyn Facet>>,
}

impl NativeType {
    pub(crate) fn new(info: TypeInfo, version: u64, maker: Option<Maker>, has_init: bool, locator: Arc<ServiceLocator>) -> Self {
        Self { description: Description { sdk: sdk(), actors: vec![info] }, version, locator, maker, has_init, given: Mutex::default() }
    }

    /// Keeps a value until its actor is started.
    pub(crate) fn give(&self, id: &types::ActorId, actor: Given) -> Result<(), Failure> {
        match self.given.lock().entry(id.clone()) {
            Entry::Occupied(_) => Err(Failure::new(Code::Conflict, format!("the actor {id} is being started already"))),
            Entry::Vacant(place) => {
                place.insert(actor);
                Ok(())
            }
        }
    }

    /// Takes a value back.
    pub(crate) fn take(&self, id: &types::ActorId) -> Option<Given> {
        self.given.lock().remove(id)
    }
}

#[async_trait]
impl Factory for NativeType {
    fn description(&self) -> &Description {
        &self.description
    }

    fn code(&self) -> u64 {
        self.version
    }

    async fn create(&self, spec: &Spec, turn: Turn) -> Result<(Box<dyn Instance>, Turn), Fault> {
        let (mut actor, turn) = match (self.take(&spec.id), &self.maker) {
            (Some(given), _) => (given.actor, turn),
            (None, Some(make)) => {
                let ctx = ActorContext::new(turn, self.locator.clone());
                (make(&ctx, &self.locator), ctx.into_turn())
            }
            (None, None) => {
                let message = format!("the actor {} was given as a value and cannot be made again: register its type for that", spec.id);
                return Err(Fault::Rejected(Failure::not_found(message)));
            }
        };
        let turn = actor.init(&spec.config, turn).await?;
        Ok((actor, turn))
    }

    fn reads_config(&self, id: &types::ActorId) -> bool {
        self.given.lock().get(id).map_or(self.has_init, |given| given.actor.reads_config())
    }

    fn facets(&self, id: &types::ActorId) -> Vec<Box<dyn Facet>> {
        self.given.lock().get_mut(id).map(|given| std::mem::take(&mut given.facets)).unwrap_or_default()
    }
}

/// What the actors of this crate are written with.
pub(crate) fn sdk() -> Sdk {
    Sdk { language: "rust".to_owned(), version: env!("CARGO_PKG_VERSION").to_owned() }
}

/// What each state machine answers that has no handler of this name.
const SHOW_STATE: Operation =
    Operation { name: "fsm_state", kind: HandlerKind::Call, doc: "The present state and the states that there are." };

/// Whether the runtime answers `fsm_state` for these actors.
fn shows_state<A: Actor>() -> bool {
    A::BEHAVIOR == Behavior::GenFSM && !A::OPERATIONS.iter().any(|operation| operation.name == SHOW_STATE.name)
}

/// What is said of a type of actors.
pub(crate) fn describe<A: Actor>(name: &str) -> TypeInfo {
    let info = |operation: &Operation| HandlerInfo {
        operation: operation.name.to_owned(),
        kind: operation.kind,
        doc: operation.doc.to_owned(),
        parameters: Value::Null,
    };
    let shown = shows_state::<A>().then_some(SHOW_STATE);
    let mut handlers: Vec<HandlerInfo> = A::OPERATIONS.iter().chain(&shown).map(info).collect();
    handlers.sort_by(|one, other| one.operation.cmp(&other.operation));
    TypeInfo {
        name: name.to_owned(),
        aliases: Vec::new(),
        class: std::any::type_name::<A>().to_owned(),
        behavior: A::BEHAVIOR,
        states: A::STATES.iter().map(ToString::to_string).collect(),
        initial: A::INITIAL.map(str::to_owned),
        doc: A::DOC.to_owned(),
        facets: Vec::new(),
        handlers,
    }
}

/// One actor.
pub(crate) struct Native<A> {
    actor: A,
    locator: Arc<ServiceLocator>,
    /// Of a durable actor: the state to which a refused message takes it back.
    committed: Option<Payload>,
}

impl<A: Actor> Native<A> {
    pub(crate) fn new(actor: A, locator: Arc<ServiceLocator>) -> Self {
        Self { actor, locator, committed: None }
    }

    /// Puts the state of a machine right: a new one begins in its initial state.
    fn begin(&mut self) -> Result<(), BehaviorError> {
        if let (Some(state), Some(initial)) = (self.actor.fsm_state(), A::INITIAL)
            && state.is_empty()
        {
            initial.clone_into(state);
        }
        self.check(None)
    }

    /// Refuses an undeclared state of a machine and takes it back.
    fn check(&mut self, before: Option<String>) -> Result<(), BehaviorError> {
        let Some(state) = self.actor.fsm_state() else { return Ok(()) };
        if A::STATES.contains(&state.as_str()) {
            return Ok(());
        }
        let found = match before {
            Some(before) => std::mem::replace(state, before),
            None => state.clone(),
        };
        let message = format!("{} declares no state {found:?}; it has: {}", A::NAME, A::STATES.join(", "));
        Err(BehaviorError::UndeclaredState(message))
    }

    fn state(&mut self) -> Result<Payload, BehaviorError> {
        let state = Payload::Json(self.actor.snapshot()?);
        self.committed = Some(state.clone());
        Ok(state)
    }

    /// Handles the signals that came to a run and that it has not taken.
    async fn handle_rest(&mut self, ctx: &ActorContext) -> Result<(), BehaviorError> {
        while let Some(signal) = ctx.next_signal().await {
            let has_handler = A::OPERATIONS.iter().any(|operation| operation.name == signal.msg_type || operation.name == "*");
            let name = &signal.msg_type;
            if !has_handler {
                ctx.log(LogLevel::Warn, &format!("{name} was dropped: it has no handler and nothing waited for it")).await;
                continue;
            }
            match self.actor.handle(ctx, &signal).await {
                // Its sender was told that it would be heard, and the run is not to blame.
                Err(BehaviorError::InvalidPayload(why)) => ctx.log(LogLevel::Warn, &format!("{name} was dropped: {why}")).await,
                handled => drop(handled?),
            }
        }
        Ok(())
    }

    async fn turn(&mut self, ctx: &ActorContext, message: &Message, want_state: bool) -> Result<Reply, BehaviorError> {
        let before = self.actor.fsm_state().map(|state| state.clone());
        let shown = before.as_ref().filter(|_| message.msg_type == SHOW_STATE.name && shows_state::<A>());
        let payload = match shown {
            Some(state) => Payload::from_value(&json!({"state": state, "states": A::STATES})),
            None => match self.actor.handle(ctx, message).await {
                Ok(payload) => payload,
                Err(error) => {
                    // What a handler would change goes with the run; its senders were told that it would be heard.
                    while let Some(signal) = ctx.next_signal().await {
                        ctx.log(LogLevel::Warn, &format!("{} was dropped: the run has failed", signal.msg_type)).await;
                    }
                    return Err(error);
                }
            },
        };
        if A::BEHAVIOR == Behavior::Workflow {
            self.handle_rest(ctx).await?;
        }
        self.check(before)?;
        let state = if want_state { Some(self.state()?) } else { None };
        Ok(Reply { payload, state })
    }
}

#[async_trait]
impl<A: Actor> Instance for Native<A> {
    async fn handle(&mut self, message: &types::Message, turn: Turn, want_state: bool) -> Result<(Reply, Turn), Fault> {
        let mut message = Message::received(message);
        if A::BEHAVIOR == Behavior::Workflow && !A::OPERATIONS.iter().any(|operation| operation.name == message.msg_type) {
            message = message.spelled_out();
        }
        let ctx = ActorContext::new(turn, self.locator.clone());
        match self.turn(&ctx, &message, want_state).await {
            Ok(reply) => Ok((reply, ctx.into_turn())),
            Err(error) => {
                if let Some(state) = &self.committed {
                    self.actor.restore(state).map_err(crashed)?;
                }
                Err(Fault::Rejected(error.into()))
            }
        }
    }

    async fn snapshot(&mut self) -> Result<Payload, Fault> {
        self.state().map_err(crashed)
    }

    async fn restore(&mut self, state: &Payload) -> Result<(), Fault> {
        self.actor.restore(state).map_err(crashed)?;
        self.begin().map_err(crashed)?;
        self.committed = Some(state.clone());
        Ok(())
    }

    fn memory_bytes(&self) -> usize {
        size_of::<Self>()
    }
}

#[async_trait]
impl<A: Actor> Unborn for Native<A> {
    async fn init(&mut self, config: &str, turn: Turn) -> Result<Turn, Fault> {
        let mut turn = turn;
        if A::HAS_INIT {
            let config: Value = serde_json::from_str(config).map_err(|error| crashed(error.into()))?;
            let ctx = ActorContext::new(turn, self.locator.clone());
            self.actor.init(&ctx, &config).await.map_err(crashed)?;
            turn = ctx.into_turn();
        }
        self.begin().map_err(crashed)?;
        if A::DURABLE {
            self.state().map_err(crashed)?;
        }
        Ok(turn)
    }

    fn reads_config(&self) -> bool {
        A::HAS_INIT
    }
}

fn crashed(error: BehaviorError) -> Fault {
    Fault::Crashed { failure: error.into(), trace: String::new() }
}
