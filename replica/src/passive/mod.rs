//! Passive replication: one primary orders, every in-sync replica's disk holds, and a compare-and-set record at the
//! name server says who that is.
//!
//! # What it promises
//! An acknowledged update is on the fsynced log of every member of the recorded in-sync set, and survives as long as
//! one of those disks does. Updates and reads are linearizable; a request takes effect once. No clock takes part in
//! that: timeouts decide only *when* somebody tries something.
//!
//! # Reading order
//! 0. `event`: what goes in and what comes out.
//! 1. `log`: what a replica has. What applying it makes, and how that becomes a snapshot, is a room of its own,
//!    [`state`](crate::state); what goes to the disk, and is found there, is [`batch`](crate::disk::batch).
//! 2. `backup`: the epoch rule, and how a log follows its primary's (PacificA §2.1; Raft's `prev` check).
//! 3. `primary`: admitting, feeding, the commit rule with its barrier (Vertical Paxos II: an epoch is active only
//!    once its first entry is everywhere).
//! 4. `in_sync_set`: who must have an entry before it is committed; shrink and expand by compare-and-set.
//! 5. `confirmation`: linearizable reads without a clock (Ongaro 2014, §6.4).
//! 6. `election`: suspicion, candidacy (with `heard_primary` in the place of §9.6's pre-vote), boot rule.
//! 7. `record`: following the group's record; creation; `learner`: joining; `snapshot`: when they are taken, and what
//!    becomes of one that came.
//!
//! # Where we differ
//! From PacificA: reads are confirmed by the members instead of covered by leases, and a winner keeps its *whole*
//! log. Its §2.3 reconciliation is the ordinary feeding of logs that differ. What a peer says of the record is only a
//! reason to ask the name server: a record may be one that an operator has overruled. From Raft: all in-sync members must have
//! an entry, not a majority, so the last one alone can go on; and votes are one compare-and-set at the authority.
//!
//! # How it is driven
//! [`Core::take_in`] takes what happened, [`Core::settle`] does what has become due, and both say what must happen. It
//! names no clock, socket, task, random source or unordered map: time comes in as [`Now`]. The shell (`driver.rs`)
//! carries effects out in order.
//!
//! # Sources
//! W. Lin et al., *PacificA*, MSR-TR-2008-25, §2 · L. Lamport, D. Malkhi, L. Zhou, *Vertical Paxos and Primary-Backup
//! Replication*, PODC 2009 · D. Ongaro, *Consensus: Bridging Theory and Practice*, 2014, §5.4.2, §6.3, §6.4, §9.6.

mod backup;
mod confirmation;
pub mod digest;
pub mod driver;
mod election;
mod event;
#[cfg(test)]
mod found;
#[cfg(test)]
mod hostile;
mod in_sync_set;
mod learner;
mod log;
mod primary;
mod record;
#[cfg(test)]
mod rules;
#[cfg(test)]
mod scenarios;
mod snapshot;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use common::clock::{Moment, Timestamp};
use common::replication::{
    ConfigVersion, Entry, EntryKind, Epoch, GroupConfig, Limits, LogIndex, Member, ReplicaId,
};
use common::rpc::peer::{Hello, Message, Reply, ReplyBody, StateHash};
use common::rpc::replica::{Role, Waits};

use self::election::Suspicion;
pub use self::event::{Effect, Event, First, Now, Progress, SendTicket, Setup, SnapshotAfter, Waiter};
use self::learner::Joining;
use self::log::Log;
use self::primary::Primary;
use self::snapshot::Snapshots;
pub use crate::disk::batch::{Stored, Ticket, WriteBatch};
pub use crate::planted::passive::{Fault, Planted};
pub use crate::state::{LogBase, Work, Worked};
use crate::state::{State, Taken};

