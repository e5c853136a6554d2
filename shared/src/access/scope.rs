//! Scopes: what a key is for.
use std::fmt;

/// One thing that a caller may do.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Scope {
    /// `ingest:<source>`, `ingest:*`: add events.
    Ingest(Names),
    /// `query:<view>`, `query:*`: ask for a view by any contract.
    Query(Names),
    /// `metrics`: read the platform's own metrics.
    Metrics,
    /// `admin`: everything.
    Admin,
}

/// Names that a scope is about.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Names {
    /// `*`
    All,
    /// That one.
    One(String),
}

impl Names {
    /// Whether `name` is one of them.
    pub fn include(&self, name: &str) -> bool {
        match self {
            Names::All => true,
            Names::One(one) => one == name,
        }
    }
}

impl Scope {
    /// Reads a scope.
    ///
    /// # Errors
    /// What is wrong, with what would be right.
    pub fn parse(text: &str) -> Result<Scope, String> {
        let names = |name: &str| match name {
            "*" => Ok(Names::All),
            "" => Err(format!("`{text}` names nothing; write it like `{text}flights`, or `{text}*` for all")),
            name => Ok(Names::One(name.to_owned())),
        };
        match text.split_once(':') {
            None if text == "admin" => Ok(Scope::Admin),
            None if text == "metrics" => Ok(Scope::Metrics),
            Some(("ingest", source)) => Ok(Scope::Ingest(names(source)?)),
            Some(("query", view)) => Ok(Scope::Query(names(view)?)),
            _ => Err(format!("`{text}` is no scope; there are ingest:<source>, query:<view>, metrics and admin")),
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Scope::Ingest(names) => write!(f, "ingest:{names}"),
            Scope::Query(names) => write!(f, "query:{names}"),
            Scope::Metrics => f.write_str("metrics"),
            Scope::Admin => f.write_str("admin"),
        }
    }
}

impl fmt::Display for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Names::All => "*",
            Names::One(name) => name,
        })
    }
}
