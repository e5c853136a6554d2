//! Opens the lake's object store by URL. Local files are written durably: nothing is answered before it is on disk.
#[cfg(feature = "cloud")]
mod cloud;

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use futures::stream::BoxStream;
use object_store::local::LocalFileSystem;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMode,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions, UploadPart,
};

use crate::error::{Error, Result};

type Stored<T> = object_store::Result<T>;

/// Opens a store: `s3://bucket/prefix`, `gs://bucket/prefix` and `az://container/prefix`, with what the process's environment says
/// (`AWS_ACCESS_KEY_ID`, `AWS_ENDPOINT`, …, `GOOGLE_…`, `AZURE_…`); `file:///some/where`, `file://./here` or a plain path, where a
/// relative one is taken from `base` and the directory is created; and `memory://`.
///
/// # Errors
/// `Invalid` for what this build cannot open, `Unavailable` for a directory that cannot be used. Clouds are asked nothing yet.
pub fn open(url: &str, base: &FilePath) -> Result<Arc<dyn ObjectStore>> {
    let text = |text: std::ffi::OsString| text.into_string().ok();
    let environment = std::env::vars_os().filter_map(|(name, value)| Some((text(name)?, text(value)?)));
    open_with(url, base, &environment.collect::<Vec<_>>())
}

/// Opens a store as [`open`] does, with an environment of the caller's.
///
/// # Errors
/// As [`open`].
pub fn open_with(url: &str, base: &FilePath, environment: &[(String, String)]) -> Result<Arc<dyn ObjectStore>> {
    let path = match url.split_once("://") {
        Some(("memory", "")) => return Ok(Arc::new(InMemory::new())),
        Some(("file", path)) if path.starts_with(['/', '.']) => base.join(path),
        Some(_) => return cloud(url, environment),
        None => base.join(url),
    };
    let failed = |error| Error::unavailable(format!("directory {} cannot be used", path.display())).because(error);
    create_directory(&path).map_err(failed)?;
    Ok(Arc::new(DurableFiles { files: LocalFileSystem::new_with_prefix(&path)? }))
}

#[cfg(feature = "cloud")]
fn cloud(url: &str, environment: &[(String, String)]) -> Result<Arc<dyn ObjectStore>> {
    cloud::open(url, environment)?.ok_or_else(|| {
        let known = "s3://bucket/prefix, gs://bucket/prefix, az://container/prefix, a path, file:///path or memory://";
        Error::invalid(format!("`{url}` is no store that Seam can open: use {known}"))
    })
}

#[cfg(not(feature = "cloud"))]
fn cloud(url: &str, _environment: &[(String, String)]) -> Result<Arc<dyn ObjectStore>> {
    Err(Error::invalid(format!(
        "`{url}` is no store that this build can open: use a path, file:///path or memory://, or a build with the feature `cloud`"
    )))
}

/// Local files whose writes are on disk when they are answered, and whole or absent after a crash. Reads and listings are
/// those of [`LocalFileSystem`], which also hides the files that a crash left half written (`name#123`).
#[derive(Debug)]
struct DurableFiles {
    files: LocalFileSystem,
}

impl std::fmt::Display for DurableFiles {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "durable {}", self.files)
    }
}

