//! What must always hold, judged from outside. The numbers are those of the invariants in the engine's specification.

use common::replication::{GossipConfig, VectorTimestamp};
use common::rpc::gossip::Reply;
use replica::gossip::{Answer, Done, Refused, Waiter, WriteBatch};

use super::disk::Disk;
use super::oracle::{Expected, Set};
use super::world::{Call, World};

impl World {
    /// A core has begun with what is on the disk.
    pub(super) fn begun(&mut self, n: usize) {
        let node = &mut self.nodes[n];
        let Some(core) = &node.core else { return };
        let within = self.oracle.within(core.applied(), core.members());
        node.expected = self.oracle.after(Expected::default(), within);
        (node.applied, node.version) = (core.applied().clone(), core.members().version);
        node.settled = core.floors().1;
        let (digest, out) = (core.digest().0, !core.members().active.contains(&node.id));
        if digest != node.expected.digest() && !out {
            self.breach(format!("G3, G7: r{n} starts with another value than its updates make"));
        }
    }

    /// A core has taken something in: where is it now?
    pub(super) fn stepped(&mut self, n: usize) {
        self.judge_table(n);
        let node = &self.nodes[n];
        let Some(core) = &node.core else { return };
        if *core.applied() != node.applied || core.members().version != node.version {
            self.judge_applied(n);
        }
        let node = &mut self.nodes[n];
        let Some(core) = &node.core else { return };
        node.settled = core.floors().1;
        if core.serves() && !node.served {
            node.served = true;
            if node.convicted {
                return self.breach(format!("G1: r{n} serves on an old disk, and was told so"));
            }
            let node = &self.nodes[n];
            let (holds, held) = (&node.disk.holds, &node.held);
            let less = held.seen.iter().any(|(id, count)| holds.get(*id) < *count);
            if less || node.disk.floor < node.floored {
                // Nobody who could be asked has noticed.
                self.undone = true;
            }
        }
    }

    /// G1, G2, G3, G7, G12: what is applied now.
    fn judge_applied(&mut self, n: usize) {
        let node = &self.nodes[n];
        let Some(core) = &node.core else { return };
        let (members, applied) = (core.members(), core.applied().clone());
        if core.has_ended() || core.is_stuck() {
            // It knows that it is out, or that its disk is an old copy, and answers nobody.
            return;
        }
        let before = node.applied.seen.iter();
        let back = before
            .into_iter()
            .find(|(id, count)| applied.get(**id) < **count && !members.retired.contains_key(*id));
        if let Some((id, count)) = back {
            let how = format!("G1: r{n} has {} updates of {id:?}, after {count}", applied.get(*id));
            return self.breach(how);
        }
        let ahead = applied.seen.iter().find(|(id, count)| node.disk.holds.get(**id) < **count);
        if let Some((id, count)) = ahead {
            let how = format!("r{n} has applied {count} of {id:?}, which are not on its disk");
            return self.breach(how);
        }
        let within = self.oracle.within(&applied, members);
        if !(node.expected.updates & !within & !self.oracle.lost).is_empty() {
            return self.breach(format!("G1: r{n} has lost an update"));
        }
        let new = within & !node.expected.updates;
        if let Some(old) = self.oracle.older(new, node.settled) {
            return self.breach(format!("G12: r{n} applies update {old}, which was settled"));
        }
        for number in new.iter() {
            let missing = self.oracle.sent[number].causes & !within & !self.oracle.lost;
            if let Some(cause) = missing.iter().next() {
                return self.breach(format!("G2: r{n} applies update {number} without {cause}, its cause"));
            }
        }
        let (digest, version) = (core.digest().0, members.version);
        let node = &mut self.nodes[n];
        node.expected = self.oracle.after(node.expected, within);
        (node.applied, node.version) = (applied, version);
        self.truth.entry(self.nodes[n].id).or_default().merge(&self.nodes[n].disk.holds);
        if digest != self.nodes[n].expected.digest() {
            self.breach(format!("G3, G7: r{n} has another value than its updates make"));
        }
    }

    /// G5: what a core believes of its peers.
    fn judge_table(&mut self, n: usize) {
        let Some(core) = &self.nodes[n].core else { return };
        let truth = |peer, id| self.truth.get(&peer).map_or(0, |truth: &VectorTimestamp| truth.get(id));
        let wrong = core.heard().find_map(|(peer, heard)| {
            let (id, count) = heard.applied.seen.iter().find(|(id, count)| truth(peer, **id) < **count)?;
            let have = truth(peer, *id);
            Some(format!("G5: r{n} believes that {peer:?} has {count} of {id:?}, it has {have}"))
        });
        if let Some(how) = wrong {
            self.breach(how);
        }
    }

