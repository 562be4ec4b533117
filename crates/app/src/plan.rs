//! From a component's description and a configuration to an application that the runtime can run, or a precise error.

use std::sync::Arc;
use std::time::Duration;

use plexspaces_actor::supervision::{self, Intensity};
use plexspaces_actor::{
    self as actor, Application, Behavior, ChildSpec, Description, FacetRegistry, Factory, Limits, Profile, SupervisorSpec, TypeInfo,
    TypeSpec,
};
use plexspaces_outbound::Owner;
use plexspaces_types::{Code, Failure, Key, Name};

use crate::children::started;
use crate::config::{AppConfig, BehaviorKind, Child, Facet, Restart, Strategy, Supervisor};
use crate::facets::{self, Asked};
use crate::links;
use crate::strict::{ConfigError, Wrong};

/// What a deployment says of an application besides its configuration.
pub(crate) struct Names<'a> {
    pub(crate) tenant: &'a Name,
    pub(crate) namespace: Option<&'a str>,
    pub(crate) app: Option<&'a str>,
    /// The name under which the only type of the component is addressed.
    pub(crate) actor_type: Option<&'a str>,
}

/// Checks everything and puts it together.
pub(crate) fn plan(
    names: &Names<'_>,
    config: Option<&AppConfig>,
    factory: Arc<dyn Factory>,
    limits: Limits,
    registry: &FacetRegistry,
    outbound: &plexspaces_outbound::Client,
) -> Result<Application, Failure> {
    let description = factory.description().clone();
    let empty = AppConfig::default();
    let settings = config.unwrap_or(&empty);
    let app = same("app", names.app, settings.app.name.as_deref())?.or(names.actor_type);
    let app = match (app, description.actors.as_slice()) {
        (Some(app), _) => app,
        (None, [only]) => only.name.as_str(),
        (None, _) => return Err(Failure::invalid("app", "the component holds several types, so the application needs a name")),
    };
    let name = Name::new("application", app).map_err(|error| Failure::invalid("app", error.to_string()))?;
    let fallback = if config.is_some() { name.as_str() } else { "default" };
    let namespace = same("namespace", names.namespace, settings.app.namespace.as_deref())?.unwrap_or(fallback);
    let namespace = Name::new("namespace", namespace).map_err(|error| Failure::invalid("namespace", error.to_string()))?;

    let limits = settings.limits.over(limits);
    let (mut types, unmade) = types(&description, names.actor_type, settings, limits, registry)?;
    if let Some(unknown) = settings.types.keys().find(|name| !types.iter().any(|spec| spec.name.as_str() == *name)) {
        let known: Vec<&str> = types.iter().map(|spec| spec.name.as_str()).collect();
        return Err(invalid(format!("[types.{unknown}] is not a type of the component, which has {}", known.join(", "))));
    }
    let supervisor = settings.supervisor.clone().unwrap_or_default();
    let planner = Planner { description: &description, types: &types, settings, registry };
    let supervisor = planner.supervisor(supervisor.id.as_deref().unwrap_or("root"), &supervisor, Restart::default())?;
    complete(&mut types, unmade, &supervisor)?;
    let owner = Owner { tenant: names.tenant, namespace: &namespace, app: &name };
    let outbound = links::open(&settings.service_links, outbound, owner)?;
    let (tenant, channels) = (names.tenant.clone(), settings.channels.clone());
    Ok(Application { tenant, namespace, name, factory, earlier: Vec::new(), outbound, channels, types, supervisor })
}

