//! Customers in a closed loop: each sends its next order when the last one was acknowledged. They speak the contract
//! itself, so that little of the machine goes to them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Result, anyhow, bail, ensure};
use bytes::Bytes;
use common::clock::{Clock, Moment};
use common::ids::ClusterId;
use common::replication::{Epoch, RequestId, RequestIdSource, VectorTimestamp};
use common::rpc::frontend::FrontendClient;
use common::rpc::limits::{Contract, FRONTEND, REPLICA};
use common::rpc::replica::{Done, Position, ReplicaClient, SubmitError};
use common::rpc::transport::{Reconnecting, within};
use common::services::encode;
use common::services::just_hungry::NAME;
use common::services::just_hungry::command::{
    Command, Delivery, Facts, Item, Lines, Product, Source, Stock, Verdict,
};
use common::services::money::Pence;
use futures::future::join_all;

use super::Spread;
use crate::process::PATIENCE;
use crate::shop::run;

/// Whom the customers speak to.
#[derive(Clone, Copy, Debug)]
pub enum Door {
    /// A front end, as customers do.
    FrontEnd(SocketAddr),
    /// The primary itself, with a front end's word on the postcode: to fill a group fast.
    Primary(SocketAddr),
}

/// What is sold: never out of stock.
const ITEM: &str = "Apple";
/// Customers whose calls share one connection.
const PER_CONNECTION: usize = 32;
/// A customer who was refused for the moment comes back after this.
const AGAIN: Duration = Duration::from_millis(5);
/// Users behind each customer.
const USERS: u64 = 50;

/// One order, from its first sending to its acknowledgement.
#[derive(Clone, Copy, Debug)]
pub struct Placed {
    /// By the crowd's clock.
    pub begun: Moment,
    /// By the crowd's clock.
    pub ended: Moment,
    /// The epoch in which it was acknowledged.
    pub epoch: Epoch,
}

/// Customers at work, on a thread of their own.
#[derive(Debug)]
pub struct Crowd {
    clock: Clock,
    stop: Arc<AtomicBool>,
    count: Arc<AtomicU64>,
    thread: JoinHandle<Result<Vec<Placed>>>,
}

