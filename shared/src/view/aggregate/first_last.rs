//! The first or the last value: by event time, ties by partition and offset, which no two events share.
use crate::error::Result;
use crate::time::Timestamp;
use crate::view::bytes::{Reader, corrupt, put, put_signed, put_value};
use crate::view::value::Value;

/// A value and where it stands among all events.
#[derive(Debug, Clone, PartialEq)]
pub struct Moment {
    /// The event time.
    pub time: Timestamp,
    /// The partition of the log.
    pub partition: u32,
    /// The offset in it.
    pub offset: u64,
    /// What the event says; not null, no NaN or infinity.
    pub value: Value,
}

impl Moment {
    fn place(&self) -> (Timestamp, u32, u64) {
        (self.time, self.partition, self.offset)
    }
    /// Keeps the earlier of both.
    pub fn keep_first(&mut self, other: &Moment) {
        if other.place() < self.place() {
            self.clone_from(other);
        }
    }
    /// Keeps the later of both.
    pub fn keep_last(&mut self, other: &Moment) {
        if other.place() > self.place() {
            self.clone_from(other);
        }
    }
    /// Memory outside of the struct, in bytes.
    pub fn heap_bytes(&self) -> usize {
        if let Value::Str(text) = &self.value { text.len() } else { 0 }
    }
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        put_signed(out, self.time.0.into());
        put(out, self.partition.into());
        put(out, self.offset.into());
        put_value(out, &self.value);
    }
    pub(super) fn decode(reader: &mut Reader<'_>) -> Result<Moment> {
        let time = Timestamp(i64::try_from(reader.signed()?).map_err(|_| corrupt())?);
        let partition = u32::try_from(reader.unsigned()?).map_err(|_| corrupt())?;
        let offset = reader.count()?;
        match reader.value()? {
            Value::Null => Err(corrupt()),
            Value::Float(x) if !x.is_finite() => Err(corrupt()),
            value => Ok(Moment { time, partition, offset, value }),
        }
    }
}
