//! What is kept, and what commands do to it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::basket::{self, Line, Wanted};
use super::bounds::{
    ADDRESS_CHARS_MAX, CUSTOMERS_MAX, MOTD_CHARS_MAX, ORDERS_MAX, PERSON_CHARS_MAX, TIP_MAX, TOWN_CHARS_MAX,
};
use super::catalogue::{Catalogue, ProductKey, number};
use super::command::{Change, Command, Delivery, Done, Facts, Lines, Product, Stock, Verdict};
use super::order::{Destination, Order};
use super::query::{Details, OrderLine, Quote, Status};
use super::refusal::{Field, Refusal, Store, Why};
use crate::clock::Timestamp;
use crate::services::Applied;
use crate::services::money::Pence;
use crate::services::postcode::Postcode;
use crate::services::text;
use crate::services::user_code::UserCode;

/// The state of the service, and the rules by which commands change it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JustHungry {
    pub(super) motd: String,
    pub(super) catalogue: Catalogue,
    pub(super) customers: BTreeMap<UserCode, Customer>,
    pub(super) orders: BTreeMap<u64, Order>,
    pub(super) index: Index,
}

/// Somebody who has a basket, details or orders.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Customer {
    pub(super) details: Option<Details>,
    pub(super) basket: Wanted,
    /// The number of the last order; 0: none yet.
    pub(super) last_no: u32,
}

/// Where orders are found; made of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Index {
    /// A user's orders: number 1 stands first.
    pub(super) by_user: BTreeMap<UserCode, Vec<u64>>,
    /// A postcode's, oldest first.
    pub(super) by_postcode: BTreeMap<Postcode, Vec<u64>>,
}

impl Index {
    pub(super) fn insert(&mut self, id: u64, order: &Order) {
        self.by_user.entry(order.user.clone()).or_default().push(id);
        self.by_postcode.entry(order.destination.verdict.postcode).or_default().push(id);
    }
}

impl JustHungry {
    /// Runs a command: checks every rule in order, then changes the state in one step.
    pub(super) fn run(&mut self, applied: Applied, facts: Facts, command: Command) -> Result<Done, Refusal> {
        match command {
            Command::SetMotd { text } => {
                self.motd = read(Field::Motd, &text, MOTD_CHARS_MAX)?;
                Ok(Done::Motd)
            }
            Command::SetCatalogue { products } => self.set_catalogue(products),
            Command::SetDetails { user, first, last, phone, address, postcode } => {
                let user = read_user(&user)?;
                let given =
                    |field, text: Option<String>, max| text.map(|text| read(field, &text, max)).transpose();
                let first = given(Field::First, first, PERSON_CHARS_MAX)?;
                let last = given(Field::Last, last, PERSON_CHARS_MAX)?;
                let no_number = Refusal::Invalid { field: Field::Phone, at: None, why: Why::Phone };
                let phone = phone.map(|_| facts.phone.ok_or(no_number)).transpose()?;
                let address = given(Field::Address, address, ADDRESS_CHARS_MAX)?;
                let judged = |text: String| judge(&text, facts.verdict, applied.time);
                let verdict = postcode.map(judged).transpose()?;
                self.set_details(user, Details { first, last, phone, address, verdict })
            }
            Command::ChangeBasket { user, change } => self.change_basket(read_user(&user)?, change),
            Command::PlaceOrder { user, lines, delivery, tip, postcode, strict, expected } => {
                let user = read_user(&user)?;
                let (wanted, quote) = self.quote(&user, &lines, delivery, tip)?;
                let verdict = postcode.map(|text| judge(&text, facts.verdict, applied.time)).transpose()?;
                let destination = self.destination(&user, verdict)?;
                if (strict || facts.strict) && !destination.verdict.is_valid() {
                    return Err(Refusal::PostcodeUnconfirmed { postcode: destination.verdict.postcode });
                }
                if let Some(expected) = expected.filter(|&expected| expected != quote.total) {
                    return Err(Refusal::TotalChanged { expected, total: quote.total });
                }
                self.check_stock(&wanted)?;
                let no = self.customers.get(&user).map_or(0, |customer| customer.last_no) + 1;
                let order = Order {
                    user: user.clone(),
                    no,
                    status: Status::Active,
                    placed: applied.time,
                    delivery,
                    tip,
                    lines: quote.lines,
                    destination,
                    request: Some(applied.request),
                };
                let id = self.place(order)?;
                for line in wanted.lines() {
                    self.catalogue.take(&line.key, line.qty);
                }
                if let (Lines::Basket, Some(customer)) = (lines, self.customers.get_mut(&user)) {
                    customer.basket.clear();
                }
                Ok(Done::Placed { no, id, total: quote.total, placed: applied.time })
            }
            Command::CancelOrder { user, no } => self.cancel(&read_user(&user)?, no),
        }
    }

