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
        let begun = archived.positions.0.keys().next_back().map_or(0, |last| last + 1);
        for number in 0..source.partitions.max(begun) {
            let partition = Partition::new(source.name.as_str(), number);
            let advice = judged(log, &table, &partition, archived.position(number)).await;
            found.extend(advice.unwrap_or_else(|error| Some(Advice::refuse(error.to_string()))));
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

/// What is to be said of a partition that is archived up to `archived`, or not at all yet.
async fn judged(
    log: &dyn EventLog,
    table: &ArchiveTable,
    partition: &Partition,
    archived: Option<Offset>,
) -> Result<Option<Advice>> {
    let known = match archived {
        Some(archived) => Some(archived),
        None => held(table, partition, None).await?,
    };
    // What nobody has kept anything of is lost to nobody: it begins where the log starts.
    let Some(known) = known else { return Ok(None) };
    let (start, end) = log.bounds(partition).await?;
    let held = if known < start { held(table, partition, archived).await?.unwrap_or(known) } else { known };
    Ok(headroom(partition, held, start, end))
}

/// Up to where a partition is in the lake: behind the archive there may be the tail of a source that is silent.
async fn held(table: &ArchiveTable, partition: &Partition, archived: Option<Offset>) -> Result<Option<Offset>> {
    match table.tail(partition.number, archived).await? {
        Some(path) => Ok(Some(table.read_tail(&path).await?.records.next)),
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
    use object_store::memory::InMemory;
    use seam_shared::advice::Severity;
    use seam_shared::lake::archive::Tail;
    use seam_shared::log::NewRecord;
    use seam_shared::log::memory::MemoryLog;
    use seam_shared::segment::SegmentRule;
    use seam_shared::view::definition::Source;

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

    #[tokio::test]
    async fn a_tail_is_all_that_there_may_be() {
        let source = Source {
            name: "clicks".to_owned(),
            id: None,
            time: vec!["time".to_owned()],
            fields: Vec::new(),
            duplicates: None,
            segments: SegmentRule::default(),
            partitions: 1,
        };
        let (clock, partition) = (Arc::new(SystemClock), Partition::new("clicks", 0));
        let table =
            ArchiveTable::open(Arc::new(InMemory::new()), &source, "first", clock.clone()).await.expect("opens");
        let log = MemoryLog::new(clock);
        log.open("clicks", 1).await.expect("opens");
        let record = NewRecord { partition: 0, value: "{}".into() };
        log.append("clicks", vec![record; 30]).await.expect("appends");
        let judge =
            async || judged(&log, &table, &partition, None).await.expect("at hand").map(|advice| advice.message);
        assert_eq!(judge().await, None, "nothing is kept");
        let mut records = log.read(&partition, Offset(0), 10, usize::MAX).await.expect("reads");
        records.next = Offset(10);
        table.keep_tail(0, &Tail { from: Offset(0), records }).await.expect("kept");
        for (start, lost) in [(0, None), (10, None), (20, Some("10 records were forgotten"))] {
            log.trim(&partition, Offset(start)).await.expect("trims");
            let said = judge().await;
            assert_eq!(said.is_some(), lost.is_some(), "{said:?}");
            assert!(said.unwrap_or_default().contains(lost.unwrap_or_default()), "from {start}");
        }
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
