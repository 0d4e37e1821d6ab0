//! A name server of a few lines, in a thread of its own: as much of the contract as a client sees, and levers.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::Duration;

use common::clock::Clock;
use common::ids::{ClusterId, InstanceId};
use common::names::{
    Address, AnyName, AttemptId, BootCount, Change, Entry, Expect, Freshness, Holder, LeaseId, Lifetime,
    LogicalName, NameEpoch, Names, OwnerKey, Page, Patch, Query, Record, Records, Removal, Revision, Sent,
    Stamp, Stamped, Standing, Tenure, WatchId, What,
};
use common::replication::{ConfigVersion, GroupName};
use common::rpc::limits::NAME_SERVICE;
use common::rpc::name_service::{
    Config, GrantError, Granted, GroupChange, GroupError, Hello, HelloError, ListError, Listing, LookupError,
    NameService, RegisterError, Registered, RenewError, Renewed, SnapshotError, SnapshotInfo, Status,
    StoreError, UpdateError, WatchError, Welcome,
};
use common::rpc::transport::{Route, ServeOptions, serve};
use tarpc::context::Context;
use tokio::net::TcpListener;
use tokio::runtime::LocalRuntime;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// What the fake knows; tests reach in.
pub(crate) struct State {
    pub(crate) stamp: Stamp,
    pub(crate) records: BTreeMap<(AnyName, InstanceId), Arc<Record>>,
    pub(crate) leases: BTreeMap<LeaseId, InstanceId>,
    pub(crate) config: Option<Config>,
    /// Cannot tell yet what there is.
    pub(crate) warming: bool,
    /// Answers no lookup.
    pub(crate) mute: bool,
    /// How often it said that it is warming.
    pub(crate) warned: u32,
    /// Changes up to here are forgotten.
    pub(crate) compacted: Revision,
    /// How far its wall clock is ahead of ours.
    pub(crate) ahead: Duration,
    /// Programs that said hello.
    pub(crate) greeted: Vec<String>,
    history: Vec<Change>,
}

/// A name server; killed when dropped.
pub(crate) struct Fake {
    pub(crate) address: SocketAddr,
    desk: Desk,
    thread: Option<JoinHandle<()>>,
    kill: CancellationToken,
}

/// What serves; one for all connections.
#[derive(Clone)]
struct Desk {
    state: Arc<Mutex<State>>,
    /// Rung at each change; counts the renewals.
    bell: watch::Sender<u64>,
}

pub(crate) fn cluster() -> ClusterId {
    "test".parse().unwrap()
}

pub(crate) fn anywhere() -> SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}

impl Fake {
    pub(crate) fn open() -> Self {
        Self::at(anywhere(), cluster(), 1)
    }

    /// Empty, in its `boot`th life.
    pub(crate) fn at(address: SocketAddr, cluster: ClusterId, boot: u64) -> Self {
        let stamp = Stamp { cluster, boot: BootCount(boot), rev: Revision(boot * 1000) };
        let state = State {
            stamp,
            records: BTreeMap::new(),
            leases: BTreeMap::new(),
            config: None,
            warming: false,
            warned: 0,
            mute: false,
            compacted: stamp.rev,
            ahead: Duration::ZERO,
            greeted: Vec::new(),
            history: Vec::new(),
        };
        let desk = Desk { state: Arc::new(Mutex::new(state)), bell: watch::Sender::new(0) };
        let listener = std::net::TcpListener::bind(address).unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let kill = CancellationToken::new();
        let (killed, served) = (kill.clone(), desk.clone());
        // The preamble lets everybody in, so that hello has something to refuse.
        let options = ServeOptions {
            cluster: ClusterId::UNSTATED,
            connections_max: 100,
            stop: CancellationToken::new(),
        };
        let thread = std::thread::spawn(move || {
            LocalRuntime::new().unwrap().block_on(async move {
                let listener = TcpListener::from_std(listener).unwrap();
                let routes = vec![Route::new(NAME_SERVICE, move |_| served.clone().serve())];
                tokio::select! {
                    () = serve(listener, routes, options) => {}
                    () = killed.cancelled() => {}
                }
            });
        });
        Self { address, desk, thread: Some(thread), kill }
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.desk.state()
    }

