//! What asks about the state of `just.hungry`, and what it says.

use serde::{Deserialize, Serialize};

use super::checked::Checked;
use super::command::{Delivery, Lines, Stock, Verdict};
use super::london;
use super::refusal::Refusal;
use crate::clock::Timestamp;
use crate::replication::RequestId;
use crate::services::money::Pence;
use crate::services::phone::Phone;

pub use crate::services::page::{PAGE_BYTES_MAX, PAGE_ENTRIES_MAX, Page};

/// Everything that can be asked. Lists come in pages: `after` is the last number already seen (0: none), `limit`
/// the most that is wanted, where 0 and anything above [`PAGE_ENTRIES_MAX`] mean that bound.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Query {
    /// The message of the day.
    Motd,
    /// The catalogue, by place.
    Menu {
        /// The last place already seen.
        after: u32,
        /// At most so many.
        limit: u32,
    },
    /// What is known of a customer.
    Details {
        /// Who.
        user: String,
    },
    /// A customer's basket at this moment's prices.
    Basket {
        /// Whose.
        user: String,
    },
    /// What an order would cost. Takes nothing.
    Quote {
        /// Who.
        user: String,
        /// What.
        lines: Lines,
        /// How fast.
        delivery: Delivery,
        /// For the rider.
        tip: Pence,
    },
    /// A user's orders, by number.
    Orders {
        /// Whose.
        user: String,
        /// Without the cancelled ones.
        active_only: bool,
        /// The last number already seen.
        after: u32,
        /// At most so many.
        limit: u32,
    },
    /// One order.
    Order {
        /// Whose.
        user: String,
        /// Its number among the user's.
        no: u32,
    },
    /// Everything delivered to a postcode, oldest first, numbered from 1 in this view, without users.
    OrdersTo {
        /// As typed.
        postcode: String,
        /// The last number already seen.
        after: u32,
        /// At most so many.
        limit: u32,
    },
    /// What is known of a postcode. A front end answers; replicas know nothing of the world.
    Postcode {
        /// As typed.
        text: String,
    },
}

/// What a query says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    /// To [`Query::Motd`]; may be empty.
    Motd(String),
    /// To [`Query::Menu`].
    Menu(Page<MenuItem>),
    /// To [`Query::Details`]; all absent for somebody unknown.
    Details(Details),
    /// To [`Query::Basket`].
    Basket(Basket),
    /// To [`Query::Quote`].
    Quote(Quote),
    /// To [`Query::Orders`] and [`Query::OrdersTo`].
    Orders(Page<Order>),
    /// To [`Query::Order`].
    Order(Box<Order>),
    /// There is nothing to say, and why.
    Refused(Refusal),
    /// To [`Query::Postcode`].
    Postcode(Checked),
}

/// A product on the menu.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MenuItem {
    /// Its place, from 1; see [`letters`].
    pub place: u32,
    /// As shown.
    pub name: String,
    /// Of one.
    pub price: Pence,
    /// How many there are.
    pub stock: Stock,
}

/// What is known of a customer; each of it possibly absent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Details {
    /// First name.
    pub first: Option<String>,
    /// Last name.
    pub last: Option<String>,
    /// Telephone number.
    pub phone: Option<Phone>,
    /// Street, number, floor.
    pub address: Option<String>,
    /// The postcode, and what is known of it.
    pub verdict: Option<Verdict>,
}

/// What somebody is about to order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Basket {
    /// In the order they were added.
    pub lines: Vec<BasketLine>,
    /// Of the lines that have a price.
    pub items: Pence,
}

/// A line of a [`Basket`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BasketLine {
    /// The product's name.
    pub item: String,
    /// How many.
    pub qty: u32,
    /// Of one; `None` when it is not on the menu any more.
    pub price: Option<Pence>,
    /// Whether there are fewer at this moment.
    pub short: bool,
}

