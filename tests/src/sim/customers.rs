//! Customers: they find front ends by name, order, cancel and look, repeat what was not answered under the same id,
//! and write down what they saw.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use common::clock::{Clock, Timestamp};
use common::directory::{Names, View, in_order};
use common::names::{self, Address, AnyName, LogicalName, Query as NameQuery};
use common::replication::{GroupName, RequestId, RequestIdSource, VectorTimestamp};
use common::rpc::Outcome;
use common::rpc::frontend::{FrontendClient, FrontendRequest, FrontendResponse};
use common::rpc::limits::FRONTEND;
use common::rpc::replica::{Consistency, Position, SubmitError};
use common::rpc::transport::{CallError, Reconnecting, within};
use common::services::just_hungry::NAME;
use common::services::just_hungry::command::{Command, Done, Product, Reply, Stock};
use common::services::just_hungry::query::{Answer, Query};
use common::services::{Outcome as Said, decode, encode};
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _};
use tokio::sync::watch;
use tokio::time::sleep;

use crate::history::{Line, Op, Recorder, orders};

/// One call, with all its repeats.
const PATIENCE: Duration = Duration::from_secs(6);
/// One try.
const TRY: Duration = Duration::from_millis(1500);
/// Between two tries.
const PAUSE: Duration = Duration::from_millis(40);
/// What is on the menu, and how much of it: the first is fought over.
pub const MENU: [(&str, u32); 3] = [("Apple", 40), ("Bread", 400), ("Tomato", 100_000)];

/// What customers share with who runs the simulation.
#[derive(Debug, Default)]
pub struct Shop {
    /// Whether the menu is there.
    pub open: Cell<bool>,
    /// Whether they go home.
    pub closing: Cell<bool>,
    /// How many have gone.
    pub gone: Cell<u32>,
    /// Calls begun.
    pub calls: Cell<u64>,
    /// Calls answered.
    pub answered: Cell<u64>,
    /// When the last command was answered.
    pub last_answer: Cell<Duration>,
}

/// A customer's name.
pub fn user(client: u32) -> String {
    format!("customer {client}")
}

/// Since the simulation began, by the clock that all hosts share.
pub fn now() -> Duration {
    turmoil::sim_elapsed().unwrap_or_default()
}

fn nanoseconds() -> u64 {
    u64::try_from(now().as_nanos()).unwrap_or(u64::MAX)
}

type FrontEnd = FrontendClient<Reconnecting<FrontendRequest, FrontendResponse>>;

/// One customer.
pub struct Customer {
    client: u32,
    names: Names,
    group: GroupName,
    view: watch::Receiver<View>,
    connections: RefCell<BTreeMap<Address, FrontEnd>>,
    ids: RequestIdSource,
    /// The service's clock minus ours, in milliseconds.
    ahead: i64,
    chance: SmallRng,
    recorder: Recorder,
    shop: Rc<Shop>,
    /// Orders of ours that were acknowledged and not cancelled.
    standing: Vec<u32>,
    think: Duration,
}

impl Customer {
    /// A customer who asks the name server at `name_server`.
    pub fn new(client: u32, name_server: Address, seed: u64, recorder: Recorder, shop: Rc<Shop>) -> Self {
        let names = Names::new(vec![name_server], "customer");
        let name: LogicalName = NAME.parse().expect("a good name");
        let view = names.view(NameQuery::by_name(names::Names::Exact(AnyName::from(&name))));
        let mut chance = SmallRng::seed_from_u64(seed ^ (u64::from(client) << 32));
        let think = Duration::from_millis(chance.random_range(10..=120));
        Self {
            client,
            names,
            group: NAME.parse().expect("a good name"),
            view,
            connections: RefCell::default(),
            ids: RequestIdSource::default(),
            ahead: 0,
            chance,
            recorder,
            shop,
            standing: Vec::new(),
            think,
        }
    }

    /// Opens the shop, if the first; then buys until it closes.
    pub async fn live(mut self) {
        if self.client == 0 {
            let products = MENU.iter().map(|&(name, stock)| Product {
                name: name.into(),
                price: "1.99".parse().expect("an amount"),
                stock: Stock::Counted(stock),
            });
            let menu = Command::SetCatalogue { products: products.collect() };
            while self.command(Op::Menu, &menu, None).await.is_none() {}
            self.shop.open.set(true);
        }
        while !self.shop.open.get() {
            sleep(PAUSE).await;
        }
        while !self.shop.closing.get() {
            let think = self.think.mul_f64(self.chance.random_range(0.1..2.0));
            sleep(think).await;
            self.act().await;
        }
        self.shop.gone.set(self.shop.gone.get() + 1);
    }