    fn set_catalogue(&mut self, products: Vec<Product>) -> Result<Done, Refusal> {
        let count = number(products.len());
        self.catalogue = Catalogue::new(products)?;
        Ok(Done::Catalogue { count })
    }

    fn set_details(&mut self, user: UserCode, given: Details) -> Result<Done, Refusal> {
        let details = self.customer(user)?.details.get_or_insert_default();
        let stays = std::mem::take(details);
        *details = Details {
            first: given.first.or(stays.first),
            last: given.last.or(stays.last),
            phone: given.phone.or(stays.phone),
            address: given.address.or(stays.address),
            verdict: given.verdict.or(stays.verdict),
        };
        Ok(Done::Details { verdict: details.verdict.clone() })
    }

    fn change_basket(&mut self, user: UserCode, change: Change) -> Result<Done, Refusal> {
        let mut basket =
            self.customers.get(&user).map(|customer| customer.basket.clone()).unwrap_or_default();
        match change {
            Change::Add(typed) => {
                let line = Line::read(&typed, None)?;
                basket.add(line.clone(), None)?;
                self.catalogue.find(&line.key, &line.item)?;
            }
            Change::Set(typed) => {
                let line = Line::read(&typed, None)?;
                basket.set(line.clone())?;
                self.catalogue.find(&line.key, &line.item)?;
            }
            Change::Remove(typed) => {
                let item = basket::item(&typed, None)?;
                let key = ProductKey::of(item);
                // A line whose product left the menu can still be removed.
                if !basket.remove(&key) {
                    self.catalogue.find(&key, item)?;
                }
            }
            Change::Clear => basket.clear(),
        }
        let done = Done::Basket { lines: number(basket.lines().len()), items: basket.items() };
        if !basket.lines().is_empty() || self.customers.contains_key(&user) {
            self.customer(user)?.basket = basket;
        }
        Ok(done)
    }

    fn cancel(&mut self, user: &UserCode, no: u32) -> Result<Done, Refusal> {
        let id = self.order_id(user, no)?;
        let order = self.orders.get_mut(&id).expect("the index holds what the orders hold");
        if order.status == Status::Cancelled {
            return Err(Refusal::AlreadyCancelled { no });
        }
        order.status = Status::Cancelled;
        for line in &order.lines {
            self.catalogue.give_back(&ProductKey::of(&line.item), line.qty);
        }
        Ok(Done::Cancelled { no })
    }

    /// Puts an order into the book; the answer is its number among all.
    pub(super) fn place(&mut self, order: Order) -> Result<u64, Refusal> {
        check_room(Store::Orders, self.orders.len(), ORDERS_MAX)?;
        self.customer(order.user.clone())?.last_no = order.no;
        let id = self.orders.len() as u64 + 1;
        self.index.insert(id, &order);
        self.orders.insert(id, order);
        Ok(id)
    }

