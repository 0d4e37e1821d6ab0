//! What the group has committed, as somebody knows who saw all disks: and by a judgement of its own, what each
//! command must have been answered.
//!
//! It is written a second time, plainly, from the rules of the request table, and not from the table's code.

use std::collections::BTreeMap;
use std::sync::Arc;

use common::replication::{Entry, EntryKind, Epoch, Limits, LogIndex, RequestId};

use super::disk::Disk;
use super::ledger::Tally;

/// What is known of one committed entry.
#[derive(Clone, Debug)]
struct Known {
    entry: Arc<Entry>,
    /// After it.
    tally: Tally,
    /// After it.
    floor: RequestId,
    /// The chained hash of the first replica that applied it.
    hash: Option<u64>,
}

/// A command that took effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ran {
    /// As which entry.
    pub at: LogIndex,
    /// Which command.
    pub command: u8,
    /// What was answered.
    pub reply: u64,
}

/// The committed log, from its first entry on.
#[derive(Clone, Debug, Default)]
pub struct Witness {
    known: Vec<Known>,
    ran: BTreeMap<RequestId, Ran>,
    /// The first command of each id that is in the log, ran or not.
    logged: BTreeMap<RequestId, Vec<u8>>,
    remembered: BTreeMap<RequestId, u64>,
    limits: Limits,
}

impl Witness {
    /// The last committed entry.
    pub fn last(&self) -> LogIndex {
        LogIndex(self.known.len() as u64)
    }

    fn at(&self, index: LogIndex) -> Option<&Known> {
        self.known.get(usize::try_from(index.0.checked_sub(1)?).ok()?)
    }

    /// The epoch of a committed entry.
    pub fn epoch_at(&self, index: LogIndex) -> Option<Epoch> {
        self.at(index).map(|known| known.entry.epoch)
    }

    /// The service's state after this entry.
    pub fn tally_at(&self, index: LogIndex) -> Option<Tally> {
        self.at(index).map(|known| known.tally)
    }

    /// The table's floor after this entry.
    pub fn floor_at(&self, index: LogIndex) -> Option<RequestId> {
        self.at(index).map(|known| known.floor)
    }

    /// The table's floor after the last one.
    pub fn floor(&self) -> RequestId {
        self.known.last().map_or(RequestId::LEAST, |known| known.floor)
    }

    /// What this request did, if it ran.
    pub fn ran(&self, request: RequestId) -> Option<Ran> {
        self.ran.get(&request).copied()
    }

    /// Whether a copy of the request with another command than this was logged.
    pub fn other_was_logged(&self, request: RequestId, command: u8) -> bool {
        self.logged.get(&request).is_some_and(|commands| commands.iter().any(|&other| other != command))
    }

    /// The hash that replicas have after this entry; the first one that says so is believed.
    pub fn hash_at(&mut self, index: LogIndex, said: u64) -> Option<u64> {
        let known = self.known.get_mut(usize::try_from(index.0.checked_sub(1)?).ok()?)?;
        Some(*known.hash.get_or_insert(said))
    }

    /// Whether this disk has all that is committed.
    pub fn is_held_by(&self, disk: &Disk) -> bool {
        self.holds(disk, self.last())
    }

    /// Whether this disk has what is committed up to this entry, and the same.
    pub fn holds(&self, disk: &Disk, upto: LogIndex) -> bool {
        let base = disk.base();
        let upto = upto.max(base.point.index);
        self.at(upto).map_or(upto == LogIndex(0), |known| disk.crc_at(upto) == Some(known.entry.crc))
    }

    /// What this disk holds up to `upto` is committed. `trimmed` is what it held before, if that is needed.
    ///
    /// # Errors
    /// When it is not what was committed before.
    pub fn extend(&mut self, trimmed: &[Arc<Entry>], disk: &Disk, upto: LogIndex) -> Result<(), String> {
        let have = self.last();
        let common = have.min(upto);
        if let Some(known) = self.at(common)
            && let Some(crc) = disk.crc_at(common)
            && known.entry.crc != crc
        {
            return Err(format!("entry {common} is not the one that was committed before"));
        }
        for index in have.0 + 1..=upto.0 {
            let index = LogIndex(index);
            let before = usize::try_from(index.0 - 1).ok().and_then(|place| trimmed.get(place));
            let Some(entry) = disk.get(index).or(before) else {
                return Err(format!("entry {index} is committed, and not on the disk of who says so"));
            };
            self.apply(entry);
        }
        Ok(())
    }

    /// What this disk has in common with the committed log remains, the rest is given up; what it has trimmed was
    /// committed, too.
    pub fn begin_again_with(&mut self, trimmed: &[Arc<Entry>], disk: &Disk) {
        let crc_at = |index: LogIndex| {
            let before = usize::try_from(index.0 - 1).ok().and_then(|place| trimmed.get(place));
            before.map(|entry| entry.crc).or_else(|| disk.crc_at(index))
        };
        let same = |known: &Known| crc_at(known.entry.index) == Some(known.entry.crc);
        let kept = self.known.iter().rposition(same).map_or(0, |last| last + 1);
        if kept < self.known.len() {
            let before = std::mem::take(self);
            for known in &before.known[..kept] {
                self.apply(&known.entry);
                self.known.last_mut().expect("just added").hash = known.hash;
            }
        }
        for entry in trimmed.iter().skip(kept) {
            self.apply(entry);
        }
    }

    fn apply(&mut self, entry: &Arc<Entry>) {
        let mut tally = self.known.last().map_or(Tally::default(), |known| known.tally);
        let mut floor = self.floor();
        match &entry.kind {
            EntryKind::Genesis { limits, .. } => self.limits = *limits,
            EntryKind::Barrier => {}
            EntryKind::Update { request, facts, payload } => {
                let byte = |bytes: &[u8]| bytes.first().copied().unwrap_or(0);
                let (command, facts) = (byte(payload), byte(facts));
                let logged = self.logged.entry(*request).or_default();
                if !logged.contains(&command) {
                    logged.push(command);
                }
                let late = request.time() > entry.at.plus(self.limits.ahead);
                if *request > floor && !self.remembered.contains_key(request) && !late {
                    tally = tally.with(*request, facts, command);
                    self.ran.insert(*request, Ran { at: entry.index, command, reply: tally.encoded() });
                    self.remembered.insert(*request, entry.at.millis());
                    while let Some((&least, &at)) = self.remembered.first_key_value() {
                        let age = u64::try_from(self.limits.age.as_millis()).unwrap_or(u64::MAX);
                        let old = at.saturating_add(age) < entry.at.millis();
                        if !old && self.remembered.len() as u64 <= self.limits.capacity {
                            break;
                        }
                        self.remembered.remove(&least);
                        floor = least;
                    }
                }
            }
        }
        self.known.push(Known { entry: entry.clone(), tally, floor, hash: None });
    }
}
