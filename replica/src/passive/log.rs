//! The log as it is in memory, and how much of it is on the disk.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use common::clock::Timestamp;
use common::replication::{Entry, EntryKind, Epoch, LogIndex, LogPoint, RequestId};

use crate::state::LogBase;

/// Entries from the one after the base on, without a gap.
#[derive(Clone, Debug, Default)]
pub(super) struct Log {
    base: LogBase,
    entries: VecDeque<Arc<Entry>>,
    /// The last entry that is on the disk.
    durable: LogIndex,
    /// The last entry of the batch that is on its way there.
    saving: LogIndex,
    /// The last entry that was applied.
    applied: LogIndex,
    /// Requests in entries above that one, to which a second copy is attached.
    requests: BTreeMap<RequestId, LogIndex>,
}

/// How many of the first `entries` fit into `bytes`; at least one, if there is one.
pub(super) fn fitting<'a>(entries: impl Iterator<Item = &'a Arc<Entry>>, bytes: usize) -> usize {
    let ends = entries.scan(0, |end, entry| {
        *end += entry.weight();
        Some(*end)
    });
    ends.enumerate().take_while(|&(place, end)| place == 0 || end <= bytes).count()
}

impl Log {
    pub(super) fn load(base: LogBase, entries: Vec<Entry>) -> Result<Self, String> {
        let mut log = Self { base, ..Self::default() };
        for entry in entries {
            if entry.index != log.last().index.next() || !entry.follows(log.last_crc()) {
                return Err(format!("entry {} does not follow {}", entry.point(), log.last()));
            }
            log.push(Arc::new(entry));
        }
        log.durable = log.last().index;
        log.saving = log.durable;
        Ok(log)
    }

    pub(super) fn base(&self) -> LogBase {
        self.base
    }

    pub(super) fn last(&self) -> LogPoint {
        self.entries.back().map_or(self.base.point, |entry| entry.point())
    }

    /// The time of the last entry; none lies before it.
    pub(super) fn last_at(&self) -> Timestamp {
        self.entries.back().map_or(self.base.at, |entry| entry.at)
    }

    pub(super) fn last_crc(&self) -> u32 {
        self.entries.back().map_or(self.base.crc, |entry| entry.crc)
    }

    pub(super) fn durable(&self) -> LogIndex {
        self.durable
    }

    /// The last entry that is on the disk, and the last one on its way there.
    pub(super) fn on_disk(&self) -> (LogIndex, LogIndex) {
        (self.durable, self.saving)
    }

    pub(super) fn get(&self, index: LogIndex) -> Option<&Arc<Entry>> {
        let place = index.0.checked_sub(self.base.point.index.0 + 1)?;
        self.entries.get(usize::try_from(place).ok()?)
    }

    /// What a log would stand on that held nothing up to and including `index`.
    pub(super) fn base_at(&self, index: LogIndex) -> Option<LogBase> {
        let here = Some(self.base).filter(|base| base.point.index == index);
        here.or_else(|| self.get(index).map(|entry| LogBase::of(entry)))
    }

    /// The epoch of the entry at `index`; of the base, too.
    pub(super) fn epoch_at(&self, index: LogIndex) -> Option<Epoch> {
        self.base_at(index).map(|base| base.point.epoch)
    }

    /// The first entry of the run of one epoch that `index` lies in.
    pub(super) fn epoch_begins_at(&self, index: LogIndex) -> LogIndex {
        let epoch = self.epoch_at(index);
        let mut first = index;
        while first > self.base.point.index.next() && self.epoch_at(first.prev()) == epoch {
            first = first.prev();
        }
        first
    }

    /// Entries from `from` on, as many as fit into `bytes`, but at least one if there is one.
    pub(super) fn batch_from(&self, from: LogIndex, bytes: usize) -> Vec<Arc<Entry>> {
        let place = usize::try_from(from.0.saturating_sub(self.base.point.index.0 + 1)).unwrap_or(usize::MAX);
        let rest = || self.entries.iter().skip(place);
        rest().take(fitting(rest(), bytes)).cloned().collect()
    }

    /// Adds an entry that was seen to follow the last one.
    pub(super) fn push(&mut self, entry: Arc<Entry>) {
        assert!(entry.index == self.last().index.next(), "{} after {}", entry.point(), self.last());
        assert!(entry.epoch >= self.last().epoch, "{} after {}", entry.point(), self.last());
        if let EntryKind::Update { request, .. } = &entry.kind {
            // The first copy counts: apply gives a second one the reply of the first.
            self.requests.entry(*request).or_insert(entry.index);
        }
        self.entries.push_back(entry);
    }

    /// Removes the entries from `from` on.
    pub(super) fn truncate(&mut self, from: LogIndex) {
        assert!(from > self.base.point.index, "truncation at {from}, the log stands on {}", self.base.point);
        while self.last().index >= from {
            if let Some(entry) = self.entries.pop_back()
                && let EntryKind::Update { request, .. } = &entry.kind
                && self.requests.get(request) == Some(&entry.index)
            {
                self.requests.remove(request);
            }
        }
        self.durable = self.durable.min(from.prev());
        self.saving = self.saving.min(from.prev());
    }

    /// Removes the entries up to `upto`; gives the new base when that changed anything.
    pub(super) fn trim(&mut self, upto: LogIndex) -> Option<LogBase> {
        let base = self.base_at(upto).filter(|_| upto > self.base.point.index)?;
        self.stand_on(base);
        Some(base)
    }

    /// Stands on `base` from now on: the entries up to there are removed.
    pub(super) fn stand_on(&mut self, base: LogBase) {
        while self.entries.front().is_some_and(|entry| entry.index <= base.point.index) {
            self.entries.pop_front();
        }
        self.base = base;
        self.applied = self.applied.max(base.point.index);
    }

    /// A batch up to `upto` is on its way to the disk (none: one without entries).
    pub(super) fn saving(&mut self, upto: Option<LogIndex>) {
        self.saving = upto.unwrap_or(self.durable).max(self.base.point.index);
    }

    /// That batch is on the disk.
    pub(super) fn saved(&mut self) {
        self.durable = self.durable.max(self.saving);
    }

    /// Where the request stands, in an entry not applied yet.
    pub(super) fn waiting(&self, request: RequestId) -> Option<LogIndex> {
        self.requests.get(&request).copied()
    }

    /// The entries up to `upto` were applied: the request table knows their requests now, and nobody waits for them.
    pub(super) fn applied(&mut self, upto: LogIndex) {
        while self.applied < upto {
            self.applied = self.applied.next();
            if let Some(EntryKind::Update { request, .. }) = self.get(self.applied).map(|entry| &entry.kind) {
                let request = *request;
                if self.requests.get(&request) == Some(&self.applied) {
                    self.requests.remove(&request);
                }
            }
        }
    }
}
