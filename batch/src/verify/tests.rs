//! A whole archive is whole; whatever is damaged, missing or doubled in it is named.
#![allow(clippy::unwrap_used, reason = "a test may fail anywhere")]
use std::sync::Arc;

use object_store::ObjectStoreExt;
use seam_shared::log::EventLog;

use super::*;
use crate::archive::SILENCE;
use crate::archive::tests::World;

#[tokio::test]
async fn damage_is_named_and_nothing_else() {
    let mut world = World::new().await;
    world.append(1_000).await;
    world.archiver(&world.memory).await.unwrap().drain().await.unwrap();
    let table = world.archive(&world.memory).await.unwrap();
    let whole = verify(&table, &world.source).await.unwrap();
    assert_eq!(whole.problems, []);
    let archived = table.latest().await.unwrap();
    let end = world.log.bounds(&world.partition).await.unwrap().1;
    assert!(whole.files > 10 && whole.to.get(0) <= end && whole.to.get(0).0 > 900, "{whole:?}");
    assert_eq!(whole.records, whole.counts + whole.duplicates + whole.invalid);
    assert!(whole.duplicates > 50 && whole.invalid > 50, "{whole:?}");

    let [flipped, removed, swapped, other] = [1, 3, 5, 7].map(|at| Arc::clone(&archived.files[at]));
    let bytes = world.memory.get(&flipped.path).await.unwrap().bytes().await.unwrap();
    let mut damaged = bytes.to_vec();
    damaged[bytes.len() / 3] ^= 1;
    world.memory.put(&flipped.path, damaged.into()).await.unwrap();
    world.memory.delete(&removed.path).await.unwrap();
    let content = world.memory.get(&other.path).await.unwrap().bytes().await.unwrap();
    world.memory.put(&swapped.path, content.into()).await.unwrap();
    let found = verify(&table, &world.source).await.unwrap();
    let named: Vec<&str> = found.problems.iter().map(|problem| problem.file.as_str()).collect();
    assert_eq!(named, [flipped.path.as_ref(), removed.path.as_ref(), swapped.path.as_ref()], "{found:?}");
    assert!(found.problems[0].what.contains("damaged") && found.problems[1].what.contains("missing"), "{found:?}");
}

#[tokio::test]
async fn a_damaged_tail_is_named_be_there_anything_before_it_or_not() {
    for (events, files) in [(100, true), (10, false)] {
        let mut world = World::new().await;
        world.append(events).await;
        let mut archiver = world.patient(&world.memory).await.unwrap();
        archiver.drain().await.unwrap();
        world.clock.advance(SILENCE.0);
        archiver.step().await.unwrap();
        let table = world.archive(&world.memory).await.unwrap();
        assert_eq!(verify(&table, &world.source).await.unwrap().problems, []);
        let archived = table.latest().await.unwrap().position(0);
        assert_eq!(archived.is_some(), files);
        let path = table.tail(0, archived).await.unwrap().expect("it is silent");
        let mut damaged = world.memory.get(&path).await.unwrap().bytes().await.unwrap().to_vec();
        damaged[3] ^= 1;
        world.memory.put(&path, damaged.into()).await.unwrap();
        let found = verify(&table, &world.source).await.unwrap();
        let named: Vec<&str> = found.problems.iter().map(|problem| problem.file.as_str()).collect();
        assert_eq!(named, [path.as_ref()], "{found:?}");
    }
}

#[tokio::test]
async fn a_file_that_is_not_what_the_table_says_is_found_though_its_hash_is_right() {
    let mut world = World::new().await;
    world.append(300).await;
    world.archiver(&world.memory).await.unwrap().drain().await.unwrap();
    let table = world.archive(&world.memory).await.unwrap();
    let archive = table.latest().await.unwrap();
    let (one, other) = (&archive.files[0], &archive.files[1]);
    let records = |bytes: &bytes::Bytes| archive_file::read_ids(bytes).unwrap();
    let bytes = world.memory.get(&other.path).await.unwrap().bytes().await.unwrap();
    let mut report = Report::default();
    report.check(one, &world.source, &records(&bytes));
    assert!(report.problems.iter().any(|problem| problem.what.contains("outside")), "{report:?}");
    let bytes = world.memory.get(&one.path).await.unwrap().bytes().await.unwrap();
    let mut twice = records(&bytes);
    twice.offsets[3] = twice.offsets[2];
    let mut report = Report::default();
    report.check(one, &world.source, &twice);
    assert!(report.problems.iter().any(|problem| problem.what.contains("twice")), "{report:?}");
}
