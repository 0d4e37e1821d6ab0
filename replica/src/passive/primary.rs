//! Leading an epoch: admitting, feeding, committing.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use common::clock::Moment;
use common::replication::{
    ConfigVersion, EntryKind, Epoch, GroupConfig, InSyncSet, LogIndex, LogPoint, Member, ReplicaId, RequestId,
};
use common::rpc::peer::{Message, Reply, ReplyBody};
use common::rpc::replica::{Done, Position, QueryError, SubmitError};

use super::confirmation::Reads;
use super::in_sync_set::Membership;
use super::{
    APPEND_WITHIN, ASK_WITHIN, BEACON_EVERY, CLONE_RETURNS, Core, Effect, Fault, MET_MAX, Met, RECORD_RETRY,
    SHRINK_AFTER, SendTicket, Waiter,
};
use crate::state::{Admission, Effected};

/// What a primary knows beside what every replica knows.
#[derive(Clone, Debug, Default)]
pub(super) struct Primary {
    /// The first entry of the epoch. Nothing counts as committed, and nothing leaves, before it does.
    pub(super) barrier: LogIndex,
    /// Whether the barrier is on this disk.
    pub(super) open: bool,
    pub(super) peers: BTreeMap<ReplicaId, Peer>,
    sent: BTreeMap<SendTicket, (ReplicaId, Sent)>,
    pub(super) waiting: BTreeMap<LogIndex, Vec<Waiting>>,
    pub(super) reads: Reads,
    pub(super) membership: Membership,
    beacon_at: Moment,
    /// Since when this disk has not had what a peer's had then.
    pub(super) lagging: Option<(LogIndex, Moment)>,
}

/// A peer, as its primary knows it.
#[derive(Clone, Debug, Default)]
pub(super) struct Peer {
    /// Its process; `None` until it was met.
    pub(super) boot: Option<Member>,
    /// The next entry to send.
    pub(super) next: LogIndex,
    /// Its log is ours up to here, and fsynced.
    pub(super) matched: LogIndex,
    pub(super) in_flight: usize,
    /// The snapshot being sent, if it needs one, and where the next piece begins.
    snapshot: Option<(LogPoint, u64)>,
    pub(super) confirmed_round: u64,
    /// When this epoch was still its own, for certain.
    pub(super) confirmed_at: Option<Moment>,
    /// Since when it owes an answer; `None`: it owes none.
    pub(super) owes_since: Option<Moment>,
    /// Its socket refuses.
    pub(super) refused: bool,
    /// Its disk is full.
    pub(super) full: bool,
    /// Two processes have its identity.
    pub(super) cloned: bool,
    /// After a loss: not before then.
    retry_at: Option<Moment>,
    /// Since when it has not had on its disk what was on ours then.
    pub(super) lagging: Option<(LogIndex, Moment)>,
}

/// What was sent, for when its reply comes.
#[derive(Clone, Debug)]
enum Sent {
    Append { first: LogIndex },
    Chunk,
    Confirm { at: Moment },
}

/// A front end that waits for an entry.
#[derive(Clone, Copy, Debug)]
pub(super) struct Waiting {
    waiter: Waiter,
    request: RequestId,
    digest: u64,
    since: Moment,
    deadline: Moment,
}

/// Appends under way to one peer: one on the wire while the other is being written.
const APPENDS_IN_FLIGHT: usize = 2;
/// Entries not yet committed; beyond it, commands are refused as busy. A second's worth at the rate we aim at.
const UNCOMMITTED_MAX: u64 = 16_384;
/// When a refused command may come again: a few group commits later.
const BUSY_RETRY: Duration = Duration::from_millis(20);
/// A learner's batches are this part of the others', 16 KiB: applied in about a millisecond, after which it lets those have
/// the processor who serve somebody (`measure join 100000`: their p99 5.9 ms beside it, with whole batches 9.4 ms).
pub(super) const LEARNER_PART: usize = 8;
/// Batches that one piece of a snapshot is as large as: 1 MiB.
const CHUNK_BATCHES: usize = 8;

impl Peer {
    /// A peer of which nothing is verified. `next`, or where its own log ends, is tried first.
    fn new(next: LogIndex, met: Option<Met>) -> Self {
        let Some(met) = met else { return Self { next, ..Self::default() } };
        let (boot, next) = (Some(met.member), met.last.next().min(next));
        let cloned = met.returns >= CLONE_RETURNS;
        Self { boot, next, cloned, ..Self::default() }
    }

    fn heard(&mut self) {
        self.owes_since = None;
        self.refused = false;
    }
}

