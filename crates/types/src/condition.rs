//! Changes that are made only to what somebody has seen.

use serde::{Deserialize, Serialize};

use crate::{Code, Failure};

/// What must be true of a resource for it to be changed; written as a text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum Condition {
    /// There is none; the empty text.
    Absent,
    /// There is one, whatever its version; `*`.
    Present,
    /// It has this version; any other text.
    Version(String),
}

impl Condition {
    /// Fails unless the resource `name` is as it must be. `current` is its version, none where there is no such resource.
    pub fn check(&self, name: &str, current: Option<&str>) -> Result<(), Failure> {
        let expected = match (self, current) {
            (Self::Absent, None) | (Self::Present, Some(_)) => return Ok(()),
            (Self::Version(expected), Some(current)) if expected == current => return Ok(()),
            (Self::Absent, Some(_)) => "that there is none".to_owned(),
            (Self::Present, None) => "that there is one".to_owned(),
            (Self::Version(expected), _) => format!("version {expected:?}"),
        };
        let found = current.map_or_else(|| "there is none".to_owned(), |current| format!("it has version {current:?}"));
        let failure = Failure::new(Code::Conflict, format!("{name}: expected {expected}, but {found}"));
        Err(failure.with_field("if_match").with_resource(name, current.map(str::to_owned)))
    }
}

impl From<String> for Condition {
    fn from(text: String) -> Self {
        match text.as_str() {
            "" => Self::Absent,
            "*" => Self::Present,
            _ => Self::Version(text),
        }
    }
}

impl From<Condition> for String {
    fn from(condition: Condition) -> Self {
        match condition {
            Condition::Absent => Self::new(),
            Condition::Present => "*".to_owned(),
            Condition::Version(version) => version,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_is_read_as_it_is_written_and_says_what_there_is_instead() {
        for (text, holds, fails) in [("", None, Some("7")), ("*", Some("7"), None), ("7", Some("7"), Some("8")), ("7", Some("7"), None)] {
            let condition = Condition::from(text.to_owned());
            assert_eq!(String::from(condition.clone()), text);
            assert_eq!(condition.check("kv/a", holds), Ok(()));
            let resource = condition.check("kv/a", fails).unwrap_err().resource.unwrap();
            assert_eq!((resource.name.as_str(), resource.current_version.as_deref()), ("kv/a", fails));
        }
    }
}
