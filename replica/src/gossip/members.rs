//! Who is in the group. The name server keeps the record; every member keeps the newest it has seen on its disk, acts
//! by it from then on, and passes it on. One id moves per change: it joins, it leaves, and it is retired once every
//! active member has told, under the same members, that it has as much of it: then nobody can get more.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use common::clock::Moment;
use common::replication::{BootId, GossipConfig, Member, Proposer, ReplicaId};
use common::rpc::gossip::{Outcome, Reply};

use super::message::Peer;
use super::{AGAIN_AFTER, Core, Effect, Fault, Standing, Waiter};

/// What a member does about the others.
#[derive(Clone, Debug)]
pub(super) struct Membership {
    /// When to ask the name server.
    read_at: Option<Moment>,
    last_read: Option<Moment>,
    /// Whether it has said anything since our start.
    heard: bool,
    /// Since when it does not know the group.
    estranged: Option<Moment>,
    /// A person has said that this disk counts as it is, though it is an old copy.
    accepted: bool,
    /// Newer members, on their way to the disk.
    adopting: Option<GossipConfig>,
    /// When the last change was proposed.
    proposed_at: Option<Moment>,
    /// Whom we were asked to move out.
    wishes: BTreeSet<ReplicaId>,
    /// Who wants in.
    joining: BTreeMap<ReplicaId, Waiter>,
    /// Copies of our disk, until when they are kept.
    copies: BTreeMap<ReplicaId, (Bytes, Moment)>,
}

/// Between two questions that calls cause. The shell waits no longer for an answer.
const REFRESH_EVERY: Duration = Duration::from_secs(1);
/// A copy that was not fetched by then is thrown away.
const COPY_KEPT: Duration = Duration::from_mins(1);
/// Copies kept at the same time: each is a whole disk in memory.
const COPIES_MAX: usize = 2;
/// One piece of a copy.
const PIECE_BYTES: usize = 1024 * 1024;

impl Membership {
    pub(super) fn new(now: Moment) -> Self {
        Self {
            read_at: Some(now),
            last_read: None,
            heard: false,
            estranged: None,
            accepted: false,
            adopting: None,
            proposed_at: None,
            wishes: BTreeSet::new(),
            joining: BTreeMap::new(),
            copies: BTreeMap::new(),
        }
    }

    pub(super) fn adopting(&self) -> Option<&GossipConfig> {
        self.adopting.as_ref()
    }

    pub(super) fn is_estranged(&self) -> bool {
        self.estranged.is_some()
    }

    pub(super) fn name_server_heard(&self) -> bool {
        self.heard
    }

    pub(super) fn wake_at(&self) -> Option<Moment> {
        self.read_at
    }

    /// What was to be adopted is in the copy of another's disk, or older.
    pub(super) fn forget_adoption(&mut self) {
        self.adopting = None;
    }

    pub(super) fn wish_out(&mut self, id: ReplicaId) {
        self.wishes.insert(id);
    }

    pub(super) fn read_at(&mut self, at: Moment) {
        self.read_at = Some(self.read_at.map_or(at, |earlier| earlier.min(at)));
    }
}

impl Core {
    /// Asks the name server, when that is due.
    pub(super) fn read_members(&mut self) {
        if self.membership.read_at.is_some_and(|at| at <= self.now.at) {
            self.membership.read_at = None;
            self.membership.last_read = Some(self.now.at);
            self.effects.push(Effect::ReadMembers);
        }
    }

    /// Somebody knows more than we do.
    pub(super) fn refresh_members(&mut self) {
        let after_last = self.membership.last_read.map(|last| last + REFRESH_EVERY);
        self.membership.read_at(after_last.map_or(self.now.at, |at| at.max(self.now.at)));
    }

    /// The name server did not answer; what was proposed may stand or not.
    pub(super) fn members_unread(&mut self) {
        self.membership.heard = true;
        if !self.serves() {
            self.membership.read_at(self.now.at + AGAIN_AFTER);
        }
    }

