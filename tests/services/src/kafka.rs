//! Brokers of Apache Kafka: one node that is its own controller, a cluster of three, and one that speaks TLS.
use std::path::Path;
use std::process::Command;

use crate::certificates::Certificates;
use crate::ports::free;
use crate::process::Process;
use crate::{SCRIPT, installed};

/// How often a start is tried: another process may take a port in between.
const ATTEMPTS: usize = 3;
/// Brokers that are one of three on a machine, or live for a few seconds, start sooner with a plain compiler and a small heap.
const SMALL: &str = "-Xms96m -Xmx320m -XX:+UseSerialGC -XX:TieredStopAtLevel=1";

/// One broker.
pub struct Kafka {
    /// Its port on 127.0.0.1; its controller listens on the next.
    pub port: u16,
    /// Kill, pause, restart. What was acknowledged is there again after a restart.
    pub process: Process,
}

impl Kafka {
    /// Starts a broker with properties (`name=value`) beside the defaults of `infra/services/kafka/start.sh`. `None` if it is not
    /// installed.
    ///
    /// # Panics
    /// If it does not start; in CI if it is not installed.
    pub fn start(properties: &[&str]) -> Option<Kafka> {
        installed("kafka").then(|| {
            let words: Vec<String> = properties.iter().map(|&line| line.to_owned()).collect();
            tried(|| Kafka::launch(free(10_000..32_000, &[0, 1]), words.clone(), None))
        })
    }

    /// Becomes ready, or says why not.
    fn launch(port: u16, words: Vec<String>, java: Option<&'static str>) -> Result<Kafka, String> {
        let build = move |folder: &Path| {
            // That it started before says nothing of this start; there may be no log yet.
            let _ = std::fs::remove_file(folder.join("kafka.log"));
            let mut command = Command::new(SCRIPT);
            command.args(["run", "kafka"]).arg(folder).arg(port.to_string()).args(&words);
            command.envs(java.map(|options| ("SEAM_KAFKA_JAVA", options)));
            command
        };
        let ready = |folder: &Path| {
            std::fs::read_to_string(folder.join("kafka.log")).is_ok_and(|log| log.contains("Kafka Server started"))
        };
        Process::start("kafka", build, ready).map(|process| Kafka { port, process })
    }

    /// `127.0.0.1:port`, for `bootstrap.servers`.
    pub fn bootstrap(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }
}

/// Three brokers that are their own controllers. Topics that say nothing else have three copies, of which two must have a record before
/// it is acknowledged; a copy that stands still is left behind after a second.
pub struct KafkaCluster {
    /// Node ids 1, 2 and 3, in order.
    pub nodes: Vec<Kafka>,
}

impl KafkaCluster {
    /// Starts all three at once, with properties for each. `None` if Kafka is not installed.
    ///
    /// # Panics
    /// If they do not come up; in CI if Kafka is not installed.
    pub fn start(properties: &[&str]) -> Option<KafkaCluster> {
        installed("kafka").then(|| tried(|| KafkaCluster::launch(properties)))
    }

