//! The `plexspaces` command: the node itself, and what an operator or developer does with one.
//!
//! Exit status: 0 when it was done, 1 when it failed, 2 when the command was wrong.

// What cannot be written is an error: see `out`.
#![deny(clippy::print_stdout)]

#[macro_use]
mod out;

mod args;
mod blob;
mod builder;
mod config;
mod deploy;
mod dev;
mod environment;
mod facets;
mod inspect;
mod journal;
mod lock;
mod operate;
mod progress;
mod services;
mod start;
mod table;
mod target;

use std::io::Write as _;
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser as _};

use crate::args::{Cli, Command};

#[global_allocator]
static ALLOCATOR: plexspaces_node::Allocator = plexspaces_node::Allocator;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&anyhow::Error::new(error).context("cannot start the runtime")),
    };
    match runtime.block_on(run(cli)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(&error),
    }
}

fn failed(error: &anyhow::Error) -> ExitCode {
    if error.is::<out::NobodyReads>() {
        return ExitCode::SUCCESS;
    }
    // The exit status says it where this cannot.
    let _ = writeln!(std::io::stderr(), "error: {}", out::whole(error));
    ExitCode::FAILURE
}

async fn run(cli: Cli) -> anyhow::Result<()> {
    match cli.command {
        Command::Start(start) => start::run(&start).await,
        Command::Dev(dev) => dev::run(&dev).await,
        Command::Build(build) => builder::run(&build),
        Command::Deploy(deploy) => deploy::deploy(&cli.remote, &deploy).await,
        Command::Undeploy(undeploy) => deploy::undeploy(&cli.remote, &undeploy).await,
        Command::List(list) => inspect::list(&cli.remote, &list).await,
        Command::Status => inspect::status(&cli.remote).await,
        Command::Invoke(invoke) => inspect::invoke(&cli.remote, &invoke).await,
        Command::Logs(logs) => inspect::logs(&cli.remote, &logs).await,
        Command::Top(top) => operate::top(&cli.remote, &top).await,
        Command::Tree(tree) => operate::tree(&cli.remote, &tree).await,
        Command::History(history) => operate::history(&cli.remote, &history).await,
        Command::DeadLetters { namespace, command } => operate::dead_letters(&cli.remote, &namespace, &command).await,
        Command::Facets { command } => facets::run(&cli.remote, &command).await,
        Command::Workflow { command } => journal::workflow(&cli.remote, &command).await,
        Command::Journal { command } => journal::journal(&cli.remote, &command).await,
        Command::Replay { file, wasm } => journal::replay(&file, &wasm).await,
        Command::Ts { namespace, command } => services::ts(&cli.remote, &namespace, &command).await,
        Command::Channel { namespace, command } => services::channel(&cli.remote, &namespace, &command).await,
        Command::Group { namespace, command } => services::group(&cli.remote, &namespace, &command).await,
        Command::Lock { namespace, command } => lock::run(&cli.remote, &namespace, &command).await,
        Command::Kv { namespace, command } => services::kv(&cli.remote, &namespace, &command).await,
        Command::Blob { namespace, command } => blob::run(&cli.remote, &namespace, &command).await,
        Command::Registry { namespace, command } => services::registry(&cli.remote, &namespace, &command).await,
        Command::Config { command } => config::run(&command),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "plexspaces", &mut script);
            out::write(&script)
        }
    }
}
