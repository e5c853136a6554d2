//! Checkpoints: what is read through them is what every commit replayed from the first says, whatever becomes of them.
use std::sync::Arc;
use std::time::Instant;

use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use seam_shared::Kind;
use seam_shared::clock::ManualClock;
use seam_shared::lake::counting::CountingStore;
use seam_shared::lake::delta::{Add, Commit, Metadata, Remove, Snapshot, Table, Transaction};
use seam_shared::time::Timestamp;
use serde_json::json;

const VERSIONS: u64 = 1_234;

/// Another process that has read nothing yet.
fn table(store: &Arc<dyn ObjectStore>) -> Table {
    Table::new(Arc::clone(store), Path::from("views/a@1"), Arc::new(ManualClock::at(Timestamp(5_000_000))))
}

/// Version after version: each adds a file, most take one away.
async fn grow(table: &Table, versions: std::ops::Range<u64>) {
    for version in versions {
        let tags = [("blake3".to_owned(), format!("{version:064}"))].into_iter().collect();
        let path = format!("a b/part-{version}.parquet");
        let now = Timestamp(version as i64 * 1_000_000);
        let stats = json!({"numRecords": version});
        let metadata = (version == 0).then(|| {
            let columns = json!({"type": "struct", "fields": []});
            Metadata::new("id".into(), "a", columns.to_string(), Timestamp(0))
        });
        let commit = Commit {
            metadata,
            add: vec![Add::new(path, version, now, &stats, tags)],
            remove: (version % 3 > 0)
                .then(|| Remove::new(format!("a b/part-{}.parquet", version / 2), now))
                .into_iter()
                .collect(),
            transactions: vec![Transaction { app_id: format!("clicks/{}", version % 4), version }],
            info: [("incarnation".to_owned(), json!(format!("of {version}")))].into_iter().collect(),
        };
        table.commit(version, commit).await.expect("committed");
    }
}

fn checkpoint(version: u64) -> Path {
    Path::from(format!("views/a@1/_delta_log/{version:020}.checkpoint.parquet"))
}

fn last() -> Path {
    Path::from("views/a@1/_delta_log/_last_checkpoint")
}

fn told(snapshot: &Snapshot) -> String {
    let Snapshot { version, metadata, files, transactions, info } = snapshot;
    format!("{version} {metadata:?} {files:?} {transactions:?} {info:?}")
}

/// Every version, by another process each, as [`Table::at`] and the newest say.
async fn all(store: &Arc<dyn ObjectStore>, versions: &[u64]) -> Vec<String> {
    let mut out = Vec::new();
    for &version in versions {
        out.push(told(&table(store).at(version).await.expect("there is that version")));
    }
    out.push(told(&table(store).latest().await.expect("read").expect("a table")));
    let history = table(store).history(VERSIONS - 150).await.expect("read");
    out.extend(history.iter().map(|snapshot| told(snapshot)));
    out
}

#[tokio::test]
async fn a_table_read_through_checkpoints_is_the_table_of_its_commits() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    // Two writers in turn, and one that starts anew each time.
    let (one, other) = (table(&store), table(&store));
    grow(&one, 0..500).await;
    grow(&other, 500..900).await;
    grow(&table(&store), 900..1_000).await;
    grow(&one, 1_000..VERSIONS).await;
    let versions = [0, 1, 99, 100, 101, 199, 200, 777, 1_000, VERSIONS - 1];
    let through = all(&store, &versions).await;
    for version in (100..VERSIONS).step_by(100) {
        store.head(&checkpoint(version)).await.expect("each hundredth version has a checkpoint");
    }
    let named = store.get(&last()).await.expect("it is there").bytes().await.expect("read");
    let hint: serde_json::Value = serde_json::from_slice(&named).expect("JSON");
    assert_eq!(hint["version"], 1_200);

    // What is damaged or gone is passed over.
    let whole = store.get(&checkpoint(1_200)).await.expect("there").bytes().await.expect("read");
    let mut random = crate::samples::Random(7);
    for _ in 0..40 {
        let mut damaged = whole.to_vec();
        let bit = random.below(damaged.len() as u64 * 8) as usize;
        damaged[bit / 8] ^= 1 << (bit % 8);
        store.put(&checkpoint(1_200), damaged.into()).await.expect("put");
        let newest = table(&store).latest().await.expect("read").expect("a table");
        assert_eq!(told(&newest), through[versions.len()]);
    }
    store.put(&checkpoint(1_200), whole.slice(..whole.len() / 2).into()).await.expect("put");
    store.delete(&checkpoint(1_100)).await.expect("deleted");
    store.delete(&checkpoint(100)).await.expect("deleted");
    assert_eq!(all(&store, &versions).await, through);
    for _ in 0..40 {
        let mut damaged = named.to_vec();
        let bit = random.below(damaged.len() as u64 * 8) as usize;
        damaged[bit / 8] ^= 1 << (bit % 8);
        store.put(&last(), damaged.into()).await.expect("put");
        let newest = table(&store).latest().await.expect("read").expect("a table");
        assert_eq!(told(&newest), through[versions.len()]);
    }
    store.delete(&last()).await.expect("deleted");
    assert_eq!(all(&store, &versions).await, through, "without any");

    // A checkpoint never stands in for a commit that is gone.
    store.put(&last(), named.into()).await.expect("put");
    store.delete(&Path::from(format!("views/a@1/_delta_log/{:020}.json", 1_000))).await.expect("deleted");
    assert_eq!(table(&store).at(1_000).await.expect_err("its commit is gone").kind(), Kind::Corrupt);
}

#[tokio::test]
async fn opening_reads_what_came_after_the_newest_checkpoint() {
    let counting = Arc::new(CountingStore::new(Arc::new(InMemory::new())));
    let store: Arc<dyn ObjectStore> = counting.clone();
    grow(&table(&store), 0..VERSIONS).await;
    let open = async || {
        let (_, begun) = (counting.take(), Instant::now());
        table(&store).latest().await.expect("read").expect("a table");
        (counting.take().reads, begun.elapsed())
    };
    let (quick, quickly) = open().await;
    store.delete(&last()).await.expect("deleted");
    let (whole, wholly) = open().await;
    println!("{VERSIONS} commits: {quick} reads in {quickly:?} through a checkpoint, {whole} in {wholly:?} without");
    assert!(whole == VERSIONS && quick == 2 + VERSIONS % 100, "{quick} and {whole} reads");
}
