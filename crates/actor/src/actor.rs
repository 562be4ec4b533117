//! The life of one actor: a task that takes one message at a time out of its mailbox.

use std::sync::Arc;
use std::time::{Duration, Instant};

use plexspaces_durable::{Activation, Answer, Changes, Outcome, answer_key, fingerprint};
use plexspaces_store::Partition;
use plexspaces_types::{ActorId, Code, Failure, MessageKind, Payload, RequestContext};
use serde_json::json;

use crate::answers::Answers;
use crate::mailbox::{Control, Envelope, Mailbox};
use crate::registry::Kind;
use crate::restarts::Restarts;
use crate::turn::Effects;
use crate::{Fault, Instance, Profile, Runtime, Spec, Turn};

/// A failed actor that comes back later than this answers instead of letting its callers wait.
const PATIENCE: Duration = Duration::from_secs(1);

/// How many expired answers one turn removes.
const FORGET_AT_ONCE: usize = 64;

struct Actor {
    runtime: Runtime,
    id: ActorId,
    kind: Arc<Kind>,
    profile: Arc<Profile>,
    live: Option<Live>,
    /// The state of an actor that is not durable, on its way from one instance to the next.
    carried: Option<Payload>,
    /// Answers of an actor that is not durable: they live as long as its state.
    answers: Answers,
    restarts: Restarts,
    /// When a child that did not start tries again.
    next_start: Instant,
}

/// An actor's code in memory; with durability, also its view of its partition.
struct Live {
    instance: Box<dyn Instance>,
    activation: Option<Activation>,
}

/// Runs until the actor is stopped, is idle for too long, or the node ends.
pub(crate) async fn run(runtime: Runtime, id: ActorId, kind: Arc<Kind>, mut mailbox: Mailbox) {
    let profile = kind.profile(&id.key).clone();
    let stopped = runtime.stopped().clone();
    let mut actor = Actor {
        runtime,
        id,
        kind,
        profile,
        live: None,
        carried: None,
        answers: Answers::default(),
        restarts: Restarts::default(),
        next_start: crate::now(),
    };
    let mut last_message = crate::now();
    loop {
        let wake = actor.wake(last_message);
        tokio::select! {
            biased;
            () = stopped.cancelled() => break,
            Some(control) = mailbox.control.recv() => match control {
                Control::Start(answer) => { let _ = answer.send(actor.start().await); }
                Control::Replace(kind) => actor.replace(kind).await,
                Control::Stop => mailbox.close(),
            },
            envelope = mailbox.messages.recv() => match envelope {
                Some(envelope) => {
                    actor.receive(*envelope).await;
                    last_message = crate::now();
                }
                None => break,
            },
            () = sleep_until(wake), if wake.is_some() => if actor.live.is_none() {
                if let Err(failure) = actor.start().await {
                    tracing::warn!(actor_id = %actor.id, %failure, "a child did not restart");
                }
            } else {
                // What arrived meanwhile is still handled; then the actor ends, and the next message brings it back.
                mailbox.close();
            },
        }
        if actor.is_unused() {
            mailbox.close();
        }
    }
    drop(actor.live.take());
    actor.runtime.remove(&actor.id);
}

async fn sleep_until(instant: Option<Instant>) {
    match instant {
        Some(instant) => tokio::time::sleep_until(instant.into()).await,
        None => std::future::pending().await,
    }
}

impl Actor {
    /// When the actor must act without a message: a child that failed comes back, an idle actor goes.
    fn wake(&self, last_message: Instant) -> Option<Instant> {
        match (&self.live, self.profile.idle_timeout) {
            (None, _) if self.profile.resident => Some(self.next_start),
            (Some(_), Some(idle)) => Some(last_message + idle),
            _ => None,
        }
    }

    /// Without code in memory, without failures to remember and without a reason to stay, the actor's task is of no use.
    fn is_unused(&self) -> bool {
        self.live.is_none() && self.carried.is_none() && self.restarts.is_empty() && !self.profile.resident
    }

