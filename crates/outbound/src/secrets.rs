//! Where credentials come from: the node's environment and a directory, never an application's configuration.

use std::fmt;
use std::path::PathBuf;

use plexspaces_types::Name;

const MAX_SECRET: u64 = 16 << 10;

/// Where a node keeps the secrets that links may use.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SecretsConfig {
    /// Holds a directory for each tenant with a file for each secret.
    pub dir: Option<PathBuf>,
    /// Secrets of the tenant `default` are also the environment variables that begin so.
    pub env_prefix: Option<String>,
}

/// Something that nobody may see: it cannot be printed.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Secret(String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(not shown)")
    }
}

impl Secret {
    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }
}

/// A secret's name: what both a file and a variable can be called.
pub(crate) fn check_name(name: &str) -> Result<(), String> {
    let fits = (1..=64).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'));
    if fits { Ok(()) } else { Err("must name a secret of the node with 1 to 64 letters, digits, '_' and '-'".to_owned()) }
}

impl SecretsConfig {
    /// The secret of a tenant; the file comes first. A tenant never gets another one's.
    pub(crate) fn find(&self, tenant: &Name, name: &str) -> Result<Secret, String> {
        let mut looked = Vec::new();
        if let Some(dir) = &self.dir {
            let path = dir.join(tenant.as_str()).join(name);
            match std::fs::metadata(&path) {
                Ok(meta) if meta.len() > MAX_SECRET => return Err(format!("the secret {name:?} is larger than {MAX_SECRET} bytes")),
                Ok(_) => {
                    return usable(
                        name,
                        std::fs::read_to_string(&path).map_err(|error| format!("the secret {name:?} cannot be read: {error}"))?,
                    );
                }
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => return Err(format!("the secret {name:?} cannot be read: {error}")),
            }
            looked.push(format!("the file {tenant}/{name} in service_links.secrets_dir"));
        }
        // Tenants cannot be told from names in the environment, so it serves one only.
        if let Some(prefix) = self.env_prefix.as_deref().filter(|_| *tenant == Name::default_scope()) {
            let variable = format!("{prefix}{}", name.to_ascii_uppercase().replace('-', "_"));
            match std::env::var(&variable) {
                Ok(value) => return usable(name, value),
                Err(std::env::VarError::NotUnicode(_)) => return Err(format!("the secret {name:?} is not text")),
                Err(std::env::VarError::NotPresent) => looked.push(format!("the environment variable {variable}")),
            }
        }
        let places = if looked.is_empty() {
            "the node has no secrets for this tenant: set service_links.secrets_dir".to_owned()
        } else {
            format!("looked for {}", looked.join(" and "))
        };
        Err(format!("names the secret {name:?}, which the node does not have; {places}"))
    }
}

/// Editors end a file with a line's end that belongs to no credential.
fn usable(name: &str, value: String) -> Result<Secret, String> {
    let value = value.trim_end_matches(['\r', '\n']);
    if value.is_empty() || !value.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ') {
        return Err(format!("the secret {name:?} is empty or holds what no header can carry"));
    }
    Ok(Secret(value.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tenant(name: &str) -> Name {
        Name::new("tenant", name).unwrap()
    }

    #[test]
    fn a_tenant_gets_its_own_secrets_only() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir(directory.path().join("acme")).unwrap();
        std::fs::write(directory.path().join("acme/key"), "s3cret\n").unwrap();
        let secrets = SecretsConfig { dir: Some(directory.path().to_owned()), env_prefix: Some("CARGO_".to_owned()) };
        assert_eq!(secrets.find(&tenant("acme"), "key").unwrap().reveal(), "s3cret");
        let missing = secrets.find(&tenant("other"), "key").unwrap_err();
        assert!(missing.contains("does not have; looked for the file other/key"), "{missing}");
        // Cargo sets this one for tests.
        assert_eq!(secrets.find(&Name::default_scope(), "pkg-name").unwrap().reveal(), "plexspaces-outbound");
        assert!(secrets.find(&tenant("other"), "pkg-name").is_err());
        let missing = secrets.find(&Name::default_scope(), "key").unwrap_err();
        assert!(missing.contains("the environment variable CARGO_KEY"), "{missing}");
    }

    #[test]
    fn what_no_header_can_carry_is_refused_and_never_shown() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir(directory.path().join("acme")).unwrap();
        let secrets = SecretsConfig { dir: Some(directory.path().to_owned()), env_prefix: None };
        for bad in ["", "\n", "two\nlines", "h\u{e4}"] {
            std::fs::write(directory.path().join("acme/key"), bad).unwrap();
            let error = secrets.find(&tenant("acme"), "key").unwrap_err();
            assert!(error.contains("no header can carry") && !error.contains("lines"), "{error}");
        }
        std::fs::write(directory.path().join("acme/key"), "hush").unwrap();
        assert!(!format!("{:?}", secrets.find(&tenant("acme"), "key")).contains("hush"));
        assert!(check_name("../key").is_err() && check_name("").is_err() && check_name("llm_key-2").is_ok());
    }
}
