//! The engine in processes of its own: a query that nobody waits for any more, or that takes too much memory, is ended with its
//! process. Threads cannot be ended, and no engine looks often enough whether it should stop.
use std::io::{BufReader, BufWriter};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use seam_shared::lock::lock;
use tokio_util::sync::CancellationToken;

use super::{Engine, pipe};
use crate::error::{SqlError, Told, state};
use crate::frame::Frame;

/// How often a process at work is looked at.
const LOOK: Duration = Duration::from_millis(20);
/// A process that has kept more than this after a query is not used again.
const MEMORY_KEPT: u64 = 256 << 20;
/// Processes that wait for a query.
const IDLE_MAX: usize = 4;

/// An engine that runs a program's engine command, again and again.
#[derive(Debug)]
pub struct Workers {
    program: PathBuf,
    arguments: Vec<String>,
    memory_max: u64,
    idle: Mutex<Vec<Worker>>,
}

/// A process, and the pipes to it. It ends when it is dropped.
#[derive(Debug)]
struct Worker {
    child: Arc<Mutex<Child>>,
    input: BufWriter<ChildStdin>,
    output: BufReader<ChildStdout>,
}

/// Why a process was ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ended {
    Cancelled,
    TooLarge,
}

impl Workers {
    /// Runs `program` with `arguments`, which must answer as [`serve`](super::serve) does, in at most `memory_max` bytes each. Nothing
    /// is started yet.
    pub fn new(program: PathBuf, arguments: &[&str], memory_max: u64) -> Workers {
        let arguments = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        Workers { program, arguments, memory_max, idle: Mutex::default() }
    }

    fn worker(&self) -> Result<Worker, SqlError> {
        let mut idle = lock(&self.idle);
        while let Some(worker) = idle.pop() {
            // It may have been ended by somebody else.
            if matches!(lock(&worker.child).try_wait(), Ok(None)) {
                return Ok(worker);
            }
        }
        drop(idle);
        let mut command = Command::new(&self.program);
        command.args(&self.arguments).stdin(Stdio::piped()).stdout(Stdio::piped());
        let failed = |error| {
            tracing::error!(%error, program = %self.program.display(), "a process for SQL cannot be started");
            SqlError::new(state::NOT_READY, "a process for the query cannot be started")
        };
        let mut child = command.spawn().map_err(failed)?;
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(SqlError::new(state::INTERNAL, "a process has no pipes"));
        };
        let child = Arc::new(Mutex::new(child));
        Ok(Worker { child, input: BufWriter::new(input), output: BufReader::new(output) })
    }
}

impl Engine for Workers {
    fn run(&self, query: &str, tables: Vec<(String, Frame)>, cancel: &CancellationToken) -> Result<Frame, SqlError> {
        let cancelled = || SqlError::new(state::CANCELLED, "canceling statement due to user request");
        if cancel.is_cancelled() {
            return Err(cancelled());
        }
        let mut worker = self.worker()?;
        let (child, done) = (worker.child.clone(), CancellationToken::new());
        let watching = tokio::runtime::Handle::current().spawn({
            let (cancel, done, memory_max) = (cancel.clone(), done.clone(), self.memory_max);
            async move { watch(&child, &cancel, &done, memory_max).await }
        });
        let answered = pipe::send(&mut worker.input, &(query.to_owned(), tables))
            .and_then(|()| pipe::receive::<Result<Frame, Told>>(&mut worker.output));
        done.cancel();
        let ended = tokio::runtime::Handle::current().block_on(watching).unwrap_or(None);
        match (answered, ended) {
            (Ok(answer), None) => {
                let kept = memory(lock(&worker.child).id()).unwrap_or(0);
                let mut idle = lock(&self.idle);
                if kept <= MEMORY_KEPT && idle.len() < IDLE_MAX {
                    idle.push(worker);
                }
                answer.map_err(SqlError::from)
            }
            (_, Some(Ended::Cancelled)) => Err(cancelled()),
            (_, Some(Ended::TooLarge)) => {
                let most = self.memory_max >> 20;
                Err(SqlError::new(state::OUT_OF_MEMORY, format!("the statement needs more than {most} MiB of memory"))
                    .hint("Join on more columns, or group before joining; `server.sql.max_memory` is the bound."))
            }
            (Err(error), None) => {
                tracing::error!(%error, "a process for SQL ended in the middle of a query");
                Err(SqlError::new(state::INTERNAL, "the query engine failed"))
            }
        }
    }
}

/// Ends a process that nobody waits for any more, or that is too large; looks on until it is done.
async fn watch(
    child: &Mutex<Child>,
    cancel: &CancellationToken,
    done: &CancellationToken,
    memory_max: u64,
) -> Option<Ended> {
    let process = lock(child).id();
    loop {
        let ended = tokio::select! {
            biased;
            () = done.cancelled() => return None,
            () = cancel.cancelled() => Ended::Cancelled,
            () = tokio::time::sleep(LOOK) => match memory(process) {
                Some(bytes) if bytes > memory_max => Ended::TooLarge,
                _ => continue,
            },
        };
        if let Err(error) = lock(child).kill() {
            tracing::error!(%error, process, "a process for SQL cannot be ended");
        }
        return Some(ended);
    }
}

/// The memory that a process has, in bytes, where the system says so.
fn memory(process: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes << 10)
}

impl Drop for Worker {
    fn drop(&mut self) {
        let mut child = lock(&self.child);
        // What has ended already needs no ending, but somebody must ask for it.
        let _ = child.kill();
        let _ = child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    /// A process that reads and never answers; in a shell's arguments what it does meanwhile.
    fn silent(work: &str) -> Workers {
        Workers::new(PathBuf::from("/bin/sh"), &["-c", work], 1 << 30)
    }

    async fn run(workers: Workers, cancel: CancellationToken) -> (SqlError, Arc<Workers>) {
        let workers = Arc::new(workers);
        let (engine, token) = (workers.clone(), cancel);
        let done = tokio::task::spawn_blocking(move || engine.run("SELECT 1", Vec::new(), &token)).await;
        (done.expect("no panic").expect_err("no answer"), workers)
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_is_cancelled_ends_at_once() {
        let cancel = CancellationToken::new();
        let asked = tokio::spawn(run(silent("exec sleep 60"), cancel.clone()));
        tokio::time::sleep(Duration::from_millis(200)).await;
        let begun = Instant::now();
        cancel.cancel();
        let (error, workers) = asked.await.expect("no panic");
        assert_eq!(error.code, state::CANCELLED);
        assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
        assert!(lock(&workers.idle).is_empty(), "it is not used again");
        let (error, _) = run(silent("exec sleep 60"), cancel).await;
        assert_eq!(error.code, state::CANCELLED, "before it began");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_grows_too_large_is_ended() {
        let grows = "x=0123456789abcdef; while :; do x=$x$x; done";
        let small = Workers { memory_max: 32 << 20, ..silent(grows) };
        let (error, _) = run(small, CancellationToken::new()).await;
        assert_eq!(error.code, state::OUT_OF_MEMORY, "{error}");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_ends_by_itself_is_an_error() {
        for program in ["exit 1", "head -c 3; exit 0", "kill -9 $$"] {
            let (error, _) = run(silent(program), CancellationToken::new()).await;
            assert_eq!(error.code, state::INTERNAL, "{program}");
        }
        let missing = Workers::new(PathBuf::from("/no/such/program"), &[], 1 << 30);
        assert_eq!(run(missing, CancellationToken::new()).await.0.code, state::NOT_READY);
    }
}
