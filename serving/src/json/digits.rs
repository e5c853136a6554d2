//! Digits of whole numbers and decimals, two at a time. Pure.

/// The digits of 0 to 99.
const PAIRS: [[u8; 2]; 100] = {
    let mut pairs = [[b'0'; 2]; 100];
    let mut number = 0;
    while number < 100 {
        pairs[number] = [b'0' + (number / 10) as u8, b'0' + (number % 10) as u8];
        number += 1;
    }
    pairs
};
/// The largest number has 39 digits; a scale may be up to 38; point and sign come on top.
const ROOM: usize = 48;
/// Digits that are split off a long number at once.
const CHUNK: usize = 18;

/// A number's text, which grows from its end.
struct Digits {
    text: [u8; ROOM],
    from: usize,
}

impl Digits {
    #[inline]
    fn new() -> Digits {
        Digits { text: [b'0'; ROOM], from: ROOM }
    }
    #[inline]
    fn number(&mut self, mut number: u64) {
        while number >= 100 {
            self.pair((number % 100) as usize);
            number /= 100;
        }
        if number >= 10 {
            return self.pair(number as usize);
        }
        self.push(b'0' + number as u8);
    }
    /// Digits of a number that has no more of them, zeros in front included.
    #[inline]
    fn exactly(&mut self, mut number: u64, digits: usize) {
        for _ in 0..digits / 2 {
            self.pair((number % 100) as usize);
            number /= 100;
        }
        if digits % 2 == 1 {
            self.push(b'0' + (number % 10) as u8);
        }
    }
    #[inline]
    fn pair(&mut self, pair: usize) {
        self.from -= 2;
        self.text[self.from..self.from + 2].copy_from_slice(&PAIRS[pair]);
    }
    #[inline]
    fn push(&mut self, byte: u8) {
        self.from -= 1;
        self.text[self.from] = byte;
    }
    #[inline]
    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.text[self.from..]);
    }
}

/// Appends a whole number.
#[inline]
pub fn natural(out: &mut Vec<u8>, number: u64) {
    let mut digits = Digits::new();
    digits.number(number);
    digits.write(out);
}

/// Appends a number of which the last `scale` digits, at most 38, stand behind the point.
#[inline]
pub fn decimal(out: &mut Vec<u8>, unscaled: i128, scale: usize) {
    let mut digits = Digits::new();
    match u64::try_from(unscaled.unsigned_abs()) {
        Ok(short) if scale <= CHUNK => {
            let whole = match scale {
                0 => short,
                _ => {
                    let power = 10_u64.pow(scale as u32);
                    digits.exactly(short % power, scale);
                    digits.push(b'.');
                    short / power
                }
            };
            digits.number(whole);
        }
        _ => long(&mut digits, unscaled.unsigned_abs(), scale),
    }
    if unscaled < 0 {
        digits.push(b'-');
    }
    digits.write(out);
}

#[cold]
fn long(digits: &mut Digits, mut number: u128, scale: usize) {
    let mut plain = Digits::new();
    let power = 10_u128.pow(CHUNK as u32);
    while number >= power {
        plain.exactly((number % power) as u64, CHUNK);
        number /= power;
    }
    plain.number(number as u64);
    // At least one digit stands before the point.
    plain.from = plain.from.min(ROOM - scale - 1);
    let (whole, fraction) = plain.text[plain.from..].split_at(ROOM - scale - plain.from);
    fraction.iter().rev().for_each(|digit| digits.push(*digit));
    if scale > 0 {
        digits.push(b'.');
    }
    whole.iter().rev().for_each(|digit| digits.push(*digit));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Dice;

    fn text(write: impl Fn(&mut Vec<u8>)) -> String {
        let mut out = b"x".to_vec();
        write(&mut out);
        String::from_utf8(out).expect("digits").split_off(1)
    }

    /// The same by the standard library and by moving the point in its text.
    fn plain(unscaled: i128, scale: usize) -> String {
        let digits = format!("{:0>width$}", unscaled.unsigned_abs(), width = scale + 1);
        let (whole, fraction) = digits.split_at(digits.len() - scale);
        let sign = if unscaled < 0 { "-" } else { "" };
        if scale == 0 { format!("{sign}{whole}") } else { format!("{sign}{whole}.{fraction}") }
    }

    #[test]
    fn digits_are_those_of_the_standard_library() {
        let mut dice = Dice(3);
        let edges = [0, 1, 9, 10, 99, 100, 999_999_999_999_999_999, 1_000_000_000_000_000_000, u128::from(u64::MAX)];
        let edges = edges.map(u128::cast_signed).into_iter().chain([i128::MAX, i128::MIN, -1, u64::MAX as i128 + 1]);
        let random = (0..20_000).map(|_| {
            let wide = u128::from(dice.pick(u64::MAX)) << 64 | u128::from(dice.pick(u64::MAX));
            (wide >> dice.pick(128)).cast_signed()
        });
        for number in edges.chain(random.collect::<Vec<_>>()) {
            for scale in 0..=38 {
                assert_eq!(text(|out| decimal(out, number, scale)), plain(number, scale), "{number} at {scale}");
            }
            let short = number as u64;
            assert_eq!(text(|out| natural(out, short)), short.to_string());
        }
    }
}
