//! Starting. With data: the others are asked what they remember of this disk, since it may be an old copy of itself.
//! Without: the group is created, or a whole disk is copied; what a former identity of this place alone had is logged
//! again, under its old ids, in the same transaction.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use common::clock::{Moment, Timestamp};
use common::replication::{GossipConfig, Kind, ReplicaId, RequestId, Update, VectorTimestamp};
use common::rpc::gossip::{Message, Outcome, Reply};

use super::checkpoint::Checkpoints;
use super::copy::Copied;
use super::message::Sent;
use super::saving::Batch;
use super::{AGAIN_AFTER, ANSWER_WITHIN, Core, Effect, Fault, Numbered, OldLog, Standing, Waiter};

/// A replica without data.
#[derive(Clone, Debug)]
pub(super) struct Newcomer {
    old: Option<OldLog>,
    /// The members, as the name server has them.
    members: Option<GossipConfig>,
    /// How many donors were tried.
    tries: usize,
    /// Not before then.
    ask_at: Option<Moment>,
    /// The copy that is being fetched: of whom, how long, its checksum, and what has come of it.
    copy: Option<(ReplicaId, u64, u32, BytesMut)>,
    /// The copy is on its way to the disk.
    installs: bool,
}

/// A donor's answer waits for the name server and its own disk.
const JOIN_WITHIN: Duration = Duration::from_secs(3);
/// Before an unknown group is looked for again.
const NO_GROUP_AGAIN: Duration = Duration::from_millis(500);

impl Newcomer {
    pub(super) fn new(old: Option<OldLog>) -> Self {
        Self { old, members: None, tries: 0, ask_at: None, copy: None, installs: false }
    }

    pub(super) fn trouble(&self) -> &'static str {
        match &self.members {
            None => "no group yet: start one replica with --first, or wait for the name server",
            Some(_) => "copying another member's disk",
        }
    }

    pub(super) fn old(&self) -> Option<&OldLog> {
        self.old.as_ref()
    }

    fn was(&self) -> Option<ReplicaId> {
        self.old.as_ref().map(|old| old.was)
    }
}

impl Core {
    fn newcomer(&mut self) -> Option<&mut Newcomer> {
        match &mut self.standing {
            Standing::Blank(newcomer) => Some(newcomer),
            _ => None,
        }
    }

    /// Does what a replica does that does not serve yet.
    pub(super) fn start(&mut self) {
        match &self.standing {
            Standing::Blank(_) => self.join(),
            // It died between learning that it was out and giving its identity up.
            Standing::Recalling { .. } if !self.members.active.contains(&self.me()) => {
                self.end(Effect::FormatAnew);
            }
            Standing::Recalling { unheard: None, .. } => {
                self.standing = match &self.standing {
                    Standing::Recalling { until, .. } => {
                        Standing::Recalling { until: *until, unheard: Some(BTreeSet::new()) }
                    }
                    _ => unreachable!("it was just matched"),
                };
                let others = self.members.others(self.me()).collect();
                self.ask_recall(others);
            }
            Standing::Recalling { until, unheard: Some(unheard) } => {
                let heard = unheard.is_empty() && self.membership.name_server_heard();
                if (heard || *until <= self.now.at) && self.membership.adopting().is_none() {
                    self.standing = Standing::Serving;
                    self.peers.values_mut().for_each(|peer| peer.fresh = true);
                }
            }
            Standing::CatchingUp { since, until } => {
                let (since, until) = (*since, *until);
                if until <= self.now.at || self.all_reached_after(since) {
                    self.standing = Standing::Serving;
                } else {
                    self.pull_after(since);
                }
            }
            Standing::Serving | Standing::Stuck | Standing::Ended => {}
        }
    }

    // --- with data ----------------------------------------------------------------------------------------------

    /// Asks these what they remember, if this replica is still asking.
    pub(super) fn ask_recall(&mut self, of: Vec<ReplicaId>) {
        let Standing::Recalling { unheard: Some(unheard), .. } = &mut self.standing else { return };
        unheard.extend(of.iter().copied());
        for to in of {
            self.send(to, Sent::Recall(to), Message::Recall { from: self.setup.me }, ANSWER_WITHIN);
        }
    }

