//! Typed values of fields and dimensions, and their total order.
use std::cmp::Ordering;
use std::fmt;

use serde::{Deserialize, Serialize};

/// The type of a source's field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FieldType {
    /// UTF-8 text.
    String,
    /// true or false.
    Bool,
    /// A 64-bit signed integer.
    Int,
    /// A fixed-point number with that many digits after the point (0 to 18), at most 28 digits in all.
    Decimal(u8),
    /// An IEEE 754 double. May be measured, may not be a dimension.
    Float,
}

/// As a configuration spells it.
impl fmt::Display for FieldType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FieldType::String => f.write_str("string"),
            FieldType::Bool => f.write_str("bool"),
            FieldType::Int => f.write_str("int"),
            FieldType::Decimal(scale) => write!(f, "decimal({scale})"),
            FieldType::Float => f.write_str("float"),
        }
    }
}

impl FieldType {
    /// Whether every value of `before` is one of this type too: an int as a decimal, a decimal with more digits after the point; as
    /// far as their digits fit.
    pub fn is_wider_than(self, before: FieldType) -> bool {
        match (before, self) {
            (FieldType::Int, FieldType::Decimal(_)) => true,
            (FieldType::Decimal(before), FieldType::Decimal(now)) => now > before,
            _ => false,
        }
    }
}

/// One field's value. `Decimal` holds the scaled integer: 12.30 at scale 2 is 1230.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Absent or null.
    Null,
    /// true or false.
    Bool(bool),
    /// An integer.
    Int(i64),
    /// A scaled integer and its scale.
    Decimal(i128, u8),
    /// A double; may be NaN or infinite. Never -0: decoding turns it into 0.
    Float(f64),
    /// Text.
    Str(Box<str>),
}

impl Eq for Value {}

impl std::hash::Hash for Value {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        std::mem::discriminant(self).hash(state);
        match self {
            Value::Null => {}
            Value::Bool(b) => b.hash(state),
            Value::Int(i) => i.hash(state),
            Value::Decimal(d, scale) => (d, scale).hash(state),
            Value::Float(f) => f.to_bits().hash(state),
            Value::Str(s) => s.hash(state),
        }
    }
}

impl PartialOrd for Value {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Value {
    /// Null first; then by type; NaN above every number. Text by bytes.
    fn cmp(&self, other: &Self) -> Ordering {
        use Value as V;
        match (self, other) {
            (V::Null, V::Null) => Ordering::Equal,
            (V::Bool(a), V::Bool(b)) => a.cmp(b),
            (V::Int(a), V::Int(b)) => a.cmp(b),
            (V::Decimal(a, s), V::Decimal(b, t)) => s.cmp(t).then(a.cmp(b)),
            (V::Float(a), V::Float(b)) => a.total_cmp(b),
            (V::Str(a), V::Str(b)) => a.as_bytes().cmp(b.as_bytes()),
            (a, b) => a.rank().cmp(&b.rank()),
        }
    }
}

impl Value {
    fn rank(&self) -> u8 {
        match self {
            Value::Null => 0,
            Value::Bool(_) => 1,
            Value::Int(_) => 2,
            Value::Decimal(..) => 3,
            Value::Float(_) => 4,
            Value::Str(_) => 5,
        }
    }
    /// Text as a value.
    pub fn text(text: &str) -> Value {
        Value::Str(text.into())
    }
    /// The JSON spelling: decimals with all their digits, floats in the shortest exact form, null for what is not finite.
    pub fn to_json(&self) -> String {
        match self {
            Value::Str(s) => serde_json::Value::from(s.as_ref()).to_string(),
            Value::Float(f) if !f.is_finite() => "null".to_owned(),
            Value::Float(f) => serde_json::Value::from(*f).to_string(),
            Value::Null => "null".to_owned(),
            Value::Bool(b) => b.to_string(),
            Value::Int(i) => i.to_string(),
            Value::Decimal(d, scale) => decimal_text(*d, *scale),
        }
    }
}

impl fmt::Display for Value {
    /// As JSON, but text without quotes.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Str(s) => f.write_str(s),
            other => f.write_str(&other.to_json()),
        }
    }
}

/// `1230` at scale 2 is `12.30`.
pub fn decimal_text(unscaled: i128, scale: u8) -> String {
    if scale == 0 {
        return unscaled.to_string();
    }
    let sign = if unscaled < 0 { "-" } else { "" };
    let digits = format!("{:0width$}", unscaled.unsigned_abs(), width = usize::from(scale) + 1);
    let (whole, fraction) = digits.split_at(digits.len() - usize::from(scale));
    format!("{sign}{whole}.{fraction}")
}

