//! The lake: may we do there what must be done, does it keep create-only promises, do clocks agree, do the archives fit?
use seam_shared::advice::Advice;
use seam_shared::clock::{Clock, SystemClock};
use seam_shared::config::Config;
use seam_shared::lake::archive::ArchiveTable;
use seam_shared::lake::probe::{Probe, Tried, probe};
use std::sync::Arc;

use crate::wire;

/// Seconds that two clocks may differ before somebody should look.
const SKEW: f64 = 5.0;
/// Seconds from which stores refuse signed requests.
const SKEW_REFUSED: f64 = 600.0;

/// What is to be said about the lake.
pub async fn check(config: &Config) -> Vec<Advice> {
    let url = &config.storage.archive;
    let store = match wire::lake(config) {
        Ok(store) => store,
        Err(error) => return vec![Advice::refuse(error.to_string())],
    };
    let Probe { tried, ahead } = probe(store.as_ref(), &SystemClock.nonce(), SystemClock.now()).await;
    let usable = tried.iter().all(|tried| tried.result.is_ok() || !tried.needed);
    let mut found: Vec<Advice> = tried.into_iter().map(|tried| judge(url, tried)).collect();
    found.extend(ahead.map(clock));
    if !usable {
        return found;
    }
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    for source in &config.sources {
        found.push(match ArchiveTable::existing(store.clone(), source, clock.clone()).await {
            Ok(None) => Advice::note(format!("{} has no archive yet", source.name)),
            Ok(Some((table, _))) => match table.latest().await {
                Ok(now) => {
                    let (files, reach) = (now.files.len(), now.positions.to_text(&source.name));
                    Advice::note(format!("the archive of {} has {files} files and reaches {reach}", source.name))
                }
                Err(error) => Advice::refuse(error.to_string()),
            },
            Err(error) => Advice::refuse(error.to_string()),
        });
    }
    found
}

fn judge(url: &str, tried: Tried) -> Advice {
    let Tried { what, needed, took, result } = tried;
    match result {
        Ok(()) => Advice::note(format!("{url}: {what} works, {took:.1?}")),
        Err(wrong) if needed => Advice::refuse(format!("{url}: {what} does not work: {wrong}")),
        // Local files are for one machine, whose processes seldom compete.
        Err(_) if what == "compare-and-swap" && url.starts_with("file://") => {
            Advice::note(format!("{url}: no {what}; two runs may now and then do the same work, nothing worse"))
        }
        Err(wrong) => Advice::warn(format!("{url}: {what} does not work: {wrong}")),
    }
}

fn clock(ahead: f64) -> Advice {
    let said = format!("the store's clock is {ahead:+.1} s from this machine's");
    if ahead.abs() > SKEW_REFUSED {
        Advice::refuse(format!("{said}: requests will be refused; set the clock by NTP"))
    } else if ahead.abs() > SKEW {
        Advice::warn(format!("{said}: no number depends on clocks, but leases and ages do; set the clock by NTP"))
    } else {
        Advice::note(said)
    }
}
