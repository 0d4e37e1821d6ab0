//! Rules that can be broken by name, so that the tests can be tested: each must be found out. In a shipped binary
//! [`Planted`] holds nothing and says no to every question, so that none of it is left.

use std::fmt;
use std::str::FromStr;

/// A rule that is not kept. The names are those of the specification's list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fault {
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
    /// Any later record of an origin is taken. Not needed for safety: it must not be found.
    TakeAnyCounter,
    /// A gap is not noticed. Only a disk that went back, and that nobody remembers, makes one.
    NoGapRule,
}

impl Fault {
    /// All of them.
    pub const ALL: [Self; 40] = [
        Self::NoStamp,
        Self::ReplicaStamp,
        Self::IgnorePrev,
        Self::NoDedup,
        Self::NoMergeOnDuplicate,
        Self::ReuseIdentity,
        Self::AnnounceAboveLogged,
        Self::AnnounceUndurable,
        Self::TableAtSend,
        Self::ForgetAtOwnFloor,
        Self::SettledSkipsUnheard,
        Self::JoinInTwoSteps,
        Self::SnapshotWithoutLog,
        Self::FinalFromReachable,
        Self::FinalIsMaximum,
        Self::NoOldLog,
        Self::AckBeforeFsync,
        Self::LogBeforePrev,
        Self::ShipByOrigin,
        Self::TruncateEarly,
        Self::TruncateUncheckpointed,
        Self::TombstoneEarly,
        Self::FloorWithoutApplied,
        Self::NewcomerFloorZero,
        Self::RollbackByOwnCounter,
        Self::NoVersionHold,
        Self::NoSecondCheck,
        Self::FloorBeforeRecords,
        Self::FloorNotDurable,
        Self::SettledIgnoresLeaving,
        Self::TakeFromLeaving,
        Self::TakeFromRetired,
        Self::FinalAnyVersion,
        Self::OldLogOwnOnly,
        Self::VectorWithoutVersion,
        Self::OfflineStillGossips,
        Self::OnlineWithoutCatchUp,
        Self::ShipBeforeFsync,
        Self::TakeAnyCounter,
        Self::NoGapRule,
    ];

    /// Whether it breaks a rule that safety needs, so that the tests must find it.
    pub const fn must_be_found(self) -> bool {
        !matches!(self, Self::TakeAnyCounter)
    }

    /// Whether only a story shows it: no walk does, and none need.
    pub const fn is_for_a_story(self) -> bool {
        matches!(self, Self::TakeFromRetired | Self::OfflineStillGossips | Self::OnlineWithoutCatchUp)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
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
        assert_eq!(Fault::NoGapRule as usize + 1, Fault::ALL.len());
        assert!("NoStmp".parse::<Fault>().is_err());
    }

    #[cfg(feature = "planted")]
    #[test]
    fn only_what_is_planted_is_broken() {
        let planted = Planted::default().with(Fault::NoStamp).with(Fault::NoGapRule);
        let broken: Vec<_> = Fault::ALL.into_iter().filter(|&fault| planted.is(fault)).collect();
        assert_eq!(broken, [Fault::NoStamp, Fault::NoGapRule]);
        assert!(!Planted::default().is(Fault::NoStamp));
    }

    #[cfg(not(feature = "planted"))]
    #[test]
    fn nothing_of_it_is_left_without_the_feature() {
        assert_eq!(size_of::<Planted>(), 0);
        assert!(Fault::ALL.into_iter().all(|fault| !Planted::default().is(fault)));
    }
}
