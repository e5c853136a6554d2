//! The one door into the log: check every event, append what is valid, dead-letter what is not, then answer.
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use seam_shared::clock::Clock;
use seam_shared::event::decode::{Issue, Rejection, Shape};
use seam_shared::failpoint::{self, Failpoint};
use seam_shared::log::{EventLog, NewRecord, Offset, OffsetVector};
use seam_shared::telemetry::{Counter, IssueLabels, SourceLabels, Telemetry};
use seam_shared::time::Timestamp;
use seam_shared::view::definition::Source;
use seam_shared::{Error, Result};
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use crate::dead_letters;
use crate::limits;
use crate::raw_event::RawEvent;

/// A refused event: where it stood and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LineError {
    /// The line or the place in the array, from 1.
    pub line: u64,
    /// The reason, naming the member.
    pub reason: String,
}

/// The answer to a submission: everything it counts is durable.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Receipt {
    /// Events appended to the log.
    pub accepted: u64,
    /// Events in the dead letters.
    pub rejected: u64,
    /// The first refused events, at most [`limits::ERRORS_NAMED`].
    pub errors: Vec<LineError>,
    /// The positions after the last appended record of each partition touched, e.g. `clicks/0@1234568`: a query with this
    /// `min_position` sees all of them. Empty if nothing was accepted.
    pub position: String,
    /// How many were refused for their size alone.
    #[serde(skip)]
    pub too_large: u64,
}

/// What passed the door since the process started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Events appended to the log.
    pub accepted: u64,
    /// Events refused.
    pub rejected: u64,
    /// Bytes of the accepted events.
    pub bytes: u64,
    /// Submissions that were answered.
    pub requests: u64,
    /// Microseconds from their arrival until they were durable, in all.
    pub micros: u64,
}

/// One source behind the door.
#[derive(Debug)]
struct Gate {
    shape: Shape,
    /// How many the topic has, as far as is known: it may get more while this runs.
    partitions: AtomicU32,
    accepted: AtomicU64,
    rejected: AtomicU64,
    bytes: AtomicU64,
    requests: AtomicU64,
    micros: AtomicU64,
    /// The platform's metric of refused events.
    dead_letters: Counter,
    /// What was wrong with them, by the issue's number.
    issues: [Counter; Issue::ALL.len()],
}

/// The door. Cheap to share; all methods may be called at once.
#[derive(Debug)]
pub struct Door {
    log: Arc<dyn EventLog>,
    clock: Arc<dyn Clock>,
    gates: BTreeMap<String, Gate>,
    /// Topics that sinks write to this log.
    outputs: Vec<String>,
}

/// The partition of an event: a fixed function of its id, or of its bytes if it has none, so that the records of one id
/// always meet in one partition.
pub fn partition_of(id: Option<&str>, value: &[u8], partitions: u32) -> u32 {
    let hash = xxh3_64(id.map_or(value, str::as_bytes));
    u32::try_from(hash % u64::from(partitions.max(1))).unwrap_or_default()
}

/// Events after the check, ready for the log.
#[derive(Debug, Default)]
struct Sorted {
    accepted: Vec<NewRecord>,
    refused: Vec<NewRecord>,
    /// What was wrong with those that are refused, by the issue's number.
    issues: [u64; Issue::ALL.len()],
    receipt: Receipt,
    bytes: u64,
}

impl Door {
    /// Opens the topics of `sources` and of their dead letters.
    ///
    /// # Errors
    /// The log's, if a topic cannot be opened.
    pub async fn open(log: Arc<dyn EventLog>, clock: Arc<dyn Clock>, sources: &[Arc<Source>]) -> Result<Self> {
        let mut gates = BTreeMap::new();
        for source in sources {
            let topic = log.open(&source.name, source.partitions).await?;
            log.open(&dead_letters::topic(&source.name), 1).await?;
            let [accepted, rejected, bytes, requests, micros] = [const { AtomicU64::new(0) }; 5];
            let shape = Shape::new(Arc::clone(source));
            let (partitions, dead_letters) = (AtomicU32::new(topic.partitions), Counter::default());
            let issues = Default::default();
            let gate = Gate { shape, partitions, accepted, rejected, bytes, requests, micros, dead_letters, issues };
            gates.insert(source.name.clone(), gate);
        }
        Ok(Self { log, clock, gates, outputs: Vec::new() })
    }

