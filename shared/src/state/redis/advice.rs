//! What a server's settings mean for the state that it holds, in words for people.
use std::collections::BTreeMap;

use redis::{RedisError, Value as Reply};

pub use crate::advice::{Advice, Severity};
use crate::error::Result;
use crate::state::redis::link::Link;

/// How much of the memory limit may be taken before that is worth a word, in percent.
const MEMORY_PERCENT: u64 = 70;
/// The first version with what the scripts need.
const VERSION_MIN: (u32, u32) = (7, 0);

fn advice(severity: Severity, message: impl Into<String>) -> Advice {
    Advice { severity, message: message.into() }
}

/// What is to be said about all servers behind a link, each thing once; an error if one does not answer.
pub(super) async fn check(link: &Link) -> Result<Vec<Advice>> {
    let place = link.settings().place();
    let mut found = Vec::new();
    let mut silent = false;
    match link.send(redis::cmd("INFO").arg("everything")).await {
        Ok(answer) => texts(&answer).iter().for_each(|info| about_server(&place, &fields(info), &mut found)),
        Err(error) if is_withheld(&error) => silent = true,
        Err(error) => return Err(link.failed(error)),
    }
    let mut settings = redis::cmd("CONFIG");
    settings.arg("GET").arg("maxmemory-policy").arg("appendonly").arg("maxmemory");
    match link.send(&settings).await {
        Ok(answer) => about_settings(&place, &pairs(&answer), &mut found),
        Err(error) if is_withheld(&error) => silent = true,
        Err(error) => return Err(link.failed(error)),
    }
    if silent {
        let message = format!(
            "{place} does not show us all of its settings (INFO, CONFIG GET); make sure that maxmemory-policy is noeviction \
             and appendonly is no"
        );
        found.push(Advice::note(message));
    }
    found.sort_by(|a, b| b.severity.cmp(&a.severity).then_with(|| a.message.cmp(&b.message)));
    found.dedup();
    Ok(found)
}

/// Whether the user may not ask that, or the service has no such command, as hosted ones do.
fn is_withheld(error: &RedisError) -> bool {
    matches!(error.code(), Some("NOPERM" | "ERR"))
}

fn about_server(place: &str, info: &BTreeMap<&str, &str>, found: &mut Vec<Advice>) {
    let version = info.get("redis_version").copied().unwrap_or_default();
    let mut parts = version.split('.').map(|part| part.parse::<u32>().unwrap_or(0));
    let known = (parts.next().unwrap_or(0), parts.next().unwrap_or(0));
    if known < VERSION_MIN {
        let (major, minor) = VERSION_MIN;
        found.push(advice(
            Severity::Refuse,
            format!("{place} is Redis {version}; the scripts need {major}.{minor} or later"),
        ));
    }
    if info.get("role").is_some_and(|role| *role == "slave") {
        found.push(advice(Severity::Refuse, format!("{place} is a replica; name the primary")));
    }
    let policy = info.get("maxmemory_policy").copied().unwrap_or_default();
    about_policy(place, policy, found);
    if info.get("aof_enabled").is_some_and(|on| *on == "1") {
        found.push(append_only(place));
    }
    let number = |name| info.get(name).and_then(|text| text.parse::<u64>().ok()).unwrap_or(0);
    about_memory(place, number("used_memory"), number("maxmemory"), found);
}

fn about_policy(place: &str, policy: &str, found: &mut Vec<Advice>) {
    if !policy.is_empty() && policy != "noeviction" {
        let message = format!(
            "{place} evicts keys when memory is short (maxmemory-policy {policy}), so that state is lost and folded anew again \
             and again; set maxmemory-policy to noeviction"
        );
        found.push(advice(Severity::Refuse, message));
    }
}

fn append_only(place: &str) -> Advice {
    let message = format!(
        "{place} keeps an append-only file (appendonly yes): after a crash that tears it, Redis 7.0 applies the torn \
         transaction at the second restart (60 of 70 trials). That is found and the state folded anew, but the file gains \
         nothing: the state is rebuilt from the log whatever is lost; set appendonly to no"
    );
    advice(Severity::Warn, message)
}

fn about_memory(place: &str, used: u64, limit: u64, found: &mut Vec<Advice>) {
    if limit == 0 {
        let message = format!("{place} has no memory limit (maxmemory 0); set one with 30 % to spare");
        found.push(advice(Severity::Note, message));
    } else if used.saturating_mul(100) > limit.saturating_mul(MEMORY_PERCENT) {
        let percent = used.saturating_mul(100) / limit;
        let message = format!("{place} uses {percent} % of its maxmemory; without room, new events wait in the log");
        found.push(advice(Severity::Warn, message));
    }
}

fn about_settings(place: &str, settings: &BTreeMap<String, String>, found: &mut Vec<Advice>) {
    let get = |name: &str| settings.get(name).map_or("", String::as_str);
    about_policy(place, get("maxmemory-policy"), found);
    if get("appendonly") == "yes" {
        found.push(append_only(place));
    }
}

/// The texts of an answer: one, or one for each node.
fn texts(answer: &Reply) -> Vec<String> {
    match answer {
        Reply::BulkString(bytes) => vec![String::from_utf8_lossy(bytes).into_owned()],
        Reply::SimpleString(text) | Reply::VerbatimString { text, .. } => vec![text.clone()],
        Reply::Map(nodes) => nodes.iter().flat_map(|(_, info)| texts(info)).collect(),
        Reply::Array(items) => items.iter().flat_map(texts).collect(),
        _ => Vec::new(),
    }
}

fn fields(info: &str) -> BTreeMap<&str, &str> {
    info.lines().filter_map(|line| line.split_once(':')).collect()
}

fn pairs(answer: &Reply) -> BTreeMap<String, String> {
    texts(answer).chunks_exact(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(info: &str) -> Vec<(Severity, String)> {
        let mut found = Vec::new();
        about_server("redis://h:1", &fields(info), &mut found);
        found.into_iter().map(|advice| (advice.severity, advice.message)).collect()
    }

    #[test]
    fn what_endangers_state_is_told() {
        let good = "redis_version:7.0.15\r\nrole:master\r\nmaxmemory_policy:noeviction\r\naof_enabled:0\r\nused_memory:1\r\nmaxmemory:100";
        assert_eq!(said(good), []);
        for (from, to, severity, word) in [
            ("7.0.15", "6.2.14", Severity::Refuse, "7.0 or later"),
            ("master", "slave", Severity::Refuse, "primary"),
            ("noeviction", "allkeys-lru", Severity::Refuse, "noeviction"),
            ("aof_enabled:0", "aof_enabled:1", Severity::Warn, "appendonly"),
            ("used_memory:1", "used_memory:80", Severity::Warn, "80 %"),
            ("maxmemory:100", "maxmemory:0", Severity::Note, "no memory limit"),
        ] {
            let found = said(&good.replace(from, to));
            assert!(matches!(&found[..], [(s, message)] if *s == severity && message.contains(word)), "{found:?}");
        }
    }
}
