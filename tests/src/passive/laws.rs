//! What must always hold, judged from outside: by what disks hold, what is sent and what is answered. The numbers are
//! those of the invariants in the engine's specification.

use std::sync::Arc;

use common::replication::{ConfigVersion, Entry, GroupConfig, LogIndex, Member};
use common::rpc::peer::Message;
use common::rpc::replica::{Answer, Done, Position, QueryError, Role, SubmitError};
use replica::passive::{Waiter, WriteBatch};

use super::world::{Call, World};

impl World {
    /// Whether what this replica says counts: after a force-elect the others' word is void, and nobody's counts
    /// before the one elected has committed something.
    fn counts(&self, n: usize) -> bool {
        self.regime == ConfigVersion(0) || (self.settled && self.is_of_regime(n))
    }

    fn is_of_regime(&self, n: usize) -> bool {
        let config = self.nodes[n].core.as_ref().and_then(|core| core.newest_config());
        config.map_or(ConfigVersion(0), |config| config.forced) == self.regime
    }

    /// A core has taken something in: where is it now?
    pub(super) fn stepped(&mut self, n: usize) {
        let node = &self.nodes[n];
        let Some(core) = &node.core else { return };
        let progress = core.progress();
        let (committed, applied) = (node.committed, node.applied);
        if progress.committed == committed && progress.applied == applied {
            return;
        }
        let leads = core.role() == Role::Primary;
        let node = &mut self.nodes[n];
        (node.committed, node.applied) = (progress.committed, progress.applied);
        if progress.committed < committed {
            return self.breach(format!("I4: r{n} committed {}, after {committed}", progress.committed));
        }
        if self.regime != ConfigVersion(0) && !self.counts(n) {
            if self.settled || !leads {
                return;
            }
            let (disk, trimmed) = (&self.nodes[n].disk, self.trimmed_from(n));
            if !self.is_of_regime(n) {
                // What the others had may have reached the one elected meanwhile.
                let held = self.witness.is_held_by(disk);
                if held && self.witness.extend(&trimmed, disk, progress.committed).is_err() {
                    self.breach(format!("r{n} committed what is not on its disk"));
                }
                return;
            }
            self.witness.begin_again_with(&trimmed, disk);
            self.settled = true;
            self.shown = self.shown.min(self.witness.last());
        }
        if progress.committed > self.witness.last() {
            if !leads {
                let (said, known) = (progress.committed, self.witness.last());
                return self.breach(format!("I4: r{n} follows and has committed {said}, {known} is"));
            }
            if let Err(why) = self.witness.extend(&[], &self.nodes[n].disk, progress.committed) {
                return self.breach(format!("I4: r{n} commits {}: {why}", progress.committed));
            }
            if self.witness.epoch_at(progress.committed) != Some(progress.epoch) {
                return self.breach(format!("r{n} commits before the barrier of {}", progress.epoch));
            }
            self.all_in_sync_hold_what_is_committed();
        } else if leads
            && progress.committed > committed
            && !self.witness.holds(&self.nodes[n].disk, progress.committed)
        {
            return self.breach(format!("I4: r{n} commits another entry {}", progress.committed));
        }
        if applied != progress.applied {
            let (at, said) = (progress.applied, progress.state_hash);
            if self.witness.hash_at(at, said).is_some_and(|known| known != said) {
                return self.breach(format!("I11: r{n} differs after entry {at}"));
            }
            if self.witness.floor_at(at).is_some_and(|floor| floor != progress.floor) {
                self.breach(format!("I11: r{n} has forgotten up to {} after entry {at}", progress.floor));
            }
        }
    }

    /// I1, and more than it: what is committed is on the disk of every member of the recorded set.
    fn all_in_sync_hold_what_is_committed(&mut self) {
        if !self.settled {
            return;
        }
        let Some(record) = self.authority.record().filter(|_| !self.authority.has_fallen_back()) else {
            return;
        };
        let lacks = |n: &usize| !self.witness.is_held_by(&self.nodes[*n].disk);
        let lacking = record.in_sync.iter().filter_map(|id| self.place_of(id)).find(lacks);
        if let Some(n) = lacking {
            let upto = self.witness.last();
            self.breach(format!("I1: r{n} is in sync and has not all of the {upto} committed entries"));
        }
    }

    /// Whether the record says that this disk has all that is committed. One outside the set may have some of it by
    /// chance, from a primary that did not live to commit it, and may lose that again to another.
    fn is_in_sync(&self, n: usize) -> bool {
        let recorded =
            self.authority.record().is_some_and(|record| record.in_sync.contains(self.nodes[n].id));
        recorded && !self.authority.has_fallen_back()
    }

