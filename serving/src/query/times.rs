//! The windows of an answer's points: how `at`, `from`, `to`, `step`, `window`, `cumulative` and `tz` are read and put on the
//! grid of the panes. Pure.
use std::sync::Arc;

use chrono::{NaiveDate, NaiveDateTime};
use seam_shared::time::{Span, Timestamp};

use super::calendar::Length;
use super::refusal::Refusal;
use super::zone::Zone;
use super::{POINTS_MAX, WINDOW_MAX};

/// How a date with a time is written, without an offset.
const LOCAL: [&str; 2] = ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%dT%H:%M"];
/// How far back a query for the newest complete window looks for it, in windows.
const NEWEST_OF: i64 = 60;

/// The windows of an answer's points, in time. Each holds the events from its start on, up to but without its end.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Times {
    /// Where they lie.
    pub windows: Windows,
    /// The range as used, where one was asked for.
    pub range: Option<(Timestamp, Timestamp)>,
    /// How many of them have ended, where that is shown: those of calendars.
    pub ended: Option<usize>,
    /// Only the newest of them that is complete is wanted.
    pub newest: bool,
    /// Which of them are shown, where only complete ones are; set when it is known what an answer covers.
    pub complete: Option<Complete>,
}

/// What a query for complete windows shows. An answer depends on this, and not on when the log was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Complete {
    /// The end of the last complete window.
    pub through: Option<Timestamp>,
    /// How many windows are not shown.
    pub left_out: usize,
    /// Why that is so.
    pub why: Option<Arc<str>>,
}

/// Windows with strictly ascending ends, and starts that never descend.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Windows {
    /// All of one length, one a step.
    Even {
        /// The end of the first.
        first: Timestamp,
        /// From one end to the next; the length where there is one window.
        step: Span,
        /// From start to end.
        length: Span,
        /// How many there are.
        count: usize,
    },
    /// The start and the end of each.
    Listed(Arc<[(Timestamp, Timestamp)]>),
}

impl Times {
    /// Whether there is time between two of them that is in none.
    pub fn have_gaps(&self) -> bool {
        match &self.windows {
            Windows::Even { step, length, count, .. } => step > length && *count > 1,
            Windows::Listed(list) => list.windows(2).any(|pair| pair[1].0 > pair[0].1),
        }
    }
    /// `count` windows of one length, the first up to `first`.
    pub fn even(first: Timestamp, step: Span, length: Span, count: usize) -> Times {
        Times::of(Windows::Even { first, step, length, count })
    }
    /// One window for all time.
    pub fn all() -> Times {
        let (first, last) = (Timestamp::MIN.floor(Span::DAY), Timestamp::MAX.ceil(Span::DAY));
        let length = Span(last.0 - first.0);
        Times::even(last, length, length, 1)
    }
    /// Whether that is what they are.
    pub fn is_all(&self) -> bool {
        *self == Times::all()
    }
    fn of(windows: Windows) -> Times {
        Times { windows, range: None, ended: None, newest: false, complete: None }
    }
    /// How many there are.
    pub fn count(&self) -> usize {
        match &self.windows {
            Windows::Even { count, .. } => *count,
            Windows::Listed(list) => list.len(),
        }
    }
    /// The end of window `i`.
    pub fn end(&self, i: usize) -> Timestamp {
        match &self.windows {
            Windows::Even { first, step, .. } => Timestamp(first.0 + step.0 * i as i64),
            Windows::Listed(list) => list[i].1,
        }
    }
    /// The start of window `i`.
    pub fn start(&self, i: usize) -> Timestamp {
        match &self.windows {
            Windows::Even { length, .. } => self.end(i).minus(*length),
            Windows::Listed(list) => list[i].0,
        }
    }
    /// The number of the window with that end.
    pub fn number(&self, end: Timestamp) -> usize {
        match &self.windows {
            Windows::Even { first, step, .. } => ((end.0 - first.0) / step.0) as usize,
            Windows::Listed(list) => list.partition_point(|window| window.1 < end),
        }
    }
    /// The start of the window with that end.
    pub fn start_of(&self, end: Timestamp) -> Timestamp {
        match &self.windows {
            Windows::Even { length, .. } => end.minus(*length),
            Windows::Listed(_) => self.start(self.number(end)),
        }
    }
    /// From the first start to the last end; nothing where there is no window.
    pub fn span(&self) -> (Timestamp, Timestamp) {
        match self.count() {
            0 => (Timestamp(0), Timestamp(0)),
            count => (self.start(0), self.end(count - 1)),
        }
    }
    /// How many windows end at `until` or before.
    pub fn ended_by(&self, until: Timestamp) -> usize {
        match &self.windows {
            Windows::Even { first, step, count, .. } if *first <= until => {
                (((until.0 - first.0) / step.0) as usize + 1).min(*count)
            }
            Windows::Even { .. } => 0,
            Windows::Listed(list) => list.partition_point(|window| window.1 <= until),
        }
    }
    /// The same windows from number `from` up to but without number `to`.
    #[must_use]
    pub fn cut(&self, from: usize, to: usize) -> Times {
        let windows = match &self.windows {
            Windows::Even { step, length, .. } => {
                Windows::Even { first: self.end(from), step: *step, length: *length, count: to - from }
            }
            Windows::Listed(list) => Windows::Listed(list[from..to].into()),
        };
        Times { windows, ended: self.ended.map(|ended| ended.clamp(from, to) - from), ..self.clone() }
    }
}