    /// Looks whether topics have more partitions by now: events are spread over those too from then on. A record and its duplicate
    /// on both sides of that moment may lie in different partitions, and then both count, in both layers alike.
    ///
    /// # Errors
    /// The log's, if a topic cannot be asked.
    pub async fn look(&self) -> Result<()> {
        for (name, gate) in &self.gates {
            let known = gate.partitions.load(Ordering::Relaxed);
            let topic = self.log.open(name, known).await?;
            if gate.partitions.fetch_max(topic.partitions, Ordering::Relaxed) < topic.partitions {
                tracing::info!(source = %name, from = known, to = topic.partitions, "events go to more partitions");
            }
        }
        Ok(())
    }

    /// Tells the platform's metrics what it refuses.
    #[must_use]
    pub fn metered(mut self, telemetry: &Telemetry) -> Self {
        for (name, gate) in &mut self.gates {
            let labels = SourceLabels { source: name.clone() };
            gate.dead_letters = telemetry.dead_letters.get_or_create_owned(&labels);
            gate.issues = Issue::ALL.map(|issue| {
                let labels = IssueLabels { r#type: issue.name(), source: name.clone() };
                telemetry.quality_issues.get_or_create_owned(&labels)
            });
        }
        self
    }

    /// The sources behind the door.
    pub fn sources(&self) -> impl Iterator<Item = &Arc<Source>> {
        self.gates.values().map(|gate| gate.shape.source())
    }

    /// The log behind the door.
    pub fn log(&self) -> &Arc<dyn EventLog> {
        &self.log
    }

    /// A source by name.
    ///
    /// # Errors
    /// `NotFound` with the nearest name.
    pub fn source(&self, name: &str) -> Result<&Arc<Source>> {
        self.gate(name).map(|gate| gate.shape.source())
    }

    /// The same, with topics of this log that sinks write: they can be looked at, and nobody can add to them.
    #[must_use]
    pub fn with_outputs(self, outputs: Vec<String>) -> Door {
        Door { outputs, ..self }
    }

    /// Whether a sink writes a topic of that name.
    pub(crate) fn is_output(&self, name: &str) -> bool {
        self.outputs.iter().any(|output| output == name)
    }

    /// The clock by which arrivals are told.
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }

    /// What passed the door since it was opened, by source.
    pub fn counts(&self) -> BTreeMap<&str, Counts> {
        let count = |n: &AtomicU64| n.load(Ordering::Relaxed);
        let counts = |gate: &Gate| Counts {
            accepted: count(&gate.accepted),
            rejected: count(&gate.rejected),
            bytes: count(&gate.bytes),
            requests: count(&gate.requests),
            micros: count(&gate.micros),
        };
        self.gates.iter().map(|(name, gate)| (name.as_str(), counts(gate))).collect()
    }

    fn gate(&self, name: &str) -> Result<&Gate> {
        self.gates.get(name).ok_or_else(|| {
            let near = |known: &&String| strsim::damerau_levenshtein(known, name);
            let hint = match self.gates.keys().min_by_key(near).filter(|known| near(known) <= 1 + name.len() / 3) {
                Some(known) => format!("; did you mean `{known}`?"),
                None => format!("; there are: {}", self.gates.keys().cloned().collect::<Vec<_>>().join(", ")),
            };
            Error::not_found(format!("source `{name}` does not exist{hint}"))
        })
    }

    /// Checks the events, appends them or their refusals durably, and answers. A failed submission may or may not have
    /// stored events; to send it again is safe if the source has ids and a duplicate rule.
    ///
    /// # Errors
    /// `NotFound` for an unknown source; the log's own errors.
    pub async fn submit(&self, source: &str, events: Vec<RawEvent>) -> Result<Receipt> {
        let gate = self.gate(source)?;
        let now = self.clock.now();
        let sorted = sort(gate, &events, now);
        self.append(gate, sorted, now).await
    }

    /// [`Door::submit`] for events that are still to be made by `read`; large work runs beside the async threads.
    ///
    /// # Errors
    /// Those of `read` and of [`Door::submit`].
    pub async fn submit_with<R>(self: &Arc<Self>, source: &str, large: bool, read: R) -> Result<Receipt>
    where
        R: FnOnce(&Source) -> Result<Vec<RawEvent>> + Send + 'static,
    {
        let gate = self.gate(source)?;
        let now = self.clock.now();
        let sorted = if large {
            let (door, name) = (Arc::clone(self), source.to_owned());
            let work = move || {
                let gate = door.gate(&name)?;
                read(gate.shape.source()).map(|events| sort(gate, &events, now))
            };
            let done = tokio::task::spawn_blocking(work).await;
            done.map_err(|e| Error::internal("reading a body failed").because(e))??
        } else {
            sort(gate, &read(gate.shape.source())?, now)
        };
        self.append(gate, sorted, now).await
    }

