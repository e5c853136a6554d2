//! CSV: a header row of names, then one event a row, typed by the source's fields.
//!
//! A column is the field of its name (or of its dotted path), the event's time or its id; any other column is kept as text
//! under its name. An empty cell is null. A cell of a number field that is no JSON number, or of a bool field that is not
//! `true` or `false` (in any case), is kept as text, and the check then refuses the event with the reason.
use bytes::Bytes;
use csv::{ByteRecord, Reader, ReaderBuilder};
use seam_shared::view::definition::Source;
use seam_shared::view::value::FieldType;
use seam_shared::{Error, Result};

use crate::raw_event::RawEvent;

/// How a cell is written as JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cell {
    Text,
    Number,
    Bool,
}

/// The shape of a row's JSON.
#[derive(Debug)]
enum Tree {
    Leaf(usize, Cell),
    Object(Vec<(String, Tree)>),
}

/// A header row, matched with a source.
#[derive(Debug)]
pub struct Header {
    columns: usize,
    tree: Tree,
}

impl Header {
    /// Matches the names of a header row.
    ///
    /// # Errors
    /// `Invalid`: it is no text, has no names, or a name twice.
    pub fn new(source: &Source, names: &ByteRecord) -> Result<Self> {
        let mut root = Vec::new();
        let mut seen: Vec<&str> = Vec::new();
        for (column, name) in names.iter().enumerate() {
            let name = std::str::from_utf8(name).map_err(|_| Error::invalid("CSV header is no UTF-8 text"))?.trim();
            if name.is_empty() || seen.contains(&name) {
                let what = if name.is_empty() { "is empty" } else { "stands there twice" };
                return Err(Error::invalid(format!("CSV header: name {} `{name}` {what}", column + 1)));
            }
            seen.push(name);
            let (path, cell) = place(source, name);
            if !insert(&mut root, &path, column, cell) {
                let place = path.join(".");
                return Err(Error::invalid(format!("CSV header: `{name}` and another name both stand for `{place}`")));
            }
        }
        match seen[..] {
            [] => return Err(Error::invalid("CSV is empty: it needs a header row")),
            [only] if only.contains([';', '\t', '|']) => {
                let what = "the cells of CSV are parted by commas";
                return Err(Error::invalid(format!("CSV header: {only:?} is one name; {what}")));
            }
            _ => {}
        }
        Ok(Self { columns: seen.len(), tree: Tree::Object(root) })
    }

    /// Takes the header row off `text`; answers with where the rows begin, and the number of that line.
    ///
    /// # Errors
    /// `Invalid`: there is none, or it cannot be used.
    pub(crate) fn take(source: &Source, text: &[u8]) -> Result<(Self, usize, u64)> {
        let mut rows = reader(text);
        let mut names = ByteRecord::new();
        rows.read_byte_record(&mut names).map_err(unreadable)?;
        let header = Self::new(source, &names)?;
        let rest = usize::try_from(rows.position().byte()).unwrap_or(text.len());
        Ok((header, rest, rows.position().line()))
    }

    /// The rows of `text`, which starts outside of a row, at a line of this number.
    ///
    /// # Errors
    /// `Invalid`: it cannot be read.
    pub(crate) fn read(&self, text: &[u8], line: u64, events: &mut Vec<RawEvent>) -> Result<()> {
        let mut rows = reader(text);
        let mut row = ByteRecord::new();
        let open = open_row(text);
        while rows.read_byte_record(&mut row).map_err(unreadable)? {
            // A row's position is the end of the row before: there may be a line end and empty lines in between.
            let (start, lines) = row.position().map_or((0, 1), |at| (at.byte(), at.line()));
            let before = text.get(usize::try_from(start).unwrap_or(0)..).unwrap_or_default();
            let ends = before.iter().take_while(|b| b"\r\n".contains(b));
            let line = line - 1 + lines + ends.clone().filter(|b| **b == b'\n').count() as u64;
            let start = usize::try_from(start).unwrap_or(0) + ends.count();
            events.push(match open {
                // All up to the end stands in one cell: rows that were meant, or a row that was cut off.
                Some(open) if start >= open => {
                    let reason = "a quote is left open; what follows it belongs to this row";
                    RawEvent::refused(line, text[start..].to_vec(), reason)
                }
                _ => self.event(&row, line),
            });
        }
        Ok(())
    }

    /// A row as an event.
    fn event(&self, row: &ByteRecord, line: u64) -> RawEvent {
        if row.len() != self.columns {
            let reason = format!("row has {} cells, the header has {}", row.len(), self.columns);
            return RawEvent::refused(line, row_text(row), reason);
        }
        let mut json = Vec::with_capacity(row.as_slice().len() + 16 * self.columns);
        if write(&self.tree, row, &mut json) {
            return RawEvent::new(line, json);
        }
        RawEvent::refused(line, row_text(row), "row is no UTF-8 text")
    }
}

