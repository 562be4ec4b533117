//! Finds the route of a path. `matchit` has no variables with something after them in their segment, so custom methods, `{id}:pause`, have a
//! table of their own in which the verb is a segment.

use http::{HeaderValue, Method as Verb};
use matchit::{Match, Router};

use crate::front::{Error, Route};

/// Every path of the interface.
#[derive(Default)]
pub(crate) struct Routes {
    plain: Router<Route>,
    custom: Router<Route>,
}

impl Routes {
    pub(crate) fn new(routes: Vec<Route>) -> Result<Self, Error> {
        let mut table = Self::default();
        for mut route in routes {
            let mut verbs: Vec<_> = route.bindings.iter().map(|binding| binding.rule.verb.as_str()).collect();
            if verbs.contains(&Verb::GET.as_str()) {
                verbs.push(Verb::HEAD.as_str());
            }
            let broken = |why: String| Error::Descriptors(format!("{}: {why}", route.template));
            route.allow = HeaderValue::try_from(verbs.join(", ")).map_err(|error| broken(error.to_string()))?;
            let inserted = match route.template.rsplit_once("}:") {
                Some((before, verb)) => table.custom.insert(format!("{before}}}/{verb}"), route),
                None => table.plain.insert(route.template.to_string(), route),
            };
            inserted.map_err(|error| Error::Descriptors(error.to_string()))?;
        }
        Ok(table)
    }

    /// The route of a path; `split` is what [`split`] makes of that. What stands behind the last colon is a custom method where there is one of
    /// that name and HTTP method, else it belongs to the id.
    pub(crate) fn find<'r, 'p>(&'r self, path: &'p str, split: Option<&'p str>, verb: &Verb) -> Option<Match<'r, 'p, &'r Route>> {
        let custom = split.and_then(|split| self.custom.at(split).ok());
        if custom.as_ref().is_some_and(|found| found.value.binding(verb).is_some()) {
            return custom;
        }
        let plain = self.plain.at(path).ok();
        if custom.is_none() || plain.as_ref().is_some_and(|found| found.value.binding(verb).is_some()) {
            return plain;
        }
        custom
    }
}

/// A path with the last colon of its last segment as a slash, if it has one behind an id.
pub(crate) fn split(path: &str) -> Option<String> {
    let (before, verb) = path.rsplit_once(':')?;
    (!verb.contains('/') && !before.ends_with('/')).then(|| format!("{before}/{verb}"))
}
