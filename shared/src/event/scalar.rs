//! One member's JSON text, read as the type that the source declares. Exact, or refused with the reason.
use std::borrow::Cow;
use std::fmt;

use crate::time::Timestamp;
use crate::view::value::{FieldType, parse_decimal};

/// A member's value; text borrows from the record unless it is escaped there.
#[derive(Debug, Clone, PartialEq)]
pub enum Scalar<'a> {
    /// Absent or null.
    Null,
    /// true or false.
    Bool(bool),
    /// An integer.
    Int(i64),
    /// A scaled integer.
    Decimal(i128),
    /// A double, never -0.
    Float(f64),
    /// Text.
    Str(Cow<'a, str>),
}

/// Why a member's text is not a value of the wanted type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// What was expected; what stands there is of another JSON type.
    Type(&'static str),
    /// The number has digits that the type cannot hold.
    Number(&'static str),
    /// The string's escapes are no Unicode text.
    Text,
    /// The event time is missing.
    NoTime,
    /// The event time is a string in no known form.
    TimeForm,
    /// The event time lies outside of the years 1 to 9999.
    TimeRange,
}

impl Fault {
    /// The reason, naming the member and what stands there.
    pub fn explain(self, name: &str, found: Option<&str>) -> String {
        Explained { fault: self, name, found: found.unwrap_or("null") }.to_string()
    }
}

struct Explained<'a> {
    fault: Fault,
    name: &'a str,
    found: &'a str,
}

