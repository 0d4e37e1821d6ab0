//! The stub below every call of a name server: which of them, and over which connection.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::FutureExt as _;
use tarpc::ServerError;
use tarpc::client::RpcError;
use tarpc::client::stub::Stub;
use tarpc::context::Context;
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};
use tracing::{debug, info, warn};

use super::backoff::Backoff;
use crate::clock::{Clock, Moment};
use crate::ids::ClusterId;
use crate::names::{Address, Stamp};
use crate::rpc::limits::NAME_SERVICE;
use crate::rpc::name_service::{Hello, NameServiceRequest, NameServiceResponse, Welcome};
use crate::rpc::transport::{CallError, Connection, Unsent, within};

/// To connect and agree: the next address of the list should have its turn within a call's deadline.
const CONNECT: Duration = Duration::from_secs(1);
/// To be welcomed, once connected.
const HELLO: Duration = Duration::from_secs(1);
/// Somebody else listens there, or another version: that does not change by the second.
const INCOMPATIBLE: Duration = Duration::from_secs(10);
/// A connection on which calls went unanswered for this long may be cut off without a word: the next call takes a new
/// one. Longer than a busy disk's fsync, shorter than a lease.
const SILENT: Duration = Duration::from_millis(400);

/// A request is shared between attempts, not copied.
type Line = Connection<Arc<NameServiceRequest>, NameServiceResponse>;

/// The stub below [`super::NameServer`]: tries each address of the list, says hello on each new connection, keeps it
/// for all callers, and goes on to the next address on failure or when that is another cluster's. It repeats only
/// what provably never left. Cheap to clone; its clones share the connection.
#[derive(Clone)]
pub struct NameServerStub(Arc<Inner>);

struct Inner {
    servers: Arc<[Address]>,
    program: &'static str,
    known: Arc<Known>,
    clock: Clock,
    live: Mutex<Option<Live>>,
    /// Held while dialling: one at a time, and all who wait for it share the outcome.
    dialling: tokio::sync::Mutex<Dialling>,
}

#[derive(Clone)]
struct Live {
    number: u64,
    line: Line,
    /// When the first call left that was not answered, of those since the last that was.
    silent_since: Arc<Mutex<Option<Moment>>>,
}

struct Dialling {
    /// Which address of the list is tried first.
    first: usize,
    places: Vec<Place>,
    /// Of the last connection.
    number: u64,
}

/// One address of the list.
struct Place {
    backoff: Backoff,
    not_before: Moment,
    failed: Option<CallError>,
}

/// What all stubs of a process know together.
pub(super) struct Known {
    cluster: watch::Sender<Option<ClusterId>>,
    /// The newest stamp of that cluster.
    seen: Mutex<Option<Stamp>>,
    /// Whether it was said that no name server answers.
    waiting: AtomicBool,
    /// How far this machine's wall clock was from a name server's at the last hello.
    clock_off: watch::Sender<Option<Duration>>,
}

impl Known {
    pub(super) fn nothing() -> Arc<Self> {
        Arc::new(Self {
            cluster: watch::Sender::new(None),
            seen: Mutex::new(None),
            waiting: AtomicBool::new(false),
            clock_off: watch::Sender::new(None),
        })
    }

    pub(super) fn cluster(&self) -> watch::Receiver<Option<ClusterId>> {
        self.cluster.subscribe()
    }

    pub(super) fn clock_off(&self) -> watch::Receiver<Option<Duration>> {
        self.clock_off.subscribe()
    }

    fn seen(&self) -> Option<Stamp> {
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, stamp: Stamp) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.is_none_or(|seen| stamp.covers(seen)) {
            *seen = Some(stamp);
        }
    }

    /// Whether `cluster` is ours; the first one seen is, from then on.
    fn is_ours(&self, cluster: ClusterId) -> Result<(), ClusterId> {
        let mut ours = cluster;
        self.cluster.send_if_modified(|known| {
            let news = known.is_none();
            ours = *known.get_or_insert(cluster);
            news
        });
        if ours == cluster { Ok(()) } else { Err(ours) }
    }
}

impl NameServerStub {
    pub(super) fn new(servers: Arc<[Address]>, program: &'static str, known: Arc<Known>) -> Self {
        assert!(!servers.is_empty(), "there is at least one name server to ask");
        let place =
            || Place { backoff: Backoff::up_to(Backoff::CAP), not_before: Moment::ORIGIN, failed: None };
        let places = servers.iter().map(|_| place()).collect();
        Self(Arc::new(Inner {
            servers,
            program,
            known,
            clock: Clock::start(),
            live: Mutex::new(None),
            dialling: tokio::sync::Mutex::new(Dialling { first: 0, places, number: 0 }),
        }))
    }

