//! A crew: one worker a partition, for the partitions that the group gives to this process; hired and let go as that changes.
use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use seam_shared::lock::lock;
use seam_shared::log::Partition;
use seam_shared::log::group::Membership;
use seam_shared::telemetry::{ErrorLabels, PostLabels, Telemetry};
use seam_shared::{Error, Kind, Result};
use tokio_util::sync::CancellationToken;

/// How long a partition that stopped with an error is left alone: what stopped it does not pass by itself.
const LEFT_ALONE: Duration = if cfg!(test) { Duration::from_millis(40) } else { Duration::from_secs(60) };
/// How long a partition has to be worked on after an error before that counts as over.
const STEADY: Duration = if cfg!(test) { Duration::from_millis(80) } else { Duration::from_secs(15) };

/// The work on one partition until it is cancelled; an error stops that partition and no other.
pub type Work = Pin<Box<dyn Future<Output = Result<()>> + Send>>;
/// Makes the work on a partition.
pub type Hire = Box<dyn Fn(&Partition, CancellationToken) -> Work + Send + Sync>;

/// The partitions that this process works on in one role, and what became of them.
#[derive(Debug)]
pub struct Board {
    role: &'static str,
    telemetry: Arc<Telemetry>,
    /// Why each of them stopped, if it did.
    posts: Mutex<BTreeMap<Partition, Option<String>>>,
}

impl Board {
    /// Nobody at work yet.
    pub fn new(role: &'static str, telemetry: &Arc<Telemetry>) -> Arc<Board> {
        let board = Board { role, telemetry: telemetry.clone(), posts: Mutex::default() };
        // From 0 on: an increase is not seen of what begins with its first error.
        board.telemetry.errors.get_or_create(&board.corrupt()).inc_by(0);
        Arc::new(board)
    }
    /// The partitions at work.
    pub fn partitions(&self) -> Vec<Partition> {
        lock(&self.posts).keys().cloned().collect()
    }
    /// Each partition that stopped as a failed check; one that is fine if there is none.
    pub fn checks(&self) -> Vec<(String, Result<()>)> {
        let posts = lock(&self.posts);
        let stopped = posts.iter().filter_map(|(partition, why)| Some((partition, why.as_ref()?)));
        let check = |(partition, why)| {
            (format!("{} {partition}", self.role), Err(Error::corrupt(format!("has stopped: {why}"))))
        };
        let mut checks: Vec<(String, Result<()>)> = stopped.map(check).collect();
        if checks.is_empty() {
            checks.push((format!("{}: {} partitions", self.role, posts.len()), Ok(())));
        }
        checks
    }

