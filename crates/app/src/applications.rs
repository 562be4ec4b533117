//! Deploying, undeploying, and bringing everything back when the node starts.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::RwLock;
use plexspaces_actor::{self as actor, Limits, Runtime, TypeInfo, to_the_end};
use plexspaces_store::{Batch, Partition, Range, Store};
use plexspaces_types::{ActorId, Clock, Code, Condition, Failure, Name};
use plexspaces_wasm::Engine;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::config::AppConfig;
use crate::files::ComponentFiles;
use crate::plan::{Names, config_failure, plan};

mod earlier;

/// How long a deployment's `client_token` is remembered.
const TOKEN_RETENTION_MS: u64 = 24 * 60 * 60 * 1000;

/// What deployed applications need of a node.
#[derive(Clone)]
pub struct Config {
    /// The directory that keeps the components.
    pub components: PathBuf,
    /// What an actor may use unless its application says otherwise.
    pub limits: Limits,
    /// What opens service links.
    pub outbound: plexspaces_outbound::Client,
    /// The wall clock.
    pub clock: Clock,
}

/// A deployment.
#[derive(Clone, Debug, Default)]
pub struct Deploy {
    /// Where the actors are addressed. Without it the configuration's, else the application's name, and without a configuration `default`.
    pub namespace: Option<String>,
    /// The application's name. Without it the configuration's, else `actor_type`, else the name of the component's only type.
    pub app: Option<String>,
    /// The name under which the component's only type is addressed; for a component with several, the name of the whole.
    pub actor_type: Option<String>,
    /// The component.
    pub wasm: Bytes,
    /// The text of `app-config.toml`.
    pub config: Option<String>,
    /// Shown in lists.
    pub version: Option<String>,
    /// Makes a repetition of this deployment give the first one's result.
    pub client_token: Option<String>,
    /// What becomes of runs under way that would not go on as they began.
    pub on_incompatible: OnIncompatible,
    /// What must be true of the application so far; its version is the `etag`.
    pub if_match: Option<Condition>,
}

/// What becomes of runs under way that a new version would not carry on as they began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnIncompatible {
    /// There must be none: the deployment is refused.
    #[default]
    Abort,
    /// They migrate at their next checkpoint as others do, and stand there until code comes that fits them.
    Replace,
    /// What is under way goes on with the version that it began with, to its end.
    Pin,
}

/// The result of a deployment.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Deployed {
    /// What it made run.
    pub application: Application,
    /// False when it replaced an earlier version.
    pub created: bool,
}

/// A deployed application.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Application {
    /// Who owns it.
    pub tenant: Name,
    /// Where its actors are addressed.
    pub namespace: Name,
    /// Its name, unique in its namespace.
    pub app: Name,
    /// Its version.
    pub version: String,
    /// SHA-256 of the component, in hexadecimal.
    pub digest: String,
    /// The name that the deployment gave its type, if it gave one.
    pub actor_type: Option<String>,
    /// How it is.
    pub status: Status,
    /// Its types, under the names that address them.
    pub types: Vec<TypeInfo>,
    /// The actors that live from the start; without children, the default actor of each type.
    pub actor_ids: Vec<String>,
    /// When, in milliseconds since the Unix epoch.
    pub deployed_at_ms: u64,
    /// The versions before it with which something goes on.
    pub earlier: Vec<EarlierVersion>,
    /// Another one for each component, configuration, version or name of its type.
    pub etag: String,
}

/// A version of an application that is kept for what began with it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EarlierVersion {
    /// Its version.
    pub version: String,
    /// SHA-256 of its component.
    pub digest: String,
    /// The actors whose turns go on with it.
    pub actor_ids: Vec<String>,
}

/// How an application is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Status {
    /// It works.
    Running,
    /// An actor of it failed too often of late.
    Degraded,
    /// It could not be brought back when the node started; the text says why. Deploying it again mends it.
    Failed(String),
}

/// What is stored of an application.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    tenant: Name,
    namespace: Name,
    app: Name,
    version: String,
    digest: String,
    actor_type: Option<String>,
    config: Option<String>,
    deployed_at_ms: u64,
    #[serde(default)]
    earlier: Vec<Earlier>,
}

/// What is stored of an earlier version.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Earlier {
    pub(crate) version: String,
    pub(crate) digest: String,
}

#[derive(Clone)]
struct Entry {
    record: Record,
    types: Vec<TypeInfo>,
    actor_ids: Vec<String>,
    failed: Option<String>,
    /// What runs; `None` when it could not be brought back.
    running: Option<actor::Application>,
}

