//! A server's side: accepting, the preamble, one task per connection, and stopping without losing a call.

use std::cell::{Cell, RefCell};
use std::fs::File;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::future::LocalBoxFuture;
use futures::{FutureExt as _, SinkExt as _};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tarpc::RequestName;
use tarpc::server::Serve;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::task::{JoinError, JoinSet};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::calls::Calls;
use super::client::prepare;
use super::codec::FrameError;
use super::door::{Door, Place, Visitor};
use super::guarded::Guarded;
use super::link::{LINGER_BYTES, Link, Socket};
use super::preamble::{Answer, Ask, MAGIC, Verdict};
use super::rarely::Rarely;
use super::seats::{Seat, Seats};
use super::server_side::{Leaving, ServerSide};
use crate::ids::ClusterId;
use crate::machine::{TcpListener, TcpStream};
use crate::meters::{self, OneMore};
use crate::rpc::limits::{Contract, DESCRIPTORS_KEPT, PREAMBLE_TIME, STOP_TIME};

/// Who is told to go is given this long to read it.
const LINGER_TIME: Duration = Duration::from_millis(200);
/// Refusals under way at once; who comes beyond is closed without a word.
const REFUSALS_MAX: usize = 64;
/// Of an HTTP request.
const HTTP_HEADER_MAX: usize = 8 * 1024;
/// The wait after a failed accept doubles from the first to the last.
const ACCEPT_WAIT_FIRST: Duration = Duration::from_millis(50);
const ACCEPT_WAIT_MAX: Duration = Duration::from_millis(200);
/// With no descriptor left, a caller is refused on the spare one, and gone by then.
const SPARE_TIME: Duration = Duration::from_millis(20);

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
pub struct Route {
    contract: Contract,
    converse: Box<Converse>,
}

type Converse = dyn Fn(Box<dyn Socket>, Caller, Conversation) -> LocalBoxFuture<'static, ()>;

/// What a connection's task needs beside its socket.
struct Conversation {
    seat: Rc<Seat>,
    stop: CancellationToken,
    log: Rc<Rarely>,
}

