//! The repository's own commands: `cargo xtask gen`.

mod proto;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(about = "Commands for those who work on this repository")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Generates what is made from proto/
    Gen {
        /// Changes nothing; fails when a committed file is not what would be generated
        #[arg(long)]
        check: bool,
    },
}

fn main() -> anyhow::Result<()> {
    match Cli::parse().command {
        Command::Gen { check } => proto::generate(check),
    }
}
