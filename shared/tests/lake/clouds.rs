//! The lake on a real S3 server and on emulators of Azure's and Google's stores: the same promises, races of many writers, large files
//! in parts, faults in between.
use std::sync::Arc;

use bytes::Bytes;
use futures::future::join_all;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use seam_services::{Cloud, S3};
use seam_shared::Kind;
use seam_shared::clock::SystemClock;
use seam_shared::lake::delta::{Commit, Metadata, Table};
use seam_shared::lake::faulty::FaultyStore;
use seam_shared::lake::{probe, store, verified};
use seam_shared::time::Timestamp;

use crate::racing;
use crate::samples::Random;

/// A client of its own of one folder of a bucket, each time.
type Open = dyn Fn(&str) -> Arc<dyn ObjectStore> + Sync;

fn opener(bucket: &str, environment: &[(&'static str, String)]) -> Box<Open> {
    let environment: Vec<(String, String)> =
        environment.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
    let bucket = bucket.to_owned();
    Box::new(move |folder| {
        store::open_with(&format!("{bucket}/{folder}"), std::path::Path::new("."), &environment).unwrap()
    })
}

fn of_s3(s3: &S3) -> Box<Open> {
    opener(&format!("s3://{}", s3.bucket), &s3.environment())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_lake_keeps_its_promises_on_s3() {
    let Some(s3) = S3::start() else { return };
    promises(&of_s3(&s3)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_lake_keeps_its_promises_on_azure() {
    let Some(azure) = Cloud::azure() else { return };
    everything(&opener(azure.url, &azure.environment)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_lake_keeps_its_promises_on_google() {
    let Some(google) = Cloud::google() else { return };
    everything(&opener(google.url, &google.environment)).await;
}

/// All that the tests of S3 ask, with fewer rounds.
async fn everything(open: &Open) {
    promises(open).await;
    race(open, 40).await;
    large_files(open, 3).await;
}

async fn promises(open: &Open) {
    let tried = probe::probe(open("probe").as_ref(), "a", Timestamp(0)).await.tried;
    assert!(tried.len() == 6 && tried.iter().all(|t| t.result.is_ok()), "{tried:?}");
    racing::archive_rules(open("archive")).await;
    racing::publish_rules(open("publish")).await;
    for seed in 0..3 {
        racing::racing_archivers(open(&format!("racing/{seed}")), seed, 24).await;
    }
}

/// Every round, eight writers with clients of their own commit the same version.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_eight_writers_one_commits_each_version_and_none_is_lost() {
    let Some(s3) = S3::start() else { return };
    race(&of_s3(&s3), 160).await;
}

async fn race(open: &Open, rounds: u64) {
    const WRITERS: usize = 8;
    let table = || Arc::new(Table::new(open("lake"), Path::from("race"), Arc::new(SystemClock)));
    let tables: Vec<Arc<Table>> = (0..WRITERS).map(|_| table()).collect();
    let mut winners = Vec::new();
    for version in 0..rounds {
        let writer = |number: usize| {
            let table = Arc::clone(&tables[number]);
            async move {
                let info = [("writer".to_owned(), number.into())].into_iter().collect();
                let metadata = (version == 0).then(|| {
                    Metadata::new("race".into(), "race", "{\"type\":\"struct\",\"fields\":[]}".into(), Timestamp(0))
                });
                let commit = Commit { metadata, info, ..Commit::default() };
                table.commit(version, commit).await
            }
        };
        let outcomes = join_all((0..WRITERS).map(writer)).await;
        let won: Vec<usize> = (0..WRITERS).filter(|&number| outcomes[number].is_ok()).collect();
        assert_eq!(won.len(), 1, "version {version} has one winner: {outcomes:?}");
        for outcome in outcomes.into_iter().filter_map(Result::err) {
            assert_eq!(outcome.kind(), Kind::Conflict, "{outcome}");
        }
        winners.push(won[0]);
    }
    let reader = table();
    for (version, winner) in (0..).zip(&winners) {
        let info = Arc::clone(&reader.at(version).await.unwrap().info);
        assert_eq!(info["writer"].as_u64(), Some(*winner as u64), "version {version} is what its winner wrote");
    }
    assert_eq!(reader.latest().await.unwrap().unwrap().version, rounds - 1);
    let different: std::collections::BTreeSet<_> = winners.iter().collect();
    println!("{rounds} versions, {WRITERS} writers, each version won once; {} different winners", different.len());
    assert!(different.len() > 1, "it was a race");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_files_go_up_in_parts_and_leave_nothing_behind() {
    let Some(s3) = S3::start() else { return };
    large_files(&of_s3(&s3), 8).await;
    if s3.durable {
        return; // it does not tell what is under way to whom it does not know
    }
    let left = s3.get("/lake?uploads").unwrap();
    assert!(left.contains("ListMultipartUploadsResult") && !left.contains("<UploadId>"), "{left}");
}

async fn large_files(open: &Open, seeds: u64) {
    let (plain, path) = (open("large"), Path::from("file.parquet"));
    let mut random = Random(1);
    let large: Vec<u8> = (0..5 << 19).flat_map(|_| random.next().to_le_bytes()).collect();
    let large = Bytes::from(large);
    let blake3 = verified::hash(&large);
    verified::put(plain.as_ref(), &path, &large).await.unwrap();
    assert!(verified::get(plain.as_ref(), &path, &blake3).await.unwrap() == large);
    let (mut whole, mut failed) = (0_u64, 0);
    for seed in 0..seeds {
        let faulty = FaultyStore::new(Arc::clone(&plain), seed, 100);
        let path = Path::from(format!("faulty-{seed}.parquet"));
        match verified::put(&faulty, &path, &large).await {
            Ok(()) => {
                assert!(verified::get(plain.as_ref(), &path, &blake3).await.unwrap() == large, "seed {seed}");
                whole += 1;
            }
            Err(error) => {
                assert_eq!(error.kind(), Kind::Unavailable, "{error}");
                failed += 1;
                // whole or absent, even so
                if let Ok(found) = plain.get(&path).await {
                    assert!(found.bytes().await.unwrap() == large, "seed {seed}");
                }
            }
        }
    }
    println!("{whole} uploads in spite of faults, {failed} given up");
    assert!(2 * whole > seeds, "most uploads get through");
}
