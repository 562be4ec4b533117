//! Page tokens: sealed, so that nobody reads, makes or changes one, and bound to the tenant and the filter that they were made for.

use std::sync::{Arc, OnceLock};

use aes_gcm::aead::{Aead as _, AeadCore as _, KeyInit as _, OsRng, Payload};
use aes_gcm::{Aes256Gcm, Key, Nonce};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use plexspaces_types::{Clock, Code, Failure, Name};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

const LIFETIME_MS: u64 = 24 * 60 * 60 * 1000;
const NONCE_BYTES: usize = 12;
/// The meaning of [`Token`]'s fields; a token of another one is refused.
const VERSION: u8 = 1;

const DEFAULT_SIZE: usize = 100;
const MAX_SIZE: i32 = 1000;

/// How many entries a page has at most, as a request says it.
pub(crate) fn size(asked: i32) -> Result<usize, Failure> {
    match asked {
        0 => Ok(DEFAULT_SIZE),
        size if (1..=MAX_SIZE).contains(&size) => Ok(usize::try_from(size).unwrap_or(DEFAULT_SIZE)),
        size => Err(Failure::invalid("page_size", format!("expected 0 to {MAX_SIZE}, found {size}"))),
    }
}

/// Makes and reads the page tokens of all lists.
pub(crate) struct Pages {
    key: Arc<OnceLock<[u8; 32]>>,
    clock: Clock,
}

#[derive(Serialize, Deserialize)]
struct Token {
    version: u8,
    tenant: String,
    filter: [u8; 32],
    cursor: String,
    issued_at_ms: u64,
}

/// Which list a token is for.
#[derive(Clone, Copy)]
pub(crate) struct List<'a> {
    pub(crate) name: &'static str,
    pub(crate) tenant: &'a Name,
    /// The filter's canonical text.
    pub(crate) filter: &'a str,
}

impl Pages {
    pub(crate) fn new(key: Arc<OnceLock<[u8; 32]>>, clock: Clock) -> Self {
        Self { key, clock }
    }

    fn cipher(&self) -> Result<Aes256Gcm, Failure> {
        let key = self.key.get().ok_or_else(|| Failure::new(Code::Unavailable, "the node is starting"))?;
        Ok(Aes256Gcm::new(Key::<Aes256Gcm>::from_slice(key)))
    }

    /// A token that goes on after `cursor`.
    pub(crate) fn seal(&self, list: List<'_>, cursor: String) -> Result<String, Failure> {
        let token = Token {
            version: VERSION,
            tenant: list.tenant.to_string(),
            filter: Sha256::digest(list.filter).into(),
            cursor,
            issued_at_ms: self.clock.now_ms(),
        };
        let failed = || Failure::new(Code::Internal, "the page token could not be made");
        let plain = serde_json::to_vec(&token).map_err(|_| failed())?;
        let nonce = Aes256Gcm::generate_nonce(&mut OsRng);
        let sealed = self.cipher()?.encrypt(&nonce, Payload { msg: &plain, aad: list.name.as_bytes() }).map_err(|_| failed())?;
        Ok(URL_SAFE_NO_PAD.encode([nonce.as_slice(), &sealed].concat()))
    }

    /// The cursor in a token; `None` for the empty one, which means the first page.
    pub(crate) fn open(&self, list: List<'_>, token: &str) -> Result<Option<String>, Failure> {
        if token.is_empty() {
            return Ok(None);
        }
        let invalid = |why: &str| Failure::invalid("page_token", format!("{why}; expected the next_page_token of an earlier page"));
        let unreadable = || invalid("the page token is not one of this list");
        let bytes = URL_SAFE_NO_PAD.decode(token).map_err(|_| unreadable())?;
        let (nonce, sealed) = bytes.split_at_checked(NONCE_BYTES).ok_or_else(unreadable)?;
        let payload = Payload { msg: sealed, aad: list.name.as_bytes() };
        let plain = self.cipher()?.decrypt(Nonce::from_slice(nonce), payload).map_err(|_| unreadable())?;
        let token: Token = serde_json::from_slice(&plain).map_err(|_| unreadable())?;
        if token.version != VERSION {
            return Err(unreadable());
        }
        if token.tenant != list.tenant.as_str() {
            return Err(Failure::new(Code::PermissionDenied, "the page token belongs to another tenant").with_field("page_token"));
        }
        if token.filter != <[u8; 32]>::from(Sha256::digest(list.filter)) {
            return Err(invalid("the filter changed since the first page"));
        }
        if self.clock.now_ms().saturating_sub(token.issued_at_ms) > LIFETIME_MS {
            return Err(invalid("the page token expired after 24 hours"));
        }
        Ok(Some(token.cursor))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_serves_its_own_list_for_a_day() {
        let clock = Clock::manual(1_000);
        let pages = Pages::new(Arc::new([7; 32].into()), clock.clone());
        let (acme, other) = (Name::default_scope(), Name::new("tenant", "other").unwrap());
        let list = List { name: "applications", tenant: &acme, filter: "namespace=a" };
        let token = pages.seal(list, "a/b".to_owned()).unwrap();
        assert!(!token.contains("a/b"));
        assert_eq!(pages.open(list, &token), Ok(Some("a/b".to_owned())));
        assert_eq!(pages.open(list, ""), Ok(None));

        let code = |list: List<'_>, token: &str| pages.open(list, token).unwrap_err().code;
        assert_eq!(code(List { tenant: &other, ..list }, &token), Code::PermissionDenied);
        assert_eq!(code(List { filter: "", ..list }, &token), Code::InvalidArgument);
        assert_eq!(code(List { name: "nodes", ..list }, &token), Code::InvalidArgument);
        for at in 0..token.len() {
            let mut changed = token.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).unwrap();
            assert_eq!(code(list, &changed), Code::InvalidArgument, "{at}");
        }
        clock.advance(LIFETIME_MS);
        assert!(pages.open(list, &token).is_ok());
        clock.advance(1);
        assert_eq!(code(list, &token), Code::InvalidArgument);
    }

    #[test]
    fn fuzz_tokens_of_pages() {
        let pages = Pages::new(Arc::new([7; 32].into()), Clock::manual(1_000));
        let tenant = Name::default_scope();
        let list = List { name: "applications", tenant: &tenant, filter: "" };
        let token = pages.seal(list, "cursor".to_owned()).unwrap();
        let pages = std::panic::AssertUnwindSafe(pages);
        plexspaces_testkit::fuzz!(std::slice::from_ref(&token), |bytes: &Vec<u8>| {
            let pages: &std::panic::AssertUnwindSafe<_> = &pages;
            let text = String::from_utf8_lossy(bytes);
            match pages.open(list, &text) {
                Ok(None) => assert!(text.is_empty()),
                Ok(Some(_)) => assert_eq!(text, token),
                Err(failure) => assert_eq!(failure.code, Code::InvalidArgument),
            }
        });
    }
}
