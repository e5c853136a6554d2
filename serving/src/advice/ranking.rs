//! Items by how often and how lately they occurred: what scores are made of but for the user, in a form of which an answer reads
//! little, however many items there are. Pure.
//!
//! # Why an answer is that of all items
//! Of the items of one category that were last seen in one pane, interest and recency are the same for every user; so they rank by
//! their amount (if popularity weighs anything), then by item. A list keeps the first [`LISTED`] of each such group, and of each pane over all categories. Whatever is
//! not listed has that many items of its own group before it in every answer, and an answer has no more.
//!
//! # Layers
//! A ranking lies over another: it holds the items that occur in what it was made of, each with its sums over both. Amounts only grow,
//! and what was seen last only comes nearer. So an item that a list below names and that is here now still is before all that it was
//! before, and lists need not be made again.
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use hashbrown::HashMap;
use seam_shared::access::Admission;
use seam_shared::config::RECOMMENDED_MAX;
use seam_shared::time::Timestamp;
use seam_shared::view::rows::{Dimension, States};
use seam_shared::view::value::Value;
use seam_shared::{Error, Kind, Result};

use super::score::{Amount, Decay};
use crate::block::Block;

/// Items of a list: as many as the largest answer has.
const LISTED: usize = RECOMMENDED_MAX;
/// Items of a window.
pub const ITEMS_MAX: usize = 2_000_000;

/// What is counted of a view's rows.
#[derive(Debug, Clone, PartialEq, Hash)]
pub struct Counting {
    /// The states that count events, each with what one of them weighs, in thousandths.
    pub states: Vec<(usize, u64)>,
    /// Panes that end in `(after, until]`.
    pub after: Timestamp,
    /// What age takes, and where the panes end.
    pub decay: Decay,
    /// Whether amounts make a difference to scores; where popularity weighs nothing they do not.
    pub by_amount: bool,
    /// Which rows the caller may see.
    pub admission: Admission,
}

/// A row of a view that counts.
#[derive(Debug, Clone, Copy)]
pub struct Row<'b> {
    counting: &'b Counting,
    dimensions: &'b [Dimension],
    key: usize,
    states: &'b [States],
    row: usize,
    /// Its pane.
    pub pane: Timestamp,
}

impl<'b> Row<'b> {
    /// The value of a dimension.
    pub fn value(&self, d: usize) -> &'b Value {
        &self.dimensions[d].values[self.dimensions[d].codes[self.key] as usize]
    }
    fn events(&self, state: usize) -> u64 {
        match &self.states[state] {
            States::Count(counts) => counts[self.row],
            States::Fixed(_) | States::Float(_) | States::Partial(_) => 0,
        }
    }
    fn counts(&self) -> bool {
        let Counting { states, after, decay, admission, .. } = self.counting;
        *after < self.pane
            && self.pane <= decay.until
            && states.iter().any(|(state, _)| self.events(*state) > 0)
            && (admission.rows().is_none() || admission.admits(&|d| self.value(d).clone()))
    }
    /// Adds its events to an amount.
    pub fn add_to(&self, amount: &mut Amount) {
        let left = self.counting.decay.left(self.pane);
        self.counting.states.iter().for_each(|(state, weight)| amount.add(self.events(*state), *weight, left));
    }
}

impl Counting {
    /// Calls `each` with every row of a block that counts.
    pub fn visit(&self, block: &Block, mut each: impl FnMut(&Row<'_>)) {
        let mut visit = |row: Row<'_>| {
            if row.counts() {
                each(&row);
            }
        };
        match block {
            _ if block.is_empty() => {}
            Block::AsHeld(rows) => {
                for (row, &pane) in rows.panes.iter().enumerate() {
                    let (dimensions, states) = (&rows.dimensions, &rows.states);
                    visit(Row { counting: self, dimensions, key: row, states, row, pane });
                }
            }
            Block::ByKey(by_key) => {
                let (dimensions, states) = (&by_key.dimensions, &by_key.states);
                for (key, row) in (0..by_key.keys()).flat_map(|key| by_key.rows(key).map(move |row| (key, row))) {
                    visit(Row { counting: self, dimensions, key, states, row, pane: by_key.panes[row] });
                }
            }
        }
    }
}

