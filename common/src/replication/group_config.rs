use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::{BootId, ConfigVersion, Epoch, GroupName, Member, ReplicaId};
use crate::ids::ClusterId;

/// Which configuration of a passive group stands: one durable record at the name server, changed by
/// compare-and-set on its version, never expiring (W. Lin et al., *PacificA*, MSR-TR-2008-25, §2.2).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupConfig {
    /// Whose record it is.
    pub cluster: ClusterId,
    /// Which group.
    pub group: GroupName,
    /// +1 per change.
    pub version: ConfigVersion,
    /// +1 per change of primary.
    pub epoch: Epoch,
    /// Who leads: this disk, in this boot.
    pub primary: Member,
    /// Whose disks hold every acknowledged update.
    pub in_sync: InSyncSet,
    /// How many of them there must be for an answer; 1 to 7, fixed at creation.
    pub min_in_sync: u8,
    /// The version of the last `force-elect`, else 0.
    pub forced: ConfigVersion,
}

/// How far a forced record jumps: more changes than a group makes while somebody is not heard, so that no version or
/// epoch of those who do not answer is used a second time.
pub const FORCED_AHEAD: u64 = 1_000;

/// The disks that hold every acknowledged update.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct InSyncSet(BTreeSet<ReplicaId>);

/// Who proposes a configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Proposer {
    /// A replica.
    Member(Member),
    /// A person, on the name server's own machine.
    Operator,
}

/// Why a configuration may not follow the one that stands. Nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum ConfigError {
    /// Not the version after the one that stands.
    #[error("the version must be the one after the version that stands")]
    Version,
    /// Of another cluster, or another group.
    #[error("the record belongs to another cluster or group")]
    Identity,
    /// The epoch rises by one exactly when the primary changes.
    #[error("the epoch rises by one exactly when the primary changes")]
    EpochRule,
    /// The primary must be in the in-sync set.
    #[error("the primary is not in the in-sync set")]
    PrimaryNotInSync,
    /// Who was not in sync cannot lead: acknowledged updates would be lost.
    #[error("the new primary was not in sync")]
    Unclean,
    /// The proposer has no say in this.
    #[error("the proposer may not make this change")]
    NotYours,
    /// A change of what never changes, or of more than one thing.
    #[error("the change is not one of those allowed")]
    BadMove,
}

impl InSyncSet {
    /// The set of these.
    pub fn new(members: impl IntoIterator<Item = ReplicaId>) -> Self {
        Self(members.into_iter().collect())
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether nobody.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether `id` is one of them.
    pub fn contains(&self, id: ReplicaId) -> bool {
        self.0.contains(&id)
    }

    /// Each, in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = ReplicaId> {
        self.0.iter().copied()
    }

    /// The set with `id`.
    #[must_use]
    pub fn with(&self, id: ReplicaId) -> Self {
        Self::new(self.iter().chain([id]))
    }

    /// The set without `id`.
    #[must_use]
    pub fn without(&self, id: ReplicaId) -> Self {
        Self::new(self.iter().filter(|&other| other != id))
    }

    /// The set of those in either.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        Self::new(self.iter().chain(other.iter()))
    }
}

impl GroupConfig {
    /// The first record of a group.
    pub fn first(cluster: ClusterId, group: GroupName, primary: Member, min_in_sync: u8) -> Self {
        Self {
            cluster,
            group,
            version: ConfigVersion(1),
            epoch: Epoch(1),
            primary,
            in_sync: InSyncSet::new([primary.id]),
            min_in_sync,
            forced: ConfigVersion(0),
        }
    }

    /// The record after this one, with these in sync.
    #[must_use]
    pub fn with_in_sync(&self, in_sync: InSyncSet) -> Self {
        Self { version: self.version.next(), in_sync, ..self.clone() }
    }

    /// The record after this one, in which `by`, one of its members, has elected itself.
    #[must_use]
    pub fn elected(&self, by: Member) -> Self {
        let in_sync = self.in_sync.without(self.primary.id).with(by.id);
        Self { epoch: self.epoch.next(), primary: by, ..self.with_in_sync(in_sync) }
    }

    /// The record after this one, in which the primary has handed over to `to`, and left.
    #[must_use]
    pub fn handed_to(&self, to: Member) -> Self {
        let in_sync = self.in_sync.without(self.primary.id);
        Self { epoch: self.epoch.next(), primary: to, ..self.with_in_sync(in_sync) }
    }

