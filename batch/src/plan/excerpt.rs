//! What a view needs of an archive file, fetched, verified and cut out as a small Parquet file of its own for Polars.
//!
//! In it codes stand for texts, and 64-bit integers for decimals that fit: where Parquet has a column chunk in a dictionary, the
//! excerpt has another dictionary page before the same data pages. So a text is looked at once a file, and Polars reads numbers.
use std::sync::Arc;

use bytes::Bytes;
use object_store::memory::InMemory;
use object_store::{ObjectStore, ObjectStoreExt};
use parquet::basic::{Compression, Encoding, PageType, Repetition, Type as Physical};
use parquet::column::page::{CompressedPage, Page, PageReader, PageWriter};
use parquet::errors::ParquetError;
use parquet::file::metadata::{
    ColumnChunkMetaData, FileMetaData, ParquetMetaData, ParquetMetaDataWriter, RowGroupMetaData,
};
use parquet::file::reader::SerializedPageReader;
use parquet::file::statistics::Statistics;
use parquet::file::writer::{SerializedPageWriter, TrackedWrite};
use parquet::schema::types::{SchemaDescPtr, SchemaDescriptor, Type, TypePtr};
use seam_shared::error::{Error, Result};
use seam_shared::lake::archive::ArchiveFile;
use seam_shared::lake::sealed::{SealedFile, range_of};
use seam_shared::lake::{archive_file, verified};
use seam_shared::view::definition::{StateKind, View};
use seam_shared::view::expression::Expression;
use seam_shared::view::value::FieldType;

use super::dictionary::Dictionary;
use super::{Slice, values};

const MAGIC: &[u8] = b"PAR1";
/// Bytes of a decimal in an archive file.
const DECIMAL_BYTES: usize = 16;

/// The verified parts of an archive file that a view needs.
#[derive(Debug)]
pub struct Input {
    file: SealedFile,
    /// The row groups that may hold events of the span.
    groups: Vec<usize>,
    /// The columns of the file that are here.
    columns: Vec<usize>,
    /// Their chunks, group by group.
    chunks: Vec<Bytes>,
    /// Whether every row's verdict is `counts`, so that nobody need look.
    pub(super) all_count: bool,
    /// The partition that all its events are of.
    pub(super) partition: u32,
    /// Whether every event lies within the span.
    pub(super) all_within: bool,
}

impl Input {
    /// Fetches what `view` needs of the events in `span`.
    ///
    /// # Errors
    /// `Corrupt` naming the file when a part of it is not what the archive's table says; those of the store.
    pub async fn fetch(store: &dyn ObjectStore, archived: &ArchiveFile, view: &View, span: Slice) -> Result<Input> {
        let file = SealedFile::open(store, &archived.path, archived.bytes, &archived.footer).await?;
        let holds = |field: usize| archive_file::holds(file.metadata(), &view.source.fields[field]);
        if fields(view).into_iter().all(holds) {
            return Input::cut(store, file, archived, view, span).await;
        }
        // It was written before the source had these fields: its payloads are decoded as they would be now.
        let bytes = verified::get(store, &archived.path, &archived.blake3).await?;
        let written = archive_file::rewritten(&view.source, archived.partition, &bytes)?;
        let (memory, length) = (InMemory::new(), written.bytes.len() as u64);
        memory.put(&archived.path, written.bytes.into()).await.map_err(Error::from)?;
        let file = SealedFile::open(&memory, &archived.path, length, &written.footer).await?;
        Input::cut(&memory, file, archived, view, span).await
    }

    async fn cut(
        store: &dyn ObjectStore,
        file: SealedFile,
        archived: &ArchiveFile,
        view: &View,
        span: Slice,
    ) -> Result<Input> {
        let all_count = archived.days.values().sum::<u64>() == archived.rows;
        let all_within = archived.times.is_some_and(|(first, last)| first >= span.start && last < span.end);
        let mut names = vec!["seam_time"];
        if !all_count {
            names.push("seam_verdict");
        }
        if values::needs_offsets(view) {
            names.push("seam_offset");
        }
        names.extend(fields(view).into_iter().map(|field| view.source.fields[field].name.as_str()));
        let columns = names.into_iter().map(|name| file.column(name)).collect::<Result<Vec<_>>>()?;
        let all = file.metadata().row_groups().iter().enumerate();
        let groups: Vec<usize> = all.filter(|(_, group)| may_hold(group, columns[0], span)).map(|(i, _)| i).collect();
        let wanted: Vec<_> =
            groups.iter().flat_map(|&group| columns.iter().map(move |&column| (group, column))).collect();
        let chunks = file.chunks(store, &wanted).await?;
        Ok(Input { file, groups, columns, chunks, all_count, partition: archived.partition, all_within })
    }
    /// Each group's chunk of a column and what the footer says of it.
    fn chunks_of(&self, column: usize) -> impl Iterator<Item = (&Bytes, &ColumnChunkMetaData)> {
        let place = self.columns.iter().position(|&have| have == column).unwrap_or(0);
        let chunks = self.chunks.iter().skip(place).step_by(self.columns.len());
        chunks.zip(self.groups.iter().map(move |&group| self.file.metadata().row_group(group).column(column)))
    }
}

