//! Chunks that are spelled here, read by the library.
use std::sync::Arc;

use arrow_array::ArrayRef;
use arrow_array::cast::AsArray;
use arrow_array::types::{Decimal128Type, Int64Type};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;

use super::*;

const ROWS: [usize; 12] = [1, 2, 7, 8, 9, 31, 33, 128, 129, 130, 1_000, 40_000];

/// What the library reads of a column that is this chunk.
fn read(column: &str, chunk: &Chunk) -> ArrayRef {
    let schema = Arc::new(parse_message_type(&format!("message m {{ {column}; }}")).unwrap());
    let mut file = SerializedFileWriter::new(Vec::new(), schema, Arc::new(WriterProperties::default())).unwrap();
    let description = file.schema_descr().column(0);
    let mut group = file.next_row_group().unwrap();
    group.append_column(&chunk.bytes, chunk.close(description).unwrap()).unwrap();
    group.close().unwrap();
    let bytes: Bytes = file.into_inner().unwrap().into();
    let reader = ParquetRecordBatchReaderBuilder::try_new(bytes).unwrap().with_batch_size(1 << 20).build().unwrap();
    let batches: Vec<_> = reader.map(|batch| batch.unwrap()).collect();
    assert_eq!(batches.len(), 1);
    Arc::clone(batches[0].column(0))
}

fn spelling(compressed: bool) -> Spelling {
    let mut spelling = Spelling::default();
    spelling.begin(compressed).unwrap();
    spelling
}

/// Chance, the same each time.
struct Chance(u64);

impl Chance {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 32) % limit
    }
    fn bits(&mut self) -> i64 {
        (self.below(1 << 32) << 32 | self.below(1 << 32)).cast_signed()
    }
    /// Integers of some kind, of which so many in ten are missing.
    fn cells(&mut self, rows: usize, kind: u64, missing: u64) -> (Cells<i64>, Vec<Option<i64>>) {
        let mut run = 0;
        let plain: Vec<Option<i64>> = (0..rows as i64)
            .map(|i| {
                if self.below(20) == 0 {
                    run = self.below(3) as i64;
                }
                let value = match kind {
                    0 => 7,
                    1 => i * 60_000_000,
                    2 => self.below(100) as i64 - 50,
                    3 => self.bits(),
                    4 => [i64::MIN, i64::MAX, 0][self.below(3) as usize],
                    5 => run,
                    6 => i64::MAX - self.below(5) as i64,
                    _ => self.below(25) as i64 * 100_000,
                };
                (self.below(10) >= missing).then_some(value)
            })
            .collect();
        let mut cells = Cells::default();
        let half = rows / 2;
        if plain[..half].iter().all(Option::is_some) {
            cells.extend(plain[..half].iter().map(|value| value.unwrap()));
        } else {
            plain[..half].iter().for_each(|value| cells.push(*value));
        }
        plain[half..].iter().for_each(|value| cells.push(*value));
        assert_eq!(cells.rows(), rows);
        (cells, plain)
    }
}

fn each_case(mut check: impl FnMut(&mut Spelling, &Cells<i64>, &[Option<i64>], String)) {
    let mut chance = Chance(1);
    for compressed in [false, true] {
        let mut spelling = spelling(compressed);
        for rows in ROWS {
            for (kind, missing) in (0..8).flat_map(|kind| [0, 3, 10].map(|missing| (kind, missing))) {
                let (cells, plain) = chance.cells(rows, kind, missing);
                check(&mut spelling, &cells, &plain, format!("{rows} rows, kind {kind}, {missing} missing"));
            }
        }
    }
}

