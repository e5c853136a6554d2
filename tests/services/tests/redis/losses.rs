//! Half a script, keys that go away, files that are torn, memory that is short: never a wrong number.
use std::sync::Arc;

use seam_services::Redis;
use seam_shared::log::Offset;
use seam_shared::state::{Committed, StateStore, ViewId};

use crate::world::{Dice, Plain, at, fresh, keys, namespace, place};

fn view() -> ViewId {
    Arc::from("v@1")
}

/// The pid-like part of a test's seed that may be given from outside.
fn seed(default: u64) -> u64 {
    std::env::var("SEAM_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// Whether a field of a view's state is needed by whoever comes next: a commit spells the progress anew, and a delta that is in the base
/// is for those alone who are a little behind.
fn is_needed(redis: &Redis, key: &str, field: &str) -> bool {
    let value = |field: &str| redis.command(&["--raw", "HGET", key, field]).unwrap();
    let number = |text: &str| text.split(' ').next().unwrap().parse::<u64>().unwrap();
    match field.strip_prefix('d') {
        Some(slot) if slot.parse::<u64>().is_ok() => {
            let delta = value(field);
            !delta.is_empty() && number(&delta) > number(&value("based"))
        }
        Some(_) | None => field != "progress" && (field != "base" || !value(field).is_empty()),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_key_goes_away_the_view_counts_as_missing_and_is_folded_anew() {
    let Some(redis) = Redis::start(&[]) else { return };
    let mut dice = Dice(seed(1));
    let mut lost = 0;
    for round in 0..40 {
        let namespace = namespace();
        let (worker, reader) = (at(&redis.url(), &namespace), at(&redis.url(), &namespace));
        let plain = Plain { seed: round, segment: 20 + dice.below(60) };
        let mut position = 0;
        while position < 250 {
            position = plain.advance(&worker, &view(), 1 + dice.below(40)).await;
        }
        if dice.one_in(2) {
            plain.check(&reader, &view(), "before").await.unwrap();
        }
        let all = keys(&redis, &namespace);
        let key = &all[dice.below(all.len() as u64) as usize];
        match dice.below(4) {
            0 if key.ends_with(":state") => {
                let fields = redis.command(&["--raw", "HKEYS", key]).unwrap();
                let fields: Vec<&str> = fields.lines().collect();
                let field = fields[dice.below(fields.len() as u64) as usize];
                if !is_needed(&redis, key, field) {
                    continue;
                }
                assert_eq!(redis.command(&["HDEL", key, field]).unwrap(), "1");
            }
            1 => {
                redis.command(&["SET", key, "something else"]).unwrap();
            }
            2 => {
                redis.command(&["DEL", key]).unwrap();
                redis.command(&["RPUSH", key, "x"]).unwrap();
            }
            _ => {
                redis.command(&["DEL", key]).unwrap();
            }
        }
        lost += 1;
        let context = format!("round {round} without {key}");
        // The commit of a busy worker notices too.
        let before = worker.commit(&place(), vec![plain.commit(&view(), position, position + 1)]).await.unwrap();
        assert_eq!(before, Committed::Missing, "{context}");
        for _ in 0..6 {
            position = plain.advance(&worker, &view(), 30 + dice.below(30)).await;
            plain.check(&reader, &view(), &context).await;
        }
        assert_eq!(plain.check(&reader, &view(), &context).await, Some(position), "{context}");
        assert!(position > 0, "{context}");
    }
    println!("{lost} losses, all found");
    assert!(lost > 30);
}

/// Only who fetches all rows needs that delta; the worker and its readers have them at hand, and must not go on without it for ever.
#[tokio::test(flavor = "multi_thread")]
async fn a_delta_that_goes_away_is_missed_by_a_worker_that_has_its_rows() {
    let Some(redis) = Redis::start(&[]) else { return };
    let namespace = namespace();
    let worker = at(&redis.url(), &namespace);
    let plain = Plain { seed: 1, segment: 10_000 };
    let mut position = 0;
    for _ in 0..6 {
        position = plain.advance(&worker, &view(), 10).await;
    }
    let state = keys(&redis, &namespace).into_iter().find(|key| key.ends_with(":state")).unwrap();
    assert_eq!(redis.command(&["HDEL", &state, "d3"]).unwrap(), "1");
    let refused = worker.commit(&place(), vec![plain.commit(&view(), position, position + 1)]).await.unwrap();
    assert_eq!(refused, Committed::Missing);
    for _ in 0..3 {
        position = plain.advance(&worker, &view(), 40).await;
    }
    assert_eq!(position, 120, "folded anew from the beginning");
    assert_eq!(plain.check(&at(&redis.url(), &namespace), &view(), "without d3").await, Some(120));
}

/// What counts is the last command of a script: one that ends before it has changed nothing, not even in another view.
#[tokio::test(flavor = "multi_thread")]
async fn half_a_script_is_no_change_at_all() {
    let Some(redis) = Redis::start(&[]) else { return };
    // Users who may not set a string, or not a hash's fields: closing a segment then ends before or after its first write.
    for (user, without) in [("nothing", "-set"), ("half", "-hset")] {
        let rules = "on >pass ~* +eval +evalsha +hget +hmget +hset +hlen +hstrlen +get +set +strlen +unlink";
        let mut words = vec!["ACL", "SETUSER", user];
        words.extend(rules.split(' ').chain([without]));
        redis.command(&words).unwrap();
        for segment in [10, 25] {
            let namespace = namespace();
            let whole = at(&redis.url(), &namespace);
            let half = at(&redis.url().replace("redis://", &format!("redis://{user}:pass@")), &namespace);
            let plain = Plain { seed: 3, segment };
            assert_eq!(plain.advance(&whole, &view(), segment - 2).await, segment - 2);
            let closing = plain.commit(&view(), segment - 2, segment + 3);
            let error = half.commit(&place(), vec![closing.clone()]).await.unwrap_err();
            println!("{error}");
            let strings = keys(&redis, &namespace).into_iter().filter(|key| key.contains(":closed:")).count();
            assert_eq!(strings, usize::from(user == "half"), "the script was begun");
            assert_eq!(plain.check(&whole, &view(), "half").await, Some(segment - 2));
            assert_eq!(whole.segment(&place(), &view(), Offset(0)).await.unwrap(), None);
            assert_eq!(whole.commit(&place(), vec![closing]).await.unwrap(), Committed::Applied);
            assert_eq!(plain.check(&whole, &view(), "whole").await, Some(segment + 3));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_memory_a_commit_is_applied_or_not_but_never_by_half() {
    let Some(redis) = Redis::start(&[]) else { return };
    let mut dice = Dice(seed(2));
    let (mut refused, mut applied) = (0, 0);
    let namespace = namespace();
    let (worker, reader) = (at(&redis.url(), &namespace), at(&redis.url(), &namespace));
    let plain = Plain { seed: 9, segment: 400 };
    let mut position = plain.advance(&worker, &view(), 30).await;
    for margin in 0..60_u64 {
        let limit = redis.info().bytes() + 4_000 * (margin % 30) - 90_000;
        redis.command(&["CONFIG", "SET", "maxmemory", &limit.to_string()]).unwrap();
        for _ in 0..4 {
            let to = position + 1 + dice.below(300);
            match worker.commit(&place(), vec![plain.commit(&view(), position, to)]).await {
                Ok(committed) => {
                    assert_eq!(committed, Committed::Applied, "margin {margin}");
                    (position, applied) = (to, applied + 1);
                }
                Err(error) => {
                    assert!(error.to_string().contains("memory"), "{error}");
                    refused += 1;
                }
            }
            assert_eq!(plain.check(&reader, &view(), "short of memory").await, Some(position), "margin {margin}");
        }
        if margin % 7 == 0 {
            // What a generation covers can be dropped even without memory.
            worker.trim(&place(), &view(), Offset(plain.start_of(position))).await.unwrap();
        }
        redis.command(&["CONFIG", "SET", "maxmemory", "0"]).unwrap();
    }
    println!("{applied} commits applied, {refused} refused for want of memory");
    assert!(applied > 20 && refused > 20);
}

/// The newest file of commands in a server's folder.
fn append_only_file(redis: &Redis) -> std::path::PathBuf {
    let folder = redis.process.folder().join("appendonlydir");
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.to_string_lossy().ends_with(".incr.aof"));
    files.sort();
    files.pop().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_torn_append_only_file_never_gives_a_wrong_snapshot() {
    let Some(redis) = Redis::start(&["appendonly yes", "appendfsync no"]) else { return };
    let mut dice = Dice(seed(3));
    let (mut whole, mut lost) = (0, 0);
    for sequence in 0..12_u64 {
        redis.command(&["FLUSHALL"]).unwrap();
        let namespace = namespace();
        let plain = Plain { seed: sequence, segment: 30 };
        for tear in 0..5 {
            let worker = at(&redis.url(), &namespace);
            for _ in 0..2 + dice.below(8) {
                plain.advance(&worker, &view(), 1 + dice.below(25)).await;
            }
            redis.process.kill();
            let file = append_only_file(&redis);
            let bytes = std::fs::metadata(&file).unwrap().len();
            let cut = bytes - dice.below(bytes.min(4_000));
            std::fs::OpenOptions::new().write(true).open(&file).unwrap().set_len(cut).unwrap();
            redis.process.restart();
            let reader = at(&redis.url(), &namespace);
            match plain.check(&reader, &view(), &format!("sequence {sequence}, tear {tear}, cut at {cut}")).await {
                Some(_) => whole += 1,
                None => lost += 1,
            }
        }
        let worker = fresh(&redis.url());
        let position = plain.advance(&worker, &view(), 77).await;
        assert_eq!(plain.check(&worker, &view(), "after all").await, Some(position));
    }
    println!("torn {} times: {whole} whole, {lost} to be folded anew, 0 wrong", whole + lost);
}
