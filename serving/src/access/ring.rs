//! The keys: found by their hashes, and read again when their file changes, without a restart.
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arc_swap::ArcSwap;
use governor::clock::{Clock, DefaultClock};
use governor::middleware::StateInformationMiddleware;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};
use hashbrown::HashMap;
use seam_shared::access::Caller;
use seam_shared::config::{Config, Key, KeyHash, Rate, keys_of};
use seam_shared::lock::lock;
use seam_shared::{Error, Result};

use super::Known;

/// Keys by hash. Looking up a hash is no help to whoever guesses: nobody can choose how the hash of a guess begins, and the hashes
/// that are compared in the end are compared in constant time.
type ByHash = HashMap<KeyHash, (Key, Known)>;

/// The keys that are known now.
#[derive(Debug)]
pub struct Ring {
    known: ArcSwap<ByHash>,
    file: Option<File>,
}

/// Where they come from.
#[derive(Debug)]
struct File {
    path: PathBuf,
    config: Arc<Config>,
    /// As it was read last, well or ill.
    text: Mutex<String>,
}

impl Ring {
    /// Keys that stay as they are.
    pub fn fixed(keys: &[Key]) -> Ring {
        Ring { known: ArcSwap::from_pointee(renewed(keys.to_vec(), &ByHash::new())), file: None }
    }
    /// The keys of a file.
    ///
    /// # Errors
    /// It cannot be read, or is wrong.
    pub fn of_file(path: &Path, config: &Arc<Config>) -> Result<Ring> {
        let text = std::fs::read_to_string(path)
            .map_err(|e| Error::invalid(format!("the keys file {} cannot be read", path.display())).because(e))?;
        let file = File { path: path.to_owned(), config: config.clone(), text: Mutex::default() };
        let keys = file.keys(&text)?;
        *lock(&file.text) = text;
        Ok(Ring { known: ArcSwap::from_pointee(renewed(keys, &ByHash::new())), file: Some(file) })
    }
    /// Whose key it is.
    pub fn find(&self, key: &str) -> Option<Known> {
        self.known.load().get(&KeyHash::of(key)).map(|(_, known)| known.clone())
    }
    /// Reads the file again if it changed. A file that is wrong, or away, changes nothing, and is told of once.
    pub async fn look(&self) {
        let Some(file) = &self.file else { return };
        let text = match tokio::fs::read_to_string(&file.path).await {
            Ok(text) => text,
            Err(error) => format!("cannot be read: {error}"),
        };
        if std::mem::replace(&mut *lock(&file.text), text.clone()) == text {
            return;
        }
        match file.keys(&text) {
            Ok(keys) => {
                tracing::info!(file = %file.path.display(), keys = keys.len(), "the keys were read again");
                self.known.store(Arc::new(renewed(keys, &self.known.load())));
            }
            Err(error) => tracing::error!(%error, "the keys stay as they were"),
        }
    }
}

impl File {
    fn keys(&self, text: &str) -> Result<Vec<Key>> {
        let name = self.path.display().to_string();
        keys_of(text, &name, Some(&self.config))
            .map_err(|report| Error::invalid(format!("{name} is no file of keys:\n{report}")))
    }
}

/// New keys beside those known before: one that did not change goes on counting; what changed or went ends at once.
fn renewed(keys: Vec<Key>, before: &ByHash) -> ByHash {
    let mut out = ByHash::with_capacity(keys.len());
    for key in keys {
        let same = before.get(&key.hash).filter(|(old, _)| *old == key).map(|(_, known)| known.clone());
        let known = same.unwrap_or_else(|| Known {
            caller: Caller::new(key.name.as_str(), key.scopes.clone(), key.rows.clone(), key.expires),
            limit: key.rate.map(|rate| Arc::new(Limit::new(rate))),
        });
        out.insert(key.hash, (key, known));
    }
    for (hash, (key, known)) in before {
        if out.get(hash).is_none_or(|(new, _)| new != key) {
            known.caller.revoke();
        }
    }
    out
}

/// How often a key may ask.
#[derive(Debug)]
pub struct Limit {
    rate: Rate,
    bucket: RateLimiter<NotKeyed, InMemoryState, DefaultClock, StateInformationMiddleware>,
}

/// What is left of a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allowance {
    /// The limit.
    pub rate: Rate,
    /// Requests that may come at once now.
    pub left: u32,
    /// `Some`: this one is too many; the next may come after that long.
    pub wait: Option<Duration>,
}

impl Limit {
    /// As many at once as `rate` says, and as many in its time.
    pub fn new(rate: Rate) -> Limit {
        let per = Duration::from_micros(rate.per.0.unsigned_abs());
        let quota =
            Quota::with_period(per / rate.count.max(1)).expect("a second is longer than its four-billionth part");
        let quota = quota.allow_burst(NonZeroU32::new(rate.count).unwrap_or(NonZeroU32::MIN));
        Limit { rate, bucket: RateLimiter::direct(quota).with_middleware() }
    }
    /// Takes one.
    pub fn take(&self) -> Allowance {
        match self.bucket.check() {
            Ok(left) => Allowance { rate: self.rate, left: left.remaining_burst_capacity(), wait: None },
            Err(until) => {
                let wait = until.wait_time_from(DefaultClock::default().now());
                Allowance { rate: self.rate, left: 0, wait: Some(wait) }
            }
        }
    }
}
