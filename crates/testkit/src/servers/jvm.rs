//! Servers that run on Java, brought with Maven.

use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

/// The class path of what a `pom.xml` names, which is brought once for each text of it.
///
/// It is kept in `~/.cache/plexspaces/servers`. Tests that run at the same time wait for the first of them.
pub fn class_path(name: &str, pom: &str) -> Result<String> {
    let home = std::env::var_os("HOME").context("HOME is not set")?;
    let all = PathBuf::from(home).join(".cache/plexspaces/servers");
    fs::create_dir_all(&all)?;
    let mut hasher = DefaultHasher::new();
    pom.hash(&mut hasher);
    let directory = all.join(format!("{name}-{:016x}", hasher.finish()));
    let lock = File::create(all.join(format!("{name}.lock")))?;
    lock.lock()?;
    if !directory.join("complete").exists() {
        fs::create_dir_all(&directory)?;
        fs::write(directory.join("pom.xml"), pom)?;
        eprintln!("bringing {name} with Maven");
        let mut maven = Command::new("mvn");
        maven.args(["-q", "-B", "dependency:copy-dependencies", "-DoutputDirectory=lib"]).current_dir(&directory).stdin(Stdio::null());
        let output = maven.output().context("mvn cannot be run: apt-get install maven")?;
        if !output.status.success() {
            let text = String::from_utf8_lossy(&output.stdout);
            bail!("Maven could not bring {name}: {text}{}", String::from_utf8_lossy(&output.stderr));
        }
        File::create(directory.join("complete"))?;
    }
    Ok(directory.join("lib").join("*").display().to_string())
}