/// The filters of the view and of its states, and what these take back.
fn conditions(view: &View) -> impl Iterator<Item = &Expression> {
    let of_states = view.states.iter().flat_map(|state| [&state.filter, &state.retract]);
    view.filter.iter().chain(of_states.filter_map(|condition| condition.as_deref()))
}

/// The fields that the view reads.
fn fields(view: &View) -> Vec<usize> {
    let mut fields: Vec<usize> =
        view.keys().iter().map(|d| d.field).chain(view.states.iter().filter_map(|s| s.field)).collect();
    conditions(view).for_each(|condition| condition.fields(&mut fields));
    fields.sort_unstable();
    fields.dedup();
    fields
}

fn may_hold(group: &RowGroupMetaData, time: usize, span: Slice) -> bool {
    match group.column(time).statistics() {
        Some(Statistics::Int64(times)) => {
            times.min_opt().is_none_or(|&min| min < span.end.0)
                && times.max_opt().is_none_or(|&max| max >= span.start.0)
        }
        _ => true,
    }
}

/// A Parquet file for Polars.
#[derive(Debug)]
pub struct Excerpt {
    /// Its content.
    pub bytes: Vec<u8>,
    /// By dimension that is a field, whether the column [`code_name`] holds its codes.
    pub coded: Vec<bool>,
    /// By state, whether the column [`narrow_name`] holds its field.
    pub narrow: Vec<bool>,
}

/// The name of the column with the codes of a dimension. Names of fields do not start so.
pub fn code_name(dimension: usize) -> String {
    format!("seam_code{dimension}")
}

/// The name of the column with the decimals of a state's field as integers.
pub fn narrow_name(state: usize) -> String {
    format!("seam_narrow{state}")
}

impl Excerpt {
    /// Cuts it out; new texts get codes. `None` if the file has no events of the span.
    ///
    /// # Errors
    /// `Corrupt` if the file is none that an archiver writes.
    pub fn new(view: &View, input: &Input, dictionaries: &mut [Dictionary]) -> Result<Option<Excerpt>> {
        if input.groups.is_empty() {
            return Ok(None);
        }
        let place = |field: usize| input.file.column(&view.source.fields[field].name);
        let mut as_is = Vec::new();
        conditions(view).for_each(|condition| condition.fields(&mut as_is));
        let (mut columns, mut coded, mut narrow) = (Vec::new(), Vec::new(), Vec::new());
        for (i, dimension) in view.keys().iter().enumerate() {
            let found = match dimension.field_type {
                FieldType::String => codes(input, place(dimension.field)?, code_name(i), &mut dictionaries[i])?,
                _ => None,
            };
            coded.push(found.is_some());
            as_is.extend(found.is_none().then_some(dimension.field));
            columns.extend(found);
        }
        for (i, state) in view.states.iter().enumerate() {
            let Some(field) = state.field else {
                narrow.push(false);
                continue;
            };
            let decimal = matches!(view.source.fields[field].field_type, FieldType::Decimal(_));
            let found = match state.kind {
                StateKind::Fixed { .. } | StateKind::Partial(..) if decimal => {
                    integers(input, place(field)?, narrow_name(i))?
                }
                _ => None,
            };
            narrow.push(found.is_some());
            as_is.extend(found.is_none().then_some(field));
            columns.extend(found);
        }
        as_is.sort_unstable();
        as_is.dedup();
        let mut wanted = vec![input.file.column("seam_time")?];
        if !input.all_count {
            wanted.push(input.file.column("seam_verdict")?);
        }
        if values::needs_offsets(view) {
            wanted.push(input.file.column("seam_offset")?);
        }
        for field in as_is {
            wanted.push(place(field)?);
        }
        columns.extend(wanted.into_iter().map(|column| ExcerptColumn::as_is(input, column)));
        Ok(Some(Excerpt { bytes: assemble(input, columns).map_err(strange)?, coded, narrow }))
    }
}