/// What a window is, as it was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Shape {
    /// Of that length: tumbling where the step is as long, else sliding.
    Rolling(Length),
    /// From the start of a period on: day, month to date.
    Cumulative(Length),
}

impl std::fmt::Display for Shape {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Shape::Rolling(length) => length.fmt(f),
            Shape::Cumulative(period) => write!(f, "cumulative {period}"),
        }
    }
}

/// The parameters about time as given.
#[derive(Debug, Clone, Copy)]
pub struct Asked {
    /// The first moment of the range.
    pub from: Option<Timestamp>,
    /// Its end.
    pub to: Option<Timestamp>,
    /// The end of the only window.
    pub at: Option<Timestamp>,
    /// The distance of points.
    pub step: Option<Length>,
    /// The length of each window.
    pub window: Option<Length>,
    /// Windows grow from the start of each of these.
    pub cumulative: Option<Length>,
    /// Whose calendar counts.
    pub zone: Zone,
    /// Only complete windows are wanted.
    pub is_final: bool,
}

/// What windows are put together from.
#[derive(Debug, Clone, Copy)]
pub struct Grid {
    /// Every start and end is a multiple of this.
    pub pane: Span,
    /// The window of a query that names none.
    pub window: Span,
    /// What `now` means.
    pub now: Timestamp,
}

/// What was asked, made exact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    /// What each window is.
    pub shape: Shape,
    /// The distance of points, where a range was asked for.
    pub step: Option<Length>,
    /// The windows.
    pub times: Times,
}

/// Puts what was asked on the grid: ends are rounded up to the pane, so that the freshest events show; starts down. A range is
/// widened to whole buckets of a calendar.
pub fn resolve(asked: Asked, grid: Grid) -> Result<Resolved, Refusal> {
    if asked.at.is_some() && (asked.from.is_some() || asked.to.is_some()) {
        return Err(Refusal::parameter("at", "`at` asks for one moment; it does not go with `from` and `to`"));
    }
    for (name, length) in [("window", asked.window), ("step", asked.step), ("cumulative", asked.cumulative)] {
        if let Some(Length::Fixed(span)) = length {
            check_grid(name, span, grid.pane)?;
        }
    }
    let (shape, step) = shape(asked, grid)?;
    // A window that may still change is not wanted: the newest that may be complete ends with the pane before `now`.
    let newest = asked.is_final && asked.at.is_none() && asked.from.is_none() && asked.to.is_none();
    let end = asked.at.or(asked.to).unwrap_or(grid.now);
    let end = if newest { end.floor(grid.pane) } else { end.ceil(grid.pane) };
    if let Some(from) = asked.from.filter(|from| end <= from.floor(grid.pane)) {
        return Err(Refusal::parameter("from", format!("the range from {from} to {end} is empty")));
    }
    let mut times = match (shape, step) {
        (Shape::Rolling(Length::Fixed(window)), Length::Fixed(step)) => {
            even(asked.from.map(|from| from.floor(grid.pane)), end, step, window, newest.then_some(grid.pane))?
        }
        _ => listed(asked, shape, step, end, grid, newest)?,
    };
    times.newest = newest;
    Ok(Resolved { shape, step: asked.from.map(|_| step), times })
}

