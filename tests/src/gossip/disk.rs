//! A disk: what was fsynced, and nothing else.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use common::clock::Timestamp;
use common::replication::{GossipConfig, Update, VectorTimestamp};
use replica::gossip::{OldLog, Stored, WriteBatch};

/// What a replica finds when it starts again.
#[derive(Clone, Debug, Default)]
pub struct Disk {
    /// The newest members; `None`: there are no data.
    pub members: Option<GossipConfig>,
    /// Ids older than this are not taken in.
    pub floor: Timestamp,
    checkpoint: Option<Bytes>,
    truncated: VectorTimestamp,
    /// By place.
    pub log: BTreeMap<u64, Arc<Update>>,
    /// What a former identity left.
    pub old: Option<OldLog>,
    /// Everything that is here, in checkpoint or log.
    pub holds: VectorTimestamp,
}

impl Disk {
    /// One transaction.
    pub fn write(&mut self, batch: &WriteBatch) {
        if batch.replace {
            *self = Self::default();
        }
        for (place, record) in &batch.append {
            self.holds.raise(record.origin, record.counter);
            self.log.insert(*place, record.clone());
        }
        for place in &batch.gone {
            self.log.remove(place);
        }
        if let Some(truncated) = &batch.truncated {
            self.truncated = truncated.clone();
            // Of a copy, what is not in its log is in its checkpoint.
            self.holds.merge(truncated);
        }
        self.floor = self.floor.max(batch.floor.unwrap_or_default());
        if let Some(checkpoint) = &batch.checkpoint {
            self.checkpoint = Some(checkpoint.clone());
        }
        if let Some(members) = &batch.members {
            self.members = Some(members.clone());
        }
    }

    /// As a core finds it.
    pub fn stored(&self) -> Stored {
        Stored {
            members: self.members.clone(),
            floor: self.floor,
            checkpoint: self.checkpoint.clone(),
            truncated: self.truncated.clone(),
            log: self.log.iter().map(|(place, record)| (*place, record.clone())).collect(),
            old: self.old.clone(),
        }
    }

    /// An empty one in its place, for another identity; the log is kept for it.
    #[must_use]
    pub fn replaced(&self, was: common::replication::ReplicaId) -> Self {
        let log = || self.log.values().cloned().collect();
        let old = match &self.members {
            // It never came to log again what it was left.
            None => self.old.clone(),
            Some(_) => Some(OldLog { was, log: log() }),
        };
        Self { old, ..Self::default() }
    }

    /// Whether there are no data.
    pub fn is_blank(&self) -> bool {
        self.members.is_none()
    }
}
