//! How queries, tables and answers go through a pipe: lengths and plain bytes, between two runs of the same program.
use std::io::{Read, Write};

use crate::error::{SqlError, state};
use crate::frame::{Cells, Column, Frame};

/// A message of more bytes is none.
const LONGEST: u64 = 1 << 36;

/// What can be written as bytes and read again.
pub trait Spelled: Sized {
    /// Appends it.
    fn put(&self, out: &mut Vec<u8>);
    /// Takes it off the beginning; `None` for what nobody has written.
    fn take(from: &mut &[u8]) -> Option<Self>;
}

/// Writes a message.
///
/// # Errors
/// Those of the pipe.
pub fn send(to: &mut impl Write, message: &impl Spelled) -> std::io::Result<()> {
    let mut bytes = vec![0; 8];
    message.put(&mut bytes);
    let length = (bytes.len() - 8) as u64;
    bytes[..8].copy_from_slice(&length.to_le_bytes());
    to.write_all(&bytes)?;
    to.flush()
}

/// Reads a message.
///
/// # Errors
/// Those of the pipe, and its end.
pub fn receive<T: Spelled>(from: &mut impl Read) -> std::io::Result<T> {
    let strange = || std::io::Error::new(std::io::ErrorKind::InvalidData, "no message of this program");
    let mut length = [0; 8];
    from.read_exact(&mut length)?;
    let length = u64::from_le_bytes(length);
    if length > LONGEST {
        return Err(strange());
    }
    let mut bytes = Vec::new();
    if from.take(length).read_to_end(&mut bytes)? as u64 != length {
        return Err(std::io::ErrorKind::UnexpectedEof.into());
    }
    T::take(&mut bytes.as_slice()).ok_or_else(strange)
}

macro_rules! spelled_numbers {
    ($($number:ty),*) => {$(
        impl Spelled for $number {
            fn put(&self, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.to_le_bytes());
            }
            fn take(from: &mut &[u8]) -> Option<Self> {
                let (bytes, rest) = from.split_first_chunk()?;
                *from = rest;
                Some(Self::from_le_bytes(*bytes))
            }
        }
    )*};
}
spelled_numbers!(u8, u32, u64, i32, i64, i128, f64);

impl Spelled for bool {
    fn put(&self, out: &mut Vec<u8>) {
        out.push(u8::from(*self));
    }
    fn take(from: &mut &[u8]) -> Option<Self> {
        Some(u8::take(from)? == 1)
    }
}

impl Spelled for String {
    fn put(&self, out: &mut Vec<u8>) {
        (self.len() as u64).put(out);
        out.extend_from_slice(self.as_bytes());
    }
    fn take(from: &mut &[u8]) -> Option<Self> {
        let length = usize::try_from(u64::take(from)?).ok()?;
        let (text, rest) = from.split_at_checked(length)?;
        *from = rest;
        String::from_utf8(text.to_vec()).ok()
    }
}

impl<T: Spelled> Spelled for Option<T> {
    fn put(&self, out: &mut Vec<u8>) {
        self.is_some().put(out);
        if let Some(value) = self {
            value.put(out);
        }
    }
    fn take(from: &mut &[u8]) -> Option<Self> {
        Some(if bool::take(from)? { Some(T::take(from)?) } else { None })
    }
}

impl<T: Spelled> Spelled for Vec<T> {
    fn put(&self, out: &mut Vec<u8>) {
        (self.len() as u64).put(out);
        self.iter().for_each(|item| item.put(out));
    }
    fn take(from: &mut &[u8]) -> Option<Self> {
        let length = usize::try_from(u64::take(from)?).ok()?;
        // Each item takes a byte at least: a length of nonsense asks for no memory.
        let mut out = Vec::with_capacity(length.min(from.len()));
        for _ in 0..length {
            out.push(T::take(from)?);
        }
        Some(out)
    }
}

impl<A: Spelled, B: Spelled> Spelled for (A, B) {
    fn put(&self, out: &mut Vec<u8>) {
        self.0.put(out);
        self.1.put(out);
    }
    fn take(from: &mut &[u8]) -> Option<Self> {
        Some((A::take(from)?, B::take(from)?))
    }
}

impl<T: Spelled, E: Spelled> Spelled for Result<T, E> {
    fn put(&self, out: &mut Vec<u8>) {
        self.is_ok().put(out);
        match self {
            Ok(value) => value.put(out),
            Err(error) => error.put(out),
        }
    }
    fn take(from: &mut &[u8]) -> Option<Self> {
        Some(if bool::take(from)? { Ok(T::take(from)?) } else { Err(E::take(from)?) })
    }
}

