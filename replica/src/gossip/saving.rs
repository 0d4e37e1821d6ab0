//! Group commit. A thing counts as logged only when it is on the disk: nothing is applied, sent, told or answered
//! before. So a crash never takes back what somebody has seen.

use std::sync::Arc;

use common::clock::Timestamp;
use common::replication::{GossipConfig, RequestId, Update, VectorTimestamp};
use common::services::CausalMachine;

use super::copy::{Checkpoint, Copied};
use super::requests::{self, Known, Requests};
use super::{Core, Effect, Fault, Numbered, Planted, Ticket, UpdateLog, WriteBatch};

/// What goes to the disk together, and what happens once it is there.
#[derive(Clone, Debug, Default)]
pub(super) struct Batch {
    /// A copy of a donor's disk, in the place of ours.
    pub(super) copied: Option<Box<Copied>>,
    pub(super) records: Vec<Numbered>,
    pub(super) floor: Option<Timestamp>,
    pub(super) members: Option<GossipConfig>,
    /// With the place up to which it reaches.
    pub(super) checkpoint: Option<(bytes::Bytes, u64)>,
    pub(super) gone: Option<(Vec<u64>, VectorTimestamp)>,
}

impl Batch {
    pub(super) fn is_empty(&self) -> bool {
        let Self { copied, records, floor, members, checkpoint, gone } = self;
        copied.is_none()
            && records.is_empty()
            && floor.is_none()
            && members.is_none()
            && checkpoint.is_none()
            && gone.is_none()
    }

    /// What comes first of it: all that fits. What must stand behind all records stays with the last.
    fn first_part(&mut self, bytes_max: usize) -> Self {
        let mut bytes = 0;
        let fitting = self.records.iter().take_while(|(_, record)| {
            bytes += record.weight();
            bytes <= bytes_max || bytes == record.weight()
        });
        let count = fitting.count();
        if self.copied.is_some() || count == self.records.len() {
            return std::mem::take(self);
        }
        let rest = self.records.split_off(count);
        Self { records: std::mem::replace(&mut self.records, rest), ..Self::default() }
    }

    fn written(&self) -> WriteBatch {
        let copied = self.copied.as_ref();
        let copy_of = copied.map(|copied| copied.log.clone()).unwrap_or_default();
        let (gone, truncated) = match &self.gone {
            Some((gone, truncated)) => (gone.clone(), Some(truncated.clone())),
            None => (Vec::new(), copied.map(|copied| copied.truncated.clone())),
        };
        WriteBatch {
            replace: copied.is_some(),
            append: [copy_of, self.records.clone()].concat(),
            gone,
            truncated,
            floor: self.floor,
            checkpoint: match copied {
                Some(copied) => Some(copied.checkpoint.write()),
                None => self.checkpoint.as_ref().map(|(bytes, _)| bytes.clone()),
            },
            members: self.members.clone(),
        }
    }
}

impl Core {
    /// Begins with what a checkpoint and the log behind it hold.
    pub(super) fn load(
        &mut self,
        checkpoint: Checkpoint,
        members: GossipConfig,
        truncated: VectorTimestamp,
        log: Vec<Numbered>,
    ) -> Result<(), String> {
        if let Some(value) = &checkpoint.value {
            self.value = (self.setup.service.restore)(value).map_err(|error| error.to_string())?;
        }
        self.requests = checkpoint.requests;
        self.applied = checkpoint.applied;
        self.reached = checkpoint.upto;
        let (before, after): (Vec<_>, Vec<_>) =
            log.into_iter().partition(|(number, _)| *number <= checkpoint.upto);
        self.log = UpdateLog::new(before, truncated);
        for (number, record) in after {
            if record.counter != self.applied.get(record.origin) + 1 {
                return Err(format!("record {} of {:?} is missing", record.counter - 1, record.origin));
            }
            self.effect(number, &record);
        }
        self.place = self.reached;
        self.install_vectors(members);
        Ok(())
    }

    /// Puts a record at the end of the log with the next batch.
    pub(super) fn stage(&mut self, record: Arc<Update>) {
        self.taken.raise(record.origin, record.counter);
        self.place += 1;
        self.unsaved.records.push((self.place, record));
    }

