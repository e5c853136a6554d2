//! Which windows are complete: those that end at or before a moment up to which everything that had reached the log is counted.
//! No watermark, no event takes part in it, so that an idle partition holds nothing up. Pure.
use seam_shared::time::Timestamp;

use super::times::{Complete, Times};

impl Times {
    /// Only those windows that are complete, given the moment `through` that everything before is counted, or why there is none.
    #[must_use]
    pub fn only_complete(&self, through: &Result<Timestamp, String>) -> Times {
        let shown = through.as_ref().map_or(0, |moment| self.ended_by(*moment));
        let from = if self.newest { shown.saturating_sub(1) } else { 0 };
        let left_out = if self.newest { usize::from(shown == 0) } else { self.count() - shown };
        let why = match through {
            _ if left_out == 0 => None,
            Err(why) => Some(why.as_str().into()),
            Ok(_) => Some("they end after the moment that is known to be consumed to the log's end".into()),
        };
        let times = self.cut(from, shown);
        let through = (shown > 0).then(|| self.end(shown - 1));
        Times { complete: Some(Complete { through, left_out, why }), ..times }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use seam_shared::time::Span;

    #[test]
    fn windows_up_to_the_moment_are_shown() {
        let times = Times::even(Timestamp(10), Span(10), Span(20), 5);
        let shown = |times: &Times, through: i64| {
            let cut = times.only_complete(&Ok(Timestamp(through)));
            let ends: Vec<i64> = (0..cut.count()).map(|i| cut.end(i).0).collect();
            (ends, cut.complete.expect("known"))
        };
        assert_eq!(shown(&times, 9).0, [0; 0]);
        assert_eq!(shown(&times, 10).0, [10]);
        assert_eq!(shown(&times, 39).0, [10, 20, 30]);
        let (ends, complete) = shown(&times, 1_000);
        assert_eq!((ends.len(), complete.left_out, complete.why), (5, 0, None));
        let newest = Times { newest: true, ..times.clone() };
        assert_eq!(shown(&newest, 39), (vec![30], Complete { through: Some(Timestamp(30)), left_out: 0, why: None }));
        assert_eq!(shown(&newest, 9).1.left_out, 1);
        let unknown = times.only_complete(&Err("why".to_owned()));
        assert_eq!(unknown.complete, Some(Complete { through: None, left_out: 5, why: Some("why".into()) }));
        assert_eq!(unknown.span(), (Timestamp(0), Timestamp(0)));
    }
}
