//! Windows from cells, by key: each window takes about three additions, however many cells it has. Pure.
//!
//! States can be added, not taken away. So the cells in a window are kept as a queue of two stacks: of the older cells the sums
//! from each on to the youngest of them, of the younger ones their sum. What leaves, leaves from the top of the older ones; when
//! they are used up, the younger ones become the older ones.
use seam_shared::view::aggregate::State;
use seam_shared::view::rows::States;

/// The rows of one key that are in the window at hand, added up.
pub struct Slide<'a> {
    states: &'a [States],
    /// The sums from row `middle - 1 - i` on up to but without `middle`.
    older: Vec<Vec<State>>,
    /// The sum of the rows from `middle` on.
    younger: Option<Vec<State>>,
    middle: usize,
    /// The end of the rows that are in.
    to: usize,
}

impl<'a> Slide<'a> {
    /// Nothing yet, before row `from`.
    pub fn new(states: &'a [States], from: usize) -> Slide<'a> {
        Slide { states, older: Vec::new(), younger: None, middle: from, to: from }
    }
    fn row(&self, row: usize) -> Vec<State> {
        self.states.iter().map(|states| states.get(row)).collect()
    }
    /// Goes on to the rows `from..to`; neither ever goes back.
    pub fn go_on(&mut self, from: usize, to: usize) {
        if from <= self.middle {
            for row in self.to..to {
                let state = self.row(row);
                match &mut self.younger {
                    Some(younger) => younger.iter_mut().zip(&state).for_each(|(sum, state)| sum.combine(state)),
                    younger => *younger = Some(state),
                }
            }
            self.to = to;
            return self.older.truncate(self.middle - from);
        }
        self.to = to;
        (self.middle, self.younger) = (to, None);
        self.older.clear();
        for row in (from..to).rev() {
            let mut sum = self.row(row);
            if let Some(last) = self.older.last() {
                sum.iter_mut().zip(last).for_each(|(sum, last)| sum.combine(last));
            }
            self.older.push(sum);
        }
    }
    /// What is in the window, in at most two parts.
    pub fn parts(&self) -> impl Iterator<Item = &Vec<State>> {
        self.older.last().into_iter().chain(&self.younger)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
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
        for (steps, seed) in (0..200).zip(1_u64..) {
            let (mut from, mut to, mut dice) = (3, 3, seed * 0x9E37_79B9);
            let mut slide = Slide::new(&states, 3);
            for _ in 0..steps % 12 + 2 {
                dice = dice.wrapping_mul(0x5851_F42D_4C95_7F2D).wrapping_add(99);
                to = (to + (dice >> 40) as usize % 7).min(40);
                from = (from + (dice >> 50) as usize % 7).min(to);
                slide.go_on(from, to);
                let parts: Vec<&Vec<State>> = slide.parts().collect();
                assert_eq!(parts.is_empty(), from == to, "{from}..{to}");
                let mut got = State::empty(StateKind::Fixed { scale: 0 });
                parts.iter().for_each(|part| got.combine(&part[0]));
                assert_eq!(got, sum(from..to), "{from}..{to}");
            }
        }
    }
}