    /// Another stub, with a connection of its own: for another thread's runtime, on which nothing here may wait.
    pub(super) fn on_its_own(&self) -> Self {
        Self::new(Arc::clone(&self.0.servers), self.0.program, Arc::clone(&self.0.known))
    }

    /// The newest stamp that any answer bore.
    pub(super) fn seen(&self) -> Option<Stamp> {
        self.0.known.seen()
    }

    /// Lets go of the connection: the next call dials. Calls under way keep it until they are answered or dropped.
    pub(super) fn hang_up(&self) {
        *self.0.live.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Connects if there is no connection.
    pub(super) async fn greet(&self) -> Result<(), CallError> {
        self.line(deadline_of(&within(NAME_SERVICE, CONNECT + HELLO))).await.map(drop)
    }

    /// Waits after a failed call: until an address of the list may be dialled again, and the caller's own back-off.
    /// Says once that somebody waits for a name server, and for which.
    pub(super) async fn wait_after(&self, error: &CallError, backoff: &mut Backoff) {
        let inner = &*self.0;
        let own = match error {
            // The connection's end is news; the dial that follows has a back-off of its own.
            CallError::ConnectionLost | CallError::Unreachable { .. } | CallError::Incompatible { .. } => {
                Duration::ZERO
            }
            CallError::Busy { retry_in } => backoff.failed(rand::random()).max(*retry_in),
            CallError::TooLarge { .. } | CallError::Unacknowledged | CallError::Internal { .. } => {
                backoff.failed(rand::random())
            }
        };
        let nobody = matches!(error, CallError::Unreachable { .. } | CallError::Incompatible { .. });
        if nobody && !inner.known.waiting.swap(true, Ordering::Relaxed) {
            let addresses = listed(inner.servers.iter());
            info!(%addresses, %error, "waiting for a name server");
        }
        let turn = if inner.current().is_some() {
            Moment::ORIGIN
        } else {
            let dialling = inner.dialling.lock().await;
            dialling.places.iter().map(|place| place.not_before).min().unwrap_or_default()
        };
        tokio::time::sleep_until(inner.clock.instant(turn.max(inner.clock.now() + own))).await;
    }

    /// The connection, made if there is none.
    async fn line(&self, deadline: Instant) -> Result<Live, CallError> {
        let inner = &*self.0;
        if let Some(live) = inner.current() {
            return Ok(live);
        }
        let late = |_| unreachable(&inner.servers[0], "no connection within the deadline");
        let mut dialling = timeout_at(deadline, inner.dialling.lock()).await.map_err(late)?;
        if let Some(live) = inner.current() {
            return Ok(live);
        }
        let count = inner.servers.len();
        let first = dialling.first;
        for place in (first..first + count).map(|place| place % count) {
            if inner.clock.now() < dialling.places[place].not_before {
                continue;
            }
            // Also when the caller's deadline cuts the attempt short: else a silent first address would keep a caller
            // with short deadlines for ever.
            dialling.first = (place + 1) % count;
            let address = &inner.servers[place];
            match inner.dial(address, deadline).await {
                Ok(line) => {
                    dialling.first = place;
                    dialling.number += 1;
                    let place = &mut dialling.places[place];
                    place.backoff.succeeded();
                    place.failed = None;
                    let live = Live { number: dialling.number, line, silent_since: Arc::default() };
                    *inner.live.lock().unwrap_or_else(PoisonError::into_inner) = Some(live.clone());
                    if inner.known.waiting.swap(false, Ordering::Relaxed) {
                        info!(%address, "a name server answers");
                    }
                    return Ok(live);
                }
                Err(error) => {
                    debug!(%address, %error, "a name server does not answer");
                    let place = &mut dialling.places[place];
                    let wait = match &error {
                        CallError::Incompatible { .. } => {
                            warn!(%address, %error, "not a name server of ours");
                            INCOMPATIBLE
                        }
                        _ => place.backoff.failed(rand::random()),
                    };
                    place.not_before = inner.clock.now() + wait;
                    place.failed = Some(error);
                }
            }
        }
        Err(all_failed(&inner.servers, dialling.places.iter().map(|place| place.failed.as_ref())))
    }
}

impl Live {
    fn heard(&self) {
        *self.silent_since.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Notes that a call that left at `begun` was not answered; returns how long none was.
    fn not_heard(&self, begun: Moment, now: Moment) -> Duration {
        let mut since = self.silent_since.lock().unwrap_or_else(PoisonError::into_inner);
        now.since(*since.get_or_insert(begun))
    }
}

impl Inner {
    fn current(&self) -> Option<Live> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Takes no new call there; calls under way go on.
    fn let_go(&self, number: u64) {
        let mut live = self.live.lock().unwrap_or_else(PoisonError::into_inner);
        if live.as_ref().is_some_and(|live| live.number == number) {
            *live = None;
        }
    }