/// Silence after which a primary drops a peer: below [`SUSPECT_AFTER`], so that a primary that still reaches the
/// name server wins that race.
pub const SHRINK_AFTER: Duration = Duration::from_millis(400);
/// Silence after which a member doubts its primary: five beacons.
pub const SUSPECT_AFTER: Duration = Duration::from_millis(500);
/// Between two beacons of a primary.
const BEACON_EVERY: Duration = Duration::from_millis(100);
/// How long a peer has for an append, whose answer waits for its disk.
const APPEND_WITHIN: Duration = Duration::from_secs(3);
/// How long a peer has for what it answers from memory.
const ASK_WITHIN: Duration = Duration::from_millis(300);
/// Bytes of entries in one append or one disk batch: large beside a group commit, and applied in some milliseconds by a
/// learner that all may be waiting for already.
pub const BATCH_BYTES: usize = 128 * 1024;
/// A tick this late, of those due every 100 ms at least, means that this process was stopped, not the others.
const STALLED: Duration = Duration::from_millis(200);
/// Peers remembered: more than the members of a group and their former disks that come back in a boot.
const MET_MAX: usize = 64;
/// Hashes of the state that are kept: a peer may be a few behind or ahead.
const HASHES_KEPT: usize = 8;
/// Alarms said; each is another one, and a peer may cause them.
const ALARMS_MAX: usize = 64;
/// A wall clock this far off stamps entries and judges requests wrongly; smaller errors do not show.
const CLOCK_OFF_MAX: Duration = Duration::from_mins(5);
/// A boot that was gone comes back this often: two processes have one identity. Once may be a late hello.
const CLONE_RETURNS: u32 = 2;
/// Before a failed question to the name server is asked again.
const RECORD_RETRY: Duration = Duration::from_millis(50);

/// One member of one group.
#[derive(Clone)]
pub struct Core {
    setup: Arc<Setup>,
    /// When the event comes that is being taken in, or when the last one came.
    now: Now,
    /// What must happen because of it, in order.
    effects: Vec<Effect>,
    log: Log,
    state: State,
    /// Where it was last compared, or can be.
    hashes: VecDeque<StateHash>,
    /// The newest snapshot, as it is on the disk or on its way there.
    snapshot: Option<Taken>,
    snapshots: Snapshots,
    /// Where the snapshot before it ended: the log is kept from there on, for peers that are a little behind.
    trim_to: LogIndex,
    /// max(last log epoch, that of the record on this disk, epochs met since).
    epoch: Epoch,
    /// The last epoch that this boot led: none is led twice.
    led: Epoch,
    /// Who fed us last in this epoch.
    following: Option<ReplicaId>,
    /// When the primary of this epoch was last heard.
    heard: Option<Moment>,
    /// When all was applied that it had committed by then.
    caught_up: Option<Moment>,
    /// Prefix verified against this epoch's primary.
    matched: LogIndex,
    /// Up to where entries are known to be committed.
    committed: LogIndex,
    /// The newest record that is on this disk, and acted on.
    config: Option<GroupConfig>,
    /// A newer one, on its way to the disk.
    adopting: Option<GroupConfig>,
    /// The one compare-and-set whose outcome we do not know.
    pending_cas: Option<GroupConfig>,
    /// When to ask the name server again.
    ask_again_at: Option<Moment>,
    standing: Standing,
    /// How each peer last presented itself.
    met: BTreeMap<ReplicaId, Met>,
    leading: Option<Primary>,
    suspicion: Suspicion,
    joining: Joining,
    /// Appends received whose entries are not on the disk yet.
    unacknowledged: Vec<(Waiter, LogIndex)>,
    /// What must go to the disk next.
    unsaved: WriteBatch,
    /// What is on its way there, and the record in it.
    saving: Option<(Ticket, Option<GroupConfig>)>,
    tickets: u64,
    stopping: Option<Moment>,
    stopped: bool,
    disk_full: bool,
    clock_off: bool,
    /// What a person was told.
    alarms: BTreeSet<String>,
    /// Commands taken in that had come before.
    repeats: u64,
}

/// What a peer's hello said.
#[derive(Clone, Copy, Debug)]
struct Met {
    member: Member,
    last: LogIndex,
    /// The process that it was before, and how often the two have changed places.
    former: Option<Member>,
    returns: u32,
}

impl Met {
    fn new(member: Member, last: LogIndex) -> Self {
        Self { member, last, former: None, returns: 0 }
    }
}

/// What keeps a replica from taking part, if anything does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// It has not read the record since its start.
    Unread,
    /// There is no group, and it may not create one.
    NoGroup,
    /// Its Genesis entry is on the way to the disk; then it proposes the first record.
    Creating,
    /// The group is there.
    Known,
    /// The name server knows nothing of a group that this disk belongs to, or an older record than this disk. It
    /// serves and follows as it did; nothing is proposed until an operator has decided.
    Estranged,
    /// Its state is another than its primary's. It answers, and does nothing else.
    Diverged,
    /// This disk may be an old copy of itself, so that nothing on it proves anything: it takes no part until an
    /// operator has decided.
    Restored,
    /// This disk's identity is given up; nothing is done any more.
    GivenUp,
}