    async fn act(&mut self) {
        match self.chance.random_range(0..100) {
            0..55 => {
                let (item, _) = *MENU.choose(&mut self.chance).expect("there is a menu");
                let order = orders::place(&user(self.client), &[(item, self.chance.random_range(1..=3))]);
                let placed = self.command(Op::Place, &order, None).await;
                let Some((id, reply)) = placed else { return };
                if let Said::Done(Done::Placed { no, .. }) = reply {
                    self.standing.push(no);
                }
                // Somebody who does not trust an answer asks for it again.
                if self.chance.random_bool(0.06) {
                    self.command(Op::Place, &order, Some(id)).await;
                }
            }
            55..68 if !self.standing.is_empty() => {
                let which = self.chance.random_range(0..self.standing.len());
                let no = self.standing.swap_remove(which);
                let cancel = Command::CancelOrder { user: user(self.client), no };
                self.command(Op::Cancel, &cancel, None).await;
            }
            68..84 => {
                let after = self.standing.last().map_or(0, |no| no.saturating_sub(5));
                let query = Query::Orders { user: user(self.client), active_only: false, after, limit: 0 };
                self.query(Op::Orders, &query).await;
            }
            _ => self.query(Op::Stock, &Query::Menu { after: 0, limit: 0 }).await,
        }
    }

    fn id(&mut self) -> RequestId {
        let now = Clock::wall().millis().saturating_add_signed(self.ahead);
        self.ids.next(Timestamp::from_millis(now), self.chance.random())
    }

    /// Whom to call, best first.
    fn front_ends(&mut self) -> Vec<FrontEnd> {
        let records = in_order(&self.view.borrow_and_update().records, |_| 0, self.chance.random());
        let addresses = records.iter().filter_map(|record| record.target.address().cloned());
        let cluster = self.names.known_cluster().unwrap_or(common::ids::ClusterId::UNSTATED);
        let mut connections = self.connections.borrow_mut();
        let connect = |address: Address| {
            let made = || FrontendClient::from(Reconnecting::new(address.clone(), FRONTEND, cluster));
            connections.entry(address.clone()).or_insert_with(made).clone()
        };
        addresses.map(connect).collect()
    }

    /// Sends a command until it is answered, or patience ends; `Some` when the service replied.
    async fn command(
        &mut self,
        op: Op,
        command: &Command,
        id: Option<RequestId>,
    ) -> Option<(RequestId, Reply)> {
        let id = id.unwrap_or_else(|| self.id());
        let payload = encode(command);
        let begun = now();
        let mut line = Line::begun(self.client, "any", op, Some(id), command, nanoseconds());
        self.shop.calls.set(self.shop.calls.get() + 1);
        let mut maybe_ran = false;
        let mut why = "no front end".to_owned();
        let reply = 'calling: loop {
            for front_end in self.front_ends() {
                let call = front_end.execute(
                    within(FRONTEND, TRY),
                    self.group.clone(),
                    id,
                    VectorTimestamp::default(),
                    payload.clone(),
                );
                match call.await {
                    Ok(Ok(done)) => {
                        let reply: Reply = decode(&done.reply).expect("a reply of ours");
                        let Position::Log(at) = done.position else { panic!("a passive group has a log") };
                        line.answered(nanoseconds(), at, &reply);
                        self.shop.answered.set(self.shop.answered.get() + 1);
                        self.shop.last_answer.set(now());
                        break 'calling Some((id, reply));
                    }
                    Ok(Err(error)) => {
                        maybe_ran |= error.outcome() == Outcome::Unknown;
                        why = error.to_string();
                        if let SubmitError::FromTheFuture { now } = error
                            && !maybe_ran
                        {
                            self.correct(now);
                            line.refused(nanoseconds(), &why);
                            break 'calling None;
                        }
                        if matches!(error, SubmitError::Expired { now, .. } if { self.correct(now); true }) {
                            line.lost(&why);
                            break 'calling None;
                        }
                    }
                    Err(error) => {
                        let error = CallError::from(error);
                        maybe_ran |= error.outcome() == Outcome::Unknown;
                        why = error.to_string();
                    }
                }
            }
            if now() > begun + PATIENCE {
                if maybe_ran {
                    line.lost(&why);
                } else {
                    line.refused(nanoseconds(), &why);
                }
                break None;
            }
            sleep(PAUSE).await;
        };
        self.recorder.write(line);
        reply
    }

    fn correct(&mut self, now: Timestamp) {
        let ours = Clock::wall().millis();
        self.ahead = i64::try_from(i128::from(now.millis()) - i128::from(ours)).unwrap_or(0);
        self.ids.reset();
    }

    async fn query(&mut self, op: Op, query: &Query) {
        let payload: Bytes = encode(query);
        let begun = now();
        let mut line = Line::begun(self.client, "any", op, None, query, nanoseconds());
        self.shop.calls.set(self.shop.calls.get() + 1);
        let mut why = "no front end".to_owned();
        'calling: loop {
            for front_end in self.front_ends() {
                let call = front_end.query(
                    within(FRONTEND, TRY),
                    self.group.clone(),
                    VectorTimestamp::default(),
                    Consistency::Linearizable,
                    payload.clone(),
                );
                match call.await {
                    Ok(Ok(answer)) => {
                        let said: Answer = decode(&answer.answer).expect("an answer of ours");
                        let Position::Log(at) = answer.position else { panic!("a passive group has a log") };
                        line.answered(nanoseconds(), at, &said);
                        self.shop.answered.set(self.shop.answered.get() + 1);
                        break 'calling;
                    }
                    Ok(Err(error)) => why = error.to_string(),
                    Err(error) => why = CallError::from(error).to_string(),
                }
            }
            if now() > begun + PATIENCE {
                line.refused(nanoseconds(), &why);
                break;
            }
            sleep(PAUSE).await;
        }
        self.recorder.write(line);
    }
}
