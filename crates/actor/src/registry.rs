//! Which actor types exist in each namespace, and which actor a name means.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::{Mutex, RwLock};
use plexspaces_types::{ActorId, Code, Failure, Key, Name};

use serde_json::{Map, Value};
use tokio::sync::mpsc;

use crate::guardian::News;
use crate::meters::{Meter, Meters};
use crate::spawned::Spawned;
use crate::supervision::{Exit, Intensity, NodeId};
use crate::{Application, Behavior, Factory, Outbound, Profile, RESERVED};

/// What all actors of an application share.
pub(crate) struct Shared {
    pub(crate) name: Name,
    pub(crate) outbound: Option<Arc<dyn Outbound>>,
    /// Earlier versions of the code, with which turns go on that began with them.
    pub(crate) earlier: RwLock<Vec<Arc<dyn Factory>>>,
    pub(crate) intensity: Intensity,
    /// Milliseconds since the Unix epoch; an actor failed too often less than a window before it.
    pub(crate) degraded_until_ms: AtomicU64,
}

/// An actor type that can be addressed.
pub(crate) struct Kind {
    pub(crate) name: Name,
    pub(crate) guest_type: String,
    pub(crate) factory: Arc<dyn Factory>,
    pub(crate) application: Arc<Shared>,
    pub(crate) profile: Arc<Profile>,
    pub(crate) behavior: Behavior,
    /// The operations that its code handles.
    pub(crate) handlers: HashSet<String>,
    children: HashMap<Key, Arc<Seat>>,
    /// Shared by all versions of the type.
    spawned: Arc<Spawned>,
    /// Whom the type's name means: its only child, else the instance named as the type.
    default_key: Key,
    /// Set before its actors are told, so that none is made of it afterwards.
    pub(crate) retired: AtomicBool,
    pub(crate) metrics: Arc<Meter>,
}

/// A child's place under its supervisor. It is there before and after the child.
pub(crate) struct Seat {
    profile: Arc<Profile>,
    state: Mutex<SeatState>,
}

struct SeatState {
    guardian: Option<(mpsc::Sender<News>, NodeId)>,
    /// What the guardian may be told of its present start.
    untold: Untold,
    life: Life,
}

/// What a start still has to tell of itself. Of each it tells once, so that a guardian's queue has room for all.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Untold {
    Nothing,
    All,
    Exit,
}

/// What a message to a child meets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Life {
    /// It waits until its supervisor has started the child.
    Down,
    /// It is handled, also when the child was passivated.
    Up,
    /// The child has ended as it should, and is started again only together with others. Until then nobody is there.
    Resting,
    /// The child has ended for good.
    Over,
}

impl SeatState {
    /// What is over stays over, though the child that drains its mailbox still reports its end. One that rests does so until its supervisor
    /// starts it, though somebody may kill what is left of it.
    fn change(&mut self, life: Life) {
        if !matches!(self.life, Life::Over | Life::Resting) {
            self.life = life;
        }
    }

    fn tell(&mut self, news: impl FnOnce(NodeId) -> News, left: Untold) {
        self.untold = left;
        if let Some((guardian, worker)) = &self.guardian
            && let Err(mpsc::error::TrySendError::Full(news)) = guardian.try_send(news(*worker))
        {
            tracing::error!(?news, "a supervisor was told more of a child than there is to tell");
        }
    }
}

impl Seat {
    fn new(profile: Profile) -> Arc<Self> {
        Arc::new(Self {
            profile: Arc::new(profile),
            state: Mutex::new(SeatState { guardian: None, untold: Untold::Nothing, life: Life::Down }),
        })
    }

    pub(crate) fn attach(&self, guardian: mpsc::Sender<News>, worker: NodeId) {
        self.state.lock().guardian = Some((guardian, worker));
    }

    pub(crate) fn life(&self) -> Life {
        self.state.lock().life
    }

    pub(crate) fn started(&self) {
        let mut state = self.state.lock();
        state.change(Life::Up);
        if state.untold == Untold::All {
            state.tell(News::Started, Untold::Exit);
        }
    }

    pub(crate) fn exited(&self, exit: Exit) {
        let mut state = self.state.lock();
        state.change(Life::Down);
        if state.untold != Untold::Nothing {
            state.tell(|worker| News::Exited(worker, exit), Untold::Nothing);
        }
    }

    /// The supervisor starts it: messages wait from now on.
    pub(crate) fn begins(&self) {
        let mut state = self.state.lock();
        state.untold = Untold::All;
        if state.life == Life::Resting {
            state.life = Life::Down;
        }
    }

    /// The supervisor knows that the child is not there: of this start nothing more is told.
    pub(crate) fn is_gone(&self) {
        self.state.lock().untold = Untold::Nothing;
    }

    /// The supervisor starts it again only together with others.
    pub(crate) fn rests(&self) {
        self.state.lock().change(Life::Resting);
    }

