//! How a process finds and is found: the client side of naming.
//!
//! [`Names`] is the handle on the name servers. What one asks of it is of three kinds:
//!
//! - **Calls** ([`Names::server`], [`Names::find`], [`Names::change_group`]) go to whichever name server of the list
//!   answers ([`NameServerStub`], `stub.rs`): one connection, hello first, the next address on failure or when that
//!   is another cluster's.
//! - **Views** ([`Names::view`], [`Names::group`]) show what the registry and the groups' configurations are *now*.
//!   They are fed by long polls (`resolver.rs`, its core `live_query.rs`; `groups.rs`), so that looking costs
//!   nothing and a change is seen as soon as it is published. A view never empties because the name server is away,
//!   warms up or was restarted: stale knowledge is a hint that mostly holds, and whoever acts on it finds out by
//!   calling (D. Terry, *Caching Hints in Distributed Systems*, IEEE TSE 13(1), 1987). After a restart all is listed
//!   again and compared, never dropped first.
//! - **A lease** ([`Names::keep`], `lease_keeper.rs`, its core `lease_core.rs`) keeps the process's own names: one
//!   lease for all, renewed three times per time-to-live from a thread of its own, and everything registered again
//!   when the name server forgot it (C. Gray, D. Cheriton, *Leases*, SOSP 1989, §2: the holder counts its term from
//!   before it asked, so it knows of its end before the grantor does).
//!
//! Processes may be started in any order: what is missing is waited for, and named once in the log.
//!
//! On these stands what other programs use: [`Names::client`] (`provider.rs`) is the stub below anybody's own generated
//! client and calls whoever provides a name; [`Names::host`] (`host.rs`) provides services by name. `picking.rs` chooses
//! among the providers of a shared name. `docs/BUILDING_ON_IT.md` tells how to use them.

mod backoff;
#[cfg(test)]
mod fixtures;
mod groups;
mod host;
mod lease_core;
mod lease_keeper;
mod live_query;
mod picking;
mod provider;
mod resolver;
mod stub;

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tarpc::client::RpcError;
use tokio::sync::watch;

pub use backoff::Backoff;
pub use host::{Host, HostError, TTL};
pub use lease_keeper::{LeaseEvent, LeaseKeeper};
pub use picking::in_order;
pub use provider::{Provider, Repeat};
pub use stub::NameServerStub;

use crate::clock::Moment;
use crate::ids::{ClusterId, InstanceId};
use crate::names::{Address, AnyName, BadAddress, Freshness, LogicalName, OwnerKey, Query, Record, Stamp};
use crate::replication::{ConfigVersion, GroupName};
use crate::rpc::Outcome;
use crate::rpc::limits::NAME_SERVICE;
use crate::rpc::name_service::{Config, GroupChange, GroupError, LookupError, NameServiceClient};
use crate::rpc::transport::{CallError, within};

/// A plain call's deadline at most: enough for a busy disk, and for a second address after a silent first one.
pub const PATIENCE: Duration = Duration::from_secs(2);
/// How long the name server holds a poll: it bounds how long a dead connection goes unnoticed.
const POLL_HOLD: Duration = Duration::from_secs(8);
/// A poll's deadline; the contract allows 10 s.
const POLL_PATIENCE: Duration = Duration::from_secs(9);

/// The handle on the name servers: a list of addresses, one connection, next address on failure or wrong cluster.
/// Cheap to clone; its clones share everything. The connection lives on the runtime that first used it, and so do the
/// views: one that is never busy for long.
#[derive(Clone, Debug)]
pub struct Names {
    servers: Arc<[Address]>,
    stub: NameServerStub,
    cluster: watch::Receiver<Option<ClusterId>>,
    clock_off: watch::Receiver<Option<Duration>>,
    resolver: Arc<resolver::Resolver>,
    groups: Arc<groups::Groups>,
}

/// A typed client of whichever name server answers.
pub type NameServer = NameServiceClient<NameServerStub>;

/// What a live query shows.
#[derive(Clone, Debug)]
pub struct View {
    /// The records that match, in the order of names; empty before the first answer.
    pub records: Arc<[Arc<Record>]>,
    /// When that was the whole truth; `None` before the first listing (a name server that warms up gives none, and
    /// what registers meanwhile is shown all the same).
    pub stamp: Option<Stamp>,
    /// When a name server vouched for it last; see [`Names::age`].
    heard: Option<Moment>,
}

