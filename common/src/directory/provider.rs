//! Calling a service by its name: the stub below anybody's own generated client. It knows who provides the name,
//! keeps a warm connection to each, picks the least burdened, and goes on to the next when one fails.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tarpc::RequestName;
use tarpc::client::RpcError;
use tarpc::client::stub::Stub;
use tarpc::context::Context;
use tokio::sync::watch;

use super::backoff::Backoff;
use super::stub::as_rpc_error;
use super::{Names, View, in_order};
use crate::clock::{Clock, Moment};
use crate::ids::ClusterId;
use crate::names::{Address, AnyName, LogicalName, Names as Which, Query, Record, Target};
use crate::rpc::Outcome;
use crate::rpc::limits::{Contract, own_contract};
use crate::rpc::transport::{CallError, Reconnecting, remaining, within};

/// What is known longer than this without a word from the name server is looked up before it is used.
const FRESH: Duration = super::POLL_HOLD.saturating_add(Duration::from_secs(1));
/// And no longer than this is waited for that.
const LOOK_UP: Duration = Duration::from_millis(300);
/// A provider that failed is not asked again before this, and twice as long after each further failure.
const REST: Duration = Duration::from_millis(50);
const REST_MAX: Duration = Duration::from_secs(1);
/// An attempt has at least this long, as long as there is time at all.
const ATTEMPT_MIN: Duration = Duration::from_millis(10);
/// Of the time that is left, an attempt that may be repeated takes this part: the next provider has its turn too.
const PART: u32 = 3;

/// What may be sent again after a failure.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Repeat {
    /// What provably never left.
    #[default]
    OnlyUnsent,
    /// Everything: for reads, and for calls with a request id inside.
    Always,
}

/// The stub of one named service: `XClient::from(names.client(name))`. Cheap to clone; its clones share everything.
pub struct Provider<Req, Resp> {
    house: Arc<House<Req, Resp>>,
    contract: Contract,
    repeat: Repeat,
    stale_for: Option<Duration>,
}

struct House<Req, Resp> {
    names: Names,
    name: AnyName,
    view: watch::Receiver<View>,
    clock: Clock,
    lines: Mutex<BTreeMap<Address, Arc<Line<Req, Resp>>>>,
}

type Lines<Req, Resp> = Vec<Arc<Line<Req, Resp>>>;

struct Line<Req, Resp> {
    stub: Reconnecting<Arc<Req>, Resp>,
    calls: AtomicU32,
    rest: Mutex<Rest>,
}

/// How a provider's failures are held against it.
#[derive(Clone, Copy)]
struct Rest {
    until: Moment,
    next: Duration,
}

impl<Req, Resp> Clone for Provider<Req, Resp> {
    fn clone(&self) -> Self {
        Self { house: Arc::clone(&self.house), ..*self }
    }
}

impl<Req, Resp> fmt::Debug for Provider<Req, Resp> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Provider").field("name", &self.house.name).finish_non_exhaustive()
    }
}

impl<Req, Resp> Provider<Req, Resp> {
    pub(super) fn new(names: Names, name: &LogicalName) -> Self {
        let contract = own_contract(name.as_str());
        let name = AnyName::from(name);
        let view = names.view(Query::by_name(Which::Exact(name.clone())));
        let house = House { names, name, view, clock: Clock::start(), lines: Mutex::default() };
        Self { house: Arc::new(house), contract, repeat: Repeat::default(), stale_for: None }
    }

    /// What may be sent again after a failure.
    #[must_use]
    pub fn repeat(self, repeat: Repeat) -> Self {
        Self { repeat, ..self }
    }

    /// The contract that providers must speak; unless told, it is called like the service.
    #[must_use]
    pub fn speaking(self, contract: Contract) -> Self {
        Self { contract, ..self }
    }

    /// How long providers are believed in that no name server vouches for any more; without limit unless told.
    #[must_use]
    pub fn stale_for(self, stale_for: Duration) -> Self {
        Self { stale_for: Some(stale_for), ..self }
    }

    fn unreachable(&self, why: &str) -> CallError {
        let address = self.house.names.servers()[0].clone();
        CallError::Unreachable { address, why: format!("{}: {why}", self.house.name), refused: false }
    }
}

