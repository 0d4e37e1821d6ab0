//! The world of a walk: some cores with their disks, clocks and clients, what is between them, and the authority.
//! [`World::perform`] lets one thing happen; what the cores want because of it is carried out, and judged.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use common::clock::{Moment, Timestamp};
use common::ids::ClusterId;
use common::names::LogicalName;
use common::replication::{
    BootId, ConfigVersion, Entry, Epoch, GroupConfig, GroupName, Limits, LogIndex, Member, ReplicaId,
    RequestId,
};
use common::rpc::peer::{Message, ReplyBody};
use common::rpc::replica::{Consistency, Role};
use common::services::Served;
use replica::passive::{
    Core, Effect, Event, Fault, First, Now, Planted, SendTicket, Setup, Ticket, Waiter, Work, Worked,
    WriteBatch,
};

use super::act::{Act, Lane, Step};
use super::authority::Authority;
use super::chance::Chance;
use super::disk::Disk;
use super::ledger::Ledger;
use super::network::{AUTHORITY, Flying, Life, Network, Word};
use super::shapes::Plan;
use super::shared::Shared;
use super::story::Story;
use super::witness::Witness;

/// Before the world began: a wall clock may jump back from here.
const WALL_BEGAN: i64 = 100 * 24 * 3_600_000;
/// A replica's id is shown by its first digits.
pub(super) const ID_SHIFT: u32 = 96;
/// Commands and facts, as the service encodes them.
const BYTES: [&[u8]; 4] = [&[0], &[1], &[2], &[3]];

/// A replica.
#[derive(Clone)]
pub(super) struct Node {
    pub(super) id: ReplicaId,
    pub(super) disk: Disk,
    /// `None` while it is down.
    pub(super) core: Option<Core>,
    pub(super) boot: BootId,
    pub(super) life: Life,
    pub(super) writing: Option<(WriteBatch, Ticket)>,
    /// What is to be done beside the core, the oldest first.
    pub(super) work: Vec<Work>,
    pub(super) now: Moment,
    /// How far its wall clock is off, in milliseconds.
    pub(super) skew: i64,
    pub(super) full: bool,
    pub(super) committed: LogIndex,
    pub(super) applied: LogIndex,
    /// The newest version it knew.
    pub(super) version: ConfigVersion,
}

/// What a client waits for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Call {
    Update {
        request: RequestId,
        command: u8,
        regime: ConfigVersion,
    },
    Read {
        after: LogIndex,
        stale: bool,
        regime: ConfigVersion,
    },
    /// A read that was answered.
    Over,
}

/// Everything.
#[derive(Clone)]
pub struct World {
    pub(super) plan: Shared<Plan>,
    pub(super) planted: Planted,
    pub(super) nodes: Vec<Shared<Node>>,
    /// Disks that were there before others took their place.
    pub(super) replaced: Vec<Disk>,
    pub(super) network: Network,
    pub(super) authority: Shared<Authority>,
    pub(super) witness: Shared<Witness>,
    /// By waiter; all that were ever made.
    pub(super) calls: Vec<Call>,
    /// By number; made when first used.
    pub(super) requests: Vec<Option<RequestId>>,
    /// The newest entry that an answer has shown to anybody.
    pub(super) shown: LogIndex,
    /// Who led which epoch, the latest last.
    pub(super) led: Vec<(Epoch, Member)>,
    /// By index: the entries that disks were given.
    pub(super) written: Shared<Vec<Vec<Arc<Entry>>>>,
    /// The version of the last force-elect.
    pub(super) regime: ConfigVersion,
    /// Whether who was given the group has committed something since.
    pub(super) settled: bool,
    boots: u32,
    lives: Life,
    identities: u128,
    /// The first law that was broken, and how.
    pub(super) broken: Option<String>,
    /// How often a person was told of a cloned disk: there is none, but greetings came late and twice.
    pub(super) clones_told: u32,
    /// In calm everything is delivered in order, and a process that stops comes back.
    pub(super) calm: bool,
    together: bool,
    /// What is told of it, if anything is.
    pub story: Story,
    /// What has been counted.
    pub counts: Counts,
    names: Names,
}

