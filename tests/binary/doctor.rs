//! `seam doctor` against real services: all well, and each danger by its name.
use std::fs::File;
use std::process::Command;
use std::time::{Duration, Instant};

use seam_services::{Cloud, Kafka, Redis, S3};
use serde_json::Value;

use crate::server::{Folder, Server, seam};

const DEFINITIONS: &str = "
sources:
  clicks:
    map: { id: $.id, time: $.time }
    fields: { region: string }
views:
  by_region: { from: clicks, dimensions: [region], measures: { events: count() } }
";

/// The exit code, and status, area and message of every finding.
fn doctor(folder: &Folder, storage: &str, environment: &[(&str, String)]) -> (Option<i32>, Vec<[String; 3]>) {
    folder.write("seam.yaml", &format!("version: 1\nname: shop\nstorage: {storage}\n{DEFINITIONS}"));
    let mut command = seam();
    command.current_dir(&folder.0).args(["doctor", "--json"]).envs(environment.iter().cloned());
    let ran = command.output().expect("the built program runs");
    let said = String::from_utf8_lossy(&ran.stdout).into_owned() + &String::from_utf8_lossy(&ran.stderr);
    let report: Value = serde_json::from_slice(&ran.stdout).unwrap_or_else(|error| panic!("{error}: {said}"));
    let text = |finding: &Value, name: &str| finding[name].as_str().expect("a text").to_owned();
    let findings = report["findings"].as_array().expect("findings");
    let findings = findings.iter().map(|f| ["status", "area", "message"].map(|name| text(f, name))).collect();
    (ran.status.code(), findings)
}

/// Whether there is a finding of this status whose message holds the words.
fn says(findings: &[[String; 3]], status: &str, words: &str) -> bool {
    findings.iter().any(|[found, _, message]| found == status && message.contains(words))
}

#[test]
fn the_embedded_deployment_is_well_and_a_wrong_directory_is_told() {
    let folder = Folder::new("doctor");
    let (code, findings) = doctor(&folder, "{ archive: file://./lake, directory: ./data }", &[]);
    assert_eq!(code, Some(0), "{findings:?}");
    for words in
        ["an fsync takes", "MiB free", "create-only works", "write works", "the store's clock is", "no archive yet"]
    {
        assert!(findings.iter().any(|[_, _, message]| message.contains(words)), "{words}: {findings:?}");
    }
    folder.write("file", "no directory");
    let (code, findings) = doctor(&folder, "{ archive: file://./file/lake, directory: ./data }", &[]);
    assert!(code == Some(1) && says(&findings, "fail", "file/lake"), "{findings:?}");
}

#[test]
fn readiness_is_an_exit_code() {
    let folder = Folder::new("ready");
    folder.write("seam.yaml", &format!("version: 1\nname: shop\nbatch: {{ schedule: off }}\n{DEFINITIONS}"));
    let server = Server::start(&folder.0);
    let ready = |url: &str| seam().args(["doctor", "--ready", url]).output().expect("the program runs").status.code();
    assert_eq!(ready(&server.url), Some(0));
    let url = server.url.clone();
    server.kill();
    assert_eq!(ready(&url), Some(69));
}

#[test]
fn redis_and_s3_are_well_and_their_dangers_are_told() {
    let (Some(redis), Some(s3)) = (Redis::start(&["maxmemory 64mb"]), S3::start()) else { return };
    let folder = Folder::new("doctor-services");
    let storage =
        |bucket: &str| format!("{{ archive: 's3://{bucket}/lake', speed: '{}', directory: ./data }}", redis.url());
    let environment = s3.environment();
    let (code, findings) = doctor(&folder, &storage(s3.bucket), &environment);
    assert_eq!(code, Some(0), "{findings:?}");
    assert!(
        says(&findings, "ok", "create-only works") && says(&findings, "ok", "compare-and-swap works"),
        "{findings:?}"
    );

    redis.command(&["CONFIG", "SET", "maxmemory-policy", "allkeys-lru"]).expect("the server takes settings");
    let (code, findings) = doctor(&folder, &storage("nosuchbucket"), &environment);
    assert_eq!(code, Some(1), "{findings:?}");
    assert!(says(&findings, "fail", "noeviction"), "{findings:?}");
    assert!(says(&findings, "fail", "write does not work"), "{findings:?}");

    redis.process.kill();
    let (code, findings) = doctor(&folder, &storage(s3.bucket), &environment);
    assert!(code == Some(1) && says(&findings, "fail", "redis does not answer"), "{findings:?}");
}

