//! How walks end: everything heals, and what must then happen, happens (G9, G11).

use std::time::Duration;

use common::replication::ReplicaId;
use replica::gossip::{Core, Event, Status};

use super::act::{Act, Lane, Step};
use super::world::World;

/// For all to be equal: some rounds, and before them whatever a copy of a disk or a leaver takes.
const EQUAL_WITHIN: Duration = Duration::from_secs(30);

impl World {
    /// Everything heals; are all equal then, and has nobody lost what was promised?
    pub(super) fn end_well(&mut self) {
        if !self.plan.heals || self.is_over() || !self.can_end_well() {
            return;
        }
        self.story.tell(|| "everything heals".into());
        self.be_calm();
        let begun = self.nodes[0].now;
        let equal = self.until(EQUAL_WITHIN, Self::are_equal);
        if self.is_over() || !self.can_end_well() {
            return;
        }
        if !equal {
            return self.breach(format!("G9: all is well, and they do not become equal: {}", self.states()));
        }
        let took = self.nodes[0].now.since(begun).as_millis();
        self.counts.healing.0 += u64::try_from(took).unwrap_or(u64::MAX);
        self.counts.healing.1 += 1;
        let all = self.nodes[0].expected.updates;
        let gone = (0..self.oracle.sent.len()).find(|number| {
            self.oracle.sent[*number].acknowledged && !all.has(*number) && !self.may_be_gone(*number)
        });
        if let Some(number) = gone {
            return self.breach(format!("G11: update {number} was acknowledged, and is gone"));
        }
        let empty = |world: &Self| {
            let mut cores = world.nodes.iter().filter_map(|node| node.core.as_ref());
            cores.all(|core| core.lengths().0 == 0)
        };
        if !self.until(self.plan.limits.checkpoint_every * 3 + Duration::from_secs(5), empty)
            && !self.is_over()
        {
            self.breach(format!("G9: all are equal, and the logs do not become empty: {}", self.states()));
        }
    }

    /// Whether somebody is left to copy from.
    fn can_end_well(&self) -> bool {
        let Some(record) = &self.record else { return true };
        record.active.iter().filter_map(|id| self.place_of(*id)).any(|n| {
            let node = &self.nodes[n];
            !node.disk.is_blank() && !node.core.as_ref().is_some_and(Core::is_stuck)
        })
    }

    /// Faults end: all run, clocks go on alike, nobody is cut off, and a person looks after the group.
    fn be_calm(&mut self) {
        self.calm = true;
        let latest = self.nodes.iter().map(|node| node.now).max().unwrap_or_default();
        for n in 0..self.nodes.len() {
            self.nodes[n].now = latest;
            self.nodes[n].cut = false;
            self.start(n);
            self.status(n, Status::Online);
        }
    }

    /// Members of which no disk exists any more are moved out.
    fn look_after(&mut self) {
        let Some(record) = self.record.clone() else { return };
        let dead: Vec<ReplicaId> =
            record.active.iter().copied().filter(|id| self.place_of(*id).is_none()).collect();
        let serving = self.nodes.iter().position(|node| node.core.as_ref().is_some_and(Core::serves));
        if let Some(n) = serving {
            for id in dead {
                self.event(n, Event::Remove(id));
            }
        }
    }

    fn are_equal(&self) -> bool {
        let Some(record) = &self.record else {
            return self.oracle.sent.iter().all(|sent| !sent.acknowledged);
        };
        let settled = record.leaving.is_empty() && record.active.len() == self.nodes.len();
        let equal = |core: &Core| {
            let first = self.nodes[0].core.as_ref();
            core.serves()
                && core.members().version == record.version
                && first
                    .is_some_and(|first| core.applied() == first.applied() && core.digest() == first.digest())
        };
        settled && self.nodes.iter().all(|node| node.core.as_ref().is_some_and(equal))
    }

    /// Lets time pass for all until it is so; `false`: it was not within this time.
    fn until(&mut self, within: Duration, done: impl Fn(&Self) -> bool) -> bool {
        let begun = self.nodes[0].now;
        loop {
            self.quiet();
            if self.is_over() || done(self) {
                return true;
            }
            let now = self.nodes[0].now;
            if now.since(begun) >= within {
                return false;
            }
            self.look_after();
            let wakes = self.nodes.iter().filter_map(|node| Some(node.core.as_ref()?.wake_at(node.now)));
            let next = wakes.min().map_or(Duration::ZERO, |at| at.since(now)).max(Duration::from_millis(1));
            for n in 0..self.nodes.len() {
                self.start(n);
                self.pass(n, next);
            }
        }
    }

    /// All that is on its way arrives, and all disks write, until nothing is.
    fn quiet(&mut self) {
        /// More than any exchange takes in which every answer asks for more.
        const EVENTS_MAX: usize = 50_000;
        for _ in 0..EVENTS_MAX {
            if self.is_over() {
                return;
            }
            for n in 0..self.nodes.len() {
                if self.nodes[n].writing.is_some() {
                    self.perform(Step { act: Act::Write(u8::try_from(n).unwrap_or(0)), together: false });
                }
            }
            let Some((from, to, _)) = self.network.lane(0) else {
                if self.nodes.iter().all(|node| node.writing.is_none()) {
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
        let states = self.nodes.iter().enumerate().map(|(n, node)| match &node.core {
            None => format!("r{n} {:?} is down", node.id),
            Some(core) => {
                let (applied, (log, ids)) = (core.applied(), core.lengths());
                let heard: Vec<_> = core.heard().map(|(id, heard)| format!("{id:?}: {heard:?}")).collect();
                format!(
                    "r{n} {:?} at {applied}, log {log}, ids {ids}, {} heard {heard:?}",
                    node.id,
                    core.trouble(),
                )
            }
        });
        [format!("{:?}", self.record)].into_iter().chain(states).collect::<Vec<_>>().join("\n      ")
    }
}
