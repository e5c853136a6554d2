//! Files and standard input in parts that can each be sent as one body: NDJSON or CSV, plain, gzip or zstd (told by the first bytes).
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use bytes::Bytes;
use seam_shared::view::definition::Source;
use seam_shared::{Error, Result};

use crate::formats::unpack::Encoding;
use crate::formats::{Format, csv};
use crate::limits;
use crate::raw_event::RawEvent;

/// How much of a file one part takes.
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
    /// What a body of it is called.
    pub fn media_type(self) -> &'static str {
        match self {
            FileFormat::Ndjson => "application/x-ndjson",
            FileFormat::Csv => "text/csv",
        }
    }
}

/// A part of a file that stands for itself as a body: whole lines, or whole rows under the file's header.
#[derive(Debug, Clone)]
pub struct Part {
    /// How it is written.
    pub format: FileFormat,
    /// The body.
    pub body: Bytes,
    /// Where its events begin: behind the header.
    start: usize,
    /// A line of the body and this many are its line in the file.
    pub lines_before: u64,
}

impl Part {
    /// Its events, as the collector reads a body, each with its line in the file.
    ///
    /// # Errors
    /// `Invalid`: it cannot be read as what it seems to be.
    pub fn events(&self, source: &Source) -> Result<Vec<RawEvent>> {
        let format = match self.format {
            FileFormat::Ndjson => Format::Ndjson,
            FileFormat::Csv => Format::Csv,
        };
        let mut events = format.read(source, &self.body)?;
        events.iter_mut().for_each(|event| event.line += self.lines_before);
        Ok(events)
    }
    /// The same in two, where a receiver takes less at once; `None` if it holds one line or row.
    pub fn halves(&self) -> Option<(Part, Part)> {
        let text = &self.body[self.start..];
        let ends = |text: &[u8]| match self.format {
            FileFormat::Ndjson => memchr::memrchr(b'\n', text).map_or(0, |at| at + 1),
            FileFormat::Csv => csv::whole_rows(text),
        };
        let parts = [2, 4, 8, 16].map(|part| text.len() - text.len() / part).into_iter();
        let first = parts.map(|end| ends(&text[..end])).find(|end| *end > 0).filter(|end| *end < text.len())?;
        let lines = memchr::memchr_iter(b'\n', &text[..first]).count() as u64;
        let first = self.start + first;
        let second = [&self.body[..self.start], &self.body[first..]].concat();
        let one = Part { body: self.body.slice(..first), ..self.clone() };
        Some((one, Part { body: second.into(), lines_before: self.lines_before + lines, ..self.clone() }))
    }
}

/// Reads one file in parts of about [`BATCH_BYTES`].
pub struct FileReader {
    name: String,
    format: FileFormat,
    blocks: Blocks,
    /// Of a line that is too long: its start, while its end is looked for.
    skipped: Option<Vec<u8>>,
    /// The header of rows, and its lines.
    header: Option<(Vec<u8>, u64)>,
    /// Whether there was an event.
    begun: bool,
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
    pub fn open(path: &Path, format: Option<FileFormat>) -> Result<Self> {
        let name = path.display().to_string();
        let format = format.unwrap_or_else(|| FileFormat::of_name(&name));
        if name == "-" {
            return Self::new("standard input", std::io::stdin(), format);
        }
        let file =
            File::open(path).map_err(|e| Error::not_found(format!("file {name} cannot be opened")).because(e))?;
        Self::new(&name, file, format)
    }

    /// Reads from `input`, which messages call `name`.
    ///
    /// # Errors
    /// `Invalid`: it cannot be read as what it seems to be.
    pub fn new(name: &str, mut input: impl Read + Send + 'static, format: FileFormat) -> Result<Self> {
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
        let blocks = Blocks { input: whole, rest: Vec::new(), line: 1, start: true, done: false };
        Ok(Self { name: name.to_owned(), format, blocks, skipped: None, header: None, begun: false })
    }

    /// The next part that holds an event; none at the end.
    ///
    /// # Errors
    /// `Invalid`: the file cannot be read or unpacked.
    pub fn next_part(&mut self) -> Result<Option<Part>> {
        let named = |e: Error| Error::invalid(format!("{}: {e}", self.name));
        while !self.blocks.done {
            let part = match self.format {
                FileFormat::Ndjson => self.blocks.next_lines(&mut self.skipped),
                FileFormat::Csv => self.blocks.next_rows(&mut self.header),
            };
            let part = part.map_err(named)?;
            if part.body[part.start..].trim_ascii().is_empty() {
                continue;
            }
            if self.format == FileFormat::Ndjson && !std::mem::replace(&mut self.begun, true) {
                is_no_document(&part.body).map_err(named)?;
            }
            return Ok(Some(part));
        }
        Ok(None)
    }
}

/// Refuses what is JSON, but not one event a line.
fn is_no_document(text: &[u8]) -> Result<()> {
    let text = text.trim_ascii_start();
    let first = text.split(|b| *b == b'\n').next().unwrap_or_default().trim_ascii_end();
    let (what, query) = match text.first() {
        Some(b'[') => ("it starts with an array", ".[]"),
        Some(b'{') if first == b"{" => ("its first event goes over several lines", "."),
        _ => return Ok(()),
    };
    Err(Error::invalid(format!("{what}; write one event a line (`jq -c '{query}'` makes such lines)")))
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

    fn next_rows(&mut self, header: &mut Option<(Vec<u8>, u64)>) -> Result<Part> {
        let mut block = self.next(csv::whole_rows)?;
        if self.rest.len() > limits::ROW_BYTES {
            let what = format!("row at line {} has more than {} bytes", self.line, limits::ROW_BYTES);
            return Err(Error::invalid(format!("{what}; is a quote left open?")));
        }
        let lines = memchr::memchr_iter(b'\n', &block).count() as u64;
        let mut first = self.line;
        self.line += lines;
        if header.is_none() && (self.done || !block.is_empty()) {
            let rows = csv::header_end(&block)?;
            let names: Vec<u8> = block.drain(..rows).collect();
            let lines = memchr::memchr_iter(b'\n', &names).count() as u64;
            first += lines;
            *header = Some((names, lines));
        }
        let (names, lines) = header.as_ref().map_or((&[][..], 0), |(names, lines)| (&names[..], *lines));
        // In the body the rows begin behind the header's lines.
        let lines_before = first - 1 - lines;
        Ok(Part { format: FileFormat::Csv, body: [names, &block].concat().into(), start: names.len(), lines_before })
    }

    fn next_lines(&mut self, skipped: &mut Option<Vec<u8>>) -> Result<Part> {
        let mut block = self.next(|block| memchr::memrchr(b'\n', block).map_or(0, |at| at + 1))?;
        if (self.done || !block.is_empty())
            && let Some(start) = skipped.take()
        {
            // What is kept of the line is too long for an event, and is refused for that.
            let end = memchr::memchr(b'\n', &block).unwrap_or(block.len());
            block.splice(..end, start);
        }
        if self.rest.len() > limits::EVENT_BYTES {
            let mut rest = std::mem::take(&mut self.rest);
            rest.truncate(limits::EVENT_BYTES + 1);
            skipped.get_or_insert(rest);
        }
        let lines_before = self.line - 1;
        self.line += memchr::memchr_iter(b'\n', &block).count() as u64;
        Ok(Part { format: FileFormat::Ndjson, body: block.into(), start: 0, lines_before })
    }
}