    /// Whether it has ended and nothing is going to start it by itself.
    pub(crate) fn has_ended(&self) -> bool {
        matches!(self.life(), Life::Resting | Life::Over)
    }

    /// The supervisor will not start it again.
    pub(crate) fn close(&self) {
        self.state.lock().life = Life::Over;
    }
}

impl Kind {
    /// How the actor with this key lives.
    pub(crate) fn profile(&self, key: &Key) -> &Arc<Profile> {
        self.children.get(key).map_or(&self.profile, |seat| &seat.profile)
    }

    /// The place of the actor with this key, if it is a child.
    pub(crate) fn seat(&self, key: &Key) -> Option<&Arc<Seat>> {
        self.children.get(key)
    }

    pub(crate) fn spawned_args(&self, key: &Key) -> Option<Map<String, Value>> {
        self.spawned.args(key)
    }

    /// An actor is spawned under this name.
    pub(crate) fn spawns(&self, key: &Key, args: &Map<String, Value>) {
        // Of one that lives from its spawn to its end nothing need be known where its type's arguments say the same.
        if !self.profile.temporary || !args.is_empty() || !self.profile.args.is_empty() {
            self.spawned.begins(key, args.clone());
        }
    }

    /// It could not be made.
    pub(crate) fn failed_to_spawn(&self, key: &Key) {
        self.spawned.failed(key);
    }

    /// An actor has ended for good: false when it was not spawned.
    pub(crate) fn ends(&self, key: &Key) -> bool {
        self.spawned.ended(key)
    }

    /// Whether only a spawn brings an actor of this name to life.
    pub(crate) fn needs_spawn(&self, key: &Key) -> bool {
        self.profile(key).temporary || self.spawned.has_ended(key)
    }
}

#[derive(Clone)]
struct Binding {
    kind: Arc<Kind>,
    key: Key,
}

#[derive(Default)]
struct Scope {
    /// Types by their own name.
    types: HashMap<Name, Arc<Kind>>,
    /// What every other name means: children, roles, aliases.
    names: HashMap<String, Binding>,
}

/// What a registration changed and made.
pub(crate) struct Registered {
    /// The types that the application no longer has in this form.
    pub(crate) retired: Vec<Arc<Kind>>,
    /// The places of its children, by type and key.
    pub(crate) seats: HashMap<(Name, Key), Arc<Seat>>,
}

/// Types and names of all namespaces.
#[derive(Default)]
pub(crate) struct Registry {
    scopes: RwLock<HashMap<(Name, Name), Scope>>,
    pub(crate) meters: Meters,
}

impl Registry {
    /// Adds or replaces an application.
    pub(crate) fn register(&self, application: &Application) -> Result<Registered, Failure> {
        let shared = Arc::new(Shared {
            name: application.name.clone(),
            outbound: application.outbound.clone(),
            earlier: RwLock::new(application.earlier.clone()),
            intensity: application.supervisor.intensity,
            degraded_until_ms: AtomicU64::new(0),
        });
        let actors = application.supervisor.actors();
        let mut types = HashMap::new();
        for spec in &application.types {
            if spec.name.as_str().starts_with(RESERVED) {
                let message = format!("the type {} begins with {RESERVED:?}, which is for the node's own services", spec.name);
                return Err(Failure::new(Code::InvalidConfig, message).with_field("actor_type"));
            }
            let children = actors.iter().filter(|child| child.actor_type == spec.name);
            let children: HashMap<_, _> = children.map(|child| (child.key.clone(), Seat::new(child.profile.clone()))).collect();
            let info = application.factory.description().actors.iter().find(|info| info.name == spec.guest_type);
            let only_child = children.keys().next().filter(|_| children.len() == 1).cloned();
            let kind = Kind {
                name: spec.name.clone(),
                guest_type: spec.guest_type.clone(),
                factory: application.factory.clone(),
                application: shared.clone(),
                profile: Arc::new(spec.profile.clone()),
                default_key: only_child.unwrap_or_else(|| Key::from(&spec.name)),
                children,
                behavior: info.map_or(Behavior::GenServer, |info| info.behavior),
                handlers: info.into_iter().flat_map(|info| &info.handlers).map(|handler| handler.operation.clone()).collect(),
                spawned: self.spawned(application, &spec.name),
                retired: AtomicBool::new(false),
                metrics: self.meters.of(&application.namespace, &application.name, &spec.name),
            };
            types.insert(spec.name.clone(), Arc::new(kind));
        }
        let names = names(application, &types)?;

        let mut scopes = self.scopes.write();
        let scope = scopes.entry((application.tenant.clone(), application.namespace.clone())).or_default();
        let foreign = |kind: &Arc<Kind>| kind.application.name != application.name;
        let taken_types = types.keys().filter_map(|name| scope.types.get(name).map(|kind| (name.as_str(), kind)));
        let taken_names = names.keys().filter_map(|name| scope.names.get(name).map(|binding| (name.as_str(), &binding.kind)));
        if let Some((name, kind)) = taken_types.chain(taken_names).find(|(_, kind)| foreign(kind)) {
            let message = format!(
                "the name {name:?} in namespace {} belongs to application {}: undeploy it or choose another name",
                application.namespace, kind.application.name
            );
            let owner = format!("applications/{}/{}", application.namespace, kind.application.name);
            return Err(Failure::new(Code::Conflict, message).with_field("actor_type").with_resource(owner, None));
        }
        let retired = scope.remove(&application.name);
        let seats =
            types.values().flat_map(|kind| kind.children.iter().map(|(key, seat)| ((kind.name.clone(), key.clone()), seat.clone())));
        let seats = seats.collect();
        scope.types.extend(types);
        scope.names.extend(names);
        Ok(Registered { retired, seats })
    }

