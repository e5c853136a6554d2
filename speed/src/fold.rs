//! Decoded events x views -> partials of the open segment. Pure: no I/O, no clock, no arrival order.
//!
//! What the views of a source share is done once a run of events: the choice of events that count, the pane of each for
//! every pane length, and the code of each dimension's value. A view then finds the row of every event, and makes one pass
//! over each of its state columns.
mod counted;
pub mod dictionary;
pub mod keys;
pub mod measured;
pub mod table;

use std::ops::Range;
use std::sync::Arc;

use seam_shared::event::batch::{EventBatch, Verdict};
use seam_shared::time::{Span, Timestamp};
use seam_shared::view::definition::{StateDefinition, View};
use seam_shared::view::expression::Expression;
use seam_shared::view::ranks::Ranks;
use seam_shared::view::rows::Rows;

use counted::{Counted, Run};
use dictionary::Dictionary;
use keys::{Keys, hash_all};
use measured::Measured;
use table::Table;

/// Dictionaries with more values than this start anew when no open segment needs them.
const DICTIONARY_VALUES: usize = 1 << 16;

/// The open segment of one partition, for several views of one source.
#[derive(Debug)]
pub struct Fold {
    partition: u32,
    views: Vec<ViewFold>,
    /// By field of the source; those that are no dimension stay empty. Behind them those of partitions and count windows.
    dictionaries: Vec<Dictionary>,
    /// The fields that are a dimension of some view.
    fields: Vec<usize>,
    /// The pane lengths that occur, with the pane ends of the current run.
    panes: Vec<(Span, Vec<Timestamp>)>,
    /// By field of the source: the codes of the current run.
    codes: Vec<Vec<u32>>,
    /// What views group by: a pane length and fields, each once, with the hashes of the current run.
    groupings: Vec<Grouping>,
    /// The events of the current run that count.
    counting: Vec<u32>,
}

#[derive(Debug)]
struct Grouping {
    pane: usize,
    fields: Vec<usize>,
    hashes: Vec<u64>,
}

#[derive(Debug)]
struct ViewFold {
    view: Arc<View>,
    grouping: usize,
    table: Table,
    /// Which events of the current batch its filter lets pass.
    passes: Option<Vec<bool>>,
    /// The filters of its states, each once, and which events of the current batch they let pass.
    filters: Vec<(Arc<Expression>, Vec<bool>)>,
    /// By state: its filter, and which events it takes back.
    filter_of: Vec<[Option<usize>; 2]>,
    /// Its count window, if it has one.
    counted: Option<Counted>,
    selected: Vec<u32>,
}

impl ViewFold {
    fn new(view: &Arc<View>, grouping: usize) -> ViewFold {
        let mut filters: Vec<(Arc<Expression>, Vec<bool>)> = Vec::new();
        let mut number = |filter: &Arc<Expression>| {
            filters.iter().position(|(known, _)| known == filter).unwrap_or_else(|| {
                filters.push((filter.clone(), Vec::new()));
                filters.len() - 1
            })
        };
        let of_state = |state: &StateDefinition| [&state.filter, &state.retract].map(|f| f.as_ref().map(&mut number));
        let filter_of = view.states.iter().map(of_state).collect();
        let counted = view.count_window.map(|records| Counted::new(records, Ranks::default()));
        let (table, view) = (Table::new(view), view.clone());
        ViewFold { view, grouping, table, passes: None, filters, filter_of, counted, selected: Vec::new() }
    }
}

impl Fold {
    /// Empty tables for views of one source, in a partition of it.
    pub fn new(views: &[Arc<View>], partition: u32) -> Self {
        let mut panes: Vec<(Span, Vec<Timestamp>)> = Vec::new();
        let mut fields: Vec<usize> = views.iter().flat_map(|v| v.keys().iter().map(|d| d.field)).collect();
        fields.sort_unstable();
        fields.dedup();
        let mut groupings: Vec<Grouping> = Vec::new();
        let views: Vec<ViewFold> = (views.iter())
            .map(|view| {
                let pane = panes.iter().position(|(span, _)| *span == view.pane).unwrap_or_else(|| {
                    panes.push((view.pane, Vec::new()));
                    panes.len() - 1
                });
                let fields: Vec<usize> = view.keys().iter().map(|d| d.field).collect();
                let known = groupings.iter().position(|known| known.pane == pane && known.fields == fields);
                let grouping = known.unwrap_or_else(|| {
                    groupings.push(Grouping { pane, fields, hashes: Vec::new() });
                    groupings.len() - 1
                });
                ViewFold::new(view, grouping)
            })
            .collect();
        let width = fields.last().map_or(0, |last| last + 1);
        let dictionaries = views.iter().map(|v| counted::dictionaries(&v.view)).max().unwrap_or_default().max(width);
        Self {
            partition,
            views,
            dictionaries: (0..dictionaries).map(|_| Dictionary::default()).collect(),
            fields,
            panes,
            codes: vec![Vec::new(); width],
            groupings,
            counting: Vec::new(),
        }
    }

