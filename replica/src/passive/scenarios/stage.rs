//! The stage: replicas (real cores), their disks, the name server and clients, in virtual time. It does what the shell
//! does (`driver.rs`, `links.rs`), and decides nothing either.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use common::clock::{Moment, Timestamp};
use common::replication::{BootId, Epoch, GroupConfig, LogIndex, Member, ReplicaId, RequestId};
use common::rpc::peer::{Hello, Message, Reply};
use common::rpc::replica::{Consistency, Role};

use super::super::{Core, Event, Now, Planted, SendTicket, SnapshotAfter, Waiter, Work};
use super::authority::{Authority, Question, Verdict};
use super::disk::Disk;
use super::network::{End, Lane, Network, Passage};
use super::telling::Telling;
use super::words::Names;

/// A message on its way; an fsync; a refused connection.
pub(super) const HOP: Duration = Duration::from_millis(1);
/// How long clients wait, unless a story says otherwise.
pub(super) const CLIENT_WITHIN: Duration = Duration::from_secs(5);
/// Steps at one moment: more is a replica that wakes itself up for ever.
const ROUNDS_MAX: usize = 64;
/// Moments until a line of acts has had its effects: more is a storm.
const MOMENTS_MAX: usize = 20_000;

/// What wall clocks show when a story begins.
const WALL: u64 = 1_700_000_000_000;

/// One process, or none on that host at the moment.
pub(super) struct Node {
    pub(super) id: ReplicaId,
    pub(super) disks: usize,
    pub(super) boots: u32,
    pub(super) boot: BootId,
    /// Which process and which disk it has: what is under way for an earlier one is lost.
    pub(super) life: u64,
    pub(super) disk: Disk,
    /// `None` while no process runs.
    pub(super) core: Option<Core>,
    pub(super) wake: Moment,
    /// Stopped by a signal: what comes waits.
    pub(super) paused: bool,
    pub(super) inbox: Vec<Happening>,
    /// Calls under way, to whom (`None`: the name server).
    pub(super) calls: BTreeMap<u64, Option<u8>>,
    pub(super) called: u64,
    pub(super) first: bool,
    /// How far its wall clock is off, in milliseconds.
    pub(super) clock_off: i64,
    pub(super) appearance: Option<Appearance>,
}

/// What of a replica is told when it changes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Appearance {
    pub(super) role: Role,
    pub(super) epoch: Epoch,
    pub(super) trouble: &'static str,
    pub(super) committed: LogIndex,
}

/// What comes to a process.
#[derive(Clone)]
pub(super) enum Happening {
    Request { from: u8, life: u64, call: u64, message: Message, background: bool },
    Reply { call: u64, ticket: SendTicket, reply: Option<Reply> },
    Greeted { call: u64, hello: Hello },
    Told { call: u64, verdict: Option<Verdict> },
    Watched(GroupConfig),
    Written,
    Refused(Member),
    Worked(Work),
    Order { label: String, request: RequestId, facts: Bytes, payload: Bytes, within: Duration },
    Query { label: String, consistency: Consistency, within: Duration },
    DiskFull(bool),
    Stop,
}

/// Something on its way.
#[derive(Clone)]
pub(super) enum Arrival {
    To(u8, u64, Happening),
    Question { host: u8, life: u64, by: Member, call: u64, question: Question },
}

/// Who waits for an answer of a core.
pub(super) enum Asker {
    Peer { host: u8, life: u64, call: u64, background: bool },
    Client(String),
}