/// How often and how lately an item occurred.
#[derive(Debug, Clone, PartialEq)]
pub struct Tally {
    /// How often.
    pub amount: Amount,
    /// The last pane in which it did.
    pub last: Timestamp,
    /// In which categories, by their numbers.
    pub categories: BTreeSet<u32>,
}

impl Default for Tally {
    fn default() -> Tally {
        Tally { amount: Amount::default(), last: Timestamp(i64::MIN), categories: BTreeSet::new() }
    }
}

/// Categories and their numbers.
#[derive(Debug, Clone, Default)]
struct Categories {
    codes: HashMap<Value, u32>,
    names: Vec<Value>,
}

/// Of each category, and of all (`None`), by last pane the first items in order.
type Lists = BTreeMap<(Option<u32>, Timestamp), Vec<Value>>;

/// The items of a window.
#[derive(Debug, Default)]
pub struct Ranking {
    below: Option<Arc<Ranking>>,
    /// Those below included.
    categories: Arc<Categories>,
    items: HashMap<Value, Tally>,
    lists: Lists,
    most: Amount,
    /// Items here and below.
    count: usize,
}

/// A ranking that is being made.
#[derive(Debug)]
pub struct Builder {
    counting: Arc<Counting>,
    /// The dimensions of item and category.
    dimensions: (usize, Option<usize>),
    items_max: usize,
    ranking: Ranking,
}

impl Builder {
    /// Begins one over another.
    pub fn new(below: Option<Arc<Ranking>>, counting: Arc<Counting>, dimensions: (usize, Option<usize>)) -> Builder {
        let (categories, count) =
            below.as_ref().map(|below| (below.categories.clone(), below.count)).unwrap_or_default();
        let most = below.as_ref().map(|below| below.most).unwrap_or_default();
        Builder {
            counting,
            dimensions,
            items_max: ITEMS_MAX,
            ranking: Ranking { categories, most, count, below, ..Ranking::default() },
        }
    }
    /// Adds rows.
    ///
    /// # Errors
    /// `TooLarge` when there are more items than [`ITEMS_MAX`].
    pub fn add(mut self, block: &Block) -> Result<Builder> {
        let Builder { counting, dimensions: (item, category), items_max, ranking } = &mut self;
        counting.visit(block, |row| {
            if *row.value(*item) != Value::Null && ranking.count <= *items_max {
                let category = category.map(|d| row.value(d)).filter(|category| **category != Value::Null);
                ranking.add(row.value(*item), category, row);
            }
        });
        if ranking.count > *items_max {
            let detail = format!(
                "the window has more than {items_max} items; recommend from a shorter one, or fewer types of events"
            );
            return Err(Error::new(Kind::TooLarge, detail));
        }
        Ok(self)
    }
    /// What was made.
    pub fn finish(self) -> Ranking {
        let mut ranking = self.ranking;
        ranking.lists = lists(&ranking.items, self.counting.by_amount);
        ranking
    }
}

/// The first items of each group.
fn lists(items: &HashMap<Value, Tally>, by_amount: bool) -> Lists {
    let mut groups: HashMap<(Option<u32>, Timestamp), Vec<(&Value, Amount)>> = HashMap::new();
    for (item, tally) in items {
        for category in tally.categories.iter().map(|code| Some(*code)).chain([None]) {
            let amount = if by_amount { tally.amount } else { Amount::default() };
            groups.entry((category, tally.last)).or_default().push((item, amount));
        }
    }
    let first = |(group, mut items): (_, Vec<(&Value, Amount)>)| {
        let order = |a: &(&Value, Amount), b: &(&Value, Amount)| b.1.cmp(&a.1).then_with(|| a.0.cmp(b.0));
        if items.len() > LISTED {
            items.select_nth_unstable_by(LISTED, order);
            items.truncate(LISTED);
        }
        items.sort_unstable_by(order);
        (group, items.into_iter().map(|(item, _)| item.clone()).collect())
    };
    groups.into_iter().map(first).collect()
}