    async fn receive(&mut self, envelope: Envelope) {
        if envelope.ctx.deadline.is_some_and(|deadline| deadline <= crate::now()) {
            let failure = Failure::new(Code::DeadlineExceeded, format!("the deadline passed before {} could start", self.id));
            answer(envelope, Err(failure));
            return;
        }
        if let Some(wait) = self.restarts.wait(crate::now()) {
            if wait > PATIENCE {
                let failure = Failure::new(Code::Unavailable, format!("{} failed too often and restarts later", self.id));
                answer(envelope, Err(failure.with_retry_after(wait)));
                return;
            }
            tokio::time::sleep(wait).await;
        }
        let started = crate::now();
        let result = self.turn(&envelope).await;
        self.kind.metrics.turn_seconds.record(started.elapsed());
        answer(envelope, result);
        self.replace_grown().await;
    }

    /// One turn: the message is handled, what it changed is committed, what it sent leaves, and only then is there a reply.
    async fn turn(&mut self, envelope: &Envelope) -> Result<Payload, Failure> {
        self.activate(&envelope.ctx).await?;
        let message = &envelope.message;
        let keyed = message.idempotency_key.as_deref().map(|key| (key, fingerprint(&message.operation, &message.payload)));
        if let Some((key, fingerprint)) = keyed
            && let Some(stored) = self.stored_answer(key).await?
        {
            return if stored.fingerprint == fingerprint { Ok(stored.reply) } else { Err(used_for_another(key)) };
        }
        let Some(live) = self.live.as_mut() else { return Err(internal("the actor has no instance")) };
        let turn =
            Turn::new(self.runtime.clone(), self.id.clone(), self.kind.application.name.clone(), envelope.ctx.clone(), &self.profile);
        let handled =
            tokio::time::timeout(self.profile.limits.turn_time, live.instance.handle(message, turn, live.activation.is_some())).await;
        let (reply, turn) = match handled.unwrap_or_else(|_| Err(self.took_too_long())) {
            Ok((reply, turn)) => (reply, turn),
            Err(fault) => return Err(self.fault(fault, &envelope.ctx)),
        };
        let state = reply.state;
        let reply = if message.kind == MessageKind::Call { reply.payload } else { Payload::empty() };
        let answer = keyed.map(|(key, fingerprint)| (key.to_owned(), fingerprint, reply.clone()));
        self.settle(turn.into_effects(), state, answer, &envelope.ctx).await?;
        self.kind.metrics.handled.increment(1);
        Ok(reply)
    }

    /// Makes what a turn did last: the commit first, then its messages.
    async fn settle(
        &mut self,
        effects: Effects,
        state: Option<Payload>,
        answer: Option<(String, [u8; 32], Payload)>,
        ctx: &RequestContext,
    ) -> Result<(), Failure> {
        let Some(live) = self.live.as_mut() else { return Err(internal("the actor has no instance")) };
        if let Some(activation) = live.activation.as_mut() {
            if let Err(failure) = commit(&self.runtime, activation, effects.key_values, state, answer).await {
                // What is in memory is now ahead of what is stored.
                self.live = None;
                tracing::error!(actor_id = %self.id, tenant = %self.id.tenant, trace_id = %ctx.trace.trace_id_text(), %failure, "a turn could not be committed");
                return Err(failure);
            }
        } else if let Some((key, fingerprint, reply)) = answer {
            self.answers.insert(key, fingerprint, reply, self.runtime.config().clock.now_ms());
        }
        for (target, message) in effects.tells {
            if let Err(failure) = self.runtime.tell_actor(self.chained(ctx), &target, message).await {
                tracing::warn!(actor_id = %self.id, tenant = %self.id.tenant, %target, trace_id = %ctx.trace.trace_id_text(), %failure, "a message was not delivered");
            }
        }
        Ok(())
    }

    async fn stored_answer(&mut self, key: &str) -> Result<Option<Answer>, Failure> {
        let config = self.runtime.config();
        let now = config.clock.now_ms();
        if !self.profile.durable {
            return Ok(self.answers.get(key, now));
        }
        let stored = config.store.get(&Partition::actor(&self.id), &answer_key(key)).await?;
        let stored = stored.map(|value| Answer::decode(&value)).transpose().map_err(|error| unreadable(&self.id, &error))?;
        Ok(stored.filter(|answer| now < answer.expires_ms))
    }