impl Primary {
    /// When it has something to do; nothing before its barrier is on the disk, and the disk will wake us.
    pub(super) fn wake_at(&self, now: Moment) -> Option<Moment> {
        let retries = self.peers.values().filter_map(|peer| peer.retry_at);
        let silent = self.peers.values().filter_map(|peer| Some(peer.owes_since? + SHRINK_AFTER));
        let dropped = silent.filter(|at| *at > now);
        retries.chain(dropped).chain([self.beacon_at]).min().filter(|_| self.open)
    }

    /// A peer has presented itself: a new process starts from nothing.
    pub(super) fn met(&mut self, met: Met) {
        let Some(peer) = self.peers.get_mut(&met.member.id) else { return };
        if peer.boot != Some(met.member) {
            self.sent.retain(|_, (to, _)| *to != met.member.id);
            *peer = Peer::new(peer.next, Some(met));
        }
        peer.retry_at = None;
        peer.heard();
    }
}

impl Core {
    /// Leads the epoch that `record` gives to this process.
    pub(super) fn start_leading(&mut self, record: &GroupConfig) {
        self.enter(record.epoch);
        // In epoch 1 the Genesis entry is the barrier; later epochs begin with one of their own.
        let barrier = match record.epoch {
            Epoch(1) => LogIndex(1),
            epoch => self.append_own(epoch, EntryKind::Barrier),
        };
        // At the barrier: most have all before it, and whose log differs says so. What a peer's hello said is old.
        let peer = |id| (id, Peer { next: barrier, ..Peer::new(barrier, self.met.get(&id).copied()) });
        let peers = record.in_sync.without(self.me()).iter().map(peer).collect();
        self.leading = Some(Primary { barrier, peers, beacon_at: self.now.at, ..Primary::default() });
        self.led = self.epoch;
        self.following = None;
        self.matched = LogIndex(0);
        self.suspicion.stand_down(self.now.at);
    }

    /// Stops leading, if it does: tells those who waited that it is no primary any more, and its peers who is.
    pub(super) fn step_down(&mut self) {
        let Some(primary) = self.leading.take() else { return };
        self.ask_again_at = Some(self.now.at);
        self.suspicion.stand_down(self.now.at);
        for Waiting { waiter, since, .. } in primary.waiting.into_values().flatten() {
            let result = Err(SubmitError::Unacknowledged { waited: self.now.at.since(since) });
            self.effects.push(Effect::Submitted { waiter, result });
        }
        for waiter in primary.reads.waiters() {
            self.effects.push(Effect::Queried { waiter, result: Err(self.not_primary_query()) });
        }
        let newer = self.newest_config().filter(|config| config.primary.id != self.me()).cloned();
        for (config, to) in newer.iter().flat_map(|config| primary.peers.keys().map(move |to| (config, *to)))
        {
            self.send(to, Message::TakeOver { config: config.clone() }, ASK_WITHIN);
        }
    }

    /// Takes in a command.
    pub(super) fn execute(
        &mut self,
        waiter: Waiter,
        request: RequestId,
        facts: Bytes,
        payload: Bytes,
        deadline: Moment,
    ) {
        let digest = self.state.digest(&facts, &payload);
        let judged = self.admit(request, digest);
        self.repeats += u64::from(matches!(judged, Ok(Some(_)) | Err(Ok(_))));
        let index = match judged {
            Ok(Some(index)) => index,
            Ok(None) => self.append_own(self.epoch, EntryKind::Update { request, facts, payload }),
            Err(result) => return self.effects.push(Effect::Submitted { waiter, result }),
        };
        if let Some(primary) = &mut self.leading {
            let waiting = Waiting { waiter, request, digest, since: self.now.at, deadline };
            primary.waiting.entry(index).or_default().push(waiting);
        }
    }

