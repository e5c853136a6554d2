//! The groups of a stretch of time while its events come in, file by file.
//!
//! Pane and dimensions become integers: each dimension's value a code, all but the last code together the number of their
//! combination, that and the last code a 64-bit key. Events come almost in the order of time, so that they are dealt out to their
//! panes in runs; a slice whose events have all come can be taken out.
use std::sync::Arc;

use seam_shared::error::{Error, Result};
use seam_shared::time::{Span, Timestamp};
use seam_shared::view::definition::{StateKind, View};
use seam_shared::view::rows::{Dimension, Rows, States};

use super::Slice;
use super::decode::Spare;
use super::dictionary::Dictionary;
use super::events::Events;
use super::index::Numbered;
use super::input::Input;
use super::order::{Order, pair};
use super::pane::{Pane, Table, Waiting};
use super::values::{Place, VALUES_A_ROW, Values, needs_places};
use super::windows::FileWindows;

/// Events may wait for their pane's end in so much memory.
const WAITING_BYTES: usize = 48 << 20;
/// From so many events on that wait, and so many for each of its groups, a pane is folded before it is taken.
const EARLY_EVENTS: usize = 1 << 19;
const EARLY_EVENTS_A_GROUP: usize = 8;
/// The same where there are few groups for certain.
const FEW_EVENTS: usize = 1 << 12;
/// The newest pane may begin in the memory of others, which has room for so many events.
const SPARE_EVENTS: usize = 1 << 21;
/// Rows that are handed out at a time, but for the last; whole panes.
const PIECE_ROWS: usize = 32_768;

/// Groups of the panes in a stretch of time. Takes memory for the groups that are in it, and a bounded amount for events.
#[derive(Debug)]
pub struct Fold {
    view: Arc<View>,
    kinds: Vec<StateKind>,
    span: Slice,
    dictionaries: Vec<Dictionary>,
    /// From the second dimension on, the combinations of codes up to it, but for those of all dimensions: a pane's keys.
    combinations: Vec<Numbered<8>>,
    order: Order,
    table: Table,
    /// The panes that have events, numbered from the span's start: a span may have a million panes more than events.
    numbers: Numbered<8>,
    /// In the same order; `None` for those that were taken.
    panes: Vec<Option<Pane>>,
    /// Memory for what is read next, for the keys of events and for the newest pane.
    spare: Spare,
    spare_keys: Vec<u64>,
    spare_waiting: Vec<Waiting>,
}

