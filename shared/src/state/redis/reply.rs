//! What the scripts answer, checked: bytes from Redis are trusted no more than a file's.
use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;
use std::sync::Arc;

use hashbrown::HashMap;
use redis::Value as Reply;
use xxhash_rust::xxh3::xxh3_64;

use crate::error::{Error, Result};
use crate::log::Offset;
use crate::state::redis::{Known, text};
use crate::state::{ClosedSegment, Committed, Progress, Snapshot};
use crate::time::Timestamp;
use crate::view::rows::{Dimension, Rows, States};
use crate::view::value::Value;

/// The rows of one pane, and the nonce of the commit that wrote them last.
#[derive(Debug, Clone)]
pub(super) struct Pane {
    pub(super) nonce: String,
    pub(super) rows: Arc<Rows>,
}

/// What a view's meta says.
#[derive(Debug, Default)]
pub(super) struct Meta {
    fields: HashMap<String, String>,
    pub(super) panes: BTreeSet<Timestamp>,
    pub(super) closed: BTreeSet<Offset>,
}

/// Where a view stands.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stands {
    pub(super) position: Offset,
    pub(super) floor: Offset,
    pub(super) segment: Offset,
}

impl Meta {
    /// A plain field, empty if there is none.
    pub(super) fn field(&self, name: &str) -> &str {
        self.fields.get(name).map_or("", String::as_str)
    }
    pub(super) fn is_whole(&self) -> bool {
        self.field("begun") == self.field("done")
    }
    /// `None` without state.
    pub(super) fn stands(&self) -> Result<Option<Stands>> {
        if self.fields.is_empty() {
            return Ok(None);
        }
        let at = |name| number(self.field(name)).map(Offset);
        Ok(Some(Stands { position: at("position")?, floor: at("floor")?, segment: at("segment")? }))
    }
}

/// A view in a snapshot.
pub(super) enum Found {
    None,
    /// Something of it is not there.
    Lost,
    /// There are panes or closed segments that the script was given no keys for: all that there are, of which segment.
    Stale(Vec<Timestamp>, BTreeSet<Offset>, Offset),
    Held(Raw),
}

/// A view as it was answered.
pub(super) struct Raw {
    position: Offset,
    floor: Offset,
    progress: String,
    panes: Vec<(Timestamp, String, Option<Vec<Reply>>)>,
    closed: Vec<(Offset, String)>,
}

/// A view of one moment, read.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) progress: Progress,
    pub(super) closed: Vec<ClosedSegment>,
    pub(super) panes: BTreeMap<Timestamp, Pane>,
    pub(super) open: Arc<Rows>,
}

impl Held {
    /// What the open rows are made of.
    pub(super) fn signature(&self) -> Vec<(Timestamp, String)> {
        self.panes.iter().map(|(pane, rows)| (*pane, rows.nonce.clone())).collect()
    }
    pub(super) fn into_snapshot(self) -> Snapshot {
        Snapshot { progress: self.progress, closed: self.closed, open: self.open }
    }
}

impl Raw {
    /// Reads it, with the rows that were at hand when it was asked for.
    pub(super) fn read(self, known: &Known) -> Result<Held> {
        let progress: Progress = serde_json::from_str(&self.progress).map_err(|_| damaged())?;
        let progress = Progress { floor: self.floor, ..progress };
        let mut panes = BTreeMap::new();
        for (pane, entry, pairs) in self.panes {
            let (rows, nonce) = entry.split_once(' ').ok_or_else(damaged)?;
            let of_pane = match pairs {
                Some(pairs) => Arc::new(text::read(pane, &couples(&pairs)?)?),
                None => {
                    let at_hand = known.panes.get(&pane).and_then(Option::as_ref);
                    Arc::clone(&at_hand.filter(|at_hand| at_hand.nonce == nonce).ok_or_else(strange)?.rows)
                }
            };
            if of_pane.len() != number::<usize>(rows)? {
                return Err(damaged());
            }
            panes.insert(pane, Pane { nonce: nonce.to_owned(), rows: of_pane });
        }
        let mut closed = Vec::with_capacity(self.closed.len());
        for (start, entry) in self.closed {
            let end = entry.split(' ').next().ok_or_else(damaged)?;
            closed.push(ClosedSegment { start, end: Offset(number(end)?) });
        }
        closed.sort_unstable_by_key(|segment| segment.start);
        let end = closed.iter().try_fold(self.floor, |at, segment| (segment.start == at).then_some(segment.end));
        if progress.position != self.position || end != Some(progress.segment.start) {
            return Err(damaged());
        }
        let mut held = Held { progress, closed, panes, open: Arc::default() };
        held.open = match &known.open {
            Some((signature, rows)) if *signature == held.signature() => Arc::clone(rows),
            _ => Arc::new(together(held.panes.values().map(|pane| &*pane.rows))?),
        };
        Ok(held)
    }
}