    /// Judges a command: where in the log it stands already, if it does, or what is said at once. An optimisation:
    /// safety rests on what applying it says.
    fn admit(
        &mut self,
        request: RequestId,
        digest: u64,
    ) -> Result<Option<LogIndex>, Result<Done, SubmitError>> {
        let Some(primary) = &self.leading else {
            self.look();
            let config = self.newest_config().cloned().map(Box::new);
            return Err(Err(SubmitError::NotPrimary { config, address: None }));
        };
        if self.stopping.is_some() {
            return Err(Err(SubmitError::Draining));
        }
        if let Some((in_sync, needed)) = self.too_few() {
            return Err(Err(SubmitError::TooFewToAdmit { in_sync, needed }));
        }
        if let Some(index) = self.log.waiting(request) {
            return Ok(Some(index));
        }
        // Before the barrier is committed, what was applied may still be what only this disk has.
        if self.committed >= primary.barrier || self.planted(Fault::TableBeforeBarrier) {
            match self.state.table().admit(request, digest, self.log.last_at().max(self.now.wall)) {
                Admission::Fresh => {}
                judged => return Err(self.outcome(judged)),
            }
        }
        if self.disk_full {
            return Err(Err(SubmitError::DiskFull));
        }
        if self.log.last().index.0 - self.committed.0 >= UNCOMMITTED_MAX {
            return Err(Err(SubmitError::Busy { retry_in: BUSY_RETRY }));
        }
        Ok(None)
    }

    /// What a front end is told of a command that was judged so.
    fn outcome(&self, judged: Admission) -> Result<Done, SubmitError> {
        let (floor, now) = (self.state.table().floor(), self.now.wall);
        match judged {
            Admission::Answered { stands, reply } => {
                Ok(Done { reply, position: Position::Log(stands), floor, now })
            }
            Admission::Reused => Err(SubmitError::Reused),
            Admission::Expired => Err(SubmitError::Expired { floor, now }),
            Admission::FromTheFuture => Err(SubmitError::FromTheFuture { now }),
            Admission::Fresh => unreachable!("a fresh request is run"),
        }
    }

    /// How many are in sync and how many are needed, when that is too few to answer anybody.
    pub(super) fn too_few(&self) -> Option<(u8, u8)> {
        let config = self.config.as_ref()?;
        let in_sync = u8::try_from(config.in_sync.len()).unwrap_or(u8::MAX);
        let too_few = in_sync < config.min_in_sync && !self.planted(Fault::AnswerBelowMin);
        too_few.then_some((in_sync, config.min_in_sync))
    }

    /// Does what a primary does, as far as it is due.
    pub(super) fn lead(&mut self) {
        let early = self.planted(Fault::SendBeforeDurable);
        let Some(primary) = &mut self.leading else { return };
        primary.open |= self.log.durable() >= primary.barrier || early;
        if primary.open {
            self.commit_what_all_have();
            self.reshape();
            self.confirm_reads();
            self.beacon();
            self.feed();
        }
    }

    /// The ackset without this replica.
    pub(super) fn others(&self) -> InSyncSet {
        self.ackset().without(self.me())
    }

    /// The commit rule: what every member of the ackset has on its disk, if that includes the barrier.
    fn commit_what_all_have(&mut self) {
        let others = self.others();
        let Some(primary) = &self.leading else { return };
        let asked = others.iter().filter(|_| !self.planted(Fault::AckBeforeBackup));
        let matched = asked.map(|id| primary.peers.get(&id).map_or(LogIndex(0), |peer| peer.matched));
        let all = matched.fold(self.log.durable(), LogIndex::min);
        let active = all >= primary.barrier || self.planted(Fault::NoBarrierCommitRule);
        if active && all > self.committed {
            self.commit(all);
        }
    }

    /// Answers whoever waits for an entry that was applied.
    pub(super) fn answer(&mut self, at: LogPoint, effected: &Effected) {
        let waiting = self.leading.as_mut().and_then(|primary| primary.waiting.remove(&at.index));
        for Waiting { waiter, request, digest: own, .. } in waiting.into_iter().flatten() {
            let Effected::Command { digest, admission } = effected else {
                unreachable!("nobody waits for {at}, which is no command")
            };
            let result = match self.too_few() {
                Some((in_sync, needed)) => Err(SubmitError::TooFewInSync { in_sync, needed }),
                // Another command under this id: not this entry's, but it may be the one that ran before.
                None if own != *digest && !self.planted(Fault::AttachAny) => {
                    self.outcome(self.state.table().admit(request, own, self.state.base().at))
                }
                None => self.outcome(admission.clone()),
            };
            self.effects.push(Effect::Submitted { waiter, result });
        }
    }

    /// Is to stop. Who is to lead then must have said so after this: what it said before, its disk may not have outlived.
    pub(super) fn stop(&mut self) {
        self.stopping = self.stopping.or(Some(self.now.at));
        if let Some(primary) = &mut self.leading {
            primary.beacon_at = self.now.at;
        }
    }

