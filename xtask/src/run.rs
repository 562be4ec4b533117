//! `make run`: a node with the bank account example, in the foreground.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result, bail, ensure};

use crate::shell::{cache, missing, path_with, python, root, target, visibly};

/// A node that runs the bank.
struct Bank {
    node: Child,
    /// Commands to try it with: one that deposits, and one that looks.
    tries: [String; 2],
}

pub(crate) fn run() -> Result<()> {
    println!("building the node; the first time takes some minutes");
    visibly(Command::new("cargo").args(["build", "--release", "--workspace", "--bin", "plexspaces"]).current_dir(root()?))?;
    let mut bank = Bank::open(&target()?.join("release/plexspaces"), &cache()?.join("run"), &[])?;
    // Ctrl-C reaches the node as well: both are in the foreground.
    let status = bank.node.wait()?;
    println!("the node has ended ({status})");
    Ok(())
}

/// Does what the README says of it, with the program that the tests have built and on a free port.
pub(crate) fn check() -> Result<()> {
    let (plexspaces, directory) = (target()?.join("debug/plexspaces"), target()?.join(format!("tmp/run-{}", std::process::id())));
    let open = || Bank::open(&plexspaces, &directory, &["--listen-addr", "127.0.0.1:0", "--no-default-ports"]);
    let bank = open()?;
    let before = said(&bank.tries[0])?;
    // SIGKILL.
    drop(bank);
    let after = said(&open()?.tries[1])?;
    std::fs::remove_dir_all(&directory)?;
    let deposited = "\"balance\":10";
    ensure!(before.contains(deposited) && after.contains(deposited), "before the kill {before:?}, after it {after:?}");
    Ok(())
}

/// What a line for the shell answers.
fn said(line: &str) -> Result<String> {
    let output = Command::new("sh").args(["-c", &format!("{line} --silent --show-error --fail-with-body")]).output()?;
    let answer = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(output.status.success(), "{line}: {answer}{}", String::from_utf8_lossy(&output.stderr));
    Ok(answer)
}

impl Bank {
    /// Builds the example, starts a node and deploys it there.
    fn open(plexspaces: &Path, directory: &Path, flags: &[&str]) -> Result<Self> {
        let example = root()?.join("examples/python/bank_account");
        std::fs::create_dir_all(directory)?;
        let component = directory.join("bank_account.wasm");
        let mut build = Command::new(plexspaces);
        build.arg("build").arg(example.join("bank_account.py")).arg("-o").arg(&component);
        visibly(build.env("PATH", path_with(&python()?)?))?;
        let mut start = Command::new(plexspaces);
        start.arg("start").arg("--data-dir").arg(directory.join("data")).args(flags).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut bank = Self { node: start.spawn().with_context(|| missing(&start))?, tries: Default::default() };
        let url = bank.wait_until_ready()?;
        let mut deploy = Command::new(plexspaces);
        deploy.args(["deploy", "--node", &url, "--app", "bank", "--wasm"]).arg(&component);
        visibly(deploy.arg("--config").arg(example.join("app-config.toml")))?;
        let actor = format!("{url}/api/v1/actors/bank/bank_account");
        bank.tries = [
            format!("curl '{actor}?invocation=call&actor_id=alice' -d '{{\"op\": \"deposit\", \"amount\": 10}}'"),
            format!("curl '{actor}?actor_id=alice'"),
        ];
        println!("\nThe bank runs. Deposit, look, kill the node, start it again: what was answered is still there.\n");
        println!("{}\n\nCtrl-C ends it.\n", bank.tries.join("\n"));
        Ok(bank)
    }

    /// Reads what the node says until it is ready, and where; a node that ends has said why on standard error.
    fn wait_until_ready(&mut self) -> Result<String> {
        let output = self.node.stdout.take().context("the node has no output")?;
        let mut lines = BufReader::new(output).lines();
        for line in lines.by_ref() {
            let line = line?;
            println!("{line}");
            if let Some(url) = line.strip_prefix("plexspaces is ready on ") {
                // What it says later must be read as well, or it would wait for a reader.
                std::thread::spawn(move || lines.map_while(Result::ok).for_each(|line| println!("{line}")));
                return Ok(url.to_owned());
            }
        }
        bail!("the node did not start ({})", self.node.wait()?)
    }
}

impl Drop for Bank {
    fn drop(&mut self) {
        // It has ended already where it was waited for.
        let _ = self.node.kill();
        let _ = self.node.wait();
    }
}
