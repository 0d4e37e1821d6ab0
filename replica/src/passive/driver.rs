//! The shell round one core: everything that happens goes in, in one task, and what must happen is carried out in
//! order. It decides nothing.

use std::collections::{BTreeMap, HashMap};
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use common::clock::{Clock, Moment};
use common::directory::{NameError, Names};
use common::names::LogicalName;
use common::replication::{ConfigVersion, GroupConfig, GroupName, Member, Proposer, ReplicaId};
use common::rpc::name_service::{Config, GroupChange, GroupError};
use common::rpc::peer::{Hello, Message, Reply};
use common::rpc::replica::{Answer, Done, KnownMember, MemberStatus, QueryError, SubmitError};
use futures::future::{FutureExt as _, LocalBoxFuture};
use futures::stream::{FuturesUnordered, StreamExt as _};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{sleep_until, timeout};

use super::mailbox::{Call, Letter, Listed, Mailbox};
use super::{Core, Effect, Event, Now, SendTicket, Setup, Stored, Waiter};
use crate::disk::file::{GroupFile, Identity, Place};
use crate::disk::{CommitThread, Disk as _, EXIT_DISK_FAILED, REPORTS_MAX, Report};
use crate::links::Links;

/// Events taken in before effects are carried out: enough to empty a busy mailbox, few enough that no answer waits
/// long for its turn.
const ROUND_MAX: usize = 256;
/// How long the name server has for an answer about the group's record; it may have to fsync.
const RECORD_WITHIN: Duration = Duration::from_secs(1);
/// How long a peer's socket has to accept when it is looked at.
const LOOK_WITHIN: Duration = Duration::from_millis(300);
/// Members remembered, past ones too; a group has seven at most.
const KNOWN_MAX: usize = 64;
/// How often those who no longer wait are forgotten.
const SWEEP_EVERY: Duration = Duration::from_secs(10);

/// What a driver is made of.
#[derive(Debug)]
pub struct Parts {
    /// Who it is, and what it may do.
    pub setup: Setup,
    /// What was on the disk.
    pub stored: Stored,
    /// The disk.
    pub file: GroupFile,
    /// Where that is, should it have to be formatted anew.
    pub place: Place,
    /// The process's clock.
    pub clock: Clock,
    /// The name servers.
    pub names: Names,
    /// The connections to peers.
    pub links: Rc<Links>,
}

/// One core's shell.
pub struct Driver {
    setup: Setup,
    core: Core,
    effects: Vec<Effect>,
    disk: Option<CommitThread>,
    reports: mpsc::Receiver<Report>,
    place: Place,
    clock: Clock,
    started: Moment,
    names: Names,
    links: Rc<Links>,
    mailbox: Mailbox,
    waiting: HashMap<Waiter, Waiting>,
    waiters: u64,
    swept: Moment,
    /// Calls and looks under way, whose outcomes are events.
    asked: FuturesUnordered<LocalBoxFuture<'static, Outcome>>,
    known: BTreeMap<ReplicaId, Known>,
    noted: Vec<SocketAddr>,
    identity: watch::Sender<ReplicaId>,
    stopping: Option<oneshot::Sender<()>>,
    closing: Option<oneshot::Sender<()>>,
}

/// Who waits for an answer.
enum Waiting {
    Done(oneshot::Sender<Result<Done, SubmitError>>),
    Answer(oneshot::Sender<Result<Answer, QueryError>>),
    Reply(oneshot::Sender<Reply>),
}

impl Waiting {
    fn is_gone(&self) -> bool {
        match self {
            Self::Done(waiter) => waiter.is_closed(),
            Self::Answer(waiter) => waiter.is_closed(),
            Self::Reply(waiter) => waiter.is_closed(),
        }
    }
}

/// What came of something asked.
struct Outcome {
    /// Who was heard by it.
    heard: Option<ReplicaId>,
    event: Option<Event>,
}

impl From<Option<Event>> for Outcome {
    fn from(event: Option<Event>) -> Self {
        Self { heard: None, event }
    }
}

