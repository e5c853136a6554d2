//! The register of definitions: each edition of a configuration's sources, views and metrics that ever ran over this lake.
//!
//! A changed view is another namespace (`view@hash`) that has to be built; until it is whole, its name is answered by the edition
//! before. So that a process with the new file can do that, the register keeps the whole document of each edition. It is a run of
//! create-only numbered objects, like a table's commit log: `definitions/<number>.json`, read by probing the next number.
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutOptions};
use serde::{Deserialize, Serialize};

use crate::clock::Clock;
use crate::config::{Config, load_with};
use crate::error::{Error, Kind, Result};
use crate::lake::verified;
use crate::time::{Span, Timestamp};
use crate::view::definition::View;

/// How often an entry is tried that others are in the way of.
const ATTEMPTS: usize = 16;

/// The definitions of one configuration.
#[derive(Debug, Clone)]
pub struct Edition {
    /// Its number: a later one replaces an earlier one.
    pub number: u64,
    /// When it was registered, by the writer's clock.
    pub registered: Timestamp,
    /// The content hash of its document.
    pub hash: String,
    /// The views of it: public name and id.
    pub views: BTreeMap<String, String>,
    /// Whether what replaced it took over long ago, so that nothing of it is kept up any more.
    pub retired: bool,
    /// Its sources, views and metrics; `None` where this version of Seam understands the document otherwise than the one that
    /// registered it, so that its views could not be read aright.
    pub config: Option<Arc<Config>>,
}

impl Edition {
    /// A view of it by its public name.
    pub fn view(&self, name: &str) -> Option<&Arc<View>> {
        self.config.as_ref()?.view(name)
    }
}

/// One object of the register.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Entry {
    nonce: String,
    /// Microseconds since 1970.
    at: i64,
    #[serde(flatten)]
    what: What,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum What {
    /// A configuration began to run.
    Edition { hash: String, views: BTreeMap<String, String>, definitions: String },
    /// The edition of that number is not kept up any more.
    Retired(u64),
}

/// The register of one lake.
#[derive(Debug)]
pub struct Editions {
    store: Arc<dyn ObjectStore>,
    clock: Arc<dyn Clock>,
    /// What was read so far; entries never change.
    read: tokio::sync::Mutex<Read>,
}

#[derive(Debug, Default)]
struct Read {
    entries: u64,
    editions: Vec<Edition>,
}

impl Editions {
    /// The register in `store`, which need not exist yet. Nothing is read.
    pub fn new(store: Arc<dyn ObjectStore>, clock: Arc<dyn Clock>) -> Editions {
        Editions { store, clock, read: tokio::sync::Mutex::default() }
    }

    /// All editions by number. Asks the store for one entry beyond what is known.
    ///
    /// # Errors
    /// `Corrupt` naming an entry that no Seam wrote; those of the store.
    pub async fn all(&self) -> Result<Vec<Edition>> {
        Ok(self.look().await?.editions.clone())
    }

    /// Registers `config` unless it is the newest edition; answers with its number. An edition that comes back replaces those after
    /// it only if the newest one is older than `settled`: until then processes of both may run side by side, as in a rolling
    /// restart, and which of them is meant to stay cannot be told.
    ///
    /// # Errors
    /// As [`Editions::all`]; `Unavailable` when it is unknown whether the entry was made.
    pub async fn register(&self, config: &Config, settled: Span) -> Result<u64> {
        let hash = verified::hash(config.definitions.as_bytes());
        let views = config.views.iter().map(|view| (view.name.clone(), view.id.to_string())).collect();
        let what = What::Edition { hash: hash.clone(), views, definitions: config.definitions.to_string() };
        for _ in 0..ATTEMPTS {
            let read = self.look().await?;
            let known = read.editions.iter().rfind(|edition| edition.hash == hash && !edition.retired);
            let newest = read.editions.last();
            if let (Some(known), Some(newest)) = (known, newest)
                && (known.number == newest.number || newest.registered.plus(settled) > self.clock.now())
            {
                return Ok(known.number);
            }
            let number = read.entries;
            drop(read);
            if self.create(number, what.clone()).await? {
                return Ok(number);
            }
        }
        Err(Error::unavailable("others keep registering definitions"))
    }

    /// The editions whose views may still be asked for beside `config`: not retired, of other definitions, and readable; the
    /// newest first.
    ///
    /// # Errors
    /// As [`Editions::all`].
    pub async fn others(&self, config: &Config) -> Result<Vec<Edition>> {
        let hash = verified::hash(config.definitions.as_bytes());
        let mut seen = BTreeSet::from([hash]);
        let read = self.look().await?;
        let live = read.editions.iter().rev().filter(|edition| !edition.retired && edition.config.is_some());
        Ok(live.filter(|edition| seen.insert(edition.hash.clone())).cloned().collect())
    }