    /// Whether `next`, proposed by `by`, may be the first record of its group.
    ///
    /// # Errors
    /// The first rule that it breaks.
    pub fn allows_first(by: Proposer, next: &Self) -> Result<(), ConfigError> {
        let Proposer::Member(by) = by else { return Err(ConfigError::NotYours) };
        if next.version != ConfigVersion(1) {
            return Err(ConfigError::Version);
        }
        if next.epoch != Epoch(1) {
            return Err(ConfigError::EpochRule);
        }
        if next.primary != by {
            return Err(ConfigError::NotYours);
        }
        let first = Self::first(next.cluster, next.group.clone(), by, next.min_in_sync);
        if *next != first || !(1..=7).contains(&next.min_in_sync) {
            return Err(ConfigError::BadMove);
        }
        Ok(())
    }

    /// Whether `next`, proposed by `by`, may follow this record. The name server, the cores' tests and the models
    /// all ask here.
    ///
    /// # Errors
    /// The first rule that it breaks.
    pub fn allows(&self, by: Proposer, next: &Self) -> Result<(), ConfigError> {
        if next.cluster != self.cluster || next.group != self.group {
            return Err(ConfigError::Identity);
        }
        match by {
            Proposer::Member(by) => self.allows_member(by, next),
            Proposer::Operator => self.allows_operator(next),
        }
    }

    fn allows_member(&self, by: Member, next: &Self) -> Result<(), ConfigError> {
        if next.version != self.version.next() {
            return Err(ConfigError::Version);
        }
        if next.min_in_sync != self.min_in_sync || next.forced != self.forced {
            return Err(ConfigError::BadMove);
        }
        if !next.in_sync.contains(next.primary.id) {
            return Err(ConfigError::PrimaryNotInSync);
        }
        if next.epoch == self.epoch {
            // The set shrinks or grows.
            return match () {
                () if by != self.primary => Err(ConfigError::NotYours),
                () if next.primary != self.primary => Err(ConfigError::EpochRule),
                () => Ok(()),
            };
        }
        if next.epoch != self.epoch.next() || next.primary == self.primary {
            return Err(ConfigError::EpochRule);
        }
        if !self.in_sync.contains(next.primary.id) {
            return Err(ConfigError::Unclean);
        }
        if by == self.primary {
            // It hands over, and leaves.
            return match () {
                () if next.primary.id == by.id => Err(ConfigError::BadMove),
                () if next.in_sync != self.in_sync.without(by.id) => Err(ConfigError::BadMove),
                () => Ok(()),
            };
        }
        // It elects itself. A restarted primary that does so removes nobody.
        match () {
            () if next.primary != by => Err(ConfigError::NotYours),
            () if next.in_sync != self.in_sync.without(self.primary.id).with(by.id) => {
                Err(ConfigError::BadMove)
            }
            () => Ok(()),
        }
    }

    /// Whether `next`, by an operator, may stand where nothing is stored and the versions up to `seen` were shown.
    ///
    /// # Errors
    /// The first rule that it breaks.
    pub fn allows_adopted(seen: ConfigVersion, next: &Self) -> Result<(), ConfigError> {
        match () {
            () if next.version <= seen => Err(ConfigError::Version),
            () if next.epoch == Epoch(0) => Err(ConfigError::EpochRule),
            () => next.is_an_operators(),
        }
    }

    /// One rule stands in the place of all others: above everything that is stored. What is stored may be an old copy,
    /// so even what never changes is as the newer record has it; a group is never *less* forced than before.
    fn allows_operator(&self, next: &Self) -> Result<(), ConfigError> {
        match () {
            () if next.version <= self.version => Err(ConfigError::Version),
            () if next.epoch <= self.epoch => Err(ConfigError::EpochRule),
            () if next.forced < self.forced => Err(ConfigError::BadMove),
            () => next.is_an_operators(),
        }
    }

    /// An operator's record names a boot that is nobody's, so nobody leads by it: a member of its in-sync set must
    /// elect itself by the rules above.
    fn is_an_operators(&self) -> Result<(), ConfigError> {
        match () {
            () if self.primary.boot != BootId::NOBODY => Err(ConfigError::NotYours),
            () if !self.in_sync.contains(self.primary.id) => Err(ConfigError::PrimaryNotInSync),
            () if !(1..=7).contains(&self.min_in_sync) => Err(ConfigError::BadMove),
            () if self.forced > self.version => Err(ConfigError::BadMove),
            () => Ok(()),
        }
    }

