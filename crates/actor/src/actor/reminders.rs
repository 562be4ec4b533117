//! Reminders of an actor: handled, and due again, in one commit.

use super::*;

impl Actor {
    /// Handles a reminder, and says in the same commit when it is due again. One that the actor has changed meanwhile is not due any more; one
    /// that has failed too often is left out this time.
    pub(super) async fn remind(&mut self, due: &Due, envelope: &Envelope) -> Result<Payload, Unfinished> {
        let config = self.runtime.config();
        let stored = config.store.get(&Partition::actor(&self.cell.id), &Reminder::key(&due.name)).await;
        let stored = stored.map_err(|error| Unfinished::Undone(error.into()))?;
        let stored = stored.map(|value| Reminder::decode(&value)).transpose();
        let stored = stored.map_err(|error| Unfinished::Undone(unreadable(&self.cell, &error)))?;
        let Some(reminder) = stored.filter(|reminder| reminder.due_ms == due.at_ms) else {
            self.runtime.reminded(due).await;
            return Ok(Payload::empty());
        };
        let next = self.next_time(&reminder);
        let (mut effects, mut state, mut answer) = (Effects::default(), None, None);
        if envelope.failures < ATTEMPTS {
            let Reminder { operation, payload, .. } = reminder;
            let sender = Some(self.cell.id.clone());
            let message = Message { operation, kind: MessageKind::Cast, payload, sender, idempotency_key: None };
            let mut envelope = Envelope::new(envelope.ctx.clone(), message);
            let turn = self.start_turn(&mut envelope, Some((due.name.clone(), due.at_ms)), None).await?;
            let is_run = self.is_kept_run(&envelope.message);
            let want_state = self.wants_state() || is_run;
            let (reply, turn) = self.run_turn(turn, &envelope.message, want_state).await?;
            (effects, state) = (turn.into_effects(), reply.state);
            answer = is_run.then(|| (LATEST.to_owned(), [0; 32], reply.payload));
        }
        // What the turn itself says of this reminder counts.
        if !effects.reminders.iter().any(|(name, _)| *name == due.name) {
            effects.reminders.push((due.name.clone(), next));
        }
        self.settle(effects, state, answer, &envelope.ctx).await?;
        self.runtime.reminded(due).await;
        self.body.kind.metrics.handled.increment(1);
        Ok(Payload::empty())
    }

    /// A reminder as it is when it has fired; none when it does not fire again.
    pub(super) fn next_time(&self, reminder: &Reminder) -> Option<Reminder> {
        let clock = &self.runtime.config().clock;
        let wait = Schedule::parse(&reminder.schedule)?.wait(clock, true)?;
        Some(Reminder { due_ms: clock.now_ms().saturating_add(millis(wait)), ..reminder.clone() })
    }
}
