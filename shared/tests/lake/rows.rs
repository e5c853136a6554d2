//! Files: what is written is what is read, and the same rows are the same bytes.
use seam_shared::lake::{archive_file, view_file};
use seam_shared::log::Offset;
use seam_shared::time::{Span, Timestamp};

use crate::samples::{events, rows, source, told, view};

#[test]
fn rows_of_every_type_come_back() {
    let view = view();
    for count in [0, 1, 2, 1_000, 140_000] {
        let written = rows(7, count, 1);
        let read = view_file::read(&view, &view_file::write(&view, &written).unwrap().bytes).unwrap();
        assert_eq!(told(&read), told(&written), "{count} rows");
    }
}

#[test]
fn equal_rows_give_equal_bytes_however_their_dictionaries_are_ordered() {
    let view = view();
    for seed in 0..20 {
        let one = view_file::write(&view, &rows(seed, 3_000, 1)).unwrap();
        let other = view_file::write(&view, &rows(seed, 3_000, seed + 2)).unwrap();
        assert_eq!(one, other, "seed {seed}");
        assert_ne!(one, view_file::write(&view, &rows(seed + 100, 3_000, 1)).unwrap());
    }
}

#[test]
fn a_range_of_panes_reads_only_its_rows() {
    let view = view();
    let written = rows(9, 300_000, 1);
    let bytes = view_file::write(&view, &written).unwrap().bytes;
    for (after, until) in [(0, 0), (-100, -90), (500, 30_000), (18_700, 18_800), (40_000, 50_000)] {
        let (after, until) = (Timestamp(after * Span::MINUTE.0), Timestamp(until * Span::MINUTE.0));
        let read = view_file::read_between(&view, &bytes, after, until).unwrap();
        let mut expected = told(&written);
        expected.retain(|row| row.0 > after && row.0 <= until);
        assert!(told(&read) == expected, "{after} to {until}: {} of {}", read.len(), expected.len());
    }
}

#[test]
fn equal_events_give_equal_archive_bytes_however_they_were_chunked() {
    let source = source();
    let whole = [events(3, 100, 2_000)];
    let file = archive_file::write(&source, 1, &whole, Offset(100)..Offset(1_100)).unwrap();
    assert_eq!(file.rows, 1_000);
    assert!(file.days.values().sum::<u64>() < 1_000 && file.days.len() >= 3);
    let again = archive_file::write(&source, 1, &whole, Offset(100)..Offset(1_100)).unwrap();
    assert_eq!(file.bytes, again.bytes);
    let first = archive_file::write(&source, 1, &whole, Offset(100)..Offset(600)).unwrap();
    let second = archive_file::write(&source, 1, &whole, Offset(600)..Offset(1_100)).unwrap();
    assert_eq!(first.rows + second.rows, 1_000);
    let ids = archive_file::read_ids(&file.bytes).unwrap();
    let (batch, _) = &whole[0];
    assert_eq!(ids.offsets, batch.offsets[..1_000]);
    assert_eq!(ids.log_times, batch.log_times[..1_000]);
    assert_eq!(ids.verdicts, batch.verdicts[..1_000]);
    assert!((0..1_000).all(|i| ids.ids.get(i) == batch.ids.get(i)));
}
