//! Leading an epoch: admitting, feeding, committing.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use common::clock::Moment;
use common::replication::{
    ConfigVersion, Entry, EntryKind, Limits, LogIndex, LogPoint, Member, ReplicaId, RequestId,
};
use common::rpc::peer::{Message, Reply, ReplyBody};
use common::rpc::replica::{Done, Position, QueryError, SubmitError};

use super::confirmation::Reads;
use super::in_sync_set::Membership;
use super::request_table::Admission;
use super::state::Effected;
use super::{
    APPEND_WITHIN, ASK_WITHIN, BATCH_BYTES_MAX, BEACON_EVERY, Core, Effect, Fault, MET_MAX, Met, Now,
    RECORD_RETRY, SendTicket, Waiter,
};

/// What a primary knows beside what every replica knows.
#[derive(Clone, Debug)]
pub(super) struct Primary {
    /// The first entry of the epoch. Nothing counts as committed, and nothing leaves, before it does.
    pub(super) barrier: LogIndex,
    /// Whether the barrier is on this disk.
    pub(super) open: bool,
    pub(super) peers: BTreeMap<ReplicaId, Peer>,
    sent: BTreeMap<SendTicket, (ReplicaId, Sent)>,
    waiting: BTreeMap<LogIndex, Vec<Waiting>>,
    pub(super) reads: Reads,
    pub(super) membership: Membership,
    beacon_at: Moment,
}

/// A peer, as its primary knows it.
#[derive(Clone, Debug)]
pub(super) struct Peer {
    /// Its process; `None` until it was met.
    pub(super) boot: Option<Member>,
    /// The version of the newest record on its disk, as far as known.
    config_version: ConfigVersion,
    /// The next entry to send.
    next: LogIndex,
    /// Its log is ours up to here, and fsynced.
    pub(super) matched: LogIndex,
    in_flight: usize,
    /// Where the piece of the snapshot begins that is to be sent next; `None`: it needs no snapshot.
    snapshot: Option<SnapshotSend>,
    pub(super) confirmed_round: u64,
    /// Since when it owes an answer; `None`: it owes none.
    pub(super) owes_since: Option<Moment>,
    /// Its socket refuses.
    pub(super) refused: bool,
    /// After a loss: not before then.
    retry_at: Option<Moment>,
    /// Since when it has not had on its disk what was on ours then.
    pub(super) lagging: Option<(LogIndex, Moment)>,
}

#[derive(Clone, Copy, Debug)]
struct SnapshotSend {
    last: LogPoint,
    offset: u64,
}

/// What was sent, for when its reply comes.
#[derive(Clone, Debug)]
enum Sent {
    Append { first: LogIndex },
    Chunk,
    Confirm,
}

/// A front end that waits for an entry.
#[derive(Clone, Copy, Debug)]
struct Waiting {
    waiter: Waiter,
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
/// One piece of a snapshot.
const CHUNK_BYTES: usize = 1024 * 1024;

impl Peer {
    /// A peer of which nothing is verified. `next`, or where its own log ends, is tried first.
    fn new(next: LogIndex, met: Option<Met>) -> Self {
        Self {
            boot: met.map(|met| met.member),
            config_version: met.map_or(ConfigVersion(0), |met| met.config_version),
            next: met.map_or(next, |met| met.last.next().min(next)),
            matched: LogIndex(0),
            in_flight: 0,
            snapshot: None,
            confirmed_round: 0,
            owes_since: None,
            refused: false,
            retry_at: None,
            lagging: None,
        }
    }

    fn heard(&mut self) {
        self.owes_since = None;
        self.refused = false;
    }
}

impl Primary {
    fn new(now: Moment, barrier: LogIndex) -> Self {
        Self {
            barrier,
            open: false,
            peers: BTreeMap::new(),
            sent: BTreeMap::new(),
            waiting: BTreeMap::new(),
            reads: Reads::default(),
            membership: Membership::default(),
            beacon_at: now,
        }
    }

    pub(super) fn wake_at(&self) -> Option<Moment> {
        if !self.open {
            // Nothing leaves before the barrier is on the disk, and the disk will wake us.
            return None;
        }
        let retries = self.peers.values().filter_map(|peer| peer.retry_at);
        retries.chain([self.beacon_at]).min()
    }