impl Crowd {
    /// Lets `customers` order until [`Crowd::stop`], or until `limit` orders; each waits for `pause` between two, in the
    /// mean.
    pub fn start(door: Door, customers: usize, pause: Duration, limit: u64) -> Self {
        let (clock, stop, count) =
            (Clock::start(), Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (until, placed) = (stop.clone(), count.clone());
        let thread = std::thread::spawn(move || {
            run(async move {
                let connections = customers.div_ceil(PER_CONNECTION);
                let lines: Vec<Line> = (0..connections).map(|_| Line::to(door)).collect();
                let begun = AtomicU64::new(0);
                let customer = async |number: usize| {
                    let line = &lines[number % connections];
                    let mut ids = RequestIdSource::default();
                    let mut orders = Vec::new();
                    while !until.load(Ordering::Relaxed) && begun.fetch_add(1, Ordering::Relaxed) < limit {
                        let user = format!("customer {number}.{}", orders.len() as u64 % USERS);
                        let id = ids.next(Clock::wall(), rand::random());
                        let begun = clock.now();
                        let epoch = line.place(id, &user).await?;
                        orders.push(Placed { begun, ended: clock.now(), epoch });
                        placed.fetch_add(1, Ordering::Relaxed);
                        if !pause.is_zero() {
                            // Not in step: else an order is under way for a small part of the time.
                            tokio::time::sleep(pause.mul_f64(2.0 * rand::random::<f64>())).await;
                        }
                    }
                    Ok(orders)
                };
                let all: Result<Vec<_>> = join_all((0..customers).map(customer)).await.into_iter().collect();
                Ok(all?.into_iter().flatten().collect())
            })
        });
        Self { clock, stop, count, thread }
    }

    /// The clock that the orders are dated by.
    pub fn clock(&self) -> Clock {
        self.clock
    }

    /// Orders acknowledged so far.
    pub fn acknowledged(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    /// Whether all orders were placed, or the customers have given up.
    pub fn is_done(&self) -> bool {
        self.thread.is_finished()
    }

    /// Returns when so many more orders were acknowledged.
    ///
    /// # Errors
    /// When the customers have given up.
    pub fn await_acknowledged(&self, more: u64) -> Result<()> {
        let goal = self.acknowledged() + more;
        while self.acknowledged() < goal {
            ensure!(!self.is_done(), "the customers have ended at {}", self.acknowledged());
            wait(Duration::from_millis(1))?;
        }
        Ok(())
    }

    /// Lets the customers finish, and gives what they saw, in the order of the acknowledgements.
    ///
    /// # Errors
    /// When an order got a final refusal.
    pub fn stop(self) -> Result<Vec<Placed>> {
        self.stop.store(true, Ordering::Relaxed);
        self.finish()
    }

    /// Waits until all orders are placed.
    ///
    /// # Errors
    /// As [`Crowd::stop`].
    pub fn finish(self) -> Result<Vec<Placed>> {
        let mut placed = self.thread.join().map_err(|_| anyhow!("the crowd panicked"))??;
        placed.sort_unstable_by_key(|placed| placed.ended);
        Ok(placed)
    }
}

/// How long customers waited, and how long nobody was acknowledged at a stretch.
pub fn judge(placed: &[Placed], from: Moment, to: Moment) -> (Spread, Duration) {
    let within = |placed: &&Placed| placed.ended >= from && placed.ended <= to;
    let waits = Spread::of(placed.iter().filter(within).map(|placed| placed.ended.since(placed.begun)));
    (waits, silence(placed, from, to))
}

/// The longest time between two acknowledgements from `from` to `to`, both ends counted as one.
pub fn silence(placed: &[Placed], from: Moment, to: Moment) -> Duration {
    let mut last = from;
    let mut longest = Duration::ZERO;
    for at in placed.iter().map(|placed| placed.ended).filter(|&at| at > from && at < to).chain([to]) {
        longest = longest.max(at.since(last));
        last = at;
    }
    longest
}

/// The first acknowledgement in a later epoch than what was acknowledged by `at`; `None`: there is none.
pub fn next_epoch(placed: &[Placed], at: Moment) -> Option<Moment> {
    let before = placed.iter().take_while(|placed| placed.ended <= at).map(|placed| placed.epoch).max()?;
    placed.iter().find(|placed| placed.epoch > before).map(|placed| placed.ended)
}

/// Puts the one thing that is sold on the menu.
///
/// # Errors
/// When the shop does not take it.
pub fn open_shop(door: Door) -> Result<()> {
    let product = Product { name: ITEM.into(), price: Pence::new(199), stock: Stock::Unlimited };
    let id = RequestIdSource::default().next(Clock::wall(), rand::random());
    let command = Command::SetCatalogue { products: vec![product] };
    run(async { Line::to(door).execute(id, Bytes::new(), encode(&command)).await.map(drop) })
}

/// Waits, on a runtime of its own.
///
/// # Errors
/// When there is none.
pub fn wait(time: Duration) -> Result<()> {
    run(async {
        tokio::time::sleep(time).await;
        Ok(())
    })
}

/// A connection.
enum Line {
    FrontEnd(
        FrontendClient<
            Reconnecting<common::rpc::frontend::FrontendRequest, common::rpc::frontend::FrontendResponse>,
        >,
    ),
    Primary(
        ReplicaClient<
            Reconnecting<common::rpc::replica::ReplicaRequest, common::rpc::replica::ReplicaResponse>,
        >,
    ),
}

impl Line {
    fn to(door: Door) -> Self {
        let line = |address: SocketAddr, contract: Contract| (address.into(), contract, ClusterId::UNSTATED);
        match door {
            Door::FrontEnd(address) => {
                let (address, contract, cluster) = line(address, FRONTEND);
                Self::FrontEnd(FrontendClient::from(Reconnecting::new(address, contract, cluster)))
            }
            Door::Primary(address) => {
                let (address, contract, cluster) = line(address, REPLICA);
                Self::Primary(ReplicaClient::from(Reconnecting::new(address, contract, cluster)))
            }
        }
    }

    async fn place(&self, id: RequestId, user: &str) -> Result<Epoch> {
        let lines = Lines::Given(vec![Item { item: ITEM.into(), qty: 1 }]);
        let (postcode, tip) = ("DH1 3LE", Pence::ZERO);
        let command = Command::PlaceOrder {
            user: user.into(),
            lines,
            delivery: Delivery::NextDay,
            tip,
            postcode: Some(postcode.into()),
            strict: false,
            expected: None,
        };
        let facts = match self {
            Self::FrontEnd(_) => Bytes::new(),
            Self::Primary(_) => {
                let (postcode, checked) = (postcode.parse()?, Clock::wall());
                let verdict = Verdict { postcode, source: Source::Offline, town: None, checked };
                encode(&Facts { verdict: Some(verdict), ..Facts::default() })
            }
        };
        self.execute(id, facts, encode(&command)).await
    }

    /// Sends a command until it is acknowledged, and says in which epoch that was.
    async fn execute(&self, id: RequestId, facts: Bytes, payload: Bytes) -> Result<Epoch> {
        let clock = Clock::start();
        let service = || NAME.parse().expect("a service of ours has a good name");
        let mut last = String::new();
        while clock.now().since_origin() < PATIENCE {
            let prev = VectorTimestamp::default();
            let answer: Result<Result<Done, SubmitError>, _> = match self {
                Self::FrontEnd(line) => {
                    line.execute(within(FRONTEND, PATIENCE), service(), id, prev, payload.clone()).await
                }
                Self::Primary(line) => {
                    let context = within(REPLICA, PATIENCE);
                    line.execute(context, service(), id, prev, facts.clone(), payload.clone()).await
                }
            };
            last = match answer {
                Ok(Ok(done)) => {
                    let Position::Log(at) = done.position else { panic!("a passive group has a log") };
                    return Ok(at.epoch);
                }
                Ok(Err(error @ (SubmitError::Reused | SubmitError::Expired { .. }))) => bail!("{error}"),
                Ok(Err(error)) => error.to_string(),
                Err(error) => error.to_string(),
            };
            tokio::time::sleep(AGAIN).await;
        }
        bail!("no acknowledgement within {PATIENCE:?}: {last}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_counts_from_the_beginning_to_the_end() {
        let at = |ms: u64| Moment::ORIGIN + Duration::from_millis(ms);
        let placed = |ended: u64, epoch: u64| Placed { begun: at(0), ended: at(ended), epoch: Epoch(epoch) };
        let all = [placed(10, 1), placed(20, 1), placed(55, 2), placed(60, 2)];
        let silence = |from: u64, to: u64| silence(&all, at(from), at(to)).as_millis();
        assert_eq!(silence(0, 60), 35);
        assert_eq!(silence(20, 50), 30);
        assert_eq!(silence(55, 100), 40);
        assert_eq!(silence(0, 20), 10);
        assert_eq!(next_epoch(&all, at(15)), Some(at(55)));
        assert_eq!(next_epoch(&all, at(55)), None, "no later epoch was seen");
    }
}
