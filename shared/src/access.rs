//! Who may do what: a [`Caller`] has scopes and a row filter, and only a caller gets an [`Admission`] to a view. Pure; how a caller
//! proves who it is lies in `serving/src/access`.
//!
//! # How a contract uses it
//! The guard in front of all routes (`seam_serving::access`) puts the [`Caller`] into the request's extensions. A handler takes
//! `Extension(caller): Extension<Caller>` and passes it on to `Serving::parse`, or asks `caller.admit(view)?` itself. A query's term
//! cannot be made without the [`Admission`] that this returns, and the scan counts only the rows that it admits: so no contract can
//! forget the row filter, and no cache can mix two callers up, as the admission is part of the query's spelling. Whatever reads rows
//! in another way (raw events, lists of values, SQL) takes an `Admission` too and keeps to [`Admission::rows`].
mod rows;
mod scope;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::state::ViewId;
use crate::time::Timestamp;
use crate::view::definition::View;
use crate::view::expression::Expression;
use crate::view::value::Value;
use crate::{Error, Kind, Result};

pub use rows::RowFilter;
pub use scope::{Names, Scope};

/// Whoever asks, and what it may see. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Caller(Arc<Rights>);

#[derive(Debug)]
struct Rights {
    name: String,
    scopes: Vec<Scope>,
    rows: RowFilter,
    expires: Option<Timestamp>,
    revoked: AtomicBool,
    fingerprint: String,
}

impl Caller {
    /// A caller of that name. `expires`: the first moment at which it may do nothing any more.
    pub fn new(name: impl Into<String>, scopes: Vec<Scope>, rows: RowFilter, expires: Option<Timestamp>) -> Caller {
        let mut words: Vec<String> = scopes.iter().map(Scope::to_string).collect();
        words.sort_unstable();
        words.dedup();
        let fingerprint = format!("{} {rows}", words.join(" "));
        Caller(Arc::new(Rights {
            name: name.into(),
            scopes,
            rows,
            expires,
            revoked: AtomicBool::new(false),
            fingerprint,
        }))
    }
    /// Everybody, where nobody has to say who it is; and this process itself. May do everything.
    pub fn trusted() -> Caller {
        Caller::new("", vec![Scope::Admin], RowFilter::default(), None)
    }
    /// What it is called in logs: the name of its key or the subject of its token; empty if nobody has to say who it is.
    pub fn name(&self) -> &str {
        &self.0.name
    }
    /// Its scopes.
    pub fn scopes(&self) -> &[Scope] {
        &self.0.scopes
    }
    /// Equal texts, equal rights: part of the key of whatever is kept for callers.
    pub fn fingerprint(&self) -> &str {
        &self.0.fingerprint
    }
    /// Whether it sees some rows only.
    pub fn is_filtered(&self) -> bool {
        !self.0.rows.is_empty()
    }
    /// Whether it may do everything, to all rows: whoever sees some rows only may not look at raw events.
    pub fn is_admin(&self) -> bool {
        self.has(|scope| matches!(scope, Scope::Admin)) && !self.is_filtered()
    }
    /// Whether it may read the platform's own metrics.
    pub fn may_read_metrics(&self) -> bool {
        self.is_admin() || self.has(|scope| matches!(scope, Scope::Metrics))
    }
    /// Whether it may add events to a source.
    pub fn may_ingest(&self, source: &str) -> bool {
        self.has(|scope| match scope {
            Scope::Admin => true,
            Scope::Ingest(names) => names.include(source),
            Scope::Query(_) | Scope::Metrics => false,
        })
    }
    /// Whether it may ask for a view, by its public name; some of its rows only, if it is filtered.
    pub fn may_query(&self, view: &str) -> bool {
        self.has(|scope| match scope {
            Scope::Admin => true,
            Scope::Query(names) => names.include(view),
            Scope::Ingest(_) | Scope::Metrics => false,
        })
    }
    /// Whether it may ask for any view at all.
    pub fn may_query_some(&self) -> bool {
        self.has(|scope| matches!(scope, Scope::Admin | Scope::Query(_)))
    }
    /// Lets it see a view, as far as its rows go.
    ///
    /// # Errors
    /// `Denied` when it may not ask for the view, or when its row filter is about a dimension that the view does not have.
    pub fn admit(&self, view: &View) -> Result<Admission> {
        if !self.may_query(&view.name) {
            return Err(denied(format!("this key has no scope `query:{}`", view.name)));
        }
        Ok(Admission { view: view.id.clone(), rows: self.0.rows.over(view)? })
    }
    /// As [`Caller::admit`], to a view that sums over the dimension `summed`: what its row filter says of that does not matter, since rows of
    /// the view are of no one value of it. Only for sums that are meant for everybody who may see a part of what they are of.
    ///
    /// # Errors
    /// As [`Caller::admit`].
    pub fn admit_over(&self, view: &View, summed: &str) -> Result<Admission> {
        if !self.may_query(&view.name) {
            return Err(denied(format!("this key has no scope `query:{}`", view.name)));
        }
        let is_own = view.dimension(summed).is_some();
        let rows = if is_own { self.0.rows.over(view)? } else { self.0.rows.without(summed).over(view)? };
        Ok(Admission { view: view.id.clone(), rows })
    }
    /// Whether it may still do what it once might: its key has not expired and was not taken away. For feeds that last.
    pub fn is_current(&self, now: Timestamp) -> bool {
        self.0.expires.is_none_or(|end| now < end) && !self.0.revoked.load(Ordering::Relaxed)
    }
    /// From now on it is not current.
    pub fn revoke(&self) {
        self.0.revoked.store(true, Ordering::Relaxed);
    }

    fn has(&self, test: impl Fn(&Scope) -> bool) -> bool {
        self.0.scopes.iter().any(test)
    }
}

fn denied(message: String) -> Error {
    Error::new(Kind::Denied, message)
}

/// The proof that a caller may see a view, and which of its rows. Only [`Caller::admit`] makes one.
#[derive(Debug, Clone, PartialEq, Hash)]
pub struct Admission {
    view: ViewId,
    rows: Option<Expression>,
}

impl Admission {
    /// The view that it is about.
    pub fn view(&self) -> &ViewId {
        &self.view
    }
    /// The condition, over the view's DIMENSIONS, that the rows meet which may be seen; `None`: all rows.
    pub fn rows(&self) -> Option<&Expression> {
        self.rows.as_ref()
    }
    /// Whether a row with these dimension values may be seen.
    pub fn admits(&self, value: &dyn Fn(usize) -> Value) -> bool {
        self.rows.as_ref().is_none_or(|rows| rows.matches(value) == Some(true))
    }
}

#[cfg(test)]
mod tests;
