//! Columns as they were written, whether in a dictionary, partly or not, in one page or many.
use std::sync::Arc;

use arrow_array::{ArrayRef, Decimal128Array, Int64Array, RecordBatch, StringArray};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::metadata::{ParquetMetaData, ParquetMetaDataReader};
use parquet::file::properties::{WriterProperties, WriterVersion};
use seam_generator::Dice;

use super::*;

const ROWS: usize = 20_000;

/// How a column is spelled.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Spelled {
    InADictionary,
    PartlyInADictionary,
    Plain,
}

fn file(column: ArrayRef, spelled: Spelled, compression: Compression) -> (Bytes, ParquetMetaData) {
    let batch = RecordBatch::try_from_iter_with_nullable([("column", column, true)]).unwrap();
    let properties = WriterProperties::builder()
        .set_writer_version(WriterVersion::PARQUET_2_0)
        .set_compression(compression)
        .set_dictionary_enabled(spelled != Spelled::Plain)
        .set_dictionary_page_size_limit(if spelled == Spelled::InADictionary { 16 << 20 } else { 2_000 })
        .set_data_page_row_count_limit(3_000)
        .build();
    let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), Some(properties)).unwrap();
    writer.write(&batch).unwrap();
    let bytes = Bytes::from(writer.into_inner().unwrap());
    let metadata = ParquetMetaDataReader::new().parse_and_finish(&bytes).unwrap();
    (bytes, metadata)
}

/// Lets `check` see the only chunk of the column, spelled in every way.
fn in_every_spelling(column: &ArrayRef, mut check: impl FnMut(Chunk<'_>, Spelled)) {
    let zstd = Compression::ZSTD(ZstdLevel::try_new(1).unwrap());
    let compressions = [Compression::UNCOMPRESSED, zstd];
    let spellings = [Spelled::InADictionary, Spelled::PartlyInADictionary, Spelled::Plain];
    for (spelled, compression) in spellings.into_iter().flat_map(|s| compressions.map(|c| (s, c))) {
        let (bytes, metadata) = file(Arc::clone(column), spelled, compression);
        let was = metadata.row_group(0).column(0);
        let range = range_of(was);
        let bytes = bytes.slice(range.start as usize..range.end as usize);
        check(Chunk { bytes: &bytes, was, rows: ROWS }, spelled);
    }
}

fn cells<T: Copy>(cells: &Cells<T>) -> Vec<Option<T>> {
    let cell = |(row, value): (u32, &T)| (!cells.missing.contains(&row)).then_some(*value);
    (0..).zip(&cells.values).map(cell).collect()
}

/// With every tenth cell or none missing.
fn some<T>(dice: &mut Dice, missing: bool, value: impl Fn(u64) -> T) -> Vec<Option<T>> {
    (0..ROWS).map(|_| Some(value(dice.bits())).filter(|_| !(missing && dice.one_in(10)))).collect()
}

#[test]
fn texts_become_numbers_and_each_of_a_dictionary_once() {
    let mut spare = Spare::default();
    for missing in [false, true] {
        let texts = some(&mut Dice(7), missing, |bits| format!("text {}", bits % 500));
        let column: ArrayRef = Arc::new(texts.iter().map(Option::as_deref).collect::<StringArray>());
        in_every_spelling(&column, |chunk, spelled| {
            assert_eq!(only_dictionary(chunk.was), spelled == Spelled::InADictionary, "{spelled:?}");
            let mut asked = 0;
            let found = super::texts::<i32>(chunk, &mut spare, |text| {
                asked += 1;
                text["text ".len()..].parse().unwrap()
            });
            let found = found.unwrap();
            let number =
                |text: &Option<String>| text.as_ref().map(|text| text["text ".len()..].parse::<i32>().unwrap());
            assert_eq!(cells(&found), texts.iter().map(number).collect::<Vec<_>>(), "{spelled:?}");
            assert!(asked <= 500 || spelled != Spelled::InADictionary, "{asked} texts were looked at");
            spare.codes.push(found.values);
        });
    }
}

#[test]
fn decimals_are_narrow_if_all_of_them_fit() {
    let mut spare = Spare::default();
    for missing in [false, true] {
        for huge in [0, i128::from(i64::MAX)] {
            let decimals = some(&mut Dice(8), missing, |bits| i128::from(bits % 300) - 150 + huge);
            let column = decimals.iter().copied().collect::<Decimal128Array>();
            let column: ArrayRef = Arc::new(column.with_precision_and_scale(38, 2).unwrap());
            in_every_spelling(&column, |chunk, spelled| {
                let found = match super::decimals(chunk, &mut spare).unwrap() {
                    Decimals::Narrow(narrow) => {
                        assert_eq!(huge, 0, "some do not fit");
                        cells(&narrow).into_iter().map(|cell| cell.map(i128::from)).collect()
                    }
                    Decimals::Wide(wide) => {
                        assert_ne!(huge, 0, "all fit");
                        cells(&wide)
                    }
                };
                assert_eq!(found, decimals, "{spelled:?}");
            });
        }
    }
}

#[test]
fn integers_are_read_into_used_vectors_and_other_types_refused() {
    let mut spare = Spare::default();
    for missing in [true, false] {
        let integers = some(&mut Dice(9), missing, |bits| bits.cast_signed() >> 50);
        let column: ArrayRef = Arc::new(integers.iter().copied().collect::<Int64Array>());
        in_every_spelling(&column, |chunk, spelled| {
            let found = super::integers(chunk, &mut spare).unwrap();
            assert_eq!(cells(&found), integers, "{spelled:?}");
            spare.integers.push(found.values);
            assert!(plain::<parquet::data_type::DoubleType>(chunk, &mut spare).is_err());
        });
    }
}

#[test]
fn what_an_archiver_does_not_write_is_refused() {
    let mut spare = Spare::default();
    let binary: ArrayRef = Arc::new((0..ROWS).map(|_| Some([b'a', 0xFF])).collect::<arrow_array::BinaryArray>());
    in_every_spelling(&binary, |chunk, spelled| {
        assert!(super::texts::<i32>(chunk, &mut spare, |_| 0).is_err(), "no text, {spelled:?}");
    });
    let integers: ArrayRef = Arc::new((0..ROWS as i64).map(Some).collect::<Int64Array>());
    in_every_spelling(&integers, |chunk, _| {
        let more = Chunk { rows: ROWS + 1, ..chunk };
        assert!(super::integers(more, &mut spare).is_err(), "it has fewer rows than the footer says");
        assert!(super::decimals(chunk, &mut spare).is_err() && super::texts::<i64>(chunk, &mut spare, |_| 0).is_err());
        let half = chunk.bytes.slice(..chunk.bytes.len() / 2);
        assert!(super::integers(Chunk { bytes: &half, ..chunk }, &mut spare).is_err(), "its end is missing");
    });
    let (bytes, metadata) = file(integers, Spelled::Plain, Compression::SNAPPY);
    let was = metadata.row_group(0).column(0);
    let range = range_of(was);
    let bytes = bytes.slice(range.start as usize..range.end as usize);
    assert!(super::integers(Chunk { bytes: &bytes, was, rows: ROWS }, &mut spare).is_err(), "another compression");
}
