//! The world of a walk: some cores with their disks and clocks, sessions, what is between them, and the name server.
//! [`World::perform`] lets one thing happen; what the cores want because of it is carried out, and judged.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use common::clock::{Moment, Timestamp};
use common::ids::ClusterId;
use common::replication::{
    BootId, ConfigError, ConfigVersion, GossipConfig, GroupName, Member, Proposer, ReplicaId,
    RequestIdSource, Session, VectorTimestamp,
};
use common::rpc::gossip::{Message, Reply};
use common::services::CausalServed;
use replica::gossip::{
    Core, Effect, Event, Fault, Now, OldLog, Planted, SendTicket, Setup, Status, Ticket, Waiter, Work,
    WriteBatch,
};

use super::act::{Act, Lane, Step};
use super::both::Both;
use super::disk::Disk;
use super::network::{Flying, Life, NAME_SERVER, Network};
use super::oracle::{Expected, Oracle, Set, UPDATES_MAX};
use super::shapes::Plan;
use crate::passive::story::Story;

/// Before the world began: a wall clock may jump back from here.
const WALL_BEGAN: i64 = 100 * 24 * 3_600_000;
/// How long a client waits.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a replica waits for the name server.
const NAME_SERVER_WITHIN: Duration = Duration::from_secs(1);
/// A replica's id is shown by its first digits.
const ID_SHIFT: u32 = 96;
/// Copies of a disk that are kept, to go back to.
const COPIES_KEPT: usize = 4;
/// Persons.
pub(super) const SESSIONS: usize = 4;

/// A replica.
#[derive(Clone)]
pub(super) struct Node {
    pub(super) id: ReplicaId,
    pub(super) disk: Disk,
    /// What the disk was now and then, the oldest first.
    pub(super) past: Vec<Disk>,
    /// What it held at most, as this identity; and how high its floor was.
    pub(super) held: VectorTimestamp,
    pub(super) floored: Timestamp,
    /// `None` while it is down.
    pub(super) core: Option<Core>,
    pub(super) life: Life,
    pub(super) writing: Option<(WriteBatch, Ticket)>,
    /// What is done beside the core, until time has passed.
    work: Option<Work>,
    pub(super) now: Moment,
    /// How far its wall clock is off, in milliseconds.
    pub(super) skew: i64,
    pub(super) cut: bool,
    /// As the core was last seen.
    pub(super) applied: VectorTimestamp,
    pub(super) version: ConfigVersion,
    pub(super) settled: Timestamp,
    pub(super) expected: Expected,
    pub(super) served: bool,
    /// It was told that its disk is an old copy, since it was started.
    pub(super) convicted: bool,
    writes: u32,
}

/// A person.
#[derive(Clone, Default)]
pub(super) struct Person {
    pub(super) session: Session,
    pub(super) seen: Set,
    ids: RequestIdSource,
    made: u64,
}

/// What a client waits for.
#[derive(Clone, Debug)]
pub(super) struct Call {
    pub(super) session: usize,
    /// `None`: it asks.
    pub(super) update: Option<usize>,
    pub(super) prev: VectorTimestamp,
    pub(super) seen: Set,
}

