//! Our native actors against ractor, kameo and actix: `cargo bench --workspace --bench actors`.
//!
//! Each measurement runs in a process of its own, in rounds over all systems, so that none meets what another has left behind; the best of
//! the rounds counts. A number behind `--` chooses the rounds, a row's name only that row.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, missing_docs, unreachable_pub)]

use std::process::Command;
use std::time::Duration;

mod actix_actors;
mod kameo_actors;
mod ours;
mod ractor_actors;

pub const MANY: usize = 1000;
pub const TELLS: usize = 1_000_000;
pub const ASKS: usize = 100_000;
pub const SPAWNS: usize = 100_000;
pub const ROUNDS_OF_THE_RING: usize = 200;
pub const IDLE: usize = 1_000_000;
pub const PATIENCE: Duration = Duration::from_secs(60);

const SYSTEMS: [&str; 4] = ["ours", "ractor", "kameo", "actix"];

/// Each row: its name, its unit, how many things one measurement does, whether more is better.
const ROWS: [(&str, &str, usize, bool); 6] = [
    ("tell-1", "tells/s", TELLS, true),
    ("tell-1000", "tells/s", TELLS, true),
    ("ask", "ns", ASKS, false),
    ("spawn-stop", "actors/s", SPAWNS, true),
    ("ring-1000", "ns/hop", MANY * ROUNDS_OF_THE_RING, false),
    ("idle-memory", "bytes/actor", IDLE, false),
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
    println!("{:<12} {:<12} {}", "row", "unit", SYSTEMS.map(|system| format!("{system:>22}")).concat());
    for (row, unit, count, more_is_better) in rows {
        let mut best = [f64::NAN; SYSTEMS.len()];
        for _ in 0..if *row == "idle-memory" { 1 } else { rounds } {
            for (system, best) in SYSTEMS.iter().zip(&mut best) {
                let measured = child(system, row);
                let value = match *unit {
                    "bytes/actor" => measured / *count as f64,
                    _ if *more_is_better => *count as f64 / measured,
                    _ => measured * 1e9 / *count as f64,
                };
                *best = if *more_is_better { best.max(value) } else { best.min(value) };
            }
        }
        let cells = best.map(|value| {
            let ratio = if *more_is_better { best[0] / value } else { value / best[0] };
            format!("{value:>14.0} ({ratio:>4.2}x)")
        });
        println!("{row:<12} {unit:<12} {}", cells.concat());
    }
    println!("In brackets: how many times better ours is.");
}

/// Seconds, or bytes, as a process of its own measures them.
fn child(system: &str, row: &str) -> f64 {
    let output = Command::new(std::env::current_exe().unwrap()).args([system, row]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    text.trim().parse().unwrap_or_else(|_| panic!("{system} {row}: {text}{}", String::from_utf8_lossy(&output.stderr)))
}

fn measure(system: &str, row: &str) -> f64 {
    match system {
        "ours" => tokio(ours::measure(row.to_owned())),
        "ractor" => tokio(ractor_actors::measure(row.to_owned())),
        "kameo" => tokio(kameo_actors::measure(row.to_owned())),
        _ => actix_actors::measure(row),
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