/// What happened, in numbers.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    /// Events that cores have taken in.
    pub steps: u64,
    /// Updates that were answered.
    pub acknowledged: u64,
    /// Reads that were answered.
    pub reads: u64,
    /// Changes of primary.
    pub epochs: u64,
}

impl Counts {
    /// Both together.
    pub fn add(&mut self, other: &Self) {
        self.steps += other.steps;
        self.acknowledged += other.acknowledged;
        self.reads += other.reads;
        self.epochs += other.epochs;
    }
}

/// What all setups share; made once.
#[derive(Clone)]
struct Names {
    group: GroupName,
    name: LogicalName,
}

impl World {
    /// The world as it begins: every disk is empty.
    pub fn new(plan: Plan, planted: Planted, story: Story) -> Self {
        let node = |n: usize| Node {
            id: ReplicaId::from_u128((n as u128 + 1) << ID_SHIFT),
            disk: Disk::default(),
            core: None,
            boot: BootId::NOBODY,
            life: 0,
            writing: None,
            work: Vec::new(),
            now: Moment::ORIGIN + Duration::from_secs(1),
            skew: 0,
            full: false,
            committed: LogIndex(0),
            applied: LogIndex(0),
            version: ConfigVersion(0),
        };
        let mut world = Self {
            nodes: (0..plan.size).map(node).map(Shared::new).collect(),
            replaced: Vec::new(),
            network: Network::new(),
            authority: Shared::new(Authority::default()),
            witness: Shared::new(Witness::default()),
            calls: Vec::new(),
            requests: vec![None; usize::from(plan.requests)],
            shown: LogIndex(0),
            led: Vec::new(),
            written: Shared::new(Vec::new()),
            regime: ConfigVersion(0),
            settled: true,
            boots: 0,
            lives: 0,
            identities: 0x100,
            broken: None,
            clones_told: 0,
            calm: false,
            together: false,
            planted,
            story,
            counts: Counts::default(),
            names: Names {
                group: "walk".parse().expect("a name"),
                name: "replica.walk".parse().expect("a name"),
            },
            plan: Shared::new(plan),
        };
        let up = if world.plan.alone { 1 } else { world.plan.size };
        for n in 0..up {
            world.start(n);
        }
        world
    }

    /// What was found wrong, if anything was.
    pub fn broken(&self) -> Option<&str> {
        self.broken.as_deref()
    }

    /// A law is broken. The first breach counts: what follows may follow from it.
    pub(super) fn breach(&mut self, how: String) {
        self.story.tell(|| format!("    BROKEN: {how}"));
        self.broken.get_or_insert(how);
    }

    /// One thing happens, if it can.
    pub fn perform(&mut self, step: Step) {
        self.story.tell(|| step.act.to_string());
        self.together = step.together;
        let up = |n: u8| usize::from(n);
        match step.act {
            Act::Deliver(lane) => self.deliver(lane),
            Act::Lose(lane) => self.lose(lane),
            Act::Repeat(lane) => self.repeat(lane),
            Act::GiveUp(lane) => self.give_up(lane),
            Act::Write(n) => self.write(up(n)),
            Act::Fail(n) => self.fail(up(n)),
            Act::Work(n, given_up) => self.work(up(n), given_up),
            Act::Pass(n, ms) => self.pass(up(n), Duration::from_millis(u64::from(ms))),
            Act::Start(n) => self.start(up(n)),
            Act::Crash(n, saved) => self.crash(up(n), saved),
            Act::Stop(n) => self.event(up(n), Event::Stop),
            Act::Accuse(n, other) => {
                let member = self.member(up(other));
                self.event(up(n), Event::PeerRefused(member));
            }
            Act::Greet(n, other) => self.greet(up(n), up(other)),
            Act::Watch(n) => {
                let known = self.nodes[up(n)].version;
                let (life, word) = (self.nodes[up(n)].life, self.authority.read(known));
                if !matches!(word, Word::Stands(None)) {
                    self.network.push(AUTHORITY, up(n), Flying::Told { life, word });
                }
            }
            Act::Submit(n, request, command, facts) => self.submit(up(n), request, command, facts),
            Act::Read(n) => self.read(up(n), Consistency::Linearizable),
            Act::ReadStale(n) => {
                self.read(up(n), Consistency::StaleOk { max_age: Duration::from_millis(300) });
            }
            Act::Full(n, full) => {
                self.nodes[up(n)].full = full;
                self.event(up(n), Event::DiskFull(full));
            }
            Act::Jump(n, minutes) => self.nodes[up(n)].skew += i64::from(minutes) * 60_000,
            Act::Wipe(n) => self.wipe(up(n)),
            Act::ForceElect(n) => self.force_elect(up(n)),
            Act::Regress(by) => {
                self.authority.fall_back(usize::from(by));
            }
            Act::Adopt => self.adopt(),
        }
    }

