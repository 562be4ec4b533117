//! How an actor goes on with other code, and how it leaves memory.

use super::*;

impl Actor {
    /// Goes on with other code. The state of a durable actor is in the store; another's is carried over.
    pub(super) async fn replace(&mut self, kind: Arc<Kind>) -> Fate {
        self.cell.replaced.store(false, Ordering::Relaxed);
        let profile = kind.profile(&self.cell.id.key).clone();
        let was_live = self.body.live.is_some();
        if self.body.live.as_ref().is_some_and(|live| !(live.activation.is_some() && profile.durable)) {
            let carried = self.take_state().await.ok();
            let code = self.body.kind.factory.code();
            self.past().carried = carried.map(|state| (code, state));
        }
        // Other code need not do what this one did.
        self.keep_state().await;
        self.drop_code();
        let seat = kind.seat(&self.cell.id.key).cloned();
        if let Some(past) = &mut self.body.past {
            past.restarts = Restarts::default();
        }
        (self.body.kind, self.body.profile) = (kind, profile);
        // A new supervisor starts it; until then its messages wait.
        let seated = seat.is_some();
        self.body.seat = seat;
        self.cell.mailbox.hold(seated);
        if seated || (!was_live && self.body.past.is_none()) {
            return Fate::Stays;
        }
        match self.bring_to_life().await {
            Err(Unfinished::Ended(_, exit)) => self.end(exit),
            Ok(()) | Err(Unfinished::Refused(_) | Unfinished::Undone(_) | Unfinished::Parked) => Fate::Stays,
        }
    }

    /// Gives an instance that has grown a successor with the same state.
    pub(super) async fn replace_grown(&mut self) -> Fate {
        let Some(live) = self.body.live.as_ref() else { return Fate::Stays };
        let before = live.instance.memory_bytes();
        if live.activation.is_none() {
            match self.take_state().await {
                Ok(state) => {
                    let code = self.body.kind.factory.code();
                    self.past().carried = Some((code, state));
                }
                // It works on as it is; its next turn tries again.
                Err(_) => return Fate::Stays,
            }
        }
        self.drop_code();
        match self.bring_to_life().await {
            Err(Unfinished::Ended(_, exit)) => return self.end(exit),
            Err(Unfinished::Parked) => {}
            Err(Unfinished::Refused(failure) | Unfinished::Undone(failure)) => {
                tracing::warn!(actor_id = %self.cell.id, %failure, "an instance that had grown was not replaced at once");
            }
            Ok(()) => {
                let after = self.body.live.as_ref().map_or(0, |live| live.instance.memory_bytes());
                tracing::debug!(actor_id = %self.cell.id, tenant = %self.cell.id.tenant, before, after, "an instance that had grown was replaced");
            }
        }
        Fate::Stays
    }

    /// Leaves memory unless it was used of late or has timers that would end with it.
    pub(super) async fn passivate(&mut self) -> Fate {
        let fate = self.leave_unless_needed().await;
        if self.cell.told.swap(false, Ordering::Relaxed) {
            self.runtime.left_or_stayed();
        }
        fate
    }

    async fn leave_unless_needed(&mut self) -> Fate {
        let now = crate::now();
        if self.body.pending.is_some() {
            // Others are told to make room before it is again.
            self.cell.counters.used_ms.store(self.runtime.age_ms(now), Ordering::Relaxed);
            if let Some(idle) = self.body.profile.idle_timeout {
                self.runtime.watch_idle(&self.cell, idle);
            }
            return Fate::Stays;
        }
        let waits = self.body.past.as_ref().is_some_and(|past| past.restarts.wait(now).is_some());
        if waits || self.cell.mailbox.len() > 0 || self.runtime.timers().has_any(&self.cell) {
            let again = self.body.profile.idle_timeout.unwrap_or(self.body.kind.application.intensity.window);
            self.runtime.watch_idle(&self.cell, again);
            return Fate::Stays;
        }
        self.forget().await;
        self.keep().await;
        self.drop_code();
        if self.cell.mailbox.end_if_empty() { Fate::Leaves(None) } else { Fate::Stays }
    }
}