/// What the windows are, and the distance of their ends.
fn shape(asked: Asked, grid: Grid) -> Result<(Shape, Length), Refusal> {
    use super::calendar::Unit;
    if let Some(period) = asked.cumulative {
        if asked.window.is_some() {
            let detail = "a cumulative window begins with its period; `window` does not go with `cumulative`";
            return Err(Refusal::parameter("window", detail));
        }
        let usual = match period {
            Length::Fixed(_) => Length::Fixed(grid.pane),
            Length::Calendar(Unit::Day) if Span::HOUR.0 % grid.pane.0 == 0 => Length::Fixed(Span::HOUR),
            Length::Calendar(Unit::Day) => Length::Fixed(grid.pane),
            Length::Calendar(Unit::Week | Unit::Month) => Length::Calendar(Unit::Day),
            Length::Calendar(Unit::Quarter | Unit::Year) => Length::Calendar(Unit::Month),
        };
        return Ok((Shape::Cumulative(period), asked.step.unwrap_or(usual)));
    }
    match (asked.window, asked.step) {
        (None, Some(Length::Calendar(unit))) => Ok((Shape::Rolling(Length::Calendar(unit)), Length::Calendar(unit))),
        (Some(Length::Calendar(unit)), step) => {
            let bucket = Length::Calendar(unit);
            if step.is_some_and(|step| step != bucket) {
                let detail = format!(
                    "a window of one {bucket} comes once a {bucket}; for the {bucket} so far at each step, ask for cumulative={bucket}"
                );
                return Err(Refusal::parameter("step", detail).suggest(Some(format!("cumulative={bucket}"))));
            }
            Ok((Shape::Rolling(bucket), bucket))
        }
        (window, step) => {
            // No event of a range lies between two windows that nobody asked for.
            let usual = match step {
                Some(Length::Fixed(step)) if asked.from.is_some() => step.max(grid.window),
                _ => grid.window,
            };
            let window = window.unwrap_or(Length::Fixed(usual));
            Ok((Shape::Rolling(window), step.unwrap_or(window)))
        }
    }
}

fn too_many(from: Timestamp, to: Timestamp, count: i64, step: Length) -> Refusal {
    Refusal::too_large(format!(
        "the range from {from} to {to} has {count} points at a step of {step}; at most {POINTS_MAX} are computed"
    ))
}

/// Windows of one length: those that end in the range, one a step from its start on; without a range the one that ends with it.
fn even(
    from: Option<Timestamp>,
    end: Timestamp,
    step: Span,
    window: Span,
    newest: Option<Span>,
) -> Result<Times, Refusal> {
    let Some(from) = from else {
        return Ok(match newest {
            None => Times::even(end, window, window, 1),
            // One a pane, as any of them may be the newest that is complete.
            Some(pane) => Times::even(Timestamp(end.0 - NEWEST_OF * pane.0), pane, window, NEWEST_OF as usize + 1),
        });
    };
    let count = (end.0 - from.0) / step.0;
    if count == 0 {
        return Err(Refusal::parameter(
            "from",
            format!("the range from {from} to {end} is shorter than a step of {step}"),
        ));
    }
    if count > POINTS_MAX as i64 {
        return Err(too_many(from, end, count, Length::Fixed(step)));
    }
    Ok(Times { range: Some((from, end)), ..Times::even(from.plus(step), step, window, count as usize) })
}

/// Windows of a calendar, and cumulative ones: all that any part of the range falls in.
fn listed(
    asked: Asked,
    shape: Shape,
    step: Length,
    end: Timestamp,
    grid: Grid,
    newest: bool,
) -> Result<Times, Refusal> {
    let zone = asked.zone;
    // The moment before the end: a window that ends with the range is the last.
    let last = Timestamp(end.0 - 1);
    let (from, step) = match (asked.from, shape) {
        (Some(from), _) => (from.floor(grid.pane), step),
        (None, Shape::Cumulative(_)) if newest => {
            (Timestamp(end.0 - NEWEST_OF * grid.pane.0), Length::Fixed(grid.pane))
        }
        (None, Shape::Rolling(_)) if newest => (Timestamp(step.bucket(zone, last).0.0 - 1), step),
        (None, _) => (last, step),
    };
    let least = (end.0 - from.0) / step.longest().0;
    if least > POINTS_MAX as i64 {
        return Err(too_many(from, end, least, step));
    }
    let list: Vec<(Timestamp, Timestamp)> = match shape {
        Shape::Cumulative(period) if asked.from.is_none() && !newest => vec![(period.bucket(zone, last).0, end)],
        Shape::Cumulative(period) => growing(period, step, zone, (from, end)),
        Shape::Rolling(window) => {
            let buckets = buckets(step, zone, (from, end));
            match window {
                Length::Fixed(window) => buckets.map(|(_, end)| (end.minus(window), end)).collect(),
                Length::Calendar(_) => buckets.collect(),
            }
        }
    };
    if list.len() > POINTS_MAX {
        return Err(too_many(from, end, list.len() as i64, step));
    }
    check_edges(&list, grid.pane, zone)?;
    let ended = list.partition_point(|window| window.1 <= grid.now);
    let range = asked.from.and_then(|_| Some((list.first()?.0, list.last()?.1)));
    Ok(Times { range, ended: Some(ended), ..Times::of(Windows::Listed(list.into())) })
}

/// The buckets that any part of the range falls in.
fn buckets(
    length: Length,
    zone: Zone,
    (from, end): (Timestamp, Timestamp),
) -> impl Iterator<Item = (Timestamp, Timestamp)> {
    let first = length.bucket(zone, from);
    std::iter::successors(Some(first), move |last| Some(length.bucket(zone, last.1)))
        .take_while(move |bucket| bucket.0 < end)
        .take(POINTS_MAX + 1)
}