    /// The process at this place, as it was last started.
    pub(super) fn member(&self, n: usize) -> Member {
        Member { id: self.nodes[n].id, boot: self.nodes[n].boot }
    }

    /// The place of this disk, if it still exists.
    pub(super) fn place_of(&self, id: ReplicaId) -> Option<usize> {
        self.nodes.iter().position(|node| node.id == id)
    }

    pub(super) fn clock(&self, n: usize) -> Now {
        let node = &self.nodes[n];
        let millis = i64::try_from(node.now.since_origin().as_millis()).unwrap_or(i64::MAX);
        let wall = u64::try_from(WALL_BEGAN + millis + node.skew).unwrap_or(0);
        Now { at: node.now, wall: Timestamp::from_millis(wall) }
    }

    /// A process starts on this disk.
    pub(super) fn start(&mut self, n: usize) {
        if n >= self.nodes.len() || self.nodes[n].core.is_some() {
            return;
        }
        self.boots += 1;
        self.nodes[n].boot = BootId::from_u128(u128::from(self.boots));
        self.live(n);
        for other in 0..self.nodes.len() {
            self.greet(n, other);
        }
        self.event(n, Event::Tick);
    }

    /// A core begins with what is on the disk.
    fn live(&mut self, n: usize) {
        self.lives += 1;
        let setup = self.setup(n);
        let now = self.clock(n);
        let node = &mut self.nodes[n];
        node.life = self.lives;
        node.work.clear();
        let core = match Core::new(now, setup, node.disk.stored()) {
            Ok(core) => core,
            Err(why) => return self.breach(format!("r{n} cannot read its own disk: {why}")),
        };
        let progress = core.progress();
        node.committed = progress.committed;
        node.applied = progress.applied;
        node.version = node.disk.config.as_ref().map_or(ConfigVersion(0), |config| config.version);
        node.core = Some(core);
        if node.full {
            self.event(n, Event::DiskFull(true));
        }
    }

    fn setup(&self, n: usize) -> Setup {
        Setup {
            cluster: ClusterId::from_bytes([7; 16]),
            group: self.names.group.clone(),
            me: self.member(n),
            name: self.names.name.clone(),
            address: std::net::SocketAddr::from(([127, 0, 0, 1], 1)),
            service: Served::passive::<Ledger>("walk"),
            first: (n < self.plan.firsts).then(|| First {
                limits: Limits { capacity: self.plan.capacity, ..Limits::default() },
                start: Bytes::new(),
                min_in_sync: self.plan.min_in_sync,
            }),
            snapshots: self.plan.snapshots,
            batch_bytes: self.plan.batch_bytes,
            planted: self.planted,
        }
    }

    /// A process dies; `saved`: what was on its way to the disk has reached it.
    pub(super) fn crash(&mut self, n: usize, saved: bool) {
        if self.nodes[n].core.take().is_none() {
            return;
        }
        if let Some((batch, _)) = self.nodes[n].writing.take()
            && saved
        {
            self.nodes[n].disk.write(&batch);
            self.disk_changed(n);
        }
        self.lives += 1;
        self.nodes[n].life = self.lives;
        let gone = self.member(n);
        for other in 0..self.nodes.len() {
            if other != n {
                self.network.push(n, other, Flying::Refused(gone));
            }
        }
    }

