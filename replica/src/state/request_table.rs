//! Exactly once: which requests took effect, and what was answered.
//!
//! *Every executed id is in `answered` or not above `floor`* holds at the start, is kept by [`RequestTable::admit`]
//! and [`RequestTable::remember`], travels in the snapshot, and `floor` never falls. So a second copy, wherever it
//! lies in the log, meets its stored reply or `Expired`. (Ongaro 2014, §6.3; ids instead of sessions, so that any
//! process may repeat a request.)

use std::collections::BTreeMap;

use bytes::Bytes;
use common::clock::Timestamp;
use common::replication::{Limits, LogPoint, RequestId};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::planted::passive::{Fault, Planted};

/// The first 8 bytes of SHA-256 of the client's payload; a front end's facts do not count.
pub(crate) fn digest(payload: &[u8]) -> u64 {
    let hash = Sha256::digest(payload);
    u64::from_be_bytes(*hash.first_chunk().expect("SHA-256 has 32 bytes"))
}

/// The replies remembered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RequestTable {
    floor: RequestId,
    answered: BTreeMap<RequestId, Answered>,
    limits: Limits,
    #[serde(skip)]
    planted: Planted,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Answered {
    reply: Bytes,
    /// Where the command stands that it is the reply to.
    stands: LogPoint,
    at: Timestamp,
    digest: u64,
}

/// What is to be done with a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Admission {
    /// Nobody has seen it.
    Fresh,
    /// It took effect there, and this was answered.
    Answered { stands: LogPoint, reply: Bytes },
    /// Its id belongs to another command.
    Reused,
    /// It is too old to be told apart.
    Expired,
    /// It is dated too far ahead.
    FromTheFuture,
}

impl RequestTable {
    pub(crate) fn new(limits: Limits, planted: Planted) -> Self {
        Self { floor: RequestId::LEAST, answered: BTreeMap::new(), limits, planted }
    }

    /// The table of a snapshot.
    pub(crate) fn restored(mut self, planted: Planted) -> Self {
        if planted.is(Fault::DedupNotInSnapshot) {
            self.answered.clear();
        }
        if planted.is(Fault::FloorNotInSnapshot) {
            self.floor = RequestId::LEAST;
        }
        Self { planted, ..self }
    }

    /// Ids up to this one are forgotten.
    pub(crate) fn floor(&self) -> RequestId {
        self.floor
    }

    /// Judges a request that would be logged at `at`.
    pub(crate) fn admit(&self, id: RequestId, digest: u64, at: Timestamp) -> Admission {
        if id <= self.floor && !self.planted.is(Fault::FloorNotChecked) {
            return Admission::Expired;
        }
        match self.answered.get(&id) {
            Some(first) if first.digest != digest && !self.planted.is(Fault::DigestIgnored) => {
                Admission::Reused
            }
            Some(first) => Admission::Answered { stands: first.stands, reply: first.reply.clone() },
            None if id.time() > at.plus(self.limits.ahead) => Admission::FromTheFuture,
            None => Admission::Fresh,
        }
    }

    /// Remembers the reply to a fresh request that `stands` there, logged at `at`, and forgets what is beyond the limits.
    pub(crate) fn remember(
        &mut self,
        id: RequestId,
        digest: u64,
        stands: LogPoint,
        at: Timestamp,
        reply: Bytes,
    ) {
        let before = self.answered.insert(id, Answered { reply, stands, at, digest });
        let once = before.is_none() && id > self.floor;
        assert!(once || self.planted != Planted::default(), "request {id} took effect twice");
        self.forget(at);
    }

    /// Forgets the smallest ids beyond the limits, at `at`.
    pub(crate) fn forget(&mut self, at: Timestamp) {
        while let Some((&id, smallest)) = self.answered.first_key_value() {
            let old = smallest.at.plus(self.limits.age) < at;
            if !old && self.answered.len() as u64 <= self.limits.capacity {
                break;
            }
            self.answered.remove(&id);
            if !self.planted.is(Fault::FloorNotRaised) {
                self.floor = id;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use common::replication::{Epoch, LogIndex};

    const STANDS: LogPoint = LogPoint { epoch: Epoch(3), index: LogIndex(7) };

    fn id(ms: u64) -> RequestId {
        RequestId::from_parts(Timestamp::from_millis(ms), 0, 0)
    }

    fn at(ms: u64) -> Timestamp {
        Timestamp::from_millis(ms)
    }

    fn table(capacity: u64) -> RequestTable {
        let limits = Limits { capacity, age: Duration::from_secs(10), ahead: Duration::from_secs(1) };
        RequestTable::new(limits, Planted::default())
    }

    #[test]
    fn a_second_copy_gets_the_first_reply() {
        let mut table = table(9);
        assert_eq!(table.admit(id(5), 1, at(5)), Admission::Fresh);
        table.remember(id(5), 1, STANDS, at(5), Bytes::from_static(b"done"));
        let first = Admission::Answered { stands: STANDS, reply: Bytes::from_static(b"done") };
        assert_eq!(table.admit(id(5), 1, at(6)), first);
        assert_eq!(table.admit(id(5), 2, at(6)), Admission::Reused);
    }

    #[test]
    fn what_is_forgotten_is_expired_for_ever() {
        let mut table = table(2);
        for ms in [5, 7, 6] {
            table.remember(id(ms), 1, STANDS, at(7), Bytes::new());
        }
        assert_eq!(table.floor(), id(5));
        assert_eq!(table.admit(id(5), 1, at(8)), Admission::Expired);
        assert_eq!(table.admit(id(4), 1, at(8)), Admission::Expired);
        assert!(matches!(table.admit(id(6), 1, at(8)), Admission::Answered { .. }));
    }

    #[test]
    fn age_is_counted_in_the_logs_time() {
        let mut table = table(9);
        table.remember(id(5), 1, STANDS, at(5), Bytes::new());
        table.remember(id(10_004), 1, STANDS, at(10_005), Bytes::new());
        assert_eq!(table.floor(), RequestId::LEAST);
        table.remember(id(10_006), 1, STANDS, at(10_006), Bytes::new());
        assert_eq!(table.floor(), id(5));
    }

    #[test]
    fn an_id_from_the_future_is_neither_run_nor_remembered() {
        let table = table(9);
        assert_eq!(table.admit(id(2_000), 1, at(999)), Admission::FromTheFuture);
        assert_eq!(table.admit(id(2_000), 1, at(1_000)), Admission::Fresh);
    }
}
