//! What a reader who comes to the archive's end must remember: the ids of its last records, which what is behind it is compared with.
use crate::error::Result;
use crate::event::duplicates::Duplicates;
use crate::lake::archive::{ArchiveSnapshot, ArchiveTable};
use crate::lake::{archive_file, verified};
use crate::view::definition::DuplicateRule;

impl ArchiveTable {
    /// The memory of duplicates at the end of a partition's part of the archive.
    ///
    /// # Errors
    /// Those of reading its last files.
    pub async fn duplicates(
        &self,
        archive: &ArchiveSnapshot,
        partition: u32,
        rule: Option<DuplicateRule>,
    ) -> Result<Duplicates> {
        let mut duplicates = Duplicates::new(rule);
        let (mut missing, mut needed) = (duplicates.needs(), Vec::new());
        for file in archive.files_of(partition).iter().rev() {
            if missing == 0 {
                break;
            }
            needed.push(file);
            missing = missing.saturating_sub(file.rows);
        }
        for file in needed.into_iter().rev() {
            let bytes = verified::get(self.store().as_ref(), &file.path, &file.blake3).await?;
            duplicates.remember(&archive_file::read_ids(&bytes)?);
        }
        Ok(duplicates)
    }
}
