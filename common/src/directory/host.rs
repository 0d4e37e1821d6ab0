//! Providing services by name: one listener, one lease, and a thread of their own for the handlers.

use std::net::SocketAddr;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tarpc::RequestName;
use tarpc::server::Serve;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{LeaseKeeper, Names};
use crate::ids::InstanceId;
use crate::machine::{Signals, TcpListener, Thread};
use crate::names::{
    Address, ContractName, Entry, LogicalName, ObjectName, Patch, Readiness, Sharing, Tags, Target, Weight,
};
use crate::rpc::limits::{CONNECTIONS_MAX, Contract, own_contract};
use crate::rpc::name_service::RegisterError;
use crate::rpc::transport::{Route, Routes, ServeOptions, serve};

/// A host's names are gone this long after its death; renewed three times as often.
pub const TTL: Duration = Duration::from_secs(3);

/// Services of this process, called by name. Dropped without [`Host::until_signalled`] or [`Host::leave`] it serves no
/// more, and its names stand until the lease runs out.
#[derive(Debug)]
pub struct Host {
    address: SocketAddr,
    keeper: LeaseKeeper,
    names: Vec<LogicalName>,
    routes: UnboundedSender<MakeRoute>,
    stop: CancellationToken,
    thread: Thread,
}

type MakeRoute = Box<dyn FnOnce() -> Route + Send>;

/// Why a process cannot provide a service.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// The address is taken, or not ours.
    #[error("cannot listen at {address}: {error}")]
    Bind {
        /// Where.
        address: String,
        /// What the system said.
        error: std::io::Error,
    },
    /// The name server does not let us have the name.
    #[error("{name}: {why}")]
    Refused {
        /// Which name.
        name: LogicalName,
        /// Why not.
        why: RegisterError,
    },
    /// Something of the system's failed.
    #[error(transparent)]
    System(#[from] std::io::Error),
}

impl Names {
    /// Listens at `address` (port 0 takes a free one) for services that are called by name; waits for a name server as
    /// long as it takes.
    ///
    /// # Errors
    /// When that address is not to be had.
    pub async fn host(&self, address: &str) -> Result<Host, HostError> {
        let cluster = self.cluster().await;
        let (routes, made) = unbounded_channel();
        let stop = CancellationToken::new();
        let options = ServeOptions { cluster, connections_max: CONNECTIONS_MAX, stop: stop.clone() };
        let (told, bound) = oneshot::channel();
        let (wanted, at) = (address.to_owned(), address.to_owned());
        let work = || async move {
            // A `LocalSet`, so that handlers need not be `Send`, and one that blocks holds up its host only.
            tokio::task::LocalSet::new().run_until(attend(at, told, made, options)).await;
        };
        let thread = Thread::start("host".to_owned(), work)?;
        let address = bound.await.unwrap_or_else(|_| Err(std::io::ErrorKind::Other.into()));
        let address = address.map_err(|error| HostError::Bind { address: wanted.clone(), error })?;
        let keeper = self.keep(TTL, InstanceId::random(), None);
        Ok(Host { address, keeper, names: Vec::new(), routes, stop, thread })
    }
}

/// Listens at the first address of a host and port.
async fn listen(at: &str) -> std::io::Result<TcpListener> {
    let address = tokio::net::lookup_host(at).await?.next().ok_or(std::io::ErrorKind::NotFound)?;
    TcpListener::bind(address).await
}

/// Listens, says where, and serves until told to stop.
async fn attend(
    at: String,
    told: oneshot::Sender<std::io::Result<SocketAddr>>,
    mut made: UnboundedReceiver<MakeRoute>,
    options: ServeOptions,
) {
    let listener = match listen(&at).await {
        Ok(listener) => listener,
        Err(error) => return drop(told.send(Err(error))),
    };
    // Whoever asked may have given up.
    drop(told.send(listener.local_addr()));
    let routes = Routes::default();
    let growing = routes.clone();
    let grow = async move {
        while let Some(make) = made.recv().await {
            growing.add(make());
        }
    };
    tokio::select! {
        () = serve(listener, routes, options) => {}
        // Its host was dropped: nobody asked it to leave.
        () = grow => {}
    }
}

impl Host {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Provides `service` under `name`, in a contract called like the name.
    ///
    /// # Errors
    /// When the name server does not let us have the name.
    pub async fn serve<S>(&mut self, name: LogicalName, sharing: Sharing, service: S) -> Result<(), HostError>
    where
        S: Serve + Clone + Send + 'static,
        S::Req: RequestName + DeserializeOwned + 'static,
        S::Resp: Serialize + 'static,
    {
        let contract = own_contract(name.as_str());
        self.serve_as(contract, name, sharing, Tags::default(), service).await
    }

    /// Provides `service`, which speaks `contract`, under `name`, with these tags.
    ///
    /// # Errors
    /// When the name server does not let us have the name.
    pub async fn serve_as<S>(
        &mut self,
        contract: Contract,
        name: LogicalName,
        sharing: Sharing,
        tags: Tags,
        service: S,
    ) -> Result<(), HostError>
    where
        S: Serve + Clone + Send + 'static,
        S::Req: RequestName + DeserializeOwned + 'static,
        S::Resp: Serialize + 'static,
    {
        // It is served before anybody can find it.
        let route: MakeRoute = Box::new(move || Route::new(contract, move |_| service.clone()));
        assert!(self.routes.send(route).is_ok(), "the host's thread lives as long as its handle");
        let target = Target::Service {
            address: Address::from(self.address),
            object: ObjectName::new("").expect("no object is one"),
            contract: ContractName::new(contract.name).expect("a contract has a good name"),
        };
        let (readiness, weight) = (Readiness::Up, Weight::default());
        let entry = Entry { sharing, target, tags, readiness, weight };
        let registered = self.keeper.register(name.clone(), entry).await;
        registered.map_err(|why| HostError::Refused { name: name.clone(), why })?;
        info!(%name, address = %self.address, "provided");
        self.names.push(name);
        Ok(())
    }

    /// The lease under which its names stand.
    pub fn keeper(&self) -> &LeaseKeeper {
        &self.keeper
    }

    /// Provides until SIGTERM or Ctrl-C, then [leaves](Self::leave).
    ///
    /// # Errors
    /// When signals cannot be caught.
    pub async fn until_signalled(self) -> Result<(), HostError> {
        Signals::listen()?.next().await;
        self.leave().await;
        Ok(())
    }

    /// Takes no new calls, finishes those it has, and gives its names back: nobody loses a call.
    pub async fn leave(self) {
        let draining = Patch { readiness: Some(Readiness::Draining), ..Patch::default() };
        for name in &self.names {
            if let Err(error) = self.keeper.update(name.clone(), draining.clone()).await {
                warn!(%name, %error, "nobody could be told that it is ending");
            }
        }
        self.stop.cancel();
        self.thread.ended().await;
        self.keeper.leave().await;
    }
}
