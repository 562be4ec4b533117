//! Components built from Python sources, once for each content.

use std::env;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

const COUNTER: &str = include_str!("guests/counter.py");

/// Builds the actors in `source`, a Python file, with the SDK's `plexspaces-py build`, and gives the component's path. What was built of
/// the same source, SDK and `wit/` is used again.
pub fn component(source: &Path) -> Result<PathBuf> {
    let root = root()?;
    let sdk = root.join("sdk/python/src");
    let source = source.canonicalize().with_context(|| format!("{} is not there", source.display()))?;
    let name = source.file_stem().context("a Python source has a name")?.to_string_lossy().into_owned();
    build_once(&name, &[&sdk, &root.join("wit"), &source], |out| {
        let mut command = Command::new("python3");
        command.args(["-m", "plexspaces.build", "build"]).arg(&source).arg("-o").arg(out).env("PYTHONPATH", &sdk);
        command
    })
}

/// Builds a counter that is written without the SDK, as `guests/counter.py` shows.
pub fn counter() -> Result<PathBuf> {
    let root = root()?;
    let wit = root.join("wit");
    let source = tempfile::tempdir()?;
    let module = source.path().join("counter.py");
    fs::write(&module, COUNTER)?;
    build_once("bare-counter", &[&wit, &module], |out| {
        let mut command = Command::new("componentize-py");
        command.arg("-d").arg(&wit).args(["-w", "actor", "componentize", "counter", "-o"]).arg(out).current_dir(source.path());
        command
    })
}

/// Where nodes of several tests may keep what they compile, which for such a component takes both processors for seconds.
pub fn compiled() -> Result<PathBuf> {
    let dir = kept()?.join("compiled");
    fs::create_dir_all(&dir)?;
    Ok(dir)
}

/// Where components are kept from one run of tests to the next.
fn kept() -> Result<PathBuf> {
    let dir = env::var_os("CARGO_TARGET_DIR").map_or(root()?.join("target"), PathBuf::from).join("guests");
    fs::create_dir_all(&dir)?;
    Ok(dir)
}

fn root() -> Result<PathBuf> {
    crate::repository().canonicalize().context("the repository is not there")
}

/// Runs `command` for a new file unless there is one for the present content of `inputs`.
fn build_once(name: &str, inputs: &[&Path], command: impl FnOnce(&Path) -> Command) -> Result<PathBuf> {
    let mut hasher = DefaultHasher::new();
    for input in inputs {
        hash(input, &mut hasher)?;
    }
    let dir = kept()?;
    let out = dir.join(format!("{name}-{:016x}.wasm", hasher.finish()));
    if out.exists() {
        return Ok(out);
    }
    let work = tempfile::Builder::new().prefix(name).suffix(".wasm").tempfile_in(&dir)?;
    let mut command = command(work.path());
    let missing = "is componentize-py there? `pip install componentize-py==0.25.1`";
    let output = command.output().with_context(|| format!("{:?} cannot be run: {missing}", command.get_program()))?;
    if !output.status.success() {
        let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        bail!("{command:?} failed; {missing}\n{stdout}{stderr}");
    }
    work.persist(&out)?;
    Ok(out)
}

fn hash(path: &Path, hasher: &mut DefaultHasher) -> Result<()> {
    if path.is_file() {
        path.file_name().hash(hasher);
        fs::read(path)?.hash(hasher);
        return Ok(());
    }
    let entries = fs::read_dir(path).with_context(|| format!("{} is not there", path.display()))?;
    let mut paths = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    paths.sort();
    paths.iter().filter(|path| path.file_name().is_none_or(|name| name != "__pycache__")).try_for_each(|path| hash(path, hasher))
}
