//! The laws of the algebra, on random states and streams: each law of the documentation is a test of the same name.
mod recount;
mod sums;

use proptest::collection::vec;
use proptest::prelude::*;

use crate::Kind;
use crate::log::Offset;
use crate::time::{Span, Timestamp};
use crate::view::aggregate::State;
use crate::view::aggregate::partial::{self, Aggregate};
use crate::view::aggregate::unit::Unit;
use crate::view::definition::{StateDefinition, StateKind};
use crate::view::groups::Groups;
use crate::view::rows::Rows;
use crate::view::value::Value;

const KINDS: [StateKind; 18] = [
    StateKind::Count,
    StateKind::Fixed { scale: 2 },
    StateKind::Float,
    StateKind::Fixed { scale: 0 },
    StateKind::Partial(Aggregate::Variance, Unit::Scaled(2)),
    StateKind::Partial(Aggregate::Variance, Unit::Double),
    StateKind::Partial(Aggregate::Quantiles(50), Unit::Double),
    StateKind::Partial(Aggregate::Quantiles(3), Unit::Scaled(0)),
    StateKind::Partial(Aggregate::Distinct, Unit::Scaled(0)),
    StateKind::Partial(Aggregate::Distinct, Unit::Double),
    StateKind::Partial(Aggregate::First, Unit::Scaled(0)),
    StateKind::Partial(Aggregate::Last, Unit::Double),
    StateKind::Partial(Aggregate::Last, Unit::Scaled(0)),
    StateKind::Partial(Aggregate::Histogram, Unit::Double),
    StateKind::Partial(Aggregate::Histogram, Unit::Scaled(2)),
    StateKind::Partial(Aggregate::Sessions(Span(40)), Unit::Scaled(0)),
    StateKind::Partial(Aggregate::Net, Unit::Scaled(2)),
    StateKind::Partial(Aggregate::Net, Unit::Double),
];

/// One event as the fold sees it: pane, key, and a value for each state; and its offset, which no two events share.
type Lifted = (Timestamp, Vec<Value>, Vec<Value>, u64);

fn definition(column: usize) -> StateDefinition {
    let bounds: &[Value] = match column {
        13 => &[Value::Float(-1e9), Value::Float(0.0), Value::Float(0.5)],
        14 => &[Value::Decimal(-1, 2), Value::Decimal(0, 2)],
        _ => &[],
    };
    StateDefinition { bounds: bounds.into(), ..StateDefinition::new(KINDS[column], None) }
}

fn doubles() -> impl Strategy<Value = f64> {
    prop_oneof![
        6 => -1e6..1e6f64,
        2 => proptest::num::f64::ANY,
        1 => prop_oneof![Just(f64::NAN), Just(f64::INFINITY), Just(f64::NEG_INFINITY), Just(-0.0), Just(5e-324)],
        1 => prop_oneof![Just(1e308), Just(-1e308), Just(1e-308), Just(0.1), Just(1e16)],
    ]
}

fn lifted() -> impl Strategy<Value = Lifted> {
    let text = prop_oneof![
        Just(Value::Null),
        "[a-c]{0,2}".prop_map(|s| Value::text(&s)),
        any::<String>().prop_map(|s| Value::text(&s))
    ];
    let number = prop_oneof![Just(Value::Null), (-3i64..3).prop_map(Value::Int), any::<i64>().prop_map(Value::Int)];
    let flag = prop_oneof![Just(Value::Null), any::<bool>().prop_map(Value::Bool)];
    let decimal = (-(10i128.pow(28))..10i128.pow(28)).prop_map(|d| Value::Decimal(d, 2));
    let measured = (
        prop_oneof![1 => Just(Value::Null), 4 => decimal],
        prop_oneof![1 => Just(Value::Null), 8 => doubles().prop_map(|f| Value::Float(f + 0.0))],
        prop_oneof![1 => Just(Value::Null), 4 => any::<i64>().prop_map(Value::Int)],
    );
    let pane = prop_oneof![4 => -2i64..3, 1 => any::<i64>()].prop_map(Timestamp);
    (pane, text, number, flag, measured, any::<u64>()).prop_map(|(pane, a, b, c, (d, f, i), offset)| {
        let exact = [Value::Null, d.clone(), f.clone(), i.clone()];
        let sketched = [d.clone(), f.clone(), f.clone(), i.clone(), a.clone(), f.clone()];
        let rest = [a.clone(), f.clone(), c.clone(), f.clone(), d.clone(), a.clone(), d, f];
        (pane, vec![a, b, c], exact.into_iter().chain(sketched).chain(rest).collect(), offset)
    })
}

