//! Keyed views' files: each key is found, alone, from few bytes that are all verified; and the whole is what it would be by pane.
use std::sync::Arc;

use object_store::ObjectStoreExt;
use object_store::memory::InMemory;
use seam_shared::clock::ManualClock;
use seam_shared::error::Kind;
use seam_shared::lake::counting::CountingStore;
use seam_shared::lake::view_file::by_key::{KeyedFile, Slice, Wanted};
use seam_shared::lake::view_file::{self, Writer};
use seam_shared::lake::views::{ViewFile, ViewTable};
use seam_shared::time::{Span, Timestamp};
use seam_shared::view::definition::View;
use seam_shared::view::groups::Groups;
use seam_shared::view::rows::Rows;
use seam_shared::view::value::Value;

use crate::samples::{Random, rows, told, view};

const ALL: (Timestamp, Timestamp) = (Timestamp(i64::MIN), Timestamp(i64::MAX));

/// Rows of the sample view in canonical form, each pane and key once.
fn canonical(seed: u64, count: usize) -> Rows {
    let view = view();
    let mut groups = Groups::new(view.dimensions.len(), &view.kinds());
    groups.merge(&rows(seed, count, seed));
    groups.into_rows()
}

struct Stored {
    view: Arc<View>,
    store: Arc<CountingStore>,
    file: ViewFile,
}

async fn stored(view: View, rows: &Rows) -> Stored {
    let view = Arc::new(View { keyed: true, ..view });
    let store = Arc::new(CountingStore::new(Arc::new(InMemory::new())));
    let clock = Arc::new(ManualClock::at(Timestamp(0)));
    let table = ViewTable::new(store.clone(), view.clone(), clock);
    let file = table.put(rows, Timestamp::MIN, Timestamp::MAX).await.unwrap();
    assert_eq!(told(&table.get(&file).await.unwrap()), told(rows), "whole, it is what was written");
    Stored { view, store, file }
}

/// The rows of `all` that are looked for, by key and then by pane.
fn expected(all: &Rows, keys: &[Slice], (after, until): (Timestamp, Timestamp)) -> Vec<String> {
    let counts = |row: &u32| {
        let row = *row as usize;
        let pane = all.panes[row];
        after < pane && pane <= until && keys.iter().all(|(d, values)| values.contains(all.value(*d, row)))
    };
    let picks: Vec<u32> = (0..all.len() as u32).filter(counts).collect();
    let mut found = all.gather(&picks);
    found.sort_by_key();
    told(&found).iter().map(|row| format!("{row:?}")).collect()
}

#[tokio::test]
async fn every_slice_of_every_type_finds_its_rows_and_no_others() {
    for (seed, count) in [(1, 0), (2, 1), (3, 5_000), (4, 20_000)] {
        let all = canonical(seed, count);
        let Stored { view, store, file } = stored(view(), &all).await;
        let keyed = KeyedFile::open(store.as_ref(), &view, &file).await.unwrap();
        assert_eq!(keyed.panes(), all.panes.first().copied().zip(all.panes.last().copied()));
        let mut random = Random(seed);
        for round in 0..15 {
            let mut keys: Vec<Slice> = Vec::new();
            for (d, dimension) in all.dimensions.iter().enumerate() {
                let values = &dimension.values;
                if !values.is_empty() && random.below(3) > 0 {
                    let pick =
                        (0..=random.below(2)).map(|_| values[random.below(values.len() as u64) as usize].clone());
                    keys.push((d, pick.collect()));
                }
            }
            if round == 0 {
                keys = vec![(0, vec![Value::text("nobody")])];
            }
            let edge = Timestamp(random.below(9_000) as i64 * Span::MINUTE.0);
            let range = [ALL, (edge, Timestamp::MAX), (Timestamp::MIN, edge)][random.below(3) as usize];
            let found = keyed.read(store.as_ref(), &view, Wanted { keys: &keys, range }, usize::MAX).await.unwrap();
            let found: Vec<String> = told(&found).iter().map(|row| format!("{row:?}")).collect();
            assert!(found == expected(&all, &keys, range), "seed {seed} round {round}: {keys:?} {range:?}");
        }
        let mut keys = Vec::new();
        while let Some(some) =
            Some(keyed.keys_after(store.as_ref(), &view, keys.last().map(Vec::as_slice), 37, &|_| true).await.unwrap())
            && !some.is_empty()
        {
            keys.extend(some);
        }
        let mut of_rows: Vec<Vec<Value>> =
            (0..all.len()).map(|row| (0..4).map(|d| all.value(d, row).clone()).collect()).collect();
        of_rows.sort();
        of_rows.dedup();
        assert_eq!(keys, of_rows, "seed {seed}: page by page, every key once");
    }
}

#[tokio::test]
async fn a_flipped_bit_in_what_is_read_is_named_and_one_elsewhere_is_not_looked_at() {
    let all = canonical(9, 25_000);
    let Stored { view, store, file } = stored(view(), &all).await;
    let bytes = store.get(&file.path).await.unwrap().bytes().await.unwrap();
    let keys = vec![(0, vec![all.value(0, 5).clone()]), (1, vec![all.value(1, 5).clone()])];
    let wanted = Wanted { keys: &keys, range: ALL };
    let right = expected(&all, &keys, ALL);
    let (mut named, mut unseen) = (0, 0);
    for at in (0..bytes.len()).step_by(bytes.len() / 60) {
        let mut flipped = bytes.to_vec();
        flipped[at] ^= 1;
        store.put(&file.path, flipped.into()).await.unwrap();
        let read = async {
            let keyed = KeyedFile::open(store.as_ref(), &view, &file).await?;
            keyed.read(store.as_ref(), &view, wanted, usize::MAX).await
        };
        match read.await {
            Ok(found) => {
                let found: Vec<String> = told(&found).iter().map(|row| format!("{row:?}")).collect();
                assert!(found == right, "a bit at {at} changed an answer");
                unseen += 1;
            }
            Err(error) => {
                assert_eq!(error.kind(), Kind::Corrupt);
                assert!(error.message().contains(file.path.as_ref()), "{error}");
                named += 1;
            }
        }
    }
    assert!(named > 10 && unseen > 10, "{named} named, {unseen} not read");
}

