//! Every role as processes of its own, on real services: started, asked, killed, stopped, and their answers' truth from the topic.
use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use seam_services::{Kafka, Redis, free_port};
use seam_shared::config;
use seam_shared::log::kafka::KafkaLog;
use seam_shared::log::{EventLog, Offset, Partition};
use serde_json::Value;

use crate::flights::{CONFIG, Flight, random};
use crate::server::{Folder, seam};

pub const PARTITIONS: u32 = 4;
pub const ROLES: [&str; 5] = ["ingest", "speed", "archive", "batch", "serve"];
/// Processes of each role.
pub const EACH: usize = 2;
/// How long a process may stand still: longer than a group waits for a member.
const LONGEST_STOP: u64 = 15;

/// One process of a role.
pub struct Process {
    pub role: &'static str,
    pub child: Child,
    pub url: String,
    /// When it is to go on, if it was stopped.
    pub stopped_until: Option<Instant>,
    /// Where it is to die, if anywhere.
    failpoint: Option<&'static str>,
}

/// Everything that runs.
pub struct Cluster {
    pub folder: Folder,
    pub environment: Vec<(&'static str, String)>,
    pub processes: Vec<Process>,
    pub agent: ureq::Agent,
    /// A role that is hurt no more.
    pub spared: Option<&'static str>,
}

impl Process {
    pub fn signal(&self, name: &str) {
        let sent =
            std::process::Command::new("kill").args([&format!("-{name}"), &self.child.id().to_string()]).status();
        assert!(sent.is_ok_and(|status| status.success()), "signal {name} reaches {}", self.role);
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub fn spawn(
    folder: &Path,
    environment: &[(&'static str, String)],
    role: &'static str,
    failpoint: Option<(&'static str, u64)>,
) -> Process {
    let listen = format!("127.0.0.1:{}", free_port());
    let log = std::fs::OpenOptions::new().create(true).append(true).open(folder.join(format!("{role}.log")));
    let child = seam()
        .current_dir(folder)
        .args([role, "--listen", &listen, "--log-format", "text"])
        .env("RUST_LOG", "info")
        .envs(environment.iter().map(|(name, value)| (*name, value)))
        .envs(failpoint.map(|(name, times)| ("SEAM_FAILPOINT", format!("{name}:{times}"))))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log.expect("the log file opens"))
        .spawn()
        .expect("the built program starts");
    let failpoint = failpoint.map(|(name, _)| name);
    Process { role, child, url: format!("http://{listen}"), stopped_until: None, failpoint }
}

impl Cluster {
    pub fn start(folder: Folder, environment: Vec<(&'static str, String)>) -> Cluster {
        let roles = ROLES.iter().flat_map(|role| std::iter::repeat_n(*role, EACH));
        let processes = roles.map(|role| spawn(&folder.0, &environment, role, None)).collect();
        let short = ureq::Agent::config_builder().http_status_as_error(false);
        let agent = short.timeout_global(Some(Duration::from_secs(5))).build().into();
        let mut cluster = Cluster { folder, environment, processes, agent, spared: None };
        for at in 0..cluster.processes.len() {
            cluster.wait_ready(at);
        }
        cluster
    }

    pub fn wait_ready(&mut self, at: usize) {
        let give_up = Instant::now() + Duration::from_secs(120);
        while Instant::now() < give_up {
            let process = &mut self.processes[at];
            if let Ok(Some(status)) = process.child.try_wait() {
                let log = std::fs::read_to_string(self.folder.0.join(format!("{}.log", process.role)));
                panic!("seam {} ended with {status}:\n{}", process.role, log.unwrap_or_default());
            }
            if self.agent.get(format!("{}/readyz", process.url)).call().is_ok_and(|reply| reply.status() == 200) {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        let url = format!("{}/readyz?verbose", self.processes[at].url);
        let said = self.agent.get(url).call().map(|mut reply| reply.body_mut().read_to_string());
        panic!("seam {} was not ready in time: {said:?}", self.processes[at].role);
    }

    /// The addresses of a role's processes.
    pub fn urls(&self, role: &str) -> Vec<String> {
        self.processes.iter().filter(|process| process.role == role).map(|process| process.url.clone()).collect()
    }

    /// Lets those go on that have stood still for long enough.
    pub fn resume(&mut self, all: bool) {
        for process in &mut self.processes {
            if process.stopped_until.is_some_and(|until| all || Instant::now() >= until) {
                process.signal("CONT");
                process.stopped_until = None;
            }
        }
    }

    /// Starts a process of the failpoint's role again, to die when it gets there for that many times.
    pub fn arm(&mut self, failpoint: &'static str, times: u64, seed: &mut u64) {
        let of_role = (0..self.processes.len()).filter(|&at| failpoint.starts_with(self.processes[at].role));
        let of_role: Vec<usize> = of_role.filter(|&at| self.processes[at].stopped_until.is_none()).collect();
        if of_role.is_empty() || self.spared.is_some_and(|role| failpoint.starts_with(role)) {
            return;
        }
        let at = of_role[random(seed) as usize % of_role.len()];
        let role = self.processes[at].role;
        self.processes[at] = spawn(&self.folder.0, &self.environment, role, Some((failpoint, times)));
    }

    /// Starts those again that died at a failpoint; which those were.
    ///
    /// # Panics
    /// If a process ended for any other reason.
    pub fn revive(&mut self) -> Vec<&'static str> {
        let mut died = Vec::new();
        for at in 0..self.processes.len() {
            let process = &mut self.processes[at];
            let Ok(Some(status)) = process.child.try_wait() else { continue };
            let role = process.role;
            let by_abort = std::os::unix::process::ExitStatusExt::signal(&status) == Some(6);
            let log = || std::fs::read_to_string(self.folder.0.join(format!("{role}.log"))).unwrap_or_default();
            let failpoint = process.failpoint.filter(|_| by_abort);
            died.push(failpoint.unwrap_or_else(|| panic!("seam {role} ended with {status}:\n{}", log())));
            self.processes[at] = spawn(&self.folder.0, &self.environment, role, None);
        }
        died
    }

    /// One fault to one process; what it was.
    pub fn hurt(&mut self, seed: &mut u64) -> &'static str {
        let at = random(seed) as usize % self.processes.len();
        let role = self.processes[at].role;
        if self.processes[at].stopped_until.is_some() || self.spared == Some(role) {
            return "none";
        }
        match random(seed) % 3 {
            0 => {
                let seconds = 1 + random(seed) % LONGEST_STOP;
                self.processes[at].signal("STOP");
                self.processes[at].stopped_until = Some(Instant::now() + Duration::from_secs(seconds));
                "stopped and continued"
            }
            1 => {
                self.processes[at].child.kill().expect("the process can be killed");
                self.processes[at].child.wait().expect("the process can be waited for");
                self.processes[at] = spawn(&self.folder.0, &self.environment, role, None);
                "killed"
            }
            _ => {
                end(&mut self.processes[at]);
                self.processes[at] = spawn(&self.folder.0, &self.environment, role, None);
                "restarted in order"
            }
        }
    }
}

/// SIGTERM ends a process with 0, soon.
pub fn end(process: &mut Process) {
    let begun = Instant::now();
    process.signal("TERM");
    let status = process.child.wait().expect("the process can be waited for");
    // Ending in order it may get to the place where it is to die.
    let died = process.failpoint.is_some() && std::os::unix::process::ExitStatusExt::signal(&status) == Some(6);
    assert!(died || status.code() == Some(0), "SIGTERM ends seam {} with 0, not {status}", process.role);
    assert!(begun.elapsed() < Duration::from_secs(10), "SIGTERM ends seam {} in under 10 s", process.role);
}

pub fn get(agent: &ureq::Agent, url: &str, path: &str) -> Result<(u16, Value), String> {
    let mut reply = agent.get(format!("{url}{path}")).call().map_err(|e| e.to_string())?;
    let status = reply.status().as_u16();
    let text = reply.body_mut().with_config().limit(1 << 30).read_to_string().map_err(|e| e.to_string())?;
    Ok((status, serde_json::from_str(&text).unwrap_or(Value::String(text))))
}

/// Sends a body until some collector has taken it: what a lost reply stored is a duplicate then.
pub fn send(cluster: &mut Cluster, body: &str, seed: &mut u64) {
    let give_up = Instant::now() + Duration::from_secs(120);
    while Instant::now() < give_up {
        cluster.resume(false);
        let urls = cluster.urls("ingest");
        let url = format!("{}/v1/events/flights", urls[random(seed) as usize % urls.len()]);
        let reply = cluster.agent.post(url).header("content-type", "application/x-ndjson").send(body);
        match reply.map(|mut reply| (reply.status().as_u16(), reply.body_mut().read_to_string())) {
            Ok((202, _)) => return,
            Ok((503, _)) | Err(_) => std::thread::sleep(Duration::from_millis(100)),
            Ok((status, said)) => panic!("the collector answered {status}: {said:?}"),
        }
    }
    panic!("no collector took the flights");
}

/// What the topic holds: by partition, offsets and which flights they are; `None` for one that is there before with its id.
pub type Topic = BTreeMap<u32, Vec<(u64, Option<usize>)>>;

pub fn read_topic(config: &str, flights: &[Flight]) -> Topic {
    let known: HashMap<&str, usize> = flights.iter().zip(0..).map(|(flight, at)| (flight.line.as_str(), at)).collect();
    let config = config::load(config, "seam.yaml").unwrap_or_else(|report| panic!("{report}"));
    let config::LogStorage::Kafka(storage) = &config.storage.log else { panic!("the log is Kafka") };
    let log = KafkaLog::new(storage, &config.name, BTreeMap::new()).expect("a client of Kafka");
    let runtime = tokio::runtime::Runtime::new().expect("threads");
    runtime.block_on(async {
        let topic = log.open("flights", PARTITIONS).await.expect("the topic is there");
        assert!(topic.partitions >= PARTITIONS);
        let mut held = BTreeMap::new();
        for number in 0..topic.partitions {
            let partition = Partition::new("flights", number);
            let (start, end) = log.bounds(&partition).await.expect("bounds");
            let (mut at, mut records, mut seen) = (start, Vec::new(), HashSet::new());
            while at < end {
                let chunk = log.read(&partition, at, 10_000, 16 << 20).await.expect("the topic is read");
                for record in chunk.iter() {
                    let line = std::str::from_utf8(record.value).expect("UTF-8");
                    let flight = known[line];
                    let is_first = seen.insert(flights[flight].id.as_str());
                    records.push((record.offset.0, is_first.then_some(flight)));
                }
                at = chunk.next.max(Offset(at.0));
            }
            held.insert(number, records);
        }
        held
    })
}

/// The flights that count below a coverage: the first of each id in its partition.
pub fn below<'f>(topic: &Topic, flights: &'f [Flight], coverage: &str) -> Vec<&'f Flight> {
    let mut out = Vec::new();
    for part in coverage.split(',').filter(|part| !part.is_empty()) {
        let (place, offset) = part.split_once('@').expect("source/partition@offset");
        let number: u32 = place.rsplit_once('/').expect("source/partition").1.parse().expect("a partition");
        let offset: u64 = offset.parse().expect("an offset");
        let held = topic[&number].iter().take_while(|(at, _)| *at < offset);
        out.extend(held.filter_map(|(_, flight)| Some(&flights[(*flight)?])));
    }
    out
}

pub fn configuration(kafka: &Kafka, redis: &Redis) -> String {
    let storage = format!(
        "storage: {{ archive: \"s3://lake/seam\", speed: \"{}\", log: \"{}\" }}\n",
        redis.url(),
        kafka.bootstrap()
    );
    let config = CONFIG.replace("partitions: 2", &format!("partitions: {PARTITIONS}\n    dedupe: {{ horizon: 1h }}"));
    assert!(config.contains("dedupe"));
    config.replace("name: flights\n", &format!("name: flights\n{storage}"))
}

/// Asks the serving processes until their answers count that many events; how long that took. Who only now gets to the failpoint
/// where it is to die starts again.
pub fn wait_fresh(cluster: &mut Cluster, events: u64) -> Duration {
    let begun = Instant::now();
    let path = "/api/analytics/metrics/delay.by_carrier?window=1d&from=2013-01-01&to=2014-01-02&limit=1";
    loop {
        cluster.revive();
        let mut reached = 0;
        for url in cluster.urls("serve") {
            let Ok((200, answer)) = get(&cluster.agent, &url, path) else { continue };
            let shares = &answer["meta"]["stamp"]["views"][0]["shares"];
            let counted = |half: &str| shares[half]["events"].as_u64().unwrap_or_default();
            reached += usize::from(counted("batch") + counted("speed") == events);
        }
        if reached == EACH {
            return begun.elapsed();
        }
        assert!(begun.elapsed() < Duration::from_secs(180), "answers become fresh again");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// The archive is whole, and no generation ever differed from what it replaced.
pub fn check_lake(cluster: &Cluster) {
    let run = |words: &[&str]| {
        let mut command = seam();
        command.current_dir(&cluster.folder.0).args(words).envs(cluster.environment.iter().map(|(n, v)| (*n, v)));
        let out = command.output().expect("the built program runs");
        let said = String::from_utf8_lossy(&out.stdout).into_owned();
        assert!(out.status.success(), "{words:?}: {said}{}", String::from_utf8_lossy(&out.stderr));
        serde_json::from_str::<Value>(&said).expect("JSON")
    };
    let verified = run(&["archive", "verify", "--json"]);
    assert!(verified[0]["records"].as_u64().is_some_and(|records| records > 0), "{verified}");
    let rebuilt = run(&["speed", "rebuild", "--compare", "--json"]);
    for line in rebuilt.as_array().expect("a line for each view and partition") {
        assert_eq!((&line["groups_that_differ"], &line["segments_missing"]), (&0.into(), &0.into()), "{line}");
    }
    for view in run(&["batch", "status", "--json"]).as_array().expect("views") {
        let drift = &view["drift"];
        assert!(drift["groups"] == 0 || drift["not_audited"].is_string() || drift.is_null(), "{view}");
    }
}
