//! A lease on one view's recompute, or on the alert rules, so that two do not do the same work twice. No correctness depends on it:
//! publishing is create-only, and of two runs that both believe to hold the lease one loses there.
//!
//! Every change is a compare-and-swap on the object's version, so that of two that find a lease run out one gets it. Where a store
//! has none (local files), it is deleted and created again, and two may now and then both hold it.
use std::sync::{Arc, Mutex};
use std::time::Duration;

use object_store::path::Path;
use object_store::{Error as Refused, ObjectStore, ObjectStoreExt, PutMode, PutOptions, UpdateVersion};
use seam_shared::clock::Clock;
use seam_shared::error::{Error, Kind, Result};
use seam_shared::lock::lock;
use seam_shared::time::{Span, Timestamp};
use serde::{Deserialize, Serialize};

/// After this time without renewal a lease is free again: so long a killed run keeps others waiting.
const TERM: Span = Span(15 * Span::SECOND.0);
/// How often a holder at work renews.
const RENEWAL: Duration = Duration::from_secs(5);

/// A lease that is held until it is released or runs out.
#[derive(Debug)]
pub struct Lease {
    store: Arc<dyn ObjectStore>,
    clock: Arc<dyn Clock>,
    path: Path,
    holder: String,
    /// Which version of the object is ours.
    version: Mutex<UpdateVersion>,
    /// How often it is renewed.
    every: Duration,
}

#[derive(Serialize, Deserialize)]
struct Held {
    holder: String,
    until: Timestamp,
}

impl Held {
    /// Whether its term runs. A holder whose clock ran far ahead must not lock everybody out.
    fn lasts(&self, now: Timestamp) -> bool {
        self.until > now && self.until <= now.plus(Span(2 * TERM.0))
    }
}

/// Who holds a lease.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Holder {
    /// A name that its process made up.
    pub holder: String,
    /// When it is free again unless it is renewed, RFC 3339.
    pub until: String,
}

type Stored<T> = std::result::Result<T, Refused>;

