//! How walks begin and end: everything heals, and what must then happen, happens (I16).

use std::time::Duration;

use common::clock::Moment;
use common::replication::{LogIndex, RequestId};
use replica::passive::Core;

use super::act::{Act, Lane, Step};
use super::shapes::Ending;
use super::world::World;

/// For an update: two seconds, and before it the longest back-off of suspicion (16 s) once for each replica.
const UPDATE_WITHIN: Duration = Duration::from_secs(2 + 16 * 3);
/// For all to be in sync: also the longest wait of one who was dropped again and again, twice.
const WHOLE_WITHIN: Duration = Duration::from_secs(50 + 2 * 60);
/// What somebody began to believe before all was well may still have its way: a candidate waits its turn that long.
const SETTLES_IN: Duration = Duration::from_secs(2);
/// How long the primary must then stay.
const STAYS_FOR: Duration = Duration::from_mins(1);
/// A client's next try.
const ASK_EVERY: Duration = Duration::from_millis(200);

impl World {
    /// A group is formed in calm.
    pub(super) fn form(&mut self) {
        self.be_calm();
        let size = self.nodes.len();
        let whole = |world: &Self| {
            let whole = world.authority.record().is_some_and(|record| record.in_sync.len() == size);
            whole && world.leader().is_some_and(|n| world.has_committed_all(n))
        };
        if !self.until(WHOLE_WITHIN, whole) {
            self.breach(format!("I16: no group of {size} has formed"));
        }
        self.calm = false;
    }

    /// In calm still, a replica dies and is dropped.
    #[cfg(feature = "model")]
    pub(super) fn form_without(&mut self, n: usize) {
        self.calm = true;
        self.crash(n, true);
        let size = self.nodes.len();
        let dropped = |world: &Self| {
            let dropped = world.authority.record().is_some_and(|record| record.in_sync.len() + 1 == size);
            dropped && world.leader().is_some_and(|n| world.has_committed_all(n))
        };
        if !self.until(WHOLE_WITHIN, dropped) {
            self.breach(format!("I16: r{n} is gone, and is not dropped"));
        }
        self.calm = false;
    }

    /// Everything heals; what must happen then?
    pub(super) fn end_well(&mut self, ending: Ending) {
        if ending == Ending::Open || self.broken.is_some() {
            return;
        }
        self.story.tell(|| format!("everything heals: {ending:?}"));
        if self.authority.has_fallen_back() {
            self.be_calm();
            self.perform(Step { act: Act::Adopt, together: false });
        }
        self.be_calm();
        self.quiet();
        if self.clones_told > 0 {
            // A person does as told, and sees that each disk has one process.
            for n in 0..self.nodes.len() {
                self.crash(n, true);
            }
            self.be_calm();
            self.quiet();
        }
        // What was still on its way may have named one whose disk is no more.
        if !self.can_end_well() {
            return;
        }
        if ending == Ending::One {
            self.leave_one();
        }
        let mut asked = Moment::ORIGIN;
        let mut copies = 0;
        let before = self.counts.acknowledged;
        let answered = self.until_with(UPDATE_WITHIN, |world| {
            let now = world.nodes[0].now;
            if now.since(asked) >= ASK_EVERY {
                asked = now;
                copies += 1;
                let to = world.leader().unwrap_or(copies % world.nodes.len());
                let request = world.fresh_id(to, copies);
                world.send_update(to, request, 0, 0);
            }
            world.counts.acknowledged > before
        });
        if self.broken.is_some() {
            return;
        }
        if !answered {
            let how = format!("I16: all is well, and no update completes: {}", self.states());
            return self.breach(how);
        }
        if ending == Ending::Whole {
            self.end_whole();
        }
    }

    fn end_whole(&mut self) {
        self.let_pass(SETTLES_IN);
        let size = self.nodes.len();
        let whole = |world: &Self| {
            world.authority.record().is_some_and(|record| record.in_sync.len() == size)
                && world.leader().is_some_and(|n| world.has_committed_all(n))
        };
        if !self.until(WHOLE_WITHIN, whole) {
            let how = format!("I16: all is well, and the set does not become whole: {}", self.states());
            return self.breach(how);
        }
        let epoch = self.authority.record().map(|record| record.epoch);
        self.let_pass(STAYS_FOR);
        if self.authority.record().map(|record| record.epoch) != epoch {
            self.breach(format!("I16: all is well, and the primary changes: {}", self.states()));
        }
    }

    /// Whether the disks that are left can serve.
    fn can_end_well(&self) -> bool {
        let Some(record) = self.authority.record() else { return true };
        // An operator who adopts asks all; what no replica remembers is not adopted.
        record.in_sync.iter().any(|id| self.place_of(id).is_some())
    }

