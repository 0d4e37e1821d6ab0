//! The contract, method by method. What reads, reads here and now; what changes anything posts to the
//! [writer](crate::writer) and waits for its answer, so a handler that is dropped at an `await` loses nothing.

use std::cell::Cell;
use std::ops::Deref;
use std::rc::Rc;
use std::time::Duration;

use common::clock::{Clock, Moment};
use common::ids::{ClusterId, InstanceId};
use common::names::{
    AnyName, AttemptId, Change, Entry, Expect, Freshness, Holder, LeaseId, LogicalName, NameEpoch, Names,
    OwnerKey, Page, Patch, Query, Records, Sent, Stamp, Stamped, Tenure, WatchId,
};
use common::replication::{ConfigVersion, GroupName};
use common::rpc::name_service::{
    Config, GrantError, Granted, GroupChange, GroupError, Hello, HelloError, LOOKUPS_MAX, ListError, Listing,
    LookupError, NameService, RegisterError, Registered, RenewError, Renewed, SnapshotError, SnapshotInfo,
    Status, StoreError, UpdateError, WatchError, Welcome,
};
use common::rpc::transport::{Caller, remaining};
use tarpc::context::Context;
use tokio::sync::mpsc::Sender;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use crate::matcher::{Matcher, Numbered};
use crate::registry::{Found, Kept, Next, Registration, Same, is_local};
use crate::watch::Compacted;
use crate::writer::{self, Message, Shared};

/// The longest poll; it bounds the age of what its asker believes.
const HOLD_MAX: Duration = Duration::from_secs(8);
/// A poll ends this long before its deadline, so that its answer arrives.
const HOLD_MARGIN: Duration = Duration::from_secs(1);
/// Queries of one poll: a process watches a few dozen names.
pub(crate) const QUERIES_MAX: usize = 256;
/// Polls waiting on one connection, of its 64 requests under way.
pub(crate) const POLLS_MAX: u32 = 16;
/// While warming up, a name that is not known may come at any moment.
const WARMING_RETRY_MAX: Duration = Duration::from_millis(500);
/// Records of one page.
const PAGE_MAX: u16 = 1_000;

/// What serves one connection: one for each call, so it is a single pointer.
#[derive(Clone)]
pub(crate) struct Handlers(Rc<Desk>);

/// One connection's view of the name server.
pub(crate) struct Desk {
    pub(crate) shared: Rc<Shared>,
    pub(crate) mailbox: Sender<Message>,
    pub(crate) caller: Caller,
    pub(crate) stop: CancellationToken,
    /// Polls waiting on this connection.
    pub(crate) polls: Cell<u32>,
}

impl From<Desk> for Handlers {
    fn from(desk: Desk) -> Self {
        Self(Rc::new(desk))
    }
}

impl Deref for Handlers {
    type Target = Desk;

    fn deref(&self) -> &Desk {
        &self.0
    }
}

impl NameService for Handlers {
    async fn hello(self, _: Context, who: Hello) -> Result<Welcome, HelloError> {
        let ours = self.now_stamp().cluster;
        if let Some(yours) = who.cluster.filter(|&yours| yours != ours) {
            return Err(HelloError::WrongCluster { yours, ours });
        }
        if let Some(seen) = who.seen {
            self.notice(ours, seen).await.map_err(|_| HelloError::Denied)?;
        }
        tracing::debug!(peer = %self.caller.peer, program = who.program, version = who.version, "hello");
        let version = env!("CARGO_PKG_VERSION").to_owned();
        Ok(Welcome { stamp: self.now_stamp(), version, now: Clock::wall() })
    }

    async fn grant(
        self,
        _: Context,
        ttl: Duration,
        instance: InstanceId,
        owner: Option<OwnerKey>,
    ) -> Result<Stamped<Granted>, GrantError> {
        self.ask(|to| Message::Grant { ttl, instance, owner, to }).await?
    }

