//! Supervision trees of native actors, by the same supervisor as those of deployed applications.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use plexspaces_actor::supervision::{Intensity, Restart, Strategy};
use plexspaces_actor::{
    Child, ChildSpec, Description, Facet, Factory, Fault, Instance, Level, Profile, Runtime, Spec, SupervisionEvent, SupervisorSpec, Turn,
    to_the_end,
};
use plexspaces_types as types;
use plexspaces_types::{Failure, Key, Name};
use serde_json::{Map, Value};
use tokio::runtime::Handle;

use crate::locator::name;
use crate::native::NativeType;
use crate::{RequestContext, ServiceLocator};

/// How long a child may go on with its present message when it is to stop, unless it says otherwise.
const SHUTDOWN: Duration = Duration::from_secs(5);

/// A supervisor: actors and supervisors that run from its start, and which of them are restarted when one fails. The rules are those of
/// Erlang/OTP.
///
/// ```
/// # use std::time::Duration;
/// # use plexspaces_sdk::{
/// #     ActorContext, BehaviorError, Message, NodeBuilder, RequestContext, Strategy, Supervised, Supervisor, Value, call_message,
/// #     gen_server_actor, handler, json, plexspaces_handlers,
/// # };
/// # #[gen_server_actor]
/// # struct Worker {}
/// # #[plexspaces_handlers]
/// # impl Worker {
/// #     #[handler("who")]
/// #     async fn who(&mut self, ctx: &ActorContext, _msg: &Message) -> Result<Value, BehaviorError> {
/// #         Ok(json!(ctx.self_id().to_string()))
/// #     }
/// # }
/// # #[tokio::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let node = NodeBuilder::new("node1").build().await;
/// let locator = node.service_locator();
/// locator.actor_registry().register("worker", |_ctx| Worker {})?;
/// let ctx = RequestContext::new_without_auth("acme".into(), "default".into());
/// let pool = Supervisor::new("pool")
///     .strategy(Strategy::OneForAll)
///     .intensity(3, Duration::from_secs(10))
///     .child(Supervised::new("worker", "w1"))
///     .child(Supervised::new("worker", "w2"));
/// let pool = pool.start(&ctx, locator.clone()).await?;
/// let worker = locator.actor_ref(&ctx, "worker/w1")?;
/// worker.ask(call_message(json!({"op": "who"})), Duration::from_secs(5)).await?;
/// pool.stop().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use = "a supervisor does nothing until it is started"]
pub struct Supervisor {
    name: String,
    strategy: Strategy,
    intensity: Intensity,
    restart: Restart,
    children: Vec<SupervisorChild>,
}

/// An actor of a registered type that a supervisor runs.
#[derive(Clone, Debug)]
pub struct Supervised {
    actor_type: String,
    key: String,
    restart: Restart,
    shutdown: Duration,
    args: Map<String, Value>,
}

/// What a supervisor runs.
#[derive(Clone, Debug)]
pub enum SupervisorChild {
    /// An actor.
    Worker(Supervised),
    /// Another supervisor.
    Supervisor(Supervisor),
}

impl Supervisor {
    /// A supervisor of the usual kind: `one_for_one`, at most 5 restarts in 60 s, itself `permanent` beneath another.
    pub fn new(name: impl Into<String>) -> Self {
        let SupervisorSpec { name, strategy, intensity, restart, .. } = SupervisorSpec::new(&name.into(), Vec::new());
        Self { name, strategy, intensity, restart, children: Vec::new() }
    }

    /// Which children are restarted with one.
    pub fn strategy(mut self, strategy: Strategy) -> Self {
        self.strategy = strategy;
        self
    }

    /// With one restart more within the window the supervisor gives up: its own supervisor restarts it, and at the root the whole tree is
    /// restarted with growing delays.
    pub fn intensity(mut self, max_restarts: u32, window: Duration) -> Self {
        self.intensity = Intensity { max_restarts, window };
        self
    }

    /// When its own supervisor restarts it. Means nothing at the root.
    pub fn restart(mut self, restart: Restart) -> Self {
        self.restart = restart;
        self
    }

