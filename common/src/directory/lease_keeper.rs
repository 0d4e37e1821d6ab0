//! The shell of the lease: a thread and a runtime of its own, so that a program that keeps its main runtime busy
//! loses no name by it.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::StreamExt as _;
use futures::future::{BoxFuture, FutureExt as _};
use futures::stream::FuturesUnordered;
use tokio::sync::{broadcast, mpsc, oneshot};
use tracing::{debug, error, info, warn};

use super::lease_core::{Answer, Call, Effect, LeaseCore};
use super::stub::NameServerStub;
use super::{NameError, NameServer, PATIENCE};
use crate::clock::Clock;
use crate::ids::InstanceId;
use crate::machine::Thread;
use crate::names::{AnyName, Entry, Expect, Holder, LogicalName, OwnerKey, Patch, Stamped, Tenure};
use crate::rpc::limits::NAME_SERVICE;
use crate::rpc::name_service::{NameServiceClient, RegisterError, Registered, UpdateError};
use crate::rpc::transport::{CallError, within};

/// Requests of the program that wait for the keeper's thread; it takes each at once.
const REQUESTS_MAX: usize = 64;
/// Events that a slow listener may be behind.
const EVENTS_MAX: usize = 64;
/// To give the lease back. Without success it runs out by itself.
const LEAVE: Duration = Duration::from_secs(1);

/// Keeps a process's lease and the names under it. Dropped without [`LeaseKeeper::leave`], it stops renewing, and
/// the names stand until the lease runs out.
#[derive(Debug)]
pub struct LeaseKeeper {
    requests: mpsc::Sender<Request>,
    events: broadcast::Sender<LeaseEvent>,
}

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

/// Where somebody waits.
type Reply<T, E> = oneshot::Sender<Result<T, E>>;

enum Request {
    Register(LogicalName, Entry, Reply<Registered, RegisterError>),
    Update(LogicalName, Patch, Reply<(), NameError<UpdateError>>),
    Leave(oneshot::Sender<()>),
}

impl LeaseKeeper {
    pub(super) fn start(
        stub: NameServerStub,
        ttl: Duration,
        instance: InstanceId,
        owner: Option<OwnerKey>,
    ) -> Self {
        let (requests, inbox) = mpsc::channel(REQUESTS_MAX);
        let (events, _) = broadcast::channel(EVENTS_MAX);
        let told = events.clone();
        let shell = move || Shell {
            server: NameServiceClient::from(stub),
            clock: Clock::start(),
            core: LeaseCore::new(ttl),
            instance,
            owner,
            under_way: FuturesUnordered::new(),
            events: told,
            registering: BTreeMap::new(),
            updating: BTreeMap::new(),
        };
        Thread::start("lease".to_owned(), || shell().run(inbox))
            .expect("a machine that cannot start a thread runs no server");
        Self { requests, events }
    }

    /// Registers `name` and keeps it; waits for a name server as long as it takes.
    ///
    /// # Errors
    /// What the name server refuses for good: `Held` by a living process for more than 2 TTL, `Reserved`, limits.
    pub async fn register(&self, name: LogicalName, entry: Entry) -> Result<Registered, RegisterError> {
        let (reply, answer) = oneshot::channel();
        self.post(Request::Register(name, entry, reply)).await;
        answer.await.expect("the keeper's thread answers as long as its handle lives")
    }

    /// Changes tags, readiness or weight of a name that it keeps; kept over a restart of the name server too. A
    /// change that fails on the way is tried again, whether the caller does or not.
    ///
    /// # Errors
    /// On the way (also when the name does not stand just now), or the name server's.
    pub async fn update(&self, name: LogicalName, patch: Patch) -> Result<(), NameError<UpdateError>> {
        let (reply, answer) = oneshot::channel();
        self.post(Request::Update(name, patch, reply)).await;
        match tokio::time::timeout(PATIENCE, answer).await {
            Ok(answer) => answer.expect("the keeper's thread answers as long as its handle lives"),
            Err(_) => Err(NameError::Call(CallError::Unacknowledged)),
        }
    }

    /// What happens to the lease, from now on.
    pub fn events(&self) -> broadcast::Receiver<LeaseEvent> {
        self.events.subscribe()
    }

    /// Gives the lease back, so that the names are gone at once; waits 1 s for that at most.
    pub async fn leave(self) {
        let (reply, done) = oneshot::channel();
        self.post(Request::Leave(reply)).await;
        // Nobody answers only when the thread is gone already.
        let _ = done.await;
    }

    async fn post(&self, request: Request) {
        assert!(self.requests.send(request).await.is_ok(), "the keeper's thread lives as long as its handle");
    }
}

