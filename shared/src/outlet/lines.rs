//! A stream of lines as the outlet, with the mark in the lake: whatever reads the stream gets each output at least once.
//!
//! The mark is stored after the lines are flushed. A process that dies in between writes the same output again.
use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};

use super::{Outlet, Record};
use crate::error::{Error, Kind, Result};
use crate::lock::lock;

/// Values as lines.
pub struct Lines<W> {
    out: Mutex<W>,
    lake: Arc<dyn ObjectStore>,
    mark: Path,
    claimed: AtomicBool,
}

impl<W> std::fmt::Debug for Lines<W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lines").field("mark", &self.mark).finish_non_exhaustive()
    }
}

impl<W: Write + Send> Lines<W> {
    /// Lines to `out`; the mark of the sink of that view lies in `lake`.
    pub fn new(out: W, lake: Arc<dyn ObjectStore>, view: &str) -> Lines<W> {
        let mark = Path::from("sinks").join(format!("{view}.json"));
        Lines { out: Mutex::new(out), lake, mark, claimed: AtomicBool::new(false) }
    }
}

#[async_trait]
impl<W: Write + Send> Outlet for Lines<W> {
    async fn claim(&self) -> Result<Option<Bytes>> {
        let found = self.lake.get(&self.mark).await.map_err(Error::from);
        let mark = match found {
            Ok(found) => Some(found.bytes().await.map_err(Error::from)?),
            Err(error) if error.kind() == Kind::NotFound => None,
            Err(error) => return Err(error),
        };
        self.claimed.store(true, Ordering::SeqCst);
        Ok(mark)
    }

    async fn write(&self, records: &[Record], mark: &[u8]) -> Result<()> {
        if !self.claimed.load(Ordering::SeqCst) {
            return Err(Error::conflict("the stream is not claimed"));
        }
        let mut text = Vec::with_capacity(records.iter().map(|record| record.value.len() + 1).sum());
        for record in records {
            text.extend_from_slice(&record.value);
            text.push(b'\n');
        }
        {
            let mut out = lock(&self.out);
            let written = out.write_all(&text).and_then(|()| out.flush());
            written.map_err(|error| Error::unavailable("the stream cannot be written").because(error))?;
        }
        let stored = self.lake.put(&self.mark, Bytes::copy_from_slice(mark).into()).await;
        stored.map(drop).map_err(Error::from)
    }

    /// A stream cannot be read back.
    async fn newest(&self, _: usize) -> Result<Vec<Bytes>> {
        Ok(Vec::new())
    }

    fn is_exact(&self) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use object_store::memory::InMemory;

    use super::*;

    #[tokio::test]
    async fn lines_are_written_and_the_mark_outlives_the_process() {
        let lake: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        let record = |value: &str| Record { key: Bytes::new(), value: Bytes::copy_from_slice(value.as_bytes()) };
        let lines = Lines::new(Vec::new(), lake.clone(), "clicks");
        assert_eq!(lines.write(&[], b"x").await.map_err(|e| e.kind()), Err(Kind::Conflict));
        assert_eq!(lines.claim().await.unwrap(), None);
        lines.write(&[record("{}"), record("[]")], b"one").await.unwrap();
        assert_eq!(lines.out.lock().unwrap().as_slice(), b"{}\n[]\n");
        let again = Lines::new(Vec::new(), lake, "clicks");
        assert_eq!(again.claim().await.unwrap().as_deref(), Some(&b"one"[..]));
        assert!(!again.is_exact());
    }
}
