//! The state store of a deployment with Redis, single or Cluster. Redis may lose everything at any moment: then answers come
//! from the generations alone until the log is folded again; they are never wrong.
//!
//! # Keys
//! All keys of a partition lie in one slot, by the tag in braces. Names are escaped ([`names`]).
//! | key | type | holds |
//! |---|---|---|
//! | `metrics:{ns/source/0}:view@hash:state` | hash | where the view stands, and the rows of the open segment |
//! | `metrics:{ns/source/0}:view@hash:closed:<segment>` | string | the rows of a closed segment, [`Rows::encode`] |
//!
//! The state has `position`, `floor`, `segment` (the start of the open one), `progress` (as the workers spell it), `life` (a name
//! given at the claim), `closed` (a line `start end rows bytes checksum` for each closed segment), and the open segment's rows:
//! - the last 64 *deltas*, numbered, in the fields `d0` to `d63`: the rows that a commit changed, and the position that it starts from;
//! - now and then all rows, in `base`, as they are after delta `based` of `last`.
//!
//! A reader asks for the deltas behind the position of the rows that it has: what it fetches and decodes is what has changed.
//!
//! # Exactness
//! Every change is one script that declares all its keys. It applies only to the position that it starts from; the values are
//! absolute and made here. Scripts do not roll back, and a torn append-only file may apply half of one: so all that counts of a view
//! changes by *one* command, the script's last write, and what comes before it, or after it, counts for nothing by itself. What is found
//! incomplete or damaged is answered as missing, and the worker starts the view again at the boundary that the newest generation covers.
//!
//! The rows of a segment at a position follow from the log. So rows at hand at a position can go on with any delta that starts there or
//! before, whoever wrote it, also after the state fell back and came again.
mod advice;
mod known;
mod link;
mod names;
mod reply;
mod scripts;

use std::sync::{Arc, Mutex};
use std::time::Instant;

use async_trait::async_trait;
use hashbrown::HashMap;
use xxhash_rust::xxh3::xxh3_64;

pub use advice::{Advice, Severity};

use crate::config::RedisSettings;
use crate::error::{Error, Result};
use crate::lock::lock;
use crate::log::{Offset, Partition};
use crate::state::{Committed, Progress, Snapshot, StateStore, ViewCommit, ViewId, held};
use crate::view::rows::Rows;
use known::{Known, Next};
use link::{Call, Link};
use names::Names;
use reply::{Found, Meta};

/// How often a script is sent again because the view was changed meanwhile.
const ATTEMPTS: usize = 32;
/// How many closed segments a commit looks after, in turn.
const WATCHED: usize = 16;
/// How many closed segments a snapshot looks after, in turn.
const LOOKED_AFTER: usize = 8;

/// The state store in a Redis.
pub struct RedisState {
    link: Link,
    known: Mutex<HashMap<(Partition, ViewId), Arc<Mutex<Known>>>>,
}

impl std::fmt::Debug for RedisState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "RedisState({})", self.link.settings().place())
    }
}

impl RedisState {
    /// The state in a Redis, which is connected to when it is first needed.
    pub fn open(settings: RedisSettings) -> RedisState {
        RedisState { link: Link::new(settings), known: Mutex::default() }
    }

    /// What is to be said about the server's settings; nothing if all is well. Never fails: an unreachable server is advice too.
    pub async fn check(&self) -> Vec<Advice> {
        let silent = |error| vec![Advice::refuse(format!("redis does not answer: {error}"))];
        advice::check(&self.link).await.unwrap_or_else(silent)
    }

    /// The same, for whoever can wait for a server that does not answer yet. Whether it permits our scripts is tried.
    ///
    /// # Errors
    /// `Unavailable` if it does not answer, `Internal` if it does not permit what is needed.
    pub async fn examine(&self) -> Result<Vec<Advice>> {
        self.look(&Partition::new("none", 0), &[Arc::from("none")]).await?;
        advice::check(&self.link).await
    }

    fn names(&self, partition: &Partition, view: &str) -> Names {
        Names::new(&self.link.settings().namespace, partition, view)
    }