    /// Who was spawned of a type until now.
    fn spawned(&self, application: &Application, name: &Name) -> Arc<Spawned> {
        let scopes = self.scopes.read();
        let scope = scopes.get(&(application.tenant.clone(), application.namespace.clone()));
        let kind = scope.and_then(|scope| scope.types.get(name)).filter(|kind| kind.application.name == application.name);
        kind.map(|kind| kind.spawned.clone()).unwrap_or_default()
    }

    /// Removes an application; returns the types that it had.
    pub(crate) fn unregister(&self, tenant: &Name, namespace: &Name, application: &Name) -> Vec<Arc<Kind>> {
        let mut scopes = self.scopes.write();
        scopes.get_mut(&(tenant.clone(), namespace.clone())).map(|scope| scope.remove(application)).unwrap_or_default()
    }

    /// The type of an application that goes by this name.
    pub(crate) fn type_of(&self, tenant: &Name, namespace: &Name, application: &Name, name: &str) -> Result<Arc<Kind>, Failure> {
        let scopes = self.scopes.read();
        let scope = scopes.get(&(tenant.clone(), namespace.clone()));
        let own = scope.into_iter().flat_map(|scope| scope.types.values()).filter(|kind| kind.application.name == *application);
        let mut known: Vec<&str> = Vec::new();
        for kind in own {
            if kind.name.as_str() == name || kind.guest_type == name {
                return Ok(kind.clone());
            }
            known.push(kind.name.as_str());
        }
        known.sort_unstable();
        Err(Failure::not_found(format!("the application {application} has no actor type {name:?}; it has {}", known.join(", "))))
    }

    /// The type of an actor.
    pub(crate) fn kind(&self, id: &ActorId) -> Option<Arc<Kind>> {
        let scopes = self.scopes.read();
        scopes.get(&(id.tenant.clone(), id.namespace.clone()))?.types.get(&id.actor_type).cloned()
    }

    /// The actor that a name means in a namespace; with a key, that one of the name's type.
    pub(crate) fn resolve(&self, tenant: &Name, namespace: &Name, name: &str, key: Option<&str>) -> Result<ActorId, Failure> {
        let scopes = self.scopes.read();
        let scope = scopes.get(&(tenant.clone(), namespace.clone()));
        let found = scope.and_then(|scope| {
            let type_name = Name::new("actor type", name).ok();
            let by_type = type_name.and_then(|name| scope.types.get(&name)).map(|kind| (kind, kind.default_key.clone()));
            scope.names.get(name).map(|binding| (&binding.kind, binding.key.clone())).or(by_type)
        });
        let Some((kind, default_key)) = found else {
            let known = scope.map(Scope::known).filter(|known| !known.is_empty());
            let known = known.map_or_else(|| "no actor is deployed there".to_owned(), |known| format!("known are: {known}"));
            return Err(Failure::not_found(format!("unknown actor {name:?} in namespace {namespace}; {known}")));
        };
        let key = match key {
            Some(key) => Key::new(key).map_err(|error| Failure::invalid("actor_id", error.to_string()))?,
            None => default_key,
        };
        Ok(ActorId::new(tenant.clone(), namespace.clone(), kind.name.clone(), key))
    }

    /// The application counts as degraded until then.
    pub(crate) fn degrade(&self, tenant: &Name, namespace: &Name, application: &Name, until_ms: u64) {
        let scopes = self.scopes.read();
        let scope = scopes.get(&(tenant.clone(), namespace.clone()));
        let kinds = scope.into_iter().flat_map(|scope| scope.types.values());
        for kind in kinds.filter(|kind| kind.application.name == *application) {
            kind.application.degraded_until_ms.fetch_max(until_ms, Ordering::Relaxed);
        }
    }

