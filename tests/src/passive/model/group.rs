//! A group as it stands after some moves, and how it goes on.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use common::clock::Timestamp;
use common::replication::{BootId, ConfigVersion, Epoch, GroupConfig, Member};
use common::rpc::peer::{Message, Reply};
use common::rpc::replica::{Consistency, Role};
use replica::passive::{Core, Event, SendTicket};

use super::fingerprint::NodeDigests;
use super::{Bounds, Move};
use crate::passive::act::Step;
use crate::passive::network::{Flying, Life};
use crate::passive::shared::Shared;
use crate::passive::story::Story;
use crate::passive::world::{GREETING, World, waiter_of};

/// Replicas.
pub(super) const REPLICAS: usize = 3;
/// How far time jumps where something must be due: further than anything waits, and so far that a core takes it for a
/// pause of its own process.
const JUMP: Duration = Duration::from_mins(2);

/// What is left of the bounds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Left {
    pub(super) updates: u8,
    pub(super) copies: u8,
    pub(super) reads: u8,
    pub(super) crashes: u8,
}

/// An append and its reply.
#[derive(Clone, Debug)]
pub(super) struct Exchange {
    pub(super) from: usize,
    pub(super) to: usize,
    /// Of the sender.
    life: Life,
    ticket: SendTicket,
    pub(super) message: Message,
    pub(super) stage: Stage,
    /// Nobody waits for its reply any more.
    pub(super) orphaned: bool,
}

/// Where it is.
#[derive(Clone, Debug)]
pub(super) enum Stage {
    /// The append is on its way.
    Travelling,
    /// It has arrived, and its entries are not on the disk yet.
    Waiting,
    /// The reply is on its way.
    Replied(Reply),
}

/// A group, and what is between its members.
#[derive(Clone)]
pub struct Group {
    pub(super) world: World,
    pub(super) exchanges: Vec<Exchange>,
    /// Changes of the record that are under way, and may still arrive.
    pub(super) proposals: Vec<(Member, GroupConfig)>,
    /// The records that stood, from the first one on; the last one stands.
    pub(super) records: Shared<Vec<GroupConfig>>,
    pub(super) left: Left,
    /// Nothing is proposed that would be later than this.
    pub(super) last_version: ConfigVersion,
    pub(super) in_flight: u8,
    pub(super) submitted: u8,
    /// Which process each knows on whose disk.
    pub(super) knows: [[BootId; REPLICAS]; REPLICAS],
    /// By boot: the how-manieth it is on its disk.
    pub(super) generations: Vec<u8>,
    pub(super) digests: [NodeDigests; REPLICAS],
    pub(super) fingerprint: u64,
}

impl Group {
    pub(super) fn new(world: World, bounds: Bounds, boots: [BootId; REPLICAS]) -> Self {
        let record = world.authority.record().expect("it has formed").clone();
        let last_version = ConfigVersion(record.version.0 + u64::from(bounds.changes));
        let last_boot = boots.iter().map(|boot| boot.to_u128()).max().unwrap_or(0);
        let mut group = Self {
            world,
            exchanges: Vec::new(),
            proposals: Vec::new(),
            records: Shared::new(vec![record]),
            left: Left {
                updates: bounds.updates,
                copies: bounds.copies,
                reads: bounds.reads,
                crashes: bounds.crashes,
            },
            last_version,
            in_flight: bounds.in_flight,
            submitted: 0,
            knows: [boots; REPLICAS],
            generations: vec![1; usize::try_from(last_boot).expect("boots are counted") + 1],
            digests: Default::default(),
            fingerprint: 0,
        };
        group.collect(|_, _, _| false);
        group.take_fingerprint(None);
        group
    }

