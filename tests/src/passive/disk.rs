//! A disk: what was fsynced, and nothing else.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use common::replication::{Entry, Epoch, GroupConfig, LogIndex, LogPoint};
use replica::passive::{LogBase, Stored, WriteBatch};

/// What a replica finds when it starts again.
#[derive(Clone, Debug, Default)]
pub struct Disk {
    /// The newest configuration seen.
    pub config: Option<GroupConfig>,
    snapshot: Option<Bytes>,
    base: LogBase,
    entries: VecDeque<Arc<Entry>>,
}

impl Disk {
    /// One transaction.
    pub fn write(&mut self, batch: &WriteBatch) {
        if let Some(from) = batch.truncate_from {
            while self.entries.back().is_some_and(|entry| entry.index >= from) {
                self.entries.pop_back();
            }
        }
        if let Some(base) = batch.base {
            while self.entries.front().is_some_and(|entry| entry.index <= base.point.index) {
                self.entries.pop_front();
            }
            self.base = base;
        }
        self.entries.extend(batch.append.iter().cloned());
        if let Some(snapshot) = &batch.snapshot {
            self.snapshot = Some(snapshot.clone());
        }
        if let Some(config) = &batch.config {
            self.config = Some(config.clone());
        }
    }

    /// As a core finds it.
    pub fn stored(&self) -> Stored {
        Stored {
            config: self.config.clone(),
            snapshot: self.snapshot.clone(),
            base: self.base,
            entries: self.entries.iter().map(|entry| (**entry).clone()).collect(),
        }
    }

    /// Whether the first entry continues what the log stands on; the others were seen to follow.
    pub fn is_whole(&self) -> bool {
        self.entries.front().is_none_or(|first| first.follows(self.base.crc))
    }

    /// The last entry.
    pub fn last(&self) -> LogPoint {
        self.entries.back().map_or(self.base.point, |entry| entry.point())
    }

    /// What the log stands on.
    pub fn base(&self) -> LogBase {
        self.base
    }

    /// The entry at `index`, if it is still there.
    pub fn get(&self, index: LogIndex) -> Option<&Arc<Entry>> {
        let place = index.0.checked_sub(self.base.point.index.0 + 1)?;
        self.entries.get(usize::try_from(place).ok()?)
    }

    /// The checksum of the entry at `index`, which is that of all before it, too.
    pub fn crc_at(&self, index: LogIndex) -> Option<u32> {
        if index == self.base.point.index {
            return Some(self.base.crc);
        }
        self.get(index).map(|entry| entry.crc)
    }

    /// Whether an entry of this epoch is here: in a log that grows by epochs, the last one.
    pub fn reaches(&self, epoch: Epoch) -> bool {
        self.last().epoch >= epoch
    }

    /// Whether anything was ever logged here.
    pub fn is_blank(&self) -> bool {
        self.last().index == LogIndex(0)
    }
}