/// The rows of several panes as one.
fn together<'a>(panes: impl Iterator<Item = &'a Rows>) -> Result<Rows> {
    let mut all = Rows::default();
    let mut codes: Vec<HashMap<&Value, u32>> = Vec::new();
    for rows in panes.filter(|rows| !rows.is_empty()) {
        if all.is_empty() {
            all.dimensions = vec![Dimension::default(); rows.dimensions.len()];
            all.states = rows.states.iter().map(States::empty_like).collect();
            codes = vec![HashMap::new(); rows.dimensions.len()];
        }
        if all.dimensions.len() != rows.dimensions.len() || all.states.len() != rows.states.len() {
            return Err(damaged());
        }
        all.panes.extend_from_slice(&rows.panes);
        for ((to, from), codes) in all.dimensions.iter_mut().zip(&rows.dimensions).zip(&mut codes) {
            let translated: Vec<u32> = (from.values.iter())
                .map(|value| {
                    *codes.entry(value).or_insert_with(|| {
                        to.values.push(value.clone());
                        (to.values.len() - 1) as u32
                    })
                })
                .collect();
            to.codes.extend(from.codes.iter().map(|&code| translated[code as usize]));
        }
        for (to, from) in all.states.iter_mut().zip(&rows.states) {
            append(to, from)?;
        }
    }
    Ok(all)
}

fn append(to: &mut States, from: &States) -> Result<()> {
    match (to, from) {
        (States::Count(to), States::Count(from)) => to.extend_from_slice(from),
        (States::Fixed(to), States::Fixed(from)) => to.extend_from_slice(from),
        (States::Float(to), States::Float(from)) => to.extend_from_slice(from),
        (States::Partial(to), States::Partial(from)) => to.extend_from_slice(from),
        (States::Count(_) | States::Fixed(_) | States::Float(_) | States::Partial(_), _) => return Err(damaged()),
    }
    Ok(())
}

/// What became of a commit.
pub(super) enum Commit {
    Done(Committed),
    /// Its first segment is not the one that is open.
    Gap,
    /// Views (by number) have panes that the script was given no keys for.
    Stale(Vec<(usize, Timestamp)>),
}

/// What became of a claim.
pub(super) enum Claimed {
    Held,
    Made { lost: bool },
    Stale(Vec<Timestamp>, BTreeSet<Offset>, Offset),
}

pub(super) fn strange() -> Error {
    Error::internal("redis gave an answer that is not understood")
}

