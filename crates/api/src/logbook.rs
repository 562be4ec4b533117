//! The last lines of the node's log, in memory, for those who look and those who follow.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use futures::stream::{self, Stream, StreamExt as _};
use parking_lot::Mutex;
use plexspaces_types::{Clock, Name};
use tokio::sync::broadcast::{self, error::RecvError};
use tracing::Level;

/// How many lines a follower may be behind before it misses some.
const FOLLOWER_LINES: usize = 1024;

/// One line.
#[derive(Clone, Debug)]
pub struct LogEntry {
    /// When, in milliseconds since the Unix epoch.
    pub timestamp_ms: u64,
    /// How important.
    pub level: Level,
    /// The part of the node, or the actor's code, that wrote it.
    pub source: String,
    /// The text.
    pub message: String,
    /// Whose it is; `None` for the node's own, which every tenant's operator may see.
    pub tenant: Option<Name>,
    /// The application that it is about.
    pub app: Option<String>,
    /// The actor that it is about, in its printed form.
    pub actor_id: Option<String>,
    /// The request that caused it.
    pub trace_id: Option<String>,
    /// What else was recorded with it.
    pub fields: BTreeMap<String, String>,
}

/// Which lines somebody wants.
#[derive(Clone, Debug)]
pub struct LogFilter {
    /// Lines of this tenant, and the node's own unless `app` or `actor_id` is set.
    pub tenant: Name,
    /// Only those of this application.
    pub app: Option<String>,
    /// Only those of this actor.
    pub actor_id: Option<String>,
}

impl LogFilter {
    fn admits(&self, entry: &LogEntry) -> bool {
        entry.tenant.as_ref().is_none_or(|tenant| *tenant == self.tenant)
            && self.app.as_ref().is_none_or(|app| entry.app.as_ref() == Some(app))
            && self.actor_id.as_ref().is_none_or(|id| entry.actor_id.as_ref() == Some(id))
    }
}

/// The last lines. Writing never waits: who follows too slowly misses lines and is told how many. Clones are the same book.
#[derive(Clone)]
pub struct LogBook(Arc<Inner>);

struct Inner {
    capacity: usize,
    clock: Clock,
    lines: Mutex<VecDeque<Arc<LogEntry>>>,
    followers: broadcast::Sender<Arc<LogEntry>>,
}

impl LogBook {
    /// A book that keeps `capacity` lines.
    #[must_use]
    pub fn new(capacity: usize, clock: Clock) -> Self {
        let followers = broadcast::Sender::new(FOLLOWER_LINES);
        Self(Arc::new(Inner { capacity, clock, lines: Mutex::default(), followers }))
    }

    /// Adds a line.
    pub fn push(&self, entry: LogEntry) {
        let entry = Arc::new(entry);
        let mut lines = self.0.lines.lock();
        if lines.len() >= self.0.capacity {
            lines.pop_front();
        }
        lines.push_back(entry.clone());
        // Without followers there is nobody to tell. It is sent under the lock, so that a new follower neither misses a line nor gets it
        // twice.
        let _ = self.0.followers.send(entry);
    }

    /// The last `lines` lines that the filter admits, oldest first, and with `follow` all later ones, for ever.
    pub fn tail(&self, filter: LogFilter, lines: usize, follow: bool) -> impl Stream<Item = Arc<LogEntry>> + Send + use<> {
        let kept = self.0.lines.lock();
        let receiver = follow.then(|| self.0.followers.subscribe());
        let mut last: Vec<_> = kept.iter().rev().filter(|entry| filter.admits(entry)).take(lines).cloned().collect();
        drop(kept);
        last.reverse();
        let clock = self.0.clock.clone();
        let later = stream::unfold((receiver, filter, clock), |(receiver, filter, clock)| async move {
            let mut receiver = receiver?;
            loop {
                match receiver.recv().await {
                    Ok(entry) if filter.admits(&entry) => return Some((entry, (Some(receiver), filter, clock))),
                    Ok(_) => {}
                    Err(RecvError::Lagged(count)) => {
                        return Some((missed(count, clock.now_ms()), (Some(receiver), filter, clock)));
                    }
                    Err(RecvError::Closed) => return None,
                }
            }
        });
        stream::iter(last).chain(later)
    }
}

fn missed(count: u64, timestamp_ms: u64) -> Arc<LogEntry> {
    Arc::new(LogEntry {
        timestamp_ms,
        level: Level::WARN,
        source: "plexspaces_api::logbook".to_owned(),
        message: format!("{count} lines were left out because this follower is too slow"),
        tenant: None,
        app: None,
        actor_id: None,
        trace_id: None,
        fields: BTreeMap::new(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(message: &str, app: Option<&str>) -> LogEntry {
        let missed = missed(0, 0);
        LogEntry { message: message.to_owned(), app: app.map(str::to_owned), ..(*missed).clone() }
    }

    fn all() -> LogFilter {
        LogFilter { tenant: Name::default_scope(), app: None, actor_id: None }
    }

    #[tokio::test]
    async fn the_last_lines_come_first_and_new_ones_follow() {
        let book = LogBook::new(3, Clock::manual(0));
        for line in ["1", "2", "3", "4"] {
            book.push(entry(line, None));
        }
        let mut tail = Box::pin(book.tail(all(), 2, true));
        book.push(entry("5", None));
        for expected in ["3", "4", "5"] {
            assert_eq!(tail.next().await.unwrap().message, expected);
        }
        let kept: Vec<_> = book.tail(all(), 10, false).map(|entry| entry.message.clone()).collect().await;
        assert_eq!(kept, ["3", "4", "5"]);
    }

    #[tokio::test]
    async fn a_filter_hides_other_applications_and_other_tenants() {
        let book = LogBook::new(10, Clock::manual(0));
        book.push(entry("node", None));
        book.push(entry("a", Some("a")));
        book.push(LogEntry { tenant: Name::new("tenant", "other").ok(), ..entry("secret", Some("a")) });
        let messages = |filter| book.tail(filter, 10, false).map(|entry| entry.message.clone()).collect::<Vec<_>>();
        assert_eq!(messages(all()).await, ["node", "a"]);
        assert_eq!(messages(LogFilter { app: Some("a".to_owned()), ..all() }).await, ["a"]);
    }

    #[tokio::test]
    async fn a_slow_follower_is_told_what_it_missed() {
        let book = LogBook::new(10, Clock::manual(0));
        let mut tail = Box::pin(book.tail(all(), 0, true));
        for _ in 0..FOLLOWER_LINES + 5 {
            book.push(entry("x", None));
        }
        assert_eq!(tail.next().await.unwrap().message, "5 lines were left out because this follower is too slow");
        assert_eq!(tail.next().await.unwrap().message, "x");
    }
}