    /// One more child, which starts after those before it and stops before them: a [`Supervised`] actor or a supervisor.
    pub fn child(mut self, child: impl Into<SupervisorChild>) -> Self {
        self.children.push(child.into());
        self
    }

    /// Starts the children, one after the other, and returns when their `init` has run. When one fails in it, or this is dropped before, all are
    /// stopped again. The types of the children belong to the tree from then on: none may have had an actor in this namespace before, and all of
    /// its actors end with the tree. A child's key reaches it in the namespace, so no two children there have the same, whatever their types.
    pub async fn start(self, ctx: &RequestContext, locator: Arc<ServiceLocator>) -> Result<RunningSupervisor, Failure> {
        let ctx = ctx.enter(None)?;
        let runtime = locator.runtime()?.clone();
        let application = name("supervisor", &self.name)?;
        let spec = locator.prepare_tree(&ctx, &application, &self)?;
        let (tenant, namespace) = (ctx.tenant, ctx.namespace);
        let tree = Arc::new(Tree { runtime, locator, tenant, namespace, application });
        let mut begun = Begun { tree: Some(tree.clone()), tasks: Handle::current() };
        let started = tree.runtime.deploy(&spec).await;
        begun.tree = None;
        if started.is_err() {
            tree.forget();
        }
        started.map(|()| RunningSupervisor(tree))
    }

    /// The types of all actors in the tree.
    pub(crate) fn types(&self) -> Vec<&str> {
        let (mut types, mut rest) = (Vec::new(), vec![self]);
        while let Some(supervisor) = rest.pop() {
            for child in &supervisor.children {
                match child {
                    SupervisorChild::Worker(actor) => types.push(actor.actor_type.as_str()),
                    SupervisorChild::Supervisor(inner) => rest.push(inner),
                }
            }
        }
        types.sort_unstable();
        types.dedup();
        types
    }

    /// The same as the runtime takes it; `lives` says how the actors of a type do.
    pub(crate) fn spec(&self, lives: &impl Fn(&str) -> Result<Profile, Failure>) -> Result<SupervisorSpec, Failure> {
        let child = |child: &SupervisorChild| match child {
            SupervisorChild::Supervisor(supervisor) => supervisor.spec(lives).map(Child::Supervisor),
            SupervisorChild::Worker(Supervised { actor_type, key, restart, shutdown, args }) => Ok(Child::Actor(ChildSpec {
                key: Key::new(key).map_err(|error| Failure::invalid("key", error.to_string()))?,
                actor_type: name("actor type", actor_type)?,
                aliases: Vec::new(),
                profile: Profile { args: args.clone(), ..lives(actor_type)? },
                restart: *restart,
                shutdown: *shutdown,
            })),
        };
        let children = self.children.iter().map(child).collect::<Result<_, _>>()?;
        Ok(SupervisorSpec { name: self.name.clone(), strategy: self.strategy, intensity: self.intensity, restart: self.restart, children })
    }
}

impl Supervised {
    /// An actor of a registered type under a key: `permanent`, with 5 s to end its present message when it is to stop.
    #[must_use]
    pub fn new(actor_type: impl Into<String>, key: impl Into<String>) -> Self {
        let (actor_type, key) = (actor_type.into(), key.into());
        Self { actor_type, key, restart: Restart::Permanent, shutdown: SHUTDOWN, args: Map::new() }
    }

    /// When it is restarted.
    #[must_use]
    pub fn restart(mut self, restart: Restart) -> Self {
        self.restart = restart;
        self
    }

    /// How long it may go on with its present message when it is to stop; then it is killed.
    #[must_use]
    pub fn shutdown(mut self, shutdown: Duration) -> Self {
        self.shutdown = shutdown;
        self
    }

    /// What its `init` is given as `args`.
    #[must_use]
    pub fn args(mut self, args: Map<String, Value>) -> Self {
        self.args = args;
        self
    }
}

impl From<Supervised> for SupervisorChild {
    fn from(actor: Supervised) -> Self {
        Self::Worker(actor)
    }
}

