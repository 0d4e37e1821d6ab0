//! A client's one connection: it knows of each call whether it ever left.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Serialize, Serializer};
use tarpc::client::RpcError;
use tarpc::client::stub::Stub;
use tarpc::context::Context;
use tarpc::{ClientMessage, Request, RequestName, Response};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::sync::{Semaphore, oneshot};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::codec::FrameError;
use super::deadline;
use super::error::{CallError, Unsent};
use super::exchange::{Exchange, Order, Waiting};
use super::link::{Link, Side, Socket};
use super::preamble::{self, Ask, Unwelcome, Verdict};
use crate::ids::ClusterId;
use crate::machine::{TcpStream, keep_alive};
use crate::names::{Address, Host};
use crate::rpc::limits::{Contract, IDLE_TIME_CLIENT, PREAMBLE_TIME};

/// An answer with this id is the server's farewell.
pub(super) const FAREWELL: u64 = u64::MAX;
/// When to try again at a server that is full or stopping.
const UNWELCOME_RETRY: Duration = Duration::from_millis(500);

/// One connection, kept until it breaks: for whoever must know when that is (peers).
pub struct Connection<Req, Resp>(Arc<Inner<Req, Resp>>);

struct Inner<Req, Resp> {
    address: Address,
    contract: Contract,
    orders: UnboundedSender<Order<Req, Resp>>,
    /// Who has none waits here, and not at a server that would refuse it.
    permits: Semaphore,
    shared: Arc<Shared>,
}

/// What the connection's task knows too.
#[derive(Default)]
struct Shared {
    /// The other end said farewell, or the task has ended.
    gone: CancellationToken,
    /// Calls under way.
    calls: AtomicUsize,
    /// Calls so far: their numbers.
    asked: AtomicU64,
}

impl<Req, Resp> Clone for Connection<Req, Resp> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<Req, Resp> fmt::Debug for Connection<Req, Resp> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("address", &self.0.address).finish_non_exhaustive()
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
        let socket = match timeout(connect, open(address)).await {
            Ok(Ok(socket)) => socket,
            Ok(Err(error)) => return Err(unreachable(address, &error)),
            Err(_) => return Err(unreachable(address, &no_answer(connect))),
        };
        Self::over(socket, address, contract, cluster).await
    }

    /// Agrees on the contract over a connected socket.
    pub(super) async fn over(
        mut socket: impl Socket,
        address: &Address,
        contract: Contract,
        cluster: ClusterId,
    ) -> Result<Self, CallError> {
        let ask = Ask::new(contract, cluster);
        match timeout(PREAMBLE_TIME, preamble::introduce(&mut socket, &ask)).await {
            Ok(Ok(answer)) => match answer.misfit(&ask) {
                None => Ok(Self::start(socket, address.clone(), contract)),
                Some(why) => Err(CallError::Incompatible { why: format!("{address} {why}") }),
            },
            Ok(Err(Unwelcome::Refused(answer))) => Err(match answer.verdict {
                Verdict::Full | Verdict::Draining => CallError::Busy { retry_in: UNWELCOME_RETRY },
                _ => CallError::Incompatible { why: format!("{address} says: {}", answer.text) },
            }),
            // It answered, but not in our tongue.
            Ok(Err(Unwelcome::Io(error))) if error.kind() == io::ErrorKind::InvalidData => {
                Err(CallError::Incompatible { why: format!("{address} is no server of ours: {error}") })
            }
            Ok(Err(Unwelcome::Io(error))) => Err(unreachable(address, &error)),
            Err(_) => Err(unreachable(address, &no_answer(PREAMBLE_TIME))),
        }
    }

    /// Calls over a socket on which the contract was agreed.
    pub(super) fn start(socket: impl Socket, address: Address, contract: Contract) -> Self {
        let limits = &contract.limits;
        let shared = Arc::new(Shared::default());
        let side = ClientSide { shared: shared.clone(), types: std::marker::PhantomData };
        let link = Link::new(socket, side, limits.frame_out, limits.frame_in, limits);
        let (orders, received) = unbounded_channel();
        let gone = shared.gone.clone().drop_guard();
        tokio::spawn(async move {
            let _gone = gone;
            if let Err(error) = Exchange::new(link, received).await {
                tracing::debug!(%error, "connection broken");
            }
        });
        let permits = Semaphore::new(limits.in_flight_client);
        Self(Arc::new(Inner { address, contract, orders, permits, shared }))
    }

    /// Whether new calls must go elsewhere.
    pub(super) fn is_gone(&self) -> bool {
        self.0.shared.gone.is_cancelled()
    }

    /// Sends one attempt of `call`, whose deadline is one that the contract allows. An error tells what is known:
    /// `Unsent` inside means that this attempt never left, and never will.
    pub(super) async fn attempt(&self, ctx: Context, call: &Arc<Call<Req>>) -> Result<Resp, RpcError> {
        let inner = &*self.0;
        let attempt = call.attempt();
        let failed = match timeout(deadline::remaining(&ctx), self.send(ctx, call, attempt)).await {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(error)) => error,
            Err(_) => RpcError::DeadlineExceeded,
        };
        let why = match failed {
            // It was refused before a byte of it was sent.
            RpcError::Send(_) => return Err(Unsent(CallError::from(failed)).into()),
            RpcError::Server(_) => return Err(failed),
            _ if !call.withdraw(attempt) => return Err(failed),
            RpcError::DeadlineExceeded => "not sent before the deadline: too many calls are under way",
            _ => "the connection was lost before the call was sent",
        };
        Err(Unsent(CallError::Unreachable {
            address: inner.address.clone(),
            why: why.to_owned(),
            refused: false,
        })
        .into())
    }

    async fn send(&self, ctx: Context, call: &Arc<Call<Req>>, attempt: u32) -> Result<Resp, RpcError> {
        let inner = &*self.0;
        let _permit = inner.permits.acquire().await.map_err(|_| RpcError::Shutdown)?;
        if self.is_gone() {
            return Err(RpcError::Shutdown);
        }
        let _counted = Counted::new(&inner.shared.calls);
        let id = inner.shared.asked.fetch_add(1, Ordering::Relaxed);
        let request = Request { context: ctx, id, message: Outgoing { call: call.clone(), attempt } };
        let (to, answer) = oneshot::channel();
        inner.orders.send(Order::Ask(request, to)).map_err(|_| RpcError::Shutdown)?;
        let mut waiting = Waiting { orders: &inner.orders, id, trace: ctx.trace_context, answered: false };
        let answer = answer.await.unwrap_or(Err(RpcError::Shutdown));
        waiting.answered = true;
        answer
    }

    /// Returns when the connection is gone, or the other end said farewell.
    pub async fn closed(&self) {
        self.0.shared.gone.cancelled().await;
    }
}

