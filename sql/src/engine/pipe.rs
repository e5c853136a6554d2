//! How queries, tables and answers go through a pipe between two runs of the same program: MessagePack, one message after another.
use std::io::{Error, Read, Write};

use serde::Serialize;
use serde::de::DeserializeOwned;

/// Writes a message.
///
/// # Errors
/// Those of the pipe.
pub fn send(to: &mut impl Write, message: &impl Serialize) -> std::io::Result<()> {
    rmp_serde::encode::write(to, message).map_err(Error::other)?;
    to.flush()
}

/// Reads a message.
///
/// # Errors
/// Those of the pipe, and its end; what nobody has written.
pub fn receive<T: DeserializeOwned>(from: &mut impl Read) -> std::io::Result<T> {
    rmp_serde::decode::from_read(from).map_err(Error::other)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{SqlError, Told, state};
    use crate::frame::{Cells, Column, Frame};

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
        replies.iter().for_each(|reply| send(&mut pipe, &reply.clone().map_err(Told::from)).expect("sent"));
        let mut pipe = pipe.as_slice();
        assert_eq!(receive::<(String, Vec<(String, Frame)>)>(&mut pipe).expect("received"), request);
        for reply in replies {
            let received = receive::<Result<Frame, Told>>(&mut pipe).expect("received");
            assert_eq!(received.map_err(SqlError::from), reply);
        }
        assert!(receive::<u8>(&mut pipe).is_err(), "the end");
    }

    #[test]
    fn what_is_cut_off_or_nonsense_is_an_error() {
        let mut whole = Vec::new();
        send(&mut whole, &frame()).expect("sent");
        for end in 0..whole.len() {
            assert!(receive::<Frame>(&mut &whole[..end]).is_err(), "cut off at {end}");
        }
        assert!(receive::<Frame>(&mut &[0xff; 64][..]).is_err());
    }
}
