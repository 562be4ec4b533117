//! The repository's own commands, behind the Makefile.

mod bench;
mod edges;
mod fuzz;
mod proto;
mod run;
mod shell;
mod soak;
mod test;
mod tidy;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(about = "Commands for those who work on this repository")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Generates what is made from proto/ and wit/
    Gen {
        /// Changes nothing; fails when a committed file is not what would be generated
        #[arg(long)]
        check: bool,
    },
    /// Checks the sources' form
    Tidy,
    /// Checks which crate depends on which
    Edges,
    /// Runs every check and every test, and counts them
    Test,
    /// Runs the checks without the tests
    Check,
    /// Starts a node with the bank account example
    Run,
    /// Runs every benchmark
    Bench,
    /// Lets actors live and end in all ways at once, and looks what is left
    Soak {
        /// For how long, like 90s or 1h
        #[arg(default_value = "5m")]
        time: String,
        /// Chooses as an earlier run did, which printed its seed
        #[arg(long)]
        seed: Option<u64>,
    },
    /// Lets libFuzzer try every decoder of bytes from outside
    Fuzz {
        /// For how many seconds each
        #[arg(long, default_value_t = 60)]
        seconds: u64,
        /// Tries this input and nothing else
        #[arg(long, requires = "name")]
        input: Option<PathBuf>,
        /// Only those whose name contains this
        name: Option<String>,
    },
}

fn main() -> ExitCode {
    match run(Cli::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Gen { check } => {
            proto::generate(check)?;
            shell::copy_wit(check)
        }
        Command::Tidy => tidy::run(),
        Command::Edges => edges::run(),
        Command::Test => test::all(true),
        Command::Check => test::all(false),
        Command::Run => run::run(),
        Command::Bench => bench::run(),
        Command::Fuzz { seconds, input, name } => fuzz::run(seconds, name.as_deref().unwrap_or_default(), input.as_deref()),
        Command::Soak { time, seed } => soak::run(&time, seed),
    }
}