impl Route {
    /// Serves `contract` with what `service` makes for each connection. Neither needs to be `Send`.
    pub fn new<S>(contract: Contract, service: impl Fn(Caller) -> S + 'static) -> Self
    where
        S: Serve + Clone + 'static,
        S::Req: RequestName + DeserializeOwned + 'static,
        S::Resp: Serialize + 'static,
    {
        let converse = move |socket, caller, conversation| {
            let service = Guarded { contract: contract.name, inner: service(caller) };
            converse(socket, contract, service, conversation).boxed_local()
        };
        Self { contract, converse: Box::new(converse) }
    }
}

/// The contracts served on a port; more may come while it is served. Its clones are the same.
#[derive(Clone, Default)]
pub struct Routes(Rc<RefCell<Vec<Rc<Route>>>>);

impl Routes {
    /// Serves this one too, from the next connection on.
    pub fn add(&self, route: Route) {
        self.0.borrow_mut().push(Rc::new(route));
    }
}

impl From<Vec<Route>> for Routes {
    fn from(routes: Vec<Route>) -> Self {
        let all = Self::default();
        for route in routes {
            all.add(route);
        }
        all
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
pub async fn serve(listener: TcpListener, routes: impl Into<Routes>, options: ServeOptions) {
    serve_with(listener, routes.into(), Vec::new(), options).await;
}

/// As [`serve`], with other protocols beside ours.
pub async fn serve_with(listener: TcpListener, routes: Routes, doors: Vec<Door>, options: ServeOptions) {
    let descriptors = raise_fd_limit();
    let stop = options.stop.clone();
    let port = Rc::new(Port::new(routes, doors, options, descriptors.saturating_sub(DESCRIPTORS_KEPT)));
    let mut tasks = JoinSet::new();
    let mut spare = File::open("/dev/null").ok();
    let mut wait = ACCEPT_WAIT_FIRST;
    loop {
        let accepted = tokio::select! { biased;
            () = stop.cancelled() => break,
            Some(ended) = tasks.join_next(), if !tasks.is_empty() => {
                note_panic(ended);
                continue;
            }
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((socket, peer)) => {
                wait = ACCEPT_WAIT_FIRST;
                port.admit(socket, peer, &mut tasks);
            }
            // The caller changed its mind.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(error) => {
                if port.accept_log.is_due() {
                    tracing::warn!(%error, "cannot accept connections");
                }
                if spare.take().is_some() {
                    let _ = timeout(SPARE_TIME, port.refuse_next(&listener)).await;
                }
                spare = File::open("/dev/null").ok();
                sleep(wait).await;
                wait = (wait * 2).min(ACCEPT_WAIT_MAX);
            }
        }
    }
    drop(listener);
    let all_ended = async {
        while let Some(ended) = tasks.join_next().await {
            note_panic(ended);
        }
    };
    if timeout(STOP_TIME, all_ended).await.is_err() {
        tracing::warn!(connections = tasks.len(), "connections did not end in time");
        tasks.shutdown().await;
    }
}

/// Raises this process's soft limit of open files to the hard one, and returns it.
pub fn raise_fd_limit() -> usize {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let raised = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    let limit = if raised.is_ok() { maximum } else { current };
    limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(usize::MAX)
}

fn note_panic(ended: Result<(), JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        tracing::error!(%error, "a connection's task panicked");
    }
}

/// Why a caller has no route: verdict, sentence, and the route that it would have had.
type Misfit = (Verdict, String, Option<Rc<Route>>);

/// What a caller turned out to be.
enum Heard {
    Ask(Ask),
    /// The protocol of the door at this place.
    Foreign(usize),
    Http,
    Other(Verdict, &'static str),
}

/// Both ends of a connection.
#[derive(Clone, Copy)]
struct Ends {
    peer: SocketAddr,
    local: SocketAddr,
}

/// A listener without its socket.
pub(super) struct Port {
    routes: Routes,
    doors: Vec<Door>,
    cluster: ClusterId,
    stop: CancellationToken,
    seats: Rc<Seats>,
    refusals: Rc<()>,
    /// Refusals so far, by verdict.
    verdicts: [Cell<u64>; Verdict::ALL.len()],
    rules_log: Rc<Rarely>,
    accept_log: Rarely,
}

impl Port {
    pub(super) fn new(routes: Routes, doors: Vec<Door>, options: ServeOptions, descriptors: usize) -> Self {
        Self {
            routes,
            doors,
            cluster: options.cluster,
            stop: options.stop,
            seats: Seats::new(options.connections_max.min(descriptors)),
            refusals: Rc::new(()),
            verdicts: Default::default(),
            rules_log: Rc::default(),
            accept_log: Rarely::default(),
        }
    }

    fn admit(self: &Rc<Self>, socket: TcpStream, peer: SocketAddr, tasks: &mut JoinSet<()>) {
        /// Unique within the process, whichever listener.
        static CONNECTIONS: AtomicU64 = AtomicU64::new(1);
        let (Ok(()), Ok(local)) = (prepare(&socket), socket.local_addr()) else {
            return; // It is closed already.
        };
        let ends = Ends { peer, local };
        let id = CONNECTIONS.fetch_add(1, Ordering::Relaxed);
        match self.seats.take(id, peer.ip()) {
            Ok(seat) => {
                let task = tasks.spawn_local(self.clone().receive(socket, ends, seat));
                self.seats.occupied_by(id, task);
            }
            Err(full) if Rc::strong_count(&self.refusals) <= REFUSALS_MAX => {
                let (port, under_way) = (self.clone(), self.refusals.clone());
                tasks.spawn_local(async move {
                    port.refuse_full(socket, ends, full).await;
                    drop(under_way);
                });
            }
            Err(_) => {}
        }
    }

    /// Takes one caller off the listener, to tell it that there is no room.
    async fn refuse_next(&self, listener: &TcpListener) {
        if let Ok((socket, _)) = listener.accept().await {
            self.refuse(socket, Verdict::Full, "no descriptor is left", None).await;
        }
    }

    /// Serves one connection that is no listener's.
    #[cfg(test)]
    pub(super) async fn serve_one(self: Rc<Self>, socket: impl Socket, peer: SocketAddr) {
        let seat = self.seats.take(0, peer.ip()).expect("the first connection has a place");
        self.receive(socket, Ends { peer, local: peer }, seat).await;
    }

