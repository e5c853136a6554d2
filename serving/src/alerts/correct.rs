//! What a later generation says of the moments at which alerts fired.
use std::cmp::Reverse;
use std::collections::{BTreeSet, VecDeque};

use seam_shared::lock::lock;
use seam_shared::time::Timestamp;
use serde_json::Value;

use super::book::{Book, Corrected};
use super::rule::{Group, Rule};
use super::{Alerts, stamp};
use crate::pin::Pin;
use crate::pin::pinned::PinnedView;
use crate::prometheus::evaluate::number_text;
use crate::prometheus::moment::Sampled;

/// Moments that are asked for again in one tick of a group; the others wait for the next.
const CORRECTED_MAX: usize = 32;

/// A moment at which a rule of a group fired an alert, and the rule's place; the newest first.
type Moment = (Reverse<Timestamp>, usize);

/// What a group's alerts were compared with.
#[derive(Debug, Default)]
pub struct Compared {
    /// The generations of the last time; `None` before the first.
    generations: Option<Vec<Option<u64>>>,
    /// The moments that are still to be asked for.
    waiting: VecDeque<Moment>,
}

impl Compared {
    /// The moments to ask for now, of those at which alerts fired: all of them in turn, once there are other generations than the last
    /// time. What waits already comes first, however often there are new ones.
    fn next(&mut self, generations: Vec<Option<u64>>, fired: &BTreeSet<Moment>) -> Vec<Moment> {
        self.waiting.retain(|moment| fired.contains(moment));
        if self.generations.as_ref().is_some_and(|before| *before != generations) {
            let waiting: BTreeSet<Moment> = self.waiting.iter().copied().collect();
            self.waiting.extend(fired.difference(&waiting));
        }
        self.generations = Some(generations);
        let now = self.waiting.len().min(CORRECTED_MAX);
        self.waiting.drain(..now).collect()
    }
}

impl Alerts {
    /// Asks again for the moments at which a group's alerts fired, once there are other generations than the last time. Whether
    /// anything is other than it was.
    pub(super) async fn correct(&self, group: &Group, pin: &Pin) -> bool {
        let number = |pinned: &PinnedView| pinned.generation.as_ref().map(|generation| generation.number);
        let generations = pin.views.iter().map(number).collect();
        let fired = self.fired(group);
        let moments = lock(&self.compared).entry(group.name.clone()).or_default().next(generations, &fired);
        let mut moved = false;
        for (Reverse(at), place) in moments {
            let rule = &group.rules[place];
            let Ok(expression) = &rule.expression else { continue };
            if let Some(Ok(sampled)) = self.prometheus.sample(&[expression], at).await.pop()
                && self.keeps_up(rule, sampled.pin.as_deref()).is_ok()
            {
                moved |= self.board().with(|book| compare(book, rule, at, &sampled));
            }
        }
        moved
    }
    /// The moments at which a group's alerts fired.
    fn fired(&self, group: &Group) -> BTreeSet<Moment> {
        let of_rule = |(place, rule): (usize, &Rule)| {
            let alerts = self.board().alerts(rule).into_iter();
            alerts.filter_map(move |alert| Some((Reverse(alert.evidence?.at), place)))
        };
        group.rules.iter().enumerate().flat_map(of_rule).collect()
    }
}

/// Notes where what is answered for a moment is not what it was when alerts fired by it.
fn compare(book: &mut Book, rule: &Rule, at: Timestamp, sampled: &Sampled) -> bool {
    let mut moved = false;
    for alert in book.alerts.get_mut(&rule.key).into_iter().flatten() {
        let Some(evidence) = alert.evidence.as_ref().filter(|evidence| evidence.at == at) else { continue };
        let now = sampled.samples.iter().find(|(series, value)| rule.labels(series, *value) == alert.labels);
        let now = now.map(|(_, value)| *value).filter(|value| !value.is_nan());
        let same = now.is_some_and(|now| now.to_bits() == evidence.value.to_bits());
        let value = now.map(number_text);
        let known = alert.corrected.as_ref().is_some_and(|corrected| corrected.value == value);
        if same {
            moved |= alert.corrected.take().is_some();
        } else if !known {
            let stamp = sampled.pin.as_deref().map_or(Value::Null, stamp);
            alert.corrected = Some(Corrected { value, stamp });
            moved = true;
        }
    }
    moved
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_moment_has_its_turn_however_often_there_are_generations() {
        let mut fired: BTreeSet<Moment> = (0..100).map(|at| (Reverse(Timestamp(at)), 0)).collect();
        let mut compared = Compared::default();
        assert_eq!(compared.next(vec![Some(0)], &fired), [], "of before the start nothing is known");
        assert_eq!(compared.next(vec![Some(0)], &fired), []);
        let mut asked = Vec::new();
        for generation in 1..=4 {
            asked.extend(compared.next(vec![Some(generation)], &fired));
        }
        let first: BTreeSet<Moment> = asked[..100].iter().copied().collect();
        assert_eq!((first, asked[0].0.0), (fired.clone(), Timestamp(99)), "each once, the newest first");
        // The last generation is to be asked for all of them, too; what has ended is not.
        fired.retain(|(Reverse(at), _)| at.0 < 70);
        let mut rest = Vec::new();
        for _ in 0..4 {
            rest.extend(compared.next(vec![Some(4)], &fired));
        }
        assert_eq!((rest.len(), compared.next(vec![Some(4)], &fired)), (66, vec![]));
    }
}