/// What is stored of a deployment with a `client_token`.
#[derive(Serialize, Deserialize)]
struct Token {
    fingerprint: String,
    expires_ms: u64,
    /// What a repetition is answered, whatever has become of the application since.
    deployed: Deployed,
}

type AppKey = (Name, Name, Name);

/// The applications of this node. Clones are the same.
#[derive(Clone)]
pub struct Applications(Arc<Inner>);

struct Inner {
    config: Config,
    files: ComponentFiles,
    store: Arc<dyn Store>,
    runtime: Runtime,
    engine: Engine,
    entries: RwLock<BTreeMap<AppKey, Entry>>,
    /// Held while something is deployed or undeployed.
    changing: tokio::sync::Mutex<()>,
}

impl Applications {
    /// The applications of a node, with what was deployed earlier.
    pub async fn open(config: Config, store: Arc<dyn Store>, runtime: Runtime, engine: Engine) -> Result<Self, Failure> {
        let applications = Self::new(config, store, runtime, engine)?;
        applications.bring_back().await?;
        Ok(applications)
    }

    /// The applications of a node before [`Applications::bring_back`]: none, without a look at the store.
    pub fn new(config: Config, store: Arc<dyn Store>, runtime: Runtime, engine: Engine) -> Result<Self, Failure> {
        let files = ComponentFiles::open(config.components.clone())?;
        let entries = RwLock::default();
        let changing = tokio::sync::Mutex::default();
        Ok(Self(Arc::new(Inner { config, files, store, runtime, engine, entries, changing })))
    }

    /// Brings back what was deployed earlier. An application that cannot be brought back is listed as failed; the others run. When the
    /// store cannot be read, nothing is brought back, and it may be tried again.
    pub async fn bring_back(&self) -> Result<(), Failure> {
        for record in self.stored().await? {
            let entry = match self.load(&record).await {
                Ok(entry) => entry,
                Err(failure) => {
                    tracing::error!(app = %record.app, namespace = %record.namespace, %failure, "an application could not be brought back");
                    Entry { record, types: Vec::new(), actor_ids: Vec::new(), failed: Some(failure.message), running: None }
                }
            };
            self.0.entries.write().insert(entry.record.key(), entry);
        }
        self.watch_earlier();
        Ok(())
    }

    /// Deploys an application or replaces the one of the same name. It returns when the application answers; then it also survives a
    /// restart of the node. When it fails, what ran before runs on. Who stops waiting leaves nothing half done.
    pub async fn deploy(&self, tenant: &Name, request: Deploy) -> Result<Deployed, Failure> {
        let (own, tenant) = (self.clone(), tenant.clone());
        to_the_end(async move { own.deploy_whole(&tenant, request).await }).await
    }