    /// Connects, and says hello.
    async fn dial(&self, address: &Address, deadline: Instant) -> Result<Line, CallError> {
        let cluster = *self.known.cluster.borrow();
        let silent = |_| unreachable(address, "no answer");
        let until = deadline.min(deadline_of(&within(NAME_SERVICE, CONNECT)));
        let dial = Line::dial(address, NAME_SERVICE, cluster.unwrap_or(ClusterId::UNSTATED), CONNECT);
        let line = timeout_at(until, dial).await.map_err(silent)??;
        let who = Hello {
            cluster,
            seen: self.known.seen(),
            program: self.program.to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        };
        let hello = line.call(within(NAME_SERVICE, HELLO), Arc::new(NameServiceRequest::Hello { who }));
        let answer = timeout_at(deadline, hello).await.map_err(silent)?;
        let Welcome { stamp, now, .. } = match answer {
            Ok(NameServiceResponse::Hello(Ok(welcome))) => welcome,
            Ok(NameServiceResponse::Hello(Err(refused))) => {
                return Err(CallError::Incompatible { why: refused.to_string() });
            }
            Ok(_) => return Err(CallError::Incompatible { why: "it answered another question".to_owned() }),
            // Nothing was asked for yet: whatever went wrong had no effect.
            Err(error) => return Err(unreachable(address, &CallError::from(error).to_string())),
        };
        self.known.is_ours(stamp.cluster).map_err(|ours| CallError::Incompatible {
            why: format!("this is the name server of cluster {}, not of {ours}", stamp.cluster),
        })?;
        self.known.note(stamp);
        let off = Clock::wall().millis().abs_diff(now.millis());
        self.known.clock_off.send_replace(Some(Duration::from_millis(off)));
        Ok(line)
    }
}

impl Stub for NameServerStub {
    type Req = NameServiceRequest;
    type Resp = NameServiceResponse;

    async fn call(&self, ctx: Context, request: NameServiceRequest) -> Result<NameServiceResponse, RpcError> {
        let inner = &*self.0;
        let request = Arc::new(request);
        let deadline = deadline_of(&ctx);
        // A connection that is gone, then each address once.
        let mut attempts = 1 + inner.servers.len();
        loop {
            let live = self.line(deadline).await.map_err(as_rpc_error)?;
            let begun = inner.clock.now();
            let error = match live.line.call(ctx, Arc::clone(&request)).await {
                Ok(answer) => {
                    live.heard();
                    if let Some(stamp) = stamp_of(&answer) {
                        inner.known.note(stamp);
                    }
                    return Ok(answer);
                }
                Err(error) => CallError::from(error),
            };
            attempts -= 1;
            let silent =
                error == CallError::Unacknowledged && live.not_heard(begun, inner.clock.now()) >= SILENT;
            if silent || live.line.closed().now_or_never().is_some() {
                inner.let_go(live.number);
                if matches!(error, CallError::Unreachable { .. }) && attempts > 0 {
                    continue;
                }
            }
            return Err(as_rpc_error(error));
        }
    }
}

impl fmt::Debug for NameServerStub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("NameServerStub").field(&self.0.servers).finish()
    }
}

fn deadline_of(ctx: &Context) -> Instant {
    Instant::from_std(ctx.deadline)
}

fn unreachable(address: &Address, why: &str) -> CallError {
    CallError::Unreachable { address: address.clone(), why: why.to_owned(), refused: false }
}

fn listed<T: fmt::Display>(items: impl Iterator<Item = T>) -> String {
    items.map(|item| item.to_string()).collect::<Vec<_>>().join(", ")
}

