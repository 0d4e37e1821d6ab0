//! From flags to exit: binds, finds the name server, serves, says that it is ready, and stops when told to.

use std::cell::OnceCell;
use std::io;
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::rc::Rc;
use std::time::Duration;

use common::clock::Clock;
use common::directory::{LeaseKeeper, Names, View};
use common::ids::InstanceId;
use common::machine::{Signals, TcpListener, announce, end};
use common::meters;
use common::names::Names as WhichNames;
use common::names::{
    BadAddress, ContractName, Entry, LogicalName, ObjectName, Patch, Query, Readiness, Sharing, Tags, Target,
    Weight,
};
use common::replication::GroupName;
use common::rpc::frontend::Frontend as _;
use common::rpc::limits::FRONTEND;
use common::rpc::name_service::{self, RegisterError};
use common::rpc::replica::{QueryError, SubmitError};
use common::rpc::transport::{Route, ServeOptions, serve, within};
use common::services::Services;
use common::telemetry;
use futures::FutureExt as _;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::config::{self, Config};
use crate::courier::Courier;
use crate::http::counter::{self, Ask, Counter};
use crate::http::{self, Hosts};
use crate::lookout;
use crate::outside::Door;
use crate::outside::data::{BadFile, PostcodeData};
use crate::outside::films::Films;
use crate::outside::omdb::{Omdb, Secret};
use crate::outside::postcodes::Postcodes;
use crate::outside::web::{Http, Web};
use crate::server::{Desk, Server};

/// To tell the name server that we are stopping; a courtesy, so it may fail.
const DRAINING_TIME: Duration = Duration::from_millis(300);
/// For the calls under way. With the second for giving the lease back it stays below the 5 s promised.
const SERVING_TIME: Duration = Duration::from_millis(3500);
/// What pages ask at once: a connection asks for one page at a time, and a page for a handful of things.
const ASKS_MAX: usize = 8 * http::CONNECTIONS_MAX;
/// A fail-over takes tens of milliseconds; a person waits so long before they doubt.
const PAGE_TIME: Duration = Duration::from_secs(5);

/// The environment variable of the key to OMDb. There is no flag: flags are seen by everybody on the machine.
const OMDB_KEY: &str = "OMDB_API_KEY";

/// Why a front end ended that nobody stopped.
#[derive(Debug, thiserror::Error)]
pub enum Failed {
    /// Exit 2.
    #[error("cannot listen at {address}: {why}\n  try: {flag} with another address")]
    Bind {
        /// Which flag says so.
        flag: &'static str,
        /// Where.
        address: SocketAddr,
        /// Why not.
        why: io::Error,
    },
    /// Exit 2.
    #[error("PYRO_NS_HOST and PYRO_NS_PORT name no name server: {0}\n  try: --name-server HOST:PORT")]
    NameServer(BadAddress),
    /// Exit 2.
    #[error(transparent)]
    PostcodeData(#[from] BadFile),
    /// Exit 4 when the name is held by somebody else, else 1.
    #[error("cannot register {name}: {why}")]
    Register {
        /// Which name.
        name: LogicalName,
        /// Why not.
        why: RegisterError,
    },
    /// Exit 1.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl Failed {
    /// What the process exits with.
    pub fn exit_status(&self) -> u8 {
        match self {
            Self::Bind { .. } | Self::NameServer(_) | Self::PostcodeData(_) => 2,
            Self::Register {
                why: RegisterError::Held { .. } | RegisterError::SharingMismatch { .. },
                ..
            } => 4,
            Self::Register { .. } | Self::Io(_) => 1,
        }
    }
}

/// Runs a front end of these services until SIGTERM or Ctrl-C; a second one ends it at once. For a `LocalRuntime`.
///
/// # Errors
/// [`Failed`], when it cannot start.
pub async fn run(config: Config, services: Services) -> Result<(), Failed> {
    let mut signals = Signals::listen()?;
    let running = tokio::select! {
        running = Running::start(&config, services) => running?,
        () = signals.next() => return Ok(()),
    };
    // Nobody reads it: no reason not to serve.
    let _ = announce(&running.ready_line());
    signals.next().await;
    tokio::select! {
        () = running.stop() => {}
        () = signals.next() => {}
    }
    Ok(())
}

struct Running {
    address: SocketAddr,
    http: Option<SocketAddr>,
    postcodes: config::Postcodes,
    omdb: &'static str,
    services: Vec<LogicalName>,
    keeper: LeaseKeeper,
    stop: CancellationToken,
    serving: JoinHandle<()>,
}

impl Running {
    async fn start(config: &Config, services: Services) -> Result<Self, Failed> {
        let meters = config.http_addresses().first().and_then(|_| meters::start());
        // Before we listen: a damaged file is the operator's to mend.
        let films = films(config);
        let omdb = if films.can_ask() { "auto" } else { "no_key" };
        let door = Door::new(postcodes(config)?, config.policy(), films);
        let (listener, address) = bind("--listen", &[config.listen]).await?;
        let (pages, http) = match config.http_addresses().as_slice() {
            [] => (None, None),
            addresses => {
                bind("--http", addresses).await.map(|(listener, address)| (Some(listener), Some(address)))?
            }
        };
        let names = match config.name_server.as_slice() {
            [] => Names::from_env().map_err(Failed::NameServer)?,
            servers => Names::new(servers.to_vec(), "frontend"),
        };
        if !door.films().can_ask() {
            info!(variable = OMDB_KEY, "no key to OMDb: films are found here only");
        }
        for listening in [Some(address), http].into_iter().flatten() {
            spawn_essential(telemetry::warn_of_open_port(listening));
        }
        // Before there is a name server: who watches over us should hear that we live, and what we wait for.
        let known = Known::default();
        if let (Some(listener), Some(at)) = (pages, http) {
            let hosts = if config.insecure_bind { Hosts::Any } else { Hosts::ThisMachine };
            if let Some(meters) = meters.clone() {
                spawn_essential(meters.keep());
            }
            spawn_essential(http::serve(listener, http::pages(answer_pages(&known), hosts, meters)));
            info!(http = url(at), "pages are served");
        }
        let cluster = names.cluster().await;

        let group = |name: &str| name.parse().expect("the tables hold good names");
        let groups = services.passive.iter().map(|served| group(served.name));
        let causal = services.causal.iter().map(|served| group(served.name));
        let courier = Courier::new(Clock::start(), cluster, groups, causal);
        let server = Server::new(courier, door);
        follow(&server, &names);
        let _ = known.set(Rc::clone(&server));
        let stop = CancellationToken::new();
        let options = ServeOptions { cluster, connections_max: config.max_connections, stop: stop.clone() };
        let services =
            server.courier().services().map(|name| name.as_str().parse().expect("so do names")).collect();
        let route = Route::new(FRONTEND, move |_| server.desk().serve());
        let serving = spawn_essential(serve(listener, vec![route], options));

        let keeper = names.keep(config.ttl, InstanceId::random(), None);
        let postcodes = config.postcodes;
        let running = Self { address, http, postcodes, omdb, services, keeper, stop, serving };
        running.register().await?;
        Ok(running)
    }

