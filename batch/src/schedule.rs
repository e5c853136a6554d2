//! Cron inside `seam up`: one run at a time; of the moments that passed during a run or a sleep, the latest is caught up once.
use std::time::Duration;

use seam_shared::clock::Clock;
use seam_shared::config::Schedule;
use seam_shared::time::{Span, Timestamp};
use tokio_util::sync::CancellationToken;

/// How often the clock is looked at.
const TICK: Duration = Duration::from_millis(200);

/// The moment to run for at `now`, after the run for `last`: the latest one that has come and is not older than the deadline.
pub fn due(schedule: &Schedule, last: Timestamp, now: Timestamp, deadline: Span) -> Option<Timestamp> {
    // moments that are too old are not walked through one by one
    let mut moment = schedule.next_after(last.max(now.minus(deadline).minus(Span(1))))?;
    if moment > now {
        return None;
    }
    while let Some(next) = schedule.next_after(moment).filter(|next| *next <= now) {
        moment = next;
    }
    Some(moment)
}

/// The moments of the runs of one process.
#[derive(Debug)]
pub struct Moments<'a> {
    schedule: &'a Schedule,
    /// How late a run may begin.
    deadline: Span,
    clock: &'a dyn Clock,
    /// `None` before the first run.
    last: Option<Timestamp>,
}

impl<'a> Moments<'a> {
    /// Those of a schedule, by a clock.
    pub fn new(schedule: &'a Schedule, deadline: Span, clock: &'a dyn Clock) -> Self {
        Self { schedule, deadline, clock, last: None }
    }

    /// Waits for the next run: the first is due at once, for what was missed while the process was away. `false` when cancelled.
    pub async fn wait(&mut self, cancel: &CancellationToken) -> bool {
        while !cancel.is_cancelled() {
            let now = self.clock.now();
            let moment = self.last.map_or(Some(now), |last| due(self.schedule, last, now, self.deadline));
            if moment.is_some() {
                self.last = moment;
                return true;
            }
            tokio::select! {
                () = cancel.cancelled() => {}
                () = tokio::time::sleep(TICK) => {}
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use seam_shared::clock::ManualClock;

    use super::*;

    const HOUR: i64 = Span::HOUR.0;

    #[test]
    fn missed_moments_are_caught_up_once_and_not_beyond_the_deadline() {
        let hourly = Schedule::parse("0 * * * *", "UTC".parse().unwrap()).unwrap();
        let deadline = Span(10 * Span::MINUTE.0);
        let at = |hours: i64, minutes: i64| Timestamp(hours * HOUR + minutes * Span::MINUTE.0);
        assert_eq!(due(&hourly, at(1, 0), at(1, 59), deadline), None);
        assert_eq!(due(&hourly, at(1, 0), at(2, 0), deadline), Some(at(2, 0)));
        assert_eq!(due(&hourly, at(1, 0), at(9, 10), deadline), Some(at(9, 0)), "one run for eight moments");
        assert_eq!(due(&hourly, at(9, 0), at(9, 11), deadline), None, "and no second one");
        assert_eq!(due(&hourly, at(1, 0), at(9, 11), deadline), None, "too late for it");
    }

    #[tokio::test]
    async fn a_process_runs_once_at_its_start_and_then_by_the_schedule() {
        let hourly = Schedule::parse("0 * * * *", "UTC".parse().unwrap()).unwrap();
        let clock = ManualClock::at(Timestamp(HOUR + 1));
        let cancel = CancellationToken::new();
        let mut moments = Moments::new(&hourly, Span(10 * Span::MINUTE.0), &clock);
        assert!(moments.wait(&cancel).await, "at its start");
        clock.advance(HOUR);
        assert!(moments.wait(&cancel).await, "an hour has passed");
        cancel.cancel();
        clock.advance(HOUR);
        assert!(!moments.wait(&cancel).await);
    }
}
