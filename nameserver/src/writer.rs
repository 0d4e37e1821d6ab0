//! The one task that changes anything: it owns the cores, takes messages from a bounded mailbox in batches, and
//! answers when the disk has what was asked. It decides nothing itself.

mod dialling;

use std::cell::{Cell, RefCell};
use std::collections::{BTreeSet, VecDeque};
use std::net::IpAddr;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use common::clock::{Clock, Moment};
use common::ids::InstanceId;
use common::names::{
    AnyName, AttemptId, Holder, LeaseId, LogicalName, NameEpoch, OwnerKey, Patch, Removal, Revision, Stamp,
    Stamped,
};
use common::replication::{ConfigVersion, GroupName, Proposer};
use common::rpc::name_service::{
    Config, GrantError, Granted, GroupChange, GroupError, LookupError, RegisterError, Registered,
    SnapshotError, SnapshotInfo, Status, StoreError, UpdateError,
};
use tokio::sync::mpsc::{Receiver, Sender, UnboundedReceiver};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;
use tracing::{info, warn};

use crate::bells::{self, Bells};
use crate::groups::{Groups, Proposal};
use crate::leases::{LeaseBook, Leases};
use crate::metrics::Meters;
use crate::probes::{Place, Probes};
use crate::registry::{Kept, Registration, Registry, Shelf, Step, TooFarAhead, is_local};
use crate::store::{Committer, Fault, RETRY_EVERY, Report, Token, Write};
use crate::watch::{RING_EVENTS, Ring};

/// Messages waiting for the writer; senders wait when it is full.
pub(crate) const MAILBOX: usize = 1_024;
/// Messages handled before the writer looks at the clock again: a few milliseconds.
const BATCH: usize = 256;
/// Leases looked at before others get the thread: well below a millisecond, so that lookups notice nothing of it.
const SLICE: usize = 64;
/// Rows of ended leases in one commit; registrations wait for the one under way.
const LAZY_WRITES: usize = 256;
/// Expiries and confirmations wait this long at most for a commit to go with.
const LAZY: Duration = Duration::from_secs(1);
/// How often the store hears that we live, while somebody has not been heard since the restart. What a crash
/// forgets of it, the dead live longer.
const ALIVE_EVERY: Duration = Duration::from_millis(200);
/// Rows that wait for the disk: past this the name server takes no more changes until it answers.
const UNWRITTEN_MAX: usize = 65_536;
/// Changes of groups that wait for another change of theirs.
const CHANGES_WAITING_MAX: usize = 1_024;

/// What handlers read without asking the writer.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) clock: Clock,
    pub(crate) shelf: Arc<Shelf>,
    pub(crate) book: Arc<LeaseBook>,
    pub(crate) ring: RefCell<Ring>,
    pub(crate) bells: Rc<Bells>,
    pub(crate) meters: Rc<Meters>,
    /// Rings at each change of a group.
    pub(crate) group_bell: watch::Sender<()>,
    /// Until then a name that is not known may only be not known yet.
    pub(crate) warm_at: Cell<Moment>,
    /// Polls waiting.
    pub(crate) polls: Cell<u64>,
}

/// Where an answer goes.
type To<T, E> = oneshot::Sender<Result<Stamped<T>, E>>;

