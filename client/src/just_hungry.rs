//! Food ordering, for any Rust program: one method per thing a person can do.
//!
//! ```no_run
//! # async fn order() -> Result<(), Box<dyn std::error::Error>> {
//! use client::just_hungry::{JustHungry, Order};
//! use common::services::just_hungry::command::{Item, Lines};
//!
//! let names = common::directory::Names::from_env()?;
//! let shop = JustHungry::new(&names);
//! let lines = Lines::Given(vec![Item { item: "hamburger".into(), qty: 2 }]);
//! let placed = shop.place(Order { postcode: Some("DH1 3LE".into()), ..Order::of("ann", lines) }).await?;
//! println!("#{} for {}", placed.no, placed.total);
//! # Ok(())
//! # }
//! ```

use common::clock::Timestamp;
use common::directory::Names;
use common::replication::RequestId;
use common::services::just_hungry::NAME;
use common::services::just_hungry::checked::Checked;
use common::services::just_hungry::command::{
    Change, Command, Delivery, Done, Item, Lines, Product, Reply, Verdict,
};
use common::services::just_hungry::query::{self, Answer, Basket, Details, MenuItem, Page, Query, Quote};
use common::services::just_hungry::refusal::Refusal;
use common::services::money::Pence;
use common::services::{Outcome, decode, encode};

use crate::errors::{self, Failure, not_understood};
use crate::postcode;
use crate::service::{Service, nfc, whole};

/// The food shop.
#[derive(Debug)]
pub struct JustHungry {
    service: Service,
}

/// An order to be placed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// Whose.
    pub user: String,
    /// What.
    pub lines: Lines,
    /// How it comes.
    pub delivery: Delivery,
    /// For the rider.
    pub tip: Pence,
    /// Where to; `None`: where the user's details say.
    pub postcode: Option<String>,
    /// Whether a postcode that nobody could confirm is refused.
    pub strict: bool,
    /// The only total that is right.
    pub expected: Option<Pence>,
}

/// An order that was placed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placed {
    /// Its number among the user's.
    pub no: u32,
    /// Its number among all.
    pub id: u64,
    /// Items, delivery and tip.
    pub total: Pence,
    /// When.
    pub placed: Timestamp,
}

impl Order {
    /// The plainest order of these lines: next day, no tip, to where the details say.
    pub fn of(user: &str, lines: Lines) -> Self {
        Self {
            user: user.into(),
            lines,
            delivery: Delivery::NextDay,
            tip: Pence::ZERO,
            postcode: None,
            strict: false,
            expected: None,
        }
    }
}

/// As many as a page may have.
const WHOLE_PAGE: u32 = 0;

impl JustHungry {
    /// The shop that these name servers know, with ordinary patience.
    pub fn new(names: &Names) -> Self {
        Self::over(Service::new(names, NAME))
    }

    /// The shop behind this service handle, with its patience.
    pub fn over(service: Service) -> Self {
        Self { service }
    }

    /// The id that the last command ran under: sent again with it, it is not carried out again.
    pub fn last_id(&self) -> Option<RequestId> {
        self.service.last_id()
    }

    /// The message of the day.
    pub async fn motd(&self) -> Result<String, Failure> {
        match self.ask(&Query::Motd).await? {
            Answer::Motd(text) => Ok(text),
            _ => Err(not_understood()),
        }
    }

    /// Sets the message of the day.
    pub async fn set_motd(&self, text: &str) -> Result<(), Failure> {
        match self.run(&Command::SetMotd { text: nfc(text) }).await? {
            Done::Motd => Ok(()),
            _ => Err(not_understood()),
        }
    }

    /// Replaces the menu, and gives how many products are on it.
    pub async fn set_menu(&self, products: Vec<Product>) -> Result<u32, Failure> {
        let composed = |product: Product| Product { name: nfc(&product.name), ..product };
        let products = products.into_iter().map(composed).collect();
        match self.run(&Command::SetCatalogue { products }).await? {
            Done::Catalogue { count } => Ok(count),
            _ => Err(not_understood()),
        }
    }

    /// Everything on the menu, in its order.
    pub async fn menu(&self) -> Result<Vec<MenuItem>, Failure> {
        let page = async |after| match self.ask(&Query::Menu { after, limit: WHOLE_PAGE }).await? {
            Answer::Menu(page) => Ok(page),
            _ => Err(not_understood()),
        };
        whole(page, |item| item.place, 0, None).await
    }

    /// What is known of a customer.
    pub async fn details(&self, user: &str) -> Result<Details, Failure> {
        match self.ask(&Query::Details { user: nfc(user) }).await? {
            Answer::Details(details) => Ok(details),
            _ => Err(not_understood()),
        }
    }

    /// A customer's basket, at this moment's prices.
    pub async fn basket(&self, user: &str) -> Result<Basket, Failure> {
        match self.ask(&Query::Basket { user: nfc(user) }).await? {
            Answer::Basket(basket) => Ok(basket),
            _ => Err(not_understood()),
        }
    }

    /// What an order would cost; takes nothing.
    pub async fn quote(
        &self,
        user: &str,
        lines: Lines,
        delivery: Delivery,
        tip: Pence,
    ) -> Result<Quote, Failure> {
        match self.ask(&Query::Quote { user: nfc(user), lines: nfc_lines(lines), delivery, tip }).await? {
            Answer::Quote(quote) => Ok(quote),
            _ => Err(not_understood()),
        }
    }

