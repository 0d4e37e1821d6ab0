//! A replica's disk: what was fsynced, what is on its way there, and how long that takes.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use common::replication::{Entry, GroupConfig};

use super::super::{LogBase, Stored, Ticket, WriteBatch};

/// One disk.
#[derive(Default)]
pub(super) struct Disk {
    config: Option<GroupConfig>,
    snapshot: Option<Bytes>,
    base: LogBase,
    entries: Vec<Arc<Entry>>,
    /// The batch that is being written.
    pub(super) writing: Option<(WriteBatch, Ticket)>,
    pub(super) fsync: Fsync,
}

/// How long an fsync takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Fsync {
    /// As long as a message.
    #[default]
    Quick,
    /// Longer than anything else: the story goes on meanwhile.
    Takes(Duration),
    /// Until the story says so.
    Hangs,
}

impl Disk {
    /// A new one.
    pub(super) fn empty(fsync: Fsync) -> Self {
        Self { fsync, ..Self::default() }
    }

    /// The batch that is being written has reached the disk, all of it at once.
    pub(super) fn written(&mut self) -> Option<Ticket> {
        let (batch, ticket) = self.writing.take()?;
        if let Some(from) = batch.truncate_from {
            self.entries.retain(|entry| entry.index < from);
        }
        if let Some(base) = batch.base {
            self.entries.retain(|entry| entry.index > base.point.index);
            self.base = base;
        }
        self.entries.extend(batch.append);
        self.snapshot = batch.snapshot.or(self.snapshot.take());
        self.config = batch.config.or(self.config.take());
        Some(ticket)
    }

    /// What a replica finds on it when it starts.
    pub(super) fn stored(&self) -> Stored {
        Stored {
            config: self.config.clone(),
            snapshot: self.snapshot.clone(),
            base: self.base,
            entries: self.entries.iter().map(|entry| (**entry).clone()).collect(),
        }
    }
}
