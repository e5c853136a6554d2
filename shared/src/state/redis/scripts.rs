//! The scripts, and how what is to be done becomes their keys and arguments.
use crate::error::{Error, Result};
use crate::log::Offset;
use crate::state::redis::known::{Known, Next};
use crate::state::redis::link::{Call, Script};
use crate::state::redis::names::Names;
use crate::state::redis::reply::{Entry, Meta};
use crate::state::{Progress, ViewCommit, ViewId, held};

pub(super) static COMMIT: Script = Script::new(include_str!("scripts/commit.lua"));
pub(super) static SNAPSHOT: Script = Script::new(include_str!("scripts/snapshot.lua"));
pub(super) static CLAIM: Script = Script::new(include_str!("scripts/claim.lua"));
pub(super) static SEGMENT: Script = Script::new(include_str!("scripts/segment.lua"));
pub(super) static TRIM: Script = Script::new(include_str!("scripts/trim.lua"));
pub(super) static FORGET: Script = Script::new(include_str!("scripts/forget.lua"));

/// A progress as it is stored: to Redis it is opaque.
fn spell(progress: &Progress) -> Result<String> {
    serde_json::to_string(progress)
        .map_err(|error| Error::internal("progress of a view cannot be described").because(error))
}

/// What a commit expects, and the closed segments that it looks after.
pub(super) fn head(call: &mut Call, names: &Names, commit: &ViewCommit, next: &Next, watched: &[Offset]) {
    let needs_room = !next.delta.is_empty() && next.base.is_empty();
    call.key(names.state()).number(commit.from).number(held::open_start(commit)).number(u8::from(!needs_room));
    call.number(watched.len());
    for start in watched {
        call.number(start).key(names.closed(*start));
    }
}

/// What a commit writes.
pub(super) fn body(call: &mut Call, names: &Names, commit: &ViewCommit, next: &Next) -> Result<()> {
    let Progress { position, segment, .. } = commit.progress;
    let closed = commit.segments.iter().filter_map(|segment| Some((segment.start, segment.end?, &segment.rows)));
    let count = closed.clone().count();
    call.number(position).arg(spell(&commit.progress)?).number(segment.start).number(count);
    for (start, end, rows) in closed {
        let value = rows.encode();
        call.key(names.closed(start)).number(Entry::of(start, end, rows.len(), &value)).arg(value);
    }
    call.number(u8::from(count > 0)).arg(&next.delta).arg(&next.base);
    Ok(())
}

/// Adds a view to a snapshot; answers with the number to read the answer by.
pub(super) fn snapshot(call: &mut Call, names: &Names, known: &mut Known) -> u64 {
    let closed = known.looked_after();
    let (life, progress, number) = known.at_hand();
    let Progress { position, floor, segment, .. } = progress;
    call.key(names.state()).arg(life).number(segment.start).number(position).number(floor).number(closed.len());
    for start in closed {
        call.number(start).key(names.closed(start));
    }
    number
}

pub(super) fn claim(names: &Names, meta: &Meta, progress: &Progress, life: &str) -> Result<Call> {
    let mut call = Call::default();
    call.key(names.state()).number(progress.position).arg(spell(progress)?).arg(life).arg(&meta.closed);
    // Lines that cannot be read are not whole: the script finds fewer keys than lines, and makes the view anew.
    for entry in Entry::all(&meta.closed).unwrap_or_default() {
        call.key(names.closed(entry.start));
    }
    Ok(call)
}

/// Raises the floor; nothing if there is nothing to raise.
pub(super) fn trim(names: &Names, view: &ViewId, meta: &Meta, floor: Offset) -> Result<Option<Call>> {
    let Some(stands) = meta.stands()? else { return Ok(None) };
    if floor <= stands.floor {
        return Ok(None);
    }
    let entries = Entry::all(&meta.closed)?;
    let beyond = floor >= stands.position;
    if !beyond && floor != stands.segment && !entries.iter().any(|entry| entry.start == floor) {
        return Err(Error::internal(format!("floor {floor} of {view} is no segment boundary")));
    }
    let mut call = Call::default();
    call.key(names.state()).arg(&meta.life).arg(&meta.floor).arg(&meta.closed);
    call.arg(if beyond { meta.position.as_str() } else { "" });
    let (kept, dropped): (Vec<Entry>, Vec<Entry>) =
        entries.into_iter().partition(|entry| !beyond && entry.start >= floor);
    dropped.iter().for_each(|entry| {
        call.key(names.closed(entry.start));
    });
    let kept: String = kept.iter().map(|entry| format!("{entry}\n")).collect();
    call.arg("floor").number(floor).arg("closed").arg(kept);
    if beyond {
        call.arg("position").number(floor).arg("segment").number(floor);
        call.arg("progress").arg(spell(&Progress::at(floor))?);
        call.arg("base").arg("").arg("base_bytes").number(0);
        call.arg("based").arg(&meta.last).arg("opened").arg(&meta.last);
    }
    Ok(Some(call))
}

pub(super) fn forget(names: &Names, meta: &Meta) -> Call {
    let mut call = Call::default();
    call.key(names.state()).arg(&meta.life).arg(&meta.position).arg(&meta.closed);
    for entry in Entry::all(&meta.closed).unwrap_or_default() {
        call.key(names.closed(entry.start));
    }
    call
}