    /// Notes that an edition is not kept up any more.
    ///
    /// # Errors
    /// `NotFound` for a number that is no edition's; as [`Editions::register`].
    pub async fn retire(&self, number: u64) -> Result<()> {
        for _ in 0..ATTEMPTS {
            let read = self.look().await?;
            let edition = read.editions.iter().find(|edition| edition.number == number);
            let edition = edition.ok_or_else(|| Error::not_found(format!("there is no edition {number}")))?;
            if edition.retired {
                return Ok(());
            }
            let next = read.entries;
            drop(read);
            if self.create(next, What::Retired(number)).await? {
                return Ok(());
            }
        }
        Err(Error::unavailable("others keep registering definitions"))
    }

    /// Reads what was added since the last look.
    async fn look(&self) -> Result<tokio::sync::MutexGuard<'_, Read>> {
        let mut read = self.read.lock().await;
        while let Some(entry) = self.entry(read.entries).await? {
            let number = read.entries;
            match entry.what {
                What::Edition { hash, views, definitions } => {
                    let config = compiled(&definitions, &views);
                    let registered = Timestamp(entry.at);
                    read.editions.push(Edition { number, registered, hash, views, retired: false, config });
                }
                What::Retired(which) => {
                    for edition in read.editions.iter_mut().filter(|edition| edition.number == which) {
                        edition.retired = true;
                    }
                }
            }
            read.entries += 1;
        }
        Ok(read)
    }
    async fn entry(&self, number: u64) -> Result<Option<Entry>> {
        let path = path(number);
        let bytes = match self.store.get(&path).await {
            Ok(found) => found.bytes().await?,
            Err(object_store::Error::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let entry = serde_json::from_slice(&bytes);
        entry.map(Some).map_err(|e| Error::corrupt(format!("{path} is no entry of the register")).because(e))
    }
    /// Whether the entry of this number is the one asked for, now that there is one.
    async fn create(&self, number: u64, what: What) -> Result<bool> {
        let (nonce, at) = (self.clock.nonce(), self.clock.now().0);
        let entry = Entry { nonce: nonce.clone(), at, what };
        let text = serde_json::to_vec(&entry).map_err(|e| Error::internal("an entry as JSON").because(e))?;
        let create = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
        let put = self.store.put_opts(&path(number), text.into(), create).await.map_err(Error::from);
        match (put, self.entry(number).await?) {
            (Ok(_), _) => Ok(true),
            (Err(_), Some(found)) => Ok(found.nonce == nonce),
            (Err(error), None) if error.kind() == Kind::Conflict => Ok(false),
            (Err(error), None) => Err(error),
        }
    }
}

fn path(number: u64) -> Path {
    Path::from("definitions").join(format!("{number:020}.json"))
}

/// The document compiled, if its views are still what they were for whoever registered it.
fn compiled(definitions: &str, views: &BTreeMap<String, String>) -> Option<Arc<Config>> {
    let config = load_with(definitions, "definitions", &|_| None).ok()?;
    let same = config.views.iter().all(|view| views.get(&view.name).is_some_and(|id| *id == *view.id));
    same.then(|| Arc::new(config))
}

#[cfg(test)]
mod tests {
    use object_store::memory::InMemory;

    use super::*;
    use crate::clock::ManualClock;

    fn config(pane: &str) -> Config {
        let text = format!(
            "version: 1\nsources: {{ s: {{ fields: {{ a: string }} }} }}\nviews: {{ v: {{ from: s, dimensions: [a], pane: {pane}, windows: [1h], measures: {{ n: count() }} }} }}\n"
        );
        load_with(&text, "test", &|_| None).unwrap()
    }

    #[tokio::test]
    async fn editions_are_numbered_once_come_back_when_settled_and_retire() {
        let (store, clock) = (Arc::new(InMemory::new()), Arc::new(ManualClock::at(Timestamp(0))));
        let here = Editions::new(store.clone(), clock.clone());
        let (a, b) = (config("1m"), config("5m"));
        assert_eq!(here.register(&a, Span::HOUR).await.unwrap(), 0);
        assert_eq!(here.register(&a, Span::HOUR).await.unwrap(), 0);
        let there = Editions::new(store.clone(), clock.clone());
        assert_eq!(there.register(&b, Span::HOUR).await.unwrap(), 1);
        // a process of the old file that starts again during the rolling restart does not push the new one aside
        assert_eq!(here.register(&a, Span::HOUR).await.unwrap(), 0);
        let others = here.others(&a).await.unwrap();
        assert_eq!(others.len(), 1);
        assert_eq!(others[0].view("v").unwrap().id, b.views[0].id);
        clock.advance(2 * Span::HOUR.0);
        assert_eq!(here.register(&a, Span::HOUR).await.unwrap(), 2, "it was brought back on purpose");
        there.retire(1).await.unwrap();
        there.retire(1).await.unwrap();
        assert!(here.others(&a).await.unwrap().is_empty());
        assert_eq!(there.register(&b, Span::HOUR).await.unwrap(), 4, "what was retired begins anew");
        assert_eq!(here.retire(3).await.unwrap_err().kind(), Kind::NotFound);
        let numbers: Vec<u64> = here.all().await.unwrap().iter().map(|edition| edition.number).collect();
        assert_eq!(numbers, [0, 1, 2, 4]);
    }
}