pub(super) struct Stage {
    pub(super) now: Moment,
    pub(super) nodes: BTreeMap<u8, Node>,
    pub(super) authority: Authority,
    pub(super) frozen: Vec<Arrival>,
    pub(super) network: Network<Arrival>,
    /// By when, and in which order. What is marked is not waited for at the end of a line.
    pub(super) queue: BTreeMap<(Moment, u64), (Arrival, bool)>,
    pub(super) order: u64,
    pub(super) askers: BTreeMap<(u8, Waiter), Asker>,
    pub(super) waiters: u64,
    pub(super) tickets: BTreeMap<(u8, SendTicket), u64>,
    pub(super) lives: u64,
    /// Pairs of lives whose connection is up: the first has met the second.
    pub(super) met: BTreeSet<(u64, u64)>,
    /// The last round that each primary asked each peer to confirm.
    pub(super) rounds: BTreeMap<(u64, ReplicaId), u64>,
    /// Each id, and what was ordered under it first.
    pub(super) requests: BTreeMap<String, (RequestId, String)>,
    pub(super) names: Names,
    pub(super) telling: Telling,
    /// Who has done all that stopping asked for in this step.
    pub(super) stopped: Option<u8>,
    pub(super) options: Options,
}

/// What a group is made with.
pub(super) struct Options {
    pub(super) limits: common::replication::Limits,
    pub(super) min_in_sync: u8,
    pub(super) snapshots: SnapshotAfter,
    pub(super) planted: Planted,
}

impl Stage {
    pub(super) fn new(planted: Planted) -> Self {
        Self {
            now: Moment::ORIGIN + Duration::from_mins(1),
            nodes: BTreeMap::new(),
            authority: Authority::default(),
            frozen: Vec::new(),
            network: Network::default(),
            queue: BTreeMap::new(),
            order: 0,
            askers: BTreeMap::new(),
            waiters: 0,
            tickets: BTreeMap::new(),
            lives: 0,
            met: BTreeSet::new(),
            rounds: BTreeMap::new(),
            requests: BTreeMap::new(),
            names: Names::default(),
            telling: Telling::new(),
            stopped: None,
            options: Options {
                limits: common::replication::Limits::default(),
                min_in_sync: 1,
                snapshots: SnapshotAfter::default(),
                planted,
            },
        }
    }

    pub(super) fn told(self) -> String {
        self.telling.told()
    }

    /// What a wall clock shows that is off by so many milliseconds.
    pub(super) fn wall(&self, off: i64) -> Timestamp {
        let since = u64::try_from(self.now.since_origin().as_millis()).expect("stories are short");
        Timestamp::from_millis((WALL + since).saturating_add_signed(off))
    }

    pub(super) fn push(&mut self, after: Duration, slow: bool, arrival: Arrival) {
        self.order += 1;
        self.queue.insert((self.now + after, self.order), (arrival, slow));
    }

    /// This happens to the process that runs there now.
    pub(super) fn arrive(&mut self, number: u8, after: Duration, happening: Happening) {
        let life = self.nodes[&number].life;
        self.push(after, false, Arrival::To(number, life, happening));
    }

    pub(super) fn send(&mut self, from: End, to: End, what: &str, arrival: Arrival) -> Passage {
        let passage = self.network.passage(from, to, what);
        match passage {
            Passage::Passes => self.push(HOP, false, arrival),
            Passage::Held => self.network.keep(from, to, what.to_owned(), arrival),
            Passage::Lost => {}
        }
        passage
    }

    /// What was held of these goes on its way; `copies`: and is held still.
    pub(super) fn deliver(&mut self, lane: &Lane, copies: bool) -> usize {
        let things = if copies { self.network.copy(lane) } else { self.network.take(lane) };
        let count = things.len();
        for thing in things {
            self.push(HOP, false, thing);
        }
        count
    }

    /// When something is due next.
    fn next_due(&self) -> Option<Moment> {
        let wakes = self.nodes.values().filter(|node| node.core.is_some() && !node.paused);
        wakes.map(|node| node.wake).chain(self.queue.keys().map(|(at, _)| *at).next()).min()
    }

    /// Lets time pass until then.
    pub(super) fn advance(&mut self, until: Moment) {
        self.happen();
        while let Some(next) = self.next_due().filter(|next| *next <= until) {
            self.now = self.now.max(next);
            self.happen();
        }
        self.now = until;
    }

