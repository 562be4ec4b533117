//! One turn of one actor: what its code can reach while it handles a message, and what it leaves to be committed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use plexspaces_durable::{KeyValue, Outgoing, Reminder, fingerprint};
use plexspaces_types::{ActorId, Clock, Code, Failure, Message, MessageKind, Name, Payload, RequestContext};

use crate::cell::Cell;
use crate::children::{START, start_key, start_of};
use crate::outbound::Outbound;
use crate::registry::Kind;
use crate::timers::Change;
use crate::{Address, Limits, Profile, Runtime};

mod blobs;
mod http;
mod key_value;
mod lifecycle;
pub(crate) mod log;
mod services;
pub(crate) mod waits;

use log::{Known, Log};

pub(crate) use key_value::check_key;

/// How many messages one turn of a durable actor may send.
const MAX_TELLS: usize = 10_000;

/// The host's side of a turn. It is handed to the code and taken back with the effects in it; dropping it drops them.
pub struct Turn(Box<Parts>);

/// Behind a pointer, since a turn changes hands several times for each message.
#[doc(hidden)]
pub struct Parts {
    /// `None` for a turn without a node behind it.
    runtime: Option<Runtime>,
    cell: Option<Arc<Cell>>,
    id: ActorId,
    app: Name,
    outbound: Option<Arc<dyn Outbound>>,
    ctx: RequestContext,
    durable: bool,
    limits: Limits,
    clock: Clock,
    writes: BTreeMap<String, Option<KeyValue>>,
    tells: Vec<(ActorId, Message)>,
    outgoing: Vec<Outgoing>,
    timers: Vec<Change>,
    reminders: BTreeMap<String, Option<Reminder>>,
    /// None for a turn that is not journaled: of an actor that is not durable, or before its first message.
    log: Option<Box<Log>>,
    /// The journal while something else than the code uses the turn.
    aside: Option<Box<Log>>,
    course: waits::Course,
    published: Option<Payload>,
    /// The message from an actor that was heard and is not committed yet.
    heard: Option<(String, u64)>,
    /// The answer to it that is to be remembered: the name of the request, its fingerprint, the reply.
    answered: Option<(String, [u8; 32], Payload)>,
    looking: Looking,
}

/// Whom a call of a turn is for.
#[derive(Clone, Copy, Debug)]
pub struct Whom<'a> {
    /// As the code names it, which is what its journal holds: it is the same when the turn is run again, whoever lives then.
    pub name: &'a str,
    /// Which actor that is, where it is not for the runtime to find out.
    pub known: Option<&'a ActorId>,
}

impl<'a> From<&'a str> for Whom<'a> {
    fn from(name: &'a str) -> Self {
        Self { name, known: None }
    }
}

impl<'a> From<&'a String> for Whom<'a> {
    fn from(name: &'a String) -> Self {
        Self { name, known: None }
    }
}

/// Whether a turn may change anything.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Looking {
    /// It may.
    #[default]
    No,
    /// An instance is made that only looks: what its `init` does was done before by the actor itself.
    Init,
    /// It answers a query.
    Query,
}

/// What a turn leaves behind to be done when it is over.
#[derive(Default)]
pub(crate) struct Effects {
    pub(crate) key_values: Vec<(String, Option<KeyValue>)>,
    pub(crate) tells: Vec<(ActorId, Message)>,
    pub(crate) outgoing: Vec<Outgoing>,
    pub(crate) timers: Vec<Change>,
    pub(crate) reminders: Vec<(String, Option<Reminder>)>,
    /// The message that the turn handles, unless that is committed.
    pub(crate) heard: Option<(String, u64)>,
    pub(crate) log: Option<Box<Log>>,
}

impl std::ops::Deref for Turn {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}

impl std::ops::DerefMut for Turn {
    fn deref_mut(&mut self) -> &mut Parts {
        &mut self.0
    }
}

impl Effects {
    pub(crate) fn is_empty(&self) -> bool {
        self.key_values.is_empty() && self.tells.is_empty() && self.timers.is_empty() && self.reminders.is_empty() && self.log.is_none()
    }
}

/// How important a line of an actor's log is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogLevel {
    /// For debugging.
    Debug,
    /// What happens normally.
    Info,
    /// What should be looked at.
    Warn,
    /// What went wrong.
    Error,
}

