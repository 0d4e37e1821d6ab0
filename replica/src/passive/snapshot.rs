//! Snapshots are made and restored beside the core: both take seconds of a large state, and are pure. [`Work`] goes
//! out, the shell does it wherever it likes, and what came of it, [`Worked`], comes in when it is ready. Meanwhile the
//! core goes on, so it judges anew what it gets: an epoch may have begun, or the log may have overtaken it.
//!
//! A snapshot is a function of the one before and the entries since. Its chained hash must be the core's own at that
//! place: one that is wrong is put on no disk, and nothing is trimmed behind it.

use std::sync::Arc;

use bytes::Bytes;
use common::replication::{Entry, Epoch, GroupConfig, LogIndex, LogPoint};

use super::{Core, Effect, Fault, WriteBatch};
use crate::state::{Discarded, Made, State, Taken, Work, Worked};

/// Entries by which the log is trimmed with one disk batch: their removal stays short beside the batch itself, in
/// memory and on the disk.
const TRIM_STEP: u64 = 512;

/// Members take theirs one after another, this part of the wait apart: they may share a machine's processors.
const STAGGER: u64 = 4;

/// What the core remembers of snapshots beside the newest one.
#[derive(Clone, Debug, Default)]
pub(super) struct Snapshots {
    /// Entries applied since the newest one, or since the one that is being taken.
    since: Vec<Arc<Entry>>,
    /// Bytes of them.
    bytes: usize,
    /// What is under way.
    under_way: Option<UnderWay>,
    /// Taken, and waiting for its log to be on the disk.
    ready: Option<Taken>,
    /// After one came out wrong: not again before there.
    not_before: LogIndex,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum UnderWay {
    /// At this place, where the core's own hash was this.
    Take { last: LogPoint, hash: u64 },
    /// Which came in this epoch, and was so long.
    Restore { epoch: Epoch, last: LogPoint, bytes: u64 },
}

impl Snapshots {
    /// Begins anew at an installed snapshot.
    fn restart(&mut self) {
        self.since.clear();
        self.bytes = 0;
        self.ready = None;
    }

    /// The length of the snapshot with this end that is being restored.
    pub(super) fn restoring(&self, of: LogPoint) -> Option<u64> {
        match self.under_way {
            Some(UnderWay::Restore { last, bytes, .. }) if last == of => Some(bytes),
            _ => None,
        }
    }

    /// Whether work is under way.
    pub(super) fn is_busy(&self) -> bool {
        self.under_way.is_some()
    }
}

impl Core {
    /// Takes note of an entry that was just applied, and has a snapshot taken when enough of them came since the last.
    pub(super) fn note_applied(&mut self, entry: Arc<Entry>) {
        let after = self.setup.snapshots;
        let applied = entry.point();
        let before = self.snapshot.as_ref().map_or(0, |taken| taken.bytes.len());
        let place = self.place();
        let snapshots = &mut self.snapshots;
        snapshots.bytes += entry.weight();
        snapshots.since.push(entry);
        let later = |wait: u64| wait.saturating_add((wait / STAGGER).saturating_mul(place));
        let long = snapshots.since.len() as u64 >= later(after.entries)
            || snapshots.bytes as u64 >= later(after.bytes as u64);
        if !long
            || !applied.index.0.is_multiple_of(after.multiples_of)
            || snapshots.under_way.is_some()
            || snapshots.ready.is_some()
            || applied.index < snapshots.not_before
            // A large state is not rewritten for every little log.
            || snapshots.bytes < before
        {
            return;
        }
        let (mut last, mut hash) = (applied, self.state.hash());
        let mut entries = std::mem::take(&mut snapshots.since);
        snapshots.bytes = 0;
        if self.planted(Fault::SnapUncommitted) {
            let ahead = self.log.batch_from(applied.index.next(), usize::MAX);
            let uncommitted = self.state.ahead(&ahead);
            (last, hash) = (uncommitted.applied(), uncommitted.hash());
            entries.extend(ahead);
        }
        self.snapshots.under_way = Some(UnderWay::Take { last, hash });
        self.effects.push(Effect::Work(Work::Take {
            service: self.setup.service,
            from: self.snapshot.as_ref().map(|taken| taken.bytes.clone()),
            entries,
            planted: self.setup.planted,
        }));
    }

    /// How many members come before this one; none, where it is no member.
    fn place(&self) -> u64 {
        let place = |config: &GroupConfig| config.in_sync.iter().position(|id| id == self.me());
        self.config.as_ref().and_then(place).unwrap_or(0) as u64
    }

    /// Has a snapshot restored that came whole.
    pub(super) fn restore(&mut self, last: LogPoint, pieces: Vec<Bytes>, crc: u32) {
        let bytes = pieces.iter().map(|piece| piece.len() as u64).sum();
        self.snapshots.under_way = Some(UnderWay::Restore { epoch: self.epoch, last, bytes });
        let (service, planted) = (self.setup.service, self.setup.planted);
        self.effects.push(Effect::Work(Work::Restore { service, pieces, crc, planted }));
    }

