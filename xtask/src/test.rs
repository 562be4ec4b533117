//! Every check and every test, one step after the other, counted.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use crate::shell::{FULL, missing, path_with, python, root};
use crate::{edges, fuzz, proto, run, shell, tidy};

/// How many tests may fail and be run again.
const AGAIN: usize = 3;

/// For how long each decoder is tried. What is found in one run is where the next begins.
const FUZZ_SECONDS: u64 = 3;

/// How many tests a step ran.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Count {
    passed: u32,
    failed: u32,
    skipped: u32,
}

pub(crate) fn all(with_tests: bool) -> Result<()> {
    let bin = python()?;
    let path = path_with(&bin)?;
    let program = |name: &str, arguments: &[&str]| {
        let mut command = Command::new(name);
        command.args(arguments).env("PATH", &path).env("RUST_BACKTRACE", "0");
        command
    };
    let mut total = Count::default();
    let mut failures = Vec::new();
    let mut note = |name: &str, result: Result<Count>| {
        let count = result.unwrap_or_else(|error| {
            eprintln!("{error:#}");
            Count { failed: 1, ..Count::default() }
        });
        total.passed += count.passed;
        // What was not run was not shown to work.
        total.failed += count.failed + count.skipped;
        if count.failed + count.skipped > 0 {
            failures.push(format!("{name}: {} failed, {} skipped", count.failed, count.skipped));
        }
    };
    let one = |()| Count { passed: 1, ..Count::default() };
    note("tidy", step("tidy", || tidy::run().map(one)));
    note("edges", step("dependency edges", || edges::run().map(one)));
    note("generated", step("generated code", || proto::generate(true).and_then(|()| shell::copy_wit(true)).map(one)));
    note("format", step("format", || checked(program("cargo", &["fmt", "--all", "--check"]))));
    let clippy = ["clippy", "--workspace", "--all-targets", "--features", FULL, "--", "-D", "warnings"];
    note("clippy", step("clippy", || checked(program("cargo", &clippy))));
    let default = ["clippy", "--workspace", "--", "-D", "warnings"];
    note("default features", step("default features", || checked(program("cargo", &default))));
    if with_tests {
        forget_old_guests()?;
        note(
            "pytest",
            step("pytest", || {
                counted(program("python", &["-m", "pytest", "-q", "-rs", "sdk/python/tests", "examples/python"])).map(|(count, _)| count)
            }),
        );
        note("cargo test", step("cargo test", || twice_at_most(|arguments| program("cargo", arguments))));
        note("fuzz", step("fuzz", || fuzz::all(FUZZ_SECONDS, "").map(|(passed, failed)| Count { passed, failed, ..Count::default() })));
        note("make run", step("make run", || run::check().map(one)));
    }
    for failure in &failures {
        println!("{failure}");
    }
    println!("{} passed, {} failed", total.passed, total.failed);
    if total.failed > 0 {
        bail!("not everything passed");
    }
    Ok(())
}

/// Removes built and compiled guests that no run of tests has used for a week: they are named by what is in them.
fn forget_old_guests() -> Result<()> {
    let week = Duration::from_secs(7 * 24 * 3600);
    for directory in ["guests", "guests/compiled"] {
        let directory = shell::target()?.join(directory);
        for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
            let used = entry.metadata()?.accessed()?;
            if entry.path().is_file() && used.elapsed().is_ok_and(|unused| unused > week) {
                std::fs::remove_file(entry.path())?;
            }
        }
    }
    Ok(())
}

fn step(name: &str, what: impl FnOnce() -> Result<Count>) -> Result<Count> {
    println!("==> {name}");
    let started = Instant::now();
    let result = what();
    let outcome = if result.as_ref().is_ok_and(|count| count.failed + count.skipped == 0) { "ok" } else { "FAILED" };
    println!("<== {name}: {outcome} ({:.1} s)", started.elapsed().as_secs_f64());
    result
}

/// A command that passes or fails as a whole.
fn checked(mut command: Command) -> Result<Count> {
    let status = command.stdin(Stdio::null()).current_dir(root()?).status().with_context(|| missing(&command))?;
    Ok(if status.success() { Count { passed: 1, ..Count::default() } } else { Count { failed: 1, ..Count::default() } })
}

/// The tests of the workspace. A few that fail among hundreds that run beside them are run again alone: they wait for real servers and clocks,
/// and the machine may have been too busy. What passes only then is named, for it is to be mended.
fn twice_at_most(cargo: impl Fn(&[&str]) -> Command) -> Result<Count> {
    let arguments = ["test", "--workspace", "--no-fail-fast", "--features", FULL];
    let (count, failed) = counted(cargo(&arguments))?;
    if failed.is_empty() || failed.len() > AGAIN || u32::try_from(failed.len()) != Ok(count.failed) {
        return Ok(count);
    }
    println!("==> again, alone: {}", failed.join(", "));
    let names = failed.iter().map(String::as_str);
    let (again, _) = counted(cargo(&arguments.into_iter().chain(["--", "--exact"]).chain(names).collect::<Vec<_>>()))?;
    if again.failed > 0 || again.passed < count.failed {
        return Ok(count);
    }
    println!("NOT STEADY, passed only when run again: {}", failed.join(", "));
    Ok(Count { passed: count.passed + count.failed, failed: 0, ..count })
}

