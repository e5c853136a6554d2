//! Parquet's spellings of integers: differences, and the codes of a dictionary in runs.

/// Values of a block of differences …
const BLOCK: usize = 128;
/// … and those of it that are packed alike.
const MINI: usize = 32;
/// So many equal codes are a run of their own.
const RUN: usize = 8;

/// An unsigned number, seven bits a byte.
pub fn varint(mut number: u64, out: &mut Vec<u8>) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn zigzag(number: i64, out: &mut Vec<u8>) {
    varint((number << 1 ^ number >> 63).cast_unsigned(), out);
}

/// Appends the lowest `width` bits of each value; no value has others.
fn pack(values: impl Iterator<Item = u64>, width: u32, out: &mut Vec<u8>) {
    let (mut bits, mut filled) = (0u64, 0);
    for value in values {
        bits |= value << filled;
        filled += width;
        if filled >= u64::BITS {
            out.extend_from_slice(&bits.to_le_bytes());
            filled -= u64::BITS;
            bits = if filled == 0 { 0 } else { value >> (width - filled) };
        }
    }
    out.extend_from_slice(&bits.to_le_bytes()[..filled.div_ceil(8) as usize]);
}

fn width_of(largest: u64) -> u32 {
    u64::BITS - largest.leading_zeros()
}

/// `DELTA_BINARY_PACKED`.
pub fn differences(values: &[i64], out: &mut Vec<u8>) {
    varint(BLOCK as u64, out);
    varint((BLOCK / MINI) as u64, out);
    varint(values.len() as u64, out);
    zigzag(values.first().copied().unwrap_or(0), out);
    let mut steps = [0i64; BLOCK];
    let mut before = values.first().copied().unwrap_or(0);
    for block in values.get(1..).unwrap_or_default().chunks(BLOCK) {
        for (step, value) in steps.iter_mut().zip(block) {
            *step = value.wrapping_sub(before);
            before = *value;
        }
        let steps = &steps[..block.len()];
        let least = steps.iter().copied().min().unwrap_or(0);
        zigzag(least, out);
        let above = |step: &i64| step.wrapping_sub(least).cast_unsigned();
        let widths = out.len();
        out.extend_from_slice(&[0; BLOCK / MINI]);
        for (i, mini) in steps.chunks(MINI).enumerate() {
            let width = width_of(mini.iter().map(above).fold(0, |all, step| all | step));
            out[widths + i] = width as u8;
            let padding = std::iter::repeat_n(0, MINI - mini.len());
            pack(mini.iter().map(above).chain(padding), width, out);
        }
    }
}

/// The width of codes below `count`.
pub fn code_width(count: usize) -> u32 {
    width_of((count as u64).saturating_sub(1)).max(1)
}

/// Codes in runs of equal ones and packed; each has no more than `width` bits.
pub fn codes(codes: &[u32], width: u32, out: &mut Vec<u8>) {
    let (mut from, mut i) = (0, 0);
    while i < codes.len() {
        let run = codes[i..].iter().take_while(|code| **code == codes[i]).count();
        // what is packed before a run is a multiple of eight
        let fill = (from as isize - i as isize).rem_euclid(8) as usize;
        if run >= fill + RUN {
            packed(&codes[from..i + fill], width, out);
            varint(((run - fill) as u64) << 1, out);
            out.extend_from_slice(&codes[i].to_le_bytes()[..width.div_ceil(8) as usize]);
            from = i + run;
        }
        i += run;
    }
    packed(&codes[from..], width, out);
}

fn packed(codes: &[u32], width: u32, out: &mut Vec<u8>) {
    if codes.is_empty() {
        return;
    }
    let eights = codes.len().div_ceil(8);
    varint((eights as u64) << 1 | 1, out);
    let padding = std::iter::repeat_n(0, eights * 8 - codes.len());
    pack(codes.iter().map(|code| u64::from(*code)).chain(padding), width, out);
}
