//! Every role as processes of its own, two of each, on a real Kafka, Redis and S3: the flights are replayed while roles are killed,
//! stopped, continued and restarted at random and Redis loses everything. Every answer that was given must equal a plain
//! recomputation over what the topic itself holds below the answer's stamp. Zero differences.
use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

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
    let fresh = wait_fresh(&cluster, flights.len() as u64);
    redis.command(&["FLUSHALL"]).expect("Redis forgets everything");
    let again = wait_fresh(&cluster, flights.len() as u64);
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
