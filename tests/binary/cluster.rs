//! Every role as processes of its own, two of each, on a real Kafka, Redis and S3: the flights are replayed while roles are killed,
//! stopped, continued and restarted at random and Redis loses everything. Every answer that was given must equal a plain
//! recomputation over what the topic itself holds below the answer's stamp. Zero differences.
use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions};
use rdkafka::client::DefaultClientContext;
use seam_services::{Kafka, Redis, S3};
use serde_json::Value;

use crate::fleet::{Cluster, below, check_lake, configuration, end, get, read_topic, send, wait_fresh};
use crate::flights::{self, Question, ask, compare, questions, random};
use crate::server::{Folder, agent};

#[test]
fn the_flights_are_exact_on_kafka_redis_and_s3_whatever_role_is_killed() {
    let (Some(kafka), Some(redis), Some(s3)) = (Kafka::start(&[]), Redis::start(&[]), S3::start()) else { return };
    let flights = flights::load();
    let folder = Folder::new("cluster");
    let config = configuration(&kafka, &redis);
    folder.write("seam.yaml", &config);
    let mut cluster = Cluster::start(folder, s3.environment().to_vec());
    let mut seed = 20_261_122;
    let batch = flights.len().div_ceil(120);
    let mut faults: BTreeMap<&str, u32> = BTreeMap::new();
    let mut answers: Vec<(Question, Value)> = Vec::new();
    let mut moments = 0;
    for (number, sent) in flights.chunks(batch).enumerate() {
        let body: String = sent.iter().map(|flight| format!("{}\n", flight.line)).collect();
        send(&mut cluster, &body, &mut seed);
        if random(&mut seed).is_multiple_of(6) {
            moments += 1;
            let urls = cluster.urls("serve");
            let url = &urls[random(&mut seed) as usize % urls.len()];
            answers.extend(ask(|path| get(&cluster.agent, url, path), questions(&flights, &mut seed)));
        }
        if random(&mut seed).is_multiple_of(5) {
            *faults.entry(cluster.hurt(&mut seed)).or_default() += 1;
        }
        if number == 70 {
            redis.command(&["FLUSHALL"]).expect("Redis forgets everything");
            *faults.entry("FLUSHALL").or_default() += 1;
        }
        std::thread::sleep(Duration::from_millis(300));
    }
    cluster.resume(true);
    let fresh = wait_fresh(&mut cluster, flights.len() as u64);
    redis.command(&["FLUSHALL"]).expect("Redis forgets everything");
    let again = wait_fresh(&mut cluster, flights.len() as u64);
    for url in cluster.urls("serve") {
        answers.extend(ask(|path| get(&agent(), &url, path), questions(&flights, &mut seed)));
    }
    let topic = read_topic(&config, &flights);
    let (mut compared, mut generations) = (0, HashSet::new());
    for (question, answer) in &answers {
        let coverage = answer["meta"]["stamp"]["coverage"].as_str().expect("every answer is stamped");
        compared += compare(below(&topic, &flights, coverage), coverage, question, answer);
        generations.insert(answer["meta"]["stamp"]["views"][0]["generation"].to_string());
    }
    let records: usize = topic.values().map(Vec::len).sum();
    println!(
        "{} flights, {records} records, {moments} moments, faults {faults:?}, {} answers, {} generations, {compared} figures \
         compared, 0 differences; fresh after {fresh:.1?}, and after FLUSHALL of everything in {again:.1?}",
        flights.len(),
        answers.len(),
        generations.len()
    );
    check_lake(&cluster);
    for process in &mut cluster.processes {
        end(process);
    }
    let hurt: u32 = faults.iter().filter(|(name, _)| **name != "none").map(|(_, times)| times).sum();
    assert!(moments >= 10 && hurt >= 10 && compared > 10_000 && generations.len() > 1, "the run was a test");
}

/// Makes the topic of the flights larger.
fn grow(kafka: &Kafka, partitions: usize) {
    let mut config = rdkafka::ClientConfig::new();
    config.set("bootstrap.servers", kafka.bootstrap());
    let admin: AdminClient<DefaultClientContext> = config.create().expect("a client of Kafka");
    let runtime = tokio::runtime::Runtime::new().expect("threads");
    let grown = [NewPartitions::new("flights", partitions)];
    let made = runtime.block_on(admin.create_partitions(&grown, &AdminOptions::new())).expect("Kafka is asked");
    made[0].as_ref().expect("the partitions are made");
}

#[test]
fn partitions_that_are_added_while_everything_runs_are_taken_up_by_every_role() {
    const GROWN: usize = 6;
    let (Some(kafka), Some(redis), Some(s3)) = (Kafka::start(&[]), Redis::start(&[]), S3::start()) else { return };
    let flights: Vec<_> = flights::load().into_iter().take(12_000).collect();
    let folder = Folder::new("grown");
    // Segments that close within the test, so that generations come to cover the new partitions too.
    let config = configuration(&kafka, &redis).replace("segment: { events: 4096", "segment: { events: 256");
    assert!(config.contains("events: 256"));
    folder.write("seam.yaml", &config);
    let mut cluster = Cluster::start(folder, s3.environment().to_vec());
    let (mut seed, mut answers) = (7, Vec::new());
    for (number, sent) in flights.chunks(200).enumerate() {
        let body: String = sent.iter().map(|flight| format!("{}\n", flight.line)).collect();
        send(&mut cluster, &body, &mut seed);
        if number == 15 {
            grow(&kafka, GROWN);
        }
        if number % 6 == 0 {
            let urls = cluster.urls("serve");
            answers.extend(ask(
                |path| get(&cluster.agent, &urls[number % urls.len()], path),
                questions(&flights, &mut seed),
            ));
        }
        std::thread::sleep(Duration::from_millis(400));
    }
    wait_fresh(&mut cluster, flights.len() as u64);
    for url in cluster.urls("serve") {
        answers.extend(ask(|path| get(&agent(), &url, path), questions(&flights, &mut seed)));
    }
    let topic = read_topic(&config, &flights);
    let records: Vec<usize> = topic.values().map(Vec::len).collect();
    assert!(records.len() == GROWN && records.iter().all(|&records| records > 0), "{records:?}");
    let mut compared = 0;
    for (question, answer) in &answers {
        let coverage = answer["meta"]["stamp"]["coverage"].as_str().expect("every answer is stamped");
        compared += compare(below(&topic, &flights, coverage), coverage, question, answer);
    }
    println!("records by partition {records:?}, {} answers, {compared} figures compared, 0 differences", answers.len());
    // The new partitions are archived and in a generation too, not only in the speed layer.
    let give_up = std::time::Instant::now() + Duration::from_secs(60);
    let batch = || {
        let path = "/api/analytics/metrics/delay.by_carrier?window=1d&from=2013-01-01&to=2014-01-02&limit=1";
        let (_, answer) = get(&cluster.agent, &cluster.urls("serve")[0], path).expect("an answer");
        answer["meta"]["stamp"]["views"][0]["batch"]["text"].as_str().unwrap_or_default().to_owned()
    };
    while !(0..GROWN).all(|number| batch().contains(&format!("flights/{number}@"))) {
        assert!(std::time::Instant::now() < give_up, "a generation covers every partition: {}", batch());
        std::thread::sleep(Duration::from_millis(200));
    }
    check_lake(&cluster);
    for process in &mut cluster.processes {
        end(process);
    }
    assert!(compared > 1_000, "the run was a test");
}
