//! The archiver under restarts, rivals and a failing store: the archive is always what one pass over the log would make.
#![allow(clippy::unwrap_used, reason = "a test may fail anywhere")]
use object_store::ObjectStore;
use object_store::memory::InMemory;
use seam_shared::clock::ManualClock;
use seam_shared::event::batch::Verdict;
use seam_shared::lake::faulty::FaultyStore;
use seam_shared::lake::verified;
use seam_shared::log::NewRecord;
use seam_shared::log::memory::MemoryLog;
use seam_shared::segment::SegmentRule;
use seam_shared::state::memory::MemoryState;
use seam_shared::state::{Progress, StateStore, ViewId, contract};
use seam_shared::view::definition::{DuplicateRule, Field};
use seam_shared::view::rows::Rows;
use seam_shared::view::value::FieldType;

use super::*;

fn source() -> Arc<Source> {
    let field = Field::new("country", vec!["country".into()], FieldType::String);
    Arc::new(Source {
        name: "clicks".into(),
        id: Some(vec!["id".into()]),
        time: vec!["time".into()],
        fields: vec![field],
        duplicates: Some(DuplicateRule { horizon: Span(40 * Span::SECOND.0), max_records: 30 }),
        segments: SegmentRule { max_events: 25, interval: Span(20 * Span::SECOND.0) },
        partitions: 1,
    })
}

fn settings() -> Settings {
    Settings { file_events: 60, chunk_events: 17, ..Settings::default() }
}

pub(crate) struct World {
    pub(crate) source: Arc<Source>,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) log: Arc<MemoryLog>,
    pub(crate) memory: Arc<dyn ObjectStore>,
    pub(crate) partition: Partition,
    appended: u64,
}