    async fn renew(self, _: Context, leases: Vec<LeaseId>) -> Stamped<Vec<Result<Renewed, RenewError>>> {
        let stamp = self.now_stamp();
        if leases.len() > LOOKUPS_MAX {
            return Stamped { stamp, value: vec![Err(RenewError::TooMany); leases.len()] };
        }
        let now = self.shared.clock.now();
        let renew = |lease| {
            let renewal = self.shared.book.renew(now, lease)?;
            if renewal.confirms {
                // With a full mailbox its next renewal says it again.
                drop(self.mailbox.try_send(Message::Heard { lease }));
            }
            Ok(renewal.renewed)
        };
        Stamped { stamp, value: leases.into_iter().map(renew).collect() }
    }

    async fn revoke(self, _: Context, lease: LeaseId) -> Result<Stamped<u32>, StoreError> {
        self.ask(|to| Message::Revoke { lease, to }).await?
    }

    async fn register(
        self,
        _: Context,
        tenure: Tenure,
        name: LogicalName,
        entry: Entry,
        expect: Expect,
    ) -> Result<Stamped<Registered>, RegisterError> {
        let request = self.registration(tenure, AnyName::from(name), entry, expect);
        self.ask(|to| Message::Register { request, to }).await?
    }

    async fn update(
        self,
        _: Context,
        holder: Holder,
        name: AnyName,
        patch: Patch,
    ) -> Result<Stamped<Registered>, UpdateError> {
        let caller = self.caller.peer.ip();
        self.ask(|to| Message::Update { caller, holder, name, patch, to }).await?
    }

    async fn unregister(
        self,
        _: Context,
        holder: Holder,
        name: AnyName,
    ) -> Result<Stamped<NameEpoch>, UpdateError> {
        let caller = self.caller.peer.ip();
        self.ask(|to| Message::Unregister { caller, holder, name, to }).await?
    }

    async fn lookup(
        self,
        _: Context,
        name: AnyName,
        freshness: Freshness,
    ) -> Result<Stamped<Records>, LookupError> {
        if freshness != Freshness::Local
            && let Some(Stamped { stamp, mut value }) =
                self.ready_for(freshness, std::slice::from_ref(&name)).await?
        {
            let found = value.pop().flatten().ok_or_else(|| self.absent())?;
            return Ok(Stamped { stamp, value: found.into() });
        }
        let stamp = self.now_stamp();
        let found = self.shared.shelf.get(name.as_str()).ok_or_else(|| self.absent())?;
        Ok(Stamped { stamp, value: found.into() })
    }

    async fn lookup_many(
        self,
        _: Context,
        names: Vec<AnyName>,
        freshness: Freshness,
    ) -> Stamped<Vec<Result<Records, LookupError>>> {
        if names.len() > LOOKUPS_MAX {
            let value = names.iter().map(|_| Err(LookupError::TooMany)).collect();
            return Stamped { stamp: self.now_stamp(), value };
        }
        let each = |value: Vec<Option<Kept>>| {
            value.into_iter().map(|found| found.map(Records::from).ok_or_else(|| self.absent())).collect()
        };
        match self.ready_for(freshness, &names).await {
            Ok(Some(Stamped { stamp, value })) => return Stamped { stamp, value: each(value) },
            Ok(None) => {}
            Err(error) => {
                return Stamped { stamp: self.now_stamp(), value: vec![Err(error); names.len()] };
            }
        }
        loop {
            if let Some(Stamped { stamp, value }) = self.shared.shelf.get_many(&names) {
                return Stamped { stamp, value: each(value) };
            }
            // A change was under way.
            tokio::task::yield_now().await;
        }
    }

    async fn list(self, _: Context, query: Query, page: Page) -> Result<Stamped<Listing>, ListError> {
        if !(1..=PAGE_MAX).contains(&page.limit) {
            return Err(ListError::BadPage);
        }
        let exact = matches!(query.names, Names::Exact(_));
        let matcher = Matcher::new(query).map_err(|why| ListError::BadRegex { why })?;
        let stamp = self.now_stamp();
        let mut found = Found::default();
        let mut after = page.after;
        let next = loop {
            match self.shared.shelf.list(&matcher, after.as_ref(), usize::from(page.limit), &mut found) {
                Next::End => break None,
                Next::Page(cursor) => break Some(cursor),
                Next::Scan(cursor) => after = Some(cursor),
            }
            tokio::task::yield_now().await;
        };
        // A listing claims to be whole, and its reader drops what is not in it.
        match self.warming() {
            Some(retry_in) if !exact || found.records.is_empty() => Err(ListError::Warming { retry_in }),
            _ => {
                let records = found.records.into_iter().map(Sent::from).collect();
                Ok(Stamped { stamp, value: Listing { records, next } })
            }
        }
    }

