//! Files and standard input as batches of raw events: NDJSON or CSV, plain, gzip or zstd (told by the first bytes).
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use seam_shared::view::definition::Source;
use seam_shared::{Error, Result};

use crate::formats::csv::{self, Header};
use crate::formats::json;
use crate::formats::unpack::Encoding;
use crate::limits;
use crate::raw_event::RawEvent;

/// How much of a file one batch takes.
pub const BATCH_BYTES: usize = 4 << 20;

/// How a file's events are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileFormat {
    /// One JSON event a line.
    Ndjson,
    /// Rows under a header of names.
    Csv,
}

impl FileFormat {
    /// By the file's name: `.csv`, `.csv.gz` and `.csv.zst` are CSV, all else is NDJSON.
    pub fn of_name(name: &str) -> FileFormat {
        let name = name.to_ascii_lowercase();
        let plain = [".gz", ".zst"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(&name);
        if plain.ends_with(".csv") { FileFormat::Csv } else { FileFormat::Ndjson }
    }
}

/// Reads one file's events in batches of about [`BATCH_BYTES`].
pub struct FileReader {
    name: String,
    source: Arc<Source>,
    blocks: Blocks,
    events: Events,
}

/// How blocks become events.
enum Events {
    /// Line by line. Of a line that is too long: its start, while its end is looked for, and its length so far.
    Lines(Option<(Vec<u8>, usize)>),
    /// Row by row, once the header was read.
    Rows(Option<Header>),
}

impl std::fmt::Debug for FileReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FileReader").field("name", &self.name).finish_non_exhaustive()
    }
}

impl FileReader {
    /// Opens a file, or standard input if it is called `-`. Without a format its name decides.
    ///
    /// # Errors
    /// `NotFound`: it cannot be opened. `Invalid`: it cannot be read as what it seems to be.
    pub fn open(source: &Arc<Source>, path: &Path, format: Option<FileFormat>) -> Result<Self> {
        let name = path.display().to_string();
        let format = format.unwrap_or_else(|| FileFormat::of_name(&name));
        if name == "-" {
            return Self::new(source, "standard input", std::io::stdin(), format);
        }
        let file =
            File::open(path).map_err(|e| Error::not_found(format!("file {name} cannot be opened")).because(e))?;
        Self::new(source, &name, file, format)
    }

    /// Reads from `input`, which messages call `name`.
    ///
    /// # Errors
    /// `Invalid`: it cannot be read as what it seems to be.
    pub fn new(
        source: &Arc<Source>,
        name: &str,
        mut input: impl Read + Send + 'static,
        format: FileFormat,
    ) -> Result<Self> {
        let unreadable = |e: std::io::Error| Error::invalid(format!("{name} cannot be read")).because(e);
        let mut magic = Vec::new();
        input.by_ref().take(4).read_to_end(&mut magic).map_err(unreadable)?;
        let encoding = Encoding::of_magic(&magic);
        let whole = std::io::Cursor::new(magic).chain(input);
        // The unpackers read in small steps; plain input is read in large ones anyway.
        let whole: Box<dyn Read + Send> = match encoding {
            Encoding::Identity => Box::new(whole),
            _ => encoding.reader(BufReader::with_capacity(1 << 20, whole)).map_err(unreadable)?,
        };
        let events = match format {
            FileFormat::Ndjson => Events::Lines(None),
            FileFormat::Csv => Events::Rows(None),
        };
        let blocks = Blocks { input: whole, rest: Vec::new(), line: 1, start: true, done: false };
        Ok(Self { name: name.to_owned(), source: Arc::clone(source), blocks, events })
    }

    /// The next events; none at the end.
    ///
    /// # Errors
    /// `Invalid`: the file cannot be read or unpacked.
    pub fn next_batch(&mut self) -> Result<Option<Vec<RawEvent>>> {
        let named = |e: Error| Error::invalid(format!("{}: {e}", self.name));
        let mut events = Vec::new();
        while events.is_empty() && !self.blocks.done {
            match &mut self.events {
                Events::Lines(skipped) => self.blocks.next_lines(skipped, &mut events),
                Events::Rows(header) => self.blocks.next_rows(&self.source, header, &mut events),
            }
            .map_err(named)?;
        }
        let name = &self.name;
        if let Some(first) = events.first().filter(|e| e.line == 1 && e.value.starts_with(b"[")) {
            let hint = "write one event a line (`jq -c '.[]'` makes lines of an array)";
            return Err(Error::invalid(format!("{name}: line {} starts an array; {hint}", first.line)));
        }
        Ok((!events.is_empty()).then_some(events))
    }
}

/// Input in blocks of whole lines or rows.
struct Blocks {
    input: Box<dyn Read + Send>,
    /// The start of a line or row whose end was not read yet.
    rest: Vec<u8>,
    /// The number of the next line.
    line: u64,
    /// Whether nothing was read yet.
    start: bool,
    done: bool,
}

impl Blocks {
    /// Reads on; answers with all up to the end that `whole` finds. At the end of the input that is everything.
    fn next(&mut self, whole: impl Fn(&[u8]) -> usize) -> Result<Vec<u8>> {
        let mut block = std::mem::take(&mut self.rest);
        block.reserve(BATCH_BYTES);
        let read = self.input.by_ref().take(BATCH_BYTES as u64).read_to_end(&mut block);
        self.done = read.map_err(|e| Error::invalid("input cannot be read").because(e))? == 0;
        if std::mem::take(&mut self.start) && block.starts_with(b"\xef\xbb\xbf") {
            block.drain(..3);
        }
        let end = if self.done { block.len() } else { whole(&block) };
        self.rest = block[end..].to_vec();
        block.truncate(end);
        Ok(block)
    }

    fn next_rows(&mut self, source: &Source, header: &mut Option<Header>, events: &mut Vec<RawEvent>) -> Result<()> {
        let block = self.next(csv::whole_rows)?;
        if self.rest.len() > limits::BODY_BYTES {
            let what = format!("row at line {} has more than {} bytes", self.line, limits::BODY_BYTES);
            return Err(Error::invalid(format!("{what}; is a quote left open?")));
        }
        let mut rows = (0, self.line);
        if header.is_none() && (self.done || !block.is_empty()) {
            let (names, start, line) = Header::take(source, &block)?;
            *header = Some(names);
            rows = (start, line);
        }
        if let Some(header) = header {
            header.read(&block[rows.0..], rows.1, events)?;
        }
        self.line += memchr::memchr_iter(b'\n', &block).count() as u64;
        Ok(())
    }

    fn next_lines(&mut self, skipped: &mut Option<(Vec<u8>, usize)>, events: &mut Vec<RawEvent>) -> Result<()> {
        let mut block = Bytes::from(self.next(|block| memchr::memrchr(b'\n', block).map_or(0, |at| at + 1))?);
        if (self.done || !block.is_empty())
            && let Some((start, length)) = skipped.take()
        {
            let end = memchr::memchr(b'\n', &block).unwrap_or(block.len());
            let reason = format!("event has {} bytes; at most {} are taken", length + end, limits::EVENT_BYTES);
            events.push(RawEvent::refused(self.line, start, reason));
            self.line += 1;
            block = block.slice((end + 1).min(block.len())..);
        }
        if !block.is_empty() {
            json::lines_from(&block, &mut self.line, events);
        }
        if self.rest.len() > limits::EVENT_BYTES {
            let rest = std::mem::take(&mut self.rest);
            let (_, length) = skipped.get_or_insert_with(|| (rest[..limits::DEAD_LETTER_BYTES].to_vec(), 0));
            *length += rest.len();
        }
        Ok(())
    }
}