impl Core {
    /// A replica as it was found on its disk.
    ///
    /// # Errors
    /// When the disk's contents are damaged.
    pub fn new(now: Now, setup: Setup, stored: Stored) -> Result<Self, String> {
        let mut log = Log::load(stored.base, stored.entries)?;
        let state = match &stored.snapshot {
            Some(bytes) => State::restore(&setup.service, bytes, setup.planted)?,
            None => State::empty(&setup.service, setup.planted),
        };
        let applied = state.applied();
        if log.epoch_at(applied.index) != Some(applied.epoch) {
            return Err(format!("the snapshot ends at {applied}, the log does not hold that"));
        }
        log.applied(applied.index);
        // What a record on this disk says was seen at the name server: no primary before it is followed any more.
        let recorded = stored.config.as_ref().map_or(Epoch(0), |config| config.epoch);
        let forgets = setup.planted.is(Fault::VolatileEpoch);
        let mut core = Self {
            now,
            effects: Vec::new(),
            epoch: if forgets { Epoch(0) } else { log.last().epoch.max(recorded) },
            led: Epoch(0),
            following: None,
            heard: None,
            caught_up: None,
            matched: LogIndex(0),
            committed: applied.index,
            snapshot: stored.snapshot.map(|bytes| Taken {
                last: applied,
                crc: crc32c::crc32c(&bytes),
                bytes,
            }),
            snapshots: Snapshots::default(),
            trim_to: log.base().point.index,
            config: stored.config,
            adopting: None,
            pending_cas: None,
            ask_again_at: Some(now.at),
            standing: Standing::Unread,
            met: BTreeMap::new(),
            leading: None,
            suspicion: Suspicion::after_start(now.at),
            joining: Joining::default(),
            unacknowledged: Vec::new(),
            unsaved: WriteBatch::default(),
            saving: None,
            tickets: 0,
            stopping: None,
            stopped: false,
            disk_full: false,
            clock_off: false,
            hashes: VecDeque::new(),
            alarms: BTreeSet::new(),
            repeats: 0,
            setup: Arc::new(setup),
            log,
            state,
        };
        if core.planted(Fault::TruncToCommit) && core.committed < core.log.last().index {
            core.truncate(core.committed.next());
        }
        Ok(core)
    }

    /// The same replica, on a disk that may be an old copy of itself.
    #[must_use]
    pub fn restored(self) -> Self {
        Self { standing: Standing::Restored, ..self }
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
        if self.standing == Standing::GivenUp {
            return;
        }
        let last = std::mem::replace(&mut self.now, now);
        if now.at.since(last.at) >= STALLED {
            self.forgive();
        }
        std::mem::swap(&mut self.effects, effects);
        work(self);
        std::mem::swap(&mut self.effects, effects);
    }

    fn happened(&mut self, event: Event) {
        match event {
            Event::Execute { waiter, request, facts, payload, deadline } => {
                self.execute(waiter, request, facts, payload, deadline);
            }
            Event::Query { waiter, consistency, payload, deadline } => {
                self.query(waiter, consistency, payload, deadline);
            }
            Event::Peer { waiter, message } => self.hear(waiter, message),
            Event::Stop => self.stop(),
            // It answers, and does nothing else.
            _ if self.standing == Standing::Diverged => {}
            Event::Met(hello) => self.meet(&hello),
            Event::PeerReply { ticket, reply } => self.peer_replied(ticket, reply),
            Event::PeerRefused(member) => self.peer_refused(member),
            Event::Durable(ticket) => self.durable(ticket),
            Event::Record(_) | Event::NoRecord | Event::AskAgainIn(_) | Event::RecordRegressed
                if self.standing == Standing::Restored => {}
            Event::Adopted(version) => self.operator_decided(version),
            Event::Record(record) => self.record_read(record),
            Event::NoRecord => self.ask_again_at = Some(self.now.at + RECORD_RETRY),
            Event::AskAgainIn(wait) => self.ask_again_at = Some(self.now.at + wait.max(RECORD_RETRY)),
            Event::RecordRegressed => self.stand_aside(Standing::Estranged),
            Event::DiskFull(full) => self.disk_full = full,
            Event::Worked(worked) => self.worked(worked),
            Event::ClockOff(off) => self.clock_off(off),
            Event::Tick => {}
        }
    }

    fn do_what_is_due(&mut self) {
        if self.standing == Standing::Diverged {
            // Its disk stays as it is, for a person to look at.
            return self.hand_over();
        }
        self.ask_for_record();
        self.create();
        self.suspect();
        self.join();
        self.lead();
        self.hand_over();
        self.acknowledge();
        self.keep_snapshot();
        self.persist();
    }