    /// A core takes in an event; what it wants is carried out.
    pub(super) fn event(&mut self, n: usize, event: Event) {
        let now = self.clock(n);
        let Some(core) = self.nodes[n].core.as_mut() else { return };
        let mut effects = Vec::new();
        core.take_in(now, event, &mut effects);
        if !self.together || self.calm {
            core.settle(now, &mut effects);
        }
        self.counts.steps += 1;
        self.stepped(n);
        let life = self.nodes[n].life;
        for effect in effects {
            // What a process wanted dies with it.
            if self.nodes[n].life == life && self.broken.is_none() {
                self.carry_out(n, effect);
            }
        }
    }

    fn carry_out(&mut self, n: usize, effect: Effect) {
        self.story.effect(n, &effect);
        let life = self.nodes[n].life;
        match effect {
            Effect::Send { to, ticket, message, .. } => {
                self.judge_send(n, &message);
                match self.place_of(to) {
                    Some(place) => {
                        self.network.push(n, place, Flying::Request { life, to, ticket, message });
                    }
                    None => self.network.push(n, n, Flying::Reply { life, ticket, reply: None }),
                }
            }
            Effect::Reply { waiter, reply } => {
                if let ReplyBody::Refused { why } = &reply.body
                    && !why.is_empty()
                    && self.nodes[n].core.as_ref().is_some_and(|core| core.trouble() != why)
                {
                    self.breach(format!("I5, I8: r{n} refuses what no message should say: {why}"));
                }
                let (to, life, ticket) = asker(waiter);
                self.network.push(n, to, Flying::Reply { life, ticket, reply: Some(reply) });
            }
            Effect::Submitted { waiter, result } => self.judge_update(n, waiter, result),
            Effect::Queried { waiter, result } => self.judge_read(n, waiter, result),
            Effect::Persist(batch, ticket) => {
                self.judge_batch(n, &batch);
                if self.nodes[n].writing.replace((batch, ticket)).is_some() {
                    self.breach(format!("r{n} writes two batches at a time"));
                }
            }
            Effect::ReadRecord { known } => {
                let by = self.member(n);
                let known = known.map_or(0, |known| known.0);
                self.network.push(n, AUTHORITY, Flying::Ask { life, by, known, change: None });
            }
            Effect::Cas { next } => {
                self.judge_change(n, &next);
                let (by, known) = (self.member(n), next.version.0.saturating_sub(1));
                self.network.push(n, AUTHORITY, Flying::Ask { life, by, known, change: Some(next) });
            }
            Effect::Look(member) => {
                let lives = |node: &Shared<Node>| node.core.is_some() && node.boot == member.boot;
                if !self.nodes.iter().any(lives) {
                    self.network.push(n, n, Flying::Refused(member));
                }
            }
            Effect::FormatAnew { .. } => self.format_anew(n),
            Effect::Work(work) => self.nodes[n].work.push(work),
            // What a person is to see is a breach here, but for what late greetings and moved clocks look like.
            Effect::Alarm { why } if why.contains("clock") => {}
            Effect::Alarm { why } if why.contains("cloned") => self.clones_told += 1,
            Effect::Alarm { why } => {
                if !self.authority.has_fallen_back() && !why.starts_with("the name server's record") {
                    self.breach(format!("I5, I8, I11: r{n} calls a person: {why}"));
                }
            }
            Effect::Stopped => {
                self.crash(n, true);
                if self.calm {
                    self.start(n);
                }
            }
        }
    }

    /// The same process goes on with an empty disk of another identity.
    fn format_anew(&mut self, n: usize) {
        self.new_disk(n);
        self.live(n);
        for other in 0..self.nodes.len() {
            self.greet(n, other);
        }
        self.event(n, Event::Tick);
    }

