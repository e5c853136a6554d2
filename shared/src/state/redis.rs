//! The state store of a deployment with Redis, single or Cluster. Redis may lose everything at any moment: then answers come
//! from the generations alone until the log is folded again; they are never wrong.
//!
//! # Keys
//! All keys of a partition lie in one slot, by the tag in braces. Names are escaped ([`names`]), groups are JSON ([`text`]).
//! | key | type | holds |
//! |---|---|---|
//! | `metrics:{ns/source/0}:view@hash:meta` | hash | where the view stands, and what else there is of it |
//! | `metrics:{ns/source/0}:view@hash:open:<segment>:<pane end>` | hash | one pane of the open segment: group to states |
//! | `metrics:{ns/source/0}:view@hash:closed:<segment>` | string | the rows of a closed segment, [`Rows::encode`] |
//!
//! The meta has `position`, `floor`, `segment` (the start of the open one), `progress` (as the workers spell it), `life` (a name
//! given at the claim), `begun` and `done` (commits begun and done), a field `pane:<end in microseconds>` for each pane (`rows
//! nonce`) and a field `closed:<start>` for each closed segment (`end rows bytes checksum`).
//!
//! # Exactness
//! Every change is one script that declares all its keys. It applies only to the position that it starts from; the values are
//! absolute and made here. Scripts do not roll back, and a torn append-only file may apply half of one: `begun` and `done` then
//! differ for good. Whatever is found half applied, incomplete or damaged is answered as missing, and the worker starts the
//! view again at the boundary that the newest generation covers.
//!
//! The keys of a view follow from its meta. What this process knows of it may be old; a script that finds a name it was not
//! given a key for changes nothing, answers with the names, and is sent again.
mod advice;
mod link;
mod names;
mod reply;
mod scripts;
mod text;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use async_trait::async_trait;
use hashbrown::HashMap;
use xxhash_rust::xxh3::xxh3_64;

pub use advice::{Advice, Severity};

use crate::config::RedisSettings;
use crate::error::{Error, Result};
use crate::log::{Offset, Partition};
use crate::state::{Committed, Progress, Snapshot, StateStore, ViewCommit, ViewId, held};
use crate::time::Timestamp;
use crate::view::rows::Rows;
use link::{Call, Link};
use names::Names;
use reply::{Found, Held, Pane};

/// How often a script is sent again because there was more of a view than this process knew.
const ATTEMPTS: usize = 32;
/// How many panes and closed segments a commit looks after that it does not write, in turn.
const WATCHED: usize = 32;
/// How many closed segments a snapshot looks after, in turn.
const LOOKED_AFTER: usize = 256;

/// The state store in a Redis.
pub struct RedisState {
    link: Link,
    known: Mutex<HashMap<(Partition, ViewId), Known>>,
}

/// What this process has seen of a view: hints of which keys there are, and the rows of panes by the nonce of their last write.
#[derive(Debug, Clone, Default)]
struct Known {
    segment: Offset,
    panes: BTreeMap<Timestamp, Option<Pane>>,
    closed: BTreeSet<Offset>,
    /// All rows of the open segment, and which panes they were made of.
    open: Option<(Vec<(Timestamp, String)>, Arc<Rows>)>,
    /// Where the next look at some of many keys begins.
    turn: usize,
}

impl Known {
    /// Up to `limit` of the closed segments, others each time.
    fn some_closed(&mut self, limit: usize) -> Vec<Offset> {
        self.turn = self.turn.wrapping_add(limit);
        if self.closed.len() <= limit {
            return self.closed.iter().copied().collect();
        }
        self.closed.iter().cycle().skip(self.turn % self.closed.len()).take(limit).copied().collect()
    }
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

    /// Whether work can start: the server answers, permits what is needed, and no setting of it endangers state. What should
    /// be changed some time is logged.
    ///
    /// # Errors
    /// `Unavailable` if it does not answer, `Invalid` with the reason if its settings must be changed first.
    pub async fn ready(&self) -> Result<()> {
        self.look(&Partition::new("none", 0), &[Arc::from("none")]).await?;
        for found in advice::check(&self.link).await? {
            match found.severity {
                Severity::Refuse => return Err(Error::invalid(found.message)),
                Severity::Warn => tracing::warn!("{}", found.message),
                Severity::Note => tracing::info!("{}", found.message),
            }
        }
        Ok(())
    }

