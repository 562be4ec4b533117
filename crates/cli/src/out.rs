//! Everything that a command prints on standard output goes through here: what cannot be written ends the command instead of the process.

use std::io::{ErrorKind, Write as _};

/// Nobody reads any more, as in `plexspaces list | head -1`: the command is over, and nothing is wrong.
#[derive(Debug)]
pub(crate) struct NobodyReads;

impl std::fmt::Display for NobodyReads {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("nobody reads the output any more")
    }
}

impl std::error::Error for NobodyReads {}

/// Writes at once; what is left in a buffer could only be lost in silence.
pub(crate) fn write(bytes: &[u8]) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(bytes).and_then(|()| out.flush()).map_err(failure)
}

/// What a failure to write on standard output means.
pub(crate) fn failure(error: std::io::Error) -> anyhow::Error {
    match error.kind() {
        ErrorKind::BrokenPipe => anyhow::Error::new(NobodyReads),
        _ => anyhow::Error::new(error).context("cannot write the output"),
    }
}

/// An error with its causes, but those that it has told already.
pub(crate) fn whole(error: &anyhow::Error) -> String {
    error.chain().skip(1).map(ToString::to_string).fold(error.to_string(), |told, cause| match told.contains(&cause) {
        true => told,
        false => format!("{told}: {cause}"),
    })
}

/// As `println!`, in a function that returns an [`anyhow::Result`].
macro_rules! outln {
    ($($arg:tt)*) => {
        $crate::out::write(format!("{}\n", format_args!($($arg)*)).as_bytes())?
    };
}
