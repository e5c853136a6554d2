//! The one decoder: a chunk of the log becomes columns, and ingest asks it whether an event is valid. One code path decides.
use std::borrow::Cow;
use std::hash::BuildHasher;
use std::sync::Arc;

use hashbrown::{DefaultHashBuilder, HashTable};

use crate::event::batch::{Column, EventBatch, Verdict};
use crate::event::layout::Layout;
use crate::event::scalar::{Fault, Scalar, read, read_id, read_time};
use crate::event::scan::Order;
use crate::event::url;
use crate::event::wanted::{Found, same};
use crate::log::Chunk;
use crate::time::Timestamp;
use crate::view::definition::{Origin, Source};
use crate::view::value::{FieldType, Value};

/// What a valid event says about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checked<'a> {
    /// Its id, if it has one.
    pub id: Option<Cow<'a, str>>,
    /// Its event time.
    pub time: Timestamp,
}

/// What is wrong with the data of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Issue {
    /// What every event needs is not there.
    MissingFields,
    /// What is there cannot be read, or not as what it should be.
    InvalidData,
}

impl Issue {
    /// All of them, each at its own number.
    pub const ALL: [Issue; 2] = [Issue::MissingFields, Issue::InvalidData];
    /// Its name among the metrics.
    pub fn name(self) -> &'static str {
        match self {
            Issue::MissingFields => "missing_fields",
            Issue::InvalidData => "invalid_data",
        }
    }
}

/// Why an event is no valid event of its source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejection {
    /// The reason, naming the member.
    pub reason: String,
    /// Which kind of reason that is.
    pub issue: Issue,
}

impl std::fmt::Display for Rejection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.reason)
    }
}

impl std::error::Error for Rejection {}

impl Rejection {
    /// Something cannot be read.
    pub fn invalid(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), issue: Issue::InvalidData }
    }
}

/// A source's shape, compiled: which members are read, and as what.
#[derive(Debug, Clone)]
pub struct Shape {
    source: Arc<Source>,
    layout: Layout,
    has_id: bool,
}

// The slots of the layout: the time, the fields in order, the id (if events have one).
const TIME: usize = 0;
const FIELDS: usize = 1;

impl Shape {
    /// The shape of `source`'s events.
    pub fn new(source: Arc<Source>) -> Self {
        let fields = source.fields.iter().map(|f| f.path.as_slice());
        let paths = std::iter::once(source.time.as_slice()).chain(fields).chain(source.id.as_deref());
        Self { layout: Layout::new(paths), has_id: source.id.is_some(), source }
    }

    /// The source.
    pub fn source(&self) -> &Arc<Source> {
        &self.source
    }

    fn id_slot(&self) -> Option<usize> {
        self.has_id.then_some(FIELDS + self.source.fields.len())
    }

    /// Says whether `event` is valid, by the code that will decode it from the log.
    ///
    /// # Errors
    /// It is not; the rejection says why.
    pub fn check<'a>(&self, event: &'a [u8]) -> Result<Checked<'a>, Rejection> {
        let text =
            std::str::from_utf8(event).map_err(|e| Rejection::invalid(format!("event is no UTF-8 text: {e}")))?;
        let mut found = Found::new();
        self.layout.find(text, &mut found).map_err(|e| Rejection::invalid(format!("event is no JSON object: {e}")))?;
        let explain = |path: &[String], slot: usize, fault: Fault| {
            let issue = if fault == Fault::NoTime { Issue::MissingFields } else { Issue::InvalidData };
            Rejection { reason: fault.explain(&path.join("."), found.get(slot).copied().flatten()), issue }
        };
        let source = &self.source;
        let time = read_time(found[TIME]).map_err(|fault| explain(&source.time, TIME, fault))?;
        let id = match (self.id_slot(), &source.id) {
            (Some(slot), Some(path)) => read_id(found[slot]).map_err(|fault| explain(path, slot, fault))?,
            _ => None,
        };
        for (slot, field) in (FIELDS..).zip(&source.fields) {
            match read(found[slot], field.field_type) {
                Err(fault) if field.origin != Origin::Optional => return Err(explain(&field.path, slot, fault)),
                Ok(_) | Err(_) => {}
            }
        }
        Ok(Checked { id, time })
    }
}

/// Says whether `event` is a valid event of `source`; [`Shape::check`] does the same without compiling the source each time.
///
/// # Errors
/// It is not; the rejection says why.
pub fn check<'a>(source: &Source, event: &'a [u8]) -> Result<Checked<'a>, Rejection> {
    Shape::new(Arc::new(source.clone())).check(event)
}

/// Codes for the texts of one field. Texts are kept in the dictionary that batches share.
#[derive(Debug, Clone)]
struct Codes {
    texts: Arc<Vec<Value>>,
    by_text: HashTable<u32>,
    hasher: DefaultHashBuilder,
}

impl Codes {
    fn new(field_type: FieldType) -> Self {
        let texts = if field_type == FieldType::String { vec![Value::Null] } else { Vec::new() };
        Self { texts: Arc::new(texts), by_text: HashTable::new(), hasher: DefaultHashBuilder::default() }
    }

    #[inline]
    fn code(&mut self, text: &str) -> u32 {
        fn text_of(texts: &[Value], code: u32) -> &str {
            match texts.get(code as usize) {
                Some(Value::Str(text)) => text,
                _ => "",
            }
        }
        let hash = self.hasher.hash_one(text.as_bytes());
        if let Some(&code) =
            self.by_text.find(hash, |&code| same(text_of(&self.texts, code).as_bytes(), text.as_bytes()))
        {
            return code;
        }
        let code = u32::try_from(self.texts.len()).expect("a dictionary is reset long before 2^32 texts");
        // Copies the dictionary only while an earlier batch is still alive.
        let texts = Arc::make_mut(&mut self.texts);
        texts.push(Value::text(text));
        self.by_text.insert_unique(hash, code, |&c| self.hasher.hash_one(text_of(texts, c).as_bytes()));
        code
    }
}