impl Turn {
    pub(crate) fn new(runtime: &Runtime, cell: &Arc<Cell>, kind: &Kind, ctx: RequestContext, profile: &Profile) -> Self {
        Self(Box::new(Parts {
            runtime: Some(runtime.clone()),
            cell: Some(cell.clone()),
            id: cell.id.clone(),
            app: kind.application.name.clone(),
            outbound: kind.application.outbound.clone(),
            ctx,
            durable: profile.durable,
            limits: profile.limits,
            clock: runtime.config().clock.clone(),
            writes: BTreeMap::new(),
            tells: Vec::new(),
            outgoing: Vec::new(),
            timers: Vec::new(),
            reminders: BTreeMap::new(),
            log: None,
            aside: None,
            course: waits::Course::default(),
            published: None,
            heard: None,
            answered: None,
            looking: Looking::No,
        }))
    }

    /// A turn without a node behind it: its actor is alone and its keys are in memory. For tests and measurements of engines.
    #[must_use]
    pub fn detached(id: ActorId) -> Self {
        let ctx = RequestContext::external(id.tenant.clone(), id.namespace.clone(), "detached");
        Self(Box::new(Parts {
            runtime: None,
            cell: None,
            app: id.actor_type.clone(),
            outbound: None,
            id,
            ctx,
            durable: true,
            limits: Limits::default(),
            clock: Clock::system(),
            writes: BTreeMap::new(),
            tells: Vec::new(),
            outgoing: Vec::new(),
            timers: Vec::new(),
            reminders: BTreeMap::new(),
            log: None,
            aside: None,
            course: waits::Course::default(),
            published: None,
            heard: None,
            answered: None,
            looking: Looking::No,
        }))
    }

    pub(crate) fn only_looking(mut self, looking: Looking) -> Self {
        self.looking = looking;
        self
    }

    /// Whether it may change nothing.
    pub(crate) fn only_looks(&self) -> bool {
        self.looking != Looking::No
    }

    /// A turn that changes nothing: its calls of the host have no effect that lasts.
    pub(crate) fn looking(runtime: &Runtime, id: &ActorId, app: &Name, ctx: RequestContext, profile: &Profile, looking: Looking) -> Self {
        let mut turn = Self::detached(id.clone());
        (turn.app, turn.ctx, turn.limits, turn.looking) = (app.clone(), ctx, profile.limits, looking);
        turn.clock = runtime.config().clock.clone();
        turn.runtime = Some(runtime.clone());
        turn
    }

    pub(crate) fn into_effects(self) -> Effects {
        let Parts { writes, tells, outgoing, timers, reminders, heard, log, .. } = *self.0;
        let (key_values, reminders) = (writes.into_iter().collect(), reminders.into_iter().collect());
        Effects { key_values, tells, outgoing, timers, reminders, heard, log }
    }

    /// Writes down what the code is told, or tells it what was written down.
    pub(crate) fn journaled(mut self, log: Box<Log>) -> Self {
        self.log = Some(log);
        self
    }

    /// Until when somebody waits for the turn's reply.
    pub(crate) fn awaited(mut self, until: Option<std::time::Instant>) -> Self {
        self.course.awaited_until = until;
        self
    }

    /// Which message of a durable actor it handles.
    pub(crate) fn heard(mut self, heard: Option<(String, u64)>) -> Self {
        self.heard = heard;
        self
    }

    /// Which request began it.
    pub(crate) fn begun_by(mut self, message: &Message) -> Self {
        self.course.began = message.idempotency_key.clone().map(|key| (key, fingerprint(&message.operation, &message.payload)));
        self
    }

    fn node(&self) -> Option<(Runtime, Arc<Cell>)> {
        self.runtime.clone().zip(self.cell.clone())
    }

    /// Whose request it is, how long it may take, and who waits for it.
    #[must_use]
    pub fn context(&self) -> &RequestContext {
        &self.ctx
    }

    /// The actor whose turn it is.
    #[must_use]
    pub fn actor_id(&self) -> &ActorId {
        &self.id
    }

    /// Milliseconds since the Unix epoch. In a durable actor the time at which the turn began or last waited: it is the same when the turn
    /// is run again.
    #[must_use]
    pub fn now_ms(&self) -> u64 {
        self.log.as_deref().map_or_else(|| self.clock.now_ms(), Log::now_ms)
    }

