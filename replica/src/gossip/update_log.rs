//! The updates that some active member may still lack, in the order in which they were applied here. That is a causal
//! order, so a peer that takes them in it need hold nothing back.

use std::collections::VecDeque;
use std::sync::Arc;

use common::replication::{GossipConfig, ReplicaId, Update, VectorTimestamp};

use super::Numbered;

/// A log, from [`UpdateLog::truncated`] on. What is in it is on the disk.
#[derive(Clone, Debug, Default)]
pub(super) struct UpdateLog {
    records: VecDeque<Numbered>,
    truncated: VectorTimestamp,
}

impl UpdateLog {
    pub(super) fn new(records: impl IntoIterator<Item = Numbered>, truncated: VectorTimestamp) -> Self {
        Self { records: records.into_iter().collect(), truncated }
    }

    pub(super) fn truncated(&self) -> &VectorTimestamp {
        &self.truncated
    }

    pub(super) fn len(&self) -> usize {
        self.records.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Numbered> {
        self.records.iter()
    }

    /// The last place.
    pub(super) fn last(&self) -> Option<u64> {
        self.records.back().map(|(number, _)| *number)
    }

    /// Adds an update that was just applied.
    pub(super) fn push(&mut self, number: u64, record: Arc<Update>) {
        assert!(self.last().is_none_or(|last| last < number), "place {number} after {:?}", self.last());
        self.records.push_back((number, record));
    }

    /// This update, if it is still here.
    pub(super) fn get(&self, origin: ReplicaId, counter: u64) -> Option<&Arc<Update>> {
        if counter <= self.truncated.get(origin) {
            return None;
        }
        let mut records = self.records.iter().map(|(_, record)| record);
        records.find(|record| record.origin == origin && record.counter == counter)
    }

    /// The first of the updates that one who has `have` lacks, as many as fit into so many bytes, and one at least.
    /// Nobody lacks those of retired members.
    pub(super) fn lacking(
        &self,
        have: &VectorTimestamp,
        members: &GossipConfig,
        bytes_max: usize,
    ) -> Vec<Arc<Update>> {
        let mut bytes = 0;
        let lacks = |record: &&Arc<Update>| {
            record.counter > have.get(record.origin) && !members.retired.contains_key(&record.origin)
        };
        let lacking = self.records.iter().map(|(_, record)| record).filter(lacks);
        let fitting = lacking.take_while(|record| {
            let first = bytes == 0;
            bytes += record.weight();
            first || bytes <= bytes_max
        });
        fitting.cloned().collect()
    }

    /// Which records may go: `(places, truncated afterwards)`.
    pub(super) fn removable(&self, may_go: impl Fn(u64, &Update) -> bool) -> (Vec<u64>, VectorTimestamp) {
        let mut truncated = self.truncated.clone();
        let mut gone = Vec::new();
        for (number, record) in &self.records {
            if may_go(*number, record) {
                truncated.raise(record.origin, record.counter);
                gone.push(*number);
            }
        }
        (gone, truncated)
    }

    /// Removes these places, which are rising.
    pub(super) fn remove(&mut self, gone: &[u64], truncated: &VectorTimestamp, members: &GossipConfig) {
        let mut gone = gone.iter().peekable();
        self.records.retain(|(number, _)| gone.next_if_eq(&number).is_none());
        self.truncated = truncated.under(members);
    }

    /// The members have changed.
    pub(super) fn under(&mut self, members: &GossipConfig) {
        self.truncated = self.truncated.under(members);
    }
}
