//! The channels of a namespace as their operators see them: an index of the names under which something was sent, published or subscribed to.
//!
//! A channel is wherever its backend is, which need not know what others there are. So a node writes the name into its store before the first
//! message goes there.

use std::collections::BTreeMap;

use futures::StreamExt as _;
use plexspaces_store::{Batch, Partition, Range};
use serde::{Deserialize, Serialize};

use super::*;
use crate::broker::SERVICE;

/// The operation that lists channels. It is asked of the service as a whole.
pub(super) const LIST: &str = "list";

/// Names that are remembered to be in the index.
const REMEMBERED: usize = 100_000;

/// Channels that one list shows at most.
const MAX_PAGE: usize = 1000;

/// Channels that are asked side by side how they stand, and for how long all of them.
const ABREAST: usize = 16;
const PATIENCE: Duration = Duration::from_secs(5);

/// A half of a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Half {
    Queue,
    Topic,
}

impl Half {
    /// The half that an operation begins.
    fn begun_by(operation: &str) -> Option<Self> {
        match operation {
            "send" => Some(Self::Queue),
            "publish" | "subscribe" | "next" => Some(Self::Topic),
            _ => None,
        }
    }

    fn letter(self) -> u8 {
        match self {
            Self::Queue => b'q',
            Self::Topic => b't',
        }
    }
}

/// What is known to be in the index.
#[derive(Default)]
pub(super) struct Listed(RwLock<HashMap<ActorId, Vec<Half>>>);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct List {
    #[serde(default)]
    prefix: String,
    #[serde(default)]
    after: Option<String>,
    #[serde(default)]
    limit: Option<usize>,
}

/// A channel in a list.
#[derive(Serialize)]
struct Shown {
    channel: String,
    kind: &'static str,
    backend: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    depth: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    published: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// How a channel stands.
#[derive(Deserialize)]
struct Status {
    ready: u64,
    delayed: u64,
    in_flight: u64,
    published: u64,
}

fn index(tenant: &Name, namespace: &Name) -> Partition {
    Partition::namespace(tenant, namespace, SERVICE)
}

/// Names hold no control characters.
fn index_key(name: &str, half: Half) -> Vec<u8> {
    [name.as_bytes(), &[0, half.letter()]].concat()
}

fn parse_index_key(key: &[u8]) -> Option<(&str, u8)> {
    let (half, rest) = key.split_last()?;
    let (0, name) = rest.split_last().map(|(zero, name)| (*zero, name))? else { return None };
    Some((std::str::from_utf8(name).ok()?, *half))
}

impl Runtime {
    /// Makes sure that a channel is found in lists before an operation begins it.
    pub(super) async fn list_channel(&self, id: &ActorId, operation: &str) -> Result<(), Failure> {
        let Some(half) = Half::begun_by(operation).filter(|_| system::type_of(id) == Some(SERVICE)) else { return Ok(()) };
        if self.0.listed.0.read().get(id).is_some_and(|halves| halves.contains(&half)) {
            return Ok(());
        }
        let (partition, key) = (index(&id.tenant, &id.namespace), index_key(id.key.as_str(), half));
        if self.0.config.store.get(&partition, &key).await?.is_none() {
            let mut batch = Batch::new(partition);
            batch.put(key, bytes::Bytes::new());
            self.0.config.store.commit(batch).await?;
        }
        let mut listed = self.0.listed.0.write();
        if listed.len() >= REMEMBERED {
            listed.clear();
        }
        listed.entry(id.clone()).or_default().push(half);
        Ok(())
    }

    /// A page of the channels of a namespace in the order of their names, with where each is and how much there is in it. One whose place does
    /// not answer in time is shown with the error.
    pub(super) async fn list_channels(&self, ctx: &RequestContext, payload: &Payload) -> Result<Payload, Failure> {
        let unreadable =
            |error: serde_json::Error| Failure::new(Code::InvalidArgument, format!("expected the arguments of a list: {error}"));
        let List { prefix, after, limit } = serde_json::from_slice(payload.as_bytes()).map_err(unreadable)?;
        let limit = limit.unwrap_or(MAX_PAGE);
        if !(1..=MAX_PAGE).contains(&limit) {
            return Err(Failure::invalid("limit", format!("limit is {limit}, expected 1 to {MAX_PAGE}")));
        }
        let (names, more) = self.channel_names(ctx, &prefix, after.as_deref(), limit).await?;
        let kind = self.0.systems.kind(SERVICE)?;
        let asked = RequestContext { deadline: Some(crate::now() + PATIENCE), ..ctx.clone() };
        let next = names.keys().next_back().filter(|_| more).cloned();
        let shown = futures::stream::iter(names).map(|(name, halves)| self.show_channel(&asked, kind, name, halves)).buffered(ABREAST);
        let shown: Vec<Shown> = shown.collect().await;
        let reply = serde_json::to_string(&serde_json::json!({"channels": shown, "next": next}));
        reply.map(Payload::Json).map_err(|error| Failure::new(Code::Internal, format!("a reply could not be written: {error}")))
    }

    async fn show_channel(&self, ctx: &RequestContext, kind: SystemType, name: String, halves: Vec<u8>) -> Shown {
        let status = async {
            let id = kind.identity(&ctx.tenant, &ctx.namespace, &name)?;
            let request = Request { operation: "status".to_owned(), payload: Payload::Json("{}".to_owned()), idempotency_key: None };
            let reply = self.ask_from(Place::Own, ctx.clone(), id, message(request, MessageKind::Call)).await?;
            let unreadable = |error| Failure::new(Code::Internal, format!("the status cannot be read: {error}"));
            serde_json::from_slice::<Status>(reply.as_bytes()).map_err(unreadable)
        };
        let status = status.await;
        let kind = match halves.as_slice() {
            b"q" => "queue",
            b"t" => "topic",
            _ => "both",
        };
        let backend = self.0.channels.backend_of(&ctx.tenant, &ctx.namespace, &name);
        match status {
            Ok(Status { ready, delayed, in_flight, published }) => {
                let depth = ready.saturating_add(delayed).saturating_add(in_flight);
                Shown { channel: name, kind, backend, depth: Some(depth), published: Some(published), error: None }
            }
            Err(failure) => Shown { channel: name, kind, backend, depth: None, published: None, error: Some(failure.message) },
        }
    }

    /// Names with the letters of their halves, and whether there are more.
    async fn channel_names(
        &self,
        ctx: &RequestContext,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<(BTreeMap<String, Vec<u8>>, bool), Failure> {
        let partition = index(&ctx.tenant, &ctx.namespace);
        let mut range = Range::prefix(prefix.as_bytes());
        if let Some(after) = after {
            // Behind both halves of it.
            range = range.after(&[after.as_bytes(), &[0, u8::MAX]].concat());
        }
        let mut names: BTreeMap<String, Vec<u8>> = BTreeMap::new();
        loop {
            let page = self.0.config.store.scan(&partition, range.clone(), limit.saturating_add(1)).await?;
            for (key, _) in &page.entries {
                let unreadable = || Failure::new(Code::StorageFailed, "a row of the list of channels cannot be read");
                let (name, half) = parse_index_key(key).ok_or_else(unreadable)?;
                if names.len() >= limit && !names.contains_key(name) {
                    return Ok((names, true));
                }
                names.entry(name.to_owned()).or_default().push(half);
            }
            match page.entries.last() {
                Some((last, _)) if page.more => range = range.after(last),
                _ => return Ok((names, false)),
            }
        }
    }
}