#[test]
fn integers_are_read_as_they_were() {
    each_case(|spelling, cells, plain, what| {
        let optional = spelling.integers(cells, true, false).unwrap();
        let found = read("optional int64 a", &optional);
        assert_eq!(found.as_primitive::<Int64Type>().iter().collect::<Vec<_>>(), plain, "{what}");
        if cells.present.is_empty() {
            let chunk = spelling.integers(cells, false, true).unwrap();
            let found = read("required int64 a", &chunk);
            assert_eq!(found.as_primitive::<Int64Type>().iter().collect::<Vec<_>>(), plain, "{what}");
            let Some(Statistics::Int64(said)) = &chunk.statistics else { panic!("it has statistics") };
            assert_eq!((said.min_opt(), said.max_opt()), (cells.values.iter().min(), cells.values.iter().max()));
        }
    });
}

#[test]
fn decimals_are_read_as_they_were() {
    let (mut in_dictionaries, mut plainly) = (0, 0);
    each_case(|spelling, cells, plain, what| {
        let column = "optional fixed_len_byte_array(16) a (decimal(38,2))";
        let chunk = spelling.decimals(cells).unwrap();
        *if chunk.data_page > 0 { &mut in_dictionaries } else { &mut plainly } += 1;
        let wanted: Vec<Option<i128>> = plain.iter().map(|value| value.map(i128::from)).collect();
        let found = read(column, &chunk);
        assert_eq!(found.as_primitive::<Decimal128Type>().iter().collect::<Vec<_>>(), wanted, "{what}");
        let wide: Vec<Option<i128>> = wanted.iter().map(|value| value.map(|value| value << 40)).collect();
        let mut cells = Cells::default();
        wide.iter().for_each(|value| cells.push(*value));
        let found = read(column, &spelling.wide_decimals(&cells).unwrap());
        assert_eq!(found.as_primitive::<Decimal128Type>().iter().collect::<Vec<_>>(), wide, "{what}, wide");
    });
    assert!(in_dictionaries > 100 && plainly > 100, "{in_dictionaries} in dictionaries, {plainly} not");
}

#[test]
fn texts_are_read_as_they_were() {
    let mut chance = Chance(2);
    for (distinct, missing) in [(1, 0), (2, 3), (5, 0), (256, 1), (257, 0), (3_000, 2)] {
        for (compressed, rows) in [false, true].into_iter().flat_map(|c| ROWS.map(|rows| (c, rows))) {
            let dictionary: Vec<String> = (0..distinct).map(|i| format!("täxt {i}")).collect();
            let mut cells = Cells::default();
            let mut run = 0;
            for _ in 0..rows {
                if chance.below(12) < 11 - distinct.min(10) || chance.below(3) == 0 {
                    run = chance.below(distinct) as u32;
                }
                cells.push((chance.below(10) >= missing).then_some(run));
            }
            let mut codes = cells.values.iter();
            let present = |row: usize| cells.present.is_empty() || cells.present[row];
            let wanted: Vec<Option<&str>> =
                (0..rows).map(|row| present(row).then(|| &*dictionary[*codes.next().unwrap() as usize])).collect();
            let mut spelling = spelling(compressed);
            let chunk = spelling.texts(&cells, dictionary.iter().map(String::as_str)).unwrap();
            let found = read("optional binary a (utf8)", &chunk);
            assert_eq!(found.as_string::<i32>().iter().collect::<Vec<_>>(), wanted, "{distinct} texts, {rows} rows");
        }
    }
}

#[test]
fn what_repeats_takes_few_bytes() {
    let mut spelling = spelling(true);
    let same = Cells { values: vec![1_780_272_000_000_000; 131_072], present: Vec::new() };
    assert!(spelling.integers(&same, false, true).unwrap().bytes.len() < 200);
    assert!(spelling.decimals(&same).unwrap().bytes.len() < 200);
    let mut chance = Chance(3);
    let cents = Cells { values: (0..131_072).map(|_| chance.below(1 << 14) as i64).collect(), present: Vec::new() };
    let chunk = spelling.decimals(&cents).unwrap();
    let bits = chunk.bytes.len() * 8 / cents.values.len();
    assert!(bits < 17, "14 bits a value and a dictionary take {bits}");
}
