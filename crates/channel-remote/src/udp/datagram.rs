//! A message as it goes over the network: a line that says whose it is, and one JSON object, which other programs can read too.
//!
//! The line is `PLEX1`, the name of the cluster and an HMAC-SHA256 in hexadecimal over that name, a line feed and the object, or `-` where the
//! nodes share no secret.

use hmac::{Hmac, Mac as _};
use plexspaces_types::{Code, Failure};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

use crate::DUPLICATE_WINDOW_SECS;
use crate::message::Message;

/// The most that one datagram holds over IPv4.
pub(super) const MAX_BYTES: usize = 65_507;

const MAGIC: &str = "PLEX1";

/// What stands in place of a seal where there is none.
const NONE: &str = "-";

/// A message with its channel.
#[derive(Serialize, Deserialize)]
pub(super) struct Body {
    pub(super) tenant: String,
    pub(super) namespace: String,
    pub(super) channel: String,
    pub(super) message: Message,
}

/// Why a datagram is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    #[error("it is no message of a channel")]
    Malformed,
    #[error("it has no seal, and this node has a secret")]
    Unsealed,
    #[error("it has a seal, and this node has no secret")]
    Sealed,
    #[error("its seal is not one of this node's secret")]
    Forged,
    #[error("it is not from within {} s of this node's clock", DUPLICATE_WINDOW_SECS)]
    Old,
    #[error("it is from before this node's start, or from before what this node remembers")]
    Forgotten,
}

/// What the nodes of a cluster have in common.
pub(super) struct Seal {
    cluster: String,
    key: Option<Hmac<Sha256>>,
}

impl Seal {
    pub(super) fn new(cluster: &str, secret: Option<&str>) -> Result<Self, Failure> {
        let unusable = |_| Failure::invalid("channels.udp.secret", "the secret cannot be used");
        let key = secret.map(|secret| Hmac::new_from_slice(secret.as_bytes())).transpose().map_err(unusable)?;
        Ok(Self { cluster: cluster.to_owned(), key })
    }

    fn over(&self, key: &Hmac<Sha256>, body: &[u8]) -> Hmac<Sha256> {
        let mut mac = key.clone();
        mac.update(self.cluster.as_bytes());
        mac.update(b"\n");
        mac.update(body);
        mac
    }

    pub(super) fn encode(&self, body: &Body) -> Result<Vec<u8>, Failure> {
        let unwritable = |error| Failure::new(Code::Internal, format!("a message could not be written: {error}"));
        let text = serde_json::to_vec(body).map_err(unwritable)?;
        let seal = match &self.key {
            Some(key) => self.over(key, &text).finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect(),
            None => NONE.to_owned(),
        };
        let mut datagram = format!("{MAGIC} {} {seal}\n", self.cluster).into_bytes();
        datagram.extend_from_slice(&text);
        if datagram.len() <= MAX_BYTES {
            return Ok(datagram);
        }
        let message =
            format!("the message needs {} bytes, and a datagram holds {MAX_BYTES}: publish less, or where to find it", datagram.len());
        Err(Failure::new(Code::PayloadTooLarge, message).with_field("payload"))
    }

    /// The message in a datagram; `None` for one of another cluster.
    pub(super) fn decode(&self, datagram: &[u8], now_ms: u64) -> Result<Option<Body>, Refusal> {
        let end = datagram.iter().position(|byte| *byte == b'\n').ok_or(Refusal::Malformed)?;
        let (line, rest) = datagram.split_at_checked(end).ok_or(Refusal::Malformed)?;
        let text = rest.get(1..).ok_or(Refusal::Malformed)?;
        let mut words = std::str::from_utf8(line).map_err(|_| Refusal::Malformed)?.split(' ');
        let (Some(MAGIC), Some(cluster), Some(seal), None) = (words.next(), words.next(), words.next(), words.next()) else {
            return Err(Refusal::Malformed);
        };
        if cluster != self.cluster {
            return Ok(None);
        }
        match (&self.key, seal) {
            (None, NONE) => {}
            (None, _) => return Err(Refusal::Sealed),
            (Some(_), NONE) => return Err(Refusal::Unsealed),
            (Some(key), seal) => {
                let seal = bytes(seal).ok_or(Refusal::Forged)?;
                self.over(key, text).verify_slice(&seal).map_err(|_| Refusal::Forged)?;
            }
        }
        let body: Body = serde_json::from_slice(text).map_err(|_| Refusal::Malformed)?;
        // A datagram that was listened to is not to be sent again later, when nobody knows any more that it was there.
        if self.key.is_some() && body.message.timestamp.abs_diff(now_ms) > DUPLICATE_WINDOW_SECS * 1000 {
            return Err(Refusal::Old);
        }
        Ok(Some(body))
    }
}