    /// A replica that has started asks what we remember of it.
    pub(super) fn recalled_by(&mut self, waiter: Waiter, from: ReplicaId) {
        let reply = match self.standing {
            _ if self.status == super::Status::Offline => Reply::Refused { outcome: Outcome::Offline },
            Standing::Recalling { .. } | Standing::CatchingUp { .. } | Standing::Serving => Reply::Recalled {
                members: self.members.clone(),
                applied: self.applied.clone(),
                of_you: self.table.get(from).map(|heard| (heard.applied.clone(), heard.floor)),
                settled: self.requests.settled,
            },
            _ => Reply::Refused { outcome: Outcome::Offline },
        };
        self.reply(waiter, reply);
    }

    /// A peer has said what it remembers, or will not.
    pub(super) fn recalled(&mut self, by: ReplicaId, reply: Option<Reply>) {
        if let Standing::Recalling { unheard: Some(unheard), .. } = &mut self.standing {
            unheard.remove(&by);
        }
        let Some(Reply::Recalled { members, applied, of_you, settled }) = reply else { return };
        let newest = if members.version > self.members.version { &members } else { &self.members };
        let own = applied.get(self.me()) > self.applied.get(self.me());
        let more = of_you.as_ref().is_some_and(|(told, floor)| {
            !self.applied.covers_entries(told, newest) || *floor > self.floor_told
        });
        // Our own counter alone is no proof: a disk may go back in what it holds of others, and in its floor.
        let others = (more || settled > self.floor_told) && !self.planted(Fault::RollbackByOwnCounter);
        if own || others {
            return self.rejoin();
        }
        self.adopt(members);
    }

    // --- without ------------------------------------------------------------------------------------------------

    /// The name server has told a replica without data who the members are.
    pub(super) fn blank_read(&mut self, members: Option<GossipConfig>) {
        let me = self.me();
        let first = GossipConfig::first(self.setup.cluster, self.setup.group.clone(), me);
        let (again_at, may_create) = (self.now.at + NO_GROUP_AGAIN, self.setup.first);
        let Some(newcomer) = self.newcomer() else { return };
        match members {
            None => {
                newcomer.members = None;
                let creates = may_create && newcomer.old.is_none();
                self.membership.read_at(again_at);
                if creates {
                    self.effects.push(Effect::Cas { next: first });
                }
            }
            Some(members) if members == first => self.adopt(members),
            // Moved out before it had its copy.
            Some(members) if members.knows(me) && !members.active.contains(&me) => {
                self.end(Effect::FormatAnew);
            }
            Some(members) => newcomer.members = Some(members),
        }
    }

    /// Asks the next donor, when no other is asked.
    fn join(&mut self) {
        let (now, me, address) = (self.now.at, self.me(), self.setup.address);
        let Some(newcomer) = self.newcomer() else { return };
        let Some(members) = &newcomer.members else { return };
        if newcomer.installs || newcomer.ask_at.is_some_and(|at| at > now) {
            return;
        }
        let was = newcomer.was();
        let donors: Vec<_> = members.others(me).filter(|id| Some(*id) != was).collect();
        let Some(&to) = donors.get(newcomer.tries % donors.len().max(1)) else {
            newcomer.ask_at = Some(now + NO_GROUP_AGAIN);
            return self.membership.read_at(now + NO_GROUP_AGAIN);
        };
        newcomer.tries += 1;
        // Until its answer comes, or will not.
        newcomer.ask_at = Some(now + JOIN_WITHIN * 2);
        newcomer.copy = None;
        self.send(to, Sent::Join(to), Message::Join { from: me, was, address }, JOIN_WITHIN);
    }

    fn ask_again(&mut self) {
        let now = self.now.at;
        if let Some(newcomer) = self.newcomer() {
            newcomer.ask_at = Some(now + AGAIN_AFTER);
            newcomer.copy = None;
            self.membership.read_at(now);
        }
    }

    /// A donor has answered, or will not.
    pub(super) fn welcomed(&mut self, by: ReplicaId, reply: Option<&Reply>) {
        let now = self.now.at;
        let Some(&Reply::Welcome { length, crc }) = reply else { return self.ask_again() };
        if let Some(newcomer) = self.newcomer().filter(|newcomer| !newcomer.installs) {
            newcomer.ask_at = Some(now + JOIN_WITHIN * 2);
            newcomer.copy = Some((by, length, crc, BytesMut::new()));
            self.ask_piece(by, 0);
        }
    }

