//! A node's services: how actors are found and made.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use parking_lot::Mutex;
use plexspaces_actor::{
    Address, Application, Facet, FacetRegistry, FacetSpec, Factory, Outbound, Profile, Runtime, SupervisorSpec, Target, TypeSpec,
};
use plexspaces_types as types;
use plexspaces_types::{Clock, Code, Failure, Key, Name};
use serde_json::Map;

use crate::native::{Given, Native, NativeType};
use crate::registry::{ActorRegistry, Registration};
use crate::supervisor::TreeTypes;
use crate::{Actor, ActorId, ActorRef, RequestContext, Supervisor};

/// The services of one node.
pub struct ServiceLocator {
    node: String,
    /// Why there is no runtime, where that is so.
    runtime: Result<Runtime, Failure>,
    clock: Clock,
    outbound: Option<Arc<dyn Outbound>>,
    registry: ActorRegistry,
    /// The types that were made known to the runtime, by tenant and namespace.
    types: Mutex<HashMap<(Name, Name), Vec<Known>>>,
}

#[derive(Clone)]
struct Known {
    name: Name,
    /// The name of its application.
    application: Name,
    factory: Arc<NativeType>,
}

impl std::fmt::Debug for ServiceLocator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServiceLocator").field("node", &self.node).finish_non_exhaustive()
    }
}

/// A name of an actor in its parts.
struct Parsed<'a> {
    namespace: Option<&'a str>,
    actor_type: Option<&'a str>,
    key: &'a str,
}

impl ServiceLocator {
    pub(crate) fn new(node: String, runtime: Result<Runtime, Failure>, clock: Clock, outbound: Option<Arc<dyn Outbound>>) -> Arc<Self> {
        Arc::new(Self { node, runtime, clock, outbound, registry: ActorRegistry::default(), types: Mutex::default() })
    }

    pub(crate) fn runtime(&self) -> Result<&Runtime, Failure> {
        self.runtime.as_ref().map_err(Clone::clone)
    }

    pub(crate) fn now_ms(&self) -> u64 {
        self.clock.now_ms()
    }

    /// The types from which actors can be made anew.
    #[must_use]
    pub fn actor_registry(&self) -> &ActorRegistry {
        &self.registry
    }

    /// The facets that actors of this node can have.
    pub fn facet_registry(&self) -> Result<&FacetRegistry, Failure> {
        Ok(self.runtime()?.facet_registry())
    }

    /// Gives an actor a facet from its next message on; true when that has replaced one of its name. Returns when the actor has it.
    pub async fn attach_facet(self: &Arc<Self>, ctx: &RequestContext, id: impl Into<ActorId>, facet: FacetSpec) -> Result<bool, Failure> {
        let (ctx, id) = self.identified(ctx, &id.into())?;
        self.runtime()?.attach_facet(&ctx, target(&id), facet).await
    }

    /// Takes a facet from an actor from its next message on; false when it had none of this name. Returns when that is done.
    pub async fn detach_facet(self: &Arc<Self>, ctx: &RequestContext, id: impl Into<ActorId>, name: &str) -> Result<bool, Failure> {
        let (ctx, id) = self.identified(ctx, &id.into())?;
        self.runtime()?.detach_facet(&ctx, target(&id), name).await
    }

    /// An actor's facets with their priorities, outermost first.
    pub fn facets(self: &Arc<Self>, ctx: &RequestContext, id: impl Into<ActorId>) -> Result<Vec<FacetSpec>, Failure> {
        let (ctx, id) = self.identified(ctx, &id.into())?;
        self.runtime()?.facets(&ctx, target(&id))
    }

    pub(crate) fn identified(
        self: &Arc<Self>,
        ctx: &RequestContext,
        id: &ActorId,
    ) -> Result<(types::RequestContext, types::ActorId), Failure> {
        let ctx = ctx.enter(None)?;
        let id = self.address(&ctx, id)?.id().clone();
        Ok((types::RequestContext { namespace: id.namespace.clone(), ..ctx }, id))
    }

    /// The way to an actor of this node: one that lives, or one of a registered type, which its first message brings to life.
    pub fn actor_ref(self: &Arc<Self>, ctx: &RequestContext, id: impl Into<ActorId>) -> Result<ActorRef, Failure> {
        let ctx = ctx.enter(None)?;
        Ok(ActorRef::new(self.address(&ctx, &id.into())?, ctx))
    }

    pub(crate) async fn spawn<A: Actor>(
        self: &Arc<Self>,
        ctx: &types::RequestContext,
        id: ActorId,
        actor: A,
        facets: Vec<Box<dyn Facet>>,
    ) -> Result<ActorRef, Failure> {
        let prepared = self.prepare(ctx, &id, actor, facets)?;
        let id = prepared.id();
        let ctx = types::RequestContext { namespace: id.namespace.clone(), ..ctx.clone() };
        let runtime = self.runtime()?;
        let id = runtime.spawn(&ctx, prepared.application(), id.actor_type.as_str(), id.key.as_str(), Map::new()).await?;
        Ok(ActorRef::new(runtime.address_of(&id)?, ctx))
    }

