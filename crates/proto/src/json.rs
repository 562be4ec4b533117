//! JSON documents and the messages that stand for them.

use std::io;

use prost_reflect::{DynamicMessage, SerializeOptions};
use prost_types::value::Kind;
use prost_types::{ListValue, Struct};
use serde_json::ser::{CompactFormatter, Formatter, Serializer};
use serde_json::{Map, Value};

/// From here on a whole number in a message need not be the one that was sent: messages hold all numbers as floating ones.
const INEXACT: f64 = 9_007_199_254_740_992.0;

/// A JSON object as a message.
#[must_use]
pub fn from_object(fields: Map<String, Value>) -> Struct {
    Struct { fields: fields.into_iter().map(|(name, field)| (name, from_value(field))).collect() }
}

/// A JSON value as a message.
#[must_use]
pub fn from_value(value: Value) -> prost_types::Value {
    let kind = match value {
        Value::Null => Kind::NullValue(0),
        Value::Bool(flag) => Kind::BoolValue(flag),
        Value::Number(number) => Kind::NumberValue(number.as_f64().unwrap_or(f64::NAN)),
        Value::String(text) => Kind::StringValue(text),
        Value::Array(items) => Kind::ListValue(ListValue { values: items.into_iter().map(from_value).collect() }),
        Value::Object(fields) => Kind::StructValue(from_object(fields)),
    };
    prost_types::Value { kind: Some(kind) }
}

/// The JSON object that a message stands for; whole numbers are integers again. What a message cannot hold exactly is an error.
pub fn to_object(message: Struct) -> Result<Map<String, Value>, String> {
    let field = |(name, value)| match to_value(value) {
        Ok(value) => Ok((name, value)),
        Err(error) => Err(format!("{name}: {error}")),
    };
    message.fields.into_iter().map(field).collect()
}

/// The JSON value that a message stands for, as [`to_object`] reads it.
pub fn to_value(message: prost_types::Value) -> Result<Value, String> {
    Ok(match message.kind {
        None | Some(Kind::NullValue(_)) => Value::Null,
        Some(Kind::BoolValue(flag)) => flag.into(),
        Some(Kind::StringValue(text)) => text.into(),
        Some(Kind::NumberValue(number)) if !number.is_finite() || number.abs() >= INEXACT => {
            return Err(format!("{number} is not sent exactly, expected a number within 2^53 from zero"));
        }
        // In these bounds the conversion is exact.
        #[allow(clippy::cast_possible_truncation)]
        Some(Kind::NumberValue(number)) if number.fract() == 0.0 => (number as i64).into(),
        Some(Kind::NumberValue(number)) => number.into(),
        Some(Kind::ListValue(list)) => list.values.into_iter().map(to_value).collect::<Result<Vec<_>, _>>()?.into(),
        Some(Kind::StructValue(fields)) => to_object(fields)?.into(),
    })
}

/// Whether fields that nobody has set are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Defaults {
    /// All but those that have presence.
    Written,
    /// None.
    Skipped,
}

/// A message as JSON text, with the names of the contract. A whole number is written as one, also where the message holds it as a floating
/// one: what was sent as `1` comes back as `1`.
pub fn to_text(message: &DynamicMessage, defaults: Defaults) -> Result<Vec<u8>, serde_json::Error> {
    let options = SerializeOptions::new().use_proto_field_name(true).stringify_64_bit_integers(false);
    let mut writer = Serializer::with_formatter(Vec::with_capacity(256), Whole);
    message.serialize_with_options(&mut writer, &options.skip_default_fields(defaults == Defaults::Skipped))?;
    Ok(writer.into_inner())
}

struct Whole;

impl Formatter for Whole {
    fn write_f64<W: ?Sized + io::Write>(&mut self, writer: &mut W, number: f64) -> io::Result<()> {
        if number.fract() == 0.0 && number.abs() < INEXACT {
            return write!(writer, "{number}");
        }
        CompactFormatter.write_f64(writer, number)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_document_comes_back_as_it_was_sent() {
        let document = json!({"limit": 100, "share": 0.5, "names": ["a", null], "inner": {"on": true, "far": -3}});
        let Value::Object(fields) = document.clone() else { return };
        assert_eq!(to_object(from_object(fields)), Ok(document.as_object().cloned().unwrap_or_default()));
    }

    #[test]
    fn a_number_that_is_not_sent_exactly_is_refused() {
        let Value::Object(fields) = json!({"inner": {"limit": 9_007_199_254_740_993_u64}}) else { return };
        let refused = to_object(from_object(fields)).unwrap_err();
        assert!(refused.starts_with("inner: limit: 9007199254740992 is not sent exactly"), "{refused}");
    }
}