    /// The record by which an operator adopts this one, the newest that anybody has shown: the same in-sync set, led
    /// by nobody, above every version and epoch `seen`. `heir` is the disk that may elect itself first.
    ///
    /// # Panics
    /// When the heir is not in sync: it could lose what was acknowledged.
    #[must_use]
    pub fn adopted(&self, seen: (ConfigVersion, Epoch), heir: ReplicaId) -> Self {
        assert!(self.in_sync.contains(heir), "{heir:?} is not in sync: {}", self.in_sync);
        let (version, epoch) = (self.version.max(seen.0), self.epoch.max(seen.1));
        let primary = Member { id: heir, boot: BootId::NOBODY };
        Self { version: version.next(), epoch: epoch.next(), primary, ..self.clone() }
    }

    /// The record by which an operator gives the group to the disk `heir` alone. Every other disk's acknowledgements
    /// are void from then on. One that does not answer may have seen later versions than anybody has shown, hence
    /// [`FORCED_AHEAD`].
    #[must_use]
    pub fn forced_to(&self, seen: (ConfigVersion, Epoch), heir: ReplicaId) -> Self {
        let version = ConfigVersion(self.version.max(seen.0).0 + FORCED_AHEAD);
        let epoch = Epoch(self.epoch.max(seen.1).0 + FORCED_AHEAD);
        let primary = Member { id: heir, boot: BootId::NOBODY };
        Self { version, epoch, primary, in_sync: InSyncSet::new([heir]), forced: version, ..self.clone() }
    }
}