    /// Asks another actor and waits for the reply, never longer than the message that is being handled may take. An actor that already
    /// waits for this one is a `deadlock`, answered at once.
    pub async fn ask(
        &mut self,
        target: impl Into<Whom<'_>>,
        operation: &str,
        payload: Payload,
        timeout: Duration,
    ) -> Result<Payload, Failure> {
        let target = target.into();
        let call = match self.call(|| format!("ask {} {operation}", target.name), &[payload.as_bytes()]).await? {
            Known::Told(told) => return self.told_again(told).await,
            Known::New(call) => call,
        };
        let prepared = self.look_up(target).await.and_then(|(runtime, id)| {
            let (ctx, message) = self.asking(&id, operation, payload, timeout)?;
            Ok((runtime, ctx, id, message))
        });
        match prepared {
            Ok((runtime, ctx, id, message)) => self.wait(call, runtime.ask_actor(ctx, id, message)).await,
            Err(failure) => self.told_nothing(call, Err(failure)),
        }
    }

    /// The same for an actor whose address is known.
    pub async fn ask_at(&mut self, target: &Address, operation: &str, payload: Payload, timeout: Duration) -> Result<Payload, Failure> {
        let call = match self.call(|| format!("ask {} {operation}", target.id()), &[payload.as_bytes()]).await? {
            Known::Told(told) => return self.told_again(told).await,
            Known::New(call) => call,
        };
        match self.asking(target.id(), operation, payload, timeout) {
            Ok((ctx, message)) => self.wait(call, target.ask(ctx, message)).await,
            Err(failure) => self.told_nothing(call, Err(failure)),
        }
    }

    /// Whether what the code is told is written down. Its calls must come one after the other then.
    #[must_use]
    pub fn is_journaled(&self) -> bool {
        self.log.is_some()
    }

    /// The same beside other asks, in a turn that is not journaled.
    pub async fn ask_beside(&self, target: &Address, operation: &str, payload: Payload, timeout: Duration) -> Result<Payload, Failure> {
        let (ctx, message) = self.asking(target.id(), operation, payload, timeout)?;
        target.ask(ctx, message).await
    }

    fn asking(&self, id: &ActorId, operation: &str, payload: Payload, timeout: Duration) -> Result<(RequestContext, Message), Failure> {
        self.check_size("payload", payload.len())?;
        let (operation, run_timeout_ms) = start_of(operation)?;
        let mut chain = self.ctx.chain.to_vec();
        chain.push(self.id.clone());
        if chain.contains(id) {
            let links: Vec<String> = chain.iter().chain([id]).map(ToString::to_string).collect();
            return Err(Failure::new(Code::Deadlock, format!("the request would wait for itself: {}", links.join(" -> "))));
        }
        let own = crate::now().checked_add(timeout);
        let deadline = self.ctx.deadline.into_iter().chain(own).min();
        // A run that this one starts is done when this one is to be done.
        let run_until_ms =
            run_timeout_ms.map(|time| self.clock.now_ms().saturating_add(time)).into_iter().chain(self.course.deadline_ms).min();
        let (namespace, chain) = (id.namespace.clone(), Arc::from(chain));
        let ctx = RequestContext { namespace, deadline, chain, run_until_ms, ..self.ctx.clone() };
        let mut message = self.message(operation, payload, MessageKind::Call);
        // Asked again after a failure, a durable actor knows the request and gives the same answer.
        message.idempotency_key = match operation {
            // The same id is the same run, whoever asks for it.
            START => Some(start_key(id)),
            _ => self.log.as_deref().map(|log| format!("{}#{}", self.id, log.call_id())),
        };
        Ok((ctx, message))
    }

    /// Sends to another actor without waiting for the outcome. In a durable actor it leaves after the commit.
    pub async fn tell(&mut self, target: impl Into<Whom<'_>>, operation: &str, payload: Payload) -> Result<(), Failure> {
        let target = target.into();
        let call = match self.own_call(|| format!("tell {} {operation}", target.name), &[payload.as_bytes()])? {
            Known::Told(told) => return self.sent_before(told),
            Known::New(call) => call,
        };
        let sent = match self.look_up(target).await {
            Err(failure) => Err(failure),
            Ok((runtime, id)) => match self.telling(&id, operation, payload) {
                Ok(Some((ctx, message))) => runtime.tell_actor(ctx, &id, message, None).await,
                put_out => put_out.map(drop),
            },
        };
        self.told_nothing(call, sent)
    }

