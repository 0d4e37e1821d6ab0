//! Checkpoints: what the log made, up to a place in it, so that the log can go. One is a function of the one before and
//! the records since, so it is made beside the core, which goes on meanwhile: [`Work`] goes out, the shell does it
//! wherever it likes, and what came of it, [`Worked`], comes in when it is ready.
//!
//! Its value must have the digest that the core's own had at that place: one that is wrong is put on no disk, and nothing
//! is thrown away because of it.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use common::clock::{Moment, Timestamp};
use common::replication::{Digest, VectorTimestamp};
use common::services::CausalServed;

use super::copy::Checkpoint;
use super::saving::run;
use super::{Core, Effect, Numbered, Planted};

/// After so long without an update, what the log made is written down, so that the log can go.
const QUIET_FOR: Duration = Duration::from_secs(2);
/// So few records are left for later: the whole value is written each time.
const QUIET_RECORDS: u64 = 100;

/// What the core remembers of checkpoints.
#[derive(Clone, Debug, Default)]
pub(super) struct Checkpoints {
    /// The one on the disk, and the place up to which it reaches.
    newest: Option<Bytes>,
    upto: u64,
    /// Records since that one, or since the one that is being made.
    since: Vec<Numbered>,
    /// Bytes of them.
    bytes: usize,
    /// When the first of them came.
    changed_at: Option<Moment>,
    making: Option<Making>,
    /// After one that came to nothing: not again before then.
    not_before: Option<Moment>,
}

/// One that is being made, as it must come out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Making {
    upto: u64,
    digest: Digest,
    /// Ids remembered.
    known: usize,
}

impl Checkpoints {
    /// This one is on the disk, and nothing came since.
    pub(super) fn at(newest: Option<Bytes>, upto: u64) -> Self {
        Self { newest, upto, ..Self::default() }
    }

    /// The place up to which the one on the disk reaches.
    pub(super) fn upto(&self) -> u64 {
        self.upto
    }

    /// A record was applied.
    pub(super) fn note(&mut self, now: Moment, record: Numbered) {
        self.changed_at.get_or_insert(now);
        self.bytes += record.1.weight();
        self.since.push(record);
    }

    /// A newer one is on the disk.
    pub(super) fn stands(&mut self, newest: Bytes, upto: u64) {
        (self.newest, self.upto) = (Some(newest), upto);
    }
}

impl Core {
    /// Has a checkpoint made when much has come since the last one, or when the first of it came long ago. Much is also
    /// as much as was written then: all of them together cost each update about two encodings, however great the value
    /// is.
    pub(super) fn checkpoint(&mut self) {
        let (limits, now, checkpoints) = (&self.setup.limits, self.now.at, &mut self.checkpoints);
        let Some(changed_at) = checkpoints.changed_at else { return };
        let count = self.reached - checkpoints.upto;
        let before = checkpoints.newest.as_ref().map_or(0, Bytes::len);
        let much = count >= limits.checkpoint_after && checkpoints.bytes >= before;
        let quiet = count > QUIET_RECORDS && now.since(self.last_record) >= QUIET_FOR;
        let long_ago = now.since(changed_at) >= limits.checkpoint_every;
        let saving = self.saving.as_ref().is_some_and(|(_, batch)| batch.checkpoint.is_some());
        let busy = checkpoints.making.is_some() || saving || self.unsaved.checkpoint.is_some();
        if busy || !(much || quiet || long_ago) || checkpoints.not_before.is_some_and(|at| at > now) {
            return;
        }
        checkpoints.changed_at = None;
        checkpoints.bytes = 0;
        let making = Making { upto: self.reached, digest: self.value.digest(), known: self.requests.len() };
        checkpoints.making = Some(making);
        self.effects.push(Effect::Work(Work {
            service: self.setup.service,
            from: checkpoints.newest.clone(),
            records: std::mem::take(&mut checkpoints.since),
            upto: self.reached,
            applied: self.applied.clone(),
            settled: self.requests.settled,
            planted: self.setup.planted,
        }));
    }

