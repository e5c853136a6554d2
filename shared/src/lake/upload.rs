//! Writing one object, whole: in one request while it is small, else in parts, which are taken back if the rest fails.
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, Result};

/// Larger objects go up in parts of this size, the last one smaller; S3 wants at least 5 MiB.
const PART: usize = 16 << 20;
/// Parts under way at once.
const AT_ONCE: usize = 4;

/// Writes the object at `path`. It appears whole or not at all; a failure leaves it open which.
///
/// # Errors
/// Those of the store.
pub async fn put(store: &dyn ObjectStore, path: &Path, bytes: &Bytes) -> Result<()> {
    if bytes.len() <= PART {
        return store.put(path, bytes.clone().into()).await.map(|_| ());
    }
    let mut upload = store.put_multipart(path).await?;
    let starts = (0..bytes.len()).step_by(PART);
    let parts = starts.map(|start| upload.put_part(bytes.slice(start..bytes.len().min(start + PART)).into()));
    let sent = stream::iter(parts).buffer_unordered(AT_ONCE).try_collect::<()>().await;
    let done = match sent {
        Ok(()) => upload.complete().await.map(|_| ()),
        Err(error) => Err(error),
    };
    if done.is_err() {
        // What cannot be taken back stays invisible; a rule of the bucket that ends incomplete uploads removes it in time.
        if let Err(error) = upload.abort().await {
            tracing::debug!(%path, %error, "an upload could not be taken back");
        }
    }
    done
}

#[cfg(test)]
mod tests {
    use object_store::memory::InMemory;

    use super::*;

    #[tokio::test]
    async fn objects_of_every_size_come_back() {
        let store = InMemory::new();
        for size in [0, 1, PART - 1, PART, PART + 1, 2 * PART, 3 * PART + 5] {
            let bytes = Bytes::from((0..size).map(|i| (i / 7 + i / PART) as u8).collect::<Vec<u8>>());
            let path = Path::from(format!("object-{size}"));
            put(&store, &path, &bytes).await.unwrap();
            assert!(store.get(&path).await.unwrap().bytes().await.unwrap() == bytes, "{size} bytes");
        }
    }
}