#[async_trait]
impl ObjectStore for DurableFiles {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Stored<PutResult> {
        let create = match options.mode {
            PutMode::Create => true,
            PutMode::Overwrite => false,
            PutMode::Update(_) => return self.files.put_opts(location, payload, options).await,
        };
        let target = self.files.path_to_filesystem(location)?;
        blocking(move || {
            let mut staged = Staged::create(target)?;
            payload.iter().try_for_each(|part| staged.file.write_all(part))?;
            staged.publish(create)
        })
        .await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        _options: PutMultipartOptions,
    ) -> Stored<Box<dyn MultipartUpload>> {
        let target = self.files.path_to_filesystem(location)?;
        let staged = blocking(move || Staged::create(target)).await?;
        Ok(Box::new(DurableUpload { staged: Some(Arc::new(staged)), end: 0 }))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Stored<GetResult> {
        self.files.get_opts(location, options).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[std::ops::Range<u64>]) -> Stored<Vec<bytes::Bytes>> {
        self.files.get_ranges(location, ranges).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Stored<Path>>) -> BoxStream<'static, Stored<Path>> {
        self.files.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Stored<ObjectMeta>> {
        self.files.list(prefix)
    }

    fn list_with_offset(&self, prefix: Option<&Path>, offset: &Path) -> BoxStream<'static, Stored<ObjectMeta>> {
        self.files.list_with_offset(prefix, offset)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Stored<ListResult> {
        self.files.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Stored<()> {
        self.files.copy_opts(from, to, options).await?;
        let target = self.files.path_to_filesystem(to)?;
        blocking(move || sync_directory_of(&target)).await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Stored<()> {
        self.files.rename_opts(from, to, options).await?;
        let (source, target) = (self.files.path_to_filesystem(from)?, self.files.path_to_filesystem(to)?);
        blocking(move || sync_directory_of(&target).and_then(|()| sync_directory_of(&source))).await
    }
}

/// A file under a hidden name beside its target; removed when it is dropped unpublished.
#[derive(Debug)]
struct Staged {
    file: File,
    path: PathBuf,
    target: PathBuf,
}

impl Staged {
    fn create(target: PathBuf) -> std::io::Result<Staged> {
        loop {
            let mut name = target.clone().into_os_string();
            name.push(format!("#{}", uuid::Uuid::new_v4().as_u128()));
            let path = PathBuf::from(name);
            match OpenOptions::new().write(true).create_new(true).open(&path) {
                Ok(file) => return Ok(Staged { file, path, target }),
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) if error.kind() == ErrorKind::NotFound => create_directory(directory_of(&target)?)?,
                Err(error) => return Err(error),
            }
        }
    }
    /// Gives the file its name once its bytes are on disk. With `create`, a name that is taken is an error; of several
    /// writers the file system lets one win.
    fn publish(&self, create: bool) -> std::io::Result<PutResult> {
        self.file.sync_all()?;
        let metadata = self.file.metadata()?;
        if create {
            fs::hard_link(&self.path, &self.target)?;
        } else {
            fs::rename(&self.path, &self.target)?;
        }
        sync_directory_of(&self.target)?;
        // The spelling of LocalFileSystem, so that a later `get` names the same version.
        let micros = metadata.modified().ok().and_then(|at| at.duration_since(std::time::UNIX_EPOCH).ok());
        let micros = micros.unwrap_or_default().as_micros();
        let e_tag = format!("{:x}-{micros:x}-{:x}", metadata.ino(), metadata.len());
        Ok(PutResult { e_tag: Some(e_tag), version: None })
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        // What cannot be removed stays hidden; after a rename there is nothing left to remove.
        let _ = fs::remove_file(&self.path);
    }
}

#[derive(Debug)]
struct DurableUpload {
    staged: Option<Arc<Staged>>,
    end: u64,
}

impl DurableUpload {
    fn finished() -> object_store::Error {
        object_store::Error::Generic { store: "durable files", source: "the upload was finished before".into() }
    }
}

#[async_trait]
impl MultipartUpload for DurableUpload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        let staged = self.staged.clone();
        let mut at = self.end;
        self.end += data.content_length() as u64;
        Box::pin(async move {
            let staged = staged.ok_or_else(Self::finished)?;
            blocking(move || {
                for part in &data {
                    staged.file.write_all_at(part, at)?;
                    at += part.len() as u64;
                }
                Ok(())
            })
            .await
        })
    }
    async fn complete(&mut self) -> Stored<PutResult> {
        let staged = self.staged.take().ok_or_else(Self::finished)?;
        blocking(move || staged.publish(false)).await
    }
    async fn abort(&mut self) -> Stored<()> {
        self.staged.take().map(drop).ok_or_else(Self::finished)
    }
}

/// Runs file operations away from the threads that drive tasks.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> std::io::Result<T> + Send + 'static) -> Stored<T> {
    let done = match tokio::runtime::Handle::try_current() {
        Ok(runtime) => runtime.spawn_blocking(work).await?,
        Err(_) => work(),
    };
    done.map_err(|error| match error.kind() {
        ErrorKind::AlreadyExists => {
            object_store::Error::AlreadyExists { path: error.to_string(), source: Box::new(error) }
        }
        ErrorKind::NotFound => object_store::Error::NotFound { path: error.to_string(), source: Box::new(error) },
        _ => object_store::Error::Generic { store: "durable files", source: Box::new(error) },
    })
}

fn directory_of(file: &FilePath) -> std::io::Result<&FilePath> {
    file.parent().ok_or_else(|| std::io::Error::new(ErrorKind::InvalidInput, "a file has a directory"))
}

fn sync_directory_of(file: &FilePath) -> std::io::Result<()> {
    File::open(directory_of(file)?)?.sync_all()
}

