//! `make soak`: the soak test of the runtime for as long as one likes.

use std::process::Command;

use anyhow::Result;

use crate::shell::{root, visibly};

pub(crate) fn run(time: &str, seed: Option<u64>) -> Result<()> {
    let mut command = Command::new("cargo");
    command.args(["test", "--workspace", "--test", "soak", "--", "--nocapture"]).env("PLEXSPACES_SOAK", time);
    if let Some(seed) = seed {
        command.env("PLEXSPACES_SOAK_SEED", seed.to_string());
    }
    visibly(command.current_dir(root()?))
}