    /// Keeps a value until its actor is started; what is given is dropped when that is done, or not to be.
    pub(crate) fn prepare<A: Actor>(
        self: &Arc<Self>,
        ctx: &types::RequestContext,
        id: &ActorId,
        actor: A,
        facets: Vec<Box<dyn Facet>>,
    ) -> Result<Prepared, Failure> {
        let text = id.to_string();
        let parsed = self.parse(&text);
        if let Some((_, node)) = text.rsplit_once('@').filter(|(_, node)| *node != self.node) {
            let own = &self.node;
            let message = format!(
                "{text} would be on the node {node:?}, and this node, {own:?}, knows no other; of a key with an @ write {text}@{own}"
            );
            return Err(Failure::new(Code::Unavailable, message).with_field("actor_id"));
        }
        let mut ctx = ctx.clone();
        if let Some(namespace) = parsed.namespace {
            ctx.namespace = name("namespace", namespace)?;
        }
        if let Some(actor_type) = parsed.actor_type.filter(|given| *given != A::NAME) {
            let message = format!("{text} names the type {actor_type}, and the actor is a {}", A::NAME);
            return Err(Failure::invalid("actor_id", message));
        }
        let known = self.known_type(&ctx, &name("actor type", A::NAME)?, || Registration::of_values::<A>())?;
        let id = identity(&ctx, &known.name, parsed.key)?;
        known.factory.give(&id, Given { actor: Box::new(Native::new(actor, self.clone())), facets })?;
        Ok(Prepared { known, id })
    }

    /// The application of a registered type, by which its actors are spawned.
    pub(crate) fn application_of(self: &Arc<Self>, ctx: &types::RequestContext, actor_type: &str) -> Result<Name, Failure> {
        let registration = self.registry.get(actor_type)?;
        Ok(self.known_type(ctx, &name("actor type", actor_type)?, || registration)?.application)
    }

    /// Where an actor is reached.
    pub(crate) fn address(self: &Arc<Self>, ctx: &types::RequestContext, id: &ActorId) -> Result<Address, Failure> {
        let runtime = self.runtime()?;
        if let Some(id) = id.known() {
            return runtime.address_of(id);
        }
        let text = id.to_string();
        let parsed = self.parse(&text);
        let mut ctx = ctx.clone();
        if let Some(namespace) = parsed.namespace {
            ctx.namespace = name("namespace", namespace)?;
        }
        // A registered type is there as soon as somebody names it.
        if let Ok(registration) = self.registry.get(parsed.actor_type.unwrap_or(parsed.key)) {
            self.known_type(&ctx, &name("actor type", parsed.actor_type.unwrap_or(parsed.key))?, || registration)?;
        }
        if let Some(actor_type) = parsed.actor_type {
            return runtime.address(&ctx, &format!("{actor_type}/{}", parsed.key));
        }
        for known in self.types_in(&ctx) {
            let address = runtime.address_of(&identity(&ctx, &known.name, parsed.key)?)?;
            if address.is_live() {
                return Ok(address);
            }
        }
        runtime.address(&ctx, parsed.key)
    }

    /// Forgets all types, which ends the circle of references between the runtime and this.
    pub(crate) async fn clear(&self) {
        let types = std::mem::take(&mut *self.types.lock());
        let Ok(runtime) = &self.runtime else { return };
        for ((tenant, namespace), types) in types {
            for known in types {
                // Of a node that has ended the next one still knows the names, so there is nothing that can fail.
                let _ = runtime.undeploy(&tenant, &namespace, &known.application).await;
            }
        }
    }

    fn types_in(&self, ctx: &types::RequestContext) -> Vec<Known> {
        self.types.lock().get(&(ctx.tenant.clone(), ctx.namespace.clone())).cloned().unwrap_or_default()
    }

    /// A type in a namespace, made known to the runtime if need be.
    fn known_type(
        self: &Arc<Self>,
        ctx: &types::RequestContext,
        type_name: &Name,
        registration: impl FnOnce() -> Registration,
    ) -> Result<Known, Failure> {
        let mut types = self.types.lock();
        let scope = types.entry((ctx.tenant.clone(), ctx.namespace.clone())).or_default();
        if let Some(known) = scope.iter().find(|known| known.name == *type_name) {
            return Ok(known.clone());
        }
        let registration = self.registry.get(type_name.as_str()).unwrap_or_else(|_| registration());
        let application = name("actor type", &format!("native.{type_name}"))?;
        let (known, spec) = self.made(type_name, application.clone(), registration);
        let supervisor = SupervisorSpec::new("root", Vec::new());
        self.runtime()?.resume(&self.application(ctx, application, known.factory.clone(), vec![spec], supervisor))?;
        scope.push(known.clone());
        Ok(known)
    }

    /// What makes the actors of a type, and how they live.
    pub(crate) fn native(self: &Arc<Self>, registration: Registration) -> (Arc<NativeType>, Profile) {
        let Registration { info, version, maker, profile, has_init } = registration;
        (Arc::new(NativeType::new(info, version, maker, has_init, self.clone())), profile)
    }

