//! What an actor can reach while it handles a message.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use plexspaces_actor::{Address, HttpRequest, HttpResponse, LogLevel, Schedule, Turn, Whom};
use plexspaces_types::{Failure, RequestContext};
use serde_json::{Map, Value};
use tokio::sync::{RwLock, RwLockWriteGuard};

use crate::child::Course;
use crate::{Actor, ActorId, ActorRef, Message, ServiceLocator};

/// The services of the actor that handles a message, for as long as it does.
pub struct ActorContext {
    turn: RwLock<Turn>,
    pub(crate) course: Mutex<Course>,
    /// Of a durable actor's turn: its time when the call that is under way began.
    stands_at: AtomicU64,
    id: ActorId,
    locator: Arc<ServiceLocator>,
}

/// Whom a message is for: a name, an identity or a reference. The last is the fastest.
#[derive(Clone, Copy, Debug)]
pub enum Recipient<'a> {
    /// By name, as in [`ActorId`].
    Name(&'a str),
    /// By identity.
    Id(&'a ActorId),
    /// By reference.
    Ref(&'a ActorRef),
}

impl<'a> From<&'a str> for Recipient<'a> {
    fn from(name: &'a str) -> Self {
        Self::Name(name)
    }
}

impl<'a> From<&'a String> for Recipient<'a> {
    fn from(name: &'a String) -> Self {
        Self::Name(name)
    }
}

impl<'a> From<&'a ActorId> for Recipient<'a> {
    fn from(id: &'a ActorId) -> Self {
        Self::Id(id)
    }
}

impl<'a> From<&'a ActorRef> for Recipient<'a> {
    fn from(actor: &'a ActorRef) -> Self {
        Self::Ref(actor)
    }
}

impl<'a> Recipient<'a> {
    /// As the code names it.
    fn name(self) -> Cow<'a, str> {
        match self {
            Self::Name(name) => Cow::Borrowed(name),
            Self::Id(id) => Cow::Owned(id.to_string()),
            Self::Ref(actor) => Cow::Owned(actor.id().to_string()),
        }
    }
}

impl ActorContext {
    pub(crate) fn new(turn: Turn, locator: Arc<ServiceLocator>) -> Self {
        let id = turn.actor_id().clone().into();
        Self { id, turn: RwLock::new(turn), course: Mutex::default(), stands_at: AtomicU64::new(0), locator }
    }