impl<Req, Resp> Provider<Req, Resp>
where
    Req: RequestName + Serialize + Send + Sync + 'static,
    Resp: DeserializeOwned + Send + 'static,
{
    /// Who provides the name, in the order in which to try them: those that rest come last.
    async fn providers(&self, ctx: &Context) -> Result<Lines<Req, Resp>, CallError> {
        let house = &*self.house;
        let view = house.view.borrow().clone();
        let mut records: Vec<Arc<Record>> = view.records.to_vec();
        let age = house.names.age(&view);
        if age.is_some_and(|age| age > FRESH) {
            let time = LOOK_UP.min(remaining(ctx));
            match house.names.find(house.name.clone(), time).await {
                Ok(found) => records = found,
                // Nobody to ask: what was known is better than nothing, as long as the caller thinks so.
                Err(_) => {
                    if let Some(age) = age.filter(|&age| self.stale_for.is_some_and(|limit| age > limit)) {
                        return Err(self.unreachable(&format!("last heard of {age:?} ago")));
                    }
                }
            }
        }
        for record in &records {
            let Target::Service { contract, .. } = &record.target else { continue };
            if contract.as_str() != self.contract.name {
                let why = format!("{} speaks {contract}, not {}", house.name, self.contract.name);
                return Err(CallError::Incompatible { why });
            }
        }
        let mut lines = house.lines();
        let named = |address: &Address| records.iter().any(|record| record.target.address() == Some(address));
        lines.retain(|address, line| named(address) || line.calls.load(Ordering::Relaxed) > 0);
        let in_flight =
            |address: &Address| lines.get(address).map_or(0, |line| line.calls.load(Ordering::Relaxed));
        let order = in_order(&records, in_flight, rand::random());
        let cluster = house.names.known_cluster().unwrap_or(ClusterId::UNSTATED);
        let addresses = order.iter().filter_map(|record| record.target.address());
        let mut chosen: Vec<_> = addresses
            .map(|address| {
                let dial = || Arc::new(Line::new(address, self.contract, cluster));
                Arc::clone(lines.entry(address.clone()).or_insert_with(dial))
            })
            .collect();
        let now = house.clock.now();
        chosen.sort_by_key(|line| line.rest().until > now);
        Ok(chosen)
    }

    /// Waits after all have failed: for news of who provides the name, or a little.
    async fn wait(&self, ctx: &Context, backoff: &mut Backoff) {
        let mut view = self.house.view.clone();
        view.mark_unchanged();
        let pause = backoff.failed(rand::random()).min(remaining(ctx));
        let _ = tokio::time::timeout(pause, view.changed()).await;
    }
}

impl<Req, Resp> House<Req, Resp> {
    fn lines(&self) -> MutexGuard<'_, BTreeMap<Address, Arc<Line<Req, Resp>>>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<Req, Resp> Line<Req, Resp>
where
    Req: RequestName + Serialize + Send + Sync + 'static,
    Resp: DeserializeOwned + Send + 'static,
{
    fn new(address: &Address, contract: Contract, cluster: ClusterId) -> Self {
        Self {
            stub: Reconnecting::new(address.clone(), contract, cluster),
            calls: AtomicU32::new(0),
            rest: Mutex::new(Rest { until: Moment::ORIGIN, next: REST }),
        }
    }

    fn rest(&self) -> Rest {
        *self.rest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set_rest(&self, rest: Rest) {
        *self.rest.lock().unwrap_or_else(PoisonError::into_inner) = rest;
    }

    async fn call(&self, ctx: Context, request: &Arc<Req>) -> Result<Resp, RpcError> {
        let _counted = Counted::new(&self.calls);
        self.stub.call(ctx, Arc::clone(request)).await
    }
}

struct Counted<'a>(&'a AtomicU32);

impl<'a> Counted<'a> {
    fn new(calls: &'a AtomicU32) -> Self {
        calls.fetch_add(1, Ordering::Relaxed);
        Self(calls)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl<Req, Resp> Stub for Provider<Req, Resp>
where
    Req: RequestName + Serialize + Send + Sync + 'static,
    Resp: DeserializeOwned + Send + 'static,
{
    type Req = Req;
    type Resp = Resp;

    async fn call(&self, ctx: Context, request: Req) -> Result<Resp, RpcError> {
        let request = Arc::new(request);
        let clock = self.house.clock;
        let mut backoff = Backoff::up_to(REST_MAX);
        let mut failed = self.unreachable("nobody provides it");
        loop {
            for line in self.providers(&ctx).await.map_err(as_rpc_error)? {
                let mut attempt = ctx;
                if self.repeat == Repeat::Always {
                    let part = (remaining(&ctx) / PART).max(ATTEMPT_MIN);
                    attempt.deadline = within(self.contract, part).deadline.min(ctx.deadline);
                }
                let error = match line.call(attempt, &request).await {
                    Ok(answer) => {
                        line.set_rest(Rest { until: Moment::ORIGIN, next: REST });
                        return Ok(answer);
                    }
                    Err(error) => CallError::from(error),
                };
                let Rest { next, .. } = line.rest();
                line.set_rest(Rest { until: clock.now() + next, next: (next * 2).min(REST_MAX) });
                let known = error.outcome() == Outcome::NoEffect;
                // Nobody else takes more, and what may have run is not sent again unasked.
                let last = matches!(error, CallError::TooLarge { .. });
                if last || !known && self.repeat == Repeat::OnlyUnsent {
                    return Err(as_rpc_error(error));
                }
                // Once an attempt may have run, the call may have.
                if failed.outcome() == Outcome::NoEffect {
                    failed = error;
                }
            }
            if remaining(&ctx).is_zero() {
                return Err(as_rpc_error(failed));
            }
            self.wait(&ctx, &mut backoff).await;
        }
    }
}