    /// When to call again, with [`Event::Tick`], if nothing else happens.
    pub fn wake_at(&self, now: Moment) -> Moment {
        /// Something slow is always due: suspicion, a slow disk.
        const AT_LEAST_EVERY: Duration = Duration::from_millis(100);
        let leading = self.leading.as_ref().and_then(|primary| primary.wake_at(now));
        let drained = self.drained_at().filter(|at| *at > now);
        let due = [self.ask_again_at, self.suspicion.wake_at(), self.joining.ask_at, leading, drained];
        due.into_iter().flatten().fold(now + AT_LEAST_EVERY, Moment::min)
    }

    /// How this replica presents itself.
    pub fn hello(&self, wall: Timestamp) -> Hello {
        Hello {
            cluster: self.setup.cluster,
            me: self.setup.me,
            name: self.setup.name.clone(),
            address: self.setup.address,
            last: self.log.last(),
            wall,
            config_version: self.config.as_ref().map_or(ConfigVersion(0), |config| config.version),
        }
    }

    /// What this replica is at the moment.
    pub fn role(&self) -> Role {
        match &self.config {
            _ if self.leading.is_some() => Role::Primary,
            Some(config) if matches!(self.standing, Standing::Known | Standing::Estranged) => {
                if config.in_sync.contains(self.me()) { Role::Backup } else { Role::Learner }
            }
            _ => Role::Waiting,
        }
    }