/// A test runner, whose output is shown and whose closing lines are added up; and the names of the tests that it says have failed.
fn counted(mut command: Command) -> Result<(Count, Vec<String>)> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).current_dir(root()?);
    let mut child = command.spawn().with_context(|| missing(&command))?;
    let output = child.stdout.take().context("the command has no output")?;
    let mut count = Count::default();
    let mut failed = Vec::new();
    for line in BufReader::new(output).lines() {
        let line = line?;
        println!("{line}");
        if let Some(found) = summary(&line) {
            count.passed += found.passed;
            count.failed += found.failed;
            count.skipped += found.skipped;
        }
        failed.extend(line.strip_prefix("test ").and_then(|rest| rest.strip_suffix(" ... FAILED")).map(str::to_owned));
    }
    let status = child.wait()?;
    if !status.success() && count.failed == 0 {
        count.failed = 1;
    }
    if count.passed == 0 && count.failed == 0 {
        bail!("{command:?} ran no test");
    }
    Ok((count, failed))
}

/// The counts in a closing line of cargo test or pytest.
fn summary(line: &str) -> Option<Count> {
    let cargo = line.starts_with("test result: ");
    let pytest = line.trim_matches(['=', ' ']).rsplit_once(" in ").is_some_and(|(_, time)| time.contains('s'))
        && ["passed", "failed", "error"].iter().any(|word| line.contains(word));
    if !cargo && !pytest {
        return None;
    }
    let words: Vec<&str> = line.split([' ', ',', ';', '=', '.']).filter(|word| !word.is_empty()).collect();
    let number = |names: &[&str]| {
        words
            .iter()
            .zip(words.iter().skip(1))
            .filter(|(_, name)| names.contains(name))
            .filter_map(|(number, _)| number.parse::<u32>().ok())
            .sum()
    };
    Some(Count {
        passed: number(&["passed"]),
        failed: number(&["failed", "error", "errors"]),
        skipped: number(&["ignored", "skipped", "xfailed", "xpassed", "deselected"]),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closing_lines_are_read() {
        let cargo = "test result: ok. 17 passed; 1 failed; 2 ignored; 0 measured; 0 filtered out; finished in 0.01s";
        assert_eq!(summary(cargo), Some(Count { passed: 17, failed: 1, skipped: 2 }));
        assert_eq!(summary("40 passed, 1 skipped in 1.25s"), Some(Count { passed: 40, failed: 0, skipped: 1 }));
        assert_eq!(summary("===== 1 failed, 2 passed, 1 error in 0.10s ====="), Some(Count { passed: 2, failed: 2, skipped: 0 }));
        assert_eq!(summary("running 3 tests"), None);
        assert_eq!(summary("test a_thing_passed_in_time ... ok"), None);
    }

    /// A runner of which each run prints one of these closing lines, after naming one failed test where it failed.
    fn runs(closing: &[&str]) -> (Count, usize) {
        let asked = std::cell::Cell::new(0);
        let count = twice_at_most(|arguments| {
            let run = asked.replace(asked.get() + 1);
            assert_eq!(run == 1, arguments.ends_with(&["--", "--exact", "a::b"]));
            let mut command = Command::new("sh");
            let failed = if closing[run].contains("FAILED") { "test a::b ... FAILED" } else { "" };
            command.args(["-c", "printf '%s\\n%s\\n' \"$0\" \"$1\"; test -z \"$0\"", failed, closing[run]]);
            command
        });
        (count.unwrap(), asked.get())
    }

    #[test]
    fn what_fails_is_run_again_once() {
        let (good, bad) = ("test result: ok. 1 passed; 0 failed;", "test result: FAILED. 7 passed; 1 failed;");
        assert_eq!(runs(&[good]), (Count { passed: 1, ..Count::default() }, 1));
        assert_eq!(runs(&[bad, good]), (Count { passed: 8, ..Count::default() }, 2));
        assert_eq!(runs(&[bad, bad]), (Count { passed: 7, failed: 1, skipped: 0 }, 2));
        let (crashed, none) = ("test result: FAILED. 7 passed; 2 failed;", "test result: ok. 0 passed; 0 failed; 9 ignored;");
        assert_eq!(runs(&[crashed]), (Count { passed: 7, failed: 2, skipped: 0 }, 1), "not all of them have names");
        assert!(std::panic::catch_unwind(|| runs(&[bad, none])).is_err(), "nothing that ran again passed");
    }
}