fn damaged() -> Error {
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

fn couples(items: &[Reply]) -> Result<Vec<(&[u8], &[u8])>> {
    fn bytes(reply: &Reply) -> Result<&[u8]> {
        match reply {
            Reply::BulkString(bytes) => Ok(bytes),
            _ => Err(strange()),
        }
    }
    items.chunks_exact(2).map(|pair| Ok((bytes(&pair[0])?, bytes(&pair[1])?))).collect()
}

/// The first word of an answer, and the rest of it.
fn word(reply: Reply) -> Result<(String, std::vec::IntoIter<Reply>)> {
    let mut items = list(reply)?.into_iter();
    let word = string(items.next().ok_or_else(strange)?)?;
    Ok((word, items))
}

pub(super) fn meta(reply: Reply) -> Result<Meta> {
    let mut meta = Meta::default();
    let mut items = list(reply)?.into_iter();
    while let (Some(name), Some(value)) = (items.next(), items.next()) {
        let name = string(name)?;
        match name.split_once(':') {
            Some(("pane", pane)) => {
                meta.panes.insert(Timestamp(number(pane)?));
            }
            Some(("closed", start)) => {
                meta.closed.insert(Offset(number(start)?));
            }
            _ => {
                meta.fields.insert(name, string(value)?);
            }
        }
    }
    Ok(meta)
}

pub(super) fn commit(reply: Reply) -> Result<Commit> {
    let (word, mut rest) = word(reply)?;
    Ok(match word.as_str() {
        "APPLIED" => Commit::Done(Committed::Applied),
        "MOVED" => Commit::Done(Committed::Moved),
        "MISSING" => Commit::Done(Committed::Missing),
        "GAP" => Commit::Gap,
        "STALE" => {
            let mut stale = Vec::new();
            for item in list(rest.next().ok_or_else(strange)?)? {
                let mut item = list(item)?.into_iter();
                let (Some(Reply::Int(view)), Some(pane)) = (item.next(), item.next()) else { return Err(strange()) };
                let view = usize::try_from(view - 1).map_err(|_| strange())?;
                stale.push((view, Timestamp(number(&string(pane)?)?)));
            }
            Commit::Stale(stale)
        }
        _ => return Err(strange()),
    })
}

pub(super) fn view(reply: Reply) -> Result<Claimed> {
    let (word, rest) = word(reply)?;
    Ok(match word.as_str() {
        "HELD" => Claimed::Held,
        "NONE" => Claimed::Made { lost: false },
        "LOST" => Claimed::Made { lost: true },
        "STALE" => {
            let (segment, panes, closed) = stale(rest)?;
            Claimed::Stale(panes, closed, segment)
        }
        _ => return Err(strange()),
    })
}

fn stale(rest: std::vec::IntoIter<Reply>) -> Result<(Offset, Vec<Timestamp>, BTreeSet<Offset>)> {
    let Ok([segment, _, _, panes, closed]) = <[Reply; 5]>::try_from(rest.collect::<Vec<_>>()) else {
        return Err(strange());
    };
    let first = |item: Reply| string(list(item)?.into_iter().next().ok_or_else(strange)?);
    let panes = list(panes)?.into_iter().map(|pane| number(&first(pane)?).map(Timestamp)).collect::<Result<_>>()?;
    let closed = list(closed)?.into_iter().map(|start| number(&first(start)?).map(Offset)).collect::<Result<_>>()?;
    Ok((Offset(number(&string(segment)?)?), panes, closed))
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
        "STALE" => {
            let (segment, panes, closed) = stale(rest)?;
            Found::Stale(panes, closed, segment)
        }
        "HELD" => raw(rest).map_or(Found::Lost, Found::Held),
        _ => return Err(strange()),
    })
}

fn raw(rest: std::vec::IntoIter<Reply>) -> Result<Raw> {
    let Ok([position, floor, progress, panes, closed]) = <[Reply; 5]>::try_from(rest.collect::<Vec<_>>()) else {
        return Err(strange());
    };
    let mut raw = Raw {
        position: Offset(number(&string(position)?)?),
        floor: Offset(number(&string(floor)?)?),
        progress: string(progress)?,
        panes: Vec::new(),
        closed: Vec::new(),
    };
    for pane in list(panes)? {
        let Ok([name, entry, pairs]) = <[Reply; 3]>::try_from(list(pane)?) else { return Err(strange()) };
        let pairs = if pairs == Reply::Nil { None } else { Some(list(pairs)?) };
        raw.panes.push((Timestamp(number(&string(name)?)?), string(entry)?, pairs));
    }
    for segment in list(closed)? {
        let Ok([start, entry]) = <[Reply; 2]>::try_from(list(segment)?) else { return Err(strange()) };
        raw.closed.push((Offset(number(&string(start)?)?), string(entry)?));
    }
    Ok(raw)
}

/// The entry and the value of a closed segment, if it is held.
pub(super) fn segment(reply: Reply) -> Result<Option<(String, Vec<u8>)>> {
    if reply == Reply::Nil {
        return Ok(None);
    }
    match <[Reply; 2]>::try_from(list(reply)?) {
        Ok([entry, Reply::BulkString(value)]) => Ok(Some((string(entry)?, value))),
        _ => Err(strange()),
    }
}

/// Reads a closed segment, which must be what its entry says.
pub(super) fn closed_rows(entry: &str, value: &[u8]) -> Result<Rows> {
    let mut parts = entry.split(' ').skip(1);
    let (Some(rows), Some(_), Some(checksum)) = (parts.next(), parts.next(), parts.next()) else {
        return Err(damaged());
    };
    if format!("{:016x}", xxh3_64(value)) != checksum {
        return Err(damaged());
    }
    let decoded = Rows::decode(value)?;
    if decoded.len() == number::<usize>(rows)? { Ok(decoded) } else { Err(damaged()) }
}

/// Whether a script did its work, or must be sent again.
pub(super) fn is_done(reply: Reply) -> Result<bool> {
    match string(reply)?.as_str() {
        "DONE" => Ok(true),
        "STALE" => Ok(false),
        _ => Err(strange()),
    }
}