    /// Evaluates the filters. To be called once a batch, before [`Fold::fold`].
    pub fn begin(&mut self, batch: &EventBatch) {
        for view in &mut self.views {
            view.passes = view.view.filter.as_ref().map(|filter| filter.filter(batch));
            view.filters.iter_mut().for_each(|(filter, passes)| *passes = filter.filter(batch));
        }
    }

    /// Folds a run of the batch's events that belongs to one segment; view `v` leaves out those before index `starts[v]`.
    pub fn fold(&mut self, batch: &EventBatch, run: Range<usize>, starts: &[usize]) {
        let first = run.start;
        self.counting.clear();
        let counts = |i: &usize| batch.verdicts[*i] == Verdict::Counts;
        self.counting.extend(run.clone().filter(counts).map(|i| u32::try_from(i).expect("a batch is below 2^32")));
        for &field in &self.fields {
            let texts = batch.dictionaries.get(field).map_or(&[][..], |texts| texts.as_slice());
            let codes = &mut self.codes[field];
            self.dictionaries[field].encode(&batch.columns[field], texts, first, &self.counting, codes);
        }
        for (span, panes) in &mut self.panes {
            panes.clear();
            // Events come roughly by time, so most lie in the pane of the one before: no division for those.
            let (mut start, mut end) = (Timestamp(0), Timestamp(0));
            panes.extend(batch.times[run.clone()].iter().map(|&time| {
                if time < start || time >= end {
                    start = time.floor(*span);
                    end = start.plus(*span);
                }
                end
            }));
        }
        for grouping in &mut self.groupings {
            let codes: Vec<&[u32]> = grouping.fields.iter().map(|&field| self.codes[field].as_slice()).collect();
            hash_all(&self.panes[grouping.pane].1, &codes, &mut grouping.hashes);
        }
        for (view, &start) in self.views.iter_mut().zip(starts) {
            let selected = match &view.passes {
                None if start <= first => &self.counting,
                passes => {
                    let passes = |i: usize| i >= start && passes.as_ref().is_none_or(|passes| passes[i]);
                    view.selected.clear();
                    view.selected.extend(self.counting.iter().filter(|&&i| passes(i as usize)));
                    &view.selected
                }
            };
            let Grouping { pane, fields, hashes } = &self.groupings[view.grouping];
            let panes = &self.panes[*pane].1;
            let mut codes: Vec<&[u32]> = fields.iter().map(|&field| self.codes[field].as_slice()).collect();
            let states = view.view.states.iter().zip(&view.filter_of);
            let measured = states.map(|(definition, filters)| {
                let [passes, retracted] = filters.map(|filter| Some(view.filters[filter?].1.as_slice()));
                Measured { definition, batch, partition: self.partition, passes, retracted }
            });
            let measured: Vec<Measured<'_>> = measured.collect();
            let mut hashes = hashes.as_slice();
            if let Some(counted) = &mut view.counted {
                let run = Run { selected, first, hashes, codes: &codes, fields };
                let (more, all) = counted.number(&run, self.partition, &view.view, &mut self.dictionaries);
                codes.extend(more);
                hashes = all;
            }
            view.table.fold(selected, first, &Keys { panes, codes: &codes, hashes }, &measured);
        }
    }

    /// Lets the count window of view `v` go on from the ranks at its position. Does nothing to a view without one.
    pub fn count_from(&mut self, v: usize, ranks: Ranks) {
        let view = &mut self.views[v];
        view.counted = view.view.count_window.map(|records| Counted::new(records, ranks));
    }

    /// Puts in what the store holds of view `v`'s open segment; those rows count as committed.
    pub fn refill(&mut self, v: usize, rows: &Rows) {
        self.views[v].table.refill(rows, &mut self.dictionaries);
    }

    /// View `v`'s rows that changed since the last commit; they count as committed from now on.
    pub fn take_changes(&mut self, v: usize) -> Rows {
        self.views[v].table.take_changes(&mut self.dictionaries)
    }

    /// All rows of view `v`, whose segment is closed by that.
    pub fn take_all(&mut self, v: usize) -> Rows {
        let rows = self.views[v].table.take_all(&mut self.dictionaries);
        if self.views.iter().all(|view| view.table.is_empty())
            && self.dictionaries.iter().any(|d| d.size() > DICTIONARY_VALUES)
        {
            self.dictionaries.iter_mut().filter(|d| d.size() > DICTIONARY_VALUES).for_each(Dictionary::clear);
            self.views.iter_mut().filter_map(|view| view.counted.as_mut()).for_each(Counted::forget_codes);
        }
        rows
    }

    /// Must be called when the decoder starts its dictionaries anew.
    pub fn forget_texts(&mut self) {
        self.dictionaries.iter_mut().for_each(Dictionary::forget_texts);
    }
}
