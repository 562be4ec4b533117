//! The scripts of the examples: each builds, and each runs what its README says on a node.
#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use std::path::{Path, PathBuf};
use std::process::Command;

use support::{Node, PLEXSPACES, root, stderr, stdout};

/// The directories of the examples in Python.
fn examples() -> Vec<PathBuf> {
    let directories = std::fs::read_dir(root().join("examples/python")).unwrap().map(|entry| entry.unwrap().path());
    let mut examples: Vec<PathBuf> = directories.filter(|path| path.join("README.md").is_file()).collect();
    examples.sort();
    examples
}

/// A script of an example, which finds the program that is tested.
fn script(example: &Path, name: &str) -> Command {
    let mut command = Command::new(example.join(name));
    let programs = Path::new(PLEXSPACES).parent().unwrap().display().to_string();
    command.env("PATH", format!("{programs}:{}", std::env::var("PATH").unwrap_or_default()));
    command.env("PYTHONPATH", root().join("sdk/python/src"));
    command
}

#[test]
fn every_example_runs_what_its_readme_says_on_a_node() {
    let data = tempfile::tempdir().unwrap();
    let node = Node::start(data.path());
    let port = node.url.rsplit(':').next().unwrap();
    let mut ran = 0;
    for example in examples() {
        let name = example.file_name().unwrap().to_str().unwrap().to_owned();
        let readme = std::fs::read_to_string(example.join("README.md")).unwrap();
        // Those with a program of their own beside the node have it on a port that may be another's here. They have tests of their own.
        if readme.contains(".py &\n") {
            assert!(example.join("test.sh").exists(), "{name}");
            continue;
        }
        let component = support::example(&name);
        let output = script(&example, "test.sh").arg(port).arg(component).output().unwrap();
        assert!(output.status.success(), "{name}: {}\n{}", stdout(&output), stderr(&output));
        assert!(stdout(&output).contains("deployed"), "{name}: {}", stdout(&output));
        ran += 1;
    }
    assert!(ran > 10, "only {ran}");
    let nobody = script(&root().join("examples/python/counter"), "test.sh").arg("1").arg(support::example("counter")).output().unwrap();
    assert!(!nobody.status.success(), "there is no node");
}

#[test]
fn an_example_is_built_by_its_script() {
    let data = tempfile::tempdir().unwrap();
    let component = data.path().join("counter.wasm");
    let output = script(&root().join("examples/python/counter"), "build.sh").arg(&component).output().unwrap();
    assert!(output.status.success(), "{}\n{}", stdout(&output), stderr(&output));
    assert!(std::fs::read(component).unwrap().starts_with(b"\0asm"));
    for example in examples() {
        assert!(example.join("build.sh").is_file(), "{}", example.display());
    }
}
