//! Everything at once: roles die at named failpoints, are killed and stood still; the broker is killed; other programs leave aborted
//! and committed transactions in the topic; requests to S3 and their replies get lost; Redis loses keys, everything, its memory, its
//! life. Meanwhile answers are asked for without a pause, and each must equal a plain recomputation at its own stamp.
//!
//! `SEAM_CHAOS_SECONDS` (default 75) and `SEAM_CHAOS_SEED` choose a run.
use std::collections::{BTreeMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use seam_services::{Kafka, Proxy, Redis, S3};
use seam_shared::failpoint::Failpoint;
use serde_json::Value;

use crate::fleet::{
    Cluster, PARTITIONS, ROLES, Topic, below, check_lake, configuration, end, read_topic, send, wait_fresh,
};
use crate::flights::{self, Flight, Question, compare, one_day, random};
use crate::server::{Folder, agent};

/// The first of them: enough for many days, few enough to recompute ten thousand answers from.
const FLIGHTS: usize = 40_000;
/// Requests to S3 struck, of 256.
const S3_FAULTS: u64 = 6;
/// At least so many are read in a run, the one without anything among them.
const GENERATIONS: usize = 2;
/// How much longer a run may take than it should.
const LONGER: Duration = Duration::from_secs(180);
/// Between two faults.
const PAUSE: Duration = Duration::from_millis(250);

/// What was asked and answered.
type Answers = Vec<(Question, String)>;
/// What was done to the cluster, and how often.
#[derive(Debug, Default)]
struct Faults(BTreeMap<String, u32>);

impl Faults {
    fn note(&mut self, name: &str) {
        *self.0.entry(name.to_owned()).or_default() += 1;
    }
    fn total(&self) -> u32 {
        self.0.iter().filter(|(name, _)| *name != "none").map(|(_, times)| times).sum()
    }
}

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().map_or(default, |text| text.parse().expect("a number"))
}

/// Asks serving processes in turn until told to end.
fn reader(
    urls: Arc<Mutex<Vec<String>>>,
    flights: Arc<Vec<Flight>>,
    mut seed: u64,
    done: Arc<AtomicBool>,
    answers: Arc<Mutex<Answers>>,
) {
    let agent = agent();
    while !done.load(Ordering::SeqCst) {
        let question = one_day(&flights, &mut seed);
        let url = {
            let urls = urls.lock().expect("the list is whole");
            urls[random(&mut seed) as usize % urls.len()].clone()
        };
        let Ok(mut reply) = agent.get(format!("{url}{}", question.path)).call() else {
            std::thread::sleep(Duration::from_millis(20));
            continue;
        };
        match (reply.status().as_u16(), reply.body_mut().read_to_string()) {
            (200, Ok(text)) => answers.lock().expect("the answers are whole").push((question, text)),
            (503 | 504, _) | (_, Err(_)) => std::thread::sleep(Duration::from_millis(20)),
            (status, Ok(text)) => panic!("{}: {status} {text}", question.path),
        }
    }
}

/// Another program that writes to the topic in transactions, of which most are aborted.
fn transactions(bootstrap: &str, flights: &[Flight], mut seed: u64, done: &AtomicBool) -> (u32, u32) {
    let (mut aborted, mut committed) = (0, 0);
    let mut number = 0;
    while !done.load(Ordering::SeqCst) {
        number += 1;
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", bootstrap).set("transactional.id", format!("other-{number}"));
        config.set("transaction.timeout.ms", "2000");
        let producer: BaseProducer = config.set("message.timeout.ms", "1500").create().expect("a producer");
        let second = Duration::from_secs(5);
        let run = || -> rdkafka::error::KafkaResult<bool> {
            producer.init_transactions(second)?;
            for _ in 0..6 {
                producer.begin_transaction()?;
                for _ in 0..50 {
                    let flight = &flights[random(&mut seed) as usize % flights.len()];
                    let partition = (random(&mut seed) % u64::from(PARTITIONS)) as i32;
                    let record =
                        BaseRecord::<(), _>::to("flights").partition(partition).payload(flight.line.as_bytes());
                    producer.send(record).map_err(|(error, _)| error)?;
                }
                producer.flush(second)?;
                if random(&mut seed).is_multiple_of(4) {
                    producer.commit_transaction(second)?;
                    committed += 1;
                } else {
                    producer.abort_transaction(second)?;
                    aborted += 1;
                }
                std::thread::sleep(Duration::from_millis(100));
            }
            Ok(true)
        };
        // While the broker is away there is nothing to do; what was not decided is aborted by the broker.
        if std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)).is_ok_and(|result| result.is_err()) {
            std::thread::sleep(Duration::from_millis(500));
        }
    }
    (aborted, committed)
}

