//! Numbers that rise for ever, also when nothing of what was numbered is left and the node was started anew: clients go on after them.

use plexspaces_actor::Effects;
use plexspaces_types::Failure;

use crate::request::number;

/// How many numbers are reserved with one write. What is left of them when the node ends is never given.
const RESERVED_AT_ONCE: u64 = 1000;

#[derive(Default)]
pub(crate) struct Numbers {
    last: u64,
    /// No number above it is given before it is stored.
    reserved: u64,
}

impl Numbers {
    /// Takes its row.
    pub(crate) fn load(&mut self, value: &[u8]) -> Result<(), Failure> {
        self.reserved = number("number", value)?;
        self.last = self.reserved;
        Ok(())
    }

    /// The last one that may have been given.
    pub(crate) fn last(&self) -> u64 {
        self.last
    }

    /// The next one; `row` is where the reservation is kept.
    pub(crate) fn next(&mut self, row: &[u8], effects: &mut Effects<'_>) -> u64 {
        self.last += 1;
        if self.last > self.reserved {
            self.reserved = self.last + RESERVED_AT_ONCE;
            effects.put(row, self.reserved.to_be_bytes().to_vec());
        }
        self.last
    }
}
