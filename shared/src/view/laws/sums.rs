//! The exact sum against references of its own: Python's `math.fsum`, and the oracle that counts every bit.
use proptest::collection::vec;
use proptest::prelude::*;

use crate::view::exact_sum::ExactSum;
use crate::view::oracle;

fn sum_of(values: &[f64]) -> ExactSum {
    let mut sum = ExactSum::default();
    values.iter().for_each(|value| sum.add(*value));
    sum
}

fn bytes_of(sum: &ExactSum) -> Vec<u8> {
    let mut bytes = Vec::new();
    sum.encode(&mut bytes);
    bytes
}

/// Finite doubles of every kind, with neighbours that cancel or tie.
fn finite() -> impl Strategy<Value = f64> {
    let every = any::<u64>().prop_map(f64::from_bits).prop_filter("finite", |value| value.is_finite());
    let tie = (0u64..54, any::<bool>()).prop_map(|(k, minus)| {
        let value = 2f64.powi(k as i32 - 53) * if minus { -1.0 } else { 1.0 };
        value + 0.0
    });
    let tiny =
        (0u64..1 << 54, any::<bool>()).prop_map(|(bits, minus)| f64::from_bits(bits) * if minus { -1.0 } else { 1.0 });
    let huge = prop::sample::select(vec![f64::MAX, -f64::MAX, 2f64.powi(970), -(2f64.powi(970)), 2f64.powi(969)]);
    prop_oneof![3 => -1e6..1e6f64, 2 => every, 3 => tie, 2 => tiny, 1 => huge, 1 => Just(1.0), 1 => Just(-0.0)]
}

#[test]
fn sums_equal_those_of_python() {
    let vectors = include_str!("fsum.txt");
    let mut checked = 0;
    for line in vectors.lines().filter(|line| !line.starts_with('#')) {
        let bits: Vec<f64> = line
            .split(' ')
            .map(|hex| f64::from_bits(u64::from_str_radix(hex, 16).expect("the fixture holds hexadecimal numbers")))
            .collect();
        let (expected, values) = bits.split_first().expect("a line starts with the sum");
        assert_eq!(sum_of(values).round().to_bits(), expected.to_bits(), "{values:?}");
        assert_eq!(oracle::exact_sum(values).to_bits(), expected.to_bits(), "the oracle on {values:?}");
        checked += 1;
    }
    assert!(checked >= 300, "only {checked} vectors");
}

#[test]
fn borders_round_as_ieee_754_says() {
    let half_of_last = 2f64.powi(970); // half of the last place of f64::MAX
    let just_below = f64::from_bits(half_of_last.to_bits() - 1);
    let cases: [(&[f64], f64); 12] = [
        (&[], 0.0),
        (&[-0.0, -0.0], 0.0),
        (&[1e16, 1.0, -1e16], 1.0),
        (&[f64::MAX, half_of_last], f64::INFINITY),
        (&[f64::MAX, just_below], f64::MAX),
        (&[-f64::MAX, -half_of_last], f64::NEG_INFINITY),
        (&[f64::MAX, f64::MAX, -f64::MAX], f64::MAX),
        (&[f64::MAX, f64::MAX, f64::MAX], f64::INFINITY),
        (&[1.0, 2f64.powi(-53)], 1.0),
        (&[1.0, 2f64.powi(-53), 5e-324], 1.0 + f64::EPSILON),
        (&[f64::MIN_POSITIVE, -5e-324], f64::from_bits(f64::MIN_POSITIVE.to_bits() - 1)),
        (&[5e-324, 5e-324, 5e-324], 1.5e-323),
    ];
    for (values, expected) in cases {
        assert_eq!(sum_of(values).round().to_bits(), expected.to_bits(), "{values:?}");
        assert_eq!(oracle::exact_sum(values).to_bits(), expected.to_bits(), "the oracle on {values:?}");
    }
}