/// What handlers ask of the writer.
#[derive(Debug)]
pub(crate) enum Message {
    Grant {
        ttl: Duration,
        instance: InstanceId,
        owner: Option<OwnerKey>,
        to: To<Granted, GrantError>,
    },
    Revoke {
        lease: LeaseId,
        to: To<u32, StoreError>,
    },
    Register {
        request: Box<Registration>,
        to: To<Registered, RegisterError>,
    },
    /// One after the other, up to the first that is refused: how many were registered, and why no more.
    RegisterAll {
        requests: Vec<Registration>,
        to: To<(usize, Option<RegisterError>), StoreError>,
    },
    RegisterNext {
        request: Box<Registration>,
        prefix: LogicalName,
        attempt: AttemptId,
        to: To<(LogicalName, Registered), RegisterError>,
    },
    /// What stands under these names, once it is durable.
    Read {
        names: Vec<AnyName>,
        to: To<Vec<Option<Kept>>, LookupError>,
    },
    Update {
        caller: IpAddr,
        holder: Holder,
        name: AnyName,
        patch: Patch,
        to: To<Registered, UpdateError>,
    },
    Unregister {
        caller: IpAddr,
        holder: Holder,
        name: AnyName,
        to: To<NameEpoch, UpdateError>,
    },
    /// A lease's holder was heard for the first time since the restart.
    Heard {
        lease: LeaseId,
    },
    /// Somebody has a stamp of ours that is later than ours.
    Seen {
        stamp: Stamp,
        to: oneshot::Sender<Result<(), TooFarAhead>>,
    },
    ReadGroup {
        group: GroupName,
        known: Option<ConfigVersion>,
        to: To<Option<Config>, GroupError>,
    },
    ChangeGroup(Change),
    Status {
        to: oneshot::Sender<Numbers>,
    },
    Snapshot {
        to: oneshot::Sender<Result<SnapshotInfo, SnapshotError>>,
    },
    /// Write what is left, and end.
    Close,
}

/// Posts to the writer, and waits for its answer.
pub(crate) async fn ask<T>(
    mailbox: &Sender<Message>,
    message: impl FnOnce(oneshot::Sender<T>) -> Message,
) -> Result<T, StoreError> {
    let stopping = || StoreError::Down {
        why: "the name server is stopping".to_owned(),
        retry_in: Duration::from_secs(1),
    };
    // The message is made when there is a place for it: whoever waits for one carries no message along.
    let place = mailbox.reserve().await.map_err(|_| stopping())?;
    let (to, answer) = oneshot::channel();
    place.send(message(to));
    answer.await.map_err(|_| stopping())
}

/// How the name server is, and what only its pages tell.
#[derive(Debug)]
pub(crate) struct Numbers {
    pub(crate) status: Status,
    pub(crate) commits: u64,
    pub(crate) written: u64,
    pub(crate) probes: u64,
}

/// A proposed configuration, and who waits for what becomes of it.
#[derive(Debug)]
pub(crate) struct Change {
    pub(crate) caller: IpAddr,
    pub(crate) proposed: GroupChange,
    pub(crate) to: To<Config, GroupError>,
}

/// A group's configuration on its way to the disk, and who waits for it, unless told of a failure meanwhile.
struct Install {
    token: Token,
    group: GroupName,
    to: Option<To<Config, GroupError>>,
}

/// Told whether what it waits for is on the disk.
type Waiter = Box<dyn FnOnce(Result<(), StoreError>)>;

/// The writer.
pub(crate) struct Writer {
    pub(crate) shared: Rc<Shared>,
    pub(crate) registry: Registry,
    pub(crate) leases: Leases,
    pub(crate) groups: Groups,
    probes: Probes,
    /// Dials under way.
    dialling: JoinSet<(Place, bool)>,
    pub(crate) committer: Committer,
    pub(crate) store_name: &'static str,
    books: Books,
}

/// What is under way.
#[derive(Default)]
struct Books {
    /// For the next commit.
    batch: Vec<Write>,
    /// Who waits for the next commit.
    asking: Vec<Waiter>,
    /// Who waits for a commit under way.
    waiting: VecDeque<(Token, Waiter)>,
    /// Groups' configurations under way.
    installing: VecDeque<Install>,
    /// Revision marks under way.
    marks: VecDeque<(Token, Revision)>,
    /// Changes of groups for which another one is under way.
    later: VecDeque<Change>,
    submitted: Token,
    durable: Token,
    /// Why the store takes nothing at the moment.
    down: Option<Fault>,
    /// Somebody has shown that this store is an old copy; until then names may be of before.
    copy_until: Option<Moment>,
    /// First labels of names that changed since the bells rang.
    rung: BTreeSet<Box<str>>,
    /// Rows handed in, and not durable yet.
    unwritten: VecDeque<(Token, usize)>,
    /// All of them.
    unwritten_rows: usize,
    commits: u64,
    written: u64,
    began_at: Moment,
    flushed_at: Moment,
    alive_at: Moment,
}