    async fn register(&self) -> Result<(), Failed> {
        let entry = Entry {
            sharing: Sharing::Shared,
            target: Target::Service {
                address: self.address.into(),
                object: ObjectName::new("").expect("no object is a name of one"),
                contract: ContractName::new(FRONTEND.name).expect("our contract has a good name"),
            },
            tags: Tags::new(self.http.map(|at| format!("http={}", url(at))))
                .expect("an address is a short text"),
            readiness: Readiness::Up,
            weight: Weight::default(),
        };
        for name in &self.services {
            let registered = self.keeper.register(name.clone(), entry.clone()).await;
            registered.map_err(|why| Failed::Register { name: name.clone(), why })?;
        }
        Ok(())
    }

    fn ready_line(&self) -> String {
        let http = self.http.map_or_else(|| "off".to_owned(), url);
        let names: Vec<&str> = self.services.iter().map(LogicalName::as_str).collect();
        format!(
            "frontend ready address={} http={http} names={} postcodes={} omdb={}",
            self.address,
            names.join(","),
            self.postcodes.as_str(),
            self.omdb
        )
    }

    /// Callers are told to go elsewhere, the calls under way are answered, then the names are given back.
    async fn stop(self) {
        info!(address = %self.address, "stopping");
        let _ = timeout(DRAINING_TIME, async {
            for name in &self.services {
                let draining = Patch { readiness: Some(Readiness::Draining), ..Patch::default() };
                let _ = self.keeper.update(name.clone(), draining).await;
            }
        })
        .await;
        self.stop.cancel();
        if timeout(SERVING_TIME, self.serving).await.is_err() {
            warn!("calls under way were left");
        }
        self.keeper.leave().await;
    }
}

/// Who finds out about postcodes, as the flags say.
fn postcodes(config: &Config) -> Result<Postcodes<Http>, BadFile> {
    let data = match config.postcode_data() {
        None => None,
        Some(path) => {
            let data = PostcodeData::open(&path)?;
            let (sectors, units) = data.counts();
            info!(path = %path.display(), sectors, units, "postcode data are read");
            Some(data)
        }
    };
    Ok(match config.postcodes {
        config::Postcodes::Offline => Postcodes::offline(data),
        config::Postcodes::Auto => {
            let [first, second] = [&config.postcodes_url, &config.getthedata_url].map(|at| at.url().clone());
            Postcodes::asking(Http::default(), first, second, data)
        }
    })
}

/// Who knows of films: OMDb, when there is a key to it.
fn films(config: &Config) -> Films<Http> {
    let key = Secret::from_env(OMDB_KEY);
    let url = config.omdb_url.url().clone();
    Films::new(key.map(|key| Omdb::new(Rc::default(), url, key, Clock::start())))
}

/// Runs a task without which the process must not go on: its panic ends the process, and so its lease.
fn spawn_essential(task: impl Future<Output = ()> + 'static) -> JoinHandle<()> {
    tokio::task::spawn_local(async {
        if AssertUnwindSafe(task).catch_unwind().await.is_err() {
            error!("a task panicked; ending at once");
            end(1);
        }
    })
}

fn url(address: SocketAddr) -> String {
    format!("http://{address}")
}

/// Listens at the first of these that is free.
async fn bind(flag: &'static str, addresses: &[SocketAddr]) -> Result<(TcpListener, SocketAddr), Failed> {
    let mut failed = None;
    for &address in addresses {
        match TcpListener::bind(address).await.and_then(|listener| Ok((listener.local_addr()?, listener))) {
            Ok((bound, listener)) => return Ok((listener, bound)),
            Err(why) => failed = Some(Failed::Bind { flag, address, why }),
        }
    }
    Err(failed.unwrap_or_else(|| io::Error::other("no address to listen at").into()))
}

/// Keeps what the server knows of groups and replicas as new as the name server's word; as it was, while there is
/// none.
fn follow<W: Web + 'static>(server: &Rc<Server<W>>, names: &Names) {
    let services: Vec<GroupName> = server.courier().services().cloned().collect();
    for service in services {
        let (server, mut record) = (Rc::clone(server), names.group(service));
        spawn_essential(async move {
            loop {
                if let Some(name_service::Config::Passive(config)) = &*record.borrow_and_update() {
                    server.courier().learn(config);
                }
                if record.changed().await.is_err() {
                    return;
                }
            }
        });
    }
    let replicas = Query::by_name(WhichNames::Prefix("replica.".into()));
    let (server, mut view): (_, watch::Receiver<View>) = (Rc::clone(server), names.view(replicas));
    spawn_essential(async move {
        loop {
            let seen = view.borrow_and_update().clone();
            // No stamp: nothing was read yet, which is not the same as no replicas.
            if seen.stamp.is_some() {
                server.courier().name_places(&seen.records);
            }
            if view.changed().await.is_err() {
                return;
            }
        }
    });
}