    /// The name server has answered.
    pub(super) fn members_read(&mut self, members: Option<GossipConfig>) {
        self.membership.heard = true;
        self.membership.proposed_at = None;
        match (members, &self.standing) {
            (members, Standing::Blank(_)) => self.blank_read(members),
            (None, _) => {
                // May be an answer of before the group was there; but none is waited for so long.
                let since = *self.membership.estranged.get_or_insert(self.now.at);
                if self.now.at.since(since) > REFRESH_EVERY {
                    self.alarm("the name server does not know the group".into());
                }
                self.membership.read_at(self.now.at + REFRESH_EVERY);
            }
            (Some(members), _) => {
                self.membership.estranged = None;
                self.adopt(members);
            }
        }
    }

    /// Puts newer members on the disk; they are installed once they are there.
    pub(super) fn adopt(&mut self, next: GossipConfig) {
        let newest = self.membership.adopting.as_ref().map_or(self.members.version, |config| config.version);
        let ours = next.cluster == self.setup.cluster && next.group == self.setup.group;
        let waits = self.is_stuck() && !self.membership.accepted;
        if !ours || next.version <= newest || waits {
            return;
        }
        // Not once it is on the disk: who is retired is in no vector there, and a start would not see what is missing.
        if let Some((id, last, have)) = self.lacks_of_retired(&next) {
            self.alarm(format!("G12: {id:?} was retired with {last} updates, {have} of them are here"));
            return self.rejoin_among(&next);
        }
        self.unsaved.members = Some(next.clone());
        self.membership.adopting = Some(next);
    }

    /// One that these members newly retire, with how many updates, and how many of them are here, if that differs: then
    /// this disk is an old copy, since it told that it had all.
    fn lacks_of_retired(&self, next: &GossipConfig) -> Option<(ReplicaId, u64, u64)> {
        let judged = self.members.version.0 > 0 && !self.membership.accepted;
        if !judged || !next.active.contains(&self.me()) {
            return None;
        }
        let newly = next.retired.iter().filter(|(id, _)| !self.members.retired.contains_key(*id));
        let mut all = newly.map(|(id, last)| (*id, *last, self.taken.get(*id)));
        all.find(|(_, last, have)| have != last)
    }

    /// Acts by these members from now on.
    pub(super) fn install(&mut self, next: GossipConfig) {
        let newest = self.members.version.max(next.version);
        self.install_vectors(next);
        self.membership.adopting.take_if(|adopting| adopting.version <= newest);
        let me = self.me();
        if !self.members.active.contains(&me) {
            return self.moved_out();
        }
        let new = self.meet_peers();
        self.membership.wishes.retain(|id| self.members.active.contains(id));
        match self.standing {
            // Its own group, just created.
            Standing::Blank(_) => self.standing = Standing::Serving,
            Standing::Stuck => self.catch_up(),
            _ => {}
        }
        self.ask_recall(new);
        for id in self.membership.joining.keys().copied().collect::<Vec<_>>() {
            if self.members.knows(id)
                && let Some(waiter) = self.membership.joining.remove(&id)
            {
                self.asked_in(waiter, id, None);
            }
        }
        self.hear_held();
    }

    /// Talks with the active members, and with nobody else; returns those who are new.
    pub(super) fn meet_peers(&mut self) -> Vec<ReplicaId> {
        let me = self.me();
        self.peers.retain(|id, _| self.members.active.contains(id));
        let new: Vec<_> = self.members.others(me).filter(|id| !self.peers.contains_key(id)).collect();
        self.peers.extend(new.iter().map(|id| (*id, Peer::new())));
        self.round.clear();
        new
    }

    /// Whoever is retired is left out of all vectors.
    pub(super) fn install_vectors(&mut self, members: GossipConfig) {
        self.members = members;
        let members = &self.members;
        self.applied = self.applied.under(members);
        self.taken.merge(&self.applied);
        self.taken = self.taken.under(members);
        self.hearsay = self.hearsay.under(members);
        self.log.under(members);
        self.table.under(members);
    }