impl World {
    pub(crate) async fn new() -> World {
        let clock = Arc::new(ManualClock::at(Timestamp(1_760_000_000_000_000)));
        let log = Arc::new(MemoryLog::new(Arc::clone(&clock) as _));
        log.open("clicks", 1).await.unwrap();
        let partition = Partition::new("clicks", 0);
        World { source: source(), clock, log, memory: Arc::new(InMemory::new()), partition, appended: 0 }
    }
    /// Appends records of which some are doubled, some are no events and some leave a gap behind them.
    pub(crate) async fn append(&mut self, count: u64) {
        for _ in 0..count {
            let n = self.appended;
            self.appended += 1;
            let id = if n.is_multiple_of(5) { n.saturating_sub(3 + n % 40) } else { n };
            let time = Timestamp(1_760_000_000_000_000 - ((n * 7919) % 200_000) as i64 * Span::SECOND.0);
            let value = match n % 11 {
                3 => "{\"id\":".to_owned(),
                _ => format!(r#"{{"id":"i{id}","time":"{}","country":"c{}"}}"#, time.to_rfc3339(), n % 3),
            };
            let record = NewRecord { partition: 0, value: value.into() };
            self.log.append("clicks", vec![record]).await.unwrap();
            self.clock.advance(((n * 31) % 3) as i64 * Span::SECOND.0);
            if n.is_multiple_of(97) {
                self.log.skip(&self.partition, n % 4).unwrap();
            }
        }
    }
    pub(crate) async fn archive(&self, store: &Arc<dyn ObjectStore>) -> Result<Arc<ArchiveTable>> {
        let clock = Arc::clone(&self.clock) as Arc<dyn Clock>;
        ArchiveTable::open(Arc::clone(store), &self.source, "first", clock).await.map(Arc::new)
    }
    pub(crate) async fn archiver(&self, store: &Arc<dyn ObjectStore>) -> Result<Archiver> {
        let (log, source) = (Arc::clone(&self.log) as Arc<dyn EventLog>, Arc::clone(&self.source));
        Ok(Archiver::new(log, self.archive(store).await?, source, 0, Arc::clone(&self.clock) as _, settings()))
    }
    /// Fails unless the archive is what one pass over the log makes up to A; answers with A and the verdicts.
    async fn check(&self) -> (Offset, Vec<Verdict>) {
        let archive = self.archive(&self.memory).await.unwrap().latest().await.unwrap();
        let chunk = self.log.read(&self.partition, Offset(0), usize::MAX, usize::MAX).await.unwrap();
        let mut expected = Decoder::new(Arc::clone(&self.source)).decode(&chunk);
        Duplicates::new(self.source.duplicates).mark(&mut expected);
        let archived = archive.position(0).unwrap_or_default();
        let rows = expected.offsets.partition_point(|&offset| offset < archived);
        let mut segment = OpenSegment::at(Offset(0));
        let cuts = chunk.iter().filter_map(|r| segment.admit(self.source.segments, r.offset, r.timestamp));
        let cuts: Vec<Offset> = [Offset(0)].into_iter().chain(cuts).filter(|&cut| cut <= archived).collect();
        assert_eq!(archive.boundaries(0), if rows == 0 { Vec::new() } else { cuts });
        let (mut offsets, mut verdicts, mut counting) = (Vec::new(), Vec::new(), 0);
        for file in &archive.files {
            let bytes = verified::get(self.memory.as_ref(), &file.path, &file.blake3).await.unwrap();
            let ids = archive_file::read_ids(&bytes).unwrap();
            offsets.extend(ids.offsets);
            verdicts.extend(ids.verdicts);
            counting += file.days.values().sum::<u64>() as usize;
        }
        assert_eq!(offsets, expected.offsets[..rows]);
        assert_eq!(verdicts, expected.verdicts[..rows]);
        assert_eq!(counting, verdicts.iter().filter(|&&v| v == Verdict::Counts).count());
        (archived, verdicts)
    }
}

#[tokio::test]
async fn what_is_archived_is_one_pass_over_the_log() {
    let mut world = World::new().await;
    world.append(700).await;
    let mut archiver = world.archiver(&world.memory).await.unwrap();
    let archived = archiver.drain().await.unwrap();
    let (position, verdicts) = world.check().await;
    assert_eq!(archived, position);
    assert!(verdicts.len() > 650);
    for verdict in [Verdict::Counts, Verdict::Duplicate, Verdict::Invalid] {
        assert!(verdicts.iter().filter(|&&v| v == verdict).count() > 20, "{verdict:?}");
    }
    assert_eq!(archiver.step().await.unwrap(), Step::Idle);
}

#[tokio::test]
async fn rivals_restarts_and_lost_replies_change_nothing() {
    for seed in 0..40u64 {
        let mut world = World::new().await;
        let faulty = Arc::new(FaultyStore::new(Arc::clone(&world.memory), seed, 60));
        let store = Arc::clone(&faulty) as Arc<dyn ObjectStore>;
        let mut archivers: [Option<Archiver>; 2] = [None, None];
        for turn in 0..220u64 {
            if turn % 3 == 0 {
                world.append(8).await;
            }
            let dice = (seed + 1).wrapping_mul(turn + 7).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
            let slot = &mut archivers[(dice % 2) as usize];
            if dice % 31 == 0 {
                *slot = None; // a crash
            }
            if slot.is_none() {
                *slot = world.archiver(&store).await.ok();
            }
            if let Some(archiver) = slot {
                match archiver.step().await {
                    Ok(_) => {}
                    Err(error) => assert_eq!(error.kind(), Kind::Unavailable, "seed {seed} turn {turn}: {error}"),
                }
            }
        }
        faulty.release().await;
        let (archived, _) = world.check().await;
        assert!(archived > Offset(100), "seed {seed} came to {archived}");
        world.archiver(&world.memory).await.unwrap().drain().await.unwrap();
        assert!(world.check().await.1.len() > 500, "seed {seed}");
    }
}

#[tokio::test]
async fn a_small_closed_segment_waits_for_its_delay_only() {
    let mut world = World::new().await;
    world.append(30).await;
    let mut archiver = world.archiver(&world.memory).await.unwrap();
    while archiver.step().await.unwrap() != Step::Idle {}
    assert_eq!(world.check().await.0, Offset(0));
    world.clock.advance(settings().delay_max.0);
    assert!(matches!(archiver.step().await.unwrap(), Step::Archived(_)));
    assert!(world.check().await.0 > Offset(0));
    assert_eq!(archiver.step().await.unwrap(), Step::Idle);
}

#[tokio::test]
async fn records_trimmed_before_they_were_archived_are_an_error() {
    let mut world = World::new().await;
    world.append(300).await;
    let mut archiver = world.archiver(&world.memory).await.unwrap();
    let archived = archiver.drain().await.unwrap();
    world.append(300).await;
    world.log.trim(&world.partition, Offset(archived.0 + 100)).await.unwrap();
    let mut next = world.archiver(&world.memory).await.unwrap();
    let error = next.step().await.unwrap_err();
    assert!(error.kind() == Kind::NotFound && error.message().contains("clicks/0"), "{error}");
}

#[tokio::test]
async fn a_log_that_lost_what_was_folded_but_not_archived_yet_is_found_out() {
    let mut world = World::new().await;
    world.append(300).await;
    let archived = world.archiver(&world.memory).await.unwrap().drain().await.unwrap();
    let (state, view) = (Arc::new(MemoryState::default()), ViewId::from("all@1"));
    let witness = Witness::new(state.clone(), vec![view.clone()]);
    let mut running = world.archiver(&world.memory).await.unwrap().with_witness(witness.clone());
    assert!(running.step().await.is_ok(), "nothing is folded yet");

    let (_, end) = world.log.bounds(&world.partition).await.unwrap();
    let chunk = world.log.read(&world.partition, archived, usize::MAX, usize::MAX).await.unwrap();
    let last = chunk.iter().last().map(|record| Anchor::of(&record));
    assert!(last.is_some_and(|last| last.offset > archived), "something is folded beyond {archived}");
    state.claim(&world.partition, &view, archived).await.unwrap();
    let progress = Progress { anchor: last, ..contract::progress(archived.0, end.0) };
    let folded = contract::commit(&view, archived.0, progress, vec![(archived.0, None, Rows::default())]);
    state.commit(&world.partition, vec![folded]).await.unwrap();
    world.archiver(&world.memory).await.unwrap().with_witness(witness.clone()).step().await.unwrap();

    // The archive's own last record is there, but the next ones are others than those that were folded.
    world.log.truncate(&world.partition, Offset(archived.0 + 1)).unwrap();
    for grown in [false, true] {
        if grown {
            world.append(200).await;
        }
        let mut next = world.archiver(&world.memory).await.unwrap().with_witness(witness.clone());
        for archiver in [&mut running, &mut next] {
            let error = archiver.drain().await.unwrap_err();
            assert_eq!(error.kind(), Kind::Corrupt, "grown: {grown}: {error}");
        }
        let error = next.step().await.unwrap_err();
        assert!(error.message().contains("clicks/0 was truncated or rewritten"), "{error}");
    }
    let table = world.archive(&world.memory).await.unwrap().latest().await.unwrap();
    assert_eq!(table.position(0), Some(archived), "nothing that replaced it was archived");
    // Once the state is folded anew from the log as it is now, it goes on.
    state.forget(&world.partition, &view).await.unwrap();
    assert!(next_archived(&world, witness).await > archived);
}

async fn next_archived(world: &World, witness: Witness) -> Offset {
    world.archiver(&world.memory).await.unwrap().with_witness(witness).drain().await.unwrap()
}

#[tokio::test]
async fn a_log_that_was_truncated_or_rewritten_is_found_out() {
    let mut world = World::new().await;
    world.append(300).await;
    let archived = world.archiver(&world.memory).await.unwrap().drain().await.unwrap();
    world.archiver(&world.memory).await.unwrap().step().await.unwrap();
    // A log that ends where the archive ends lost nothing; one record less, and the archive knows more than the log.
    world.log.truncate(&world.partition, archived).unwrap();
    world.archiver(&world.memory).await.unwrap().step().await.unwrap();
    world.log.truncate(&world.partition, Offset(archived.0 - 1)).unwrap();
    for grown in [false, true] {
        if grown {
            world.append(200).await;
        }
        let error = world.archiver(&world.memory).await.unwrap().step().await.unwrap_err();
        assert_eq!(error.kind(), Kind::Corrupt, "grown: {grown}: {error}");
        assert!(error.message().contains("clicks/0 was truncated or rewritten"), "{error}");
    }
}

fn patient(settings: Settings) -> Settings {
    Settings { tail_after: Some(SILENCE), ..settings }
}

impl World {
    pub(crate) async fn patient(&self, store: &Arc<dyn ObjectStore>) -> Result<Archiver> {
        let archiver = self.archiver(store).await?;
        Ok(Archiver { settings: patient(archiver.settings), ..archiver })
    }
    /// Up to where the lake holds everything: what a retention may forget.
    async fn held(&self) -> Offset {
        let table = self.archive(&self.memory).await.unwrap();
        let archived = table.latest().await.unwrap().position(0).unwrap_or_default();
        let log = TieredLog::new(Arc::clone(&self.log) as _, BTreeMap::from([("clicks".to_owned(), table)]));
        log.held(&self.partition, archived).await.unwrap()
    }
    /// All that is archived: boundaries, and each record with its verdict.
    async fn archived(&self) -> (Vec<Offset>, Vec<(Offset, Timestamp, Vec<u8>, Verdict)>) {
        let archive = self.archive(&self.memory).await.unwrap().latest().await.unwrap();
        let mut all = Vec::new();
        for file in &archive.files {
            let bytes = verified::get(self.memory.as_ref(), &file.path, &file.blake3).await.unwrap();
            let (records, ids) = (archive_file::read_records(&bytes).unwrap(), archive_file::read_ids(&bytes).unwrap());
            assert_eq!(records.len(), ids.verdicts.len());
            let rows = records.iter().zip(ids.verdicts);
            all.extend(rows.map(|(r, verdict)| (r.offset, r.timestamp, r.value.to_vec(), verdict)));
        }
        (archive.boundaries(0), all)
    }
    async fn tails(&self) -> usize {
        let objects: Vec<_> = futures::TryStreamExt::try_collect(self.memory.list(None)).await.unwrap();
        objects.iter().filter(|object: &&object_store::ObjectMeta| object.location.as_ref().contains("_tails")).count()
    }
}

/// Two worlds whose logs are alike; the second one's forgets nothing.
async fn twins() -> [World; 2] {
    [World::new().await, World::new().await]
}

async fn append_to_both(worlds: &mut [World; 2], count: u64) {
    for world in worlds {
        world.append(count).await;
    }
}

async fn fall_silent(worlds: &[World; 2]) {
    worlds.iter().for_each(|world| world.clock.advance(SILENCE.0));
}

#[tokio::test]
async fn a_silent_source_loses_nothing_to_a_retention_that_is_shorter() {
    for first in [10, 300] {
        let mut worlds = twins().await;
        append_to_both(&mut worlds, first).await;
        let world = &worlds[0];
        let mut archiver = world.patient(&world.memory).await.unwrap();
        let archived = archiver.drain().await.unwrap();
        let end = world.log.bounds(&world.partition).await.unwrap().1;
        assert_eq!((world.held().await, world.tails().await), (archived, 0), "it may speak yet");
        assert!(archived < end);
        fall_silent(&worlds).await;
        let world = &worlds[0];
        assert_eq!(archiver.step().await.unwrap(), Step::Idle);
        assert_eq!((world.held().await, world.tails().await), (end, 1));
        world.log.trim(&world.partition, end).await.unwrap();
        // Whoever begins anew has all of it, whether the segment has ended meanwhile or not, and writes nothing twice.
        for count in [0, 1, 70] {
            append_to_both(&mut worlds, count).await;
            let world = &worlds[0];
            let mut next = world.patient(&world.memory).await.unwrap();
            while next.step().await.unwrap() != Step::Idle {}
            fall_silent(&worlds).await;
            assert!(worlds[0].held().await >= end, "{count} more");
        }
        append_to_both(&mut worlds, 60).await;
        for world in &worlds {
            world.patient(&world.memory).await.unwrap().drain().await.unwrap();
        }
        worlds[1].check().await;
        let [found, expected] = [worlds[0].archived().await, worlds[1].archived().await];
        assert_eq!(found, expected, "after {first} events");
        assert_eq!(worlds[0].tails().await, 0, "what is archived has no tail");
    }
}

#[tokio::test]
async fn a_tail_is_for_logs_that_forget_by_themselves() {
    let mut world = World::new().await;
    world.append(30).await;
    let mut archiver = world.archiver(&world.memory).await.unwrap();
    archiver.drain().await.unwrap();
    world.clock.advance(SILENCE.0 * 100);
    assert_eq!(archiver.step().await.unwrap(), Step::Idle);
    assert_eq!(world.tails().await, 0);
}

#[tokio::test]
async fn silence_retention_rivals_and_lost_replies_change_nothing() {
    let mut forgotten = 0;
    for seed in 0..40u64 {
        let mut worlds = twins().await;
        let faulty = Arc::new(FaultyStore::new(Arc::clone(&worlds[0].memory), seed, 50));
        let store = Arc::clone(&faulty) as Arc<dyn ObjectStore>;
        let mut archivers: [Option<Archiver>; 2] = [None, None];
        for turn in 0..260u64 {
            let dice = (seed + 1).wrapping_mul(turn + 7).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
            match dice / 64 % 9 {
                0..3 => append_to_both(&mut worlds, 1 + dice % 9).await,
                3 => fall_silent(&worlds).await,
                4 => {
                    let (start, held) =
                        (worlds[0].log.bounds(&worlds[0].partition).await.unwrap().0, worlds[0].held().await);
                    let archive = worlds[0].archive(&worlds[0].memory).await.unwrap().latest().await.unwrap();
                    forgotten += u64::from(held > start.max(archive.position(0).unwrap_or_default()));
                    worlds[0].log.trim(&worlds[0].partition, held).await.unwrap();
                }
                _ => {}
            }
            let slot = &mut archivers[(dice % 2) as usize];
            if dice % 23 == 0 {
                *slot = None; // a crash
            }
            if slot.is_none() {
                *slot = worlds[0].patient(&store).await.ok();
            }
            let Some(archiver) = slot else { continue };
            for _ in 0..1 + dice % 5 {
                match archiver.step().await {
                    Ok(_) => {}
                    Err(error) => assert_eq!(error.kind(), Kind::Unavailable, "seed {seed} turn {turn}: {error}"),
                }
            }
        }
        faulty.release().await;
        append_to_both(&mut worlds, 60).await;
        for world in &worlds {
            world.patient(&world.memory).await.unwrap().drain().await.unwrap();
        }
        let [found, expected] = [worlds[0].archived().await, worlds[1].archived().await];
        assert_eq!(found, expected, "seed {seed}");
        assert!(worlds[0].patient(&worlds[0].memory).await.unwrap().step().await.is_ok());
        assert_eq!(worlds[0].tails().await, 0, "seed {seed}");
    }
    assert!(forgotten > 40, "an open segment was forgotten {forgotten} times");
}

#[tokio::test]
async fn what_the_log_forgot_behind_a_tail_is_told_and_not_passed_over() {
    let mut world = World::new().await;
    world.append(10).await;
    let mut archiver = world.patient(&world.memory).await.unwrap();
    archiver.drain().await.unwrap();
    world.clock.advance(SILENCE.0);
    archiver.step().await.unwrap();
    let (kept, archive) = (world.held().await, world.archive(&world.memory).await.unwrap());
    assert_eq!((kept, world.tails().await), (world.log.bounds(&world.partition).await.unwrap().1, 1));
    // No archiver is at work while more comes and is forgotten.
    world.append(10).await;
    let start = world.log.bounds(&world.partition).await.unwrap().1;
    world.append(60).await;
    world.log.trim(&world.partition, start).await.unwrap();
    let mut next = world.patient(&world.memory).await.unwrap();
    for _ in 0..2 {
        let error = next.drain().await.unwrap_err();
        let expected = format!("clicks/0 no longer holds {kept}");
        assert!(error.kind() == Kind::NotFound && error.message().contains(&expected), "{error}");
    }
    assert_eq!((archive.latest().await.unwrap().position(0), world.tails().await), (None, 1));
}

#[tokio::test]
async fn of_two_archivers_the_one_that_began_later_begins_again_with_the_others_tail() {
    for forgotten in [false, true] {
        let mut worlds = twins().await;
        append_to_both(&mut worlds, 10).await;
        let mut early = worlds[0].patient(&worlds[0].memory).await.unwrap();
        early.step().await.unwrap();
        worlds[0].log.trim(&worlds[0].partition, Offset(4)).await.unwrap();
        let mut late = worlds[0].patient(&worlds[0].memory).await.unwrap();
        late.step().await.unwrap();
        fall_silent(&worlds).await;
        // The late one's tail is replaced by the early one's, which holds more.
        for (archiver, from) in [(&mut late, 4), (&mut early, 0)] {
            assert_eq!(archiver.step().await.unwrap(), Step::Idle);
            let table = worlds[0].archive(&worlds[0].memory).await.unwrap();
            let newest = table.tail(0, None).await.unwrap().unwrap();
            assert_eq!(table.read_tail(&newest).await.unwrap().from, Offset(from));
        }
        if forgotten {
            let held = worlds[0].held().await;
            worlds[0].log.trim(&worlds[0].partition, held).await.unwrap();
        }
        append_to_both(&mut worlds, 90).await;
        late.drain().await.unwrap();
        worlds[1].patient(&worlds[1].memory).await.unwrap().drain().await.unwrap();
        let [found, expected] = [worlds[0].archived().await, worlds[1].archived().await];
        assert_eq!(found, expected, "forgotten: {forgotten}");
        worlds[1].check().await;
    }
}

#[tokio::test]
async fn a_slow_source_loses_nothing_to_a_retention_that_is_shorter() {
    let mut world = World::new().await;
    world.source = Arc::new(Source {
        segments: SegmentRule { interval: Span::DAY, ..world.source.segments },
        ..(*world.source).clone()
    });
    let mut archiver = world.patient(&world.memory).await.unwrap();
    let mut before = 0;
    for round in 0..20 {
        world.append(1).await;
        assert!(matches!(archiver.step().await.unwrap(), Step::Read(1)), "round {round}");
        assert_eq!(archiver.step().await.unwrap(), Step::Idle);
        let (end, held) = (world.log.bounds(&world.partition).await.unwrap().1, world.held().await);
        assert!(round < 3 || held.0 + 3 >= end.0, "{held} of {end} in round {round}");
        world.log.trim(&world.partition, held).await.unwrap();
        assert!(world.tails().await <= before + 1 && world.tails().await <= 1 + round / 2, "round {round}");
        before = world.tails().await;
        // Far less than silence lies between two events.
        world.clock.advance(SILENCE.0 / 2 + 1);
    }
    assert!(before > 5, "{before} tails");
}
