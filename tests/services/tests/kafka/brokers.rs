//! Three brokers: a leader that is killed under load, and a leader that was elected without the last records. `SEAM_BROKER_KILLS` kills
//! more of them.
mod fold;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rdkafka::admin::{AdminOptions, NewTopic, TopicReplication};
use seam_services::KafkaCluster;
use seam_shared::error::Kind;
use seam_shared::log::kafka::KafkaLog;
use seam_shared::log::{EventLog, NewRecord, Offset, Partition};
use seam_shared::state::memory::MemoryState;
use seam_speed::worker::{Step, Worker};

use crate::faults::{all_there_once, append, follow};
use crate::world::{self, PATIENCE, read_all};
use fold::Definitions;

/// Elections take a while on a busy machine.
const LONG: Duration = Duration::from_secs(90);

/// One cluster for both, as three brokers take a while to start; the second leaves it without its last records.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leaders_die_and_what_that_costs_is_never_a_wrong_number() {
    let Some(cluster) = KafkaCluster::start(&[]) else { return };
    leaders_are_killed_under_load(&cluster).await;
    a_leader_without_the_last_records_is_found_out(&cluster).await;
}

/// Producers, readers and workers go on; what was acknowledged is there, once, and was folded.
async fn leaders_are_killed_under_load(cluster: &KafkaCluster) {
    let log: Arc<dyn EventLog> = Arc::new(world::log(&cluster.bootstrap()));
    log.open("load", 2).await.expect("open");
    let [done, settled] = [(); 2].map(|()| Arc::new(AtomicBool::new(false)));
    let appenders: Vec<_> = (0..3).map(|task| tokio::spawn(append(log.clone(), task, done.clone()))).collect();
    let readers: Vec<_> = (0..2).map(|number| tokio::spawn(follow(log.clone(), number, settled.clone()))).collect();
    let definitions = Definitions::new("load", 2);
    let state = Arc::new(MemoryState::default());
    let fold = |number| {
        let places = definitions.places(Arc::new(world::log(&cluster.bootstrap())), state.clone());
        tokio::spawn(work(definitions.worker(places, number), settled.clone()))
    };
    let workers: Vec<_> = (0..2).map(fold).collect();
    let kills = std::env::var("SEAM_BROKER_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(1);
    for number in (0..kills).map(|kill| kill % 2) {
        tokio::time::sleep(Duration::from_millis(1_000)).await;
        let (leader, _) = leader_and_in_sync(cluster, "load", number).await;
        let node = &cluster.nodes[leader.expect("there is a leader") as usize - 1];
        let killed = Instant::now();
        node.process.kill();
        let led_by_another = async || {
            let (now, _) = leader_and_in_sync(cluster, "load", number).await;
            now.is_some_and(|now| now > 0) && now != leader
        };
        wait_for("another leader", led_by_another).await;
        println!("broker {leader:?} killed; another leads load/{number} after {:?}", killed.elapsed());
        tokio::time::sleep(Duration::from_millis(500)).await;
        tokio::task::block_in_place(|| node.process.restart());
        let whole = async || {
            let in_sync = async |number| leader_and_in_sync(cluster, "load", number).await.1;
            in_sync(0).await + in_sync(1).await == 6
        };
        wait_for("three copies in sync", whole).await;
    }
    done.store(true, Ordering::Relaxed);
    let stored = all_there_once(appenders, readers, &settled).await;
    let mut folded = 0;
    for (number, worker) in (0..2).zip(workers) {
        let errors = worker.await.expect("worker");
        let partition = Partition::new("load", number);
        let (all, end) = read_all(&world::log(&cluster.bootstrap()), &partition, Offset(0)).await;
        assert_eq!(all.len(), stored.values().filter(|(n, _)| *n == number).count());
        let position = definitions.check(state.as_ref(), &all, number).await;
        assert_eq!(position, end, "the worker reached the end; its errors: {errors:?}");
        folded += all.len();
    }
    println!("{} stored, {folded} folded, over {kills} kills", stored.len());
}

/// A replica that missed acknowledged records becomes the leader, and gives their offsets to other records. A worker that runs, a reader
/// whose consumer was closed meanwhile, and a worker that starts again say so; what was folded stays as it was.
async fn a_leader_without_the_last_records_is_found_out(cluster: &KafkaCluster) {
    let (bootstrap, partition) = (cluster.bootstrap(), Partition::new("unclean", 0));
    let topic = NewTopic::new("unclean", 1, TopicReplication::Variable(&[&[1, 2]]));
    let topic = topic.set("min.insync.replicas", "1").set("unclean.leader.election.enable", "true");
    let options = AdminOptions::new().operation_timeout(Some(PATIENCE));
    let made = world::admin(&bootstrap).create_topics([&topic], &options).await.expect("create");
    made[0].as_ref().expect("the topic is made");
    let write = async |count: usize, page: &str| write(&world::log(&bootstrap), count, page).await;
    write(100, "both").await;
    cluster.nodes[1].process.kill();
    let alone = async || leader_and_in_sync(cluster, "unclean", 0).await == (Some(1), 1);
    wait_for("the other copy is left behind", alone).await;
    let (lost, end) = write(50, "lost").await;

    let definitions = Definitions::new("unclean", 1);
    let state = Arc::new(MemoryState::default());
    let running: Arc<KafkaLog> = Arc::new(world::log(&bootstrap));
    let mut worker = definitions.worker(definitions.places(running, state.clone()), 0);
    while definitions.position(state.as_ref(), 0).await != Some(end) {
        if let Err(error) = worker.step().await {
            assert_eq!(error.kind(), Kind::Unavailable, "nothing is wrong yet: {error}");
        }
    }
    let (before, _) = read_all(&world::log(&bootstrap), &partition, Offset(0)).await;
    let other = world::log(&bootstrap);
    assert_eq!(read_all(&other, &partition, Offset(0)).await.1, end);
    // Readers elsewhere: the one at the end is closed.
    for from in [0, 10, 20, 30] {
        other.read(&partition, Offset(from), 3, 1 << 20).await.expect("read");
    }

    cluster.nodes[0].process.kill();
    tokio::task::block_in_place(|| cluster.nodes[1].process.restart());
    let elected = async || leader_and_in_sync(cluster, "unclean", 0).await.0 == Some(2);
    wait_for("the copy that was left behind leads", elected).await;
    let (first, new_end) = write(80, "new").await;
    assert!(
        first <= lost && new_end > end,
        "the lost records' offsets are those of others: {first}, {lost}, {new_end}, {end}"
    );

    let found = until_error(&mut worker).await;
    assert!(found.contains("truncated or rewritten"), "{found}");
    println!("the worker that runs: {found}");
    let begun = Instant::now();
    let error = loop {
        let read = other.read(&partition, end, 10, 1 << 20).await;
        match read.expect_err("the end follows on what is lost") {
            error if error.kind() == Kind::Unavailable && begun.elapsed() < LONG => {}
            error => break error,
        }
    };
    assert_eq!(error.kind(), Kind::Corrupt, "{error}");
    println!("the reader that was closed: {error}");
    let mut again = definitions.worker(definitions.places(Arc::new(world::log(&bootstrap)), state.clone()), 0);
    let found = until_error(&mut again).await;
    assert!(found.contains("truncated or rewritten"), "{found}");
    println!("the worker that starts again: {found}");
    assert_eq!(definitions.check(state.as_ref(), &before, 0).await, end, "it folded nothing of what follows");
    tokio::task::block_in_place(|| cluster.nodes[0].process.restart());
}

/// Appends events of a page until they are acknowledged; the first one's offset and the position behind the last.
async fn write(log: &KafkaLog, count: usize, page: &str) -> (Offset, Offset) {
    let begun = Instant::now();
    loop {
        let record = |number| NewRecord { partition: 0, value: fold::event(number, page).into() };
        match log.append("unclean", (0..count).map(record).collect()).await {
            Ok(places) => return (places[0].1, Offset(places[count - 1].1.0 + 1)),
            Err(error) => assert!(begun.elapsed() < LONG, "{error}"),
        }
    }
}

/// Steps until the worker gives up; what it says. Errors that pass do not count.
async fn until_error(worker: &mut Worker) -> String {
    let begun = Instant::now();
    while begun.elapsed() < LONG {
        match worker.step().await {
            Err(error) if error.kind() == Kind::Corrupt => return error.to_string(),
            Err(_) | Ok(Step::Idle) => tokio::time::sleep(Duration::from_millis(50)).await,
            Ok(Step::Recovered | Step::Folded { .. }) => {}
        }
    }
    panic!("the worker noticed nothing");
}

/// A worker, tried again after each error, until it is done and at the end; the errors.
async fn work(mut worker: Worker, done: Arc<AtomicBool>) -> Vec<String> {
    let mut errors = Vec::new();
    loop {
        let ending = done.load(Ordering::Relaxed);
        match worker.step().await {
            Ok(Step::Idle) if ending => return errors,
            Ok(_) => {}
            Err(error) => {
                assert_ne!(error.kind(), Kind::Corrupt, "nothing was lost: {error}");
                errors.push(error.to_string());
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

/// Who leads a partition, as far as the brokers that live know, and how many copies are in sync.
async fn leader_and_in_sync(cluster: &KafkaCluster, topic: &str, number: usize) -> (Option<i32>, usize) {
    let (bootstrap, topic) = (cluster.bootstrap(), topic.to_owned());
    let asked = tokio::task::spawn_blocking(move || {
        let known = world::admin(&bootstrap).inner().fetch_metadata(Some(&topic), Duration::from_secs(5)).ok()?;
        let partition = known.topics().first()?.partitions().get(number)?;
        Some((partition.leader(), partition.isr().len()))
    });
    asked.await.expect("asked").map_or((None, 0), |(leader, in_sync)| (Some(leader), in_sync))
}

async fn wait_for(what: &str, mut done: impl AsyncFnMut() -> bool) {
    let begun = Instant::now();
    while !done().await {
        assert!(begun.elapsed() < LONG, "in vain: {what}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
