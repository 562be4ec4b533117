//! Makes components of sources by the builder of their language.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, bail};

use crate::args::Build;
use crate::progress;

const INSTALL: &str =
    "the Python builder is not installed; install it from the repository with: pip install ./sdk/python componentize-py==0.25.1";

pub(crate) fn run(build: &Build) -> anyhow::Result<()> {
    let output = build.output.clone().unwrap_or_else(|| build.file.with_extension("wasm"));
    build_source(&build.file, &output)
}

/// Builds a component; the builder's own output goes to the terminal.
pub(crate) fn build_source(source: &Path, output: &Path) -> anyhow::Result<()> {
    match source.extension().and_then(|extension| extension.to_str()) {
        Some("py") => {}
        _ => bail!("{} cannot be built: expected a Python file (.py)", source.display()),
    }
    let mut command = python_builder()?;
    let shown = progress::spinner(&format!("building {}", source.display()));
    let built = command.arg("build").arg(source).arg("-o").arg(output).stdin(Stdio::null()).output();
    shown.finish_and_clear();
    let built = built.with_context(|| format!("cannot run {:?}", command.get_program()))?;
    crate::out::write(&built.stdout)?;
    std::io::stderr().write_all(&built.stderr)?;
    if !built.status.success() {
        bail!("{} was not built", source.display());
    }
    Ok(())
}

/// The installed command, else the module of a Python that can import it.
fn python_builder() -> anyhow::Result<Command> {
    if let Some(program) = find("plexspaces-py") {
        return Ok(Command::new(program));
    }
    let can_import = Command::new("python3").args(["-c", "import plexspaces.build"]).stdout(Stdio::null()).stderr(Stdio::null()).status();
    if can_import.is_ok_and(|status| status.success()) {
        let mut command = Command::new("python3");
        command.args(["-m", "plexspaces.build"]);
        return Ok(command);
    }
    bail!(INSTALL)
}

fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|directory| directory.join(program)).find(|candidate| candidate.is_file())
}
