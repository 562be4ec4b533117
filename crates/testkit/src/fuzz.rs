//! Bytes for what reads bytes from outside: examples with changes, and bytes that are made up.
//!
//! A test that says [`fuzz!`](crate::fuzz!) tries them for a moment. `BOLERO_RANDOM_TEST_TIME_MS` makes that longer; a failure prints the
//! `BOLERO_RANDOM_SEED` that brings it back. Under `cfg(fuzzing)`, which `cargo xtask fuzz` sets, libFuzzer makes the bytes of the same test
//! instead: it begins with the examples and goes on from what reaches new code.

use std::ops::Bound;

pub use bolero;
use bolero::ValueGenerator;
use bolero::generator::bolero_generator::Driver;

/// How long one decoder is tried unless the environment says otherwise.
pub const TIME: std::time::Duration = std::time::Duration::from_millis(700);

/// What readers of text and of lengths stumble over.
const TOKENS: [&[u8]; 16] = [
    b"\"",
    b"{",
    b"[[[[[[[[",
    b"}",
    b":",
    b"null",
    b"-1",
    b"1e400",
    b"18446744073709551616",
    b"\\u0000",
    b"\0",
    b"\xff\xff\xff\xff\xff\xff\xff\xff",
    b"\xf0\x9f\x92\xa9",
    b"$eq",
    b"/",
    b"=",
];

/// Makes bytes out of examples.
#[derive(Clone, Debug)]
pub struct Mutated(Vec<Vec<u8>>);

impl Mutated {
    /// Examples of what is accepted.
    #[must_use]
    pub fn of<T: AsRef<[u8]>>(examples: &[T]) -> Self {
        Self(examples.iter().map(|example| example.as_ref().to_vec()).collect())
    }
}

impl ValueGenerator for Mutated {
    type Output = Vec<u8>;

    fn generate<D: Driver>(&self, driver: &mut D) -> Option<Vec<u8>> {
        let below = |driver: &mut D, end: usize| driver.gen_usize(Bound::Included(&0), Bound::Included(&end));
        // Beyond the examples there is what nobody has thought of.
        let Some(mut bytes) = self.0.get(below(driver, self.0.len())?).cloned() else { return driver.produce() };
        for _ in 0..below(driver, 5)? {
            let from = below(driver, bytes.len())?;
            let to = from.saturating_add(below(driver, 8)?).min(bytes.len());
            match below(driver, 6)? {
                0 => drop(bytes.splice(from..to, [driver.produce::<u8>()?])),
                1 => drop(bytes.drain(from..to)),
                2 => bytes.truncate(from),
                3 => drop(bytes.splice(from..from, driver.produce::<[u8; 4]>()?)),
                4 => drop(bytes.splice(from..to, TOKENS.get(below(driver, TOKENS.len() - 1)?)?.iter().copied())),
                5 => {
                    let run = bytes.get(from..to)?.to_vec();
                    let place = below(driver, bytes.len())?;
                    drop(bytes.splice(place..place, run));
                }
                _ => {
                    let other = self.0.get(below(driver, self.0.len().checked_sub(1)?)?)?;
                    let tail = other.get(below(driver, other.len())?..)?.to_vec();
                    drop(bytes.splice(from.., tail));
                }
            }
        }
        Some(bytes)
    }
}

/// Where the examples and the words of a decoder are put for libFuzzer, unless the environment names no such place.
#[cfg(fuzzing)]
pub const EXAMPLES: &str = "PLEXSPACES_FUZZ_EXAMPLES";

/// Writes the examples, each to a file of its own, and a dictionary of the words that readers stumble over.
///
/// # Errors
/// When the files cannot be written.
#[cfg(fuzzing)]
pub fn write<T: AsRef<[u8]>>(examples: &[T]) -> std::io::Result<()> {
    let Some(directory) = std::env::var_os(EXAMPLES).map(std::path::PathBuf::from) else { return Ok(()) };
    for (number, example) in examples.iter().enumerate() {
        std::fs::write(directory.join(number.to_string()), example)?;
    }
    let line = |word: &&[u8]| format!("\"{}\"\n", word.iter().map(|byte| format!("\\x{byte:02x}")).collect::<String>());
    std::fs::write(directory.with_extension("words"), TOKENS.iter().map(line).collect::<String>())
}

/// By their names `cargo xtask fuzz` knows which tests are these.
///
/// # Panics
/// When a test that tries a decoder has no `fuzz` in its path.
pub fn check_name<F>(_: &F) {
    let path = std::any::type_name::<F>();
    assert!(path.split("::").skip(1).any(|part| part.starts_with("fuzz")), "a test that tries a decoder is named fuzz_...: {path}");
}

/// Tries a decoder with changes of examples. It must not panic; what it says of the bytes is for its closure to judge.
#[cfg(not(fuzzing))]
#[macro_export]
macro_rules! fuzz {
    ($examples:expr, $decode:expr) => {{
        $crate::fuzz::check_name(&|| {});
        $crate::fuzz::bolero::check!()
            .with_generator($crate::fuzz::Mutated::of(&$examples))
            .with_test_time($crate::fuzz::TIME)
            .for_each($decode)
    }};
}

/// Lets libFuzzer try a decoder, beginning with the examples.
#[cfg(fuzzing)]
#[macro_export]
macro_rules! fuzz {
    ($examples:expr, $decode:expr) => {{
        $crate::fuzz::check_name(&|| {});
        $crate::fuzz::write(&$examples).expect("the place for examples is a directory");
        let decode = $decode;
        $crate::fuzz::bolero::check!().for_each(|bytes: &[u8]| decode(&bytes.to_vec()))
    }};
}
