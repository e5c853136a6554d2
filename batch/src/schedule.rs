//! Cron inside `seam up`: one run at a time; of the moments that passed during a run or a sleep, the latest is caught up once.
use std::time::Duration;

use seam_shared::config::Schedule;
use seam_shared::error::Result;
use seam_shared::time::{Span, Timestamp};
use tokio_util::sync::CancellationToken;

use crate::job::{self, Context, Options, Outcome};

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

/// Runs until cancelled: once at the start for what was missed while the process was away, then by the schedule. Each run's result
/// goes to `report`; an error does not end the schedule.
pub async fn run(
    context: &Context,
    options: &Options,
    schedule: &Schedule,
    deadline: Span,
    cancel: &CancellationToken,
    report: impl Fn(Result<Vec<Outcome>>),
) {
    let mut last = context.clock.now();
    report(job::run(context, options).await);
    while !cancel.is_cancelled() {
        match due(schedule, last, context.clock.now(), deadline) {
            Some(moment) => {
                last = moment;
                report(job::run(context, options).await);
            }
            None => tokio::select! {
                () = cancel.cancelled() => {}
                () = tokio::time::sleep(TICK) => {}
            },
        }
    }
}

#[cfg(test)]
mod tests {
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
}