#[test]
fn a_thousand_orders_and_splits_give_the_same_bits() {
    let mut state = 0x9E37_79B9_7F4A_7C15u64;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    // numbers of 2^-40 to 2^40 of both signs, and prices
    let scaled = |bits: u64| f64::from_bits(bits >> 63 << 63 | bits << 12 >> 12 | (983 + (bits >> 52) % 80) << 52);
    let mut values: Vec<f64> = (0..500).map(|_| scaled(random())).collect();
    values.extend((0..500).map(|_| (random() % 2_000_001) as f64 / 100.0 - 10_000.0));
    let (expected, bytes) = (oracle::exact_sum(&values), bytes_of(&sum_of(&values)));
    let mut plain = std::collections::BTreeSet::new();
    for _ in 0..1_000 {
        for i in (1..values.len()).rev() {
            values.swap(i, random() as usize % (i + 1));
        }
        plain.insert(values.iter().sum::<f64>().to_bits());
        let mut parts: Vec<ExactSum> = values.chunks(1 + random() as usize % 200).map(sum_of).collect();
        while parts.len() > 1 {
            let part = parts.swap_remove(random() as usize % parts.len());
            let into = random() as usize % parts.len();
            parts[into].merge(&part);
        }
        assert_eq!(parts[0].round().to_bits(), expected.to_bits());
        assert_eq!(bytes_of(&parts[0]), bytes);
    }
    assert!(plain.len() > 10, "the numbers must be such that plain addition depends on order");
}

#[test]
fn carries_put_off_for_very_many_adds_are_not_lost() {
    // 2^40 times as many adds as a limb can put off the carries of; every step must count on
    let doubled = |values: &[f64]| {
        let mut sum = sum_of(values);
        for _ in 0..70 {
            values.iter().for_each(|value| sum.add(*value));
            sum.merge(&sum.clone());
        }
        sum
    };
    let values = [f64::MAX, 1.5, -5e-324, -1e-3];
    let (mut sum, mirrored) = (doubled(&values), doubled(&values.map(|value| -value)));
    assert_eq!((sum.round(), mirrored.round()), (f64::INFINITY, f64::NEG_INFINITY));
    sum.merge(&mirrored);
    assert_eq!(bytes_of(&sum), bytes_of(&ExactSum::default()));
    // 2 (2^70 - 1) + 2^70 copies of 3/8
    assert_eq!(doubled(&[0.375]).round(), 0.375 * 3.0 * 2f64.powi(70));
    assert_eq!(doubled(&[0.375, -0.125]).round(), 0.25 * 3.0 * 2f64.powi(70));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn the_sum_is_correctly_rounded(values in vec(finite(), 0..12)) {
        prop_assert_eq!(sum_of(&values).round().to_bits(), oracle::exact_sum(&values).to_bits());
    }

    #[test]
    fn equal_numbers_have_equal_bytes(values in vec(finite(), 0..12), detour in vec(finite(), 0..6)) {
        let sum = sum_of(&values);
        let mut other = sum_of(&detour);
        values.iter().rev().for_each(|value| other.add(*value));
        detour.iter().for_each(|value| other.add(-value));
        prop_assert_eq!(bytes_of(&sum), bytes_of(&other));
        prop_assert_eq!(&sum, &other);
        let bytes = bytes_of(&sum);
        let mut rest = bytes.as_slice();
        prop_assert_eq!(&ExactSum::decode(&mut rest).expect("canonical"), &sum);
        prop_assert!(rest.is_empty());
        other.add(5e-324);
        prop_assert_ne!(&sum, &other);
        prop_assert_ne!(bytes_of(&other), bytes);
    }

    #[test]
    fn parts_grouped_by_limb_give_the_same_sum(values in vec(finite(), 0..40)) {
        let mut by_limb = std::collections::BTreeMap::<u8, [i64; 3]>::new();
        for value in &values {
            let (index, parts) = ExactSum::lower(*value);
            prop_assert!(parts.iter().all(|part| part.unsigned_abs() < 1 << 32));
            let sums = by_limb.entry(index).or_default();
            sums.iter_mut().zip(parts).for_each(|(sum, part)| *sum += part);
        }
        prop_assert_eq!(bytes_of(&ExactSum::from_parts(by_limb)), bytes_of(&sum_of(&values)));
    }

    #[test]
    fn the_largest_parts_add_up(index in 0u8..64, parts in any::<[i64; 3]>()) {
        let mut sum = ExactSum::from_parts([(index, parts)]);
        let less_one = parts.map(|part| part / 2);
        let rest = [0, 1, 2].map(|k| parts[k] - less_one[k]);
        prop_assert_eq!(&sum, &ExactSum::from_parts([(index, less_one), (index, rest)]));
        if !parts.contains(&i64::MIN) {
            sum.add_parts(index, parts.map(|part| -part));
            prop_assert_eq!(sum, ExactSum::default());
        }
    }

    #[test]
    fn only_canonical_bytes_decode(noise in vec(any::<u8>(), 0..40)) {
        let mut rest = noise.as_slice();
        if let Ok(sum) = ExactSum::decode(&mut rest) {
            let read = noise.len() - rest.len();
            prop_assert_eq!(bytes_of(&sum), &noise[..read]);
        }
    }
}
