//! Compiled components on disk.
//!
//! A compiled component is one file, named after the digest of its source and the compiler's version and settings, with a checksum
//! beside it. A file whose checksum does not hold, or that the engine refuses, is as good as absent. The checksum is there against
//! torn writes and failing disks, for which CRC-32 is enough and ten times as fast as a cryptographic digest; who can write in the
//! directory could write the checksum too.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;
use wasmtime::component::Component;

use crate::Error;

pub(crate) struct Cache {
    dir: PathBuf,
    compatibility: u64,
}

impl Cache {
    /// The cache for `engine` in `dir`, which is made when it is not there.
    pub(crate) fn open(dir: PathBuf, engine: &wasmtime::Engine) -> Result<Self, Error> {
        fs::create_dir_all(&dir).map_err(|source| Error::Cache { path: dir.clone(), source })?;
        let mut hasher = DefaultHasher::new();
        engine.precompile_compatibility_hash().hash(&mut hasher);
        Ok(Self { dir, compatibility: hasher.finish() })
    }

    /// The component whose source has this digest; `None` when it must be compiled.
    pub(crate) fn get(&self, engine: &wasmtime::Engine, digest: &str) -> Option<Component> {
        let path = self.path(digest);
        match self.checked(&path) {
            Ok(true) => {}
            Ok(false) => {
                tracing::warn!("the compiled component {} is damaged and will be compiled again", path.display());
                return None;
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            Err(error) => {
                tracing::warn!("the compiled component {} cannot be read and will be compiled again: {error}", path.display());
                return None;
            }
        }
        match load(engine, &path) {
            Ok(component) => Some(component),
            Err(error) => {
                tracing::warn!("the compiled component {} does not fit and will be compiled again: {error:#}", path.display());
                None
            }
        }
    }

    /// Keeps a compiled component and loads it from its file, so that its pages are shared with the page cache.
    pub(crate) fn put(&self, engine: &wasmtime::Engine, digest: &str, compiled: &[u8]) -> Result<Component, Error> {
        let path = self.path(digest);
        let failed = |source| Error::Cache { path: path.clone(), source };
        self.write(&path, compiled).map_err(failed)?;
        self.write(&checksum_path(&path), checksum(compiled).as_bytes()).map_err(failed)?;
        load(engine, &path).map_err(|error| Error::Internal { detail: format!("what was just compiled cannot be loaded: {error:#}") })
    }

    fn path(&self, digest: &str) -> PathBuf {
        self.dir.join(format!("{digest}-{:016x}.cwasm", self.compatibility))
    }

    fn checked(&self, path: &Path) -> io::Result<bool> {
        let expected = fs::read_to_string(checksum_path(path))?;
        Ok(checksum(&fs::read(path)?) == expected)
    }

    /// Readers see the old file or the whole new one.
    fn write(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let mut file = NamedTempFile::new_in(&self.dir)?;
        file.write_all(bytes)?;
        file.as_file().sync_all()?;
        file.persist(path)?;
        Ok(())
    }
}

fn checksum_path(path: &Path) -> PathBuf {
    path.with_extension("cwasm.crc32")
}

fn checksum(bytes: &[u8]) -> String {
    format!("{:08x} {}\n", crc32fast::hash(bytes), bytes.len())
}

#[allow(unsafe_code)]
fn load(engine: &wasmtime::Engine, path: &Path) -> wasmtime::Result<Component> {
    // SAFETY: the file must be what this version of the compiler wrote and must not change while it is mapped. Only this node writes in
    // the directory, it replaces files and never writes into one, and the checksum has been compared after the file was last opened;
    // the engine itself refuses another version's or other settings' files.
    unsafe { Component::deserialize_file(engine, path) }
}
