//! Pushes, pulls, and what is taken from them.
//!
//! A push goes out at once after a commit to every peer, one in flight to each; and regularly to the next of a shuffled
//! round, even when it is empty, so that each two meet. A batch is what the peer lacks by our table, in our log order.
//! `applied` is the sender's whole durable vector: it says what the sender has, never what it has sent.

use std::time::Duration;

use common::replication::{ConfigVersion, GossipConfig, ReplicaId, VectorTimestamp};
use common::rpc::gossip::{Message, News, Outcome, Reply};

use super::{AGAIN_AFTER, ANSWER_WITHIN, Core, DIFFER, Fault, SendTicket, Waiter};

/// A peer, as far as talking with it goes.
#[derive(Clone, Debug, Default)]
pub(super) struct Peer {
    /// Something for it is new.
    pub(super) fresh: bool,
    /// It lacks our members.
    attach: bool,
    pushing: Option<SendTicket>,
    pulling: Option<SendTicket>,
    /// The last pull that it has answered, or that failed.
    answered: u64,
    failed: u64,
    /// The pull that is answered once this is applied.
    pulled: Option<(u64, VectorTimestamp)>,
    /// Not before then, after a failure.
    pull_again_at: Option<common::clock::Moment>,
}

impl Peer {
    /// One that nothing is known of: the first push, which is empty, will tell.
    pub(super) fn new() -> Self {
        Self { fresh: true, ..Self::default() }
    }
}

/// What was sent, for when its reply comes.
#[derive(Clone, Copy, Debug)]
pub(super) enum Sent {
    Recall(ReplicaId),
    Push(ReplicaId),
    Pull(ReplicaId, u64),
    Join(ReplicaId),
    Chunk(ReplicaId),
}

/// What waits for newer members to be installed.
#[derive(Clone, Debug)]
pub(super) enum Held {
    Heard(Waiter, Message),
    Pulled(ReplicaId, u64, ConfigVersion, News),
}

/// More than the messages that are under way to one replica.
const HELD_MAX: usize = 64;

impl Core {
    /// A peer says something.
    pub(super) fn hear(&mut self, waiter: Waiter, message: Message) {
        match message {
            Message::Recall { from } => self.recalled_by(waiter, from),
            Message::Join { from, was, .. } => self.asked_in(waiter, from, was),
            Message::Chunk { from, offset } => self.give_piece(waiter, from, offset),
            Message::Push { attached: Some(next), from, members, news }
                if next.version > self.members.version && self.gossips() =>
            {
                self.adopt(next);
                self.hold(waiter, Message::Push { from, members, attached: None, news });
            }
            // Half of what comes would be judged by the old members, and half by the new ones.
            message if self.membership.adopting().is_some() => self.hold(waiter, message),
            Message::Push { from, members, news, .. } => self.hear_push(waiter, from, members, &news),
            Message::Pull { from, members, have } => {
                let reply = match self.gate(from, members) {
                    Some(outcome) => Reply::Refused { outcome },
                    None => Reply::News {
                        members: self.members.version,
                        newer: self.newer_than(members),
                        news: self.news(Some(&have)),
                    },
                };
                self.reply(waiter, reply);
            }
        }
    }

    fn hold(&mut self, waiter: Waiter, message: Message) {
        if self.held.len() < HELD_MAX {
            self.held.push(Held::Heard(waiter, message));
        } else {
            self.reply(waiter, Reply::Refused { outcome: Outcome::Offline });
        }
    }

    /// Newer members are installed: what waited for that is heard now.
    pub(super) fn hear_held(&mut self) {
        for held in std::mem::take(&mut self.held) {
            match held {
                Held::Heard(waiter, message) => self.hear(waiter, message),
                Held::Pulled(from, pull, members, news) => self.pulled(from, pull, members, None, news),
            }
        }
    }

    /// Why nothing is taken from this peer, if so.
    fn gate(&self, from: ReplicaId, members: ConfigVersion) -> Option<Outcome> {
        if !self.gossips() {
            return Some(Outcome::Offline);
        }
        if members > self.members.version && !self.planted(Fault::NoVersionHold) {
            return Some(Outcome::NeedMembers);
        }
        let gone = &self.members;
        let taken = gone.active.contains(&from)
            || (gone.leaving.contains(&from) && self.planted(Fault::TakeFromLeaving))
            || (gone.retired.contains_key(&from) && self.planted(Fault::TakeFromRetired));
        (!taken).then_some(Outcome::Retired)
    }

