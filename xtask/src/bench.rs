//! `make bench`: every benchmark, each with its reference in the same run.

use std::process::Command;

use anyhow::Result;

use crate::shell::{FULL, path_with, python, root, visibly};

const BENCHES: [&str; 15] = [
    "store",
    "guest",
    "invoke",
    "node",
    "runs",
    "virtual_actors",
    "blobs",
    "services",
    "channels",
    "posts",
    "topics",
    "supervision",
    "idle",
    "actors",
    "restate",
];

pub(crate) fn run() -> Result<()> {
    let path = path_with(&python()?)?;
    for bench in BENCHES {
        println!("==> {bench}");
        let mut command = Command::new("cargo");
        visibly(command.args(["bench", "--workspace", "--features", FULL, "--bench", bench]).env("PATH", &path).current_dir(root()?))?;
    }
    Ok(())
}
