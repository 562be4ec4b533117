//! `make run`: a node with the bank account example, in the foreground.

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result, bail};

use crate::shell::{cache, missing, path_with, python, root, visibly};

const URL: &str = "http://127.0.0.1:8080";

pub(crate) fn run() -> Result<()> {
    let (root, bin) = (root()?, python()?);
    println!("building the node; the first time takes some minutes");
    visibly(Command::new("cargo").args(["build", "--release", "--workspace", "--bin", "plexspaces"]).current_dir(&root))?;
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    let plexspaces = target.join("release/plexspaces");
    let directory = cache()?.join("run");
    std::fs::create_dir_all(&directory)?;

    let component = directory.join("bank_account.wasm");
    let example = root.join("examples/python/bank_account");
    let path = path_with(&bin)?;
    let source = example.join("bank_account.py");
    visibly(Command::new(&plexspaces).arg("build").arg(source).arg("-o").arg(&component).env("PATH", &path))?;

    let mut start = Command::new(&plexspaces);
    start.arg("start").arg("--data-dir").arg(directory.join("data")).stdin(Stdio::null()).stdout(Stdio::piped());
    let mut node = start.spawn().with_context(|| missing(&start))?;
    wait_until_ready(&mut node)?;
    let mut deploy = Command::new(&plexspaces);
    deploy.args(["deploy", "--app", "bank", "--wasm"]).arg(&component).arg("--config").arg(example.join("app-config.toml"));
    if let Err(error) = visibly(&mut deploy) {
        node.kill()?;
        node.wait()?;
        return Err(error);
    }
    println!(
        "\nThe bank runs. Deposit, look, kill the node, start it again: what was answered is still there.\n\n\
         curl '{URL}/api/v1/actors/bank/bank_account?invocation=call&actor_id=alice' -d '{{\"op\": \"deposit\", \"amount\": 10}}'\n\
         curl '{URL}/api/v1/actors/bank/bank_account?actor_id=alice'\n\nCtrl-C ends it.\n"
    );
    // Ctrl-C reaches the node as well: both are in the foreground.
    let status = node.wait()?;
    println!("the node has ended ({status})");
    Ok(())
}

/// Reads what the node says until it is ready; a node that ends has said why on standard error.
fn wait_until_ready(node: &mut Child) -> Result<()> {
    let output = node.stdout.take().context("the node has no output")?;
    let mut lines = BufReader::new(output).lines();
    for line in lines.by_ref() {
        let line = line?;
        println!("{line}");
        if line.starts_with("plexspaces is ready") {
            // What it says later must be read as well, or it would wait for a reader.
            std::thread::spawn(move || lines.map_while(Result::ok).for_each(|line| println!("{line}")));
            return Ok(());
        }
    }
    bail!("the node did not start ({})", node.wait()?)
}
