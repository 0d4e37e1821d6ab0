//! What goes to a disk, and what is found on it: all that a core and its disk know of each other.

use std::sync::Arc;

use bytes::Bytes;
use common::replication::{Entry, GroupConfig, LogIndex};
use redb::{ReadTransaction, ReadableTable as _, WriteTransaction};

use super::file::{Batch, LOG, META, Readable, Unreadable, get, put, seal, unseal};
use super::snapshot::{Kept, Shelf};
use crate::state::LogBase;

/// A batch on its way to the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// What goes to the disk in one transaction, in the order of the fields.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WriteBatch {
    /// Remove the entries from here on.
    pub truncate_from: Option<LogIndex>,
    /// Remove the entries up to here, and remember what the log now stands on.
    pub base: Option<LogBase>,
    /// Add these at the end.
    pub append: Vec<Arc<Entry>>,
    /// Choose this snapshot, which the disk was given before, in the place of the one that counted.
    pub snapshot: Option<Bytes>,
    /// The newest configuration seen.
    pub config: Option<GroupConfig>,
}

impl WriteBatch {
    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// What was found on the disk.
#[derive(Debug, Default)]
pub struct Stored {
    /// The newest configuration seen.
    pub config: Option<GroupConfig>,
    /// The snapshot, as a [`WriteBatch`] gave it.
    pub snapshot: Option<Bytes>,
    /// What the log stands on.
    pub base: LogBase,
    /// The log.
    pub entries: Vec<Entry>,
}

impl Batch for WriteBatch {
    fn put(&self, transaction: &WriteTransaction, shelf: &mut Shelf) -> Result<Option<Kept>, redb::Error> {
        let mut log = transaction.open_table(LOG)?;
        if let Some(from) = self.truncate_from {
            log.retain_in(from.0.., |_, _| false)?;
        }
        let mut meta = transaction.open_table(META)?;
        if let Some(base) = &self.base {
            log.retain_in(..=base.point.index.0, |_, _| false)?;
            put(&mut meta, "base", base)?;
        }
        for entry in &self.append {
            let index = entry.index.0;
            let value = seal("log", &index.to_be_bytes(), &**entry);
            log.insert(index, &*value)?;
        }
        if let Some(config) = &self.config {
            put(&mut meta, "config", config)?;
        }
        self.snapshot.as_ref().map(|snapshot| shelf.choose(transaction, snapshot)).transpose()
    }

    fn entries(&self) -> (usize, usize) {
        (self.append.len(), self.append.iter().map(|entry| entry.weight()).sum())
    }
}

impl Readable for Stored {
    /// That a log's entries follow each other is in the entries' own chained checksums.
    fn read(transaction: &ReadTransaction, snapshot: Option<Bytes>) -> Result<Self, Unreadable> {
        let mut entries = Vec::new();
        for row in transaction.open_table(LOG)?.iter()? {
            let (index, value) = row?;
            let index = index.value();
            let entry: Entry = unseal("log", &index.to_be_bytes(), value.value(), || format!("log {index}"))?;
            if entry.index != LogIndex(index) {
                return Err(Unreadable::Damaged(format!("log {index}: holds entry {}", entry.index)));
            }
            entries.push(entry);
        }
        let meta = transaction.open_table(META)?;
        let (config, base) = (get(&meta, "config")?, get(&meta, "base")?.unwrap_or_default());
        Ok(Self { config, snapshot, base, entries })
    }
}
