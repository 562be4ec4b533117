//! A workflow's inbox between its runs.

use super::*;
use crate::registry::Life;

impl Actor {
    /// Handles what is in a workflow's inbox between its runs. A run that was under way takes it itself.
    pub(super) async fn take_inbox(&mut self) -> Fate {
        let cell = self.cell.clone();
        let Some(inbox) = &cell.inbox else { return Fate::Stays };
        if self.body.live.is_none() && self.body.profile.durable {
            // To look at a run that sleeps does not wake it.
            for query in inbox.take_queries() {
                self.runtime.answer_query(&cell, query);
            }
            if inbox.is_empty() {
                return self.leave_memory();
            }
        }
        if self.body.live.is_none() {
            if self.body.seat.as_ref().is_some_and(|seat| seat.life() != Life::Up) {
                // It waits for its supervisor, as messages do.
                return Fate::Stays;
            }
            match self.bring_to_life().await {
                Ok(()) => {}
                Err(unfinished) => return self.refuse_inbox(unfinished).await,
            }
        }
        match self.go_on().await {
            Fate::Stays => {}
            leaves => return leaves,
        }
        while let Some(envelope) = inbox.take() {
            match Order::of(&envelope.message.operation) {
                // The run that started it is over, unless it stands still for want of its code: then its sender keeps the message.
                Some(_) if envelope.message.operation == children::ENDED => {
                    if self.body.live.is_some() {
                        envelope.answer(Ok(Payload::empty()));
                    }
                }
                Some(Order::Signal | Order::Query | Order::Start) | None => {
                    let fate = Box::pin(self.receive(envelope)).await;
                    if matches!(fate, Fate::Leaves(_)) {
                        return fate;
                    }
                }
                Some(order) => {
                    // The run that obeyed it may be over.
                    if let Some(answer) = self.obeyed(&envelope.message).await {
                        envelope.answer(answer);
                        continue;
                    }
                    let message = format!("there is no run of {} to {}", cell.id, order.verb());
                    envelope.answer(Err(Failure::new(Code::Conflict, message)));
                }
            }
        }
        Fate::Stays
    }

    /// The answer to an order that was given before.
    async fn obeyed(&mut self, message: &Message) -> Option<Result<Payload, Failure>> {
        let key = message.idempotency_key.as_deref().filter(|_| self.body.profile.durable)?;
        let stored = match self.stored_answer(key).await {
            Ok(stored) => stored?,
            Err(failure) => return Some(Err(failure)),
        };
        Some(given(stored, key, &fingerprint(&message.operation, &message.payload)))
    }

    async fn refuse_inbox(&mut self, unfinished: Unfinished) -> Fate {
        let cell = self.cell.clone();
        let (failure, exit) = match unfinished {
            Unfinished::Refused(failure) => (failure, None),
            Unfinished::Undone(failure) => return self.put_off_inbox(&failure).await,
            Unfinished::Ended(failure, exit) => (failure, Some(exit)),
            Unfinished::Parked => return self.park(),
        };
        let unheard = exit.is_some() || self.stands_still(&failure);
        while let Some(envelope) = cell.inbox.as_ref().and_then(|inbox| inbox.take()) {
            if envelope.reply.is_some() || !unheard {
                envelope.answer(Err(failure.clone()));
            } else if envelope.message.operation != children::ENDED {
                self.leave_undone(envelope, &failure).await;
            }
            // Of the end of a run that it has started its run hears when it goes on: the sender keeps that.
        }
        exit.map_or(Fate::Stays, |exit| self.end_if_up(exit))
    }

    /// The store kept what is in the inbox from being handled.
    async fn put_off_inbox(&mut self, failure: &Failure) -> Fate {
        let cell = self.cell.clone();
        let Some(inbox) = &cell.inbox else { return Fate::Stays };
        let mut again = Vec::new();
        while let Some(mut envelope) = inbox.take() {
            envelope.undone += 1;
            if envelope.reply.is_some() {
                envelope.answer(Err(failure.clone()));
            } else if envelope.undone < durability::tries(failure) {
                again.push(envelope);
            } else {
                self.leave_undone(envelope, failure).await;
            }
        }
        if let Some(times) = again.iter().map(|envelope| envelope.undone).max() {
            durability::settle_down(failure, times).await;
            again.into_iter().rev().for_each(|envelope| inbox.put_back(envelope));
            self.runtime.control(&cell, Control::Inbox);
        }
        Fate::Stays
    }
}