    /// Takes in a checkpoint that was made. It goes to the disk, and the records that are needed no more go with it.
    pub(super) fn worked(&mut self, worked: Worked) {
        let Some(expected) = self.checkpoints.making.take() else { return };
        let why = match worked.0 {
            Ok(made) if made.is(expected) => {
                self.unsaved.checkpoint = Some((made.bytes, made.upto));
                return self.truncate(made.upto);
            }
            Ok(made) => Some(format!("a checkpoint came out as {made:?}, and should be {expected:?}")),
            Err(why) => why,
        };
        if let Some(why) = why {
            self.alarm(why);
        }
        // What went into it counts as since the one before again.
        let checkpoints = &mut self.checkpoints;
        *checkpoints = Checkpoints::at(checkpoints.newest.take(), checkpoints.upto);
        checkpoints.not_before = Some(self.now.at + self.setup.limits.checkpoint_every);
        let upto = checkpoints.upto;
        for record in self.log.iter().filter(|(number, _)| *number > upto) {
            checkpoints.note(self.now.at, record.clone());
        }
    }
}

/// A checkpoint to be made. At most one is under way.
#[derive(Clone)]
pub struct Work {
    service: CausalServed,
    /// The one before; `None`: the log's beginning.
    from: Option<Bytes>,
    /// The records since.
    pub(super) records: Vec<Numbered>,
    upto: u64,
    applied: VectorTimestamp,
    /// What is older is forgotten.
    settled: Timestamp,
    planted: Planted,
}

/// What came of it. An error without words: it was given up.
#[derive(Clone)]
pub struct Worked(Result<Made, Option<String>>);

#[derive(Clone)]
struct Made {
    upto: u64,
    digest: Digest,
    known: usize,
    bytes: Bytes,
}

impl Made {
    fn is(&self, expected: Making) -> bool {
        let Self { upto, digest, known, .. } = *self;
        Making { upto, digest, known } == expected
    }
}

impl Work {
    /// Makes it.
    #[must_use]
    pub fn run(self) -> Worked {
        Worked(self.make().map_err(Some))
    }

    fn make(self) -> Result<Made, String> {
        let before = self.from.as_deref().map(Checkpoint::read).transpose()?.unwrap_or_default();
        let mut value = match &before.value {
            Some(value) => (self.service.restore)(value).map_err(|error| error.to_string())?,
            None => (self.service.empty)(),
        };
        let mut requests = before.requests;
        for record in &self.records {
            run(&mut *value, &mut requests, self.planted, record);
        }
        requests.settle(self.settled);
        value.forget(self.settled);
        let (upto, digest, known) = (self.upto, value.digest(), requests.len());
        let value = Some(value.snapshot());
        let bytes = Checkpoint { upto, applied: self.applied, requests, value }.write();
        Ok(Made { upto, digest, known, bytes })
    }
}

impl Worked {
    /// There is no room for it.
    #[must_use]
    pub fn given_up() -> Self {
        Self(Err(None))
    }

    /// The checkpoint, and the place up to which it reaches. It must be ready to be chosen by a batch before the core
    /// hears of it.
    pub fn checkpoint(&self) -> Option<(u64, &Bytes)> {
        self.0.as_ref().ok().map(|made| (made.upto, &made.bytes))
    }
}

impl fmt::Debug for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { from, records, upto, .. } = self;
        write!(f, "Work {{ from: {}, records: {}, upto: {upto} }}", from.is_some(), records.len())
    }
}

impl fmt::Debug for Worked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Worked").field(&self.0).finish()
    }
}

impl fmt::Debug for Made {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { upto, digest, known, bytes } = self;
        write!(f, "up to {upto}: {known} ids, {digest:?}, {} bytes", bytes.len())
    }
}
