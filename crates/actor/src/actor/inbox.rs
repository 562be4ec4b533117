//! A workflow's inbox between its runs.

use super::*;

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
                return if cell.mailbox.end_if_empty() { Fate::Leaves(None) } else { Fate::Stays };
            }
        }
        if self.body.live.is_none() {
            match self.bring_to_life().await {
                Ok(()) => {}
                Err(unfinished) => return self.refuse_inbox(unfinished),
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
                    let message = format!("there is no run of {} to {}", cell.id, order.verb());
                    envelope.answer(Err(Failure::new(Code::Conflict, message)));
                }
            }
        }
        Fate::Stays
    }

    fn refuse_inbox(&mut self, unfinished: Unfinished) -> Fate {
        let cell = self.cell.clone();
        let (failure, exit) = match unfinished {
            Unfinished::Refused(failure) => (failure, None),
            Unfinished::Ended(failure, exit) => (failure, Some(exit)),
            Unfinished::Parked => return self.park(),
        };
        while let Some(envelope) = cell.inbox.as_ref().and_then(|inbox| inbox.take()) {
            envelope.answer(Err(failure.clone()));
        }
        exit.map_or(Fate::Stays, |exit| self.end(exit))
    }
}
