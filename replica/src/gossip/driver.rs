//! The shell round one core: everything that happens goes in, in one task, and what must happen is carried out in
//! order. It decides nothing.

mod answers;
pub mod mailbox;
mod record;

use std::collections::{BTreeMap, HashMap};
use std::future::Future;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use common::clock::{Clock, Moment, Timestamp};
use common::directory::Names;
use common::machine::{self, aside};
use common::names::LogicalName;
use common::replication::{
    BootId, ConfigVersion, Epoch, GossipConfig, LogIndex, LogPoint, Member, ReplicaId, Update,
};
use common::rpc::gossip::{Message, Reply, Status};
use common::rpc::peer::Hello;
use common::rpc::replica::{self as rpc, GossipStatus, OperatorError, QueryError, SubmitError};
use futures::future::{FutureExt as _, LocalBoxFuture};
use futures::stream::{FuturesUnordered, StreamExt as _};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::sleep_until;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use self::answers::{acknowledged, answered, not_answered, not_done};
use self::mailbox::{Asks, Call, Letter, Mailbox};
use super::{Core, Effect, Event, Now, OldLog, SendTicket, Setup, Stored, Waiter, Work, Worked, WriteBatch};
use crate::disk::file::{GroupFile, Identity, Place};
use crate::disk::{CommitThread, Disk as _, EXIT_DISK_FAILED, REPORTS_MAX, Report, gossip as files};
use crate::known::Known;
use crate::links::Links;
use crate::meters;
use crate::workshop::Workshop;

/// Events taken in before effects are carried out: enough to empty a busy mailbox, few enough that no answer waits
/// long for its turn.
const ROUND_MAX: usize = 256;
/// A call that waited this long for its turn is a sign of more load than is served in good time …
const WAITED_LONG: Duration = Duration::from_millis(500);
/// … until there was room for so long.
const EASED: Duration = Duration::from_secs(1);
/// Trouble that passes sooner is none.
const TROUBLE_LASTS: Duration = Duration::from_secs(5);
/// How often those who no longer wait are forgotten.
const SWEEP_EVERY: Duration = Duration::from_secs(10);