/// Decodes the records of one source. Its dictionaries grow until [`Decoder::reset`].
#[derive(Debug, Clone)]
pub struct Decoder {
    shape: Shape,
    codes: Vec<Codes>,
    /// In which order members have come.
    order: Order,
}

impl Decoder {
    /// A decoder of `source`'s events.
    pub fn new(source: Arc<Source>) -> Self {
        let codes = source.fields.iter().map(|f| Codes::new(f.field_type)).collect();
        Self { shape: Shape::new(source), codes, order: Order::default() }
    }

    /// The source.
    pub fn source(&self) -> &Arc<Source> {
        &self.shape.source
    }

    /// Forgets all texts: codes of later batches mean nothing to earlier ones. Bounds the memory of fields with many values.
    pub fn reset(&mut self) {
        self.codes = self.shape.source.fields.iter().map(|f| Codes::new(f.field_type)).collect();
    }

    /// How many texts the largest dictionary holds, to decide when to reset.
    pub fn texts(&self) -> usize {
        self.codes.iter().map(|c| c.texts.len()).max().unwrap_or(0)
    }

    /// Decodes every record; a record that is no valid event gets [`Verdict::Invalid`] and stops nothing.
    pub fn decode(&mut self, chunk: &Chunk) -> EventBatch {
        let rows = chunk.len();
        let mut batch = EventBatch {
            offsets: Vec::with_capacity(rows),
            log_times: Vec::with_capacity(rows),
            verdicts: Vec::with_capacity(rows),
            times: Vec::with_capacity(rows),
            columns: self.shape.source.fields.iter().map(|f| column(f.field_type, rows)).collect(),
            ..EventBatch::default()
        };
        let mut found = Found::new();
        for record in chunk.iter() {
            batch.offsets.push(record.offset);
            batch.log_times.push(record.timestamp);
            let text = std::str::from_utf8(record.value).ok();
            let (layout, order) = (&self.shape.layout, &mut self.order);
            let known = text.is_some_and(|text| layout.find_next(order, text, &mut found).is_ok());
            if known {
                self.row(&found, &mut batch);
            } else {
                batch.verdicts.push(Verdict::Invalid);
                batch.times.push(Timestamp::default());
                batch.ids.push(None);
                batch.columns.iter_mut().for_each(push_null);
            }
        }
        batch.dictionaries = self.codes.iter().map(|c| Arc::clone(&c.texts)).collect();
        batch
    }

    /// Adds one record that is a JSON object.
    #[inline]
    fn row(&mut self, found: &Found<'_>, batch: &mut EventBatch) {
        let mut valid = true;
        let mut sound = |ok: bool| valid &= ok;
        let time = read_time(found[TIME]);
        sound(time.is_ok());
        batch.times.push(time.unwrap_or_default());
        let id = self.shape.id_slot().map_or(Ok(None), |slot| read_id(found[slot]));
        sound(id.is_ok());
        batch.ids.push(id.unwrap_or_default().as_deref());
        let fields = self.shape.source.fields.iter().zip(&mut batch.columns).zip(&mut self.codes);
        for (&text, ((field, column), codes)) in found[FIELDS..].iter().zip(fields) {
            match (read(text, field.field_type), field.url) {
                (Ok(Scalar::Str(url)), Some(rule)) => {
                    push(column, codes, &Scalar::Str(url::normalized(&url, rule)));
                }
                (Ok(scalar), _) => push(column, codes, &scalar),
                (Err(_), _) => {
                    sound(field.origin == Origin::Optional);
                    push_null(column);
                }
            }
        }
        batch.verdicts.push(if valid { Verdict::Counts } else { Verdict::Invalid });
    }
}

fn column(field_type: FieldType, rows: usize) -> Column {
    let present = Vec::with_capacity(rows);
    match field_type {
        FieldType::String => Column::Str(Vec::with_capacity(rows)),
        FieldType::Bool => Column::Bool(Vec::with_capacity(rows), present),
        FieldType::Int => Column::Int(Vec::with_capacity(rows), present),
        FieldType::Decimal(scale) => Column::Decimal(Vec::with_capacity(rows), present, scale),
        FieldType::Float => Column::Float(Vec::with_capacity(rows), present),
    }
}

#[inline]
fn push(column: &mut Column, codes: &mut Codes, scalar: &Scalar<'_>) {
    match (column, scalar) {
        (Column::Str(column), Scalar::Str(text)) => column.push(codes.code(text)),
        (Column::Bool(column, present), Scalar::Bool(value)) => add(column, present, *value),
        (Column::Int(column, present), Scalar::Int(value)) => add(column, present, *value),
        (Column::Decimal(column, present, _), Scalar::Decimal(value)) => add(column, present, *value),
        (Column::Float(column, present), Scalar::Float(value)) => add(column, present, *value),
        (column, _) => push_null(column),
    }
}

#[inline]
fn add<T>(column: &mut Vec<T>, present: &mut Vec<bool>, value: T) {
    column.push(value);
    present.push(true);
}

fn push_null(column: &mut Column) {
    fn none<T: Default>(column: &mut Vec<T>, present: &mut Vec<bool>) {
        column.push(T::default());
        present.push(false);
    }
    match column {
        Column::Str(codes) => codes.push(0),
        Column::Bool(column, present) => none(column, present),
        Column::Int(column, present) => none(column, present),
        Column::Decimal(column, present, _) => none(column, present),
        Column::Float(column, present) => none(column, present),
    }
}

#[cfg(test)]
mod tests;