    /// Sends a dead letter through the door again, e.g. after the source's definition was mended. The letter stays; if it is
    /// refused again there is a second one. Sent twice, an event with an id counts once within the horizon of the duplicate rule.
    ///
    /// # Errors
    /// `NotFound` for an unknown source or letter; `Invalid` if the event was too large to keep whole; those of [`Door::submit`].
    pub async fn replay(&self, source: &str, letter: Offset) -> Result<Receipt> {
        self.gate(source)?;
        let letter = dead_letters::show(&self.log, source, letter).await?;
        if letter.event.len() as u64 != letter.bytes {
            let what = format!("dead letter {} of source `{source}` was too large to keep whole", letter.offset);
            return Err(Error::invalid(what));
        }
        self.submit(source, vec![RawEvent::new(letter.line, letter.event)]).await
    }

    async fn append(&self, gate: &Gate, sorted: Sorted, begun: Timestamp) -> Result<Receipt> {
        let name = &gate.shape.source().name;
        let Sorted { accepted, refused, issues, mut receipt, bytes } = sorted;
        // Refusals first: if the second append fails and the events are sent again, only the dead letters hold them twice.
        if !refused.is_empty() {
            self.log.append(&dead_letters::topic(name), refused).await?;
            gate.rejected.fetch_add(receipt.rejected, Ordering::Relaxed);
            gate.dead_letters.inc_by(receipt.rejected);
            for (counter, found) in gate.issues.iter().zip(issues) {
                counter.inc_by(found);
            }
        }
        if !accepted.is_empty() {
            let mut after = OffsetVector::default();
            for (partition, offset) in self.log.append(name, accepted).await? {
                after.set(partition, after.get(partition).max(Offset(offset.0 + 1)));
            }
            failpoint::reach(Failpoint::IngestAppended);
            receipt.position = after.to_text(name);
            gate.accepted.fetch_add(receipt.accepted, Ordering::Relaxed);
            gate.bytes.fetch_add(bytes, Ordering::Relaxed);
        }
        let took = self.clock.now().0.saturating_sub(begun.0).max(0);
        gate.requests.fetch_add(1, Ordering::Relaxed);
        gate.micros.fetch_add(took.unsigned_abs(), Ordering::Relaxed);
        Ok(receipt)
    }
}

fn sort(gate: &Gate, events: &[RawEvent], now: Timestamp) -> Sorted {
    let mut out = Sorted { accepted: Vec::with_capacity(events.len()), ..Sorted::default() };
    for event in events {
        match examine(gate, event) {
            Ok(partition) => {
                out.bytes += event.value.len() as u64;
                out.accepted.push(NewRecord { partition, value: event.value.clone() });
            }
            Err(Rejection { reason, issue }) => {
                out.issues[issue as usize] += 1;
                out.receipt.rejected += 1;
                out.receipt.too_large += u64::from(event.value.len() > limits::EVENT_BYTES);
                let letter = dead_letters::encode(&gate.shape.source().name, event, &reason, now);
                out.refused.push(NewRecord { partition: 0, value: letter.into() });
                if out.receipt.errors.len() < limits::ERRORS_NAMED {
                    out.receipt.errors.push(LineError { line: event.line, reason });
                }
            }
        }
    }
    out.receipt.accepted = out.accepted.len() as u64;
    out
}

/// The partition of a valid event, or why it is none.
fn examine(gate: &Gate, event: &RawEvent) -> std::result::Result<u32, Rejection> {
    if event.value.len() > limits::EVENT_BYTES {
        let reason = format!("event has {} bytes; at most {} are taken", event.value.len(), limits::EVENT_BYTES);
        return Err(Rejection::invalid(reason));
    }
    if let Some(reason) = &event.refused {
        return Err(Rejection::invalid(reason.clone()));
    }
    let checked = gate.shape.check(&event.value)?;
    Ok(partition_of(checked.id.as_deref(), &event.value, gate.partitions.load(Ordering::Relaxed)))
}
