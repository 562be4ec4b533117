//! Servers that are written in Go, built once from their sources.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

/// The program of a package at a version, which is built once. It is kept in `~/.cache/plexspaces/servers`. Tests that run at the same time
/// wait for the first of them.
pub fn program(package: &str, version: &str) -> Result<PathBuf> {
    let name = package.rsplit('/').next().unwrap_or(package);
    let home = std::env::var_os("HOME").context("HOME is not set")?;
    let all = PathBuf::from(home).join(".cache/plexspaces/servers");
    fs::create_dir_all(&all)?;
    let directory = all.join(format!("{name}-{version}"));
    let program = directory.join(name);
    let lock = File::create(all.join(format!("{name}.lock")))?;
    lock.lock()?;
    if !program.is_file() {
        fs::create_dir_all(&directory)?;
        eprintln!("building {name} with Go");
        let mut go = Command::new("go");
        // Without C it needs no compiler but Go's own. It has to be found where Go is not on the path of whoever runs the tests.
        let path = format!("{}:/usr/local/go/bin", std::env::var("PATH").unwrap_or_default());
        go.arg("install").arg(format!("{package}@{version}")).env("GOBIN", &directory).env("CGO_ENABLED", "0").env("PATH", path);
        let output = go.stdin(Stdio::null()).output().context("go cannot be run: install Go 1.21 or newer")?;
        if !output.status.success() {
            bail!("Go could not build {name}: {}", String::from_utf8_lossy(&output.stderr));
        }
    }
    Ok(program)
}