impl Lease {
    /// Takes the lease called `name`; `None` while another holds it.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn take(store: Arc<dyn ObjectStore>, clock: Arc<dyn Clock>, name: &str) -> Result<Option<Lease>> {
        let lease = Lease::named(store, clock, name);
        for _ in 0..2 {
            let (held, version) = match lease.read().await {
                Ok(found) => found,
                Err(Refused::NotFound { .. }) => match lease.write(PutMode::Create, TERM).await? {
                    true => return Ok(Some(lease)),
                    false => continue, // another was first
                },
                Err(error) => return Err(error.into()),
            };
            let now = lease.clock.now();
            if held.is_some_and(|held| held.lasts(now)) {
                return Ok(None);
            }
            match lease.write(PutMode::Update(version), TERM).await {
                Ok(true) => return Ok(Some(lease)),
                Ok(false) => return Ok(None), // another found it run out, too, and was first
                Err(Refused::NotImplemented { .. }) => lease.delete().await?,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(None)
    }
    /// Frees the lease called `name`, whoever holds it. For the start of a process that knows that its predecessor is gone; a run
    /// beside it that loses its lease so loses nothing but perhaps its work.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn free(store: &Arc<dyn ObjectStore>, clock: &Arc<dyn Clock>, name: &str) -> Result<()> {
        Lease::named(store.clone(), clock.clone(), name).delete().await
    }
    /// Who holds the lease called `name` now.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn holder(store: &Arc<dyn ObjectStore>, clock: &Arc<dyn Clock>, name: &str) -> Result<Option<Holder>> {
        match Lease::named(store.clone(), clock.clone(), name).read().await {
            Ok((held, _)) => {
                let held = held.filter(|held| held.lasts(clock.now()));
                Ok(held.map(|held| Holder { holder: held.holder, until: held.until.to_rfc3339() }))
            }
            Err(Refused::NotFound { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
    /// Holds it for another term.
    ///
    /// # Errors
    /// `Conflict` if another has it by now; those of the store.
    pub async fn renew(&self) -> Result<()> {
        match self.write(PutMode::Update(self.version()), TERM).await {
            Ok(true) => Ok(()),
            Ok(false) => Err(self.lost()),
            Err(Refused::NotImplemented { .. }) => self.overwrite().await,
            Err(error) => Err(error.into()),
        }
    }
    /// Holds it for another term where the store has no compare-and-swap: who has it is asked first, so that of two that thought they
    /// have it one goes on.
    async fn overwrite(&self) -> Result<()> {
        match self.read().await {
            Ok((Some(held), _)) if held.holder != self.holder && held.lasts(self.clock.now()) => Err(self.lost()),
            Ok(_) | Err(Refused::NotFound { .. }) => Ok(self.write(PutMode::Overwrite, TERM).await.map(drop)?),
            Err(error) => Err(error.into()),
        }
    }
    fn lost(&self) -> Error {
        Error::conflict(format!("another has the lease {} by now", self.path))
    }
    /// Renews beside whatever is done, and ends with the conflict when another has the lease. A renewal that fails otherwise is tried again.
    async fn renewing(&self) -> Error {
        loop {
            tokio::time::sleep(self.every).await;
            match self.renew().await {
                Ok(()) => {}
                Err(error) if error.kind() == Kind::Conflict => return error,
                Err(error) => tracing::warn!(%error, "a lease could not be renewed"),
            }
        }
    }
    /// Renews for as long as `work` takes, which does not wait for that. Once another has the lease, the work goes on without it: at worst
    /// both do the same.
    pub async fn while_doing<T>(&self, work: impl Future<Output = T>) -> T {
        let mut work = std::pin::pin!(work);
        tokio::select! {
            done = &mut work => return done,
            error = self.renewing() => tracing::warn!(%error, "the work goes on without its lease"),
        }
        work.await
    }
    /// The same, but once another has the lease the work is dropped.
    ///
    /// # Errors
    /// `Conflict` if another has it by now.
    pub async fn while_held<T>(&self, work: impl Future<Output = T>) -> Result<T> {
        tokio::select! {
            done = work => Ok(done),
            error = self.renewing() => Err(error),
        }
    }
    /// Gives it back.
    ///
    /// # Errors
    /// Those of the store; the lease then runs out by itself.
    pub async fn release(self) -> Result<()> {
        // Run out long ago, also for a process whose clock is behind: a deletion could hit the lease of the next holder.
        let long_past = Span(-self.clock.now().0);
        match self.write(PutMode::Update(self.version()), long_past).await {
            Ok(_) => return Ok(()),
            Err(Refused::NotImplemented { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        match self.read().await {
            Ok((Some(held), _)) if held.holder == self.holder => self.delete().await,
            Ok(_) | Err(Refused::NotFound { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn named(store: Arc<dyn ObjectStore>, clock: Arc<dyn Clock>, name: &str) -> Lease {
        let path = Path::from("leases").join(name);
        let version = Mutex::new(UpdateVersion { e_tag: None, version: None });
        Lease { store, path, holder: clock.nonce(), clock, version, every: RENEWAL }
    }
    fn version(&self) -> UpdateVersion {
        lock(&self.version).clone()
    }
    /// Writes ourselves as the holder for a term from now; false if the object is not what `mode` expects. A reply that leaves
    /// open whether it was written, or that may answer our own request made twice, is decided by reading back.
    async fn write(&self, mode: PutMode, term: Span) -> Stored<bool> {
        let until = self.clock.now().plus(term);
        let bytes = serde_json::to_vec(&Held { holder: self.holder.clone(), until }).unwrap_or_default();
        let written = self.store.put_opts(&self.path, bytes.into(), PutOptions::from(mode)).await;
        let version = match written {
            Ok(put) => UpdateVersion { e_tag: put.e_tag, version: put.version },
            Err(error @ Refused::NotImplemented { .. }) => return Err(error),
            Err(error) => match self.read().await {
                Ok((Some(held), version)) if held.holder == self.holder && held.until == until => version,
                Ok((Some(held), version)) if held.holder == self.holder => {
                    // an earlier renewal of ours that was answered late or never: the next one goes on from it
                    *lock(&self.version) = version;
                    return Err(error);
                }
                Ok(_) | Err(Refused::NotFound { .. }) if decided(&error) => return Ok(false),
                Ok(_) | Err(_) => return Err(error),
            },
        };
        *lock(&self.version) = version;
        Ok(true)
    }
    /// What the object says and its version; `None` for one that is damaged.
    async fn read(&self) -> Stored<(Option<Held>, UpdateVersion)> {
        let found = self.store.get(&self.path).await?;
        let version = UpdateVersion { e_tag: found.meta.e_tag.clone(), version: found.meta.version.clone() };
        Ok((serde_json::from_slice(&found.bytes().await?).ok(), version))
    }
    async fn delete(&self) -> Result<()> {
        match self.store.delete(&self.path).await {
            Ok(()) | Err(Refused::NotFound { .. }) => Ok(()),
            Err(error) => Err(Error::from(error)),
        }
    }
}

/// Whether the store says that the object was not what was expected.
fn decided(error: &Refused) -> bool {
    matches!(error, Refused::AlreadyExists { .. } | Refused::Precondition { .. })
}

#[cfg(test)]
mod tests;
