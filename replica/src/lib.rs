//! A replica hosts one member of each replicated service.
//!
//! # Parts, in reading order
//! 1. [`passive`]: the engine of the services that one primary orders: a core without clock or socket, and its
//!    [driver](passive::driver), which carries out what the core decides.
//!    What applying its log makes is [`state`]; rules that tests can break are [`planted`].
//!    [`gossip`]: the engine of those that every member takes writes for, core and [driver](gossip::driver).
//! 2. [`disk`]: what must survive, fsynced on a thread of its own.
//! 3. [`links`]: the connections to the other replicas.
//!    [`hosted`]: what both kinds of groups have in common for the rest of the process.
//! 4. [`server`]: what is answered on the port, for front ends and for replicas. `pages` and `meters`: what is shown to
//!    whoever watches.
//! 5. [`config`] and [`genesis`]: flags, and what a new group begins with.
//! 6. Here: starting and stopping.
//!
//! # Starting
//! Lock the directory, read the files, start the drivers, listen, and only then register: a replica that restarts
//! while there is no name server takes its place among the others all the same. "Ready" is said once it is
//! registered. A new disk has to wait for a name server first, which knows the cluster that it is formatted for.
//!
//! # Stopping
//! `Draining` at the name server; the cores hand over; the listener goes, with farewells; the lease is given back;
//! the files are closed. Five seconds for all of it.
//!
//! One runtime, one thread: a core is a task, its disk a thread. A panic in a task ends the process: what may have
//! been half done must not be served on.

pub mod config;
pub mod disk;
pub mod genesis;
pub mod gossip;
pub mod hosted;
mod known;
pub mod links;
mod meters;
mod opening;
mod pages;
pub mod passive;
pub mod planted;
pub mod server;
pub mod state;
mod workshop;

use std::cell::Cell;
use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::rc::Rc;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use common::clock::Clock;
use common::directory::{LeaseKeeper, Names};
use common::ids::{ClusterId, InstanceId};
use common::machine::{Signals, TcpListener, announce, end};
use common::names::{
    Address, ContractName, Entry, LogicalName, ObjectName, Patch, Readiness, Sharing, Tags, Target, Weight,
};
use common::replication::{Limits, Member, ReplicaId};
use common::rpc::gossip::Status;
use common::rpc::limits::REPLICA;
use common::rpc::name_service::RegisterError;
use common::rpc::transport::{ServeOptions, serve};
use common::services::Services;
use common::telemetry;
use futures::FutureExt as _;
use futures::future::{join_all, select_all};
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::disk::directory::{Directory, DirectoryError};
use crate::disk::file::{Contents, FileError, Found, GroupFile, Identity, Place};
use crate::hosted::Hosted;
use crate::known::Notes;
use crate::links::Links;
use crate::opening::{Opened, Process};
use crate::pages::Watched;
use crate::passive::driver::mailbox::Group;
use crate::passive::driver::{Driver, NotStarted, Parts};
use crate::passive::{BATCH_BYTES, First, Planted, Setup, SnapshotAfter, Stored};

/// For draining, handing over, farewells and closing together.
const STOP_WITHIN: Duration = Duration::from_secs(5);
/// For the name server to learn that we are draining: a courtesy.
const DRAINING_WITHIN: Duration = Duration::from_millis(300);

/// Why a replica ended otherwise than by being asked to.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// Something that a person gave cannot be used.
    #[error("{0}")]
    Usage(String),
    /// The name is another living process's.
    #[error("{name} is held by another living process{}", at(.address.as_ref()))]
    Held {
        /// Which name.
        name: LogicalName,
        /// Where that process listens.
        address: Option<Address>,
    },
    /// The name server does not take the name.
    #[error("{name} cannot be registered: {error}")]
    Unregistered {
        /// Which name.
        name: LogicalName,
        /// What it says.
        error: RegisterError,
    },
    /// The disk failed, or another process has it.
    #[error(transparent)]
    Disk(#[from] FileError),
    /// The operating system refused something that every program needs.
    #[error(transparent)]
    System(#[from] io::Error),
}

fn at(address: Option<&Address>) -> String {
    address.map_or_else(String::new, |address| format!(", at {address}"))
}

impl Failure {
    /// The process's exit code.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Usage(_) => 2,
            Self::Held { .. } | Self::Unregistered { .. } => 4,
            Self::Disk(FileError::Directory(DirectoryError::InUse { .. })) => 75,
            Self::Disk(FileError::Newer { .. }) | Self::System(_) => 1,
            Self::Disk(_) => 74,
        }
    }
}