/// A call of the name server that failed: either on the way, or with its own error.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError<E: std::error::Error + 'static> {
    /// On the way.
    #[error(transparent)]
    Call(CallError),
    /// It answered so.
    #[error(transparent)]
    Answer(E),
}

impl<E: std::error::Error + 'static> NameError<E> {
    /// A generated client's result, the two kinds of error made one.
    pub(crate) fn flatten<T>(result: Result<Result<T, E>, RpcError>) -> Result<T, Self> {
        match result {
            Ok(answer) => answer.map_err(Self::Answer),
            Err(error) => Err(Self::Call(CallError::from(error))),
        }
    }
}

impl NameError<GroupError> {
    /// What the failed call may have done.
    pub fn outcome(&self) -> Outcome {
        match self {
            Self::Call(error) => error.outcome(),
            Self::Answer(GroupError::Store(_)) => Outcome::Unknown,
            Self::Answer(_) => Outcome::NoEffect,
        }
    }
}

impl Names {
    /// The handle on these name servers, at least one, for a program of this name.
    pub fn new(servers: Vec<Address>, program: &'static str) -> Self {
        let known = stub::Known::nothing();
        let (cluster, clock_off) = (known.cluster(), known.clock_off());
        let servers: Arc<[Address]> = servers.into();
        let stub = NameServerStub::new(Arc::clone(&servers), program, known);
        Self {
            servers,
            cluster,
            clock_off,
            resolver: resolver::Resolver::new(stub.clone()),
            groups: groups::Groups::new(stub.clone()),
            stub,
        }
    }

    /// A client of whoever provides `name`, to be called by a generated client of one's own: `XClient::from(…)`.
    ///
    /// Must be called on a tokio runtime, which keeps its knowledge fresh.
    #[expect(clippy::needless_pass_by_value, reason = "a name that was parsed for this")]
    pub fn client<Req, Resp>(&self, name: LogicalName) -> Provider<Req, Resp> {
        Provider::new(self.clone(), &name)
    }

    /// How long ago a name server vouched for what `view` shows; `None` when none did yet.
    pub fn age(&self, view: &View) -> Option<Duration> {
        view.heard.map(|heard| self.resolver.now().since(heard))
    }

    /// The name servers that `NAME_SERVER` (a list, with commas), or `PYRO_NS_HOST` and `PYRO_NS_PORT`, name; else
    /// `127.0.0.1:9090`.
    ///
    /// # Errors
    /// When one of them is no address.
    pub fn from_env() -> Result<Self, BadAddress> {
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        servers_from(&variable).map(|servers| Self::new(servers, this_program()))
    }

    /// The list, in order.
    pub fn servers(&self) -> &[Address] {
        &self.servers
    }

    /// A typed client, for any call; the caller gives the deadline (`transport::within(NAME_SERVICE, …)`).
    pub fn server(&self) -> NameServer {
        NameServiceClient::from(self.stub.clone())
    }

    /// The cluster, once a name server has said it; waits for one as long as it takes.
    pub async fn cluster(&self) -> ClusterId {
        let mut backoff = backoff::Backoff::up_to(backoff::Backoff::CAP);
        loop {
            if let Some(cluster) = self.known_cluster() {
                return cluster;
            }
            if let Err(error) = self.stub.greet().await {
                self.stub.wait_after(&error, &mut backoff).await;
            }
        }
    }

    /// The cluster, if a name server has said it already.
    pub fn known_cluster(&self) -> Option<ClusterId> {
        *self.cluster.borrow()
    }

    /// How far this machine's wall clock was from a name server's when one was last greeted. A hint.
    pub fn clock_off(&self) -> watch::Receiver<Option<Duration>> {
        self.clock_off.clone()
    }

    /// A live view of `query`, kept by one watch for the whole process; it stays as it was while no name server
    /// answers. Its sender is gone when the query is refused: not an expression, or more than 256 of them.
    ///
    /// Must be called on a tokio runtime, which feeds the view.
    pub fn view(&self, query: Query) -> watch::Receiver<View> {
        self.resolver.view(query)
    }

    /// Asks once for all records under `name`; those up and confirmed come first.
    ///
    /// # Errors
    /// On the way (reads may be repeated), or the name server's.
    pub async fn find(
        &self,
        name: AnyName,
        time: Duration,
    ) -> Result<Vec<Arc<Record>>, NameError<LookupError>> {
        let found = NameError::flatten(
            self.server().lookup(within(NAME_SERVICE, time), name, Freshness::Local).await,
        )?;
        Ok(found.value.iter().map(|sent| Arc::clone(sent.record())).collect())
    }

