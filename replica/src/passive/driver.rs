//! The shell round one core: everything that happens goes in, in one task, and what must happen is carried out in
//! order. It decides nothing.

pub mod mailbox;
mod record;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use common::clock::{Clock, Moment};
use common::directory::Names;
use common::machine::{self, TcpStream, aside, give_turn};
use common::names::LogicalName;
use common::replication::{Epoch, GroupConfig, ReplicaId};
use common::rpc::peer::{Hello, Message, Reply};
use common::rpc::replica::{Answer, Done, MemberStatus, QueryError, Role, SubmitError};
use futures::future::{FutureExt as _, LocalBoxFuture};
use futures::stream::{FuturesUnordered, StreamExt as _};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{sleep_until, timeout};
use tracing::{error, info, warn};

use self::mailbox::{Call, Letter, Mailbox};
use super::{Core, Effect, Event, Now, SendTicket, Setup, Stored, Waiter, Work, Worked};
use crate::disk::file::{GroupFile, Identity, Place};
use crate::disk::{CommitThread, Disk as _, EXIT_DISK_FAILED, REPORTS_MAX, Report};
use crate::known::Known;
use crate::links::Links;
use crate::meters;
use crate::workshop::Workshop;

/// Events taken in before effects are carried out: enough to empty a busy mailbox, few enough that no answer waits
/// long for its turn.
const ROUND_MAX: usize = 256;
/// How long a peer's socket has to accept when it is looked at.
const LOOK_WITHIN: Duration = Duration::from_millis(300);
/// A round of the core that took this long kept everybody waiting: counted, and told now and then.
const LONG_ROUND: Duration = Duration::from_millis(20);
/// Trouble that passes sooner is none: a healthy start waits for the name server, and a new group for its first record.
const TROUBLE_LASTS: Duration = Duration::from_secs(5);
/// How often those who no longer wait are forgotten.
const SWEEP_EVERY: Duration = Duration::from_secs(10);

/// What a driver is made of.
#[derive(Debug)]
pub struct Parts {
    /// Who it is, and what it may do.
    pub setup: Setup,
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
    /// Whether the disk may be an old copy of itself.
    pub restored: bool,
}

