//! What people see while they wait; without a terminal nobody does.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// A turning wheel with the time that has passed, until it is finished.
pub(crate) fn spinner(what: &str) -> ProgressBar {
    let spinner = ProgressBar::no_length();
    turn(&spinner, what);
    spinner
}

/// A bar for bytes; without a size only how many there were.
pub(crate) fn bar(what: &str, size: Option<u64>) -> ProgressBar {
    let (bar, shown) = match size {
        Some(size) => (ProgressBar::new(size), "{bar:30} {bytes}/{total_bytes} {bytes_per_sec} {eta}"),
        None => (ProgressBar::new_spinner(), "{bytes} {bytes_per_sec}"),
    };
    bar.set_style(style(&format!("{what} {shown}")));
    bar
}

/// Makes a bar a wheel: how long the rest takes is not known.
pub(crate) fn turn(bar: &ProgressBar, what: &str) {
    bar.set_style(style(&format!("{{spinner}} {what} ({{elapsed}})")));
    bar.enable_steady_tick(Duration::from_millis(100));
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}