/// The double nearest to `numerator / denominator`, ties to even: rounded once, however many digits either has. The
/// denominator lies between 1 and 2^127.
pub fn quotient(numerator: i128, denominator: u128) -> f64 {
    const EXACT: u64 = 1 << 53;
    // What most are: both are doubles, and the processor rounds their quotient as it should be.
    if let (Ok(n), Ok(d)) = (i64::try_from(numerator), u64::try_from(denominator))
        && n.unsigned_abs() <= EXACT
        && d <= EXACT
    {
        return n as f64 / d as f64;
    }
    let size = numerator.unsigned_abs();
    if size == 0 {
        return 0.0;
    }
    // Bit by bit until there are more than a double holds; the last one says whether anything is left over.
    let (mut whole, mut rest, mut halvings) = (size / denominator, size % denominator, 0u64);
    while whole < 1 << 55 {
        (whole, rest, halvings) = (whole << 1, rest << 1, halvings + 1);
        if rest >= denominator {
            (whole, rest) = (whole | 1, rest - denominator);
        }
    }
    let rounded = (whole | u128::from(rest > 0)) as f64 * f64::from_bits((1023 - halvings) << 52);
    if numerator < 0 { -rounded } else { rounded }
}

/// The double nearest to a scaled integer.
pub fn decimal_to_double(unscaled: i128, scale: u8) -> f64 {
    quotient(unscaled, 10u128.pow(u32::from(scale)))
}

/// Reads a JSON number's text as a scaled integer; `None` if it has more digits after the point than `scale` (trailing
/// zeros aside) or 28 digits or more in all.
pub fn parse_decimal(text: &str, scale: u8) -> Option<i128> {
    let (mantissa, exponent) = match text.find(['e', 'E']) {
        Some(at) => (&text[..at], text[at + 1..].parse::<i32>().ok()?),
        None => (text, 0),
    };
    let (negative, mantissa) = match mantissa.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, mantissa),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    if whole.is_empty() && fraction.is_empty() || mantissa.len() > 400 {
        return None;
    }
    let mut digits: i128 = 0;
    let limit = 10i128.pow(28);
    for byte in whole.bytes().chain(fraction.bytes()) {
        if !byte.is_ascii_digit() {
            return None;
        }
        digits = digits.checked_mul(10)?.checked_add(i128::from(byte - b'0'))?;
    }
    let mut shift = i64::from(scale) + i64::from(exponent) - i64::try_from(fraction.len()).ok()?;
    while shift < 0 && digits != 0 {
        if digits % 10 != 0 {
            return None;
        }
        digits /= 10;
        shift += 1;
    }
    while shift > 0 && digits != 0 {
        digits = digits.checked_mul(10).filter(|d| *d < limit)?;
        shift -= 1;
    }
    (digits < limit).then_some(if negative { -digits } else { digits })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_read_exactly_or_not_at_all() {
        assert_eq!(parse_decimal("12.3", 2), Some(1230));
        assert_eq!(parse_decimal("-0.07", 2), Some(-7));
        assert_eq!(parse_decimal("1e2", 2), Some(10_000));
        assert_eq!(parse_decimal("1.230", 2), Some(123));
        assert_eq!(parse_decimal("1.234", 2), None);
        assert_eq!(parse_decimal("99999999999999999999999999999", 0), None);
        assert_eq!(decimal_text(-7, 2), "-0.07");
        assert_eq!(decimal_text(1230, 2), "12.30");
    }

    proptest::proptest! {
        // The standard library's parser rounds what it reads once: an independent judge of quotients by powers of ten.
        #[test]
        fn a_quotient_is_rounded_once(n: i128, shift in 0u32..127, scale in 0u8..=18, small: i64, count in 1u64..) {
            let n = n >> shift;
            let parsed: f64 = decimal_text(n, scale).parse().expect("a number");
            proptest::prop_assert_eq!(decimal_to_double(n, scale), parsed);
            // a multiple of the denominator gives the factor back
            let product = i128::from(small) * i128::from(count);
            proptest::prop_assert_eq!(quotient(product, count.into()), small as f64);
        }
    }

    #[test]
    fn quotients_of_large_numbers_are_those_of_python() {
        // sums of Python's integers, divided by their number
        for (n, d, want) in [
            (i128::from(i64::MAX) * 7 - 1, 3, 2.152_120_141_932_781e19),
            (-17_248_999_991_750_130_117, 32, -5.390_312_497_421_915_5e17),
            (9_007_199_254_740_993, 1, 9_007_199_254_740_992.0),
            (9_007_199_254_740_995, 1, 9_007_199_254_740_996.0),
            (-1, 3_000_000_000_000_000_000, -3.333_333_333_333_333_4e-19),
            (0, 10u128.pow(37), 0.0),
            (1, 10u128.pow(37), 1e-37),
        ] {
            assert_eq!(quotient(n, d), want, "{n} / {d}");
        }
    }
}