/// Another member, as far as it is known here.
struct Known {
    member: Member,
    name: LogicalName,
    address: SocketAddr,
    heard: Option<Moment>,
}

/// What wakes the driver.
enum Woken {
    Report(Report),
    Outcome(Outcome),
    Letter(Letter),
    Record(GroupConfig),
    Call(Call),
    Timer,
}

impl Driver {
    /// A driver for what was found on the disk, and the identity that it has, now and when it must take another.
    ///
    /// # Errors
    /// When the disk's contents are damaged, or there is no thread for it.
    pub fn new(parts: Parts, mailbox: Mailbox) -> Result<(Self, watch::Receiver<ReplicaId>), NotStarted> {
        let Parts { setup, stored, file, place, clock, names, links } = parts;
        let started = clock.now();
        let now = Now { at: started, wall: Clock::wall() };
        let core = Core::new(now, setup.clone(), stored).map_err(|why| NotStarted::Damaged { why })?;
        let (reporter, reports) = mpsc::channel(REPORTS_MAX);
        let disk = CommitThread::start(&setup.group, file, reporter)?;
        let (identity, shown) = watch::channel(setup.me.id);
        let driver = Self {
            setup,
            core,
            effects: Vec::new(),
            disk: Some(disk),
            reports,
            place,
            clock,
            started,
            names,
            links,
            mailbox,
            waiting: HashMap::new(),
            waiters: 0,
            swept: started,
            asked: FuturesUnordered::new(),
            known: BTreeMap::new(),
            noted: Vec::new(),
            identity,
            stopping: None,
            closing: None,
        };
        Ok((driver, shown))
    }

    /// Drives the core until it is closed.
    pub async fn run(mut self) {
        let mut records = self.names.group(self.setup.group.clone());
        records.mark_changed();
        let timer = sleep_until(self.clock.instant(self.started));
        tokio::pin!(timer);
        loop {
            let woken = tokio::select! { biased;
                Some(report) = self.reports.recv() => Woken::Report(report),
                Some(outcome) = self.asked.next(), if !self.asked.is_empty() => Woken::Outcome(outcome),
                Some(letter) = self.mailbox.letters.recv() => Woken::Letter(letter),
                config = newer(&mut records) => Woken::Record(config),
                Some(call) = self.mailbox.calls.recv() => Woken::Call(call),
                () = &mut timer => Woken::Timer,
            };
            let now = Now { at: self.clock.now(), wall: Clock::wall() };
            let mut next = Some(woken);
            for _ in 0..ROUND_MAX {
                let Some(woken) = next.take() else { break };
                self.take_in(now, woken);
                next = self.waiting_already();
            }
            if let Some(woken) = next {
                self.take_in(now, woken);
            }
            self.carry_out(now).await;
            if let Some(closed) = self.closing.take() {
                return self.close(closed).await;
            }
            self.sweep(now.at);
            let wake = self.clock.instant(self.core.wake_at(now.at));
            if timer.deadline() != wake {
                timer.as_mut().reset(wake);
            }
        }
    }

    /// What has come already, in the order of [`Self::run`].
    fn waiting_already(&mut self) -> Option<Woken> {
        if let Ok(report) = self.reports.try_recv() {
            return Some(Woken::Report(report));
        }
        if let Some(Some(outcome)) = self.asked.next().now_or_never() {
            return Some(Woken::Outcome(outcome));
        }
        if let Ok(letter) = self.mailbox.letters.try_recv() {
            return Some(Woken::Letter(letter));
        }
        self.mailbox.calls.try_recv().ok().map(Woken::Call)
    }

    fn take_in(&mut self, now: Now, woken: Woken) {
        match woken {
            Woken::Report(Report::Durable(ticket)) => self.step(now, Event::Durable(ticket)),
            Woken::Report(Report::Full(full)) => self.step(now, Event::DiskFull(full)),
            Woken::Outcome(Outcome { heard, event }) => {
                if let Some(id) = heard {
                    self.heard(now.at, id);
                }
                if let Some(event) = event {
                    self.step(now, event);
                }
            }
            Woken::Letter(letter) => self.open(now, letter),
            Woken::Record(config) => self.step(now, Event::Record(Some(config))),
            Woken::Call(call) => self.call(now, call),
            Woken::Timer => self.step(now, Event::Tick),
        }
    }