    async fn watch(
        self,
        ctx: Context,
        queries: Vec<(WatchId, Query)>,
        since: Stamp,
        hold: Duration,
    ) -> Result<Stamped<Vec<Change>>, WatchError> {
        if queries.len() > QUERIES_MAX {
            return Err(WatchError::TooMany);
        }
        let _waiting = self.poll().ok_or(WatchError::TooMany)?;
        let ready = |(id, query)| Matcher::new(query).map(|matcher| (id, matcher));
        let queries: Result<Vec<Numbered>, String> = queries.into_iter().map(ready).collect();
        let queries = queries.map_err(|why| WatchError::BadRegex { why })?;
        let now = self.now_stamp();
        if since.cluster != now.cluster || since.boot != now.boot || since.rev > now.rev {
            // One that is later than ours changes our boot; the answer is the same.
            drop(self.notice(now.cluster, since).await);
            return Err(WatchError::Rebooted { now: self.now_stamp() });
        }
        let until = self.hold_until(&ctx, hold);
        let bell = self.shared.bells.hang(&queries);
        let mut seen = since.rev;
        loop {
            if self.now_stamp().boot != since.boot {
                return Err(WatchError::Rebooted { now: self.now_stamp() });
            }
            let answer = self.shared.ring.borrow().since(seen, &queries);
            let answer = answer.map_err(|Compacted { oldest }| WatchError::Compacted {
                oldest: self.shared.shelf.stamp_at(oldest),
            })?;
            seen = answer.upto;
            let stamp = self.shared.shelf.stamp_at(seen);
            if !answer.changes.is_empty() {
                return Ok(Stamped { stamp, value: answer.changes });
            }
            if !answer.complete {
                tokio::task::yield_now().await;
            } else if !self.happens(bell.rings(), until).await {
                return Ok(Stamped { stamp, value: Vec::new() });
            }
        }
    }

    async fn group(
        self,
        _: Context,
        group: GroupName,
        known: Option<ConfigVersion>,
    ) -> Result<Stamped<Option<Config>>, GroupError> {
        self.ask(|to| Message::ReadGroup { group, known, to }).await?
    }

    async fn change_group(self, _: Context, change: GroupChange) -> Result<Stamped<Config>, GroupError> {
        let caller = self.caller.peer.ip();
        self.ask(|to| Message::ChangeGroup(writer::Change { caller, proposed: change, to })).await?
    }

    async fn watch_group(
        self,
        ctx: Context,
        group: GroupName,
        after: Option<ConfigVersion>,
        hold: Duration,
    ) -> Result<Stamped<Option<Config>>, GroupError> {
        let waiting = self.poll();
        let until = self.hold_until(&ctx, hold);
        let mut bell = self.shared.group_bell.subscribe();
        loop {
            bell.borrow_and_update();
            let group = group.clone();
            let answer = self.ask(|to| Message::ReadGroup { group, known: after, to }).await??;
            let newer = answer.value.as_ref().map(Config::version) > after;
            // With too many polls waiting on this connection, this one does not.
            if newer || waiting.is_none() || !self.happens(bell.changed(), until).await {
                return Ok(answer);
            }
        }
    }

    async fn status(self, _: Context) -> Status {
        match self.ask(|to| Message::Status { to }).await {
            Ok(numbers) => numbers.status,
            // Stopping: nothing is held any more.
            Err(_) => Status {
                stamp: self.now_stamp(),
                names: 0,
                leases: 0,
                groups: 0,
                watchers: 0,
                pauses: (0, Duration::ZERO),
                uptime: self.shared.clock.now().since_origin(),
                store: "stopping".to_owned(),
                unconfirmed: 0,
                limits: (0, 0),
                troubles: vec!["the name server is stopping".to_owned()],
            },
        }
    }

