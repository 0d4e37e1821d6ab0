//! What goes to a disk, and what is found on it: all that a core and its disk know of each other.

use std::sync::Arc;

use bytes::Bytes;
use common::replication::{Entry, GroupConfig, LogIndex};

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
