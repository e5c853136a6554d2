//! Naive designs that the simulator must find, or it is too weak; and three that only look so. Each is a wrapper around a port.
use async_trait::async_trait;
use seam_shared::error::Result;
use seam_shared::log::{Offset, OffsetVector};
use seam_shared::view::definition::View;
use seam_shared::view::ranks::Ranks;
use seam_speed::cuts::{Cuts, LakeCuts};

/// A wrong design. The comment says what it breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mutant {
    /// Partials are added up in the store, and the position is committed afterwards, somewhere else.
    IncrementsThenPosition,
    /// A commit applies if it ends above the stored position, instead of if it starts exactly there.
    MonotonicCheck,
    /// A commit always applies: no equality.
    NoEquality,
    /// A commit applies if its worker is the last one that started: an epoch instead of equality.
    EpochFenceOnly,
    /// Position and partials lie apart: they change in two steps, and fall back each by itself.
    StateAndPositionApart,
    /// The layers meet at an event time; what is late for the generation is left out.
    SeamByEventTime,
    /// Segments are dropped before the generation that covers them is published, and nobody looks at the floor.
    ClearBeforePublish,
    /// Nobody looks at the floor.
    NoFloorCheck,
    /// What the generation covers is not left out of the speed half.
    SpeedNotFilteredByOffset,
    /// A generation is written over one of the same number.
    OverwritePublish,
    /// An archive commit is written over one of the same number.
    ArchiveLastWriterWins,
    /// The archive is whatever files lie there.
    ListingIsArchive,
    /// After a loss, the speed layer goes on from where it was instead of from the cut, and nobody looks at the floor.
    RestartFromGroupOffset,
    /// Reading below the log's start silently jumps to it.
    ResetToEarliest,
    /// Closed segments expire, and what is gone counts as nothing.
    TimeToLive,
    /// Rows are evicted, and nobody notices.
    EvictedSegment,
    /// A script that was half applied goes unnoticed, as after a torn append-only file.
    TornCommitUnnoticed,
    /// A position is good whatever the log holds below it: a log that lost its end and grew again is folded on.
    NoAnchor,
    /// A count window's ranks begin at 0 where the newest generation ends.
    RanksFromZero,
    /// Whoever starts makes the state anew at the cut. Wasteful, not wrong.
    UnconditionalClaim,
    /// [`Mutant::ClearBeforePublish`] with the floor check. Refuses until the next generation, not wrong.
    ClearBeforePublishChecked,
    /// [`Mutant::RestartFromGroupOffset`] with the floor check. Refuses until the next generation, not wrong.
    RestartFromGroupOffsetChecked,
}

impl Mutant {
    /// Those that give wrong answers.
    pub const WRONG: [Mutant; 19] = [
        Mutant::IncrementsThenPosition,
        Mutant::MonotonicCheck,
        Mutant::NoEquality,
        Mutant::EpochFenceOnly,
        Mutant::StateAndPositionApart,
        Mutant::SeamByEventTime,
        Mutant::ClearBeforePublish,
        Mutant::NoFloorCheck,
        Mutant::SpeedNotFilteredByOffset,
        Mutant::OverwritePublish,
        Mutant::ArchiveLastWriterWins,
        Mutant::ListingIsArchive,
        Mutant::RestartFromGroupOffset,
        Mutant::ResetToEarliest,
        Mutant::TimeToLive,
        Mutant::EvictedSegment,
        Mutant::TornCommitUnnoticed,
        Mutant::NoAnchor,
        Mutant::RanksFromZero,
    ];
    /// Those that never do, though they look as bad. ([`Mutant::OverwritePublish`] is wrong with the floor check, too: a reader replays
    /// the table's commits one upon the other, and one that was written over under it is a wrong answer.)
    pub const HARMLESS: [Mutant; 3] =
        [Mutant::UnconditionalClaim, Mutant::ClearBeforePublishChecked, Mutant::RestartFromGroupOffsetChecked];

    /// Whether it needs the model of Redis, for it is about what a store of one's own cannot do.
    pub fn is_of_redis(self) -> bool {
        matches!(
            self,
            Mutant::IncrementsThenPosition
                | Mutant::StateAndPositionApart
                | Mutant::EvictedSegment
                | Mutant::TornCommitUnnoticed
        )
    }
    /// Whether readers take a partition for whole, whatever its floor.
    pub fn ignores_floor(self) -> bool {
        matches!(self, Mutant::NoFloorCheck | Mutant::ClearBeforePublish | Mutant::RestartFromGroupOffset)
    }
    /// Whether segments are dropped before the generation that covers them.
    pub fn clears_early(self) -> bool {
        matches!(self, Mutant::ClearBeforePublish | Mutant::ClearBeforePublishChecked)
    }
    /// Whether a lost state goes on where it was.
    pub fn skips_ahead(self) -> bool {
        matches!(self, Mutant::RestartFromGroupOffset | Mutant::RestartFromGroupOffsetChecked)
    }
}

/// Cuts of a lake that nobody looks into for ranks.
#[derive(Debug)]
pub struct RanksFromZero(pub LakeCuts);

#[async_trait]
impl Cuts for RanksFromZero {
    async fn cut(&self, view: &View) -> Result<Option<OffsetVector>> {
        self.0.cut(view).await
    }
    async fn ranks(&self, view: &View, partition: u32) -> Result<(Offset, Ranks)> {
        let (cut, _) = self.0.ranks(view, partition).await?;
        Ok((cut, Ranks::default()))
    }
}
