//! Pane and dimensions as one integer that sorts as the canonical order of rows does.
//!
//! Each dimension gets a sorted dictionary, so that its codes compare as its values do; the key is the number with the pane and
//! the codes as its digits. Where the digits would not fit, the key so far is replaced by its rank among those that occur.
use std::collections::HashMap;
use std::hash::Hash;

use polars::prelude as pl;
use seam_shared::error::{Error, Result};
use seam_shared::time::{Span, Timestamp};
use seam_shared::view::definition::View;
use seam_shared::view::rows::Dimension;
use seam_shared::view::value::{FieldType, Value};

use super::{Slice, dimension_name, failed, integers};

/// Keys stay below this, so that six more bits fit beside them (`lower`).
const KEYS_MAX: i64 = 1 << 56;

/// One key for each event, and how to read it.
pub struct Packed {
    /// The keys.
    pub keys: Vec<i64>,
    /// The sorted dictionary of each dimension.
    dictionaries: Vec<Vec<Value>>,
    /// For each dimension, the ranks that the key before it was replaced by: rank `r` stands for entry `r`.
    ranks: Vec<Option<Vec<i64>>>,
}

/// Packs the columns `since` (the slice's start) and `d<i>`.
pub fn pack(view: &View, events: &pl::DataFrame) -> Result<Packed> {
    let mut keys = integers(events, "since")?;
    keys.iter_mut().for_each(|since| *since /= view.pane.0); // never negative
    let mut bound = keys.iter().max().map_or(0, |max| max + 1);
    let mut packed = Packed { keys: Vec::new(), dictionaries: Vec::new(), ranks: Vec::new() };
    for (i, dimension) in view.dimensions.iter().enumerate() {
        let column = events.column(&dimension_name(i)).map_err(failed)?;
        let (codes, dictionary) = coded(column, dimension.field_type)?;
        let size = dictionary.len() as i64;
        let mut ranks = None;
        if bound.checked_mul(size).is_none_or(|product| product > KEYS_MAX) {
            let occurring = rank(&mut keys);
            bound = occurring.len() as i64;
            ranks = Some(occurring);
        }
        for (key, code) in keys.iter_mut().zip(&codes) {
            *key = *key * size + i64::from(*code);
        }
        bound = bound.checked_mul(size).filter(|b| *b <= KEYS_MAX).ok_or_else(|| Error::internal("too many groups"))?;
        packed.dictionaries.push(dictionary);
        packed.ranks.push(ranks);
    }
    packed.keys = keys;
    Ok(packed)
}

impl Packed {
    /// The pane ends and the dimension columns of sorted keys, in canonical form.
    pub fn unpack(&self, keys: &[i64], slice: Slice, pane: Span) -> (Vec<Timestamp>, Vec<Dimension>) {
        let mut rest = keys.to_vec();
        let mut dimensions = Vec::with_capacity(self.dictionaries.len());
        for (dictionary, ranks) in self.dictionaries.iter().zip(&self.ranks).rev() {
            let size = dictionary.len() as i64;
            let codes = rest.iter().map(|key| (key % size) as u32).collect();
            for key in &mut rest {
                *key /= size;
                if let Some(ranks) = ranks {
                    *key = ranks[*key as usize];
                }
            }
            dimensions.push(Dimension { codes, values: dictionary.clone() });
        }
        dimensions.reverse();
        let panes = rest.iter().map(|index| slice.start.plus(Span((index + 1) * pane.0))).collect();
        (panes, dimensions)
    }
}

/// Replaces each key by its rank among those that occur, and answers with these in order.
fn rank(keys: &mut [i64]) -> Vec<i64> {
    let mut occurring = keys.to_vec();
    occurring.sort_unstable();
    occurring.dedup();
    for key in keys {
        *key = occurring.partition_point(|other| other < key) as i64;
    }
    occurring
}

/// The column as codes into a sorted dictionary that holds what occurs.
fn coded(column: &pl::Column, field_type: FieldType) -> Result<(Vec<u32>, Vec<Value>)> {
    let series = column.as_materialized_series();
    let (codes, values) = match field_type {
        FieldType::String => strings(series.str().map_err(failed)?),
        FieldType::Bool => intern(series.bool().map_err(failed)?.iter(), Value::Bool),
        FieldType::Int => intern(series.i64().map_err(failed)?.iter(), Value::Int),
        FieldType::Decimal(scale) => {
            intern(series.decimal().map_err(failed)?.physical().iter(), |v| Value::Decimal(v, scale))
        }
        FieldType::Float => return Err(Error::internal("a float is no dimension")),
    };
    Ok(sorted(codes, values))
}