    fn corrupt(&self) -> ErrorLabels {
        ErrorLabels { r#type: self.role.to_owned(), error: "corrupt".to_owned() }
    }
    fn labels(&self, partition: &Partition) -> PostLabels {
        let Partition { source, number } = partition.clone();
        PostLabels { role: self.role.to_owned(), source, partition: number }
    }
    fn set(&self, partition: &Partition, stopped: Option<String>) {
        self.telemetry.partition_stopped.get_or_create(&self.labels(partition)).set(i64::from(stopped.is_some()));
        lock(&self.posts).insert(partition.clone(), stopped);
    }
    fn has_stopped(&self, partition: &Partition) -> bool {
        lock(&self.posts).get(partition).is_some_and(Option::is_some)
    }
    fn remove(&self, partition: &Partition) {
        self.telemetry.partition_stopped.remove(&self.labels(partition));
        lock(&self.posts).remove(partition);
    }
}

/// A worker on a thread of its own: its work is long stretches of computing, which would hold up requests.
struct Worker {
    cancel: CancellationToken,
    thread: std::thread::JoinHandle<()>,
}

/// Keeps one worker a partition at work, until cancelled; then lets all of them finish their step, and leaves the group.
pub async fn run(mut membership: Membership, board: Arc<Board>, hire: Hire, cancel: CancellationToken) {
    let hire = Arc::new(hire);
    let mut at_work: BTreeMap<Partition, Worker> = BTreeMap::new();
    while !cancel.is_cancelled() {
        let wanted = membership.partitions();
        let (stay, leave) = at_work.into_iter().partition(|(partition, _)| wanted.contains(partition));
        at_work = stay;
        let_go(&board, leave).await;
        for partition in wanted.iter() {
            if !at_work.contains_key(partition) {
                match start(&board, &hire, partition, &cancel) {
                    Ok(worker) => drop(at_work.insert(partition.clone(), worker)),
                    Err(error) => board.set(partition, Some(error.to_string())),
                }
            }
        }
        tokio::select! {
            () = cancel.cancelled() => {}
            () = membership.changed() => {}
        }
    }
    let_go(&board, at_work).await;
    membership.leave().await;
}

/// Cancels all of them first, so that they finish side by side.
async fn let_go(board: &Arc<Board>, leaving: BTreeMap<Partition, Worker>) {
    leaving.values().for_each(|worker| worker.cancel.cancel());
    for (partition, worker) in leaving {
        // How the thread ended is on the board already.
        let _ = tokio::task::spawn_blocking(move || worker.thread.join()).await;
        board.remove(&partition);
        tracing::info!(%partition, "{} lets go of a partition", board.role);
    }
}

/// Works on a partition; once that has gone well for a while, an error of before is over.
async fn steadily(mut work: Work, board: &Board, partition: &Partition) -> Result<()> {
    tokio::select! {
        done = &mut work => return done,
        () = tokio::time::sleep(STEADY) => {}
    }
    if board.has_stopped(partition) {
        tracing::info!(%partition, "{} works on a partition again", board.role);
        board.set(partition, None);
    }
    work.await
}

fn start(board: &Arc<Board>, hire: &Arc<Hire>, partition: &Partition, cancel: &CancellationToken) -> Result<Worker> {
    let cancel = cancel.child_token();
    let (token, runtime) = (cancel.clone(), tokio::runtime::Handle::current());
    let (posted, hire, post) = (board.clone(), hire.clone(), partition.clone());
    board.set(partition, None);
    let work = move || {
        while !token.is_cancelled() {
            let attempt = AssertUnwindSafe(|| runtime.block_on(steadily(hire(&post, token.clone()), &posted, &post)));
            let why = match std::panic::catch_unwind(attempt) {
                Ok(Ok(())) => return,
                Ok(Err(error)) => {
                    if error.kind() == Kind::Corrupt {
                        posted.telemetry.errors.get_or_create(&posted.corrupt()).inc();
                    }
                    error.to_string()
                }
                Err(_) => "a panic; its message is in the log".to_owned(),
            };
            tracing::error!(partition = %post, why, "{} has stopped in this partition", posted.role);
            posted.set(&post, Some(why));
            runtime.block_on(async {
                tokio::select! { () = token.cancelled() => {}, () = tokio::time::sleep(LEFT_ALONE) => {} }
            });
        }
    };
    tracing::info!(%partition, "{} takes a partition", board.role);
    let thread = std::thread::Builder::new().name(format!("{} {partition}", board.role)).spawn(work);
    let thread = thread.map_err(|e| Error::internal("a thread cannot be started").because(e))?;
    Ok(Worker { cancel, thread })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::time::Instant;

    use async_trait::async_trait;
    use seam_shared::log::group::Place;
    use tokio::sync::watch;

    use super::*;

    #[derive(Debug)]
    struct Nowhere;

    #[async_trait]
    impl Place for Nowhere {
        async fn leave(self: Box<Self>) {}
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_partition_that_is_worked_on_again_is_no_longer_called_stopped() {
        let partition = Partition::new("clicks", 0);
        let (_group, assignment) = watch::channel(Arc::new(BTreeSet::from([partition.clone()])));
        let membership = Membership::new(assignment, Box::new(Nowhere));
        let (telemetry, attempts) = (Arc::new(Telemetry::new()), Arc::new(AtomicU32::new(0)));
        let (board, cancel) = (Board::new("archive", &telemetry), CancellationToken::new());
        assert_eq!(telemetry.errors.get_or_create(&board.corrupt()).get(), 0);
        let tries = attempts.clone();
        let hire: Hire = Box::new(move |_, token| {
            let attempt = tries.fetch_add(1, Ordering::SeqCst);
            Box::pin(async move {
                match attempt {
                    0 => Err(Error::corrupt("a file is damaged")),
                    1 => panic!("the second attempt"),
                    _ => {
                        token.cancelled().await;
                        Ok(())
                    }
                }
            })
        });
        let crew = tokio::spawn(run(membership, board.clone(), hire, cancel.clone()));
        let until = async |wanted: &dyn Fn() -> bool, what: &str| {
            let begun = Instant::now();
            while !wanted() {
                assert!(begun.elapsed() < Duration::from_secs(20), "{what}: {:?}", board.checks());
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        let stopped = || telemetry.partition_stopped.get_or_create(&board.labels(&partition)).get();
        until(&|| stopped() == 1, "an error is told").await;
        until(&|| attempts.load(Ordering::SeqCst) == 3, "it is tried again").await;
        until(&|| stopped() == 0, "what is over is over").await;
        assert!(board.checks().iter().all(|(_, check)| check.is_ok()), "{:?}", board.checks());
        assert_eq!(telemetry.errors.get_or_create(&board.corrupt()).get(), 1);
        cancel.cancel();
        crew.await.expect("the crew ends");
    }
}