/// One fault of the stores.
fn strike(redis: &Redis, seed: &mut u64) -> &'static str {
    let command = |words: &[&str]| redis.command(words).unwrap_or_default();
    match random(seed) % 12 {
        0 => {
            command(&["FLUSHALL"]);
            "FLUSHALL"
        }
        1 => {
            command(&["CONFIG", "SET", "maxmemory", "1"]);
            std::thread::sleep(Duration::from_millis(200));
            command(&["CONFIG", "SET", "maxmemory", "0"]);
            "Redis out of memory"
        }
        2 => {
            redis.process.kill();
            redis.process.restart();
            "Redis killed"
        }
        _ => {
            for _ in 0..4 {
                let key = command(&["RANDOMKEY"]);
                if !key.trim().is_empty() {
                    command(&["DEL", key.trim()]);
                }
            }
            "keys deleted"
        }
    }
}

/// What goes on beside the faults: readers that keep every answer, and another program that writes to the topic.
struct Meanwhile {
    done: Arc<AtomicBool>,
    /// Who can be asked at the moment.
    urls: Arc<Mutex<Vec<String>>>,
    answers: Arc<Mutex<Answers>>,
    readers: Vec<JoinHandle<()>>,
    other: JoinHandle<(u32, u32)>,
}

impl Meanwhile {
    fn start(bootstrap: String, flights: &Arc<Vec<Flight>>, urls: Vec<String>) -> Meanwhile {
        let (done, answers) = (Arc::new(AtomicBool::new(false)), Arc::default());
        let urls = Arc::new(Mutex::new(urls));
        let read = |number| {
            let (urls, flights, done, answers) = (urls.clone(), flights.clone(), done.clone(), Arc::clone(&answers));
            std::thread::spawn(move || reader(urls, flights, number, done, answers))
        };
        let readers = (0..2).map(read).collect();
        let other = {
            let (flights, done) = (flights.clone(), done.clone());
            std::thread::spawn(move || transactions(&bootstrap, &flights, 3, &done))
        };
        Meanwhile { done, urls, answers, readers, other }
    }

    /// Which generation the latest answer reads.
    fn generation(&self) -> Option<String> {
        let latest = self.answers.lock().expect("the answers are whole").last().map(|(_, answer)| answer.clone());
        latest.map(|answer| generation(&serde_json::from_str(&answer).expect("JSON")))
    }

    /// The answers, and how many transactions were aborted and committed.
    fn end(self) -> (Answers, (u32, u32)) {
        self.done.store(true, Ordering::SeqCst);
        self.readers.into_iter().for_each(|reader| reader.join().expect("no answer but exact ones and 503"));
        let decided = self.other.join().expect("the other program ends");
        let answers = std::mem::take(&mut *self.answers.lock().expect("the answers are whole"));
        (answers, decided)
    }
}

/// The faults of one turn; whoever died or stood still before goes on.
fn hurt(turn: usize, cluster: &mut Cluster, kafka: &Kafka, redis: &Redis, seed: &mut u64, faults: &mut Faults) {
    faults.note(strike(redis, seed));
    if turn.is_multiple_of(3) {
        let (_, failpoint) = Failpoint::NAMES[turn / 3 % Failpoint::NAMES.len()];
        cluster.arm(failpoint, 1 + random(seed) % 3, seed);
    } else if turn.is_multiple_of(5) {
        faults.note(cluster.hurt(seed));
    }
    if turn.is_multiple_of(60) {
        kafka.process.kill();
        kafka.process.restart();
        faults.note("broker killed");
    }
    cluster.resume(false);
    cluster.revive().into_iter().for_each(|died| faults.note(died));
}

fn lines(flights: &[Flight]) -> String {
    flights.iter().map(|flight| format!("{}\n", flight.line)).collect()
}

/// The topic, once each flight can be read from it, and how many of its records count.
fn whole_topic(config: &str, flights: &[Flight]) -> (Topic, usize) {
    let give_up = Instant::now() + Duration::from_secs(60);
    loop {
        let topic = read_topic(config, flights);
        let counted = topic.values().flatten().filter(|(_, flight)| flight.is_some()).count();
        if counted >= flights.len() {
            return (topic, counted);
        }
        assert!(Instant::now() < give_up, "{counted} of {} flights can be read", flights.len());
        std::thread::sleep(PAUSE);
    }
}

/// How much was compared.
#[derive(Default)]
struct Compared {
    figures: usize,
    generations: HashSet<String>,
    coverages: HashSet<String>,
}

/// Which generation an answer reads.
fn generation(answer: &Value) -> String {
    answer["meta"]["stamp"]["views"][0]["generation"].to_string()
}

