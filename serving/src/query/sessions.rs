//! What a query about sessions is, and which is none. Pure.
use seam_shared::time::Span;
use seam_shared::view::aggregate::partial::Aggregate;
use seam_shared::view::definition::StateKind;

use super::{Query, Refusal, Term};

/// The gap of the sessions that a query is about, if it is about sessions.
pub fn gap(query: &Query) -> Option<Span> {
    query.terms.iter().find_map(|term| match term.kind() {
        StateKind::Partial(Aggregate::Sessions(gap), _) => Some(gap),
        StateKind::Partial(..) | StateKind::Count | StateKind::Fixed { .. } | StateKind::Float => None,
    })
}

/// Refuses what divides sessions by anything else: their windows are not those of events.
///
/// # Errors
/// `Invalid`.
pub fn check(query: &Query) -> Result<(), Refusal> {
    let about = |term: &Term| matches!(term.kind(), StateKind::Partial(Aggregate::Sessions(_), _));
    let sessions = query.terms.iter().filter(|term| about(term)).count();
    if sessions == 0 || sessions == query.terms.len() {
        return Ok(());
    }
    let detail = format!(
        "{} is a ratio of sessions and events; a ratio of sessions has two figures of sessions",
        query.metric.name
    );
    Err(Refusal::parameter("metric", detail))
}