    fn newer_than(&self, members: ConfigVersion) -> Option<GossipConfig> {
        (members < self.members.version).then(|| self.members.clone())
    }

    fn hear_push(&mut self, waiter: Waiter, from: ReplicaId, members: ConfigVersion, news: &News) {
        if let Some(outcome) = self.gate(from, members) {
            return self.acknowledge_as(waiter, members, outcome);
        }
        match self.take_news(from, members, news) {
            Outcome::Taken => {
                self.unacknowledged.push((waiter, members, self.place));
                self.acknowledge();
            }
            outcome => self.acknowledge_as(waiter, members, outcome),
        }
    }

    /// Acknowledges the pushes of which all that was taken is on the disk.
    pub(super) fn acknowledge(&mut self) {
        let early = self.planted(Fault::AnnounceUndurable);
        let reached = if early { self.place } else { self.reached };
        for (waiter, theirs, place) in std::mem::take(&mut self.unacknowledged) {
            if place <= reached {
                self.acknowledge_as(waiter, theirs, Outcome::Taken);
            } else {
                self.unacknowledged.push((waiter, theirs, place));
            }
        }
    }

    fn acknowledge_as(&mut self, waiter: Waiter, theirs: ConfigVersion, outcome: Outcome) {
        let reply = Reply::Ack {
            members: self.members.version,
            newer: self.newer_than(theirs),
            applied: self.told(),
            floor: self.floor_told,
            outcome,
        };
        self.reply(waiter, reply);
    }

    /// What this replica says to have.
    fn told(&self) -> VectorTimestamp {
        match () {
            () if self.planted(Fault::AnnounceUndurable) => self.taken.clone(),
            () if self.planted(Fault::AnnounceAboveLogged) => {
                let mut told = self.applied.clone();
                told.merge(&self.hearsay);
                told.under(&self.members)
            }
            () => self.applied.clone(),
        }
    }

    /// What we have, and of it what one who has `have` lacks; of an unknown one we do not know what that is.
    fn news(&self, have: Option<&VectorTimestamp>) -> News {
        let bytes_max = self.setup.limits.batch_bytes;
        let mut records = match have {
            Some(have) => self.log.lacking(have, &self.members, bytes_max),
            None => Vec::new(),
        };
        if self.planted(Fault::ShipByOrigin) {
            let all = have.map(|have| self.log.lacking(have, &self.members, usize::MAX));
            records = all.unwrap_or_default();
            records.sort_by_key(|record| (record.origin, record.counter));
            records.truncate(2);
        }
        if self.planted(Fault::ShipBeforeFsync) && have.is_some() {
            let saving = self.saving.iter().flat_map(|(_, batch)| &batch.records);
            records.extend(saving.chain(&self.unsaved.records).map(|(_, record)| record.clone()));
        }
        News {
            records,
            applied: self.told(),
            truncated: self.log.truncated().clone(),
            floor: self.floor_told,
            digest: self.value.digest(),
        }
    }

    /// Takes in what a peer has sent: in its order, each that is its origin's next and whose `prev` is there.
    fn take_news(&mut self, from: ReplicaId, members: ConfigVersion, news: &News) -> Outcome {
        if !self.taken.covers_entries(&news.truncated, &self.members) && !self.planted(Fault::NoGapRule) {
            self.alarm(format!("G6: {from:?} has no longer what is lacking here: one disk is an old copy"));
            self.rejoin();
            return Outcome::Gap;
        }
        if news.applied.get(self.me()) > self.taken.get(self.me()) {
            self.alarm(format!("{from:?} has more of this replica's updates than it itself: an old disk"));
            self.rejoin();
            return Outcome::Gap;
        }
        for record in &news.records {
            let (origin, have) = (record.origin, self.taken.get(record.origin));
            if !self.members.active.contains(&origin) && !self.members.leaving.contains(&origin) {
                continue;
            }
            if record.counter <= have {
                let ours = self.log.get(origin, record.counter);
                if ours.is_some_and(|ours| ours.id != record.id) {
                    self.alarm(format!("{origin:?} has used number {} twice: an old disk", record.counter));
                    return Outcome::Retired;
                }
                continue;
            }
            let old = record.id.time() < self.requests.settled;
            if old && self.requests.get(record.id).is_none() {
                self.alarm(format!("G12: {from:?} sends update {}, which is settled here", record.id));
                return Outcome::Retired;
            }
            let next = record.counter == have + 1 || self.planted(Fault::TakeAnyCounter);
            if next && (self.taken.covers(&record.prev, &self.members) || self.planted(Fault::IgnorePrev)) {
                self.stage(record.clone());
            }
        }
        self.hearsay.merge(&news.applied);
        self.table.heard(from, members, &news.applied.under(&self.members), news.floor);
        if news.applied == self.applied && news.digest != self.value.digest() {
            let (ours, theirs) = (&self.applied, &news.applied);
            self.alarm(format!("{DIFFER}: {from:?} at {theirs}, this one at {ours}"));
        }
        Outcome::Taken
    }