    async fn deploy_whole(&self, tenant: &Name, request: Deploy) -> Result<Deployed, Failure> {
        let _changing = self.0.changing.lock().await;
        let fingerprint = fingerprint(&request);
        if let Some(token) = &request.client_token
            && let Some(earlier) = self.earlier(tenant, token, &fingerprint).await?
        {
            return Ok(earlier);
        }
        let config = request.config.as_deref().map(AppConfig::parse).transpose().map_err(config_failure)?;
        let component = self.0.engine.load(request.wasm.clone()).await.map_err(component_failure)?;
        let names = Names {
            tenant,
            namespace: request.namespace.as_deref(),
            app: request.app.as_deref(),
            actor_type: request.actor_type.as_deref(),
        };
        let digest = component.digest().to_owned();
        let mut running =
            plan(&names, config.as_ref(), component, self.0.config.limits, self.0.runtime.facet_registry(), &self.0.config.outbound)?;
        let version = request.version.clone().or_else(|| config.and_then(|config| config.app.version));
        let mut record = Record {
            tenant: tenant.clone(),
            namespace: running.namespace.clone(),
            app: running.name.clone(),
            version: version.unwrap_or_else(|| digest.chars().take(12).collect()),
            digest: digest.clone(),
            actor_type: request.actor_type.clone(),
            config: request.config.clone(),
            deployed_at_ms: self.0.config.clock.now_ms(),
            earlier: Vec::new(),
        };
        let key = record.key();
        let previous = self.0.entries.read().get(&key).cloned();
        let etag = previous.as_ref().map(|previous| previous.record.etag());
        if let Some(condition) = &request.if_match {
            condition.check(&record.path(), etag.as_deref())?;
        }
        if let Some(previous) = &previous {
            record.earlier = previous.earlier_than(&digest, request.on_incompatible);
            running.earlier = self.earlier_versions(&record).await;
            if request.on_incompatible == OnIncompatible::Pin && running.earlier.len() < record.earlier.len() {
                return Err(Failure::new(
                    Code::StorageFailed,
                    "an earlier version that is to be kept cannot be read; the node's log has the details",
                ));
            }
            if previous.record.digest != digest {
                let checked = self.check_upgrade(&running, request.on_incompatible).await;
                checked.map_err(|failure| failure.with_resource(record.path(), etag))?;
            }
        }
        self.0.files.put(&digest, request.wasm.clone()).await?;
        let entry = Entry::new(record, running.clone());
        let created = previous.is_none();
        let deployed = async {
            self.0.runtime.deploy(&running).await.map_err(|failure| failure.with_resource(entry.record.path(), None))?;
            let deployed = Deployed { application: self.show(&entry).await?, created };
            self.remember(&entry.record, request.client_token.as_deref(), fingerprint, &deployed).await?;
            Ok(deployed)
        };
        let deployed = deployed.await;
        if deployed.is_err() {
            match previous.and_then(|previous| previous.running) {
                Some(previous) => self.0.runtime.deploy(&previous).await?,
                None => self.0.runtime.undeploy(&running.tenant, &running.namespace, &running.name).await.unwrap_or_else(|failure| {
                    tracing::warn!(app = %running.name, tenant = %running.tenant, %failure, "something of an application that is gone is left behind");
                }),
            }
            self.forget_component(&digest).await;
            return deployed;
        }
        let replaced = self.0.entries.write().insert(key, entry.clone());
        if let Some(replaced) = &replaced {
            self.forget_components(&replaced.record).await;
        }
        self.0.runtime.earlier_ended().notify_one();
        tracing::info!(app = %entry.record.app, namespace = %entry.record.namespace, version = %entry.record.version, created, "deployed");
        deployed
    }

    /// Removes an application. Messages that its actors have accepted are handled; what its durable actors stored stays for a later
    /// deployment under the same names. Names in the registry, tuples `["svc", name, actor]` and subscriptions of its actors are removed.
    pub async fn undeploy(&self, tenant: &Name, namespace: Option<&str>, app: &str, condition: Option<Condition>) -> Result<(), Failure> {
        let (own, tenant, namespace, app) = (self.clone(), tenant.clone(), namespace.map(str::to_owned), app.to_owned());
        to_the_end(async move { own.undeploy_whole(&tenant, namespace.as_deref(), &app, condition).await }).await
    }

    async fn undeploy_whole(&self, tenant: &Name, namespace: Option<&str>, app: &str, condition: Option<Condition>) -> Result<(), Failure> {
        let _changing = self.0.changing.lock().await;
        let entry = self.find(tenant, namespace, app)?;
        if let Some(condition) = condition {
            condition.check(&entry.record.path(), Some(&entry.record.etag()))?;
        }
        let mut batch = Batch::new(partition());
        batch.delete(entry.record.store_key());
        self.0.store.commit(batch).await?;
        let forgotten = self.0.runtime.undeploy(tenant, &entry.record.namespace, &entry.record.app).await;
        self.0.entries.write().remove(&entry.record.key());
        self.forget_components(&entry.record).await;
        tracing::info!(app = %entry.record.app, namespace = %entry.record.namespace, "undeployed");
        forgotten.map_err(|failure| {
            let message = format!("{app} is undeployed, but something of it is left behind: {}", failure.message);
            Failure { message, ..failure }
        })
    }

    /// One application; without a namespace its name must be unique in the tenant.
    pub async fn get(&self, tenant: &Name, namespace: Option<&str>, app: &str) -> Result<Application, Failure> {
        let entry = self.find(tenant, namespace, app)?;
        self.show(&entry).await
    }

    /// The applications of a tenant in order of namespace and name, after the one that prints as `after` (`namespace/app`), at most
    /// `limit`; and whether there are more.
    pub async fn list(
        &self,
        tenant: &Name,
        namespace: Option<&str>,
        after: Option<&str>,
        limit: usize,
    ) -> Result<(Vec<Application>, bool), Failure> {
        let after =
            after.map(|after| after.split_once('/').ok_or_else(|| Failure::invalid("page_token", "the page token is not of this list")));
        let after = after.transpose()?;
        let is_wanted = |entry: &&Entry| {
            let Record { tenant: owner, namespace: place, app, .. } = &entry.record;
            owner == tenant
                && namespace.is_none_or(|namespace| place.as_str() == namespace)
                && after.is_none_or(|after| (place.as_str(), app.as_str()) > after)
        };
        let wanted: Vec<Entry> = self.0.entries.read().values().filter(is_wanted).take(limit.saturating_add(1)).cloned().collect();
        let mut found = Vec::with_capacity(wanted.len());
        for entry in wanted.iter().take(limit) {
            found.push(self.show(entry).await?);
        }
        Ok((found, wanted.len() > limit))
    }