/// The server, once a name server has told which cluster it is of.
type Known = Rc<OnceCell<Rc<Server<Http>>>>;

/// Does what pages ask for. Those who ask for readiness get it all from one look.
fn answer_pages(known: &Known) -> Counter {
    let (counter, mut asked) = Counter::new(ASKS_MAX);
    let known = Rc::clone(known);
    spawn_essential(async move {
        let mut asks = Vec::new();
        while asked.recv_many(&mut asks, ASKS_MAX).await > 0 {
            let mut askers = Vec::new();
            for ask in asks.drain(..) {
                match (ask, known.get()) {
                    (Ask::Ready(answer), _) => askers.push(answer),
                    (Ask::Cluster(answer), Some(server)) => {
                        let server = Rc::clone(server);
                        tokio::task::spawn_local(async move {
                            let _ = answer.send(lookout::look(server.courier()).await);
                        });
                    }
                    (Ask::Cluster(_), None) => {}
                    (ask, Some(server)) => {
                        tokio::task::spawn_local(answer_page(server.desk(), ask));
                    }
                    // Whoever went away needs no answer.
                    (Ask::Execute { service, answer, .. }, None) => {
                        let _ = answer.send(Err(SubmitError::NoPrimary { service }));
                    }
                    (Ask::Query { service, answer, .. }, None) => {
                        let _ = answer.send(Err(QueryError::NoPrimary { service }));
                    }
                }
            }
            if !askers.is_empty() {
                tokio::task::spawn_local(answer_readiness(Rc::clone(&known), askers));
            }
        }
    });
    counter
}

/// Has one ask done, just as another program's call is.
async fn answer_page(desk: Desk<Http>, ask: Ask) {
    let context = within(FRONTEND, PAGE_TIME);
    match ask {
        Ask::Execute { service, request, prev, payload, answer } => {
            let _ = answer.send(desk.execute(context, service, request, prev, payload).await);
        }
        Ask::Query { service, prev, consistency, payload, answer } => {
            let _ = answer.send(desk.query(context, service, prev, consistency, payload).await);
        }
        Ask::Ready(_) | Ask::Cluster(_) => unreachable!("these are no calls"),
    }
}

async fn answer_readiness(known: Known, askers: Vec<oneshot::Sender<counter::Readiness>>) {
    let readiness = match known.get() {
        Some(server) => server.ready().await,
        None => Err("waiting for a name server".to_owned()),
    };
    for asker in askers {
        let _ = asker.send(readiness.clone());
    }
}