    /// Brings the actor to life without a message.
    async fn start(&mut self) -> Result<(), Failure> {
        let ctx = RequestContext::external(self.id.tenant.clone(), self.id.namespace.clone(), "supervisor");
        let started = self.activate(&ctx).await;
        if started.is_err() {
            let now = crate::now();
            self.next_start = now + self.restarts.wait(now).unwrap_or(PATIENCE);
        }
        started
    }

    /// Makes sure that there is an instance: `init` first, then the state.
    async fn activate(&mut self, ctx: &RequestContext) -> Result<(), Failure> {
        if self.live.is_some() {
            return Ok(());
        }
        let ctx = RequestContext { deadline: None, ..ctx.clone() };
        let activation = if self.profile.durable { Some(self.recover().await?) } else { None };
        let spec = Spec {
            id: self.id.clone(),
            guest_type: self.kind.guest_type.clone(),
            config: self.guest_config(),
            limits: self.profile.limits,
        };
        let turn = Turn::new(self.runtime.clone(), self.id.clone(), self.kind.application.name.clone(), ctx.clone(), &self.profile);
        let state = activation.as_ref().and_then(Activation::state).or(self.carried.as_ref());
        let made = async {
            let (mut instance, turn) = self.kind.factory.create(&spec, turn).await?;
            if let Some(state) = state {
                instance.restore(state).await?;
            }
            Ok((instance, turn))
        };
        let made = tokio::time::timeout(self.profile.limits.turn_time, made).await.unwrap_or_else(|_| Err(self.took_too_long()));
        self.carried = None;
        let (instance, turn) = match made {
            Ok(made) => made,
            Err(fault) => return Err(self.fault(fault, &ctx)),
        };
        let live = self.live.insert(Live { instance, activation });
        let effects = turn.into_effects();
        if effects.is_empty() {
            return Ok(());
        }
        // What `init` wrote may belong to what it put into the state.
        let state = match &live.activation {
            Some(_) => match live.instance.snapshot().await {
                Ok(state) => Some(state),
                Err(fault) => return Err(self.fault(fault, &ctx)),
            },
            None => None,
        };
        self.settle(effects, state, None, &ctx).await
    }

    async fn recover(&mut self) -> Result<Activation, Failure> {
        let partition = Partition::actor(&self.id);
        let page = self.runtime.config().store.scan(&partition, Activation::recovery_range(), Activation::RECOVERY).await?;
        Activation::recover(partition, &page.entries).map_err(|error| unreadable(&self.id, &error))
    }

    /// What the guest's `init` is told.
    fn guest_config(&self) -> String {
        let mut args = self.profile.args.clone();
        args.entry("role").or_insert_with(|| self.kind.guest_type.clone().into());
        json!({
            "actor_id": self.id.to_string(),
            "args": args,
            "role": self.kind.guest_type,
            "actor_type": self.kind.name.as_str(),
            "name": self.id.key.as_str(),
            "application": self.kind.application.name.as_str(),
            "namespace": self.id.namespace.as_str(),
            "tenant_id": self.id.tenant.as_str(),
            "node_id": self.runtime.config().node_id.as_str(),
            "behavior_kind": "GenServer",
            "labels": {},
        })
        .to_string()
    }

    /// Goes on with other code. The state of a durable actor is in the store; another's is carried over.
    async fn replace(&mut self, kind: Arc<Kind>) {
        let profile = kind.profile(&self.id.key).clone();
        if let Some(mut live) = self.live.take()
            && !(live.activation.is_some() && profile.durable)
        {
            self.carried = live.instance.snapshot().await.ok();
        }
        (self.kind, self.profile, self.restarts) = (kind, profile, Restarts::default());
        if self.kind.is_child(&self.id.key) || self.carried.is_some() {
            let _ = self.start().await;
        }
    }

