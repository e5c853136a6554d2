//! `seam doctor`: tries out everything that the configuration names, and says what endangers events or numbers, and what to do.
mod disk;
mod lake;
#[cfg(feature = "kafka")]
mod retention;
mod services;

use std::path::Path;
use std::time::Duration;

use seam_shared::advice::{Advice, Severity};
use seam_shared::config::{Config, LogStorage, SpeedStorage};
use seam_shared::{Error, Result};
use serde::Serialize;

use crate::args;
use crate::failure::UNAVAILABLE;
use crate::output::{counted, say};

/// Longer than every client's own patience: whoever does not answer by then does not answer.
const PATIENCE: Duration = Duration::from_secs(90);

/// One line of the report.
#[derive(Debug, Serialize)]
struct Finding {
    status: &'static str,
    area: &'static str,
    message: String,
}

/// What was found so far.
#[derive(Debug, Default)]
struct Findings(Vec<Finding>);

impl Findings {
    /// Adds what a check found; `fine` if it found nothing worth a warning.
    fn add(&mut self, area: &'static str, advice: Vec<Advice>, fine: &str) {
        if !fine.is_empty() && advice.iter().all(|a| a.severity == Severity::Note) {
            self.0.push(Finding { status: "ok", area, message: fine.to_owned() });
        }
        for Advice { severity, message } in advice {
            let status = match severity {
                Severity::Note => "ok",
                Severity::Warn => "warn",
                Severity::Refuse => "fail",
            };
            self.0.push(Finding { status, area, message });
        }
    }

    fn failed(&self) -> bool {
        self.0.iter().any(|finding| finding.status == "fail")
    }

    fn print(&self, json: bool) {
        if json {
            say!("{:#}", serde_json::json!({ "ok": !self.failed(), "findings": self.0 }));
            return;
        }
        for Finding { status, area, message } in &self.0 {
            say!("{status:<5} {area:<8} {message}");
        }
    }
}

/// Checks everything and prints it; the exit code is 1 if something must be mended first.
pub fn run(config: Config, command: &args::Doctor) -> Result<u8> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|e| Error::internal("threads cannot be started").because(e))?;
    let findings = runtime.block_on(examine(&config));
    findings.print(command.json);
    // A client that is still waiting for a service that does not answer is not waited for.
    runtime.shutdown_background();
    Ok(u8::from(findings.failed()))
}

/// Asks a running Seam whether it is ready: for health checks in images that hold no other program.
pub fn ready(url: &str) -> u8 {
    let agent: ureq::Agent = ureq::Agent::config_builder().timeout_global(Some(Duration::from_secs(4))).build().into();
    let answer = agent.get(format!("{}/readyz", url.trim_end_matches('/'))).call();
    match answer {
        Ok(_) => 0,
        Err(error) => {
            eprintln!("{url} is not ready: {error}");
            UNAVAILABLE
        }
    }
}

async fn examine(config: &Config) -> Findings {
    let mut findings = Findings::default();
    let (sources, views) = (config.sources.len(), config.views.len());
    let mut settings = Vec::new();
    if config.batch.schedule.is_none() {
        settings.push(Advice::note(
            "batch.schedule is off: run `seam batch run` from elsewhere, or speed state grows for ever",
        ));
    }
    findings.add(
        "config",
        settings,
        &format!("{}, {}", counted(sources as u64, "source"), counted(views as u64, "view")),
    );
    if matches!(config.storage.log, LogStorage::Embedded) || matches!(config.storage.speed, SpeedStorage::Embedded) {
        findings.add("disk", disk::check(&config.storage.directory), "");
    }
    if let Some(folder) = config.storage.archive.strip_prefix("file://") {
        findings.add("disk", disk::check(Path::new(folder)), "");
    }
    findings.add("lake", timely("the lake", lake::check(config)).await, "");
    findings.add("log", timely("the log", services::log(config)).await, "");
    findings.add("state", timely("the state store", services::state(config)).await, "");
    findings
}

async fn timely(what: &str, check: impl Future<Output = Vec<Advice>>) -> Vec<Advice> {
    let silent = |_| vec![Advice::refuse(format!("{what} does not answer within {PATIENCE:?}: is its address right?"))];
    tokio::time::timeout(PATIENCE, check).await.unwrap_or_else(silent)
}