impl Writer {
    pub(crate) fn new(
        shared: Rc<Shared>,
        registry: Registry,
        leases: Leases,
        groups: Groups,
        mut probes: Probes,
        committer: Committer,
        store_name: &'static str,
    ) -> Self {
        let now = shared.clock.now();
        for (record, registrant) in registry.permanent() {
            probes.add(now, &record, registrant);
        }
        let books = Books { began_at: now, ..Books::default() };
        let dialling = JoinSet::new();
        Self { shared, registry, leases, groups, probes, dialling, committer, store_name, books }
    }

    /// Works until told to [`Message::Close`].
    pub(crate) async fn run(
        mut self,
        mut mailbox: Receiver<Message>,
        mut reports: UnboundedReceiver<Report>,
    ) {
        let clock = self.shared.clock;
        let mut tick_at = clock.now();
        let mut batch = Vec::with_capacity(BATCH);
        loop {
            tokio::select! { biased;
                Some(report) = reports.recv() => self.hear(report),
                () = tokio::time::sleep_until(clock.instant(tick_at)) => {
                    self.tick().await;
                    let now = clock.now();
                    tick_at = now + self.next_tick(now);
                }
                Some(Ok((place, alive))) = self.dialling.join_next() => self.dialled(&place, alive),
                _ = mailbox.recv_many(&mut batch, BATCH) => {
                    let now = clock.now();
                    self.leases.tick(now);
                    for message in batch.drain(..) {
                        if matches!(message, Message::Close) {
                            self.flush(now);
                            return self.committer.close().await;
                        }
                        self.handle(now, message);
                    }
                    if !self.books.asking.is_empty() {
                        self.flush(now);
                    }
                    // The first lease ends the slow ticking.
                    tick_at = tick_at.min(now + self.next_tick(now));
                }
            }
            self.ring();
        }
    }

    async fn tick(&mut self) {
        let now = self.shared.clock.now();
        self.leases.tick(now);
        while self.leases.has_visited() {
            for cell in self.leases.sweep(SLICE) {
                let (names, step) = self.registry.end_lease(&self.leases, cell.id, Removal::Expired);
                self.publish(step);
                info!(instance = %cell.instance, names, "lease ran out");
            }
            for late in self.leases.lateness(self.shared.clock.now()) {
                self.shared.meters.lateness.add(late);
            }
            if self.books.batch.len() >= LAZY_WRITES {
                self.flush(now);
            }
            self.ring();
            tokio::task::yield_now().await;
        }
        self.dial(now);
        if self.leases.unconfirmed() > 0 && now.since(self.books.alive_at) >= ALIVE_EVERY {
            self.books.alive_at = now;
            let served = self.served(now);
            self.books.batch.push(Write::Alive(served));
            self.flush(now);
        } else if !self.books.batch.is_empty() && now.since(self.books.flushed_at) >= LAZY {
            self.flush(now);
        }
    }

    fn next_tick(&self, now: Moment) -> Duration {
        let lease = self.leases.next_tick(now);
        self.probes.every().map_or(lease, |probe| lease.min(probe))
    }

    /// How long this boot has served, pauses left out: they take no holder's time, over a restart either.
    fn served(&self, now: Moment) -> Duration {
        now.since(self.books.began_at).saturating_sub(self.leases.pauses().1)
    }

