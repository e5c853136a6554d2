//! Which rows count: a view's slices and each term's conditions, in the codes of one block. Pure.
use std::ops::Range;

use seam_shared::view::expression::Expression;
use seam_shared::view::rows::Dimension;
use seam_shared::view::value::Value;

use crate::block::ByKey;
use crate::query::Term;

/// Slices in the codes of one block.
pub struct Slices {
    /// Dimensions from the first on that leave a run of keys: each is sliced to one value, or has only one.
    leading: Vec<(usize, u32)>,
    /// Other sliced dimensions and their codes, sorted.
    others: Vec<(usize, Vec<u32>)>,
}

impl Slices {
    /// `None` when nothing in the block can match. In a block by key, values are sorted.
    pub fn new(term: &Term, dimensions: &[Dimension], by_key: bool) -> Option<Slices> {
        let mut slices = Slices { leading: Vec::new(), others: Vec::new() };
        let mut leading = leading(term, |d| dimensions[d].values.len()).filter(|_| by_key).peekable();
        for (d, values) in &term.slices {
            let dimension = dimensions.get(*d)?;
            if let (Some(_), [value]) = (leading.next_if_eq(d), &values[..]) {
                slices.leading.push((*d, dimension.values.binary_search(value).ok()? as u32));
                continue;
            }
            let codes = codes(dimension, values, by_key);
            if codes.is_empty() {
                return None;
            }
            slices.others.push((*d, codes));
        }
        Some(slices)
    }
    /// The run of keys that can match.
    pub fn keys(&self, block: &ByKey) -> Range<usize> {
        self.leading.iter().fold(0..block.keys(), |keys, (d, code)| block.narrow(keys, *d, *code))
    }
    /// The one code of the dimension that leaves the fewest rows, as far as its dictionary tells.
    pub fn one_code(&self, dimensions: &[Dimension]) -> Option<(usize, u32)> {
        let single =
            self.others.iter().filter_map(|(d, codes)| Some((*d, *codes.first().filter(|_| codes.len() == 1)?)));
        single.max_by_key(|(d, _)| dimensions[*d].values.len())
    }
    /// Whether key (or row) `i`, of the run that can match, does.
    #[inline]
    pub fn match_at(&self, dimensions: &[Dimension], i: usize) -> bool {
        self.others.iter().all(|(d, codes)| codes.binary_search(&dimensions[*d].codes[i]).is_ok())
    }
}

/// The dimensions from the first on that are sliced to one value each, those aside that have but one value.
pub fn leading<'a>(term: &'a Term, values_of: impl Fn(usize) -> usize + 'a) -> impl Iterator<Item = usize> + 'a {
    let mut next = 0;
    let leads = move |(d, values): &&(usize, Vec<Value>)| {
        let follows = values.len() == 1 && (next..*d).all(|between| values_of(between) <= 1);
        next = d + 1;
        follows
    };
    term.slices.iter().take_while(leads).map(|(d, _)| *d)
}

/// The codes, in order, that any of `values`, which are sorted, have in a dimension.
fn codes(dimension: &Dimension, values: &[Value], sorted: bool) -> Vec<u32> {
    if sorted {
        let code = |value| dimension.values.binary_search(value).ok().map(|code| code as u32);
        return values.iter().filter_map(code).collect();
    }
    let codes = dimension.values.iter().zip(0..).filter(|(value, _)| values.binary_search(value).is_ok());
    codes.map(|(_, code)| code).collect()
}

/// A term's conditions in the codes of one block.
pub struct Conditions<'a> {
    /// Those over one dimension, by code; filled as codes are met.
    by_code: Vec<(usize, &'a Expression, Vec<Option<bool>>)>,
    /// Those over several dimensions.
    others: Vec<&'a Expression>,
}

impl<'a> Conditions<'a> {
    /// Nothing is known of any code yet.
    pub fn new(term: &'a Term, dimensions: &[Dimension]) -> Conditions<'a> {
        let mut conditions = Conditions { by_code: Vec::new(), others: Vec::new() };
        for part in term.all_conditions().flat_map(conjuncts) {
            match only_dimension(part) {
                Some(d) => conditions.by_code.push((d, part, vec![None; dimensions[d].values.len()])),
                None => conditions.others.push(part),
            }
        }
        conditions
    }
    /// Whether they hold of key (or row) `i`.
    #[inline]
    pub fn hold_at(&mut self, dimensions: &[Dimension], i: usize) -> bool {
        let value = |d: usize| dimensions[d].values[dimensions[d].codes[i] as usize].clone();
        self.by_code.iter_mut().all(|(d, condition, known)| {
            let code = dimensions[*d].codes[i] as usize;
            *known[code].get_or_insert_with(|| condition.matches(&value) == Some(true))
        }) && self.others.iter().all(|condition| condition.matches(&value) == Some(true))
    }
}

/// The parts that must all be true.
fn conjuncts(condition: &Expression) -> Vec<&Expression> {
    match condition {
        Expression::And(parts) => parts.iter().flat_map(conjuncts).collect(),
        Expression::Compare(..)
        | Expression::In(..)
        | Expression::IsNull(_)
        | Expression::Not(_)
        | Expression::Or(_) => vec![condition],
    }
}

/// The dimension that a condition is about, if it is about one.
fn only_dimension(condition: &Expression) -> Option<usize> {
    let mut dimensions = dimensions_of(condition);
    dimensions.dedup();
    if let [d] = dimensions[..] { Some(d) } else { None }
}

/// The dimensions that a condition names.
pub fn dimensions_of(condition: &Expression) -> Vec<usize> {
    match condition {
        Expression::Compare(d, ..) | Expression::In(d, _) | Expression::IsNull(d) => vec![*d],
        Expression::Not(part) => dimensions_of(part),
        Expression::And(parts) | Expression::Or(parts) => parts.iter().flat_map(dimensions_of).collect(),
    }
}