    /// A user's orders after that number, by number; at most `limit` of them.
    pub async fn orders(
        &self,
        user: &str,
        active_only: bool,
        after: u32,
        limit: Option<u32>,
    ) -> Result<Vec<query::Order>, Failure> {
        let page = async |after| {
            self.page(&Query::Orders { user: nfc(user), active_only, after, limit: WHOLE_PAGE }).await
        };
        whole(page, |order| order.no, after, limit).await
    }

    /// Every order that goes to a postcode, oldest first, without users; at most `limit` of them.
    pub async fn orders_to(&self, postcode: &str, limit: Option<u32>) -> Result<Vec<query::Order>, Failure> {
        let page = async |after| {
            self.page(&Query::OrdersTo { postcode: postcode.into(), after, limit: WHOLE_PAGE }).await
        };
        whole(page, |order| order.no, 0, limit).await
    }

    /// One order.
    pub async fn order(&self, user: &str, no: u32) -> Result<query::Order, Failure> {
        match self.ask(&Query::Order { user: nfc(user), no }).await? {
            Answer::Order(order) => Ok(*order),
            _ => Err(not_understood()),
        }
    }

    /// What is known of a postcode; a refusal when it is none.
    pub async fn postcode(&self, text: &str) -> Result<Result<Checked, Refusal>, Failure> {
        postcode::ask(&self.service, text).await
    }

    /// Keeps details of a customer; absent ones stay. Gives what is known of the postcode.
    pub async fn set_details(&self, user: &str, details: NewDetails) -> Result<Option<Verdict>, Failure> {
        let text = |text: Option<String>| text.map(|text| nfc(&text));
        let command = Command::SetDetails {
            user: nfc(user),
            first: text(details.first),
            last: text(details.last),
            phone: details.phone,
            address: text(details.address),
            postcode: details.postcode,
        };
        match self.run(&command).await? {
            Done::Details { verdict } => Ok(verdict),
            _ => Err(not_understood()),
        }
    }

    /// Changes a basket.
    pub async fn change_basket(&self, user: &str, change: Change) -> Result<(), Failure> {
        let change = match change {
            Change::Add(item) => Change::Add(nfc_item(item)),
            Change::Set(item) => Change::Set(nfc_item(item)),
            Change::Remove(item) => Change::Remove(nfc(&item)),
            Change::Clear => Change::Clear,
        };
        match self.run(&Command::ChangeBasket { user: nfc(user), change }).await? {
            Done::Basket { .. } => Ok(()),
            _ => Err(not_understood()),
        }
    }

    /// Places an order, once however often it had to be sent.
    pub async fn place(&self, order: Order) -> Result<Placed, Failure> {
        let Order { user, lines, delivery, tip, postcode, strict, expected } = order;
        let (user, lines) = (nfc(&user), nfc_lines(lines));
        let command = Command::PlaceOrder { user, lines, delivery, tip, postcode, strict, expected };
        match self.run(&command).await.map_err(errors::of_an_order)? {
            Done::Placed { no, id, total, placed } => Ok(Placed { no, id, total, placed }),
            _ => Err(not_understood()),
        }
    }

    /// Cancels an order; its stock goes back.
    pub async fn cancel(&self, user: &str, no: u32) -> Result<(), Failure> {
        match self.run(&Command::CancelOrder { user: nfc(user), no }).await? {
            Done::Cancelled { .. } => Ok(()),
            _ => Err(not_understood()),
        }
    }

    async fn run(&self, command: &Command) -> Result<Done, Failure> {
        let (id, reply) = self.service.execute(encode(command)).await?;
        match decode::<Reply>(&reply) {
            Ok(Outcome::Done(done)) => Ok(done),
            Ok(Outcome::Refused(refusal)) => Err(errors::of_refusal(&refusal).request(id)),
            Err(_) => Err(not_understood().request(id)),
        }
    }

    async fn page(&self, query: &Query) -> Result<Page<query::Order>, Failure> {
        match self.ask(query).await? {
            Answer::Orders(page) => Ok(page),
            _ => Err(not_understood()),
        }
    }

    async fn ask(&self, query: &Query) -> Result<Answer, Failure> {
        match decode::<Answer>(&self.service.query(encode(query)).await?) {
            Ok(Answer::Refused(refusal)) => Err(errors::of_refusal(&refusal)),
            Ok(answer) => Ok(answer),
            Err(_) => Err(not_understood()),
        }
    }
}

/// Details to keep.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewDetails {
    /// First name.
    pub first: Option<String>,
    /// Last name.
    pub last: Option<String>,
    /// As typed.
    pub phone: Option<String>,
    /// House and street.
    pub address: Option<String>,
    /// As typed.
    pub postcode: Option<String>,
}

fn nfc_item(Item { item, qty }: Item) -> Item {
    Item { item: nfc(&item), qty }
}

fn nfc_lines(lines: Lines) -> Lines {
    match lines {
        Lines::Basket => Lines::Basket,
        Lines::Given(items) => Lines::Given(items.into_iter().map(nfc_item).collect()),
    }
}
