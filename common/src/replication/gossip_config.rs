use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{ConfigError, ConfigVersion, GroupName, Proposer, ReplicaId, VectorTimestamp};
use crate::ids::ClusterId;

/// Which disks make up a gossip group: one durable record at the name server, changed by compare-and-set on its
/// version, never expiring. Whoever is in it may take in updates; nobody leads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GossipConfig {
    /// Whose record it is.
    pub cluster: ClusterId,
    /// Which group.
    pub group: GroupName,
    /// +1 per change.
    pub version: ConfigVersion,
    /// Those who take in updates, and for whom all keep what they lack.
    pub active: BTreeSet<ReplicaId>,
    /// Those from whom nothing more is taken, and of whom it is not known yet how much there is.
    pub leaving: BTreeSet<ReplicaId>,
    /// Those who are gone, and how many of their updates there are: every active one has all of them.
    pub retired: BTreeMap<ReplicaId, u64>,
}

impl GossipConfig {
    /// The first record of a group.
    pub fn first(cluster: ClusterId, group: GroupName, founder: ReplicaId) -> Self {
        Self {
            cluster,
            group,
            version: ConfigVersion(1),
            active: BTreeSet::from([founder]),
            leaving: BTreeSet::new(),
            retired: BTreeMap::new(),
        }
    }

    /// The record after this one, with a newcomer.
    #[must_use]
    pub fn joined_by(&self, id: ReplicaId) -> Self {
        let mut next = self.clone();
        next.active.insert(id);
        next.renumbered()
    }

    /// The record after this one, without this active one.
    #[must_use]
    pub fn left_by(&self, id: ReplicaId) -> Self {
        let mut next = self.clone();
        next.active.remove(&id);
        next.leaving.insert(id);
        next.renumbered()
    }

    /// The record after this one, in which one who was leaving is gone, with so many updates.
    #[must_use]
    pub fn retiring(&self, id: ReplicaId, last: u64) -> Self {
        let mut next = self.clone();
        next.leaving.remove(&id);
        next.retired.insert(id, last);
        next.renumbered()
    }

    fn renumbered(self) -> Self {
        Self { version: self.version.next(), ..self }
    }

    /// Whether this disk is or was a member.
    pub fn knows(&self, id: ReplicaId) -> bool {
        self.active.contains(&id) || self.leaving.contains(&id) || self.retired.contains_key(&id)
    }

    /// The active ones but for `me`.
    pub fn others(&self, me: ReplicaId) -> impl Iterator<Item = ReplicaId> {
        self.active.iter().copied().filter(move |id| *id != me)
    }

    /// Whether `next`, proposed by `by`, may be the first record of its group.
    ///
    /// # Errors
    /// The first rule that it breaks.
    pub fn allows_first(by: Proposer, next: &Self) -> Result<(), ConfigError> {
        match by {
            _ if next.version != ConfigVersion(1) => Err(ConfigError::Version),
            Proposer::Member(by) if *next == Self::first(next.cluster, next.group.clone(), by.id) => Ok(()),
            Proposer::Member(_) => Err(ConfigError::BadMove),
            Proposer::Operator => Err(ConfigError::NotYours),
        }
    }

    /// Whether `next`, proposed by `by`, may follow this record. The name server, the cores' tests and the walks all
    /// ask here.
    ///
    /// # Errors
    /// The first rule that it breaks.
    pub fn allows(&self, by: Proposer, next: &Self) -> Result<(), ConfigError> {
        if next.cluster != self.cluster || next.group != self.group {
            return Err(ConfigError::Identity);
        }
        match by {
            Proposer::Member(by) => self.allows_member(by.id, next),
            Proposer::Operator if next.version <= self.version => Err(ConfigError::Version),
            Proposer::Operator => next.is_whole(),
        }
    }

    /// Whether `next`, by an operator, may stand where nothing is stored and the versions up to `seen` were shown.
    ///
    /// # Errors
    /// The first rule that it breaks.
    pub fn allows_adopted(seen: ConfigVersion, next: &Self) -> Result<(), ConfigError> {
        if next.version <= seen { Err(ConfigError::Version) } else { next.is_whole() }
    }

    fn allows_member(&self, by: ReplicaId, next: &Self) -> Result<(), ConfigError> {
        if next.version != self.version.next() {
            return Err(ConfigError::Version);
        }
        if !self.active.contains(&by) {
            return Err(ConfigError::NotYours);
        }
        // One id moves, one place on: from nowhere to active, to leaving, to retired.
        let moves = {
            let joined = next.active.iter().find(|id| !self.knows(**id)).map(|id| self.joined_by(*id));
            let left = self.active.iter().find(|id| !next.active.contains(id)).map(|id| self.left_by(*id));
            let gone = self.leaving.iter().find_map(|id| Some(self.retiring(*id, *next.retired.get(id)?)));
            [joined, left, gone]
        };
        if !moves.into_iter().flatten().any(|moved| moved == *next) {
            return Err(ConfigError::BadMove);
        }
        next.is_whole()
    }