    /// Hands what is unsaved to the disk: one batch at a time, so that whatever comes meanwhile is the next one.
    pub(super) fn persist(&mut self) {
        if self.saving.is_some() || self.unsaved.is_empty() {
            return;
        }
        let bytes_max = self.setup.limits.batch_bytes;
        let mut batch = match self.unsaved.floor.take() {
            // The floor ahead of records that may be older.
            Some(floor) if self.planted(Fault::FloorBeforeRecords) => {
                Batch { floor: Some(floor), ..Batch::default() }
            }
            floor => {
                self.unsaved.floor = floor;
                self.unsaved.first_part(bytes_max)
            }
        };
        let mut written = batch.written();
        if self.planted(Fault::FloorNotDurable) {
            written.floor = None;
        }
        self.tickets += 1;
        let ticket = Ticket(self.tickets);
        if self.planted(Fault::AckBeforeFsync) {
            self.happen(std::mem::take(&mut batch));
        }
        self.saving = Some((ticket, batch));
        self.effects.push(Effect::Persist(written, ticket));
    }

    pub(super) fn durable(&mut self, ticket: Ticket) {
        let Some((_, batch)) = self.saving.take_if(|(asked, _)| *asked == ticket) else {
            panic!(
                "the disk answered {ticket:?}, {:?} was asked",
                self.saving.as_ref().map(|(asked, _)| asked)
            )
        };
        self.happen(batch);
    }

    /// What is on the disk takes effect.
    fn happen(&mut self, batch: Batch) {
        let Batch { copied, records, floor, members, checkpoint, gone } = batch;
        if let Some(copied) = copied {
            self.become_copy(*copied, members.as_ref());
        }
        if !records.is_empty() {
            self.last_record = self.now.at;
            self.peers.values_mut().for_each(|peer| peer.fresh = true);
        }
        for (number, record) in records {
            self.taken.raise(record.origin, record.counter);
            self.place = self.place.max(number);
            self.effect(number, &record);
            if record.origin == self.me() {
                self.calls.is_logged(&record);
            }
        }
        self.floor_told = self.floor_told.max(floor.unwrap_or_default());
        if let Some((bytes, upto)) = checkpoint {
            self.checkpoints.stands(bytes, upto);
        }
        if let Some((gone, truncated)) = gone {
            self.log.remove(&gone, &truncated, &self.members);
        }
        if let Some(members) = members {
            self.install(members);
        }
        self.acknowledge();
    }

    /// Applies a record that is on the disk.
    fn effect(&mut self, number: u64, record: &Arc<Update>) {
        let (origin, counter) = (record.origin, record.counter);
        let have = self.applied.get(origin);
        assert!(
            counter == have + 1 || self.planted(Fault::TakeAnyCounter),
            "G4: record {counter} of {origin:?} after {have}"
        );
        let numbered = (number, record.clone());
        let again = run(&mut *self.value, &mut self.requests, self.setup.planted, &numbered);
        if !again || !self.planted(Fault::NoMergeOnDuplicate) {
            self.applied.raise(origin, counter);
        }
        self.reached = number;
        self.checkpoints.note(self.now.at, numbered);
        self.log.push(number, record.clone());
    }
}

/// What a record that is on the disk does. Whether it does nothing, since one with its id came before.
pub(super) fn run(
    value: &mut dyn CausalMachine,
    requests: &mut Requests,
    planted: Planted,
    (number, record): &Numbered,
) -> bool {
    let Update { origin, counter, id, ref payload, .. } = **record;
    let again = requests.get(id).is_some();
    if !again || planted.is(Fault::NoDedup) {
        let reply = value.apply(stamp(planted, *number, record), payload);
        requests.insert(id, Known { origin, counter, digest: requests::digest(payload), reply });
    }
    requests.saw(id);
    again
}

/// What decides which of two concurrent writes wins: the update's own id.
fn stamp(planted: Planted, number: u64, record: &Update) -> RequestId {
    let of = |millis, count| RequestId::from_parts(Timestamp::from_millis(millis), 0, count);
    match () {
        () if planted.is(Fault::NoStamp) => of(number, 0),
        () if planted.is(Fault::ReplicaStamp) => {
            of(record.counter, u64::try_from(record.origin.to_u128() >> 64).unwrap_or(0))
        }
        () => record.id,
    }
}
