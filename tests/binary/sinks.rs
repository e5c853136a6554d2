//! Sinks of the built program. `examples/click-stream-processor` on a real Kafka and Redis while the processes that write are killed: a
//! reader of what was committed sees each change once, and last what a plain recount says. And both targets without any service.
use std::collections::{BTreeMap, HashSet};
use std::path::Path;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::Message;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use seam_services::{Kafka, Redis, free_port};
use seam_shared::time::{Span, Timestamp};
use serde_json::Value;

use crate::fleet::{Cluster, end, spawn};
use crate::flights::random;
use crate::server::{Folder, agent, seam};

const PATIENCE: Duration = Duration::from_secs(20);
/// Partitions of `click-events`.
const EVENTS: i32 = 3;
/// Partitions of `click-statistics`, as the example says.
const STATISTICS: i32 = 3;
const STATISTICS_TOPIC: &str = "click-statistics";
/// Faults, one after the other.
const ROUNDS: u32 = 8;
const START: i64 = 1_767_225_600_000_000;

/// Clicks by the start of the minute and user.
type Count = BTreeMap<(String, String), u64>;

/// Clicks as another program writes them: late ones, and some that are sent twice. Answers with the plain recount.
fn produce(bootstrap: &str, counted: &Mutex<Count>, done: &AtomicBool) {
    let mut config = ClientConfig::new();
    let producer: BaseProducer = config.set("bootstrap.servers", bootstrap).create().expect("a producer");
    let mut seed = 41;
    for number in 0.. {
        if done.load(Ordering::SeqCst) {
            break;
        }
        // A minute of event time passes in two seconds; one event of four is late, by up to ten minutes.
        let late = if random(&mut seed).is_multiple_of(4) { random(&mut seed) % 600 } else { random(&mut seed) % 5 };
        let time = Timestamp(START + (600 + number / 20 - late as i64) * 1_000_000);
        let user = format!("user-{}", random(&mut seed) % 40);
        let (partition, id) = ((random(&mut seed) % EVENTS as u64) as i32, format!("click-{number}"));
        let event = format!(r#"{{"id":"{id}","time":"{time}","user":"{user}"}}"#);
        for _ in 0..1 + u32::from(random(&mut seed).is_multiple_of(10)) {
            let record = BaseRecord::<[u8], [u8], ()>::to("click-events").partition(partition).key(user.as_bytes());
            producer.send(record.payload(event.as_bytes())).map_err(|(error, _)| error).expect("it is taken");
        }
        let start = time.floor(Span::MINUTE).to_rfc3339();
        *counted.lock().expect("whole").entry((start, user)).or_default() += 1;
        if number % 30 == 0 {
            producer.flush(PATIENCE).expect("stored");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
    producer.flush(PATIENCE).expect("stored");
}

/// All records of a topic: key and value, by partition in order.
fn read(bootstrap: &str, topic: &str, isolation: &str) -> Vec<(String, Value)> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("group.id", "reader")
        .set("isolation.level", isolation)
        .set("enable.partition.eof", "true")
        .set("enable.auto.commit", "false")
        .create()
        .expect("a consumer");
    let mut places = TopicPartitionList::new();
    for number in 0..STATISTICS {
        places.add_partition_offset(topic, number, Offset::Beginning).expect("a place");
    }
    consumer.assign(&places).expect("assigned");
    let (mut ended, mut found, give_up) = (HashSet::new(), Vec::new(), Instant::now() + PATIENCE);
    while ended.len() < STATISTICS as usize {
        assert!(Instant::now() < give_up, "{topic} is read to its end");
        match consumer.poll(Duration::from_millis(200)) {
            Some(Ok(message)) => {
                let text = |bytes: Option<&[u8]>| String::from_utf8(bytes.expect("bytes").to_vec()).expect("UTF-8");
                found.push((text(message.key()), serde_json::from_str(&text(message.payload())).expect("JSON")));
            }
            Some(Err(KafkaError::PartitionEOF(number))) => drop(ended.insert(number)),
            Some(Err(error)) => panic!("{error}"),
            None => {}
        }
    }
    found
}

/// Where a topic's partitions end for a reader; at 0 where there is none yet.
fn ends(bootstrap: &str, topic: &str, isolation: &str) -> Vec<i64> {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", bootstrap).set("isolation.level", isolation);
    let consumer: BaseConsumer = config.create().expect("a consumer");
    (0..STATISTICS).map(|number| consumer.fetch_watermarks(topic, number, PATIENCE).map_or(0, |(_, end)| end)).collect()
}

fn sum(ends: &[i64]) -> i64 {
    ends.iter().sum()
}

/// Checks that each change is there once; answers with the last value of each key.
fn last_of_each(records: &[(String, Value)]) -> Count {
    let mut last = Count::new();
    for (key, value) in records {
        let key: Value = serde_json::from_str(key).expect("JSON");
        assert_eq!((&key["start"], &key["group"]), (&value["start"], &value["group"]));
        let text = |value: &Value| value.as_str().expect("text").to_owned();
        let clicks = value["measures"]["clicks"].as_u64().expect("a count");
        let before = last.insert((text(&key["start"]), text(&key["group"]["user"])), clicks);
        assert!(before.is_none_or(|before| before < clicks), "{value} comes after {before:?}: a count only grows");
        assert_eq!(value["old"]["clicks"].as_u64(), before, "{value}");
    }
    last
}

fn config(text: &str) -> String {
    // Who died is noticed within two seconds.
    let properties = "{ session.timeout.ms: 1500, heartbeat.interval.ms: 300 }";
    let config = text.replace("trigger: 1m", "trigger: 300ms");
    let config = config.replace("\nstorage:\n", &format!("\nstorage:\n  kafka: {{ properties: {properties} }}\n"));
    assert!(config.contains("300ms") && config.contains("1500"), "{config}");
    format!("{config}batch: {{ schedule: \"@every 3s\" }}\n")
}

/// The processes of the example; those of [`SINKS`] write.
const ROLES: [&str; 5] = ["speed", "archive", "batch", "sink", "sink"];
const SINKS: [usize; 2] = [3, 4];

/// The example as it is, on these services.
fn example(bootstrap: &str, redis: &Redis) -> Cluster {
    let admin: AdminClient<DefaultClientContext> =
        ClientConfig::new().set("bootstrap.servers", bootstrap).create().expect("an admin client");
    let runtime = tokio::runtime::Runtime::new().expect("threads");
    let topic = NewTopic::new("click-events", EVENTS, TopicReplication::Fixed(1));
    runtime.block_on(admin.create_topics([&topic], &AdminOptions::new())).expect("the topic is made");
    let folder = Folder::new("click-stream");
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/click-stream-processor/seam.yaml");
    folder.write("seam.yaml", &config(&std::fs::read_to_string(example).expect("the example is there")));
    let environment =
        vec![("KAFKA", bootstrap.to_owned()), ("REDIS", redis.url()), ("LAKE", "file://./data".to_owned())];
    let processes = ROLES.map(|role| spawn(&folder.0, &environment, role, None));
    let mut cluster = Cluster { folder, environment, processes: processes.into(), agent: agent(), spared: None };
    (0..ROLES.len()).for_each(|at| cluster.wait_ready(at));
    cluster
}

/// One fault of those that write, by the number of the round.
fn strike(cluster: &mut Cluster, round: u32, seed: &mut u64, faults: &mut BTreeMap<&str, u32>) {
    match round % 4 {
        // Whoever writes dies in the middle of a transaction, or after it without knowing; then the one that takes over.
        0 => (0..4).for_each(|_| cluster.arm("sink.produced", 1, seed)),
        1 => (0..4).for_each(|_| cluster.arm("sink.committed", 1, seed)),
        2 => {
            let at = SINKS[random(seed) as usize % 2];
            cluster.processes[at].child.kill().expect("the process can be killed");
            cluster.processes[at].child.wait().expect("the process can be waited for");
            cluster.processes[at] = spawn(&cluster.folder.0, &cluster.environment, "sink", None);
            *faults.entry("killed").or_default() += 1;
        }
        _ => {
            // The other one takes over, and this one does not know when it goes on.
            let at = SINKS[random(seed) as usize % 2];
            cluster.processes[at].signal("STOP");
            cluster.processes[at].stopped_until = Some(Instant::now() + Duration::from_secs(4));
            *faults.entry("stopped").or_default() += 1;
        }
    }
}

/// Leaves time for some outputs, or for whoever is to die to do so.
fn wait_for_outputs(cluster: &mut Cluster, bootstrap: &str, may_die: bool) {
    let written = || sum(&ends(bootstrap, STATISTICS_TOPIC, "read_committed"));
    let (before, begun) = (written(), Instant::now());
    while begun.elapsed() < Duration::from_secs(10) {
        std::thread::sleep(Duration::from_millis(200));
        let mut sinks = SINKS.map(|at| matches!(cluster.processes[at].child.try_wait(), Ok(Some(_)))).into_iter();
        if sinks.all(|is_dead| is_dead) {
            break;
        }
        if !may_die && begun.elapsed() > Duration::from_secs(5) && written() > before {
            break;
        }
    }
}

/// The records once they say what was counted.
fn settled(cluster: &mut Cluster, bootstrap: &str, counted: &Count) -> Vec<(String, Value)> {
    let give_up = Instant::now() + Duration::from_secs(90);
    loop {
        cluster.revive();
        let records = read(bootstrap, STATISTICS_TOPIC, "read_committed");
        let last = last_of_each(&records);
        if last == *counted {
            return records;
        }
        assert!(Instant::now() < give_up, "{} of {} groups", last.len(), counted.len());
        std::thread::sleep(Duration::from_millis(500));
    }
}

#[test]
fn the_click_stream_processor_writes_each_change_once_whatever_is_killed() {
    let often = "transaction.abort.timed.out.transaction.cleanup.interval.ms=500";
    let (Some(kafka), Some(redis)) = (Kafka::start(&[often]), Redis::start(&[])) else { return };
    let bootstrap = kafka.bootstrap();
    let mut cluster = example(&bootstrap, &redis);
    let (counted, done) = (Arc::new(Mutex::new(Count::new())), Arc::new(AtomicBool::new(false)));
    let producer = {
        let (bootstrap, counted, done) = (bootstrap.clone(), counted.clone(), done.clone());
        std::thread::spawn(move || produce(&bootstrap, &counted, &done))
    };
    let (mut seed, mut faults) = (5, BTreeMap::<&str, u32>::new());
    for round in 0..ROUNDS {
        cluster.resume(false);
        cluster.revive().into_iter().for_each(|died| *faults.entry(died).or_default() += 1);
        strike(&mut cluster, round, &mut seed, &mut faults);
        wait_for_outputs(&mut cluster, &bootstrap, round % 4 < 2);
    }
    done.store(true, Ordering::SeqCst);
    producer.join().expect("the producer ends");
    cluster.resume(true);
    cluster.revive();
    let whole = counted.lock().expect("whole").clone();
    let records = settled(&mut cluster, &bootstrap, &whole);
    // Nothing comes after that, whoever takes over once more.
    for at in SINKS {
        end(&mut cluster.processes[at]);
        cluster.processes[at] = spawn(&cluster.folder.0, &cluster.environment, "sink", None);
        cluster.wait_ready(at);
    }
    std::thread::sleep(Duration::from_secs(8));
    assert_eq!(read(&bootstrap, STATISTICS_TOPIC, "read_committed").len(), records.len(), "nothing is written again");
    let uncommitted = read(&bootstrap, STATISTICS_TOPIC, "read_uncommitted").len();
    let [stable, high] = ["read_committed", "read_uncommitted"].map(|i| ends(&bootstrap, STATISTICS_TOPIC, i));
    assert_eq!(stable, high, "no transaction is open");
    assert!(sum(&high) > records.len() as i64, "transactions leave marks");
    println!(
        "{} clicks, {} groups, {} changes, {} records of transactions that were not committed, faults {faults:?}",
        whole.values().sum::<u64>(),
        whole.len(),
        records.len(),
        uncommitted - records.len()
    );
    let hurt: u32 = faults.values().sum();
    assert!(hurt >= 8 && records.len() > whole.len() && uncommitted > records.len(), "the run was a test");
    cluster.processes.iter_mut().for_each(end);
}

const EMBEDDED: &str = r#"
version: 1
sources:
  clicks:
    map: { id: $.id }
    fields: { user: string }
views:
  lines:
    from: clicks
    dimensions: [user]
    pane: 1m
    measures: { clicks: count() }
    sink: { stdout: ndjson, mode: update, trigger: 200ms }
  topic:
    from: clicks
    dimensions: [user]
    pane: 1m
    measures: { clicks: count() }
    sink: { topic: click-statistics, mode: update, trigger: 200ms }
"#;

/// `seam up` with standard output in a file, until it is ready.
fn up(folder: &Folder, listen: &str) -> std::process::Child {
    let open = |name: &str| {
        std::fs::OpenOptions::new().create(true).append(true).open(folder.0.join(name)).expect("the file opens")
    };
    let child = seam()
        .current_dir(&folder.0)
        .args(["up", "--listen", listen])
        .stdin(Stdio::null())
        .stdout(open("lines.ndjson"))
        .stderr(open("server.log"))
        .spawn()
        .expect("the built program starts");
    let give_up = Instant::now() + Duration::from_secs(60);
    while !agent().get(format!("http://{listen}/readyz")).call().is_ok_and(|reply| reply.status() == 200) {
        assert!(Instant::now() < give_up, "seam up is ready");
        std::thread::sleep(Duration::from_millis(50));
    }
    child
}

#[test]
fn without_services_changes_go_to_standard_output_and_to_a_topic_of_the_log() {
    let folder = Folder::new("embedded-sinks");
    folder.write("seam.yaml", EMBEDDED);
    let listen = format!("127.0.0.1:{}", free_port());
    let (mut whole, mut number) = (Count::new(), 0);
    for round in 0..4 {
        let mut child = up(&folder, &listen);
        for _ in 0..5 {
            let mut body = String::new();
            for _ in 0..7 {
                let (user, start) = (format!("user-{}", number % 3), format!("2026-01-01T00:0{round}:00Z"));
                body +=
                    &format!("{{\"id\":\"{number}\",\"time\":\"2026-01-01T00:0{round}:20Z\",\"user\":\"{user}\"}}\n");
                *whole.entry((start, user)).or_default() += 1;
                number += 1;
            }
            let url = format!("http://{listen}/v1/events/clicks");
            let reply = agent().post(url).header("content-type", "application/x-ndjson").send(body);
            assert_eq!(reply.expect("the events are taken").status(), 202);
            std::thread::sleep(Duration::from_millis(150));
        }
        if round == 3 {
            std::thread::sleep(Duration::from_secs(2));
            let arguments = ["--url", &format!("http://{listen}"), "--from", "start", "-n", "1000"];
            let mut tap = seam();
            tap.current_dir(&folder.0).args(["tap", "click-statistics"]).args(arguments);
            let records = tapped(tap.stdout(Stdio::piped()).spawn().expect("the built program starts"));
            assert_eq!(last_of_each(&records), whole, "in the topic each change is there once");
        }
        child.kill().expect("the process can be killed");
        child.wait().expect("the process can be waited for");
    }
    let lines = std::fs::read_to_string(folder.0.join("lines.ndjson")).expect("the lines are there");
    let mut last = Count::new();
    for line in lines.lines() {
        let value: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        let text = |value: &Value| value.as_str().expect("text").to_owned();
        let clicks = value["measures"]["clicks"].as_u64().expect("a count");
        last.insert((text(&value["start"]), text(&value["group"]["user"])), clicks);
    }
    assert_eq!(last, whole, "the last line of each group is what it is");
}

/// What `seam tap` shows within a second: keys and values.
fn tapped(mut child: std::process::Child) -> Vec<(String, Value)> {
    std::thread::sleep(Duration::from_secs(1));
    child.kill().expect("the process can be killed");
    let out = child.wait_with_output().expect("it ends");
    let lines = String::from_utf8(out.stdout).expect("UTF-8");
    let shown = lines.lines().map(|line| {
        let shown: Value = serde_json::from_str(line).expect("JSON");
        let value = shown["event"].clone();
        (serde_json::json!({ "start": value["start"], "group": value["group"] }).to_string(), value)
    });
    shown.collect()
}
