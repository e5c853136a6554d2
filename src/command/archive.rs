//! `seam archive verify`: whether the archive is what its tables say.
use std::sync::Arc;

use seam_batch::verify::{self, Report};
use seam_shared::clock::{Clock, SystemClock};
use seam_shared::config::Config;
use seam_shared::lake::archive::ArchiveTable;
use seam_shared::{Kind, Result};

use crate::args::Verify;
use crate::configuration;
use crate::output::{json, say};
use crate::runtime::runtime;
use crate::wire::lake;

/// Walks every archive, or those that are named. Exit code 1 if anything is wrong.
pub fn verify(config: Config, command: &Verify) -> Result<u8> {
    for name in &command.source {
        configuration::source(&config, name)?;
    }
    let reports = runtime()?.block_on(walk(config, command))?;
    if command.json {
        json(&reports)?;
    } else {
        reports.iter().for_each(print);
    }
    Ok(u8::from(reports.iter().any(|report| !report.problems.is_empty())))
}

async fn walk(config: Config, command: &Verify) -> Result<Vec<Report>> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let lake = lake(&config)?;
    let mut reports = Vec::new();
    let config = if command.source.is_empty() { config.with_own_stream() } else { config };
    let chosen = |name: &str| command.source.is_empty() || command.source.iter().any(|source| source == name);
    for source in config.sources.iter().filter(|source| chosen(&source.name)) {
        match ArchiveTable::existing(lake.clone(), source, clock.clone()).await {
            Ok(Some((table, _))) => reports.push(verify::verify(&table, source).await?),
            Ok(None) => {}
            Err(error) if error.kind() == Kind::Corrupt => {
                let problem = verify::Problem { file: format!("archive/{}", source.name), what: error.to_string() };
                reports.push(Report { source: source.name.clone(), problems: vec![problem], ..Report::default() });
            }
            Err(error) => return Err(error),
        }
    }
    Ok(reports)
}

fn print(report: &Report) {
    for problem in &report.problems {
        say!("{}: {}", problem.file, problem.what);
    }
    let to = report.to.to_text(&report.source);
    let up_to = if to.is_empty() { to } else { format!(", up to {to}") };
    let state = match report.problems.len() {
        0 => "whole".to_owned(),
        problems => format!("{problems} PROBLEMS"),
    };
    say!(
        "archive of {}: {state}; {} records ({} count, {} duplicates, {} invalid) in {} files, {} bytes{up_to}",
        report.source,
        report.records,
        report.counts,
        report.duplicates,
        report.invalid,
        report.files,
        report.bytes,
    );
}