    /// A peer has presented itself: a new process starts from nothing.
    pub(super) fn met(&mut self, met: Met) {
        let Some(peer) = self.peers.get_mut(&met.member.id) else { return };
        if peer.boot != Some(met.member) {
            self.sent.retain(|_, (to, _)| *to != met.member.id);
            *peer = Peer::new(peer.next, Some(met));
        }
        peer.config_version = met.config_version;
        peer.retry_at = None;
        peer.heard();
    }
}

impl Core {
    /// Leads the epoch of `self.epoch`, which the record gives to this process. `barrier` is its first entry.
    pub(super) fn start_leading(
        &mut self,
        now: Now,
        in_sync: impl Iterator<Item = ReplicaId>,
        barrier: LogIndex,
    ) {
        let mut primary = Primary::new(now.at, barrier);
        for id in in_sync.filter(|&id| id != self.me()) {
            primary.peers.insert(id, Peer::new(barrier, self.met.get(&id).copied()));
        }
        self.led = self.epoch;
        self.following = None;
        self.matched = LogIndex(0);
        self.candidacy.stand_down(now.at);
        self.leading = Some(primary);
    }

    /// Stops leading, if it does; what is owed is settled at the end of the step.
    pub(super) fn step_down(&mut self, now: Now) {
        if let Some(primary) = self.leading.take() {
            self.deposed.push(primary);
            self.ask_again_at = Some(now.at);
            self.candidacy.stand_down(now.at);
        }
    }

    /// Tells those who waited for a primary that it is none any more, and its peers who is.
    pub(super) fn settle_deposed(&mut self, now: Now, effects: &mut Vec<Effect>) {
        for primary in std::mem::take(&mut self.deposed) {
            self.settle_one(now, primary, effects);
        }
    }

    fn settle_one(&mut self, now: Now, primary: Primary, effects: &mut Vec<Effect>) {
        for waiting in primary.waiting.into_values().flatten() {
            let result = Err(SubmitError::Unacknowledged { waited: now.at.since(waiting.since) });
            effects.push(Effect::Submitted { waiter: waiting.waiter, result });
        }
        for waiter in primary.reads.waiters() {
            effects.push(Effect::Queried { waiter, result: Err(self.not_primary_query()) });
        }
        let Some(config) = self.newest_config().filter(|config| config.primary.id != self.me()).cloned()
        else {
            return;
        };
        for &to in primary.peers.keys() {
            let ticket = SendTicket(self.next_ticket());
            effects.push(Effect::Send {
                to,
                ticket,
                message: Message::TakeOver { config: config.clone() },
                within: ASK_WITHIN,
            });
        }
    }

    /// Takes in a command.
    #[expect(clippy::too_many_arguments, reason = "the fields of one event")]
    pub(super) fn execute(
        &mut self,
        now: Now,
        waiter: Waiter,
        request: RequestId,
        facts: Bytes,
        payload: Bytes,
        deadline: Moment,
        effects: &mut Vec<Effect>,
    ) {
        let digest = self.state.digest(&facts, &payload);
        let waiting = Waiting { waiter, digest, since: now.at, deadline };
        match self.admit(now, request, digest, effects) {
            Ok(Admitted::Stands(index)) => self.wait_for(index, waiting),
            Ok(Admitted::Fresh) => {
                let index = self.append_own(now, EntryKind::Update { request, facts, payload });
                self.wait_for(index, waiting);
            }
            Ok(Admitted::Done(done)) => effects.push(Effect::Submitted { waiter, result: Ok(done) }),
            Err(error) => effects.push(Effect::Submitted { waiter, result: Err(error) }),
        }
    }

    fn wait_for(&mut self, index: LogIndex, waiting: Waiting) {
        if let Some(primary) = &mut self.leading {
            primary.waiting.entry(index).or_default().push(waiting);
        }
    }

    /// Judges a command. An optimisation: safety rests on what applying it says.
    fn admit(
        &mut self,
        now: Now,
        request: RequestId,
        digest: u64,
        effects: &mut Vec<Effect>,
    ) -> Result<Admitted, SubmitError> {
        let Some(primary) = &self.leading else {
            self.look(now, effects);
            return Err(SubmitError::NotPrimary {
                config: self.newest_config().cloned().map(Box::new),
                address: None,
            });
        };
        if self.stopping.is_some() {
            return Err(SubmitError::Draining);
        }
        if let Some((in_sync, needed)) = self.too_few() {
            return Err(SubmitError::TooFewInSync { in_sync, needed });
        }
        if let Some(index) = self.log.waiting(request) {
            return Ok(Admitted::Stands(index));
        }
        let at = self.log.last_at().max(now.wall);
        // Before the barrier is committed, what was applied may still be what only this disk has.
        if self.committed >= primary.barrier || self.planted(Fault::TableBeforeBarrier) {
            match self.state.table().admit(request, digest, at) {
                Admission::Fresh => {}
                judged => return self.outcome(now, judged).map(Admitted::Done),
            }
        }
        if self.disk_full {
            return Err(SubmitError::DiskFull);
        }
        if self.log.last().index.0 - self.committed.0 >= UNCOMMITTED_MAX {
            return Err(SubmitError::Busy { retry_in: BUSY_RETRY });
        }
        Ok(Admitted::Fresh)
    }