    /// Something was written to a disk, or was lost from it.
    pub(super) fn disk_changed(&mut self, n: usize) {
        if !self.nodes[n].disk.is_whole() {
            return self.breach(format!("I3: on r{n}'s disk the log does not continue what it stands on"));
        }
        if self.settled && self.is_in_sync(n) && !self.witness.is_held_by(&self.nodes[n].disk) {
            let upto = self.witness.last();
            self.breach(format!("I1: r{n} is in sync and has no longer all of the {upto} committed entries"));
        }
    }

    /// The record has changed by the rules.
    pub(super) fn record_changed(&mut self, before: Option<&GroupConfig>) {
        let Some(record) = self.authority.record() else { return };
        if before.is_none_or(|before| before.epoch != record.epoch) {
            self.counts.epochs += 1;
        }
        if let Some(before) = before {
            if record.version <= before.version || record.epoch < before.epoch {
                let how = format!("I7: {:?} after {:?}", record.version, before.version);
                return self.breach(how);
            }
            if record.primary != before.primary && !before.in_sync.contains(record.primary.id) {
                let how = format!("I6: {:?} leads, and was not in sync", record.primary);
                return self.breach(how);
            }
        }
        self.story.note(|| super::story::record(record));
        self.all_in_sync_hold_what_is_committed();
    }

    /// I5, I13: who leads an epoch, and that it can no more forget it.
    pub(super) fn judge_send(&mut self, n: usize, message: &Message) {
        let (Message::Append { epoch, .. }
        | Message::Confirm { epoch, .. }
        | Message::SnapshotChunk { epoch, .. }) = *message
        else {
            return;
        };
        if !self.nodes[n].disk.reaches(epoch) {
            return self.breach(format!("I13: r{n} sends in {epoch}, and its barrier is not on its disk"));
        }
        let me = self.member(n);
        match self.led.iter().rev().find(|(led, _)| *led == epoch) {
            Some((_, by)) if *by == me => {}
            Some((_, by)) => {
                let by: Member = *by;
                self.breach(format!("I5: r{n} leads {epoch} as {me:?}, and {by:?} did"));
            }
            None => self.led.push((epoch, me)),
        }
    }

    /// I13 again: who has not begun its epoch does not hand it over.
    pub(super) fn judge_change(&mut self, n: usize, next: &GroupConfig) {
        let Some(core) = &self.nodes[n].core else { return };
        let epoch = core.progress().epoch;
        if core.role() == Role::Primary && next.epoch > epoch && !self.nodes[n].disk.reaches(epoch) {
            self.breach(format!("I13: r{n} hands {epoch} over, and its barrier is not on its disk"));
        }
    }

    /// I3, I8: what a disk is given, and what is taken from it.
    pub(super) fn judge_batch(&mut self, n: usize, batch: &WriteBatch) {
        self.judge_truncation(n, batch);
        for entry in &batch.append {
            let at = usize::try_from(entry.index.0).unwrap_or(usize::MAX);
            if self.written.len() <= at {
                self.written.resize_with(at + 1, Vec::new);
            }
            // Of Genesis entries, each that may create the group makes its own.
            let other = |known: &Arc<Entry>| at > 1 && known.epoch == entry.epoch && known.crc != entry.crc;
            if self.written[at].iter().any(other) {
                let point = entry.point();
                return self.breach(format!("I3: r{n} has another entry {point} than somebody else"));
            }
            if self.written[at].iter().all(|known| known.crc != entry.crc) {
                self.written[at].push(entry.clone());
            }
        }
        let config = batch.config.as_ref().map_or(ConfigVersion(0), |config| config.version);
        let known = self.nodes[n].version;
        if batch.config.is_some() && config < known {
            self.breach(format!("I7: r{n} takes record {config}, after {known}"));
        }
        self.nodes[n].version = known.max(config);
    }

    /// I8: what a replica knows to be committed, and has on its disk, stays there; on the disk of a member of the
    /// recorded set, so does all that anybody knows to be.
    fn judge_truncation(&mut self, n: usize, batch: &WriteBatch) {
        let Some(from) = batch.truncate_from.filter(|_| batch.snapshot.is_none() && self.counts(n)) else {
            return;
        };
        let (disk, own, all) = (&self.nodes[n].disk, self.nodes[n].committed, self.witness.last());
        let kept = if self.is_in_sync(n) { all } else { own }.min(disk.last().index);
        // Two truncations may have become one batch, and the second brings back what the first took.
        let again = batch.append.iter().any(|entry| disk.crc_at(kept) == Some(entry.crc));
        if from <= kept && !again && self.witness.holds(disk, kept) {
            self.breach(format!("I8: r{n} truncates from {from}, knows {own} to be committed, {all} is"));
        }
    }