/// Where a column belongs in the event, and how its cells are written.
fn place(source: &Source, name: &str) -> (Vec<String>, Cell) {
    let field = source
        .fields
        .iter()
        .find(|f| f.name == name)
        .or_else(|| source.fields.iter().find(|f| f.path.join(".") == name));
    if let Some(field) = field {
        let cell = match field.field_type {
            FieldType::String => Cell::Text,
            FieldType::Bool => Cell::Bool,
            FieldType::Int | FieldType::Decimal(_) | FieldType::Float => Cell::Number,
        };
        return (field.path.clone(), cell);
    }
    if source.time.join(".") == name {
        return (source.time.clone(), Cell::Number);
    }
    match &source.id {
        Some(id) if id.join(".") == name => (id.clone(), Cell::Text),
        _ => (vec![name.to_owned()], Cell::Text),
    }
}

fn insert(members: &mut Vec<(String, Tree)>, path: &[String], column: usize, cell: Cell) -> bool {
    let Some((name, rest)) = path.split_first() else { return false };
    let member = members.iter_mut().find(|m| m.0 == *name);
    match (member, rest.is_empty()) {
        (None, true) => members.push((name.clone(), Tree::Leaf(column, cell))),
        (None, false) => {
            let mut inner = Vec::new();
            insert(&mut inner, rest, column, cell);
            members.push((name.clone(), Tree::Object(inner)));
        }
        (Some((_, Tree::Object(inner))), false) => return insert(inner, rest, column, cell),
        (Some(_), _) => return false,
    }
    true
}

/// Writes a row's members; says whether all cells were text.
fn write(tree: &Tree, row: &ByteRecord, json: &mut Vec<u8>) -> bool {
    match tree {
        Tree::Object(members) => {
            json.push(b'{');
            let mut first = true;
            for (name, member) in members {
                if matches!(member, Tree::Leaf(column, _) if row.get(*column).is_none_or(<[u8]>::is_empty)) {
                    continue;
                }
                if !std::mem::take(&mut first) {
                    json.push(b',');
                }
                write_text(name, json);
                json.push(b':');
                if !write(member, row, json) {
                    return false;
                }
            }
            json.push(b'}');
            true
        }
        Tree::Leaf(column, cell) => {
            let Ok(text) = std::str::from_utf8(row.get(*column).unwrap_or_default()) else { return false };
            match cell {
                Cell::Number if is_json_number(text.trim()) => json.extend_from_slice(text.trim().as_bytes()),
                Cell::Bool if text.trim().eq_ignore_ascii_case("true") => json.extend_from_slice(b"true"),
                Cell::Bool if text.trim().eq_ignore_ascii_case("false") => json.extend_from_slice(b"false"),
                _ => write_text(text, json),
            }
            true
        }
    }
}

fn write_text(text: &str, json: &mut Vec<u8>) {
    serde_json::to_writer(json, text).expect("text can be written to memory as JSON");
}

/// Whether a text is a number by JSON's grammar.
fn is_json_number(text: &str) -> bool {
    matches!(text.as_bytes().first(), Some(b'-' | b'0'..=b'9'))
        && serde_json::from_str::<&serde_json::value::RawValue>(text).is_ok()
}

/// A row's cells, joined again; quotes are not restored.
fn row_text(row: &ByteRecord) -> Vec<u8> {
    row.iter().collect::<Vec<_>>().join(&b',')
}

/// A reader of rows of any length, so that a wrong one can be refused by its line.
fn reader(text: &[u8]) -> Reader<&[u8]> {
    ReaderBuilder::new().flexible(true).has_headers(false).from_reader(text)
}

fn unreadable(error: csv::Error) -> Error {
    Error::invalid("CSV cannot be read").because(error)
}

/// Reads a body.
///
/// # Errors
/// `Invalid`: the header cannot be used.
pub fn read(source: &Source, body: &Bytes) -> Result<Vec<RawEvent>> {
    let (header, rest, line) = Header::take(source, body)?;
    let mut events = Vec::new();
    header.read(&body[rest..], line, &mut events)?;
    Ok(events)
}

/// Where the header row of `text` ends, its line end included.
///
/// # Errors
/// `Invalid`: there is none.
pub(crate) fn header_end(text: &[u8]) -> Result<usize> {
    let mut rows = reader(text);
    if !rows.read_byte_record(&mut ByteRecord::new()).map_err(unreadable)? {
        return Err(Error::invalid("CSV is empty: it needs a header row"));
    }
    let end = usize::try_from(rows.position().byte()).unwrap_or(text.len());
    Ok(end + usize::from(text[..end].ends_with(b"\r") && text[end..].starts_with(b"\n")))
}

/// Where the last whole row of `text` ends: behind the last line end that is not inside of quotes.
pub(crate) fn whole_rows(text: &[u8]) -> usize {
    rows_and_quote(text).0
}

/// Where the row starts that ends inside of quotes, if the last one does.
fn open_row(text: &[u8]) -> Option<usize> {
    let (end, open) = rows_and_quote(text);
    open.then_some(end)
}

/// Where the last whole row ends, and whether a quote is open at the end.
fn rows_and_quote(text: &[u8]) -> (usize, bool) {
    let (mut end, mut quoted, mut closed) = (0, false, None);
    for at in memchr::memchr2_iter(b'"', b'\n', text) {
        let opens = || at == 0 || matches!(text[at - 1], b',' | b'\n' | b'\r') || closed == Some(at - 1);
        match (text[at], quoted) {
            (b'"', true) => (quoted, closed) = (false, Some(at)),
            (b'"', false) => quoted = opens(),
            (_, false) => end = at + 1,
            (_, true) => {}
        }
    }
    (end, quoted)
}