/// What a driver is made of.
#[derive(Debug)]
pub struct Parts {
    /// Who it is, and what it may do.
    pub setup: Setup,
    /// The name it is registered under.
    pub name: LogicalName,
    /// This start of the process.
    pub boot: BootId,
    /// What was on the disk.
    pub stored: Stored,
    /// The names of other members, as noted there.
    pub known: BTreeMap<ReplicaId, LogicalName>,
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

/// What the rest of the process sees of a driver.
#[derive(Clone, Debug)]
pub struct Shown {
    /// The identity of its disk, which may change.
    pub identity: watch::Receiver<ReplicaId>,
    /// Whether it takes calls.
    pub status: watch::Receiver<Status>,
    /// Cancelled when it has left its group for good.
    pub left: CancellationToken,
}

/// One core's shell.
pub struct Driver {
    setup: Setup,
    name: LogicalName,
    boot: BootId,
    core: Core,
    effects: Vec<Effect>,
    disk: Option<CommitThread<WriteBatch>>,
    reports: mpsc::Receiver<Report>,
    workshop: Workshop<Work>,
    /// On its way into the file; the core hears of it then.
    staging: Option<Worked>,
    place: Place,
    clock: Clock,
    started: Moment,
    /// The wall clock at the start; from there on it is counted, so that setting it changes nothing.
    wall: Timestamp,
    names: Names,
    links: Rc<Links>,
    mailbox: Mailbox,
    waiting: HashMap<Waiter, Waiting>,
    waiters: u64,
    swept: Moment,
    /// Calls to peers under way, whose outcomes are events.
    asked: FuturesUnordered<LocalBoxFuture<'static, Heard>>,
    /// Questions to the name server under way.
    questions: FuturesUnordered<LocalBoxFuture<'static, Event>>,
    known: Known,
    pressure: Pressure,
    /// Whom an operator wants out, and who waits for it.
    leaving: Vec<(ReplicaId, oneshot::Sender<Result<(), OperatorError>>)>,
    stranded: u64,
    /// What was last logged of it.
    told: Option<(ConfigVersion, &'static str)>,
    /// When that was trouble for so long that somebody should know.
    warn_at: Option<Moment>,
    identity: watch::Sender<ReplicaId>,
    status: watch::Sender<Status>,
    left: CancellationToken,
    stopping: Option<oneshot::Sender<()>>,
    closing: Option<oneshot::Sender<()>>,
}

/// How calls come.
enum Pressure {
    /// As fast as they are served.
    Bearable,
    /// Faster: they are refused until there was room for a while; since when there is.
    TooMuch { eased: Option<Moment> },
}

/// Who waits for an answer.
enum Waiting {
    Done(oneshot::Sender<Result<rpc::Done, SubmitError>>),
    Answer(oneshot::Sender<Result<rpc::Answer, QueryError>>),
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

/// A peer's reply, or that none came.
struct Heard {
    by: ReplicaId,
    ticket: SendTicket,
    reply: Option<Reply>,
}

/// What wakes the driver.
enum Woken {
    Report(Report),
    Worked(Worked),
    Heard(Heard),
    /// What came of a question to the name server.
    Told(Event),
    Letter(Letter),
    Record(GossipConfig),
    /// The name server's record has become older than ours, or is so no more.
    Regressed,
    Call(Call),
    Timer,
}

impl Driver {
    /// A driver for what was found on the disk, and what is seen of it.
    ///
    /// # Errors
    /// When the disk's contents are damaged, or there is no thread for it.
    pub fn new(parts: Parts, mailbox: Mailbox) -> Result<(Self, Shown), NotStarted> {
        let Parts { setup, name, boot, stored, known, file, place, clock, names, links } = parts;
        let (started, wall) = (clock.now(), Clock::wall());
        let core = Core::new(Now { at: started, wall }, setup.clone(), stored)
            .map_err(|why| NotStarted::Damaged { why })?;
        let (reporter, reports) = mpsc::channel(REPORTS_MAX);
        let disk = CommitThread::start(&setup.group, file, reporter)?;
        let workshop = Workshop::start(&setup.group)?;
        let (identity, shown_identity) = watch::channel(setup.me);
        let (status, shown_status) = watch::channel(Status::default());
        let left = CancellationToken::new();
        let shown = Shown { identity: shown_identity, status: shown_status, left: left.clone() };
        let driver = Self {
            known: Known::new(setup.me, known),
            stranded: place.directory.as_ref().map_or(0, |directory| files::stranded(directory)),
            setup,
            name,
            boot,
            core,
            effects: Vec::new(),
            disk: Some(disk),
            reports,
            workshop,
            staging: None,
            place,
            clock,
            started,
            wall,
            names,
            links,
            mailbox,
            waiting: HashMap::new(),
            waiters: 0,
            swept: started,
            asked: FuturesUnordered::new(),
            questions: FuturesUnordered::new(),
            pressure: Pressure::Bearable,
            leaving: Vec::new(),
            told: None,
            warn_at: None,
            identity,
            status,
            left,
            stopping: None,
            closing: None,
        };
        Ok((driver, shown))
    }

