//! The count windows of archived events. Days are recomputed by event time, but windows go by log order: so they are told first, file
//! after file, and kept by offset until the days that the file touches are computed.
use std::collections::BTreeMap;
use std::sync::Arc;

use seam_shared::error::{Error, Result};
use seam_shared::view::definition::{StateDefinition, StateKind, View};
use seam_shared::view::ranks::{Ranker, Ranks};

use super::Slice;
use super::decode::Spare;
use super::dictionary::Dictionary;
use super::events::Events;
use super::input::Input;

const LEVEL: i32 = 1;

/// The window of each event of a view in one file, compressed: one or two bytes an event.
#[derive(Debug)]
pub struct FileWindows {
    events: usize,
    /// The offsets, each without the one before, and then the windows.
    packed: Vec<u8>,
}

impl FileWindows {
    fn pack(offsets: &[i64], windows: &[i64]) -> Result<FileWindows> {
        let steps = offsets.iter().scan(0, |before, offset| Some(offset - std::mem::replace(before, *offset)));
        let bytes: Vec<u8> = steps.chain(windows.iter().copied()).flat_map(i64::to_le_bytes).collect();
        let packed = zstd::bulk::compress(&bytes, LEVEL).map_err(|e| Error::internal("zstd failed").because(e))?;
        Ok(FileWindows { events: offsets.len(), packed })
    }
    /// The windows of the events with these offsets.
    ///
    /// # Errors
    /// `Corrupt` if the file had no such event.
    pub fn of(&self, offsets: &[i64]) -> Result<Vec<i64>> {
        let bytes = zstd::bulk::decompress(&self.packed, self.events * 16);
        let bytes = bytes.map_err(|e| Error::internal("zstd failed").because(e))?;
        let mut numbers: Vec<i64> = bytes.as_chunks().0.iter().map(|bytes| i64::from_le_bytes(*bytes)).collect();
        let windows = numbers.split_off(self.events);
        let mut at = 0;
        numbers.iter_mut().for_each(|step| {
            at += *step;
            *step = at;
        });
        let strange = || Error::corrupt("an archive file holds other events than it did a moment ago");
        offsets
            .iter()
            .map(|offset| numbers.binary_search(offset).map(|at| windows[at]).map_err(|_| strange()))
            .collect()
    }
    /// The memory that they take.
    pub fn bytes(&self) -> usize {
        self.packed.len()
    }
}

/// Tells the windows of a view's events, partition by partition in log order.
#[derive(Debug)]
pub struct Numberer {
    /// The view without what it measures.
    keys_only: Arc<View>,
    dictionaries: Vec<Dictionary>,
    spare: Spare,
    /// By partition.
    rankers: BTreeMap<u32, Ranker>,
}

impl Numberer {
    /// Goes on from these ranks; a partition without any starts at 0. `None` for a view without a count window.
    pub fn new(view: &View, ranks: BTreeMap<u32, Ranks>) -> Option<Numberer> {
        let records = view.count_window?;
        let states = vec![StateDefinition::new(StateKind::Count, None)];
        let keys_only = Arc::new(View { states, measures: Vec::new(), ..view.clone() });
        let rankers = ranks.into_iter().map(|(number, ranks)| (number, Ranker::new(records, ranks))).collect();
        let dictionaries = keys_only.keys().iter().map(|_| Dictionary::default()).collect();
        Some(Numberer { keys_only, dictionaries, spare: Spare::default(), rankers })
    }
    /// The view to fetch inputs for: dimensions and filter are all that is read.
    pub fn view(&self) -> &Arc<View> {
        &self.keys_only
    }
    /// All times.
    pub const EVER: Slice =
        Slice { start: seam_shared::time::Timestamp(i64::MIN), end: seam_shared::time::Timestamp(i64::MAX) };
    /// The windows of a file's events; `input` is of [`Numberer::view`] and all times. To be called with the files of a partition in
    /// order.
    ///
    /// # Errors
    /// Those of the plan.
    pub fn number(&mut self, input: &Input) -> Result<FileWindows> {
        let (mut offsets, mut codes) = (Vec::new(), vec![Vec::new(); self.keys_only.keys().len()]);
        for group in 0..input.groups() {
            let (view, dictionaries) = (&self.keys_only, &mut self.dictionaries);
            let mut events = Events::read(view, input, group, Numberer::EVER, dictionaries, &mut self.spare)?;
            offsets.append(&mut events.offsets);
            codes.iter_mut().zip(&mut events.codes).for_each(|(all, more)| all.append(more));
            events.recycle(&mut self.spare);
        }
        let mut order: Vec<u32> = (0..offsets.len() as u32).collect();
        order.sort_unstable_by_key(|event| offsets[*event as usize]); // files go by the hour of events
        let records = self.keys_only.count_window.ok_or_else(|| Error::internal("a view without a count window"))?;
        let ranker = self.rankers.entry(input.partition).or_insert_with(|| Ranker::new(records, Ranks::default()));
        let dictionaries = &self.dictionaries;
        let mut key = vec![0; codes.len()];
        let mut windows = Vec::with_capacity(order.len());
        for &event in &order {
            key.iter_mut().zip(&codes).for_each(|(code, codes)| *code = codes[event as usize]);
            windows.push(ranker.window(&key, |d, code| &dictionaries[d].values()[code as usize]));
        }
        let in_order: Vec<i64> = order.iter().map(|event| offsets[*event as usize]).collect();
        FileWindows::pack(&in_order, &windows)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_are_found_again_by_offset_and_take_few_bytes() {
        // a million events of 1,000 keys in no order, windows of 100; now and then the log skips an offset
        let (mut chance, mut earlier) = (1u64, vec![0i64; 1_000]);
        let (mut offsets, mut windows) = (Vec::new(), Vec::new());
        for i in 0..1_000_000i64 {
            chance = chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let key = (chance >> 33) as usize % 1_000;
            offsets.push(7 + i + i / 1_000);
            windows.push(earlier[key] / 100);
            earlier[key] += 1;
        }
        let packed = FileWindows::pack(&offsets, &windows).unwrap();
        println!("{:.2} bytes an event", packed.bytes() as f64 / 1e6);
        assert!(packed.bytes() < 2_000_000, "{} bytes", packed.bytes());
        let asked = [7, 1_000_006 + 999, 500_000 + 7 + 500];
        assert_eq!(packed.of(&asked).unwrap(), [windows[0], windows[999_999], windows[500_000]]);
        assert!(packed.of(&[6]).is_err() && packed.of(&[7 + 1_000]).is_err(), "no event has this offset");
        assert_eq!(FileWindows::pack(&[], &[]).unwrap().of(&[]).unwrap(), [] as [i64; 0]);
    }
}
