//! The first state of a group: part of its Genesis entry, written once by the replica that creates the group.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::JustHungry;
use super::catalogue::Catalogue;
use super::command::{Delivery, Product, Source, Stock, Verdict};
use super::order::{Destination, Order};
use super::query::{OrderLine, Status};
use super::refusal::Refusal;
use super::state::read_user;
use crate::clock::Timestamp;
use crate::services::encode;
use crate::services::money::Pence;

/// What a new group begins with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Start {
    /// The demonstration's menu, and four orders.
    Demo,
    /// Nothing.
    Empty,
    /// A menu of one's own, and no orders.
    Menu(Vec<Product>),
}

/// A first state as a Genesis entry holds it.
pub fn start_bytes(start: &Start) -> Bytes {
    encode(start)
}

const MOTD: &str = "Welcome to Just Hungry. Hot food, cold facts.";

/// In menu order: name, price in pence, stock where it is counted.
#[rustfmt::skip]
const MENU: [(&str, u64, Option<u32>); 16] = [
    ("Chicken wings", 1185, None), ("Hamburger", 785, None), ("Fish fingers", 685, None), ("Burger", 650, None),
    ("Fries", 250, None), ("Pizza", 895, None), ("Fried chicken", 725, None), ("Chips", 225, None),
    ("Vegetables", 350, None), ("Apple", 199, Some(15)), ("Banana", 55, Some(20)), ("Orange", 79, Some(15)),
    ("Bread", 225, Some(4)), ("Flour", 455, Some(0)), ("Tomato", 65, Some(17)), ("Kale", 99, Some(6)),
];

/// 2026-01-01 12:00 UTC; each sample is a minute after the one before.
const FIRST_SAMPLE: Timestamp = Timestamp::from_millis(1_767_268_800_000);
const MINUTE: u64 = 60_000;

/// In the order they were placed: postcode, products.
const SAMPLES: [(&str, &[&str]); 4] = [
    ("DH1 3LE", &["Burger", "Fries"]),
    ("DH1 3LE", &["Pizza"]),
    ("DH1 3LG", &["Fried chicken", "Chips"]),
    ("DH1 3LG", &["Vegetables"]),
];

impl JustHungry {
    /// The first state that `start` describes.
    ///
    /// # Errors
    /// When a menu of one's own breaks a rule of the catalogue.
    pub fn new(start: Start) -> Result<Self, Refusal> {
        match start {
            Start::Empty => Ok(Self::default()),
            Start::Menu(products) => {
                Ok(Self { motd: MOTD.into(), catalogue: Catalogue::new(products)?, ..Self::default() })
            }
            Start::Demo => {
                let mut demo = Self::new(Start::Menu(MENU.map(product).into()))?;
                for (sample, minutes) in SAMPLES.into_iter().zip(0..) {
                    let placed = Timestamp::from_millis(FIRST_SAMPLE.millis() + minutes * MINUTE);
                    demo.place_sample(sample, placed)?;
                }
                Ok(demo)
            }
        }
    }

    fn place_sample(&mut self, (postcode, items): (&str, &[&str]), placed: Timestamp) -> Result<(), Refusal> {
        let postcode = super::state::read_postcode(postcode)?;
        let user = read_user(&postcode.user_code())?;
        let price =
            |name: &str| MENU.iter().find(|row| row.0 == name).map_or(Pence::ZERO, |row| Pence::new(row.1));
        let line = |name: &&str| OrderLine { item: (*name).into(), qty: 1, price: price(name) };
        let verdict = Verdict { postcode, source: Source::Offline, town: None, checked: placed };
        let order = Order {
            no: self.customers.get(&user).map_or(0, |customer| customer.last_no) + 1,
            user,
            status: Status::Active,
            placed,
            delivery: Delivery::NextDay,
            tip: Pence::ZERO,
            lines: items.iter().map(line).collect(),
            destination: Destination { first: None, last: None, phone: None, address: None, verdict },
            request: None,
        };
        self.place(order).map(drop)
    }
}

fn product((name, price, left): (&str, u64, Option<u32>)) -> Product {
    Product {
        name: name.into(),
        price: Pence::new(price),
        stock: left.map_or(Stock::Unlimited, Stock::Counted),
    }
}
