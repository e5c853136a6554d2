//! Turns: every port pauses before and after it acts, and whoever polls decides who goes on. Nothing else makes anybody wait.
use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::Duration;

use futures::future::BoxFuture;
use seam_shared::clock::{Clock, ManualClock};
use seam_shared::time::Timestamp;

/// Longer than any work that another thread does for an actor.
const STUCK: Duration = Duration::from_secs(60);

thread_local! {
    static PAUSED: Cell<bool> = const { Cell::new(false) };
    static WAKER: (Arc<Unpark>, Waker) = {
        let unpark = Arc::new(Unpark { thread: std::thread::current(), woken: AtomicBool::new(false) });
        (unpark.clone(), Waker::from(unpark))
    };
}

/// Something that happens in turns.
pub type Turns<T> = Pin<Box<dyn Future<Output = T>>>;

/// What one turn came to.
#[derive(Debug)]
pub enum Turn<T> {
    /// It is over.
    Done(T),
    /// It stopped at a port, and can go on.
    Paused,
    /// It waits for something that another one holds.
    Waiting,
}

/// Wakes the thread that polls.
struct Unpark {
    thread: Thread,
    woken: AtomicBool,
}

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.woken.store(true, Ordering::Release);
        self.thread.unpark();
    }
}

/// Lets others have a turn: whoever polls may crash this future, or go on with it much later.
pub async fn pause() {
    let mut waited = false;
    poll_fn(|context| {
        if std::mem::replace(&mut waited, true) {
            return Poll::Ready(());
        }
        PAUSED.set(true);
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// One turn of somebody who waits for nobody but ports and locks.
pub fn turn<T>(turns: &mut Turns<T>) -> Turn<T> {
    PAUSED.set(false);
    match turns.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(done) => Turn::Done(done),
        Poll::Pending if PAUSED.get() => Turn::Paused,
        Poll::Pending => Turn::Waiting,
    }
}

/// One turn of somebody who also has work done by other threads: it is waited for, however long it takes.
pub fn turn_with_threads<T>(turns: &mut Turns<T>) -> Turn<T> {
    WAKER.with(|(unpark, waker)| {
        loop {
            PAUSED.set(false);
            unpark.woken.store(false, Ordering::Release);
            match turns.as_mut().poll(&mut Context::from_waker(waker)) {
                Poll::Ready(done) => return Turn::Done(done),
                Poll::Pending if PAUSED.get() => return Turn::Paused,
                Poll::Pending => {}
            }
            while !unpark.woken.load(Ordering::Acquire) {
                let asleep = std::time::Instant::now();
                std::thread::park_timeout(STUCK);
                if asleep.elapsed() >= STUCK {
                    return Turn::Waiting;
                }
            }
        }
    })
}

/// The time of a seed: it jumps as the seed says, and whoever sleeps only lets others have a turn.
#[derive(Debug)]
pub struct SeededClock(ManualClock);

impl SeededClock {
    /// A clock that shows `now`.
    pub fn at(now: Timestamp) -> SeededClock {
        SeededClock(ManualClock::at(now))
    }
    /// Moves the clock by `micros`, which may be negative.
    pub fn advance(&self, micros: i64) {
        self.0.advance(micros);
    }
}

impl Clock for SeededClock {
    fn now(&self) -> Timestamp {
        self.0.now()
    }
    fn nonce(&self) -> String {
        self.0.nonce()
    }
    fn sleep(&self, _: Duration) -> BoxFuture<'static, ()> {
        Box::pin(pause())
    }
}
