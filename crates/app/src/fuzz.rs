//! Any `app-config.toml`, duration and size is read or refused.

use plexspaces_testkit::fuzz;

use crate::{AppConfig, ByteSize, Duration};

#[test]
fn any_application_configuration_is_read_or_refused() {
    let examples = [
        "[app]\nname = \"a\"\nnamespace = \"n\"\n[limits]\nmemory = \"64MiB\"\nturn_time = \"5m\"\n",
        "[supervisor]\nstrategy = \"one_for_all\"\nmax_restarts = 3\nmax_restart_window = \"5s\"\n[[supervisor.children]]\nid = \"x\"\ntype = \"y\"\nargs = { a = 1 }\n",
        "[[supervisor.children]]\nid = \"x\"\ncount = 3\ndepends_on = [\"y\"]\n[[supervisor.children]]\nid = \"y\"\nresources = {}\n",
        "[types.x]\nfacets = [{ type = \"durability\", priority = 5, config = { checkpoint_interval = 10 } }]\n",
        "[[service_links]]\nname = \"pay\"\nbase_url = \"https://pay.example/v1\"\ntimeout = \"3s\"\n",
    ];
    fuzz!(examples, |bytes: &Vec<u8>| {
        match AppConfig::parse(&String::from_utf8_lossy(bytes)) {
            Ok(config) => drop(format!("{config:?}")),
            Err(error) => assert!(!error.message.is_empty()),
        }
    });
}

#[test]
fn any_duration_and_size_is_read_or_refused() {
    fuzz!(["500ms", "1h 30m", "24h", "64KiB", "1048576", "1.5 GB", "99999999999y"], |bytes: &Vec<u8>| {
        let text = String::from_utf8_lossy(bytes);
        if let Ok(duration) = Duration::parse(&text) {
            assert_eq!(Duration::parse(&duration.to_string()), Ok(duration));
        }
        if let Ok(size) = ByteSize::parse(&text) {
            assert_eq!(ByteSize::parse(&size.to_string()), Ok(size));
        }
    });
}