    async fn register_next(
        self,
        _: Context,
        tenure: Tenure,
        prefix: LogicalName,
        entry: Entry,
        attempt: AttemptId,
    ) -> Result<Stamped<(LogicalName, Registered)>, RegisterError> {
        let request = self.registration(tenure, AnyName::from(&prefix), entry, Expect::Free);
        self.ask(|to| Message::RegisterNext { request, prefix, attempt, to }).await?
    }

    async fn snapshot(self, _: Context) -> Result<SnapshotInfo, SnapshotError> {
        if !is_local(self.caller.peer.ip()) {
            return Err(SnapshotError::Denied);
        }
        self.ask(|to| Message::Snapshot { to }).await?
    }
}

impl Handlers {
    /// Posts to the writer, and waits for its answer.
    async fn ask<T>(&self, message: impl FnOnce(oneshot::Sender<T>) -> Message) -> Result<T, StoreError> {
        writer::ask(&self.mailbox, message).await
    }

    fn registration(&self, tenure: Tenure, name: AnyName, entry: Entry, expect: Expect) -> Box<Registration> {
        let lease = match tenure {
            Tenure::Leased(lease) => Some(lease),
            Tenure::Permanent => None,
        };
        let (caller, fresh) = (self.caller.peer.ip(), InstanceId::random());
        Box::new(Registration { caller, name, entry, expect, lease, fresh, same: Same::Repeat })
    }

    /// Makes sure that what stands here is as fresh as wanted; or has the writer say what stands durably.
    async fn ready_for(
        &self,
        freshness: Freshness,
        names: &[AnyName],
    ) -> Result<Option<Stamped<Vec<Option<Kept>>>>, LookupError> {
        match freshness {
            Freshness::Local => Ok(None),
            Freshness::AtLeast(wanted) => {
                let have = self.now_stamp();
                // One later than ours moves us past it; another cluster's, or a joke, does not.
                drop(self.notice(have.cluster, wanted).await);
                if self.now_stamp().covers(wanted) { Ok(None) } else { Err(LookupError::Behind { have }) }
            }
            Freshness::Linearizable => {
                self.ask(|to| Message::Read { names: names.to_vec(), to }).await?.map(Some)
            }
        }
    }

    /// Has the writer judge a stamp that may be later than ours.
    async fn notice(&self, ours: ClusterId, seen: Stamp) -> Result<(), Denied> {
        if seen.cluster != ours || self.now_stamp().covers(seen) {
            return Ok(());
        }
        match self.ask(|to| Message::Seen { stamp: seen, to }).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(Denied),
        }
    }

    fn now_stamp(&self) -> Stamp {
        self.shared.shelf.stamp()
    }

    fn warming(&self) -> Option<Duration> {
        let left = self.shared.warm_at.get().since(self.shared.clock.now());
        (left > Duration::ZERO).then_some(left.min(WARMING_RETRY_MAX))
    }

    fn absent(&self) -> LookupError {
        self.warming().map_or(LookupError::NotFound, |retry_in| LookupError::Warming { retry_in })
    }

    fn hold_until(&self, ctx: &Context, hold: Duration) -> Moment {
        let time = remaining(ctx).saturating_sub(HOLD_MARGIN);
        self.shared.clock.now() + hold.min(HOLD_MAX).min(time)
    }

    /// Whether something happens before `until`, and before we stop.
    async fn happens<T>(&self, something: impl Future<Output = T>, until: Moment) -> bool {
        tokio::select! {
            _ = something => true,
            () = tokio::time::sleep_until(self.shared.clock.instant(until)) => false,
            () = self.stop.cancelled() => false,
        }
    }

    /// A place among the polls of this connection; `None` when all are taken.
    fn poll(&self) -> Option<Waiting> {
        if self.polls.get() >= POLLS_MAX {
            return None;
        }
        self.polls.set(self.polls.get() + 1);
        self.shared.polls.set(self.shared.polls.get() + 1);
        Some(Waiting(self.clone()))
    }
}

struct Denied;

/// A poll that waits; given back when its handler ends, also by being dropped.
struct Waiting(Handlers);

impl Drop for Waiting {
    fn drop(&mut self) {
        let desk = &self.0;
        desk.polls.set(desk.polls.get() - 1);
        desk.shared.polls.set(desk.shared.polls.get() - 1);
    }
}
