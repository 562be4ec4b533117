//! Channels on brokers: the trait by which their messages leave the node, and which channel is where.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::RwLock;
use plexspaces_types::{ActorId, Failure, Name, Payload};

use crate::Application;
use crate::system::type_of;

/// The service whose operations a broker can carry out.
pub(crate) const SERVICE: &str = "channels";

/// What a selection says of a channel that the node keeps itself.
const STORE: &str = "store";

/// What a selection says of a channel that is the process group of its name.
const GROUP: &str = "process_group";

/// What a selection says of a channel that the node has in its memory.
const MEMORY: &str = "memory";

/// Selections that every node has.
const OWN: [&str; 3] = [STORE, MEMORY, GROUP];

/// Where a channel is.
pub(crate) enum Home {
    /// The node keeps it.
    Node,
    /// The node has it in its memory, and it ends with the node.
    Memory,
    /// It is the process group of its name.
    Group,
    /// A broker has it.
    Broker(Arc<dyn Broker>),
}

/// An operation of a channel.
#[derive(Clone, Copy, Debug)]
pub struct BrokerRequest<'a> {
    /// One of those of the service `channels`.
    pub operation: &'a str,
    /// Its arguments.
    pub payload: &'a Payload,
    /// The actor that asks; none for a request from outside.
    pub sender: Option<&'a ActorId>,
    /// The sender's name for the request, the same when it is asked again.
    pub idempotency_key: Option<&'a str>,
}

/// What carries out the operations of channels in place of the node: a client of a message broker.
#[async_trait]
pub trait Broker: Send + Sync + 'static {
    /// Carries out an operation, with the arguments and the replies of the service `channels`. What has changed something is acknowledged
    /// by the broker when this returns. `unavailable` means that nobody knows whether it has happened: whoever must be sure asks again, and
    /// a message that was sent before under the same id is dropped. Dropping the future gives the request up; a message that was received
    /// for it comes back when its visibility ends.
    async fn ask(&self, channel: &ActorId, request: BrokerRequest<'_>) -> Result<Payload, Failure>;
}

/// The brokers of a node, by the names under which configurations select them.
#[derive(Clone, Default)]
pub struct Brokers {
    /// Those that the node has.
    pub by_name: BTreeMap<String, Arc<dyn Broker>>,
    /// The one that has the channels for which no application selects another, or `process_group` or `memory`; without it the node keeps them itself.
    pub default: Option<String>,
}

impl Brokers {
    fn named(&self, name: &str) -> Option<&Arc<dyn Broker>> {
        self.by_name.get(name)
    }
}

/// A channel: tenant, namespace, name.
type ChannelKey = (Name, Name, String);

/// What applications have selected for a channel, and which.
type Selected = (String, BTreeSet<Name>);

/// Which channel is where.
#[derive(Default)]
pub(crate) struct Selections {
    brokers: Brokers,
    selected: RwLock<HashMap<ChannelKey, Selected>>,
}

impl Selections {
    pub(crate) fn new(brokers: Brokers) -> Self {
        Self { brokers, selected: RwLock::default() }
    }

    /// Where a channel is; anything that is no channel is the node's.
    pub(crate) fn home_of(&self, id: &ActorId) -> Home {
        if type_of(id) != Some(SERVICE) {
            return Home::Node;
        }
        let selected = self.selected.read();
        if self.brokers.default.is_none() && selected.is_empty() {
            return Home::Node;
        }
        let key = (id.tenant.clone(), id.namespace.clone(), id.key.as_str().to_owned());
        match selected.get(&key).map(|(name, _)| name).or(self.brokers.default.as_ref()) {
            Some(name) if name == GROUP => Home::Group,
            Some(name) if name == MEMORY => Home::Memory,
            Some(name) => self.brokers.named(name).cloned().map_or(Home::Node, Home::Broker),
            None => Home::Node,
        }
    }

    /// The name of the place where a channel is.
    pub(crate) fn backend_of(&self, tenant: &Name, namespace: &Name, channel: &str) -> String {
        let selected = self.selected.read();
        let key = (tenant.clone(), namespace.clone(), channel.to_owned());
        let name = selected.get(&key).map(|(name, _)| name).or(self.brokers.default.as_ref());
        name.map_or_else(|| STORE.to_owned(), Clone::clone)
    }

    /// Refuses an application that selects what this node does not have, or otherwise than another of its namespace.
    pub(crate) fn check(&self, application: &Application) -> Result<(), Failure> {
        let selected = self.selected.read();
        for (channel, wanted) in &application.channels {
            let field = format!("channels.{channel}");
            if !OWN.contains(&wanted.as_str()) && self.brokers.named(wanted).is_none() {
                let known: Vec<&str> = OWN.into_iter().chain(self.brokers.by_name.keys().map(String::as_str)).collect();
                let message = format!("this node has no channel backend {wanted:?}, it has {}", known.join(", "));
                return Err(Failure::invalid(field, message));
            }
            let key = (application.tenant.clone(), application.namespace.clone(), channel.clone());
            if let Some((backend, applications)) = selected.get(&key)
                && backend != wanted
                && let Some(other) = applications.iter().find(|other| **other != application.name)
            {
                let message =
                    format!("the application {other} of this namespace has the channel {channel:?} on {backend}, not on {wanted}");
                return Err(Failure::new(plexspaces_types::Code::Conflict, message).with_field(field));
            }
        }
        Ok(())
    }

    /// Takes what an application selects in place of what it has selected before.
    pub(crate) fn take(&self, application: &Application) {
        let Application { tenant, namespace, name, .. } = application;
        let mut selected = self.selected.write();
        release(&mut selected, tenant, namespace, name);
        for (channel, backend) in &application.channels {
            let key = (tenant.clone(), namespace.clone(), channel.clone());
            let (_, applications) = selected.entry(key).or_insert_with(|| (backend.clone(), BTreeSet::new()));
            applications.insert(name.clone());
        }
    }

    /// Forgets what an application has selected.
    pub(crate) fn forget(&self, tenant: &Name, namespace: &Name, name: &Name) {
        release(&mut self.selected.write(), tenant, namespace, name);
    }
}

/// What an application has selected stays where another has selected it too.
fn release(selected: &mut HashMap<ChannelKey, Selected>, tenant: &Name, namespace: &Name, application: &Name) {
    selected.retain(|(owner, place, _), (_, applications)| {
        if owner == tenant && place == namespace {
            applications.remove(application);
        }
        !applications.is_empty()
    });
}
