//! Whether the log is the one that is archived, still keeps what is not archived, and how near it is to forgetting it.
use std::sync::Arc;

use seam_shared::advice::Advice;
use seam_shared::clock::SystemClock;
use seam_shared::config::Config;
use seam_shared::lake::archive::ArchiveTable;
use seam_shared::log::kafka::KafkaLog;
use seam_shared::log::{EventLog, Offset, Partition};
use seam_shared::{Kind, Result};

/// Records that the archive may be behind before it is worth a word: open segments are not archived.
const ARCHIVE_BEHIND: u64 = 100_000;

/// Compares where each archive ends with where its log starts.
pub async fn check(config: &Config, log: &KafkaLog) -> Vec<Advice> {
    let Ok(lake) = crate::wire::lake(config) else { return Vec::new() };
    let mut found = Vec::new();
    for source in &config.sources {
        // Trouble with the lake is told where the lake is looked at.
        let Ok(Some((table, made))) = ArchiveTable::existing(lake.clone(), source, Arc::new(SystemClock)).await else {
            continue;
        };
        let Ok(archived) = table.latest().await else { continue };
        if let Some(another) = identity(&source.name, &made, log.incarnation(&source.name).await) {
            found.push(another);
            continue;
        }
        for (&number, &archived) in &archived.positions.0 {
            let partition = Partition::new(source.name.as_str(), number);
            found.extend(match log.bounds(&partition).await {
                Ok((start, end)) if archived < start => match held(&table, &partition, archived).await {
                    Ok(held) => headroom(&partition, held, start, end),
                    Err(error) => Some(Advice::refuse(error.to_string())),
                },
                Ok((start, end)) => headroom(&partition, archived, start, end),
                Err(error) => Some(Advice::refuse(error.to_string())),
            });
        }
    }
    found
}

/// Whether a topic is another one than was archived, or none.
fn identity(source: &str, made: &str, now: Result<String>) -> Option<Advice> {
    let how = match now {
        Ok(now) if now == made => return None,
        Ok(_) => "was deleted and made again: its offsets mean other records now",
        Err(error) if error.kind() == Kind::NotFound => "does not exist any more",
        Err(error) => return Some(Advice::refuse(error.to_string())),
    };
    Some(Advice::refuse(format!(
        "the topic of {source} {how}, but there is an archive of it. Give the source another name, or set aside its archive and its \
         speed state"
    )))
}

/// Up to where a partition is in the lake: behind the archive there may be the tail of a source that is silent.
async fn held(table: &ArchiveTable, partition: &Partition, archived: Offset) -> Result<Offset> {
    match table.tail(partition.number, Some(archived)).await? {
        Some(path) => Ok(table.read_tail(&path).await?.records.next.max(archived)),
        None => Ok(archived),
    }
}

/// What the archive's position in a log that keeps `[start, end)` means.
fn headroom(partition: &Partition, archived: Offset, start: Offset, end: Offset) -> Option<Advice> {
    if archived > end {
        return Some(Advice::refuse(format!(
            "{partition}: the log ends at {end}, but is archived up to {archived}: it was truncated. Restore the topic's records, or \
             begin a source of another name"
        )));
    }
    let (kept, behind) = (end.0.saturating_sub(start.0), end.0.saturating_sub(archived.0));
    if archived < start {
        let lost = start.0 - archived.0;
        return Some(Advice::refuse(format!(
            "{partition}: {lost} records were forgotten by the log before they were archived, from {archived} on: the archive cannot \
             go on with a hole. Restore the topic, or begin a source of another name"
        )));
    }
    // less than a fifth of what is kept is archived
    if behind > ARCHIVE_BEHIND && behind / 4 > kept / 5 {
        return Some(Advice::warn(format!(
            "{partition}: {behind} of the {kept} records that the log keeps are not archived yet: raise retention.ms at once, and \
             see why the archiver is behind"
        )));
    }
    None
}

#[cfg(test)]
mod tests {
    use seam_shared::advice::Severity;

    use super::*;

    #[test]
    fn the_way_to_the_logs_start_is_judged() {
        let partition = Partition::new("clicks", 0);
        let judge = |archived, start, end| {
            headroom(&partition, Offset(archived), Offset(start), Offset(end)).map(|advice| advice.severity)
        };
        assert_eq!(judge(10, 20, 30), Some(Severity::Refuse));
        assert_eq!(judge(31, 20, 30), Some(Severity::Refuse), "the log is shorter than the archive");
        assert_eq!(judge(30, 20, 30), None);
        assert_eq!(judge(20, 20, 30), None, "few records");
        assert_eq!(judge(100_000, 0, 1_000_000), Some(Severity::Warn));
        assert_eq!(judge(900_000, 0, 1_000_000), None);
    }

    #[test]
    fn a_topic_that_was_made_again_is_told() {
        let said = |now| identity("clicks", "first", now).map_or_else(String::new, |advice| advice.message);
        assert_eq!(said(Ok("first".to_owned())), "");
        assert!(said(Ok("second".to_owned())).contains("made again"));
        assert!(said(Err(seam_shared::Error::not_found("no topic"))).contains("does not exist any more"));
        assert!(said(Err(seam_shared::Error::unavailable("nobody answers"))).contains("nobody answers"));
    }
}
