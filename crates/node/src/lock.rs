//! One node per data directory: two would each believe that they own its actors.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::path::Path;

use crate::Error;

/// Held while the node runs; the operating system releases it also when the process is killed.
#[derive(Debug)]
pub(crate) struct DataDirLock(#[allow(dead_code)] File);

impl DataDirLock {
    /// Takes the directory, which is made if it is not there.
    pub(crate) fn acquire(directory: &Path) -> Result<Self, Error> {
        let unusable = |source| Error::DataDir { path: directory.to_owned(), source };
        std::fs::create_dir_all(directory).map_err(unusable)?;
        let path = directory.join("lock");
        let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path).map_err(unusable)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                let _ = file.read_to_string(&mut holder);
                let holder = if holder.is_empty() { "unknown process".to_owned() } else { holder };
                return Err(Error::DataDirInUse { path: directory.to_owned(), holder });
            }
            Err(TryLockError::Error(source)) => return Err(unusable(source)),
        }
        let write = || -> io::Result<()> {
            file.set_len(0)?;
            file.rewind()?;
            write!(file, "process {}", std::process::id())
        };
        // Who holds it is only told to a second node; a full disk must not keep the first from starting.
        let mut write = write;
        let _ = write();
        Ok(Self(file))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_node_on_the_same_directory_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let first = DataDirLock::acquire(directory.path()).unwrap();
        let second = DataDirLock::acquire(directory.path()).unwrap_err().to_string();
        assert!(second.contains("is in use by another node (process "), "{second}");
        drop(first);
        assert!(DataDirLock::acquire(directory.path()).is_ok());
    }
}
