//! A block: the records of one partition that were appended together, as one stored value.
//!
//! `version u8, codec u8, count u32, timestamp i64, body length u32, checksum 8 bytes, body`, little-endian. The body is the
//! records' ends (`u32` each) and their values one after the other. The checksum covers the key, so that a block in a wrong
//! place is noticed, and everything but itself.
use crate::log::{Chunk, Offset};
use crate::time::Timestamp;

const VERSION: u8 = 1;
const STORED: u8 = 0;
const ZSTD: u8 = 1;
const CHECKSUM: std::ops::Range<usize> = 18..26;
const HEADER_BYTES: usize = CHECKSUM.end;
/// Smaller bodies are stored as they are.
const COMPRESS_BYTES_MIN: usize = 512;
/// A body is never longer; a length beyond it is damage.
const BODY_BYTES_MAX: usize = 1 << 30;

/// A block as readers use it.
#[derive(Debug)]
pub(super) struct Block {
    /// The first record's offset; the others follow without a gap.
    pub(super) base: Offset,
    /// When the log received the records.
    pub(super) timestamp: Timestamp,
    count: usize,
    body: Vec<u8>,
}

/// Makes blocks; keeps the compressor's memory from one to the next.
pub(super) struct Encoder(zstd::bulk::Compressor<'static>);

impl Encoder {
    pub(super) fn new() -> std::io::Result<Encoder> {
        Ok(Encoder(zstd::bulk::Compressor::new(1)?))
    }
    /// The block of `values` and the bytes to store under `key`.
    pub(super) fn encode(
        &mut self,
        key: &[u8],
        base: Offset,
        timestamp: Timestamp,
        values: &[bytes::Bytes],
    ) -> std::io::Result<(Block, Vec<u8>)> {
        let bytes: usize = values.iter().map(|value| value.len()).sum();
        let mut body = Vec::with_capacity(values.len() * 4 + bytes);
        let mut end = 0_u32;
        for value in values {
            end += value.len() as u32;
            body.extend_from_slice(&end.to_le_bytes());
        }
        values.iter().for_each(|value| body.extend_from_slice(value));
        let compressed = match body.len() < COMPRESS_BYTES_MIN {
            true => None,
            false => Some(self.0.compress(&body)?).filter(|packed| packed.len() < body.len()),
        };
        let (codec, payload) = compressed.as_ref().map_or((STORED, &body), |packed| (ZSTD, packed));
        let mut stored = Vec::with_capacity(HEADER_BYTES + payload.len());
        stored.extend_from_slice(&[VERSION, codec]);
        stored.extend_from_slice(&(values.len() as u32).to_le_bytes());
        stored.extend_from_slice(&timestamp.0.to_le_bytes());
        stored.extend_from_slice(&(body.len() as u32).to_le_bytes());
        stored.extend_from_slice(&[0; 8]);
        stored.extend_from_slice(payload);
        let sum = checksum(key, &stored);
        stored[CHECKSUM].copy_from_slice(&sum);
        Ok((Block { base, timestamp, count: values.len(), body }, stored))
    }
}

/// Reads what is stored under `key`; the error says what is wrong with it.
pub(super) fn decode(key: &[u8], base: Offset, stored: &[u8]) -> Result<Block, &'static str> {
    if stored.len() < HEADER_BYTES {
        return Err("it is too short");
    }
    if stored[CHECKSUM] != checksum(key, stored) {
        return Err("its checksum does not match");
    }
    if stored[0] != VERSION {
        return Err("a newer version wrote it");
    }
    let count = number(&stored[2..6]);
    let mut timestamp = [0; 8];
    timestamp.copy_from_slice(&stored[6..14]);
    let length = number(&stored[14..18]);
    let payload = &stored[HEADER_BYTES..];
    if count == 0 || length > BODY_BYTES_MAX || count.checked_mul(4).is_none_or(|ends| ends > length) {
        return Err("its lengths make no sense");
    }
    let body = match stored[1] {
        STORED => payload.to_vec(),
        ZSTD => zstd::bulk::decompress(payload, length).map_err(|_| "it does not decompress")?,
        _ => return Err("its compression is unknown"),
    };
    let mut ends = body.get(..count * 4).unwrap_or_default().chunks_exact(4).map(number);
    if body.len() != length || !ends.clone().is_sorted() || ends.next_back() != Some(length - count * 4) {
        return Err("its lengths make no sense");
    }
    Ok(Block { base, timestamp: Timestamp(i64::from_le_bytes(timestamp)), count, body })
}

impl Block {
    /// The offset behind the last record.
    pub(super) fn end(&self) -> Offset {
        Offset(self.base.0 + self.count as u64)
    }
    /// Bytes in memory.
    pub(super) fn bytes(&self) -> usize {
        self.body.len()
    }
    /// Appends the records from the chunk's end on, until a limit says no more. Whether all of them went in.
    pub(super) fn read_into(&self, chunk: &mut Chunk, max_records: usize, max_bytes: usize) -> bool {
        let first = chunk.next.0.saturating_sub(self.base.0) as usize;
        let (ends, values) = self.body.split_at(self.count * 4);
        let end = |record: usize| number(&ends[record * 4..record * 4 + 4]);
        let start = if first == 0 { 0 } else { end(first - 1) };
        // As many as fit; a chunk that holds nothing yet takes one of any size.
        let records = max_records.saturating_sub(chunk.len()).min(self.count.saturating_sub(first));
        let bytes = max_bytes.saturating_sub(chunk.bytes());
        let fits = |taken: usize| end(first + taken) - start <= bytes;
        let mut taken = (0..records).take_while(|&taken| fits(taken)).count();
        if taken == 0 && records > 0 && chunk.is_empty() {
            taken = 1;
        }
        if taken > 0 {
            let ends = (first..first + taken).map(|record| end(record) - start);
            chunk.extend(Offset(self.base.0 + first as u64), self.timestamp, &values[start..], ends);
        }
        first + taken >= self.count
    }
}

fn number(bytes: &[u8]) -> usize {
    bytes.try_into().map_or(0, |bytes| u32::from_le_bytes(bytes) as usize)
}

fn checksum(key: &[u8], stored: &[u8]) -> [u8; 8] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(key).update(&stored[..CHECKSUM.start]).update(&stored[CHECKSUM.end..]);
    let mut out = [0; 8];
    out.copy_from_slice(&hasher.finalize().as_bytes()[..8]);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::contract;

    #[test]
    fn every_flipped_bit_and_every_wrong_place_is_noticed() {
        let values: Vec<_> = contract::records(0, "block", 30).into_iter().map(|record| record.value).collect();
        for values in [&values[..1], &values[..3], &values[..]] {
            let (block, stored) = Encoder::new().unwrap().encode(b"key", Offset(7), Timestamp(9), values).unwrap();
            let read = decode(b"key", Offset(7), &stored).unwrap();
            assert_eq!((read.base, read.end(), read.timestamp), (Offset(7), block.end(), Timestamp(9)));
            let mut chunk = Chunk::at(Offset(7));
            assert!(read.read_into(&mut chunk, usize::MAX, usize::MAX));
            assert!(chunk.iter().map(|record| record.value).eq(values.iter().map(|value| &value[..])));
            decode(b"other", Offset(7), &stored).expect_err("another key");
            for bit in 0..stored.len() * 8 {
                let mut damaged = stored.clone();
                damaged[bit / 8] ^= 1 << (bit % 8);
                decode(b"key", Offset(7), &damaged).expect_err("a flipped bit");
            }
            for length in 0..stored.len() {
                decode(b"key", Offset(7), &stored[..length]).expect_err("a torn block");
            }
        }
    }
}