fn intern<T: Copy + Eq + Hash>(
    column: impl Iterator<Item = Option<T>>,
    value: impl Fn(T) -> Value,
) -> (Vec<u32>, Vec<Value>) {
    let mut known: HashMap<Option<T>, u32> = HashMap::new();
    let mut values = Vec::new();
    let codes = column.map(|entry| {
        *known.entry(entry).or_insert_with(|| {
            values.push(entry.map_or(Value::Null, &value));
            values.len() as u32 - 1
        })
    });
    (codes.collect(), values)
}

/// Text is coded by its *view*: sixteen bytes that hold a short text itself, or say where in the chunk's buffers a long one lies.
/// Equal views are equal texts, and a Parquet dictionary gives equal texts equal views: almost every row takes one look into a
/// small table, and no text is hashed.
fn strings(column: &pl::StringChunked) -> (Vec<u32>, Vec<Value>) {
    let mut known: HashMap<Box<str>, u32> = HashMap::new();
    let mut values = vec![Value::Null];
    let mut codes = Vec::with_capacity(column.len());
    for chunk in column.downcast_iter() {
        let mut views = Views::default();
        let mut code_of = |i: usize, view: u128| {
            views.get_or_insert(view, || {
                let text = chunk.value(i);
                if let Some(code) = known.get(text) {
                    return *code;
                }
                values.push(Value::text(text));
                known.insert(text.into(), values.len() as u32 - 1);
                values.len() as u32 - 1
            })
        };
        let all = chunk.views().iter().enumerate();
        if column.null_count() == 0 {
            codes.extend(all.map(|(i, view)| code_of(i, view.as_u128())));
        } else {
            let entries = all.zip(chunk.iter());
            codes.extend(entries.map(|((i, view), text)| if text.is_some() { code_of(i, view.as_u128()) } else { 0 }));
        }
    }
    (codes, values)
}

/// An open-addressing table from views to codes.
struct Views {
    slots: Vec<(u128, u32)>,
    len: usize,
}

impl Default for Views {
    fn default() -> Self {
        Self { slots: vec![(0, u32::MAX); 1024], len: 0 }
    }
}

impl Views {
    #[inline]
    fn get_or_insert(&mut self, view: u128, make: impl FnOnce() -> u32) -> u32 {
        let mut at = self.place(view);
        loop {
            let (found, code) = self.slots[at];
            if code == u32::MAX {
                break;
            }
            if found == view {
                return code;
            }
            at = (at + 1) & (self.slots.len() - 1);
        }
        let code = make();
        self.slots[at] = (view, code);
        self.len += 1;
        if self.len * 2 > self.slots.len() {
            self.grow();
        }
        code
    }
    #[inline]
    fn place(&self, view: u128) -> usize {
        let folded = (view as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15)
            ^ ((view >> 64) as u64).wrapping_mul(0xD6E8_FEB8_6659_FD93);
        (folded.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32) as usize & (self.slots.len() - 1)
    }
    fn grow(&mut self) {
        let size = self.slots.len() * 4;
        let old = std::mem::replace(&mut self.slots, vec![(0, u32::MAX); size]);
        for (view, code) in old.into_iter().filter(|(_, code)| *code != u32::MAX) {
            let mut at = self.place(view);
            while self.slots[at].1 != u32::MAX {
                at = (at + 1) & (size - 1);
            }
            self.slots[at] = (view, code);
        }
    }
}

/// Sorts the dictionary, drops what no code names and translates the codes.
fn sorted(mut codes: Vec<u32>, values: Vec<Value>) -> (Vec<u32>, Vec<Value>) {
    let mut used = vec![false; values.len()];
    codes.iter().for_each(|&code| used[code as usize] = true);
    let mut order: Vec<(Value, usize)> = values.into_iter().zip(0..).filter(|(_, code)| used[*code]).collect();
    order.sort_unstable();
    let mut translation = vec![0; used.len()];
    for (rank, (_, code)) in order.iter().enumerate() {
        translation[*code] = rank as u32;
    }
    codes.iter_mut().for_each(|code| *code = translation[*code as usize]);
    (codes, order.into_iter().map(|(value, _)| value).collect())
}
