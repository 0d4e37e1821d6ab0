//! Customers who order while things go wrong, and the books that are compared with every replica's afterwards.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use client::errors::Failure;
use client::just_hungry::{JustHungry, Order, Placed};
use client::service::{Patience, Service};
use common::clock::{Clock, Moment};
use common::directory::Names;
use common::ids::ClusterId;
use common::names::Address;
use common::replication::{RequestId, VectorTimestamp};
use common::rpc::limits::REPLICA;
use common::rpc::replica::{Consistency, ReplicaClient};
use common::rpc::transport::{Reconnecting, within};
use common::services::just_hungry::NAME;
use common::services::just_hungry::command::{Command, Item, Lines, Product, Reply, Stock};
use common::services::just_hungry::query::{self, Answer, Query};
use common::services::money::Pence;
use common::services::{Outcome, decode, encode};
use futures::future::join_all;
use tokio::sync::watch;
use tokio::task::LocalSet;

use crate::process::PATIENCE;

/// What everybody orders, so that its stock tells how much was ordered.
const ITEM: &str = "Apple";

/// More than any test orders.
const STOCK: u32 = 1_000_000;

/// Runs `work` to its end on a runtime of its own.
///
/// # Errors
/// As `work`.
pub fn run<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, work)
}

/// The name server at `address`, for a program that tests.
pub fn names(address: SocketAddr) -> Names {
    Names::new(vec![Address::from(address)], "cluster-tests")
}

/// The shop's service as a patient client sees it: no fail-over takes that long.
pub fn service(names: &Names) -> Service {
    Service::new(names, NAME).patient(Patience { timeout: PATIENCE, ..Patience::default() })
}

/// One of what everybody orders.
pub fn order(user: &str) -> Order {
    let lines = Lines::Given(vec![Item { item: ITEM.into(), qty: 1 }]);
    Order { postcode: Some("DH1 3LE".into()), ..Order::of(user, lines) }
}

/// One order, as its customer saw it.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// Who.
    pub user: String,
    /// By the load's clock.
    pub begun: Moment,
    /// By the load's clock.
    pub ended: Moment,
    /// What came of it.
    pub outcome: Result<Placed, Failure>,
}

/// Customers who order one after another, each on a thread of all of them.
#[derive(Debug)]
pub struct Load {
    stop: Arc<AtomicBool>,
    acknowledged: watch::Receiver<u64>,
    thread: JoinHandle<Result<Vec<Attempt>>>,
    clock: Clock,
}

impl Load {
    /// Fills the shop, and lets `customers` order until [`Load::stop`].
    pub fn start(name_server: SocketAddr, customers: usize) -> Self {
        let clock = Clock::start();
        let stop = Arc::new(AtomicBool::new(false));
        let (count, acknowledged) = watch::channel(0);
        let until = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            run(async move {
                let names = names(name_server);
                fill(&service(&names), STOCK).await?;
                let customer = async |number: usize| {
                    let shop = JustHungry::over(service(&names));
                    let user = format!("customer {number}");
                    let mut attempts = Vec::new();
                    while !until.load(Ordering::Relaxed) {
                        let begun = clock.now();
                        let outcome = shop.place(order(&user)).await;
                        if outcome.is_ok() {
                            count.send_modify(|count| *count += 1);
                        }
                        attempts.push(Attempt { user: user.clone(), begun, ended: clock.now(), outcome });
                    }
                    attempts
                };
                Ok(join_all((0..customers).map(customer)).await.into_iter().flatten().collect())
            })
        });
        Self { stop, acknowledged, thread, clock }
    }

    /// The clock that the attempts are dated by.
    pub fn clock(&self) -> Clock {
        self.clock
    }

    /// How many orders were acknowledged.
    pub fn acknowledged(&self) -> u64 {
        *self.acknowledged.borrow()
    }

    /// Returns when `more` orders were acknowledged from now on.
    ///
    /// # Errors
    /// When that takes more than [`PATIENCE`].
    pub fn await_acknowledged(&mut self, more: u64) -> Result<()> {
        let goal = self.acknowledged() + more;
        let acknowledged = &mut self.acknowledged;
        let reached = run(async move {
            let reached = acknowledged.wait_for(|count| *count >= goal);
            match tokio::time::timeout(PATIENCE, reached).await {
                Ok(Ok(_)) => Ok(()),
                Ok(Err(_)) => bail!("the load has ended"),
                Err(_) => bail!("no {more} orders within {PATIENCE:?}"),
            }
        });
        reached.with_context(|| format!("{} orders so far", self.acknowledged()))
    }

    /// Lets the customers finish, and gives what they saw.
    ///
    /// # Errors
    /// When the shop could not be filled at first.
    pub fn stop(self) -> Result<Vec<Attempt>> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| anyhow!("the load panicked"))?
    }
}