/// Runs a replica that hosts a member of each of these services' groups, until it is asked to stop. For a `LocalRuntime`.
///
/// # Errors
/// [`Failure`].
pub async fn run(config: Config, services: Services) -> Result<(), Failure> {
    let mut signals = Signals::listen()?;
    let replica = tokio::select! {
        replica = Replica::start(&config, services) => replica?,
        () = signals.next() => return Ok(()),
    };
    let keeper = replica.names.keep(config.ttl, replica.boot, replica.owner);
    let ended = tokio::select! {
        never = replica.stay_registered(&keeper) => never,
        () = replica.left() => Ok(()),
        () = signals.next() => Ok(()),
    };
    let stop = async {
        tokio::select! {
            () = replica.stop(keeper) => {}
            () = signals.next() => end(1),
        }
    };
    if timeout(STOP_WITHIN, stop).await.is_err() {
        tracing::warn!(waited = ?STOP_WITHIN, "not everything ended in time");
    }
    ended
}

/// A running replica.
struct Replica {
    name: LogicalName,
    address: SocketAddr,
    /// Where its pages are.
    http: Option<SocketAddr>,
    data: String,
    cluster: ClusterId,
    boot: InstanceId,
    owner: Option<common::names::OwnerKey>,
    names: Names,
    groups: Vec<Hosted>,
    identities: Vec<watch::Receiver<ReplicaId>>,
    /// Whether it takes calls about the services that take writes anywhere.
    status: watch::Receiver<Status>,
    /// Of each of their groups: cancelled when it has left it for good.
    left: Vec<CancellationToken>,
    stop: CancellationToken,
    served: CancellationToken,
}