    /// The turn, for one call.
    pub(crate) async fn hold(&self) -> RwLockWriteGuard<'_, Turn> {
        let turn = self.turn.write().await;
        if let Some((now_ms, _)) = turn.determinism() {
            self.stands_at.store(now_ms, Ordering::Relaxed);
        }
        turn
    }

    pub(crate) fn into_turn(self) -> Turn {
        self.turn.into_inner()
    }

    /// Who this actor is.
    #[must_use]
    pub fn self_id(&self) -> &ActorId {
        &self.id
    }

    /// The way to this actor, to be given to others.
    pub fn self_ref(&self) -> Result<ActorRef, Failure> {
        self.actor_ref(&self.id)
    }

    /// The way to an actor of this node.
    pub fn actor_ref<'a>(&self, target: impl Into<Recipient<'a>>) -> Result<ActorRef, Failure> {
        match target.into() {
            Recipient::Ref(actor) => Ok(actor.clone()),
            Recipient::Id(id) => Ok(ActorRef::new(self.locator.address(&self.home()?, id)?, self.home()?)),
            Recipient::Name(name) => Ok(ActorRef::new(self.locator.address(&self.home()?, &name.into())?, self.home()?)),
        }
    }

    /// Asks another actor and waits for the reply, at most so long, and never longer than whoever waits for this actor. An actor that
    /// already waits for this one is a `deadlock`, answered at once.
    pub async fn ask<'a>(&self, target: impl Into<Recipient<'a>>, message: Message, timeout: Duration) -> Result<Message, Failure> {
        let Message { payload, msg_type, .. } = message;
        let target = target.into();
        let found = self.look_up(target);
        let turn = self.turn.read().await;
        if let (Ok(address), false) = (&found, turn.is_journaled()) {
            return turn.ask_beside(address, &msg_type, payload, timeout).await.map(Message::reply);
        }
        drop(turn);
        let mut turn = self.hold().await;
        let reply = match (target, &found) {
            (Recipient::Ref(_), Ok(address)) => turn.ask_at(address, &msg_type, payload, timeout).await,
            (target, found) => turn.ask(whom(&target.name(), found), &msg_type, payload, timeout).await,
        };
        self.unless_cancelled(&mut turn, reply).await.map(Message::reply)
    }

    /// Sends to another actor without waiting for a reply. What a durable actor sends leaves when its turn is committed.
    pub async fn tell<'a>(&self, target: impl Into<Recipient<'a>>, message: Message) -> Result<(), Failure> {
        let Message { payload, msg_type, .. } = message;
        let target = target.into();
        let found = self.look_up(target);
        let mut turn = self.hold().await;
        match (target, &found) {
            (Recipient::Ref(_), Ok(address)) => turn.tell_at(address, &msg_type, payload).await,
            (target, found) => turn.tell(whom(&target.name(), found), &msg_type, payload).await,
        }
    }

    /// Sends a request over a service link and waits for the response, whatever its status; an error means that there is none. It takes never
    /// longer than whoever waits for this actor.
    pub async fn http_fetch(&self, link: &str, request: HttpRequest) -> Result<HttpResponse, Failure> {
        let mut turn = self.hold().await;
        let response = turn.http_fetch(link, request).await;
        self.unless_cancelled(&mut turn, response).await
    }

    /// Starts an actor from a value. One that fails cannot be made again: register its type for that.
    pub async fn spawn<A: Actor>(&self, id: impl Into<ActorId>, actor: A) -> Result<ActorRef, Failure> {
        let prepared = self.locator.prepare(&self.home()?, &id.into(), actor, Vec::new())?;
        let (id, application) = (prepared.id(), prepared.application());
        let mut turn = self.hold().await;
        let spawning = turn.spawn_in(&id.namespace, application, id.actor_type.as_str(), id.key.as_str(), Map::new());
        self.spawned(Box::pin(spawning).await?)
    }

    /// Starts an actor of a registered type; an empty name gives it one of its own.
    pub async fn spawn_type(&self, actor_type: &str, name: &str, args: Map<String, Value>) -> Result<ActorRef, Failure> {
        let home = self.home()?;
        let application = self.locator.application_of(&home, actor_type)?;
        let mut turn = self.hold().await;
        let spawning = turn.spawn_in(&home.namespace, &application, actor_type, name, args);
        self.spawned(Box::pin(spawning).await?)
    }

    fn spawned(&self, id: plexspaces_types::ActorId) -> Result<ActorRef, Failure> {
        Ok(ActorRef::new(self.locator.runtime()?.address_of(&id)?, self.home()?))
    }

    /// Ends an actor after its present message; true when it lived.
    pub async fn stop<'a>(&self, target: impl Into<Recipient<'a>>) -> Result<bool, Failure> {
        let target = target.into();
        let found = self.look_up(target);
        self.hold().await.stop(whom(&target.name(), &found)).await
    }

    /// Watches an actor: at its end this one receives `__DOWN__` with `monitor_ref`, `down_from` and `down_reason`. Returns the first.
    pub async fn monitor<'a>(&self, target: impl Into<Recipient<'a>>) -> Result<String, Failure> {
        let target = target.into();
        let found = self.look_up(target);
        self.hold().await.monitor(whom(&target.name(), &found))
    }

    /// Ends a watch.
    pub async fn demonitor(&self, reference: &str) {
        self.hold().await.demonitor(reference);
    }

    /// Ties this actor to another: when one fails the other receives `__EXIT__` with `exit_from` and `exit_reason`, and ends likewise if it
    /// has no handler for that.
    pub async fn link<'a>(&self, target: impl Into<Recipient<'a>>) -> Result<(), Failure> {
        let target = target.into();
        let found = self.look_up(target);
        self.hold().await.link(whom(&target.name(), &found))
    }

    /// Unties this actor and another.
    pub async fn unlink<'a>(&self, target: impl Into<Recipient<'a>>) -> Result<(), Failure> {
        let target = target.into();
        let found = self.look_up(target);
        self.hold().await.unlink(whom(&target.name(), &found))
    }

    /// Sends this actor a message after a time; returns the timer's name.
    pub async fn send_after(&self, delay: Duration, message: Message) -> Result<String, Failure> {
        self.start_timer(None, Schedule::After(delay), message).await
    }

    /// Sends this actor a message again and again; returns the timer's name.
    pub async fn send_every(&self, period: Duration, message: Message) -> Result<String, Failure> {
        self.start_timer(None, Schedule::Every(period), message).await
    }

    /// Starts a timer, which runs from the end of the turn; one of the same name is replaced.
    pub async fn start_timer(&self, name: Option<&str>, schedule: Schedule, message: Message) -> Result<String, Failure> {
        let Message { payload, msg_type, .. } = message;
        self.hold().await.start_timer(name, schedule, &msg_type, payload, false).await
    }

    /// Stops a timer; true when there was one.
    pub async fn cancel_timer(&self, name: &str) -> Result<bool, Failure> {
        self.hold().await.cancel_timer(name, false).await
    }

    /// Starts a reminder of a durable actor: a timer that outlives the actor and the node.
    pub async fn start_reminder(&self, name: &str, schedule: Schedule, message: Message) -> Result<(), Failure> {
        let Message { payload, msg_type, .. } = message;
        self.hold().await.start_timer(Some(name), schedule, &msg_type, payload, true).await.map(drop)
    }

    /// Stops a reminder; true when there was one.
    pub async fn cancel_reminder(&self, name: &str) -> Result<bool, Failure> {
        self.hold().await.cancel_timer(name, true).await
    }

    /// The value of one of the actor's own keys.
    pub async fn kv_get(&self, key: &str) -> Result<Option<String>, Failure> {
        self.hold().await.kv_get(key).await
    }

    /// Sets one of the actor's own keys.
    pub async fn kv_put(&self, key: &str, value: impl Into<String>) -> Result<(), Failure> {
        self.hold().await.kv_put(key, value.into(), None).await
    }

    /// Sets one of the actor's own keys for a time.
    pub async fn kv_put_for(&self, key: &str, value: impl Into<String>, ttl: Duration) -> Result<(), Failure> {
        self.hold().await.kv_put(key, value.into(), Some(ttl)).await
    }

    /// Removes one of the actor's own keys; true when it was there.
    pub async fn kv_delete(&self, key: &str) -> Result<bool, Failure> {
        self.hold().await.kv_delete(key).await
    }

    /// Sets a key if its value is `expected`; true when it was set.
    pub async fn kv_compare_and_set(&self, key: &str, expected: Option<&str>, value: impl Into<String>) -> Result<bool, Failure> {
        self.hold().await.kv_compare_and_set(key, expected, value.into()).await
    }

    /// The actor's keys that begin with `prefix`, in byte order, at most `limit`.
    pub async fn kv_list(&self, prefix: &str, limit: usize) -> Result<Vec<String>, Failure> {
        self.hold().await.kv_list(prefix, None, limit).await
    }

    /// Milliseconds since the Unix epoch. In a durable actor the time at which the message came or the handler last waited: it is the same
    /// when the handler is run again, unless it is asked for beside a call of this context that is under way.
    #[must_use]
    pub fn now_ms(&self) -> u64 {
        match (self.turn.try_read(), self.stands_at.load(Ordering::Relaxed)) {
            (Ok(turn), _) => turn.now_ms(),
            (Err(_), 0) => self.locator.now_ms(),
            (Err(_), stands_at) => stands_at,
        }
    }

    /// A random number, in a durable actor the same when the handler is run again.
    pub async fn random(&self) -> u64 {
        self.hold().await.random()
    }

    /// An id that nothing else has: 32 hexadecimal digits, in a durable actor the same when the handler is run again.
    pub async fn fresh_id(&self) -> String {
        let mut turn = self.hold().await;
        format!("{:016x}{:016x}", turn.random(), turn.random())
    }

    /// Writes to the node's log.
    pub async fn log(&self, level: LogLevel, text: &str) {
        self.turn.read().await.log(level, text);
    }

    /// The node's services.
    #[must_use]
    pub fn service_locator(&self) -> Arc<ServiceLocator> {
        self.locator.clone()
    }

    pub(crate) fn look_up(&self, target: Recipient<'_>) -> Result<Address, Failure> {
        match target {
            Recipient::Ref(actor) => Ok(actor.address().clone()),
            Recipient::Id(id) => self.locator.address(&self.home()?, id),
            Recipient::Name(name) => self.locator.address(&self.home()?, &name.into()),
        }
    }

    /// Where this actor's names are looked up.
    fn home(&self) -> Result<RequestContext, Failure> {
        let unknown = || Failure::not_found("the actor has no identity");
        let id = self.id.known().ok_or_else(unknown)?;
        Ok(RequestContext::external(id.tenant.clone(), id.namespace.clone(), "actor"))
    }
}

/// Whom a call is for, as the code names it and, where that was found, who that is.
fn whom<'a>(name: &'a str, found: &'a Result<Address, Failure>) -> Whom<'a> {
    Whom { name, known: found.as_ref().ok().map(Address::id) }
}
