//! The service's rules, as a customer, an operator and a replica meet them.

mod baskets;
mod lists;
mod orders;
mod properties;
mod refusals;

use super::command::{Change, Delivery, Item, Lines, Product, Source, Stock, Verdict};
use super::query::{Basket, Details, MenuItem, Order, Page, Quote};
use super::*;
use crate::services::laws;
use crate::services::money::Pence;

/// A shop with the demonstration's menu.
struct Shop {
    state: JustHungry,
    commands: u64,
}

/// An order as tests write it.
#[derive(Clone)]
struct Wish {
    lines: Lines,
    delivery: Delivery,
    tip: u64,
    postcode: Option<&'static str>,
    strict: bool,
    expected: Option<u64>,
}

fn items(items: &[(&str, u32)]) -> Vec<Item> {
    items.iter().map(|&(item, qty)| Item { item: item.into(), qty }).collect()
}

/// These items to DH1 3LE, next day, no tip.
fn wish(lines: &[(&str, u32)]) -> Wish {
    Wish { lines: Lines::Given(items(lines)), ..BASKET }
}

const BASKET: Wish = Wish {
    lines: Lines::Basket,
    delivery: Delivery::NextDay,
    tip: 0,
    postcode: Some("DH1 3LE"),
    strict: false,
    expected: None,
};

fn verdict(postcode: &str, source: Source) -> Verdict {
    Verdict {
        postcode: postcode.parse().unwrap(),
        source,
        town: Some("County Durham".into()),
        checked: Timestamp::from_millis(1),
    }
}

fn confirmed(postcode: &str) -> Facts {
    Facts { verdict: Some(verdict(postcode, Source::PostcodesIo)), ..Facts::default() }
}

fn product(name: &str, price: u64, stock: Stock) -> Product {
    Product { name: name.into(), price: Pence::new(price), stock }
}

impl Shop {
    fn demo() -> Self {
        let state = JustHungry::start(Timestamp::from_millis(7), &start_bytes(&Start::Demo)).unwrap();
        Self { state, commands: 0 }
    }

    /// Runs a command; one that is refused must leave the state as it was.
    fn run_with(&mut self, facts: Facts, command: Command) -> Result<Done, Refusal> {
        let before = self.state.clone();
        let applied = laws::applied(self.commands);
        self.commands += 1;
        match self.state.apply(applied, facts, command) {
            Outcome::Done(done) => Ok(done),
            Outcome::Refused(refusal) => {
                assert!(self.state == before, "{refusal:?} changed the state");
                Err(refusal)
            }
        }
    }

    fn run(&mut self, command: Command) -> Result<Done, Refusal> {
        self.run_with(Facts::default(), command)
    }

    fn place(&mut self, user: &str, wish: Wish) -> Result<Done, Refusal> {
        let facts = wish.postcode.filter(|text| text.parse::<crate::services::postcode::Postcode>().is_ok());
        self.place_with(facts.map(confirmed).unwrap_or_default(), user, wish)
    }

    fn place_with(&mut self, facts: Facts, user: &str, wish: Wish) -> Result<Done, Refusal> {
        let Wish { lines, delivery, tip, postcode, strict, expected } = wish;
        self.run_with(
            facts,
            Command::PlaceOrder {
                user: user.into(),
                lines,
                delivery,
                tip: Pence::new(tip),
                postcode: postcode.map(Into::into),
                strict,
                expected: expected.map(Pence::new),
            },
        )
    }

    fn cancel(&mut self, user: &str, no: u32) -> Result<Done, Refusal> {
        self.run(Command::CancelOrder { user: user.into(), no })
    }

    fn change(&mut self, user: &str, change: Change) -> Result<Done, Refusal> {
        self.run(Command::ChangeBasket { user: user.into(), change })
    }

    fn add(&mut self, user: &str, item: &str, qty: u32) -> Result<Done, Refusal> {
        self.change(user, Change::Add(Item { item: item.into(), qty }))
    }

    fn set_catalogue(&mut self, products: Vec<Product>) -> Result<Done, Refusal> {
        self.run(Command::SetCatalogue { products })
    }

    fn menu(&self) -> Page<MenuItem> {
        match self.state.query(Query::Menu { after: 0, limit: 0 }) {
            Answer::Menu(page) => page,
            other => panic!("{other:?}"),
        }
    }

    /// How many there are; `None` when they are not counted.
    fn stock(&self, name: &str) -> Option<u32> {
        let menu = self.menu();
        match menu.entries.iter().find(|item| item.name == name).unwrap().stock {
            Stock::Unlimited => None,
            Stock::Counted(left) => Some(left),
        }
    }

    fn basket(&self, user: &str) -> Basket {
        match self.state.query(Query::Basket { user: user.into() }) {
            Answer::Basket(basket) => basket,
            other => panic!("{other:?}"),
        }
    }

    fn details(&self, user: &str) -> Details {
        match self.state.query(Query::Details { user: user.into() }) {
            Answer::Details(details) => details,
            other => panic!("{other:?}"),
        }
    }

    fn quote(&self, user: &str, wish: &Wish) -> Result<Quote, Refusal> {
        let Wish { lines, delivery, tip, .. } = wish.clone();
        match self.state.query(Query::Quote { user: user.into(), lines, delivery, tip: Pence::new(tip) }) {
            Answer::Quote(quote) => Ok(quote),
            Answer::Refused(refusal) => Err(refusal),
            other => panic!("{other:?}"),
        }
    }

    fn order(&self, user: &str, no: u32) -> Result<Order, Refusal> {
        match self.state.query(Query::Order { user: user.into(), no }) {
            Answer::Order(order) => Ok(*order),
            Answer::Refused(refusal) => Err(refusal),
            other => panic!("{other:?}"),
        }
    }

    fn orders(&self, query: Query) -> Page<Order> {
        match self.state.query(query) {
            Answer::Orders(page) => page,
            other => panic!("{other:?}"),
        }
    }
}