    /// Lets time pass until this is told.
    pub(super) fn advance_until(&mut self, words: &str, until: Moment) -> Result<(), String> {
        self.happen();
        while !self.telling.heard(words) {
            let next = self.next_due().filter(|next| *next <= until);
            self.now = self.now.max(next.ok_or_else(|| format!("{words:?} does not come"))?);
            self.happen();
        }
        Ok(())
    }

    /// Until nothing is under way but time.
    pub(super) fn settle(&mut self) -> Result<(), String> {
        for _ in 0..MOMENTS_MAX {
            self.happen();
            if self.queue.values().all(|(_, slow)| *slow) {
                return Ok(());
            }
            self.now = self.now.max(self.next_due().expect("something is under way"));
        }
        Err("no calm comes".to_owned())
    }

    /// All that is due at this moment.
    fn happen(&mut self) {
        for _ in 0..ROUNDS_MAX {
            let mut due: BTreeMap<u8, Vec<(u64, Happening)>> = BTreeMap::new();
            while let Some(entry) = self.queue.first_entry().filter(|entry| entry.key().0 <= self.now) {
                match entry.remove().0 {
                    Arrival::To(number, life, happening) => self.sort_in(&mut due, number, life, happening),
                    question @ Arrival::Question { .. } => self.ask_authority(question),
                }
            }
            for (number, node) in &self.nodes {
                if node.core.is_some() && !node.paused && node.wake <= self.now {
                    due.entry(*number).or_default();
                }
            }
            if due.is_empty() {
                return;
            }
            for (number, happenings) in due {
                self.step(number, happenings);
            }
        }
        panic!("somebody wakes up again and again at {:?}", self.now);
    }

    fn sort_in(
        &mut self,
        due: &mut BTreeMap<u8, Vec<(u64, Happening)>>,
        number: u8,
        life: u64,
        happening: Happening,
    ) {
        let node = self.nodes.get_mut(&number).expect("somebody wrote there");
        if node.life != life || life == 0 {
            return;
        }
        if node.paused {
            node.inbox.push(happening);
        } else {
            due.entry(number).or_default().push((life, happening));
        }
    }

    /// One step of a replica, as its shell makes it: all that came, then what must happen.
    pub(super) fn step(&mut self, number: u8, happenings: Vec<(u64, Happening)>) {
        let Some(mut core) = self.node(number).core.take() else { return };
        let life = self.nodes[&number].life;
        let now = Now { at: self.now, wall: self.wall(self.nodes[&number].clock_off) };
        let mut effects = Vec::new();
        self.telling.step(self.now);
        let mut quiet = true;
        for (_, happening) in happenings.into_iter().filter(|(own, _)| *own == life) {
            if let Some(event) = self.event(number, happening) {
                quiet = false;
                core.take_in(now, event, &mut effects);
            }
        }
        if quiet {
            core.take_in(now, Event::Tick, &mut effects);
        }
        core.settle(now, &mut effects);
        let node = self.node(number);
        node.wake = core.wake_at(now.at);
        let (before, after) = (node.appearance, Appearance::of(&core));
        node.appearance = Some(after);
        node.core = Some(core);
        if let Some(before) = before {
            self.tell_change(number, before, after);
        }
        for effect in effects {
            if self.nodes[&number].life == life {
                self.carry_out(number, effect);
            }
        }
        if let Some(number) = self.stopped.take() {
            self.crash(number);
        }
    }