/// Recomputes each answer from the topic at the answer's own stamp.
fn compare_all(answers: &Answers, topic: &Topic, flights: &[Flight]) -> Compared {
    let mut compared = Compared::default();
    for (question, answer) in answers {
        let answer: Value = serde_json::from_str(answer).expect("JSON");
        let stamp = &answer["meta"]["stamp"];
        let coverage = stamp["coverage"].as_str().expect("every answer is stamped");
        compared.figures += compare(below(topic, flights, coverage), coverage, question, &answer);
        compared.generations.insert(generation(&answer));
        compared.coverages.insert(coverage.to_owned());
    }
    compared
}

#[test]
fn everything_fails_at_once_and_every_answer_is_exact() {
    // What nobody decides is aborted soon: until then nobody reads past it.
    let often = "transaction.abort.timed.out.transaction.cleanup.interval.ms=500";
    let (Some(kafka), Some(redis), Some(s3)) = (Kafka::start(&[often]), Redis::start(&[]), S3::start()) else { return };
    let (seconds, mut seed) = (setting("SEAM_CHAOS_SECONDS", 75), setting("SEAM_CHAOS_SEED", 7));
    println!("seed {seed}, {seconds} s");
    let mut flights = flights::load();
    flights.truncate(FLIGHTS);
    let flights = Arc::new(flights);
    let folder = Folder::new("chaos");
    let config = configuration(&kafka, &redis);
    folder.write("seam.yaml", &config);
    let proxy = Proxy::start(s3.port, seed);
    let mut environment = s3.environment().to_vec();
    environment.retain(|(name, _)| *name != "AWS_ENDPOINT");
    environment.push(("AWS_ENDPOINT", format!("http://127.0.0.1:{}", proxy.port)));
    let mut cluster = Cluster::start(folder, environment);
    let meanwhile = Meanwhile::start(kafka.bootstrap(), &flights, cluster.urls("serve"));
    proxy.set_faults(S3_FAULTS);

    let mut faults = Faults::default();
    let (begun, length) = (Instant::now(), Duration::from_secs(seconds));
    let (mut sent, mut turn) = (0, 0_usize);
    // On a busy machine no run of the batch layer may live for long enough to publish. Then all this takes longer, and spares that layer.
    let mut published = HashSet::new();
    while begun.elapsed() < length || (published.len() < GENERATIONS && begun.elapsed() < length + LONGER) {
        let part = begun.elapsed().as_secs_f64() / length.as_secs_f64();
        let until = ((flights.len() as f64 * part) as usize).clamp(sent, flights.len());
        if until > sent {
            send(&mut cluster, &lines(&flights[sent..until]), &mut seed);
            sent = until;
        }
        turn += 1;
        cluster.spared = (begun.elapsed() >= length).then_some("batch");
        hurt(turn, &mut cluster, &kafka, &redis, &mut seed, &mut faults);
        *meanwhile.urls.lock().expect("the list is whole") = cluster.urls("serve");
        published.extend(meanwhile.generation());
        std::thread::sleep(PAUSE);
    }
    proxy.set_faults(0);
    let (answers, (aborted, committed)) = meanwhile.end();
    if sent < flights.len() {
        send(&mut cluster, &lines(&flights[sent..]), &mut seed);
    }
    cluster.resume(true);
    cluster.revive().into_iter().for_each(|died| faults.note(died));

    let (topic, counted) = whole_topic(&config, &flights);
    let fresh = wait_fresh(&mut cluster, counted as u64);
    let Compared { figures, generations, coverages } = compare_all(&answers, &topic, &flights);
    let (requests, replies) = proxy.struck();
    println!(
        "faults {:?}, S3 requests lost {requests}, S3 replies lost {replies}, transactions aborted {aborted}, committed {committed}; \
         {} answers at {} coverages over {} generations, {figures} figures compared, 0 wrong; {counted} of {} records count; \
         fresh after {fresh:.1?}",
        faults.0,
        answers.len(),
        coverages.len(),
        generations.len(),
        topic.values().map(Vec::len).sum::<usize>()
    );
    check_lake(&cluster);
    cluster.processes.iter_mut().for_each(end);
    for role in ROLES {
        let log = std::fs::read_to_string(cluster.folder.0.join(format!("{role}.log"))).unwrap_or_default();
        assert!(!log.contains("panicked at"), "seam {role} panicked:\n{log}");
    }
    let all = u64::from(faults.total() + aborted) + requests + replies;
    assert!(all >= seconds * 2 && answers.len() as u64 >= seconds * 20, "the run was a test");
    assert!(generations.len() >= GENERATIONS, "the batch layer published during the run");
}
