//! What each peer has, as it was last heard to say. Nothing else moves it: what was sent to a peer may be lost.

use std::collections::BTreeMap;

use common::clock::Timestamp;
use common::replication::{ConfigVersion, GossipConfig, ReplicaId, VectorTimestamp};

/// A peer's own words, all of them true at the time of the last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heard {
    /// All that was on its disk.
    pub applied: VectorTimestamp,
    /// No update of its own above `applied` bears an older id.
    pub floor: Timestamp,
    /// The version of the members that it had installed.
    pub members: ConfigVersion,
    /// The newest of its floors for which we have all of its updates that may be older.
    pub adopted: Timestamp,
}

/// One row for each active peer that was heard since our start.
#[derive(Clone, Debug, Default)]
pub(super) struct TimestampTable(BTreeMap<ReplicaId, Heard>);

impl TimestampTable {
    pub(super) fn get(&self, id: ReplicaId) -> Option<&Heard> {
        self.0.get(&id)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (ReplicaId, &Heard)> {
        self.0.iter().map(|(id, heard)| (*id, heard))
    }

    /// A peer has spoken. Whether that is news.
    pub(super) fn heard(
        &mut self,
        from: ReplicaId,
        members: ConfigVersion,
        applied: &VectorTimestamp,
        floor: Timestamp,
    ) -> bool {
        let nothing = || Heard {
            applied: VectorTimestamp::default(),
            floor: Timestamp::default(),
            members: ConfigVersion(0),
            adopted: Timestamp::default(),
        };
        let mut news = !self.0.contains_key(&from);
        let row = self.0.entry(from).or_insert_with(nothing);
        news |= applied.seen.iter().any(|(id, count)| row.applied.get(*id) < *count);
        row.applied.merge(applied);
        row.floor = row.floor.max(floor);
        row.members = row.members.max(members);
        news
    }

    /// Adopts the floors of those whose updates up to their own word are here.
    pub(super) fn adopt(&mut self, applied: &VectorTimestamp, at_once: bool) {
        for (id, row) in &mut self.0 {
            if applied.get(*id) >= row.applied.get(*id) || at_once {
                row.adopted = row.floor;
            }
        }
    }

    /// Whether this peer is known to have an update.
    pub(super) fn has(&self, peer: ReplicaId, origin: ReplicaId, counter: u64) -> bool {
        self.0.get(&peer).is_some_and(|row| row.applied.get(origin) >= counter)
    }

    /// The members have changed: only active ones have a row, and none for whom those retired.
    pub(super) fn under(&mut self, members: &GossipConfig) {
        self.0.retain(|id, _| members.active.contains(id));
        for row in self.0.values_mut() {
            let version = row.applied.version;
            row.applied = VectorTimestamp { version, ..row.applied.under(members) };
        }
    }
}
