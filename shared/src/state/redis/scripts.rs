//! The scripts, and how what is to be done becomes their keys and arguments.
use crate::error::{Error, Result};
use crate::log::Offset;
use crate::state::redis::link::{Call, Script};
use crate::state::redis::names::Names;
use crate::state::redis::reply::Meta;
use crate::state::redis::{Known, WATCHED, closed_entry, text};
use crate::state::{Progress, ViewCommit, ViewId, held};

pub(super) static COMMIT: Script = Script::new(include_str!("scripts/commit.lua"));
pub(super) static SNAPSHOT: Script = Script::new(include_str!("scripts/snapshot.lua"));
pub(super) static CLAIM: Script = Script::new(include_str!("scripts/claim.lua"));
pub(super) static SEGMENT: Script = Script::new(include_str!("scripts/segment.lua"));
pub(super) static TRIM: Script = Script::new(include_str!("scripts/trim.lua"));
pub(super) static FORGET: Script = Script::new(include_str!("scripts/forget.lua"));

/// A progress as it is stored: to Redis it is opaque.
pub(super) fn spell(progress: &Progress) -> Result<String> {
    serde_json::to_string(progress)
        .map_err(|error| Error::internal("progress of a view cannot be described").because(error))
}

/// What a commit expects, and what it looks after: the panes that it writes and some others; all panes if it closes a segment.
pub(super) fn head(call: &mut Call, names: &Names, commit: &ViewCommit, known: &Known, closed: &[Offset]) {
    let start = held::open_start(commit);
    let closes = commit.segments.iter().any(|segment| segment.end.is_some());
    let mut watched = Vec::new();
    if known.segment == start {
        let limit = if closes { usize::MAX } else { WATCHED };
        let panes = known.panes.keys().copied();
        let turn = known.turn.checked_rem(known.panes.len()).unwrap_or(0);
        watched.extend(panes.clone().skip(turn).chain(panes.take(turn)).take(limit));
    }
    if !closes {
        watched.extend(commit.segments.iter().flat_map(|segment| segment.rows.panes.iter().copied()));
        watched.sort_unstable();
        watched.dedup();
    }
    call.key(names.meta()).number(commit.from).number(start).number(u8::from(closes));
    call.number(watched.len());
    for pane in watched {
        call.number(pane.0).key(names.pane(start, pane));
    }
    call.number(closed.len());
    for start in closed {
        call.number(start).key(names.closed(*start));
    }
}

/// What a commit writes.
pub(super) fn body(call: &mut Call, names: &Names, commit: &ViewCommit, nonce: &str) -> Result<()> {
    let Progress { position, segment, .. } = commit.progress;
    call.number(position).arg(spell(&commit.progress)?).number(segment.start).arg(nonce);
    call.number(commit.segments.iter().filter(|segment| segment.end.is_some()).count());
    for segment in &commit.segments {
        let Some(end) = segment.end else { continue };
        let value = segment.rows.encode();
        call.key(names.closed(segment.start)).number(segment.start);
        call.arg(closed_entry(end, segment.rows.len(), &value)).arg(value);
    }
    let Some(open) = commit.segments.last().filter(|segment| segment.end.is_none()) else {
        call.number(0);
        return Ok(());
    };
    let panes = text::by_pane(&open.rows);
    let writer = text::Writer::new(&open.rows);
    call.number(panes.len());
    for (pane, rows) in panes {
        call.key(names.pane(open.start, pane)).number(pane.0).number(rows.len());
        for row in rows {
            call.written(|out| writer.field(row, out)).written(|out| writer.value(row, out));
        }
    }
    Ok(())
}

/// Adds a view to a snapshot.
pub(super) fn snapshot(call: &mut Call, names: &Names, known: &Known, closed: &[Offset]) {
    call.key(names.meta()).number(known.segment).number(known.panes.len());
    for (pane, at_hand) in &known.panes {
        call.key(names.pane(known.segment, *pane)).number(pane.0);
        call.arg(at_hand.as_ref().map_or("", |pane| pane.nonce.as_str()));
    }
    call.number(u8::from(closed.len() == known.closed.len())).number(closed.len());
    for start in closed {
        call.key(names.closed(*start)).number(start);
    }
}

pub(super) fn claim(names: &Names, known: &Known, boundary: Offset, progress: &str, nonce: &str) -> Call {
    let mut call = Call::default();
    call.key(names.meta()).number(boundary).arg(progress).arg(nonce).number(known.segment);
    call.number(known.panes.len());
    for pane in known.panes.keys() {
        call.key(names.pane(known.segment, *pane)).number(pane.0);
    }
    call.number(known.closed.len());
    for start in &known.closed {
        call.key(names.closed(*start)).number(start);
    }
    call
}

/// Raises the floor; nothing if there is nothing to raise.
pub(super) fn trim(names: &Names, view: &ViewId, meta: &Meta, floor: Offset) -> Result<Option<Call>> {
    // What is half applied is dropped by a claim.
    let (Some(stands), true) = (meta.stands()?, meta.is_whole()) else { return Ok(None) };
    if floor <= stands.floor {
        return Ok(None);
    }
    let beyond = floor >= stands.position;
    if !beyond && floor != stands.segment && !meta.closed.contains(&floor) {
        return Err(Error::internal(format!("floor {floor} of {view} is no segment boundary")));
    }
    let mut call = Call::default();
    call.key(names.meta());
    call.arg(meta.field("life")).number(stands.floor).arg(meta.field("done")).number(floor).number(u8::from(beyond));
    let below = meta.closed.iter().filter(|start| beyond || **start < floor);
    let panes = meta.panes.iter().filter(|_| beyond);
    call.number(below.clone().count() + panes.clone().count());
    for start in below {
        call.key(names.closed(*start)).arg(format!("closed:{start}"));
    }
    for pane in panes {
        call.key(names.pane(stands.segment, *pane)).arg(format!("pane:{}", pane.0));
    }
    if beyond {
        call.arg("position")
            .number(floor)
            .arg("segment")
            .number(floor)
            .arg("progress")
            .arg(spell(&Progress::at(floor))?);
    }
    Ok(Some(call))
}

pub(super) fn forget(names: &Names, meta: &Meta) -> Call {
    let mut call = Call::default();
    call.key(names.meta()).arg(meta.field("life")).arg(meta.field("done"));
    for start in &meta.closed {
        call.key(names.closed(*start));
    }
    if let Ok(Some(stands)) = meta.stands() {
        for pane in &meta.panes {
            call.key(names.pane(stands.segment, *pane));
        }
    }
    call
}
