//! The rules of passive replication. The names are those of the specification's list.

super::faults! {
    must_be_found {
        /// A member counts no more once the change that drops it is sent.
        ShrinkEarly,
        /// A learner counts only once the change that adds it stands.
        ExpandLate,
        /// A record that is older than our own change settles that change.
        ForgetCasOnGet,
        /// A learner is let in that lacks committed entries.
        ExpandBehind,
        /// A learner is let in before the epoch's barrier is committed.
        ExpandBeforeBarrier,
        /// A learner elects itself.
        UncleanElect,
        /// What a primary of an earlier epoch sends is taken in.
        NoFence,
        /// A restart forgets the epoch that its log has reached.
        VolatileEpoch,
        /// A restarted primary goes on with its epoch.
        SameEpochRestart,
        /// A winner sends before its barrier is on its disk.
        SendBeforeDurable,
        /// Entries of earlier epochs are committed without the barrier.
        NoBarrierCommitRule,
        /// A backup acknowledges what is not on its disk yet.
        AckBeforeFsync,
        /// The primary answers when its own disk has an update, and asks no backup.
        AckBeforeBackup,
        /// A backup acknowledges what this epoch's primary did not verify.
        AckUnmatched,
        /// A restart removes what is not known to be committed.
        TruncToCommit,
        /// Reads are answered without asking anybody.
        NoConfirm,
        /// One member's word is enough for a read.
        ConfirmNotAll,
        /// The members of a change that is not settled are not asked.
        ConfirmKnownOnly,
        /// A round that was begun before a read came serves it.
        ConfirmBeforeArrival,
        /// A member confirms an epoch that is not its own any more.
        ConfirmAnyEpoch,
        /// Reads are answered before the barrier is committed.
        ReadBeforeBarrier,
        /// Reads show what is not committed.
        ReadUncommitted,
        /// A second copy in the log runs again.
        NoDedupAtApply,
        /// Forgotten ids do not raise the floor.
        FloorNotRaised,
        /// Ids below the floor are taken for new.
        FloorNotChecked,
        /// A snapshot lacks the replies.
        DedupNotInSnapshot,
        /// A snapshot lacks the floor.
        FloorNotInSnapshot,
        /// Updates and reads are answered while too few are in sync.
        AnswerBelowMin,
        /// Who lost the race to create the group joins with its own first entry.
        KeepGenesis,
        /// Who holds nothing but its own first entry follows.
        GenesisFollows,
        /// A disk that an operator gave up comes back.
        ForcedRejoins,
        /// A disk that does not know that it was given up is fed.
        FeedsForced,
        /// An operator's record goes one ahead instead of a thousand.
        SmallJump,
        /// Replies of the name server before an operator's act are read after it.
        LateReply,
        /// Stored replies are given before the barrier is committed.
        TableBeforeBarrier,
        /// A front end's facts count for what makes two commands the same.
        DigestWithFacts,
        /// Two commands under one id count as the same.
        DigestIgnored,
        /// A second copy is attached to the first, whatever it says.
        AttachAny,
        /// A snapshot holds entries that are not committed.
        SnapUncommitted,
        /// A snapshot is installed under the rest of a log that differs from it.
        SnapKeepsTail,
        /// Replies are forgotten by each replica's own clock.
        AgeFromWallClock,
        /// The request table's limits are each process's own.
        LimitsFromFlags,
        /// A request from the future is remembered.
        FutureStored,
        /// A record older than one seen is followed.
        RegressedRecordAccepted,
        /// A wiped disk takes its old identity.
        WipedDiskKeepsId,
        /// A failed fsync is followed by another.
        NextFsyncAfterError,
    }
    harmless {
        /// A candidate is silent towards the old epoch. Not needed for safety: it must not be found.
        CandidateSilent,
        /// A primary hands over without waiting for what is under way. Not needed for safety: it must not be found.
        NoDrain,
    }
}
