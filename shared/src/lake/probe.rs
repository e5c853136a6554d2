//! Tries out an object store: what Seam needs of it, how long each takes, and what to do about what it cannot.
use std::time::{Duration, Instant};

use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{Error, ObjectStore, ObjectStoreExt, PutMode, PutOptions, UpdateVersion};

use crate::advice::Advice;
use crate::time::Timestamp;

/// What is said of a store that does not honour create-only writes.
const OVERWRITES: &str = "the store overwrote an object that it was told to create only (If-None-Match: *): two writers would lose \
                          each other's commits. Use a store that honours it";

/// One thing that was tried.
#[derive(Debug, Clone)]
pub struct Tried {
    /// What: `write`, `read`, `create-only`, `compare-and-swap`, `list`, `delete`.
    pub what: &'static str,
    /// Whether Seam's numbers depend on it.
    pub needed: bool,
    /// How long it took.
    pub took: Duration,
    /// `Err` says what is wrong, and what to do.
    pub result: Result<(), String>,
}

/// What was found out about a store.
#[derive(Debug, Clone)]
pub struct Probe {
    /// What was tried, in order.
    pub tried: Vec<Tried>,
    /// How far the store's clock is ahead of ours, in seconds; known to about a second. `None` if nothing could be written.
    pub ahead: Option<f64>,
}

/// Tries the one promise of a store that numbers depend on from the first commit on, and says so if it is broken.
///
/// # Errors
/// `Unavailable` if the store cannot be written, for whatever reason.
pub async fn keeps_create_only(store: &dyn ObjectStore, nonce: &str) -> crate::Result<Vec<Advice>> {
    let path = Path::from("leases").join(format!("probe-{nonce}"));
    let failed = |error: Error| crate::Error::unavailable("the lake cannot be written").because(error);
    store.put_opts(&path, "1".into(), mode(PutMode::Create)).await.map_err(failed)?;
    let again = store.put_opts(&path, "2".into(), mode(PutMode::Create)).await;
    // One that is left is deleted with other leases' leftovers, or by a person.
    let _ = store.delete(&path).await;
    match again {
        Err(Error::AlreadyExists { .. }) => Ok(Vec::new()),
        Ok(_) => Ok(vec![Advice::refuse(OVERWRITES)]),
        Err(error) => Err(failed(error)),
    }
}

/// Writes, reads, lists and deletes an object called `leases/probe-<nonce>`; `now` is our clock.
pub async fn probe(store: &dyn ObjectStore, nonce: &str, now: Timestamp) -> Probe {
    let object = Object { store, path: Path::from("leases").join(format!("probe-{nonce}")) };
    let (mut tried, mut ahead) = (Vec::new(), None);
    if timed(&mut tried, "write", true, object.write()).await.is_none() {
        return Probe { tried, ahead }; // the rest would say the same
    }
    let version = timed(&mut tried, "read", true, object.read(now, &mut ahead)).await;
    timed(&mut tried, "create-only", true, object.create_again()).await;
    if let Some(version) = version {
        timed(&mut tried, "compare-and-swap", false, object.swap(version)).await;
    }
    timed(&mut tried, "list", false, object.list()).await;
    timed(&mut tried, "delete", false, object.delete()).await;
    Probe { tried, ahead }
}

/// Notes how an attempt went and how long it took; what it found.
async fn timed<T>(
    tried: &mut Vec<Tried>,
    what: &'static str,
    needed: bool,
    attempt: impl Future<Output = Result<T, String>>,
) -> Option<T> {
    let begun = Instant::now();
    let found = attempt.await;
    let took = begun.elapsed();
    let (result, found) = match found {
        Ok(found) => (Ok(()), Some(found)),
        Err(wrong) => (Err(wrong), None),
    };
    tried.push(Tried { what, needed, took, result });
    found
}

fn mode(mode: PutMode) -> PutOptions {
    PutOptions { mode, ..PutOptions::default() }
}

/// The object that a store is tried out with. What is wrong is said with what to do about it.
struct Object<'s> {
    store: &'s dyn ObjectStore,
    path: Path,
}