    /// What this disk's log stands on: each entry was written somewhere once, and continues the one before.
    fn trimmed_from(&self, n: usize) -> Vec<Arc<Entry>> {
        let mut trimmed: Vec<Arc<Entry>> = Vec::new();
        let base = self.nodes[n].disk.base();
        let upto = usize::try_from(base.point.index.0).unwrap_or(usize::MAX);
        for known in self.written.iter().take(upto + 1).skip(1).rev() {
            let is_next = |entry: &&Arc<Entry>| match trimmed.last() {
                Some(after) => after.follows(entry.crc),
                None => entry.crc == base.crc,
            };
            let next = known.iter().find(is_next).expect("what a snapshot holds was on a disk before");
            trimmed.push(next.clone());
        }
        trimmed.reverse();
        trimmed
    }

    fn led_from_here_on(&mut self, n: usize, what: &str) -> bool {
        let Some(core) = &self.nodes[n].core else { return false };
        let progress = core.progress();
        let begun = self.witness.epoch_at(progress.committed) == Some(progress.epoch);
        if !begun {
            let epoch = progress.epoch;
            self.breach(format!("I12: r{n} answers {what} before the barrier of {epoch} is committed"));
        }
        begun
    }

    /// I10, I12, I14: what a client was told of its update.
    pub(super) fn judge_update(&mut self, n: usize, waiter: Waiter, result: Result<Done, SubmitError>) {
        let at = usize::try_from(waiter.0).unwrap_or(usize::MAX);
        let Some(Call::Update { request, command, regime }) = self.calls.get(at).copied() else {
            return self.breach(format!("r{n} answers an update that nobody sent"));
        };
        if regime != self.regime || !self.counts(n) {
            return;
        }
        match result {
            Ok(done) => self.judge_done(n, request, command, &done),
            Err(SubmitError::Reused) => {
                let ran_itself = self.witness.ran(request).is_some_and(|ran| ran.command == command);
                if ran_itself {
                    self.breach(format!("I10: r{n} says that {request} is another command's; it ran"));
                } else if !self.witness.other_was_logged(request, command) {
                    self.breach(format!("I10: r{n} says that {request} is another command's; there is none"));
                }
            }
            Err(SubmitError::Expired { .. }) if request > self.witness.floor() => {
                self.breach(format!("I10: r{n} says that {request} has expired"));
            }
            Err(_) => {}
        }
    }

    fn judge_done(&mut self, n: usize, request: common::replication::RequestId, command: u8, done: &Done) {
        let Some(ran) = self.witness.ran(request) else {
            return self.breach(format!("I12: r{n} answers {request}, which is not committed, or never ran"));
        };
        let said: Option<u64> = common::services::decode(&done.reply).ok();
        if ran.command != command {
            return self.breach(format!("I10: r{n} answers {request} with another command's reply"));
        }
        if said != Some(ran.reply) {
            return self.breach(format!("I10: r{n} answers {request} otherwise than it ran"));
        }
        let Position::Log(at) = done.position else { panic!("a passive group has a log") };
        if at.index < ran.at || at.index > self.witness.last() {
            return self.breach(format!("I12: r{n} answers {request} of {} at {at}", ran.at));
        }
        if !self.led_from_here_on(n, "an update") {
            return;
        }
        // It lay on so many, of which some may have been replaced since.
        let disks = self.nodes.iter().map(|node| &node.disk).chain(&self.replaced);
        let disks = disks.filter(|disk| self.witness.holds(disk, ran.at)).count();
        if disks < usize::from(self.plan.min_in_sync) {
            return self.breach(format!("I14: {request} was answered and lay on {disks} disks"));
        }
        self.counts.acknowledged += 1;
        self.shown = self.shown.max(ran.at);
    }

    /// I9, I12: what a client was shown.
    pub(super) fn judge_read(&mut self, n: usize, waiter: Waiter, result: Result<Answer, QueryError>) {
        let at = usize::try_from(waiter.0).unwrap_or(usize::MAX);
        let Some(Call::Read { after, stale, regime }) = self.calls.get(at).copied() else {
            return self.breach(format!("r{n} answers a read that nobody sent, or twice"));
        };
        self.calls[at] = Call::Over;
        let Ok(Answer { answer, position: Position::Log(at) }) = result else { return };
        if regime != self.regime || !self.counts(n) {
            return;
        }
        let shown: LogIndex = at.index;
        if !stale && shown < after {
            return self.breach(format!("I9: r{n} shows entry {shown}, {after} was seen before"));
        }
        let said: Option<u64> = common::services::decode(&answer).ok();
        if self.witness.tally_at(shown).map(super::ledger::Tally::encoded) != said {
            return self.breach(format!("I9: r{n} shows at {at} what is not committed, or another state"));
        }
        if stale || !self.led_from_here_on(n, "a read") {
            return;
        }
        self.counts.reads += 1;
        self.shown = self.shown.max(shown);
    }
}