    /// One connection's life.
    async fn receive(self: Rc<Self>, mut socket: impl Socket, ends: Ends, seat: Seat) {
        let Ends { peer, local } = ends;
        let mut silent = true;
        let heard = tokio::select! { biased;
            () = self.stop.cancelled() => Ok(Ok(Heard::Other(Verdict::Draining, "the server is stopping"))),
            heard = timeout(PREAMBLE_TIME, self.listen(&mut socket, &mut silent)) => heard,
        };
        let ask = match heard {
            Ok(Ok(Heard::Ask(ask))) => ask,
            Ok(Ok(Heard::Foreign(at))) => {
                let door = &self.doors[at];
                let place = seat.decide(door.contract).map(|()| Place(Rc::new(seat)));
                let stop = self.stop.clone();
                return (door.enter)(Visitor { socket: Box::new(socket), peer, local, place, stop }).await;
            }
            Ok(Ok(Heard::Http)) => return no_pages(socket).await,
            Ok(Ok(Heard::Other(verdict, why))) => return self.refuse(socket, verdict, why, None).await,
            // It went away by itself.
            Ok(Err(_)) => return,
            // Who only looks whether somebody is there wants no answer, and in whose tongue would it be?
            Err(_) if silent && !self.doors.is_empty() => return,
            Err(_) => {
                return self
                    .refuse(socket, Verdict::Preamble, "the preamble was not whole in time", None)
                    .await;
            }
        };
        let (route, chosen) = match self.choose(&ask) {
            Ok(chosen) => chosen,
            Err((verdict, why, route)) => {
                return self.refuse(socket, verdict, &why, route.as_deref()).await;
            }
        };
        if let Err(full) = seat.decide(route.contract) {
            return self.refuse(socket, Verdict::Full, &full, Some(&route)).await;
        }
        let welcome = self.answer(Verdict::Welcome, chosen, "", Some(&route));
        if !matches!(timeout(PREAMBLE_TIME, welcome.write(&mut socket)).await, Ok(Ok(()))) {
            return;
        }
        let caller = Caller { peer, cluster: ask.cluster, connection: seat.id };
        let conversation =
            Conversation { seat: Rc::new(seat), stop: self.stop.clone(), log: self.rules_log.clone() };
        (route.converse)(Box::new(socket), caller, conversation).await;
    }

    /// The route asked for, and the version to speak there.
    fn choose(&self, ask: &Ask) -> Result<(Rc<Route>, u16), Misfit> {
        let routes = self.routes.0.borrow();
        let Some(route) = routes.iter().find(|route| route.contract.name == ask.contract).cloned() else {
            let ours: Vec<_> = routes.iter().map(|route| route.contract.name).collect();
            let why = format!("this is {}, you asked for {}", ours.join(" and "), ask.contract);
            return Err((Verdict::Contract, why, None));
        };
        let Contract { name, lowest, highest, .. } = route.contract;
        let chosen = highest.min(ask.highest);
        if chosen < lowest || chosen < ask.lowest {
            let why = format!(
                "this is {name}, versions {lowest}\u{2013}{highest}; you asked for versions {}\u{2013}{}",
                ask.lowest, ask.highest
            );
            return Err((Verdict::Version, why, Some(route)));
        }
        let both_stated = self.cluster != ClusterId::UNSTATED && ask.cluster != ClusterId::UNSTATED;
        if both_stated && self.cluster != ask.cluster {
            let why = format!("this is cluster {}, you asked for cluster {}", self.cluster, ask.cluster);
            return Err((Verdict::Cluster, why, Some(route)));
        }
        Ok((route, chosen))
    }

    fn answer(&self, verdict: Verdict, chosen: u16, text: &str, route: Option<&Route>) -> Answer {
        let (lowest, highest) = route.map_or((0, 0), |route| (route.contract.lowest, route.contract.highest));
        Answer { verdict, chosen, lowest, highest, cluster: self.cluster, text: text.to_owned() }
    }

    /// Hears what a caller wants. The first four bytes tell, however slowly they come.
    async fn listen(&self, socket: &mut impl Socket, silent: &mut bool) -> io::Result<Heard> {
        let mut first = [0; MAGIC.len()];
        let read = socket.read(&mut first).await?;
        // At the end of what comes, what is missing cannot be read.
        *silent = read == 0;
        socket.read_exact(&mut first[read..]).await?;
        if let Some(at) = self.doors.iter().position(|door| door.magic == first) {
            return Ok(Heard::Foreign(at));
        }
        match &first {
            b"GET " | b"HEAD" => {
                read_http_header(socket).await?;
                Ok(Heard::Http)
            }
            first if *first == MAGIC => Ok(match Ask::read(socket).await? {
                Ok(ask) => Heard::Ask(ask),
                Err(why) => Heard::Other(Verdict::Preamble, why),
            }),
            _ => Ok(Heard::Other(Verdict::Magic, "this port speaks RPC; what came is something else")),
        }
    }

