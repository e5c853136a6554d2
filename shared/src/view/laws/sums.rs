//! The exact sum against references of its own.
use crate::view::exact_sum::ExactSum;

#[test]
fn what_plain_addition_loses_is_kept() {
    let mut sum = ExactSum::default();
    [1e16, 1.0, -1e16].iter().for_each(|v| sum.add(*v));
    assert_eq!(sum.round(), 1.0);
}
