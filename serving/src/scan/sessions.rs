//! Sessions in windows: each counts, whole, in the window that its first event lies in.
//!
//! So a query over sessions reads a gap before its first window, to know which of them began earlier, and as far behind the last one as
//! they go on. What it reads becomes one partial a key, and each window takes the sessions out of it that begin there.
use std::sync::Arc;

use seam_shared::time::{Span, Timestamp};
use seam_shared::view::aggregate::State;
use seam_shared::view::aggregate::partial::Partial;
use seam_shared::view::definition::StateKind;
use seam_shared::view::groups::Groups;
use seam_shared::view::rows::Rows;

use crate::query::{POINTS_MAX, Query, Refusal, Times, WINDOW_MAX, session_gap};

/// The panes to read: of a query that is not about sessions, those of its windows.
pub fn range(query: &Query) -> (Timestamp, Timestamp) {
    let (after, until) = query.times.span();
    let (Some(gap), Some(term)) = (session_gap(query), query.terms.first()) else { return (after, until) };
    let pane = term.view.pane;
    let whole = |span: Span| Span((span.0 + pane.0 - 1) / pane.0 * pane.0);
    let ahead = query.ahead.unwrap_or(Span(gap.0 * 2));
    (after.minus(whole(gap)), until.plus(whole(ahead)))
}

/// The query for all that is read, as one window; `None` if it is not about sessions.
pub fn widened(query: &Query) -> Option<Query> {
    session_gap(query)?;
    let (after, until) = range(query);
    let length = Span(until.0 - after.0);
    Some(Query { times: Times::even(until, length, length, 1), ..query.clone() })
}

/// The same query, to read twice as far; `None` where there is no time left.
pub fn further(query: &Query) -> Option<Query> {
    let ahead = query.ahead.unwrap_or(Span(session_gap(query)?.0 * 2));
    (ahead < WINDOW_MAX).then(|| Query { ahead: Some(Span(ahead.0 * 2)), ..query.clone() })
}

/// The same of a query that is asked beside others: one that is not about sessions stays as it is.
pub fn all_further(query: &Arc<Query>) -> Option<Arc<Query>> {
    if session_gap(query).is_none() { Some(query.clone()) } else { further(query).map(Arc::new) }
}

/// From one partial a key to one a window and key; and whether a session may go on behind what was read.
///
/// # Errors
/// `TooLarge` when there are more points than may be computed.
pub fn by_start(query: &Query, wide: &Rows) -> Result<(Rows, bool), Refusal> {
    let (_, end) = range(query);
    let kinds: Vec<StateKind> = query.terms.iter().map(|term| term.kind()).collect();
    let mut groups = Groups::new(wide.dimensions.len(), &kinds);
    let mut goes_on = false;
    for window in 0..query.times.count() {
        let times = (query.times.start(window), query.times.end(window));
        for row in 0..wide.len() {
            let clipped: Vec<State> =
                wide.states.iter().map(|states| clip(states.get(row), times, end, &mut goes_on)).collect();
            if clipped.iter().all(|state| matches!(state, State::Partial(Partial::Empty))) {
                continue;
            }
            let codes: Vec<u32> = (0..wide.dimensions.len()).map(|d| groups.intern(d, wide.value(d, row))).collect();
            let at = groups.row(times.1, &codes);
            groups.states_mut().iter_mut().zip(&clipped).for_each(|(to, state)| to.combine_state(at, state));
        }
        if groups.len() > POINTS_MAX {
            let detail = format!(
                "the query has more than {POINTS_MAX} points; ask for fewer dimensions, a longer step or slices"
            );
            return Err(Refusal::too_large(detail));
        }
    }
    Ok((groups.into_rows(), goes_on))
}

fn clip(state: State, times: (Timestamp, Timestamp), end: Timestamp, goes_on: &mut bool) -> State {
    let State::Partial(Partial::Sessions(sessions)) = state else { return State::Partial(Partial::Empty) };
    let (inside, on) = sessions.starting_in(times, end);
    *goes_on |= on;
    State::Partial(if inside.is_empty() { Partial::Empty } else { Partial::Sessions(Box::new(inside)) })
}
