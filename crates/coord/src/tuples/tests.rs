//! The index of tuples and the matching of patterns, against a list that is looked through.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::pattern::{self, Pattern};
use super::space::{Place, Space, Tuple};

/// Few values, so that many are equal, and numbers in both of their forms.
fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(json!(null)),
        Just(json!(true)),
        (0..3).prop_map(|number| json!(number)),
        (0..3).prop_map(|number| json!(f64::from(number))),
        Just(json!(0.5)),
        "[ab]{0,1}".prop_map(|text| json!(text)),
        Just(json!([1, "a"])),
        Just(json!([1.0, "a"])),
        Just(json!({"x": 1, "y": [null]})),
        Just(json!({"y": [null], "x": 1.0})),
    ]
}

/// What ranges begin and end with: numbers in both forms, and strings, which no number is above or below.
fn bound() -> impl Strategy<Value = Value> {
    prop_oneof![
        (0..3).prop_map(|number| json!(number)),
        (0..3).prop_map(|number| json!(f64::from(number))),
        Just(json!(0.5)),
        "[ab]{0,1}".prop_map(|text| json!(text)),
    ]
}

/// One condition, with its name.
fn condition() -> impl Strategy<Value = (String, Value)> {
    let types = ["null", "boolean", "number", "integer", "string", "array", "object"];
    let ranges = ["$gt", "$gte", "$lt", "$lte"];
    prop_oneof![
        1 => value().prop_map(|value| ("$eq".to_owned(), value)),
        1 => value().prop_map(|value| ("$ne".to_owned(), value)),
        3 => (prop::sample::select(ranges.to_vec()), bound()).prop_map(|(name, bound)| (name.to_owned(), bound)),
        2 => prop::collection::vec(value(), 0..3).prop_map(|values| ("$in".to_owned(), json!(values))),
        1 => "[ab]{0,2}".prop_map(|prefix| ("$prefix".to_owned(), json!(prefix))),
        2 => prop::sample::select(types.to_vec()).prop_map(|name| ("$type".to_owned(), json!(name))),
    ]
}

fn wanted() -> impl Strategy<Value = Value> {
    prop_oneof![
        3 => Just(json!(null)),
        5 => value(),
        // Several are ranges, or contradict each other.
        6 => prop::collection::vec(condition(), 1..4).prop_map(|conditions| Value::Object(conditions.into_iter().collect())),
    ]
}

/// Whether a tuple is meant, said as plainly as can be.
fn means(pattern: &[Value], tuple: &[Value]) -> bool {
    pattern.len() == tuple.len() && pattern.iter().zip(tuple).all(|(wanted, value)| element_means(wanted, value))
}

fn element_means(wanted: &Value, value: &Value) -> bool {
    let Some(conditions) = wanted.as_object().filter(|members| members.keys().any(|key| key.starts_with('$'))) else {
        return wanted.is_null() || same(wanted, value);
    };
    conditions.iter().all(|(name, bound)| match name.as_str() {
        "$eq" => same(bound, value),
        "$ne" => !same(bound, value),
        "$gt" => order(value, bound).is_some_and(|order| order > 0),
        "$gte" => order(value, bound).is_some_and(|order| order >= 0),
        "$lt" => order(value, bound).is_some_and(|order| order < 0),
        "$lte" => order(value, bound).is_some_and(|order| order <= 0),
        "$in" => bound.as_array().unwrap().iter().any(|wanted| same(wanted, value)),
        "$prefix" => value.as_str().is_some_and(|text| text.starts_with(bound.as_str().unwrap())),
        "$type" => match bound.as_str().unwrap() {
            "null" => value.is_null(),
            "boolean" => value.is_boolean(),
            "number" => value.is_number(),
            "integer" => value.as_f64().is_some_and(|number| number.fract() == 0.0),
            "string" => value.is_string(),
            "array" => value.is_array(),
            "object" => value.is_object(),
            other => panic!("{other}"),
        },
        other => panic!("{other}"),
    })
}

/// How a value stands to a bound of its kind: below 0, 0, above 0.
fn order(value: &Value, bound: &Value) -> Option<i8> {
    if let (Some(value), Some(bound)) = (value.as_f64(), bound.as_f64()) {
        return value.partial_cmp(&bound).map(|order| order as i8);
    }
    Some(value.as_str()?.cmp(bound.as_str()?) as i8)
}

fn same(one: &Value, other: &Value) -> bool {
    plain(one) == plain(other)
}

/// The same value with all numbers in one form.
fn plain(value: &Value) -> Value {
    match value {
        Value::Number(number) => json!(number.as_f64()),
        Value::Array(values) => values.iter().map(plain).collect(),
        Value::Object(members) => members.iter().map(|(key, value)| (key.clone(), plain(value))).collect(),
        other => other.clone(),
    }
}

