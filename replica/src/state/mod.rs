//! What applying the log makes: the service's state, the request table, the chained hash. A function of the log alone:
//! equal logs make equal bytes on every replica, whoever leads, whenever it is.
//!
//! Reading order: `request_table`, why nothing runs twice; here, what an entry does; `snapshot`, all of it as bytes, and
//! how those are made and restored beside the core.

mod request_table;
mod snapshot;

use std::sync::Arc;

use bytes::Bytes;
use common::clock::Timestamp;
use common::replication::{Entry, EntryKind, Limits, LogIndex, LogPoint};
use common::services::{Applied, Machine, Served};
use serde::{Deserialize, Serialize};

pub(crate) use self::request_table::Admission;
use self::request_table::{RequestTable, digest};
pub use self::snapshot::{Discarded, Work, Worked};
pub(crate) use self::snapshot::{Made, Taken};
use crate::planted::passive::{Fault, Planted};

/// What a log stands on: the last entry that is no longer in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogBase {
    /// Which entry.
    pub point: LogPoint,
    /// Its checksum, which the next one's continues.
    pub crc: u32,
    /// Its time, before which no later one lies.
    pub at: Timestamp,
}

impl LogBase {
    /// `entry` as a log's base.
    pub(crate) fn of(entry: &Entry) -> Self {
        Self { point: entry.point(), crc: entry.crc, at: entry.at }
    }
}

/// The applied state.
#[derive(Clone)]
pub(crate) struct State {
    service: Served,
    /// `None` before the Genesis entry.
    machine: Option<Box<dyn Machine>>,
    table: RequestTable,
    /// The last entry applied.
    base: LogBase,
    hash: u64,
    planted: Planted,
}

/// A snapshot's contents. Append-only: a new form is a new variant.
#[derive(Serialize, Deserialize)]
enum Snapshot<Table> {
    V1 { base: LogBase, hash: u64, table: Table, machine: Option<Bytes> },
}

/// What came of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Effected {
    /// It was no command.
    Nothing,
    /// The command was judged so; `Fresh` never comes out: then it was run and `Answered` is what it said.
    Command { digest: u64, admission: Admission },
}

impl State {
    pub(crate) fn empty(service: &Served, planted: Planted) -> Self {
        Self {
            service: *service,
            machine: None,
            table: RequestTable::new(Limits::default(), planted),
            base: LogBase::default(),
            hash: 0,
            planted,
        }
    }

    /// The last entry applied.
    pub(crate) fn applied(&self) -> LogPoint {
        self.base.point
    }

    /// That entry, as a log's base.
    pub(crate) fn base(&self) -> LogBase {
        self.base
    }

    /// Chained hash over entries and replies.
    pub(crate) fn hash(&self) -> u64 {
        self.hash
    }

    /// What makes two commands under one id the same.
    pub(crate) fn digest(&self, facts: &[u8], payload: &[u8]) -> u64 {
        if self.planted.is(Fault::DigestWithFacts) {
            return digest(&[facts, payload].concat());
        }
        digest(payload)
    }

    pub(crate) fn table(&self) -> &RequestTable {
        &self.table
    }

    pub(crate) fn query(&self, payload: &[u8]) -> Option<Bytes> {
        self.machine.as_ref().map(|machine| machine.query(payload))
    }

