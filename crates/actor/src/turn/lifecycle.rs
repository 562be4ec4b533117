//! Other actors' lives, and timers.

use plexspaces_durable::Reminder;
use plexspaces_store::Partition;
use plexspaces_types::{ActorId, Code, Failure, Name, Payload, RequestContext};
use serde_json::{Map, Value};

use super::log::{self, Known};
use super::{Turn, Whom};
use crate::Runtime;
use crate::supervision::Exit;
use crate::timers::{Change, Schedule};

/// Timers that one turn may start or cancel.
const MAX_TIMER_CHANGES: usize = 10_000;

const MAX_REMINDER_NAME: usize = 256;

impl Turn {
    /// Watches an actor: at its end this one receives `__DOWN__`. Returns the reference of the watch.
    pub fn monitor<'a>(&mut self, target: impl Into<Whom<'a>>) -> Result<String, Failure> {
        let target = target.into();
        let call = match self.own_call(|| format!("monitor {}", target.name), &[])? {
            Known::Told(told) => return log::read(&told?),
            Known::New(call) => call,
        };
        let reference = self.find(target).and_then(|(runtime, found)| match found {
            Ok(id) => runtime.monitor(&self.id, &id),
            Err(_) => runtime.monitor_nobody(&self.id, target.name),
        });
        self.told(call, reference.as_ref().map(log::json));
        reference
    }

    /// Ends a watch; one that there is not is no error.
    pub fn demonitor(&mut self, reference: &str) {
        if self.is_again() {
            return;
        }
        if let Some(runtime) = &self.runtime {
            runtime.links().demonitor(&self.id, reference);
        }
    }

    /// Ties this actor to another: when one ends abnormally the other receives `__EXIT__`.
    pub fn link<'a>(&mut self, peer: impl Into<Whom<'a>>) -> Result<(), Failure> {
        let peer = peer.into();
        let call = match self.own_call(|| format!("link {}", peer.name), &[])? {
            Known::Told(told) => return told.map(drop),
            Known::New(call) => call,
        };
        let linked = self.find(peer).and_then(|(runtime, found)| match found {
            Ok(id) => runtime.link(&self.id, &id),
            Err(_) => {
                runtime.tell_exit(&self.id, peer.name, &Exit::Error("noproc".to_owned()));
                Ok(())
            }
        });
        self.told_nothing(call, linked)
    }

    /// Unties this actor and another.
    pub fn unlink<'a>(&mut self, peer: impl Into<Whom<'a>>) -> Result<(), Failure> {
        let peer = peer.into();
        let call = match self.own_call(|| format!("unlink {}", peer.name), &[])? {
            Known::Told(told) => return told.map(drop),
            Known::New(call) => call,
        };
        let unlinked = self.find(peer).map(|(runtime, found)| {
            if let Ok(id) = found {
                runtime.links().unlink(&self.id, &id);
            }
        });
        self.told_nothing(call, unlinked)
    }

    /// Starts an actor of one of this application's types and returns its identity when its `init` has run.
    pub async fn spawn(&mut self, actor_type: &str, name: &str, args: Map<String, Value>) -> Result<ActorId, Failure> {
        let (namespace, application) = (self.id.namespace.clone(), self.app.clone());
        self.spawn_in(&namespace, &application, actor_type, name, args).await
    }

    /// The same with a type of another application.
    pub async fn spawn_in(
        &mut self,
        namespace: &Name,
        application: &Name,
        actor_type: &str,
        name: &str,
        args: Map<String, Value>,
    ) -> Result<ActorId, Failure> {
        let arguments = serde_json::to_vec(&args).unwrap_or_default();
        let call = match self.call(|| format!("spawn {actor_type} {name}"), &[&arguments]).await? {
            Known::Told(told) => {
                let printed: String = log::read(&told?)?;
                return ActorId::parse(&self.id.tenant, &printed)
                    .ok_or_else(|| Failure::new(Code::StorageFailed, "the journal names no actor"));
            }
            Known::New(call) => call,
        };
        let (runtime, ctx) = self.reach()?;
        let ctx = RequestContext { namespace: namespace.clone(), ..ctx };
        let spawned = runtime.spawn(&ctx, application, actor_type, name, args).await;
        self.told(call, spawned.as_ref().map(|id| log::json(&id.to_string())));
        spawned
    }

    /// Ends an actor after its present message; true when it lived.
    pub async fn stop(&mut self, target: impl Into<Whom<'_>>) -> Result<bool, Failure> {
        let target = target.into();
        let call = match self.call(|| format!("stop {}", target.name), &[]).await? {
            Known::Told(told) => return log::read(&told?),
            Known::New(call) => call,
        };
        let exit = |id: &ActorId| if *id == self.id { Exit::Normal } else { Exit::Shutdown };
        let stopped = self.find(target).map(|(runtime, found)| found.is_ok_and(|id| runtime.stop(&id, exit(&id))));
        self.told(call, stopped.as_ref().map(log::json));
        stopped
    }

    /// Starts a timer of this actor and returns its name; one of the same name is replaced. It runs from the end of the turn.
    pub async fn start_timer(
        &mut self,
        name: Option<&str>,
        schedule: Schedule,
        operation: &str,
        payload: Payload,
        durable: bool,
    ) -> Result<String, Failure> {
        let kind = if durable { "reminder" } else { "timer" };
        // Also where the call is not new: what is named after it when the turn goes on is not to be named as this was.
        let number = name.is_none().then(|| self.random());
        let text = || format!("start_{kind} {} {} {operation}", name.unwrap_or_default(), schedule.print());
        let call = match self.own_call(text, &[payload.as_bytes()])? {
            Known::Told(told) => return log::read(&told?),
            Known::New(call) => call,
        };
        let name = name.map_or_else(|| format!("timer-{:016x}", number.unwrap_or_default()), str::to_owned);
        let started = self.begin_timer(name, schedule, operation, payload, durable);
        self.told(call, started.as_ref().map(log::json));
        started
    }

    fn begin_timer(
        &mut self,
        name: String,
        schedule: Schedule,
        operation: &str,
        payload: Payload,
        durable: bool,
    ) -> Result<String, Failure> {
        schedule.check()?;
        self.check_size("payload", payload.len())?;
        let (runtime, _) = self.reach()?;
        if self.timers.len() + self.reminders.len() >= MAX_TIMER_CHANGES {
            return Err(Failure::new(Code::Overloaded, format!("one turn may change at most {MAX_TIMER_CHANGES} timers")));
        }
        if durable {
            self.check_reminder(&name)?;
            let never = || Failure::invalid("cron", "the schedule has no time in the future");
            let wait = schedule.wait(&self.clock, false).ok_or_else(never)?;
            let due_ms = self.now_ms().saturating_add(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX));
            let reminder = Reminder { due_ms, schedule: schedule.print(), operation: operation.to_owned(), payload };
            self.reminders.insert(name.clone(), Some(reminder));
            return Ok(name);
        }
        runtime.timers().check(&self.id)?;
        self.timers.push(Change::Start { name: name.clone(), schedule, operation: operation.to_owned(), payload });
        Ok(name)
    }

    /// Starts a reminder unless it is stored with the same schedule, operation and payload already.
    pub async fn declare_reminder(&mut self, name: &str, schedule: Schedule, operation: &str, payload: Payload) -> Result<(), Failure> {
        self.check_reminder(name)?;
        let (runtime, _) = self.reach()?;
        let stored = runtime.config().store.get(&Partition::actor(&self.id), &Reminder::key(name)).await?;
        // One that cannot be read is replaced.
        let stored = stored.and_then(|value| Reminder::decode(&value).ok());
        let same = |stored: Reminder| stored.schedule == schedule.print() && stored.operation == operation && stored.payload == payload;
        let kept = stored.is_some_and(same) && self.reminders.get(name).is_none_or(Option::is_none);
        if kept {
            // It may have been cancelled in this turn.
            self.reminders.remove(name);
            return Ok(());
        }
        self.start_timer(Some(name), schedule, operation, payload, true).await.map(drop)
    }

    /// Stops a timer of this actor; true when there was one.
    pub async fn cancel_timer(&mut self, name: &str, durable: bool) -> Result<bool, Failure> {
        let kind = if durable { "reminder" } else { "timer" };
        let call = match self.call(|| format!("cancel_{kind} {name}"), &[]).await? {
            Known::Told(told) => return log::read(&told?),
            Known::New(call) => call,
        };
        let existed = self.end_timer(name, durable).await;
        self.told(call, existed.as_ref().map(log::json));
        existed
    }

    async fn end_timer(&mut self, name: &str, durable: bool) -> Result<bool, Failure> {
        let (runtime, _) = self.reach()?;
        if durable {
            self.check_reminder(name)?;
            let existed = match self.reminders.get(name) {
                Some(changed) => changed.is_some(),
                None => runtime.config().store.get(&Partition::actor(&self.id), &Reminder::key(name)).await?.is_some(),
            };
            if existed {
                self.reminders.insert(name.to_owned(), None);
            }
            return Ok(existed);
        }
        let changed = self.timers.iter().rev().find_map(|change| match change {
            Change::Start { name: started, .. } if started == name => Some(true),
            Change::Cancel { name: cancelled } if cancelled == name => Some(false),
            _ => None,
        });
        let existed = changed.unwrap_or_else(|| runtime.timers().has(&self.id, name));
        if existed {
            self.timers.push(Change::Cancel { name: name.to_owned() });
        }
        Ok(existed)
    }

    fn check_reminder(&self, name: &str) -> Result<(), Failure> {
        if !self.durable {
            let message = format!("a reminder is stored with its actor, and {} is not durable: give it the facet durability", self.id);
            return Err(Failure::new(Code::Conflict, message));
        }
        if name.is_empty() || name.len() > MAX_REMINDER_NAME || name.chars().any(char::is_control) {
            let message = format!("a reminder's name has 1 to {MAX_REMINDER_NAME} bytes without control characters");
            return Err(Failure::invalid("name", message));
        }
        Ok(())
    }

    pub(super) fn reach(&self) -> Result<(Runtime, RequestContext), Failure> {
        let alone = || Failure::not_found("this actor runs without a node");
        let runtime = self.runtime.clone().ok_or_else(alone)?;
        Ok((runtime, RequestContext { namespace: self.id.namespace.clone(), ..self.ctx.clone() }))
    }

    /// The actor that a target means, or why there is none.
    fn find(&self, target: Whom<'_>) -> Result<(Runtime, Result<ActorId, Failure>), Failure> {
        let (runtime, ctx) = self.reach()?;
        let found = target.known.map_or_else(|| runtime.resolve(&ctx, target.name), |known| Ok(known.clone()));
        match found {
            Err(failure) if failure.code != Code::NotFound => Err(failure),
            found => Ok((runtime, found)),
        }
    }
}
