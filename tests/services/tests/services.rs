//! The services themselves: each starts, keeps or loses what it should when it is killed, and ends with its handle.
use std::path::Path;
use std::process::Command;

use seam_services::{Kafka, Redis, RedisCluster, RedisPair, S3};

fn runs(pid: u32) -> bool {
    let state = std::fs::read_to_string(format!("/proc/{pid}/stat"));
    state.is_ok_and(|stat| !stat.contains(") Z "))
}

#[test]
fn redis_is_killed_paused_and_restarted_and_ends_with_its_handle() {
    let Some(redis) = Redis::start(&["appendonly yes", "appendfsync always", "requirepass secret"]) else { return };
    redis.command(&["SET", "kept", "1"]).unwrap();
    let pid = redis.process.pid().unwrap();
    redis.process.kill();
    assert!(!runs(pid) && redis.process.pid().is_none() && redis.command(&["PING"]).is_err());
    redis.process.restart();
    assert_eq!(redis.command(&["GET", "kept"]).unwrap(), "1");
    redis.process.pause();
    let state = std::fs::read_to_string(format!("/proc/{}/stat", redis.process.pid().unwrap())).unwrap();
    assert!(state.contains(") T "), "{state}");
    redis.process.resume();
    redis.command(&["SET", "kept", "2"]).unwrap();
    redis.process.stop();
    redis.process.restart();
    let (pid, folder) = (redis.process.pid().unwrap(), redis.process.folder().to_owned());
    assert_eq!(redis.command(&["GET", "kept"]).unwrap(), "2");
    assert!(redis.command(&["NOSUCH"]).is_err());
    drop(redis);
    assert!(!runs(pid) && !folder.exists());
}

#[test]
fn a_lagging_replica_takes_over_without_what_it_missed() {
    let Some(pair) = RedisPair::start(&[]) else { return };
    pair.primary.command(&["SET", "seen", "yes"]).unwrap();
    pair.wait_followed();
    pair.replica.process.pause();
    pair.primary.command(&["SET", "missed", "yes"]).unwrap();
    let promoted = pair.fail_over();
    assert_eq!(promoted.command(&["GET", "seen"]).unwrap(), "yes");
    // What lies in the socket's buffer may still arrive: only what was cut off for sure is lost, so nothing is said of `missed`.
    promoted.command(&["SET", "new", "yes"]).unwrap();
}

#[test]
fn a_cluster_serves_all_slots_while_some_move() {
    let Some(cluster) = RedisCluster::start(&[]) else { return };
    assert_eq!(cluster.nodes.len(), 3);
    cluster.move_slots(0, 1, 3);
    cluster.wait_whole();
    let slots = cluster.nodes[2].command(&["CLUSTER", "SLOTS"]).unwrap();
    assert!(slots.contains(&cluster.nodes[1].port.to_string()), "{slots}");
}

#[test]
fn s3_answers_and_ends() {
    let Some(s3) = S3::start() else { return };
    s3.create_bucket("other");
    let pid = s3.process.pid().unwrap();
    drop(s3);
    assert!(!runs(pid));
}

#[test]
fn kafka_keeps_its_topics_over_kill_9() {
    let Some(kafka) = Kafka::start(&["auto.create.topics.enable=true"]) else { return };
    let produce = |text: &str| {
        let command = format!("echo {text} | timeout 60 kcat -P -b {} -t clicks", kafka.bootstrap());
        assert!(Command::new("sh").args(["-c", &command]).status().unwrap().success());
    };
    produce("one");
    kafka.process.kill();
    kafka.process.restart();
    produce("two");
    let mut kcat = Command::new("timeout");
    let read = kcat.args(["60", "kcat", "-C", "-e", "-q", "-t", "clicks", "-b", &kafka.bootstrap()]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&read.stdout), "one\ntwo\n");
}

#[test]
fn a_service_ends_when_the_process_that_started_it_is_killed() {
    // This very test again, as a process that starts a service, tells its pid, and is killed.
    if std::env::var_os("SEAM_SERVICES_CHILD").is_some() {
        let redis = Redis::start(&[]).unwrap();
        println!("PID {} {}", redis.process.pid().unwrap(), redis.process.folder().display());
        std::thread::sleep(std::time::Duration::from_secs(120));
        return;
    }
    if !seam_services::installed("redis") {
        return;
    }
    use std::io::BufRead;
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["--nocapture", "--exact", "a_service_ends_when_the_process_that_started_it_is_killed"]);
    let mut child = child.env("SEAM_SERVICES_CHILD", "1").stdout(std::process::Stdio::piped()).spawn().unwrap();
    let mut lines = std::io::BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let line = lines.find_map(|line| line.split_once("PID ").map(|(_, rest)| rest.to_owned())).unwrap();
    let (pid, folder) = line.split_once(' ').unwrap();
    let pid = pid.parse().unwrap();
    assert!(runs(pid));
    child.kill().unwrap();
    child.wait().unwrap();
    let gone = (0..500).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(20));
        !runs(pid) && !Path::new(folder).exists()
    });
    assert!(gone, "process {pid} outlived the process that started it");
}
