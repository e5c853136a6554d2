//! What commits and looks cost a server, as it counts itself.
use std::collections::BTreeSet;

use seam_services::Redis;
use seam_shared::state::{Committed, StateStore, ViewId, contract};
use seam_shared::view::rows::Rows;

use crate::world::{Dice, Plain, at, namespace, place};

/// Commands that the server ran since the last call, by name.
fn ran(redis: &Redis, names: &[&str]) -> u64 {
    let info = redis.info();
    redis.command(&["CONFIG", "RESETSTAT"]).unwrap();
    names.iter().map(|name| info.calls(name)).sum()
}

const WRITES: [&str; 10] = ["hset", "hmset", "hsetnx", "set", "mset", "hincrby", "hdel", "unlink", "del", "append"];

/// A flush is one command, however many panes it writes; each segment that closes is one more. Each pane counts a row at least, so these
/// are at most as many as there are panes.
#[tokio::test(flavor = "multi_thread")]
async fn a_flush_is_one_write_command() {
    let Some(redis) = Redis::start(&[]) else { return };
    let view: ViewId = "v@1".into();
    let (worker, plain) = (at(&redis.url(), &namespace()), Plain { seed: 5, segment: 200 });
    let mut dice = Dice(4);
    let mut position = plain.advance(&worker, &view, 10).await;
    let (mut single, mut closing) = (0, 0);
    ran(&redis, &[]);
    for flush in 0..150 {
        let to = position + 1 + dice.below(if flush % 3 == 0 { 2 } else { 40 });
        let commit = plain.commit(&view, position, to);
        let panes = |rows: &Rows| rows.panes.iter().collect::<BTreeSet<_>>().len() as u64;
        let dirty: u64 = commit.segments.iter().map(|segment| panes(&segment.rows)).sum();
        let closed = commit.segments.iter().filter(|segment| segment.end.is_some()).count() as u64;
        assert_eq!(worker.commit(&place(), vec![commit]).await.unwrap(), Committed::Applied);
        let writes = ran(&redis, &WRITES);
        assert_eq!(writes, 1 + closed, "flush {flush} to {to}");
        assert!(writes <= dirty, "flush {flush}: {writes} write commands for {dirty} dirty panes");
        (single, closing) = (single + u64::from(dirty == 1), closing + closed);
        position = to;
    }
    assert!(single > 10 && closing > 5, "{single} flushes of one pane, {closing} closed segments");
    plain.check(&worker, &view, "after all").await.unwrap();
}

/// A reader that follows fetches what has changed since it looked last; one that begins or was away for long fetches everything, once.
#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_follows_fetches_what_has_changed() {
    let Some(redis) = Redis::start(&[]) else { return };
    let view: ViewId = "v@1".into();
    let namespace = namespace();
    let (worker, reader) = (at(&redis.url(), &namespace), at(&redis.url(), &namespace));
    let plain = Plain { seed: 6, segment: 100_000 };
    // The hash's fields that a look fetches beside the plain ones: deltas, and all rows.
    let fetched = async |reader: &seam_shared::state::redis::RedisState| {
        ran(&redis, &[]);
        let rows = reader.snapshot(&place(), std::slice::from_ref(&view)).await.unwrap().remove(0).unwrap().open;
        (ran(&redis, &["hget"]), contract::counts(&rows))
    };
    let mut position = plain.advance(&worker, &view, 2_000).await;
    fetched(&reader).await;
    for round in 0..120 {
        position = plain.advance(&worker, &view, 20).await;
        let (fields, counts) = fetched(&reader).await;
        assert_eq!(fields, 1, "round {round}: one delta");
        assert_eq!(counts, plain.seen(0, position).3, "round {round}");
        assert_eq!(fetched(&reader).await.0, 0, "round {round}: nothing has changed");
    }
    for away in [10, 40, 63, 64, 65, 200] {
        for _ in 0..away {
            position = plain.advance(&worker, &view, 7).await;
        }
        let (fields, counts) = fetched(&reader).await;
        assert_eq!(counts, plain.seen(0, position).3, "after {away} flushes");
        assert!(fields <= 64 + 1 + 64, "after {away} flushes: {fields} fields");
        assert!(away > 63 || fields == away, "after {away} flushes: {fields} fields");
        assert_eq!(fetched(&at(&redis.url(), &namespace)).await.1, counts, "one that begins");
    }
}