    fn with_known<T>(&self, partition: &Partition, view: &ViewId, work: impl FnOnce(&mut Known) -> T) -> T {
        let known = {
            let mut all = lock(&self.known);
            Arc::clone(all.entry((partition.clone(), Arc::clone(view))).or_default())
        };
        work(&mut lock(&known))
    }

    /// The views as they stand; asked again where another look of this process has changed meanwhile what the answer goes on from.
    async fn look(&self, partition: &Partition, views: &[ViewId]) -> Result<Vec<Option<Snapshot>>> {
        let until = Instant::now() + self.link.settings().timeout;
        while Instant::now() < until {
            let mut call = Call::default();
            call.number(views.len());
            let asked: Vec<u64> = (views.iter())
                .map(|view| {
                    let names = self.names(partition, view);
                    self.with_known(partition, view, |known| scripts::snapshot(&mut call, &names, known))
                })
                .collect();
            let answer = self.link.run(&scripts::SNAPSHOT, &call).await?;
            let mut held = Vec::with_capacity(views.len());
            let mut again = false;
            for ((found, asked), view) in reply::views(answer, views.len())?.into_iter().zip(asked).zip(views) {
                let read = self.with_known(partition, view, |known| match found {
                    Found::Held(raw) => known.read(raw, asked),
                    Found::Same => Ok(known.same(asked)),
                    Found::None => Ok(known.nothing()),
                    Found::Lost => Err(reply::damaged()),
                });
                held.push(match read {
                    Ok(known::Read::Snapshot(snapshot)) => Some(snapshot),
                    Ok(known::Read::Nothing) => None,
                    Ok(known::Read::Again) => {
                        again = true;
                        None
                    }
                    Err(error) => {
                        tracing::warn!(%partition, %view, %error, "state in redis is incomplete or damaged");
                        self.with_known(partition, view, Known::lost);
                        None
                    }
                });
            }
            if !again {
                return Ok(held);
            }
        }
        Err(changing(partition))
    }
}

fn changing(partition: &Partition) -> Error {
    Error::unavailable(format!("state of {partition} in redis keeps changing"))
}

/// A name that nothing had before.
fn nonce() -> String {
    format!("{:016x}", uuid::Uuid::new_v4().as_u64_pair().0)
}

fn checksum(bytes: &[u8]) -> String {
    format!("{:016x}", xxh3_64(bytes))
}

#[async_trait]
impl StateStore for RedisState {
    async fn commit(&self, partition: &Partition, mut commits: Vec<ViewCommit>) -> Result<Committed> {
        if commits.is_empty() {
            return Ok(Committed::Applied);
        }
        held::check_shape(&commits)?;
        for _ in 0..ATTEMPTS {
            let (mut call, mut bodies) = (Call::default(), Call::default());
            call.number(commits.len());
            let mut next: Vec<Next> = Vec::with_capacity(commits.len());
            for commit in &commits {
                let names = self.names(partition, &commit.view);
                let (of_view, watched) =
                    self.with_known(partition, &commit.view, |known| (known.next(commit), known.watched()));
                scripts::head(&mut call, &names, commit, &of_view, &watched);
                scripts::body(&mut bodies, &names, commit, &of_view)?;
                next.push(of_view);
            }
            call.append(&bodies);
            match reply::commit(self.link.run(&scripts::COMMIT, &call).await?)? {
                reply::Commit::Applied => {
                    for (commit, next) in commits.iter_mut().zip(next) {
                        let view = Arc::clone(&commit.view);
                        self.with_known(partition, &view, |known| known.applied(commit, next));
                    }
                    return Ok(Committed::Applied);
                }
                reply::Commit::Refused(refused) => {
                    for commit in commits.iter().filter(|_| refused == Committed::Missing) {
                        self.with_known(partition, &commit.view, Known::lost);
                    }
                    return Ok(refused);
                }
                reply::Commit::Gap => return Err(held::gap(&commits[0])),
                // All rows are to be written anew, and this process does not have them at hand.
                reply::Commit::Full => {
                    let views: Vec<ViewId> = commits.iter().map(|commit| Arc::clone(&commit.view)).collect();
                    self.look(partition, &views).await?;
                }
            }
        }
        Err(changing(partition))
    }