impl fmt::Display for InSyncSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(&self.0).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(id: u128, boot: u128) -> Member {
        Member { id: ReplicaId::from_u128(id), boot: BootId::from_u128(boot) }
    }

    fn three() -> GroupConfig {
        let first =
            GroupConfig::first(ClusterId::from_bytes([1; 16]), "g".parse().unwrap(), member(1, 10), 1);
        GroupConfig { in_sync: InSyncSet::new([1, 2, 3].map(ReplicaId::from_u128)), ..first }
    }

    #[test]
    fn a_member_in_sync_may_elect_itself_and_removes_the_old_primary() {
        let (old, by) = (three(), member(2, 20));
        assert_eq!(old.allows(Proposer::Member(by), &old.elected(by)), Ok(()));
        let keeps = GroupConfig { in_sync: old.in_sync.clone(), ..old.elected(by) };
        assert_eq!(old.allows(Proposer::Member(by), &keeps), Err(ConfigError::BadMove));
        let other = old.elected(member(3, 30));
        assert_eq!(old.allows(Proposer::Member(by), &other), Err(ConfigError::NotYours));
    }

    #[test]
    fn a_learner_may_not_elect_itself() {
        let (old, by) = (three(), member(4, 40));
        assert_eq!(old.allows(Proposer::Member(by), &old.elected(by)), Err(ConfigError::Unclean));
    }

    #[test]
    fn a_restarted_primary_needs_a_new_epoch_and_removes_nobody() {
        let (old, by) = (three(), member(1, 11));
        assert_eq!(old.allows(Proposer::Member(by), &old.elected(by)), Ok(()));
        assert_eq!(old.elected(by).in_sync, old.in_sync);
        let same_epoch = GroupConfig { version: old.version.next(), primary: by, ..old.clone() };
        assert_eq!(old.allows(Proposer::Member(by), &same_epoch), Err(ConfigError::NotYours));
    }

    #[test]
    fn only_the_primary_in_its_own_boot_shrinks_the_set() {
        let old = three();
        let next = GroupConfig {
            version: old.version.next(),
            in_sync: old.in_sync.without(ReplicaId::from_u128(3)),
            ..old.clone()
        };
        assert_eq!(old.allows(Proposer::Member(member(1, 10)), &next), Ok(()));
        assert_eq!(old.allows(Proposer::Member(member(1, 11)), &next), Err(ConfigError::NotYours));
        assert_eq!(old.allows(Proposer::Member(member(2, 20)), &next), Err(ConfigError::NotYours));
        let alone = GroupConfig { in_sync: old.in_sync.without(ReplicaId::from_u128(1)), ..next };
        assert_eq!(old.allows(Proposer::Member(member(1, 10)), &alone), Err(ConfigError::PrimaryNotInSync));
    }

    #[test]
    fn a_hand_over_names_an_in_sync_member_and_removes_the_giver() {
        let (old, by) = (three(), member(1, 10));
        let next = GroupConfig {
            version: old.version.next(),
            epoch: old.epoch.next(),
            primary: member(2, 20),
            in_sync: old.in_sync.without(by.id),
            ..old.clone()
        };
        assert_eq!(old.allows(Proposer::Member(by), &next), Ok(()));
        let stays = GroupConfig { in_sync: old.in_sync.clone(), ..next };
        assert_eq!(old.allows(Proposer::Member(by), &stays), Err(ConfigError::BadMove));
    }

    fn by_operator(old: &GroupConfig, next: &GroupConfig) -> Result<(), ConfigError> {
        old.allows(Proposer::Operator, next)
    }

    #[test]
    fn an_operators_record_is_led_by_nobody() {
        let (old, heir) = (three(), ReplicaId::from_u128(2));
        let seen = (ConfigVersion(7), Epoch(3));
        for next in [old.adopted(seen, heir), old.forced_to(seen, heir)] {
            assert_eq!(by_operator(&old, &next), Ok(()));
            assert_eq!(GroupConfig::allows_adopted(seen.0, &next), Ok(()));
            assert_eq!(next.primary, Member { id: heir, boot: BootId::NOBODY });
            // Not even by a member that says it is an operator's, and not by one that is no operator's.
            let led = GroupConfig { primary: member(2, 20), ..next.clone() };
            assert_eq!(by_operator(&old, &led), Err(ConfigError::NotYours));
            assert_eq!(GroupConfig::allows_adopted(seen.0, &led), Err(ConfigError::NotYours));
            assert!(old.allows(Proposer::Member(member(2, 20)), &next).is_err());
        }
    }

    #[test]
    fn an_adopted_record_is_just_above_all_that_was_seen_and_keeps_the_set() {
        let (old, heir) = (three(), ReplicaId::from_u128(3));
        let next = old.adopted((ConfigVersion(7), Epoch(9)), heir);
        assert_eq!((next.version, next.epoch), (ConfigVersion(8), Epoch(10)));
        assert_eq!((&next.in_sync, next.forced), (&old.in_sync, old.forced));
        // What was seen may be older than the record itself.
        let next = old.adopted((ConfigVersion(0), Epoch(0)), heir);
        assert_eq!((next.version, next.epoch), (old.version.next(), old.epoch.next()));
    }

    #[test]
    fn a_forced_record_leaves_room_for_versions_that_nobody_has_shown() {
        let next = three().forced_to((ConfigVersion(7), Epoch(9)), ReplicaId::from_u128(3));
        assert_eq!((next.version, next.epoch), (ConfigVersion(1_007), Epoch(1_009)));
        assert_eq!(next.in_sync, InSyncSet::new([ReplicaId::from_u128(3)]));
        assert_eq!(next.forced, next.version);
    }

    #[test]
    fn an_operator_goes_above_what_is_stored_and_never_takes_a_forced_record_back() {
        let old = three().forced_to((ConfigVersion(1), Epoch(1)), ReplicaId::from_u128(3));
        let next = old.adopted((old.version, old.epoch), ReplicaId::from_u128(3));
        let same_version = GroupConfig { version: old.version, ..next.clone() };
        assert_eq!(by_operator(&old, &same_version), Err(ConfigError::Version));
        let same_epoch = GroupConfig { epoch: old.epoch, ..next.clone() };
        assert_eq!(by_operator(&old, &same_epoch), Err(ConfigError::EpochRule));
        let unforced = GroupConfig { forced: ConfigVersion(0), ..next.clone() };
        assert_eq!(by_operator(&old, &unforced), Err(ConfigError::BadMove));
        // What is stored may be a copy from before the group was forced.
        assert_eq!(by_operator(&three(), &next), Ok(()));
        assert_eq!(
            GroupConfig::allows_adopted(next.version, &next),
            Err(ConfigError::Version),
            "that version was shown"
        );
        let forced_later = GroupConfig { forced: next.version.next(), ..next };
        assert_eq!(by_operator(&old, &forced_later), Err(ConfigError::BadMove));
    }

    #[test]
    fn the_first_record_names_its_proposer_alone() {
        let first =
            GroupConfig::first(ClusterId::from_bytes([1; 16]), "g".parse().unwrap(), member(1, 10), 1);
        assert_eq!(GroupConfig::allows_first(Proposer::Member(member(1, 10)), &first), Ok(()));
        assert_eq!(
            GroupConfig::allows_first(Proposer::Member(member(2, 10)), &first),
            Err(ConfigError::NotYours)
        );
        assert_eq!(
            GroupConfig::allows_first(Proposer::Member(member(1, 10)), &three()),
            Err(ConfigError::BadMove)
        );
    }
}
