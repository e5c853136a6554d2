//! Rates: a value divided by the time that its window covers. Pure.
//!
//! A window covers what lies between its start and its end, but for what is before the first pane that the view holds and for
//! what is after `now`: a window that has just begun is not divided by time that did not pass yet.
use seam_shared::time::{Span, Timestamp};
use seam_shared::view::value::Value;

use crate::present::{as_double, exact_ratio};
use crate::query::Rate;

impl Rate {
    /// The time that a window covers, of a view whose first pane begins at `begin`.
    pub fn covered(&self, (start, end): (Timestamp, Timestamp), begin: Option<Timestamp>) -> Span {
        let Some(begin) = begin else { return Span(0) };
        Span((end.min(self.until).0 - start.max(begin).0).max(0))
    }
    /// A value of a window that covers that much time; null where it covers none.
    pub fn of(&self, value: &Value, covered: Span) -> Value {
        if let Some(exact) = exact_ratio(value, &Value::Int(1), self.per.0, covered.0).filter(|_| covered.0 > 0) {
            return Value::Float(exact);
        }
        match as_double(value).map(|value| value / (covered.0 as f64 / self.per.0 as f64)) {
            Some(rate) if covered.0 > 0 && rate.is_finite() => Value::Float(rate),
            _ => Value::Null,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_time_that_is_covered_divides() {
        let rate = Rate { per: Span(10), until: Timestamp(70) };
        let covered = |start, end, begin| rate.covered((Timestamp(start), Timestamp(end)), begin).0;
        assert_eq!(covered(20, 60, Some(Timestamp(5))), 40);
        assert_eq!(covered(20, 60, Some(Timestamp(25))), 35);
        assert_eq!(covered(40, 90, Some(Timestamp(5))), 30);
        assert_eq!(
            (covered(80, 90, Some(Timestamp(5))), covered(0, 5, Some(Timestamp(5))), covered(0, 5, None)),
            (0, 0, 0)
        );
        assert_eq!(rate.of(&Value::Int(8), Span(40)), Value::Float(2.0));
        assert_eq!(rate.of(&Value::Decimal(150, 2), Span(5)), Value::Float(3.0));
        // rounded once, as whoever divides the digits themselves has it
        let hour = Rate { per: Span::SECOND, until: Timestamp(0) };
        assert_eq!(hour.of(&Value::Decimal(92030920993190389, 3), Span::HOUR), Value::Float(25564144720.33066));
        assert_eq!(hour.of(&Value::Float(76.4), Span(300 * Span::SECOND.0)), Value::Float(76.4 / 300.0));
        assert_eq!((rate.of(&Value::Int(8), Span(0)), rate.of(&Value::Null, Span(4))), (Value::Null, Value::Null));
    }
}
