//! What the scripts answer, checked: bytes from Redis are trusted no more than a file's.
use std::str::FromStr;

use redis::Value as Reply;

use super::checksum;
use crate::error::{Error, Result};
use crate::log::Offset;
use crate::state::{Committed, Progress};
use crate::view::rows::Rows;

/// The fields of a view's state that [`Meta`] is made of.
pub(super) const META: [&str; 7] = ["life", "position", "floor", "segment", "closed", "last", "progress"];

/// What a view's state says beside its rows, as it was spelled; empty where there is none.
#[derive(Debug, Default)]
pub(super) struct Meta {
    pub(super) life: String,
    pub(super) position: String,
    pub(super) floor: String,
    pub(super) segment: String,
    pub(super) closed: String,
    pub(super) last: String,
    pub(super) progress: String,
}

/// Where a view stands.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stands {
    pub(super) position: Offset,
    pub(super) floor: Offset,
    pub(super) segment: Offset,
}

impl Meta {
    /// `None` without state.
    pub(super) fn stands(&self) -> Result<Option<Stands>> {
        if self.position.is_empty() {
            return Ok(None);
        }
        let at = |text: &str| number(text).map(Offset);
        Ok(Some(Stands { position: at(&self.position)?, floor: at(&self.floor)?, segment: at(&self.segment)? }))
    }

    /// The progress as the workers spell it; `None` where there is none, or none that fits the position.
    pub(super) fn progress(&self) -> Option<Progress> {
        let stands = self.stands().ok()??;
        let progress: Progress = serde_json::from_str(&self.progress).ok()?;
        (progress.position == stands.position).then_some(Progress { floor: stands.floor, ..progress })
    }
}

/// What is said of a closed segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) start: Offset,
    pub(super) end: Offset,
    rows: usize,
    bytes: usize,
    checksum: String,
}

impl Entry {
    /// What is to be said of a segment whose rows are spelled `value`.
    pub(super) fn of(start: Offset, end: Offset, rows: usize, value: &[u8]) -> Entry {
        Entry { start, end, rows, bytes: value.len(), checksum: checksum(value) }
    }
    /// The lines of all closed segments.
    pub(super) fn all(lines: &str) -> Result<Vec<Entry>> {
        lines.lines().map(Entry::read).collect()
    }
    fn read(line: &str) -> Result<Entry> {
        let parts: Vec<&str> = line.split(' ').collect();
        let &[start, end, rows, bytes, checksum] = parts.as_slice() else { return Err(damaged()) };
        let (start, end) = (Offset(number(start)?), Offset(number(end)?));
        Ok(Entry { start, end, rows: number(rows)?, bytes: number(bytes)?, checksum: checksum.to_owned() })
    }
    /// The segment's rows, which must be what this says.
    pub(super) fn rows(&self, value: &[u8]) -> Result<Rows> {
        if checksum(value) != self.checksum {
            return Err(damaged());
        }
        let decoded = Rows::decode(value)?;
        if decoded.len() == self.rows { Ok(decoded) } else { Err(damaged()) }
    }
}

impl std::fmt::Display for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Entry { start, end, rows, bytes, checksum } = self;
        write!(f, "{start} {end} {rows} {bytes} {checksum}")
    }
}

/// A view in a snapshot.
pub(super) enum Found {
    None,
    /// Something of it is not there.
    Lost,
    /// It is as it was.
    Same,
    Held(Raw),
}

/// A view as it was answered.
pub(super) struct Raw {
    pub(super) position: Offset,
    pub(super) floor: Offset,
    pub(super) progress: String,
    pub(super) life: String,
    pub(super) closed: String,
    /// All rows as of some delta, empty if there were none; `None` if the rows at hand are to go on.
    pub(super) base: Option<Vec<u8>>,
    pub(super) deltas: Vec<Vec<u8>>,
}

/// What a commit changed in the open segment.
pub(super) struct Delta {
    /// Its number: deltas follow each other without gaps.
    pub(super) number: u64,
    pub(super) rows: Rows,
}

/// Reads all rows: `number checksum bytes`.
pub(super) fn base(value: &[u8]) -> Result<Rows> {
    let ([_, checksum], bytes) = words(value)?;
    checked(checksum, bytes)
}

/// Reads a delta: `number from checksum bytes`.
pub(super) fn delta(value: &[u8]) -> Result<Delta> {
    let ([number_of, _, checksum], bytes) = words(value)?;
    Ok(Delta { number: number(number_of)?, rows: checked(checksum, bytes)? })
}

fn checked(expected: &str, bytes: &[u8]) -> Result<Rows> {
    if checksum(bytes) == expected { Rows::decode(bytes) } else { Err(damaged()) }
}

/// The first words of a value, and what is behind them.
fn words<const N: usize>(value: &[u8]) -> Result<([&str; N], &[u8])> {
    let (mut words, mut rest) = ([""; N], value);
    for word in &mut words {
        let end = rest.iter().position(|&byte| byte == b' ').ok_or_else(damaged)?;
        *word = std::str::from_utf8(&rest[..end]).map_err(|_| damaged())?;
        rest = &rest[end + 1..];
    }
    Ok((words, rest))
}

