//! Durations and sizes as people write them.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// A duration such as `500ms`, `10s`, `30m` or `24h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Duration(pub std::time::Duration);

/// A size in bytes such as `64KiB`, `256MiB` or `1048576`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ByteSize(pub u64);

impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&humantime::format_duration(self.0).to_string().replace(' ', ""))
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = [(30, "GiB"), (20, "MiB"), (10, "KiB")];
        match units.into_iter().find(|(shift, _)| self.0 != 0 && self.0.trailing_zeros() >= *shift) {
            Some((shift, unit)) => write!(f, "{}{unit}", self.0 >> shift),
            None => write!(f, "{}", self.0),
        }
    }
}

impl Duration {
    /// Reads a duration from text.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is no duration, expected a number with unit such as \"500ms\", \"10s\", \"30m\" or \"24h\"");
        humantime::parse_duration(text).map(Self).map_err(|_| wrong())
    }
}

impl ByteSize {
    /// Reads a size from text.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = |_| format!("{text:?} is no size, expected a number of bytes or one with unit such as \"64KiB\" or \"256MiB\"");
        text.parse::<bytesize::ByteSize>().map(|size| Self(size.as_u64())).map_err(wrong)
    }
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Given {
    Number(u64),
    Text(String),
    Other(toml::Value),
}

impl<'de> Deserialize<'de> for Duration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Given::deserialize(deserializer)? {
            Given::Text(text) => Self::parse(&text).map_err(D::Error::custom),
            Given::Number(number) => Err(D::Error::custom(format!("{number} has no unit, expected a duration such as \"{number}s\""))),
            Given::Other(other) => Err(D::Error::custom(format!("expected a duration such as \"30s\", found {other}"))),
        }
    }
}

impl<'de> Deserialize<'de> for ByteSize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Given::deserialize(deserializer)? {
            Given::Number(bytes) => Ok(Self(bytes)),
            Given::Text(text) => Self::parse(&text).map_err(D::Error::custom),
            Given::Other(other) => Err(D::Error::custom(format!("expected a size such as \"64MiB\", found {other}"))),
        }
    }
}

impl Serialize for Duration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Serialize for ByteSize {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl JsonSchema for Duration {
    fn schema_name() -> Cow<'static, str> {
        "Duration".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "description": "a duration such as 500ms, 10s, 30m or 24h"})
    }
}

impl JsonSchema for ByteSize {
    fn schema_name() -> Cow<'static, str> {
        "ByteSize".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": ["string", "integer"], "description": "a size in bytes such as 64KiB, 256MiB or 1048576"})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_read_and_printed() {
        for text in ["500ms", "10s", "30m", "24h"] {
            assert!(Duration::parse(text).is_ok(), "{text}");
        }
        assert_eq!(Duration::parse("90s").unwrap().to_string(), "1m30s");
        assert_eq!(ByteSize::parse("256MiB").unwrap(), ByteSize(256 << 20));
        assert_eq!(ByteSize(256 << 20).to_string(), "256MiB");
        assert_eq!(ByteSize(1000).to_string(), "1000");
        assert!(Duration::parse("10").is_err() && Duration::parse("soon").is_err() && ByteSize::parse("much").is_err());
    }
}
