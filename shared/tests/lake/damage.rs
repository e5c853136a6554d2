//! One flipped bit anywhere in a stored Parquet file is an error that names the file, never a number.
use std::sync::Arc;

use object_store::memory::InMemory;
use object_store::{ObjectStore, ObjectStoreExt};
use seam_shared::Kind;
use seam_shared::clock::ManualClock;
use seam_shared::lake::views::{Publication, ViewTable};
use seam_shared::log::{Offset, OffsetVector};
use seam_shared::time::Timestamp;

use crate::samples::{Random, rows, told, view};

#[tokio::test]
async fn every_flipped_bit_of_a_view_file_is_named() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let table = ViewTable::new(Arc::clone(&store), Arc::new(view()), Arc::new(ManualClock::default()));
    let written = rows(1, 500, 1);
    let file = table.put(&written, Timestamp(-1 << 50), Timestamp(1 << 50)).await.unwrap();
    let cut = OffsetVector([(0, Offset(5))].into_iter().collect());
    let files = vec![file.clone()];
    let first = Publication { parent: None, cut, incarnation: "a".into(), files, info: Default::default() };
    let generation = table.publish(first).await.unwrap();
    let file = &generation.files[0];
    assert_eq!(told(&table.get(file).await.unwrap()), told(&written));
    let whole = store.get(&file.path).await.unwrap().bytes().await.unwrap();
    let mut random = Random(4);
    for _ in 0..2_000 {
        let mut damaged = whole.to_vec();
        let bit = random.below(damaged.len() as u64 * 8) as usize;
        damaged[bit / 8] ^= 1 << (bit % 8);
        store.put(&file.path, damaged.into()).await.unwrap();
        let error = table.get(file).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Corrupt);
        assert!(error.message().contains(file.path.as_ref()), "{error}");
    }
    store.put(&file.path, whole.slice(..whole.len() - 1).into()).await.unwrap();
    assert_eq!(table.get(file).await.unwrap_err().kind(), Kind::Corrupt);
    store.delete(&file.path).await.unwrap();
    assert_eq!(table.get(file).await.unwrap_err().kind(), Kind::NotFound);
    // a job that computes the same rows again heals the file
    table.put(&written, Timestamp(-1 << 50), Timestamp(1 << 50)).await.unwrap();
    assert_eq!(told(&table.get(file).await.unwrap()), told(&written));
}
