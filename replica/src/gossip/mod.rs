//! Gossip: every member takes updates and queries, also one that is cut off from all others, and what they have taken
//! in spreads until all have the same.
//!
//! # What it promises
//! Nobody sees an effect before its cause, misses their own writes, or goes back in time, through any member, as long
//! as they carry their [`VectorTimestamp`]. An update takes effect at most once, however often and wherever it is sent,
//! also after its id was forgotten. Members that have applied the same updates hold the same value. No clock is needed
//! for any of that: the ids' clock only decides which of two *concurrent* writes wins. Not promised: linearizable
//! reads, or anything that must be unique across members. Such services are passive.
//!
//! # Reading order
//! 0. `event`: what goes in and what comes out.
//! 1. `update_log`, `timestamp_table`, `requests`: what a member has, what it knows of others, which updates it knows.
//! 2. `manager`: updates and queries (Ladin et al. §3.2): waiting for what the caller has seen, logging, answering.
//! 3. `message`: pushes, pulls, and what is taken from them (§3.3).
//! 4. `saving`: group commit. What is logged is on the disk, and is applied in the same step.
//! 5. `checkpoint`: what the log made, written down beside the core. `forgetting`: floors, and when a record, an id, a
//!    deleted cell may go (§3.4, §3.5).
//! 6. `members`: joins and leaves by compare-and-set; `newcomer`: starting, with and without data; `copy`: a disk as
//!    bytes.
//!
//! # One vector
//! The original has two: what is logged, and what is applied. Here a record is taken only as its origin's next one and
//! with its `prev` applied; peers send in log order, and own updates wait *before* the log. So nothing is held back in
//! the log, `applied` says both, and an update with an invented `prev` blocks nobody.
//!
//! # Where else we differ
//! Identities are formatted disks: a wiped or rolled-back disk is a new member, so no counter is used twice. A newcomer
//! copies a whole disk. Ids are stamps, and are forgotten when nobody can send them any more, by what the members say
//! (`settled`), not by a bound on their clocks. Membership is a record that is changed by compare-and-set; a vector
//! carries its version. Left out: forced and immediate updates, joining values cell by cell.
//!
//! # How it is driven
//! [`Core::take_in`] takes what happened, [`Core::settle`] does what has become due, and both say what must happen. It
//! names no clock, socket, task, random source or unordered map: time comes in as [`Now`], chance as a seed. The shell
//! carries effects out in order.
//!
//! # Sources
//! R. Ladin, B. Liskov, L. Shrira, S. Ghemawat, *Providing High Availability Using Lazy Replication*, ACM TOCS 10(4),
//! 1992 · G. Coulouris et al., *Distributed Systems*, 5th ed., §18.4 · S. Kulkarni et al., *Logical Physical Clocks*,
//! OPODIS 2014 · D. Terry et al., *Session Guarantees*, PDIS 1994.

mod chance;
mod checkpoint;
mod copy;
pub mod driver;
mod event;
mod forgetting;
mod manager;
mod members;
mod message;
mod newcomer;
mod requests;
mod saving;
#[cfg(test)]
mod tests;
mod timestamp_table;
mod update_log;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use common::clock::{Moment, Timestamp};
use common::replication::{ConfigVersion, Digest, GossipConfig, ReplicaId, VectorTimestamp};
use common::rpc::gossip::{Message, Reply};
use common::rpc::replica::{OLD_COPY, RECORD_LOST};
use common::services::CausalMachine;

use self::chance::Chance;
use self::checkpoint::Checkpoints;
pub use self::checkpoint::{Work, Worked};
use self::copy::Checkpoint;
pub use self::event::{
    Answer, Done, Effect, Event, Limits, Now, Numbered, OldLog, Refused, SendTicket, Setup, Status, Stored,
    Ticket, Waiter, WriteBatch,
};
use self::manager::Calls;
use self::members::Membership;
use self::message::{Held, Peer, Sent};
use self::newcomer::Newcomer;
use self::requests::Requests;
use self::saving::Batch;
pub use self::timestamp_table::Heard;
use self::timestamp_table::TimestampTable;
use self::update_log::UpdateLog;
pub use crate::planted::gossip::{Fault, Planted};

