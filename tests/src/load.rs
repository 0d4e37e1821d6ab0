//! Customers who order, cancel, look and repeat themselves while things go wrong, and write down what they saw.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};
use bytes::Bytes;
use common::clock::Clock;
use common::ids::ClusterId;
use common::replication::{GroupName, LogPoint, RequestId, RequestIdSource, VectorTimestamp};
use common::rpc::Outcome;
use common::rpc::frontend::{FrontendClient, FrontendRequest, FrontendResponse};
use common::rpc::limits::{FRONTEND, REPLICA};
use common::rpc::replica::{
    Answer as Answered, Consistency, Done as Acknowledged, Position, QueryError, ReplicaClient,
    ReplicaRequest, ReplicaResponse, SubmitError,
};
use common::rpc::transport::{CallError, Reconnecting, within};
use common::services::just_hungry::command::{Command, Done, Product, Reply, Stock};
use common::services::just_hungry::query::{Answer, Query};
use common::services::just_hungry::{JustHungry, NAME, start::Start};
use common::services::money::Pence;
use common::services::{Outcome as Reaction, decode, encode};
use futures::future::join_all;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use tokio::time::sleep;

use crate::history::orders::place;
use crate::history::{Line, Op, Recorder};
use crate::process::PATIENCE;
use crate::shop::run;

/// Never sold out.
const PLENTY: &str = "Apple";
/// Sold out most of the time; what is cancelled is sold again.
const SCARCE: &str = "Truffle";
/// What is raced for.
pub const HOT: &str = "Ticket";

/// How many of each there are.
const MENU: [(&str, u32); 3] = [(PLENTY, 1_000_000), (SCARCE, 12), (HOT, HOT_STOCK)];
/// How many tickets there are.
pub const HOT_STOCK: u32 = 50;

/// One try: longer than most fail-overs, so that many calls live through one.
const TRY_TIME: Duration = Duration::from_secs(2);
/// A command that is not answered by then is left for later.
const COMMAND_TIME: Duration = Duration::from_secs(6);
/// Before the same door is tried again.
const RETRY_PAUSE: Duration = Duration::from_millis(20);
/// So short a deadline that the answer most often comes too late: the caller must send the same id again.
const FORCED: Duration = Duration::from_millis(2);
/// Between two calls of one client at most, in milliseconds.
const THINK_MILLIS: u64 = 24;

/// How customers behave.
#[derive(Clone, Debug)]
pub struct Manner {
    /// How many.
    pub clients: u32,
    /// Of those, so many talk to single replicas instead of front ends, one after the other to each.
    pub attached: u32,
    /// What they do by chance comes from this.
    pub seed: u64,
    /// Whether they begin with a race for the tickets.
    pub race: bool,
}

/// Whom customers can call, by name. Who restarts has another address.
#[derive(Clone, Debug, Default)]
pub struct Doors(Arc<Mutex<BTreeMap<String, SocketAddr>>>);

impl Doors {
    /// Puts a door where it is now.
    pub fn put(&self, name: &str, address: SocketAddr) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned(), address);
    }

    fn of(&self, attached: bool) -> Vec<(String, SocketAddr)> {
        let doors = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let fits = doors.iter().filter(|(name, _)| name.starts_with("replica") == attached);
        fits.map(|(name, address)| (name.clone(), *address)).collect()
    }
}

/// Counts, while customers are at it.
#[derive(Debug, Default)]
pub struct Counts {
    /// Calls begun.
    pub calls: AtomicU64,
    /// Calls answered.
    pub answered: AtomicU64,
    /// Calls under way.
    pub under_way: AtomicU64,
    /// How often the same command was sent again.
    pub retries: AtomicU64,
}

/// Customers at work.
pub struct Load {
    doors: Doors,
    counts: Arc<Counts>,
    calm: Arc<AtomicBool>,
    stop: Arc<AtomicBool>,
    recorder: Recorder,
    clock: Clock,
    thread: JoinHandle<Result<()>>,
}