    /// Drives the core until it is closed.
    pub async fn run(mut self) {
        let mut records = self.names.group(self.setup.group.clone());
        records.mark_changed();
        let mut regressed = self.names.group_regressed(self.setup.group.clone());
        let timer = sleep_until(self.clock.instant(self.started));
        tokio::pin!(timer);
        loop {
            let woken = tokio::select! { biased;
                Some(report) = self.reports.recv() => Woken::Report(report),
                Some(worked) = self.workshop.done() => Woken::Worked(worked),
                Some(heard) = self.asked.next(), if !self.asked.is_empty() => Woken::Heard(heard),
                Some(told) = self.questions.next(), if !self.questions.is_empty() => Woken::Told(told),
                Some(letter) = self.mailbox.letters.recv() => Woken::Letter(letter),
                config = record::newer(&mut records) => Woken::Record(config),
                () = record::turned(&mut regressed) => Woken::Regressed,
                Some(call) = self.mailbox.calls.recv() => Woken::Call(call),
                () = &mut timer => Woken::Timer,
            };
            let now = self.now();
            let mut next = Some(woken);
            for _ in 0..ROUND_MAX {
                let Some(woken) = next.take() else { break };
                self.take_in(now, woken);
                next = self.waiting_already();
            }
            if let Some(woken) = next {
                self.take_in(now, woken);
            }
            self.feel_pressure(now);
            self.core.settle(now, &mut self.effects);
            self.tell(now.at);
            self.carry_out(now).await;
            self.let_go();
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

    fn now(&self) -> Now {
        let at = self.clock.now();
        Now { at, wall: self.wall.plus(at.since(self.started)) }
    }

    /// Logs what this member has become.
    fn tell(&mut self, now: Moment) {
        let (members, trouble) = (self.core.members(), self.core.trouble());
        let (group, replica, version) = (&self.setup.group, self.setup.me, members.version);
        if self.told != Some((version, trouble)) {
            self.told = Some((version, trouble));
            self.warn_at = Some(now + TROUBLE_LASTS).filter(|_| !trouble.is_empty());
            if trouble.is_empty() {
                info!(%group, %replica, %version, active = members.active.len(), "takes updates");
            } else {
                info!(%group, %replica, %version, trouble, "waiting");
            }
        }
        if self.warn_at.take_if(|at| *at <= now).is_some() {
            warn!(%group, %replica, %version, trouble, "still waiting");
        }
    }

    /// What has come already, in the order of [`Self::run`].
    fn waiting_already(&mut self) -> Option<Woken> {
        if let Ok(report) = self.reports.try_recv() {
            return Some(Woken::Report(report));
        }
        if let Some(Some(heard)) = self.asked.next().now_or_never() {
            return Some(Woken::Heard(heard));
        }
        if let Some(Some(told)) = self.questions.next().now_or_never() {
            return Some(Woken::Told(told));
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
            Woken::Report(Report::Staged(staged)) => {
                if let Some(worked) = self.staging.take() {
                    if !staged {
                        warn!(group = %self.setup.group, "no room for a checkpoint");
                    }
                    let worked = if staged { worked } else { Worked::given_up() };
                    self.step(now, Event::Worked(worked));
                }
            }
            Woken::Worked(worked) => match (worked.checkpoint(), &self.disk) {
                (Some((_, bytes)), Some(disk)) => {
                    disk.stage(bytes.clone());
                    self.staging = Some(worked);
                }
                _ => self.step(now, Event::Worked(worked)),
            },
            Woken::Heard(Heard { by, ticket, reply }) => {
                if reply.is_some() {
                    self.known.heard(by, now.at);
                }
                self.step(now, Event::PeerReply { ticket, reply });
            }
            Woken::Told(event) => self.step(now, event),
            Woken::Letter(letter) => self.open(now, letter),
            // Whichever it is, the record is read, and the core is told.
            Woken::Regressed => self.read_members(),
            Woken::Record(config) => self.step(now, Event::Members(Some(config))),
            Woken::Call(call) => self.call(now, call),
            Woken::Timer => self.step(now, Event::Tick),
        }
    }

    /// Every round of these ends with a `settle`.
    fn step(&mut self, now: Now, event: Event) {
        self.core.take_in(now, event, &mut self.effects);
    }

    fn call(&mut self, now: Now, call: Call) {
        let Call { posted, prev, payload, deadline, asks } = call;
        if now.at.since(posted) >= WAITED_LONG {
            self.press(now);
        }
        let event = match asks {
            Asks::Update { request, answer } => {
                let waiter = self.waiter(Waiting::Done(answer));
                Event::Execute { waiter, request, prev, payload, deadline }
            }
            Asks::Query { answer } => {
                let waiter = self.waiter(Waiting::Answer(answer));
                Event::Query { waiter, prev, payload, deadline }
            }
        };
        self.step(now, event);
    }

    fn press(&mut self, now: Now) {
        if matches!(self.pressure, Pressure::Bearable) {
            self.pressure = Pressure::TooMuch { eased: None };
            warn!(group = %self.setup.group, "more calls than are served in good time: refusing for a while");
            self.step(now, Event::Pressed(true));
        }
    }

    /// Refuses calls while they come faster than they are served, and until there was room for a while.
    fn feel_pressure(&mut self, now: Now) {
        if self.mailbox.is_full() {
            self.press(now);
        }
        let Pressure::TooMuch { eased } = &mut self.pressure else { return };
        if !self.mailbox.is_half_empty() {
            *eased = None;
        } else if now.at.since(*eased.get_or_insert(now.at)) >= EASED {
            self.pressure = Pressure::Bearable;
            self.step(now, Event::Pressed(false));
        }
    }

    fn open(&mut self, now: Now, letter: Letter) {
        match letter {
            Letter::Peer { from, message, answer } => {
                self.known.heard(from, now.at);
                let message = self.with_former(message);
                let waiter = self.waiter(Waiting::Reply(answer));
                self.step(now, Event::Peer { waiter, message });
            }
            Letter::Met(hello) => {
                self.known.learn(&hello, now.at);
                self.note_members();
            }
            Letter::Listed(members) => {
                self.known.list(members);
                self.note_members();
            }
            Letter::Hello(asker) => {
                // Who asked may have gone away meanwhile, here and below.
                let _ = asker.send(self.hello(now));
            }
            Letter::Status(asker) => {
                let _ = asker.send(self.shown(now));
            }
            Letter::SetStatus(status, asker) => {
                self.step(now, Event::SetStatus(status));
                let before = self.status.send_replace(status);
                if before != status {
                    info!(group = %self.setup.group, from = before.as_str(), to = status.as_str(), "status set");
                }
                let _ = asker.send(before);
            }
            Letter::Accept => {
                warn!(group = %self.setup.group, replica = %self.setup.me, "an operator says that this disk counts");
                self.step(now, Event::Accept);
            }
            Letter::Remove(id, asker) => {
                if !self.core.members().active.contains(&id) {
                    let _ = asker.send(Err(OperatorError::UnknownMember { id }));
                    return;
                }
                warn!(group = %self.setup.group, replica = %id, "an operator takes a member out for good");
                self.step(now, Event::Remove(id));
                self.leaving.push((id, asker));
            }
            Letter::Stop(asker) if self.left.is_cancelled() => {
                let _ = asker.send(());
            }
            Letter::Stop(asker) => {
                self.stopping = Some(asker);
                self.step(now, Event::Stop);
            }
            Letter::Close(asker) => self.closing = Some(asker),
        }
    }

    /// A newcomer with an empty disk does not know who it was before. We may: a name has one holder at a time, so who
    /// had it before is gone, and nobody need wait for that disk any more.
    fn with_former(&self, message: Message) -> Message {
        match message {
            Message::Join { from, was: None, address } => {
                let was = self.known.before(from).find(|id| self.core.members().active.contains(id));
                Message::Join { from, was, address }
            }
            other => other,
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
                Effect::Executed { waiter, result } => {
                    if let Some(Waiting::Done(waiting)) = self.waiting.remove(&waiter) {
                        let done = result.map(|done| acknowledged(now, done));
                        let _ = waiting.send(done.map_err(|refused| not_done(now, refused)));
                    }
                }
                Effect::Queried { waiter, result } => {
                    if let Some(Waiting::Answer(waiting)) = self.waiting.remove(&waiter) {
                        let _ = waiting.send(result.map(answered).map_err(not_answered));
                    }
                }
                Effect::Persist(batch, ticket) => {
                    self.disk.as_ref().expect("open until closed").submit(batch, ticket);
                }
                Effect::Work(work) => self.workshop.submit(work),
                Effect::ReadMembers => self.read_members(),
                Effect::Cas { next } => {
                    let (names, by) = (self.names.clone(), self.member());
                    self.question(async move { record::propose(&names, by, next).await });
                }
                Effect::FormatAnew => {
                    self.format_anew(now).await;
                    // The rest is the old core's.
                    break;
                }
                Effect::Strand(updates) => self.strand(updates).await,
                Effect::Alarm { why } => {
                    meters::alarmed(&why);
                    error!(group = %self.setup.group, replica = %self.setup.me, why, "a person must look");
                }
                Effect::Stopped => match self.stopping.take() {
                    Some(asker) => {
                        let _ = asker.send(());
                    }
                    None => self.left.cancel(),
                },
            }
        }
        // Its room is used again.
        effects.clear();
        self.effects = effects;
    }

    fn member(&self) -> Member {
        Member { id: self.setup.me, boot: self.boot }
    }

    fn send(&mut self, to: ReplicaId, ticket: SendTicket, message: Message, within: Duration) {
        meters::told(&message);
        let call = self.links.call_gossip(&self.setup.group, to, message, within);
        let mut heard = async move {
            let reply = match call {
                Some(call) => call.await,
                None => None,
            };
            Heard { by: to, ticket, reply }
        }
        .boxed_local();
        // Begun here and now, so that messages leave in the order of the effects.
        match (&mut heard).now_or_never() {
            Some(heard) => self.asked.push(std::future::ready(heard).boxed_local()),
            None => self.asked.push(heard),
        }
    }

    fn read_members(&mut self) {
        let (names, group) = (self.names.clone(), self.setup.group.clone());
        let known = Some(self.core.members().version).filter(|version| version.0 > 0);
        self.question(async move { record::read(&names, group, known).await });
    }

    fn question(&mut self, question: impl Future<Output = Event> + 'static) {
        self.questions.push(question.boxed_local());
    }

    /// Writes updates down that nobody else may have, and that cannot be told apart from those that all have.
    async fn strand(&mut self, updates: Vec<Arc<Update>>) {
        let (group, count) = (self.setup.group.clone(), updates.len());
        self.stranded += count as u64;
        let Some(directory) = self.place.directory.clone() else {
            return error!(%group, count, "updates of a former identity are too old to be taken in, and lost");
        };
        let path =
            aside(move || files::strand(&directory, &updates)).await.unwrap_or_else(|error| end(&error));
        error!(%group, count, path = %path.display(), "updates of a former identity are too old to be taken in");
    }

    /// Gives this disk's identity up and begins again as somebody new, who keeps the log.
    async fn format_anew(&mut self, now: Now) {
        let disk = self.disk.take().expect("open until closed");
        let (place, cluster) = (self.place.clone(), self.setup.cluster);
        let identity = Identity { cluster, replica: ReplicaId::random() };
        let (blank, old) = (self.core.members().version.0 == 0, self.core.old_log());
        disk.close().await;
        let kept: Option<OldLog> = old.clone();
        let anew = move || {
            place.give_up(!blank)?;
            place.format_after(identity, kept.as_ref())
        };
        // fsync, and waiting for it, never on the runtime's thread.
        let file = aside(anew).await.unwrap_or_else(|error| end(&error));
        let (reporter, reports) = mpsc::channel(REPORTS_MAX);
        let disk = CommitThread::start(&self.setup.group, file, reporter);
        match disk.and_then(|disk| Ok((disk, Workshop::start(&self.setup.group)?))) {
            // What was under way was the old identity's.
            Ok((disk, workshop)) => (self.disk, self.workshop, self.staging) = (Some(disk), workshop, None),
            Err(error) => end(&error),
        }
        self.reports = reports;
        self.setup.me = identity.replica;
        warn!(group = %self.setup.group, replica = %identity.replica, "started anew with an empty disk");
        // Nothing asked in the old name may be answered to the new one.
        self.asked.clear();
        self.questions.clear();
        self.waiting.clear();
        let stored = Stored { old, ..Stored::default() };
        self.core = Core::new(now, self.setup.clone(), stored).expect("an empty disk is not damaged");
        let status = *self.status.borrow();
        self.step(now, Event::SetStatus(status));
        self.known.be(identity.replica);
        self.identity.send_replace(identity.replica);
        self.links.greet_again();
        if self.stopping.is_some() {
            self.step(now, Event::Stop);
        }
    }

    /// Tells those who wait for members to be out that they are.
    fn let_go(&mut self) {
        let (members, gone) = (self.core.members(), self.left.is_cancelled());
        let out = |id: &ReplicaId| gone || !members.active.contains(id);
        for (_, asker) in self.leaving.extract_if(.., |(id, _)| out(id)) {
            let _ = asker.send(Ok(()));
        }
    }

    async fn close(mut self, closed: oneshot::Sender<()>) {
        if let Some(disk) = self.disk.take() {
            // A panic there has ended the process already.
            disk.close().await;
        }
        let _ = closed.send(());
    }

    fn sweep(&mut self, now: Moment) {
        if now.since(self.swept) >= SWEEP_EVERY {
            self.swept = now;
            self.waiting.retain(|_, waiting| !waiting.is_gone());
            self.leaving.retain(|(_, asker)| !asker.is_closed());
        }
    }

    /// Has the disk note who the others are, when that is new.
    fn note_members(&mut self) {
        if let (Some(disk), Some(notes)) = (&self.disk, self.known.news()) {
            disk.note(notes);
        }
    }

    fn hello(&self, now: Now) -> Hello {
        Hello {
            cluster: self.setup.cluster,
            me: self.member(),
            name: self.name.clone(),
            address: self.setup.address,
            last: LogPoint { index: LogIndex(0), epoch: Epoch(0) },
            wall: now.wall,
            config_version: self.core.members().version,
        }
    }

    fn shown(&self, now: Now) -> GossipStatus {
        GossipStatus {
            service: self.setup.group.clone(),
            name: self.name.clone(),
            member: self.member(),
            status: *self.status.borrow(),
            members: self.core.members().clone(),
            applied: self.core.applied().clone(),
            digest: self.core.digest(),
            log: self.core.lengths().0 as u64,
            floor: self.core.floors().0,
            heard: self.known.last_heard(now.at),
            trouble: self.core.trouble().to_owned(),
            stranded: self.stranded,
            uptime: now.at.since(self.started),
            known: self.known.members(now.at),
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

/// Ends the process at once, as a failed write does.
fn end(error: &dyn std::fmt::Display) -> ! {
    error!(%error, "the disk failed; ending at once");
    machine::end(EXIT_DISK_FAILED)
}
