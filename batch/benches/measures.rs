//! Figures: what each measure costs in the batch plan, and what a view keyed by a million users takes to recompute and to look up.
//!
//! `cargo bench -p seam-batch --bench measures -- [keyed | costs]` archives seeded shop events once (`SEAM_BENCH_EVENTS`, 4,000,000 by
//! default), then runs each recompute in a process of its own: nanoseconds of processor time an event, beside those of a count by the
//! same panes and dimensions; and of the keyed view the peak memory, the size of its files, and the time and bytes of look-ups.
use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Instant;

use mimalloc::MiMalloc;
use object_store::ObjectStore;
use object_store::local::LocalFileSystem;
use seam_batch::job::{Archive, Context, Options, run};
use seam_batch::{compute, retain};
use seam_generator::{Generator, meter};
use seam_shared::Result;
use seam_shared::clock::{Clock, SystemClock};
use seam_shared::config;
use seam_shared::event::decode::Decoder;
use seam_shared::lake::archive::{ArchiveTable, NewFile};
use seam_shared::lake::archive_file;
use seam_shared::lake::counting::CountingStore;
use seam_shared::lake::view_file::by_key::{KeyedFile, Wanted};
use seam_shared::lake::views::ViewTable;
use seam_shared::log::{Chunk, Offset};
use seam_shared::time::{Span, Timestamp};
use seam_shared::view::definition::View;
use seam_shared::view::value::Value;

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc; // as in the program

const FILE_EVENTS: u64 = 262_144;
const LOOK_UPS: usize = 2_000;
const USERS: u64 = 1_000_000;
/// Each is measured in a view of its own, beside a count.
const MEASURES: [(&str, &str); 15] = [
    ("count", "count()"),
    ("count with a condition", "count() where type = \"click\""),
    ("stats of a decimal", "stats(value)"),
    ("stats of a float", "stats(amount)"),
    ("variance of a decimal", "variance(value)"),
    ("variance of a float", "variance(amount)"),
    ("distinct of texts", "distinct(page)"),
    ("distinct of integers", "distinct(user)"),
    ("quantiles of a decimal", "quantiles(value)"),
    ("quantiles of a float", "quantiles(amount)"),
    ("first", "first(value)"),
    ("last", "last(value)"),
    ("histogram", "histogram(value, [1, 10, 50])"),
    ("sessions", "sessions(user, 30m)"),
    ("sum of a decimal", "sum(value)"),
];

/// What a process that ran one stage took.
#[derive(Clone, Copy)]
struct Took {
    rows: u64,
    wall: f64,
    cpu: f64,
    megabytes: f64,
}

fn views() -> Vec<Arc<View>> {
    let mut text = "version: 1\nname: bench\nsources:\n  clicks:\n    map: { id: $.event_id, time: $.ts, type: $.event_type }\n    \
                    dedupe: off\n    fields: { region: string, page: string, user: { type: int, path: $.user_id }, value: decimal(2), amount: { type: float, path: $.value } }\nviews:\n"
        .to_owned();
    for (i, (_, measure)) in MEASURES.iter().enumerate() {
        let measure = measure.replace('"', "\\\"");
        text += &format!(
            "  m{i}: {{ from: clicks, dimensions: [type, region], pane: 1m, windows: [1h], measures: {{ n: count(), x: \"{measure}\" }} }}\n"
        );
    }
    text += "  users: { from: clicks, dimensions: [user], keyed: true, pane: 1h, windows: [1h], \
             measures: { n: count(), x: stats(value), latest: last(value) } }\n";
    config::load(&text, "bench.yaml").unwrap_or_else(|report| panic!("{report}")).views
}

/// Archives the events of a day in the files of an archiver.
async fn generate(table: &ArchiveTable, view: &View, events: u64) -> Result<u64> {
    let mut generator = Generator::new(7, events);
    let mut line = Vec::new();
    for from in (0..events).step_by(FILE_EVENTS as usize) {
        let to = (from + FILE_EVENTS).min(events);
        let mut chunk = Chunk::at(Offset(from));
        for (i, mut event) in (from..to).zip(&mut generator) {
            event.user = (i * 7_919 % USERS) as usize; // each as often as any other
            let since = i128::from(i) * i128::from(Span::DAY.0) / i128::from(events);
            line.clear();
            event.write_json(&mut line);
            chunk.push(Offset(i), Timestamp(seam_generator::START * 1000 + since as i64), line.trim_ascii_end());
        }
        let batch = Decoder::new(Arc::clone(&view.source)).decode(&chunk);
        let content = archive_file::write(&view.source, 0, &[(batch, chunk)], Offset(from)..Offset(to))?;
        let boundaries = (from..to).step_by(65_536).map(Offset).collect();
        let (from, to) = (Offset(from), Offset(to));
        table.commit_file(NewFile { partition: 0, from, to, boundaries, content, anchor: None }).await?;
    }
    Ok(events)
}

/// Runs a stage in this process and tells what it took.
async fn stage(name: &str, folder: &Path, events: u64) -> Result<()> {
    std::fs::create_dir_all(folder).expect("the cache folder can be made");
    let store: Arc<dyn ObjectStore> = Arc::new(LocalFileSystem::new_with_prefix(folder)?);
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let views = views();
    let source = &views[0].source;
    let table = Arc::new(ArchiveTable::open(Arc::clone(&store), source, "log-1", Arc::clone(&clock)).await?);
    let started = Instant::now();
    let rows = match views.into_iter().find(|view| view.name == name) {
        None if name == "look-ups" => return look_ups(store, clock).await,
        None => generate(&table, &self::views()[0], events).await?,
        Some(view) => {
            let archive = Archive { table, incarnation: "log-1".to_owned() };
            let context = Context {
                store,
                clock,
                archives: BTreeMap::from([("clicks".to_owned(), archive)]),
                views: vec![view],
                state: None,
                compute: compute::Settings::default(),
                retain: retain::Settings::default(),
                runs: Arc::default(),
            };
            let outcomes = run(&context, &Options { full: true, ..Options::default() }).await?;
            assert_eq!(outcomes[0].rows, events, "every event is counted");
            outcomes[0].groups
        }
    };
    let wall = started.elapsed().as_secs_f64();
    let peak = meter::peak_bytes() as f64 / f64::from(1 << 20);
    println!("{rows} {wall} {} {peak}", meter::processor_seconds());
    Ok(())
}