    /// What the shell makes of what came; `None`: nobody waits for it any more.
    fn event(&mut self, number: u8, happening: Happening) -> Option<Event> {
        let now = self.now;
        let node = self.nodes.get_mut(&number).expect("it takes a step");
        Some(match happening {
            Happening::Request { from, life, call, message, background } => {
                if let Message::Hello(_) = &message {
                    // Their connections come up together.
                    let own = node.life;
                    self.met.insert((own, life));
                }
                let asker = Asker::Peer { host: from, life, call, background };
                Event::Peer { waiter: self.waiter(number, asker), message }
            }
            Happening::Reply { call, ticket, reply } => {
                node.calls.remove(&call)?;
                self.tickets.remove(&(number, ticket));
                Event::PeerReply { ticket, reply }
            }
            Happening::Greeted { call, hello } => {
                node.calls.remove(&call)?;
                let life = node.life;
                let peer = self.nodes.values().find(|peer| peer.boot == hello.me.boot)?;
                self.met.insert((life, peer.life));
                Event::Met(hello)
            }
            Happening::Told { call, verdict } => {
                node.calls.remove(&call)?;
                verdict.map_or(Event::NoRecord, Event::from)
            }
            Happening::Watched(record) => Event::Record(Some(record)),
            Happening::Written => Event::Durable(node.disk.written()?),
            Happening::Refused(member) => Event::PeerRefused(member),
            Happening::Worked(work) => Event::Worked(work.run()?),
            Happening::Order { label, request, facts, payload, within } => {
                let waiter = self.waiter(number, Asker::Client(label));
                Event::Execute { waiter, request, facts, payload, deadline: now + within }
            }
            Happening::Query { label, consistency, within } => {
                let waiter = self.waiter(number, Asker::Client(label));
                let payload = common::services::encode(&());
                Event::Query { waiter, consistency, payload, deadline: now + within }
            }
            Happening::DiskFull(full) => Event::DiskFull(full),
            Happening::Stop => Event::Stop,
        })
    }

    pub(super) fn waiter(&mut self, number: u8, asker: Asker) -> Waiter {
        self.waiters += 1;
        let waiter = Waiter(self.waiters);
        self.askers.insert((number, waiter), asker);
        waiter
    }

    pub(super) fn tell_change(&mut self, number: u8, before: Appearance, after: Appearance) {
        let me = self.names.disk(self.nodes[&number].id);
        let led = before.role == Role::Primary;
        if led && (after.role != Role::Primary || after.epoch != before.epoch) {
            self.telling.tell(&me, None, "steps down".to_owned());
        }
        let leads = after.role == Role::Primary && (!led || after.epoch != before.epoch);
        match after.role {
            Role::Primary if leads => self.telling.tell(&me, None, format!("leads {}", after.epoch)),
            Role::Backup if before.role != after.role && !led => {
                self.telling.tell(&me, None, "is backup".to_owned());
            }
            Role::Learner if before.role != after.role => {
                self.telling.tell(&me, None, "is learner".to_owned());
            }
            _ => {}
        }
        if before.trouble != after.trouble && !after.trouble.is_empty() {
            self.telling.tell(&me, None, format!("waits: {}", after.trouble));
        }
        if after.committed > before.committed {
            let word = if after.role == Role::Primary { "commits" } else { "knows committed" };
            self.telling.tell(&me, None, format!("{word} {}", after.committed));
        }
    }
}

impl Node {
    pub(super) fn new(number: u8) -> Self {
        Self {
            id: ReplicaId::from_u128(u128::from(number)),
            disks: 0,
            boots: 0,
            boot: BootId::NOBODY,
            life: 0,
            disk: Disk::default(),
            core: None,
            wake: Moment::ORIGIN,
            paused: false,
            inbox: Vec::new(),
            calls: BTreeMap::new(),
            called: 0,
            first: false,
            clock_off: 0,
            appearance: None,
        }
    }

    pub(super) fn member(&self) -> Member {
        Member { id: self.id, boot: self.boot }
    }

    pub(super) fn runs(&self) -> bool {
        self.core.is_some()
    }
}

impl Appearance {
    pub(super) fn of(core: &Core) -> Self {
        let progress = core.progress();
        Self {
            role: core.role(),
            epoch: progress.epoch,
            trouble: core.trouble(),
            committed: progress.committed,
        }
    }
}
