//! The sources' form: lengths, headers, words that mean unfinished work, files that do not belong here.

use std::fs;
use std::process::Command;

use anyhow::{Result, bail};

use crate::shell::root;

const MAX_LINES: usize = 800;
const MAX_LIB_LINES: usize = 100;

pub(crate) fn run() -> Result<()> {
    let root = root()?;
    let output = Command::new("git").args(["ls-files", "--cached", "--others", "--exclude-standard"]).current_dir(&root).output()?;
    let mut wrong = Vec::new();
    for path in String::from_utf8_lossy(&output.stdout).lines() {
        if !belongs(path) {
            wrong.push(format!("{path}: generated files, logs and components are not kept"));
        }
        if let Ok(text) = fs::read_to_string(root.join(path)) {
            wrong.extend(check(path, &text).into_iter().map(|what| format!("{path}: {what}")));
        }
    }
    let guarantees = fs::read_to_string(root.join("docs/semantics.md"))?;
    let tests = String::from_utf8_lossy(&Command::new("git").args(["grep", "-hE", "fn [a-z_]+\\(\\)"]).current_dir(&root).output()?.stdout)
        .into_owned();
    wrong.extend(unproved(&guarantees, &tests).into_iter().map(|name| format!("docs/semantics.md: there is no test {name}")));
    if wrong.is_empty() {
        return Ok(());
    }
    bail!("{}", wrong.join("\n"))
}

/// The tests that the guarantees name and that are not there.
fn unproved<'a>(guarantees: &'a str, tests: &str) -> Vec<&'a str> {
    let rows = guarantees.lines().filter(|line| line.starts_with('|') && line.contains('`'));
    let cells = rows.filter_map(|row| row.trim_end_matches([' ', '|']).rsplit('|').next());
    let names = cells.flat_map(|cell| cell.split('`').skip(1).step_by(2));
    names.filter(|name| !tests.contains(&format!("fn {name}()"))).collect()
}

fn belongs(path: &str) -> bool {
    ![".log", ".wasm", ".cwasm", ".pyc", ".orig", ".rej", ".db"].iter().any(|ending| path.ends_with(ending))
}

fn check(path: &str, text: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    let generated = path.contains("/gen/") || path.ends_with(".lock") || path == "LICENSE";
    let source = [".rs", ".py", ".ts", ".go"].iter().any(|ending| path.ends_with(ending));
    if generated {
        return wrong;
    }
    let lines = text.lines().count();
    if source && lines > MAX_LINES {
        wrong.push(format!("{lines} lines, at most {MAX_LINES} are allowed"));
    }
    if path.ends_with("src/lib.rs") && lines > MAX_LIB_LINES {
        wrong.push(format!("{lines} lines, at most {MAX_LIB_LINES} are allowed in a lib.rs"));
    }
    if path.ends_with(".rs") && !text.starts_with("//!") {
        wrong.push("begins without a //! that says why the file exists".to_owned());
    }
    if path.ends_with(".py") && !text.starts_with("\"\"\"") {
        wrong.push("begins without a docstring that says why the file exists".to_owned());
    }
    if !text.is_empty() && !text.ends_with('\n') {
        wrong.push("the last line has no end".to_owned());
    }
    for (number, line) in text.lines().enumerate() {
        if line.ends_with([' ', '\t']) {
            wrong.push(format!("line {}: white space at the end", number + 1));
        }
        if line.starts_with("<<<<<<< ") || line.starts_with(">>>>>>> ") {
            wrong.push(format!("line {}: the mark of a conflict", number + 1));
        }
        if let Some(word) = unfinished(line).filter(|_| !path.starts_with("xtask/") && !path.starts_with("Cargo.toml")) {
            wrong.push(format!("line {}: {word}", number + 1));
        }
    }
    wrong
}

/// The words are put together here, so that this file does not hold them.
fn unfinished(line: &str) -> Option<String> {
    let words = [["TO", "DO"], ["FIX", "ME"], ["todo", "!("], ["unimplemented", "!("], ["#[ign", "ore"], ["dbg", "!("]];
    let hosts = [["crates", ".io/"], ["pypi", ".org"], ["registry.npm", "js.org"], ["proxy.gol", "ang.org"], ["deb.deb", "ian.org"]];
    words.iter().chain(&hosts).map(|parts| parts.concat()).find(|word| line.contains(word.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_rule_finds_what_it_is_for() {
        let long = format!("//! x\n{}", "\n".repeat(MAX_LINES));
        let cases = [
            ("a.rs", long.as_str(), "lines, at most 800"),
            ("a.rs", "fn main() {}\n", "begins without a //!"),
            ("a.py", "x = 1\n", "begins without a docstring"),
            ("a.md", "text", "no end"),
            ("a.md", "text \n", "white space"),
            ("a.md", "<<<<<<< HEAD\n", "conflict"),
        ];
        for (path, text, expected) in cases {
            let found = check(path, text);
            assert!(found.iter().any(|what| what.contains(expected)), "{path}: {found:?}");
        }
        assert!(check("src/a.rs", "//! Why.\n").is_empty());
        assert!(!belongs("run.log") && belongs("docs/log.md"));
    }

    #[test]
    fn a_guarantee_without_its_test_is_found() {
        let page = "| guarantee | test |\n| --- | --- |\n| It `works`. | `one`, `two` |\n";
        assert_eq!(unproved(page, "async fn one() {\n"), ["two"]);
    }

    #[test]
    fn unfinished_work_and_registries_are_found() {
        assert_eq!(unfinished(&["// TO", "DO later"].concat()), Some(["TO", "DO"].concat()));
        assert!(unfinished(&["https://pypi", ".org/simple"].concat()).is_some());
        assert_eq!(unfinished("a plain line"), None);
    }
}