    fn step(&mut self, now: Now, event: Event) {
        self.core.step(now, event, &mut self.effects);
    }

    fn call(&mut self, now: Now, call: Call) {
        let event = match call {
            Call::Execute { request, facts, payload, deadline, answer } => {
                let waiter = self.waiter(Waiting::Done(answer));
                Event::Execute { waiter, request, facts, payload, deadline }
            }
            Call::Query { consistency, payload, deadline, answer } => {
                let waiter = self.waiter(Waiting::Answer(answer));
                Event::Query { waiter, consistency, payload, deadline }
            }
        };
        self.step(now, event);
    }

    fn open(&mut self, now: Now, letter: Letter) {
        match letter {
            Letter::Peer { from, message, answer } => {
                match &message {
                    Message::Hello(hello) => self.learn(hello, now.at),
                    _ => self.heard(now.at, from),
                }
                let waiter = self.waiter(Waiting::Reply(answer));
                self.step(now, Event::Peer { waiter, message });
            }
            Letter::Met(hello) => {
                self.learn(&hello, now.at);
                self.step(now, Event::Met(hello));
            }
            Letter::Refused(member) => self.step(now, Event::PeerRefused(member)),
            Letter::Listed(members) => {
                for Listed { member, name, address } in members {
                    let heard = self.known.get(&member.id).and_then(|known| known.heard);
                    self.know(Known { member, name, address, heard });
                }
                self.note_addresses();
            }
            Letter::Hello(asker) => {
                // Who asked may have gone away meanwhile, here and below.
                let _ = asker.send(self.core.hello(now.wall));
            }
            Letter::Status(asker) => {
                let _ = asker.send(self.status(now));
            }
            Letter::Stop(asker) => {
                self.stopping = Some(asker);
                self.step(now, Event::Stop);
            }
            Letter::Close(asker) => self.closing = Some(asker),
        }
    }

    fn waiter(&mut self, waiting: Waiting) -> Waiter {
        self.waiters += 1;
        let waiter = Waiter(self.waiters);
        self.waiting.insert(waiter, waiting);
        waiter
    }

    async fn carry_out(&mut self, now: Now) {
        let mut effects = std::mem::take(&mut self.effects);
        for effect in effects.drain(..) {
            match effect {
                Effect::Send { to, ticket, message, within } => self.send(to, ticket, message, within),
                Effect::Reply { waiter, reply } => {
                    if let Some(Waiting::Reply(waiting)) = self.waiting.remove(&waiter) {
                        let _ = waiting.send(reply);
                    }
                }
                Effect::Submitted { waiter, mut result } => {
                    if let Err(SubmitError::NotPrimary { config: Some(config), address }) = &mut result {
                        *address = self.address_of(config.primary);
                    }
                    if let Some(Waiting::Done(waiting)) = self.waiting.remove(&waiter) {
                        let _ = waiting.send(result);
                    }
                }
                Effect::Queried { waiter, mut result } => {
                    if let Err(QueryError::NotPrimary { config: Some(config), address }) = &mut result {
                        *address = self.address_of(config.primary);
                    }
                    if let Some(Waiting::Answer(waiting)) = self.waiting.remove(&waiter) {
                        let _ = waiting.send(result);
                    }
                }
                Effect::Persist(batch, ticket) => {
                    self.disk.as_ref().expect("open until closed").submit(batch, ticket);
                }
                Effect::ReadRecord { known } => {
                    let (names, group) = (self.names.clone(), self.setup.group.clone());
                    self.ask(async move { Some(read(&names, group, known).await).into() });
                }
                Effect::Cas { next } => {
                    let (names, me) = (self.names.clone(), self.setup.me);
                    self.ask(async move { Some(propose(&names, me, next).await).into() });
                }
                Effect::Look(member) => {
                    if let Some(address) = self.address_of(member) {
                        self.ask(
                            async move { look(address).await.then_some(Event::PeerRefused(member)).into() },
                        );
                    }
                }
                Effect::FormatAnew { keep } => {
                    self.format_anew(now, keep).await;
                    // The rest is the old core's.
                    break;
                }
                Effect::Stopped => {
                    if let Some(asker) = self.stopping.take() {
                        let _ = asker.send(());
                    }
                }
            }
        }
        // Its room is used again.
        effects.clear();
        self.effects = effects;
    }