/// Carries out what the core decides.
struct Shell {
    server: NameServer,
    clock: Clock,
    core: LeaseCore,
    instance: InstanceId,
    owner: Option<OwnerKey>,
    under_way: FuturesUnordered<BoxFuture<'static, Answer>>,
    events: broadcast::Sender<LeaseEvent>,
    registering: BTreeMap<LogicalName, Vec<Reply<Registered, RegisterError>>>,
    updating: BTreeMap<LogicalName, Vec<Reply<(), NameError<UpdateError>>>>,
}

impl Shell {
    async fn run(mut self, mut inbox: mpsc::Receiver<Request>) {
        loop {
            // After every wait, whatever it was for: a process that was stopped finds out here.
            let effects = self.core.tick(self.clock.now());
            self.carry_out(effects);
            let clock = self.clock;
            let wakes_at = self.core.wakes_at();
            let alarm = async move {
                match wakes_at {
                    Some(at) => tokio::time::sleep_until(clock.instant(at)).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                Some(answer) = self.under_way.next(), if !self.under_way.is_empty() => {
                    let effects = self.core.answered(self.clock.now(), rand::random(), answer);
                    self.carry_out(effects);
                }
                request = inbox.recv() => match request {
                    Some(Request::Register(name, entry, reply)) => {
                        self.registering.entry(name.clone()).or_default().push(reply);
                        let effects = self.core.keep(self.clock.now(), name, entry);
                        self.carry_out(effects);
                    }
                    Some(Request::Update(name, patch, reply)) => {
                        self.updating.entry(name.clone()).or_default().push(reply);
                        let effects = self.core.update(self.clock.now(), &name, patch);
                        self.carry_out(effects);
                    }
                    Some(Request::Leave(reply)) => {
                        self.revoke().await;
                        let _ = reply.send(());
                        return;
                    }
                    None => return,
                },
                () = alarm => {}
            }
        }
    }

    fn carry_out(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Send(call, time) => {
                    let call = perform(self.server.clone(), self.instance, self.owner, call, time);
                    self.under_way.push(call.boxed());
                }
                Effect::Tell(event) => {
                    match &event {
                        LeaseEvent::Lapsed => warn!("the lease may have run out; going on to renew it"),
                        LeaseEvent::Regained => info!("all names stand again"),
                        LeaseEvent::Taken { name, by } => error!(%name, %by, "a name of ours was taken"),
                    }
                    // Nobody may be listening.
                    let _ = self.events.send(event);
                }
                Effect::Registered(name, result) => {
                    match &result {
                        Ok(registered) => debug!(%name, epoch = %registered.epoch.0, "registered"),
                        Err(error) => debug!(%name, %error, "a registration was refused"),
                    }
                    for reply in self.registering.remove(&name).unwrap_or_default() {
                        let _ = reply.send(result.clone());
                    }
                }
                Effect::Updated(name, result) => {
                    for reply in self.updating.remove(&name).unwrap_or_default() {
                        let _ = reply.send(result.clone());
                    }
                }
            }
        }
    }

    /// Gives the lease back. A registration on its way finds no lease.
    async fn revoke(&self) {
        let Some(lease) = self.core.lease() else { return };
        match self.server.revoke(within(NAME_SERVICE, LEAVE), lease).await {
            Ok(Ok(removed)) => debug!(names = removed.value, "the lease is given back"),
            Ok(Err(error)) => warn!(%error, "the lease is not given back; it will run out"),
            Err(error) => {
                let error = CallError::from(error);
                warn!(%error, "the lease is not given back; it will run out");
            }
        }
    }
}

/// One call, and its answer as the core reads it.
async fn perform(
    server: NameServer,
    instance: InstanceId,
    owner: Option<OwnerKey>,
    call: Call,
    time: Duration,
) -> Answer {
    let context = within(NAME_SERVICE, time);
    let on_the_way = CallError::from;
    match call {
        Call::Grant { ttl } => {
            Answer::Granted(NameError::flatten(server.grant(context, ttl, instance, owner).await))
        }
        Call::Renew { lease } => {
            let answer = server.renew(context, vec![lease]).await.map_err(on_the_way);
            Answer::Renewed(answer.and_then(|mut answer| {
                let value = answer
                    .value
                    .pop()
                    .ok_or_else(|| CallError::Internal { why: "no word about the lease".to_owned() })?;
                Ok(Stamped { stamp: answer.stamp, value })
            }))
        }
        Call::Register { lease, name, entry } => {
            let tenure = Tenure::Leased(lease);
            let answer = server.register(context, tenure, name.clone(), entry, Expect::Free).await;
            Answer::Registered(name, NameError::flatten(answer))
        }
        Call::Update { lease, name, patch } => {
            let answer = server.update(context, Holder::Lease(lease), AnyName::from(&name), patch).await;
            Answer::Updated(name, NameError::flatten(answer))
        }
    }
}