impl Object<'_> {
    async fn write(&self) -> Result<(), String> {
        let written = self.store.put_opts(&self.path, "1".into(), mode(PutMode::Create)).await;
        written.map(|_| ()).map_err(|error| advice(&error, "write objects (PutObject)"))
    }

    /// Reads what was written; `ahead` becomes how far the store's clock is ahead of ours.
    async fn read(&self, now: Timestamp, ahead: &mut Option<f64>) -> Result<UpdateVersion, String> {
        let failed = |error: Error| advice(&error, "read objects (GetObject)");
        let found = self.store.get(&self.path).await.map_err(failed)?;
        *ahead = Some((found.meta.last_modified.timestamp_micros() - now.0) as f64 / 1e6);
        let version = UpdateVersion { e_tag: found.meta.e_tag.clone(), version: found.meta.version.clone() };
        match found.bytes().await.map_err(failed)?.as_ref() {
            b"1" => Ok(version),
            _ => Err("what was read is not what was written: use no cache between Seam and the store".to_owned()),
        }
    }

    async fn create_again(&self) -> Result<(), String> {
        match self.store.put_opts(&self.path, "2".into(), mode(PutMode::Create)).await {
            Err(Error::AlreadyExists { .. }) => Ok(()),
            Ok(_) => Err(OVERWRITES.to_owned()),
            Err(error) => Err(advice(&error, "write objects only where there are none (PutObject with If-None-Match)")),
        }
    }

    /// Replaces the version that was read, and then must not replace it once more.
    async fn swap(&self, version: UpdateVersion) -> Result<(), String> {
        let swapped = self.store.put_opts(&self.path, "3".into(), mode(PutMode::Update(version.clone()))).await;
        let stale = self.store.put_opts(&self.path, "4".into(), mode(PutMode::Update(version))).await;
        match (swapped, stale) {
            (Ok(_), Err(Error::Precondition { .. })) => Ok(()),
            (Err(Error::NotImplemented { .. }), _) => {
                Err("the store has no compare-and-swap: two runs may now and then do the same work, nothing worse"
                    .to_owned())
            }
            (Ok(_), Ok(_)) => Err("the store ignores If-Match: two runs may now and then do the same work".to_owned()),
            (Err(error), _) | (_, Err(error)) => Err(advice(&error, "replace objects (PutObject with If-Match)")),
        }
    }

    async fn list(&self) -> Result<(), String> {
        let prefix = Path::from("leases");
        let listed: Result<Vec<_>, Error> =
            self.store.list(Some(&prefix)).map_ok(|meta| meta.location).try_collect().await;
        match listed {
            Ok(listed) if listed.contains(&self.path) => Ok(()),
            Ok(_) => Err("a fresh object is not listed: old files may be removed late, nothing worse".to_owned()),
            Err(error) => Err(advice(&error, "list objects (ListBucket); only the removal of old files needs it")),
        }
    }

    async fn delete(&self) -> Result<(), String> {
        let permission = "delete objects (DeleteObject); only the removal of old files and leases needs it";
        self.store.delete(&self.path).await.map_err(|error| advice(&error, permission))
    }
}

fn advice(error: &Error, permission: &str) -> String {
    let said = error.to_string();
    let hint = match (refused(&said), error) {
        (Some(hint), _) => hint.to_owned(),
        (None, Error::PermissionDenied { .. } | Error::Unauthenticated { .. }) => {
            format!("the credentials do not allow to {permission}")
        }
        (None, Error::NotFound { .. }) => "the bucket does not exist, or its name is another".to_owned(),
        _ => "the store cannot be used: check its address, the network and the credentials".to_owned(),
    };
    // Some stores answer with pages of XML.
    format!("{hint} ({})", said.lines().next().unwrap_or_default())
}

/// What an S3 server's code for refusing credentials means.
fn refused(said: &str) -> Option<&'static str> {
    let (_, behind) = said.split_once("<Code>")?;
    Some(match behind.split_once("</Code>")?.0 {
        "SignatureDoesNotMatch" => "the secret does not fit the key: AWS_SECRET_ACCESS_KEY is wrong",
        "InvalidAccessKeyId" => "the store does not know the key: AWS_ACCESS_KEY_ID is wrong",
        "ExpiredToken" | "TokenRefreshRequired" => "the credentials have expired: AWS_SESSION_TOKEN is to be renewed",
        "RequestTimeTooSkewed" => "this machine's clock differs too much from the store's",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use object_store::memory::InMemory;

    use super::*;
    use crate::lake::faulty::FaultyStore;

    #[tokio::test]
    async fn a_good_store_passes_and_nothing_is_left() {
        let store = InMemory::new();
        let clock = crate::clock::SystemClock;
        let Probe { tried, ahead } = probe(&store, "a", crate::clock::Clock::now(&clock)).await;
        assert!(ahead.is_some_and(|seconds| seconds.abs() < 60.0), "{ahead:?}");
        let whats: Vec<_> = tried.iter().map(|t| t.what).collect();
        assert_eq!(whats, ["write", "read", "create-only", "compare-and-swap", "list", "delete"]);
        assert!(tried.iter().all(|t| t.result.is_ok()), "{tried:?}");
        assert_eq!(store.list(None).try_collect::<Vec<_>>().await.unwrap(), []);
    }

    #[tokio::test]
    async fn a_store_that_is_away_says_so() {
        let store = FaultyStore::new(Arc::new(InMemory::new()), 1, 256);
        let Probe { tried, .. } = probe(&store, "a", Timestamp(0)).await;
        assert!(tried.iter().any(|t| t.needed && t.result.is_err()), "{tried:?}");
    }

    #[test]
    fn refused_credentials_are_told_apart() {
        for (code, word) in [
            ("SignatureDoesNotMatch", "AWS_SECRET_ACCESS_KEY"),
            ("InvalidAccessKeyId", "AWS_ACCESS_KEY_ID"),
            ("ExpiredToken", "AWS_SESSION_TOKEN"),
            ("RequestTimeTooSkewed", "clock"),
            ("AccessDenied", "do not allow to write"),
        ] {
            let source = format!("403 Forbidden: <?xml version=\"1.0\"?>\n<Error><Code>{code}</Code></Error>").into();
            let error = Error::PermissionDenied { path: "probe".to_owned(), source };
            let said = advice(&error, "write objects (PutObject)");
            assert!(said.contains(word) && !said.contains('\n'), "{code}: {said}");
        }
    }

    #[tokio::test]
    async fn local_files_lack_compare_and_swap_only() {
        let folder = tempfile::tempdir().unwrap();
        let store = crate::lake::store::open("lake", folder.path()).unwrap();
        let failed: Vec<_> =
            probe(&*store, "a", Timestamp(0)).await.tried.into_iter().filter(|t| t.result.is_err()).collect();
        assert!(failed.len() == 1 && failed[0].what == "compare-and-swap" && !failed[0].needed, "{failed:?}");
    }
}