/// How long a peer has for anything: its answer waits for its disk.
const ANSWER_WITHIN: Duration = Duration::from_millis(500);
/// How long a started replica waits for what the others remember of it.
const RECALL_WITHIN: Duration = Duration::from_secs(1);
/// How long one that comes back catches up before it serves, at most.
const CATCH_UP_WITHIN: Duration = Duration::from_secs(2);
/// How long a stopping replica gives away what only it has, at most.
const DRAIN_WITHIN: Duration = Duration::from_secs(1);
/// Before something that failed is tried again.
const AGAIN_AFTER: Duration = Duration::from_millis(100);
/// Alarms said; each is another one, and a peer may cause them.
const ALARMS_MAX: usize = 64;
/// How an alarm begins that tells of members who differ at the same vector.
pub(crate) const DIFFER: &str = "G7: replicas differ";

/// One member of one group.
#[derive(Clone)]
pub struct Core {
    setup: Arc<Setup>,
    /// When the event comes that is being taken in, or when the last one came.
    now: Now,
    /// What must happen because of it, in order.
    effects: Vec<Effect>,
    value: Box<dyn CausalMachine>,
    /// What the value contains, and what is on the disk: our own counter is `applied[me]`.
    applied: VectorTimestamp,
    log: UpdateLog,
    requests: Requests,
    /// The members that are installed; of version 0 while there are no data.
    members: GossipConfig,
    checkpoints: Checkpoints,
    /// Whether more records may go than went with the last step.
    trims: bool,
    /// When the last update came.
    last_record: Moment,
    /// Ids older than this are not taken in; in force when it is raised.
    floor: Timestamp,
    /// The same, as it is on the disk.
    floor_told: Timestamp,
    /// What is applied, and what is on its way to the disk.
    taken: VectorTimestamp,
    /// The place in the log of the last one applied, and the last one given.
    reached: u64,
    place: u64,
    unsaved: Batch,
    saving: Option<(Ticket, Batch)>,
    table: TimestampTable,
    peers: BTreeMap<ReplicaId, Peer>,
    sent: BTreeMap<SendTicket, Sent>,
    /// Whom to tell next, the last one first.
    round: Vec<ReplicaId>,
    round_at: Moment,
    chance: Chance,
    /// How many pulls were begun.
    pulls: u64,
    calls: Calls,
    membership: Membership,
    /// Messages that wait until newer members are installed.
    held: Vec<Held>,
    /// Pushes that are acknowledged once this place is on the disk.
    unacknowledged: Vec<(Waiter, ConfigVersion, u64)>,
    standing: Standing,
    status: Status,
    pressed: bool,
    disk_full: bool,
    stopping: Option<Moment>,
    tickets: u64,
    alarms: BTreeSet<String>,
    /// What others say to have; believed only where that is planted.
    hearsay: VectorTimestamp,
}

/// How far a replica is.
#[derive(Clone, Debug)]
enum Standing {
    /// It has no data: it creates the group, or joins it.
    Blank(Newcomer),
    /// It asks what the others remember of it.
    Recalling {
        until: Moment,
        /// Who has not answered; `None`: nobody was asked yet.
        unheard: Option<BTreeSet<ReplicaId>>,
    },
    /// It fetches what it lacks before it serves: by pulls begun after so many.
    CatchingUp { since: u64, until: Moment },
    /// It serves.
    Serving,
    /// Its disk is an old copy, and nobody is left to copy from.
    Stuck,
    /// This disk's identity is given up, or the replica has stopped; nothing is done any more.
    Ended,
}

impl Core {
    /// A replica as it was found on its disk.
    ///
    /// # Errors
    /// When the disk's contents are damaged.
    pub fn new(now: Now, setup: Setup, stored: Stored) -> Result<Self, String> {
        let nobody = GossipConfig {
            version: ConfigVersion(0),
            active: BTreeSet::new(),
            ..GossipConfig::first(setup.cluster, setup.group.clone(), setup.me)
        };
        let standing = match stored.members {
            None => Standing::Blank(Newcomer::new(stored.old)),
            Some(_) => Standing::Recalling { until: now.at + RECALL_WITHIN, unheard: None },
        };
        let mut core = Self {
            now,
            effects: Vec::new(),
            value: (setup.service.empty)(),
            applied: VectorTimestamp::default(),
            log: UpdateLog::default(),
            requests: Requests::default(),
            members: nobody,
            checkpoints: Checkpoints::default(),
            trims: false,
            last_record: now.at,
            floor: stored.floor,
            floor_told: stored.floor,
            taken: VectorTimestamp::default(),
            reached: 0,
            place: 0,
            unsaved: Batch::default(),
            saving: None,
            table: TimestampTable::default(),
            peers: BTreeMap::new(),
            sent: BTreeMap::new(),
            round: Vec::new(),
            round_at: now.at,
            chance: Chance::new(setup.seed),
            pulls: 0,
            calls: Calls::default(),
            membership: Membership::new(now.at),
            held: Vec::new(),
            unacknowledged: Vec::new(),
            standing,
            status: Status::Online,
            pressed: false,
            disk_full: false,
            stopping: None,
            tickets: 0,
            alarms: BTreeSet::new(),
            hearsay: VectorTimestamp::default(),
            setup: Arc::new(setup),
        };
        if let Some(members) = stored.members {
            let checkpoint = match &stored.checkpoint {
                Some(bytes) => Checkpoint::read(bytes)?,
                None => Checkpoint::default(),
            };
            core.checkpoints = Checkpoints::at(stored.checkpoint, checkpoint.upto);
            core.load(checkpoint, members, stored.truncated, stored.log)?;
            core.floor_told = core.floor_told.max(core.requests.settled);
            core.floor = core.floor_told;
            core.meet_peers();
        }
        Ok(core)
    }

