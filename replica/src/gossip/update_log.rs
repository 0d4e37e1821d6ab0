//! The updates that some active member may still lack, in the order in which they were applied here. That is a causal
//! order, so a peer that takes them in it need hold nothing back.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use common::replication::{GossipConfig, ReplicaId, Update, VectorTimestamp};

use super::Numbered;

/// A log, from [`UpdateLog::truncated`] on. What is in it is on the disk.
#[derive(Clone, Debug, Default)]
pub(super) struct UpdateLog {
    records: VecDeque<Numbered>,
    /// Of each origin: the counters and places of its records, both rising. A peer lacks the end of each.
    origins: BTreeMap<ReplicaId, VecDeque<(u64, u64)>>,
    bytes: usize,
    truncated: VectorTimestamp,
}

impl UpdateLog {
    pub(super) fn new(records: impl IntoIterator<Item = Numbered>, truncated: VectorTimestamp) -> Self {
        let mut log = Self { truncated, ..Self::default() };
        records.into_iter().for_each(|(number, record)| log.push(number, record));
        log
    }

    pub(super) fn truncated(&self) -> &VectorTimestamp {
        &self.truncated
    }

    pub(super) fn len(&self) -> usize {
        self.records.len()
    }

    /// About how much room it takes.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The record at so many parts of a hundred of it.
    pub(super) fn at_percent(&self, percent: usize) -> Option<&Update> {
        self.records.get(self.records.len() * percent / 100).map(|(_, record)| &**record)
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
        self.bytes += record.weight();
        self.origins.entry(record.origin).or_default().push_back((record.counter, number));
        self.records.push_back((number, record));
    }

    /// This update, if it is still here.
    pub(super) fn get(&self, origin: ReplicaId, counter: u64) -> Option<&Arc<Update>> {
        if counter <= self.truncated.get(origin) {
            return None;
        }
        let places = self.origins.get(&origin)?;
        let at = places.binary_search_by_key(&counter, |(counter, _)| *counter).ok()?;
        self.records.get(self.index_of(places[at].1)).map(|(_, record)| record)
    }

    fn index_of(&self, place: u64) -> usize {
        self.records.partition_point(|(number, _)| *number < place)
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
        // Of each origin it lacks the end: nothing before the first of those ends need be looked at.
        let first = |(origin, places): (&ReplicaId, &VecDeque<(u64, u64)>)| {
            let at = places.partition_point(|(counter, _)| *counter <= have.get(*origin));
            places.get(at).map(|(_, place)| *place)
        };
        let begin = self.origins.iter().filter_map(first).min().unwrap_or(u64::MAX);
        let lacking = self.records.range(self.index_of(begin)..).map(|(_, record)| record).filter(lacks);
        let fitting = lacking.take_while(|record| {
            let first = bytes == 0;
            bytes += record.weight();
            first || bytes <= bytes_max
        });
        fitting.cloned().collect()
    }

    /// Which records may go, so many of each origin at most: `(places, truncated afterwards)`. Of an origin none may go
    /// before an earlier one.
    pub(super) fn removable(
        &self,
        most: usize,
        may_go: impl Fn(u64, ReplicaId, u64) -> bool,
    ) -> (Vec<u64>, VectorTimestamp) {
        let mut truncated = self.truncated.clone();
        let mut gone = Vec::new();
        for (&origin, places) in &self.origins {
            let first = places.iter().take_while(|(counter, place)| may_go(*place, origin, *counter));
            for &(counter, place) in first.take(most) {
                truncated.raise(origin, counter);
                gone.push(place);
            }
        }
        gone.sort_unstable();
        (gone, truncated)
    }

    /// Removes these places, which are rising.
    pub(super) fn remove(&mut self, gone: &[u64], truncated: &VectorTimestamp, members: &GossipConfig) {
        for places in self.origins.values_mut() {
            while places.front().is_some_and(|(_, place)| gone.binary_search(place).is_ok()) {
                places.pop_front();
            }
        }
        self.origins.retain(|_, places| !places.is_empty());
        // Nearly all of them stand at the beginning.
        let end = gone.last().map_or(0, |last| self.index_of(last + 1));
        let mut gone = gone.iter().peekable();
        let mut kept = Vec::new();
        for (number, record) in self.records.drain(..end) {
            if gone.next_if_eq(&&number).is_some() {
                self.bytes -= record.weight();
            } else {
                kept.push((number, record));
            }
        }
        kept.into_iter().rev().for_each(|record| self.records.push_front(record));
        self.truncated = truncated.under(members);
    }

    /// The members have changed.
    pub(super) fn under(&mut self, members: &GossipConfig) {
        self.truncated = self.truncated.under(members);
    }
}