    fn names(&self, partition: &Partition, view: &str) -> Names {
        Names::new(&self.link.settings().namespace, partition, view)
    }

    fn known(&self, partition: &Partition, view: &ViewId) -> Known {
        self.with_known(partition, view, |known| known.clone())
    }

    fn with_known<T>(&self, partition: &Partition, view: &ViewId, work: impl FnOnce(&mut Known) -> T) -> T {
        let mut all = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        work(all.entry((partition.clone(), Arc::clone(view))).or_default())
    }

    /// The views as they stand; sent again until every key of theirs is declared. While a worker adds panes with each commit
    /// that may take several times.
    async fn look(&self, partition: &Partition, views: &[ViewId]) -> Result<Vec<Option<Held>>> {
        let until = Instant::now() + self.link.settings().timeout;
        while Instant::now() < until {
            let mut call = Call::default();
            call.number(views.len());
            let known: Vec<Known> = views
                .iter()
                .map(|view| {
                    let (known, closed) =
                        self.with_known(partition, view, |known| (known.clone(), known.some_closed(LOOKED_AFTER)));
                    let names = self.names(partition, view);
                    scripts::snapshot(&mut call, &names, &known, &closed);
                    known
                })
                .collect();
            let answer = self.link.run(&scripts::SNAPSHOT, &call).await?;
            let found = reply::views(answer, known.len())?;
            let mut held = Vec::with_capacity(views.len());
            let mut stale = false;
            for ((found, known), view) in found.into_iter().zip(known).zip(views) {
                held.push(match found {
                    Found::None => None,
                    Found::Stale(panes, closed, segment) => {
                        stale = true;
                        self.learn(partition, view, segment, panes, closed);
                        None
                    }
                    Found::Lost => {
                        tracing::warn!(%partition, %view, "state in redis is incomplete");
                        None
                    }
                    Found::Held(raw) => match raw.read(&known) {
                        Ok(held) => {
                            self.remember(partition, view, &held);
                            Some(held)
                        }
                        Err(error) => {
                            tracing::warn!(%partition, %view, %error, "state in redis is damaged");
                            None
                        }
                    },
                });
            }
            if !stale {
                return Ok(held);
            }
        }
        Err(changing(partition))
    }

    fn learn(
        &self,
        partition: &Partition,
        view: &ViewId,
        segment: Offset,
        panes: Vec<Timestamp>,
        closed: BTreeSet<Offset>,
    ) {
        self.with_known(partition, view, |known| {
            let mut before = std::mem::take(&mut known.panes);
            if known.segment != segment {
                before.clear();
            }
            known.segment = segment;
            known.panes = panes.into_iter().map(|pane| (pane, before.remove(&pane).flatten())).collect();
            known.closed = closed;
        });
    }

    fn remember(&self, partition: &Partition, view: &ViewId, held: &Held) {
        self.with_known(partition, view, |known| {
            known.segment = held.progress.segment.start;
            known.panes = held.panes.iter().map(|(pane, rows)| (*pane, Some(rows.clone()))).collect();
            known.closed = held.closed.iter().map(|closed| closed.start).collect();
            known.open = Some((held.signature(), Arc::clone(&held.open)));
        });
    }

    /// Takes note of what a commit wrote.
    fn committed(&self, partition: &Partition, commit: &ViewCommit) {
        self.with_known(partition, &commit.view, |known| {
            for segment in &commit.segments {
                match segment.end {
                    Some(_) => {
                        known.closed.insert(segment.start);
                        known.panes.clear();
                    }
                    None => segment.rows.panes.iter().for_each(|pane| {
                        known.panes.entry(*pane).or_default();
                    }),
                }
            }
            known.segment = commit.progress.segment.start;
        });
    }
}

fn changing(partition: &Partition) -> Error {
    Error::unavailable(format!("state of {partition} in redis keeps changing"))
}

fn nonce() -> String {
    format!("{:016x}", uuid::Uuid::new_v4().as_u64_pair().0)
}