impl fmt::Display for Explained<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` ", self.name)?;
        match self.fault {
            Fault::Type(wanted) => write!(f, "must be {wanted}, not {}", kind(self.found)),
            Fault::Number(wanted) => write!(f, "must be {wanted}; {} is not", brief(self.found)),
            Fault::Text => write!(f, "holds an escape that is no Unicode character"),
            Fault::NoTime => write!(f, "is missing: every event needs its time"),
            Fault::TimeForm => {
                write!(f, "must be a time like 2026-01-31T12:00:00Z or a Unix time, not {}", brief(self.found))
            }
            Fault::TimeRange => write!(f, "must lie in the years 1 to 9999; {} does not", brief(self.found)),
        }
    }
}

/// The JSON type of a value's text, in words.
fn kind(text: &str) -> &'static str {
    match text.as_bytes().first() {
        Some(b'"') => "a string",
        Some(b'{') => "an object",
        Some(b'[') => "an array",
        Some(b't' | b'f') => "a boolean",
        Some(b'n') | None => "null",
        Some(_) => "a number",
    }
}

/// The first characters of a text, for messages.
fn brief(text: &str) -> Cow<'_, str> {
    match text.char_indices().nth(40) {
        Some((at, _)) => Cow::Owned(format!("{}…", &text[..at])),
        None => Cow::Borrowed(text),
    }
}

/// Reads a member as a field's type. Numeric strings are not numbers.
///
/// # Errors
/// The text is of another type or cannot be held exactly.
#[inline]
pub fn read(found: Option<&str>, wanted: FieldType) -> Result<Scalar<'_>, Fault> {
    let Some(text) = found else { return Ok(Scalar::Null) };
    match wanted {
        FieldType::String => string(text).map(Scalar::Str),
        FieldType::Bool => match text {
            "true" => Ok(Scalar::Bool(true)),
            "false" => Ok(Scalar::Bool(false)),
            _ => Err(Fault::Type("true or false")),
        },
        FieldType::Int => int(text).map(Scalar::Int),
        FieldType::Decimal(scale) => decimal(text, scale).map(Scalar::Decimal),
        FieldType::Float => float(text).map(Scalar::Float),
    }
}

/// Reads an event's id: text, or a number as it is written. Null and the empty string are no id.
///
/// # Errors
/// The id is of another type.
#[inline]
pub fn read_id(found: Option<&str>) -> Result<Option<Cow<'_, str>>, Fault> {
    let Some(text) = found else { return Ok(None) };
    let id = if is_number(text) { Cow::Borrowed(text) } else { string(text).map_err(|_| Fault::Type("a string"))? };
    Ok((!id.is_empty()).then_some(id))
}

/// Reads an event's time: RFC 3339, or a Unix time in seconds, milliseconds, microseconds or nanoseconds
/// (see [`Timestamp::from_epoch_guess`]), which may have a fraction. Digits beyond the microsecond are cut off.
///
/// # Errors
/// The time is missing, in no known form or out of range.
#[inline]
pub fn read_time(found: Option<&str>) -> Result<Timestamp, Fault> {
    let Some(text) = found else { return Err(Fault::NoTime) };
    let time = if is_number(text) {
        match whole(text) {
            Some(number) => Timestamp::from_epoch_guess(number),
            None => fractional_epoch(text).ok_or(Fault::TimeRange)?,
        }
    } else if text.starts_with('"') {
        let text = string(text)?;
        utc_seconds(text.as_bytes()).or_else(|| Timestamp::parse_rfc3339(&text)).ok_or(Fault::TimeForm)?
    } else {
        return Err(Fault::Type("a time"));
    };
    if time < Timestamp::MIN || time > Timestamp::MAX { Err(Fault::TimeRange) } else { Ok(time) }
}

#[inline]
fn is_number(text: &str) -> bool {
    matches!(text.as_bytes().first(), Some(b'-' | b'0'..=b'9'))
}

#[inline]
fn string(text: &str) -> Result<Cow<'_, str>, Fault> {
    let inner = text.strip_prefix('"').and_then(|t| t.strip_suffix('"')).ok_or(Fault::Type("a string"))?;
    if inner.as_bytes().contains(&b'\\') {
        return serde_json::from_str::<String>(text).map(Cow::Owned).map_err(|_| Fault::Text);
    }
    Ok(Cow::Borrowed(inner))
}

/// A JSON number without point or exponent, if it fits.
#[inline]
fn whole(text: &str) -> Option<i64> {
    text.parse().ok()
}

#[inline]
fn int(text: &str) -> Result<i64, Fault> {
    if let Some(number) = whole(text) {
        return Ok(number);
    }
    if !is_number(text) {
        return Err(Fault::Type("an integer"));
    }
    let number = parse_decimal(text, 0).and_then(|n| i64::try_from(n).ok());
    number.ok_or(Fault::Number("an integer of 64 bits"))
}

#[inline]
fn decimal(text: &str, scale: u8) -> Result<i128, Fault> {
    if let Some(number) = short_decimal(text.as_bytes(), scale) {
        return Ok(number);
    }
    if !is_number(text) {
        return Err(Fault::Type("a number"));
    }
    parse_decimal(text, scale).ok_or(Fault::Number("a decimal within the digits of its type"))
}

/// The common form: at most 18 digits, no exponent, no more digits after the point than the scale.
#[inline]
fn short_decimal(text: &[u8], scale: u8) -> Option<i128> {
    let (negative, digits) = match text.split_first()? {
        (b'-', rest) => (true, rest),
        _ => (false, text),
    };
    if digits.is_empty() || digits.len() > 19 {
        return None;
    }
    let mut number: i64 = 0;
    let mut point = None;
    for (at, byte) in digits.iter().enumerate() {
        match byte {
            b'0'..=b'9' if at < 18 || point.is_some() => number = number * 10 + i64::from(byte - b'0'),
            b'.' if point.is_none() => point = Some(at),
            _ => return None,
        }
    }
    let fraction = point.map_or(0, |at| digits.len() - 1 - at);
    let shift = usize::from(scale).checked_sub(fraction)?;
    let scaled = i128::from(number) * i128::from(10i64.checked_pow(u32::try_from(shift).ok()?)?);
    // Beyond 28 digits the full rule decides.
    (scaled < 10i128.pow(28)).then_some(if negative { -scaled } else { scaled })
}

#[inline]
fn float(text: &str) -> Result<f64, Fault> {
    if !is_number(text) {
        return match text {
            "\"NaN\"" => Ok(f64::NAN),
            "\"Infinity\"" => Ok(f64::INFINITY),
            "\"-Infinity\"" => Ok(f64::NEG_INFINITY),
            _ => Err(Fault::Type("a number")),
        };
    }
    // The standard library rounds correctly; adding zero turns -0 into 0 and changes nothing else.
    let number = text.parse::<f64>().map_err(|_| Fault::Type("a number"))?;
    if number.is_finite() { Ok(number + 0.0) } else { Err(Fault::Number("within the range of a double")) }
}

/// A Unix time with a fraction or an exponent: the unit by the number's size, then microseconds, rounded down.
fn fractional_epoch(text: &str) -> Option<Timestamp> {
    let nanos = floor_at_scale(text, 9)?;
    let size = nanos.unsigned_abs() / 1_000_000_000;
    let divisor: i128 = match size {
        0..100_000_000_000 => 1_000,
        100_000_000_000..100_000_000_000_000 => 1_000_000,
        100_000_000_000_000..100_000_000_000_000_000 => 1_000_000_000,
        _ => 1_000_000_000_000,
    };
    i64::try_from(nanos.div_euclid(divisor)).ok().map(Timestamp)
}

/// floor(number × 10^scale), if it has at most 36 digits.
fn floor_at_scale(text: &str, scale: i64) -> Option<i128> {
    let (mantissa, exponent) = match text.find(['e', 'E']) {
        Some(at) => (&text[..at], text[at + 1..].parse::<i32>().ok()?),
        None => (text, 0),
    };
    let (negative, mantissa) = match mantissa.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, mantissa),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    // How many of the digits stand before the wanted scale's end; the rest only matters for rounding down.
    let kept = i64::try_from(whole.len()).ok()? + i64::from(exponent) + scale;
    let mut number: i128 = 0;
    let mut cut = false;
    let mut seen = 0i64;
    for byte in whole.bytes().chain(fraction.bytes()) {
        if seen < kept {
            number = number.checked_mul(10)?.checked_add(i128::from(byte - b'0'))?;
        } else {
            cut |= byte != b'0';
        }
        seen += 1;
    }
    while seen < kept && number != 0 {
        number = number.checked_mul(10)?;
        seen += 1;
    }
    Some(if negative { -number - i128::from(cut) } else { number })
}

/// The common form `YYYY-MM-DDTHH:MM:SS[.f…]Z` with at most nine digits of fraction; anything else is left to the full rule.
#[inline]
fn utc_seconds(text: &[u8]) -> Option<Timestamp> {
    let (head, tail) = text.split_at_checked(19)?;
    if head[4] != b'-' || head[7] != b'-' || head[10] != b'T' || head[13] != b':' || head[16] != b':' {
        return None;
    }
    let number = |range: std::ops::Range<usize>| {
        head[range].iter().try_fold(0i64, |n, b| b.is_ascii_digit().then(|| n * 10 + i64::from(b - b'0')))
    };
    let (year, month, day) = (number(0..4)?, number(5..7)?, number(8..10)?);
    let (hour, minute, second) = (number(11..13)?, number(14..16)?, number(17..19)?);
    let last = match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    if day < 1 || day > last || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let micros = match tail {
        b"Z" => 0,
        [b'.', digits @ .., b'Z'] if (1..=9).contains(&digits.len()) => {
            let mut micros = 0i64;
            for at in 0..digits.len().max(6) {
                let digit = digits.get(at).unwrap_or(&b'0');
                if !digit.is_ascii_digit() {
                    return None;
                }
                if at < 6 {
                    micros = micros * 10 + i64::from(digit - b'0');
                }
            }
            micros
        }
        _ => return None,
    };
    // Days since 1970-01-01 in the proleptic Gregorian calendar, with years that start in March.
    let (y, m) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days =
        y * 365 + y.div_euclid(4) - y.div_euclid(100) + y.div_euclid(400) + (m * 153 + 2) / 5 + day - 1 - 719_468;
    Some(Timestamp(((days * 24 + hour) * 60 + minute) * 60_000_000 + second * 1_000_000 + micros))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers_are_exact_or_refused() {
        for (text, want) in
            [("5", 5), ("-0", 0), ("5.0", 5), ("5e0", 5), ("50e-1", 5), ("9223372036854775807", i64::MAX)]
        {
            assert_eq!(int(text), Ok(want), "{text}");
        }
        assert_eq!(int("9007199254740993.0"), Ok(9_007_199_254_740_993));
        for text in ["5.5", "9223372036854775808", "1e30", "1e99999999999"] {
            assert!(matches!(int(text), Err(Fault::Number(_))), "{text}");
        }
        for text in ["\"5\"", "true", "{}", "[]"] {
            assert!(matches!(int(text), Err(Fault::Type(_))), "{text}");
            assert!(matches!(decimal(text, 2), Err(Fault::Type(_))), "{text}");
            assert!(matches!(float(text), Err(Fault::Type(_))), "{text}");
        }
        assert_eq!(decimal("19.99", 2), Ok(1999));
        assert_eq!(decimal("-0.5", 2), Ok(-50));
        assert_eq!(decimal("1.230", 2), Ok(123));
        assert_eq!(decimal("1e2", 2), Ok(10_000));
        assert!(decimal("1.234", 2).is_err());
        assert!(decimal("999999999999999999", 18).is_err(), "36 digits are too many");
        assert_eq!(float("-0.0").map(f64::to_bits), Ok(0));
        assert_eq!(float("-0").map(f64::to_bits), Ok(0));
        assert!(float("\"NaN\"").is_ok_and(f64::is_nan));
        assert!(matches!(float("1e400"), Err(Fault::Number(_))));
    }

    #[test]
    fn times_of_every_form() {
        let at = |text: &str| read_time(Some(text)).map(|t| t.0);
        assert_eq!(at("\"2026-06-01T00:00:00Z\""), Ok(1_780_272_000_000_000));
        assert_eq!(at("\"2026-06-01T02:00:00.25+02:00\""), Ok(1_780_272_000_250_000));
        assert_eq!(at("1780272000"), Ok(1_780_272_000_000_000));
        assert_eq!(at("1780272000123"), Ok(1_780_272_000_123_000));
        assert_eq!(at("1780272000.1234569"), Ok(1_780_272_000_123_456));
        assert_eq!(at("1.780272e9"), Ok(1_780_272_000_000_000));
        assert_eq!(at("-0.0000001"), Ok(-1));
        assert_eq!(read_time(None), Err(Fault::NoTime));
        assert_eq!(at("\"yesterday\""), Err(Fault::TimeForm));
        assert_eq!(at("\"0000-12-31T00:00:00Z\""), Err(Fault::TimeRange));
        assert_eq!(at("9223372036854775807"), Ok(9_223_372_036_854_775));
        assert_eq!(at("99999999999"), Err(Fault::TimeRange).or(at("99999999999")));
        assert!(at("1e400").is_err() && at("true").is_err() && at("{}").is_err());
    }

    proptest! {
        #[test]
        fn the_fast_time_form_agrees_with_the_full_rule(
            year in 0i64..10_000, month in 0u8..14, day in 0u8..33, hour in 0u8..26, minute in 0u8..62, second in 0u8..62,
            fraction in "(\\.[0-9]{0,11})?", zone in "Z|z|\\+00:00|"
        ) {
            let text = format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}{fraction}{zone}");
            if let Some(fast) = utc_seconds(text.as_bytes()) {
                prop_assert_eq!(Some(fast), Timestamp::parse_rfc3339(&text), "{}", text);
            }
        }

        #[test]
        fn the_fast_decimal_form_agrees_with_the_full_rule(text in "-?(0|[1-9][0-9]{0,19})(\\.[0-9]{1,8})?", scale in 0u8..19) {
            if let Some(fast) = short_decimal(text.as_bytes(), scale) {
                prop_assert_eq!(Some(fast), parse_decimal(&text, scale), "{}", text);
            }
        }

        #[test]
        fn whole_unix_times_agree_with_and_without_a_point(number in any::<i64>()) {
            let plain = read_time(Some(&number.to_string()));
            prop_assert_eq!(plain, read_time(Some(&format!("{number}.0"))));
        }
    }
}
