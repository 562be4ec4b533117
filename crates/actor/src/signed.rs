//! Links to single blobs that need no other credential: what they allow is signed with a key of the node.

use hmac::{Hmac, Mac as _};
use plexspaces_store::{Batch, Partition, Store};
use plexspaces_types::{Code, Failure};
use sha2::Sha256;

/// What a link allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlobAccess {
    /// To read the blob, or parts of it.
    Read,
    /// To write it.
    Write,
}

impl BlobAccess {
    /// The HTTP method of a request that has such a link.
    #[must_use]
    pub fn method(self) -> &'static str {
        match self {
            Self::Read => "GET",
            Self::Write => "PUT",
        }
    }

    /// What a method allows.
    pub fn of_method(method: &str) -> Result<Self, Failure> {
        match method {
            "" | "GET" => Ok(Self::Read),
            "PUT" => Ok(Self::Write),
            other => Err(Failure::invalid("method", format!("expected GET or PUT, found {other:?}"))),
        }
    }
}

/// What a signature is about.
#[derive(Clone, Copy, Debug)]
pub struct BlobLink<'a> {
    /// What it allows.
    pub access: BlobAccess,
    /// Whose the blob is.
    pub tenant: &'a str,
    /// Where it is.
    pub namespace: &'a str,
    /// Its name.
    pub name: &'a str,
    /// Until when, in seconds since the Unix epoch.
    pub expires: u64,
}

/// What belongs to the names of blobs, and is kept with them.
#[derive(Clone)]
pub struct BlobKeys {
    /// Marks the objects of these names: others may be beside them.
    pub(crate) mark: u64,
    signs: Hmac<Sha256>,
}

impl BlobKeys {
    /// How they are kept.
    pub const BYTES: usize = 40;

    /// Of random bytes that are kept.
    pub fn from_bytes(bytes: &[u8; Self::BYTES]) -> Result<Self, Failure> {
        let unusable = || Failure::new(Code::Internal, "the keys of blobs cannot be read");
        let (mark, secret) = bytes.split_first_chunk::<8>().ok_or_else(unusable)?;
        let signs = Hmac::<Sha256>::new_from_slice(secret).map_err(|_| unusable())?;
        Ok(Self { mark: u64::from_be_bytes(*mark), signs })
    }

    /// Those of a store, made with the first use of it: nodes with one store share them.
    pub async fn kept_in(store: &dyn Store) -> Result<Self, plexspaces_store::Error> {
        let partition = Partition::node("keys");
        loop {
            let stored = store.get(&partition, b"blobs").await?;
            if let Some(Ok(bytes)) = stored.as_deref().map(TryInto::try_into) {
                return Self::from_bytes(bytes).map_err(|failure| plexspaces_store::Error::Corrupt(failure.message));
            }
            let mut bytes = [0; Self::BYTES];
            rand::fill(&mut bytes);
            let mut batch = Batch::new(partition.clone());
            batch.require("blobs", stored).put("blobs", bytes.to_vec());
            match store.commit(batch).await {
                // Another node was first.
                Err(plexspaces_store::Error::Precondition { .. }) => {}
                done => done?,
            }
        }
    }

    /// The signature of a link, in hexadecimal digits.
    #[must_use]
    pub fn sign(&self, link: &BlobLink<'_>) -> String {
        self.about(link).finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Whether a signature is that of a link. It takes the same time wherever it differs.
    #[must_use]
    pub fn has_signed(&self, link: &BlobLink<'_>, signature: &str) -> bool {
        from_hex(signature).is_some_and(|signature| self.about(link).verify_slice(&signature).is_ok())
    }

    fn about(&self, link: &BlobLink<'_>) -> Hmac<Sha256> {
        let BlobLink { access, tenant, namespace, name, expires } = link;
        let mut signs = self.signs.clone();
        // Each part with its length, so that no two links have the same text.
        for part in ["plexspaces-blob-link-1", access.method(), tenant, namespace, name, &expires.to_string()] {
            signs.update(&(part.len() as u64).to_be_bytes());
            signs.update(part.as_bytes());
        }
        signs
    }
}

/// 32 bytes in hexadecimal digits.
pub(crate) fn from_hex(digits: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    if digits.len() != 64 || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    for (byte, at) in bytes.iter_mut().zip((0..).step_by(2)) {
        *byte = u8::from_str_radix(digits.get(at..at + 2)?, 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINK: BlobLink<'static> = BlobLink { access: BlobAccess::Read, tenant: "t", namespace: "n", name: "a/b", expires: 1000 };

    #[test]
    fn a_signature_is_of_one_link_and_one_key() {
        let keys = BlobKeys::from_bytes(&[7; 40]).unwrap();
        let signature = keys.sign(&LINK);
        assert!(keys.has_signed(&LINK, &signature));
        let others = [
            BlobLink { access: BlobAccess::Write, ..LINK },
            BlobLink { tenant: "u", ..LINK },
            BlobLink { namespace: "m", ..LINK },
            BlobLink { name: "a/c", ..LINK },
            BlobLink { expires: 1001, ..LINK },
            BlobLink { tenant: "tn", namespace: "", ..LINK },
        ];
        for other in others {
            assert!(!keys.has_signed(&other, &signature), "{other:?}");
        }
        let mut bytes = [7; 40];
        bytes[39] = 8;
        assert!(!BlobKeys::from_bytes(&bytes).unwrap().has_signed(&LINK, &signature));
        for wrong in ["", "x", &signature[..62], &signature.replace(|_: char| true, "g"), &format!("+{}", &signature[1..])] {
            assert!(!keys.has_signed(&LINK, wrong), "{wrong}");
        }
    }
}
