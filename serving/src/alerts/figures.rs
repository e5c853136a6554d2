//! Numbers as Prometheus' templates write them for people.

const LARGE: [&str; 9] = ["", "k", "M", "G", "T", "P", "E", "Z", "Y"];
const SMALL: [&str; 9] = ["", "m", "u", "n", "p", "f", "a", "z", "y"];

/// With a prefix of the SI: `1.235k`.
pub fn si(value: f64) -> String {
    if value == 0.0 || !value.is_finite() {
        return four_digits(value);
    }
    let (mut value, mut prefix) = (value, 0);
    if value.abs() >= 1.0 {
        while value.abs() >= 1_000.0 && prefix + 1 < LARGE.len() {
            (value, prefix) = (value / 1_000.0, prefix + 1);
        }
        return four_digits(value) + LARGE[prefix];
    }
    while value.abs() < 1.0 && prefix + 1 < SMALL.len() {
        (value, prefix) = (value * 1_000.0, prefix + 1);
    }
    four_digits(value) + SMALL[prefix]
}

/// A ratio in percent.
pub fn percentage(value: f64) -> String {
    four_digits(value * 100.0) + "%"
}

/// Seconds: `1h 2m 3s`, `1.5ms`.
pub fn duration(value: f64) -> String {
    if !value.is_finite() {
        return four_digits(value);
    }
    if value.abs() < 1.0 {
        return si(value) + "s";
    }
    let sign = if value < 0.0 { "-" } else { "" };
    let seconds = value.abs() as u64;
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    let rest = seconds % 60;
    match (days, hours, minutes) {
        (0, 0, 0) => four_digits(value) + "s",
        (0, 0, _) => format!("{sign}{minutes}m {rest}s"),
        (0, ..) => format!("{sign}{hours}h {minutes}m {rest}s"),
        _ => format!("{sign}{days}d {hours}h {minutes}m {rest}s"),
    }
}

/// With so many digits after the point.
pub fn fixed(value: f64, digits: usize) -> String {
    if value.is_finite() { format!("{value:.digits$}") } else { four_digits(value) }
}

/// Four digits that count, as C's `%.4g`.
fn four_digits(value: f64) -> String {
    if !value.is_finite() {
        return crate::prometheus::evaluate::number_text(value);
    }
    let scientific = format!("{value:.3e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let bare = |text: String| match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text,
    };
    if (-4..4).contains(&exponent) {
        return bare(format!("{value:.*}", (3 - exponent) as usize));
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{}e{sign}{:02}", bare(digits.to_owned()), exponent.abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What Prometheus 2.53 writes for the same.
    #[test]
    fn figures_are_those_of_prometheus() {
        assert_eq!([0.0, 1.0, 999.96, 1_234_567.0].map(si), ["0", "1", "1000", "1.235M"]);
        assert_eq!([-0.012_345, 4.2e-9, 1e30].map(si), ["-12.35m", "4.2n", "1e+06Y"]);
        assert_eq!([0.0, 0.05, 1.0, 123.45].map(percentage), ["0%", "5%", "100%", "1.234e+04%"]);
        assert_eq!([0.0, 0.0015, 1.5, 59.0].map(duration), ["0s", "1.5ms", "1.5s", "59s"]);
        assert_eq!([60.0, 3_600.0, 90_061.0, -75.0].map(duration), ["1m 0s", "1h 0m 0s", "1d 1h 1m 1s", "-1m 15s"]);
        assert_eq!((fixed(2.0, 2), fixed(f64::NAN, 2)), ("2.00".to_owned(), "NaN".to_owned()));
    }
}
