//! Rules that can be broken by name, so that the tests can be tested: each must be found out. In a shipped binary
//! [`Planted`] holds nothing and says no to every question, so that none of it is left.

use std::fmt;
use std::str::FromStr;

/// A rule that is not kept. The names are those of the specification's list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fault {
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
    /// A candidate is silent towards the old epoch. Not needed for safety: it must not be found.
    CandidateSilent,
    /// A primary hands over without waiting for what is under way. Not needed for safety: it must not be found.
    NoDrain,
}

impl Fault {
    /// All of them.
    pub const ALL: [Self; 48] = [
        Self::ShrinkEarly,
        Self::ExpandLate,
        Self::ForgetCasOnGet,
        Self::ExpandBehind,
        Self::ExpandBeforeBarrier,
        Self::UncleanElect,
        Self::NoFence,
        Self::VolatileEpoch,
        Self::SameEpochRestart,
        Self::SendBeforeDurable,
        Self::NoBarrierCommitRule,
        Self::AckBeforeFsync,
        Self::AckBeforeBackup,
        Self::AckUnmatched,
        Self::TruncToCommit,
        Self::NoConfirm,
        Self::ConfirmNotAll,
        Self::ConfirmKnownOnly,
        Self::ConfirmBeforeArrival,
        Self::ConfirmAnyEpoch,
        Self::ReadBeforeBarrier,
        Self::ReadUncommitted,
        Self::NoDedupAtApply,
        Self::FloorNotRaised,
        Self::FloorNotChecked,
        Self::DedupNotInSnapshot,
        Self::FloorNotInSnapshot,
        Self::AnswerBelowMin,
        Self::KeepGenesis,
        Self::GenesisFollows,
        Self::ForcedRejoins,
        Self::FeedsForced,
        Self::SmallJump,
        Self::LateReply,
        Self::TableBeforeBarrier,
        Self::DigestWithFacts,
        Self::DigestIgnored,
        Self::AttachAny,
        Self::SnapUncommitted,
        Self::SnapKeepsTail,
        Self::AgeFromWallClock,
        Self::LimitsFromFlags,
        Self::FutureStored,
        Self::RegressedRecordAccepted,
        Self::WipedDiskKeepsId,
        Self::NextFsyncAfterError,
        Self::CandidateSilent,
        Self::NoDrain,
    ];

    /// Whether it breaks a rule that safety needs, so that the tests must find it.
    pub const fn must_be_found(self) -> bool {
        !matches!(self, Self::CandidateSilent | Self::NoDrain)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{self:?}"))
    }
}

/// No fault has that name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no fault is called {name}")]
pub struct UnknownFault {
    /// What was asked for.
    pub name: String,
}

impl FromStr for Fault {
    type Err = UnknownFault;

    fn from_str(name: &str) -> Result<Self, UnknownFault> {
        let found = Self::ALL.into_iter().find(|fault| fault.to_string() == name);
        found.ok_or_else(|| UnknownFault { name: name.to_owned() })
    }
}

/// The rules that a replica does not keep.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Planted {
    #[cfg(feature = "planted")]
    faults: u64,
}

impl Planted {
    /// Whether this rule is broken.
    #[cfg(feature = "planted")]
    pub const fn is(self, fault: Fault) -> bool {
        self.faults & (1 << fault as u32) != 0
    }

    /// Whether this rule is broken: never, here.
    #[cfg(not(feature = "planted"))]
    pub const fn is(self, _: Fault) -> bool {
        false
    }

    /// Breaks this rule, too.
    #[cfg(feature = "planted")]
    #[must_use]
    pub const fn with(self, fault: Fault) -> Self {
        Self { faults: self.faults | 1 << fault as u32 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_is_listed_once_and_found_by_its_name() {
        for (place, fault) in Fault::ALL.into_iter().enumerate() {
            assert_eq!(fault as usize, place);
            assert_eq!(fault.to_string().parse(), Ok(fault));
        }
        assert_eq!(Fault::NoDrain as usize + 1, Fault::ALL.len());
        assert!("NoFench".parse::<Fault>().is_err());
    }

    #[cfg(feature = "planted")]
    #[test]
    fn only_what_is_planted_is_broken() {
        let planted = Planted::default().with(Fault::NoFence).with(Fault::NoDrain);
        let broken: Vec<_> = Fault::ALL.into_iter().filter(|&fault| planted.is(fault)).collect();
        assert_eq!(broken, [Fault::NoFence, Fault::NoDrain]);
        assert!(!Planted::default().is(Fault::NoFence));
    }

    #[cfg(not(feature = "planted"))]
    #[test]
    fn nothing_of_it_is_left_without_the_feature() {
        assert_eq!(size_of::<Planted>(), 0);
        assert!(Fault::ALL.into_iter().all(|fault| !Planted::default().is(fault)));
    }
}