impl Replica {
    /// Starts everything but the registration.
    async fn start(config: &Config, services: Services) -> Result<Self, Failure> {
        config.check().map_err(Failure::Usage)?;
        let name = config.name.clone().ok_or_else(|| Failure::Usage("which replica?".to_owned()))?;
        let names = match config.name_server.as_slice() {
            [] => Names::from_env().map_err(|error| Failure::Usage(error.to_string()))?,
            servers => Names::new(servers.to_vec(), "replica"),
        };
        let listener = listen("--listen", config.listen).await?;
        let address = listener.local_addr()?;
        let shown = Arc::default();
        let http = match config.http {
            Some(at) => Some(show(at, Arc::clone(&shown)).await?),
            None => None,
        };
        let directory = if config.ephemeral {
            None
        } else {
            let path = config.data_dir(&name).map_err(Failure::Usage)?;
            Some(Arc::new(Directory::open(&path).map_err(FileError::from)?))
        };
        let owner =
            directory.as_ref().map(|directory| directory.owner_key()).transpose().map_err(FileError::from)?;
        let mut opened = Vec::new();
        let mut creates_any = false;
        for service in services.passive {
            let group = service.name.parse().expect("the table's names keep the grammar");
            let place = Place { directory: directory.clone(), group };
            let found = look_into(&place)?;
            let creates = config.first && !found.as_ref().is_some_and(|(_, contents)| contents.holds_group());
            creates_any |= creates;
            let start = match genesis::start_of(service.name, config) {
                Err(why) if creates => return Err(Failure::Usage(why)),
                // What is there already needs no menu, whatever became of the file.
                start => start.unwrap_or_default(),
            };
            opened.push((service, place, found, start));
        }
        let mut gossips = Vec::new();
        for service in services.causal {
            let group = service.name.parse().expect("the table's names keep the grammar");
            let place = Place { directory: directory.clone(), group };
            gossips.push((*service, Opened::look_into(&place)?, place));
        }
        let flags = config.creation_flags();
        if !flags.is_empty() && !creates_any {
            tracing::warn!(
                flags = flags.join(" "),
                "flags are ignored: they count only when a group is created"
            );
        }
        let known = opened.iter().find_map(|(_, _, found, _)| Some(found.as_ref()?.1.identity.cluster));
        let known = known.or_else(|| gossips.iter().find_map(|(_, opened, _)| opened.cluster()));
        let cluster = match known {
            Some(cluster) => cluster,
            None => names.cluster().await,
        };
        let (boot, clock) = (InstanceId::random(), Clock::start());
        let links = Links::new(cluster, boot, clock);
        let mut groups = Vec::new();
        let mut identities = Vec::new();
        let mut hints = VecDeque::new();
        let (planted, gossip_planted) = planted()?;
        for (service, place, found, start) in opened {
            let min_in_sync = config.min_in_sync.unwrap_or(1);
            let setup = |id| Setup {
                cluster,
                group: place.group.clone(),
                me: Member { id, boot },
                name: name.clone(),
                address,
                service: *service,
                first: config.first.then(|| First {
                    limits: Limits::default(),
                    start: start.clone(),
                    min_in_sync,
                }),
                snapshots: SnapshotAfter::default(),
                batch_bytes: BATCH_BYTES,
                planted,
            };
            // A disk that holds nothing cannot be an old copy.
            let restored = config.restored && found.is_some();
            let (mut file, mut contents) = match found {
                Some(found) => found,
                None => format(&place, cluster)?,
            };
            let (group, driver, identity) = loop {
                let (group, mailbox) = Group::new(place.group.clone());
                let notes = std::mem::take(&mut contents.notes);
                hints.extend(notes.addresses);
                let parts = Parts {
                    setup: setup(contents.identity.replica),
                    stored: contents.stored,
                    known: notes.names,
                    file,
                    place: place.clone(),
                    clock,
                    names: names.clone(),
                    links: links.clone(),
                    restored,
                };
                match Driver::new(parts, mailbox) {
                    Ok((driver, identity)) => break (group, driver, identity),
                    Err(NotStarted::NoThread(error)) => return Err(error.into()),
                    Err(NotStarted::Damaged { why }) => {
                        put_aside(&place, &why)?;
                        (file, contents) = format(&place, cluster)?;
                    }
                }
            };
            links.join(Hosted::Passive(group.clone()));
            groups.push(Hosted::Passive(group));
            identities.push(identity);
            spawn_essential(driver.run());
        }
        let process = Process {
            config,
            name: &name,
            address,
            cluster,
            boot,
            clock,
            names: &names,
            links: &links,
            planted: gossip_planted,
        };
        let (mut left, mut status) = (Vec::new(), watch::channel(Status::default()).1);
        for (service, opened, place) in gossips {
            let (group, driver, shown) = opened.start(&process, service, &place, &mut hints)?;
            links.join(Hosted::Gossip(group.clone()));
            groups.push(Hosted::Gossip(group));
            identities.push(shown.identity);
            left.push(shown.left);
            // One command sets that of all.
            status = shown.status;
            spawn_essential(driver.run());
        }
        for address in hints {
            links.meet(address);
        }
        spawn_essential(links.clone().follow(names.clone()));
        for listening in [Some(address), http].into_iter().flatten() {
            spawn_essential(telemetry::warn_of_open_port(listening));
        }
        let _ = shown.set(groups.clone());
        let (stop, served) = (CancellationToken::new(), CancellationToken::new());
        let routes = server::routes(Rc::new(server::Served {
            groups: groups.clone(),
            links,
            cluster,
            clock,
            refused: Cell::new(0),
            operators_from_afar: config.insecure_bind,
        }));
        let options = ServeOptions { cluster, connections_max: config.max_connections, stop: stop.clone() };
        let ended = served.clone();
        spawn_essential(async move {
            serve(listener, routes, options).await;
            ended.cancel();
        });
        let data = directory
            .map_or_else(|| "memory".to_owned(), |directory| quoted(&directory.path().to_string_lossy()));
        Ok(Self {
            name,
            address,
            http,
            data,
            cluster,
            boot,
            owner,
            names,
            groups,
            identities,
            status,
            left,
            stop,
            served,
        })
    }