    /// Tells every peer, in sync or not, that this primary lives and how far the log is committed.
    fn beacon(&mut self) {
        let now = self.now.at;
        let Some(primary) = self.leading.as_mut().filter(|primary| now >= primary.beacon_at) else { return };
        primary.beacon_at = now + BEACON_EVERY;
        for waiting in primary.waiting.values_mut() {
            // Its front end is gone; the entry stays.
            waiting.retain(|waiting| now < waiting.deadline);
        }
        let peers: Vec<ReplicaId> = primary.peers.keys().copied().collect();
        for to in peers {
            self.send_confirm(to);
        }
    }

    pub(super) fn send_confirm(&mut self, to: ReplicaId) {
        let (from, epoch, committed) = (self.me(), self.epoch, self.committed);
        let Some(primary) = &mut self.leading else { return };
        if let Some(peer) = primary.peers.get_mut(&to) {
            peer.owes_since = peer.owes_since.or(Some(self.now.at));
        }
        let round = primary.reads.round;
        let state = self.hashes.back().copied();
        let sent = Sent::Confirm { at: self.now.at };
        self.send_to_peer(to, sent, Message::Confirm { from, epoch, round, committed, state });
    }

    fn send_to_peer(&mut self, to: ReplicaId, sent: Sent, message: Message) {
        let within = if matches!(sent, Sent::Confirm { .. }) { ASK_WITHIN } else { APPEND_WITHIN };
        let ticket = self.send(to, message, within);
        if let Some(primary) = &mut self.leading {
            primary.sent.insert(ticket, (to, sent));
        }
    }

    /// Sends every peer what it lacks.
    fn feed(&mut self) {
        let ackset = self.ackset();
        let Some(primary) = &mut self.leading else { return };
        let mut due = Vec::new();
        for (&id, peer) in &mut primary.peers {
            // Whether it may be fed or not: what was due is not due again.
            peer.retry_at = peer.retry_at.filter(|&at| at > self.now.at);
            // Whose disk is full is filled no further, but as long as all wait for it.
            let has_room = !peer.full || ackset.contains(id);
            if has_room && peer.retry_at.is_none() && !peer.refused {
                let part = if ackset.contains(id) { 1 } else { LEARNER_PART };
                due.push((id, self.setup.batch_bytes / part));
            }
        }
        for (to, batch) in due {
            while let Some((sent, message)) = self.next_for(to, batch) {
                self.send_to_peer(to, sent, message);
            }
        }
    }

    /// The next message that `to` lacks, if it may have one now; of `batch` bytes, if it is one of entries.
    fn next_for(&mut self, to: ReplicaId, batch: usize) -> Option<(Sent, Message)> {
        let (from, epoch, committed) = (self.me(), self.epoch, self.committed);
        let peer = self.leading.as_mut()?.peers.get_mut(&to)?;
        let first = peer.next;
        if let Some(before) = self.log.base_at(first.prev()) {
            peer.snapshot = None;
            // An unverified log is asked even when there is nothing to send.
            let ask = peer.matched == LogIndex(0) && peer.in_flight == 0;
            if peer.in_flight >= APPENDS_IN_FLIGHT || (first > self.log.last().index && !ask) {
                return None;
            }
            let entries = self.log.batch_from(first, batch);
            peer.next = entries.last().map_or(first, |entry| entry.index.next());
            peer.in_flight += 1;
            let message = Message::Append { from, epoch, prev: before.point, entries, committed };
            return Some((Sent::Append { first }, message));
        }
        if peer.in_flight > 0 {
            return None;
        }
        let taken = self.snapshot.as_ref().expect("a log that does not begin at 1 stands on a snapshot");
        let last = taken.last;
        let sending = peer.snapshot.filter(|(sending, _)| *sending == last);
        let (_, offset) = *peer.snapshot.insert(sending.unwrap_or((last, 0)));
        let begin = usize::try_from(offset).unwrap_or(usize::MAX).min(taken.bytes.len());
        let end = (begin + CHUNK_BATCHES * self.setup.batch_bytes).min(taken.bytes.len());
        let bytes = taken.bytes.slice(begin..end);
        peer.in_flight += 1;
        let (crc, whole) = (crc32c::crc32c(&bytes), (end == taken.bytes.len()).then_some(taken.crc));
        Some((Sent::Chunk, Message::SnapshotChunk { from, epoch, last, offset, bytes, crc, whole }))
    }

