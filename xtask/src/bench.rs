//! `make bench`: every benchmark, each with its reference in the same run.

use std::process::Command;

use anyhow::Result;

use crate::shell::{path_with, python, root, visibly};

/// Package and benchmark.
const BENCHES: [(&str, &str); 4] =
    [("plexspaces-store-sql", "store"), ("plexspaces-wasm", "guest"), ("plexspaces-api", "invoke"), ("plexspaces-node", "node")];

pub(crate) fn run() -> Result<()> {
    let path = path_with(&python()?)?;
    for (package, bench) in BENCHES {
        println!("==> {package}: {bench}");
        let mut command = Command::new("cargo");
        visibly(command.args(["bench", "--package", package, "--bench", bench]).env("PATH", &path).current_dir(root()?))?;
    }
    Ok(())
}