fn types(
    description: &Description,
    actor_type: Option<&str>,
    settings: &AppConfig,
    limits: Limits,
    registry: &FacetRegistry,
) -> Result<(Vec<TypeSpec>, Unmade), Failure> {
    let only = description.actors.len() == 1;
    if let Some(asked) = actor_type.filter(|_| !only) {
        let has = |info: &TypeInfo| info.name == asked || info.aliases.iter().any(|alias| alias == asked);
        if !description.actors.iter().any(has) {
            let known: Vec<&str> = description.actors.iter().map(|info| info.name.as_str()).collect();
            let message = format!("the component has several types and none of them is {asked:?}; it has {}", known.join(", "));
            return Err(Failure::invalid("actor_type", message));
        }
    }
    let (mut types, mut unmade) = (Vec::new(), Vec::new());
    for info in &description.actors {
        let mut aliases = info.aliases.clone();
        let name = match actor_type {
            Some(given) if only => {
                aliases.push(info.name.clone());
                given
            }
            _ => info.name.as_str(),
        };
        let name = Name::new("actor type", name).map_err(|error| Failure::invalid("actor_type", error.to_string()))?;
        if name.as_str() == "invoke" {
            return Err(Failure::invalid("actor_type", "the type name \"invoke\" is reserved"));
        }
        aliases.retain(|alias| alias != name.as_str());
        let own = settings.types.get(name.as_str());
        let facets = own.map(|own| own.facets.as_slice()).unwrap_or_default();
        let mut profile = profile(registry, info, &[facets]).unwrap_or_else(|failure| {
            unmade.push((name.clone(), failure));
            Profile::default()
        });
        profile.limits = own.map(|own| own.limits).unwrap_or_default().over(limits);
        types.push(TypeSpec { name, guest_type: info.name.clone(), aliases, profile });
    }
    Ok((types, unmade))
}

/// Types whose facets lack something, and what.
type Unmade = Vec<(Name, Failure)>;

/// What facets lack may be said by a child's configuration: whoever is of such a type and nobody's child lives as its first
/// child does.
fn complete(types: &mut [TypeSpec], unmade: Unmade, supervisor: &SupervisorSpec) -> Result<(), Failure> {
    let children = supervisor.actors();
    for (name, failure) in unmade {
        let child = children.iter().find(|child| child.actor_type == name);
        let child = child.ok_or_else(|| invalid(format!("type {:?}: {}", name.as_str(), failure.message)))?;
        for spec in types.iter_mut().filter(|spec| spec.name == name) {
            let Profile { limits, args, .. } = std::mem::take(&mut spec.profile);
            spec.profile = Profile { limits, args, ..child.profile.clone() };
        }
    }
    Ok(())
}

/// How long an actor may go on with its present message when it is to stop, unless its configuration says otherwise.
const SHUTDOWN: Duration = Duration::from_secs(5);

/// What the children of a configuration are looked up in.
struct Planner<'a> {
    description: &'a Description,
    types: &'a [TypeSpec],
    settings: &'a AppConfig,
    registry: &'a FacetRegistry,
}

