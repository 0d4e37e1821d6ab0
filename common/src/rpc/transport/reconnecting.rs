//! A client of one address for ever. One dial at a time, shared by all; what provably never left is sent again.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::Shared;
use rand::Rng as _;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tarpc::RequestName;
use tarpc::client::RpcError;
use tarpc::client::stub::Stub;
use tarpc::context::Context;
use tokio::time::timeout;

use super::client::{Call, Connection};
use super::deadline;
use super::error::{CallError, Unsent};
use crate::clock::{Clock, Moment};
use crate::ids::ClusterId;
use crate::names::Address;
use crate::rpc::limits::{Contract, PEER};

/// A machine that is there answers a connect far sooner; a peer's absence must show before it is suspected.
const CONNECT_TIME: Duration = Duration::from_secs(1);
const CONNECT_TIME_PEER: Duration = Duration::from_millis(300);
/// The back-off after the first failed dial; it doubles, and the wait is drawn from zero to it.
const BACK_OFF_FIRST: Duration = Duration::from_millis(20);
const BACK_OFF_MAX: Duration = Duration::from_secs(1);
const BACK_OFF_MAX_PEER: Duration = Duration::from_millis(400);
/// Another program or version is there: that takes a person to change.
const INCOMPATIBLE_WAIT: Duration = Duration::from_secs(10);
/// Connections that one call may see die before it was sent.
const ATTEMPTS_MAX: u32 = 3;

/// One address and contract, for ever: dials when needed, repeats only what provably never left.
pub struct Reconnecting<Req, Resp>(Arc<Line<Req, Resp>>);

type Dial<Req, Resp> = Shared<Pin<Box<dyn Future<Output = Result<Connection<Req, Resp>, CallError>> + Send>>>;

struct Line<Req, Resp> {
    address: Address,
    contract: Contract,
    cluster: ClusterId,
    clock: Clock,
    slot: Mutex<Slot<Req, Resp>>,
}

struct Slot<Req, Resp> {
    state: State<Req, Resp>,
    /// Dials that failed since the last that did not.
    failures: u32,
}

enum State<Req, Resp> {
    /// Nobody has called yet, or the connection has gone.
    Idle,
    Dialing(Dial<Req, Resp>),
    Connected(Connection<Req, Resp>),
    /// The last dial failed so; nobody dials again before then.
    BackOff {
        until: Moment,
        why: CallError,
    },
}

impl<Req, Resp> Clone for Reconnecting<Req, Resp> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<Req, Resp> fmt::Debug for Reconnecting<Req, Resp> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reconnecting").field("address", &self.0.address).finish_non_exhaustive()
    }
}

impl<Req, Resp> Reconnecting<Req, Resp>
where
    Req: RequestName + Serialize + Send + Sync + 'static,
    Resp: DeserializeOwned + Send + 'static,
{
    /// Connects at the first call.
    pub fn new(address: Address, contract: Contract, cluster: ClusterId) -> Self {
        let slot = Mutex::new(Slot { state: State::Idle, failures: 0 });
        Self(Arc::new(Line { address, contract, cluster, clock: Clock::start(), slot }))
    }

    /// Whom it calls.
    pub fn address(&self) -> &Address {
        &self.0.address
    }

    fn unreachable(&self, why: &str) -> CallError {
        CallError::Unreachable { address: self.0.address.clone(), why: why.to_owned(), refused: false }
    }

    async fn connected(&self) -> Result<Connection<Req, Resp>, CallError> {
        let dial = {
            let mut slot = self.0.slot();
            if let Some(connection) = slot.connected() {
                return Ok(connection);
            }
            match &slot.state {
                State::BackOff { until, why } if self.0.clock.now() < *until => return Err(why.clone()),
                // One that is over and still here was given up with its runtime.
                State::Dialing(dial) if dial.peek().is_none() => dial.clone(),
                _ => {
                    let dial = Line::dial(self.0.clone());
                    slot.state = State::Dialing(dial.clone());
                    dial
                }
            }
        };
        dial.await
    }
}