    fn send(&mut self, to: ReplicaId, ticket: SendTicket, message: Message, within: Duration) {
        let Some(call) = self.links.call(&self.setup.group, to, message, within) else {
            self.ask(async move { Some(Event::PeerReply { ticket, reply: None }).into() });
            return;
        };
        self.ask(async move {
            let reply = call.await;
            Outcome { heard: reply.as_ref().map(|_| to), event: Some(Event::PeerReply { ticket, reply }) }
        });
    }

    /// Begins something whose outcome is an event. Begun here and now, so that messages leave in the order of the
    /// effects.
    fn ask(&mut self, asked: impl Future<Output = Outcome> + 'static) {
        let mut asked = asked.boxed_local();
        match (&mut asked).now_or_never() {
            Some(outcome) => self.asked.push(std::future::ready(outcome).boxed_local()),
            None => self.asked.push(asked),
        }
    }

    /// Gives this disk's identity up and begins again as somebody new.
    async fn format_anew(&mut self, now: Now, keep: bool) {
        let disk = self.disk.take().expect("open until closed");
        let (place, cluster) = (self.place.clone(), self.setup.cluster);
        let identity = Identity { cluster, replica: ReplicaId::random() };
        let anew = move || {
            disk.close();
            place.give_up(keep)?;
            place.format(identity)
        };
        // fsync, and waiting for it, never on the runtime's thread.
        let file = match tokio::task::spawn_blocking(anew).await {
            Ok(Ok(file)) => file,
            Ok(Err(error)) => end(&error),
            Err(panic) => std::panic::resume_unwind(panic.into_panic()),
        };
        let (reporter, reports) = mpsc::channel(REPORTS_MAX);
        match CommitThread::start(&self.setup.group, file, reporter) {
            Ok(disk) => self.disk = Some(disk),
            Err(error) => end(&error),
        }
        self.reports = reports;
        self.setup.me.id = identity.replica;
        tracing::warn!(group = %self.setup.group, replica = %identity.replica, "started anew with an empty disk");
        // Nothing asked in the old name may be answered to the new one.
        self.asked.clear();
        self.waiting.clear();
        self.core =
            Core::new(now, self.setup.clone(), Stored::default()).expect("an empty disk is not damaged");
        self.identity.send_replace(identity.replica);
        self.links.greet_again();
    }

    async fn close(mut self, closed: oneshot::Sender<()>) {
        if let Some(disk) = self.disk.take() {
            // A panic there has ended the process already.
            let _ = tokio::task::spawn_blocking(|| disk.close()).await;
        }
        let _ = closed.send(());
    }

    fn sweep(&mut self, now: Moment) {
        if now.since(self.swept) >= SWEEP_EVERY {
            self.swept = now;
            self.waiting.retain(|_, waiting| !waiting.is_gone());
        }
    }

    fn heard(&mut self, now: Moment, id: ReplicaId) {
        if let Some(known) = self.known.get_mut(&id) {
            known.heard = Some(now);
        }
    }

    fn learn(&mut self, hello: &Hello, now: Moment) {
        let Hello { me, name, address, .. } = hello;
        self.know(Known { member: *me, name: name.clone(), address: *address, heard: Some(now) });
        self.note_addresses();
    }

    fn know(&mut self, known: Known) {
        let room = self.known.len() < KNOWN_MAX || self.known.contains_key(&known.member.id);
        if room && known.member.id != self.setup.me.id {
            self.known.insert(known.member.id, known);
        }
    }

    fn note_addresses(&mut self) {
        let addresses: Vec<_> = self.known.values().map(|known| known.address).collect();
        if addresses != self.noted
            && let Some(disk) = &self.disk
        {
            disk.note(addresses.clone());
            self.noted = addresses;
        }
    }

