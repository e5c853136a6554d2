//! Deadlines: an answer comes in time or not at all, and what nobody waits for any more is not computed.
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::Duration;

use seam_shared::Kind;
use seam_shared::time::Span;
use tokio::time::Instant;

use crate::query::Refusal;

/// Told to work on another thread when nobody waits for it any more.
#[derive(Debug, Clone, Default)]
pub struct Stop(Arc<AtomicBool>);

/// Sets its [`Stop`] when it is dropped: with the request that it is a part of.
#[derive(Debug)]
pub struct StopOnDrop(Stop);

impl Stop {
    /// What stops the work when it is dropped.
    pub fn on_drop(&self) -> StopOnDrop {
        StopOnDrop(self.clone())
    }
    /// Whether somebody still waits.
    ///
    /// # Errors
    /// The refusal that nobody will read, if not.
    pub fn check(&self) -> Result<(), Refusal> {
        if self.0.load(Ordering::Relaxed) {
            Err(refusal("nobody waits for this answer any more".to_owned()))
        } else {
            Ok(())
        }
    }
}

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.0.store(true, Ordering::Relaxed);
    }
}

/// `work`, unless it takes longer than `time`; then it is dropped where it waits, and what it does on other threads stops.
///
/// # Errors
/// Those of the work; `Unavailable` when the time is up.
pub async fn within<T>(time: Span, work: impl Future<Output = Result<T, Refusal>>) -> Result<T, Refusal> {
    let (begun, mut work) = (Instant::now(), pin!(work));
    // What does not have to wait needs no timer, which is large.
    if let Poll::Ready(done) = futures::poll!(work.as_mut()) {
        return done;
    }
    let limit = Duration::from_micros(time.0.unsigned_abs());
    match Box::pin(tokio::time::timeout(limit.saturating_sub(begun.elapsed()), work)).await {
        Ok(done) => done,
        Err(_) => {
            Err(refusal(format!("there was no answer within {time}; ask for less, or give it a longer `timeout`")))
        }
    }
}

fn refusal(detail: String) -> Refusal {
    Refusal { kind: Kind::Unavailable, problem: "deadline-exceeded", detail, parameter: None, suggestion: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_takes_too_long_is_stopped_on_every_thread() {
        let stop = Stop::default();
        let work = async {
            let _stopped = stop.on_drop();
            let stop = stop.clone();
            let spun = tokio::task::spawn_blocking(move || {
                while stop.check().is_ok() {
                    std::thread::yield_now();
                }
            });
            spun.await.expect("no panic");
            Ok(())
        };
        let late = within(Span(20_000), work).await.expect_err("too late");
        assert_eq!((late.kind, late.problem), (Kind::Unavailable, "deadline-exceeded"));
        assert!(late.detail.contains("20ms"), "{}", late.detail);
        assert!(stop.check().is_err());
        assert!(within(Span::SECOND, async { Ok(3) }).await.is_ok_and(|three| three == 3));
    }
}