    fn moved_out(&mut self) {
        self.refuse_all();
        let wished = self.leaves();
        self.end(if wished { Effect::Stopped } else { Effect::FormatAnew });
    }

    /// This disk is an old copy of itself: nothing that others believe of it can be relied on.
    pub(super) fn rejoin(&mut self) {
        self.rejoin_among(&self.members.clone());
    }

    fn rejoin_among(&mut self, members: &GossipConfig) {
        self.refuse_all();
        if members.others(self.me()).next().is_none() {
            self.standing = Standing::Stuck;
            return self.alarm(self.trouble().to_owned());
        }
        self.end(Effect::FormatAnew);
    }

    /// A person says that this disk counts as it is: nobody is left who knows better.
    pub(super) fn accept(&mut self) {
        if self.is_stuck() {
            self.membership.accepted = true;
            self.membership.read_at(self.now.at);
        }
    }

    /// Whether a person wants this replica out.
    pub(super) fn leaves(&self) -> bool {
        self.membership.wishes.contains(&self.me())
    }

    /// A person wants a member out.
    pub(super) fn remove(&mut self, id: ReplicaId) {
        if self.members.active.contains(&id) {
            self.membership.wish_out(id);
        }
    }

    /// Proposes the next change that this member wants, if any.
    pub(super) fn propose(&mut self) {
        let recent = |at: Moment| self.now.at.since(at) < REFRESH_EVERY / 2;
        if !self.serves()
            || self.membership.adopting.is_some()
            || self.membership.proposed_at.is_some_and(recent)
        {
            return;
        }
        let by = Proposer::Member(Member { id: self.me(), boot: BootId::NOBODY });
        if let Some(silent) = self.holds_back() {
            self.alarm(format!("{silent} keeps too many updates from being forgotten: it is moved out"));
            self.membership.wish_out(silent);
        }
        let wanted = [self.wants_in(), self.wants_out(), self.retirable()];
        let mut allowed = wanted.into_iter().flatten().filter(|next| self.members.allows(by, next).is_ok());
        if let Some(next) = allowed.next() {
            self.membership.proposed_at = Some(self.now.at);
            self.effects.push(Effect::Cas { next });
        }
    }

    /// A member for which far too much is kept, while more than half of the active ones follow: a minority that is cut
    /// off moves nobody out.
    fn holds_back(&self) -> Option<ReplicaId> {
        /// Who follows has this much of the log.
        const FOLLOWED_PERCENT: usize = 75;
        let limits = &self.setup.limits;
        if self.log.len() < limits.held_back_records && self.log.bytes() < limits.held_back_bytes {
            return None;
        }
        let (first, late) = (self.log.at_percent(0)?, self.log.at_percent(FOLLOWED_PERCENT)?);
        let has = |id: &ReplicaId, record: &common::replication::Update| {
            self.table.has(*id, record.origin, record.counter)
        };
        let following = 1 + self.members.others(self.me()).filter(|id| has(id, late)).count();
        let silent = self.members.others(self.me()).find(|id| !has(id, first))?;
        (following * 2 > self.members.active.len()).then_some(silent)
    }

    fn wants_in(&self) -> Option<GossipConfig> {
        let newcomer = self.membership.joining.keys().find(|id| !self.members.knows(**id))?;
        Some(self.members.joined_by(*newcomer))
    }

    fn wants_out(&self) -> Option<GossipConfig> {
        let may_go = |id: &&ReplicaId| {
            // What only the leaver has would be lost.
            let own = self.taken.get(**id);
            **id != self.me() || self.members.others(self.me()).any(|other| self.table.has(other, **id, own))
        };
        let out = self.membership.wishes.iter().find(may_go)?;
        (self.members.active.len() > 1).then(|| self.members.left_by(*out))
    }

