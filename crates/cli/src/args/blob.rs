//! The flags of `plexspaces blob`.

use std::path::PathBuf;

use clap::Subcommand;
use plexspaces_app::Duration;

/// A duration in seconds.
fn seconds(text: &str) -> Result<u64, String> {
    Duration::parse(text).map(|duration| duration.0.as_secs())
}

/// Bytes of a blob, as their offset and how many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Range {
    pub(crate) offset: u64,
    pub(crate) length: Option<u64>,
}

/// Bytes from one to another, both included, as HTTP counts them.
fn range(text: &str) -> Result<Range, String> {
    let wrong = || format!("{text:?} is no range, expected FIRST-LAST or FIRST-");
    let (first, last) = text.split_once('-').ok_or_else(wrong)?;
    let number = |text: &str| text.parse::<u64>().map_err(|_| wrong());
    let offset = number(first)?;
    if last.is_empty() {
        return Ok(Range { offset, length: None });
    }
    let length = number(last)?.checked_sub(offset).and_then(|length| length.checked_add(1)).ok_or_else(wrong)?;
    Ok(Range { offset, length: Some(length) })
}

#[derive(Debug, Subcommand)]
pub(crate) enum Blob {
    /// Write a blob, in the place of one of the same name
    Put {
        /// Its name
        name: String,
        /// The file with its bytes; - is the standard input
        #[arg(default_value = "-")]
        file: PathBuf,
        /// Its media type [default: application/octet-stream]
        #[arg(long = "type", value_name = "MEDIA-TYPE", default_value = "")]
        content_type: String,
    },
    /// Read a blob
    Get {
        /// Its name
        name: String,
        /// The file for its bytes, which is replaced when they are all there; - is the standard output
        #[arg(default_value = "-")]
        file: PathBuf,
        /// Only these bytes: FIRST-LAST or FIRST-, counted from 0
        #[arg(long, value_parser = range)]
        range: Option<Range>,
    },
    /// List the blobs
    List {
        /// Only those whose names begin so
        #[arg(default_value = "")]
        prefix: String,
    },
    /// Show what a blob is
    Head {
        /// Its name
        name: String,
    },
    /// Remove a blob
    Delete {
        /// Its name
        name: String,
    },
    /// Make a URL by which somebody without credentials can read a blob, or write it
    Presign {
        /// Its name
        name: String,
        /// To write it instead
        #[arg(long)]
        put: bool,
        /// For how long, at most 7 days
        #[arg(long, value_name = "DURATION", default_value = "15m", value_parser = seconds)]
        expires: u64,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_counted_as_http_counts_them() {
        assert_eq!(range("0-1023"), Ok(Range { offset: 0, length: Some(1024) }));
        assert_eq!(range("7-7"), Ok(Range { offset: 7, length: Some(1) }));
        assert_eq!(range("7-"), Ok(Range { offset: 7, length: None }));
        for wrong in ["", "7", "-7", "8-7", "a-b", "0-18446744073709551615"] {
            assert!(range(wrong).is_err(), "{wrong}");
        }
    }
}