impl Load {
    /// Fills the shop and lets customers in until [`Load::stop`].
    pub fn start(manner: Manner, doors: Doors, recorder: Recorder) -> Self {
        let (counts, calm, stop) = (Arc::new(Counts::default()), Arc::default(), Arc::default());
        let clock = Clock::start();
        let shared = Shared {
            doors: doors.clone(),
            counts: Arc::clone(&counts),
            calm: Arc::clone(&calm),
            stop: Arc::clone(&stop),
            recorder: recorder.clone(),
            clock,
        };
        let thread = std::thread::spawn(move || run(customers(manner, shared)));
        Self { doors, counts, calm, stop, recorder, clock, thread }
    }

    /// The doors, for whoever moves them.
    pub fn doors(&self) -> &Doors {
        &self.doors
    }

    /// The counts so far.
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Nanoseconds of the clock that the history is dated by.
    pub fn now(&self) -> u64 {
        nanos(self.clock)
    }

    /// Returns when `more` calls were answered from now on.
    ///
    /// # Errors
    /// When that takes more than [`PATIENCE`].
    #[expect(clippy::disallowed_methods, reason = "between two looks at a count of another thread")]
    pub fn await_answered(&self, more: u64) -> Result<()> {
        let goal = self.counts.answered.load(Ordering::Relaxed) + more;
        let begun = self.clock.now();
        while self.counts.answered.load(Ordering::Relaxed) < goal {
            if self.clock.now().since(begun) > PATIENCE || self.thread.is_finished() {
                bail!("no {more} more answers within {PATIENCE:?}");
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    /// Lets customers finish what they began, now that all is well; most ask again about what they never heard of.
    ///
    /// # Errors
    /// When the shop could not be filled at first.
    pub fn stop(self) -> Result<Recorder> {
        self.calm.store(true, Ordering::Relaxed);
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| anyhow!("the load panicked"))??;
        Ok(self.recorder)
    }
}

fn nanos(clock: Clock) -> u64 {
    u64::try_from(clock.now().since_origin().as_nanos()).unwrap_or(u64::MAX)
}

/// The state that such a history begins with.
pub fn first_state() -> JustHungry {
    JustHungry::new(Start::Demo).expect("the demonstration's menu is good")
}

/// How a customer is called.
fn user(client: u32) -> String {
    format!("customer {client}")
}

#[derive(Clone)]
struct Shared {
    doors: Doors,
    counts: Arc<Counts>,
    calm: Arc<AtomicBool>,
    stop: Arc<AtomicBool>,
    recorder: Recorder,
    clock: Clock,
}

async fn customers(manner: Manner, shared: Shared) -> Result<()> {
    let mut keeper = Customer::new(0, false, manner.seed, shared.clone());
    let products = MENU.map(|(name, stock)| Product {
        name: name.into(),
        price: Pence::new(199),
        stock: Stock::Counted(stock),
    });
    let (line, reply) =
        keeper.command(Op::Menu, Command::SetCatalogue { products: products.into() }, true).await;
    let filled = matches!(reply, Some((_, Reaction::Done(Done::Catalogue { .. }))));
    shared.recorder.write(line);
    anyhow::ensure!(filled, "the shop takes no menu");
    let customer = async |number: u32| {
        let attached = number > manner.clients - manner.attached;
        let mut customer = Customer::new(number, attached, manner.seed, shared.clone());
        if manner.race {
            customer.race().await;
        }
        while !shared.stop.load(Ordering::Relaxed) {
            customer.visit().await;
        }
        customer.settle().await;
    };
    join_all((1..=manner.clients).map(customer)).await;
    Ok(())
}

/// A connection to a door.
#[derive(Clone)]
enum Door {
    Front(FrontendClient<Reconnecting<FrontendRequest, FrontendResponse>>),
    Replica(ReplicaClient<Reconnecting<ReplicaRequest, ReplicaResponse>>),
}

impl Door {
    fn new(address: SocketAddr, attached: bool) -> Self {
        let (address, cluster) = (address.into(), ClusterId::UNSTATED);
        if attached {
            Self::Replica(ReplicaClient::from(Reconnecting::new(address, REPLICA, cluster)))
        } else {
            Self::Front(FrontendClient::from(Reconnecting::new(address, FRONTEND, cluster)))
        }
    }

    async fn execute(
        &self,
        id: RequestId,
        payload: Bytes,
        time: Duration,
    ) -> Result<Result<Acknowledged, SubmitError>, CallError> {
        let (service, prev) = (group(), VectorTimestamp::default());
        let said = match self {
            Self::Front(front) => front.execute(within(FRONTEND, time), service, id, prev, payload).await,
            Self::Replica(replica) => {
                replica.execute(within(REPLICA, time), service, id, prev, Bytes::new(), payload).await
            }
        };
        said.map_err(CallError::from)
    }

    async fn query(&self, payload: Bytes, time: Duration) -> Result<Result<Answered, QueryError>, CallError> {
        let (service, prev, fresh) = (group(), VectorTimestamp::default(), Consistency::Linearizable);
        let said = match self {
            Self::Front(front) => front.query(within(FRONTEND, time), service, prev, fresh, payload).await,
            Self::Replica(replica) => {
                replica.query(within(REPLICA, time), service, prev, fresh, payload).await
            }
        };
        said.map_err(CallError::from)
    }
}

fn group() -> GroupName {
    NAME.parse().expect("a service of ours has a good name")
}

/// One customer: one call at a time.
struct Customer {
    number: u32,
    attached: bool,
    rng: StdRng,
    ids: RequestIdSource,
    doors: BTreeMap<SocketAddr, Door>,
    shared: Shared,
    /// Numbers of own orders, acknowledged and not cancelled.
    active: Vec<u32>,
    last_no: u32,
    /// The last command that was answered, and its answer.
    last: Option<Line>,
    /// Commands that nobody knows about yet.
    open: Vec<(Line, Command)>,
}

impl Customer {
    fn new(number: u32, attached: bool, seed: u64, shared: Shared) -> Self {
        Self {
            number,
            attached,
            rng: StdRng::seed_from_u64(seed ^ (u64::from(number) << 32)),
            ids: RequestIdSource::default(),
            doors: BTreeMap::new(),
            shared,
            active: Vec::new(),
            last_no: 0,
            last: None,
            open: Vec::new(),
        }
    }

    /// Some door, by its name; none while all are down.
    fn door(&mut self) -> Option<(String, Door)> {
        let doors = self.shared.doors.of(self.attached);
        if doors.is_empty() {
            return None;
        }
        let (name, address) = doors[self.rng.random_range(0..doors.len())].clone();
        let attached = self.attached;
        let door = self.doors.entry(address).or_insert_with(|| Door::new(address, attached)).clone();
        Some((name, door))
    }

    async fn think(&mut self) {
        let pause = self.rng.random_range(0..=THINK_MILLIS);
        sleep(Duration::from_millis(pause)).await;
    }

    /// One thing that a customer does.
    async fn visit(&mut self) {
        self.think().await;
        let user = user(self.number);
        match self.rng.random_range(0..100) {
            0..48 => self.order(PLENTY).await,
            48..62 => self.order(SCARCE).await,
            62..72 => {
                if self.active.is_empty() {
                    return;
                }
                let which = self.rng.random_range(0..self.active.len());
                let no = self.active.swap_remove(which);
                let (line, reply) = self.command(Op::Cancel, Command::CancelOrder { user, no }, false).await;
                self.keep(line, reply.is_some(), &Command::CancelOrder { user: self::user(self.number), no });
            }
            72..84 => self.look(Op::Stock, Query::Menu { after: 0, limit: 0 }).await,
            84..95 => {
                let after = self.last_no.saturating_sub(self.rng.random_range(0..12));
                self.look(Op::Orders, Query::Orders { user, active_only: false, after, limit: 20 }).await;
            }
            _ => self.repeat().await,
        }
    }

    async fn order(&mut self, item: &str) {
        let qty = if item == PLENTY { self.rng.random_range(1..3) } else { 1 };
        let command = place(&user(self.number), &[(item, qty)]);
        let (line, reply) = self.command(Op::Place, command.clone(), false).await;
        if let Some((_, Reaction::Done(Done::Placed { no, .. }))) = reply {
            self.active.push(no);
            self.last_no = self.last_no.max(no);
        }
        self.keep(line, reply.is_some(), &command);
    }

    /// Writes a line down, unless its outcome may still become known.
    fn keep(&mut self, line: Line, answered: bool, command: &Command) {
        if answered {
            self.last = Some(line.clone());
        }
        if line.ok.is_none() {
            self.open.push((line, command.clone()));
        } else {
            self.shared.recorder.write(line);
        }
    }

    /// The last command once more, with its id: the same answer, and nothing else happens.
    async fn repeat(&mut self) {
        let Some(last) = self.last.clone() else { return };
        let (Some(id), Ok(command)) = (last.id, last.args::<Command>()) else { return };
        let line = Line::begun(self.number, "", last.op, Some(id), &command, nanos(self.shared.clock));
        let (mut line, reply) = self.deliver(line, id, &command, COMMAND_TIME).await;
        if reply.is_none() && line.ok.is_none() {
            line.lost("the repeat was not answered");
        }
        // No more than the first time: unknown says nothing new, and "no effect" is of this copy only.
        if reply.is_some() {
            self.shared.recorder.write(line);
        }
    }

    /// A command, until it is answered or its time is over.
    async fn command(
        &mut self,
        op: Op,
        command: Command,
        patient: bool,
    ) -> (Line, Option<(LogPoint, Reply)>) {
        let id = self.ids.next(Clock::wall(), self.rng.random());
        let line = Line::begun(self.number, "", op, Some(id), &command, nanos(self.shared.clock));
        self.deliver(line, id, &command, if patient { PATIENCE } else { COMMAND_TIME }).await
    }

    async fn deliver(
        &mut self,
        mut line: Line,
        id: RequestId,
        command: &Command,
        patience: Duration,
    ) -> (Line, Option<(LogPoint, Reply)>) {
        let shared = self.shared.clone();
        let payload = encode(command);
        let deadline = shared.clock.now() + patience;
        // Some give up at once when they are told that nothing happened.
        let gives_up = self.rng.random_ratio(1, 2) && patience < PATIENCE;
        let mut forced = self.rng.random_ratio(1, 30);
        let mut maybe_ran = false;
        let _under_way = UnderWay::new(&shared.counts);
        let mut tries = 0;
        loop {
            let left = deadline.since(shared.clock.now());
            if left.is_zero() {
                if maybe_ran {
                    line.lost("no answer in time");
                } else {
                    line.refused(nanos(shared.clock), "nobody took it in");
                }
                return (line, None);
            }
            let Some((name, door)) = self.door() else {
                sleep(RETRY_PAUSE).await;
                continue;
            };
            line.session = name;
            if tries > 0 {
                shared.counts.retries.fetch_add(1, Ordering::Relaxed);
            }
            tries += 1;
            let time = if std::mem::take(&mut forced) { FORCED } else { TRY_TIME.min(left) };
            let (outcome, why) = match door.execute(id, payload.clone(), time).await {
                Ok(Ok(done)) => {
                    let Position::Log(at) = done.position else { panic!("a passive group has a log") };
                    let reply: Reply = decode(&done.reply).expect("a reply of this service");
                    line.answered(nanos(shared.clock), at, &reply);
                    shared.counts.answered.fetch_add(1, Ordering::Relaxed);
                    return (line, Some((at, reply)));
                }
                Ok(Err(error)) => (error.outcome(), error.to_string()),
                Err(error) => (error.outcome(), error.to_string()),
            };
            maybe_ran |= outcome == Outcome::Unknown;
            if !maybe_ran && gives_up {
                line.refused(nanos(shared.clock), &why);
                return (line, None);
            }
            if self.attached {
                // Which replica leads is for others to find out.
                self.think().await;
            }
            sleep(RETRY_PAUSE).await;
        }
    }

    async fn look(&mut self, op: Op, query: Query) {
        let shared = self.shared.clone();
        let Some((name, door)) = self.door() else { return };
        let _under_way = UnderWay::new(&shared.counts);
        let mut line = Line::begun(self.number, &name, op, None, &query, nanos(shared.clock));
        match door.query(encode(&query), TRY_TIME).await {
            Ok(Ok(said)) => {
                let Position::Log(at) = said.position else { panic!("a passive group has a log") };
                let answer: Answer = decode(&said.answer).expect("an answer of this service");
                line.answered(nanos(shared.clock), at, &answer);
                shared.counts.answered.fetch_add(1, Ordering::Relaxed);
            }
            Ok(Err(error)) => line.refused(nanos(shared.clock), &error.to_string()),
            Err(error) => line.refused(nanos(shared.clock), &error.to_string()),
        }
        shared.recorder.write(line);
    }

    /// Buys tickets until there are none, and asks again until every answer is known.
    async fn race(&mut self) {
        loop {
            let command = place(&user(self.number), &[(HOT, 1)]);
            let (line, reply) = self.command(Op::Place, command, true).await;
            let stopped = line.ok.is_none() || matches!(reply, Some((_, Reaction::Refused(_))));
            self.shared.recorder.write(line);
            if let Some((_, Reaction::Done(Done::Placed { no, .. }))) = reply {
                self.last_no = self.last_no.max(no);
            }
            if stopped {
                return;
            }
        }
    }

    /// Asks again about what was never answered; now and then not.
    async fn settle(&mut self) {
        for (line, command) in std::mem::take(&mut self.open) {
            let asks = self.rng.random_ratio(4, 5) && self.shared.calm.load(Ordering::Relaxed);
            let line = match line.id.filter(|_| asks) {
                Some(id) => {
                    let lost = line.clone();
                    let (line, reply) = self.deliver(line, id, &command, COMMAND_TIME).await;
                    if reply.is_some() { line } else { lost }
                }
                None => line,
            };
            self.shared.recorder.write(line);
        }
    }
}

/// Counts a call while it is under way.
struct UnderWay<'a>(&'a Counts);

impl<'a> UnderWay<'a> {
    fn new(counts: &'a Counts) -> Self {
        counts.calls.fetch_add(1, Ordering::Relaxed);
        counts.under_way.fetch_add(1, Ordering::Relaxed);
        Self(counts)
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Reads everything that one replica holds, as `final` lines.
///
/// # Errors
/// When it does not answer.
pub async fn last_word(name: &str, address: SocketAddr, clients: u32, clock: u64) -> Result<Vec<Line>> {
    let replica = ReplicaClient::from(Reconnecting::new(address.into(), REPLICA, ClusterId::UNSTATED));
    let ask = async |query: &Query| -> Result<(Line, Answer)> {
        let whatever = Consistency::StaleOk { max_age: Duration::from_hours(1) };
        let asked = replica.query(
            within(REPLICA, PATIENCE),
            group(),
            VectorTimestamp::default(),
            whatever,
            encode(query),
        );
        let said = asked.await.map_err(|error| anyhow!("{name}: {error}"))??;
        let Position::Log(at) = said.position else { panic!("a passive group has a log") };
        let answer: Answer = decode(&said.answer)?;
        let mut line = Line::begun(0, name, Op::Final, None, query, clock);
        line.answered(clock, at, &answer);
        Ok((line, answer))
    };
    let mut lines = vec![ask(&Query::Menu { after: 0, limit: 0 }).await?.0];
    for client in 1..=clients {
        let mut after = 0;
        loop {
            let query = Query::Orders { user: user(client), active_only: false, after, limit: 0 };
            let (line, answer) = ask(&query).await?;
            lines.push(line);
            let Answer::Orders(page) = answer else { break };
            after = page.entries.last().map_or(after, |order| order.no);
            if !page.more {
                break;
            }
        }
    }
    Ok(lines)
}

/// Which replica leads, and in which epoch, by their own word; the newest epoch's.
///
/// # Errors
/// When none says so.
pub async fn leader(replicas: &[(usize, SocketAddr)]) -> Result<(usize, u64)> {
    let ask = async |(number, address): &(usize, SocketAddr)| {
        let replica = ReplicaClient::from(Reconnecting::new((*address).into(), REPLICA, ClusterId::UNSTATED));
        let said = replica.status(within(REPLICA, Duration::from_millis(500))).await.ok()?;
        let member = said.into_iter().find(|member| member.service.to_string() == NAME)?;
        let leads = member.role == common::rpc::replica::Role::Primary;
        leads.then(|| (*number, member.config.map_or(0, |config| config.epoch.0)))
    };
    let said = join_all(replicas.iter().map(ask)).await;
    said.into_iter().flatten().max_by_key(|(_, epoch)| *epoch).context("nobody leads")
}
