use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{Epoch, LogIndex, LogPoint, RequestId};
use crate::clock::Timestamp;

/// One entry of a passive group's log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Its place.
    pub index: LogIndex,
    /// The epoch that made it.
    pub epoch: Epoch,
    /// When its primary took it in; never before its predecessor's.
    pub at: Timestamp,
    /// What it does.
    pub kind: EntryKind,
    /// Checksum over the rest and the predecessor's checksum: swapped, stale and damaged entries show.
    pub crc: u32,
}

/// What an entry does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum EntryKind {
    /// The first entry of a group: its limits, and its service's first state.
    Genesis {
        /// What decides which requests are known.
        limits: Limits,
        /// The service's own description of its first state.
        start: Bytes,
    },
    /// The first entry of an epoch. Nothing counts as committed in an epoch before it does.
    Barrier,
    /// A client's command.
    Update {
        /// Which.
        request: RequestId,
        /// What the front end found out about the world; not the client's.
        facts: Bytes,
        /// The client's bytes, unedited.
        payload: Bytes,
    },
}

/// What decides which requests a group knows. Part of the Genesis entry, never a flag of one process: replicas that
/// differ in it would differ in state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Replies remembered.
    pub capacity: u64,
    /// How long a reply is remembered at most.
    pub age: Duration,
    /// How far ahead of the log's time a request may be dated.
    pub ahead: Duration,
}

impl Default for Limits {
    /// A retry window of `min(24 h, capacity / rate)`: 50 s at 20,000 updates a second, a day for a shop.
    fn default() -> Self {
        Self { capacity: 1_000_000, age: Duration::from_hours(24), ahead: Duration::from_mins(10) }
    }
}

impl Entry {
    /// The entry, sealed with its checksum; `before` is its predecessor's.
    pub fn seal(before: u32, index: LogIndex, epoch: Epoch, at: Timestamp, kind: EntryKind) -> Self {
        let crc = checksum(before, index, epoch, at, &kind);
        Self { index, epoch, at, kind, crc }
    }

    /// Whether it is whole and follows the entry whose checksum is `before`.
    pub fn follows(&self, before: u32) -> bool {
        self.crc == checksum(before, self.index, self.epoch, self.at, &self.kind)
    }

    /// Its identity.
    pub const fn point(&self) -> LogPoint {
        LogPoint { epoch: self.epoch, index: self.index }
    }

    /// About how many bytes it takes in a message or a batch.
    pub fn weight(&self) -> usize {
        /// Index, epoch, time, checksum, tags, lengths.
        const FIXED: usize = 48;
        FIXED
            + match &self.kind {
                EntryKind::Genesis { start, .. } => start.len(),
                EntryKind::Barrier => 0,
                EntryKind::Update { facts, payload, .. } => facts.len() + payload.len() + 16,
            }
    }
}

fn checksum(before: u32, index: LogIndex, epoch: Epoch, at: Timestamp, kind: &EntryKind) -> u32 {
    let fold =
        |crc: u32, parts: &[&[u8]]| parts.iter().fold(crc, |crc, part| crc32c::crc32c_append(crc, part));
    let millis = |d: Duration| u64::try_from(d.as_millis()).unwrap_or(u64::MAX);
    let head = [index.0, epoch.0, at.millis()].map(u64::to_be_bytes).concat();
    let crc = fold(before, &[&head]);
    match kind {
        EntryKind::Genesis { limits, start } => {
            let limits =
                [limits.capacity, millis(limits.age), millis(limits.ahead)].map(u64::to_be_bytes).concat();
            fold(crc, &[&[0], &limits, start])
        }
        EntryKind::Barrier => fold(crc, &[&[1]]),
        EntryKind::Update { request, facts, payload } => {
            // The length keeps ("ab", "c") apart from ("a", "bc").
            let length = (facts.len() as u64).to_be_bytes();
            fold(crc, &[&[2], &request.to_bytes(), &length, facts, payload])
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_follows_only_its_own_predecessor_and_only_unchanged() {
        let kind = EntryKind::Update {
            request: RequestId::from_parts(Timestamp::from_millis(1), 0, 0),
            facts: Bytes::from_static(b"ab"),
            payload: Bytes::from_static(b"c"),
        };
        let entry = Entry::seal(7, LogIndex(3), Epoch(2), Timestamp::from_millis(5), kind);
        assert!(entry.follows(7));
        assert!(!entry.follows(8));
        let mut moved = entry.clone();
        if let EntryKind::Update { facts, payload, .. } = &mut moved.kind {
            *facts = Bytes::from_static(b"a");
            *payload = Bytes::from_static(b"bc");
        }
        assert!(!moved.follows(7));
        let mut later = entry;
        later.epoch = Epoch(3);
        assert!(!later.follows(7));
    }
}