/// Puts the one thing that is sold on the menu, and so much of it in stock.
///
/// # Errors
/// When the shop does not take it.
pub async fn fill(service: &Service, stock: u32) -> Result<()> {
    let product = Product { name: ITEM.into(), price: Pence::new(199), stock: Stock::Counted(stock) };
    let reply = service.execute(encode(&Command::SetCatalogue { products: vec![product] })).await;
    let (_, reply) = reply.map_err(|failure| anyhow!("{failure:?}"))?;
    let reply: Reply = decode(&reply)?;
    ensure!(matches!(reply, Outcome::Done(_)), "the menu was refused: {reply:?}");
    Ok(())
}

/// What one replica holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Books {
    /// How many are left.
    pub stock: u32,
    /// Every order of the customers.
    pub orders: Vec<query::Order>,
}

/// Reads the books of the replica at `address`, from its own state.
///
/// # Errors
/// When it does not answer.
pub async fn books(address: SocketAddr, users: &BTreeSet<&str>) -> Result<Books> {
    let replica = ReplicaClient::from(Reconnecting::new(address.into(), REPLICA, ClusterId::UNSTATED));
    let ask = async |query: Query| -> Result<Answer> {
        let service = NAME.parse().expect("a service of ours has a good name");
        // Whatever it holds: it is compared with the others'.
        let consistency = Consistency::StaleOk { max_age: Duration::from_hours(1) };
        let payload = encode(&query);
        let asked = replica.query(
            within(REPLICA, PATIENCE),
            service,
            VectorTimestamp::default(),
            consistency,
            payload,
        );
        let answer = asked.await.map_err(|error| anyhow!("{address}: {error}"))??;
        Ok(decode(&answer.answer)?)
    };
    let Answer::Menu(menu) = ask(Query::Menu { after: 0, limit: 0 }).await? else { bail!("no menu") };
    let stock = match menu.entries.iter().find(|item| item.name == ITEM).context("it is on the menu")?.stock {
        Stock::Counted(left) => left,
        Stock::Unlimited => bail!("its stock was counted"),
    };
    let mut orders = Vec::new();
    for user in users {
        let mut after = 0;
        loop {
            let query = Query::Orders { user: (*user).to_owned(), active_only: false, after, limit: 0 };
            let page = match ask(query).await? {
                Answer::Orders(page) => page,
                Answer::Refused(_) if after == 0 => break,
                other => bail!("no orders but {other:?}"),
            };
            after = page.entries.last().map_or(after, |order| order.no);
            orders.extend(page.entries);
            if !page.more {
                break;
            }
        }
    }
    Ok(Books { stock, orders })
}

/// Compares what the customers saw with what every replica holds.
///
/// # Errors
/// With the first thing that is wrong.
pub fn audit(attempts: &[Attempt], replicas: &[SocketAddr]) -> Result<()> {
    let users: BTreeSet<_> = attempts.iter().map(|attempt| attempt.user.as_str()).collect();
    for address in replicas {
        let books = run(books(*address, &users))?;
        compare(attempts, &books, STOCK).with_context(|| format!("the replica at {address}"))?;
    }
    Ok(())
}