    /// What an order would cost, and of which lines: everything of an order's rules but destination, expected total
    /// and stock.
    pub(super) fn quote(
        &self,
        user: &UserCode,
        lines: &Lines,
        delivery: Delivery,
        tip: Pence,
    ) -> Result<(Wanted, Quote), Refusal> {
        let wanted = match lines {
            Lines::Basket => {
                let basket = self.customers.get(user).map(|customer| &customer.basket);
                basket.filter(|basket| !basket.lines().is_empty()).cloned().ok_or(Refusal::BasketEmpty)?
            }
            Lines::Given(items) => Wanted::read(items)?,
        };
        if tip > TIP_MAX {
            let why = Why::Amount { min: Pence::ZERO, max: TIP_MAX };
            return Err(Refusal::Invalid { field: Field::Tip, at: None, why });
        }
        let priced = |line: &Line| {
            let product = self.catalogue.find(&line.key, &line.item)?;
            Ok(OrderLine { item: product.name.clone(), qty: line.qty, price: product.price })
        };
        let lines = wanted.lines().iter().map(priced).collect::<Result<_, Refusal>>()?;
        Ok((wanted, Quote::new(lines, delivery, tip)))
    }

    /// Whether there is enough of everything; the refusal names the first line that is short.
    pub(super) fn check_stock(&self, wanted: &Wanted) -> Result<(), Refusal> {
        for line in wanted.lines() {
            let product = self.catalogue.find(&line.key, &line.item)?;
            if let Stock::Counted(left) = product.stock
                && left < line.qty
            {
                return Err(Refusal::LowStock { item: product.name.clone(), wanted: line.qty, left });
            }
        }
        Ok(())
    }

    /// Where an order goes: to the postcode that came with it, else where the details say. A saved address belongs
    /// to its postcode and to no other.
    fn destination(&self, user: &UserCode, given: Option<Verdict>) -> Result<Destination, Refusal> {
        let details =
            self.customers.get(user).and_then(|customer| customer.details.clone()).unwrap_or_default();
        let saved = details.verdict.as_ref().map(|verdict| verdict.postcode);
        let verdict = given.or(details.verdict).ok_or_else(|| Refusal::no_details(user))?;
        let address = details.address.filter(|_| saved.is_none_or(|saved| saved == verdict.postcode));
        Ok(Destination { first: details.first, last: details.last, phone: details.phone, address, verdict })
    }

    /// The user's order of this number, by its number among all.
    pub(super) fn order_id(&self, user: &UserCode, no: u32) -> Result<u64, Refusal> {
        let at = (no as usize).checked_sub(1);
        let orders = self.index.by_user.get(user);
        at.and_then(|at| orders?.get(at)).copied().ok_or(Refusal::OrderUnknown { no })
    }

    /// The customer, who may be new.
    fn customer(&mut self, user: UserCode) -> Result<&mut Customer, Refusal> {
        if !self.customers.contains_key(&user) {
            check_room(Store::Customers, self.customers.len(), CUSTOMERS_MAX)?;
        }
        Ok(self.customers.entry(user).or_default())
    }
}

/// A user code as somebody typed it.
pub(super) fn read_user(typed: &str) -> Result<UserCode, Refusal> {
    UserCode::read(typed).map_err(|why| Refusal::Invalid {
        field: Field::User,
        at: None,
        why: Why::Text(why),
    })
}

/// A postcode as somebody typed it.
pub(super) fn read_postcode(typed: &str) -> Result<Postcode, Refusal> {
    typed.parse().map_err(|_| Refusal::postcode_malformed(typed))
}

/// Whether one more fits.
pub(super) fn check_room(what: Store, count: usize, limit: usize) -> Result<(), Refusal> {
    if count < limit { Ok(()) } else { Err(Refusal::Full { what, limit: limit as u64 }) }
}

fn read(field: Field, typed: &str, max: u32) -> Result<String, Refusal> {
    let checked = text::check(typed, max, text::Lines::One);
    checked.map(str::to_owned).map_err(|why| Refusal::Invalid { field, at: None, why: Why::Text(why) })
}

/// What is known of a postcode: what the front end found out about this very one, else nothing. What a web service
/// called the town is kept only when it is a short text.
fn judge(typed: &str, found: Option<Verdict>, now: Timestamp) -> Result<Verdict, Refusal> {
    let postcode = read_postcode(typed)?;
    let Some(mut verdict) = found.filter(|verdict| verdict.postcode == postcode) else {
        return Ok(Verdict::unconfirmed(postcode, now));
    };
    let short = |town: String| text::check(&town, TOWN_CHARS_MAX, text::Lines::One).ok().map(str::to_owned);
    verdict.town = verdict.town.and_then(short);
    Ok(verdict)
}