/// What the meta says of a closed segment: its end, its rows, the bytes of its value and a checksum of them.
fn closed_entry(end: Offset, rows: usize, value: &[u8]) -> String {
    format!("{end} {rows} {} {:016x}", value.len(), xxh3_64(value))
}

#[async_trait]
impl StateStore for RedisState {
    async fn commit(&self, partition: &Partition, commits: Vec<ViewCommit>) -> Result<Committed> {
        if commits.is_empty() {
            return Ok(Committed::Applied);
        }
        held::check_shape(&commits)?;
        let names: Vec<Names> = commits.iter().map(|commit| self.names(partition, &commit.view)).collect();
        let nonce = nonce();
        let mut bodies = Call::default();
        for (commit, names) in commits.iter().zip(&names) {
            scripts::body(&mut bodies, names, commit, &nonce)?;
        }
        for _ in 0..ATTEMPTS {
            let mut call = Call::default();
            call.number(commits.len());
            for (commit, names) in commits.iter().zip(&names) {
                let (known, closed) =
                    self.with_known(partition, &commit.view, |known| (known.clone(), known.some_closed(WATCHED)));
                scripts::head(&mut call, names, commit, &known, &closed);
            }
            call.append(&bodies);
            match reply::commit(self.link.run(&scripts::COMMIT, &call).await?)? {
                reply::Commit::Done(committed) => {
                    if committed == Committed::Applied {
                        commits.iter().for_each(|commit| self.committed(partition, commit));
                    }
                    return Ok(committed);
                }
                reply::Commit::Gap => return Err(held::gap(&commits[0])),
                reply::Commit::Stale(more) => {
                    for (v, pane) in more {
                        let view = &commits.get(v).ok_or_else(reply::strange)?.view;
                        let start = held::open_start(&commits[v]);
                        self.with_known(partition, view, |known| {
                            if known.segment != start {
                                known.panes.clear();
                            }
                            known.segment = start;
                            known.panes.entry(pane).or_default();
                        });
                    }
                }
            }
        }
        Err(changing(partition))
    }

    async fn claim(&self, partition: &Partition, view: &ViewId, boundary: Offset) -> Result<Progress> {
        let names = self.names(partition, view);
        let progress = Progress::at(boundary);
        let spelled = scripts::spell(&progress)?;
        for _ in 0..ATTEMPTS {
            let call = scripts::claim(&names, &self.known(partition, view), boundary, &spelled, &nonce());
            match reply::view(self.link.run(&scripts::CLAIM, &call).await?)? {
                reply::Claimed::Stale(panes, closed, segment) => self.learn(partition, view, segment, panes, closed),
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
        if views.is_empty() {
            return Ok(Vec::new());
        }
        let held = self.look(partition, views).await?;
        Ok(held.into_iter().map(|held| held.map(Held::into_snapshot)).collect())
    }

    async fn segment(&self, partition: &Partition, view: &ViewId, start: Offset) -> Result<Option<Arc<Rows>>> {
        let names = self.names(partition, view);
        let mut call = Call::default();
        call.key(names.meta()).key(names.closed(start)).number(start);
        let Some((entry, value)) = reply::segment(self.link.run(&scripts::SEGMENT, &call).await?)? else {
            return Ok(None);
        };
        match reply::closed_rows(&entry, &value) {
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
                self.with_known(partition, view, |known| known.closed.retain(|start| *start >= floor));
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
                let mut all = self.known.lock().unwrap_or_else(PoisonError::into_inner);
                all.remove(&(partition.clone(), Arc::clone(view)));
                return Ok(());
            }
        }
        Err(changing(partition))
    }
}

impl RedisState {
    /// The meta of a view as it is; empty if there is none, or something else has its name.
    async fn meta(&self, names: &Names) -> Result<reply::Meta> {
        match self.link.send(redis::cmd("HGETALL").arg(names.meta())).await {
            Ok(value) => reply::meta(value),
            Err(error) if error.code() == Some("WRONGTYPE") => Ok(reply::Meta::default()),
            Err(error) => Err(self.link.failed(error)),
        }
    }
}
