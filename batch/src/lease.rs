//! A lease on one view's recompute, so that two runs do not do the same work twice. No correctness depends on it: publishing is
//! create-only, and of two runs that both believe to hold the lease one loses there.
use std::sync::Arc;
use std::time::Duration;

use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutOptions};
use seam_shared::clock::Clock;
use seam_shared::error::{Error, Result};
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
}

#[derive(Serialize, Deserialize)]
struct Held {
    holder: String,
    until: Timestamp,
}

impl Lease {
    /// Takes the lease called `name`; `None` while another holds it.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn take(store: Arc<dyn ObjectStore>, clock: Arc<dyn Clock>, name: &str) -> Result<Option<Lease>> {
        let path = Path::from("leases").join(name);
        let lease = Lease { store, path, holder: clock.nonce(), clock };
        for _ in 0..2 {
            match lease.put(PutMode::Create).await {
                Ok(()) => return Ok(Some(lease)),
                Err(object_store::Error::AlreadyExists { .. }) => {}
                Err(error) => return Err(error.into()),
            }
            let held = match lease.held().await {
                Ok(held) => held,
                Err(object_store::Error::NotFound { .. }) => continue,
                Err(error) => return Err(error.into()),
            };
            let now = lease.clock.now();
            // a holder whose clock ran far ahead must not lock everybody out
            if held.is_some_and(|held| held.until > now && held.until <= now.plus(Span(2 * TERM.0))) {
                return Ok(None);
            }
            lease.delete().await?;
        }
        Ok(None)
    }
    /// Frees the lease called `name`, whoever holds it. For the start of a process that knows that its predecessor is gone; a run
    /// beside it that loses its lease so loses nothing but perhaps its work.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn free(store: &Arc<dyn ObjectStore>, clock: &Arc<dyn Clock>, name: &str) -> Result<()> {
        let path = Path::from("leases").join(name);
        Lease { store: store.clone(), path, holder: clock.nonce(), clock: clock.clone() }.delete().await
    }
    /// Holds it for another term.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn renew(&self) -> Result<()> {
        Ok(self.put(PutMode::Overwrite).await?)
    }
    /// Renews for as long as `work` takes. A renewal that fails is tried again; at worst another run does the same work.
    pub async fn while_doing<T>(&self, work: impl Future<Output = T>) -> T {
        let mut work = std::pin::pin!(work);
        loop {
            tokio::select! {
                done = &mut work => return done,
                () = tokio::time::sleep(RENEWAL) => if let Err(error) = self.renew().await {
                    tracing::warn!(%error, "a lease could not be renewed");
                }
            }
        }
    }
    /// Gives it back.
    ///
    /// # Errors
    /// Those of the store; the lease then runs out by itself.
    pub async fn release(self) -> Result<()> {
        match self.held().await {
            Ok(Some(held)) if held.holder == self.holder => self.delete().await,
            Ok(_) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    async fn put(&self, mode: PutMode) -> std::result::Result<(), object_store::Error> {
        let held = Held { holder: self.holder.clone(), until: self.clock.now().plus(TERM) };
        let bytes = serde_json::to_vec(&held).unwrap_or_default();
        self.store.put_opts(&self.path, bytes.into(), PutOptions::from(mode)).await.map(|_| ())
    }
    async fn held(&self) -> std::result::Result<Option<Held>, object_store::Error> {
        let bytes = self.store.get(&self.path).await?.bytes().await?;
        Ok(serde_json::from_slice(&bytes).ok())
    }
    async fn delete(&self) -> Result<()> {
        match self.store.delete(&self.path).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(Error::from(error)),
        }
    }
}
