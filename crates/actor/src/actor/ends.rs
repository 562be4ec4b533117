//! How an actor's incarnations end, and how it leaves the node.

use std::collections::VecDeque;

use super::*;
use crate::registry::Life;
use crate::runtime::{not_spawned, over};

impl Actor {
    /// Whether its supervisor has to start it first: its last incarnation is over, and the supervisor knows.
    pub(super) fn is_down(&self) -> bool {
        self.body.seat.is_some() && self.cell.mailbox.is_held()
    }

    /// Ends the incarnation, if there is one: of one end its supervisor hears once.
    pub(super) fn end_if_up(&mut self, exit: Exit) -> Fate {
        if self.is_down() {
            self.drop_code();
            return Fate::Stays;
        }
        self.end(exit)
    }

    /// Somebody kills it. What its supervisor has ordered meanwhile is not obeyed any more, and that is told.
    pub(super) fn killed(&mut self) -> Fate {
        if self.is_down() && !self.cell.mailbox.revoke(|control| matches!(control, Control::Start)) {
            return Fate::Stays;
        }
        self.end(Exit::Kill)
    }

    /// The incarnation is over. A supervised actor waits for its supervisor; another that failed comes back with its next message.
    pub(super) fn end(&mut self, exit: Exit) -> Fate {
        self.drop_code();
        if exit == Exit::Kill {
            self.cell.mailbox.obeyed();
        }
        self.runtime.timers().clear(&self.cell);
        self.body.has_ended = true;
        let failed = !exit.is_normal();
        if failed {
            if let Some(past) = &mut self.body.past {
                (past.carried, past.answers) = (None, Answers::default());
            }
            let counters = &self.cell.counters;
            counters.failed.fetch_add(1, Ordering::Relaxed);
        }
        if let Some(seat) = &self.body.seat {
            self.runtime.announce(&self.cell.id, &exit);
            self.cell.mailbox.hold(true);
            seat.exited(exit);
            return Fate::Stays;
        }
        if self.body.profile.temporary || !matches!(exit, Exit::Error(_)) {
            self.body.kind.ends(&self.cell.id.key);
            return Fate::Leaves(Some(exit));
        }
        self.runtime.announce(&self.cell.id, &exit);
        let application = self.body.kind.application.clone();
        let now = crate::now();
        if self.past().restarts.crashed(now, application.intensity) {
            let until = self.runtime.config().clock.now_ms().saturating_add(millis(application.intensity.window));
            application.degraded_until_ms.store(until, Ordering::Relaxed);
            tracing::error!(actor_id = %self.cell.id, tenant = %self.cell.id.tenant, app = %application.name, "the actor failed too often: its application is degraded");
        }
        // When its failures are forgotten, so is the actor.
        self.runtime.watch_idle(&self.cell, application.intensity.window);
        Fate::Stays
    }

    /// What waited is handled, and no more comes.
    pub(super) fn drained(&mut self) -> Fate {
        self.end(Exit::Shutdown);
        Fate::Leaves(Some(Exit::Shutdown))
    }

    /// Leaves memory, unless something waits or has a timer, which would be gone with it.
    pub(super) fn leave_memory(&self) -> Fate {
        let has_timers = self.runtime.timers().has_any(&self.cell);
        if !has_timers && self.cell.mailbox.end_if_empty() { Fate::Leaves(None) } else { Fate::Stays }
    }

    /// The actor has no place in the node any more.
    pub(super) async fn leave(mut self, exit: Option<&Exit>) {
        // The code goes before a successor can come.
        self.drop_code();
        let (runtime, cell) = (self.runtime.clone(), self.cell.clone());
        if self.body.profile.temporary {
            runtime.attachments().restore(&cell.id, None);
        }
        if exit.is_some() {
            // Whoever sends something waits meanwhile: a successor must not hear it before what its sender has sent earlier is a dead letter.
            cell.mailbox.close();
            let messages = cell.mailbox.empty();
            self.lay_down(messages, exit).await;
        }
        let (mut messages, controls) = cell.mailbox.end();
        let succeeded = self.succeeded || controls.iter().any(|control| matches!(control, Control::Start));
        // It is told of after it can be found no more: who ties itself to it later sees that it has ended.
        if let Some(exit) = exit {
            runtime.announce(&cell.id, exit);
            // Nobody takes it up: who puts something in from now on sees that the actor has ended.
            while let Some(envelope) = cell.inbox.as_ref().and_then(|inbox| inbox.take()) {
                messages.push_back(envelope);
            }
        }
        runtime.timers().forget(&cell);
        runtime.remove(&cell);
        if succeeded {
            // Where that is impossible its supervisor has ended.
            let _ = runtime.order(&cell.id, Control::Start);
        }
        self.lay_down(messages, exit).await;
    }

    /// What waited when the actor ended, and nobody will handle: who asked is told, the rest are dead letters.
    async fn lay_down(&mut self, messages: VecDeque<Box<Envelope>>, exit: Option<&Exit>) {
        let (asked, told): (Vec<_>, Vec<_>) = messages.into_iter().partition(|envelope| envelope.reply.is_some());
        for envelope in asked {
            envelope.answer(Err(unhandled(&self.cell.id, &self.body, exit)));
        }
        for envelope in told {
            // A reminder is in the node's index; of the end of a run whoever started it hears when it goes on. Both come again.
            if envelope.reminder.is_none() && envelope.message.operation != children::ENDED {
                self.runtime.bury(&self.cell.id, *envelope, &unhandled(&self.cell.id, &self.body, exit)).await;
            }
        }
    }

    /// It has ended, and its supervisor does not start it by itself. Who waits is answered, and nobody is there.
    pub(super) async fn rest(&mut self, seat: &Arc<Seat>) -> Fate {
        // Another supervisor may have come.
        let is_its = self.body.seat.as_ref().is_some_and(|own| Arc::ptr_eq(own, seat));
        while is_its && seat.life() == Life::Resting {
            let mut left = self.cell.mailbox.empty();
            while let Some(envelope) = self.cell.inbox.as_ref().and_then(|inbox| inbox.take()) {
                left.push_back(envelope);
            }
            let failure = over(&self.cell.id, Life::Resting);
            for envelope in left {
                if envelope.reply.is_some() {
                    envelope.answer(Err(failure.clone()));
                } else {
                    self.leave_undone(envelope, &failure).await;
                }
            }
            if self.cell.mailbox.end_if_empty() {
                return Fate::Leaves(None);
            }
            if self.cell.mailbox.len() == 0 {
                // What overtakes messages comes first.
                self.runtime.control(&self.cell, Control::Rest(seat.clone()));
                break;
            }
        }
        Fate::Stays
    }
}

/// Why a message was not handled that waited when its actor ended.
fn unhandled(id: &ActorId, body: &Body, exit: Option<&Exit>) -> Failure {
    match body.seat.as_ref().filter(|seat| seat.has_ended()) {
        Some(seat) => over(id, seat.life()),
        None if body.kind.needs_spawn(&id.key) => not_spawned(id),
        None => {
            let reason = exit.map_or_else(String::new, |exit| format!(" ({exit})"));
            Failure::new(Code::Unavailable, format!("the actor {id} stopped{reason} before it handled the message"))
        }
    }
}