impl Planner<'_> {
    fn supervisor(&self, name: &str, config: &Supervisor, restart: Restart) -> Result<SupervisorSpec, Failure> {
        let window = config.window().map_err(wrong)?;
        let usual = SupervisorSpec::new(name, Vec::new());
        let max_restarts = config.max_restarts.unwrap_or(usual.intensity.max_restarts);
        let children = started(&config.children).map_err(wrong)?;
        let children = children.iter().map(|one| self.child(&one.name, one.child)).collect::<Result<_, _>>()?;
        Ok(SupervisorSpec {
            strategy: match config.strategy {
                Strategy::OneForOne => supervision::Strategy::OneForOne,
                Strategy::RestForOne => supervision::Strategy::RestForOne,
                Strategy::OneForAll => supervision::Strategy::OneForAll,
            },
            intensity: Intensity { max_restarts, window: window.unwrap_or(usual.intensity.window) },
            restart: kind_of(restart),
            children,
            ..usual
        })
    }

    fn child(&self, id: &str, child: &Child) -> Result<actor::Child, Failure> {
        let given = child.given_type().map_err(wrong)?;
        // A component may have a type of that name.
        let is_type = self.types.iter().any(|spec| spec.name.as_str() == "supervisor");
        if given == Some("supervisor") && !is_type {
            if let Some(key) = child.actor_key() {
                return Err(invalid(format!("child {id:?}: {key} is not for a supervisor")));
            }
            return self.supervisor(id, &child.supervisor(), child.restart).map(actor::Child::Supervisor);
        }
        if let Some(key) = child.supervisor_key() {
            return Err(invalid(format!("child {id:?}: {key} is only for a child with type = \"supervisor\"")));
        }
        self.actor(id, given, child).map(actor::Child::Actor)
    }

    fn actor(&self, id: &str, given: Option<&str>, child: &Child) -> Result<ChildSpec, Failure> {
        let Self { description, types, settings, .. } = self;
        let in_child = |message: String| invalid(format!("child {id:?}: {message}"));
        let key = Key::new(id).map_err(|error| in_child(error.to_string()))?;
        let role = child.role.as_deref();
        let args_role = child.args.get("role").and_then(|role| role.as_str());
        let find = |name: &str| {
            let spec = types.iter().find(|spec| spec.name.as_str() == name || spec.aliases.iter().any(|alias| alias == name));
            spec.and_then(|spec| description.actors.iter().find(|info| info.name == spec.guest_type).map(|info| (spec, info)))
        };
        // A role that is given must exist; the names after it may be those of the module or of the child.
        let found = match role.or(args_role) {
            Some(role) => find(role),
            None => given.and_then(find).or_else(|| find(id)).or_else(|| match types {
                [only] => find(only.name.as_str()),
                _ => None,
            }),
        };
        let Some((spec, info)) = found else {
            let asked = role.or(args_role).or(given).unwrap_or(id);
            let known: Vec<&str> = types.iter().map(|spec| spec.name.as_str()).collect();
            return Err(in_child(format!("the component has no type {asked:?}, it has {}", known.join(", "))));
        };
        if let Some(kind) = child.behavior_kind.filter(|kind| behavior(*kind) != info.behavior) {
            return Err(in_child(format!("behavior_kind is {kind:?}, but the code of {} is a {:?}", info.name, info.behavior)));
        }
        let own = settings.types.get(spec.name.as_str());
        let of_type = own.map(|own| own.facets.as_slice()).unwrap_or_default();
        let mut profile = profile(self.registry, info, &[of_type, &child.facets])
            .map_err(|failure| in_child(format!("type {:?}: {}", spec.name.as_str(), failure.message)))?;
        profile.limits = child.limits.over(spec.profile.limits);
        profile.args = child.args.clone();
        // The name of the module is another name of its only child; that of a type means the type.
        let module = given.filter(|given| find(given).is_none() && role.or(args_role) != Some(given));
        let names = role.or(args_role).into_iter().chain(module);
        let aliases = names.filter(|name| *name != id).map(str::to_owned).collect();
        let shutdown = child.shutdown_timeout.map_or(SHUTDOWN, |timeout| timeout.0);
        Ok(ChildSpec { key, actor_type: spec.name.clone(), aliases, profile, restart: kind_of(child.restart), shutdown })
    }
}

fn kind_of(restart: Restart) -> supervision::Restart {
    match restart {
        Restart::Permanent => supervision::Restart::Permanent,
        Restart::Transient => supervision::Restart::Transient,
        Restart::Temporary => supervision::Restart::Temporary,
    }
}

fn behavior(kind: BehaviorKind) -> Behavior {
    match kind {
        BehaviorKind::GenServer => Behavior::GenServer,
        BehaviorKind::GenEvent => Behavior::GenEvent,
        BehaviorKind::GenFSM => Behavior::GenFSM,
        BehaviorKind::Workflow => Behavior::Workflow,
    }
}

/// The profile that the facets of the code and then of the configuration make; a later facet replaces an earlier one of its type.
fn profile(registry: &FacetRegistry, info: &TypeInfo, configured: &[&[Facet]]) -> Result<Profile, Failure> {
    let mut lists = vec![info.facets.iter().map(|facet| Asked { name: &facet.name, priority: None, config: &facet.config }).collect()];
    for list in configured {
        lists.push(list.iter().map(Asked::from).collect());
    }
    let asked = facets::merged(registry, lists).map_err(invalid)?;
    facets::profile(registry, info.behavior, asked).map_err(invalid)
}

/// A name that two places may give must be the same in both.
fn same<'a>(field: &str, given: Option<&'a str>, configured: Option<&'a str>) -> Result<Option<&'a str>, Failure> {
    match (given, configured) {
        (Some(given), Some(configured)) if given != configured => {
            let message = format!("{field} is {given:?} in the request and {configured:?} in the configuration");
            Err(Failure::invalid(field, message))
        }
        (given, configured) => Ok(given.or(configured)),
    }
}

fn invalid(message: String) -> Failure {
    Failure::new(Code::InvalidConfig, message).with_field("config")
}

fn wrong(wrong: Wrong) -> Failure {
    invalid(wrong.message)
}

pub(crate) fn config_failure(error: ConfigError) -> Failure {
    invalid(error.to_string())
}

#[cfg(test)]
mod tests;