    /// A live view of a group's configuration; `None` until one was read. Never goes back to an older version.
    ///
    /// Must be called on a tokio runtime, which feeds the view.
    pub fn group(&self, group: GroupName) -> watch::Receiver<Option<Config>> {
        self.groups.view(group)
    }

    /// A live view of whether the name server's configuration of a group is older than one that this process has seen:
    /// its store is an old copy, or was emptied. Fed as long as [`Names::group`] is looked at.
    pub fn group_regressed(&self, group: GroupName) -> watch::Receiver<bool> {
        self.groups.regressed(group)
    }

    /// Lets go of the connection, and of every answer about groups that was not read yet: what was asked before shows
    /// in no view any more. Whoever waits for an answer of before must drop its question too.
    pub fn forget_answers(&self) {
        self.groups.forget_answers();
    }

    /// Reads a group's configuration.
    ///
    /// # Errors
    /// On the way, or the name server's.
    pub async fn read_group(
        &self,
        group: GroupName,
        known: Option<ConfigVersion>,
        time: Duration,
    ) -> Result<Option<Config>, NameError<GroupError>> {
        let asked = self.groups.forgotten();
        let answer = self.server().group(within(NAME_SERVICE, time), group, known).await;
        let config = NameError::flatten(answer)?.value;
        if let Some(config) = &config {
            self.groups.learn(config, asked);
        }
        Ok(config)
    }

    /// Proposes a group's configuration. Live views of the group show the outcome at once.
    ///
    /// # Errors
    /// On the way (the outcome is unknown unless the error says otherwise), or the name server's.
    pub async fn change_group(
        &self,
        change: GroupChange,
        time: Duration,
    ) -> Result<Config, NameError<GroupError>> {
        let asked = self.groups.forgotten();
        let answer = self.server().change_group(within(NAME_SERVICE, time), change).await;
        let outcome = NameError::flatten(answer).map(|stamped| stamped.value);
        if let Ok(config) | Err(NameError::Answer(GroupError::Conflict { current: Some(config) })) = &outcome
        {
            self.groups.learn(config, asked);
        }
        outcome
    }

    /// Keeps one lease for the process, on a thread of its own, until [`LeaseKeeper::leave`].
    pub fn keep(&self, ttl: Duration, instance: InstanceId, owner: Option<OwnerKey>) -> LeaseKeeper {
        LeaseKeeper::start(self.stub.on_its_own(), ttl, instance, owner)
    }
}

/// What the operating system calls this program.
fn this_program() -> &'static str {
    static NAME: OnceLock<String> = OnceLock::new();
    NAME.get_or_init(|| {
        let path = std::env::args_os().next().map(PathBuf::from).unwrap_or_default();
        path.file_stem().map_or_else(|| "a program".to_owned(), |name| name.to_string_lossy().into_owned())
    })
}

/// The name servers that the environment names.
fn servers_from(variable: &dyn Fn(&str) -> Option<String>) -> Result<Vec<Address>, BadAddress> {
    if let Some(list) = variable("NAME_SERVER") {
        return list.split(',').map(|address| address.trim().parse()).collect();
    }
    let host = variable("PYRO_NS_HOST").unwrap_or_else(|| "127.0.0.1".to_owned());
    let port = variable("PYRO_NS_PORT").unwrap_or_else(|| "9090".to_owned());
    // Pyro writes a numbered host of version 6 without brackets.
    let text = if host.contains(':') && !host.starts_with('[') {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    };
    Ok(vec![text.parse()?])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(variables: &[(&str, &str)]) -> Result<Vec<String>, BadAddress> {
        let value = |name: &str| {
            let mut pairs = variables.iter();
            pairs.find(|(given, _)| *given == name).map(|(_, value)| (*value).to_owned())
        };
        Ok(servers_from(&value)?.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn the_environment_names_the_name_servers_in_our_way_or_in_pyros() {
        assert_eq!(from(&[]).unwrap(), ["127.0.0.1:9090"]);
        assert_eq!(from(&[("NAME_SERVER", "a:1, b:2")]).unwrap(), ["a:1", "b:2"]);
        assert_eq!(from(&[("PYRO_NS_HOST", "::1"), ("PYRO_NS_PORT", "99")]).unwrap(), ["[::1]:99"]);
        assert_eq!(from(&[("NAME_SERVER", "a:1"), ("PYRO_NS_HOST", "b")]).unwrap(), ["a:1"]);
        assert!(from(&[("NAME_SERVER", "a:1,")]).is_err());
    }
}
