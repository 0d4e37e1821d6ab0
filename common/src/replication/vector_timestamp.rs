use std::collections::BTreeMap;
use std::fmt;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

use super::{ConfigVersion, GossipConfig, ReplicaId};

/// What a causal client has seen: per replica, how many of its updates, under which membership. Passive services
/// have no use for it; their clients send [`VectorTimestamp::default`].
///
/// **The version belongs to it.** Entries of retired replicas are left out, and only who has installed that version
/// has all that they stood for.
///
/// R. Ladin, B. Liskov, L. Shrira, S. Ghemawat, *Providing High Availability Using Lazy Replication*, ACM TOCS
/// 10(4), 1992, §2.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VectorTimestamp {
    /// The version of the membership it was made under.
    pub version: ConfigVersion,
    /// Updates seen, by the replica that took them in; absent means none.
    #[serde(deserialize_with = "few")]
    pub seen: BTreeMap<ReplicaId, u64>,
}

impl VectorTimestamp {
    /// The most entries of one that is told: more than a group has members.
    pub const ENTRIES_MAX: usize = 64;

    /// How many of this replica's updates were seen.
    pub fn get(&self, id: ReplicaId) -> u64 {
        self.seen.get(&id).copied().unwrap_or(0)
    }

    /// This many of that replica's updates were seen, if it were not more before.
    pub fn raise(&mut self, id: ReplicaId, to: u64) {
        if to > self.get(id) {
            self.seen.insert(id, to);
        }
    }

    /// What either has seen.
    pub fn merge(&mut self, other: &Self) {
        self.version = self.version.max(other.version);
        for (&id, &count) in &other.seen {
            self.raise(id, count);
        }
    }

    /// Whether everything in `prev` was seen, for one who has installed `members`: `prev <= self`.
    pub fn covers(&self, prev: &Self, members: &GossipConfig) -> bool {
        self.version >= prev.version && self.covers_entries(prev, members)
    }

    /// The same, whatever the versions say.
    pub fn covers_entries(&self, prev: &Self, members: &GossipConfig) -> bool {
        prev.seen.iter().all(|(id, count)| members.retired.contains_key(id) || self.get(*id) >= *count)
    }

    /// What `prev` has and this one lacks.
    #[must_use]
    pub fn lacking(&self, prev: &Self, members: &GossipConfig) -> Self {
        let lacks =
            |(id, count): &(&ReplicaId, &u64)| !members.retired.contains_key(id) && self.get(**id) < **count;
        let seen = prev.seen.iter().filter(lacks).map(|(id, count)| (*id, *count)).collect();
        Self { version: prev.version, seen }
    }

    /// The same under these members: whom they retired is left out.
    #[must_use]
    pub fn under(&self, members: &GossipConfig) -> Self {
        let kept = self.seen.iter().filter(|(id, _)| !members.retired.contains_key(id));
        Self { version: members.version, seen: kept.map(|(id, count)| (*id, *count)).collect() }
    }
}

impl fmt::Display for VectorTimestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?}", self.version, self.seen)
    }
}

/// Nobody is made to hold more than a group can mean.
fn few<'de, D: Deserializer<'de>>(from: D) -> Result<BTreeMap<ReplicaId, u64>, D::Error> {
    let seen = BTreeMap::deserialize(from)?;
    match seen.len() {
        0..=VectorTimestamp::ENTRIES_MAX => Ok(seen),
        count => Err(D::Error::custom(format!("a vector of {count} entries"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::ClusterId;

    fn id(n: u128) -> ReplicaId {
        ReplicaId::from_u128(n)
    }

    fn vector(version: u64, seen: &[(u128, u64)]) -> VectorTimestamp {
        let seen = seen.iter().map(|(n, count)| (id(*n), *count)).collect();
        VectorTimestamp { version: ConfigVersion(version), seen }
    }

    fn members(version: u64, retired: &[u128]) -> GossipConfig {
        let first = GossipConfig::first(ClusterId::from_bytes([1; 16]), "g".parse().unwrap(), id(1));
        let retired = retired.iter().map(|n| (id(*n), 9)).collect();
        GossipConfig { version: ConfigVersion(version), retired, ..first }
    }

    #[test]
    fn one_covers_another_when_it_is_as_great_everywhere_and_as_new() {
        let all = members(2, &[]);
        let have = vector(2, &[(1, 3), (2, 5)]);
        for (prev, covered) in [
            (vector(2, &[(1, 3)]), true),
            (vector(0, &[]), true),
            (vector(2, &[(1, 4)]), false),
            (vector(2, &[(3, 1)]), false),
            (vector(3, &[(1, 1)]), false),
        ] {
            assert_eq!(have.covers(&prev, &all), covered, "{prev}");
        }
        assert_eq!(have.lacking(&vector(2, &[(1, 4), (2, 5)]), &all), vector(2, &[(1, 4)]));
    }

    #[test]
    fn whom_the_members_retired_is_compared_no_more() {
        let later = members(3, &[2]);
        let have = vector(3, &[(1, 3)]);
        assert!(have.covers(&vector(2, &[(1, 3), (2, 5)]), &later));
        assert_eq!(vector(2, &[(1, 3), (2, 5)]).under(&later), have);
    }

    #[test]
    fn merging_takes_the_greater_of_each_and_the_newer_version() {
        let mut merged = vector(2, &[(1, 3), (2, 5)]);
        merged.merge(&vector(1, &[(1, 4), (3, 1)]));
        assert_eq!(merged, vector(2, &[(1, 4), (2, 5), (3, 1)]));
    }

    #[test]
    fn a_vector_of_more_entries_than_members_is_not_read() {
        let config = bincode::config::standard();
        let read = |count: u128| {
            let written = vector(1, &(1..=count).map(|n| (n, 1)).collect::<Vec<_>>());
            let bytes = bincode::serde::encode_to_vec(written, config).unwrap();
            bincode::serde::decode_from_slice::<VectorTimestamp, _>(&bytes, config).is_ok()
        };
        assert!(read(64));
        assert!(!read(65));
    }
}