    /// Applies the next entry. A function of the state and the entry alone.
    ///
    /// # Errors
    /// When a Genesis entry does not describe a first state.
    pub(crate) fn apply(&mut self, entry: &Entry) -> Result<Effected, String> {
        assert!(
            entry.index == self.base.point.index.next(),
            "{} applied after {}",
            entry.point(),
            self.base.point
        );
        self.base = LogBase { point: entry.point(), crc: entry.crc, at: entry.at };
        let (effected, said) = match &entry.kind {
            EntryKind::Genesis { limits, start } => {
                self.table = RequestTable::new(*limits, self.planted);
                self.machine =
                    Some((self.service.start)(entry.at, start).map_err(|error| error.to_string())?);
                (Effected::Nothing, Bytes::new())
            }
            EntryKind::Barrier => (Effected::Nothing, Bytes::new()),
            EntryKind::Update { request, facts, payload } => {
                let (request, digest) = (*request, self.digest(facts, payload));
                let mut admission = self.table.admit(request, digest, entry.at);
                let again = matches!(admission, Admission::Answered { .. });
                if again && self.planted.is(Fault::NoDedupAtApply) {
                    admission = Admission::Fresh;
                }
                if admission == Admission::FromTheFuture && self.planted.is(Fault::FutureStored) {
                    self.table.remember(request, digest, entry.point(), entry.at, Bytes::new());
                }
                if admission == Admission::Fresh {
                    let machine = self.machine.as_mut().expect("entry 1 of every log is Genesis");
                    let reply =
                        machine.apply(Applied { at: entry.point(), time: entry.at, request }, facts, payload);
                    self.table.remember(request, digest, entry.point(), entry.at, reply.clone());
                    admission = Admission::Answered { stands: entry.point(), reply };
                }
                let said = if let Admission::Answered { reply, .. } = &admission {
                    reply.clone()
                } else {
                    Bytes::new()
                };
                (Effected::Command { digest, admission }, said)
            }
        };
        self.hash = chained(self.hash, entry.crc, &said);
        Ok(effected)
    }

    /// A rule that is broken on purpose: the state as if these entries were committed, too.
    pub(crate) fn ahead(&self, entries: &[Arc<Entry>]) -> Self {
        let mut state = self.clone();
        // What cannot be applied would be found when it is committed.
        let _ = entries.iter().try_for_each(|entry| state.apply(entry).map(drop));
        state
    }

    /// A rule of the request table that is broken on purpose: what decides state is this process's own.
    pub(crate) fn decide_by_own(&mut self, limits: impl FnOnce() -> Limits, wall: Timestamp) {
        if self.planted.is(Fault::LimitsFromFlags) && self.base.point.index == LogIndex(1) {
            self.table = RequestTable::new(limits(), self.planted);
        }
        if self.planted.is(Fault::AgeFromWallClock) {
            self.table.forget(wall);
        }
    }

    /// The whole state, canonically: equal states at equal places have equal bytes.
    pub(crate) fn snapshot(&self) -> Bytes {
        let machine = self.machine.as_ref().map(|machine| machine.snapshot());
        common::services::encode(&Snapshot::V1 {
            base: self.base,
            hash: self.hash,
            table: &self.table,
            machine,
        })
    }

    /// The state of a snapshot's bytes.
    ///
    /// # Errors
    /// In words, when they are not a snapshot of this service.
    pub(crate) fn restore(service: &Served, bytes: &[u8], planted: Planted) -> Result<Self, String> {
        // Made by ourselves or by a primary, and checked by CRC before: no limit but what it is.
        let config = bincode::config::standard();
        let (Snapshot::<RequestTable>::V1 { base, hash, table, machine }, read) =
            bincode::serde::decode_from_slice(bytes, config).map_err(|error| format!("snapshot: {error}"))?;
        if read != bytes.len() {
            return Err(format!("snapshot: {} bytes left over", bytes.len() - read));
        }
        let machine = match machine {
            Some(bytes) => Some((service.restore)(&bytes).map_err(|error| error.to_string())?),
            None => None,
        };
        Ok(Self { service: *service, machine, table: table.restored(planted), base, hash, planted })
    }
}

/// The next link of the hash chain. CRC-32C twice, over different openings: this compares honest replicas, it keeps
/// out no enemy.
fn chained(before: u64, entry_crc: u32, reply: &[u8]) -> u64 {
    let head = [before.to_be_bytes().as_slice(), &entry_crc.to_be_bytes()].concat();
    let low = crc32c::crc32c_append(crc32c::crc32c(&head), reply);
    let high = crc32c::crc32c_append(crc32c::crc32c_append(low, &[1]), &head);
    u64::from(high) << 32 | u64::from(low)
}