    /// Changes something of the state, and wakes who waits.
    pub(crate) fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state());
        self.desk.ring();
    }

    pub(crate) fn put(&self, record: Record) {
        self.change(|state| state.put(record));
    }

    /// Rung at each change and renewal.
    pub(crate) fn bell(&self) -> watch::Receiver<u64> {
        self.desk.bell.subscribe()
    }

    /// As `kill -9`: sockets close, nothing is said.
    pub(crate) fn kill(mut self) -> SocketAddr {
        self.kill.cancel();
        self.thread.take().unwrap().join().unwrap();
        self.address
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.kill.cancel();
        if let Some(thread) = self.thread.take() {
            assert!(thread.join().is_ok() || std::thread::panicking(), "the fake's thread panicked");
        }
    }
}

impl State {
    fn next(&mut self) -> Revision {
        self.stamp.rev = Revision(self.stamp.rev.0 + 1);
        self.stamp.rev
    }

    pub(crate) fn put(&mut self, mut record: Record) {
        record.changed = self.next();
        let (name, instance, record) = (record.name.clone(), record.instance, Arc::new(record));
        self.records.insert((name.clone(), instance), Arc::clone(&record));
        let what = What::Registered(record.into());
        self.history.push(Change { ids: vec![], name, instance, what, rev: self.stamp.rev });
    }

    pub(crate) fn remove(&mut self, name: &AnyName) {
        let found: Vec<_> = self.records.keys().filter(|(other, _)| other == name).cloned().collect();
        for key in found {
            let rev = self.next();
            let Some(record) = self.records.remove(&key) else { continue };
            let what = What::Removed { epoch: record.epoch, why: Removal::Expired };
            self.history.push(Change { ids: vec![], name: key.0, instance: key.1, what, rev });
        }
    }

    fn stamped<T>(&self, value: T) -> Stamped<T> {
        Stamped { stamp: self.stamp, value }
    }

    fn changes(&self, queries: &[(WatchId, Query)], since: Stamp) -> Result<Vec<Change>, WatchError> {
        if since.boot != self.stamp.boot {
            return Err(WatchError::Rebooted { now: self.stamp });
        }
        if since.rev < self.compacted {
            return Err(WatchError::Compacted { oldest: Stamp { rev: self.compacted, ..self.stamp } });
        }
        let later = self.history.iter().filter(|change| change.rev > since.rev);
        let concerning = later.filter_map(|change| {
            let concerned = queries.iter().filter(|(_, query)| matches(query, &change.name));
            let ids: Vec<_> = concerned.map(|(id, _)| *id).collect();
            (!ids.is_empty()).then(|| Change { ids, ..change.clone() })
        });
        Ok(concerning.collect())
    }
}

fn matches(query: &Query, name: &AnyName) -> bool {
    match &query.names {
        Names::Any => true,
        Names::Exact(exact) => exact == name,
        Names::Prefix(prefix) => name.as_str().starts_with(&**prefix),
        Names::Regex(_) => false,
    }
}

impl Desk {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    fn ring(&self) {
        self.bell.send_modify(|_| {});
    }
}

impl NameService for Desk {
    async fn hello(self, _: Context, who: Hello) -> Result<Welcome, HelloError> {
        let mut state = self.state();
        state.greeted.push(who.program);
        let ours = state.stamp.cluster;
        match who.cluster {
            Some(yours) if yours != ours => Err(HelloError::WrongCluster { yours, ours }),
            _ => {
                let now = Clock::wall().plus(state.ahead);
                Ok(Welcome { stamp: state.stamp, version: String::new(), now })
            }
        }
    }

    async fn grant(
        self,
        _: Context,
        ttl: Duration,
        instance: InstanceId,
        _: Option<OwnerKey>,
    ) -> Result<Stamped<Granted>, GrantError> {
        let mut state = self.state();
        let lease = LeaseId::from_random(state.next().0);
        state.leases.insert(lease, instance);
        Ok(state.stamped(Granted { lease, ttl }))
    }

