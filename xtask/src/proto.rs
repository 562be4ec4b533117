//! Rust code and the descriptor set from `proto/`, without protoc.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::bail;

/// Writes `crates/proto/src/gen`, or with `check` compares it.
pub(crate) fn generate(check: bool) -> anyhow::Result<()> {
    let root = crate::shell::root()?;
    let target = root.join("crates/proto/src/gen");
    let wanted = render(&root.join("proto"))?;
    let found = read(&target)?;
    if check {
        let differs = |name: &&String| wanted.get(*name) != found.get(*name);
        let drift: Vec<_> = wanted.keys().chain(found.keys()).filter(differs).collect();
        if let Some(first) = drift.first() {
            bail!("{}/{first} is not what proto/ gives; run `cargo xtask gen` and commit the result", target.display());
        }
        return Ok(());
    }
    std::fs::create_dir_all(&target)?;
    for name in found.keys().filter(|name| !wanted.contains_key(*name)) {
        std::fs::remove_file(target.join(name))?;
    }
    for (name, content) in &wanted {
        std::fs::write(target.join(name), content)?;
    }
    Ok(())
}

fn render(protos: &Path) -> anyhow::Result<BTreeMap<String, Vec<u8>>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(protos.join("plexspaces/v1"))? {
        files.push(entry?.path());
    }
    files.sort();
    let mut compiler = protox::Compiler::new([protos])?;
    compiler.include_source_info(true).include_imports(true).open_files(&files)?;
    let descriptors = compiler.file_descriptor_set();
    let out = std::env::temp_dir().join(format!("plexspaces-gen-{}", std::process::id()));
    std::fs::create_dir_all(&out)?;
    tonic_prost_build::configure().bytes(".").btree_map(".").out_dir(&out).compile_fds(descriptors)?;
    let mut rendered = read(&out)?;
    std::fs::remove_dir_all(&out)?;
    rendered.retain(|_, code| !code.is_empty());
    rendered.insert("descriptors.bin".to_owned(), compiler.encode_file_descriptor_set());
    Ok(rendered)
}

fn read(directory: &Path) -> anyhow::Result<BTreeMap<String, Vec<u8>>> {
    let mut files = BTreeMap::new();
    if !directory.exists() {
        return Ok(files);
    }
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        files.insert(entry.file_name().to_string_lossy().into_owned(), std::fs::read(entry.path())?);
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_committed_code_is_what_proto_gives() {
        super::generate(true).unwrap();
    }
}