/// Nothing acknowledged is lost, nothing was placed twice, nothing was invented, and what was in stock is in the orders
/// or still there.
fn compare(attempts: &[Attempt], books: &Books, stock: u32) -> Result<()> {
    let owned = books.orders.iter().filter_map(|order| Some((order.no, order.owner.as_ref()?)));
    let held: BTreeMap<_, _> = owned.map(|(no, owner)| ((owner.user.as_str(), no), owner)).collect();
    ensure!(held.len() == books.orders.len(), "two orders stand under one number");
    let requests: BTreeSet<Option<RequestId>> = held.values().map(|owner| owner.request).collect();
    ensure!(requests.len() == held.len(), "a command was carried out twice");

    let mut acknowledged = BTreeSet::new();
    for attempt in attempts {
        let Ok(placed) = &attempt.outcome else { continue };
        let order = held.get(&(attempt.user.as_str(), placed.no));
        ensure!(order.is_some_and(|order| order.id == placed.id), "{placed:?} of {} is lost", attempt.user);
        ensure!(acknowledged.insert(placed.id), "{placed:?} was acknowledged twice");
    }
    let unknown = attempts.len() - acknowledged.len();
    let possible = acknowledged.len()..=acknowledged.len() + unknown;
    ensure!(
        possible.contains(&held.len()),
        "{} orders, {} acknowledged, {unknown} not",
        held.len(),
        acknowledged.len()
    );

    let active = books.orders.iter().filter(|order| order.status == query::Status::Active);
    let sold: u32 = active.flat_map(|order| &order.lines).map(|line| line.qty).sum();
    ensure!(books.stock + sold == stock, "{} left and {sold} sold of {stock}", books.stock);
    Ok(())
}

/// The failures among `attempts`.
pub fn failures(attempts: &[Attempt]) -> Vec<&Failure> {
    attempts.iter().filter_map(|attempt| attempt.outcome.as_ref().err()).collect()
}

#[cfg(test)]
mod tests {
    use common::clock::Timestamp;
    use common::services::just_hungry::command::{Delivery, Source, Verdict};
    use common::services::just_hungry::query::{OrderLine, Owner, Status};

    use super::*;

    fn attempt(no: u32) -> Attempt {
        let placed = Placed { no, id: no.into(), total: Pence::ZERO, placed: Timestamp::default() };
        Attempt { user: "ann".into(), begun: Moment::ORIGIN, ended: Moment::ORIGIN, outcome: Ok(placed) }
    }

    fn held(no: u32) -> query::Order {
        let request = RequestId::from_parts(Timestamp::from_millis(no.into()), 0, 0);
        let postcode = "DH1 3LE".parse().unwrap();
        query::Order {
            no,
            owner: Some(Owner { user: "ann".into(), id: no.into(), request: Some(request) }),
            status: Status::Active,
            placed: Timestamp::default(),
            deliver_by: Timestamp::default(),
            delivery: Delivery::NextDay,
            lines: vec![OrderLine { item: ITEM.into(), qty: 1, price: Pence::ZERO }],
            items: Pence::ZERO,
            fee: Pence::ZERO,
            tip: Pence::ZERO,
            total: Pence::ZERO,
            verdict: Verdict { postcode, source: Source::Offline, town: None, checked: Timestamp::default() },
        }
    }

    /// What the comparison says of ten in stock, two attempts and these books.
    fn said(stock: u32, orders: Vec<query::Order>) -> String {
        match compare(&[attempt(1), attempt(2)], &Books { stock, orders }, 10) {
            Ok(()) => String::new(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn each_planted_wrong_is_found_in_the_books() {
        assert_eq!(said(8, vec![held(1), held(2)]), "");
        assert!(said(9, vec![held(1)]).contains("is lost"));
        assert!(said(7, vec![held(1), held(2), held(3)]).contains("3 orders, 2 acknowledged"));
        assert!(said(9, vec![held(1), held(2)]).contains("9 left and 2 sold"));
        assert!(said(7, vec![held(1), held(2), held(2)]).contains("two orders"));
        let mut twice = held(3);
        twice.owner = twice.owner.map(|owner| Owner { request: held(2).owner.unwrap().request, ..owner });
        assert!(said(7, vec![held(1), held(2), twice]).contains("carried out twice"));
    }
}
