//! The naive designs of RELIABILITY.md that the simulator must find, or it is too weak. Each is a wrapper around a port.

/// A wrong design. The comment says what it breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mutant {
    /// V2: a commit applies if it ends above the stored position, instead of if it starts exactly there.
    MonotonicCheck,
    /// V3: a commit always applies: no equality.
    NoEquality,
    /// V4: position and partials change in two steps.
    StateAndPositionApart,
    /// V5: the layers meet at an event time; what is late for the generation is left out.
    SeamByEventTime,
    /// V6: segments are dropped before the generation that covers them is published, and nobody looks at the floor.
    ClearBeforePublish,
    /// V7: nobody looks at the floor.
    NoFloorCheck,
    /// V7b: what the generation covers is not left out of the speed half.
    SpeedNotFilteredByOffset,
    /// V8: a generation is written over one of the same number.
    OverwritePublish,
    /// V9: an archive commit is written over one of the same number.
    ArchiveLastWriterWins,
    /// V10: the archive is whatever files lie there.
    ListingIsArchive,
    /// V11: after a loss, the speed layer goes on from where it was instead of from the cut.
    RestartFromGroupOffset,
    /// V13: reading below the log's start silently jumps to it.
    ResetToEarliest,
    /// V14: closed segments expire, and what is gone counts as nothing.
    TimeToLive,
    /// V15: a segment's rows are evicted, and nobody notices.
    EvictedSegment,
}

impl Mutant {
    /// All of them.
    pub const ALL: [Mutant; 14] = [
        Mutant::MonotonicCheck,
        Mutant::NoEquality,
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
    ];
}
