//! Configuration files are read strictly: an unknown key is an error that names the nearest right one.

use serde::de::DeserializeOwned;

/// A configuration that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}{}: {message}", .line.map(|line| format!(", line {line}")).unwrap_or_default())]
pub struct ConfigError {
    /// Which file or text.
    pub what: String,
    /// Where in it, counted from 1, when it is known.
    pub line: Option<usize>,
    /// What was expected and what was found.
    pub message: String,
}

impl ConfigError {
    /// An error of a value as a whole.
    pub fn new(what: &str, message: impl Into<String>) -> Self {
        Self { what: what.to_owned(), line: None, message: message.into() }
    }
}

/// What is wrong in a text that was read, and where.
#[derive(Debug)]
pub(crate) struct Wrong {
    place: Vec<Step>,
    pub(crate) message: String,
}

/// One step from a table or a list to what is in it.
#[derive(Debug)]
pub(crate) enum Step {
    Key(&'static str),
    Named(String),
    Item(usize),
}

impl Wrong {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self { place: Vec::new(), message: message.into() }
    }

    /// The same seen from one level farther out.
    pub(crate) fn within(mut self, step: Step) -> Self {
        self.place.insert(0, step);
        self
    }

    /// The error of a whole text.
    pub(crate) fn in_text(self, what: &str, text: &str) -> ConfigError {
        ConfigError { what: what.to_owned(), line: line(text, &self.place), message: self.message }
    }
}

/// The line of a place, or of what is around it where the place itself is not written.
fn line(text: &str, place: &[Step]) -> Option<usize> {
    let document = toml::de::DeTable::parse(text).ok()?;
    let mut found = None;
    let mut table = Some(document.get_ref());
    let mut list: Option<&toml::de::DeArray<'_>> = None;
    for step in place {
        let entry = match step {
            Step::Item(index) => list.and_then(|list| list.get(*index)).map(|value| (value.span(), value)),
            Step::Key(key) => entry(table, key),
            Step::Named(key) => entry(table, key),
        };
        let Some((span, value)) = entry else { break };
        found = Some(span.start);
        (table, list) = match value.get_ref() {
            toml::de::DeValue::Table(inner) => (Some(inner), None),
            toml::de::DeValue::Array(inner) => (None, Some(inner)),
            _ => (None, None),
        };
    }
    Some(line_at(text, found?))
}

type Entry<'a, 'i> = (std::ops::Range<usize>, &'a toml::Spanned<toml::de::DeValue<'i>>);

fn entry<'a, 'i>(table: Option<&'a toml::de::DeTable<'i>>, key: &str) -> Option<Entry<'a, 'i>> {
    table?.iter().find(|(name, _)| name.get_ref().as_ref() == key).map(|(name, value)| (name.span(), value))
}

fn line_at(text: &str, start: usize) -> usize {
    text.get(..start).unwrap_or_default().matches('\n').count() + 1
}

/// Reads a TOML text; `what` names it in errors. `T` must deny unknown fields.
pub fn parse<T: DeserializeOwned>(what: &str, text: &str) -> Result<T, ConfigError> {
    toml::from_str(text).map_err(|error| {
        let line = error.span().map(|span| line_at(text, span.start));
        let message = with_suggestion(error.message().trim().trim_end_matches('.'));
        ConfigError { what: what.to_owned(), line, message }
    })
}

/// Serde lists the known keys after an unknown one, all in backquotes; the nearest is offered.
fn with_suggestion(message: &str) -> String {
    if !message.starts_with("unknown field") && !message.starts_with("unknown variant") {
        return message.to_owned();
    }
    let mut quoted = message.split('`').skip(1).step_by(2);
    let Some(found) = quoted.next() else { return message.to_owned() };
    format!("{message}{}", plexspaces_types::suggestion(found, quoted))
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Sample {
        #[serde(default, rename = "max_restarts")]
        _max_restarts: u32,
        #[serde(default, rename = "strategy")]
        _strategy: String,
    }

    #[test]
    fn an_unknown_key_names_its_line_and_the_nearest_right_one() {
        let error = parse::<Sample>("app-config.toml", "strategy = \"x\"\nmax_restart = 3\n").unwrap_err();
        assert_eq!(error.line, Some(2));
        assert!(error.to_string().starts_with("app-config.toml, line 2: unknown field `max_restart`"), "{error}");
        assert!(error.to_string().ends_with("did you mean `max_restarts`?"), "{error}");
    }

    #[test]
    fn a_wrong_type_says_what_was_expected() {
        let error = parse::<Sample>("node.toml", "max_restarts = \"many\"").unwrap_err();
        assert_eq!(error.to_string(), "node.toml, line 1: invalid type: string \"many\", expected u32");
    }

    #[test]
    fn what_is_not_toml_is_refused() {
        assert!(parse::<Sample>("node.toml", "= 3").is_err());
    }
}
