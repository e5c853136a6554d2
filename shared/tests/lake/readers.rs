//! Other engines read the tables: Python's deltalake and Polars, at every version, also after files were replaced.
use std::collections::BTreeSet;
use std::process::Command;
use std::sync::Arc;

use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use seam_shared::clock::{Clock, ManualClock};
use seam_shared::event::batch::{Column, Verdict};
use seam_shared::lake::archive::{ArchiveTable, NewFile};
use seam_shared::lake::archive_file;
use seam_shared::lake::views::{Generation, Publication, ViewFile, ViewTable};
use seam_shared::log::{Offset, OffsetVector};
use seam_shared::time::Timestamp;
use seam_shared::view::definition::{Field, Origin, View};
use seam_shared::view::rows::{Rows, States};
use seam_shared::view::value::{FieldType, Value};
use serde_json::{Value as Json, json};

use crate::samples::{events, rows, source, view};

const START: u64 = 1_000;

fn names<'a>(paths: impl Iterator<Item = &'a Path>) -> Vec<&'a str> {
    paths.filter_map(|path| path.filename()).collect()
}

fn spelled<'a>(values: impl Iterator<Item = &'a Value>) -> BTreeSet<String> {
    values.map(|value| if let Value::Str(text) = value { format!("={text}") } else { "null".into() }).collect()
}

/// Archives three files and says what each version holds.
async fn archive(store: &Arc<dyn ObjectStore>, clock: &Arc<dyn Clock>) -> Vec<Json> {
    let mut source = source();
    let mut table = ArchiveTable::open(Arc::clone(store), &source, "first", Arc::clone(clock)).await.unwrap();
    let mut parts = [events(1, START, 1_200)];
    let mut versions = Vec::new();
    for step in 0..4 {
        if step == 3 {
            // a field is new: the files before have no column for it
            let field = Field::new("coupon", vec!["coupon".into()], FieldType::String);
            source.fields.push(Field { origin: Origin::Optional, ..field });
            table = ArchiveTable::open(Arc::clone(store), &source, "first", Arc::clone(clock)).await.unwrap();
            let batch = &mut parts[0].0;
            batch.columns.push(Column::Str(vec![0; batch.offsets.len()]));
            batch.dictionaries.push(Arc::new(vec![Value::Null]));
        }
        let (from, to) = (Offset(START + step * 300), Offset(START + step * 300 + 300));
        let content = archive_file::write(&source, 0, &parts, from..to).unwrap();
        let file = NewFile { partition: 0, from, to, boundaries: vec![from], content, anchor: None };
        let now = table.commit_file(file).await.unwrap();
        let batch = &parts[0].0;
        let until = (to.0 - START) as usize;
        let valid: Vec<usize> = (0..until).filter(|&i| batch.verdicts[i] != Verdict::Invalid).collect();
        let Column::Str(codes) = &batch.columns[0] else { panic!() };
        let texts = valid.iter().map(|&i| &batch.dictionaries[0][codes[i] as usize]).chain([&Value::Null]);
        let times: Vec<i64> = valid.iter().map(|&i| batch.times[i].0).collect();
        versions.push(json!({
            "table": "archive/clicks",
            "version": now.version,
            "files": names(now.files.iter().map(|f| &f.path)),
            "positions": {"clicks/0": to.0},
            "rows": until,
            "totals": {"seam_offset": (START..to.0).sum::<u64>().to_string()},
            "ranges": {"seam_time": [times.iter().min(), times.iter().max()]},
            "texts": {"column": "country", "values": spelled(texts)},
        }));
    }
    versions
}

/// The rows of four files.
fn all_rows() -> Vec<Rows> {
    (0..4).map(|seed| rows(seed, 200, 1)).collect()
}

async fn put(table: &ViewTable, all: &[Rows]) -> Vec<ViewFile> {
    let mut files = Vec::new();
    for rows in all {
        let (first, last) = (rows.panes[0].0, rows.panes[rows.len() - 1]);
        files.push(table.put(rows, Timestamp(first - 60_000_000), last).await.unwrap());
    }
    files
}

/// The generation `number` of some of the files.
fn publication(number: u64, files: &[ViewFile], picks: &[usize]) -> Publication {
    Publication {
        parent: (number > 1).then_some(number - 1),
        cut: OffsetVector([(0, Offset(number * 10))].into_iter().collect()),
        incarnation: "first".into(),
        files: picks.iter().map(|&i: &usize| files[i].clone()).collect(),
        info: Default::default(),
    }
}

