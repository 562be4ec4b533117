//! The measurements of Erlang/OTP, which runs beside us as a program of its own.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::MANY;

/// Where its modules are, compiled for this run.
pub struct Otp(PathBuf);

impl Otp {
    /// `None` where Erlang is not installed.
    pub fn find() -> Option<Self> {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("erlang/actors.erl");
        let beams = std::env::temp_dir().join(format!("plexspaces-bench-{}", std::process::id()));
        std::fs::create_dir_all(&beams).unwrap();
        let otp = Self(beams);
        let compiled = Command::new("erlc").arg("-o").arg(&otp.0).arg(&source).output().ok()?;
        assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stdout));
        Some(otp)
    }

    /// A process of its own for one measurement; it prints what it has measured.
    pub fn command(&self, row: &str, count: usize) -> Command {
        let mut command = Command::new("erl");
        let main = format!("actors:main([{row:?}, \"{count}\", \"{MANY}\"]), halt().");
        command.args(["-noshell", "+P", "2097152", "-pa"]).arg(&self.0).args(["-eval", &main]);
        command
    }
}

impl Drop for Otp {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