/// One error that names every address tried.
fn all_failed<'a>(servers: &[Address], failed: impl Iterator<Item = Option<&'a CallError>>) -> CallError {
    let mut failed: Vec<_> = servers.iter().zip(failed).collect();
    if let [(_, Some(only))] = failed[..] {
        return only.clone();
    }
    let (address, first) = failed.remove(0);
    let why = |error: Option<&CallError>| match error {
        Some(CallError::Unreachable { why, .. } | CallError::Incompatible { why }) => why.clone(),
        Some(other) => other.to_string(),
        None => "not tried".to_owned(),
    };
    let rest = listed(failed.iter().map(|(address, error)| format!("{address}: {}", why(*error))));
    let refused =
        |error: Option<&CallError>| matches!(error, Some(CallError::Unreachable { refused: true, .. }));
    CallError::Unreachable {
        address: address.clone(),
        why: format!("{}; {rest}", why(first)),
        refused: refused(first) && failed.iter().all(|(_, error)| refused(*error)),
    }
}

/// A generated client can return tarpc's error only; ours travels inside, and comes out by `CallError::from`.
pub(super) fn as_rpc_error(error: CallError) -> RpcError {
    match error {
        CallError::ConnectionLost => RpcError::Shutdown,
        CallError::Unacknowledged => RpcError::DeadlineExceeded,
        CallError::Internal { why } => RpcError::Server(ServerError::new(std::io::ErrorKind::Other, why)),
        none => Unsent(none).into(),
    }
}

/// When an answer was true.
fn stamp_of(answer: &NameServiceResponse) -> Option<Stamp> {
    use NameServiceResponse as Of;
    match answer {
        Of::Hello(answer) => answer.as_ref().ok().map(|welcome| welcome.stamp),
        Of::Grant(answer) => answer.as_ref().ok().map(|answer| answer.stamp),
        Of::Renew(answer) => Some(answer.stamp),
        Of::Revoke(answer) => answer.as_ref().ok().map(|answer| answer.stamp),
        Of::Register(answer) => answer.as_ref().ok().map(|answer| answer.stamp),
        Of::Update(answer) => answer.as_ref().ok().map(|answer| answer.stamp),
        Of::Unregister(answer) => answer.as_ref().ok().map(|answer| answer.stamp),
        Of::Lookup(answer) => answer.as_ref().ok().map(|answer| answer.stamp),
        Of::LookupMany(answer) => Some(answer.stamp),
        Of::List(answer) => answer.as_ref().ok().map(|answer| answer.stamp),
        Of::Watch(answer) => answer.as_ref().ok().map(|answer| answer.stamp),
        Of::Group(answer) => answer.as_ref().ok().map(|answer| answer.stamp),
        Of::ChangeGroup(answer) => answer.as_ref().ok().map(|answer| answer.stamp),
        Of::WatchGroup(answer) => answer.as_ref().ok().map(|answer| answer.stamp),
        Of::Status(status) => Some(status.stamp),
        Of::RegisterNext(answer) => answer.as_ref().ok().map(|answer| answer.stamp),
        Of::Snapshot(answer) => answer.as_ref().ok().map(|info| info.stamp),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_cluster_seen_is_ours_and_another_is_not() {
        let known = Known::nothing();
        let (ours, other) = (ClusterId::from_bytes([1; 16]), ClusterId::from_bytes([2; 16]));
        assert_eq!(known.is_ours(ours), Ok(()));
        assert_eq!(known.is_ours(other), Err(ours));
        assert_eq!(*known.cluster().borrow(), Some(ours));
    }

    #[test]
    fn an_error_names_every_address_tried() {
        let servers: Vec<Address> = ["127.0.0.1:1", "127.0.0.1:2"].map(|text| text.parse().unwrap()).to_vec();
        let refused = CallError::Unreachable {
            address: servers[0].clone(),
            why: "connection refused".to_owned(),
            refused: true,
        };
        let stray = CallError::Incompatible { why: "of another cluster".to_owned() };
        assert_eq!(all_failed(&servers[..1], [Some(&refused)].into_iter()), refused);
        let both = all_failed(&servers, [Some(&refused), Some(&stray)].into_iter());
        assert_eq!(
            both.to_string(),
            "127.0.0.1:1 cannot be reached (connection refused; 127.0.0.1:2: of another cluster)"
        );
        assert!(matches!(both, CallError::Unreachable { refused: false, .. }));
    }
}