#[test]
fn the_other_clouds_are_well_and_a_missing_bucket_is_told() {
    let folder = Folder::new("doctor-clouds");
    for cloud in [Cloud::azure(), Cloud::google()].into_iter().flatten() {
        let storage = |bucket: &str| format!("{{ archive: '{bucket}/lake', directory: ./data }}");
        let (code, findings) = doctor(&folder, &storage(cloud.url), &cloud.environment);
        assert_eq!(code, Some(0), "{}: {findings:?}", cloud.url);
        for words in ["write works", "create-only works", "compare-and-swap works", "no archive yet"] {
            assert!(says(&findings, "ok", words), "{}: {words}: {findings:?}", cloud.url);
        }
        let missing = cloud.url.replace("lake", "nosuchbucket");
        let (code, findings) = doctor(&folder, &storage(&missing), &cloud.environment);
        assert_eq!(code, Some(1), "{missing}: {findings:?}");
        assert!(says(&findings, "fail", "the bucket does not exist"), "{missing}: {findings:?}");
    }
}

#[test]
fn a_compacted_topic_is_told_and_a_broker_that_is_away() {
    let properties = ["auto.create.topics.enable=true", "log.cleanup.policy=compact", "log.retention.hours=1"];
    let Some(kafka) = Kafka::start(&properties) else { return };
    let folder = Folder::new("doctor-kafka");
    let storage = format!("{{ archive: file://./lake, log: '{}', directory: ./data }}", kafka.bootstrap());
    let (code, findings) = doctor(&folder, &storage, &[]);
    assert!(code == Some(0) && says(&findings, "ok", "topic clicks does not exist yet"), "{findings:?}");

    let produce = format!("echo 'k:{{}}' | timeout 60 kcat -P -K: -b {} -t clicks", kafka.bootstrap());
    assert!(Command::new("sh").args(["-c", &produce]).status().expect("a shell runs").success());
    let (code, findings) = doctor(&folder, &storage, &[]);
    assert_eq!(code, Some(1), "{findings:?}");
    assert!(says(&findings, "fail", "topic clicks is compacted"), "{findings:?}");
    assert!(says(&findings, "warn", "topic clicks keeps records for 60 minutes"), "{findings:?}");

    kafka.process.kill();
    let (code, findings) = doctor(&folder, &storage, &[]);
    assert!(code == Some(1) && says(&findings, "fail", "Kafka cannot be used"), "{findings:?}");
}

/// Every role that works with a Redis looks at its settings first, in the doctor's words; those that do not, do not.
#[test]
fn roles_refuse_a_redis_that_would_lose_state() {
    let Some(redis) = Redis::start(&["maxmemory-policy allkeys-lru", "maxmemory 64mb"]) else { return };
    let folder = Folder::new("roles-redis");
    // Nobody listens there: what looks at the log waits for it.
    let storage = format!("{{ archive: file://./lake, log: '127.0.0.1:9', speed: '{}' }}", redis.url());
    let sink = DEFINITIONS.replace("events: count() }", "events: count() }, sink: { topic: out }");
    folder.write("seam.yaml", &format!("version: 1\nname: shop\nstorage: {storage}\n{sink}"));
    for role in ["speed", "serve", "batch", "sink"] {
        let ran = seam().current_dir(&folder.0).args([role, "--listen", "127.0.0.1:0"]).output().expect("it runs");
        let said = String::from_utf8_lossy(&ran.stderr);
        assert!(!ran.status.success() && said.contains("set maxmemory-policy to noeviction"), "{role}: {said}");
    }
    for role in ["ingest", "archive"] {
        let log = File::create(folder.0.join("log")).expect("a file");
        let mut command = seam();
        command.current_dir(&folder.0).args([role, "--listen", "127.0.0.1:0"]);
        let mut running = command.stdout(log.try_clone().expect("a file")).stderr(log).spawn().expect("it runs");
        let said = || std::fs::read_to_string(folder.0.join("log")).expect("what it said");
        let give_up = Instant::now() + Duration::from_secs(60);
        while !said().contains("log cannot start yet") && Instant::now() < give_up {
            std::thread::sleep(Duration::from_millis(50));
        }
        running.kill().and_then(|()| running.wait()).expect("it ends");
        assert!(said().contains("log cannot start yet") && !said().contains("noeviction"), "{role}: {}", said());
    }
}