    /// How many applications there are, and how many of them are not well.
    #[must_use]
    pub fn counts(&self) -> (usize, usize) {
        let entries = self.0.entries.read();
        (entries.len(), entries.values().filter(|entry| self.status(entry) != Status::Running).count())
    }

    fn find(&self, tenant: &Name, namespace: Option<&str>, app: &str) -> Result<Entry, Failure> {
        let entries = self.0.entries.read();
        let mut found = entries.values().filter(|entry| {
            let record = &entry.record;
            record.tenant == *tenant
                && record.app.as_str() == app
                && namespace.is_none_or(|namespace| record.namespace.as_str() == namespace)
        });
        match (found.next(), found.next()) {
            (Some(entry), None) => Ok(entry.clone()),
            (None, _) => Err(Failure::not_found(match namespace {
                Some(namespace) => format!("unknown application {app:?} in namespace {namespace}"),
                None => format!("unknown application {app:?}"),
            })),
            (Some(one), Some(other)) => {
                let places = format!("{} and {}", one.record.namespace, other.record.namespace);
                Err(Failure::invalid("namespace", format!("{app:?} is deployed in the namespaces {places}; say which one is meant")))
            }
        }
    }

    fn status(&self, entry: &Entry) -> Status {
        let record = &entry.record;
        match &entry.failed {
            Some(why) => Status::Failed(why.clone()),
            None if self.0.runtime.is_degraded(&record.tenant, &record.namespace, &record.app) => Status::Degraded,
            None => Status::Running,
        }
    }

    async fn show(&self, entry: &Entry) -> Result<Application, Failure> {
        let record = entry.record.clone();
        let (status, earlier) = (self.status(entry), self.show_earlier(entry).await?);
        Ok(Application {
            etag: record.etag(),
            tenant: record.tenant,
            namespace: record.namespace,
            app: record.app,
            version: record.version,
            digest: record.digest,
            actor_type: record.actor_type,
            status,
            types: entry.types.clone(),
            actor_ids: entry.actor_ids.clone(),
            deployed_at_ms: record.deployed_at_ms,
            earlier,
        })
    }

    async fn load(&self, record: &Record) -> Result<Entry, Failure> {
        let wasm = self.0.files.get(&record.digest).await?;
        let component = self.0.engine.load(wasm).await.map_err(component_failure)?;
        if component.digest() != record.digest {
            return Err(Failure::new(Code::StorageFailed, "the stored component is damaged; deploy it again"));
        }
        let config = record.config.as_deref().map(AppConfig::parse).transpose().map_err(config_failure)?;
        let names = Names {
            tenant: &record.tenant,
            namespace: Some(record.namespace.as_str()),
            app: Some(record.app.as_str()),
            actor_type: record.actor_type.as_deref(),
        };
        let mut running =
            plan(&names, config.as_ref(), component, self.0.config.limits, self.0.runtime.facet_registry(), &self.0.config.outbound)?;
        running.earlier = self.earlier_versions(record).await;
        self.0.runtime.resume(&running)?;
        Ok(Entry::new(record.clone(), running))
    }

    async fn stored(&self) -> Result<Vec<Record>, Failure> {
        let mut range = Range::prefix(b"app/");
        let mut records = Vec::new();
        loop {
            let page = self.0.store.scan(&partition(), range.clone(), 100).await?;
            for (_, value) in &page.entries {
                let unreadable = |error| Failure::new(Code::StorageFailed, format!("the record of an application is unreadable: {error}"));
                records.push(serde_json::from_slice(value).map_err(unreadable)?);
            }
            match page.entries.last() {
                Some((last, _)) if page.more => range = range.after(last),
                _ => return Ok(records),
            }
        }
    }

