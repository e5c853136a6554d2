//! Content encodings: gzip and zstd, never more than the limit.
use std::io::Read;

use bytes::Bytes;
use seam_shared::{Error, Kind, Result};

use crate::limits;

/// How a body is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// Not at all.
    Identity,
    /// RFC 1952.
    Gzip,
    /// RFC 8878.
    Zstd,
}

/// A frame that wants more memory than this to unpack is refused: 2^26 bytes, the limit of a body.
const ZSTD_WINDOW_LOG: u32 = 26;

impl Encoding {
    /// The encoding of a `Content-Encoding` header; `None` if it cannot be unpacked.
    pub fn of_header(text: &str) -> Option<Encoding> {
        match text.trim().to_ascii_lowercase().as_str() {
            "" | "identity" => Some(Encoding::Identity),
            "gzip" | "x-gzip" => Some(Encoding::Gzip),
            "zstd" => Some(Encoding::Zstd),
            _ => None,
        }
    }

    /// The encoding of a file by its first bytes.
    pub fn of_magic(bytes: &[u8]) -> Encoding {
        match bytes {
            [0x1f, 0x8b, ..] => Encoding::Gzip,
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Encoding::Zstd,
            _ => Encoding::Identity,
        }
    }

    /// How many bytes a body so packed may have if it may have `unpacked` bytes unpacked.
    pub fn limit(self, unpacked: usize) -> usize {
        if self == Encoding::Identity { unpacked } else { unpacked.min(limits::COMPRESSED_BYTES) }
    }

    /// A reader of what `input` packs.
    ///
    /// # Errors
    /// The unpacker cannot be set up.
    pub fn reader<'a>(self, input: impl Read + Send + 'a) -> std::io::Result<Box<dyn Read + Send + 'a>> {
        Ok(match self {
            Encoding::Identity => Box::new(input),
            Encoding::Gzip => Box::new(flate2::read::MultiGzDecoder::new(input)),
            Encoding::Zstd => {
                let mut reader = zstd::stream::read::Decoder::new(input)?;
                reader.window_log_max(ZSTD_WINDOW_LOG)?;
                Box::new(reader)
            }
        })
    }

    /// Unpacks a body of at most `limit` bytes.
    ///
    /// # Errors
    /// `Invalid`: it is not so packed. `TooLarge`: there are more bytes.
    pub fn unpack(self, body: Bytes, limit: usize) -> Result<Bytes> {
        if self == Encoding::Identity {
            return Ok(body);
        }
        let broken = |e| Error::invalid(format!("body is not packed as its Content-Encoding says: {e}"));
        let mut out = Vec::new();
        let reader = self.reader(&body[..]).map_err(broken)?;
        reader.take(limit as u64 + 1).read_to_end(&mut out).map_err(broken)?;
        if out.len() > limit {
            let message = format!("body has more than {limit} bytes when unpacked; send it in parts");
            return Err(Error::new(Kind::TooLarge, message));
        }
        Ok(out.into())
    }
}