/// Everything.
#[derive(Clone)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts about one world")]
pub struct World {
    pub(super) plan: Plan,
    pub(super) planted: Planted,
    pub(super) nodes: Vec<Node>,
    pub(super) network: Network,
    pub(super) record: Option<GossipConfig>,
    pub(super) oracle: Oracle,
    pub(super) people: Vec<Person>,
    /// By waiter; all that were ever made.
    pub(super) calls: Vec<Call>,
    /// What each identity had on its disk at most.
    pub(super) truth: BTreeMap<ReplicaId, VectorTimestamp>,
    /// A disk is an old copy, and nobody who could be asked has noticed: nothing is promised any more.
    pub(super) undone: bool,
    pub(super) rolled_back: bool,
    /// Who waits for an answer of which place: nobody waits for ever.
    asked: BTreeSet<(usize, Waiter)>,
    /// Who asked what others remember, and has no answer yet: a second answer is told to nobody.
    recalls: BTreeSet<(Life, SendTicket)>,
    lives: Life,
    identities: u128,
    pub(super) broken: Option<String>,
    pub(super) calm: bool,
    together: bool,
    /// What each disk is called: `r2'` is the second one of `r2`.
    #[cfg(test)]
    pub(super) labels: BTreeMap<ReplicaId, String>,
    /// What a scenario tells, and whether a line is a mere round; only where one is played.
    #[cfg(test)]
    pub(super) script: Vec<(bool, String)>,
    #[cfg(test)]
    pub(super) scripted: bool,
    /// What is told of it, if anything is.
    pub story: Story,
    /// What has been counted.
    pub counts: Counts,
}

/// What happened, in numbers.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    /// Events that cores have taken in.
    pub steps: u64,
    /// Updates that were answered.
    pub acknowledged: u64,
    /// Queries that were answered.
    pub queries: u64,
    /// Disks that were lost or went back.
    pub disks: u64,
    /// Copies of disks that were installed.
    pub joins: u64,
    /// Identities that were retired.
    pub retired: u64,
    /// Updates refused as too old.
    pub expired: u64,
    /// Milliseconds from heal to equal digests, and how often that was measured.
    pub healing: (u64, u64),
}

impl Counts {
    /// Both together.
    pub fn add(&mut self, other: &Self) {
        self.steps += other.steps;
        self.acknowledged += other.acknowledged;
        self.queries += other.queries;
        self.disks += other.disks;
        self.joins += other.joins;
        self.retired += other.retired;
        self.expired += other.expired;
        self.healing.0 += other.healing.0;
        self.healing.1 += other.healing.1;
    }
}

pub(super) fn cluster() -> ClusterId {
    ClusterId::from_bytes([7; 16])
}

pub(super) fn group() -> GroupName {
    "walk".parse().expect("a name")
}

impl World {
    /// The world as it begins: every disk is empty.
    pub fn new(plan: Plan, planted: Planted, story: Story) -> Self {
        let node = |n: usize| Node {
            id: ReplicaId::from_u128((n as u128 + 1) << ID_SHIFT),
            disk: Disk::default(),
            past: Vec::new(),
            held: VectorTimestamp::default(),
            floored: Timestamp::default(),
            core: None,
            life: 0,
            writing: None,
            work: None,
            now: Moment::ORIGIN + Duration::from_secs(1),
            skew: 0,
            cut: false,
            applied: VectorTimestamp::default(),
            version: ConfigVersion(0),
            settled: Timestamp::default(),
            expected: Expected::default(),
            served: false,
            convicted: false,
            writes: 0,
        };
        #[cfg(test)]
        let labels = (0..plan.size).map(|n| (node(n).id, format!("r{n}"))).collect();
        let mut world = Self {
            #[cfg(test)]
            labels,
            #[cfg(test)]
            script: Vec::new(),
            #[cfg(test)]
            scripted: false,
            nodes: (0..plan.size).map(node).collect(),
            network: Network::default(),
            record: None,
            oracle: Oracle::default(),
            people: vec![Person::default(); SESSIONS],
            calls: Vec::new(),
            truth: BTreeMap::new(),
            undone: false,
            rolled_back: false,
            asked: BTreeSet::new(),
            recalls: BTreeSet::new(),
            lives: 0,
            identities: 0x100,
            broken: None,
            calm: false,
            together: false,
            planted,
            story,
            counts: Counts::default(),
            plan,
        };
        for n in 0..world.plan.size {
            world.start(n);
        }
        world
    }

    /// What was found wrong, if anything was.
    pub fn broken(&self) -> Option<&str> {
        self.broken.as_deref()
    }

