//! The lake on a bad day: every request and reply takes a while. And the lake itself, whose files are as old as the seed's clock says.
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use chrono::DateTime;
use futures::StreamExt;
use futures::stream::BoxStream;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMode,
    PutMultipartOptions, PutOptions, PutPayload, PutResult,
};
use seam_shared::clock::Clock;
use seam_shared::lock::lock;
use seam_shared::time::Timestamp;

use super::mutant::Mutant;
use super::turn::{SeededClock, pause};

/// A lake whose every request and reply takes a while.
#[derive(Debug)]
pub struct SlowStore {
    inner: Arc<dyn ObjectStore>,
    mutant: Option<Mutant>,
}

impl SlowStore {
    /// Wraps a store.
    pub fn new(inner: Arc<dyn ObjectStore>, mutant: Option<Mutant>) -> Self {
        Self { inner, mutant }
    }
}

impl std::fmt::Display for SlowStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SlowStore({})", self.inner)
    }
}

type Stored<T> = object_store::Result<T>;

#[async_trait]
impl ObjectStore for SlowStore {
    async fn put_opts(&self, path: &Path, payload: PutPayload, mut options: PutOptions) -> Stored<PutResult> {
        pause().await;
        let overwritten = match self.mutant {
            Some(Mutant::OverwritePublish) => "views/",
            Some(Mutant::ArchiveLastWriterWins) => "archive/",
            _ => "none",
        };
        if path.as_ref().starts_with(overwritten) && path.as_ref().contains("_delta_log") {
            options.mode = PutMode::Overwrite;
        }
        let done = self.inner.put_opts(path, payload, options).await;
        pause().await;
        done
    }
    async fn get_opts(&self, path: &Path, options: GetOptions) -> Stored<GetResult> {
        pause().await;
        self.inner.get_opts(path, options).await
    }
    async fn get_ranges(&self, path: &Path, ranges: &[Range<u64>]) -> Stored<Vec<Bytes>> {
        self.inner.get_ranges(path, ranges).await
    }
    async fn put_multipart_opts(&self, path: &Path, options: PutMultipartOptions) -> Stored<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(path, options).await
    }
    fn delete_stream(&self, paths: BoxStream<'static, Stored<Path>>) -> BoxStream<'static, Stored<Path>> {
        self.inner.delete_stream(paths)
    }
    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Stored<ObjectMeta>> {
        self.inner.list(prefix)
    }
    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Stored<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }
    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Stored<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

/// A lake in memory whose files are as old as a clock says.
#[derive(Debug)]
pub struct DatedStore {
    inner: InMemory,
    clock: Arc<SeededClock>,
    written: Mutex<BTreeMap<Path, Timestamp>>,
}

impl DatedStore {
    /// An empty lake.
    pub fn new(clock: Arc<SeededClock>) -> DatedStore {
        DatedStore { inner: InMemory::new(), clock, written: Mutex::default() }
    }
    /// When a file was written last.
    pub fn written(&self, path: &Path) -> Option<Timestamp> {
        lock(&self.written).get(path).copied()
    }
}

impl std::fmt::Display for DatedStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "DatedStore({})", self.inner)
    }
}

#[async_trait]
impl ObjectStore for DatedStore {
    async fn put_opts(&self, path: &Path, payload: PutPayload, options: PutOptions) -> Stored<PutResult> {
        let done = self.inner.put_opts(path, payload, options).await?;
        let mut written = lock(&self.written);
        written.insert(path.clone(), self.clock.now());
        Ok(done)
    }
    async fn get_opts(&self, path: &Path, options: GetOptions) -> Stored<GetResult> {
        self.inner.get_opts(path, options).await
    }
    async fn get_ranges(&self, path: &Path, ranges: &[Range<u64>]) -> Stored<Vec<Bytes>> {
        self.inner.get_ranges(path, ranges).await
    }
    async fn put_multipart_opts(&self, path: &Path, options: PutMultipartOptions) -> Stored<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(path, options).await
    }
    fn delete_stream(&self, paths: BoxStream<'static, Stored<Path>>) -> BoxStream<'static, Stored<Path>> {
        self.inner.delete_stream(paths)
    }
    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Stored<ObjectMeta>> {
        let written = lock(&self.written).clone();
        let dated = move |found: Stored<ObjectMeta>| {
            let mut found = found?;
            let time = written.get(&found.location).and_then(|time| DateTime::from_timestamp_micros(time.0));
            found.last_modified = time.unwrap_or(found.last_modified);
            Ok(found)
        };
        self.inner.list(prefix).map(dated).boxed()
    }
    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Stored<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }
    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Stored<()> {
        self.inner.copy_opts(from, to, options).await
    }
}