    fn handle(&mut self, now: Moment, message: Message) {
        match message {
            Message::Grant { ttl, instance, owner, to } => self.change(to, |this| {
                let id = LeaseId::from_random(rand::random());
                let cell = this.leases.grant(now, id, ttl, instance, owner)?;
                this.books.batch.push(this.registry.lease_row(&cell));
                Ok((Granted { lease: id, ttl }, None))
            }),
            Message::Revoke { lease, to } if self.up().is_ok() => {
                self.change(to, |this| Ok(this.revoke(lease)));
            }
            Message::Revoke { lease, to } => {
                // As with a lease that runs out: gone at once, and stored when the store is back.
                let (names, step) = self.revoke(lease);
                if let Some(step) = step {
                    self.publish(step);
                }
                self.reply(to, names);
            }
            Message::Register { request, to } => {
                self.change(to, |this| this.registry.register(now, &this.leases, *request));
            }
            Message::RegisterAll { requests, to } => {
                self.change(to, |this| Ok((this.register_all(now, requests), None)));
            }
            Message::RegisterNext { request, prefix, attempt, to } => self.change(to, |this| {
                this.registry.register_next(now, &this.leases, &prefix, attempt, *request)
            }),
            Message::Read { names, to } => self.change(to, |this| {
                Ok((names.iter().map(|name| this.shared.shelf.get(name.as_str())).collect(), None))
            }),
            Message::Update { caller, holder, name, patch, to } => {
                self.change(to, |this| this.registry.update(caller, holder, &name, &patch));
            }
            Message::Unregister { caller, holder, name, to } => self.change(to, |this| {
                let (epoch, step) = this.registry.unregister(&this.leases, caller, holder, &name)?;
                if holder == Holder::Operator {
                    warn!(%name, peer = %caller, "an operator removed a name");
                }
                Ok((epoch, Some(step)))
            }),
            Message::Heard { lease } => self.confirm(lease),
            Message::Seen { stamp, to } => drop(to.send(self.seen(now, stamp))),
            Message::ReadGroup { group, known, to } => {
                let answer = self.groups.read(&group, known);
                self.note_versions();
                let stamp = self.shared.shelf.stamp();
                drop(to.send(answer.map(|value| Stamped { stamp, value })));
            }
            Message::ChangeGroup(change) => self.change_group(change),
            Message::Status { to } => {
                let (commits, written) = (self.books.commits, self.books.written);
                let (status, probes) = (self.status(now), self.probes.asked());
                drop(to.send(Numbers { status, commits, written, probes }));
            }
            Message::Snapshot { to } => self.snapshot(now, to),
            Message::Close => unreachable!("the loop ends with it"),
        }
    }

    /// Has a core make a change, shows it, and answers when it is durable.
    fn change<T: 'static, E: From<StoreError> + 'static>(
        &mut self,
        to: To<T, E>,
        make: impl FnOnce(&mut Self) -> Result<(T, Option<Step>), E>,
    ) {
        match self.up().map_err(E::from).and_then(|()| make(self)) {
            Ok((value, step)) => {
                if let Some(step) = step {
                    self.publish(step);
                }
                self.answer(to, value);
            }
            Err(error) => refuse(to, error),
        }
    }

    fn register_all(&mut self, now: Moment, requests: Vec<Registration>) -> (usize, Option<RegisterError>) {
        let mut done = 0;
        for request in requests {
            match self.registry.register(now, &self.leases, request) {
                Ok((_, step)) => step.into_iter().for_each(|step| self.publish(step)),
                Err(refused) => return (done, Some(refused)),
            }
            done += 1;
        }
        (done, None)
    }

    fn revoke(&mut self, lease: LeaseId) -> (u32, Option<Step>) {
        let Some(cell) = self.leases.revoke(lease) else { return (0, None) };
        let (names, step) = self.registry.end_lease(&self.leases, lease, Removal::Revoked);
        info!(instance = %cell.instance, names, "lease given back");
        (names, Some(step))
    }

    fn confirm(&mut self, lease: LeaseId) {
        if !self.leases.confirm(lease) {
            return;
        }
        let cell = self.leases.get(lease).expect("it was confirmed just now");
        for step in self.registry.confirm(&cell) {
            self.publish(step);
        }
        let row = self.registry.lease_row(&cell);
        self.books.batch.push(row);
    }

    fn seen(&mut self, now: Moment, stamp: Stamp) -> Result<(), TooFarAhead> {
        let ours = self.shared.shelf.stamp();
        if let Some(writes) = self.registry.seen(stamp)? {
            warn!(?ours, seen = ?stamp, "this store is an old copy: going on past what was seen, and warming up");
            self.books.batch.extend(writes);
            self.shared.ring.replace(Ring::new(self.shared.shelf.stamp().rev, RING_EVENTS));
            let served = self.served(now);
            let rows = self.leases.doubt(now, self.shared.shelf.stamp().boot, served);
            self.books
                .batch
                .extend(rows.into_iter().map(|(lease, row)| Write::Lease { lease, row: Some(row) }));
            self.registry.doubt();
            let warm_at = now + self.leases.longest();
            self.books.copy_until = Some(warm_at);
            self.shared.warm_at.set(warm_at);
            self.shared.bells.ring_all();
        }
        Ok(())
    }