    /// The group after this move.
    pub(super) fn after(&self, to_come: Move) -> Self {
        let mut group = self.clone();
        group.world.story.tell(|| to_come.to_string());
        // A core that finds itself broken says so by a panic.
        let panicked = catch_unwind(AssertUnwindSafe(|| {
            group.happen(to_come);
            group.orphan();
            group.judge();
        }));
        if let Err(panic) = panicked {
            let said = panic.downcast_ref::<String>().cloned();
            let said = said.or_else(|| panic.downcast_ref::<&str>().map(|said| (*said).to_owned()));
            group.world.breach(format!("panic: {}", said.unwrap_or_default()));
        }
        group.take_fingerprint(Some(self));
        group
    }

    fn happen(&mut self, to_come: Move) {
        match to_come {
            Move::Submit(n) => {
                self.left.updates -= 1;
                self.world.submit(n, u16::from(self.submitted), 0, 0);
                self.submitted += 1;
            }
            Move::Repeat(n) => {
                self.left.copies -= 1;
                self.world.submit(n, 0, 0, 0);
            }
            Move::Read(n) => {
                self.left.reads -= 1;
                self.world.read(n, Consistency::Linearizable);
            }
            Move::Write(_) => self.walk(to_come),
            Move::Crash(_) => self.crash(to_come),
            Move::CrashProposed(n) => {
                self.elect(n);
                self.crash(to_come);
            }
            Move::Start(n) => self.start(n),
            Move::Meet(n, peer) => self.meet(n, peer),
            Move::Tell(n, place) => self.tell(n, place),
            Move::Elect(n) => {
                self.elect(n);
                let me = self.world.member(n);
                if let Some(place) = self.proposals.iter().position(|(by, _)| *by == me) {
                    self.change(place);
                }
            }
            Move::Drop(n, peer) => self.drop_peer(n, peer),
            Move::Change(place) => self.change(place),
            Move::Join(n, primary) => self.join(n, primary),
            Move::Feed(n, peer) => self.feed(n, peer),
            Move::Confirm(n, peer) => self.confirm(n, peer),
            Move::Deliver(place) => self.deliver(place),
            Move::Answer(place) => {
                let Exchange { from, ticket, stage, .. } = self.exchanges.remove(place);
                let Stage::Replied(reply) = stage else { unreachable!("only replies arrive") };
                self.event(from, Event::PeerReply { ticket, reply: Some(reply) });
            }
            Move::Lose(place) => {
                let Exchange { from, ticket, orphaned, .. } = self.exchanges.remove(place);
                if !orphaned {
                    self.event(from, Event::PeerReply { ticket, reply: None });
                }
            }
        }
        self.collect(|_, _, _| false);
    }

    /// What a walk has a word for.
    fn walk(&mut self, to_come: Move) {
        let act = to_come.as_act().expect("a walk has a word for it");
        self.world.perform(Step { act, together: false });
    }

    fn crash(&mut self, to_come: Move) {
        self.left.crashes -= 1;
        self.walk(to_come);
        let (Move::Crash(n) | Move::CrashProposed(n)) = to_come else { return };
        self.knows[n] = [BootId::NOBODY; REPLICAS];
        self.connections_end(n);
    }

    /// One that was dropped before anything could happen starts.
    pub(super) fn starts_outside(&mut self, n: usize) {
        self.knows[n] = [BootId::NOBODY; REPLICAS];
        self.start(n);
        self.take_fingerprint(None);
    }

    /// A process starts, and learns at once who else is there.
    fn start(&mut self, n: usize) {
        let generation = 1 + self.generation(n);
        self.walk(Move::Start(n));
        self.generations.push(generation);
        for peer in (0..REPLICAS).filter(|peer| *peer != n) {
            self.meet(n, peer);
        }
    }

    /// A replica is told which record stands, or stood. Unless it leads by that, and its barrier goes to the disk with
    /// it, or its disk is busy, it has it on its disk at once.
    fn tell(&mut self, n: usize, place: usize) {
        let record = self.records[place].clone();
        let waits = self.world.nodes[n].writing.is_some() || record.primary == self.world.member(n);
        self.event(n, Event::Record(Some(record)));
        if !waits {
            self.walk(Move::Write(n));
        }
    }