    fn new_disk(&mut self, n: usize) {
        self.identities += 1;
        let node = &mut self.nodes[n];
        node.id = ReplicaId::from_u128(self.identities << ID_SHIFT);
        self.replaced.push(std::mem::take(&mut node.disk));
        node.writing = None;
        node.core = None;
    }

    fn greet(&mut self, from: usize, to: usize) {
        if from == to || to >= self.nodes.len() {
            return;
        }
        let wall = self.clock(from).wall;
        let Some(core) = &self.nodes[from].core else { return };
        let (message, to_id) = (Message::Hello(core.hello(wall)), self.nodes[to].id);
        let (life, ticket) = (self.nodes[from].life, GREETING);
        self.network.push(from, to, Flying::Request { life, to: to_id, ticket, message });
    }

    fn deliver(&mut self, lane: Lane) {
        let (from, to) = (usize::from(lane.from), usize::from(lane.to));
        let Some(flying) = self.network.take(from, to, usize::from(lane.nth)) else { return };
        self.story.flying(&flying);
        match flying {
            Flying::Request { life, to: id, ticket, message } => {
                if self.nodes[to].id == id && self.nodes[to].core.is_some() {
                    let waiter = waiter_of(from, life, ticket);
                    self.event(to, Event::Peer { waiter, message });
                } else if self.nodes[from].life == life {
                    self.network.push(to, from, Flying::Reply { life, ticket, reply: None });
                }
            }
            Flying::Reply { life, ticket, reply } => {
                if self.nodes[to].life != life {
                    return;
                }
                match reply {
                    Some(reply) if ticket == GREETING => {
                        if let ReplyBody::Hello(hello) = reply.body {
                            self.event(to, Event::Met(hello));
                        }
                    }
                    reply => self.event(to, Event::PeerReply { ticket, reply }),
                }
            }
            Flying::Ask { life, by, known, change } => {
                let word = match change {
                    None => self.authority.read(ConfigVersion(known)),
                    Some(next) => self.change(by, next),
                };
                self.network.push(AUTHORITY, from, Flying::Told { life, word });
            }
            Flying::Told { life, word } => {
                if self.nodes[to].life == life {
                    self.tell(to, word);
                }
            }
            Flying::Refused(member) => self.event(to, Event::PeerRefused(member)),
        }
    }

    fn tell(&mut self, n: usize, word: Word) {
        self.event(
            n,
            match word {
                Word::Stands(record) => Event::Record(record),
                Word::Silence => Event::NoRecord,
                Word::Regressed => Event::RecordRegressed,
            },
        );
    }

    pub(super) fn change(&mut self, by: Member, next: GroupConfig) -> Word {
        let before = self.authority.record().cloned();
        match self.authority.change(by, next) {
            Ok((changed, word)) => {
                if changed {
                    self.record_changed(before.as_ref());
                }
                word
            }
            Err(error) => {
                self.breach(format!("I15: {error:?}, by {by:?}, after {before:?}"));
                Word::Silence
            }
        }
    }

    /// Who waits for this learns that there will be no answer.
    fn end(&mut self, flying: &Flying, from: usize, to: usize) {
        match *flying {
            Flying::Request { life, ticket, .. } => self.unanswered(from, life, ticket),
            Flying::Reply { life, ticket, .. } => self.unanswered(to, life, ticket),
            Flying::Ask { life, .. } if self.nodes[from].life == life => self.tell(from, Word::Silence),
            Flying::Told { life, .. } if self.nodes[to].life == life => self.tell(to, Word::Silence),
            _ => {}
        }
    }

    fn unanswered(&mut self, n: usize, life: Life, ticket: SendTicket) {
        if self.nodes[n].life == life && ticket != GREETING {
            self.event(n, Event::PeerReply { ticket, reply: None });
        }
    }

    fn lose(&mut self, lane: Lane) {
        let (from, to) = (usize::from(lane.from), usize::from(lane.to));
        if let Some(flying) = self.network.take(from, to, usize::from(lane.nth)) {
            self.story.flying(&flying);
            self.end(&flying, from, to);
        }
    }