/// Looks up users in the generation, all its files each, with the footers at hand.
async fn look_ups(store: Arc<dyn ObjectStore>, clock: Arc<dyn Clock>) -> Result<()> {
    let view = views().into_iter().find(|view| view.keyed).expect("one is keyed");
    let store = Arc::new(CountingStore::new(store));
    let table = ViewTable::new(store.clone(), view.clone(), clock);
    let generation = table.latest().await?.expect("it was published");
    let (bytes, rows) = generation.files.iter().fold((0, 0), |(b, r), file| (b + file.bytes, r + file.rows));
    store.take();
    let mut files = Vec::new();
    for file in &generation.files {
        files.push(KeyedFile::open(store.as_ref(), &view, file).await?);
    }
    let footers = store.take();
    let memory: usize = files.iter().map(KeyedFile::memory).sum();
    println!(
        "  {} files, {rows} rows, {:.1} MB; their footers {:.2} MB read, {:.2} MB held",
        files.len(),
        bytes as f64 / 1e6,
        footers.bytes as f64 / 1e6,
        memory as f64 / 1e6
    );
    let (mut taken, mut found) = (Vec::new(), 0);
    let all = (Timestamp(i64::MIN), Timestamp(i64::MAX));
    for i in 0..LOOK_UPS {
        let keys = vec![(0, vec![Value::Int((i * 104_729) as i64 % USERS as i64)])];
        let begun = Instant::now();
        for file in &files {
            found += file.read(store.as_ref(), &view, Wanted { keys: &keys, range: all }, 10_000).await?.len();
        }
        taken.push(begun.elapsed());
    }
    let read = store.take();
    taken.sort_unstable();
    let at = |part: usize| taken[taken.len() * part / 100].as_secs_f64() * 1e3;
    let each = read.bytes as f64 / LOOK_UPS as f64;
    println!(
        "  look-ups: p50 {:.2} ms, p99 {:.2} ms, {:.0} KB in {:.1} requests each ({:.2} % of the bytes), {:.1} rows found each",
        at(50),
        at(99),
        each / 1e3,
        read.reads as f64 / LOOK_UPS as f64,
        each / bytes as f64 * 100.0,
        found as f64 / LOOK_UPS as f64
    );
    Ok(())
}

/// What a process says of itself in its last line; the lines before are passed on.
fn took(command: &mut Command) -> Option<Took> {
    let output = command.stderr(Stdio::inherit()).output().expect("the stage begins");
    assert!(output.status.success(), "{:?}", command.get_args().collect::<Vec<_>>());
    let text = String::from_utf8(output.stdout).expect("text");
    let mut lines: Vec<&str> = text.lines().collect();
    let numbers: Vec<f64> = lines.last()?.split(' ').map_while(|number| number.parse().ok()).collect();
    let took = match numbers[..] {
        [rows, wall, cpu, megabytes] => {
            lines.pop();
            Some(Took { rows: rows as u64, wall, cpu, megabytes })
        }
        _ => None,
    };
    lines.iter().for_each(|line| println!("{line}"));
    took
}

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().collect();
    if let [_, flag, name, folder, events] = arguments.as_slice()
        && flag == "--stage"
    {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime can be made");
        return runtime.block_on(stage(name, Path::new(folder), events.parse().expect("a number of events")));
    }
    let events = std::env::var("SEAM_BENCH_EVENTS").map_or(4_000_000, |text| text.parse().expect("a number"));
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("measures-{events}"));
    let wanted = |part: &str| {
        !["keyed", "costs"].iter().any(|p| arguments.iter().any(|a| a == p)) || arguments.iter().any(|a| a == part)
    };
    let child = |name: &str| {
        let mut command = Command::new(std::env::current_exe().expect("a bench has a path"));
        took(command.args(["--stage", name]).arg(&folder).arg(events.to_string()))
    };
    if !folder.join("complete").exists() {
        let _ = std::fs::remove_dir_all(&folder);
        child("generate");
        std::fs::write(folder.join("complete"), "").expect("the cache folder can be written");
    }
    let recompute = |name: &str| {
        let _ = std::fs::remove_dir_all(folder.join("views"));
        child(name).expect("a stage tells what it took")
    };
    if wanted("costs") {
        println!("{events} events by minute, type and region: nanoseconds of processor time an event");
        let least = |i: usize| (0..3).map(|_| recompute(&format!("m{i}")).cpu).fold(f64::INFINITY, f64::min);
        let each = |cpu: f64| cpu * 1e9 / events as f64;
        let count = each(least(0));
        println!("  {:24} {count:6.0}", "count alone");
        for (i, (name, _)) in MEASURES.iter().enumerate().skip(1) {
            println!("  {name:24} {:+6.0}", each(least(i)) - count);
        }
    }
    if wanted("keyed") {
        println!("{events} events of a million users by hour, keyed");
        let Took { rows, wall, cpu, megabytes } = recompute("users");
        println!("  recompute: {wall:.2} s wall, {cpu:.2} s cpu, {megabytes:.0} MB at its peak, {rows} rows");
        child("look-ups");
    }
    Ok(())
}