    /// Whether nothing is promised any more.
    pub fn is_over(&self) -> bool {
        self.broken.is_some() || self.undone
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
            Act::Write(n) => self.write(up(n)),
            Act::Pass(n, ms) => self.pass(up(n), Duration::from_millis(u64::from(ms))),
            Act::Start(n) => self.start(up(n)),
            Act::Crash(n, saved) => self.crash(up(n), saved),
            Act::Watch(n) => {
                // A watch shows what there is.
                if let Some(record) = self.record.clone() {
                    let (life, members) = (self.nodes[up(n)].life, Some(Some(record)));
                    self.network.push(NAME_SERVER, up(n), Flying::Told { life, members, until: None });
                }
            }
            Act::Submit(n, session) => self.submit(up(n), up(session)),
            Act::Retry(n, update) => self.retry(up(n), usize::from(update)),
            Act::Query(n, session) => self.query(up(n), up(session)),
            Act::Set(n, status) => self.event(up(n), Event::SetStatus(status)),
            Act::Jump(n, ms) => self.nodes[up(n)].skew += i64::from(ms),
            Act::Cut(n, cut) => self.nodes[up(n)].cut = cut,
            Act::Wipe(n, known) => self.wipe(up(n), known),
            Act::RollBack(n, back) => self.roll_back(up(n), usize::from(back)),
            Act::Remove(n, other) => {
                let id = self.nodes[up(other)].id;
                self.event(up(n), Event::Remove(id));
            }
        }
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
        self.live(n);
        self.event(n, Event::Tick);
    }

    /// A core begins with what is on the disk.
    fn live(&mut self, n: usize) {
        self.lives += 1;
        let now = self.clock(n);
        let node = &mut self.nodes[n];
        node.life = self.lives;
        let setup = Setup {
            cluster: cluster(),
            group: group(),
            me: node.id,
            address: std::net::SocketAddr::from(([127, 0, 0, 1], 1)),
            service: CausalServed::of::<Both>("walk"),
            first: n == 0,
            limits: self.plan.limits,
            seed: u64::from(self.lives),
            planted: self.planted,
        };
        match Core::new(now, setup, node.disk.stored()) {
            Ok(core) => {
                node.core = Some(core);
                node.served = false;
                node.convicted = false;
                self.begun(n);
            }
            Err(why) => self.breach(format!("r{n} cannot read its own disk: {why}")),
        }
    }

    /// A process dies; `saved`: what was on its way to the disk has reached it.
    pub(super) fn crash(&mut self, n: usize, saved: bool) {
        if self.nodes[n].core.take().is_none() {
            return;
        }
        self.nodes[n].work = None;
        if let Some((batch, _)) = self.nodes[n].writing.take()
            && saved
        {
            self.put_on_disk(n, &batch);
        }
        self.lives += 1;
        self.nodes[n].life = self.lives;
        self.hang_up(n);
    }

    /// Whoever waits for an answer from here learns that there will be none.
    fn hang_up(&mut self, n: usize) {
        for (place, waiter) in std::mem::take(&mut self.asked) {
            if place == n {
                let (to, life, ticket) = asker(waiter);
                self.network.push(n, to, Flying::Reply { life, ticket, reply: None });
            } else {
                self.asked.insert((place, waiter));
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
        self.story.note(|| format!("r{n}: {effect:?}"));
        #[cfg(test)]
        if self.scripted {
            self.script.extend(self.in_words(n, &effect));
        }
        let life = self.nodes[n].life;
        match effect {
            Effect::Send { to, ticket, message, .. } => {
                if matches!(message, Message::Recall { .. }) {
                    self.recalls.insert((life, ticket));
                }
                match self.place_of(to) {
                    Some(place) => self.network.push(n, place, Flying::Request { life, to, ticket, message }),
                    None => self.network.push(n, n, Flying::Reply { life, ticket, reply: None }),
                }
            }
            Effect::Reply { waiter, reply } => {
                self.asked.remove(&(n, waiter));
                let (to, life, ticket) = asker(waiter);
                self.network.push(n, to, Flying::Reply { life, ticket, reply: Some(reply) });
            }
            Effect::Executed { waiter, result } => self.judge_update(n, waiter, result),
            Effect::Queried { waiter, result } => self.judge_query(n, waiter, result),
            Effect::Persist(batch, ticket) => {
                assert!(self.nodes[n].writing.is_none(), "one batch at a time");
                self.nodes[n].writing = Some((batch, ticket));
            }
            Effect::Work(work) => {
                assert!(self.nodes[n].work.replace(work).is_none(), "one work at a time");
            }
            Effect::ReadMembers => self.ask_name_server(n, None),
            Effect::Cas { next } => self.ask_name_server(n, Some(next)),
            Effect::FormatAnew => {
                let was = self.nodes[n].id;
                let disk = self.nodes[n].disk.replaced(was);
                self.disk_given_up(n, &disk);
                self.new_disk(n, disk);
                self.live(n);
                self.event(n, Event::Tick);
            }
            Effect::Strand(records) => {
                for record in records {
                    if let Some(number) = self.oracle.number(record.id) {
                        self.oracle.sent[number].stranded = true;
                        // What it caused may be young enough to be logged again, without it.
                        self.oracle.lost.insert(number);
                    }
                }
            }
            Effect::Alarm { why } => self.judge_alarm(n, &why),
            // Who has left for good comes back as somebody new.
            Effect::Stopped => {
                self.crash(n, true);
                self.disk_lost(n, None);
                self.new_disk(n, Disk::default());
            }
        }
    }

    fn ask_name_server(&mut self, n: usize, change: Option<GossipConfig>) {
        let Node { life, id: by, now, .. } = self.nodes[n];
        let until = now + NAME_SERVER_WITHIN;
        self.network.push(n, NAME_SERVER, Flying::Ask { life, by, change, until });
    }

    /// Another identity on another disk.
    fn new_disk(&mut self, n: usize, disk: Disk) {
        self.identities += 1;
        let id = ReplicaId::from_u128(self.identities << ID_SHIFT);
        #[cfg(test)]
        {
            let before = self.labels.get(&self.nodes[n].id).cloned().unwrap_or_default();
            self.labels.insert(id, format!("{before}'"));
        }
        let node = &mut self.nodes[n];
        node.id = id;
        node.disk = disk;
        node.past.clear();
        node.held = VectorTimestamp::default();
        node.floored = Timestamp::default();
        node.writing = None;
        node.work = None;
        node.core = None;
        self.hang_up(n);
    }

    fn wipe(&mut self, n: usize, known: bool) {
        self.crash(n, false);
        let (was, blank) = (self.nodes[n].id, self.nodes[n].disk.is_blank());
        let mut disk = Disk::default();
        if known && !blank {
            disk.old = Some(OldLog { was, log: Vec::new() });
        }
        self.counts.disks += u64::from(!blank);
        self.disk_lost(n, None);
        self.new_disk(n, disk);
        if self.planted.is(Fault::ReuseIdentity) {
            self.nodes[n].id = was;
        }
    }

    fn roll_back(&mut self, n: usize, back: usize) {
        let Some(disk) = self.nodes[n].past.iter().rev().nth(back).cloned() else { return };
        self.crash(n, false);
        self.counts.disks += 1;
        self.rolled_back = true;
        self.disk_lost(n, Some(&disk));
        self.nodes[n].disk = disk;
    }

    fn deliver(&mut self, lane: Lane) {
        let (from, to) = (usize::from(lane.from), usize::from(lane.to));
        let Some(flying) = self.network.take(from, to, usize::from(lane.nth)) else { return };
        self.story.note(|| format!("{flying:?}"));
        if self.is_cut(from) || self.is_cut(to) {
            return self.end(&flying, from, to);
        }
        match flying {
            Flying::Request { life, to: id, ticket, message } => {
                if self.nodes[to].id == id && self.nodes[to].core.is_some() {
                    let waiter = waiter_of(from, life, ticket);
                    self.asked.insert((to, waiter));
                    self.event(to, Event::Peer { waiter, message });
                } else if self.nodes[from].life == life {
                    self.network.push(to, from, Flying::Reply { life, ticket, reply: None });
                }
            }
            Flying::Reply { life, ticket, reply } => self.answered(to, life, ticket, reply),
            Flying::Ask { life, by, change, until } => {
                if let Some(next) = change {
                    self.change(by, next);
                }
                let (members, until) = (Some(self.record.clone()), Some(until));
                self.network.push(NAME_SERVER, from, Flying::Told { life, members, until });
            }
            Flying::Told { life, members, until } => {
                if self.nodes[to].life == life {
                    let in_time = until.is_none_or(|until| self.nodes[to].now <= until);
                    let event = members.filter(|_| in_time).map_or(Event::NoMembers, Event::Members);
                    self.event(to, event);
                }
            }
        }
    }

    fn is_cut(&self, place: usize) -> bool {
        self.nodes.get(place).is_some_and(|node| node.cut)
    }

    fn answered(&mut self, n: usize, life: Life, ticket: SendTicket, reply: Option<Reply>) {
        if self.nodes[n].life != life {
            return;
        }
        let told = self.recalls.remove(&(life, ticket));
        self.nodes[n].convicted |= told && reply.as_ref().is_some_and(|reply| self.proves_old(n, reply));
        self.event(n, Event::PeerReply { ticket, reply });
    }

    /// The record changes, if the rules allow it.
    fn change(&mut self, by: ReplicaId, next: GossipConfig) {
        let proposer = Proposer::Member(Member { id: by, boot: BootId::NOBODY });
        let allowed = match &self.record {
            None => GossipConfig::allows_first(proposer, &next),
            Some(record) => record.allows(proposer, &next),
        };
        match allowed {
            Ok(()) => {
                let before = self.record.replace(next);
                self.record_changed(before.as_ref());
            }
            // A race that somebody has lost, or one who does not know yet that it is out.
            Err(ConfigError::Version | ConfigError::NotYours) => {}
            Err(error) => self.breach(format!("{by:?} proposes what is not allowed: {error}")),
        }
    }

    /// Who waits for this learns that there will be no answer.
    fn end(&mut self, flying: &Flying, from: usize, to: usize) {
        match *flying {
            Flying::Request { life, ticket, .. } => self.answered(from, life, ticket, None),
            Flying::Reply { life, ticket, .. } => self.answered(to, life, ticket, None),
            Flying::Ask { life, .. } if self.nodes[from].life == life => self.event(from, Event::NoMembers),
            Flying::Told { life, .. } if self.nodes[to].life == life => self.event(to, Event::NoMembers),
            _ => {}
        }
    }

    fn lose(&mut self, lane: Lane) {
        let (from, to) = (usize::from(lane.from), usize::from(lane.to));
        if let Some(flying) = self.network.take(from, to, usize::from(lane.nth)) {
            self.story.note(|| format!("{flying:?}"));
            self.end(&flying, from, to);
        }
    }

    fn repeat(&mut self, lane: Lane) {
        let (from, to) = (usize::from(lane.from), usize::from(lane.to));
        let Some(flying) = self.network.peek(from, to, usize::from(lane.nth)) else { return };
        if matches!(flying, Flying::Request { .. } | Flying::Ask { .. }) {
            let flying = flying.clone();
            self.network.push(from, to, flying);
        }
    }

    fn write(&mut self, n: usize) {
        if let Some((batch, ticket)) = self.nodes[n].writing.take() {
            self.put_on_disk(n, &batch);
            self.event(n, Event::Durable(ticket));
        }
    }

    fn put_on_disk(&mut self, n: usize, batch: &WriteBatch) {
        self.judge_write(n, batch);
        let node = &mut self.nodes[n];
        node.disk.write(batch);
        node.writes += 1;
        if batch.replace {
            self.counts.joins += 1;
            node.past.clear();
        }
        if node.writes.is_multiple_of(self.plan.copies_every) && !node.disk.is_blank() {
            node.past.push(node.disk.clone());
            let excess = node.past.len().saturating_sub(COPIES_KEPT);
            node.past.drain(..excess);
        }
        node.held.merge(&node.disk.holds);
        self.truth.entry(node.id).or_default().merge(&node.disk.holds);
        node.floored = node.floored.max(node.disk.floor);
    }

    /// Time passes for a replica.
    pub(super) fn pass(&mut self, n: usize, time: Duration) {
        self.nodes[n].now = self.nodes[n].now + time;
        let event = self.nodes[n].work.take().map_or(Event::Tick, |work| Event::Worked(work.run()));
        self.event(n, event);
    }

    fn submit(&mut self, n: usize, session: usize) {
        if self.oracle.sent.len() >= UPDATES_MAX.min(self.plan.updates) || self.nodes[n].core.is_none() {
            return;
        }
        let now = self.clock(n).wall;
        let off = self.plan.clients_off[session];
        let wall = Timestamp::from_millis(now.millis().saturating_add_signed(off));
        let person = &mut self.people[session];
        person.made += 1;
        person.ids.observe(person.session.latest);
        let id = person.ids.next(wall, (session as u64) << 32 | person.made);
        let (causes, prev) = (person.seen, person.session.vector.clone());
        let update = self.oracle.send(id, session, causes, prev);
        self.send_update(n, update);
    }

    fn retry(&mut self, n: usize, update: usize) {
        if update < self.oracle.sent.len() && self.nodes[n].core.is_some() {
            self.send_update(n, update);
        }
    }

    /// A client sends an update, with what it has seen by now.
    fn send_update(&mut self, n: usize, update: usize) {
        let sent = &self.oracle.sent[update];
        let (request, payload, session) = (sent.id, sent.payload.clone(), sent.session);
        let (waiter, prev) = self.called(session, Some(update));
        let deadline = self.nodes[n].now + PATIENCE;
        self.event(n, Event::Execute { waiter, request, prev, payload, deadline });
    }

    fn query(&mut self, n: usize, session: usize) {
        if self.nodes[n].core.is_none() {
            return;
        }
        let (waiter, prev) = self.called(session, None);
        let deadline = self.nodes[n].now + PATIENCE;
        self.event(n, Event::Query { waiter, prev, payload: bytes::Bytes::new(), deadline });
    }

    fn called(&mut self, session: usize, update: Option<usize>) -> (Waiter, VectorTimestamp) {
        let waiter = Waiter(self.calls.len() as u64);
        let person = &self.people[session];
        let prev = person.session.vector.clone();
        self.calls.push(Call { session, update, prev: prev.clone(), seen: person.seen });
        (waiter, prev)
    }

    /// A person who looks after the group asks for this.
    pub(super) fn status(&mut self, n: usize, status: Status) {
        self.event(n, Event::SetStatus(status));
    }
}

/// A ticket that no core has.
const NOBODY_WAITS: SendTicket = SendTicket((1 << 36) - 1);

/// A waiter's number says who waits: no book of them is kept.
fn waiter_of(from: usize, life: Life, ticket: SendTicket) -> Waiter {
    Waiter((from as u64) << 60 | u64::from(life) << 36 | ticket.0)
}

pub(super) fn asker(waiter: Waiter) -> (usize, Life, SendTicket) {
    let life = (waiter.0 >> 36) & 0x00ff_ffff;
    let from = usize::try_from(waiter.0 >> 60).unwrap_or(usize::MAX);
    (from, Life::try_from(life).unwrap_or(Life::MAX), SendTicket(waiter.0 & NOBODY_WAITS.0))
}