/// What became of a commit.
pub(super) enum Commit {
    Applied,
    /// The position is another, or there is no state.
    Refused(Committed),
    /// Its first segment is not the one that is open.
    Gap,
    /// There is no room for a delta without all rows.
    Full,
}

/// What became of a claim.
pub(super) enum Claimed {
    Held,
    Made { lost: bool },
    Stale,
}

pub(super) fn strange() -> Error {
    Error::internal("redis gave an answer that is not understood")
}

pub(super) fn damaged() -> Error {
    Error::corrupt("state in redis is damaged")
}

fn number<T: FromStr>(text: &str) -> Result<T> {
    text.parse().map_err(|_| damaged())
}

fn list(reply: Reply) -> Result<Vec<Reply>> {
    match reply {
        Reply::Array(items) => Ok(items),
        _ => Err(strange()),
    }
}

fn string(reply: Reply) -> Result<String> {
    match reply {
        Reply::BulkString(bytes) => String::from_utf8(bytes).map_err(|_| damaged()),
        Reply::SimpleString(text) => Ok(text),
        _ => Err(strange()),
    }
}

fn bytes(reply: Reply) -> Result<Vec<u8>> {
    match reply {
        Reply::BulkString(bytes) => Ok(bytes),
        _ => Err(strange()),
    }
}

/// The first word of an answer, and the rest of it.
fn word(reply: Reply) -> Result<(String, std::vec::IntoIter<Reply>)> {
    let mut items = list(reply)?.into_iter();
    let word = string(items.next().ok_or_else(strange)?)?;
    Ok((word, items))
}

/// Reads the fields [`META`].
pub(super) fn meta(reply: Reply) -> Result<Meta> {
    let text = |reply| if reply == Reply::Nil { Ok(String::new()) } else { string(reply) };
    let fields: Vec<String> = list(reply)?.into_iter().map(text).collect::<Result<_>>()?;
    let [life, position, floor, segment, closed, last, progress] =
        <[String; 7]>::try_from(fields).map_err(|_| strange())?;
    Ok(Meta { life, position, floor, segment, closed, last, progress })
}

pub(super) fn commit(reply: Reply) -> Result<Commit> {
    Ok(match word(reply)?.0.as_str() {
        "APPLIED" => Commit::Applied,
        "MOVED" => Commit::Refused(Committed::Moved),
        "MISSING" => Commit::Refused(Committed::Missing),
        "GAP" => Commit::Gap,
        "FULL" => Commit::Full,
        _ => return Err(strange()),
    })
}

pub(super) fn claim(reply: Reply) -> Result<Claimed> {
    Ok(match word(reply)?.0.as_str() {
        "HELD" => Claimed::Held,
        "NONE" => Claimed::Made { lost: false },
        "LOST" => Claimed::Made { lost: true },
        "STALE" => Claimed::Stale,
        _ => return Err(strange()),
    })
}

pub(super) fn views(reply: Reply, expected: usize) -> Result<Vec<Found>> {
    let views: Vec<Found> = list(reply)?.into_iter().map(found).collect::<Result<_>>()?;
    if views.len() == expected { Ok(views) } else { Err(strange()) }
}

fn found(reply: Reply) -> Result<Found> {
    let (word, rest) = word(reply)?;
    Ok(match word.as_str() {
        "NONE" => Found::None,
        "LOST" => Found::Lost,
        "SAME" => Found::Same,
        "HELD" => raw(rest).map_or(Found::Lost, Found::Held),
        _ => return Err(strange()),
    })
}

fn raw(rest: std::vec::IntoIter<Reply>) -> Result<Raw> {
    let Ok([position, floor, progress, life, closed, base, deltas]) = <[Reply; 7]>::try_from(rest.collect::<Vec<_>>())
    else {
        return Err(strange());
    };
    Ok(Raw {
        position: Offset(number(&string(position)?)?),
        floor: Offset(number(&string(floor)?)?),
        progress: string(progress)?,
        life: string(life)?,
        closed: string(closed)?,
        base: if base == Reply::Nil { None } else { Some(bytes(base)?) },
        deltas: list(deltas)?.into_iter().map(bytes).collect::<Result<_>>()?,
    })
}

/// The entry and the value of the closed segment at `start`, if it is held.
pub(super) fn segment(reply: Reply, start: Offset) -> Result<Option<(Entry, Vec<u8>)>> {
    if reply == Reply::Nil {
        return Ok(None);
    }
    let Ok([closed, value]) = <[Reply; 2]>::try_from(list(reply)?) else { return Err(strange()) };
    let entry = Entry::all(&string(closed)?)?.into_iter().find(|entry| entry.start == start);
    entry.map(|entry| Ok((entry, bytes(value)?))).transpose()
}

/// Whether a script did its work, or must be sent again.
pub(super) fn is_done(reply: Reply) -> Result<bool> {
    match string(reply)?.as_str() {
        "DONE" => Ok(true),
        "STALE" => Ok(false),
        _ => Err(strange()),
    }
}
