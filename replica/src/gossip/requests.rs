//! Which updates took effect, by their ids, and what was replied.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use common::clock::Timestamp;
use common::replication::{ReplicaId, RequestId};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// An update that took effect here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Known {
    /// As which record it came first.
    pub(super) origin: ReplicaId,
    pub(super) counter: u64,
    /// Of its payload.
    pub(super) digest: u64,
    pub(super) reply: Bytes,
}

/// All that are not forgotten.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Requests {
    known: BTreeMap<RequestId, Known>,
    /// The highest id applied here.
    pub(super) latest: RequestId,
    /// What is older is forgotten: no record of it can come any more.
    pub(super) settled: Timestamp,
}

impl Default for Requests {
    fn default() -> Self {
        Self { known: BTreeMap::new(), latest: RequestId::LEAST, settled: Timestamp::default() }
    }
}

/// How far ahead of this replica's clock an id may be dated.
const AHEAD_MAX: Duration = Duration::from_mins(1);
/// How far above the latest id one may stand, whatever the clock says: a latest one that is dated far ahead must not
/// lock those out who have seen it.
const TICKS_ABOVE_LATEST: u64 = 256;

impl Requests {
    pub(super) fn get(&self, id: RequestId) -> Option<&Known> {
        self.known.get(&id)
    }

    pub(super) fn len(&self) -> usize {
        self.known.len()
    }

    /// An update takes effect.
    pub(super) fn insert(&mut self, id: RequestId, known: Known) {
        self.known.insert(id, known);
    }

    /// An update is applied, with or without effect.
    pub(super) fn saw(&mut self, id: RequestId) {
        self.latest = self.latest.max(id);
    }

    /// Whether an id is dated too far ahead.
    pub(super) fn is_from_the_future(&self, id: RequestId, now: Timestamp) -> bool {
        id.time() > now.plus(AHEAD_MAX) && id.ticks() > self.latest.ticks().saturating_add(TICKS_ABOVE_LATEST)
    }

    /// Nothing older can come any more.
    pub(super) fn settle(&mut self, settled: Timestamp) {
        self.settled = self.settled.max(settled);
        while let Some(entry) = self.known.first_entry()
            && entry.key().time() < self.settled
        {
            entry.remove();
        }
    }
}

/// What tells two payloads apart.
pub(super) fn digest(payload: &[u8]) -> u64 {
    let hash = Sha256::digest(payload);
    u64::from_be_bytes(*hash.first_chunk().expect("SHA-256 has 32 bytes"))
}
