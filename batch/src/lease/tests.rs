//! One holder at a time, also where leases run out, replies get lost and several come at once.
use std::path::Path as FilePath;

use futures::future::join_all;
use object_store::memory::InMemory;
use object_store::throttle::{ThrottleConfig, ThrottledStore};
use seam_shared::clock::ManualClock;
use seam_shared::lake::faulty::FaultyStore;
use seam_shared::lake::store;

use super::*;

const START: Timestamp = Timestamp(1_760_000_000_000_000);

async fn take(store: &Arc<dyn ObjectStore>, clock: &Arc<ManualClock>) -> Result<Option<Lease>> {
    Lease::take(Arc::clone(store), Arc::clone(clock) as _, "view").await
}

/// What must hold on every store.
async fn one_holds_it(store: Arc<dyn ObjectStore>) {
    let clock = Arc::new(ManualClock::at(START));
    let first = take(&store, &clock).await.unwrap().expect("it is free");
    assert!(take(&store, &clock).await.unwrap().is_none());
    clock.advance(TERM.0 - 1);
    first.renew().await.unwrap();
    clock.advance(TERM.0 - 1);
    assert!(take(&store, &clock).await.unwrap().is_none(), "it was renewed");
    let held = Lease::holder(&store, &(clock.clone() as Arc<dyn Clock>), "view").await.unwrap().expect("it is held");
    assert_eq!(held.holder, first.holder);
    first.release().await.unwrap();
    assert_eq!(Lease::holder(&store, &(clock.clone() as Arc<dyn Clock>), "view").await.unwrap(), None);
    let second = take(&store, &clock).await.unwrap().expect("it was given back");
    clock.advance(TERM.0 + 1);
    let third = take(&store, &clock).await.unwrap().expect("it ran out");
    assert_eq!(second.renew().await.unwrap_err().kind(), Kind::Conflict, "another has it by now");
    third.renew().await.unwrap();
    second.release().await.unwrap();
    assert!(take(&store, &clock).await.unwrap().is_none(), "the late release leaves the next holder alone");
    third.release().await.unwrap();
    // a holder whose clock is an hour ahead
    let ahead = Arc::new(ManualClock::at(clock.now().plus(Span::HOUR)));
    let _lost = take(&store, &ahead).await.unwrap().expect("it is free");
    assert!(take(&store, &clock).await.unwrap().is_some(), "nobody is locked out for an hour");
}

/// What holds only where the store has compare-and-swap: of several that find it run out, one gets it.
async fn one_of_many_gets_it(store: Arc<dyn ObjectStore>, rounds: usize) {
    let clock = Arc::new(ManualClock::at(START));
    let mut before: Option<Lease> = None;
    for round in 0..rounds {
        let taken = join_all((0..8).map(|_| take(&store, &clock))).await;
        let mut won: Vec<Lease> = taken.into_iter().filter_map(|taken| taken.unwrap()).collect();
        assert_eq!(won.len(), 1, "round {round}");
        if let Some(before) = before.replace(won.remove(0)) {
            assert_eq!(before.renew().await.unwrap_err().kind(), Kind::Conflict, "who lost it is told");
        }
        clock.advance(TERM.0 + 1);
    }
}

#[tokio::test]
async fn one_holds_it_in_memory_and_in_files() {
    one_holds_it(Arc::new(InMemory::new())).await;
    let folder = std::env::temp_dir().join(format!("seam-lease-{}", std::process::id()));
    one_holds_it(store::open("files", &folder).unwrap()).await;
    std::fs::remove_dir_all(&folder).unwrap();
    one_of_many_gets_it(Arc::new(InMemory::new()), 50).await;
}

/// Work that lets others have many turns.
async fn work() -> u32 {
    for _ in 0..10_000 {
        tokio::task::yield_now().await;
    }
    7
}

#[tokio::test]
async fn work_does_not_wait_for_a_renewal() {
    let slow = Arc::new(ThrottledStore::new(InMemory::new(), ThrottleConfig::default()));
    let store = Arc::clone(&slow) as Arc<dyn ObjectStore>;
    let mut lease = take(&store, &Arc::new(ManualClock::at(START))).await.unwrap().expect("it is free");
    lease.every = Duration::ZERO;
    slow.config_mut(|config| config.wait_put_per_call = Duration::from_secs(3_600));
    let both = async { (lease.while_held(work()).await.unwrap(), lease.while_doing(work()).await) };
    let done = tokio::time::timeout(Duration::from_secs(60), both).await;
    assert_eq!(done.expect("the store takes an hour, and nobody waits for it"), (7, 7));
}

#[tokio::test]
async fn what_is_done_while_it_is_held_ends_with_it() {
    let (store, clock) = (Arc::new(InMemory::new()) as Arc<dyn ObjectStore>, Arc::new(ManualClock::at(START)));
    let mut lease = take(&store, &clock).await.unwrap().expect("it is free");
    lease.every = Duration::ZERO;
    clock.advance(TERM.0 + 1);
    let _other = take(&store, &clock).await.unwrap().expect("it ran out");
    let lost = lease.while_held(std::future::pending::<()>()).await.unwrap_err();
    assert_eq!(lost.kind(), Kind::Conflict);
    assert_eq!(lease.while_doing(work()).await, 7, "a run that lost it ends what it has begun");
}

#[tokio::test]
async fn at_most_one_holds_it_whatever_replies_get_lost() {
    let mut held = 0;
    for seed in 0..200 {
        let faulty = Arc::new(FaultyStore::new(Arc::new(InMemory::new()), seed, 80));
        let store = Arc::clone(&faulty) as Arc<dyn ObjectStore>;
        let clock = Arc::new(ManualClock::at(START));
        for _ in 0..6 {
            let won: Vec<Lease> = join_all((0..4).map(|_| take(&store, &clock)))
                .await
                .into_iter()
                .filter_map(|t| t.ok().flatten())
                .collect();
            assert!(won.len() <= 1, "seed {seed}: {} hold it", won.len());
            held += won.len();
            for lease in won {
                let _ = lease.renew().await;
            }
            clock.advance(TERM.0 + 1);
            faulty.release().await;
        }
    }
    assert!(held > 300, "it was held {held} times");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_holds_it_on_s3() {
    let Some(s3) = seam_services::S3::start() else { return };
    let environment = s3.environment().map(|(name, value)| (name.to_owned(), value));
    let open =
        |folder: &str| store::open_with(&format!("s3://{}/{folder}", s3.bucket), FilePath::new("."), &environment);
    one_holds_it(open("one").unwrap()).await;
    one_of_many_gets_it(open("many").unwrap(), 20).await;
}
