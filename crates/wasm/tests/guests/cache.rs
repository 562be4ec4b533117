//! A component is compiled once, and a compiled file that cannot be trusted is not.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use plexspaces_testkit::guests;
use plexspaces_types::Payload;
use plexspaces_wasm::{Config, Engine};

use crate::support::{Node, call, create, json};

fn compiled(dir: &Path) -> Vec<PathBuf> {
    let files = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    files.filter(|path| path.extension().is_some_and(|extension| extension == "cwasm")).collect()
}

/// The compiled file's time and bytes; a new time means that it was written again.
fn written(path: &Path) -> SystemTime {
    fs::metadata(path).unwrap().modified().unwrap()
}

/// Another engine on the same directory loads the guest and runs it.
async fn restart(dir: &Path) {
    let engine = Engine::new(Config { instances: 10, ..Config::new(dir) }).unwrap();
    let component = engine.load(guests::echo().into()).await.unwrap();
    let mut actor = create(&component, "echo").await;
    assert_eq!(call(&mut *actor, "count", Payload::empty()).await.unwrap(), json("1"));
}

#[tokio::test]
async fn a_second_start_does_not_compile() {
    let node = Node::new();
    node.load(guests::echo()).await;
    let files = compiled(node.dir.path());
    assert_eq!(files.len(), 1);
    let before = written(&files[0]);
    restart(node.dir.path()).await;
    assert_eq!(written(&files[0]), before);
}

#[tokio::test]
async fn loads_at_the_same_time_compile_once() {
    let node = Node::new();
    let (one, other) = tokio::join!(node.load(guests::echo()), node.load(guests::echo()));
    assert!(std::sync::Arc::ptr_eq(&one, &other));
}

#[tokio::test]
async fn a_damaged_file_is_compiled_again() {
    type Damage = fn(&Path);
    let damages: [(&str, Damage); 5] = [
        ("a flipped bit", |path| {
            let mut bytes = fs::read(path).unwrap();
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            fs::write(path, bytes).unwrap();
        }),
        ("a truncated file", |path| {
            let bytes = fs::read(path).unwrap();
            fs::write(path, &bytes[..bytes.len() / 2]).unwrap();
        }),
        ("an empty file", |path| fs::write(path, b"").unwrap()),
        ("no checksum", |path| fs::remove_file(path.with_extension("cwasm.crc32")).unwrap()),
        ("a file that the engine did not make, with its right checksum", |path| {
            let bytes = b"\x7fELF and nothing else".to_vec();
            fs::write(path.with_extension("cwasm.crc32"), format!("{:08x} {}\n", crc32fast::hash(&bytes), bytes.len())).unwrap();
            fs::write(path, bytes).unwrap();
        }),
    ];
    for (what, damage) in damages {
        let node = Node::new();
        node.load(guests::echo()).await;
        let path = compiled(node.dir.path()).remove(0);
        let good = fs::read(&path).unwrap();
        // The engine that wrote the file maps it; what follows is another file under the same name.
        fs::remove_file(&path).unwrap();
        fs::write(&path, &good).unwrap();
        damage(&path);
        restart(node.dir.path()).await;
        assert_eq!(fs::read(&path).unwrap(), good, "{what}");
    }
}

#[tokio::test]
async fn a_file_of_another_engine_is_compiled_again() {
    let node = Node::new();
    node.load(guests::echo()).await;
    let path = compiled(node.dir.path()).remove(0);
    let good = fs::read(&path).unwrap();
    // What an engine with other settings makes of the same bytes, under this engine's name and with its right checksum.
    let other = wasmtime::Engine::new(wasmtime::Config::new().epoch_interruption(false)).unwrap();
    let bytes = other.precompile_component(&guests::echo()).unwrap();
    fs::remove_file(&path).unwrap();
    fs::write(path.with_extension("cwasm.crc32"), format!("{:08x} {}\n", crc32fast::hash(&bytes), bytes.len())).unwrap();
    fs::write(&path, bytes).unwrap();
    restart(node.dir.path()).await;
    assert_eq!(fs::read(&path).unwrap(), good);
}