/// What a generation holds of those rows.
fn holds(name: &str, generation: &Generation, picked: &[&Rows]) -> Json {
    let panes: Vec<i64> = picked.iter().flat_map(|r| r.panes.iter().map(|p| p.0)).collect();
    let used = picked.iter().flat_map(|r| (0..r.len()).map(|i| r.value(0, i)));
    let (mut sum, mut number_of) = (0i128, 0u64);
    for rows in picked {
        let (States::Fixed(prices), States::Float(delays)) = (&rows.states[2], &rows.states[3]) else { panic!() };
        sum += prices.iter().map(|s| s.sum).sum::<i128>();
        number_of += delays.iter().map(|s| s.nan).sum::<u64>();
    }
    json!({
        "table": format!("views/{name}"),
        "version": generation.number,
        "files": names(generation.files.iter().map(|f| &f.path)),
        "positions": {"clicks/0": generation.number * 10},
        "rows": picked.iter().map(|r| r.len()).sum::<usize>(),
        "totals": {
            "s2_sum": seam_shared::view::value::decimal_text(sum, 2),
            "s3_nan": number_of.to_string(),
        },
        "ranges": {"pane_end": [panes.iter().min(), panes.iter().max()]},
        "texts": {"column": "country", "values": spelled(used)},
    })
}

/// Publishes three generations, the last with replaced files, and says what each holds.
async fn generations(store: &Arc<dyn ObjectStore>, clock: &Arc<dyn Clock>) -> Vec<Json> {
    let table = ViewTable::new(Arc::clone(store), Arc::new(view()), Arc::clone(clock));
    let all = all_rows();
    let files = put(&table, &all).await;
    let mut versions = Vec::new();
    for (number, picks) in [(1, vec![0, 1]), (2, vec![0, 1, 2]), (3, vec![2, 3])] {
        let generation = table.publish(publication(number, &files, &picks)).await.unwrap();
        let picked: Vec<&Rows> = picks.iter().map(|&i| &all[i]).collect();
        versions.push(holds("sales@0123abcd", &generation, &picked));
    }
    // and back again
    let back = table.roll_back(Some(1), Default::default()).await.unwrap();
    let mut first = versions[0].clone();
    first["version"] = json!(back.number);
    versions.push(first);
    versions
}

/// Publishes so many generations that most of them can be read through checkpoints alone: the commits before are gone.
async fn checkpoints(store: &Arc<dyn ObjectStore>, clock: &Arc<dyn Clock>) -> Vec<Json> {
    let name = "many@0123abcd";
    let view = Arc::new(View { id: name.into(), ..view() });
    let table = ViewTable::new(Arc::clone(store), view, Arc::clone(clock));
    let all = all_rows();
    let files = put(&table, &all).await;
    let mut versions = Vec::new();
    for number in 1..=230 {
        let picks = [number as usize % 4, (number as usize + 1) % 4];
        let generation = table.publish(publication(number, &files, &picks)).await.unwrap();
        if [100, 101, 199, 200, 230].contains(&number) {
            let picked: Vec<&Rows> = picks.iter().map(|&i| &all[i]).collect();
            versions.push(holds(name, &generation, &picked));
        }
    }
    for version in 0..100 {
        let path = format!("views/{name}/_delta_log/{version:020}.json");
        store.delete(&Path::from(path)).await.unwrap();
    }
    versions
}

#[tokio::test]
async fn python_reads_every_version() {
    let clock: Arc<dyn Clock> = Arc::new(ManualClock::at(Timestamp(1_760_000_000_000_000)));
    let directory = std::env::temp_dir().join(format!("seam-delta-readers-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let store: Arc<dyn ObjectStore> = Arc::new(LocalFileSystem::new_with_prefix(&directory).unwrap());
    let mut versions = archive(&store, &clock).await;
    versions.extend(generations(&store, &clock).await);
    versions.extend(checkpoints(&store, &clock).await);
    std::fs::write(directory.join("expected.json"), Json::from(versions).to_string()).unwrap();

    let python = std::env::var("SEAM_PYTHON").unwrap_or_else(|_| "python3".into());
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../infra/checks/delta_readers.py");
    let ran = Command::new(&python).arg(script).arg(&directory).output();
    std::fs::remove_dir_all(&directory).unwrap();
    let (code, said) = match &ran {
        Ok(ran) => (ran.status.code(), [&ran.stdout[..], &ran.stderr[..]].concat()),
        Err(error) => (Some(3), format!("{python} does not run: {error}").into_bytes()),
    };
    let said = String::from_utf8_lossy(&said).into_owned();
    if code == Some(3) && std::env::var_os("CI").is_none() {
        eprintln!("SKIPPED: NO OTHER ENGINE HAS READ THE TABLES: {said}");
        return;
    }
    assert_eq!(code, Some(0), "{said}");
    println!("{said}");
}
