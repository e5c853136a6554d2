//! An object store that fails on purpose, by a seed: a test tool for the lake and the simulator, never used in production.
use std::fmt;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMode,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result, UploadPart,
};

use crate::lock::lock;

/// Wraps a store. A put may fail before it is applied, be applied and lose its reply, be applied and answer `AlreadyExists` (as
/// a client that retries by itself does), or be applied only with a later call (a zombie request). A get may fail.
pub struct FaultyStore {
    inner: Arc<dyn ObjectStore>,
    state: AtomicU64,
    faults_in_256: AtomicU64,
    held: Mutex<Vec<(Path, PutPayload, PutOptions)>>,
}

impl FaultyStore {
    /// Fails about `faults_in_256` of 256 calls, chosen by `seed`.
    pub fn new(inner: Arc<dyn ObjectStore>, seed: u64, faults_in_256: u64) -> Self {
        let state = AtomicU64::new(seed);
        Self { inner, state, faults_in_256: AtomicU64::new(faults_in_256), held: Mutex::default() }
    }
    /// Changes how often calls fail; 0 heals the store.
    pub fn set_faults(&self, faults_in_256: u64) {
        self.faults_in_256.store(faults_in_256, Ordering::SeqCst);
    }
    /// Applies the puts that are still held back.
    pub async fn release(&self) {
        let held = std::mem::take(&mut *lock(&self.held));
        for (path, payload, options) in held {
            // whether a zombie request succeeds is nobody's business any more
            let _: Result<PutResult> = self.inner.put_opts(&path, payload, options).await;
        }
    }
    /// The next number of the seeded sequence (splitmix64).
    fn next(&self) -> u64 {
        let z = self.state.fetch_add(0x9E37_79B9_7F4A_7C15, Ordering::SeqCst).wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }
    /// Which of `kinds` faults happens now, if any.
    fn fault(&self, kinds: u64) -> Option<u64> {
        let number = self.next();
        (number & 0xFF < self.faults_in_256.load(Ordering::SeqCst)).then_some((number >> 8) % kinds)
    }
}

/// An upload in parts of which one part is lost (fault 1), or that is lost (2) or answered by nobody (3) when it is completed.
#[derive(Debug)]
struct FaultyUpload {
    inner: Box<dyn MultipartUpload>,
    fault: Option<u64>,
    parts: u32,
}

#[async_trait]
impl MultipartUpload for FaultyUpload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        self.parts += 1;
        if self.fault == Some(1) && self.parts == 2 {
            return Box::pin(async { Err(failure("a part was lost")) });
        }
        self.inner.put_part(data)
    }
    async fn complete(&mut self) -> Result<PutResult> {
        match self.fault {
            Some(2) => Err(failure("the request was lost")),
            Some(3) => {
                self.inner.complete().await?;
                Err(failure("the reply was lost"))
            }
            Some(_) | None => self.inner.complete().await,
        }
    }
    async fn abort(&mut self) -> Result<()> {
        self.inner.abort().await
    }
}

fn failure(what: &str) -> Error {
    Error::Generic { store: "faulty", source: what.to_owned().into() }
}

impl fmt::Debug for FaultyStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FaultyStore({:?})", self.inner)
    }
}

impl fmt::Display for FaultyStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FaultyStore({})", self.inner)
    }
}

#[async_trait]
impl ObjectStore for FaultyStore {
    async fn put_opts(&self, path: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        let fault = self.fault(4);
        if self.next() & 1 == 0 {
            self.release().await;
        }
        match fault {
            None => self.inner.put_opts(path, payload, options).await,
            Some(0) => Err(failure("the request was lost")),
            Some(1) => {
                self.inner.put_opts(path, payload, options).await?;
                Err(failure("the reply was lost"))
            }
            Some(2) if options.mode == PutMode::Create => {
                self.inner.put_opts(path, payload, options).await?;
                Err(Error::AlreadyExists { path: path.to_string(), source: "a retried request".into() })
            }
            Some(_) => {
                lock(&self.held).push((path.clone(), payload, options));
                Err(failure("the request is under way"))
            }
        }
    }
    async fn get_opts(&self, path: &Path, options: GetOptions) -> Result<GetResult> {
        match self.fault(1) {
            None => self.inner.get_opts(path, options).await,
            Some(_) => Err(failure("the store is away")),
        }
    }
    async fn get_ranges(&self, path: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        match self.fault(1) {
            None => self.inner.get_ranges(path, ranges).await,
            Some(_) => Err(failure("the store is away")),
        }
    }
    async fn put_multipart_opts(&self, path: &Path, options: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        let fault = self.fault(4);
        if fault == Some(0) {
            return Err(failure("the upload was not begun"));
        }
        Ok(Box::new(FaultyUpload { inner: self.inner.put_multipart_opts(path, options).await?, fault, parts: 0 }))
    }
    fn delete_stream(&self, paths: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(paths)
    }
    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        // A stale listing: it leaves out what is there.
        let (seed, faults) = (self.next(), self.faults_in_256.load(Ordering::SeqCst));
        let mut number = seed;
        let listed = self.inner.list(prefix).try_filter(move |_| {
            number = number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            futures::future::ready(number >> 56 >= faults)
        });
        listed.boxed()
    }
    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }
    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}