    fn is_whole(&self) -> Result<(), ConfigError> {
        let apart = self.leaving.iter().all(|id| !self.active.contains(id))
            && self.retired.keys().all(|id| !self.active.contains(id) && !self.leaving.contains(id));
        let told = self.active.len() + self.leaving.len() <= VectorTimestamp::ENTRIES_MAX;
        if apart && told && !self.active.is_empty() { Ok(()) } else { Err(ConfigError::BadMove) }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{BootId, Member};
    use super::*;

    fn id(n: u128) -> ReplicaId {
        ReplicaId::from_u128(n)
    }

    fn by(n: u128) -> Proposer {
        Proposer::Member(Member { id: id(n), boot: BootId::NOBODY })
    }

    fn first() -> GossipConfig {
        GossipConfig::first(ClusterId::from_bytes([1; 16]), "g".parse().unwrap(), id(1))
    }

    fn three() -> GossipConfig {
        first().joined_by(id(2)).joined_by(id(3))
    }

    #[test]
    fn an_active_member_moves_one_id_one_place_on() {
        let now = three();
        let left = now.left_by(id(3));
        assert_eq!(now.allows(by(1), &now.joined_by(id(4))), Ok(()));
        assert_eq!(now.allows(by(2), &left), Ok(()));
        assert_eq!(left.allows(by(1), &left.retiring(id(3), 7)), Ok(()));
        assert_eq!(now.allows(by(4), &now.joined_by(id(4))), Err(ConfigError::NotYours));
        assert_eq!(left.allows(by(3), &left.retiring(id(3), 7)), Err(ConfigError::NotYours));
    }

    #[test]
    fn two_moves_at_once_a_leap_and_a_return_are_refused() {
        let now = three();
        let renumbered = |next: GossipConfig| GossipConfig { version: now.version.next(), ..next };
        let two = renumbered(now.joined_by(id(4)).left_by(id(3)));
        assert_eq!(now.allows(by(1), &two), Err(ConfigError::BadMove));
        let leap = renumbered(now.left_by(id(3)).retiring(id(3), 7));
        assert_eq!(now.allows(by(1), &leap), Err(ConfigError::BadMove));
        let gone = now.left_by(id(3)).retiring(id(3), 7);
        assert_eq!(gone.allows(by(1), &gone.joined_by(id(3))), Err(ConfigError::BadMove));
        let changed = GossipConfig { retired: BTreeMap::from([(id(3), 8)]), ..gone.joined_by(id(4)) };
        assert_eq!(gone.allows(by(1), &changed), Err(ConfigError::BadMove));
        let skipped = GossipConfig { version: ConfigVersion(9), ..now.left_by(id(3)) };
        assert_eq!(now.allows(by(1), &skipped), Err(ConfigError::Version));
    }

    #[test]
    fn the_last_active_member_stays() {
        let alone = first();
        assert_eq!(alone.allows(by(1), &alone.left_by(id(1))), Err(ConfigError::BadMove));
    }

    #[test]
    fn the_first_record_names_its_founder_alone() {
        assert_eq!(GossipConfig::allows_first(by(1), &first()), Ok(()));
        assert_eq!(GossipConfig::allows_first(by(2), &first()), Err(ConfigError::BadMove));
        assert_eq!(GossipConfig::allows_first(by(1), &three()), Err(ConfigError::Version));
        assert_eq!(GossipConfig::allows_first(Proposer::Operator, &first()), Err(ConfigError::NotYours));
    }

    #[test]
    fn an_operator_goes_above_what_stands_and_was_shown() {
        let (now, adopted) = (first(), GossipConfig { version: ConfigVersion(9), ..three() });
        assert_eq!(now.allows(Proposer::Operator, &adopted), Ok(()));
        assert_eq!(adopted.allows(Proposer::Operator, &now), Err(ConfigError::Version));
        assert_eq!(GossipConfig::allows_adopted(ConfigVersion(8), &adopted), Ok(()));
        assert_eq!(GossipConfig::allows_adopted(ConfigVersion(9), &adopted), Err(ConfigError::Version));
        let nobody = GossipConfig { active: BTreeSet::new(), ..adopted };
        assert_eq!(now.allows(Proposer::Operator, &nobody), Err(ConfigError::BadMove));
    }
}