    fn change_group(&mut self, change: Change) {
        let Change { caller, proposed, to } = change;
        if let Err(error) = self.up() {
            return refuse(to, error.into());
        }
        if proposed.by == Proposer::Operator {
            if !is_local(caller) {
                return refuse(to, GroupError::Denied);
            }
            warn!(group = %proposed.new.group(), version = %proposed.new.version(), peer = %caller, "an operator proposes a configuration");
        }
        let judged = self.groups.propose(proposed.clone());
        self.note_versions();
        match judged {
            Ok(Proposal::Standing(value)) => self.reply(to, value),
            Ok(Proposal::Staged(row)) => {
                let group = row.group.clone();
                let token = self.committer.submit_alone(vec![Write::Group(row)]);
                self.books.submitted = token;
                self.books.installing.push_back(Install { token, group, to: Some(to) });
            }
            Ok(Proposal::Later) if self.books.later.len() < CHANGES_WAITING_MAX => {
                self.books.later.push_back(Change { caller, proposed, to });
            }
            Ok(Proposal::Later) => {
                let why = "too many changes of groups are under way".to_owned();
                refuse(to, GroupError::Store(StoreError::Down { why, retry_in: RETRY_EVERY }));
            }
            Err(error) => refuse(to, error),
        }
    }

    fn snapshot(&mut self, now: Moment, to: oneshot::Sender<Result<SnapshotInfo, SnapshotError>>) {
        if !self.committer.keeps() {
            return drop(to.send(Err(SnapshotError::NothingKept)));
        }
        self.flush(now);
        let stamp = self.shared.shelf.stamp();
        let suffix = format!("{}-{}", stamp.boot, stamp.rev);
        let copied = move |copied: Result<PathBuf, Fault>| {
            let info = copied.map(|file| SnapshotInfo { stamp, file: file.display().to_string() });
            // A caller that is gone finds the file all the same.
            drop(to.send(info.map_err(|fault| SnapshotError::Store(StoreError::from(&fault)))));
        };
        self.committer.snapshot(suffix, Box::new(copied));
    }

    fn note_versions(&mut self) {
        self.books.batch.extend(self.groups.take_news().into_iter().map(Write::Group));
    }

    /// Takes note of what became of commits.
    fn hear(&mut self, report: Report) {
        let (upto, fault) = match report {
            Report::Durable(upto) => {
                self.books.durable = self.books.durable.max(upto);
                self.books.down = None;
                self.books.commits += 1;
                while let Some((_, rows)) = self.books.unwritten.pop_front_if(|(token, _)| *token <= upto) {
                    self.books.written += rows as u64;
                    self.books.unwritten_rows -= rows;
                }
                (upto, None)
            }
            Report::Failed(upto, fault) => (upto, Some(fault)),
        };
        let fate = || fault.as_ref().map_or(Ok(()), |fault| Err(StoreError::from(fault)));
        while let Some((_, waiter)) = self.books.waiting.pop_front_if(|(token, _)| *token <= upto) {
            waiter(fate());
        }
        if let Some(fault) = &fault {
            // The outcome is unknown, and known when the store is back: the configuration stays staged until then.
            let staged = self.books.installing.iter_mut().filter(|install| install.token <= upto);
            let waiting = staged.filter_map(|install| install.to.take());
            for to in waiting.chain(self.books.later.drain(..).map(|change| change.to)) {
                refuse(to, GroupError::Store(fault.into()));
            }
            self.books.down = Some(fault.clone());
            return;
        }
        while let Some((_, mark)) = self.books.marks.pop_front_if(|(token, _)| *token <= upto) {
            self.registry.reserved_is_durable(mark);
        }
        let mut installed = false;
        while let Some(Install { group, to, .. }) =
            self.books.installing.pop_front_if(|one| one.token <= upto)
        {
            let value = self.groups.install(&group);
            info!(%group, version = %value.version(), "configuration changed");
            if let Some(to) = to {
                self.reply(to, value);
            }
            installed = true;
        }
        if installed {
            self.shared.group_bell.send_replace(());
            for change in std::mem::take(&mut self.books.later) {
                self.change_group(change);
            }
        }
    }

