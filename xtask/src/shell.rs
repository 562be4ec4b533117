//! What the commands share: where things are, how programs are run, and the Python environment.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

/// What the Python environment holds.
const PACKAGES: [&str; 7] =
    ["componentize-py==0.25.1", "mypy==2.4.1", "openapi-spec-validator", "pytest", "setuptools>=77", "wasmtime==50.0.1", "wheel"];

/// The feature with everything that is optional.
pub(crate) const FULL: &str = "plexspaces-cli/full";

/// The repository. Cargo says at run time where it is: checkouts that share a target directory also share this program.
pub(crate) fn root() -> Result<PathBuf> {
    let manifest = std::env::var_os("CARGO_MANIFEST_DIR").context("run this as `cargo xtask`")?;
    Path::new(&manifest).join("..").canonicalize().context("the repository is not there")
}

/// What outlives a checkout.
pub(crate) fn cache() -> Result<PathBuf> {
    let home = env::var_os("HOME").context("HOME is not set")?;
    Ok(PathBuf::from(home).join(".cache/plexspaces"))
}

/// Where cargo puts what it builds.
pub(crate) fn target() -> Result<PathBuf> {
    Ok(env::var_os("CARGO_TARGET_DIR").map_or(root()?.join("target"), PathBuf::from))
}

/// Runs a command whose output the user sees.
pub(crate) fn visibly(command: &mut Command) -> Result<()> {
    let status = command.stdin(Stdio::null()).status().with_context(|| missing(command))?;
    if !status.success() {
        bail!("{command:?} failed ({status})");
    }
    Ok(())
}

/// What to say of a program that cannot be run.
pub(crate) fn missing(command: &Command) -> String {
    let program = command.get_program().to_string_lossy().into_owned();
    let remedy = match program.rsplit('/').next().unwrap_or_default() {
        "cc" | "gcc" => "install it with: apt-get install build-essential",
        "python3" => "install it with: apt-get install python3 python3-venv",
        "cargo" => "install Rust with rustup",
        _ => "is it installed?",
    };
    format!("cannot run {program}; {remedy}")
}

/// A Python environment with the SDK and its tools. It is made again when what it should hold has changed.
pub(crate) fn python() -> Result<PathBuf> {
    let (root, directory) = (root()?, cache()?.join("venv"));
    let bin = directory.join("bin");
    let wanted = format!("{PACKAGES:?} {}", root.display());
    let stamp = directory.join("plexspaces-packages");
    if fs::read_to_string(&stamp).is_ok_and(|found| found == wanted) && bin.join("plexspaces-py").is_file() {
        return Ok(bin);
    }
    eprintln!("making the Python environment in {}", directory.display());
    fs::create_dir_all(cache()?)?;
    if visibly(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&directory)).is_err() {
        bail!("python3 cannot make a virtual environment; install what it needs with: apt-get install python3 python3-venv");
    }
    let pip = |arguments: &[&str]| {
        let mut command = Command::new(bin.join("python"));
        visibly(command.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]).args(arguments).current_dir(&root))
    };
    pip(&PACKAGES)?;
    pip(&["--no-build-isolation", "--editable", "sdk/python"])?;
    fs::write(stamp, wanted)?;
    Ok(bin)
}

/// PATH with the Python environment before everything else.
pub(crate) fn path_with(bin: &Path) -> Result<std::ffi::OsString> {
    let path = env::var_os("PATH").unwrap_or_default();
    Ok(env::join_paths([bin.to_owned()].into_iter().chain(env::split_paths(&path)))?)
}

/// The SDK carries the guest's contract with it, since it is installed without the repository.
pub(crate) fn copy_wit(check: bool) -> Result<()> {
    let root = root()?;
    let target = root.join("sdk/python/src/plexspaces/wit");
    fs::create_dir_all(&target)?;
    for entry in fs::read_dir(root.join("wit"))? {
        let source = entry?.path();
        let copy = target.join(source.file_name().context("a file has a name")?);
        let text = fs::read(&source)?;
        if fs::read(&copy).is_ok_and(|found| found == text) {
            continue;
        }
        if check {
            bail!("{} is not the same as {}; run: make gen", copy.display(), source.display());
        }
        fs::write(&copy, text)?;
    }
    Ok(())
}