    /// An id that is above all forgotten ones, by the clock of this replica.
    fn fresh_id(&self, n: usize, copy: usize) -> RequestId {
        const ABOVE_ALL_OTHERS: u64 = 1 << 40;
        let at = self.clock(n).wall.max(self.witness.floor().time());
        RequestId::from_parts(at, 0xfff, ABOVE_ALL_OTHERS + copy as u64)
    }

    fn has_committed_all(&self, n: usize) -> bool {
        let progress = self.nodes[n].core.as_ref().map(Core::progress);
        progress.is_some_and(|progress| {
            progress.committed == progress.last.index && progress.committed > LogIndex(0)
        })
    }

    /// Faults end: all run, clocks go on alike, disks have room.
    fn be_calm(&mut self) {
        self.calm = true;
        let latest = self.nodes.iter().map(|node| node.now).max().unwrap_or_default();
        for n in 0..self.nodes.len() {
            self.nodes[n].now = latest;
            self.nodes[n].full = false;
            self.start(n);
            self.perform(Step { act: Act::Full(u8::try_from(n).unwrap_or(0), false), together: false });
        }
        for from in 0..self.nodes.len() {
            for to in 0..self.nodes.len() {
                self.hello(from, to);
            }
        }
    }

    fn hello(&mut self, from: usize, to: usize) {
        let [from, to] = [from, to].map(|n| u8::try_from(n).unwrap_or(0));
        self.perform(Step { act: Act::Greet(from, to), together: false });
    }

    /// All but one in-sync replica die.
    fn leave_one(&mut self) {
        // What travels still may decide who is in sync.
        self.quiet();
        let Some(record) = self.authority.record().cloned() else { return };
        let Some(one) = record.in_sync.iter().find_map(|id| self.place_of(id)) else { return };
        for n in 0..self.nodes.len() {
            if n != one {
                self.crash(n, true);
            }
        }
    }

    fn let_pass(&mut self, time: Duration) {
        self.until(time, |_| false);
    }

    fn until(&mut self, within: Duration, done: impl Fn(&Self) -> bool) -> bool {
        self.until_with(within, |world| done(world))
    }

    /// Lets time pass for all until it is so; `false`: it was not within this time.
    fn until_with(&mut self, within: Duration, mut done: impl FnMut(&mut Self) -> bool) -> bool {
        let begun = self.nodes[0].now;
        let mut version = None;
        loop {
            self.quiet();
            let stands = self.authority.record().map(|record| record.version);
            if stands != version {
                version = stands;
                for n in 0..self.nodes.len() {
                    self.perform(Step { act: Act::Watch(u8::try_from(n).unwrap_or(0)), together: false });
                }
                self.quiet();
            }
            if self.broken.is_some() || done(self) {
                return true;
            }
            let now = self.nodes[0].now;
            if now.since(begun) >= within {
                return false;
            }
            let wakes = self.nodes.iter().filter_map(|node| Some(node.core.as_ref()?.wake_at(node.now)));
            let next = wakes.min().map_or(Duration::ZERO, |at| at.since(now)).max(Duration::from_millis(1));
            for n in 0..self.nodes.len() {
                if self.nodes[n].core.is_some() {
                    self.pass(n, next);
                } else {
                    self.nodes[n].now = self.nodes[n].now + next;
                }
            }
        }
    }

    /// All that is on its way arrives, and all disks write, until nothing is.
    fn quiet(&mut self) {
        /// More than any exchange takes in which every answer asks for more.
        const EVENTS_MAX: usize = 20_000;
        for _ in 0..EVENTS_MAX {
            if self.broken.is_some() {
                return;
            }
            for n in 0..self.nodes.len() {
                self.work(n, false);
                if self.nodes[n].writing.is_some() {
                    self.perform(Step { act: Act::Write(u8::try_from(n).unwrap_or(0)), together: false });
                }
            }
            let Some((from, to, _)) = self.network.lane(0) else {
                if self.nodes.iter().all(|node| node.writing.is_none() && node.work.is_empty()) {
                    return;
                }
                continue;
            };
            let [from, to] = [from, to].map(|n| u8::try_from(n).unwrap_or(0));
            self.perform(Step { act: Act::Deliver(Lane { from, to, nth: 0 }), together: false });
        }
        self.breach("the replicas never stop talking, and no time passes".into());
    }

    /// Where everybody is, for a person.
    pub(super) fn states(&self) -> String {
        let record = self.authority.record().map_or("no record".into(), super::story::record);
        let states = self.nodes.iter().enumerate().map(|(n, node)| match &node.core {
            None => format!("r{n} {:?} is down", node.id),
            Some(core) => {
                let progress = core.progress();
                let knows = core.newest_config().map_or("nothing".into(), super::story::record);
                format!(
                    "r{n} {:?} {:?} in {}, log to {}, committed {}, {} knows {knows}",
                    node.id,
                    core.role(),
                    progress.epoch,
                    progress.last,
                    progress.committed,
                    core.trouble()
                )
            }
        });
        [record].into_iter().chain(states).collect::<Vec<_>>().join("\n      ")
    }
}