    fn launch(properties: &[&str]) -> Result<KafkaCluster, String> {
        let mut ports: Vec<u16> = Vec::new();
        while ports.len() < 3 {
            let port = free(10_000..32_000, &[0, 1]);
            if ports.iter().all(|taken| taken.abs_diff(port) > 1) {
                ports.push(port);
            }
        }
        let voters: Vec<String> = (1..).zip(&ports).map(|(id, port)| format!("{id}@127.0.0.1:{}", port + 1)).collect();
        // Any 16 bytes, in base64.
        let cluster = format!("seam{:05}{:05}{:05}AAA", ports[0], ports[1], ports[2]);
        let words = |id: usize| {
            let mut words = vec![
                format!("node.id={id}"),
                format!("controller.quorum.voters={}", voters.join(",")),
                format!("--cluster-id={cluster}"),
            ];
            let copies = ["offsets.topic", "transaction.state.log", "share.coordinator.state.topic"];
            words.extend(copies.map(|topic| format!("{topic}.replication.factor=3")));
            // On a busy machine three virtual machines are slower to say that they live than one.
            let patient = ["broker.session.timeout.ms=3000", "broker.heartbeat.interval.ms=500"];
            words.extend(patient.map(str::to_owned));
            let more = ["default.replication.factor=3", "min.insync.replicas=2", "replica.lag.time.max.ms=1000"];
            words.extend(more.iter().chain(properties).map(|&line| line.to_owned()));
            words
        };
        let started = std::thread::scope(|scope| {
            let launch = |(id, &port): (usize, &u16)| {
                let words = words(id);
                scope.spawn(move || Kafka::launch(port, words, Some(SMALL)))
            };
            let starting: Vec<_> = (1..).zip(&ports).map(launch).collect();
            starting.into_iter().map(|node| node.join().expect("a start does not panic")).collect::<Vec<_>>()
        });
        Ok(KafkaCluster { nodes: started.into_iter().collect::<Result<_, _>>()? })
    }

    /// All brokers, for `bootstrap.servers`.
    pub fn bootstrap(&self) -> String {
        self.nodes.iter().map(Kafka::bootstrap).collect::<Vec<_>>().join(",")
    }
}

/// A broker that speaks TLS. All its ports but the first are named by `localhost` only: so says its certificate.
pub struct SecureKafka {
    /// The broker; its own port is for other brokers, without TLS.
    pub broker: Kafka,
    /// What it and its clients prove who they are with.
    pub certificates: Certificates,
}

impl SecureKafka {
    /// Starts a broker that speaks TLS on one port, where clients need a certificate, and SASL (SCRAM-SHA-256) over TLS on another, with
    /// user `seam` and that password. `None` if Kafka is not installed.
    ///
    /// # Panics
    /// If it does not start; in CI if it is not installed.
    pub fn start(password: &str) -> Option<SecureKafka> {
        installed("kafka").then(|| {
            let certificates = Certificates::new();
            let broker = tried(|| {
                let port = free(10_000..32_000, &[0, 1, 2, 3]);
                let mut words = vec![
                    format!(
                        "listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{},SSL://127.0.0.1:{},SASL_SSL://127.0.0.1:{}",
                        port + 1,
                        port + 2,
                        port + 3
                    ),
                    format!(
                        "advertised.listeners=PLAINTEXT://127.0.0.1:{port},SSL://localhost:{},SASL_SSL://localhost:{}",
                        port + 2,
                        port + 3
                    ),
                    format!("ssl.keystore.location={}", certificates.path("broker.pem")),
                    format!("ssl.truststore.location={}", certificates.path("ca.crt")),
                    format!("--add-scram=SCRAM-SHA-256=[name=seam,password={password}]"),
                ];
                words.extend(
                    [
                        "ssl.keystore.type=PEM",
                        "ssl.truststore.type=PEM",
                        "listener.name.ssl.ssl.client.auth=required",
                        "sasl.enabled.mechanisms=SCRAM-SHA-256",
                        "listener.name.sasl_ssl.scram-sha-256.sasl.jaas.config=\
                         org.apache.kafka.common.security.scram.ScramLoginModule required;",
                    ]
                    .map(str::to_owned),
                );
                Kafka::launch(port, words, Some(SMALL))
            });
            SecureKafka { broker, certificates }
        })
    }

    /// Where clients prove who they are with a certificate.
    pub fn tls_port(&self) -> u16 {
        self.broker.port + 2
    }

    /// Where clients prove who they are with a password.
    pub fn sasl_port(&self) -> u16 {
        self.broker.port + 3
    }
}

fn tried<T>(mut start: impl FnMut() -> Result<T, String>) -> T {
    let mut said = String::new();
    for _ in 0..ATTEMPTS {
        match start() {
            Ok(started) => return started,
            Err(error) => said = error,
        }
    }
    panic!("{said}");
}
