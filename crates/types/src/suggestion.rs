//! What somebody who mistyped a name may have meant.

/// The end of a message about an unknown name: a question with the nearest of the known ones, or nothing where none is near.
#[must_use]
pub fn suggestion<'a>(found: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    let nearest = known.into_iter().map(|known| (strsim::damerau_levenshtein(found, known), known)).min();
    match nearest {
        Some((distance, known)) if distance <= known.len().max(found.len()) / 2 => format!("; did you mean `{known}`?"),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::suggestion;

    #[test]
    fn the_nearest_name_is_offered_and_a_far_one_is_not() {
        assert_eq!(suggestion("metrisc", ["caching", "metrics"]), "; did you mean `metrics`?");
        assert_eq!(suggestion("metrics", ["timer", "caching"]), "");
    }
}
