//! `make fuzz`: libFuzzer tries every decoder that the tests name `fuzz`, each for some seconds.
//!
//! The tests are built once more with counters in our code, which show libFuzzer what an input reaches. Stable Rust can do that, and libFuzzer
//! comes with a crate that the tests use already: nothing has to be installed.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::shell::{cache, missing, root, visibly};

/// What makes the tests run under libFuzzer.
const CONFIGURATION: [&str; 4] = ["--cfg", "fuzzing", "--cfg", "fuzzing_libfuzzer"];

/// What lets libFuzzer see where an input goes, in our own code: with counters in all that it is built on, that takes five times as long to build.
const COUNTERS: [&str; 5] = [
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
];

/// Decoders of what only these features talk to.
const FEATURES: &str = "plexspaces-channel-remote/kafka,plexspaces-channel-remote/sqs,plexspaces-store-remote/dynamodb";

/// How many decoders are tried at once.
const AT_ONCE: usize = 2;

/// How long one input may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// A test that gives bytes to a decoder.
struct Target {
    program: PathBuf,
    /// Its crate.
    of: String,
    test: String,
}

/// What became of it.
struct Tried {
    line: String,
    passed: bool,
}

/// Tries each decoder whose name contains `name`, and says how many passed and failed.
pub(crate) fn all(seconds: u64, name: &str) -> Result<(u32, u32)> {
    let targets = targets(name)?;
    let waiting = Mutex::new(targets.iter().collect::<VecDeque<_>>());
    let next = || waiting.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
    let worker = || {
        let (mut passed, mut failed) = (0, 0);
        while let Some(target) = next() {
            let tried = target.run(seconds).unwrap_or_else(|error| Tried { line: format!("FAILED: {error:#}"), passed: false });
            println!("{}: {}", target.name(), tried.line);
            *(if tried.passed { &mut passed } else { &mut failed }) += 1;
        }
        (passed, failed)
    };
    let counts = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..AT_ONCE).map(|_| scope.spawn(worker)).collect();
        workers.into_iter().map(std::thread::ScopedJoinHandle::join).collect::<Vec<_>>()
    });
    let mut total = (0, 0);
    for count in counts {
        let Ok((passed, failed)) = count else { bail!("what tries the decoders has panicked") };
        total = (total.0 + passed, total.1 + failed);
    }
    Ok(total)
}

pub(crate) fn run(seconds: u64, name: &str, input: Option<&Path>) -> Result<()> {
    if let Some(input) = input {
        let bytes = fs::read(input).with_context(|| format!("cannot read {}", input.display()))?;
        let targets = targets(name)?;
        let [target] = targets.as_slice() else {
            let names = targets.iter().map(Target::name).collect::<Vec<_>>().join(", ");
            bail!("expected one decoder for the input, found {names}")
        };
        fs::write(target.directory()?.join("input"), bytes)?;
        return visibly(&mut target.command("input")?);
    }
    match all(seconds, name)? {
        (passed, 0) => {
            println!("{passed} passed, 0 failed");
            Ok(())
        }
        (passed, failed) => bail!("{passed} passed, {failed} failed"),
    }
}

/// Builds the tests of all crates that have such decoders.
fn targets(name: &str) -> Result<Vec<Target>> {
    let mut command = Command::new("cargo");
    command.args([
        "test",
        "--no-run",
        "--profile",
        "fuzz",
        "--lib",
        "--target",
        "host-tuple",
        "--message-format",
        "json-render-diagnostics",
    ]);
    command.args(["--no-default-features", "--features", FEATURES]);
    for package in packages()? {
        command.args(["--package", &package]);
    }
    command.env_remove("RUSTFLAGS").env("CARGO_ENCODED_RUSTFLAGS", CONFIGURATION.join("\x1f"));
    command.env("RUSTC_WORKSPACE_WRAPPER", counting()?);
    command.stdin(Stdio::null()).stderr(Stdio::inherit()).current_dir(root()?);
    let output = command.output().with_context(|| missing(&command))?;
    if !output.status.success() {
        bail!("the tests were not built for libFuzzer");
    }
    let mut targets = Vec::new();
    for line in String::from_utf8(output.stdout)?.lines() {
        let message: Value = serde_json::from_str(line)?;
        let Some(program) = message.get("executable").and_then(Value::as_str) else { continue };
        let of = message.pointer("/target/name").and_then(Value::as_str).context("cargo names what it builds")?;
        let list = Command::new(program).args(["--list", "--format", "terse", "fuzz"]).output()?;
        for test in String::from_utf8(list.stdout)?.lines().filter_map(|line| line.strip_suffix(": test")) {
            let target = Target { program: program.into(), of: of.trim_start_matches("plexspaces_").to_owned(), test: test.to_owned() };
            if test.split("::").any(|part| part.starts_with("fuzz")) && target.name().contains(name) {
                targets.push(target);
            }
        }
    }
    if targets.is_empty() {
        bail!("there is no decoder named {name:?}");
    }
    Ok(targets)
}