    /// What a front end is told of a command that was judged so.
    fn outcome(&self, now: Now, judged: Admission) -> Result<Done, SubmitError> {
        let floor = self.state.table().floor();
        match judged {
            Admission::Answered { stands, reply } => {
                Ok(Done { reply, position: Position::Log(stands), floor, now: now.wall })
            }
            Admission::Reused => Err(SubmitError::Reused),
            Admission::Expired => Err(SubmitError::Expired { floor, now: now.wall }),
            Admission::FromTheFuture => Err(SubmitError::FromTheFuture { now: now.wall }),
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

    /// Adds an entry of this epoch to the log, on the way to the disk.
    pub(super) fn append_own(&mut self, now: Now, kind: EntryKind) -> LogIndex {
        let index = self.log.last().index.next();
        let at = self.log.last_at().max(now.wall);
        let entry = Arc::new(Entry::seal(self.log.last_crc(), index, self.epoch, at, kind));
        self.log.push(entry.clone());
        self.unsaved.append.push(entry);
        index
    }

    /// Does what a primary does, as far as it is due.
    pub(super) fn lead(&mut self, now: Now, effects: &mut Vec<Effect>) {
        let durable = self.log.durable();
        let early = self.planted(Fault::SendBeforeDurable);
        let Some(primary) = &mut self.leading else { return };
        if !primary.open {
            if durable < primary.barrier && !early {
                return;
            }
            primary.open = true;
            primary.beacon_at = now.at;
        }
        self.commit_what_all_have(now, effects);
        self.reshape(now, effects);
        self.confirm_reads(now, effects);
        self.beacon(now, effects);
        self.feed(now, effects);
    }

    /// The commit rule: what every member of the ackset has on its disk, if that includes the barrier.
    fn commit_what_all_have(&mut self, now: Now, effects: &mut Vec<Effect>) {
        let Some(primary) = &self.leading else { return };
        let ackset = self.ackset();
        let others = ackset.iter().filter(|&id| id != self.me());
        let matched = others.map(|id| primary.peers.get(&id).map_or(LogIndex(0), |peer| peer.matched));
        let all = matched.chain([self.log.durable()]).min().unwrap_or_default();
        let active = all >= primary.barrier || self.planted(Fault::NoBarrierCommitRule);
        if active && all > self.committed {
            self.commit_at(now, all, effects);
        }
    }

    /// Applies the entries up to `upto`, for one who follows: nobody waits.
    pub(super) fn commit(&mut self, upto: LogIndex, effects: &mut Vec<Effect>) {
        assert!(self.leading.is_none(), "a primary commits by its own rule");
        let never = Now { at: Moment::ORIGIN, wall: self.log.last_at() };
        self.commit_at(never, upto, effects);
    }

    fn commit_at(&mut self, now: Now, upto: LogIndex, effects: &mut Vec<Effect>) {
        assert!(upto >= self.committed, "commit may not go back: {upto} after {}", self.committed);
        assert!(upto <= self.log.last().index, "commit of {upto}, the log ends at {}", self.log.last());
        self.committed = upto;
        while self.state.applied().index < upto {
            let next = self.state.applied().index.next();
            let entry =
                self.log.get(next).expect("the log reaches from the applied state to its end").clone();
            let effected = match self.state.apply(&entry) {
                Ok(effected) => effected,
                // A first state that this program does not understand: another version wrote it. Serving on would
                // make this replica differ from the others.
                Err(why) => panic!("entry {} cannot be applied: {why}", entry.point()),
            };
            let own = self.setup.first.as_ref().map_or_else(Limits::default, |first| first.limits);
            self.state.decide_by_own(own, now.wall);
            self.answer(now, entry.point(), effected, effects);
        }
        self.log.applied(upto);
    }

    /// Answers whoever waits for an entry that was applied.
    fn answer(&mut self, now: Now, at: LogPoint, effected: Effected, effects: &mut Vec<Effect>) {
        let Some(waiting) = self.leading.as_mut().and_then(|primary| primary.waiting.remove(&at.index))
        else {
            return;
        };
        let Effected::Command { digest, admission } = effected else {
            unreachable!("nobody waits for {at}, which is no command")
        };
        for Waiting { waiter, digest: own, .. } in waiting {
            let result = match self.too_few() {
                Some((in_sync, needed)) => Err(SubmitError::TooFewInSync { in_sync, needed }),
                None if own != digest && !self.planted(Fault::AttachAny) => Err(SubmitError::Reused),
                None => self.outcome(now, admission.clone()),
            };
            effects.push(Effect::Submitted { waiter, result });
        }
    }

    /// Tells every peer, in sync or not, that this primary lives and how far the log is committed.
    fn beacon(&mut self, now: Now, effects: &mut Vec<Effect>) {
        let Some(primary) = &mut self.leading else { return };
        if now.at < primary.beacon_at {
            return;
        }
        primary.beacon_at = now.at + BEACON_EVERY;
        for waiting in primary.waiting.values_mut() {
            // Its front end is gone; the entry stays.
            waiting.retain(|waiting| now.at < waiting.deadline);
        }
        let peers: Vec<ReplicaId> = primary.peers.keys().copied().collect();
        for to in peers {
            self.send_confirm(now, to, effects);
        }
    }

    pub(super) fn send_confirm(&mut self, now: Now, to: ReplicaId, effects: &mut Vec<Effect>) {
        let (from, epoch, committed) = (self.me(), self.epoch, self.committed);
        let ticket = SendTicket(self.next_ticket());
        let Some(primary) = &mut self.leading else { return };
        let round = primary.reads.round();
        primary.sent.insert(ticket, (to, Sent::Confirm));
        if let Some(peer) = primary.peers.get_mut(&to) {
            peer.owes_since = peer.owes_since.or(Some(now.at));
        }
        let message = Message::Confirm { from, epoch, round, committed };
        effects.push(Effect::Send { to, ticket, message, within: ASK_WITHIN });
    }

    /// Sends every peer what it lacks.
    fn feed(&mut self, now: Now, effects: &mut Vec<Effect>) {
        let feeds_forced = self.planted(Fault::FeedsForced);
        let Some(primary) = &mut self.leading else { return };
        for peer in primary.peers.values_mut() {
            // Whether it may be fed or not: what was due is not due again.
            peer.retry_at = peer.retry_at.filter(|&at| at > now.at);
        }
        let forced = self.config.as_ref().map_or(ConfigVersion(0), |config| config.forced);
        let knows = |peer: &Peer| peer.config_version >= forced || feeds_forced;
        let due = |peer: &Peer| peer.retry_at.is_none() && !peer.refused && knows(peer);
        let peers: Vec<ReplicaId> =
            primary.peers.iter().filter(|(_, peer)| due(peer)).map(|(id, _)| *id).collect();
        for to in peers {
            while let Some((sent, message)) = self.next_for(to) {
                let ticket = SendTicket(self.next_ticket());
                if let Some(primary) = &mut self.leading {
                    primary.sent.insert(ticket, (to, sent));
                }
                effects.push(Effect::Send { to, ticket, message, within: APPEND_WITHIN });
            }
        }
    }

    /// The next message that `to` lacks, if it may have one now.
    fn next_for(&mut self, to: ReplicaId) -> Option<(Sent, Message)> {
        let (from, epoch, committed, last) = (self.me(), self.epoch, self.committed, self.log.last().index);
        let peer = self.leading.as_mut()?.peers.get_mut(&to)?;
        let first = peer.next;
        if let Some(before) = self.log.epoch_at(first.prev()) {
            peer.snapshot = None;
            // An unverified log is asked even when there is nothing to send.
            let ask = peer.matched == LogIndex(0) && peer.in_flight == 0;
            if peer.in_flight >= APPENDS_IN_FLIGHT || (first > last && !ask) {
                return None;
            }
            let entries = self.log.batch_from(first, BATCH_BYTES_MAX);
            peer.next = entries.last().map_or(first, |entry| entry.index.next());
            peer.in_flight += 1;
            let prev = LogPoint { epoch: before, index: first.prev() };
            return Some((Sent::Append { first }, Message::Append { from, epoch, prev, entries, committed }));
        }
        if peer.in_flight > 0 {
            return None;
        }
        let taken = self.snapshot.as_ref().expect("a log that does not begin at 1 stands on a snapshot");
        let sending = peer.snapshot.filter(|sending| sending.last == taken.last);
        let sending = *peer.snapshot.insert(sending.unwrap_or(SnapshotSend { last: taken.last, offset: 0 }));
        let begin = usize::try_from(sending.offset).unwrap_or(usize::MAX).min(taken.bytes.len());
        let end = (begin + CHUNK_BYTES).min(taken.bytes.len());
        let bytes = taken.bytes.slice(begin..end);
        peer.in_flight += 1;
        let (crc, is_last) = (crc32c::crc32c(&bytes), end == taken.bytes.len());
        let message = Message::SnapshotChunk {
            from,
            epoch,
            last: taken.last,
            offset: sending.offset,
            bytes,
            crc,
            is_last,
        };
        Some((Sent::Chunk, message))
    }

    /// Takes in a peer's reply, or that there will be none.
    pub(super) fn peer_replied(
        &mut self,
        now: Now,
        ticket: SendTicket,
        reply: Option<Reply>,
        effects: &mut Vec<Effect>,
    ) {
        let unfenced = self.planted(Fault::NoFence);
        if let Some(reply) = &reply
            && reply.epoch > self.epoch
            && self.leading.is_some()
            && !unfenced
        {
            self.enter(now, reply.epoch);
        }
        let Some((from, sent)) = self.leading.as_mut().and_then(|primary| primary.sent.remove(&ticket))
        else {
            return self.candidate_replied(now, ticket, reply, effects);
        };
        let Some(peer) = self.leading.as_mut().and_then(|primary| primary.peers.get_mut(&from)) else {
            return;
        };
        if !matches!(sent, Sent::Confirm) {
            peer.in_flight -= 1;
        }
        // Of an epoch before: it says nothing about this one.
        let Some(reply) = reply.filter(|reply| reply.epoch == self.epoch || unfenced) else {
            if let Sent::Append { first } = sent {
                peer.next = peer.next.min(first);
            }
            peer.retry_at = Some(now.at + RECORD_RETRY);
            return;
        };
        peer.heard();
        match reply.body {
            ReplyBody::Ack { durable } => {
                // Not even a peer's word moves this beyond what we have ourselves.
                peer.matched = peer.matched.max(durable.min(self.log.last().index));
                peer.next = peer.next.max(peer.matched.next());
                peer.snapshot = None;
            }
            ReplyBody::Nak { hint } => {
                peer.next = hint.min(self.log.last().index).max(peer.matched).next();
            }
            ReplyBody::Confirmed { round } => peer.confirmed_round = peer.confirmed_round.max(round),
            ReplyBody::Next { offset } => {
                if let Some(sending) = &mut peer.snapshot {
                    sending.offset = offset;
                }
            }
            _ => {
                if let Sent::Append { first } = sent {
                    peer.next = peer.next.min(first);
                }
                peer.retry_at = Some(now.at + RECORD_RETRY);
            }
        }
    }

    /// Somebody wants to be fed.
    pub(super) fn welcome(&mut self, me: Member, last: LogPoint) -> ReplyBody {
        let next = self.log.last().index.min(last.index).next();
        let met = self.met.get(&me.id).copied().filter(|met| met.member == me);
        let met = met.unwrap_or(Met { member: me, last: last.index, config_version: ConfigVersion(0) });
        let config = self.newest_config().cloned();
        match &mut self.leading {
            Some(primary)
                if primary.open
                    && me.id != self.setup.me.id
                    && (primary.peers.len() < MET_MAX || primary.peers.contains_key(&me.id)) =>
            {
                primary.peers.entry(me.id).or_insert_with(|| Peer::new(next, Some(met)));
                primary.met(met);
                ReplyBody::Accepted
            }
            _ => ReplyBody::NotPrimary { config },
        }
    }

    /// This process was stopped for a while: nobody else was silent.
    pub(super) fn forgive(&mut self, now: Now) {
        for peer in self.leading.iter_mut().flat_map(|primary| primary.peers.values_mut()) {
            peer.owes_since = peer.owes_since.and(Some(now.at));
            peer.lagging = None;
        }
        self.candidacy.calm(now.at);
    }

    /// A peer's socket refuses connections.
    pub(super) fn peer_refused(&mut self, now: Now, member: Member) {
        if let Some(primary) = &mut self.leading
            && let Some(peer) = primary.peers.get_mut(&member.id)
            && peer.boot.is_none_or(|boot| boot == member)
        {
            peer.refused = true;
        }
        if self.config.as_ref().is_some_and(|config| config.primary == member) {
            self.suspect_hard(now);
        }
    }

    pub(super) fn not_primary_query(&self) -> QueryError {
        QueryError::NotPrimary { config: self.newest_config().cloned().map(Box::new), address: None }
    }
}

/// How a command is admitted.
enum Admitted {
    /// It goes into the log.
    Fresh,
    /// It is in the log already.
    Stands(LogIndex),
    /// It was answered already.
    Done(Done),
}