    fn event(&mut self, n: usize, event: Event) {
        self.world.event(n, event);
        self.collect(|_, _, _| false);
    }

    /// Everything that waits is due, and has been for as long as this process was stopped. The wall clock stands: what
    /// entries are stamped with is no different state.
    fn tick(&mut self, n: usize) {
        let node = &mut self.world.nodes[n];
        node.now = node.now + JUMP;
        node.skew -= i64::try_from(JUMP.as_millis()).expect("minutes");
        self.world.event(n, Event::Tick);
    }

    /// Takes what cores have sent off their lanes, gives the first that is wanted, and does with the rest what the
    /// model says of it.
    fn collect(&mut self, wanted: impl Fn(usize, usize, &Flying) -> bool) -> Option<Flying> {
        let mut found = None;
        while let Some((from, to, _)) = self.world.network.lane(0) {
            let flying = self.world.network.take(from, to, 0).expect("the lane is not empty");
            if found.is_none() && wanted(from, to, &flying) {
                found = Some(flying);
                continue;
            }
            match flying {
                // Lost; the primary sends it again when the model has it do so.
                Flying::Request { life, ticket, message: Message::Append { .. }, .. }
                    if self.world.nodes[from].life == life =>
                {
                    self.world.event(from, Event::PeerReply { ticket, reply: None });
                }
                Flying::Request { message: Message::SnapshotChunk { .. }, .. } => {
                    self.world.breach("a snapshot is sent, and none was taken".into());
                }
                Flying::Reply { life, ticket, reply: Some(reply) } => {
                    let is_it = |exchange: &&mut Exchange| {
                        (exchange.from, exchange.life, exchange.ticket) == (to, life, ticket)
                    };
                    if let Some(exchange) = self.exchanges.iter_mut().find(is_it) {
                        exchange.stage = Stage::Replied(reply);
                    }
                }
                Flying::Ask { by, change: Some(next), .. } => self.propose(by, next),
                // Greetings, beacons, questions and what is known of the record: moves of their own.
                _ => {}
            }
        }
        found
    }

    fn propose(&mut self, by: Member, next: GroupConfig) {
        let may_arrive = next.version == self.record().version.next() && next.version <= self.last_version;
        let proposal = (by, next);
        if may_arrive && !self.proposals.contains(&proposal) {
            self.proposals.push(proposal);
        }
    }

    fn change(&mut self, place: usize) {
        let (by, next) = self.proposals.remove(place);
        self.world.change(by, next);
        let stands = self.world.authority.record().expect("there was one").clone();
        if stands != *self.record() {
            self.records.push(stands);
            // Every other one is too late.
            self.proposals.clear();
        }
    }

    /// A candidacy from its beginning to its proposal: the primary refuses, all waiting is over, and the record that
    /// this member knows still stands, as far as it hears.
    fn elect(&mut self, n: usize) {
        let Some(config) = self.core(n).and_then(|core| core.newest_config().cloned()) else { return };
        self.read_record(n);
        self.event(n, Event::PeerRefused(config.primary));
        self.tick(n);
        self.event(n, Event::Record(Some(config)));
    }

    /// One that has not read the record since its start reads what it knows.
    fn read_record(&mut self, n: usize) {
        if let Some(core) = self.core(n)
            && core.role() == Role::Waiting
        {
            let known = core.newest_config().cloned();
            self.event(n, Event::Record(known));
        }
    }

    fn drop_peer(&mut self, n: usize, peer: usize) {
        let boot = self.knows[n][peer];
        let member = Member { boot, ..self.world.member(peer) };
        self.event(n, Event::PeerRefused(member));
        if self.core(peer).is_some() && self.world.nodes[peer].boot == boot {
            self.meet(n, peer);
        }
    }

    fn meet(&mut self, n: usize, peer: usize) {
        let wall = self.world.clock(peer).wall;
        let Some(hello) = self.core(peer).map(|core| core.hello(wall)) else { return };
        self.knows_now(n, peer);
        self.event(n, Event::Met(hello));
    }