    /// Tells a caller that there is no room, in its own protocol.
    async fn refuse_full(&self, mut socket: impl Socket, ends: Ends, full: String) {
        let mut first = [0; MAGIC.len()];
        // Ours is answered unread; what else speaks here speaks first, and at once.
        if !self.doors.is_empty()
            && let Ok(Ok(_)) = timeout(LINGER_TIME, socket.read_exact(&mut first)).await
            && let Some(door) = self.doors.iter().find(|door| door.magic == first)
        {
            let Ends { peer, local } = ends;
            let stop = self.stop.clone();
            let visitor = Visitor { socket: Box::new(socket), peer, local, place: Err(full), stop };
            let _ = timeout(LINGER_TIME, (door.enter)(visitor)).await;
        } else {
            self.refuse(socket, Verdict::Full, &full, None).await;
        }
    }

    /// A refusal is an answer: verdict, sentence, and time to read it.
    async fn refuse(&self, mut socket: impl Socket, verdict: Verdict, why: &str, route: Option<&Route>) {
        let count = &self.verdicts[verdict as usize];
        count.set(count.get() + 1);
        tracing::debug!(?verdict, count = count.get(), error = why, "caller refused");
        let answer = self.answer(verdict, 0, why, route);
        let told = async {
            answer.write(&mut socket).await?;
            part(&mut socket).await
        };
        let _ = timeout(LINGER_TIME, told).await;
    }
}

/// Reads to the empty line that ends an HTTP header, or to the end of our patience.
async fn read_http_header(socket: &mut impl Socket) -> io::Result<()> {
    let mut header = Vec::with_capacity(1024);
    while header.len() < HTTP_HEADER_MAX && !header.windows(4).any(|end| end == b"\r\n\r\n") {
        if socket.read_buf(&mut header).await? == 0 {
            break;
        }
    }
    Ok(())
}

async fn no_pages(mut socket: impl Socket) {
    const BODY: &str = "this port speaks RPC; pages are where a program was started with --http\n";
    let answer = format!(
        "HTTP/1.1 404 Not Found\r\nContent-Type: text/plain\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{BODY}",
        BODY.len()
    );
    let told = async {
        socket.write_all(answer.as_bytes()).await?;
        part(&mut socket).await
    };
    let _ = timeout(LINGER_TIME, told).await;
}

/// Shuts the write half, and reads on for a while: a close with input unread is a reset, which eats what was said.
async fn part(socket: &mut impl Socket) -> io::Result<()> {
    socket.shutdown().await?;
    let mut scrap = [0; 4096];
    let mut thrown_away = 0;
    while thrown_away < LINGER_BYTES {
        match socket.read(&mut scrap).await? {
            0 => break,
            read => thrown_away += read,
        }
    }
    Ok(())
}

/// Serves one connection until it ends.
async fn converse<S>(socket: Box<dyn Socket>, contract: Contract, service: S, conversation: Conversation)
where
    S: Serve + Clone + 'static,
    S::Req: DeserializeOwned + 'static,
    S::Resp: Serialize + 'static,
{
    let Conversation { seat, stop, log } = conversation;
    let _open = OneMore::of(&meters::connections(contract.name));
    let limits = contract.limits;
    let leaving = Rc::new(Cell::new(Leaving::No));
    let side = ServerSide::new(limits, leaving.clone(), seat);
    let link = Link::new(socket, side, limits.frame_in, limits.frame_out, &limits);
    let mut calls = Calls::new(link, service, limits.in_flight);
    let mut stopped = pin!(stop.cancelled());
    let outcome = poll_fn(|cx| {
        if leaving.get() == Leaving::No && stopped.as_mut().poll(cx).is_ready() {
            leaving.set(Leaving::Due);
        }
        calls.poll(cx)
    });
    if let Err(error) = outcome.await {
        note_end(&log, contract, &error);
    }
    let _ = timeout(LINGER_TIME, calls.give_up().close()).await;
}

fn note_end(log: &Rarely, contract: Contract, error: &FrameError) {
    match error {
        FrameError::Io(error) => tracing::debug!(service = contract.name, %error, "connection broken"),
        error if log.is_due() => {
            tracing::warn!(service = contract.name, %error, "connection closed: its peer breaks the rules");
        }
        _ => {}
    }
}