impl From<Supervisor> for SupervisorChild {
    fn from(supervisor: Supervisor) -> Self {
        Self::Supervisor(supervisor)
    }
}

/// A tree that is being started. Where nobody waits for that any more, nobody could stop it either.
struct Begun {
    tree: Option<Arc<Tree>>,
    tasks: Handle,
}

impl Drop for Begun {
    fn drop(&mut self) {
        if let Some(tree) = self.tree.take() {
            self.tasks.spawn(async move { tree.stop().await });
        }
    }
}

struct Tree {
    runtime: Runtime,
    locator: Arc<ServiceLocator>,
    tenant: Name,
    namespace: Name,
    application: Name,
}

impl Tree {
    fn application(&self) -> (&Name, &Name, &Name) {
        (&self.tenant, &self.namespace, &self.application)
    }

    async fn stop(&self) -> Result<(), Failure> {
        let stopped = self.runtime.undeploy(&self.tenant, &self.namespace, &self.application).await;
        self.forget();
        stopped
    }

    fn forget(&self) {
        self.locator.forget_tree(&self.tenant, &self.namespace, &self.application);
    }
}

/// A tree that runs. It goes on when this is dropped, until the node ends.
pub struct RunningSupervisor(Arc<Tree>);

impl RunningSupervisor {
    /// What a supervisor's children do, those after a position only: of the root where the path is empty, of another as in `pool/inner`.
    pub async fn children(&self, path: &str, after: Option<u64>, limit: usize) -> Result<Level, Failure> {
        self.0.runtime.supervision(self.0.application(), path, after, limit).await
    }

    /// What happened in the tree, from the event with the number `from` on, at most `limit`; and whether there is more.
    pub async fn history(&self, from: u64, limit: usize) -> Result<(Vec<SupervisionEvent>, bool), Failure> {
        self.0.runtime.supervision_events(self.0.application(), from, limit).await
    }

    /// Ends the children in the reverse of their start order, and forgets their types; that goes on also where nobody waits for it. What durable
    /// actors stored stays.
    pub async fn stop(self) -> Result<(), Failure> {
        to_the_end(async move { self.0.stop().await }).await
    }
}

impl std::fmt::Debug for RunningSupervisor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RunningSupervisor").field("name", &self.0.application).finish_non_exhaustive()
    }
}

/// All types of one tree as what makes its actors.
pub(crate) struct TreeTypes {
    description: Description,
    types: Vec<(Name, Arc<NativeType>)>,
}

impl TreeTypes {
    pub(crate) fn new(types: Vec<(Name, Arc<NativeType>)>) -> Self {
        let mut description = Description { sdk: crate::native::sdk(), actors: Vec::new() };
        description.actors.extend(types.iter().flat_map(|(_, factory)| &factory.description().actors).cloned());
        Self { description, types }
    }

    fn of(&self, id: &types::ActorId) -> Option<&NativeType> {
        self.types.iter().find(|(name, _)| *name == id.actor_type).map(|(_, factory)| &**factory)
    }
}

#[async_trait]
impl Factory for TreeTypes {
    fn description(&self) -> &Description {
        &self.description
    }

    /// Where there is one type it is that type's, so that its histories are known with and without a tree.
    fn code(&self) -> u64 {
        self.types.iter().fold(0, |code, (_, factory)| code.wrapping_mul(31).wrapping_add(factory.code()))
    }

    async fn create(&self, spec: &Spec, turn: Turn) -> Result<(Box<dyn Instance>, Turn), Fault> {
        match self.of(&spec.id) {
            Some(factory) => factory.create(spec, turn).await,
            None => Err(Fault::Rejected(Failure::not_found(format!("the tree has no type {}", spec.id.actor_type)))),
        }
    }

    fn reads_config(&self, id: &types::ActorId) -> bool {
        self.of(id).is_none_or(|factory| factory.reads_config(id))
    }

    fn facets(&self, id: &types::ActorId) -> Vec<Box<dyn Facet>> {
        self.of(id).map(|factory| factory.facets(id)).unwrap_or_default()
    }
}