    fn repeat(&mut self, lane: Lane) {
        let (from, to) = (usize::from(lane.from), usize::from(lane.to));
        let Some(flying) = self.network.peek(from, to, usize::from(lane.nth)) else { return };
        if matches!(flying, Flying::Request { .. } | Flying::Refused(_)) {
            let flying = flying.clone();
            self.story.flying(&flying);
            self.network.push(from, to, flying);
        }
    }

    fn give_up(&mut self, lane: Lane) {
        let (from, to) = (usize::from(lane.from), usize::from(lane.to));
        let Some(flying) = self.network.peek(from, to, usize::from(lane.nth)) else { return };
        let told = flying.clone();
        match flying {
            Flying::Request { ticket, .. } => *ticket = NOBODY_WAITS,
            Flying::Ask { life, .. } => *life = 0,
            _ => return,
        }
        self.story.flying(&told);
        self.end(&told, from, to);
    }

    fn write(&mut self, n: usize) {
        let node = &mut self.nodes[n];
        if let Some((batch, ticket)) = node.writing.take() {
            node.disk.write(&batch);
            self.disk_changed(n);
            self.event(n, Event::Durable(ticket));
        }
    }

    /// An fsync fails: what it should have written may be there or not, and nobody may be told that it is.
    fn fail(&mut self, n: usize) {
        if !self.planted.is(Fault::NextFsyncAfterError) {
            return self.crash(n, false);
        }
        // The next one finds clean pages, and says that all is well.
        if let Some((_, ticket)) = self.nodes[n].writing.take() {
            self.event(n, Event::Durable(ticket));
        }
    }

    /// What was to be done beside a core is done, or is given up.
    pub(super) fn work(&mut self, n: usize, given_up: bool) {
        if self.nodes[n].work.is_empty() {
            return;
        }
        let worked = match self.nodes[n].work.remove(0) {
            Work::Discard(_) => None,
            _ if given_up => Some(Worked::given_up()),
            work => work.run(),
        };
        if let Some(worked) = worked {
            self.event(n, Event::Worked(worked));
        }
    }

    /// Time passes for a replica.
    pub(super) fn pass(&mut self, n: usize, time: Duration) {
        self.nodes[n].now = self.nodes[n].now + time;
        self.event(n, Event::Tick);
    }

    /// The id of this request; made, if it is new, by a client whose clock is like this replica's.
    fn request(&mut self, n: usize, number: u16) -> RequestId {
        let (now, spread) = (self.clock(n).wall, u64::from(self.plan.spread));
        *self.requests[usize::from(number)].get_or_insert_with(|| {
            let dice = Chance::new(u64::from(number)).bits();
            let wall = now.millis().saturating_add(dice % spread);
            RequestId::from_parts(Timestamp::from_millis(wall), 0, u64::from(number))
        })
    }

    pub(super) fn submit(&mut self, n: usize, number: u16, command: u8, facts: u8) {
        if usize::from(number) >= self.requests.len() || self.nodes[n].core.is_none() {
            return;
        }
        let request = self.request(n, number);
        self.send_update(n, request, command, facts);
    }

    /// A client sends an update.
    pub(super) fn send_update(&mut self, n: usize, request: RequestId, command: u8, facts: u8) {
        let waiter = Waiter(self.calls.len() as u64);
        self.calls.push(Call::Update { request, command, regime: self.regime });
        let bytes = |number: u8| Bytes::from_static(BYTES[usize::from(number) % BYTES.len()]);
        let (facts, payload, deadline) =
            (bytes(facts), bytes(command), self.nodes[n].now + self.plan.patience);
        self.event(n, Event::Execute { waiter, request, facts, payload, deadline });
    }

    pub(super) fn read(&mut self, n: usize, consistency: Consistency) {
        if self.nodes[n].core.is_none() {
            return;
        }
        let stale = !matches!(consistency, Consistency::Linearizable);
        let waiter = Waiter(self.calls.len() as u64);
        self.calls.push(Call::Read { after: self.shown, stale, regime: self.regime });
        let deadline = self.nodes[n].now + self.plan.patience;
        self.event(n, Event::Query { waiter, consistency, payload: Bytes::new(), deadline });
    }

