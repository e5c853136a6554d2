//! Windows from cells, by key: each window takes about three additions, however many cells it has. Pure.
//!
//! States can be added, not taken away. So the cells in a window are kept as a queue of two stacks: of the older cells the sums
//! from each on to the youngest of them, of the younger ones their sum. What leaves, leaves from the top of the older ones; when
//! they are used up, the younger ones become the older ones.
use seam_shared::view::rows::States;

/// The rows of one key that are in the window at hand, added up.
pub struct Slide<'a> {
    states: &'a [States],
    /// In row `i` the sum of the rows from `middle - 1 - i` on up to but without `middle`; the first `held` of them count.
    older: Vec<States>,
    held: usize,
    /// The sum of the rows from `middle` on.
    younger: Vec<States>,
    middle: usize,
    /// The end of the rows that are in.
    to: usize,
}

impl<'a> Slide<'a> {
    /// Over these rows; there are none in before [`Slide::begin`].
    pub fn new(states: &'a [States]) -> Slide<'a> {
        let older = states.iter().map(States::empty_like).collect();
        let one = |states: &States| {
            let mut one = states.empty_like();
            one.push_empty();
            one
        };
        Slide { states, older, held: 0, younger: states.iter().map(one).collect(), middle: 0, to: 0 }
    }
    /// Nothing yet, before row `from`.
    pub fn begin(&mut self, from: usize) {
        (self.held, self.middle, self.to) = (0, from, from);
    }
    /// Goes on to the rows `from..to`; neither ever goes back.
    pub fn go_on(&mut self, from: usize, to: usize) {
        if from <= self.middle {
            for row in self.to..to {
                for (sum, states) in self.younger.iter_mut().zip(self.states) {
                    match row == self.middle {
                        true => sum.replace(0, states, row),
                        false => sum.combine(0, states, row),
                    }
                }
            }
            self.to = to;
            self.held = self.held.min(self.middle - from);
            return;
        }
        (self.middle, self.to, self.held) = (to, to, to - from);
        for (sums, states) in self.older.iter_mut().zip(self.states) {
            for (i, row) in (from..to).rev().enumerate() {
                if sums.len() == i {
                    sums.push_empty();
                }
                sums.replace(i, states, row);
                if i > 0 {
                    sums.combine_within(i, i - 1);
                }
            }
        }
    }
    /// What is in the window, in at most two parts: columns and the row of them.
    pub fn parts(&self) -> impl Iterator<Item = (&[States], usize)> {
        let older = (self.held > 0).then(|| (&self.older[..], self.held - 1));
        older.into_iter().chain((self.to > self.middle).then_some((&self.younger[..], 0)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use seam_shared::view::aggregate::State;
    use seam_shared::view::definition::StateKind;
    use seam_shared::view::value::Value;

    #[test]
    fn every_window_is_the_sum_of_its_rows() {
        let mut states = vec![States::empty(StateKind::Fixed { scale: 0 })];
        for row in 0..40 {
            states[0].push_empty();
            states[0].lift(row, &Value::Int((row * row % 13) as i64));
        }
        let sum = |rows: std::ops::Range<usize>| {
            rows.fold(State::empty(StateKind::Fixed { scale: 0 }), |mut sum, row| {
                sum.combine(&states[0].get(row));
                sum
            })
        };
        // One after another, as for one key after another.
        let mut slide = Slide::new(&states);
        for (steps, seed) in (0..200).zip(1_u64..) {
            let (mut from, mut to, mut dice) = (3, 3, seed * 0x9E37_79B9);
            slide.begin(3);
            for _ in 0..steps % 12 + 2 {
                dice = dice.wrapping_mul(0x5851_F42D_4C95_7F2D).wrapping_add(99);
                to = (to + (dice >> 40) as usize % 7).min(40);
                from = (from + (dice >> 50) as usize % 7).min(to);
                slide.go_on(from, to);
                let parts: Vec<State> = slide.parts().map(|(columns, row)| columns[0].get(row)).collect();
                assert_eq!(parts.is_empty(), from == to, "{from}..{to}");
                let mut got = State::empty(StateKind::Fixed { scale: 0 });
                parts.iter().for_each(|part| got.combine(part));
                assert_eq!(got, sum(from..to), "{from}..{to}");
            }
        }
    }
}
