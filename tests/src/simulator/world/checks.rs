//! What must hold beside the answers: cuts and floors after every step, and that everybody catches up once all is well.
use seam_shared::log::{EventLog, OffsetVector};
use seam_shared::state::ViewId;
use seam_shared::time::Span;

use super::{World, go_on};
use crate::simulator::reader::{Answered, Reader};

/// How long everybody has to catch up, in rounds of a minute each.
const ROUNDS: usize = 400;

impl World {
    /// Cuts never go back but by a rollback, and floors never lie above them; after a rollback they do until all is folded again.
    pub(super) async fn check_invariants(&mut self) -> Result<(), String> {
        if self.mutant.is_some() || self.truncated || !self.dice.one_in(4) {
            return Ok(());
        }
        for table in &self.tables {
            let view = table.view();
            let newest = table.latest().await.map_err(|error| error.to_string())?;
            self.summary.generations = self.summary.generations.max(newest.as_ref().map_or(0, |g| g.number));
            let went_back = newest.as_ref().is_some_and(|generation| generation.rolled_back_to().is_some());
            let cut = newest.map(|generation| generation.cut).unwrap_or_default();
            if self.rewound.remove(&view.id) {
                self.cuts.remove(&view.id);
            }
            let last = self.cuts.entry(view.id.clone()).or_default();
            if !cut.covers(last) {
                return Err(format!("the cut of {} went back from {last:?} to {cut:?}", view.id));
            }
            let partitions = if went_back { 0 } else { self.stage.source.partitions };
            for number in 0..partitions {
                let partition = self.partition(number);
                let held = self.replicas.primary().port().snapshot(&partition, std::slice::from_ref(&view.id)).await;
                let held = held.map_err(|error| error.to_string())?.remove(0);
                if let Some(floor) = held.map(|held| held.progress.floor).filter(|&floor| floor > cut.get(number)) {
                    return Err(format!("the floor {floor} of {} lies above the cut {cut:?}", view.id));
                }
            }
            *self.cuts.entry(view.id.clone()).or_default() = cut;
        }
        Ok(())
    }

    /// Heals everything and waits until all is caught up; then every answer is there, and reaches the log's end.
    pub(super) async fn settle(&mut self) -> Result<(), String> {
        self.faulty.set_faults(0);
        self.faulty.release().await;
        self.replicas.heal();
        self.stage.wire.cut();
        self.zombies.clear();
        self.readers.clear();
        self.stage.views = self.config.views.clone();
        self.actors = self.roles.iter().map(|&role| self.stage.start(role)).collect();
        // A log that was cut looks caught up with before anybody has looked at it again.
        let least = if self.truncated { 8 } else { 0 };
        for round in 0..ROUNDS {
            if round >= least && self.is_caught_up().await {
                break;
            }
            self.clock.advance(Span::MINUTE.0);
            let real = self.stage.real;
            self.actors.iter_mut().for_each(|actor| go_on(actor, 40, real));
            self.wrong()?;
            if self.noticed {
                return Ok(()); // only a person can decide what to do about it
            }
        }
        if self.truncated {
            self.servings = (0..2).map(|_| self.serving()).collect();
        }
        for _ in 0..4 {
            for serving in self.servings.clone() {
                let _: Answered = Reader::refreshing(serving.clone()).finish();
                let Some(mut reader) = Reader::asking(serving, &self.dice, false) else { continue };
                match reader.finish() {
                    Answered::With(answer) => {
                        let told = answer.check(&self.truth.lock().expect("never poisoned"))?;
                        self.summary.excluded += u64::from(told);
                        self.check_reach(&answer.coverage)?;
                        self.summary.answers += 1;
                    }
                    other => return Err(format!("no answer without faults: {other:?}; {}", self.describe().await)),
                }
            }
        }
        Ok(())
    }

    /// Whether every view stands at every partition's last record, and has nothing missing below.
    async fn is_caught_up(&self) -> bool {
        let ids: Vec<ViewId> = self.config.views.iter().map(|view| view.id.clone()).collect();
        for number in 0..self.stage.source.partitions {
            let partition = self.partition(number);
            let store = self.replicas.primary();
            let held = store.port().snapshot(&partition, &ids).await.unwrap_or_default();
            let end = self.truth.lock().expect("never poisoned").end(number);
            for (view, held) in ids.iter().zip(held) {
                let Some(held) = held.filter(|held| held.progress.position >= end) else { return false };
                let table = self.tables.iter().find(|table| table.view().id == *view).expect("a table a view");
                let newest = table.latest().await.unwrap_or_default();
                let cut = newest.map(|generation| generation.cut.get(number)).unwrap_or_default();
                if held.progress.floor > cut {
                    return false; // it is folded again after a rollback
                }
                for segment in held.closed.iter().filter(|segment| segment.start >= cut) {
                    let rows = store.port().segment(&partition, view, segment.start).await;
                    if !matches!(rows, Ok(Some(_))) {
                        return false; // evicted: the next generation makes up for it
                    }
                }
            }
        }
        true
    }

    fn check_reach(&self, coverage: &OffsetVector) -> Result<(), String> {
        for number in 0..self.stage.source.partitions {
            let (reached, end) = (coverage.get(number), self.truth.lock().expect("never poisoned").end(number));
            if reached < end {
                return Err(format!("partition {number} is caught up to {reached} of {end} only"));
            }
        }
        Ok(())
    }

    /// Where everything stands, to look at after a failure.
    async fn describe(&self) -> String {
        let mut out = String::new();
        for number in 0..self.stage.source.partitions {
            let partition = self.partition(number);
            let ids: Vec<ViewId> = self.config.views.iter().map(|view| view.id.clone()).collect();
            let held = self.replicas.primary().port().snapshot(&partition, &ids).await.unwrap_or_default();
            let held: Vec<_> = held.into_iter().map(|held| held.map(|held| (held.progress, held.closed))).collect();
            out += &format!("{partition}: log {:?}, state {held:?}; ", self.log.bounds(&partition).await);
        }
        for table in &self.tables {
            let cut = table.latest().await.map(|newest| newest.map(|newest| newest.cut));
            out += &format!("{} is cut at {cut:?}; ", table.view().id);
        }
        out + &format!("{:?}", self.truth.lock().expect("never poisoned").boundaries)
    }
}
