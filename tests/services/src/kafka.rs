//! A broker of Apache Kafka: one node that is its own controller.
use std::process::Command;

use crate::ports::free;
use crate::process::Process;
use crate::{SCRIPT, installed};

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
        if !installed("kafka") {
            return None;
        }
        let properties: Vec<String> = properties.iter().map(|&line| line.to_owned()).collect();
        let mut said = String::new();
        for _ in 0..3 {
            let port = free(10_000..32_000, &[0, 1]);
            let properties = properties.clone();
            let build = move |folder: &std::path::Path| {
                // That it started before says nothing of this start; there may be no log yet.
                let _ = std::fs::remove_file(folder.join("kafka.log"));
                let mut command = Command::new(SCRIPT);
                command.args(["run", "kafka"]).arg(folder).arg(port.to_string()).args(&properties);
                command
            };
            let ready = |folder: &std::path::Path| {
                std::fs::read_to_string(folder.join("kafka.log")).is_ok_and(|log| log.contains("Kafka Server started"))
            };
            match Process::start("kafka", build, ready) {
                Ok(process) => return Some(Kafka { port, process }),
                Err(error) => said = error,
            }
        }
        panic!("{said}");
    }

    /// `127.0.0.1:port`, for `bootstrap.servers`.
    pub fn bootstrap(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }
}
