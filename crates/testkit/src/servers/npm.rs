//! Servers that run on Node.js, brought with npm.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

/// The directory of a package at a version, which is brought once. It is kept in `~/.cache/plexspaces/servers`. Tests that run at the same
/// time wait for the first of them.
pub fn package(name: &str, version: &str) -> Result<PathBuf> {
    let home = std::env::var_os("HOME").context("HOME is not set")?;
    let all = PathBuf::from(home).join(".cache/plexspaces/servers");
    fs::create_dir_all(&all)?;
    let directory = all.join(format!("{name}-{version}"));
    let lock = File::create(all.join(format!("{name}.lock")))?;
    lock.lock()?;
    if !directory.join("complete").exists() {
        fs::create_dir_all(&directory)?;
        eprintln!("bringing {name} with npm");
        let mut npm = Command::new("npm");
        npm.arg("install").arg("--prefix").arg(&directory).args([
            "--ignore-scripts",
            "--omit=optional",
            "--omit=dev",
            "--no-audit",
            "--no-fund",
        ]);
        npm.arg(format!("{name}@{version}")).current_dir(&directory).stdin(Stdio::null());
        let output = npm.output().context("npm cannot be run: apt-get install nodejs npm")?;
        if !output.status.success() {
            bail!("npm could not bring {name}: {}", String::from_utf8_lossy(&output.stderr));
        }
        File::create(directory.join("complete"))?;
    }
    Ok(directory.join("node_modules").join(name))
}