/// The bytes of a text in hexadecimal.
fn bytes(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let pairs = text.as_bytes().chunks(2).map(|pair| match pair {
        [high, low] => Some(digit(*high)? << 4 | digit(*low)?),
        _ => None,
    });
    pairs.collect()
}

#[cfg(test)]
mod tests {
    use plexspaces_coord::channels::Given;
    use serde_json::value::to_raw_value;

    use super::*;
    use crate::message::now_ms;

    const SECRET: Option<&str> = Some("0123456789abcdef");

    fn body(payload: &str) -> Body {
        let given = Given { msg_id: Some("m".to_owned()), msg_type: "news".to_owned(), payload: to_raw_value(payload).unwrap() };
        let [tenant, namespace, channel] = ["default", "lab", "prices"].map(str::to_owned);
        Body { tenant, namespace, channel, message: Message::new(given, None, None) }
    }

    fn refusal(seal: &Seal, datagram: &[u8]) -> Refusal {
        seal.decode(datagram, now_ms()).err().unwrap()
    }

    #[test]
    fn a_datagram_is_read_by_its_cluster_with_its_secret_and_by_nobody_else() {
        let seal = Seal::new("lab", SECRET).unwrap();
        let datagram = seal.encode(&body("x")).unwrap();
        let read = seal.decode(&datagram, now_ms()).unwrap().unwrap();
        assert_eq!((read.channel.as_str(), read.message.msg_id.as_str()), ("prices", "m"));
        assert!(Seal::new("other", SECRET).unwrap().decode(&datagram, now_ms()).unwrap().is_none());
        assert_eq!(refusal(&Seal::new("lab", Some("fedcba9876543210")).unwrap(), &datagram), Refusal::Forged);
        let open = Seal::new("lab", None).unwrap();
        assert_eq!(refusal(&open, &datagram), Refusal::Sealed);
        let unsealed = open.encode(&body("x")).unwrap();
        assert!(open.decode(&unsealed, 0).unwrap().is_some(), "without a secret there is no clock to agree with");
        assert_eq!(refusal(&seal, &unsealed), Refusal::Unsealed);
        // Whatever is changed is noticed, and so is a seal over the same in another cluster.
        for at in 0..datagram.len() {
            let mut changed = datagram.clone();
            changed[at] ^= 1;
            assert!(!matches!(seal.decode(&changed, now_ms()), Ok(Some(_))), "byte {at}");
        }
        let moved = String::from_utf8(datagram.clone()).unwrap().replace("PLEX1 lab", "PLEX1 other");
        assert_eq!(refusal(&Seal::new("other", SECRET).unwrap(), moved.as_bytes()), Refusal::Forged);
        for late in [now_ms() + 121_000, now_ms() - 121_000] {
            assert_eq!(seal.decode(&datagram, late).err(), Some(Refusal::Old));
        }
    }

    #[test]
    fn a_message_that_no_datagram_holds_is_refused_with_both_sizes() {
        let seal = Seal::new("lab", SECRET).unwrap();
        let beside = seal.encode(&body("")).unwrap().len();
        assert_eq!(seal.encode(&body(&"x".repeat(MAX_BYTES - beside))).unwrap().len(), MAX_BYTES);
        let refused = seal.encode(&body(&"x".repeat(MAX_BYTES - beside + 1))).unwrap_err();
        assert_eq!((refused.code, refused.field.as_deref()), (Code::PayloadTooLarge, Some("payload")));
        assert!(refused.message.contains("65508 bytes") && refused.message.contains("65507"), "{refused}");
    }

    #[test]
    fn fuzz_datagrams() {
        let [sealed, open] = [SECRET, None].map(|secret| Seal::new("lab", secret).unwrap().encode(&body("x")).unwrap());
        plexspaces_testkit::fuzz!([sealed, open], |bytes: &Vec<u8>| {
            for secret in [None, SECRET] {
                let _ = Seal::new("lab", secret).unwrap().decode(bytes, 0);
            }
        });
    }
}