/// Creates a directory and those above it, each on disk before the next.
fn create_directory(path: &FilePath) -> std::io::Result<()> {
    if path.as_os_str().is_empty() || path.is_dir() {
        return Ok(());
    }
    if let Some(above) = path.parent() {
        create_directory(above)?;
    }
    match fs::create_dir(path) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists || !path.is_dir() => return Err(error),
        Ok(()) | Err(_) => {}
    }
    match path.parent() {
        Some(above) if !above.as_os_str().is_empty() => File::open(above)?.sync_all(),
        Some(_) | None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;

    use futures::TryStreamExt;
    use object_store::ObjectStoreExt;

    use super::*;
    use crate::error::Kind;

    fn create() -> PutOptions {
        PutOptions { mode: PutMode::Create, ..PutOptions::default() }
    }

    async fn text(store: &dyn ObjectStore, path: &Path) -> String {
        let bytes = store.get(path).await.unwrap().bytes().await.unwrap();
        String::from_utf8(bytes.to_vec()).unwrap()
    }

    async fn names(store: &dyn ObjectStore) -> Vec<String> {
        let mut found: Vec<String> = store.list(None).map_ok(|m| m.location.to_string()).try_collect().await.unwrap();
        found.sort();
        found
    }

    #[tokio::test]
    async fn urls_choose_the_store() {
        let base = tempfile::tempdir().unwrap();
        let path = Path::from("a/b.txt");
        open("lake", base.path()).unwrap().put(&path, "relative".into()).await.unwrap();
        assert_eq!(fs::read_to_string(base.path().join("lake/a/b.txt")).unwrap(), "relative");
        let url = format!("file://{}/lake", base.path().display());
        let store = open(&url, FilePath::new("/nowhere")).unwrap();
        assert_eq!(text(&*store, &path).await, "relative");
        assert!(names(&*open("memory://", base.path()).unwrap()).await.is_empty());
        for refused in ["ftp://bucket/lake", "file://relative", "memory://x"] {
            let error = open(refused, base.path()).expect_err("it is not supported");
            assert_eq!(error.kind(), Kind::Invalid);
            assert!(error.message().contains(refused) && error.message().contains("file:///path"), "{error}");
        }
    }

    #[tokio::test]
    async fn put_overwrites_or_creates() {
        let base = tempfile::tempdir().unwrap();
        let store = open("lake", base.path()).unwrap();
        let path = Path::from("deep/er/file");
        let first = store.put_opts(&path, "one".into(), create()).await.unwrap();
        assert_eq!(store.head(&path).await.unwrap().e_tag, first.e_tag);
        let taken = store.put_opts(&path, "two".into(), create()).await.expect_err("the name is taken");
        assert!(matches!(taken, object_store::Error::AlreadyExists { .. }));
        assert_eq!(text(&*store, &path).await, "one");
        store.put(&path, "three".into()).await.unwrap();
        assert_eq!(text(&*store, &path).await, "three");
        assert_eq!(fs::read_dir(base.path().join("lake/deep/er")).unwrap().count(), 1, "nothing is left beside it");
        let absent = store.get(&Path::from("absent")).await.expect_err("it does not exist");
        assert!(matches!(absent, object_store::Error::NotFound { .. }));
    }

    #[test]
    fn of_two_creators_one_wins_each_name() {
        const ROUNDS: usize = 500;
        let base = tempfile::tempdir().unwrap();
        let store = open("lake", base.path()).unwrap();
        let barrier = Barrier::new(2);
        let race = |name: &'static str| {
            let (store, barrier) = (Arc::clone(&store), &barrier);
            move || {
                let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
                let mut won = Vec::new();
                for round in 0..ROUNDS {
                    barrier.wait();
                    let path = Path::from(format!("log/{round:020}.json"));
                    match runtime.block_on(store.put_opts(&path, name.into(), create())) {
                        Ok(_) => won.push(round),
                        Err(object_store::Error::AlreadyExists { .. }) => {}
                        Err(error) => panic!("{error}"),
                    }
                }
                won
            }
        };
        let (left, right) = std::thread::scope(|scope| {
            let (left, right) = (scope.spawn(race("left")), scope.spawn(race("right")));
            (left.join().unwrap(), right.join().unwrap())
        });
        assert_eq!(left.len() + right.len(), ROUNDS, "each name has one winner");
        for (winner, rounds) in [("left", left), ("right", right)] {
            for round in rounds {
                let stored = base.path().join(format!("lake/log/{round:020}.json"));
                assert_eq!(fs::read_to_string(stored).unwrap(), winner);
            }
        }
    }

    #[tokio::test]
    async fn half_written_files_are_hidden_and_harmless() {
        let base = tempfile::tempdir().unwrap();
        let store = open("lake", base.path()).unwrap();
        let path = Path::from("log/1.json");
        std::mem::forget(Staged::create(base.path().join("lake/log/1.json")).unwrap());
        assert_eq!(fs::read_dir(base.path().join("lake/log")).unwrap().count(), 1, "a crash left it");
        assert!(names(&*store).await.is_empty());
        store.put_opts(&path, "whole".into(), create()).await.unwrap();
        assert_eq!(names(&*store).await, ["log/1.json"]);
        assert_eq!(text(&*store, &path).await, "whole");
    }

    #[tokio::test]
    async fn uploads_appear_when_they_are_complete() {
        let base = tempfile::tempdir().unwrap();
        let store = open("lake", base.path()).unwrap();
        let path = Path::from("data/big");
        let mut upload = store.put_multipart(&path).await.unwrap();
        let (first, second) = (upload.put_part("one ".into()), upload.put_part("two".into()));
        second.await.unwrap();
        first.await.unwrap();
        assert!(names(&*store).await.is_empty());
        upload.complete().await.unwrap();
        assert_eq!(text(&*store, &path).await, "one two");
        let mut aborted = store.put_multipart(&Path::from("data/other")).await.unwrap();
        aborted.put_part("lost".into()).await.unwrap();
        aborted.abort().await.unwrap();
        drop(aborted);
        assert_eq!(names(&*store).await, ["data/big"]);
        assert_eq!(fs::read_dir(base.path().join("lake/data")).unwrap().count(), 1);
    }
}