    /// The same to an actor whose address is known.
    pub async fn tell_at(&mut self, target: &Address, operation: &str, payload: Payload) -> Result<(), Failure> {
        let call = match self.own_call(|| format!("tell {} {operation}", target.id()), &[payload.as_bytes()])? {
            Known::Told(told) => return self.sent_before(told),
            Known::New(call) => call,
        };
        let sent = match self.telling(target.id(), operation, payload) {
            Ok(Some((ctx, message))) => target.tell(ctx, message).await,
            put_out => put_out.map(drop),
        };
        self.told_nothing(call, sent)
    }

    /// What is to be sent now; nothing when the message leaves with the commit.
    fn telling(&mut self, id: &ActorId, operation: &str, payload: Payload) -> Result<Option<(RequestContext, Message)>, Failure> {
        self.check_size("payload", payload.len())?;
        if self.durable {
            self.room_for_one_more()?;
            if self.log.is_some() {
                self.put_out(id, operation, payload);
            } else {
                let message = self.message(operation, payload, MessageKind::Cast);
                self.tells.push((id.clone(), message));
            }
            return Ok(None);
        }
        let message = self.message(operation, payload, MessageKind::Cast);
        let ctx = RequestContext { namespace: id.namespace.clone(), chain: Arc::from([self.id.clone()]), ..self.ctx.clone() };
        Ok(Some((ctx, message)))
    }

    fn room_for_one_more(&self) -> Result<(), Failure> {
        if self.tells.len() + self.outgoing.len() < MAX_TELLS {
            return Ok(());
        }
        Err(Failure::new(Code::Overloaded, format!("one turn may send at most {MAX_TELLS} messages")))
    }

    /// Writes a line to the node's log. A turn that is run again writes no line again that a call in its journal has followed.
    pub fn log(&self, level: LogLevel, message: &str) {
        if self.is_again() {
            // It was written when the turn did this for the first time.
            return;
        }
        let (actor_id, tenant, app, trace_id) = (&self.id, &self.id.tenant, &self.app, self.ctx.trace.trace_id_text());
        match level {
            LogLevel::Debug => tracing::debug!(target: "plexspaces::guest", %actor_id, %tenant, %app, %trace_id, "{message}"),
            LogLevel::Info => tracing::info!(target: "plexspaces::guest", %actor_id, %tenant, %app, %trace_id, "{message}"),
            LogLevel::Warn => tracing::warn!(target: "plexspaces::guest", %actor_id, %tenant, %app, %trace_id, "{message}"),
            LogLevel::Error => tracing::error!(target: "plexspaces::guest", %actor_id, %tenant, %app, %trace_id, "{message}"),
        }
    }

    fn resolve(&self, target: Whom<'_>) -> Result<(Runtime, ActorId), Failure> {
        let Whom { name: target, known } = target;
        let Some(runtime) = &self.runtime else {
            return Err(Failure::not_found(format!("unknown actor {target:?}: this actor runs without a node")));
        };
        if let Some(known) = known {
            return Ok((runtime.clone(), known.clone()));
        }
        // Names mean what they mean where the actor lives, wherever the message came from.
        let ctx = RequestContext { namespace: self.id.namespace.clone(), ..self.ctx.clone() };
        Ok((runtime.clone(), runtime.resolve(&ctx, target)?))
    }

    fn message(&self, operation: &str, payload: Payload, kind: MessageKind) -> Message {
        Message { operation: operation.to_owned(), kind, payload, sender: Some(self.id.clone()), idempotency_key: None }
    }

    fn check_size(&self, what: &'static str, size: usize) -> Result<(), Failure> {
        if size <= self.limits.payload_bytes {
            return Ok(());
        }
        let message = format!("a {what} of {size} bytes is larger than the limit of {} bytes", self.limits.payload_bytes);
        Err(Failure::new(Code::PayloadTooLarge, message).with_field(what))
    }
}