    async fn renew(self, _: Context, leases: Vec<LeaseId>) -> Stamped<Vec<Result<Renewed, RenewError>>> {
        self.bell.send_modify(|renewals| *renewals += 1);
        let state = self.state();
        let renew = |lease| {
            let instance = *state.leases.get(lease).ok_or(RenewError::UnknownLease)?;
            let names = state.records.keys().filter(|(_, holder)| *holder == instance).count();
            Ok(Renewed { ttl: Duration::from_millis(300), names: u32::try_from(names).unwrap() })
        };
        state.stamped(leases.iter().map(renew).collect())
    }

    async fn revoke(self, _: Context, lease: LeaseId) -> Result<Stamped<u32>, StoreError> {
        let mut state = self.state();
        let instance = state.leases.remove(&lease);
        state.records.retain(|(_, holder), _| Some(*holder) != instance);
        Ok(state.stamped(1))
    }

    async fn register(
        self,
        _: Context,
        tenure: Tenure,
        name: LogicalName,
        entry: Entry,
        _: Expect,
    ) -> Result<Stamped<Registered>, RegisterError> {
        let Tenure::Leased(lease) = tenure else { unreachable!("the directory registers under leases") };
        let mut state = self.state();
        let instance = *state.leases.get(&lease).ok_or(RegisterError::UnknownLease)?;
        let epoch = NameEpoch(Revision(state.stamp.rev.0 + 1));
        state.put(Record {
            name: AnyName::from(name),
            sharing: entry.sharing,
            instance,
            epoch,
            target: entry.target,
            tags: entry.tags,
            readiness: entry.readiness,
            standing: Standing::Confirmed,
            weight: entry.weight,
            lifetime: Lifetime::Leased { ttl: Duration::from_millis(300) },
            changed: Revision(0),
        });
        self.ring();
        Ok(state.stamped(Registered { epoch, address: None }))
    }

    async fn update(
        self,
        _: Context,
        holder: Holder,
        name: AnyName,
        patch: Patch,
    ) -> Result<Stamped<Registered>, UpdateError> {
        let Holder::Lease(lease) = holder else { unreachable!("the directory updates under leases") };
        let mut state = self.state();
        let instance = *state.leases.get(&lease).ok_or(UpdateError::NotFound)?;
        let mut record = Record::clone(state.records.get(&(name, instance)).ok_or(UpdateError::NotFound)?);
        record.readiness = patch.readiness.unwrap_or(record.readiness);
        let epoch = record.epoch;
        state.put(record);
        self.ring();
        Ok(state.stamped(Registered { epoch, address: None }))
    }

    async fn unregister(self, _: Context, _: Holder, _: AnyName) -> Result<Stamped<NameEpoch>, UpdateError> {
        Err(UpdateError::Denied)
    }

    async fn lookup(self, _: Context, name: AnyName, _: Freshness) -> Result<Stamped<Records>, LookupError> {
        let mute = self.state().mute;
        if mute {
            std::future::pending::<()>().await;
        }
        let state = self.state();
        let found = state.records.values().filter(|record| record.name == name);
        let found: Records = found.cloned().collect();
        if found.is_empty() { Err(LookupError::NotFound) } else { Ok(state.stamped(found)) }
    }

    async fn lookup_many(
        self,
        _: Context,
        _: Vec<AnyName>,
        _: Freshness,
    ) -> Stamped<Vec<Result<Records, LookupError>>> {
        self.state().stamped(Vec::new())
    }

