//! Skeleton: signatures that others build on.

use std::marker::PhantomData;
use std::net::SocketAddr;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tarpc::RequestName;
use tarpc::client::RpcError;
use tarpc::client::stub::Stub;
use tarpc::context::Context;
use tarpc::server::Serve;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::Outcome;
use super::limits::Contract;
use crate::ids::ClusterId;
use crate::names::Address;

/// Who called: given to a route's factory once per connection.
#[derive(Clone, Copy, Debug)]
pub struct Caller {
    /// Its socket's other end.
    pub peer: SocketAddr,
    /// The cluster it stated, or [`ClusterId::UNSTATED`].
    pub cluster: ClusterId,
    /// Unique within the process.
    pub connection: u64,
}

/// One contract served on a port.
pub struct Route(#[allow(dead_code)] ());

impl Route {
    /// Serves `contract` with what `service` makes for each connection. Neither needs to be `Send`.
    pub fn new<S>(contract: Contract, service: impl Fn(Caller) -> S + 'static) -> Self
    where
        S: Serve + Clone + 'static,
        S::Req: RequestName + DeserializeOwned + 'static,
        S::Resp: Serialize + 'static,
    {
        let _ = (contract, service);
        todo!()
    }
}

/// What a listener is told beside its routes.
#[derive(Clone, Debug)]
pub struct ServeOptions {
    /// Whose cluster this is; callers of another one are refused. `UNSTATED`: everybody is welcome.
    pub cluster: ClusterId,
    /// Connections at most.
    pub connections_max: usize,
    /// Cancelled to stop: listener dropped, farewells said, in-flight calls answered, 5 s at most.
    pub stop: CancellationToken,
}

/// Accepts and serves until `options.stop`; returns when every connection is closed. For a `LocalRuntime` or
/// `LocalSet`.
pub async fn serve(listener: TcpListener, routes: Vec<Route>, options: ServeOptions) {
    let _ = (listener, routes, options);
    todo!()
}

/// A call's context: this long from now, and never longer than `contract` allows.
pub fn within(contract: Contract, time: Duration) -> Context {
    let _ = (contract, time);
    todo!()
}

/// Why a call gave no answer; made of tarpc's [`RpcError`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// No effect: nobody there.
    #[error("{address} cannot be reached ({why})")]
    Unreachable {
        /// Who.
        address: Address,
        /// For a person: "connection refused".
        why: String,
        /// Whether the other end's machine said so at once: its process is not there.
        refused: bool,
    },
    /// No effect: somebody else is there, or another version.
    #[error("{why}")]
    Incompatible {
        /// The other end's sentence.
        why: String,
    },
    /// No effect.
    #[error("a message has at most {limit} bytes")]
    TooLarge {
        /// The bound.
        limit: u64,
    },
    /// No effect.
    #[error("busy; try again in {retry_in:?}")]
    Busy {
        /// When to try again.
        retry_in: Duration,
    },
    /// Unknown.
    #[error("the connection was lost")]
    ConnectionLost,
    /// Unknown.
    #[error("no answer within the deadline")]
    Unacknowledged,
    /// Unknown.
    #[error("the other end failed: {why}")]
    Internal {
        /// Its sentence.
        why: String,
    },
}

impl CallError {
    /// What the failed call may have done.
    pub fn outcome(&self) -> Outcome {
        todo!()
    }
}

impl From<RpcError> for CallError {
    fn from(error: RpcError) -> Self {
        let _ = error;
        todo!()
    }
}

/// One connection, kept until it breaks: for whoever must know when that is (peers).
pub struct Connection<Req, Resp>(PhantomData<fn(Req) -> Resp>);

impl<Req, Resp> Clone for Connection<Req, Resp> {
    fn clone(&self) -> Self {
        Self(PhantomData)
    }
}

impl<Req, Resp> Connection<Req, Resp>
where
    Req: RequestName + Serialize + Send + Sync + 'static,
    Resp: DeserializeOwned + Send + 'static,
{
    /// Connects within `connect` and agrees on the contract.
    ///
    /// # Errors
    /// [`CallError::Unreachable`] or [`CallError::Incompatible`] or [`CallError::Busy`].
    pub async fn dial(
        address: &Address,
        contract: Contract,
        cluster: ClusterId,
        connect: Duration,
    ) -> Result<Self, CallError> {
        let _ = (address, contract, cluster, connect);
        todo!()
    }

    /// Returns when the connection is gone, or the other end said farewell.
    pub async fn closed(&self) {
        todo!()
    }
}

impl<Req: RequestName, Resp> Stub for Connection<Req, Resp> {
    type Req = Req;
    type Resp = Resp;
    async fn call(&self, ctx: Context, request: Req) -> Result<Resp, RpcError> {
        let _ = (ctx, request);
        todo!()
    }
}

/// One address and contract, for ever: dials when needed, repeats only what provably never left.
pub struct Reconnecting<Req, Resp>(PhantomData<fn(Req) -> Resp>);

impl<Req, Resp> Clone for Reconnecting<Req, Resp> {
    fn clone(&self) -> Self {
        Self(PhantomData)
    }
}

impl<Req, Resp> Reconnecting<Req, Resp>
where
    Req: RequestName + Serialize + Send + Sync + 'static,
    Resp: DeserializeOwned + Send + 'static,
{
    /// Connects at the first call.
    pub fn new(address: Address, contract: Contract, cluster: ClusterId) -> Self {
        let _ = (address, contract, cluster);
        todo!()
    }

    /// Whom it calls.
    pub fn address(&self) -> &Address {
        todo!()
    }
}

impl<Req: RequestName, Resp> Stub for Reconnecting<Req, Resp> {
    type Req = Req;
    type Resp = Resp;
    async fn call(&self, ctx: Context, request: Req) -> Result<Resp, RpcError> {
        let _ = (ctx, request);
        todo!()
    }
}