    /// A reply came, or none will.
    pub(super) fn peer_replied(&mut self, ticket: SendTicket, reply: Option<Reply>) {
        let Some(sent) = self.sent.remove(&ticket) else { return };
        match sent {
            Sent::Recall(from) => self.recalled(from, reply),
            Sent::Join(from) => self.welcomed(from, reply.as_ref()),
            Sent::Chunk(from) => self.piece_came(from, reply),
            Sent::Push(to) => {
                if let Some(peer) = self.peers.get_mut(&to) {
                    peer.pushing = None;
                }
                match reply {
                    Some(Reply::Ack { members, newer, applied, floor, outcome }) => {
                        self.acknowledged(to, members, newer, &applied, floor, outcome);
                    }
                    _ => self.told_to_wait(to, reply.as_ref()),
                }
            }
            Sent::Pull(from, pull) => {
                if let Some(Reply::News { members, newer, news }) = reply {
                    return self.pulled(from, pull, members, newer, news);
                }
                self.told_to_wait(from, reply.as_ref());
                self.pull_failed(from, pull);
            }
        }
    }

    fn told_to_wait(&mut self, by: ReplicaId, reply: Option<&Reply>) {
        match reply {
            Some(Reply::Refused { outcome: Outcome::NeedMembers }) => self.attach_members(by),
            // Who is nowhere may be out by now, and so may we: nobody whom we know could tell.
            Some(Reply::Refused { outcome: Outcome::Retired }) | None => self.refresh_members(),
            Some(_) => {}
        }
    }

    fn attach_members(&mut self, to: ReplicaId) {
        if let Some(peer) = self.peers.get_mut(&to) {
            (peer.attach, peer.fresh) = (true, true);
        }
    }

    fn acknowledged(
        &mut self,
        by: ReplicaId,
        members: ConfigVersion,
        newer: Option<GossipConfig>,
        applied: &VectorTimestamp,
        floor: common::clock::Timestamp,
        outcome: Outcome,
    ) {
        let held = members > self.members.version && !self.planted(Fault::NoVersionHold);
        if let Some(newer) = newer {
            self.adopt(newer);
        }
        match outcome {
            Outcome::NeedMembers => return self.attach_members(by),
            Outcome::Retired => return self.refresh_members(),
            Outcome::Offline => return,
            Outcome::Taken | Outcome::Gap => {}
        }
        if held || !self.members.active.contains(&by) {
            return;
        }
        let news = self.table.heard(by, members, &applied.under(&self.members), floor);
        self.hearsay.merge(applied);
        // More than one batch holds.
        let lacks = !applied.covers_entries(&self.applied, &self.members);
        if let Some(peer) = self.peers.get_mut(&by) {
            peer.fresh |= news && lacks;
        }
    }

    fn pulled(
        &mut self,
        from: ReplicaId,
        pull: u64,
        members: ConfigVersion,
        newer: Option<GossipConfig>,
        news: News,
    ) {
        if let Some(newer) = newer {
            self.adopt(newer);
        }
        if self.membership.adopting().is_some() {
            if self.held.len() < HELD_MAX {
                return self.held.push(Held::Pulled(from, pull, members, news));
            }
            return self.pull_failed(from, pull);
        }
        if self.gate(from, members).is_some() {
            return self.pull_failed(from, pull);
        }
        let (before, theirs) = (self.place, news.applied.clone());
        if self.take_news(from, members, &news) != Outcome::Taken {
            return self.pull_failed(from, pull);
        }
        let all = self.taken.covers_entries(&theirs, &self.members);
        let Some(peer) = self.peers.get_mut(&from) else { return };
        peer.pulling = None;
        match () {
            () if all => peer.pulled = Some((pull, theirs)),
            // There is more; the next pull asks for it.
            () if self.place > before => {}
            () => peer.answered = peer.answered.max(pull),
        }
    }

