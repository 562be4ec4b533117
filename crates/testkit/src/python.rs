//! Components built from Python sources by the SDK's own command, once for each content.

use std::env;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

/// Builds the actors in `source`, a Python file, and gives the component's path. What was built for the same source, SDK and `wit/` is
/// used again.
pub fn component(source: &Path) -> Result<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().context("the repository is not there")?;
    let sdk = root.join("sdk/python/src");
    let mut hasher = DefaultHasher::new();
    for dir in [&sdk, &root.join("wit")] {
        hash_dir(dir, &mut hasher)?;
    }
    let source = source.canonicalize().with_context(|| format!("{} is not there", source.display()))?;
    fs::read(&source)?.hash(&mut hasher);
    let name = source.file_stem().context("a Python source has a name")?.to_string_lossy().into_owned();
    let dir = guests_dir(&root);
    fs::create_dir_all(&dir)?;
    let out = dir.join(format!("{name}-{:016x}.wasm", hasher.finish()));
    if out.exists() {
        return Ok(out);
    }
    let work = tempfile::Builder::new().prefix(&name).suffix(".wasm").tempfile_in(&dir)?;
    let output = Command::new("python3")
        .args(["-m", "plexspaces.build", "build"])
        .arg(&source)
        .arg("-o")
        .arg(work.path())
        .env("PYTHONPATH", &sdk)
        .output()
        .context("python3 cannot be run; install it with `apt-get install python3 python3-pip`")?;
    if !output.status.success() {
        bail!(
            "{} cannot be built, is componentize-py there? `pip install componentize-py==0.25.1`\n{}{}",
            source.display(),
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }
    work.persist(&out)?;
    Ok(out)
}

/// Where built guests are kept.
fn guests_dir(root: &Path) -> PathBuf {
    env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from).join("guests")
}

fn hash_dir(dir: &Path, hasher: &mut DefaultHasher) -> Result<()> {
    let entries = fs::read_dir(dir).with_context(|| format!("{} is not there", dir.display()))?;
    let mut paths = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    paths.sort();
    for path in paths {
        if path.is_dir() {
            if path.file_name().is_some_and(|name| name != "__pycache__") {
                hash_dir(&path, hasher)?;
            }
        } else {
            path.hash(hasher);
            fs::read(&path)?.hash(hasher);
        }
    }
    Ok(())
}
