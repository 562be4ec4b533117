//! Who waits here for something to come to a channel, and the subscriptions by which Redis tells of it.

use std::collections::HashMap;

use parking_lot::Mutex;
use redis::{PushInfo, PushKind, Value};
use tokio::sync::watch;

/// Those who wait, by the name of the subscription.
#[derive(Default)]
pub(super) struct Wakes(Mutex<HashMap<String, (usize, watch::Sender<()>)>>);

impl Wakes {
    /// Somebody begins to wait; true for the first, who has to subscribe.
    pub(super) fn enter(&self, name: &str) -> (bool, watch::Receiver<()>) {
        let mut waiting = self.0.lock();
        let (count, news) = waiting.entry(name.to_owned()).or_default();
        *count += 1;
        (*count == 1, news.subscribe())
    }

    /// Somebody waits no more; true for the last, for whom the subscription can be ended.
    pub(super) fn leave(&self, name: &str) -> bool {
        let mut waiting = self.0.lock();
        let Some((count, _)) = waiting.get_mut(name) else { return false };
        *count -= 1;
        let is_last = *count == 0;
        if is_last {
            waiting.remove(name);
        }
        is_last
    }

    /// Whether somebody waits.
    pub(super) fn is_awaited(&self, name: &str) -> bool {
        self.0.lock().contains_key(name)
    }

    /// What somebody waits for.
    pub(super) fn names(&self) -> Vec<String> {
        self.0.lock().keys().cloned().collect()
    }

    /// Takes what Redis says by itself. Where a connection was lost or a subscription has begun, anything may have come.
    pub(super) fn hear(&self, push: &PushInfo) {
        let waiting = self.0.lock();
        match (&push.kind, push.data.first()) {
            (PushKind::Message | PushKind::Subscribe, Some(Value::BulkString(name))) => {
                let named = std::str::from_utf8(name).ok().and_then(|name| waiting.get(name));
                named.iter().for_each(|(_, news)| news.send_replace(()));
            }
            _ => waiting.values().for_each(|(_, news)| news.send_replace(())),
        }
    }
}