    /// A primary forgets what it sent to the process before.
    fn knows_now(&mut self, n: usize, peer: usize) {
        let boot = self.world.nodes[peer].boot;
        if std::mem::replace(&mut self.knows[n][peer], boot) != boot {
            for exchange in
                self.exchanges.iter_mut().filter(|exchange| (exchange.from, exchange.to) == (n, peer))
            {
                exchange.orphaned = true;
            }
        }
    }

    fn join(&mut self, n: usize, primary: usize) {
        self.read_record(n);
        let Some(hello) = self.core(n).map(|core| core.hello(Timestamp::default())) else { return };
        let message = Message::Join { me: hello.me, last: hello.last, config_version: hello.config_version };
        let waiter = waiter_of(n, self.world.nodes[n].life, GREETING);
        self.knows_now(primary, n);
        self.event(primary, Event::Peer { waiter, message });
    }

    /// Sends what is due, and loses what is not for `peer`.
    fn feed(&mut self, n: usize, peer: usize) {
        self.tick(n);
        let is_append = |from, to, flying: &Flying| {
            (from, to) == (n, peer)
                && matches!(flying, Flying::Request { message: Message::Append { .. }, .. })
        };
        let sent = self.collect(is_append);
        if let Some(Flying::Request { life, ticket, message, .. }) = sent {
            let stage = Stage::Travelling;
            self.exchanges.push(Exchange {
                from: n,
                to: peer,
                life,
                ticket,
                message,
                stage,
                orphaned: false,
            });
        }
    }

    fn confirm(&mut self, n: usize, peer: usize) {
        self.tick(n);
        let is_confirm = |from, to, flying: &Flying| {
            (from, to) == (n, peer)
                && matches!(flying, Flying::Request { message: Message::Confirm { .. }, .. })
        };
        let Some(Flying::Request { life, ticket, message, .. }) = self.collect(is_confirm) else { return };
        let waiter = waiter_of(n, life, ticket);
        self.world.event(peer, Event::Peer { waiter, message });
        let is_reply = |from, to, flying: &Flying| {
            (from, to) == (peer, n) && matches!(flying, Flying::Reply { ticket: its, .. } if *its == ticket)
        };
        if let Some(Flying::Reply { reply, .. }) = self.collect(is_reply) {
            self.event(n, Event::PeerReply { ticket, reply });
        }
        self.knows_whom_it_follows(peer, n);
    }

    fn deliver(&mut self, place: usize) {
        let exchange = &mut self.exchanges[place];
        exchange.stage = Stage::Waiting;
        let (from, to, message) = (exchange.from, exchange.to, exchange.message.clone());
        let waiter = waiter_of(from, exchange.life, exchange.ticket);
        self.event(to, Event::Peer { waiter, message });
        self.knows_whom_it_follows(to, from);
    }

    /// Who has entered an epoch by its primary's word is told its record as soon as its disk has time: nothing else
    /// comes of that but that it may propose what is not refused at once.
    fn knows_whom_it_follows(&mut self, n: usize, primary: usize) {
        let Some((core, other)) = self.core(n).zip(self.core(primary)) else { return };
        let version = |core: &Core| core.newest_config().map(|config| config.version);
        let follows = core.progress().epoch == other.progress().epoch && self.leads(primary);
        if !follows || version(core) >= version(other) || self.world.nodes[n].writing.is_some() {
            return;
        }
        let known = version(other);
        if let Some(place) = self.records.iter().position(|record| Some(record.version) == known) {
            self.tell(n, place);
        }
    }

    /// A process is gone: whoever waits for it learns that, and nobody waits for what it asked.
    fn connections_end(&mut self, n: usize) {
        let waits = |exchange: &mut Exchange| exchange.to == n && matches!(exchange.stage, Stage::Waiting);
        let ended: Vec<Exchange> = self.exchanges.extract_if(.., waits).collect();
        for Exchange { from, ticket, orphaned, .. } in ended {
            if !orphaned {
                self.event(from, Event::PeerReply { ticket, reply: None });
            }
        }
    }