    /// Takes in one event at `now`, and settles.
    pub fn step(&mut self, now: Now, event: Event, effects: &mut Vec<Effect>) {
        self.take_in(now, event, effects);
        self.settle(now, effects);
    }

    /// Takes in what happened at `now`, and adds to `effects` what must happen, in order. [`Self::settle`] must
    /// follow, after this event or after a few: what came together then goes to the disk and to the peers together.
    pub fn take_in(&mut self, now: Now, event: Event, effects: &mut Vec<Effect>) {
        self.at(now, effects, |core| core.happened(event));
    }

    /// Does what has become due or possible, whatever the events were.
    pub fn settle(&mut self, now: Now, effects: &mut Vec<Effect>) {
        self.at(now, effects, Self::do_what_is_due);
    }

    fn at(&mut self, now: Now, effects: &mut Vec<Effect>, work: impl FnOnce(&mut Self)) {
        if self.has_ended() {
            return;
        }
        self.now = now;
        std::mem::swap(&mut self.effects, effects);
        work(self);
        std::mem::swap(&mut self.effects, effects);
    }

    fn happened(&mut self, event: Event) {
        match event {
            Event::Execute { waiter, request, prev, payload, deadline } => {
                self.execute(waiter, request, prev, payload, deadline);
            }
            Event::Query { waiter, prev, payload, deadline } => self.query(waiter, prev, payload, deadline),
            Event::Peer { waiter, message } => self.hear(waiter, message),
            Event::PeerReply { ticket, reply } => self.peer_replied(ticket, reply),
            Event::Durable(ticket) => self.durable(ticket),
            Event::Worked(worked) => self.worked(worked),
            Event::Members(members) => self.members_read(members),
            Event::NoMembers => self.members_unread(),
            Event::DiskFull(full) => self.disk_full = full,
            Event::Pressed(pressed) => self.pressed = pressed,
            Event::SetStatus(status) => self.set_status(status),
            Event::Remove(id) => self.remove(id),
            Event::Accept => self.accept(),
            Event::Stop => self.stopping = self.stopping.or(Some(self.now.at)),
            Event::Tick => {}
        }
    }

    fn do_what_is_due(&mut self) {
        self.read_members();
        self.start();
        self.go_round();
        self.forget();
        self.propose();
        self.serve_waiting();
        self.confirm();
        self.checkpoint();
        if self.trims {
            self.truncate(self.checkpoints.upto());
        }
        self.persist();
        self.push();
        self.drain();
    }

    /// When to call again, with [`Event::Tick`], if nothing else happens.
    pub fn wake_at(&self, now: Moment) -> Moment {
        if self.has_ended() {
            // What had become due stays so: nothing is done any more.
            return now + AGAIN_AFTER;
        }
        let soon = match &self.standing {
            Standing::Serving | Standing::CatchingUp { .. } => now + self.setup.limits.gossip_every,
            _ => now + AGAIN_AFTER,
        };
        [Some(self.round_at).filter(|at| *at > now), self.calls.deadline(), self.membership.wake_at()]
            .into_iter()
            .flatten()
            .fold(soon, Moment::min)
    }

    /// Everything that is applied here, which is all that is on the disk.
    pub fn applied(&self) -> &VectorTimestamp {
        &self.applied
    }

    /// Who is in the group, as far as is installed here; of version 0 when nothing is.
    pub fn members(&self) -> &GossipConfig {
        &self.members
    }

    /// What is known of the peers that were heard since the start.
    pub fn heard(&self) -> impl Iterator<Item = (ReplicaId, &Heard)> {
        self.table.iter()
    }