fn event(time: Timestamp, offset: u64, value: &Value) -> partial::Lifted<'_> {
    partial::Lifted { time, partition: (offset % 3) as u32, offset: Offset(offset), value, retracted: offset % 2 == 1 }
}

fn fold(events: &[Lifted]) -> Groups {
    let mut groups = Groups::new(3, &KINDS);
    for (pane, key, values, offset) in events {
        let codes: Vec<u32> = key.iter().enumerate().map(|(d, value)| groups.intern(d, value)).collect();
        let row = groups.row(*pane, &codes);
        for (column, (states, value)) in groups.states_mut().iter_mut().zip(values).enumerate() {
            states.lift_event(row, &definition(column), &event(*pane, *offset, value));
        }
    }
    groups
}

fn state_of(kind: StateKind, column: usize, events: &[Lifted]) -> State {
    let mut state = State::empty(kind);
    for (pane, _, values, offset) in events {
        state.lift_event(&definition(column), &event(*pane, *offset, &values[column]));
    }
    state
}

fn combined(a: &State, b: &State) -> State {
    let mut out = a.clone();
    out.combine(b);
    out
}

/// Equal in every bit: as encoded, not only as compared.
fn bytes_of(kind: StateKind, state: &State) -> Vec<u8> {
    let mut groups = Groups::new(0, &[kind]);
    groups.merge_row(Timestamp(0), &[], std::slice::from_ref(state));
    groups.into_rows().encode()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    #[test]
    fn every_state_is_a_commutative_monoid(a in vec(lifted(), 0..6), b in vec(lifted(), 0..6), c in vec(lifted(), 0..6)) {
        for (column, kind) in KINDS.into_iter().enumerate() {
            let [x, y, z] = [&a, &b, &c].map(|events| state_of(kind, column, events));
            let same = |left: &State, right: &State| bytes_of(kind, left) == bytes_of(kind, right);
            prop_assert!(same(&combined(&combined(&x, &y), &z), &combined(&x, &combined(&y, &z))), "associative");
            prop_assert!(same(&combined(&x, &y), &combined(&y, &x)), "commutative");
            prop_assert!(same(&combined(&x, &State::empty(kind)), &x), "identity");
            prop_assert!(same(&combined(&State::empty(kind), &x), &x), "identity");
            let all: Vec<Lifted> = a.iter().chain(&b).cloned().collect();
            prop_assert!(same(&combined(&x, &y), &state_of(kind, column, &all)), "combine is the fold of both streams");
        }
    }

    #[test]
    fn any_order_and_split_of_a_stream_gives_the_same_bytes(
        (stream, shuffled) in vec(lifted(), 0..60).prop_flat_map(|s| (Just(s.clone()), Just(s).prop_shuffle())),
        cuts in vec(0usize..60, 0..4),
    ) {
        let whole = fold(&stream).into_rows();
        let mut cuts: Vec<usize> = cuts.into_iter().map(|c| c.min(shuffled.len())).chain([0, shuffled.len()]).collect();
        cuts.sort_unstable();
        let mut merged = Groups::new(3, &KINDS);
        for part in cuts.windows(2).rev() {
            let rows = fold(&shuffled[part[0]..part[1]]).into_unsorted();
            merged.merge(&Rows::decode(&rows.encode()).expect("what was encoded decodes"));
        }
        let merged = merged.into_rows();
        prop_assert_eq!(whole.encode(), merged.encode());
        prop_assert!(whole.check_shape(3, &KINDS).is_ok());
        prop_assert!(whole.check_shape(2, &KINDS).is_err());
    }

    #[test]
    fn canonical_rows_are_ordered_and_their_dictionaries_exact(stream in vec(lifted(), 0..60)) {
        let rows = fold(&stream).into_rows();
        let key = |i: usize| (rows.panes[i], (0..3).map(|d| rows.value(d, i).clone()).collect::<Vec<_>>());
        prop_assert!((1..rows.len()).all(|i| key(i - 1) < key(i)), "strictly by pane, then by the dimensions in order");
        for dimension in &rows.dimensions {
            prop_assert!(dimension.values.windows(2).all(|pair| pair[0] < pair[1]));
            prop_assert!((0..dimension.values.len() as u32).all(|code| dimension.codes.contains(&code)));
        }
    }

    #[test]
    fn gather_keeps_what_it_picks(stream in vec(lifted(), 1..40), picks in vec(any::<u32>(), 0..20)) {
        let rows = fold(&stream).into_unsorted();
        let picks: Vec<u32> = picks.into_iter().map(|p| p % rows.len() as u32).collect();
        let gathered = rows.gather(&picks);
        prop_assert_eq!(gathered.len(), picks.len());
        for (i, &pick) in picks.iter().enumerate() {
            prop_assert_eq!(gathered.panes[i], rows.panes[pick as usize]);
            for d in 0..3 {
                prop_assert_eq!(gathered.value(d, i), rows.value(d, pick as usize));
                prop_assert!(gathered.dimensions[d].values.len() <= picks.len());
            }
            for (a, b) in gathered.states.iter().zip(&rows.states) {
                prop_assert_eq!(a.get(i), b.get(pick as usize));
            }
        }
    }

    #[test]
    fn upsert_replaces_by_pane_and_key(old in vec(lifted(), 0..30), new in vec(lifted(), 0..30)) {
        let (before, newer) = (fold(&old).into_unsorted(), fold(&new).into_unsorted());
        let mut rows = before.clone();
        rows.upsert(&newer);
        let lookup = |rows: &Rows| -> std::collections::BTreeMap<(Timestamp, Vec<Value>), Vec<State>> {
            (0..rows.len()).map(|i| {
                let key = (0..3).map(|d| rows.value(d, i).clone()).collect();
                ((rows.panes[i], key), rows.states.iter().map(|s| s.get(i)).collect())
            }).collect()
        };
        let mut expected = lookup(&before);
        expected.extend(lookup(&newer));
        prop_assert_eq!(rows.len(), expected.len());
        prop_assert_eq!(lookup(&rows), expected);
    }

    #[test]
    fn rolling_up_equals_folding_with_fewer_dimensions(stream in vec(lifted(), 0..60), narrow in any::<bool>()) {
        let rows = fold(&stream).into_unsorted();
        let chosen: &[usize] = if narrow { &[1] } else { &[2, 0] };
        let later = |pane: Timestamp| (pane.0 >= 0).then_some(Timestamp(7));
        let mut rolled = Groups::new(chosen.len(), &[KINDS[2], KINDS[0]]);
        rolled.merge_chosen(&rows, chosen, &[2, 0], |i| later(rows.panes[i]));
        let mut direct = Groups::new(chosen.len(), &[KINDS[2], KINDS[0]]);
        for (pane, key, values, _) in &stream {
            let Some(pane) = later(*pane) else { continue };
            let key: Vec<Value> = chosen.iter().map(|&d| key[d].clone()).collect();
            let states = [2, 0].map(|s| { let mut state = State::empty(KINDS[s]); state.lift(&values[s]); state });
            direct.merge_row(pane, &key, &states);
        }
        prop_assert_eq!(rolled.into_rows().encode(), direct.into_rows().encode());
    }

    #[test]
    fn rows_survive_their_encoding(stream in vec(lifted(), 0..60)) {
        let rows = fold(&stream).into_unsorted();
        let bytes = rows.encode();
        let back = Rows::decode(&bytes).expect("what was encoded decodes");
        prop_assert_eq!(back.encode(), bytes.clone());
        prop_assert_eq!(&back, &rows);
        for cut in (0..bytes.len()).step_by(1 + bytes.len() / 64) {
            prop_assert_eq!(Rows::decode(&bytes[..cut]).map_err(|e| e.kind()), Err(Kind::Corrupt));
        }
    }

    #[test]
    fn decoding_damaged_bytes_never_panics(
        stream in vec(lifted(), 0..20), noise in vec(any::<u8>(), 0..200), hits in vec((any::<u16>(), any::<u8>()), 1..6)
    ) {
        drop(Rows::decode(&noise));
        drop(Rows::decode(&[&[1][..], &noise].concat()));
        let mut bytes = fold(&stream).into_rows().encode();
        for (at, xor) in hits {
            let at = usize::from(at) % bytes.len();
            bytes[at] ^= xor;
        }
        if let Ok(mut rows) = Rows::decode(&bytes) {
            rows.sort();
            drop(Rows::decode(&rows.encode()).expect("what decodes encodes"));
        }
    }
}

#[test]
fn rows_with_very_wide_keys_sort_the_same_way() {
    let mut groups = Groups::new(3, &KINDS[..1]);
    for i in (0..3_000i64).rev() {
        let key = [i % 2_999, i % 2_503, i].map(Value::Int);
        let pane = if i % 2 == 0 { i64::MAX - i } else { i64::MIN + i };
        groups.merge_row(Timestamp(pane), &key, &[State::Count(1)]);
    }
    let rows = groups.into_rows();
    let key = |i: usize| (rows.panes[i], [0, 1, 2].map(|d| rows.value(d, i).clone()));
    assert_eq!(rows.len(), 3_000);
    assert!((1..rows.len()).all(|i| key(i - 1) < key(i)));
}
