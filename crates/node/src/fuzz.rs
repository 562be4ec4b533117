//! Any `node.toml` is read or refused, and never shows its secrets.

use plexspaces_testkit::fuzz;

use crate::Config;

#[test]
fn any_node_configuration_is_read_or_refused_and_keeps_its_secrets() {
    let examples = [
        "[node]\nname = \"a\"\n[store]\nbackend = \"postgres\"\nurl = \"postgres://u:hunter2@db/p?sslmode=require\"\npool_size = 8\ntimeout = \"10s\"\n",
        "[security]\nadmin_token = \"0123456789abcdef\"\n[wasm]\ninstances = 3\nmemory_budget = \"1GiB\"\n[api]\nconcurrency = 5\n",
    ];
    fuzz!(examples, |bytes: &Vec<u8>| {
        if let Ok(config) = Config::parse("node.toml", &String::from_utf8_lossy(bytes)) {
            let shown = format!("{:?}", config.masked());
            let token = config.security.admin_token.unwrap_or_default();
            assert!(token.len() < 16 || !shown.contains(&token));
        }
    });
}
