//! Where an alert stands: inactive → pending → firing → resolved. Pure: what it was, whether the rule holds now, and when.
use seam_shared::time::{Span, Timestamp};
use serde::{Deserialize, Serialize};

/// How long an alert that is over can still be seen, and is told to Alertmanager.
pub const REMEMBERED: Span = Span(15 * Span::MINUTE.0);

/// Where an alert stands; without one, it is inactive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "lowercase")]
pub enum Phase {
    /// The rule holds, but not for long enough yet.
    Pending {
        /// Since when it holds.
        active: Timestamp,
    },
    /// It does.
    Firing {
        /// Since when it holds.
        active: Timestamp,
        /// When it had held for long enough.
        fired: Timestamp,
        /// Since when it does not hold, while the alert is kept firing.
        missing: Option<Timestamp>,
    },
    /// It did.
    Resolved {
        /// Since when it held.
        active: Timestamp,
        /// When the alert fired.
        fired: Timestamp,
        /// When it was over.
        resolved: Timestamp,
    },
}

/// How patient a rule is.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// How long it must hold before an alert fires.
    pub hold: Span,
    /// How long an alert goes on firing when it does not hold.
    pub keep: Span,
}

impl Phase {
    /// What becomes of an alert at a moment at which its rule holds, or does not.
    pub fn next(before: Option<Phase>, holds: bool, at: Timestamp, patience: Patience) -> Option<Phase> {
        use Phase::{Firing, Pending, Resolved};
        let ripened = |active: Timestamp| match at.0.saturating_sub(active.0) >= patience.hold.0 {
            true => Firing { active, fired: at, missing: None },
            false => Pending { active },
        };
        match (before, holds) {
            (None | Some(Resolved { .. }), true) => Some(ripened(at)),
            (Some(Pending { active }), true) => Some(ripened(active)),
            (Some(Firing { active, fired, .. }), true) => Some(Firing { active, fired, missing: None }),
            (None | Some(Pending { .. }), false) => None,
            (Some(Firing { active, fired, missing }), false) => {
                let since = missing.unwrap_or(at);
                Some(match at.0.saturating_sub(since.0) < patience.keep.0 {
                    true => Firing { active, fired, missing: Some(since) },
                    false => Resolved { active, fired, resolved: at },
                })
            }
            (Some(over @ Resolved { resolved, .. }), false) => {
                (at.0.saturating_sub(resolved.0) < REMEMBERED.0).then_some(over)
            }
        }
    }
    /// The same after a time in which nobody looked: it is not known to have held then.
    #[must_use]
    pub fn interrupted(self, gap: Span) -> Phase {
        match self {
            Phase::Pending { active } => Phase::Pending { active: active.plus(gap) },
            Phase::Firing { .. } | Phase::Resolved { .. } => self,
        }
    }
    /// Since when the rule holds, or held.
    pub fn active(self) -> Timestamp {
        match self {
            Phase::Pending { active } | Phase::Firing { active, .. } | Phase::Resolved { active, .. } => active,
        }
    }
    /// When the alert fired, if it did.
    pub fn fired(self) -> Option<Timestamp> {
        match self {
            Phase::Pending { .. } => None,
            Phase::Firing { fired, .. } | Phase::Resolved { fired, .. } => Some(fired),
        }
    }
    /// When it was over, if it is.
    pub fn resolved(self) -> Option<Timestamp> {
        if let Phase::Resolved { resolved, .. } = self { Some(resolved) } else { None }
    }
    /// Whether it fires.
    pub fn fires(self) -> bool {
        matches!(self, Phase::Firing { .. })
    }
    /// As Prometheus calls it.
    pub fn name(self) -> &'static str {
        match self {
            Phase::Pending { .. } => "pending",
            Phase::Firing { .. } => "firing",
            Phase::Resolved { .. } => "resolved",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: Timestamp = Timestamp(1_000_000_000);

    fn ago(seconds: i64) -> Timestamp {
        Timestamp(AT.0 - seconds * 1_000_000)
    }

    /// Every state, with the rule holding or not, within and beyond each length of time.
    #[test]
    fn the_truth_table() {
        use Phase::{Firing, Pending, Resolved};
        let patience = |hold: i64, keep: i64| Patience { hold: Span(hold * 1_000_000), keep: Span(keep * 1_000_000) };
        let pending = |s| Some(Pending { active: ago(s) });
        let firing = |s, f, m: Option<i64>| Some(Firing { active: ago(s), fired: ago(f), missing: m.map(ago) });
        let resolved = |r| Some(Resolved { active: ago(9_000), fired: ago(8_000), resolved: ago(r) });
        let now_resolved = Some(Resolved { active: ago(60), fired: ago(30), resolved: AT });
        let table = [
            // before, holds, (for, keep), after
            (None, false, (0, 0), None),
            (None, true, (0, 0), firing(0, 0, None)),
            (None, true, (1, 0), pending(0)),
            (pending(29), true, (30, 0), pending(29)),
            (pending(30), true, (30, 0), firing(30, 0, None)),
            (pending(31), true, (30, 0), firing(31, 0, None)),
            (pending(29), false, (30, 0), None),
            (pending(31), false, (30, 60), None),
            (firing(60, 30, None), true, (30, 0), firing(60, 30, None)),
            (firing(60, 30, Some(5)), true, (30, 10), firing(60, 30, None)),
            (firing(60, 30, None), false, (30, 0), now_resolved),
            (firing(60, 30, None), false, (30, 10), firing(60, 30, Some(0))),
            (firing(60, 30, Some(9)), false, (30, 10), firing(60, 30, Some(9))),
            (firing(60, 30, Some(10)), false, (30, 10), now_resolved),
            (resolved(5), false, (30, 0), resolved(5)),
            (resolved(15 * 60), false, (30, 0), None),
            (resolved(5), true, (30, 0), pending(0)),
            (resolved(5), true, (0, 0), firing(0, 0, None)),
            // a clock that went back
            (pending(-5), true, (30, 0), pending(-5)),
            (firing(-5, -5, Some(-5)), false, (0, 10), firing(-5, -5, Some(-5))),
        ];
        for (before, holds, (hold, keep), after) in table {
            let row = format!("{before:?}, holds: {holds}, for {hold} s, keep {keep} s");
            assert_eq!(Phase::next(before, holds, AT, patience(hold, keep)), after, "{row}");
        }
    }
}