    /// G6, G10: what goes to a disk.
    pub(super) fn judge_write(&mut self, n: usize, batch: &WriteBatch) {
        let me = self.nodes[n].id;
        for (_, record) in &batch.append {
            if let Err(why) = self.oracle.logged(record.origin, record.counter, record.id) {
                let (origin, counter) = (record.origin, record.counter);
                if self.rolled_back {
                    self.undone = true;
                } else {
                    self.breach(format!("G10: r{n} logs number {counter} of {origin:?}: {why}"));
                }
                return;
            }
            // One who is out, and does not know it yet, serves on: what it takes in is missing until it is back.
            let last = self.record.as_ref().and_then(|members| members.retired.get(&record.origin));
            if last.is_some_and(|last| *last < record.counter)
                && let Some(number) = self.oracle.number(record.id)
            {
                self.oracle.lost.insert(number);
            }
            let mut held = VectorTimestamp::default();
            held.raise(record.origin, record.counter);
            self.truth.entry(me).or_default().merge(&held);
        }
        let Some(core) = &self.nodes[n].core else { return };
        let members = core.members();
        let lacking =
            batch.gone.iter().filter_map(|place| self.nodes[n].disk.log.get(place)).find_map(|gone| {
                let lacks = |id: &&common::replication::ReplicaId| {
                    self.place_of(**id).is_some_and(|other| {
                        let disk = &self.nodes[other].disk;
                        !disk.is_blank() && disk.holds.get(gone.origin) < gone.counter
                    })
                };
                let retired = members.retired.contains_key(&gone.origin);
                let other = members.active.iter().find(lacks).filter(|_| !retired && !self.rolled_back);
                other.map(|other| {
                    format!("G6: r{n} throws away {} of {:?}, {other:?} lacks it", gone.counter, gone.origin)
                })
            });
        if let Some(how) = lacking {
            self.breach(how);
        }
    }

    /// A disk is gone, or has gone back to this.
    pub(super) fn disk_lost(&mut self, n: usize, back_to: Option<&Disk>) {
        for number in self.only_before(n, back_to).iter() {
            self.oracle.sent[number].copies_lost += 1;
        }
    }

    /// A disk of a member that a person has moved out is given up; this is what is kept of it. As good as lost, but by
    /// nobody's fault: with the last other disk goes what was acknowledged while that one counted.
    pub(super) fn disk_given_up(&mut self, n: usize, kept: &Disk) {
        let id = self.nodes[n].id;
        if self.record.as_ref().is_some_and(|record| record.knows(id) && !record.active.contains(&id)) {
            for number in self.only_before(n, Some(kept)).iter() {
                self.oracle.sent[number].copies_given_up += 1;
            }
        }
    }

    /// What is on a disk and will not be on what comes in its place.
    fn only_before(&self, n: usize, after: Option<&Disk>) -> Set {
        let kept = after.map(|disk| self.held_by(disk)).unwrap_or_default();
        self.held_by(&self.nodes[n].disk) & !kept
    }

    /// What is on a disk, the log of a former identity included.
    fn held_by(&self, disk: &Disk) -> Set {
        let within = disk.members.as_ref().map(|members| self.oracle.within(&disk.holds, members));
        let mut held = within.unwrap_or_default();
        for record in disk.old.iter().flat_map(|old| &old.log) {
            held.insert(self.oracle.number(record.id).expect("it was logged"));
        }
        held
    }

    /// The record has changed by the rules. G12: every active member has all of whoever is retired.
    pub(super) fn record_changed(&mut self, before: Option<&GossipConfig>) {
        let Some(record) = self.record.clone() else { return };
        let new = |id: &common::replication::ReplicaId| {
            before.is_some_and(|before| !before.retired.contains_key(id))
        };
        for (id, last) in record.retired.iter().filter(|(id, _)| new(id)) {
            self.counts.retired += 1;
            for member in &record.active {
                let Some(place) = self.place_of(*member) else { continue };
                let disk = &self.nodes[place].disk;
                let have = disk.holds.get(*id);
                if !disk.is_blank() && have != *last && !self.rolled_back {
                    let how = format!("G12: {id:?} is retired with {last} updates, r{place} has {have}");
                    return self.breach(how);
                }
            }
            let all = self.oracle.of(*id, self.oracle.count(*id));
            self.oracle.lost |= all & !self.oracle.of(*id, *last);
        }
    }

