//! Our native actors against ractor, kameo, actix and the gen_servers of Erlang/OTP: `cargo bench --workspace --bench actors`.
//!
//! Each measurement runs in a process of its own, in rounds over all systems, so that none meets what another has left behind; the best of
//! the rounds counts. A number behind `--` chooses the rounds, a row's name only that row. Erlang is Debian's `erlang-base`; without it its
//! column says so.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, missing_docs, unreachable_pub)]

use std::process::Command;
use std::time::Duration;

mod actix_actors;
mod erlang;
mod kameo_actors;
mod ours;
mod ractor_actors;

use erlang::Otp;

pub const MANY: usize = 1000;
pub const TELLS: usize = 1_000_000;
pub const ASKS: usize = 100_000;
pub const SPAWNS: usize = 100_000;
pub const ROUNDS_OF_THE_RING: usize = 200;
pub const IDLE: usize = 1_000_000;
pub const PATIENCE: Duration = Duration::from_secs(60);

const SYSTEMS: [&str; 5] = ["ours", "ractor", "kameo", "actix", "erlang"];

/// Each row: its name, its unit, how many things one measurement does, whether more is better.
const ROWS: [(&str, &str, usize, bool); 6] = [
    ("tell-1", "tells/s", TELLS, true),
    ("tell-1000", "tells/s", TELLS, true),
    ("ask", "ns", ASKS, false),
    ("spawn-stop", "actors/s", SPAWNS, true),
    ("ring-1000", "ns/hop", MANY * ROUNDS_OF_THE_RING, false),
    ("idle-memory", "bytes/actor", IDLE, false),
];

/// What ours does besides in what a row measures; printed where another system is ahead.
const BESIDES: [(&str, &str); 4] = [
    (
        "tell",
        "each message carries tenant, trace and deadline, waits in a bounded mailbox beside a lane for orders, and its turn is timed and counted",
    ),
    ("ask", "a message's operation and payload are bytes that could come from another language, and its turn is timed and counted"),
    ("spawn", "an actor has a name by which it is found, a place in the node's directory, and links, timers and facets that end with it"),
    ("idle", "an actor has a name, counters for operators and a bounded mailbox; it has no task while it is idle"),
];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    if let [system, row] = &arguments[..]
        && SYSTEMS.contains(&system.as_str())
    {
        return println!("{}", measure(system, row));
    }
    let rounds = arguments.iter().find_map(|argument| argument.parse().ok()).unwrap_or(5);
    let rows = ROWS.iter().filter(|row| arguments.iter().all(|argument| argument.parse::<usize>().is_ok() || argument == row.0));
    let otp = Otp::find();
    println!("{:<12} {:<12} {}", "row", "unit", SYSTEMS.map(|system| format!("{system:>22}")).concat());
    let mut behind = Vec::new();
    for (row, unit, count, more_is_better) in rows {
        let mut best = [f64::NAN; SYSTEMS.len()];
        for _ in 0..if *row == "idle-memory" { 1 } else { rounds } {
            for (system, best) in SYSTEMS.iter().zip(&mut best) {
                let command = match (*system, &otp) {
                    ("erlang", None) => continue,
                    ("erlang", Some(otp)) => otp.command(row, *count),
                    _ => own(system, row),
                };
                let measured = measured(command);
                let value = match *unit {
                    "bytes/actor" => measured / *count as f64,
                    _ if *more_is_better => *count as f64 / measured,
                    _ => measured * 1e9 / *count as f64,
                };
                *best = if *more_is_better { best.max(value) } else { best.min(value) };
            }
        }
        let cells = best.map(|value| {
            if value.is_nan() {
                return format!("{:>22}", "not installed");
            }
            let ratio = if *more_is_better { best[0] / value } else { value / best[0] };
            format!("{value:>14.0} ({ratio:>4.2}x)")
        });
        println!("{row:<12} {unit:<12} {}", cells.concat());
        if best.iter().any(|other| if *more_is_better { *other > best[0] } else { *other < best[0] }) {
            behind.push(*row);
        }
    }
    println!("In brackets: how many times better ours is.");
    for row in behind {
        // A hop of the ring is a tell.
        let part = row.split('-').next().map_or("", |part| if part == "ring" { "tell" } else { part });
        let besides = BESIDES.iter().find(|(name, _)| *name == part).map_or("", |(_, besides)| besides);
        println!("{row}: another is ahead. Ours does more: {besides}.");
    }
    if otp.is_none() {
        println!("Erlang/OTP was not measured: there is no erlc. On Debian: apt-get install erlang-base.");
    }
}

/// Seconds, or bytes, as a process of its own measures them.
fn measured(mut command: Command) -> f64 {
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    text.trim().parse().unwrap_or_else(|_| panic!("{command:?}: {text}{}", String::from_utf8_lossy(&output.stderr)))
}

/// One measurement of a system that is part of this program.
fn own(system: &str, row: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args([system, row]);
    command
}

fn measure(system: &str, row: &str) -> f64 {
    match system {
        "ours" => tokio(ours::measure(row.to_owned())),
        "ractor" => tokio(ractor_actors::measure(row.to_owned())),
        "kameo" => tokio(kameo_actors::measure(row.to_owned())),
        "actix" => actix_actors::measure(row),
        other => panic!("{other} is not part of this program"),
    }
}

/// Runs on a worker, as callers in a program do, and not on the thread of `main`.
fn tokio(work: impl Future<Output = f64> + Send + 'static) -> f64 {
    let runtime = ::tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async { ::tokio::spawn(work).await.unwrap() })
}

/// The bytes of this process that are in memory.
pub fn resident() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() * 1024.0
}