impl Ranking {
    fn add(&mut self, item: &Value, category: Option<&Value>, row: &Row<'_>) {
        let code = category.map(|category| self.code(category));
        if !self.items.contains_key(item) {
            let below = self.below.as_ref().and_then(|below| below.get(item)).map(|(_, tally)| tally.clone());
            self.count += usize::from(below.is_none());
            self.items.insert(item.clone(), below.unwrap_or_default());
        }
        let Some(tally) = self.items.get_mut(item) else { return };
        row.add_to(&mut tally.amount);
        tally.last = tally.last.max(row.pane);
        tally.categories.extend(code);
        self.most = self.most.max(tally.amount);
    }
    fn code(&mut self, category: &Value) -> u32 {
        if let Some(code) = self.categories.codes.get(category) {
            return *code;
        }
        let Categories { codes, names } = Arc::make_mut(&mut self.categories);
        names.push(category.clone());
        *codes.entry(category.clone()).or_insert(names.len() as u32 - 1)
    }
    /// This and what it lies over, from above.
    fn layers(&self) -> impl Iterator<Item = &Ranking> {
        std::iter::successors(Some(self), |layer| layer.below.as_deref())
    }
    fn get(&self, item: &Value) -> Option<(&Value, &Tally)> {
        self.layers().find_map(|layer| layer.items.get_key_value(item))
    }
    /// The largest amount of an item.
    pub fn most(&self) -> Amount {
        self.most
    }
    /// How many items there are.
    pub fn count(&self) -> usize {
        self.count
    }
    /// The number of a category, if any item is of it.
    pub fn category(&self, name: &Value) -> Option<u32> {
        self.categories.codes.get(name).copied()
    }
    /// The category of a number.
    pub fn name(&self, category: u32) -> &Value {
        &self.categories.names[category as usize]
    }
    /// Items among which are the first `limit`, at most [`LISTED`], of every answer to a user who is interested in these categories and
    /// items alone.
    pub fn candidates<'r>(
        &'r self,
        categories: &[u32],
        items: impl Iterator<Item = &'r Value>,
        limit: usize,
    ) -> Vec<(&'r Value, &'r Tally)> {
        let groups = || categories.iter().map(|code| Some(*code)).chain([None]);
        let of_group = |group| (group, Timestamp(i64::MIN))..=(group, Timestamp(i64::MAX));
        let listed = self.layers().flat_map(|layer| groups().flat_map(move |group| layer.lists.range(of_group(group))));
        let listed = listed.flat_map(|(_, list)| list.iter().take(limit));
        let mut found: HashMap<&Value, &Tally> = HashMap::new();
        for item in listed.chain(items) {
            if !found.contains_key(item)
                && let Some((item, tally)) = self.get(item)
            {
                found.insert(item, tally);
            }
        }
        found.into_iter().collect()
    }
    /// About how much memory it takes, what it lies over not included.
    pub fn bytes(&self) -> usize {
        let text = |value: &Value| if let Value::Str(text) = value { text.len() + 16 } else { 0 };
        let of_item = size_of::<(Value, Tally)>() * 8 / 7 + 16;
        let items = self.items.iter().map(|(item, tally)| of_item + text(item) + tally.categories.len() * 4);
        let of_list = size_of::<((Option<u32>, Timestamp), Vec<Value>)>() * 2;
        let listed = self.lists.values().flatten().map(|item| size_of::<Value>() + text(item));
        items.sum::<usize>() + self.lists.len() * of_list + listed.sum::<usize>()
    }
}

#[cfg(test)]
mod tests;
