//! Reminders: the index of what is due, and the wheel's part of it.

use std::collections::HashSet;

use bytes::Bytes;
use plexspaces_durable::Due;
use plexspaces_store::{Batch, Partition, Range};

use super::*;
use crate::actor::{LOOK_AFTER, WAKE};

/// How far ahead reminders are in the wheel. Later ones are on disk only.
const HORIZON: Duration = Duration::from_secs(10 * 60);

/// How often the index is read.
const PERIOD: Duration = Duration::from_secs(5 * 60);

/// When a reminder whose actor could not take it is tried again.
const AGAIN: Duration = Duration::from_secs(5);

/// Entries of the index that are read or written at once.
const AT_ONCE: usize = 500;

#[derive(Default)]
pub(super) struct Reminders {
    /// The entries that are in the wheel.
    armed: Mutex<HashSet<Bytes>>,
    look: Notify,
}

impl Reminders {
    /// The node ends.
    pub(super) fn end(&self) {
        self.armed.lock().clear();
    }

    /// Entries in the wheel.
    pub(super) fn armed(&self) -> usize {
        self.armed.lock().len()
    }

    /// Lets the index be read soon, since actors may have come for which it has something.
    pub(super) fn look(&self) {
        self.look.notify_one();
    }
}

/// What notes in the index what will be due.
pub(crate) fn announcements(due: &[Due]) -> impl Iterator<Item = Batch> {
    due.chunks(AT_ONCE).map(|part| {
        let mut batch = Batch::new(index());
        for due in part {
            batch.put(due.key(), Bytes::new());
        }
        batch
    })
}

impl Runtime {
    /// Notes in the index what will be due.
    pub(crate) async fn announce_reminders(&self, due: &[Due]) -> Result<(), Failure> {
        for batch in announcements(due) {
            self.0.config.store.commit(batch).await?;
        }
        Ok(())
    }

    /// Takes what is due soon into the wheel.
    pub(crate) fn arm(&self, due: Vec<Due>) {
        let now = self.0.config.clock.now_ms();
        for due in due {
            self.arm_in(Duration::from_millis(due.at_ms.saturating_sub(now)), due);
        }
    }

    fn arm_in(&self, wait: Duration, due: Due) {
        if wait <= HORIZON && self.0.reminders.armed.lock().insert(due.key()) {
            self.0.timers.remind(due, wait);
        }
    }

    /// Something need not be looked after any more.
    pub(crate) async fn disarm(&self, due: &Due) {
        self.0.reminders.armed.lock().remove(&due.key());
        self.0.timers.forget_reminder(due);
        self.reminded(due).await;
    }

    /// A reminder is dealt with. Should its entry stay in the index, it will be found that there is nothing to do.
    pub(crate) async fn reminded(&self, due: &Due) {
        let mut batch = Batch::new(index());
        batch.delete(due.key());
        if let Err(error) = self.0.config.store.commit(batch).await {
            tracing::warn!(actor_id = %due.actor, reminder = due.name, %error, "the index of reminders keeps an entry too many");
        }
    }

    /// Sends a due reminder to its actor.
    pub(super) async fn fire_reminder(&self, due: Due) {
        if due.name == LOOK_AFTER || due.name == WAKE {
            if !self.0.reminders.armed.lock().remove(&due.key()) {
                return;
            }
            // Without its application there is nobody to look after; what there is of it stays for a later deployment.
            let _ = self.order(&due.actor.clone(), Control::LookAfter(Box::new(due)));
            return;
        }
        let scope = (due.actor.tenant.clone(), due.actor.namespace.clone());
        let message =
            Message { operation: String::new(), kind: MessageKind::Cast, payload: Payload::empty(), sender: None, idempotency_key: None };
        let mut envelope = envelope(RequestContext::external(scope.0, scope.1, "reminder"), message, None);
        envelope.reminder = Some(Box::new(due.clone()));
        match self.deliver(&due.actor, envelope, Wait::No).await {
            Ok(()) => {
                self.0.reminders.armed.lock().remove(&due.key());
            }
            // Its application is not deployed. What there is of it stays for a later deployment.
            Err(failure) if failure.code == Code::NotFound => {
                self.0.reminders.armed.lock().remove(&due.key());
            }
            Err(failure) => {
                tracing::debug!(actor_id = %due.actor, reminder = due.name, %failure, "a reminder waits");
                self.0.timers.remind(due, AGAIN);
            }
        }
    }

    /// Reads the index again and again, as far as it is due soon.
    pub(super) async fn watch_reminders(self) {
        loop {
            if let Err(failure) = self.read_index().await {
                tracing::error!(%failure, "the index of reminders could not be read");
            }
            tokio::select! {
                () = tokio::time::sleep(PERIOD) => {}
                () = self.0.reminders.look.notified() => {}
            }
        }
    }

    async fn read_index(&self) -> Result<(), Failure> {
        let config = &self.0.config;
        let until = config.clock.now_ms().saturating_add(u64::try_from(HORIZON.as_millis()).unwrap_or(u64::MAX));
        let mut range = Range { start: Bytes::new(), end: Some(Due::after(until)) };
        loop {
            let page = config.store.scan(&index(), range.clone(), AT_ONCE).await?;
            let due = page.entries.iter().filter_map(|(key, _)| Due::parse(key));
            // What an earlier node may have left undone is seen to at once.
            let (left, due): (Vec<Due>, Vec<Due>) = due.partition(|due| due.name == LOOK_AFTER);
            left.into_iter().for_each(|due| self.arm_in(Duration::ZERO, due));
            self.arm(due);
            match page.entries.last() {
                Some((last, _)) if page.more => range = range.after(last),
                _ => return Ok(()),
            }
        }
    }
}

fn index() -> Partition {
    Partition::node("reminders")
}