impl<Req, Resp> Slot<Req, Resp>
where
    Req: RequestName + Serialize + Send + Sync + 'static,
    Resp: DeserializeOwned + Send + 'static,
{
    fn connected(&self) -> Option<Connection<Req, Resp>> {
        match &self.state {
            State::Connected(connection) if !connection.is_gone() => Some(connection.clone()),
            _ => None,
        }
    }
}

impl<Req, Resp> Line<Req, Resp> {
    fn slot(&self) -> MutexGuard<'_, Slot<Req, Resp>> {
        // Each change of the slot is one assignment: a panic elsewhere leaves it whole.
        self.slot.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<Req, Resp> Line<Req, Resp>
where
    Req: RequestName + Serialize + Send + Sync + 'static,
    Resp: DeserializeOwned + Send + 'static,
{
    /// Dials in a task of its own, so that a caller who gives up does not end it for the others.
    fn dial(line: Arc<Self>) -> Dial<Req, Resp> {
        let address = line.address.clone();
        let task = tokio::spawn(async move {
            let is_peer = line.contract.name == PEER.name;
            let connect = if is_peer { CONNECT_TIME_PEER } else { CONNECT_TIME };
            let dialed = Connection::dial(&line.address, line.contract, line.cluster, connect).await;
            let mut slot = line.slot();
            match &dialed {
                Ok(connection) => *slot = Slot { state: State::Connected(connection.clone()), failures: 0 },
                Err(why) => {
                    let wait = match why {
                        CallError::Incompatible { .. } => INCOMPATIBLE_WAIT,
                        _ => back_off(slot.failures, if is_peer { BACK_OFF_MAX_PEER } else { BACK_OFF_MAX }),
                    };
                    let until = line.clock.now() + wait;
                    let failures = slot.failures.saturating_add(1);
                    *slot = Slot { state: State::BackOff { until, why: why.clone() }, failures };
                }
            }
            drop(slot);
            dialed
        });
        let dial = async move {
            task.await.unwrap_or_else(|_| {
                // Its runtime is shutting down.
                let why = "the dial was given up".to_owned();
                Err(CallError::Unreachable { address, why, refused: false })
            })
        };
        dial.boxed().shared()
    }
}

impl<Req, Resp> Stub for Reconnecting<Req, Resp>
where
    Req: RequestName + Serialize + Send + Sync + 'static,
    Resp: DeserializeOwned + Send + 'static,
{
    type Req = Req;
    type Resp = Resp;

    async fn call(&self, mut ctx: Context, request: Req) -> Result<Resp, RpcError> {
        ctx.deadline = deadline::at_most(ctx.deadline, self.0.contract.limits.deadline_max);
        let call = Arc::new(Call::new(request));
        let mut attempts = 0;
        loop {
            // Most calls find a connection: they need no timer for it.
            let standing = self.0.slot().connected();
            let connection = match standing {
                Some(connection) => connection,
                None => timeout(deadline::remaining(&ctx), self.connected())
                    .await
                    .unwrap_or_else(|_| Err(self.unreachable("not connected before the deadline")))
                    .map_err(Unsent)?,
            };
            attempts += 1;
            match connection.attempt(ctx, &call).await {
                // The connection died under a call that was not sent yet: the next one may be better.
                Err(RpcError::Send(why)) if connection.is_gone() && attempts < ATTEMPTS_MAX => drop(why),
                result => return result,
            }
        }
    }
}

/// Full jitter: callers that failed together do not come back together.
fn back_off(failures: u32, max: Duration) -> Duration {
    let ceiling = BACK_OFF_FIRST.saturating_mul(1 << failures.min(16)).min(max);
    rand::rng().random_range(Duration::ZERO..=ceiling)
}