/// A program that calls the compiler with what puts counters into the code. Cargo knows it by its name, which is another when it does something else.
fn counting() -> Result<PathBuf> {
    // What the compiler itself runs has nobody who would read its counters.
    let script = format!("#!/bin/sh\ncase \"$*\" in *'--cfg fuzzing'*) set -- \"$@\" {};; esac\nexec \"$@\"\n", COUNTERS.join(" "));
    let mut hasher = DefaultHasher::new();
    script.hash(&mut hasher);
    let program = cache()?.join("fuzz").join(format!("counting-{:x}", hasher.finish()));
    if !program.exists() {
        fs::create_dir_all(cache()?.join("fuzz"))?;
        fs::write(&program, script)?;
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755))?;
    }
    Ok(program)
}

/// The packages whose sources say that they have such tests.
fn packages() -> Result<Vec<String>> {
    let arguments = ["grep", "--untracked", "-l", "plexspaces_testkit::fuzz", "--", "crates/*/src/*"];
    let found = Command::new("git").args(arguments).current_dir(root()?).output()?;
    let files = String::from_utf8(found.stdout)?;
    let mut packages: Vec<_> =
        files.lines().filter_map(|file| file.split('/').nth(1)).map(|directory| format!("plexspaces-{directory}")).collect();
    packages.dedup();
    if packages.is_empty() {
        bail!("no crate has a test that tries a decoder");
    }
    Ok(packages)
}

impl Target {
    fn name(&self) -> String {
        format!("{}::{}", self.of, self.test)
    }

    /// Where it keeps what it has found; that outlives a checkout.
    fn directory(&self) -> Result<PathBuf> {
        let directory = cache()?.join("fuzz").join(self.name().replace("::", "."));
        for part in ["corpus", "examples"] {
            fs::create_dir_all(directory.join(part))?;
        }
        Ok(directory)
    }

    /// Runs in its directory, for libFuzzer's arguments are parted by spaces.
    fn command(&self, arguments: &str) -> Result<Command> {
        let directory = self.directory()?;
        let mut command = Command::new(&self.program);
        command.args(["--exact", &self.test, "--nocapture"]).current_dir(&directory).stdin(Stdio::null());
        command.env("BOLERO_LIBFUZZER_ARGS", arguments).env("PLEXSPACES_FUZZ_EXAMPLES", directory.join("examples"));
        Ok(command)
    }

    fn run(&self, seconds: u64) -> Result<Tried> {
        let directory = self.directory()?;
        for earlier in fs::read_dir(directory.join("examples"))? {
            fs::remove_file(earlier?.path())?;
        }
        let log = directory.join("log");
        let arguments = format!(
            "-max_total_time={seconds} -timeout={} -artifact_prefix=failed- -print_final_stats=1 -dict=examples.words corpus examples",
            PATIENCE.as_secs()
        );
        let mut child = self.command(&arguments)?.stdout(File::create(&log)?).stderr(File::options().append(true).open(&log)?).spawn()?;
        let deadline = Instant::now() + Duration::from_secs(seconds) + 6 * PATIENCE;
        let status = loop {
            if let Some(status) = child.try_wait()? {
                break Some(status);
            }
            if Instant::now() > deadline {
                child.kill()?;
                child.wait()?;
                break None;
            }
            std::thread::sleep(Duration::from_millis(50));
        };
        let said = String::from_utf8_lossy(&fs::read(&log)?).into_owned();
        let runs = number_after(&said, "stat::number_of_executed_units:");
        if let (Some(true), Some(runs)) = (status.map(|status| status.success()), runs) {
            let reached = number_after(&said, " cov: ").unwrap_or_default();
            let added = number_after(&said, "stat::new_units_added:").unwrap_or_default();
            return Ok(Tried { line: format!("{runs} runs, coverage {reached}, {added} new inputs"), passed: true });
        }
        let end = said.lines().rev().take(40).collect::<Vec<_>>().into_iter().rev().collect::<Vec<_>>().join("\n");
        let ended = status.map_or_else(|| "it did not end".to_owned(), |status| status.to_string());
        let input = said.rsplit("written to ").next().filter(|_| said.contains("written to ")).and_then(|rest| rest.lines().next());
        let repeat = input.map_or_else(
            || format!("it left no input; see {}", log.display()),
            |input| {
                let input = directory.join(input);
                format!("the input is {0}\nto repeat it: cargo xtask fuzz {1} --input {0}", input.display(), self.name())
            },
        );
        Ok(Tried { line: format!("FAILED ({ended})\n{end}\n{repeat}"), passed: false })
    }
}

/// The last number that stands after these words.
fn number_after(text: &str, words: &str) -> Option<u64> {
    let rest = text.rsplit_once(words)?.1.trim_start();
    rest.split(|character: char| !character.is_ascii_digit()).next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_libfuzzer_says_is_read() {
        let said = "#2\tINITED cov: 10 ft: 11 corp: 1/1b\n#9\tDONE   cov: 212 ft: 300 corp: 7/90b\nstat::number_of_executed_units: 9\n";
        assert_eq!(number_after(said, " cov: "), Some(212));
        assert_eq!(number_after(said, "stat::number_of_executed_units:"), Some(9));
        assert_eq!(number_after(said, "stat::new_units_added:"), None);
    }
}
