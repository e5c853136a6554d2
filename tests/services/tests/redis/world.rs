//! Stores on a server, and a plain log whose fold is known at every position.
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

pub use seam_generator::Dice;
use seam_shared::config::RedisSettings;
use seam_shared::log::{Offset, Partition};
use seam_shared::state::redis::RedisState;
use seam_shared::state::{ClosedSegment, Committed, StateStore, ViewCommit, ViewId, contract};

static NAMESPACES: AtomicUsize = AtomicUsize::new(0);

/// A namespace that nobody used yet.
pub fn namespace() -> String {
    format!("n{}", NAMESPACES.fetch_add(1, Ordering::Relaxed))
}

/// A store at `url` that nobody wrote to yet.
pub fn fresh(url: &str) -> Arc<RedisState> {
    at(url, &namespace())
}

/// A store at `url` in a namespace.
pub fn at(url: &str, namespace: &str) -> Arc<RedisState> {
    Arc::new(RedisState::open(RedisSettings::parse(url, namespace).unwrap()))
}

pub fn place() -> Partition {
    Partition::new("clicks", 0)
}

pub type Counts = BTreeMap<(i64, String), u64>;
/// A view's state as [`contract::seen`] gives it, without the floor's history.
pub type Seen = (Offset, Offset, Vec<(ClosedSegment, Counts)>, Counts);

/// Keys that a careless store would mix up.
const KEYS: [&str; 8] = ["all", "null", "", "a:b", "\0\u{1f}", "\"],[", "é{}%|", "pane:1"];

/// A log without end: the event at each offset follows from the seed, a segment is a fixed number of offsets.
pub struct Plain {
    pub seed: u64,
    pub segment: u64,
}

impl Plain {
    fn event(&self, offset: u64) -> (i64, String) {
        let mut dice = Dice(self.seed ^ offset.wrapping_mul(0x9E37));
        let late = if dice.one_in(5) { dice.below(30) } else { 0 };
        let pane = (offset / 10 + 1).saturating_sub(late) as i64 * 1_000_000;
        let key = match dice.below(12) {
            n @ 0..8 => KEYS[n as usize].to_owned(),
            n => format!("k{n}{}", dice.below(40)),
        };
        (pane, key)
    }
    fn fold(&self, from: u64, to: u64) -> Counts {
        let mut counts = Counts::new();
        (from..to).for_each(|offset| *counts.entry(self.event(offset)).or_default() += 1);
        counts
    }
    pub fn start_of(&self, offset: u64) -> u64 {
        offset / self.segment * self.segment
    }
    /// What a worker that is at `from` commits when it goes on to `to`.
    pub fn commit(&self, view: &ViewId, from: u64, to: u64) -> ViewCommit {
        let rows = |counts: Counts| {
            let rows: Vec<_> = counts.iter().map(|((pane, key), count)| (*pane, key.as_str(), *count)).collect();
            contract::rows(&rows)
        };
        let mut segments = Vec::new();
        let mut start = self.start_of(from);
        while start + self.segment <= to {
            let end = start + self.segment;
            segments.push((start, Some(end), rows(self.fold(start, end))));
            start = end;
        }
        if start < to {
            let mut changed = self.fold(start, to);
            let touched = self.fold(from.max(start), to);
            changed.retain(|group, _| touched.contains_key(group));
            segments.push((start, None, rows(changed)));
        }
        contract::commit(view, from, contract::progress(start, to), segments)
    }
    /// What a store must hold of a view.
    pub fn seen(&self, floor: u64, position: u64) -> Seen {
        let open = self.start_of(position);
        let closed = (floor / self.segment..open / self.segment).map(|number| {
            let (start, end) = (number * self.segment, (number + 1) * self.segment);
            (ClosedSegment { start: Offset(start), end: Offset(end) }, self.fold(start, end))
        });
        (Offset(floor), Offset(position), closed.collect(), self.fold(open.max(floor), position))
    }
    /// What a store holds of a view, which must be what it must hold at its own position. `None`: nothing, or not all.
    pub async fn check(&self, store: &RedisState, view: &ViewId, context: &str) -> Option<u64> {
        let found = store.snapshot(&place(), std::slice::from_ref(view)).await.unwrap().remove(0)?;
        let mut closed = Vec::new();
        for segment in &found.closed {
            let rows = store.segment(&place(), view, segment.start).await.unwrap()?;
            closed.push((*segment, contract::counts(&rows)));
        }
        let (floor, position) = (found.progress.floor, found.progress.position);
        let seen = (floor, position, closed, contract::counts(&found.open));
        assert_eq!(seen, self.seen(floor.0, position.0), "{context}");
        Some(position.0)
    }
    /// What a worker does: claims what is missing, commits from where it stands. Answers with its position.
    pub async fn advance(&self, store: &RedisState, view: &ViewId, by: u64) -> u64 {
        let from = match store.snapshot(&place(), std::slice::from_ref(view)).await.unwrap().remove(0) {
            Some(found) => found.progress.position.0,
            None => store.claim(&place(), view, Offset(0)).await.unwrap().position.0,
        };
        match store.commit(&place(), vec![self.commit(view, from, from + by)]).await.unwrap() {
            Committed::Applied => from + by,
            Committed::Moved | Committed::Missing => from,
        }
    }
}

/// All keys of a namespace.
pub fn keys(redis: &seam_services::Redis, namespace: &str) -> Vec<String> {
    let listed = redis.command(&["--raw", "KEYS", &format!("metrics:{{{namespace}/*")]).unwrap();
    listed.lines().map(str::to_owned).filter(|line| !line.is_empty()).collect()
}