    /// One who is leaving, and of whom all active members have the same, and say so under the present members.
    fn retirable(&self) -> Option<GossipConfig> {
        self.members.leaving.iter().find_map(|id| Some(self.members.retiring(*id, self.last_of(*id)?)))
    }

    fn last_of(&self, leaver: ReplicaId) -> Option<u64> {
        let mut last = self.applied.get(leaver);
        for other in self.members.others(self.me()) {
            let Some(heard) = self.table.get(other) else {
                if self.planted(Fault::FinalFromReachable) {
                    continue;
                }
                return None;
            };
            let told = heard.applied.get(leaver);
            if self.planted(Fault::FinalIsMaximum) {
                last = last.max(told);
                continue;
            }
            let now = heard.members == self.members.version || self.planted(Fault::FinalAnyVersion);
            if told != last || !now {
                return None;
            }
        }
        Some(last)
    }

    /// A newcomer wants in, and a copy of this disk.
    pub(super) fn asked_in(&mut self, waiter: Waiter, from: ReplicaId, was: Option<ReplicaId>) {
        let refused = |outcome| Reply::Refused { outcome };
        if !self.gossips() || !self.serves() {
            return self.reply(waiter, refused(Outcome::Offline));
        }
        if let Some(was) = was.filter(|was| self.members.active.contains(was) && *was != self.me()) {
            self.membership.wish_out(was);
        }
        if self.members.active.contains(&from) {
            return self.welcome(waiter, from);
        }
        if self.members.knows(from) {
            return self.reply(waiter, refused(Outcome::Retired));
        }
        if self.planted(Fault::JoinInTwoSteps) {
            self.make_copy(from);
        }
        if let Some(before) = self.membership.joining.insert(from, waiter) {
            self.reply(before, refused(Outcome::Offline));
        }
    }

    /// The newcomer is in, as far as this member's disk says: from this step on nothing is thrown away that it lacks.
    fn welcome(&mut self, waiter: Waiter, from: ReplicaId) {
        self.make_copy(from);
        let reply = match self.membership.copies.get(&from) {
            Some((copy, _)) => Reply::Welcome { length: copy.len() as u64, crc: crc32c::crc32c(copy) },
            None => Reply::Refused { outcome: Outcome::Offline },
        };
        self.reply(waiter, reply);
    }

    fn make_copy(&mut self, newcomer: ReplicaId) {
        let (now, kept) = (self.now.at, &mut self.membership.copies);
        // Whoever was heard has its copy; whoever was moved out needs none.
        kept.retain(|id, (_, until)| {
            *until > now && self.members.active.contains(id) && self.table.get(*id).is_none()
        });
        if kept.contains_key(&newcomer) {
            return;
        }
        if kept.len() >= COPIES_MAX
            && let Some(oldest) = kept.iter().min_by_key(|(_, (_, until))| *until).map(|(id, _)| *id)
        {
            // It asks again.
            kept.remove(&oldest);
        }
        let mut copied = self.copy();
        if !copied.members.active.contains(&newcomer) {
            copied.members = copied.members.joined_by(newcomer);
        }
        self.membership.copies.insert(newcomer, (copied.write(), now + COPY_KEPT));
    }

    /// A newcomer fetches its copy.
    pub(super) fn give_piece(&mut self, waiter: Waiter, to: ReplicaId, offset: u64) {
        let begin = usize::try_from(offset).unwrap_or(usize::MAX);
        let copy = self.membership.copies.get(&to).filter(|(copy, _)| begin < copy.len());
        let reply = match copy.filter(|_| self.gossips()) {
            Some((copy, _)) => {
                let bytes = copy.slice(begin..copy.len().min(begin.saturating_add(PIECE_BYTES)));
                let crc = crc32c::crc32c(&bytes);
                Reply::Piece { bytes, crc }
            }
            None => Reply::Refused { outcome: Outcome::Offline },
        };
        self.reply(waiter, reply);
    }
}
