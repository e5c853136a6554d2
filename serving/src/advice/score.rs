//! The score of an item for a user. Whole numbers throughout: equal counts give equal scores, whichever layer they come from and
//! however they were added up, and only scores that are equal are a tie. Pure.
use seam_shared::config::{WEIGHT_DIGITS, Weights};
use seam_shared::time::{Span, Timestamp};

/// Digits after the point of a score and of its parts.
pub const DIGITS: u8 = 6;
/// One, in parts of a score.
const UNIT: u64 = 10_u64.pow(DIGITS as u32);
/// One, in what is left of an event.
const LEFT: u64 = 1_000_000_000;
/// The largest amount: a score's numerator still fits 128 bits, and so many events there are not.
const AMOUNT_MAX: u128 = 1 << 84;

/// How events lose weight with age.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Decay {
    /// The end of the newest pane, whose events weigh all that they can.
    pub until: Timestamp,
    /// After so long they weigh half.
    pub half_life: Span,
}

impl Decay {
    fn of(self, pane: Timestamp, unit: u64) -> u64 {
        let ages = (self.until.0 - pane.0) as f64 / self.half_life.0 as f64;
        // between 0 and the unit, as panes do not end behind the newest
        ((-ages).exp2() * unit as f64).round() as u64
    }
    /// What is left of the events of a pane: billionths.
    pub fn left(self, pane: Timestamp) -> u64 {
        self.of(pane, LEFT)
    }
    /// How lately a pane was: millionths.
    pub fn recency(self, pane: Timestamp) -> u64 {
        self.of(pane, UNIT)
    }
}

/// An amount of events: so many, by what their type weighs and by what age has left of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Amount(u128);

impl Amount {
    /// Adds events of one type and pane.
    pub fn add(&mut self, events: u64, weight: u64, left: u64) {
        // 64, 20 and 30 bits
        let more = u128::from(events) * u128::from(weight) * u128::from(left);
        self.0 = self.0.saturating_add(more).min(AMOUNT_MAX);
    }
    /// Which part of the largest amount it is, in millionths, rounded.
    pub fn of(self, most: Amount) -> u64 {
        rounded(self.0 * u128::from(UNIT), most.0)
    }
}

/// To the nearest, halves up; 0 of nothing.
fn rounded(numerator: u128, denominator: u128) -> u64 {
    let denominator = denominator.max(1);
    u64::try_from((numerator + denominator / 2) / denominator).unwrap_or(u64::MAX)
}

/// What a user's answer adds up scores with.
#[derive(Debug, Clone, Copy)]
pub struct Formula {
    /// What the parts weigh.
    pub weights: Weights,
    /// The amount of the item that has most.
    pub most: Amount,
}

/// A score: what is compared, exactly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Score(u128);

impl Formula {
    /// The score of an item, of parts in millionths and its amount.
    pub fn score(&self, interest: u64, amount: Amount, recency: u64) -> Score {
        // 20 bits a weight, 20 a part, 84 an amount, and two for the sum
        let most = self.most.0.max(1);
        let part = |weight: u64, part: u64| u128::from(weight) * u128::from(part);
        let popularity = part(self.weights.popularity, UNIT) * amount.0;
        Score(part(self.weights.interest, interest) * most + popularity + part(self.weights.recency, recency) * most)
    }
    /// A score in millionths, rounded.
    pub fn shown(&self, score: Score) -> u64 {
        let weight_unit = 10_u128.pow(WEIGHT_DIGITS.into());
        rounded(score.0, self.most.0.max(1) * weight_unit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = Span::DAY.0;

    #[test]
    fn the_score_is_that_of_the_formula() {
        let weights = Weights { interest: 600, popularity: 300, recency: 100 };
        let decay = Decay { until: Timestamp(100 * DAY), half_life: Span(7 * DAY) };
        let pane = |age: i64| Timestamp((100 - age) * DAY);
        assert_eq!(
            [0, 7, 14, 21].map(|age| decay.left(pane(age))),
            [1_000_000_000, 500_000_000, 250_000_000, 125_000_000]
        );
        assert_eq!([0, 1, 7].map(|age| decay.recency(pane(age))), [1_000_000, 905_724, 500_000]);
        // the most popular item: 8 views today; this one: 3 views today, a purchase that weighs 5 a week ago
        let (mut most, mut amount) = (Amount::default(), Amount::default());
        most.add(8, 1_000, decay.left(pane(0)));
        amount.add(3, 1_000, decay.left(pane(0)));
        amount.add(1, 5_000, decay.left(pane(7)));
        let formula = Formula { weights, most };
        // 0.6 * 0.25 + 0.3 * 5.5 / 8 + 0.1 * 1
        let score = formula.score(250_000, amount, decay.recency(pane(0)));
        assert_eq!((amount.of(most), formula.shown(score)), (687_500, 456_250));
        assert_eq!(formula.shown(formula.score(1_000_000, most, 1_000_000)), 1_000_000, "all there is");
        assert_eq!(formula.shown(formula.score(0, Amount::default(), 0)), 0);
        // a third, a seventh of it, as floats would say
        let third = formula.score(333_333, amount, decay.recency(pane(1)));
        let said = 0.6 * 0.333_333 + 0.3 * 5.5 / 8.0 + 0.1 * 0.905_724;
        assert!((formula.shown(third) as f64 / 1e6 - said).abs() <= 5e-7, "{third:?} {said}");
    }

    #[test]
    fn the_least_difference_of_amounts_is_one_of_scores_and_the_largest_numbers_fit() {
        let weights = Weights { interest: 1_000_000, popularity: 1_000_000, recency: 1_000_000 };
        let formula = Formula { weights, most: Amount(AMOUNT_MAX) };
        let score = |amount| formula.score(1_000_000, Amount(amount), 1_000_000);
        assert!(score(AMOUNT_MAX) > score(AMOUNT_MAX - 1));
        assert_eq!(formula.shown(score(AMOUNT_MAX)), 3_000_000_000);
        let mut amount = Amount::default();
        (0..3).for_each(|_| amount.add(u64::MAX, 1_000_000, LEFT));
        assert_eq!(amount, Amount(AMOUNT_MAX));
        // nothing is left of what is very old, and nothing is divided by nothing
        let decay = Decay { until: Timestamp(100 * DAY), half_life: Span(DAY) };
        assert_eq!((decay.left(Timestamp(0)), Amount::default().of(Amount::default())), (0, 0));
    }
}