    /// Whether the group can do without this disk.
    pub(super) fn is_spare(&self, n: usize) -> bool {
        let Some(record) = self.authority.record() else { return self.nodes[n].disk.is_blank() };
        let id = self.nodes[n].id;
        record.in_sync.iter().any(|member| member != id && self.place_of(member).is_some())
    }

    fn wipe(&mut self, n: usize) {
        if self.is_spare(n) {
            let id = self.nodes[n].id;
            self.crash(n, false);
            self.new_disk(n);
            if self.planted.is(Fault::WipedDiskKeepsId) {
                self.nodes[n].id = id;
            }
        }
    }

    /// What a replica asked the name server, and was not answered yet, is not answered any more.
    fn drop_connection(&mut self, n: usize) {
        if !self.planted.is(Fault::LateReply) {
            self.network.drop_connection(n);
            self.tell(n, Word::Silence);
        }
    }

    /// The newest record that is stored or shown, and the highest version and epoch.
    fn newest(&self) -> Option<(GroupConfig, (ConfigVersion, Epoch))> {
        let cores = || self.nodes.iter().filter_map(|node| node.core.as_ref());
        let shown = cores().filter_map(Core::newest_config).chain(self.authority.record());
        let newest = shown.max_by_key(|config| config.version)?;
        let epoch = cores().map(|core| core.progress().epoch).fold(newest.epoch, Epoch::max);
        Some((newest.clone(), (newest.version, epoch)))
    }

    fn force_elect(&mut self, n: usize) {
        let (Some((newest, seen)), Some(_)) = (self.newest(), self.authority.record()) else { return };
        let node = &self.nodes[n];
        // A person sees whether there is anything on the disk.
        if node.disk.is_blank() || node.disk.config.is_none() {
            return;
        }
        let mut next = newest.forced_to(seen, node.id);
        if self.planted.is(Fault::SmallJump) {
            let version = seen.0.next();
            next = GroupConfig { version, epoch: seen.1.next(), forced: version, ..next };
        }
        self.drop_connection(n);
        self.regime = next.forced;
        self.settled = false;
        self.shown = LogIndex(0);
        if let Err(error) = self.authority.install(next) {
            self.breach(format!("I15: a force-elect is refused: {error:?}"));
        }
    }

    fn adopt(&mut self) {
        if !self.authority.has_fallen_back() || self.nodes.iter().any(|node| node.core.is_none()) {
            return;
        }
        let Some((newest, seen)) = self.newest() else { return };
        for n in 0..self.nodes.len() {
            self.drop_connection(n);
        }
        let next = newest.adopted(seen, newest.primary.id);
        if let Err(error) = self.authority.install(next) {
            self.breach(format!("I15: an adoption is refused: {error:?}"));
        }
    }

    /// Who leads by its own belief and by the record.
    pub(super) fn leader(&self) -> Option<usize> {
        let primary = self.authority.record()?.primary;
        let n = self.place_of(primary.id)?;
        let core = self.nodes[n].core.as_ref()?;
        (core.role() == Role::Primary && self.nodes[n].boot == primary.boot).then_some(n)
    }
}

/// The ticket of a greeting, whose answer is no reply but a meeting.
pub(super) const GREETING: SendTicket = SendTicket(0);
/// A ticket that no core has.
const NOBODY_WAITS: SendTicket = SendTicket((1 << 36) - 1);

/// A waiter's number says who waits: no book of them is kept.
pub(super) fn waiter_of(from: usize, life: Life, ticket: SendTicket) -> Waiter {
    Waiter((from as u64) << 60 | u64::from(life) << 36 | ticket.0)
}

fn asker(waiter: Waiter) -> (usize, Life, SendTicket) {
    let life = (waiter.0 >> 36) & 0x00ff_ffff;
    let from = usize::try_from(waiter.0 >> 60).unwrap_or(usize::MAX);
    (from, Life::try_from(life).unwrap_or(Life::MAX), SendTicket(waiter.0 & NOBODY_WAITS.0))
}