    /// Takes in what came of the work under way.
    pub(super) fn worked(&mut self, worked: Worked) {
        let Some(under_way) = self.snapshots.under_way.take() else { return };
        let wrong = match (under_way, worked.0) {
            (_, Err(why)) => why,
            (UnderWay::Take { last, hash }, Ok(made)) if made.taken.last == last && made.hash == hash => {
                self.snapshots.ready = Some(made.taken);
                return;
            }
            (UnderWay::Take { last, .. }, Ok(made)) => {
                let at = made.taken.last;
                Some(format!("the snapshot at {last} came out otherwise than the state: at {at}"))
            }
            (UnderWay::Restore { epoch, last, .. }, Ok(made)) => {
                let Err(why) = self.install(epoch, last, made) else { return };
                Some(why)
            }
        };
        if let Some(why) = wrong {
            self.effects.push(Effect::Alarm { why });
        }
        if let UnderWay::Take { .. } = under_way {
            self.take_again_later();
        }
    }

    /// The entries that went into a snapshot that is not there: they count as since the one before again.
    fn take_again_later(&mut self) {
        let (from, applied) =
            (self.snapshot.as_ref().map(|taken| taken.last.index), self.state.applied().index);
        let mut since = self.log.batch_from(from.unwrap_or_default().next(), usize::MAX);
        since.retain(|entry| entry.index <= applied);
        self.snapshots.bytes = since.iter().map(|entry| entry.weight()).sum();
        self.snapshots.since = since;
        self.snapshots.not_before = LogIndex(applied.0 + self.setup.snapshots.entries);
    }

    /// Has the disk choose a snapshot that was taken, once its log is there too; and trims the log, step by step.
    pub(super) fn keep_snapshot(&mut self) {
        let durable = self.log.durable();
        let own = |taken: &Taken| taken.last.index <= durable || self.planted(Fault::SnapUncommitted);
        if self.snapshots.ready.as_ref().is_some_and(own)
            && let Some(taken) = self.snapshots.ready.take()
            // Else an installed one has overtaken it.
            && self.snapshot.as_ref().is_none_or(|before| before.last.index < taken.last.index)
        {
            // The log is kept from the snapshot before: a peer that is a little behind needs no snapshot then.
            let before = self.snapshot.as_ref().map_or(LogIndex(0), |before| before.last.index);
            self.trim_to = self.trim_to.max(before);
            self.unsaved.snapshot = Some(taken.bytes.clone());
            self.choose(taken, None);
        }
        let base = self.log.base().point.index;
        let upto = self.trim_to.min(durable).min(LogIndex(base.0 + TRIM_STEP));
        if self.unsaved.base.is_none()
            && let Some(base) = self.log.trim(upto)
        {
            self.unsaved.base = Some(base);
        }
    }

    /// Replaces the state by the snapshot's, in one transaction with what that means for the log.
    fn install(&mut self, epoch: Epoch, last: LogPoint, made: Made) -> Result<(), String> {
        let state = made.state.expect("one that was restored has its state");
        if made.taken.last != last {
            return Err(format!("the snapshot ends at {}, not at {last}", made.taken.last));
        }
        if epoch != self.epoch || last.index <= self.committed {
            // An epoch began, whose primary begins anew; or the log brought what it holds.
            let discarded = Discarded { _state: Some(state), _bytes: Some(made.taken.bytes) };
            self.effects.push(Effect::Work(Work::Discard(discarded)));
            return Ok(());
        }
        if self.log.epoch_at(last.index) == Some(last.epoch) {
            // The log holds the same entry, so the same prefix; what follows it stays.
            self.log.applied(last.index);
        } else if last.index <= self.matched {
            return Err(format!("{last} contradicts what this epoch's primary sent before"));
        } else {
            let keeps_tail = self.planted(Fault::SnapKeepsTail);
            if !keeps_tail {
                self.log.truncate(self.log.base().point.index.next());
            }
            self.log.stand_on(state.base());
            self.unsaved = WriteBatch {
                truncate_from: Some(LogIndex(1)).filter(|_| !keeps_tail),
                base: Some(state.base()),
                config: self.unsaved.config.take(),
                ..WriteBatch::default()
            };
        }
        let before = std::mem::replace(&mut self.state, *state);
        self.committed = last.index;
        self.matched = self.matched.max(last.index);
        self.trim_to = self.log.base().point.index;
        self.unsaved.snapshot = Some(made.taken.bytes.clone());
        self.snapshots.restart();
        self.choose(made.taken, Some(Box::new(before)));
        Ok(())
    }

    /// This is the newest one from now on.
    fn choose(&mut self, taken: Taken, state: Option<Box<State>>) {
        let before = self.snapshot.replace(taken).map(|before| before.bytes);
        if before.is_some() || state.is_some() {
            let discarded = Discarded { _state: state, _bytes: before };
            self.effects.push(Effect::Work(Work::Discard(discarded)));
        }
    }
}

#[cfg(test)]
mod tests;