    /// Whether an actor of the application failed too often of late.
    pub(crate) fn is_degraded(&self, tenant: &Name, namespace: &Name, application: &Name, now_ms: u64) -> bool {
        let scopes = self.scopes.read();
        let scope = scopes.get(&(tenant.clone(), namespace.clone()));
        let mut kinds = scope.into_iter().flat_map(|scope| scope.types.values());
        kinds.any(|kind| kind.application.name == *application && now_ms < kind.application.degraded_until_ms.load(Ordering::Relaxed))
    }
}

impl Scope {
    fn remove(&mut self, application: &Name) -> Vec<Arc<Kind>> {
        self.names.retain(|_, binding| binding.kind.application.name != *application);
        let gone: Vec<_> = self.types.values().filter(|kind| kind.application.name == *application).cloned().collect();
        self.types.retain(|_, kind| kind.application.name != *application);
        gone
    }

    fn known(&self) -> String {
        let mut names: Vec<&str> = self.types.keys().map(Name::as_str).collect();
        names.sort_unstable();
        names.truncate(20);
        names.join(", ")
    }
}

/// What the application's names mean. A child's own key comes first; an alias that two actors share means neither.
fn names(application: &Application, types: &HashMap<Name, Arc<Kind>>) -> Result<HashMap<String, Binding>, Failure> {
    let mut names = HashMap::new();
    let unknown = |name: &Name| {
        let message = format!("the type {name} is not in the component");
        Failure::new(Code::InvalidConfig, message).with_field("supervisor.children.type")
    };
    let actors = application.supervisor.actors();
    for child in &actors {
        let kind = types.get(&child.actor_type).ok_or_else(|| unknown(&child.actor_type))?;
        let binding = Binding { kind: kind.clone(), key: child.key.clone() };
        if names.insert(child.key.to_string(), binding).is_some() {
            let message = format!("two children are named {:?}", child.key.as_str());
            return Err(Failure::new(Code::InvalidConfig, message).with_field("supervisor.children.id"));
        }
    }
    let children = actors.iter().map(|child| (&child.actor_type, child.key.clone(), &child.aliases));
    let defaults = application.types.iter().map(|spec| {
        let key = types.get(&spec.name).map_or_else(|| Key::from(&spec.name), |kind| kind.default_key.clone());
        (&spec.name, key, &spec.aliases)
    });
    let mut aliases: HashMap<&str, Vec<Binding>> = HashMap::new();
    for (actor_type, key, given) in children.chain(defaults) {
        let Some(kind) = types.get(actor_type) else { continue };
        for alias in given {
            aliases.entry(alias).or_default().push(Binding { kind: kind.clone(), key: key.clone() });
        }
    }
    for (alias, mut bindings) in aliases {
        let is_type = types.keys().any(|name| name.as_str() == alias);
        if bindings.len() == 1
            && !is_type
            && let Some(binding) = bindings.pop()
        {
            names.entry(alias.to_owned()).or_insert(binding);
        }
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::guardian::NEWS_OF_A_CHILD;
    use crate::supervision::{Plan, Restart, Strategy, Tree};

    #[test]
    fn a_start_of_a_child_is_told_of_twice_at_most() {
        let child = Plan::Worker { name: "a".into(), item: (), restart: Restart::Permanent, shutdown: Duration::ZERO };
        let intensity = Intensity { max_restarts: 1, window: Duration::from_secs(1) };
        let children = vec![child];
        let root =
            Plan::Supervisor { name: "root".into(), strategy: Strategy::OneForOne, intensity, restart: Restart::Permanent, children };
        let worker = Tree::new(root, 0).ok().and_then(|tree| tree.find("root/a")).unwrap();
        let (news, mut heard) = mpsc::channel(NEWS_OF_A_CHILD);
        let seat = Seat::new(Profile::default());
        seat.attach(news, worker);
        // Before its supervisor starts it there is nothing to tell.
        seat.exited(Exit::Kill);
        assert!(heard.try_recv().is_err());
        for _ in 0..3 {
            seat.begins();
            for _ in 0..10 {
                seat.started();
            }
            for exit in [Exit::Error("boom".to_owned()), Exit::Kill, Exit::Shutdown] {
                seat.exited(exit);
                seat.started();
            }
            let told: Vec<_> = std::iter::from_fn(|| heard.try_recv().ok()).collect();
            assert_eq!(told, [News::Started(worker), News::Exited(worker, Exit::Error("boom".to_owned()))]);
        }
        // Nor when the supervisor has found nobody to stop.
        seat.begins();
        seat.is_gone();
        seat.exited(Exit::Shutdown);
        assert!(heard.try_recv().is_err());
        // One that does not come up has an end all the same.
        seat.begins();
        seat.exited(Exit::Kill);
        seat.started();
        assert_eq!(heard.try_recv(), Ok(News::Exited(worker, Exit::Kill)));
        assert!(heard.try_recv().is_err());
    }
}
