//! Single metrics while events come in and one generation after another is published.
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use seam_generator::{REGIONS, TYPES};
use seam_shared::lake::views::ViewFile;
use seam_shared::log::{Offset, Partition};
use seam_shared::state::StateStore;
use seam_shared::time::Span;
use seam_shared::view::groups::Groups;
use seam_shared::view::rows::Rows;
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

use crate::client::{Connection, Failure, TIME, percentiles};
use crate::history::{self, World};

/// How long it goes on, at least.
const LONG: Duration = Duration::from_secs(30);
/// From one generation to the next.
const PERIOD: Duration = Duration::from_secs(6);
/// Events that come in at a time, and how often they do.
const EVENTS: u64 = 500;
const PAUSE: Duration = Duration::from_millis(50);

/// Asks single metrics, first in peace and then while generations are published.
pub fn run(runtime: &Runtime, world: World, address: SocketAddr) -> Result<(), Failure> {
    println!("single metrics while events come in and generations are published");
    let serving = world.serving.clone();
    ask("in peace", address, || true, TIME)?;
    let cancel = CancellationToken::new();
    let (stop, published) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let background = {
        let (cancel, stop, published) = (cancel.clone(), stop.clone(), published.clone());
        let batch = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        std::thread::Builder::new().name("batch".to_owned()).spawn(move || {
            let failed = batch.block_on(publish(world, &stop, &published)).err().map(|error| error.to_string());
            cancel.cancel();
            failed
        })?
    };
    let refresh = {
        let refresher = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let cancel = cancel.clone();
        std::thread::spawn(move || refresher.block_on(serving.run(cancel)))
    };
    let _entered = runtime.enter();
    let goes_on = || published.load(Ordering::Relaxed) < 3 && !cancel.is_cancelled();
    ask("while generations are published", address, || !goes_on(), LONG)?;
    stop.store(true, Ordering::Relaxed);
    if let Some(error) = background.join().map_err(|_| "the publisher panicked")? {
        return Err(error.into());
    }
    refresh.join().map_err(|_| "the refresher panicked")?;
    println!("  {} generations were published", published.load(Ordering::Relaxed));
    Ok(())
}

/// Asks over four connections, at least so long and until `enough`.
fn ask(name: &str, address: SocketAddr, enough: impl Fn() -> bool, long: Duration) -> Result<(), Failure> {
    let mut connections = (0..4).map(|_| Connection::open(address)).collect::<Result<Vec<_>, _>>()?;
    let (begun, mut taken, mut failed) = (Instant::now(), Vec::new(), 0);
    while begun.elapsed() < long || !enough() {
        let asked = Instant::now();
        for connection in &mut connections {
            connection.send(&super::single(taken.len() * 7 + 1)[0], None)?;
        }
        for connection in &mut connections {
            failed += u64::from(connection.receive()?.status != 200);
        }
        taken.push(asked.elapsed());
        std::thread::sleep(Duration::from_millis(1));
    }
    let (queries, worst) = (taken.len() * 4, taken.iter().max().copied().unwrap_or_default());
    let (half, most) = percentiles(&mut taken);
    println!(
        "  {name:36} p50 {half:7.3} ms   p99 {most:7.3} ms   longest {:.3} ms, {queries} queries, {failed} failed",
        worst.as_secs_f64() * 1e3
    );
    Ok(())
}

/// Some events of the last minutes, some of them late.
fn events(world: &World, n: u64) -> Rows {
    let mut groups = Groups::new(world.view.dimensions.len(), &world.view.kinds());
    for i in n * EVENTS..(n + 1) * EVENTS {
        let minutes = if i % 50 == 0 { 1 + (i / 50 % 59) as i64 } else { 0 };
        let pane = history::now().minus(Span(minutes * Span::MINUTE.0));
        let random = i.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 20;
        let product = format!("p{:04}", random % 1_000);
        let key = [TYPES[(random / 1_000 % 5) as usize], REGIONS[(random / 5_000 % 20) as usize], &product];
        history::lift(&mut groups, pane, key, 1 + (random % 20_000) as u32);
    }
    groups.into_rows()
}

/// Folds events into the speed layer, and every so often closes its segment and publishes a generation that has it.
async fn publish(mut world: World, stop: &AtomicBool, published: &AtomicU64) -> Result<(), Failure> {
    let partition = Partition::new("shop", 0);
    let today = history::now().minus(Span::DAY);
    let first = world.table.latest().await?.ok_or("no generation")?;
    let (earlier, own): (Vec<ViewFile>, Vec<ViewFile>) =
        first.files.into_iter().partition(|file| file.slice_start < today);
    let mut kept: BTreeMap<_, _> = own.into_iter().map(|file| (file.slice_end, file)).collect();
    let held = world.state.snapshot(&partition, std::slice::from_ref(&world.view.id)).await?;
    let held = held.into_iter().flatten().next().ok_or("no state")?;
    let (mut start, mut position) = (held.progress.segment.start.0, held.progress.position.0);
    let mut open = Groups::like(&held.open);
    open.merge(&held.open);
    drop(held);
    let (mut number, mut due, mut round) = (first.number, Instant::now() + PERIOD, 0);
    while !stop.load(Ordering::Relaxed) {
        let rows = events(&world, round);
        round += 1;
        open.merge(&rows);
        let (from, to) = (position, position + EVENTS);
        // A commit has the rows that changed, whole.
        let changed = changed(&mut open, &rows);
        history::commit((&world.state, &world.view), start, (from, to), changed, false).await?;
        position = to;
        if Instant::now() < due {
            tokio::time::sleep(PAUSE).await;
            continue;
        }
        let closed = open.rows().clone();
        history::commit((&world.state, &world.view), start, (position, position + 1), closed.clone(), true).await?;
        position += 1;
        (start, open) = (position, Groups::like(&closed));
        let mut by_hour: BTreeMap<_, Vec<u32>> = BTreeMap::new();
        for (pane, i) in closed.panes.iter().zip(0..) {
            by_hour.entry(pane.ceil(Span::HOUR)).or_default().push(i);
        }
        for (end, rows) in by_hour {
            kept.remove(&end);
            world.hours.entry(end).or_insert_with(|| Groups::like(&closed)).merge(&closed.gather(&rows));
        }
        let files = history::put_day(&world.table, today, &world.hours, &kept).await?;
        kept = files.iter().map(|file| (file.slice_end, file.clone())).collect();
        let all = earlier.iter().cloned().chain(files).collect();
        number = history::publish(&world.table, Some(number), start, all).await?;
        published.fetch_add(1, Ordering::Relaxed);
        // Speed forgets after a grace time, here a second.
        tokio::time::sleep(Duration::from_secs(1)).await;
        world.state.trim(&partition, &world.view.id, Offset(start)).await?;
        due = Instant::now() + PERIOD;
    }
    Ok(())
}

/// The rows of `all` that have a pane and key of `rows`.
fn changed(all: &mut Groups, rows: &Rows) -> Rows {
    let picks: Vec<u32> = (0..rows.len())
        .map(|i| {
            let codes: Vec<u32> = (0..rows.dimensions.len()).map(|d| all.intern(d, rows.value(d, i))).collect();
            all.row(rows.panes[i], &codes) as u32
        })
        .collect();
    all.rows().gather(&picks)
}