/// A column of an excerpt: its type and the chunk of each group.
struct ExcerptColumn {
    kind: TypePtr,
    chunks: Vec<Chunk>,
}

struct Chunk {
    dictionary: Option<Vec<u8>>,
    pages: Bytes,
    was: ColumnChunkMetaData,
    /// Whether the statistics still hold.
    unchanged: bool,
}

impl ExcerptColumn {
    fn as_is(input: &Input, column: usize) -> ExcerptColumn {
        let kind = Arc::clone(&input.file.metadata().file_metadata().schema().get_fields()[column]);
        let chunk = |(bytes, was): (&Bytes, &ColumnChunkMetaData)| match pages_start(was) {
            None => Chunk { dictionary: None, pages: bytes.clone(), was: was.clone(), unchanged: true },
            Some(at) => {
                let dictionary = Some(bytes[..at].to_vec());
                Chunk { dictionary, pages: bytes.slice(at..), was: was.clone(), unchanged: true }
            }
        };
        ExcerptColumn { kind, chunks: input.chunks_of(column).map(chunk).collect() }
    }
}

/// Where behind its dictionary page a chunk's data pages start.
fn pages_start(chunk: &ColumnChunkMetaData) -> Option<usize> {
    chunk.dictionary_page_offset()?;
    usize::try_from(chunk.data_page_offset() - range_of(chunk).start.cast_signed()).ok()
}

/// A text column as codes, if all of it is in dictionaries.
fn codes(input: &Input, column: usize, name: String, dictionary: &mut Dictionary) -> Result<Option<ExcerptColumn>> {
    recoded(input, column, (name, Physical::INT32), |mut texts, count| {
        let mut out = Vec::with_capacity(count * 4);
        for _ in 0..count {
            let (length, rest) = texts.split_first_chunk().ok_or_else(unread)?;
            let (text, rest) = rest.split_at_checked(u32::from_le_bytes(*length) as usize).ok_or_else(unread)?;
            let text = std::str::from_utf8(text).map_err(|e| unread().because(e))?;
            out.extend_from_slice(&dictionary.text(text).to_le_bytes());
            texts = rest;
        }
        Ok(Some(out))
    })
}

/// A decimal column as integers, if all of it is in dictionaries of decimals that fit.
fn integers(input: &Input, column: usize, name: String) -> Result<Option<ExcerptColumn>> {
    recoded(input, column, (name, Physical::INT64), |decimals, count| {
        let mut out = Vec::with_capacity(count * 8);
        for decimal in decimals.as_chunks::<DECIMAL_BYTES>().0 {
            let Ok(integer) = i64::try_from(i128::from_be_bytes(*decimal)) else { return Ok(None) };
            out.extend_from_slice(&integer.to_le_bytes());
        }
        if out.len() == count * 8 { Ok(Some(out)) } else { Err(unread()) }
    })
}

/// A column whose dictionaries `recode` has turned into values of another type, unless it declines.
fn recoded(
    input: &Input,
    column: usize,
    (name, physical): (String, Physical),
    mut recode: impl FnMut(&[u8], usize) -> Result<Option<Vec<u8>>>,
) -> Result<Option<ExcerptColumn>> {
    let mut chunks = Vec::new();
    for (bytes, was) in input.chunks_of(column) {
        let (Some(at), true) = (pages_start(was), only_dictionary(was)) else { return Ok(None) };
        let (content, count) = dictionary_of(bytes, was, at).map_err(strange)?;
        let Some(content) = recode(&content, count)? else { return Ok(None) };
        let dictionary = Some(dictionary_page(&content, count, was.compression()).map_err(strange)?);
        chunks.push(Chunk { dictionary, pages: bytes.slice(at..), was: was.clone(), unchanged: false });
    }
    let kind = Type::primitive_type_builder(&name, physical).with_repetition(Repetition::OPTIONAL).build();
    Ok(Some(ExcerptColumn { kind: Arc::new(kind.map_err(strange)?), chunks }))
}

fn only_dictionary(chunk: &ColumnChunkMetaData) -> bool {
    if let Some(pages) = chunk.page_encoding_stats() {
        let data = |kind| matches!(kind, PageType::DATA_PAGE | PageType::DATA_PAGE_V2);
        return pages.iter().all(|page| !data(page.page_type) || page.encoding == Encoding::RLE_DICTIONARY);
    }
    chunk.page_encoding_stats_mask().is_some_and(|mask| mask.is_only(Encoding::RLE_DICTIONARY))
}

