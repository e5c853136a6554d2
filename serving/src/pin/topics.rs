//! What serving knows of the log: each source's partitions and incarnation, the log's ends, and where they were at the start.
use std::collections::BTreeMap;
use std::hash::Hash;
use std::sync::{Arc, RwLock};

use hashbrown::HashMap;
use seam_shared::config::Config;
use seam_shared::lake::views::Generation;
use seam_shared::lock;
use seam_shared::log::{EventLog, Offset, OffsetVector, Partition, Topic};
use seam_shared::telemetry::Telemetry;
use seam_shared::time::Timestamp;
use seam_shared::view::definition::View;
use seam_shared::{Error, Result};

use crate::Serving;
use crate::pin::Pin;
use crate::pin::pinned::PinnedView;
use crate::pin::stamp;
use crate::query::{Query, Rate, Spelling};

#[derive(Debug, Clone, Default)]
struct Known {
    partitions: u32,
    /// `None` as long as the log was not asked.
    incarnation: Option<String>,
    ends: BTreeMap<u32, Offset>,
    ends_at_start: BTreeMap<u32, Offset>,
    /// Where the log ended at what times, by partition.
    seen: BTreeMap<u32, History>,
}

/// The topics of a configuration.
#[derive(Debug)]
pub struct Topics {
    log: Option<Arc<dyn EventLog>>,
    known: RwLock<HashMap<String, Known>>,
}

impl Topics {
    /// The topics of `config`'s sources, as configured until the log is asked.
    pub fn new(log: Option<Arc<dyn EventLog>>, config: &Config) -> Topics {
        let known = config
            .sources
            .iter()
            .map(|source| (source.name.clone(), Known { partitions: source.partitions, ..Known::default() }));
        Topics { log, known: RwLock::new(known.collect()) }
    }
    /// Asks the log for partitions and ends; `now` is the time before it was asked. What it does not tell is unknown from then on.
    ///
    /// # Errors
    /// What the log answered first.
    pub async fn refresh(&self, now: Timestamp) -> Result<()> {
        let Some(log) = &self.log else { return Ok(()) };
        let sources: Vec<(String, u32)> =
            self.read(|known| known.iter().map(|(name, topic)| (name.clone(), topic.partitions)).collect());
        let mut result = Ok(());
        for (name, partitions) in sources {
            let asked = ask(log.as_ref(), &name, partitions).await;
            let mut known = lock::write(&self.known);
            let entry = known.entry(name).or_default();
            match asked {
                Ok((topic, ends)) => {
                    entry.partitions = topic.partitions;
                    if entry.ends_at_start.is_empty() {
                        entry.ends_at_start.clone_from(&ends);
                    }
                    if entry.incarnation.as_ref().is_some_and(|known| *known != topic.incarnation) {
                        entry.seen.clear();
                    }
                    entry.incarnation = Some(topic.incarnation);
                    ends.iter().for_each(|(number, end)| entry.seen.entry(*number).or_default().note(now, *end));
                    entry.ends = ends;
                }
                Err(error) => {
                    // Where the log ended some time ago tells nothing about how far behind an answer is now.
                    entry.ends.clear();
                    result = result.and(Err(error));
                }
            }
        }
        result
    }
    /// The log, where there is one at hand.
    pub fn log(&self) -> Option<&Arc<dyn EventLog>> {
        self.log.as_ref()
    }
    fn read<T>(&self, read: impl FnOnce(&HashMap<String, Known>) -> T) -> T {
        read(&lock::read(&self.known))
    }
    /// The log's ends as last seen.
    pub fn ends(&self, source: &str) -> OffsetVector {
        self.read(|known| OffsetVector(known.get(source).map(|topic| topic.ends.clone()).unwrap_or_default()))
    }
    /// The moment before which everything that reached the log is below `coverage`, as far as that was seen; or why there is none.
    /// A partition into which nothing comes reaches its end like any other.
    pub fn consumed(&self, source: &str, coverage: &OffsetVector) -> Result<Timestamp, String> {
        self.read(|known| {
            let seen = known.get(source).map(|topic| &topic.seen).filter(|seen| !seen.is_empty());
            let seen = seen.ok_or("this process has not seen yet how far the log reaches")?;
            let moments = seen.iter().map(|(&number, history)| {
                let why =
                    || format!("since this process began, the answer has not reached what {source}/{number} held");
                history.consumed(coverage.get(number)).ok_or_else(why)
            });
            moments.collect::<Result<Vec<_>, String>>().map(|all| all.into_iter().min().unwrap_or(Timestamp::MIN))
        })
    }
    /// The log's ends when it was first asked.
    pub fn ends_at_start(&self, source: &str) -> OffsetVector {
        self.read(|known| OffsetVector(known.get(source).map(|topic| topic.ends_at_start.clone()).unwrap_or_default()))
    }
}

