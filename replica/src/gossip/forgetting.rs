//! Forgetting. A record goes when a checkpoint holds what it did and every active member has it. An id, and a deleted
//! cell, go when no record that is older can come any more.
//!
//! Each member has a *floor*: it takes no older id in. The floor is in force when it is raised, is written behind all
//! records that have their counter already, and is told when it is on the disk. So what a member says of its floor and
//! of `applied` together means: none of my records above `applied[me]` bears an id older than the floor. Whoever has
//! all up to `applied[me]` may rely on it. Below the least of all active members' floors, nothing can come.

use common::clock::Timestamp;
use common::replication::ReplicaId;

use super::{Core, Fault};

/// The floor rises in steps: so small a part of the window is no loss, and so few writes are none either.
const STEPS_OF_WINDOW: u32 = 32;

impl Core {
    /// Raises this member's floor, when that is worth a write.
    pub(super) fn raise_floor(&mut self) {
        let window = self.setup.limits.request_window;
        let millis = |of: std::time::Duration| u64::try_from(of.as_millis()).unwrap_or(u64::MAX);
        // Without new updates it stands still, and so does the disk.
        let newest = self.now.wall.min(self.requests.latest.time());
        let wanted = newest.millis().saturating_sub(millis(window));
        let step = millis(window / STEPS_OF_WINDOW).max(1);
        if self.disk_full || wanted < self.floor.millis().saturating_add(step) {
            return;
        }
        self.floor = Timestamp::from_millis(wanted);
        self.unsaved.floor = Some(self.floor);
        if self.planted(Fault::FloorNotDurable) {
            self.floor_told = self.floor;
        }
    }

    /// Forgets what cannot come any more.
    pub(super) fn forget(&mut self) {
        self.table.adopt(&self.applied, self.planted(Fault::FloorWithoutApplied));
        if let Some(settled) = self.settled()
            && settled > self.requests.settled
        {
            self.requests.settle(settled);
            self.value.forget(settled);
        }
        if self.planted(Fault::TombstoneEarly) {
            self.value.forget(self.floor_told);
        }
    }

    /// The time below which nothing can come; `None`: somebody has not said.
    fn settled(&self) -> Option<Timestamp> {
        if self.planted(Fault::ForgetAtOwnFloor) {
            return Some(self.floor_told);
        }
        // Nobody knows yet how much there is of theirs.
        if !self.members.leaving.is_empty() && !self.planted(Fault::SettledIgnoresLeaving) {
            return None;
        }
        let skips = self.planted(Fault::SettledSkipsUnheard);
        let mut settled = self.floor_told;
        for other in self.members.others(self.me()) {
            match self.table.get(other) {
                Some(heard) => settled = settled.min(heard.adopted),
                None if skips => {}
                None => return None,
            }
        }
        Some(settled)
    }

    /// Removes the records that nobody needs any more, what they did being in a checkpoint up to this place; no more than
    /// a step of each origin's, so that their removal stays short beside a batch. The next step follows the batch.
    pub(super) fn truncate(&mut self, checkpointed: u64) {
        // A batch that is on its way may remove some already.
        if self.saving.is_some() || self.unsaved.gone.is_some() {
            return;
        }
        let upto = if self.planted(Fault::TruncateUncheckpointed) { u64::MAX } else { checkpointed };
        let early = self.planted(Fault::TruncateEarly);
        let step = self.setup.limits.trim_step;
        let (gone, truncated) = self.log.removable(step, |place, origin, counter| {
            place <= upto && (early || self.is_everywhere(origin, counter))
        });
        self.trims = gone.len() >= step;
        if !gone.is_empty() {
            self.unsaved.gone = Some((gone, truncated));
        }
    }

    /// Whether every active member has this record. All have those of retired ones.
    fn is_everywhere(&self, origin: ReplicaId, counter: u64) -> bool {
        let has = |other: ReplicaId| self.table.has(other, origin, counter);
        self.members.retired.contains_key(&origin) || self.members.others(self.me()).all(has)
    }
}