    /// Nobody waits for a reply who leads no more: what it asked may still arrive, and nothing comes of a reply.
    fn orphan(&mut self) {
        let mut exchanges = std::mem::take(&mut self.exchanges);
        exchanges.retain_mut(|exchange| {
            let lives = self.world.nodes[exchange.from].life == exchange.life;
            exchange.orphaned |= !lives || !self.leads(exchange.from);
            !exchange.orphaned || (matches!(exchange.stage, Stage::Travelling) && !self.is_fenced(exchange))
        });
        self.exchanges = exchanges;
    }

    /// Whether the receiver will refuse it whatever happens: it may forget an epoch only by dying.
    fn is_fenced(&self, exchange: &Exchange) -> bool {
        let Message::Append { epoch, .. } = exchange.message else { return false };
        let node = &self.world.nodes[exchange.to];
        let met = node.core.as_ref().is_some_and(|core| core.progress().epoch > epoch);
        node.disk.reaches(epoch.next()) || (met && self.left.crashes == 0)
    }

    /// What holds of every state, beside what a walk's laws say of every event.
    fn judge(&mut self) {
        self.world.counted_are_recorded();
        self.world.equal_places_are_equal();
    }

    /// What was told of it.
    pub(super) fn lines(&self) -> Vec<String> {
        let broken = self.broken().map(|how| format!("BROKEN: {how}"));
        self.world.story.lines().iter().cloned().chain(broken).collect()
    }

    /// The same, and every move is told.
    pub(super) fn told(&self) -> Self {
        let mut group = self.clone();
        group.world.story = Story::told();
        group
    }

    /// The law that was broken, and how.
    pub fn broken(&self) -> Option<&str> {
        self.world.broken()
    }

    /// The same for groups that go on alike.
    pub fn fingerprint(&self) -> u64 {
        self.fingerprint
    }

    pub(super) fn core(&self, n: usize) -> Option<&Core> {
        self.world.nodes[n].core.as_ref()
    }

    pub(super) fn leads(&self, n: usize) -> bool {
        self.core(n).is_some_and(|core| core.role() == Role::Primary)
    }

    pub(super) fn feeds(&self, n: usize, peer: usize) -> bool {
        self.core(n).is_some_and(|core| core.feeds(self.world.member(peer)))
    }

    pub(super) fn record(&self) -> &GroupConfig {
        self.records.last().expect("there was a first one")
    }

    /// Where this process runs, if it does.
    pub(super) fn process(&self, member: Member) -> Option<usize> {
        (0..REPLICAS).find(|&n| self.core(n).is_some() && self.world.member(n) == member)
    }

    /// Whether a change that it proposed may still arrive.
    pub(super) fn has_proposed(&self, n: usize) -> bool {
        let me = self.world.member(n);
        self.proposals.iter().any(|(by, _)| *by == me)
    }

    /// Whether this primary's record has this peer in sync.
    pub(super) fn counts_on(&self, n: usize, peer: usize) -> bool {
        let config = self.core(n).and_then(Core::newest_config);
        config.is_some_and(|config| config.in_sync.contains(self.world.nodes[peer].id))
    }

    fn generation(&self, n: usize) -> u8 {
        let boot = usize::try_from(self.world.nodes[n].boot.to_u128()).expect("boots are counted");
        self.generations[boot]
    }

    /// Whether what was shown to a client comes from a later primary than the first.
    pub(super) fn has_shown_a_later_epoch(&self) -> bool {
        let epoch = |index| self.world.witness.epoch_at(index).unwrap_or(Epoch(0));
        epoch(self.world.shown) > Epoch(1)
    }
}

impl std::fmt::Debug for Group {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Group").field(&self.fingerprint).finish()
    }
}