    async fn claim(&self, partition: &Partition, view: &ViewId, boundary: Offset) -> Result<Progress> {
        let names = self.names(partition, view);
        let progress = Progress::at(boundary);
        for _ in 0..ATTEMPTS {
            let meta = self.meta(&names).await?;
            let call = scripts::claim(&names, &meta, &progress, &nonce())?;
            match reply::claim(self.link.run(&scripts::CLAIM, &call).await?)? {
                reply::Claimed::Stale => {}
                reply::Claimed::Made { lost } => {
                    if lost {
                        tracing::warn!(%partition, %view, %boundary, "what was left of a view in redis is folded anew");
                    }
                    return Ok(progress);
                }
                // What the script cannot see: whether it can be read.
                reply::Claimed::Held => match self.look(partition, std::slice::from_ref(view)).await?.pop().flatten() {
                    Some(held) => return Ok(held.progress),
                    None => self.forget(partition, view).await?,
                },
            }
        }
        Err(changing(partition))
    }

    async fn snapshot(&self, partition: &Partition, views: &[ViewId]) -> Result<Vec<Option<Snapshot>>> {
        if views.is_empty() { Ok(Vec::new()) } else { self.look(partition, views).await }
    }

    async fn progress(&self, partition: &Partition, views: &[ViewId]) -> Result<Vec<Option<Progress>>> {
        let mut stand = Vec::with_capacity(views.len());
        for view in views {
            stand.push(self.meta(&self.names(partition, view)).await?.progress());
        }
        Ok(stand)
    }

    async fn segment(&self, partition: &Partition, view: &ViewId, start: Offset) -> Result<Option<Arc<Rows>>> {
        let names = self.names(partition, view);
        let mut call = Call::default();
        call.key(names.state()).key(names.closed(start));
        let Some((entry, value)) = reply::segment(self.link.run(&scripts::SEGMENT, &call).await?, start)? else {
            return Ok(None);
        };
        match entry.rows(&value) {
            Ok(rows) => Ok(Some(Arc::new(rows))),
            Err(error) => {
                // Without its value the view counts as lost, and is folded anew.
                tracing::warn!(%partition, %view, %start, %error, "a segment in redis is damaged and was dropped");
                self.link.ask(redis::cmd("UNLINK").arg(names.closed(start))).await?;
                Ok(None)
            }
        }
    }

    async fn trim(&self, partition: &Partition, view: &ViewId, floor: Offset) -> Result<()> {
        let names = self.names(partition, view);
        for _ in 0..ATTEMPTS {
            let meta = self.meta(&names).await?;
            let Some(call) = scripts::trim(&names, view, &meta, floor)? else { return Ok(()) };
            if reply::is_done(self.link.run(&scripts::TRIM, &call).await?)? {
                return Ok(());
            }
        }
        Err(changing(partition))
    }

    async fn forget(&self, partition: &Partition, view: &ViewId) -> Result<()> {
        let names = self.names(partition, view);
        for _ in 0..ATTEMPTS {
            let meta = self.meta(&names).await?;
            let call = scripts::forget(&names, &meta);
            if reply::is_done(self.link.run(&scripts::FORGET, &call).await?)? {
                let mut all = lock(&self.known);
                all.remove(&(partition.clone(), Arc::clone(view)));
                return Ok(());
            }
        }
        Err(changing(partition))
    }
}

impl RedisState {
    /// What a view's state says beside its rows; empty if there is none, or something else has its name.
    async fn meta(&self, names: &Names) -> Result<Meta> {
        match self.link.send(redis::cmd("HMGET").arg(names.state()).arg(&reply::META)).await {
            Ok(value) => reply::meta(value),
            Err(error) if error.code() == Some("WRONGTYPE") => Ok(Meta::default()),
            Err(error) => Err(self.link.failed(error)),
        }
    }
}
