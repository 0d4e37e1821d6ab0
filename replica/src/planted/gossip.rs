//! The rules of gossip. The names are those of the specification's list.

super::faults! {
    must_be_found {
        /// The last write that comes wins, not the one with the higher stamp.
        NoStamp,
        /// The stamp is made by the replica that takes the update in.
        ReplicaStamp,
        /// Nobody waits for what the caller has seen.
        IgnorePrev,
        /// An id that is known takes effect again.
        NoDedup,
        /// A second record with a known id does not count as applied.
        NoMergeOnDuplicate,
        /// A wiped disk keeps its identity.
        ReuseIdentity,
        /// What others say to have is told as our own.
        AnnounceAboveLogged,
        /// What is on its way to the disk is told.
        AnnounceUndurable,
        /// What was sent counts as arrived.
        TableAtSend,
        /// Ids are forgotten at the own floor.
        ForgetAtOwnFloor,
        /// Who was not heard does not keep others from forgetting.
        SettledSkipsUnheard,
        /// The copy for a newcomer is made before it is in.
        JoinInTwoSteps,
        /// A copy lacks the log.
        SnapshotWithoutLog,
        /// Who was not heard is not asked how much there is of a leaver.
        FinalFromReachable,
        /// There is as much of a leaver as somebody has.
        FinalIsMaximum,
        /// What a former identity alone had is not logged again.
        NoOldLog,
        /// What is not on the disk is applied and answered.
        AckBeforeFsync,
        /// An update is logged before what its caller has seen.
        LogBeforePrev,
        /// Records are sent in another order than they were logged.
        ShipByOrigin,
        /// Records go that a member lacks.
        TruncateEarly,
        /// Records go that no checkpoint holds.
        TruncateUncheckpointed,
        /// Deleted cells go when the own floor is past them.
        TombstoneEarly,
        /// A floor is believed before what stands below it has come.
        FloorWithoutApplied,
        /// A newcomer takes in ids as old as it likes.
        NewcomerFloorZero,
        /// Only the own counter tells an old disk.
        RollbackByOwnCounter,
        /// A message under newer members is taken under the old ones.
        NoVersionHold,
        /// What has waited is not checked again.
        NoSecondCheck,
        /// The floor is written ahead of records that may be older.
        FloorBeforeRecords,
        /// The floor is not written at all.
        FloorNotDurable,
        /// Who is leaving does not keep others from forgetting.
        SettledIgnoresLeaving,
        /// What one who is leaving sends is taken in.
        TakeFromLeaving,
        /// What one who is retired sends is taken in.
        TakeFromRetired,
        /// What was told under earlier members counts for how much there is of a leaver.
        FinalAnyVersion,
        /// Of an old log, others' records are not logged again.
        OldLogOwnOnly,
        /// A vector is compared without its version.
        VectorWithoutVersion,
        /// Who is offline gossips.
        OfflineStillGossips,
        /// Who comes back serves before it has caught up.
        OnlineWithoutCatchUp,
        /// Records are sent that are not on the disk yet.
        ShipBeforeFsync,
        /// A gap is not noticed. Only a disk that went back, and that nobody remembers, makes one.
        NoGapRule,
    }
    harmless {
        /// Any later record of an origin is taken. Not needed for safety: it must not be found.
        TakeAnyCounter,
    }
}

impl Fault {
    /// Whether only a story shows it: no walk does.
    pub const fn is_for_a_story(self) -> bool {
        matches!(self, Self::TakeFromRetired | Self::OfflineStillGossips | Self::OnlineWithoutCatchUp)
    }
}