/// What an order would cost.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quote {
    /// What.
    pub lines: Vec<OrderLine>,
    /// How fast.
    pub delivery: Delivery,
    /// The lines' sum.
    pub items: Pence,
    /// For delivery.
    pub fee: Pence,
    /// For the rider.
    pub tip: Pence,
    /// All of it.
    pub total: Pence,
}

/// A line of an order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderLine {
    /// The product's name when it was ordered.
    pub item: String,
    /// How many.
    pub qty: u32,
    /// Of one, when it was ordered.
    pub price: Pence,
}

impl BasketLine {
    /// The line's sum; `None` when it has no price.
    pub fn sum(&self) -> Option<Pence> {
        self.price.map(|price| price * self.qty)
    }
}

impl OrderLine {
    /// The line's sum.
    pub fn sum(&self) -> Pence {
        self.price * self.qty
    }
}

/// An order, as it is shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// Its number among the user's, or in the view by postcode.
    pub no: u32,
    /// Whose it is; absent in the view by postcode.
    pub owner: Option<Owner>,
    /// What has become of it.
    pub status: Status,
    /// When.
    pub placed: Timestamp,
    /// When it is there at the latest.
    pub deliver_by: Timestamp,
    /// How fast.
    pub delivery: Delivery,
    /// What.
    pub lines: Vec<OrderLine>,
    /// The lines' sum.
    pub items: Pence,
    /// For delivery.
    pub fee: Pence,
    /// For the rider.
    pub tip: Pence,
    /// All of it.
    pub total: Pence,
    /// Where to, and what was known of that postcode.
    pub verdict: Verdict,
}

impl Order {
    /// When it is there at the latest, as it is said in London at `now`: `Same day, by 23:59 today`.
    pub fn deliver_by_in_words(&self, now: Timestamp) -> String {
        match self.delivery {
            Delivery::TwoHours => format!("Within 2 hours, by {}", london::in_words(self.deliver_by, now)),
            speed => {
                // Midnight belongs to the day that ends with it.
                let last = Timestamp::from_millis(self.deliver_by.millis().saturating_sub(60_000));
                let word = if speed == Delivery::SameDay { "Same day" } else { "Next day" };
                format!("{word}, by {}", london::in_words(last, now))
            }
        }
    }
}

/// Whose an order is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    /// The user code.
    pub user: String,
    /// The order's number among all.
    pub id: u64,
    /// The command that placed it; none for the samples.
    pub request: Option<RequestId>,
}

/// What has become of an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Status {
    /// It will come.
    Active,
    /// It was cancelled, and its stock given back.
    Cancelled,
}

impl Status {
    /// As text.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Cancelled => "cancelled",
        }
    }
}

/// The letters of a place on the menu: A to Z for 1 to 26, then AA, AB, …
pub fn letters(place: u32) -> String {
    let mut rest = place;
    let mut letters = Vec::new();
    while rest > 0 {
        rest -= 1;
        letters.push(b'A' + u8::try_from(rest % 26).expect("a remainder of 26"));
        rest /= 26;
    }
    letters.reverse();
    String::from_utf8(letters).expect("letters are ASCII")
}

/// The place on the menu of these letters, in any case; `None` when they are none, or no menu is that long.
pub fn place(letters: &str) -> Option<u32> {
    /// No menu has a place of four letters.
    const LETTERS_MAX: usize = 3;
    let good =
        (1..=LETTERS_MAX).contains(&letters.len()) && letters.bytes().all(|byte| byte.is_ascii_alphabetic());
    let digit = |byte: u8| u32::from(byte.to_ascii_uppercase() - b'A') + 1;
    good.then(|| letters.bytes().fold(0, |place, byte| place * 26 + digit(byte)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_go_on_past_z() {
        for (at, text) in
            [(1, "A"), (16, "P"), (26, "Z"), (27, "AA"), (52, "AZ"), (53, "BA"), (702, "ZZ"), (703, "AAA")]
        {
            assert_eq!(letters(at), text);
            assert_eq!(place(&text.to_lowercase()), Some(at));
        }
        for text in ["", "1", "a1", "é", "abcd"] {
            assert_eq!(place(text), None, "{text}");
        }
    }
}