/// One core's shell.
pub struct Driver {
    setup: Setup,
    core: Core,
    effects: Vec<Effect>,
    disk: Option<CommitThread>,
    reports: mpsc::Receiver<Report>,
    workshop: Workshop<Work>,
    /// On its way into the file; the core hears of it then.
    staging: Option<Worked>,
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
    /// Questions to the name server under way. Apart, because an operator has them dropped.
    questions: FuturesUnordered<LocalBoxFuture<'static, Event>>,
    known: Known,
    /// Rounds that took long, since they were last told.
    long_rounds: Vec<Duration>,
    /// What was last logged of it.
    told: Option<(Role, Epoch, &'static str)>,
    /// When that was trouble for so long that somebody should know.
    warn_at: Option<Moment>,
    identity: watch::Sender<ReplicaId>,
    stopping: Option<oneshot::Sender<()>>,
    closing: Option<oneshot::Sender<()>>,
    meters: meters::Passive,
}

/// Who waits for an answer.
enum Waiting {
    /// Since when.
    Done(oneshot::Sender<Result<Done, SubmitError>>, Moment),
    Answer(oneshot::Sender<Result<Answer, QueryError>>),
    Reply(oneshot::Sender<Reply>),
}

impl Waiting {
    fn is_gone(&self) -> bool {
        match self {
            Self::Done(waiter, _) => waiter.is_closed(),
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

/// What wakes the driver.
enum Woken {
    Report(Report),
    Outcome(Outcome),
    Worked(Worked),
    /// What came of a question to the name server.
    Told(Event),
    Letter(Letter),
    Record(GroupConfig),
    /// The name server's record has become older than ours, or is so no more.
    Regressed,
    Call(Call),
    ClockOff(Option<Duration>),
    Timer,
}

impl Driver {
    /// A driver for what was found on the disk, and the identity that it has, now and when it must take another.
    ///
    /// # Errors
    /// When the disk's contents are damaged, or there is no thread for it.
    pub fn new(parts: Parts, mailbox: Mailbox) -> Result<(Self, watch::Receiver<ReplicaId>), NotStarted> {
        let Parts { setup, stored, known, file, place, clock, names, links, restored } = parts;
        let started = clock.now();
        let now = Now { at: started, wall: Clock::wall() };
        let core = Core::new(now, setup.clone(), stored).map_err(|why| NotStarted::Damaged { why })?;
        let core = if restored { core.restored() } else { core };
        let (reporter, reports) = mpsc::channel(REPORTS_MAX);
        let disk = CommitThread::start(&setup.group, file, reporter)?;
        let workshop = Workshop::start(&setup.group)?;
        let me = setup.me.id;
        let (identity, shown) = watch::channel(me);
        let driver = Self {
            meters: meters::Passive::of(&setup.group),
            setup,
            core,
            effects: Vec::new(),
            disk: Some(disk),
            reports,
            workshop,
            staging: None,
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
            questions: FuturesUnordered::new(),
            known: Known::new(me, known),
            long_rounds: Vec::new(),
            told: None,
            warn_at: None,
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
        let mut clock_off = self.names.clock_off();
        clock_off.mark_changed();
        let mut regressed = self.names.group_regressed(self.setup.group.clone());
        let timer = sleep_until(self.clock.instant(self.started));
        tokio::pin!(timer);
        loop {
            let woken = tokio::select! { biased;
                Some(report) = self.reports.recv() => Woken::Report(report),
                Some(outcome) = self.asked.next(), if !self.asked.is_empty() => Woken::Outcome(outcome),
                Some(told) = self.questions.next(), if !self.questions.is_empty() => Woken::Told(told),
                Some(letter) = self.mailbox.letters.recv() => Woken::Letter(letter),
                Some(worked) = self.workshop.done() => Woken::Worked(worked),
                config = record::newer(&mut records) => Woken::Record(config),
                Ok(()) = clock_off.changed() => Woken::ClockOff(*clock_off.borrow_and_update()),
                () = record::turned(&mut regressed) => Woken::Regressed,
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
            self.core.settle(now, &mut self.effects);
            self.tell(now.at);
            self.carry_out(now).await;
            if let Some(closed) = self.closing.take() {
                return self.close(closed).await;
            }
            self.sweep(now.at);
            let took = self.clock.now().since(now.at);
            if took >= LONG_ROUND {
                self.long_rounds.push(took);
            }
            if self.core.role() == Role::Learner {
                // Catching up is a lot of work, and nobody waits for it: whoever serves meanwhile comes first.
                give_turn();
            }
            let wake = self.clock.instant(self.core.wake_at(now.at));
            if timer.deadline() != wake {
                timer.as_mut().reset(wake);
            }
        }
    }

    /// Logs what this member has become.
    fn tell(&mut self, now: Moment) {
        let told = (self.core.role(), self.core.progress().epoch, self.core.trouble());
        let (group, replica, (role, epoch, trouble)) = (&self.setup.group, self.setup.me.id, told);
        let cluster = self.setup.cluster;
        if self.told != Some(told) {
            self.told = Some(told);
            self.warn_at = Some(now + TROUBLE_LASTS).filter(|_| !trouble.is_empty());
            let in_sync = self.core.newest_config().map_or(0, |config| config.in_sync.len());
            if trouble.is_empty() {
                info!(%group, %replica, ?role, %epoch, in_sync, "role taken");
            } else {
                info!(%group, %replica, ?role, %epoch, %cluster, trouble, "waiting");
            }
        }
        if self.warn_at.take_if(|at| *at <= now).is_some() {
            warn!(%group, %replica, ?role, %epoch, %cluster, trouble, "still waiting");
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
                        warn!(group = %self.setup.group, "no room for a snapshot");
                    }
                    let worked = if staged { worked } else { Worked::given_up() };
                    self.step(now, Event::Worked(worked));
                }
            }
            Woken::Worked(worked) => match (worked.snapshot(), &self.disk) {
                (Some((_, bytes)), Some(disk)) => {
                    disk.stage(bytes.clone());
                    self.staging = Some(worked);
                }
                _ => self.step(now, Event::Worked(worked)),
            },
            Woken::Outcome(Outcome { heard, event }) => {
                if let Some(id) = heard {
                    self.known.heard(id, now.at);
                }
                if let Some(event) = event {
                    self.step(now, event);
                }
            }
            Woken::Letter(letter) => self.open(now, letter),
            Woken::Told(event) => self.step(now, event),
            Woken::Record(config) => self.step(now, Event::Record(Some(config))),
            // Whichever it is, the core reads the record, and is told.
            Woken::Regressed => self.step(now, Event::NoRecord),
            Woken::Call(call) => self.call(now, call),
            Woken::ClockOff(Some(off)) => self.step(now, Event::ClockOff(off)),
            Woken::ClockOff(None) | Woken::Timer => self.step(now, Event::Tick),
        }
    }

    /// Every round of these ends with a `settle`.
    fn step(&mut self, now: Now, event: Event) {
        self.core.take_in(now, event, &mut self.effects);
    }

    fn call(&mut self, now: Now, call: Call) {
        let event = match call {
            Call::Execute { request, facts, payload, deadline, answer } => {
                let waiter = self.waiter(Waiting::Done(answer, now.at));
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
                    _ => self.known.heard(from, now.at),
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
                self.known.list(members);
                self.note_members();
            }
            Letter::Hello(asker) => {
                // Who asked may have gone away meanwhile, here and below.
                let _ = asker.send(self.core.hello(now.wall));
            }
            Letter::Status(asker) => {
                let _ = asker.send(self.status(now));
            }
            Letter::PrepareAdoption(asker) => {
                info!(group = %self.setup.group, "an operator is about to install a record");
                self.forget_answers(now);
                let _ = asker.send(self.status(now));
            }
            Letter::Adopted(version) => self.step(now, Event::Adopted(version)),
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
                        *address = self.known.address_of(config.primary);
                    }
                    if let Some(Waiting::Done(waiting, since)) = self.waiting.remove(&waiter) {
                        // What is answered in the round that it came in was committed before.
                        if result.is_ok() && now.at > since {
                            self.meters.committed(now.at.since(since));
                        }
                        let _ = waiting.send(result);
                    }
                }
                Effect::Queried { waiter, mut result } => {
                    if let Err(QueryError::NotPrimary { config: Some(config), address }) = &mut result {
                        *address = self.known.address_of(config.primary);
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
                    self.question(async move { record::read(&names, group, known).await });
                }
                Effect::Cas { next } => {
                    let (names, me) = (self.names.clone(), self.setup.me);
                    self.question(async move { record::propose(&names, me, next).await });
                }
                Effect::Look(member) => {
                    if let Some(address) = self.known.address_of(member) {
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
                Effect::Work(work) => self.workshop.submit(work),
                Effect::Alarm { why } => {
                    error!(group = %self.setup.group, replica = %self.setup.me.id, why, "a person must look");
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

    /// Begins a question to the name server, as [`Self::ask`] does.
    fn question(&mut self, question: impl Future<Output = Event> + 'static) {
        let mut question = question.boxed_local();
        match (&mut question).now_or_never() {
            Some(event) => self.questions.push(std::future::ready(event).boxed_local()),
            None => self.questions.push(question),
        }
    }

    /// Drops every question to the name server and every answer not read yet: an operator is about to install another
    /// record, and what one of a lost future says must not arrive after it.
    fn forget_answers(&mut self, now: Now) {
        self.names.forget_answers();
        if !self.questions.is_empty() {
            self.questions.clear();
            // As when the name server was silent: what was asked is asked again, of whoever answers now.
            self.step(now, Event::NoRecord);
        }
    }

    /// Gives this disk's identity up and begins again as somebody new.
    async fn format_anew(&mut self, now: Now, keep: bool) {
        let disk = self.disk.take().expect("open until closed");
        let (place, cluster) = (self.place.clone(), self.setup.cluster);
        let identity = Identity { cluster, replica: ReplicaId::random() };
        disk.close().await;
        let anew = move || {
            place.give_up(keep)?;
            place.format(identity)
        };
        // fsync, and waiting for it, never on the runtime's thread.
        let file = aside(anew).await.unwrap_or_else(|error| end(&error));
        let (reporter, reports) = mpsc::channel(REPORTS_MAX);
        let started = CommitThread::start(&self.setup.group, file, reporter);
        match started.and_then(|disk| Ok((disk, Workshop::start(&self.setup.group)?))) {
            // What is under way in the old one is nobody's.
            Ok((disk, workshop)) => (self.disk, self.workshop, self.staging) = (Some(disk), workshop, None),
            Err(error) => end(&error),
        }
        self.reports = reports;
        self.setup.me.id = identity.replica;
        warn!(group = %self.setup.group, replica = %identity.replica, "started anew with an empty disk");
        // Nothing asked in the old name may be answered to the new one.
        self.asked.clear();
        self.questions.clear();
        self.waiting.clear();
        self.core =
            Core::new(now, self.setup.clone(), Stored::default()).expect("an empty disk is not damaged");
        self.known.be(identity.replica);
        self.identity.send_replace(identity.replica);
        self.links.greet_again();
        if self.stopping.is_some() {
            self.step(now, Event::Stop);
        }
    }

    async fn close(mut self, closed: oneshot::Sender<()>) {
        self.tell_long_rounds();
        if let Some(disk) = self.disk.take() {
            // A panic there has ended the process already.
            disk.close().await;
        }
        let _ = closed.send(());
    }

    fn sweep(&mut self, now: Moment) {
        if now.since(self.swept) >= SWEEP_EVERY {
            self.swept = now;
            self.tell_long_rounds();
            self.waiting.retain(|_, waiting| !waiting.is_gone());
        }
    }

    /// How often everybody had to wait for this task, and how long at worst.
    fn tell_long_rounds(&mut self) {
        if let Some(worst) = self.long_rounds.iter().max() {
            let (group, count) = (&self.setup.group, self.long_rounds.len());
            warn!(%group, count, took = ?worst, "long rounds");
            self.long_rounds.clear();
        }
    }

    fn learn(&mut self, hello: &Hello, now: Moment) {
        self.known.learn(hello, now);
        self.note_members();
    }

    /// Has the disk note who the others are, when that is new.
    fn note_members(&mut self) {
        if let (Some(disk), Some(notes)) = (&self.disk, self.known.news()) {
            disk.note(notes);
        }
    }

    fn status(&self, now: Now) -> MemberStatus {
        let progress = self.core.progress();
        let hello = self.core.hello(now.wall);
        let status = MemberStatus {
            service: self.setup.group.clone(),
            name: self.setup.name.clone(),
            member: self.setup.me,
            role: self.core.role(),
            config: self.core.newest_config().cloned(),
            last: progress.last,
            epoch: progress.epoch,
            committed: progress.committed,
            applied: progress.applied,
            durable: progress.durable,
            state_hash: progress.state_hash,
            floor: progress.floor,
            config_version: hello.config_version,
            trouble: self.core.trouble().to_owned(),
            waits: self.core.waits(),
            uptime: now.at.since(self.started),
            now: now.wall,
            known: self.known.members(now.at),
        };
        self.meters.repeated(self.core.repeats());
        self.meters.is(&status, self.core.lag());
        status
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

/// Whether a fresh connection to `address` is refused.
async fn look(address: SocketAddr) -> bool {
    match timeout(LOOK_WITHIN, TcpStream::connect(address)).await {
        Ok(Err(error)) => error.kind() == io::ErrorKind::ConnectionRefused,
        _ => false,
    }
}

/// Ends the process at once, as a failed write does.
fn end(error: &dyn std::fmt::Display) -> ! {
    error!(%error, "the disk failed; ending at once");
    machine::end(EXIT_DISK_FAILED)
}