    /// Registers, says so, and keeps the tags right, for ever.
    async fn stay_registered(&self, keeper: &LeaseKeeper) -> Result<(), Failure> {
        let (mut identities, mut status) = (self.identities.clone(), self.status.clone());
        let entry = Entry {
            sharing: Sharing::Exclusive,
            target: Target::Service {
                address: self.address.into(),
                object: ObjectName::new("").expect("it may be empty"),
                contract: ContractName::new(REPLICA.name).expect("it keeps the grammar"),
            },
            tags: self.tags(&mut identities, &mut status),
            readiness: Readiness::Up,
            weight: Weight::default(),
        };
        match keeper.register(self.name.clone(), entry).await {
            Ok(_) => {}
            Err(RegisterError::Held { address, .. }) => {
                return Err(Failure::Held { name: self.name.clone(), address });
            }
            Err(error) => return Err(Failure::Unregistered { name: self.name.clone(), error }),
        }
        self.say_ready()?;
        loop {
            let changed = identities.iter_mut().map(|identity| identity.changed().boxed_local());
            // Where no group has a status, nobody will tell of one.
            let status_set =
                async { if status.changed().await.is_ok() { Ok(()) } else { std::future::pending().await } };
            let changed = select_all(changed.chain([status_set.boxed_local()]));
            if changed.await.0.is_err() {
                // The drivers have ended, and so does the process.
                std::future::pending::<()>().await;
            }
            let patch = Patch { tags: Some(self.tags(&mut identities, &mut status)), ..Patch::default() };
            if let Err(error) = keeper.update(self.name.clone(), patch).await {
                tracing::warn!(%error, "tags not changed yet");
            }
        }
    }

    fn tags(
        &self,
        identities: &mut [watch::Receiver<ReplicaId>],
        status: &mut watch::Receiver<Status>,
    ) -> Tags {
        let ids = self.groups.iter().zip(identities);
        let ids = ids.map(|(group, id)| format!("id.{}={}", group.name(), *id.borrow_and_update()));
        let status = format!("status={}", status.borrow_and_update().as_str());
        Tags::new(ids.chain([status])).expect("one short tag per service, and one more")
    }

    fn say_ready(&self) -> io::Result<()> {
        let groups: Vec<_> = self.groups.iter().map(|group| group.name().as_str()).collect();
        announce(&format!(
            "replica ready name={} address={} data={} groups={} cluster={} http={}",
            self.name,
            self.address,
            self.data,
            groups.join(","),
            self.cluster,
            self.http.map_or_else(|| "off".to_owned(), |at| format!("http://{at}"))
        ))
    }

    /// Returns when this replica was taken out of a group for good.
    async fn left(&self) {
        match self.left.as_slice() {
            [] => std::future::pending().await,
            left => drop(select_all(left.iter().map(|left| left.cancelled().boxed_local())).await),
        }
    }

    /// Hands over, answers what is under way, and leaves.
    async fn stop(&self, keeper: LeaseKeeper) {
        tracing::info!("stopping");
        let patch = Patch { readiness: Some(Readiness::Draining), ..Patch::default() };
        let draining = timeout(DRAINING_WITHIN, keeper.update(self.name.clone(), patch));
        // Whether the name server heard it or not, the groups are handed over meanwhile.
        let _ = tokio::join!(draining, join_all(self.groups.iter().map(Hosted::stop)));
        self.stop.cancel();
        self.served.cancelled().await;
        keeper.leave().await;
        join_all(self.groups.iter().map(Hosted::close)).await;
    }
}

/// Runs a task without which the process must not go on: its panic ends the process.
pub(crate) fn spawn_essential(task: impl Future<Output = ()> + 'static) {
    tokio::task::spawn_local(async {
        if AssertUnwindSafe(task).catch_unwind().await.is_err() {
            tracing::error!("a task panicked; ending at once");
            end(1);
        }
    });
}

async fn listen(flag: &str, address: SocketAddr) -> Result<TcpListener, Failure> {
    TcpListener::bind(address).await.map_err(|error| {
        Failure::Usage(format!("cannot listen on {address}: {error}\n  try: {flag} with another address"))
    })
}

