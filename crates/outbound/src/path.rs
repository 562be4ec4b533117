//! What an actor may write as a path, so that a request cannot leave what its link allows.

use percent_encoding::percent_decode;

const MAX_PATH: usize = 8 << 10;

/// Checks a path with query and returns the path as a server that decodes it, however often, would see it.
pub(crate) fn check(path: &str) -> Result<Vec<u8>, String> {
    if !path.starts_with('/') {
        return Err("must begin with '/': the link says where it leads".to_owned());
    }
    if path.starts_with("//") {
        return Err("must not begin with \"//\", which would name another host".to_owned());
    }
    if path.len() > MAX_PATH {
        return Err(format!("has {} bytes, more than {MAX_PATH}", path.len()));
    }
    if let Some(wrong) = path.chars().find(|c| !c.is_ascii_graphic() || matches!(c, '\\' | '#')) {
        return Err(format!("holds {wrong:?}; write it percent-encoded"));
    }
    let path = path.split_once('?').map_or(path, |(path, _)| path);
    let decoded = decode(path)?;
    if decoded.iter().any(u8::is_ascii_control) {
        return Err("holds an encoded control character".to_owned());
    }
    // Some servers take a backslash for a slash, and what follows a semicolon for no part of a segment.
    for segment in decoded.split(|byte| matches!(byte, b'/' | b'\\')) {
        let name = segment.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
        if name == b"." || name == b".." {
            return Err("must not hold the segments \".\" and \"..\", encoded or not".to_owned());
        }
    }
    Ok(decoded)
}

/// Decodes until nothing is left to decode: who decodes how often is not known. Each round makes it shorter, so there is an end.
fn decode(path: &str) -> Result<Vec<u8>, String> {
    let hex = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_hexdigit);
    let bytes = path.as_bytes();
    for (at, _) in path.match_indices('%') {
        if !hex(bytes.get(at + 1)) || !hex(bytes.get(at + 2)) {
            return Err("holds a '%' without two hexadecimal digits".to_owned());
        }
    }
    let mut decoded = bytes.to_vec();
    loop {
        let next: Vec<u8> = percent_decode(&decoded).collect();
        if next == decoded {
            return Ok(decoded);
        }
        decoded = next;
    }
}

/// What a link allows: one path, or with `/*` at its end everything below.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pattern(String);

impl Pattern {
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let fixed = text.strip_suffix('*').unwrap_or(text);
        if fixed.contains(['*', '?', '%']) || (text.ends_with('*') && !fixed.ends_with('/')) {
            return Err(format!("has {text:?}, expected a path such as \"/v1/chat\", or \"/v1/*\" for all paths below one"));
        }
        check(fixed).map_err(|why| format!("has {text:?}, which {why}"))?;
        Ok(Self(text.to_owned()))
    }

    /// Whether it allows a path both as it is written and as it may be understood.
    pub(crate) fn allows(&self, path: &str, decoded: &[u8]) -> bool {
        let path = path.split_once('?').map_or(path, |(path, _)| path);
        match self.0.strip_suffix('*') {
            Some(below) => path.starts_with(below) && decoded.starts_with(below.as_bytes()),
            None => path == self.0,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn paths_that_lead_elsewhere_are_refused() {
        for bad in [
            "",
            "v1",
            "http://evil/",
            "//evil/",
            "/a/../b",
            "/..",
            "/a/..;x/b",
            "/a/%2e%2e/b",
            "/a/.%2E/b",
            "/a%2f..%2fb",
            "/a/%252e%252e/b",
            "/a%5c..%5cb",
            "/a\\..\\b",
            "/./a",
            "/a/..%20/b",
            "/a b",
            "/a#b",
            "/a\r\nx: y",
            "/a%0d%0ab",
            "/a%00",
            "/%",
            "/%zz",
            "/\u{e4}",
            "@evil/",
        ] {
            assert!(check(bad).is_err(), "{bad:?}");
        }
        assert!(check(&format!("/{}", "a".repeat(MAX_PATH))).is_err());
        for good in ["/", "/v1/chat", "/v1/chat?q=../x&y=%2e%2e", "/a..b/...", "/group%2Fproject", "/a%20b", "/a:b@c", "/a//b", "/100%25"] {
            assert!(check(good).is_ok(), "{good:?}: {:?}", check(good));
        }
    }

    #[test]
    fn a_pattern_allows_its_path_or_what_is_below() {
        let allows = |pattern: &str, path: &str| Pattern::parse(pattern).unwrap().allows(path, &check(path).unwrap());
        assert!(allows("/v1/chat", "/v1/chat?x=1") && !allows("/v1/chat", "/v1/chats") && !allows("/v1/chat", "/v1/chat/x"));
        assert!(!allows("/v1/chat", "/v1%2fchat"));
        assert!(allows("/v1/*", "/v1/a/b") && !allows("/v1/*", "/v1") && !allows("/v1/*", "/v2/a") && !allows("/v1/*", "/v1%2fa"));
        assert!(allows("/*", "/anything"));
        for bad in ["v1", "/v1*", "/*/a", "/a/../*", "/a?b", "/%61", "*"] {
            assert!(Pattern::parse(bad).is_err(), "{bad}");
        }
    }

    /// How a server might see a path: decoded some times, its dots resolved.
    fn resolved(path: &str, rounds: usize) -> Vec<String> {
        let mut bytes = path.split('?').next().unwrap_or_default().as_bytes().to_vec();
        for _ in 0..rounds {
            bytes = percent_decode(&bytes).collect();
        }
        let mut segments = Vec::new();
        for segment in String::from_utf8_lossy(&bytes).split(['/', '\\']) {
            match segment {
                ".." => drop(segments.pop()),
                "." | "" => {}
                other => segments.push(other.to_owned()),
            }
        }
        segments
    }

    proptest! {
        #[test]
        fn nothing_that_is_let_through_climbs_out(path in r"(/(v1|\.|%2e|%252e|%25|%2f|%5c|\\|2e|;|a){0,4}){1,6}", rounds in 0..4_usize) {
            if let Ok(decoded) = check(&path) && Pattern::parse("/v1/*").unwrap().allows(&path, &decoded) {
                let seen = resolved(&path, rounds);
                prop_assert!(seen.is_empty() || seen[0].starts_with("v1"), "{} is seen as {:?}", path, seen);
            }
        }
    }
}
