//! Why a query is refused: what is wrong, where, and what was probably meant.
use seam_shared::{Error, Kind};

/// A refusal, ready to become a problem document.
#[derive(Debug)]
pub struct Refusal {
    /// What the caller should do.
    pub kind: Kind,
    /// The name of the problem, e.g. `unknown-metric`.
    pub problem: &'static str,
    /// What is wrong with this query.
    pub detail: String,
    /// The parameter at fault.
    pub parameter: Option<String>,
    /// What was probably meant.
    pub suggestion: Option<String>,
}

impl Refusal {
    /// A parameter that cannot be used as it stands.
    pub fn parameter(name: impl Into<String>, detail: impl Into<String>) -> Self {
        Self {
            kind: Kind::Invalid,
            problem: "invalid-parameter",
            detail: detail.into(),
            parameter: Some(name.into()),
            suggestion: None,
        }
    }
    /// A limit with a number was exceeded.
    pub fn too_large(detail: impl Into<String>) -> Self {
        Self {
            kind: Kind::TooLarge,
            problem: "too-many-points",
            detail: detail.into(),
            parameter: None,
            suggestion: None,
        }
    }
    /// The same, with what was probably meant.
    #[must_use]
    pub fn suggest(mut self, suggestion: Option<impl Into<String>>) -> Self {
        self.suggestion = suggestion.map(Into::into);
        self
    }
    /// The same of another parameter.
    #[must_use]
    pub fn about(mut self, parameter: &str) -> Self {
        self.parameter = Some(parameter.to_owned());
        self
    }
    /// The same, under another name.
    #[must_use]
    pub fn named(mut self, problem: &'static str) -> Self {
        self.problem = problem;
        self
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        let problem = match error.kind() {
            Kind::Invalid => "invalid",
            Kind::NotFound => "not-found",
            Kind::Denied => "denied",
            Kind::Conflict => "conflict",
            Kind::Unavailable => "unavailable",
            Kind::TooLarge => "too-large",
            Kind::Corrupt => "corrupt",
            Kind::Internal => "internal",
        };
        Self { kind: error.kind(), problem, detail: error.to_string(), parameter: None, suggestion: None }
    }
}

/// The candidate nearest to `name`, if it is near enough to be what was meant: a figure of `name` before all others.
pub fn nearest<'a>(name: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let candidates: Vec<&str> = candidates.collect();
    let is_figure = |c: &&str| !name.is_empty() && c.strip_prefix(name).is_some_and(|rest| rest.starts_with('.'));
    if let Some(figure) = candidates.iter().copied().filter(is_figure).min() {
        return Some(figure);
    }
    let best = candidates.into_iter().map(|c| (strsim::damerau_levenshtein(name, c), c)).min()?;
    let allowed = (name.chars().count().max(best.1.chars().count()) / 3).max(1);
    (best.0 <= allowed || best.1.starts_with(name) && !name.is_empty()).then_some(best.1)
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn a_figure_of_what_was_named_is_nearer_than_another_name() {
        let metrics = ["v.c", "v.f.count", "v.f.avg", "events.total"];
        let near = |name| nearest(name, metrics.into_iter());
        assert_eq!(
            (near("v.f"), near("v.d"), near("events.totl")),
            (Some("v.f.avg"), Some("v.c"), Some("events.total"))
        );
        assert_eq!((near("purchases"), near("")), (None, None));
    }
}