#[test]
fn pieces_and_dictionaries_make_no_difference_to_the_bytes() {
    let view = View { keyed: true, ..view() };
    let all = canonical(5, 30_000);
    let whole = view_file::write(&view, &all).unwrap();
    let mut writer = Writer::new(&view);
    let numbers: Vec<u32> = (0..all.len() as u32).collect();
    for some in numbers.chunks(7_001) {
        writer.push(&all.gather(some)).unwrap();
    }
    assert_eq!(writer.rows(), all.len() as u64);
    assert_eq!(writer.finish().unwrap(), whole);
    let between = view_file::read_between(&view, &whole.bytes, Timestamp(0), Timestamp(900 * Span::MINUTE.0)).unwrap();
    let mut expected = told(&all);
    expected.retain(|row| row.0 > Timestamp(0) && row.0 <= Timestamp(900 * Span::MINUTE.0));
    assert!(!expected.is_empty() && told(&between) == expected);
}

#[tokio::test]
async fn one_key_of_a_million_is_read_from_less_than_two_per_cent_of_the_bytes() {
    let sample = view();
    let view = View { dimensions: sample.dimensions[..1].to_vec(), states: sample.states[..3].to_vec(), ..sample };
    let mut all = Rows::empty(1, &view.kinds());
    let mut random = Random(1);
    for user in 0..1_000_000_u32 {
        all.panes.push(Timestamp(Span::HOUR.0));
        all.dimensions[0].codes.push(user);
        all.dimensions[0].values.push(Value::text(&format!("user-{user:07}")));
        all.states.iter_mut().for_each(|states| {
            states.push_empty();
            states.lift(user as usize, &Value::Null);
        });
        let (price, items) = (Value::Decimal(i128::from(random.below(100_000)), 2), Value::Int(random.below(9) as i64));
        all.states[1].lift(user as usize, &items);
        all.states[2].lift(user as usize, &price);
    }
    let Stored { view, store, file } = stored(view, &all).await;
    store.take();
    let keyed = KeyedFile::open(store.as_ref(), &view, &file).await.unwrap();
    let footer = store.take();
    for user in [0_u32, 1, 8_191, 8_192, 499_999, 999_999] {
        let keys = vec![(0, vec![Value::text(&format!("user-{user:07}"))])];
        let found = keyed.read(store.as_ref(), &view, Wanted { keys: &keys, range: ALL }, 10).await.unwrap();
        assert_eq!((found.len(), found.states[1].get(0)), (1, all.states[1].get(user as usize)));
        let read = store.take();
        let part = |bytes: u64| bytes as f64 / file.bytes as f64 * 100.0;
        println!(
            "user {user}: {} of {} bytes ({:.2} %) in {} requests; the footer, once: {} ({:.2} %), {} bytes of memory",
            read.bytes,
            file.bytes,
            part(read.bytes),
            read.reads,
            footer.bytes,
            part(footer.bytes),
            keyed.memory()
        );
        assert!(part(read.bytes) < 1.0 && part(read.bytes + footer.bytes) < 2.5, "{read:?} {footer:?}");
        assert!(read.reads <= 2);
    }
    let keys = vec![(0, vec![Value::text("user-0500000x")])];
    assert!(keyed.read(store.as_ref(), &view, Wanted { keys: &keys, range: ALL }, 10).await.unwrap().is_empty());
    assert_eq!(store.take().reads, 1, "what is not there costs its key column alone");
}

#[tokio::test]
async fn texts_longer_than_statistics_are_found_too() {
    let sample = view();
    let view = View { dimensions: sample.dimensions[..1].to_vec(), states: sample.states[..1].to_vec(), ..sample };
    let mut all = Rows::empty(1, &view.kinds());
    let long = |n: u32| match n % 3 {
        0 => format!("{}{n:06}", "\u{10FFFF}".repeat(40)),
        1 => format!("{}{n:06}", "é".repeat(70)),
        _ => format!("{}{n:06}", "x".repeat(200)),
    };
    for n in 0..30_000 {
        all.panes.push(Timestamp(Span::HOUR.0));
        all.dimensions[0].codes.push(n);
        all.dimensions[0].values.push(Value::text(&long(n)));
        all.states[0].push_empty();
    }
    all.sort();
    let Stored { view, store, file } = stored(view, &all).await;
    let keyed = KeyedFile::open(store.as_ref(), &view, &file).await.unwrap();
    for n in (0..30_000).step_by(1_009) {
        let keys = vec![(0, vec![Value::text(&long(n))])];
        let found = keyed.read(store.as_ref(), &view, Wanted { keys: &keys, range: ALL }, 10).await.unwrap();
        assert_eq!((found.len(), found.value(0, 0)), (1, &keys[0].1[0]), "{n}");
    }
}
