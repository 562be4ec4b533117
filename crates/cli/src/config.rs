//! `plexspaces config`: what a configuration means before a node runs with it.

use std::path::Path;

use anyhow::Context as _;
use plexspaces_app::AppConfig;
use plexspaces_node::Config;

use crate::args::{ConfigCommand, Start};
use crate::out;
use crate::start::configuration;

pub(crate) fn run(command: &ConfigCommand) -> anyhow::Result<()> {
    match command {
        ConfigCommand::Check { file, app } => check(file, *app),
        ConfigCommand::Dump(start) => out::write(configuration(start)?.effective().masked().to_toml()?.as_bytes()),
        ConfigCommand::Schema { app } => {
            let schema = if *app { AppConfig::schema() } else { Config::schema() };
            outln!("{}", serde_json::to_string_pretty(&schema)?);
            Ok(())
        }
    }
}

fn check(file: &Path, app: bool) -> anyhow::Result<()> {
    let is_app = app || file.file_name().is_some_and(|name| name == "app-config.toml");
    if is_app {
        let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
        AppConfig::parse(&text)?;
    } else {
        configuration(&Start::of(file)?)?.check_whole()?;
    }
    outln!("{} is a valid configuration of {}", file.display(), if is_app { "an application" } else { "a node" });
    Ok(())
}
