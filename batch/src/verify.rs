//! `seam archive verify`: walks an archive file by file. No gap, no offset twice, every hash, count and boundary as the table says;
//! and the tails of silent sources behind it.
use std::collections::BTreeMap;

use seam_shared::error::{Kind, Result};
use seam_shared::event::batch::{EventBatch, Excluded};
use seam_shared::lake::archive::{ArchiveFile, ArchiveTable};
use seam_shared::lake::{archive_file, verified};
use seam_shared::log::{Offset, OffsetVector};
use seam_shared::segment::OpenSegment;
use seam_shared::view::definition::Source;
use serde::Serialize;

/// What a walk found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The source.
    pub source: String,
    /// The table's version.
    pub version: u64,
    /// Where each partition's archive starts.
    pub from: OffsetVector,
    /// A: up to where each partition is archived.
    pub to: OffsetVector,
    /// Files read.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Records in them.
    pub records: u64,
    /// Those that count.
    pub counts: u64,
    /// Those that repeat an earlier id.
    pub duplicates: u64,
    /// Those that are no events.
    pub invalid: u64,
    /// What is wrong, each with its file; empty if nothing is.
    pub problems: Vec<Problem>,
}

/// Something wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// The file, or the table's root if it is none in particular.
    pub file: String,
    /// What is wrong.
    pub what: String,
}

/// Walks the archive of `source`. One file is in memory at a time.
///
/// # Errors
/// `Unavailable` when the store cannot be read. What is damaged or missing is no error but a problem of the report.
pub async fn verify(table: &ArchiveTable, source: &Source) -> Result<Report> {
    let mut report = Report { source: source.name.clone(), ..Report::default() };
    let archive = match table.latest().await {
        Ok(archive) => archive,
        Err(error) if error.kind() == Kind::Unavailable => return Err(error),
        Err(error) => {
            report.problem(&format!("archive/{}", source.name), error.to_string());
            return Ok(report);
        }
    };
    report.version = archive.version;
    report.to = archive.positions.clone();
    let mut ends: BTreeMap<u32, Offset> = BTreeMap::new();
    for file in &archive.files {
        let before = ends.insert(file.partition, file.to);
        match before {
            None => report.from.set(file.partition, file.from),
            Some(end) if end == file.from => {}
            Some(end) if end < file.from => {
                report.problem_in(file, format!("gap: nothing holds {end} to {}", file.from))
            }
            Some(end) => report.problem_in(file, format!("overlap: {} to {end} is in the file before too", file.from)),
        }
        match verified::get(table.store().as_ref(), &file.path, &file.blake3).await {
            Ok(bytes) => {
                report.files += 1;
                report.bytes += bytes.len() as u64;
                match archive_file::read_ids(&bytes) {
                    Ok(records) => report.check(file, source, &records),
                    Err(error) => report.problem_in(file, error.to_string()),
                }
            }
            Err(error) if error.kind() == Kind::Unavailable => return Err(error),
            Err(error) if error.kind() == Kind::NotFound => report.problem_in(file, "is missing"),
            Err(error) => report.problem_in(file, error.to_string()),
        }
    }
    // A partition of which nothing is archived yet may have a tail all the same.
    let begun = archive.positions.0.keys().next_back().map_or(0, |last| last + 1);
    for number in 0..source.partitions.max(begun) {
        report.check_tail(table, number, archive.position(number)).await?;
    }
    for (&number, &position) in &archive.positions.0 {
        if ends.get(&number) != Some(&position) {
            let root = format!("archive/{}", source.name);
            report.problem(
                &root,
                format!("partition {number} is said to be archived up to {position}, no file ends there"),
            );
        }
    }
    Ok(report)
}

impl Report {
    fn problem(&mut self, file: &str, what: impl Into<String>) {
        self.problems.push(Problem { file: file.to_owned(), what: what.into() });
    }
    fn problem_in(&mut self, file: &ArchiveFile, what: impl Into<String>) {
        self.problem(file.path.as_ref(), what);
    }

    /// A tail that is damaged is what a silent source's last records would be read from.
    async fn check_tail(&mut self, table: &ArchiveTable, number: u32, archived: Option<Offset>) -> Result<()> {
        let Some(path) = table.tail(number, archived).await? else { return Ok(()) };
        match table.read_tail(&path).await {
            Err(error) if error.kind() == Kind::Unavailable => return Err(error),
            Err(error) if error.kind() == Kind::Corrupt => self.problem(path.as_ref(), error.to_string()),
            Ok(tail) => {
                if let Some(position) = archived.filter(|position| *position != tail.from) {
                    self.problem(path.as_ref(), format!("begins at {}, the archive ends at {position}", tail.from));
                }
            }
            Err(_) => {} // gone: its segment was archived just now
        }
        Ok(())
    }

    fn check(&mut self, file: &ArchiveFile, source: &Source, records: &EventBatch) {
        let rows = records.offsets.len() as u64;
        self.records += rows;
        let mut excluded = Excluded::default();
        records.verdicts.iter().for_each(|&verdict| excluded.note(verdict));
        let counts = rows - excluded.duplicates - excluded.invalid;
        self.counts += counts;
        self.duplicates += excluded.duplicates;
        self.invalid += excluded.invalid;
        if file.excluded.is_some_and(|said| said != excluded) {
            self.problem_in(file, format!("has {excluded:?}, the table says {:?}", file.excluded));
        }
        if rows != file.rows {
            self.problem_in(file, format!("has {rows} records, the table says {}", file.rows));
        }
        let by_day: u64 = file.days.values().sum();
        if counts != by_day {
            self.problem_in(file, format!("has {counts} records that count, the table says {by_day}"));
        }
        if let Some(pair) = records.offsets.windows(2).find(|pair| pair[0] >= pair[1]) {
            self.problem_in(file, format!("offset {} is there twice", pair[1]));
        }
        let outside = records.offsets.iter().find(|offset| **offset < file.from || **offset >= file.to);
        if let Some(offset) = outside {
            self.problem_in(file, format!("offset {offset} is outside {} to {}", file.from, file.to));
        }
        let mut segment = OpenSegment::at(file.from);
        let mut boundaries = vec![file.from];
        for (offset, time) in records.offsets.iter().zip(&records.log_times) {
            boundaries.extend(segment.admit(source.segments, *offset, *time));
        }
        if boundaries != file.boundaries {
            self.problem_in(file, "its segments are not those that the rule makes of its records");
        }
    }
}

#[cfg(test)]
mod tests;