/// In each period, windows from its start to the end of each step in it, and to its own end.
fn growing(
    period: Length,
    step: Length,
    zone: Zone,
    (from, end): (Timestamp, Timestamp),
) -> Vec<(Timestamp, Timestamp)> {
    let mut list = Vec::new();
    for (start, until) in buckets(period, zone, (from, end)) {
        let mut at = match step {
            Length::Fixed(step) => Timestamp(start.0 + (from.0 - start.0).max(0) / step.0 * step.0),
            Length::Calendar(_) => step.bucket(zone, from.max(start)).0.max(start),
        };
        while at < until.min(end) && list.len() <= POINTS_MAX {
            at = match step {
                Length::Fixed(step) => at.plus(step),
                Length::Calendar(_) => step.bucket(zone, at).1,
            };
            at = at.min(until);
            list.push((start, at));
        }
    }
    list
}

/// Refuses windows that begin or end inside a pane, naming the longest pane that would do, and those beyond what has a date.
fn check_edges(list: &[(Timestamp, Timestamp)], pane: Span, zone: Zone) -> Result<(), Refusal> {
    if list.first().is_some_and(|first| first.0 < Timestamp::MIN) || list.last().is_some_and(|l| l.1 > Timestamp::MAX) {
        return Err(Refusal::parameter("from", "the windows reach beyond the years 1 to 9999"));
    }
    let edges = || list.iter().flat_map(|&(start, end)| [start, end]);
    let Some(edge) = edges().find(|edge| edge.floor(pane) != *edge) else { return Ok(()) };
    let fits = edges().fold(pane.0, |fits, edge| divisor(fits, edge.0.rem_euclid(pane.0)));
    let detail = format!(
        "in {zone} a window begins or ends at {}, inside a pane of {pane} of the view; with panes of {} it could be answered",
        zone.text(edge),
        Span(fits)
    );
    Err(Refusal::parameter("tz", detail).named("pane-does-not-fit"))
}

/// The greatest common divisor.
pub fn divisor(a: i64, b: i64) -> i64 {
    if b == 0 { a } else { divisor(b, a % b) }
}

/// Refuses a length that is no positive multiple of the pane, naming the nearest that is.
pub fn check_grid(name: &str, length: Span, pane: Span) -> Result<(), Refusal> {
    if length.0 > WINDOW_MAX.0 {
        return Err(Refusal::parameter(name, format!("{name}={length} is longer than the largest, {WINDOW_MAX}")));
    }
    if length.0 > 0 && length.0 % pane.0 == 0 {
        return Ok(());
    }
    let nearest = Span(((length.0 + pane.0 / 2) / pane.0).max(1) * pane.0);
    let detail =
        format!("{name}={length} is no positive multiple of the view's pane, {pane}; the nearest is {nearest}");
    Err(Refusal::parameter(name, detail).suggest(Some(nearest.to_string())))
}

/// Reads `now`, `now-6h`, RFC 3339, whole seconds or milliseconds since 1970; and what the clocks of `zone` show where nothing is
/// said of an offset: a date as its midnight, or a date and a time.
pub fn parse_moment(name: &str, text: &str, now: Timestamp, zone: Zone) -> Result<Timestamp, Refusal> {
    let bad = || {
        let forms = "write it like 2026-01-01T00:00:00Z, 1767225600, now or now-6h";
        Refusal::parameter(name, format!("{name}=`{text}` is no time; {forms}"))
    };
    let moment = if let Some(offset) = text.strip_prefix("now") {
        // A plus sign that was not escaped in the URL arrives as a space.
        match offset.split_at_checked(1) {
            None => now,
            Some(("-", span)) => now.minus(Span::parse(span).map_err(|_| bad())?),
            Some(("+" | " ", span)) => now.plus(Span::parse(span).map_err(|_| bad())?),
            Some(_) => return Err(bad()),
        }
    } else if text.strip_prefix('-').unwrap_or(text).bytes().all(|b| b.is_ascii_digit()) {
        Timestamp::from_epoch_guess(text.parse().map_err(|_| bad())?)
    } else if let Ok(date) = NaiveDate::parse_from_str(text, "%Y-%m-%d") {
        zone.first_moment(date)
    } else if let Some(local) = LOCAL.iter().find_map(|form| NaiveDateTime::parse_from_str(text, form).ok()) {
        zone.first_at(local)
    } else {
        Timestamp::parse_rfc3339(&text.replace(' ', "+")).ok_or_else(bad)?
    };
    if !(Timestamp::MIN..=Timestamp::MAX).contains(&moment) {
        return Err(Refusal::parameter(name, format!("{name}=`{text}` is outside the years 1 to 9999")));
    }
    Ok(moment)
}

#[cfg(test)]
mod tests;
