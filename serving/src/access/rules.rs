//! What each route asks for. A route that is not here is for `admin` alone.
use seam_shared::access::Caller;

use crate::percent::decoded;

/// What a route asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// Nothing: it tells nothing of the data.
    Nothing,
    /// The scope `ingest` of the source in its path.
    Ingest,
    /// The scope `query` of any view; which one, and which of its rows, is decided by the admission that the query needs.
    Query,
    /// The scope `metrics`.
    Metrics,
    /// The scope `admin`.
    Admin,
}

/// `{name}` stands for one part of a path, a `*` at the end for any rest: of the path if it stands alone, else of its last part.
const RULES: [(&str, Need); 34] = [
    ("/", Need::Nothing),
    ("/assets/*", Need::Nothing),
    ("/page/*", Need::Nothing),
    ("/favicon.ico", Need::Nothing),
    ("/livez", Need::Nothing),
    ("/readyz", Need::Nothing),
    ("/openapi.json", Need::Nothing),
    ("/docs", Need::Nothing),
    ("/docs/*", Need::Nothing),
    ("/metrics", Need::Metrics),
    ("/v1/events/{source}", Need::Ingest),
    ("/v1/dead-letters/{source}", Need::Admin),
    ("/v1/dead-letters/{source}/{entry}", Need::Admin),
    ("/v1/dead-letters/{source}/{entry}/replay", Need::Admin),
    ("/v1/tap/{source}", Need::Admin),
    ("/api/analytics/metrics", Need::Query),
    ("/api/analytics/metrics/{metric}", Need::Query),
    ("/api/analytics/explain/{metric}", Need::Query),
    ("/api/analytics/explain/{metric}/rows", Need::Query),
    ("/api/analytics/query", Need::Query),
    ("/api/analytics/query.*", Need::Query),
    ("/api/analytics/dashboard", Need::Query),
    ("/api/analytics/live", Need::Query),
    ("/api/analytics/alerts", Need::Query),
    ("/api/analytics/pipeline", Need::Query),
    ("/api/analytics/dead_letters", Need::Admin),
    ("/api/analytics/generations/{view}", Need::Query),
    ("/api/analytics/views", Need::Query),
    ("/api/analytics/views/{view}", Need::Query),
    ("/api/analytics/views/{view}/*", Need::Query),
    ("/api/analytics/recommendations/{user}", Need::Query),
    ("/prometheus/api/v1/*", Need::Query),
    ("/prometheus/-/healthy", Need::Nothing),
    ("/prometheus/-/ready", Need::Nothing),
];

/// Of each rule the part before its first `{name}` or `*`, which most paths are told by.
const SPELLED: [usize; RULES.len()] = {
    let (mut lengths, mut rule) = ([0; RULES.len()], 0);
    while rule < RULES.len() {
        let pattern = RULES[rule].0.as_bytes();
        let (mut at, mut length) = (0, 0);
        while at < pattern.len() && pattern[at] != b'{' && pattern[at] != b'*' {
            at += 1;
            if pattern[at - 1] == b'/' {
                length = at;
            }
        }
        lengths[rule] = if at == pattern.len() { at } else { length };
        rule += 1;
    }
    lengths
};

/// Routes that browsers open as feeds, which cannot send headers: `?token=` is taken.
const FEEDS: [&str; 2] = ["/api/analytics/live", "/v1/tap/{source}"];

/// What a path asks for, and the one thing that it names.
#[derive(Debug, PartialEq, Eq)]
pub struct Asked {
    /// What it asks for.
    pub need: Need,
    /// The first part of the path that a rule does not spell out, decoded.
    pub name: String,
    /// Whether `?token=` is taken.
    pub is_feed: bool,
    /// Whether a rule names it.
    pub is_listed: bool,
}

/// What a path asks for.
pub fn of(path: &str) -> Asked {
    for ((pattern, need), spelled) in RULES.into_iter().zip(SPELLED) {
        if let Some(name) = matches(pattern, spelled, path) {
            return Asked { need, name, is_feed: FEEDS.contains(&pattern), is_listed: true };
        }
    }
    Asked { need: Need::Admin, name: String::new(), is_feed: false, is_listed: false }
}

impl Asked {
    /// Whether a caller has what is needed.
    pub fn is_had_by(&self, caller: &Caller) -> bool {
        match self.need {
            Need::Nothing => true,
            Need::Ingest => caller.may_ingest(&self.name),
            Need::Query => caller.may_query_some(),
            Need::Metrics => caller.may_read_metrics(),
            Need::Admin => caller.is_admin(),
        }
    }
    /// The scope that would do.
    pub fn scope(&self) -> String {
        match self.need {
            Need::Nothing => String::new(),
            Need::Ingest => format!("ingest:{}", self.name),
            Need::Query => "query:<view>".to_owned(),
            Need::Metrics => "metrics".to_owned(),
            Need::Admin => "admin".to_owned(),
        }
    }
}

/// The name in a path that a pattern matches: empty if the pattern spells all of it out.
fn matches(pattern: &str, spelled: usize, path: &str) -> Option<String> {
    if path.as_bytes().get(..spelled) != pattern.as_bytes().get(..spelled) {
        return None;
    }
    let (mut wanted, mut given) = (pattern[spelled..].split('/'), path[spelled..].split('/'));
    let mut name = None;
    loop {
        match (wanted.next(), given.next()) {
            (None, None) => return name.map_or(Some(String::new()), decoded),
            (Some("*"), Some(_)) => return name.map_or(Some(String::new()), decoded),
            (Some(any), Some(part)) if any.starts_with('{') && !part.is_empty() => {
                name = name.or(Some(part));
            }
            (Some(one), Some(part)) if one == part => {}
            (Some(one), Some(part)) if one.strip_suffix('*').is_some_and(|start| part.starts_with(start)) => {}
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_told_from_its_neighbours() {
        let need = |path: &str| of(path).need;
        assert_eq!((need("/"), need("/livez"), need("/docs/a/b.js")), (Need::Nothing, Need::Nothing, Need::Nothing));
        assert_eq!((need("/metrics"), need("/api/analytics/metrics")), (Need::Metrics, Need::Query));
        assert_eq!(of("/v1/events/%66lights").name, "flights");
        assert_eq!(of("/v1/events/a%2Fb").name, "a/b", "as the router decodes it");
        assert_eq!(need("/prometheus/api/v1/query_range"), Need::Query);
        assert_eq!(need("/api/analytics/query.csv"), Need::Query);
        for other in [
            "",
            "//",
            "/v1/events",
            "/v1/events/",
            "/v1/events/a/b",
            "/v1/events/%zz",
            "/livez/",
            "/docsx",
            "/nothing",
            "/api/analytics/",
            "/api/analytics/metrics/a/b",
            "/api/analytics/query.csv/x",
            "/api/analytics/queries",
            "/Metrics",
            "/%6divez",
            "/assets",
            "/prometheus/api/v2/query",
        ] {
            assert_eq!(of(other).need, Need::Admin, "{other}");
            assert!(!of(other).is_listed);
        }
    }
}
