//! Thousands of commits by workers that are too late, too early or twice, beside an oracle in memory.
use std::sync::Arc;

use seam_services::Redis;
use seam_shared::log::Offset;
use seam_shared::state::memory::MemoryState;
use seam_shared::state::{StateStore, ViewId, contract};

use crate::world::{Dice, Plain, at, namespace, place};

const CALLS: usize = 4_000;

async fn position(store: &dyn StateStore, view: &ViewId) -> u64 {
    let found = store.snapshot(&place(), std::slice::from_ref(view)).await.unwrap().remove(0);
    found.map_or(0, |found| found.progress.position.0)
}

#[tokio::test(flavor = "multi_thread")]
async fn late_early_and_repeated_calls_leave_what_the_oracle_says() {
    let Some(redis) = Redis::start(&[]) else { return };
    let namespace = namespace();
    // Each knows of the keys only what it wrote or read itself.
    let stores = [at(&redis.url(), &namespace), at(&redis.url(), &namespace), at(&redis.url(), &namespace)];
    let oracle = MemoryState::default();
    let views: [ViewId; 3] = ["v:1@a", "v@1:a", "v@{1}"].map(Arc::from);
    let plain = Plain { seed: 7, segment: 37 };
    let mut dice = Dice(20_261_122);
    let mut answers = std::collections::BTreeMap::new();
    for call in 0..CALLS {
        let store = &stores[dice.below(3) as usize];
        let view = &views[dice.below(3) as usize];
        let stands = position(&oracle, view).await;
        let answer = match dice.below(20) {
            0 => {
                let boundary = Offset(dice.below(9) * 37);
                let claimed = store.claim(&place(), view, boundary).await.unwrap();
                assert_eq!(claimed, oracle.claim(&place(), view, boundary).await.unwrap(), "claim {call}");
                "claim".to_owned()
            }
            1 => {
                let floor = Offset(plain.start_of(stands).saturating_sub(dice.below(4) * 37) + dice.below(2) * 37);
                let [ours, theirs] =
                    [store.trim(&place(), view, floor).await, oracle.trim(&place(), view, floor).await];
                assert_eq!(ours.is_ok(), theirs.is_ok(), "trim {call} to {floor}");
                "trim".to_owned()
            }
            2 if dice.one_in(6) => {
                store.forget(&place(), view).await.unwrap();
                oracle.forget(&place(), view).await.unwrap();
                "forget".to_owned()
            }
            _ => {
                let mut commits = Vec::new();
                for other in &views {
                    if other != view && !dice.one_in(5) {
                        continue;
                    }
                    let at = position(&oracle, other).await;
                    let mut step = Dice(dice.bits());
                    let from = match step.below(6) {
                        0 => at.saturating_sub(1 + step.below(50)),
                        1 => at + 1 + step.below(50),
                        _ => at,
                    };
                    commits.push(plain.commit(other, from, from + 1 + step.below(60)));
                }
                let ours = store.commit(&place(), commits.clone()).await.unwrap();
                assert_eq!(ours, oracle.commit(&place(), commits).await.unwrap(), "commit {call}");
                format!("{ours:?}")
            }
        };
        *answers.entry(answer).or_insert(0) += 1;
        let reader = &stores[dice.below(3) as usize];
        assert_eq!(position(&**reader, view).await, position(&oracle, view).await, "after call {call} of {view}");
        for view in views.iter().filter(|_| call % 20 == 0 || call + 1 == CALLS) {
            let [ours, theirs] =
                [contract::seen(&**reader, &place(), view).await, contract::seen(&oracle, &place(), view).await];
            assert_eq!(ours, theirs, "after call {call} of {view}");
        }
    }
    println!("{CALLS} calls: {answers:?}");
    assert!(["Applied", "Moved", "Missing"].iter().all(|answer| answers.get(*answer).is_some_and(|n| *n > 50)));
}
