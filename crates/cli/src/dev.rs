//! `plexspaces dev`: build, run, watch, and show what the actors say.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail};
use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};
use plexspaces_app::{Application, Deploy};
use plexspaces_node::{Config, FacetRegistry, Node, init_telemetry};
use plexspaces_types::Name;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::args::Dev;
use crate::builder::build_source;
use crate::out;
use crate::progress;
use crate::start::stop_on_signal;

/// Editors write a file in several steps; a build begins when they are done.
const QUIET: Duration = Duration::from_millis(150);

struct Project {
    source: PathBuf,
    config: Option<PathBuf>,
    directory: PathBuf,
}

pub(crate) async fn run(dev: &Dev) -> anyhow::Result<()> {
    let project = Project::find(&dev.path)?;
    // From now on, so that what is changed while the first build runs is built too.
    let (changes, mut changed) = mpsc::channel(64);
    let _watcher = watch(&project.directory, changes)?;
    let data_dir = dev.data_dir.clone().unwrap_or_else(|| project.directory.join(".plexspaces"));
    std::fs::create_dir_all(&data_dir).with_context(|| format!("cannot make {}", data_dir.display()))?;
    let component = data_dir.join("component.wasm");
    // The first build comes first: without a component there is nothing to run.
    build(&project, &component).await?;

    let mut config = Config::default();
    config.node.listen_addr = Some(dev.listen_addr);
    config.node.control = false;
    // No load balancer looks at it.
    config.node.drain_delay = plexspaces_app::Duration(Duration::ZERO);
    config.node.data_dir = data_dir;
    config.log.filter = Some("warn,plexspaces::guest=debug,plexspaces_actor=info".to_owned());
    let telemetry = init_telemetry(&config.log)?;
    let shutdown = CancellationToken::new();
    stop_on_signal(shutdown.clone())?;
    let node = Node::start(&config, FacetRegistry::builtin(), &telemetry, shutdown.clone()).await?;
    let url = format!("http://{}", node.addresses().data);
    let shown = progress::spinner("compiling and starting");
    let first = put(node.applications(), &project, &component).await;
    shown.finish_and_clear();
    let first = first?;
    welcome(&url, &first)?;

    let applications = node.applications().clone();
    let running = tokio::spawn(node.run());
    let mut unheard = Ok(());
    loop {
        tokio::select! {
            () = shutdown.cancelled() => break,
            Some(()) = changed.recv() => {
                settle(&mut changed).await;
                match redeploy(&applications, &project, &component).await {
                    Ok(application) => {
                        let text = format!("redeployed {} {}; state is kept\n", application.app, application.version);
                        if let Err(error) = out::write(text.as_bytes()) {
                            shutdown.cancel();
                            unheard = Err(error);
                        }
                    }
                    Err(error) => eprintln!("error: {error:#}\nthe earlier version runs on; waiting for the next change"),
                }
            }
        }
    }
    running.await?;
    unheard
}

impl Project {
    /// A file, or the directory's only Python file that is no test, or the one that is named as the directory.
    fn find(path: &Path) -> anyhow::Result<Self> {
        let path = path.canonicalize().with_context(|| format!("{} is not there", path.display()))?;
        let (source, directory) = if path.is_dir() {
            (entry_module(&path)?, path)
        } else {
            let directory = path.parent().map(Path::to_owned).unwrap_or_default();
            (path, directory)
        };
        let config = Some(directory.join("app-config.toml")).filter(|config| config.is_file());
        Ok(Self { source, config, directory })
    }
}

fn entry_module(directory: &Path) -> anyhow::Result<PathBuf> {
    let mut found: Vec<PathBuf> = Vec::new();
    for entry in std::fs::read_dir(directory).with_context(|| format!("cannot read {}", directory.display()))? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let is_test = name.starts_with("test_") || name == "conftest.py" || name == "__init__.py";
        if path.extension().is_some_and(|extension| extension == "py") && !is_test {
            found.push(path);
        }
    }
    found.sort();
    if let Some(named) = found.iter().find(|path| path.file_stem() == directory.file_name()) {
        return Ok(named.clone());
    }
    match found.as_slice() {
        [only] => Ok(only.clone()),
        [] => bail!("{} has no Python file", directory.display()),
        several => {
            let names: Vec<_> = several.iter().filter_map(|path| path.file_name()).map(|name| name.to_string_lossy()).collect();
            bail!("{} has several Python files ({}); name the one to run", directory.display(), names.join(", "))
        }
    }
}

async fn build(project: &Project, component: &Path) -> anyhow::Result<()> {
    let (source, component) = (project.source.clone(), component.to_owned());
    tokio::task::spawn_blocking(move || build_source(&source, &component)).await?
}

async fn redeploy(applications: &plexspaces_app::Applications, project: &Project, component: &Path) -> anyhow::Result<Application> {
    build(project, component).await?;
    put(applications, project, component).await
}

async fn put(applications: &plexspaces_app::Applications, project: &Project, component: &Path) -> anyhow::Result<Application> {
    let wasm = tokio::fs::read(component).await?.into();
    let config = match &project.config {
        Some(config) => Some(tokio::fs::read_to_string(config).await?),
        None => None,
    };
    // Without a configuration the file's name is the application's: several types in one file need one.
    let app = if config.is_none() { project.source.file_stem().map(|stem| stem.to_string_lossy().into_owned()) } else { None };
    let request = Deploy { wasm, config, app, ..Deploy::default() };
    Ok(applications.deploy(&Name::default_scope(), request).await?.application)
}

fn watch(directory: &Path, changes: mpsc::Sender<()>) -> anyhow::Result<RecommendedWatcher> {
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        let Ok(event) = event else { return };
        let is_source = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "py" || extension == "toml");
        if !event.kind.is_access() && event.paths.iter().any(is_source) {
            // A full queue means that a build is due anyway.
            let _ = changes.try_send(());
        }
    })?;
    watcher.watch(directory, RecursiveMode::NonRecursive).with_context(|| format!("cannot watch {}", directory.display()))?;
    Ok(watcher)
}

/// Returns when nothing has changed for a moment.
async fn settle(changed: &mut mpsc::Receiver<()>) {
    while tokio::time::timeout(QUIET, changed.recv()).await.is_ok_and(|change| change.is_some()) {}
}

fn welcome(url: &str, application: &Application) -> anyhow::Result<()> {
    outln!("\n{} runs on {url}; it is rebuilt when a source changes, Ctrl-C ends it. Try:\n", application.app);
    for kind in &application.types {
        let Some(handler) = kind.handlers.iter().find(|handler| handler.operation != "*") else { continue };
        let mut body = serde_json::Map::new();
        body.insert("op".to_owned(), handler.operation.clone().into());
        let properties = handler.parameters.get("properties").and_then(|properties| properties.as_object());
        for (name, schema) in properties.into_iter().flatten() {
            let example = schema.get("default").cloned().unwrap_or_else(|| example(schema));
            body.insert(name.clone(), example);
        }
        let body = serde_json::Value::Object(body);
        outln!("  curl '{url}/api/v1/actors/{}/{}?invocation=call' -d '{body}'", application.namespace, kind.name);
    }
    outln!("");
    Ok(())
}

fn example(schema: &serde_json::Value) -> serde_json::Value {
    match schema.get("type").and_then(|kind| kind.as_str()) {
        Some("integer" | "number") => 1.into(),
        Some("boolean") => true.into(),
        Some("array") => serde_json::json!([]),
        Some("object") => serde_json::json!({}),
        _ => "text".into(),
    }
}