    /// Shows a change to watchers, and has it stored with the next commit.
    fn publish(&mut self, step: Step) {
        self.watch_over(&step);
        for event in &step.events {
            let label = bells::label(event.name());
            if !self.books.rung.contains(label) {
                self.books.rung.insert(label.into());
            }
        }
        self.shared.ring.borrow_mut().push(step.rev, step.events);
        self.books.batch.extend(step.writes);
    }

    /// Wakes the watchers whom the changes of this round may concern: a burst wakes each of them once.
    fn ring(&mut self) {
        if !self.books.rung.is_empty() {
            self.shared.bells.ring(self.books.rung.iter().map(|label| &**label));
            self.books.rung.clear();
        }
    }

    /// Answers when all that was changed so far is durable.
    fn answer<T: 'static, E: From<StoreError> + 'static>(&mut self, to: To<T, E>, value: T) {
        let answer = Stamped { stamp: self.shared.shelf.stamp(), value };
        self.books.asking.push(Box::new(move |fate| drop(to.send(fate.map(|()| answer).map_err(E::from)))));
    }

    fn flush(&mut self, now: Moment) {
        let books = &mut self.books;
        books.flushed_at = now;
        let writes = std::mem::take(&mut books.batch);
        if !writes.is_empty() {
            let mark = writes.iter().filter_map(|write| match write {
                Write::Reserved(mark) => Some(*mark),
                _ => None,
            });
            let mark = mark.max();
            let rows = writes.len();
            books.submitted = self.committer.submit(writes);
            books.unwritten.push_back((books.submitted, rows));
            books.unwritten_rows += rows;
            books.marks.extend(mark.map(|mark| (books.submitted, mark)));
        }
        // A repeat changes nothing, but what it repeats may still be on its way.
        let token = books.submitted;
        for waiter in books.asking.drain(..) {
            if token <= books.durable {
                waiter(Ok(()));
            } else {
                books.waiting.push_back((token, waiter));
            }
        }
    }

    /// Answers with what is durable already.
    fn reply<T, E>(&self, to: To<T, E>, value: T) {
        // A caller that is gone does not need its answer.
        drop(to.send(Ok(Stamped { stamp: self.shared.shelf.stamp(), value })));
    }

    fn up(&self) -> Result<(), StoreError> {
        if let Some(fault) = &self.books.down {
            return Err(fault.into());
        }
        // A disk that hangs says nothing; whoever waits for it gives up and comes again, and what they asked for stays.
        if self.books.unwritten_rows > UNWRITTEN_MAX {
            let why = "the disk does not keep up".to_owned();
            return Err(StoreError::Down { why, retry_in: RETRY_EVERY });
        }
        Ok(())
    }

    /// What an operator should know.
    fn troubles(&self, now: Moment) -> Vec<String> {
        let store = self.books.down.as_ref().map(|fault| format!("the store is down: {fault}"));
        let frozen = self.groups.frozen().map(|group| {
            format!("the record of {group} is older than one shown to us: client cluster adopt {group}")
        });
        let copy = self.books.copy_until.filter(|until| *until > now);
        let copy = copy.map(|_| "this store was an old copy: its names are not confirmed yet".to_owned());
        store.into_iter().chain(copy).chain(frozen).collect()
    }

    fn status(&self, now: Moment) -> Status {
        Status {
            stamp: self.shared.shelf.stamp(),
            names: self.registry.names() as u64,
            unconfirmed: self.registry.unconfirmed() as u64,
            leases: self.leases.len() as u64,
            groups: self.groups.len() as u64,
            watchers: self.shared.polls.get(),
            pauses: self.leases.pauses(),
            uptime: now.since_origin(),
            store: self.store_name.to_owned(),
            limits: (self.registry.limit() as u64, self.leases.limit() as u64),
            troubles: self.troubles(now),
        }
    }
}

fn refuse<T, E>(to: To<T, E>, error: E) {
    // A caller that is gone does not need its answer.
    drop(to.send(Err(error)));
}

#[cfg(test)]
mod tests;
