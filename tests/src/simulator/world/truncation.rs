//! A log that loses its end and grows again: what was computed from the lost records must not be passed over in silence.
use seam_shared::log::{EventLog, Offset};

use super::World;

impl World {
    /// Once in a seed, a partition loses its last records, or the whole log is made anew. Everybody starts again, as they must
    /// when the log's leader changes, and nobody trusts what was told before.
    pub(super) async fn truncate(&mut self) {
        let whole = self.dice.one_in(4);
        for number in 0..self.stage.source.partitions {
            let partition = self.partition(number);
            let (start, end) = self.log.bounds(&partition).await.expect("a log in memory");
            let kept = if whole { 0 } else { end.0.saturating_sub(1 + self.dice.below(8)) };
            let kept = Offset(kept).max(start);
            if whole || self.dice.one_in(2) {
                self.log.truncate(&partition, kept).expect("the partition exists");
                self.truth.lock().expect("never poisoned").truncate(&partition, kept);
            }
        }
        self.clock.advance(1);
        self.truncated = true;
        self.zombies.clear();
        self.readers.clear();
        self.actors = self.roles.iter().map(|&role| self.stage.start(role)).collect();
    }

    /// What an actor found that must never be; when the log was cut, that is how somebody notices.
    pub(super) fn wrong(&mut self) -> Result<(), String> {
        match self.stage.wrong.lock().expect("never poisoned").take() {
            Some(_) if self.truncated => {
                self.noticed = true;
                Ok(())
            }
            Some(wrong) => Err(wrong),
            None => Ok(()),
        }
    }
}