    fn address_of(&self, member: Member) -> Option<SocketAddr> {
        self.known.get(&member.id).filter(|known| known.member == member).map(|known| known.address)
    }

    fn status(&self, now: Now) -> MemberStatus {
        let progress = self.core.progress();
        let hello = self.core.hello(now.wall);
        let known = |known: &Known| KnownMember {
            member: known.member,
            name: known.name.clone(),
            address: known.address,
            heard: known.heard.map(|at| now.at.since(at)),
        };
        MemberStatus {
            service: self.setup.group.clone(),
            name: self.setup.name.clone(),
            member: self.setup.me,
            role: self.core.role(),
            config: self.core.newest_config().cloned(),
            last: progress.last,
            committed: progress.committed,
            applied: progress.applied,
            durable: progress.durable,
            state_hash: progress.state_hash,
            floor: progress.floor,
            config_version: hello.config_version,
            trouble: self.core.trouble().to_owned(),
            uptime: now.at.since(self.started),
            now: now.wall,
            known: self.known.values().map(known).collect(),
        }
    }
}

/// Why a driver does not start.
#[derive(Debug, thiserror::Error)]
pub enum NotStarted {
    /// What was on the disk makes no replica.
    #[error("damaged: {why}")]
    Damaged {
        /// What is wrong.
        why: String,
    },
    /// No thread for the disk.
    #[error("no thread for the disk: {0}")]
    NoThread(#[from] io::Error),
}

/// Waits for the next record that the watch shows; for ever when it has ended.
async fn newer(records: &mut watch::Receiver<Option<Config>>) -> GroupConfig {
    loop {
        if records.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
        if let Some(Config::Passive(config)) = &*records.borrow_and_update() {
            return config.clone();
        }
    }
}

async fn read(names: &Names, group: GroupName, known: Option<ConfigVersion>) -> Event {
    match names.read_group(group, known, RECORD_WITHIN).await {
        Ok(record) => Event::Record(record.map(passive)),
        Err(NameError::Answer(error)) => told(error),
        Err(NameError::Call(error)) => {
            tracing::debug!(%error, "the name server did not say which record stands");
            Event::NoRecord
        }
    }
}

async fn propose(names: &Names, me: Member, next: GroupConfig) -> Event {
    let expect = Some(ConfigVersion(next.version.0 - 1)).filter(|version| version.0 > 0);
    let group = next.group.clone();
    let change = GroupChange { expect, new: Config::Passive(next), by: Proposer::Member(me) };
    match names.change_group(change, RECORD_WITHIN).await {
        Ok(record) => Event::Record(Some(passive(record))),
        Err(NameError::Answer(error @ (GroupError::Refused(_) | GroupError::Denied))) => {
            tracing::error!(%group, %error, "the name server refuses a change by its rules");
            // What stands now says whether it still matters.
            read(names, group, expect).await
        }
        Err(NameError::Answer(error)) => told(error),
        Err(NameError::Call(error)) => {
            tracing::debug!(%error, "the name server did not say what came of a change");
            Event::NoRecord
        }
    }
}

/// What an error about the group's record tells.
fn told(error: GroupError) -> Event {
    match error {
        GroupError::Conflict { current } => Event::Record(current.map(passive)),
        GroupError::Regressed { .. } | GroupError::WrongCluster { .. } => {
            tracing::error!(%error, "the name server's record is not the one that this disk belongs to");
            Event::RecordRegressed
        }
        GroupError::Refused(_) | GroupError::Denied | GroupError::Store(_) => {
            tracing::warn!(%error, "the name server did not settle a change");
            Event::NoRecord
        }
    }
}

fn passive(config: Config) -> GroupConfig {
    let Config::Passive(config) = config;
    config
}

/// Whether a fresh connection to `address` is refused.
async fn look(address: SocketAddr) -> bool {
    match timeout(LOOK_WITHIN, TcpStream::connect(address)).await {
        Ok(Err(error)) => error.kind() == io::ErrorKind::ConnectionRefused,
        _ => false,
    }
}

/// Ends the process at once, as a failed write does.
fn end(error: &dyn std::fmt::Display) -> ! {
    tracing::error!(%error, "the disk failed; ending at once");
    std::process::exit(EXIT_DISK_FAILED)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use common::clock::Timestamp;
    use common::ids::{ClusterId, InstanceId};
    use common::replication::RequestId;
    use common::rpc::replica::Role;
    use common::services::TABLE;
    use tokio::task::LocalSet;

    use super::super::mailbox::Group;
    use super::*;

    /// A replica on an empty disk in memory, whose name server never answers.
    fn alone() -> (Group, Driver) {
        let clock = Clock::start();
        let cluster = ClusterId::from_bytes([7; 16]);
        let me = Member { id: ReplicaId::from_u128(1), boot: InstanceId::from_u128(1) };
        let (group, mailbox) = Group::new(TABLE[0].name.parse().unwrap());
        let place = Place { directory: None, group: group.name().clone() };
        let setup = Setup {
            cluster,
            group: group.name().clone(),
            me,
            name: "replica.1".parse().unwrap(),
            address: "127.0.0.1:9".parse().unwrap(),
            service: TABLE[0],
            first: None,
            snapshots: super::super::SnapshotAfter::default(),
        };
        let parts = Parts {
            setup,
            stored: Stored::default(),
            file: place.format(Identity { cluster, replica: me.id }).unwrap(),
            place,
            clock,
            // Discard: nobody listens there.
            names: Names::new(vec!["127.0.0.1:9".parse().unwrap()], "test"),
            links: Links::new(cluster, me.boot, clock),
        };
        (group, Driver::new(parts, mailbox).unwrap().0)
    }

    fn hello(id: u128, address: &str) -> Hello {
        Hello {
            cluster: ClusterId::from_bytes([7; 16]),
            me: Member { id: ReplicaId::from_u128(id), boot: InstanceId::from_u128(id) },
            name: "replica.2".parse().unwrap(),
            address: address.parse().unwrap(),
            last: common::replication::LogPoint::default(),
            wall: Timestamp::from_millis(1),
            config_version: ConfigVersion(0),
        }
    }

    #[tokio::test]
    async fn without_a_name_server_a_replica_answers_and_leads_nobody() {
        let test = async {
            let (group, driver) = alone();
            let driving = tokio::task::spawn_local(driver.run());
            let id = RequestId::from_parts(Timestamp::from_millis(1), 0, 0);
            let deadline = Moment::after_origin(Duration::from_secs(60));
            let refused = group.execute(id, Bytes::new(), Bytes::new(), deadline).await.unwrap_err();
            assert_eq!(refused, SubmitError::NotPrimary { config: None, address: None });
            let status = group.status().await.unwrap();
            assert_eq!((status.role, &*status.trouble), (Role::Waiting, "waiting for the name server"));
            // Nothing to hand over.
            group.stop().await;
            group.close().await;
            driving.await.unwrap();
            assert!(group.status().await.is_none(), "closed");
        };
        LocalSet::new().run_until(test).await;
    }

    #[tokio::test]
    async fn who_says_hello_is_known_and_was_heard() {
        let test = async {
            let (group, driver) = alone();
            let driving = tokio::task::spawn_local(driver.run());
            let listed = Listed {
                member: hello(3, "127.0.0.1:3").me,
                name: "replica.3".parse().unwrap(),
                address: "127.0.0.1:3".parse().unwrap(),
            };
            group.listed(vec![listed]).await;
            group.met(hello(2, "127.0.0.1:2")).await;
            let known = group.status().await.unwrap().known;
            let seen: Vec<_> =
                known.iter().map(|known| (known.address.port(), known.heard.is_some())).collect();
            assert_eq!(seen, [(2, true), (3, false)]);
            group.close().await;
            driving.await.unwrap();
        };
        LocalSet::new().run_until(test).await;
    }

    #[tokio::test]
    async fn a_socket_that_refuses_is_told_from_one_that_accepts() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        assert!(!look(address).await);
        drop(listener);
        assert!(look(address).await);
    }
}