    /// Of the value.
    pub fn digest(&self) -> Digest {
        self.value.digest()
    }

    /// What the value answers at this moment, whoever asks.
    pub fn look(&self, query: &[u8]) -> Bytes {
        self.value.query(query)
    }

    /// Older ids are not taken in, and older than the second are forgotten.
    pub fn floors(&self) -> (Timestamp, Timestamp) {
        (self.floor, self.requests.settled)
    }

    /// Records in the log, and ids remembered.
    pub fn lengths(&self) -> (usize, usize) {
        (self.log.len(), self.requests.len())
    }

    /// What another identity of this place must be left, if this one is given up.
    pub fn old_log(&self) -> Option<OldLog> {
        match &self.standing {
            // It never came to log again what it was left itself.
            Standing::Blank(newcomer) => newcomer.old().cloned(),
            _ if self.members.version.0 == 0 => None,
            _ => {
                let log = self.log.iter().map(|(_, record)| record.clone()).collect();
                Some(OldLog { was: self.me(), log })
            }
        }
    }

    /// Whether this identity was given up: nothing is done any more.
    pub fn has_ended(&self) -> bool {
        matches!(self.standing, Standing::Ended)
    }

    /// Whether its disk is an old copy, with nobody left to copy from: it waits for a person.
    pub fn is_stuck(&self) -> bool {
        matches!(self.standing, Standing::Stuck)
    }

    /// Whether it serves, if a person lets it.
    pub fn serves(&self) -> bool {
        matches!(self.standing, Standing::Serving)
    }

    /// Why it does not take part, in words; empty when it does.
    pub fn trouble(&self) -> &'static str {
        match &self.standing {
            Standing::Blank(newcomer) => newcomer.trouble(),
            Standing::Recalling { .. } => "asking the others what they remember of this disk",
            Standing::CatchingUp { .. } => "catching up",
            Standing::Serving if self.disk_full => "the disk is full",
            Standing::Serving if self.membership.is_estranged() => RECORD_LOST,
            Standing::Serving => "",
            Standing::Stuck => OLD_COPY,
            Standing::Ended => "this disk's identity was given up",
        }
    }

    /// Whether it takes part in gossip.
    fn gossips(&self) -> bool {
        let online = self.status != Status::Offline || self.planted(Fault::OfflineStillGossips);
        matches!(self.standing, Standing::Serving | Standing::CatchingUp { .. }) && online
    }

    /// Whether this rule is broken, for a test.
    fn planted(&self, fault: Fault) -> bool {
        self.setup.planted.is(fault)
    }

    fn me(&self) -> ReplicaId {
        self.setup.me
    }

    fn set_status(&mut self, status: Status) {
        let before = std::mem::replace(&mut self.status, status);
        let back = before == Status::Offline && status != Status::Offline;
        if back && self.serves() && !self.planted(Fault::OnlineWithoutCatchUp) {
            self.catch_up();
        }
    }

    fn catch_up(&mut self) {
        let until = self.now.at + CATCH_UP_WITHIN;
        self.standing = Standing::CatchingUp { since: self.pulls, until };
    }

    /// Gives away what only this replica has, and ends.
    fn drain(&mut self) {
        let Some(since) = self.stopping else { return };
        let saved = self.saving.is_none() && self.unsaved.is_empty();
        let has_all = |id: &ReplicaId| {
            self.table.get(*id).is_some_and(|row| row.applied.covers_entries(&self.applied, &self.members))
        };
        let given = saved && (!self.gossips() || self.peers.keys().all(has_all));
        if given || self.now.at.since(since) >= DRAIN_WITHIN {
            self.refuse_all();
            self.end(Effect::Stopped);
        }
    }

    fn end(&mut self, last: Effect) {
        self.standing = Standing::Ended;
        self.effects.push(last);
    }

    fn send(&mut self, to: ReplicaId, sent: Sent, message: Message, within: Duration) {
        self.tickets += 1;
        let ticket = SendTicket(self.tickets);
        self.sent.insert(ticket, sent);
        self.effects.push(Effect::Send { to, ticket, message, within });
    }

    fn reply(&mut self, waiter: Waiter, reply: Reply) {
        self.effects.push(Effect::Reply { waiter, reply });
    }

    /// Tells a person, once.
    fn alarm(&mut self, why: String) {
        if self.alarms.len() < ALARMS_MAX && self.alarms.insert(why.clone()) {
            self.effects.push(Effect::Alarm { why });
        }
    }
}