    /// Takes in a peer's reply, or that there will be none.
    pub(super) fn peer_replied(&mut self, ticket: SendTicket, reply: Option<Reply>) {
        let unfenced = self.planted(Fault::NoFence);
        if let Some(reply) = &reply
            && self.leading.is_some()
            && !unfenced
        {
            self.enter(reply.epoch);
        }
        let Some((from, sent)) = self.leading.as_mut().and_then(|primary| primary.sent.remove(&ticket))
        else {
            return self.candidate_replied(ticket, reply);
        };
        let Some(peer) = self.leading.as_mut().and_then(|primary| primary.peers.get_mut(&from)) else {
            return;
        };
        if !matches!(sent, Sent::Confirm { .. }) {
            peer.in_flight -= 1;
        }
        // Of an epoch before: it says nothing about this one.
        let reply = reply.filter(|reply| reply.epoch == self.epoch || unfenced);
        let body = reply.map(|reply| reply.body);
        if !matches!(body, None | Some(ReplyBody::Refused { .. })) {
            // Who refuses does not follow, and is dropped as if it were silent.
            peer.heard();
        }
        match body {
            Some(ReplyBody::Ack { durable }) => {
                // Not even a peer's word moves this beyond what we have ourselves.
                peer.matched = peer.matched.max(durable.min(self.log.last().index));
                peer.next = peer.next.max(peer.matched.next());
                peer.snapshot = None;
            }
            Some(ReplyBody::Nak { hint }) => {
                // It only goes back: of two on their way, the later one is refused for the earlier one's sake.
                peer.next = hint.next().min(peer.next).max(peer.matched.next());
            }
            Some(ReplyBody::Confirmed { round, full }) => {
                peer.confirmed_round = peer.confirmed_round.max(round);
                if let Sent::Confirm { at } = sent {
                    peer.confirmed_at = peer.confirmed_at.max(Some(at));
                }
                peer.full = full;
            }
            Some(ReplyBody::Next { offset }) => {
                if peer.snapshot.is_some_and(|(_, sent)| offset <= sent) {
                    // It has it all and restores it, or it cannot take it now: it is asked again after a while.
                    peer.retry_at = Some(self.now.at + RECORD_RETRY);
                }
                peer.snapshot = peer.snapshot.map(|(last, _)| (last, offset));
            }
            _ => {
                if let Sent::Append { first } = sent {
                    peer.next = peer.next.min(first);
                }
                peer.retry_at = Some(self.now.at + RECORD_RETRY);
            }
        }
    }

    /// Somebody wants to be fed: what it says now counts, not what its hello said. Whose disk does not know of the last
    /// force-elect may have been given up by it: it is told the record, and asks again or begins anew.
    pub(super) fn welcome(&mut self, me: Member, last: LogIndex, config_version: ConfigVersion) -> ReplyBody {
        let (id, own, next) = (me.id, self.me(), self.log.last().index.next());
        let met = self.met.get(&id).copied().filter(|met| met.member == me);
        let met = Met { last, ..met.unwrap_or_else(|| Met::new(me, last)) };
        let forced = self.newest_config().map_or(ConfigVersion(0), |config| config.forced);
        let knows = config_version >= forced || self.planted(Fault::FeedsForced);
        let room = |primary: &Primary| primary.peers.len() < MET_MAX || primary.peers.contains_key(&id);
        match self.leading.as_mut().filter(|primary| primary.open && id != own && knows && room(primary)) {
            Some(primary) => {
                primary.peers.entry(id).or_insert_with(|| Peer::new(next, Some(met)));
                primary.met(met);
                // It is let in when it has said that its disk has room.
                self.send_confirm(id);
                ReplyBody::Accepted
            }
            None => ReplyBody::NotPrimary { config: self.newest_config().cloned() },
        }
    }

    /// This process was stopped for a while: nobody else was silent.
    pub(super) fn forgive(&mut self) {
        for peer in self.leading.iter_mut().flat_map(|primary| primary.peers.values_mut()) {
            peer.owes_since = peer.owes_since.and(Some(self.now.at));
            peer.lagging = None;
        }
        if let Some(primary) = &mut self.leading {
            primary.lagging = None;
        }
        self.suspicion.calm_since = self.now.at;
    }

    /// A peer's socket refuses connections.
    pub(super) fn peer_refused(&mut self, member: Member) {
        let peer = self.leading.as_mut().and_then(|primary| primary.peers.get_mut(&member.id));
        if let Some(peer) = peer.filter(|peer| peer.boot.is_none_or(|boot| boot == member)) {
            peer.refused = true;
        }
        if self.config.as_ref().is_some_and(|config| config.primary == member) {
            self.suspect_hard();
        }
    }

    pub(super) fn not_primary_query(&self) -> QueryError {
        QueryError::NotPrimary { config: self.newest_config().cloned().map(Box::new), address: None }
    }
}