/// The content of a chunk's dictionary page and how many values it has.
fn dictionary_of(bytes: &Bytes, was: &ColumnChunkMetaData, at: usize) -> Result<(Bytes, usize), ParquetError> {
    let moved =
        was.clone().into_builder().set_dictionary_page_offset(Some(0)).set_data_page_offset(at as i64).build()?;
    let mut pages = SerializedPageReader::new(Arc::new(bytes.clone()), &moved, 0, None)?;
    match pages.get_next_page()? {
        Some(Page::DictionaryPage { buf, num_values, .. }) => Ok((buf, num_values as usize)),
        _ => Err(ParquetError::General("a column chunk does not start with its dictionary".to_owned())),
    }
}

fn dictionary_page(content: &[u8], count: usize, compression: Compression) -> Result<Vec<u8>, ParquetError> {
    let buf = match compression {
        Compression::UNCOMPRESSED => Bytes::copy_from_slice(content),
        Compression::ZSTD(_) => zstd::bulk::compress(content, 1)?.into(),
        other => return Err(ParquetError::NYI(format!("archive files are not compressed by {other}"))),
    };
    let page = Page::DictionaryPage { buf, num_values: count as u32, encoding: Encoding::PLAIN, is_sorted: false };
    let mut out = TrackedWrite::new(Vec::new());
    SerializedPageWriter::new(&mut out).write_page(CompressedPage::new(page, content.len()))?;
    out.into_inner()
}

/// The file of the columns' chunks.
fn assemble(input: &Input, columns: Vec<ExcerptColumn>) -> Result<Vec<u8>, ParquetError> {
    let kinds = columns.iter().map(|column| Arc::clone(&column.kind)).collect();
    let root = Type::group_type_builder("schema").with_fields(kinds).build()?;
    let schema: SchemaDescPtr = Arc::new(SchemaDescriptor::new(Arc::new(root)));
    let size = |chunk: &Chunk| chunk.pages.len() + chunk.dictionary.as_ref().map_or(0, Vec::len);
    let all: usize = columns.iter().flat_map(|column| &column.chunks).map(size).sum();
    let mut out = Vec::with_capacity(all + 16 * 1024);
    out.extend_from_slice(MAGIC);
    let (mut groups, mut rows) = (Vec::new(), 0);
    for (i, &group) in input.groups.iter().enumerate() {
        let was = input.file.metadata().row_group(group);
        let mut chunks = Vec::new();
        for (c, column) in columns.iter().enumerate() {
            let chunk = &column.chunks[i];
            let start = out.len() as i64;
            out.extend_from_slice(chunk.dictionary.as_deref().unwrap_or_default());
            let pages = out.len() as i64;
            out.extend_from_slice(&chunk.pages);
            let builder = ColumnChunkMetaData::builder(schema.column(c))
                .set_encodings(chunk.was.encodings().collect())
                .set_compression_codec(chunk.was.compression_codec())
                .set_num_values(chunk.was.num_values())
                .set_total_compressed_size(out.len() as i64 - start)
                .set_total_uncompressed_size(chunk.was.uncompressed_size())
                .set_dictionary_page_offset(chunk.dictionary.is_some().then_some(start))
                .set_data_page_offset(pages);
            let kept = chunk.was.statistics().filter(|_| chunk.unchanged).cloned();
            chunks.push(match kept {
                Some(statistics) => builder.set_statistics(statistics),
                None => builder,
            });
        }
        let chunks = chunks.into_iter().map(|chunk| chunk.build()).collect::<Result<_, _>>()?;
        rows += was.num_rows();
        let group = RowGroupMetaData::builder(Arc::clone(&schema)).set_num_rows(was.num_rows());
        groups.push(group.set_total_byte_size(was.total_byte_size()).set_column_metadata(chunks).build()?);
    }
    let orders = input.file.metadata().file_metadata().column_orders().map(|orders| orders[..1].repeat(columns.len()));
    let file = FileMetaData::new(2, rows, Some("Seam".to_owned()), None, schema, orders);
    ParquetMetaDataWriter::new(&mut out, &ParquetMetaData::new(file, groups)).finish()?;
    Ok(out)
}

fn unread() -> Error {
    Error::corrupt("a column of an archive file has other contents than its dictionary says")
}

fn strange(error: ParquetError) -> Error {
    Error::corrupt("an archive file is none that an archiver writes").because(error)
}