    /// Gives an instance that has grown a successor with the same state.
    async fn replace_grown(&mut self) {
        let Some(live) = self.live.as_mut().filter(|live| live.instance.wants_replacement()) else { return };
        let before = live.instance.memory_bytes();
        if live.activation.is_none() {
            match live.instance.snapshot().await {
                Ok(state) => self.carried = Some(state),
                // It works on as it is; its next turn tries again.
                Err(_) => return,
            }
        }
        self.live = None;
        if self.start().await.is_ok() {
            let after = self.live.as_ref().map_or(0, |live| live.instance.memory_bytes());
            tracing::debug!(actor_id = %self.id, tenant = %self.id.tenant, before, after, "an instance that had grown was replaced");
        }
    }

    /// Notes a failure: refused messages change nothing, anything else costs the instance and counts.
    fn fault(&mut self, fault: Fault, ctx: &RequestContext) -> Failure {
        let (failure, trace) = match fault {
            Fault::Rejected(failure) => {
                self.kind.metrics.rejected.increment(1);
                return failure;
            }
            Fault::Crashed { failure, trace } => (failure, trace),
        };
        self.live = None;
        self.carried = None;
        self.answers = Answers::default();
        self.kind.metrics.crashed.increment(1);
        let application = &self.kind.application;
        let too_often = self.restarts.crashed(crate::now(), application.restarts);
        let trace_id = ctx.trace.trace_id_text();
        tracing::error!(actor_id = %self.id, tenant = %self.id.tenant, app = %application.name, %trace_id, code = %failure.code, trace, "{}", failure.message);
        self.next_start = crate::now() + self.restarts.wait(crate::now()).unwrap_or_default();
        if too_often {
            let window_ms = u64::try_from(application.restarts.window.as_millis()).unwrap_or(u64::MAX);
            let until = self.runtime.config().clock.now_ms().saturating_add(window_ms);
            application.degraded_until_ms.store(until, std::sync::atomic::Ordering::Relaxed);
            tracing::error!(actor_id = %self.id, tenant = %self.id.tenant, app = %application.name, "the actor failed too often: its application is degraded");
        }
        failure
    }

    fn took_too_long(&self) -> Fault {
        let message = format!("a turn of {} took more than {:?}", self.id, self.profile.limits.turn_time);
        Fault::Crashed { failure: Failure::new(Code::LimitExceeded, message), trace: String::new() }
    }

    /// The context of a message that this actor sends.
    fn chained(&self, ctx: &RequestContext) -> RequestContext {
        RequestContext { chain: Arc::from([self.id.clone()]), ..ctx.clone() }
    }
}

/// Commits what a turn changed.
async fn commit(
    runtime: &Runtime,
    activation: &mut Activation,
    key_values: Vec<(String, Option<plexspaces_durable::KeyValue>)>,
    state: Option<Payload>,
    answer: Option<(String, [u8; 32], Payload)>,
) -> Result<(), Failure> {
    let config = runtime.config();
    let now = config.clock.now_ms();
    let forget = match activation.expired_range(now) {
        Some(range) => {
            let page = config.store.scan(activation.partition(), range, FORGET_AT_ONCE).await?;
            page.entries.into_iter().map(|(key, _)| key).collect()
        }
        None => Vec::new(),
    };
    match activation.commit(Changes { state, key_values, answer, forget }, now) {
        Outcome::Unchanged => {}
        Outcome::Commit(batch) => config.store.commit(batch).await?,
    }
    activation.committed();
    Ok(())
}

fn answer(envelope: Envelope, result: Result<Payload, Failure>) {
    if let Some(reply) = envelope.reply {
        // Whoever asked may have stopped waiting.
        let _ = reply.send(result);
    }
}

fn used_for_another(key: &str) -> Failure {
    let message = format!("the idempotency key {key:?} was used for another request");
    Failure::new(Code::Conflict, message).with_field("Idempotency-Key")
}

fn unreadable(id: &ActorId, error: &plexspaces_durable::Error) -> Failure {
    tracing::error!(actor_id = %id, %error, "a stored record is unreadable");
    Failure::new(Code::StorageFailed, format!("what is stored of {id} cannot be read; the node's log has the details"))
}

fn internal(message: &str) -> Failure {
    Failure::new(Code::Internal, message)
}
