//! The one local database that the embedded log and the embedded state store share.
use std::path::Path;

use fjall::{CompressionType, Keyspace, KeyspaceCreateOptions, KvSeparationOptions};

use crate::error::{Error, Result};

/// An open data directory. One process has it at a time.
///
/// Log and state share one journal, whose order is the order of their writes: after a crash the state store never stands
/// beyond the log that it was computed from.
#[derive(Clone)]
pub struct Database {
    pub(crate) fjall: fjall::Database,
}

impl std::fmt::Debug for Database {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Database")
    }
}

impl Database {
    /// Opens the database in a directory, created if it does not exist. `Kind::Unavailable` while another process has it.
    pub fn open(path: &Path) -> Result<Database> {
        // Values are compressed by those who write them, where that pays; once is enough.
        let builder = fjall::Database::builder(path).journal_compression(CompressionType::None);
        let fjall = builder.open().map_err(|error| match error {
            fjall::Error::Locked => {
                Error::unavailable(format!("data directory {} is in use by another process", path.display()))
            }
            other => {
                let cause = failed(other);
                Error::new(cause.kind(), format!("data directory {} cannot be opened", path.display())).because(cause)
            }
        })?;
        Ok(Database { fjall })
    }
    /// A keyspace of small values.
    pub(crate) fn small_values(&self, name: &str) -> Result<Keyspace> {
        self.fjall.keyspace(name, KeyspaceCreateOptions::default).map_err(failed)
    }
    /// A keyspace of large values that are written once: they are kept apart from the keys, so that compaction moves keys only.
    pub(crate) fn large_values(&self, name: &str) -> Result<Keyspace> {
        let apart = KvSeparationOptions::default().compression(CompressionType::None);
        self.fjall.keyspace(name, || KeyspaceCreateOptions::default().with_kv_separation(Some(apart))).map_err(failed)
    }
}

/// What an error of the database means to a caller.
pub(crate) fn failed(error: fjall::Error) -> Error {
    use fjall::{Error as E, LsmError as L};
    match &error {
        E::Storage(L::Io(_)) | E::Io(_) => Error::unavailable("the local database failed"),
        E::Poisoned => Error::unavailable("the local database failed before and takes no more writes until a restart"),
        E::Locked => Error::unavailable("the local database is in use by another process"),
        _ => Error::corrupt("the local database is damaged"),
    }
    .because(error)
}

#[cfg(test)]
pub(crate) mod tests;
