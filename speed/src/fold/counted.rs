//! The two dimensions that a count window adds to a run of events: the partition, and the window of each event of the view.
use std::num::NonZeroU64;

use seam_shared::view::definition::View;
use seam_shared::view::ranks::{Ranker, Ranks};
use seam_shared::view::value::Value;

use super::dictionary::Dictionary;
use super::keys::hash_more;

/// A count window at work. Must see every event of the view, in log order.
#[derive(Debug)]
pub struct Counted {
    ranker: Ranker,
    /// Scratch, as long as the run.
    partitions: Vec<u32>,
    windows: Vec<u32>,
    hashes: Vec<u64>,
}

/// A run of events: those of the view among them, and the keys of all by place in the run.
#[derive(Debug)]
pub struct Run<'a> {
    /// The view's events.
    pub selected: &'a [u32],
    /// The first event of the run.
    pub first: usize,
    /// The hash of each event's pane and codes.
    pub hashes: &'a [u64],
    /// By dimension that is a field: the code of each.
    pub codes: &'a [&'a [u32]],
    /// Those fields.
    pub fields: &'a [usize],
}

/// How many dictionaries a view needs.
pub fn dictionaries(view: &View) -> usize {
    if view.count_window.is_some() { view.source.fields.len() + 2 } else { 0 }
}

/// The dictionary of a dimension: its field's, or one of the two behind those of all fields.
pub fn dictionary_of(view: &View, d: usize) -> usize {
    d.checked_sub(view.keys().len()).map_or(view.dimensions[d].field, |more| view.source.fields.len() + more)
}

impl Counted {
    /// Goes on from the ranks below the view's next event.
    pub fn new(records: NonZeroU64, ranks: Ranks) -> Counted {
        let ranker = Ranker::new(records, ranks);
        Counted { ranker, partitions: Vec::new(), windows: Vec::new(), hashes: Vec::new() }
    }

    /// The columns of both dimensions and the hashes of all keys with them. What they are for events that are not selected is
    /// meaningless.
    pub fn number(
        &mut self,
        run: &Run<'_>,
        partition: u32,
        view: &View,
        dictionaries: &mut [Dictionary],
    ) -> ([&[u32]; 2], &[u64]) {
        let of_partition = view.source.fields.len();
        let partition = dictionaries[of_partition].code(&Value::Int(i64::from(partition)));
        self.partitions.clear();
        self.partitions.resize(run.hashes.len(), partition);
        self.windows.clear();
        self.windows.resize(run.hashes.len(), 0);
        let mut key = vec![0; run.codes.len()];
        for &event in run.selected {
            let i = event as usize - run.first;
            key.iter_mut().zip(run.codes).for_each(|(code, codes)| *code = codes[i]);
            let window = self.ranker.window(&key, |d, code| dictionaries[run.fields[d]].value(code));
            self.windows[i] = dictionaries[of_partition + 1].code(&Value::Int(window));
        }
        let columns = [self.partitions.as_slice(), self.windows.as_slice()];
        self.hashes.clear();
        self.hashes.extend_from_slice(run.hashes);
        hash_more(&mut self.hashes, &columns);
        (columns, &self.hashes)
    }

    /// Must be called when a dictionary was cleared.
    pub fn forget_codes(&mut self) {
        self.ranker.forget_codes();
    }
}