#[derive(Clone, Debug)]
enum Step {
    Write(Vec<Value>),
    /// Removes the nth of those that are there.
    Remove(usize),
    /// Puts the nth of those that were removed back under its number.
    Back(usize),
    Find(Vec<Value>, Option<u64>),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => prop::collection::vec(value(), 1..4).prop_map(Step::Write),
        3 => any::<usize>().prop_map(Step::Remove),
        1 => any::<usize>().prop_map(Step::Back),
        4 => (prop::collection::vec(wanted(), 1..4), prop::option::of(0..40_u64)).prop_map(|(pattern, after)| Step::Find(pattern, after)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn the_index_finds_what_looking_through_all_finds(steps in prop::collection::vec(step(), 1..120)) {
        let (mut space, mut there, mut removed, mut last) = (Space::default(), Vec::<(Place, Vec<Value>)>::new(), Vec::new(), 0);
        for step in steps {
            match step {
                Step::Write(tuple) => {
                    last += 1;
                    let place = space.insert(last, Tuple::parse(&Value::from(tuple.clone()).to_string(), None).unwrap());
                    there.push((place, tuple));
                }
                Step::Remove(nth) if !there.is_empty() => {
                    let (place, tuple) = there.remove(nth % there.len());
                    prop_assert!(space.remove(place).is_some());
                    prop_assert!(space.remove(place).is_none());
                    removed.push((place, tuple));
                }
                Step::Back(nth) if !removed.is_empty() => {
                    let (place, tuple) = removed.remove(nth % removed.len());
                    let place = space.insert(place.number, Tuple::parse(&Value::from(tuple.clone()).to_string(), None).unwrap());
                    there.push((place, tuple));
                    there.sort_by_key(|(place, _)| place.number);
                }
                Step::Remove(_) | Step::Back(_) => {}
                Step::Find(pattern, after) => {
                    let parsed = Pattern::parse(pattern.clone()).unwrap();
                    let found: Vec<u64> = space.find(&parsed, after).map(|(place, _)| place.number).collect();
                    let wanted = there.iter().filter(|(place, tuple)| after.is_none_or(|after| place.number > after) && means(&pattern, tuple));
                    prop_assert_eq!(found, wanted.map(|(place, _)| place.number).collect::<Vec<_>>(), "{:?}", pattern);
                }
            }
            prop_assert_eq!(space.len(), there.len());
        }
    }

    #[test]
    fn equal_values_have_one_hash(one in value(), other in value()) {
        prop_assert_eq!(pattern::equal(&one, &other), same(&one, &other));
        prop_assert!(!pattern::equal(&one, &other) || pattern::hash(&one) == pattern::hash(&other));
    }
}

#[test]
fn a_condition_that_leaves_one_value_is_looked_up_in_the_index() {
    let start = |pattern: Value| Pattern::parse(pattern.as_array().unwrap().clone()).unwrap().start;
    for only in [json!({"$eq": 7}), json!({"$in": [7.0]}), json!({"$in": [7], "$type": "integer"}), json!({"$gt": 0, "$eq": 7})] {
        assert_eq!(start(json!([only, null])), start(json!([7, null])), "{only}");
        assert_eq!(start(json!([null, only])), start(json!([null, 7])), "{only}");
        assert_eq!(start(json!(["a", only, 1])), start(json!(["a", 7, 1])), "{only}");
    }
    assert_ne!(start(json!([{"$eq": null}, 1])), start(json!([null, 1])), "it means null and nothing else");
    for several in [json!({"$in": [7, 8]}), json!({"$in": []}), json!({"$gt": 7})] {
        assert_eq!(start(json!([several, null])), start(json!([null, null])), "{several}");
    }
}

#[test]
fn fuzz_patterns_and_tuples_agree_with_the_index() {
    let examples = [
        r#"[["job", {"$gt": 0}, null], ["job", 1, {"file": "a.csv"}]]"#,
        r#"[[1, 1e3], [1.0, 1000]]"#,
        r#"[[{"a": 1, "b": [2]}], [{"b": [2.0], "a": 1}]]"#,
        r#"[[{"$in": [1, "x"]}, {"$prefix": "a"}, {"$type": "integer"}], ["x", "ab", 3.0]]"#,
    ];
    plexspaces_testkit::fuzz!(examples, |bytes: &Vec<u8>| {
        let Ok([pattern, tuple]) = serde_json::from_slice::<[Value; 2]>(bytes) else { return };
        let Ok(tuple) = Tuple::parse(&tuple.to_string(), None) else { return };
        let Value::Array(pattern) = pattern else { return };
        let Ok(pattern) = Pattern::parse(pattern) else { return };
        let elements: Vec<Value> = serde_json::from_str(tuple.text()).unwrap();
        assert_eq!(tuple.is_meant_by(&pattern), pattern.means(&elements), "a tuple that is meant has the hashes that are wanted");
        if pattern.means(&elements) {
            assert!(tuple.starts().any(|start| start == pattern.start), "and is found where the pattern looks");
        }
    });
}