impl<Req, Resp> Stub for Connection<Req, Resp>
where
    Req: RequestName + Serialize + Send + Sync + 'static,
    Resp: DeserializeOwned + Send + 'static,
{
    type Req = Req;
    type Resp = Resp;

    async fn call(&self, mut ctx: Context, request: Req) -> Result<Resp, RpcError> {
        ctx.deadline = deadline::at_most(ctx.deadline, self.0.contract.limits.deadline_max);
        self.attempt(ctx, &Arc::new(Call::new(request))).await
    }
}

struct Counted<'a>(&'a AtomicUsize);

impl<'a> Counted<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A request, and whether it left. Attempts are numbered: a withdrawn one that still waits in a queue can never leave
/// beside its successor.
pub(super) struct Call<Req> {
    /// Twice the number of the attempt, plus one when it left.
    state: AtomicU32,
    request: Req,
}

impl<Req> Call<Req> {
    pub(super) fn new(request: Req) -> Self {
        Self { state: AtomicU32::new(0), request }
    }

    fn attempt(&self) -> u32 {
        self.state.load(Ordering::Acquire) / 2
    }

    /// Makes sure that the attempt never leaves; `false` when it has.
    fn withdraw(&self, attempt: u32) -> bool {
        self.change(2 * attempt, 2 * (attempt + 1))
    }

    /// The attempt leaves now; `false` when it was withdrawn.
    fn leave(&self, attempt: u32) -> bool {
        self.change(2 * attempt, 2 * attempt + 1)
    }

    fn change(&self, from: u32, to: u32) -> bool {
        self.state.compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }
}

/// What is sent: that it is being encoded is what tells us that it leaves.
pub(super) struct Outgoing<Req> {
    call: Arc<Call<Req>>,
    attempt: u32,
}

impl<Req: Serialize> Serialize for Outgoing<Req> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        if !self.call.leave(self.attempt) {
            return Err(serde::ser::Error::custom("the call was withdrawn"));
        }
        self.call.request.serialize(to)
    }
}

pub(super) struct ClientSide<Req, Resp> {
    shared: Arc<Shared>,
    types: std::marker::PhantomData<fn(Req) -> Resp>,
}

impl<Req, Resp> Side for ClientSide<Req, Resp>
where
    Req: Serialize,
    Resp: DeserializeOwned,
{
    type In = Response<Resp>;
    type Out = ClientMessage<Outgoing<Req>>;
    const IDLE: Duration = IDLE_TIME_CLIENT;
    const LINGERS: bool = false;

    fn received(&mut self, message: Self::In, _: usize) -> Option<Self::In> {
        let aborted =
            matches!(&message.message, Err(error) if error.kind == io::ErrorKind::ConnectionAborted);
        if message.request_id == FAREWELL && aborted {
            self.shared.gone.cancel();
            return None;
        }
        Some(message)
    }

    fn send(
        &mut self,
        message: Self::Out,
        mut encode: impl FnMut(Self::Out) -> Result<(), FrameError>,
    ) -> Result<(), FrameError> {
        encode(message)
    }

    fn may_read(&mut self, _: usize) -> bool {
        true
    }

    fn is_busy(&mut self) -> bool {
        self.shared.calls.load(Ordering::Relaxed) > 0
    }

    fn farewell(&mut self) -> Option<Self::Out> {
        None
    }

    fn is_leaving(&self) -> bool {
        false
    }

    fn is_done(&mut self) -> bool {
        self.shared.gone.is_cancelled() && !self.is_busy()
    }

    fn holds(&mut self, _: usize) {}
}

/// Connects, without Nagle's delay.
async fn open(address: &Address) -> io::Result<TcpStream> {
    let socket = match &address.host {
        Host::Ip(ip) => TcpStream::connect((*ip, address.port)).await,
        Host::Dns(name) => TcpStream::connect((&**name, address.port)).await,
    }?;
    prepare(&socket)?;
    Ok(socket)
}

/// What both ends want of a socket.
pub(super) fn prepare(socket: &TcpStream) -> io::Result<()> {
    socket.set_nodelay(true)?;
    keep_alive(socket)
}

fn no_answer(within: Duration) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, format!("no answer within {within:?}"))
}

fn unreachable(address: &Address, error: &io::Error) -> CallError {
    let refused = error.kind() == io::ErrorKind::ConnectionRefused;
    let why = if refused { "connection refused".to_owned() } else { error.to_string() };
    CallError::Unreachable { address: address.clone(), why, refused }
}
