//! The audit of a new generation: the old one, with the speed layer's segments between their cuts, must equal it group by group.
use std::collections::{BTreeMap, BTreeSet};

use seam_shared::error::Result;
use seam_shared::lake::views::{Generation, ViewFile, ViewTable};
use seam_shared::log::{OffsetVector, Partition};
use seam_shared::state::StateStore;
use seam_shared::time::{Span, Timestamp};
use seam_shared::view::difference::difference;
use seam_shared::view::groups::Groups;
use seam_shared::view::rows::Rows;
use serde::Serialize;

/// What an audit found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Drift {
    /// So many groups differ; zero but for bugs.
    Groups(u64),
    /// It could not be done, and why.
    NotAudited(String),
}

impl Drift {
    fn not_audited(reason: impl Into<String>) -> Drift {
        Drift::NotAudited(reason.into())
    }
}

/// Compares `old` ⊕ speed segments in `[old.cut, cut)` with the files of the generation to be, day by day.
///
/// # Errors
/// Those of the stores. A speed layer that does not hold the segments is no error: nothing is audited then.
pub async fn audit(
    table: &ViewTable,
    state: &dyn StateStore,
    old: &Generation,
    cut: &OffsetVector,
    files: &[ViewFile],
) -> Result<Drift> {
    let speed = match speed_rows(table, state, &old.cut, cut).await? {
        Ok(rows) => rows,
        Err(reason) => return Ok(Drift::NotAudited(reason)),
    };
    let day_of = |start: Timestamp| start.floor(Span::DAY);
    // a pane is named by its end: the last pane of a day ends where the next day starts
    let mut by_day: BTreeMap<Timestamp, Vec<u32>> = BTreeMap::new();
    for (i, pane) in speed.panes.iter().enumerate() {
        by_day.entry(day_of(pane.minus(Span(1)))).or_default().push(i as u32);
    }
    let changed =
        old.files.iter().filter(|file| !files.contains(file)).chain(files.iter().filter(|f| !old.files.contains(f)));
    let mut days: BTreeSet<Timestamp> = changed.map(|file| day_of(file.slice_start)).collect();
    days.extend(by_day.keys());
    let mut differing = 0;
    for day in days {
        let of_day = |file: &&ViewFile| day_of(file.slice_start) == day;
        let both: Vec<&ViewFile> = old.files.iter().chain(files).filter(of_day).collect();
        let of_speed = by_day.get(&day).map_or(&[][..], Vec::as_slice);
        for (after, until) in ranges(day, &both) {
            let is_in = |file: &&ViewFile| after <= file.slice_start && file.slice_end <= until;
            let mut expected = merged(table, old.files.iter().filter(is_in)).await?;
            let is_in_too = |row: &u32| (after..until).contains(&speed.panes[*row as usize].minus(Span(1)));
            let rows: Vec<u32> = of_speed.iter().copied().filter(is_in_too).collect();
            expected.merge(&speed.gather(&rows));
            let found = merged(table, files.iter().filter(is_in)).await?;
            differing += difference(expected.into_rows(), found.into_rows());
        }
    }
    Ok(Drift::Groups(differing))
}

/// A day in the shortest pieces that no file lies across: as much as is compared, and held in memory, at a time.
fn ranges(day: Timestamp, files: &[&ViewFile]) -> Vec<(Timestamp, Timestamp)> {
    let is_cut = |at: &Timestamp| files.iter().all(|file| *at <= file.slice_start || file.slice_end <= *at);
    let mut cuts: Vec<Timestamp> = files.iter().map(|file| file.slice_end).filter(is_cut).collect();
    cuts.extend([day, day.plus(Span::DAY)]);
    cuts.sort_unstable();
    cuts.dedup();
    cuts.windows(2).map(|pair| (pair[0], pair[1])).collect()
}

async fn merged(table: &ViewTable, files: impl Iterator<Item = &ViewFile>) -> Result<Groups> {
    let view = table.view();
    let mut groups = Groups::new(view.dimensions.len(), &view.kinds());
    for file in files {
        groups.merge(&table.get(file).await?);
    }
    Ok(groups)
}

/// All rows of the speed layer's segments in `[from, to)`, or why they cannot be had.
async fn speed_rows(
    table: &ViewTable,
    state: &dyn StateStore,
    from: &OffsetVector,
    to: &OffsetVector,
) -> Result<std::result::Result<Rows, String>> {
    let view = table.view();
    let mut groups = Groups::new(view.dimensions.len(), &view.kinds());
    for (&number, &end) in &to.0 {
        let partition = Partition::new(view.source.name.as_str(), number);
        let mut at = from.get(number);
        if at == end {
            continue;
        }
        let snapshots = state.snapshot(&partition, std::slice::from_ref(&view.id)).await?;
        let Some(snapshot) = snapshots.into_iter().flatten().next() else {
            return Ok(Err(format!("the speed layer has no state of {partition}")));
        };
        if snapshot.progress.floor > at {
            return Ok(Err(format!(
                "the speed layer holds {partition} from {} on, not from {at}",
                snapshot.progress.floor
            )));
        }
        for segment in snapshot.closed.iter().filter(|segment| segment.end > from.get(number) && segment.start < end) {
            let rows = state.segment(&partition, &view.id, segment.start).await?;
            let (true, Some(rows)) = (segment.start == at, rows) else { break };
            groups.merge(&rows);
            at = segment.end;
        }
        if at != end {
            return Ok(Err(format!("the speed layer holds {partition} up to {at}, not to {end}")));
        }
    }
    Ok(Ok(groups.into_unsorted()))
}

/// The drift of a run without anything to compare with.
pub fn nothing_to_compare(old: Option<&Generation>, incarnation: &str, state: bool) -> Option<Drift> {
    match old {
        _ if !state => Some(Drift::not_audited("no state store at hand")),
        None => Some(Drift::not_audited("the first generation")),
        Some(old) if old.incarnation != incarnation => Some(Drift::not_audited("the log was made anew")),
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_is_cut_where_neither_generation_has_a_file_across() {
        let day = Timestamp(Span::DAY.0);
        let at = |hour: i64| day.plus(Span(hour * Span::HOUR.0));
        let file = |from: i64, to: i64| ViewFile {
            path: object_store::path::Path::from("x"),
            blake3: String::new(),
            bytes: 0,
            rows: 0,
            slice_start: at(from),
            slice_end: at(to),
            footer: None,
            rollups: Vec::new(),
        };
        let hours =
            |files: &[ViewFile]| -> Vec<(Timestamp, Timestamp)> { ranges(day, &files.iter().collect::<Vec<_>>()) };
        assert_eq!(hours(&[]), [(at(0), at(24))]);
        assert_eq!(
            hours(&[file(0, 24), file(0, 12), file(12, 24)]),
            [(at(0), at(24))],
            "one lies across the other's cut"
        );
        let both = [file(0, 12), file(12, 24), file(0, 6), file(6, 12), file(18, 24)];
        assert_eq!(hours(&both), [(at(0), at(12)), (at(12), at(24))]);
    }
}
