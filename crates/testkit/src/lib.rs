//! What tests and benchmarks need and nothing else does: tiny guest components, guests built from the examples, the sizes of the store's
//! groups, real servers, a checker of recorded histories, and bytes for decoders.

pub mod fuzz;
mod groups;
pub mod guests;
pub mod histories;
pub mod python;
pub mod servers;

pub use groups::GroupSizes;

/// The repository. Cargo says at run time where the package is whose tests run: checkouts that share a target directory share this crate too.
///
/// # Panics
/// When this is not a run of tests.
#[must_use]
#[allow(clippy::expect_used)]
pub fn repository() -> std::path::PathBuf {
    let package = std::env::var_os("CARGO_MANIFEST_DIR").expect("tests are run by cargo");
    let package = std::path::PathBuf::from(package);
    let root = package.ancestors().find(|place| place.join("wit").is_dir() && place.join("Cargo.lock").is_file());
    root.expect("the package is in the repository").to_owned()
}
