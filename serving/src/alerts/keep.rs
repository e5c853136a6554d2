//! Where the book of alerts outlives the process: one small object in the lake, overwritten whole.
use std::sync::Arc;

use bytes::Bytes;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use seam_shared::{Error, Kind, Result};

use super::book::Book;

/// The object.
#[derive(Debug)]
pub struct Keep {
    lake: Arc<dyn ObjectStore>,
    path: Path,
}

impl Keep {
    /// In that lake.
    pub fn new(lake: Arc<dyn ObjectStore>) -> Keep {
        Keep { lake, path: Path::from("alerts").join("book.json") }
    }
    /// What was kept; an empty book if nothing was, or if it is damaged: what fires then is told again.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn load(&self) -> Result<Book> {
        let found = match self.lake.get(&self.path).await.map_err(Error::from) {
            Ok(found) => found.bytes().await.map_err(Error::from)?,
            Err(error) if error.kind() == Kind::NotFound => return Ok(Book::default()),
            Err(error) => return Err(error),
        };
        Ok(serde_json::from_slice(&found).unwrap_or_else(|error| {
            tracing::error!(%error, path = %self.path, "the alerts that were kept cannot be read; what fires is told again");
            Book::default()
        }))
    }
    /// Keeps a book.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn save(&self, book: &Book) -> Result<()> {
        let bytes = serde_json::to_vec(book).map_err(|e| Error::internal("alerts are JSON").because(e))?;
        self.lake.put(&self.path, Bytes::from(bytes).into()).await.map(drop).map_err(Error::from)
    }
}
