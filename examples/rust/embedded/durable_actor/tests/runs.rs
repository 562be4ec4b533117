//! The program runs, counts and ends.

use std::process::Command;

#[test]
fn the_program_prints_its_count_and_ends() {
    let output = Command::new(env!("CARGO_BIN_EXE_durable_actor")).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "Count: 5\n", "{errors}");
}
