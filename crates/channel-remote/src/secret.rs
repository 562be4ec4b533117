//! Addresses of brokers, which may hold a password.

/// The address without its password; `None` for a text that is no address. What stands before `@` without a colon is a token and is hidden
/// too.
#[must_use]
pub fn masked(url: &str) -> Option<String> {
    let (scheme, rest) = url.split_once("://").filter(|(scheme, rest)| !scheme.is_empty() && !rest.is_empty())?;
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    // A password may hold what ends an address where it is not written as a URL demands.
    let end = rest.rfind('@').map_or(end, |at| at + 1).max(end);
    let (authority, path) = rest.split_at_checked(end)?;
    let shown = match authority.rsplit_once('@') {
        None => authority.to_owned(),
        Some((credentials, host)) => match credentials.split_once(':') {
            Some((user, _)) => format!("{user}:(hidden)@{host}"),
            None => format!("(hidden)@{host}"),
        },
    };
    // Some brokers take a password among the parameters.
    let path = path.split(['?', '#']).next().unwrap_or_default();
    Some(format!("{scheme}://{shown}{path}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_and_tokens_are_hidden() {
        let shown = |url| masked(url).unwrap();
        assert_eq!(shown("redis://:s3cret@h:6379/0"), "redis://:(hidden)@h:6379/0");
        assert_eq!(shown("nats://me:s3/cr@et@h:4222"), "nats://me:(hidden)@h:4222");
        assert_eq!(shown("nats://t0ken@h"), "nats://(hidden)@h");
        assert_eq!(shown("redis://h/0?password=x"), "redis://h/0");
        assert_eq!(shown("nats://h:1"), "nats://h:1");
        assert_eq!((masked("h:1"), masked("nats://")), (None, None));
    }
}