async fn ask(log: &dyn EventLog, name: &str, partitions: u32) -> Result<(Topic, BTreeMap<u32, Offset>)> {
    let topic = log.open(name, partitions).await?;
    let mut ends = BTreeMap::new();
    for number in 0..topic.partitions {
        ends.insert(number, log.bounds(&Partition::new(name, number)).await?.1);
    }
    Ok((topic, ends))
}

/// Looks at a partition's end that are remembered: a thousand seconds of the newest ones, and ever fewer of the older ones.
const LOOKS: usize = 2_048;

/// Where a partition ended at what times, oldest first: at `.0` it ended at `.1`, and at no later time that is not here.
#[derive(Debug, Clone, Default)]
pub struct History(Vec<(Timestamp, Offset)>);

impl History {
    /// Remembers an end. One that went back is of another log.
    pub fn note(&mut self, at: Timestamp, end: Offset) {
        if self.0.last().is_some_and(|last| last.1 > end) {
            self.0.clear();
        }
        match self.0.last_mut() {
            Some(last) if last.1 == end => last.0 = last.0.max(at),
            _ => self.0.push((at, end)),
        }
        if self.0.len() > LOOKS {
            let mut place = 0;
            self.0.retain(|_| {
                place += 1;
                place > LOOKS / 2 || place % 2 == 0
            });
        }
    }
    /// The latest time at which it ended at `position` or before.
    pub fn consumed(&self, position: Offset) -> Option<Timestamp> {
        self.0.iter().filter(|look| look.1 <= position).map(|look| look.0).max()
    }
}

impl Serving {
    /// The queries as they can be answered from `pin`, those that want complete windows alone with those; and what the answer then
    /// depends on besides `pin`, which is `question` where nobody wants that.
    pub(crate) fn only_complete(
        &self,
        queries: &[Arc<Query>],
        question: &[u8],
        pin: &Pin,
    ) -> (Vec<Arc<Query>>, Vec<u8>) {
        let mut spelling = Spelling(question.to_vec());
        let shown = queries.iter().map(|query| {
            if !query.is_final {
                return query.clone();
            }
            let coverage = stamp::common_coverage(&pin.views).into_iter().find(|(source, _)| source == query.source());
            let consumed = self.topics.consumed(query.source(), &coverage.map(|(_, c)| c).unwrap_or_default());
            let times = query.times.only_complete(&consumed);
            times.hash(&mut spelling);
            let rate = query.rate.map(|rate| Rate { until: rate.until.min(times.span().1), ..rate });
            Arc::new(Query { times, rate, ..query.as_ref().clone() })
        });
        (shown.collect(), spelling.0)
    }
    /// The log's ends when serving first asked.
    pub(crate) fn ends_at_start(&self, source: &str) -> OffsetVector {
        self.topics.ends_at_start(source)
    }
    /// How many partitions a source has, as far as is known.
    pub(crate) fn partitions_of(&self, source: &str) -> u32 {
        self.topics.read(|known| known.get(source).map_or(1, |topic| topic.partitions))
    }
    /// Refuses a generation that counts in another log than the one there is.
    pub(crate) fn check_incarnation(&self, view: &View, generation: Option<&Generation>) -> Result<()> {
        let Some(generation) = generation else { return Ok(()) };
        let source = &view.source.name;
        self.topics.read(|known| match known.get(source).and_then(|topic| topic.incarnation.as_deref()) {
            Some(incarnation) if incarnation != generation.incarnation => Err(Error::unavailable(format!(
                "generation {} of view {} was made from another incarnation of topic {source}",
                generation.number, view.id
            ))),
            _ => Ok(()),
        })
    }
    /// Records in the log that a coverage does not reach, by partition; empty when the log was not asked.
    pub(crate) fn lag(&self, source: &str, coverage: &OffsetVector) -> BTreeMap<u32, u64> {
        let behind = |(&number, end): (&u32, &Offset)| (number, end.0.saturating_sub(coverage.get(number).0));
        self.topics.ends(source).0.iter().map(behind).collect()
    }
    /// The lag of what was pinned, as the `Seam-Lag` header spells it.
    pub(crate) fn lag_text(&self, pinned: &[PinnedView]) -> Option<String> {
        let mut parts = Vec::new();
        for (source, coverage) in stamp::common_coverage(pinned) {
            parts.extend(self.lag(&source, &coverage).iter().map(|(number, lag)| format!("{source}/{number}={lag}")));
        }
        (!parts.is_empty()).then(|| parts.join(","))
    }
    /// The platform's metrics.
    pub fn telemetry(&self) -> &Arc<Telemetry> {
        &self.telemetry
    }
}