    fn made(self: &Arc<Self>, type_name: &Name, application: Name, registration: Registration) -> (Known, TypeSpec) {
        let (factory, profile) = self.native(registration);
        let spec = TypeSpec { name: type_name.clone(), guest_type: type_name.to_string(), aliases: Vec::new(), profile };
        (Known { name: type_name.clone(), application, factory }, spec)
    }

    fn application(
        &self,
        ctx: &types::RequestContext,
        name: Name,
        factory: Arc<dyn Factory>,
        types: Vec<TypeSpec>,
        supervisor: SupervisorSpec,
    ) -> Application {
        let (tenant, namespace, outbound) = (ctx.tenant.clone(), ctx.namespace.clone(), self.outbound.clone());
        Application { tenant, namespace, name, factory, channels: BTreeMap::new(), earlier: Vec::new(), outbound, types, supervisor }
    }

    /// A supervision tree as an application of its own, to which the types of its actors belong from here on.
    pub(crate) fn prepare_tree(
        self: &Arc<Self>,
        ctx: &types::RequestContext,
        application: &Name,
        tree: &Supervisor,
    ) -> Result<Application, Failure> {
        let (mut made, mut specs) = (Vec::new(), Vec::new());
        for actor_type in tree.types() {
            let registration = self.registry.get(actor_type)?;
            let (known, spec) = self.made(&name("actor type", actor_type)?, application.clone(), registration);
            made.push(known);
            specs.push(spec);
        }
        if made.is_empty() {
            let message = format!("the supervisor {application} has no actor: expected one at least");
            return Err(Failure::new(Code::InvalidConfig, message).with_field("children"));
        }
        let spec = tree.spec(&|actor_type| self.registry.get(actor_type).map(|registration| registration.profile))?;
        let mut types = self.types.lock();
        let scope = types.entry((ctx.tenant.clone(), ctx.namespace.clone())).or_default();
        if scope.iter().any(|known| known.application == *application) {
            return Err(Failure::new(Code::Conflict, format!("a supervisor {application} runs already")).with_field("name"));
        }
        if let Some(known) = scope.iter().find(|known| made.iter().any(|other| other.name == known.name)) {
            let message = format!("the type {} has or had actors in namespace {} before the supervisor", known.name, ctx.namespace);
            return Err(Failure::new(Code::Conflict, message).with_field("children"));
        }
        scope.extend(made.iter().cloned());
        let factory = TreeTypes::new(made.into_iter().map(|known| (known.name, known.factory)).collect());
        Ok(self.application(ctx, application.clone(), Arc::new(factory), specs, spec))
    }

    /// Forgets the types of a tree, so that others may have them.
    pub(crate) fn forget_tree(&self, tenant: &Name, namespace: &Name, application: &Name) {
        if let Some(scope) = self.types.lock().get_mut(&(tenant.clone(), namespace.clone())) {
            scope.retain(|known| known.application != *application);
        }
    }

    /// The parts of a name. A key may hold an `@`, so what stands behind one is a node only if it is this one.
    fn parse<'a>(&self, text: &'a str) -> Parsed<'a> {
        let path = text.strip_suffix(self.node.as_str()).and_then(|path| path.strip_suffix('@')).unwrap_or(text);
        let mut parts = path.splitn(3, '/');
        match (parts.next().unwrap_or_default(), parts.next(), parts.next()) {
            (key, None, _) => Parsed { namespace: None, actor_type: None, key },
            (actor_type, Some(key), None) => Parsed { namespace: None, actor_type: Some(actor_type), key },
            (namespace, Some(actor_type), Some(key)) => Parsed { namespace: Some(namespace), actor_type: Some(actor_type), key },
        }
    }
}

/// A value whose actor is being started. One that its spawn has left behind is taken back.
pub(crate) struct Prepared {
    known: Known,
    id: types::ActorId,
}

impl Prepared {
    pub(crate) fn id(&self) -> &types::ActorId {
        &self.id
    }

    pub(crate) fn application(&self) -> &Name {
        &self.known.application
    }
}

impl Drop for Prepared {
    fn drop(&mut self) {
        drop(self.known.factory.take(&self.id));
    }
}

pub(crate) fn target(id: &types::ActorId) -> Target<'_> {
    Target { name: id.actor_type.as_str(), key: Some(id.key.as_str()) }
}

pub(crate) fn name(what: &'static str, text: &str) -> Result<Name, Failure> {
    Name::new(what, text).map_err(|error| Failure::invalid(what, error.to_string()))
}

fn identity(ctx: &types::RequestContext, actor_type: &Name, key: &str) -> Result<types::ActorId, Failure> {
    let key = Key::new(key).map_err(|error| Failure::invalid("actor_id", error.to_string()))?;
    Ok(types::ActorId::new(ctx.tenant.clone(), ctx.namespace.clone(), actor_type.clone(), key))
}