    fn pull_failed(&mut self, from: ReplicaId, pull: u64) {
        let again_at = self.now.at + AGAIN_AFTER;
        if let Some(peer) = self.peers.get_mut(&from) {
            peer.pulling = None;
            peer.failed = peer.failed.max(pull);
            peer.pull_again_at = Some(again_at);
        }
    }

    /// Whether all peers have answered a pull that was begun after so many, and what they had is applied.
    pub(super) fn all_answered_after(&mut self, pulls: u64) -> bool {
        for peer in self.peers.values_mut() {
            if let Some((pull, theirs)) = &peer.pulled
                && self.applied.covers_entries(theirs, &self.members)
            {
                peer.answered = peer.answered.max(*pull);
                peer.pulled = None;
            }
        }
        self.peers.values().all(|peer| peer.answered > pulls)
    }

    /// The same, but for those who could not be reached.
    pub(super) fn all_reached_after(&mut self, pulls: u64) -> bool {
        self.all_answered_after(pulls)
            || self.peers.values().all(|peer| peer.answered > pulls || peer.failed > pulls)
    }

    /// One pull to each peer serves all calls that wait.
    pub(super) fn pull_for_waiting(&mut self) {
        let Some(after) = self.calls.wants_pull_after() else { return };
        self.pull_after(after);
    }

    pub(super) fn pull_after(&mut self, after: u64) {
        if !self.gossips() {
            return;
        }
        let now = self.now.at;
        let due = |peer: &Peer| {
            let again = peer.pull_again_at.is_none_or(|at| at <= now);
            let asked = peer.pulled.as_ref().is_some_and(|(pull, _)| *pull > after);
            peer.pulling.is_none() && peer.answered <= after && !asked && again
        };
        let due: Vec<_> = self.peers.iter().filter(|(_, peer)| due(peer)).map(|(id, _)| *id).collect();
        for to in due {
            self.pulls += 1;
            let (pull, from, members) = (self.pulls, self.me(), self.members.version);
            let have = self.taken.clone();
            self.send(to, Sent::Pull(to, pull), Message::Pull { from, members, have }, ANSWER_WITHIN);
            let ticket = SendTicket(self.tickets);
            if let Some(peer) = self.peers.get_mut(&to) {
                peer.pulling = Some(ticket);
            }
        }
    }

    /// From time to time, the next peer is told something even when nothing is new.
    pub(super) fn go_round(&mut self) {
        if self.now.at < self.round_at {
            return;
        }
        let every = self.setup.limits.gossip_every;
        // More or less, so that members do not fall into step.
        let (parts, fifth) = (u32::try_from(self.chance.below(401)).unwrap_or(0), every / 5);
        self.round_at = self.now.at + every.saturating_sub(fifth) + fifth * parts / 200;
        if !self.gossips() {
            return;
        }
        if self.round.is_empty() {
            self.round = self.peers.keys().copied().collect();
            self.chance.shuffle(&mut self.round);
        }
        if let Some(next) = self.round.pop()
            && let Some(peer) = self.peers.get_mut(&next)
        {
            peer.fresh = true;
        }
        self.raise_floor();
        self.truncate(self.checkpoints.upto());
    }

    /// Sends to every peer that something is new for.
    pub(super) fn push(&mut self) {
        if !self.gossips() {
            return;
        }
        let due = |peer: &Peer| peer.fresh && peer.pushing.is_none();
        let due: Vec<_> = self.peers.iter().filter(|(_, peer)| due(peer)).map(|(id, _)| *id).collect();
        for to in due {
            let heard = self.table.get(to).map(|heard| heard.applied.clone());
            let news = self.news(heard.as_ref());
            if self.planted(Fault::TableAtSend) && heard.is_some() {
                let mut shipped = heard.unwrap_or_default();
                news.records.iter().for_each(|record| shipped.raise(record.origin, record.counter));
                self.table.heard(to, ConfigVersion(0), &shipped, common::clock::Timestamp::default());
            }
            let Some(peer) = self.peers.get_mut(&to) else { continue };
            peer.fresh = false;
            let attached = std::mem::take(&mut peer.attach).then(|| self.members.clone());
            let message = Message::Push { from: self.me(), members: self.members.version, attached, news };
            self.send(to, Sent::Push(to), message, PUSH_WITHIN);
            let ticket = SendTicket(self.tickets);
            if let Some(peer) = self.peers.get_mut(&to) {
                peer.pushing = Some(ticket);
            }
        }
    }
}

/// How long a peer has to take a push in; two in a row that it has not, and the shell dials anew.
const PUSH_WITHIN: Duration = ANSWER_WITHIN;