    fn ask_piece(&mut self, from: ReplicaId, offset: u64) {
        let message = Message::Chunk { from: self.setup.me, offset };
        self.send(from, Sent::Chunk(from), message, JOIN_WITHIN);
    }

    /// A piece of the copy has come, or will not.
    pub(super) fn piece_came(&mut self, by: ReplicaId, reply: Option<Reply>) {
        let now = self.now.at;
        let Some(newcomer) = self.newcomer().filter(|newcomer| !newcomer.installs) else { return };
        let Some((_, length, whole, copy)) = newcomer.copy.as_mut().filter(|(of, ..)| *of == by) else {
            return;
        };
        let piece = match reply {
            Some(Reply::Piece { bytes, crc }) if crc32c::crc32c(&bytes) == crc => bytes,
            _ => return self.ask_again(),
        };
        copy.extend_from_slice(&piece);
        newcomer.ask_at = Some(now + JOIN_WITHIN * 2);
        let have = copy.len() as u64;
        if have < *length && !piece.is_empty() {
            return self.ask_piece(by, have);
        }
        let copy: Bytes = std::mem::take(copy).freeze();
        let good = have == *length && crc32c::crc32c(&copy) == *whole;
        match Copied::read(&copy) {
            Ok(copied) if good && copied.members.active.contains(&self.setup.me) => self.take_copy(copied),
            _ => self.ask_again(),
        }
    }

    /// The copy goes to the disk, and with it what a former identity has left.
    fn take_copy(&mut self, copied: Copied) {
        let Some(newcomer) = self.newcomer() else { return };
        newcomer.installs = true;
        let old = newcomer.old.clone().filter(|_| !self.planted(Fault::NoOldLog));
        let (records, stranded) = old.map(|old| self.logged_again(&copied, &old)).unwrap_or_default();
        if !stranded.is_empty() {
            self.effects.push(Effect::Strand(stranded));
        }
        let (floor, members) = (Some(copied.floor), Some(copied.members.clone()));
        self.membership.forget_adoption();
        self.unsaved = Batch { copied: Some(Box::new(copied)), records, floor, members, ..Batch::default() };
    }

    /// What of an old log the copy does not know, as this replica's own records; and what is too old for that.
    fn logged_again(&self, copied: &Copied, old: &OldLog) -> (Vec<Numbered>, Vec<Arc<Update>>) {
        let (mut records, mut stranded) = (Vec::new(), Vec::new());
        let known = &copied.checkpoint;
        let prev: VectorTimestamp = known.applied.under(&copied.members);
        let mut again: BTreeSet<RequestId> = BTreeSet::new();
        for record in &old.log {
            let theirs = record.origin != old.was && self.planted(Fault::OldLogOwnOnly);
            if known.requests.get(record.id).is_some() || again.contains(&record.id) || theirs {
                continue;
            }
            if record.id.time() < copied.floor {
                let last = copied.members.retired.get(&record.origin).copied();
                if last.unwrap_or(prev.get(record.origin)) < record.counter {
                    stranded.push(record.clone());
                }
                continue;
            }
            again.insert(record.id);
            let counter = again.len() as u64;
            let (origin, prev) = (self.setup.me, prev.clone());
            let (id, payload) = (record.id, record.payload.clone());
            let record = Update { origin, counter, prev, id, kind: Kind::Causal, payload };
            records.push((known.upto + counter, Arc::new(record)));
        }
        (records, stranded)
    }

    /// The copy is on the disk: this replica has from now on what its donor had.
    pub(super) fn become_copy(&mut self, copied: Copied, members: Option<&GossipConfig>) {
        let was = self.newcomer().and_then(|newcomer| newcomer.was());
        let members = members.unwrap_or(&copied.members).clone();
        let floor: Timestamp = copied.floor;
        self.checkpoints = Checkpoints::at(Some(copied.checkpoint.write()), copied.checkpoint.upto);
        if let Err(why) = self.load(copied.checkpoint, members, copied.truncated, copied.log) {
            panic!("the copy of a disk cannot be read: {why}");
        }
        (self.floor, self.floor_told) = (self.floor.max(floor), self.floor_told.max(floor));
        if let Some(was) = was {
            self.membership.wish_out(was);
        }
        self.catch_up();
    }
}
