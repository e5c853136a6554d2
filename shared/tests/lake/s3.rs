//! The lake on a real S3 server: the same promises, races of many writers, large files in parts, faults in between.
use std::sync::Arc;

use bytes::Bytes;
use futures::future::join_all;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use seam_services::S3;
use seam_shared::Kind;
use seam_shared::clock::SystemClock;
use seam_shared::lake::delta::{Commit, Metadata, Table};
use seam_shared::lake::faulty::FaultyStore;
use seam_shared::lake::{probe, store, verified};
use seam_shared::time::Timestamp;

use crate::racing;
use crate::samples::Random;

/// A client of its own of one folder of the bucket.
fn open(s3: &S3, folder: &str) -> Arc<dyn ObjectStore> {
    let environment = s3.environment().map(|(name, value)| (name.to_owned(), value));
    let url = format!("s3://{}/{folder}", s3.bucket);
    store::open_with(&url, std::path::Path::new("."), &environment).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_lake_keeps_its_promises_on_s3() {
    let Some(s3) = S3::start() else { return };
    let tried = probe::probe(open(&s3, "probe").as_ref(), "a", Timestamp(0)).await.tried;
    assert!(tried.len() == 6 && tried.iter().all(|t| t.result.is_ok()), "{tried:?}");
    racing::archive_rules(open(&s3, "archive")).await;
    racing::publish_rules(open(&s3, "publish")).await;
    for seed in 0..3 {
        racing::racing_archivers(open(&s3, &format!("racing/{seed}")), seed, 24).await;
    }
}

/// Every round, eight writers with clients of their own commit the same version.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_eight_writers_one_commits_each_version_and_none_is_lost() {
    const WRITERS: usize = 8;
    const ROUNDS: u64 = 160;
    let Some(s3) = S3::start() else { return };
    let table = || Arc::new(Table::new(open(&s3, "lake"), Path::from("race"), Arc::new(SystemClock)));
    let tables: Vec<Arc<Table>> = (0..WRITERS).map(|_| table()).collect();
    let mut winners = Vec::new();
    for version in 0..ROUNDS {
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
    assert_eq!(reader.latest().await.unwrap().unwrap().version, ROUNDS - 1);
    let different: std::collections::BTreeSet<_> = winners.iter().collect();
    println!("{ROUNDS} versions, {WRITERS} writers, each version won once; {} different winners", different.len());
    assert!(different.len() > 1, "it was a race");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_files_go_up_in_parts_and_leave_nothing_behind() {
    let Some(s3) = S3::start() else { return };
    let (plain, path) = (open(&s3, "large"), Path::from("file.parquet"));
    let mut random = Random(1);
    let large: Vec<u8> = (0..5 << 19).flat_map(|_| random.next().to_le_bytes()).collect();
    let large = Bytes::from(large);
    let blake3 = verified::put(plain.as_ref(), &path, &large).await.unwrap();
    assert!(verified::get(plain.as_ref(), &path, &blake3).await.unwrap() == large);
    let (mut whole, mut failed) = (0, 0);
    for seed in 0..8 {
        let faulty = FaultyStore::new(Arc::clone(&plain), seed, 100);
        let path = Path::from(format!("faulty-{seed}.parquet"));
        match verified::put(&faulty, &path, &large).await {
            Ok(blake3) => {
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
    assert!(whole > 3, "most uploads get through");
    if s3.durable {
        return; // it does not tell what is under way to whom it does not know
    }
    let left = s3.get("/lake?uploads").unwrap();
    assert!(left.contains("ListMultipartUploadsResult") && !left.contains("<UploadId>"), "{left}");
}