    /// Pages of two, to have pages.
    async fn list(self, _: Context, query: Query, page: Page) -> Result<Stamped<Listing>, ListError> {
        let mut state = self.state();
        if state.warming {
            state.warned += 1;
            self.ring();
            return Err(ListError::Warming { retry_in: Duration::from_millis(20) });
        }
        if matches!(query.names, Names::Regex(_)) {
            return Err(ListError::BadRegex { why: "as every one".to_owned() });
        }
        let after = page.after.map(|cursor| (cursor.name, cursor.instance));
        let mut rest = state
            .records
            .iter()
            .filter(|((name, _), _)| matches(&query, name))
            .filter(|(key, _)| after.as_ref().is_none_or(|after| *key > after));
        let records: Vec<_> =
            rest.by_ref().take(2).map(|(_, record)| Sent::from(Arc::clone(record))).collect();
        let last = records.last().filter(|_| rest.next().is_some());
        let next =
            last.map(|record| common::names::Cursor { name: record.name.clone(), instance: record.instance });
        Ok(state.stamped(Listing { records, next }))
    }

    async fn watch(
        self,
        _: Context,
        queries: Vec<(WatchId, Query)>,
        since: Stamp,
        hold: Duration,
    ) -> Result<Stamped<Vec<Change>>, WatchError> {
        let mut bell = self.bell.subscribe();
        let changed = async {
            loop {
                let changes = self.state().changes(&queries, since)?;
                if !changes.is_empty() {
                    return Ok(changes);
                }
                bell.changed().await.unwrap();
            }
        };
        let changes = tokio::time::timeout(hold, changed).await.unwrap_or(Ok(Vec::new()))?;
        Ok(self.state().stamped(changes))
    }

    async fn group(
        self,
        _: Context,
        _: GroupName,
        _: Option<ConfigVersion>,
    ) -> Result<Stamped<Option<Config>>, GroupError> {
        let state = self.state();
        Ok(state.stamped(state.config.clone()))
    }

    async fn change_group(self, _: Context, change: GroupChange) -> Result<Stamped<Config>, GroupError> {
        let mut state = self.state();
        if state.config.as_ref().map(Config::version) != change.expect {
            return Err(GroupError::Conflict { current: state.config.clone() });
        }
        state.config = Some(change.new.clone());
        self.ring();
        Ok(state.stamped(change.new))
    }

    async fn watch_group(
        self,
        _: Context,
        _: GroupName,
        after: Option<ConfigVersion>,
        hold: Duration,
    ) -> Result<Stamped<Option<Config>>, GroupError> {
        let newer = |state: &State| state.config.clone().filter(|config| Some(config.version()) > after);
        let mut bell = self.bell.subscribe();
        let _ = tokio::time::timeout(hold, bell.wait_for(|_| newer(&self.state()).is_some())).await;
        let state = self.state();
        Ok(state.stamped(state.config.clone()))
    }

    async fn status(self, _: Context) -> Status {
        unreachable!("the directory does not ask")
    }

    async fn register_next(
        self,
        _: Context,
        _: Tenure,
        _: LogicalName,
        _: Entry,
        _: AttemptId,
    ) -> Result<Stamped<(LogicalName, Registered)>, RegisterError> {
        Err(RegisterError::Reserved)
    }

    async fn snapshot(self, _: Context) -> Result<SnapshotInfo, SnapshotError> {
        Err(SnapshotError::Denied)
    }
}

/// A permanent record.
pub(crate) fn record(name: &str) -> Record {
    Record {
        name: name.parse().unwrap(),
        sharing: common::names::Sharing::Exclusive,
        instance: InstanceId::from_u128(1),
        epoch: NameEpoch(Revision(1)),
        target: target(),
        tags: common::names::Tags::default(),
        readiness: common::names::Readiness::Up,
        standing: Standing::Confirmed,
        weight: common::names::Weight::default(),
        lifetime: Lifetime::Permanent,
        changed: Revision(0),
    }
}

fn target() -> common::names::Target {
    common::names::Target::Service {
        address: Address::from(anywhere()),
        object: common::names::ObjectName::new("").unwrap(),
        contract: common::names::ContractName::new("frontend").unwrap(),
    }
}

pub(crate) fn entry() -> Entry {
    Entry {
        sharing: common::names::Sharing::Exclusive,
        target: target(),
        tags: common::names::Tags::default(),
        readiness: common::names::Readiness::Up,
        weight: common::names::Weight::default(),
    }
}