impl Fold {
    /// No groups yet of the panes in `span`.
    pub fn new(view: Arc<View>, span: Slice) -> Fold {
        Fold {
            kinds: view.kinds(),
            span,
            dictionaries: view.dimensions.iter().map(|_| Dictionary::default()).collect(),
            combinations: (2..view.dimensions.len()).map(|_| Numbered::default()).collect(),
            order: Order::default(),
            table: Table::default(),
            numbers: Numbered::default(),
            panes: Vec::new(),
            spare: Spare::default(),
            spare_keys: Vec::new(),
            spare_waiting: Vec::new(),
            view,
        }
    }
    /// Begins with groups of an earlier run: of them those whose panes are in the span. To be called before any event is added, and
    /// with each group once.
    pub fn begin(&mut self, rows: &Rows) {
        let codes: Vec<Vec<u32>> = rows
            .dimensions
            .iter()
            .zip(&mut self.dictionaries)
            .map(|(dimension, dictionary)| dimension.values.iter().map(|value| dictionary.value(value)).collect())
            .collect();
        let mut from = 0;
        for run in rows.panes.chunk_by(|a, b| a == b) {
            let range = from..from + run.len();
            from = range.end;
            let start = run[0].minus(self.view.pane);
            if start < self.span.start || start >= self.span.end {
                continue;
            }
            let mut keys = vec![0; run.len()];
            for (i, (dimension, codes)) in rows.dimensions.iter().zip(&codes).enumerate() {
                let of_run = dimension.codes[range.clone()].iter().map(|code| codes[*code as usize]);
                self.append_codes(i, of_run, &mut keys);
            }
            let picks: Vec<u32> = range.map(|row| row as u32).collect();
            let view = Arc::clone(&self.view);
            let pane = self.pane(start, &view);
            pane.keys.append(&mut keys);
            for (mine, more) in pane.states.iter_mut().zip(&rows.states) {
                append(mine, &mut more.gather(&picks));
            }
        }
    }
    /// Adds the events of a file that fall into the span and count. `windows` are those of the file, if the view has a count window.
    ///
    /// # Errors
    /// `Corrupt` if the file is not of the view's source, `Internal` if Polars refuses the plan.
    pub fn add(&mut self, input: &Input, windows: Option<&FileWindows>) -> Result<()> {
        let view = Arc::clone(&self.view);
        let dimensions = view.keys().len();
        for group in 0..input.groups() {
            let dictionaries = &mut self.dictionaries[..dimensions];
            let events = Events::read(&view, input, group, self.span, dictionaries, &mut self.spare)?;
            let keys = self.keys(&events, windows, input.partition)?;
            let places = if needs_places(&view) {
                Place::all(&events.times, input.partition, &events.offsets)
            } else {
                Vec::new()
            };
            self.deal(&events.times, &keys, &events.values, &places)?;
            events.recycle(&mut self.spare);
            self.spare_keys = keys;
            self.fold_early(&view);
        }
        Ok(())
    }
    /// Takes out the panes in `slice`, a part of the span, and hands their rows out in canonical order, piece by piece. Equal groups
    /// come in equal pieces.
    ///
    /// # Errors
    /// Those of `each`.
    pub fn take(&mut self, slice: Slice, mut each: impl FnMut(&Rows) -> Result<()>) -> Result<()> {
        let number = |time: Timestamp| ((time.0 - self.span.start.0) / self.view.pane.0) as u64;
        let within = number(slice.start)..number(slice.end);
        let numbers = self.numbers.keys().iter().copied().zip(0..);
        let mut places: Vec<(u64, usize)> = numbers.filter(|(number, _)| within.contains(number)).collect();
        places.sort_unstable();
        let mut panes: Vec<(u64, Pane)> = Vec::new();
        for (number, place) in places {
            panes.extend(self.panes[place].take().map(|pane| (number, pane)));
        }
        let keys = panes.iter().flat_map(|(_, pane)| pane.all_keys());
        self.order.update(&self.dictionaries, &self.combinations, keys);
        let (mut rows, mut all) = (Rows::empty(self.view.dimensions.len(), &self.kinds), Vec::new());
        for (number, mut pane) in panes {
            pane.finish(&self.view, &self.order, &mut self.table);
            all.append(&mut pane.keys);
            let ends = self.span.start.plus(Span((number as i64 + 1) * self.view.pane.0));
            rows.panes.resize(all.len(), ends);
            rows.states.iter_mut().zip(pane.states).for_each(|(all, mut more)| append(all, &mut more));
            keep(pane.waiting, &mut self.spare_waiting);
            if all.len() >= PIECE_ROWS {
                self.name(&mut all, &mut rows);
                each(&rows)?;
                clear(&mut rows);
            }
        }
        if !rows.is_empty() {
            self.name(&mut all, &mut rows);
            each(&rows)?;
        }
        Ok(())
    }