    /// Why it does not take part, in words; empty when it does.
    pub fn trouble(&self) -> &'static str {
        match self.standing {
            Standing::Unread => "waiting for the name server",
            Standing::NoGroup => "no group yet: start one replica with --first",
            Standing::Creating => "creating the group",
            Standing::Known if self.disk_full => "the disk is full",
            Standing::Known if self.clock_off => "the wall clock is minutes off the name server's",
            Standing::Known => "",
            Standing::Estranged => {
                "the name server's record is older than this disk's, or missing: client cluster adopt GROUP"
            }
            Standing::Restored => {
                "started with --restored: client cluster adopt GROUP, or force-elect GROUP NAME"
            }
            Standing::Diverged => {
                "the state differs from the primary's: left the group, and the disk is kept as it is"
            }
            Standing::GivenUp => "this disk's identity was given up",
        }
    }

    /// Whether, and why, it proposes nothing until an operator's record stands.
    pub fn waits(&self) -> Option<Waits> {
        match self.standing {
            Standing::Estranged => Some(Waits::Contradicted),
            Standing::Restored => Some(Waits::Restored),
            _ => None,
        }
    }

    /// Commands taken in that had come before, since the start.
    pub fn repeats(&self) -> u64 {
        self.repeats
    }

    /// How many entries each peer has not confirmed to this primary; of nobody, where it is none.
    pub fn lag(&self) -> impl Iterator<Item = (ReplicaId, u64)> {
        let last = self.log.last().index.0;
        let peers = self.leading.iter().flat_map(|primary| &primary.peers);
        peers.map(move |(id, peer)| (*id, last.saturating_sub(peer.matched.0)))
    }

    /// Where this replica is: last entry, committed, applied, durable.
    pub fn progress(&self) -> Progress {
        Progress {
            epoch: self.epoch,
            last: self.log.last(),
            committed: self.committed,
            applied: self.state.applied().index,
            durable: self.log.durable(),
            state_hash: self.state.hash(),
            floor: self.state.table().floor(),
        }
    }

    /// The newest record known here, whether acted on already or not.
    pub fn newest_config(&self) -> Option<&GroupConfig> {
        [&self.adopting, &self.config].into_iter().flatten().max_by_key(|config| config.version)
    }

    /// Its version; 0 when there is none.
    fn newest_version(&self) -> ConfigVersion {
        self.newest_config().map_or(ConfigVersion(0), |config| config.version)
    }

    /// Whether this rule is broken, for a test.
    fn planted(&self, fault: Fault) -> bool {
        self.setup.planted.is(fault)
    }

    fn me(&self) -> ReplicaId {
        self.setup.me.id
    }

    fn send(&mut self, to: ReplicaId, message: Message, within: Duration) -> SendTicket {
        self.tickets += 1;
        let ticket = SendTicket(self.tickets);
        self.effects.push(Effect::Send { to, ticket, message, within });
        ticket
    }

    fn reply(&mut self, waiter: Waiter, body: ReplyBody) {
        let reply = Reply { epoch: self.epoch, body };
        self.effects.push(Effect::Reply { waiter, reply });
    }

    /// Tells a person, once.
    fn alarm(&mut self, why: String) {
        if self.alarms.len() < ALARMS_MAX && self.alarms.insert(why.clone()) {
            self.effects.push(Effect::Alarm { why });
        }
    }

    /// Takes part no more, until what a person does shows in the record, or in a new start.
    fn stand_aside(&mut self, standing: Standing) {
        self.standing = standing;
        self.alarm(self.trouble().to_owned());
    }

    /// Leaves, because its state is not what the primary's is at the same place.
    fn diverge(&mut self) {
        self.stand_aside(Standing::Diverged);
        self.heard = None;
        self.caught_up = None;
        self.ask_again_at = None;
        self.joining = Joining::default();
        self.suspicion.stand_down(self.now.at);
        for (waiter, _) in std::mem::take(&mut self.unacknowledged) {
            self.reply(waiter, backup::refused(self.trouble()));
        }
    }

    fn clock_off(&mut self, off: Duration) {
        self.clock_off = off > CLOCK_OFF_MAX;
        if self.clock_off {
            self.alarm("this machine's wall clock is more than 5 minutes off the name server's".to_owned());
        }
    }

    /// Asks the name server soon, if that is not planned already.
    fn ask_soon(&mut self) {
        self.ask_again_at = self.ask_again_at.or(Some(self.now.at + RECORD_RETRY));
    }

    /// Adds an entry at the end of the log, in memory now and on the disk with the next batch.
    fn push(&mut self, entry: Arc<Entry>) {
        self.log.push(entry.clone());
        self.unsaved.append.push(entry);
    }

    /// Adds an entry of this replica's own making.
    fn append_own(&mut self, epoch: Epoch, kind: EntryKind) -> LogIndex {
        let index = self.log.last().index.next();
        let at = self.log.last_at().max(self.now.wall);
        self.push(Arc::new(Entry::seal(self.log.last_crc(), index, epoch, at, kind)));
        index
    }

    /// Removes the entries from `from` on, in memory now and on the disk with the next batch.
    fn truncate(&mut self, from: LogIndex) {
        assert!(from > self.committed, "truncation at {from}, {} is committed", self.committed);
        self.log.truncate(from);
        let unsaved = &mut self.unsaved;
        unsaved.append.retain(|entry| entry.index < from);
        unsaved.truncate_from = Some(unsaved.truncate_from.map_or(from, |earlier| earlier.min(from)));
    }

    /// Hands what is unsaved to the disk: one batch at a time, so that whatever arrives meanwhile is the next one.
    fn persist(&mut self) {
        if self.saving.is_some() || self.unsaved.is_empty() {
            return;
        }
        let mut batch = std::mem::take(&mut self.unsaved);
        if batch.snapshot.is_none() {
            // A snapshot goes with all that it covers: a disk never holds one that reaches beyond its log.
            let fits = log::fitting(batch.append.iter(), self.setup.batch_bytes);
            self.unsaved.append = batch.append.split_off(fits);
        }
        self.log.saving(batch.append.last().map(|entry| entry.index));
        self.tickets += 1;
        let ticket = Ticket(self.tickets);
        self.saving = Some((ticket, batch.config.clone()));
        self.effects.push(Effect::Persist(batch, ticket));
    }

    fn durable(&mut self, ticket: Ticket) {
        let Some((_, config)) = self.saving.take_if(|(asked, _)| *asked == ticket) else {
            panic!("the disk answered {ticket:?}, {:?} was asked", self.saving)
        };
        self.log.saved();
        if let Some(config) = config {
            self.act_on(config);
        }
    }

    /// Applies the entries up to `upto`, and answers those who wait for them.
    fn commit(&mut self, upto: LogIndex) {
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
            let limits = || self.setup.first.as_ref().map_or_else(Limits::default, |first| first.limits);
            self.state.decide_by_own(limits, self.now.wall);
            self.answer(entry.point(), &effected);
            if next.0.is_multiple_of(self.setup.snapshots.multiples_of) {
                self.hashes.push_back(StateHash { at: next, hash: self.state.hash() });
                let excess = self.hashes.len().saturating_sub(HASHES_KEPT);
                self.hashes.drain(..excess);
            }
            self.note_applied(entry);
        }
        self.log.applied(upto);
    }
}
