//! Skeleton: signatures that others build on.

use std::sync::Arc;
use std::time::Duration;

use tarpc::client::RpcError;
use tarpc::client::stub::Stub;
use tarpc::context::Context;
use tokio::sync::watch;

use crate::ids::{ClusterId, InstanceId};
use crate::names::{Address, Entry, LogicalName, OwnerKey, Patch, Query, Record, Stamp};
use crate::replication::{ConfigVersion, GroupName};
use crate::rpc::name_service::{
    Config, GroupChange, GroupError, NameServiceClient, NameServiceRequest, NameServiceResponse, RegisterError,
    Registered, UpdateError,
};
use crate::rpc::transport::CallError;

/// The handle on the name servers: a list of addresses, one connection, next address on failure or wrong cluster.
#[derive(Clone, Debug)]
pub struct Names(());

/// A typed client of whichever name server answers.
pub type NameServer = NameServiceClient<NameServerStub>;

/// The stub below [`NameServer`]: tries each address of the list, says hello on each new connection.
#[derive(Clone, Debug)]
pub struct NameServerStub(());

impl Stub for NameServerStub {
    type Req = NameServiceRequest;
    type Resp = NameServiceResponse;
    async fn call(&self, ctx: Context, request: NameServiceRequest) -> Result<NameServiceResponse, RpcError> {
        let _ = (ctx, request);
        todo!()
    }
}

/// What a live query shows.
#[derive(Clone, Debug)]
pub struct View {
    /// The records that match, in the order of names; empty before the first answer.
    pub records: Arc<[Arc<Record>]>,
    /// When that was true; `None` before the first answer.
    pub stamp: Option<Stamp>,
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

impl Names {
    /// The handle on these name servers, for a program of this name.
    pub fn new(servers: Vec<Address>, program: &'static str) -> Self {
        let _ = (servers, program);
        todo!()
    }

    /// The name servers that `NAME_SERVER`, or `PYRO_NS_HOST` and `PYRO_NS_PORT`, name; else `127.0.0.1:9090`.
    ///
    /// # Errors
    /// When one of them is no address.
    pub fn from_env(program: &'static str) -> Result<Self, crate::names::BadAddress> {
        let _ = program;
        todo!()
    }

    /// The list, in order.
    pub fn servers(&self) -> &[Address] {
        todo!()
    }

    /// A typed client, for any call; the caller gives the deadline (`transport::within(NAME_SERVICE, …)`).
    pub fn server(&self) -> NameServer {
        todo!()
    }

    /// The cluster, once a name server has said it; waits for one as long as it takes.
    pub async fn cluster(&self) -> ClusterId {
        todo!()
    }

    /// The cluster, if a name server has said it already.
    pub fn known_cluster(&self) -> Option<ClusterId> {
        todo!()
    }

    /// A live view of `query`, kept by one watch for the whole process; it stays as it was while no name server
    /// answers.
    pub fn view(&self, query: Query) -> watch::Receiver<View> {
        let _ = query;
        todo!()
    }

    /// A live view of a group's configuration; `None` until one was read. Never goes back to an older version.
    pub fn group(&self, group: GroupName) -> watch::Receiver<Option<Config>> {
        let _ = group;
        todo!()
    }

    /// Reads a group's configuration.
    ///
    /// # Errors
    /// On the way, or the name server's.
    pub async fn read_group(
        &self,
        group: GroupName,
        known: Option<ConfigVersion>,
        within: Duration,
    ) -> Result<Option<Config>, NameError<GroupError>> {
        let _ = (group, known, within);
        todo!()
    }

    /// Proposes a group's configuration.
    ///
    /// # Errors
    /// On the way (the outcome is unknown unless the error says otherwise), or the name server's.
    pub async fn change_group(&self, change: GroupChange, within: Duration) -> Result<Config, NameError<GroupError>> {
        let _ = (change, within);
        todo!()
    }

    /// Keeps one lease for the process, on a thread of its own, until [`LeaseKeeper::leave`].
    pub fn keep(&self, ttl: Duration, instance: InstanceId, owner: Option<OwnerKey>) -> LeaseKeeper {
        let _ = (ttl, instance, owner);
        todo!()
    }
}

/// Keeps a process's lease and the names under it.
#[derive(Debug)]
pub struct LeaseKeeper(());

/// What happened to a lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LeaseEvent {
    /// The name server may have forgotten us from now on (by our own clock, before it does).
    Lapsed,
    /// All names stand again.
    Regained,
    /// Somebody living holds one of our names.
    Taken {
        /// Which name.
        name: LogicalName,
        /// Who, and where.
        by: RegisterError,
    },
}

impl LeaseKeeper {
    /// Registers `name` and keeps it; waits for a name server as long as it takes.
    ///
    /// # Errors
    /// What the name server refuses for good: `Held` by a living process for more than 2 TTL, `Reserved`, limits.
    pub async fn register(&self, name: LogicalName, entry: Entry) -> Result<Registered, RegisterError> {
        let _ = (name, entry);
        todo!()
    }

    /// Changes tags or readiness of a name that it keeps; kept over a restart of the name server too.
    ///
    /// # Errors
    /// On the way, or the name server's.
    pub async fn update(&self, name: LogicalName, patch: Patch) -> Result<(), NameError<UpdateError>> {
        let _ = (name, patch);
        todo!()
    }

    /// What happens to the lease, from now on.
    pub fn events(&self) -> tokio::sync::broadcast::Receiver<LeaseEvent> {
        todo!()
    }

    /// Gives the lease back, so that the names are gone at once; waits 1 s for that at most.
    pub async fn leave(self) {
        todo!()
    }
}
