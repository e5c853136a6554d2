//! Reading an object, or parts of it, only if it is what was written: one flipped bit otherwise gives silently wrong numbers.
use std::ops::Range;

use bytes::Bytes;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};

use crate::error::{Error, Result};
use crate::lake::upload;

const PUT_ATTEMPTS: usize = 3;

/// The content hash that tables keep of their files: blake3 in lowercase hexadecimal.
pub fn hash(bytes: &[u8]) -> String {
    blake3::hash(bytes).to_hex().to_string()
}

/// The object at `path`, whole, if its content hash is `blake3`.
///
/// # Errors
/// `Corrupt` naming the file when its content is another; `NotFound` naming it when it is missing; `Unavailable` when the store
/// cannot be read.
pub async fn get(store: &dyn ObjectStore, path: &Path, blake3: &str) -> Result<Bytes> {
    let bytes = store.get(path).await?.bytes().await?;
    check(path, &bytes, blake3)?;
    Ok(bytes)
}

/// Parts of the object at `path`, if each has its content hash.
///
/// # Errors
/// As [`get`].
pub async fn get_parts(store: &dyn ObjectStore, path: &Path, parts: &[(Range<u64>, &str)]) -> Result<Vec<Bytes>> {
    let ranges: Vec<Range<u64>> = parts.iter().map(|(range, _)| range.clone()).collect();
    let found = store.get_ranges(path, &ranges).await?;
    for (bytes, (_, blake3)) in found.iter().zip(parts) {
        check(path, bytes, blake3)?;
    }
    Ok(found)
}

/// Writes the object at `path`, whole. A put whose reply is lost is simply made again: the caller's names are fresh or made from the
/// content, so the same path always gets the same bytes.
///
/// # Errors
/// `Unavailable` when the store refuses several times.
pub async fn put(store: &dyn ObjectStore, path: &Path, bytes: &Bytes) -> Result<()> {
    let mut attempts = 1;
    while let Err(error) = upload::put(store, path, bytes).await {
        if attempts == PUT_ATTEMPTS {
            return Err(Error::unavailable(format!("file {path} could not be written")).because(error));
        }
        attempts += 1;
    }
    Ok(())
}

fn check(path: &Path, bytes: &[u8], expected: &str) -> Result<()> {
    let found = hash(bytes);
    if found == expected {
        return Ok(());
    }
    Err(Error::corrupt(format!("file {path} is damaged: its content hash is {found}, the table says {expected}")))
}

#[cfg(test)]
mod tests {
    use object_store::memory::InMemory;

    use super::*;
    use crate::error::Kind;

    #[tokio::test]
    async fn damaged_and_missing_files_are_named() {
        let store = InMemory::new();
        let path = Path::from("views/a/part.parquet");
        store.put(&path, Bytes::from_static(b"numbers").into()).await.unwrap();
        assert_eq!(get(&store, &path, &hash(b"numbers")).await.unwrap(), Bytes::from_static(b"numbers"));
        let damaged = get(&store, &path, &hash(b"numbeqs")).await.unwrap_err();
        assert_eq!(damaged.kind(), Kind::Corrupt);
        assert!(damaged.message().contains("views/a/part.parquet"));
        let missing = get(&store, &Path::from("views/a/other.parquet"), "00").await.unwrap_err();
        assert_eq!(missing.kind(), Kind::NotFound);
        assert!(missing.message().contains("views/a/other.parquet"));
    }
}