/// Begins to count, and to show it there; where that is.
async fn show(address: SocketAddr, groups: Arc<OnceLock<Vec<Hosted>>>) -> Result<SocketAddr, Failure> {
    let listener = listen("--http", address).await?;
    let at = listener.local_addr()?;
    let meters = common::meters::start();
    if let Some(meters) = meters.clone() {
        spawn_essential(meters.keep());
    }
    spawn_essential(common::pages::serve(listener, Watched { groups, meters }.pages()));
    tracing::info!(http = %at, "numbers are shown");
    Ok(at)
}

/// What stands in a group's place, if it may be served; what may not is put aside.
fn look_into(place: &Place) -> Result<Option<(GroupFile, Contents)>, FileError> {
    match place.open::<Stored>()? {
        Found::Nothing => Ok(None),
        Found::Member(file, contents) => Ok(Some((file, *contents))),
        Found::Damaged(why) => put_aside(place, &why).map(|()| None),
    }
}

fn put_aside(place: &Place, why: &str) -> Result<(), FileError> {
    let aside = place.put_damaged_aside()?;
    tracing::error!(
        group = %place.group,
        error = why,
        path = %aside.display(),
        "the file is damaged: put aside, joining as a new replica"
    );
    Ok(())
}

fn format(place: &Place, cluster: ClusterId) -> Result<(GroupFile, Contents), FileError> {
    let identity = Identity { cluster, replica: ReplicaId::random() };
    let file = place.format(identity)?;
    Ok((file, Contents { identity, stored: Stored::default(), notes: Notes::default() }))
}

/// The rules that `PLANT=NAME[,…]` breaks, of either engine: of the first, if both have one of that name, and of gossip
/// with `gossip:NAME`.
#[cfg(feature = "planted")]
fn planted() -> Result<(Planted, gossip::Planted), Failure> {
    let names = std::env::var("PLANT").unwrap_or_default();
    let (mut planted, mut gossip_planted) = (Planted::default(), gossip::Planted::default());
    for name in names.split(',').filter(|name| !name.is_empty()) {
        let (gossips, rule) = name.strip_prefix("gossip:").map_or((false, name), |rule| (true, rule));
        match (rule.parse::<passive::Fault>(), rule.parse::<gossip::Fault>()) {
            (Ok(fault), _) if !gossips => planted = planted.with(fault),
            (_, Ok(fault)) => gossip_planted = gossip_planted.with(fault),
            (_, Err(error)) => return Err(Failure::Usage(error.to_string())),
        }
        tracing::warn!(fault = name, "a rule is broken on purpose");
    }
    Ok((planted, gossip_planted))
}

/// None, in a build that is not for tests of tests.
#[cfg(not(feature = "planted"))]
#[expect(clippy::unnecessary_wraps, reason = "the other build's may fail")]
fn planted() -> Result<(Planted, gossip::Planted), Failure> {
    Ok((Planted::default(), gossip::Planted::default()))
}

/// A value of the ready line.
fn quoted(value: &str) -> String {
    if value.contains(char::is_whitespace) { format!("\"{value}\"") } else { value.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_failure_has_the_exit_code_that_scripts_know() {
        let io = || io::Error::from_raw_os_error(5);
        let path = || std::path::PathBuf::from("d");
        let in_use = DirectoryError::InUse { path: path(), pid: "1".to_owned() };
        let broken = DirectoryError::Io { path: path(), error: io() };
        let failed = FileError::Failed { path: path(), why: "EIO".to_owned() };
        let held = Failure::Held { name: "replica.1".parse().unwrap(), address: None };
        let all = [
            (Failure::Usage(String::new()), 2),
            (held, 4),
            (Failure::Disk(in_use.into()), 75),
            (Failure::Disk(broken.into()), 74),
            (Failure::Disk(failed), 74),
            (Failure::System(io()), 1),
        ];
        for (failure, code) in all {
            assert_eq!(failure.exit_code(), code, "{failure}");
        }
    }

    #[test]
    fn a_value_with_blanks_is_quoted_in_the_ready_line() {
        assert_eq!(quoted("/srv/replica.1"), "/srv/replica.1");
        assert_eq!(quoted("/my data"), "\"/my data\"");
    }
}
