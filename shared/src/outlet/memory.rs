//! The outlet in memory: the simplest adapter that keeps the contract, for tests; its writes can be made to fail.
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use async_trait::async_trait;
use bytes::Bytes;

use super::{Outlet, Record};
use crate::error::{Error, Result};
use crate::lock::lock;

/// What becomes of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It fails, and nothing is stored.
    Lost,
    /// It is stored, and whoever wrote gets an error.
    Unanswered,
}

#[derive(Debug, Default)]
struct Contents {
    epoch: u64,
    records: Vec<Record>,
    mark: Option<Bytes>,
    writes: u64,
    fates: Vec<Option<Fate>>,
}

/// One place that any number of [`MemoryOutlet`]s write to.
#[derive(Debug, Default, Clone)]
pub struct MemoryPlace(Arc<Mutex<Contents>>);

impl MemoryPlace {
    /// An outlet to it that has claimed nothing yet.
    pub fn outlet(&self) -> MemoryOutlet {
        MemoryOutlet { place: self.clone(), epoch: AtomicU64::new(0) }
    }
    /// All that was stored.
    pub fn records(&self) -> Vec<Record> {
        self.lock().records.clone()
    }
    /// How many writes were stored.
    pub fn writes(&self) -> u64 {
        self.lock().writes
    }
    /// What becomes of the next writes, one after the other.
    pub fn doom(&self, fates: impl IntoIterator<Item = Option<Fate>>) {
        self.lock().fates = fates.into_iter().collect();
    }
    fn lock(&self) -> MutexGuard<'_, Contents> {
        lock(&self.0)
    }
}

/// An outlet to a [`MemoryPlace`].
#[derive(Debug)]
pub struct MemoryOutlet {
    place: MemoryPlace,
    epoch: AtomicU64,
}

#[async_trait]
impl Outlet for MemoryOutlet {
    async fn claim(&self) -> Result<Option<Bytes>> {
        let mut contents = self.place.lock();
        contents.epoch += 1;
        self.epoch.store(contents.epoch, Ordering::SeqCst);
        Ok(contents.mark.clone())
    }

    async fn write(&self, records: &[Record], mark: &[u8]) -> Result<()> {
        let mut contents = self.place.lock();
        if contents.epoch == 0 || contents.epoch != self.epoch.load(Ordering::SeqCst) {
            return Err(Error::conflict("another writer has claimed the outlet"));
        }
        let fate = if contents.fates.is_empty() { None } else { contents.fates.remove(0) };
        if fate != Some(Fate::Lost) {
            contents.records.extend_from_slice(records);
            contents.mark = Some(Bytes::copy_from_slice(mark));
            contents.writes += 1;
        }
        match fate {
            Some(_) => Err(Error::unavailable("the outlet did not answer")),
            None => Ok(()),
        }
    }

    async fn newest(&self, most: usize) -> Result<Vec<Bytes>> {
        let contents = self.place.lock();
        let from = contents.records.len().saturating_sub(most);
        Ok(contents.records[from..].iter().map(|record| record.value.clone()).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_contract_is_kept() {
        let place = MemoryPlace::default();
        crate::outlet::contract::run(|| async { Arc::new(place.outlet()) as Arc<dyn Outlet> }, true).await;
    }

    #[tokio::test]
    async fn a_write_fails_as_it_is_doomed_to() {
        let place = MemoryPlace::default();
        let (outlet, record) = (place.outlet(), Record { key: Bytes::from("k"), value: Bytes::from("v") });
        outlet.claim().await.unwrap();
        place.doom([Some(Fate::Lost), Some(Fate::Unanswered)]);
        assert!(outlet.write(std::slice::from_ref(&record), b"1").await.is_err());
        assert_eq!(outlet.claim().await.unwrap(), None);
        assert!(outlet.write(std::slice::from_ref(&record), b"2").await.is_err());
        assert_eq!(outlet.claim().await.unwrap().as_deref(), Some(&b"2"[..]));
        assert_eq!(place.records(), [record]);
    }
}