    /// The result of an earlier deployment with this token.
    async fn earlier(&self, tenant: &Name, token: &str, fingerprint: &str) -> Result<Option<Deployed>, Failure> {
        let Some(value) = self.0.store.get(&partition(), &token_key(tenant, token)).await? else { return Ok(None) };
        let unreadable = |error| Failure::new(Code::StorageFailed, format!("the record of a token is unreadable: {error}"));
        let stored: Token = serde_json::from_slice(&value).map_err(unreadable)?;
        if stored.expires_ms <= self.0.config.clock.now_ms() {
            return Ok(None);
        }
        if stored.fingerprint != fingerprint {
            let Application { namespace, app, .. } = stored.deployed.application;
            let message = format!("client_token was used for another deployment, that of {namespace}/{app}");
            let path = format!("applications/{namespace}/{app}");
            let etag = self.0.entries.read().get(&(tenant.clone(), namespace, app)).map(|entry| entry.record.etag());
            return Err(Failure::new(Code::Conflict, message).with_field("client_token").with_resource(path, etag));
        }
        Ok(Some(stored.deployed))
    }

    async fn remember(&self, record: &Record, token: Option<&str>, fingerprint: String, deployed: &Deployed) -> Result<(), Failure> {
        let encode = |error: serde_json::Error| Failure::new(Code::Internal, error.to_string());
        let now = self.0.config.clock.now_ms();
        let mut batch = Batch::new(partition());
        batch.put(record.store_key(), serde_json::to_vec(record).map_err(encode)?);
        // Tokens whose time is over go when a new one comes.
        if let Some(token) = token {
            let page = self.0.store.scan(&partition(), Range::prefix(b"token/"), 100).await?;
            for (key, value) in page.entries {
                if serde_json::from_slice::<Token>(&value).is_ok_and(|token| token.expires_ms <= now) {
                    batch.delete(key);
                }
            }
            let expires_ms = now.saturating_add(TOKEN_RETENTION_MS);
            let stored = Token { fingerprint, expires_ms, deployed: deployed.clone() };
            batch.put(token_key(&record.tenant, token), serde_json::to_vec(&stored).map_err(encode)?);
        }
        Ok(self.0.store.commit(batch).await?)
    }

    /// Removes a component that no application uses any more.
    async fn forget_component(&self, digest: &str) {
        let used = self.0.entries.read().values().any(|entry| entry.record.digests().any(|used| used == digest));
        if !used {
            self.0.files.remove(digest).await;
        }
    }
}

impl Record {
    fn key(&self) -> AppKey {
        (self.tenant.clone(), self.namespace.clone(), self.app.clone())
    }

    /// The components that it needs.
    fn digests(&self) -> impl Iterator<Item = &str> {
        self.earlier.iter().map(|earlier| earlier.digest.as_str()).chain([self.digest.as_str()])
    }

    /// What errors call it.
    fn path(&self) -> String {
        format!("applications/{}/{}", self.namespace, self.app)
    }

    fn etag(&self) -> String {
        let deployed = serde_json::json!([self.digest, self.config, self.version, self.actor_type]);
        format!("{:x}", Sha256::digest(deployed.to_string()))
    }

    fn store_key(&self) -> Vec<u8> {
        format!("app/{}/{}/{}", self.tenant, self.namespace, self.app).into_bytes()
    }
}

impl Entry {
    fn new(record: Record, running: actor::Application) -> Self {
        let id = |actor_type: &Name, key: &dyn std::fmt::Display| format!("{}/{actor_type}/{key}", running.namespace);
        let mut actor_ids: Vec<String> = running.supervisor.actors().into_iter().map(|child| id(&child.actor_type, &child.key)).collect();
        if actor_ids.is_empty() {
            actor_ids = running.types.iter().map(|spec| id(&spec.name, &spec.name)).collect();
        }
        let described = &running.factory.description().actors;
        let types = running.types.iter().filter_map(|spec| {
            let info = described.iter().find(|info| info.name == spec.guest_type)?;
            Some(TypeInfo { name: spec.name.to_string(), aliases: spec.aliases.clone(), ..info.clone() })
        });
        Self { record, types: types.collect(), actor_ids, failed: None, running: Some(running) }
    }
}

fn partition() -> Partition {
    Partition::node("applications")
}

fn token_key(tenant: &Name, token: &str) -> Vec<u8> {
    format!("token/{tenant}/{token}").into_bytes()
}

/// What tells one deployment from another under the same token.
fn fingerprint(request: &Deploy) -> String {
    let Deploy { namespace, app, actor_type, wasm, config, version, client_token: _, on_incompatible: _, if_match } = request;
    let digest = format!("{:x}", Sha256::digest(wasm));
    serde_json::json!([namespace, app, actor_type, digest, config, version, if_match]).to_string()
}

pub(crate) fn component_failure(error: plexspaces_wasm::Error) -> Failure {
    Failure::new(error.code(), error.to_string()).with_field("wasm")
}
