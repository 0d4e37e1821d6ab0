//! Customers: they find front ends by name, order, cancel and look, repeat what was not answered under the same id,
//! and write down what they saw.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use common::names::Address;
use common::replication::{RequestId, VectorTimestamp};
use common::rpc::Outcome;
use common::rpc::limits::FRONTEND;
use common::rpc::replica::{Consistency, Position, SubmitError};
use common::rpc::transport::{CallError, within};
use common::services::just_hungry::NAME;
use common::services::just_hungry::command::{Command, Done, Product, Reply, Stock};
use common::services::just_hungry::query::{Answer, Query};
use common::services::{Outcome as Said, decode, encode};
use rand::Rng as _;
use rand::seq::IndexedRandom as _;
use tokio::time::sleep;

use super::caller::{Caller, PATIENCE, PAUSE, TRY, now};
use crate::history::{Line, Op, Recorder, orders};

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

fn nanoseconds() -> u64 {
    u64::try_from(now().as_nanos()).unwrap_or(u64::MAX)
}

/// One customer.
pub struct Customer {
    client: u32,
    caller: Caller,
    recorder: Recorder,
    shop: Rc<Shop>,
    /// Orders of ours that were acknowledged and not cancelled.
    standing: Vec<u32>,
    think: Duration,
}

impl Customer {
    /// A customer who asks the name server at `name_server`.
    pub fn new(client: u32, name_server: Address, seed: u64, recorder: Recorder, shop: Rc<Shop>) -> Self {
        let mut caller = Caller::new(client, NAME, name_server, seed);
        let think = Duration::from_millis(caller.chance.random_range(10..=120));
        Self { client, caller, recorder, shop, standing: Vec::new(), think }
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
            let think = self.think.mul_f64(self.caller.chance.random_range(0.1..2.0));
            sleep(think).await;
            self.act().await;
        }
        self.shop.gone.set(self.shop.gone.get() + 1);
    }

    async fn act(&mut self) {
        match self.caller.chance.random_range(0..100) {
            0..55 => {
                let (item, _) = *MENU.choose(&mut self.caller.chance).expect("there is a menu");
                let order =
                    orders::place(&user(self.client), &[(item, self.caller.chance.random_range(1..=3))]);
                let placed = self.command(Op::Place, &order, None).await;
                let Some((id, reply)) = placed else { return };
                if let Said::Done(Done::Placed { no, .. }) = reply {
                    self.standing.push(no);
                }
                // Somebody who does not trust an answer asks for it again.
                if self.caller.chance.random_bool(0.06) {
                    self.command(Op::Place, &order, Some(id)).await;
                }
            }
            55..68 if !self.standing.is_empty() => {
                let which = self.caller.chance.random_range(0..self.standing.len());
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

    /// Sends a command until it is answered, or patience ends; `Some` when the service replied.
    async fn command(
        &mut self,
        op: Op,
        command: &Command,
        id: Option<RequestId>,
    ) -> Option<(RequestId, Reply)> {
        let id = id.unwrap_or_else(|| self.caller.id());
        let payload = encode(command);
        let begun = now();
        let mut line = Line::begun(self.client, "any", op, Some(id), command, nanoseconds());
        self.shop.calls.set(self.shop.calls.get() + 1);
        let mut maybe_ran = false;
        let mut why = "no front end".to_owned();
        let reply = 'calling: loop {
            for front_end in self.caller.front_ends() {
                let call = front_end.execute(
                    within(FRONTEND, TRY),
                    self.caller.group.clone(),
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
                            self.caller.correct(now);
                            line.refused(nanoseconds(), &why);
                            break 'calling None;
                        }
                        if matches!(error, SubmitError::Expired { now, .. } if { self.caller.correct(now); true })
                        {
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

    async fn query(&mut self, op: Op, query: &Query) {
        let payload: Bytes = encode(query);
        let begun = now();
        let mut line = Line::begun(self.client, "any", op, None, query, nanoseconds());
        self.shop.calls.set(self.shop.calls.get() + 1);
        let mut why = "no front end".to_owned();
        'calling: loop {
            for front_end in self.caller.front_ends() {
                let call = front_end.query(
                    within(FRONTEND, TRY),
                    self.caller.group.clone(),
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