    /// Whether a reply tells this replica that its disk is an old copy.
    pub(super) fn proves_old(&self, n: usize, reply: &Reply) -> bool {
        let Reply::Recalled { members, applied, of_you, settled } = reply else { return false };
        let node = &self.nodes[n];
        let Some(core) = &node.core else { return false };
        let newest = if members.version > core.members().version { members } else { core.members() };
        let told = |(told, floor): &(VectorTimestamp, _)| {
            !node.disk.holds.covers_entries(told, newest) || *floor > node.disk.floor
        };
        applied.get(node.id) > node.disk.holds.get(node.id)
            || of_you.as_ref().is_some_and(told)
            || *settled > node.disk.floor
    }

    /// What a person is told is a breach here, but for what an old disk looks like.
    pub(super) fn judge_alarm(&mut self, n: usize, why: &str) {
        // A person should know; nothing is wrong.
        if why.contains("keeps too many updates") {
            return;
        }
        let old = why.contains("old") || why.contains("G7") || why.contains("G12");
        if old && self.rolled_back {
            self.undone |= !why.contains("old disk");
            return;
        }
        self.breach(format!("r{n} calls a person: {why}"));
    }

    fn call(&mut self, n: usize, waiter: Waiter) -> Option<Call> {
        let call = usize::try_from(waiter.0).ok().and_then(|at| self.calls.get(at)).cloned();
        if call.is_none() {
            self.breach(format!("r{n} answers a call that nobody made"));
        }
        call
    }

    /// G8: an answer reflects all that its caller has seen. What it reflects, if so.
    fn judge_answer(&mut self, n: usize, call: &Call, vector: &VectorTimestamp) -> Option<Set> {
        let core = self.nodes[n].core.as_ref()?;
        if !vector.covers(&call.prev, core.members()) {
            let prev = &call.prev;
            self.breach(format!("G8: r{n} answers at {vector}, its caller has seen {prev}"));
            return None;
        }
        let within = self.oracle.within(vector, core.members());
        if let Some(missing) = (call.seen & !within & !self.oracle.lost).iter().next() {
            self.breach(format!("G8: r{n} answers without update {missing}, which its caller has seen"));
            return None;
        }
        Some(within)
    }

    /// G8, G11: what a client was told of its update.
    pub(super) fn judge_update(&mut self, n: usize, waiter: Waiter, result: Result<Done, Refused>) {
        let Some(call) = self.call(n, waiter) else { return };
        let Some(update) = call.update else {
            return self.breach(format!("r{n} answers a query with a reply"));
        };
        let done = match result {
            Ok(done) => done,
            Err(Refused::Reused) => return self.breach(format!("r{n} says that {update} is another's id")),
            Err(Refused::Expired { .. }) => {
                self.counts.expired += 1;
                return;
            }
            Err(_) => return,
        };
        let Some(within) = self.judge_answer(n, &call, &done.vector) else { return };
        if !within.has(update) {
            return self.breach(format!("G8: r{n} acknowledges update {update} and does not show it"));
        }
        let disks = self.nodes.iter().filter(|node| self.held_by(&node.disk).has(update)).count();
        let (needed, sent) = (self.plan.limits.ack_after, &self.oracle.sent[update]);
        if disks + sent.copies_lost + sent.copies_given_up < needed {
            return self.breach(format!("G11: update {update} is acknowledged and is on {disks} disks"));
        }
        self.oracle.sent[update].acknowledged = true;
        self.counts.acknowledged += 1;
        self.saw(&call, &done.vector, done.latest, within);
    }

    /// G8: what a client was shown.
    pub(super) fn judge_query(&mut self, n: usize, waiter: Waiter, result: Result<Answer, Refused>) {
        let Some(call) = self.call(n, waiter) else { return };
        let Ok(answer) = result else { return };
        if let Some(within) = self.judge_answer(n, &call, &answer.vector) {
            self.counts.queries += 1;
            self.saw(&call, &answer.vector, answer.latest, within);
        }
    }

    fn saw(
        &mut self,
        call: &Call,
        vector: &VectorTimestamp,
        latest: common::replication::RequestId,
        within: Set,
    ) {
        let person = &mut self.people[call.session];
        person.session.saw(&call.prev, vector, latest);
        person.seen |= within;
    }

    /// Whether an update that was acknowledged may be gone: with as many disks as it was promised to survive the loss
    /// of, or into the hands of a person.
    pub(super) fn may_be_gone(&self, number: usize) -> bool {
        let sent = &self.oracle.sent[number];
        let gone = sent.copies_lost + sent.copies_given_up;
        (sent.copies_lost > 0 && gone >= self.plan.limits.ack_after) || sent.stranded
    }
}