impl Spelled for Cells {
    fn put(&self, out: &mut Vec<u8>) {
        fn tagged(out: &mut Vec<u8>, tag: u8, cells: &impl Spelled) {
            out.push(tag);
            cells.put(out);
        }
        match self {
            Cells::Int(cells) => tagged(out, 0, cells),
            Cells::Float(cells) => tagged(out, 1, cells),
            Cells::Decimal(cells, scale) => {
                tagged(out, 2, cells);
                scale.put(out);
            }
            Cells::Bool(cells) => tagged(out, 3, cells),
            Cells::Text(cells) => tagged(out, 4, cells),
            Cells::Coded(codes, values) => {
                tagged(out, 5, codes);
                values.put(out);
            }
            Cells::Time(cells) => tagged(out, 6, cells),
            Cells::Date(cells) => tagged(out, 7, cells),
        }
    }
    fn take(from: &mut &[u8]) -> Option<Self> {
        Some(match u8::take(from)? {
            0 => Cells::Int(Vec::take(from)?),
            1 => Cells::Float(Vec::take(from)?),
            2 => Cells::Decimal(Vec::take(from)?, u8::take(from)?),
            3 => Cells::Bool(Vec::take(from)?),
            4 => Cells::Text(Vec::take(from)?),
            5 => Cells::Coded(Vec::take(from)?, Vec::take(from)?),
            6 => Cells::Time(Vec::take(from)?),
            7 => Cells::Date(Vec::take(from)?),
            _ => return None,
        })
    }
}

impl Spelled for Column {
    fn put(&self, out: &mut Vec<u8>) {
        self.name.put(out);
        self.cells.put(out);
    }
    fn take(from: &mut &[u8]) -> Option<Self> {
        Some(Column { name: String::take(from)?, cells: Cells::take(from)? })
    }
}

impl Spelled for Frame {
    fn put(&self, out: &mut Vec<u8>) {
        self.0.put(out);
    }
    fn take(from: &mut &[u8]) -> Option<Self> {
        Vec::take(from).map(Frame)
    }
}

impl Spelled for SqlError {
    fn put(&self, out: &mut Vec<u8>) {
        self.code.to_owned().put(out);
        self.message.put(out);
        self.hint.put(out);
        self.position.map(|position| position as u64).put(out);
    }
    fn take(from: &mut &[u8]) -> Option<Self> {
        let code = String::take(from)?;
        let code = state::ALL.into_iter().find(|known| **known == *code).unwrap_or(state::INTERNAL);
        let (message, hint) = (String::take(from)?, <Option<String> as Spelled>::take(from)?);
        let position = <Option<u64> as Spelled>::take(from)?.and_then(|position| usize::try_from(position).ok());
        Some(SqlError { code, message, hint, position })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame() -> Frame {
        let cells = [
            Cells::Int(vec![Some(-1), None, Some(i64::MAX)]),
            Cells::Float(vec![Some(-0.0), None, Some(f64::INFINITY)]),
            Cells::Decimal(vec![Some(-10_i128.pow(37)), None, Some(1)], 7),
            Cells::Bool(vec![Some(true), None, Some(false)]),
            Cells::Text(vec![Some("ünï\0".to_owned()), None, Some(String::new())]),
            Cells::Coded(vec![1, 0, 1], vec![None, Some("x".to_owned())]),
            Cells::Time(vec![Some(i64::MIN), None, Some(0)]),
            Cells::Date(vec![Some(-1), None, Some(20_000)]),
        ];
        let column = |(i, cells): (usize, Cells)| Column { name: format!("c{i}"), cells };
        Frame(cells.into_iter().enumerate().map(column).collect())
    }

    #[test]
    fn what_is_sent_is_received() {
        let mut pipe = Vec::new();
        let request = ("SELECT 1".to_owned(), vec![("t".to_owned(), frame()), ("empty".to_owned(), Frame::default())]);
        send(&mut pipe, &request).expect("sent");
        let error = SqlError { position: Some(7), ..SqlError::new(state::NO_COLUMN, "no such column").hint("another") };
        let replies: [Result<Frame, SqlError>; 2] = [Ok(frame()), Err(error)];
        replies.iter().for_each(|reply| send(&mut pipe, reply).expect("sent"));
        let mut pipe = pipe.as_slice();
        assert_eq!(receive::<(String, Vec<(String, Frame)>)>(&mut pipe).expect("received"), request);
        for reply in replies {
            assert_eq!(receive::<Result<Frame, SqlError>>(&mut pipe).expect("received"), reply);
        }
        assert_eq!(receive::<u8>(&mut pipe).expect_err("the end").kind(), std::io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn what_is_cut_off_or_nonsense_is_an_error() {
        let mut whole = Vec::new();
        send(&mut whole, &frame()).expect("sent");
        for end in 0..whole.len() {
            assert!(receive::<Frame>(&mut &whole[..end]).is_err(), "cut off at {end}");
        }
        let mut bytes = Vec::new();
        frame().put(&mut bytes);
        for end in 0..bytes.len() {
            assert_eq!(Frame::take(&mut &bytes[..end]), None);
        }
        assert!(receive::<Frame>(&mut &[0xff; 64][..]).is_err());
    }
}
