//! What servers do to the state beside losing it: settings that endanger it, slots that move.
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use seam_services::{Redis, RedisCluster};
use seam_shared::Kind;
use seam_shared::log::Offset;
use seam_shared::state::redis::{RedisState, Severity};
use seam_shared::state::{Committed, StateStore, ViewId};

use crate::world::{Plain, at, fresh, place};

async fn severities(state: &RedisState) -> Vec<(Severity, String)> {
    state.check().await.into_iter().map(|advice| (advice.severity, advice.message)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_that_endanger_state_are_told() {
    let Some(redis) = Redis::start(&["maxmemory 1gb"]) else { return };
    let state = fresh(&redis.url());
    assert_eq!(severities(&state).await, [], "nothing to say about a server as it should be");
    assert_eq!(state.examine().await.unwrap(), []);
    redis.command(&["CONFIG", "SET", "maxmemory-policy", "allkeys-lru"]).unwrap();
    redis.command(&["CONFIG", "SET", "appendonly", "yes"]).unwrap();
    let said = severities(&state).await;
    assert!(
        matches!(&said[..], [(Severity::Refuse, policy), (Severity::Warn, file)]
            if policy.contains("noeviction") && file.contains("appendonly")),
        "{said:?}"
    );
    let examined = state.examine().await.unwrap().into_iter().map(|advice| (advice.severity, advice.message));
    assert_eq!(examined.collect::<Vec<_>>(), said);
    redis.command(&["CONFIG", "SET", "appendonly", "no"]).unwrap();
    redis.command(&["ACL", "SETUSER", "half", "on", ">pass", "~*", "+info"]).unwrap();
    let half = fresh(&redis.url().replace("redis://", "redis://half:pass@"));
    let said = severities(&half).await;
    assert!(said.iter().any(|(severity, _)| *severity == Severity::Refuse), "INFO tells the policy too: {said:?}");
    assert!(said.iter().any(|(_, message)| message.contains("does not show us all")), "{said:?}");
    let not_permitted = half.examine().await.unwrap_err();
    assert!(not_permitted.to_string().contains("does not permit"), "{not_permitted}");
    redis.command(&["ACL", "SETUSER", "half", "-info"]).unwrap();
    assert!(matches!(&severities(&half).await[..], [(Severity::Note, _)]));
    redis.process.kill();
    assert_eq!(state.examine().await.unwrap_err().kind(), Kind::Unavailable);
    let said = severities(&fresh(&redis.url())).await;
    assert!(matches!(&said[..], [(Severity::Refuse, message)] if message.contains("does not answer")), "{said:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_node_of_a_cluster_is_checked() {
    let Some(cluster) = RedisCluster::start(&["maxmemory 1gb"]) else { return };
    let state = fresh(&cluster.urls()[0].replace("redis://", "redis+cluster://"));
    assert_eq!(severities(&state).await, []);
    cluster.nodes[2].command(&["CONFIG", "SET", "maxmemory-policy", "volatile-ttl"]).unwrap();
    let said = severities(&state).await;
    assert!(matches!(&said[..], [(Severity::Refuse, message)] if message.contains("volatile-ttl")), "{said:?}");
}

/// The slot of a key's hash tag: CRC-16/XMODEM modulo 16,384.
fn slot(tag: &str) -> u16 {
    let crc = tag.bytes().fold(0_u16, |crc, byte| {
        (0..8).fold(crc ^ u16::from(byte) << 8, |crc, _| if crc & 0x8000 == 0 { crc << 1 } else { crc << 1 ^ 0x1021 })
    });
    crc % 16_384
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slot_that_moves_takes_the_state_with_it() {
    let Some(cluster) = RedisCluster::start(&[]) else { return };
    // redis-cli moves the lowest slots of a node first.
    let name = (0..).map(|n| format!("m{n}")).find(|name| slot(&format!("{name}/clicks/0")) < 12).unwrap();
    let url = cluster.urls()[0].replace("redis://", "redis+cluster://");
    let (worker, reader) = (at(&url, &name), at(&url, &name));
    let plain = Arc::new(Plain { seed: 5, segment: 90 });
    let view: ViewId = Arc::from("v@1");
    worker.claim(&place(), &view, Offset(0)).await.unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let writing = tokio::spawn({
        let (plain, view, stop) = (plain.clone(), view.clone(), stop.clone());
        async move {
            let (mut position, mut stalled) = (0, 0);
            while !stop.load(Ordering::SeqCst) {
                match worker.commit(&place(), vec![plain.commit(&view, position, position + 7)]).await {
                    Ok(Committed::Applied) => position += 7,
                    // The request was sent again after an answer that got lost: the store tells where it stands.
                    Ok(Committed::Moved) => position = plain.check(&worker, &view, "moved").await.unwrap_or(position),
                    Ok(Committed::Missing) => panic!("a moving slot loses nothing"),
                    Err(_) => stalled += 1,
                }
                if plain.start_of(position) > 900 && position % 5 == 0 {
                    let _ = worker.trim(&place(), &view, Offset(plain.start_of(position) - 450)).await;
                }
            }
            (position, stalled)
        }
    });
    let mut answers = 0;
    for round in 0..6 {
        let (from, to) = [(0, 1), (1, 0)][round % 2];
        tokio::task::block_in_place(|| cluster.move_slots(from, to, 12));
        let keys = [from, to].map(|node| cluster.nodes[node].command(&["DBSIZE"]).unwrap());
        assert!(keys[0] == "0" && keys[1] != "0", "the keys moved from {from} to {to}: {keys:?}");
        for _ in 0..20 {
            if let Ok(found) = reader.snapshot(&place(), std::slice::from_ref(&view)).await {
                assert!(found[0].is_some(), "round {round}");
                answers += 1;
            }
        }
        // A request that meets the move may give up; the next ones find the way.
        let mut checked = false;
        for _ in 0..20 {
            checked |= plain.check(&reader, &view, &format!("after move {round}")).await.is_some();
        }
        assert!(checked, "round {round}");
    }
    stop.store(true, Ordering::SeqCst);
    let (position, stalled) = writing.await.unwrap();
    assert_eq!(plain.check(&reader, &view, "at last").await, Some(position));
    println!("6 moves of the slot, {position} events, {answers} answers, {stalled} commits that gave up");
    assert!(position > 500);
}