    /// The key of each event within its pane.
    fn keys(&mut self, events: &Events, windows: Option<&FileWindows>, partition: u32) -> Result<Vec<u64>> {
        let mut keys = std::mem::take(&mut self.spare_keys);
        keys.clear();
        match events.codes.as_slice() {
            [] => keys.resize(events.times.len(), 0),
            [only] => keys.extend(only.iter().map(|code| u64::from(*code))),
            [first, second, ..] => keys.extend(first.iter().zip(second).map(|(first, second)| pair(*first, *second))),
        }
        for (i, codes) in events.codes.iter().enumerate().skip(2) {
            self.append_codes(i, codes.iter().copied(), &mut keys);
        }
        if self.view.count_window.is_some() {
            self.number(&events.offsets, windows, partition, &mut keys)?;
        }
        Ok(keys)
    }
    /// Lets keys go on with the codes of dimension `i`.
    fn append_codes(&mut self, i: usize, codes: impl Iterator<Item = u32>, keys: &mut [u64]) {
        if i >= 2 {
            let combinations = &mut self.combinations[i - 2];
            keys.iter_mut().zip(codes).for_each(|(key, code)| *key = pair(combinations.number(*key), code));
        } else {
            keys.iter_mut().zip(codes).for_each(|(key, code)| *key = pair(*key as u32, code));
        }
    }
    /// Lets keys go on with the two dimensions of a count window.
    fn number(
        &mut self,
        offsets: &[i64],
        windows: Option<&FileWindows>,
        partition: u32,
        keys: &mut [u64],
    ) -> Result<()> {
        let windows = windows.ok_or_else(|| Error::internal("the count windows of a file are not known"))?;
        let first = self.view.keys().len();
        let partition = self.dictionaries[first].integer(i64::from(partition));
        self.append_codes(first, std::iter::repeat(partition), keys);
        let mut codes = Vec::with_capacity(offsets.len());
        for window in windows.of(offsets)? {
            codes.push(self.dictionaries[first + 1].integer(window));
        }
        self.append_codes(first + 1, codes.into_iter(), keys);
        Ok(())
    }
    /// The pane that starts at a time within the span.
    fn pane(&mut self, start: Timestamp, view: &View) -> &mut Pane {
        let number = self.numbers.number(((start.0 - self.span.start.0) / view.pane.0) as u64) as usize;
        if number == self.panes.len() {
            self.panes.push(None);
        }
        let is_newest = number + 1 == self.panes.len(); // few events come to the others
        let pane = self.panes[number].get_or_insert_with(|| Pane::new(view));
        if is_newest
            && pane.waiting.room() == 0
            && let Some(spare) = self.spare_waiting.pop()
        {
            pane.waiting = spare;
        }
        pane
    }
    /// Deals the events out to their panes.
    fn deal(&mut self, times: &[i64], keys: &[u64], values: &[Option<Values>], places: &[Place]) -> Result<()> {
        let (start, length) = (self.span.start.0, self.view.pane.0);
        let view = Arc::clone(&self.view);
        let mut from = 0;
        while let Some(time) = times.get(from) {
            if *time < start || *time >= self.span.end.0 {
                return Err(strange());
            }
            let first = time - (time - start) % length;
            let pane = first..first + length;
            let run = times[from..].iter().position(|time| !pane.contains(time)).unwrap_or(times.len() - from);
            let pane = self.pane(Timestamp(first), &view);
            pane.extend(keys, values, places, &(from..from + run));
            from += run;
        }
        Ok(())
    }
    /// Folds panes before they are taken: those in which so many events wait that it costs little beside them, and all if too many wait.
    /// Their memory goes to panes that begin: it is still in the processor's caches.
    fn fold_early(&mut self, view: &View) {
        let open = || self.panes.iter().flatten();
        let all = open().map(|pane| pane.waiting.bytes()).sum::<usize>() > WAITING_BYTES;
        let pays = |pane: &Pane, order: &Order| {
            let (waiting, groups) = (pane.waiting.count(), pane.keys.len());
            let enough = order.end().saturating_mul(VALUES_A_ROW as u64) as usize;
            waiting >= EARLY_EVENTS.max(EARLY_EVENTS_A_GROUP * groups) || waiting >= FEW_EVENTS.max(enough)
        };
        if !all && !open().any(|pane| pays(pane, &self.order)) {
            return;
        }
        self.order.update(&self.dictionaries, &self.combinations, open().flat_map(Pane::all_keys));
        for pane in self.panes.iter_mut().flatten().filter(|pane| all || pays(pane, &self.order)) {
            pane.fold(view, &self.order, &mut self.table);
            keep(std::mem::replace(&mut pane.waiting, Waiting::new(view)), &mut self.spare_waiting);
        }
    }
    /// Turns keys back into the values that they stand for.
    fn name(&self, keys: &mut Vec<u64>, rows: &mut Rows) {
        for (d, dimension) in rows.dimensions.iter_mut().enumerate().rev() {
            dimension.codes.clear();
            dimension.codes.extend(keys.iter().map(|key| *key as u32));
            keys.iter_mut().for_each(|key| *key >>= 32);
            if d >= 2 {
                let combinations = self.combinations[d - 2].keys();
                keys.iter_mut().for_each(|key| *key = combinations[*key as usize]);
            }
            spell(dimension, self.dictionaries[d].values());
        }
        keys.clear();
    }
}

/// Keeps memory for panes that begin, if it is worth it and not too much.
fn keep(waiting: Waiting, spare: &mut Vec<Waiting>) {
    if waiting.room() >= FEW_EVENTS && spare.iter().chain([&waiting]).map(Waiting::room).sum::<usize>() <= SPARE_EVENTS
    {
        spare.push(waiting);
    }
}

/// Gives the codes their values: all of a small dictionary, else those in use.
fn spell(dimension: &mut Dimension, values: &[seam_shared::view::value::Value]) {
    if values.len() <= dimension.codes.len() {
        // most often it has not grown since the rows before
        if dimension.values.len() < values.len() {
            dimension.values = values.to_vec();
        }
        return;
    }
    let mut used = dimension.codes.clone();
    used.sort_unstable();
    used.dedup();
    dimension.values = used.iter().map(|&code| values[code as usize].clone()).collect();
    dimension.codes.iter_mut().for_each(|code| *code = used.partition_point(|used| used < code) as u32);
}

fn append(all: &mut States, more: &mut States) {
    match (all, more) {
        (States::Count(all), States::Count(more)) => all.append(more),
        (States::Fixed(all), States::Fixed(more)) => all.append(more),
        (States::Float(all), States::Float(more)) => all.append(more),
        (States::Partial(all), States::Partial(more)) => all.append(more),
        (States::Count(_) | States::Fixed(_) | States::Float(_) | States::Partial(_), _) => {
            debug_assert!(false, "state columns of one view have one kind");
        }
    }
}

fn clear(rows: &mut Rows) {
    rows.panes.clear();
    for states in &mut rows.states {
        match states {
            States::Count(all) => all.clear(),
            States::Fixed(all) => all.clear(),
            States::Float(all) => all.clear(),
            States::Partial(all) => all.clear(),
        }
    }
}

fn strange() -> Error {
    Error::corrupt("an archive file holds other times than its table says")
}
