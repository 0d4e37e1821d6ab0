//! What changes the state of `just.hungry`, what a front end adds to it, and what comes of it.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::refusal::Refusal;
use crate::clock::Timestamp;
use crate::services::Outcome;
use crate::services::money::Pence;
use crate::services::phone::Phone;
use crate::services::postcode::Postcode;

/// Everything that changes the state. Texts are as a person typed them, in NFC; the service judges them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// Sets the message of the day.
    SetMotd {
        /// 1 to 200 characters.
        text: String,
    },
    /// Replaces the catalogue.
    SetCatalogue {
        /// In menu order.
        products: Vec<Product>,
    },
    /// Changes a customer's details; absent ones stay.
    SetDetails {
        /// Whose.
        user: String,
        /// First name.
        first: Option<String>,
        /// Last name.
        last: Option<String>,
        /// As typed; what is stored is [`Facts::phone`].
        phone: Option<String>,
        /// Street, number, floor.
        address: Option<String>,
        /// As typed; what is stored is [`Facts::verdict`].
        postcode: Option<String>,
    },
    /// Changes a basket.
    ChangeBasket {
        /// Whose.
        user: String,
        /// How.
        change: Change,
    },
    /// Orders.
    PlaceOrder {
        /// Who.
        user: String,
        /// What.
        lines: Lines,
        /// How fast.
        delivery: Delivery,
        /// For the rider.
        tip: Pence,
        /// Where to, as typed; `None`: where the details say.
        postcode: Option<String>,
        /// Whether an unconfirmed postcode is too little.
        strict: bool,
        /// The total that the customer saw; another one is not ordered.
        expected: Option<Pence>,
    },
    /// Cancels an order.
    CancelOrder {
        /// Whose.
        user: String,
        /// Which, counted per user from 1.
        no: u32,
    },
}

/// What a person can buy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Product {
    /// As shown; compared folded.
    pub name: String,
    /// Of one.
    pub price: Pence,
    /// How many there are.
    pub stock: Stock,
}

/// How many of a product there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stock {
    /// Always enough.
    Unlimited,
    /// This many.
    Counted(u32),
}

/// How a basket changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Change {
    /// So many more.
    Add(Item),
    /// Exactly so many.
    Set(Item),
    /// None of this product any more.
    Remove(String),
    /// Nothing any more.
    Clear,
}

/// Some of one product.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Item {
    /// The product's name, as typed.
    pub item: String,
    /// How many.
    pub qty: u32,
}

/// What is ordered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Lines {
    /// The user's basket, which is empty afterwards.
    Basket,
    /// These.
    Given(Vec<Item>),
}

/// How fast an order comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Delivery {
    /// Two hours after it was placed.
    TwoHours,
    /// By the next midnight in London.
    SameDay,
    /// By the midnight after that.
    NextDay,
}

/// What a front end found out about the world for a command. No client can send it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// What is known of the command's postcode.
    pub verdict: Option<Verdict>,
    /// The command's telephone number, in the form that is stored.
    pub phone: Option<Phone>,
    /// Whether the front end's policy lets no unconfirmed postcode pass.
    pub strict: bool,
}

/// What is known of a postcode.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// Which.
    pub postcode: Postcode,
    /// Who confirmed it.
    pub source: Source,
    /// The town, when somebody told.
    pub town: Option<String>,
    /// When it was checked.
    pub checked: Timestamp,
}

/// Who confirmed a postcode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Source {
    /// postcodes.io.
    PostcodesIo,
    /// getthedata.com.
    GetTheData,
    /// The front end's own data.
    Offline,
    /// Nobody: its form is right, but nobody could say whether it is in use.
    Unconfirmed,
}

/// What the service remembers of a command.
pub type Reply = Outcome<Done, Refusal>;

/// What a command did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Done {
    /// The message of the day is set.
    Motd,
    /// The catalogue is replaced.
    Catalogue {
        /// Products in it.
        count: u32,
    },
    /// The details are changed.
    Details {
        /// What is known of the customer's postcode.
        verdict: Option<Verdict>,
    },
    /// The basket is changed.
    Basket {
        /// Lines in it.
        lines: u32,
        /// Items in it, in all.
        items: u32,
    },
    /// The order is placed.
    Placed {
        /// Its number among the user's.
        no: u32,
        /// Its number among all.
        id: u64,
        /// Items, delivery and tip.
        total: Pence,
        /// When.
        placed: Timestamp,
    },
    /// The order is cancelled.
    Cancelled {
        /// Its number among the user's.
        no: u32,
    },
}

impl Delivery {
    /// Every one, in the order of their numbers: the first is 1.
    pub const ALL: [Self; 3] = [Self::TwoHours, Self::SameDay, Self::NextDay];

    /// What it costs.
    pub const fn fee(self) -> Pence {
        Pence::new(match self {
            Self::TwoHours => 300,
            Self::SameDay => 100,
            Self::NextDay => 0,
        })
    }

    /// As text.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::TwoHours => "2h",
            Self::SameDay => "same-day",
            Self::NextDay => "next-day",
        }
    }

    /// When an order placed then is there at the latest; midnights are London's.
    pub fn deliver_by(self, placed: Timestamp) -> Timestamp {
        match self {
            Self::TwoHours => placed.plus(Duration::from_hours(2)),
            Self::SameDay => super::london::midnight_after(placed, 1),
            Self::NextDay => super::london::midnight_after(placed, 2),
        }
    }
}

/// Why a text is no [`Delivery`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("delivery is 2h, same-day or next-day, or their number 1, 2 or 3")]
pub struct BadDelivery;

impl FromStr for Delivery {
    type Err = BadDelivery;

    fn from_str(text: &str) -> Result<Self, BadDelivery> {
        match text {
            "1" | "2h" => Ok(Self::TwoHours),
            "2" | "same-day" => Ok(Self::SameDay),
            "3" | "next-day" => Ok(Self::NextDay),
            _ => Err(BadDelivery),
        }
    }
}

impl fmt::Display for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl Source {
    /// As text: `postcodes.io`, `getthedata`, `offline`, `unconfirmed`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::PostcodesIo => "postcodes.io",
            Self::GetTheData => "getthedata",
            Self::Offline => "offline",
            Self::Unconfirmed => "unconfirmed",
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl Verdict {
    /// What is known of a postcode that nobody was asked about, or nobody could tell.
    pub const fn unconfirmed(postcode: Postcode, checked: Timestamp) -> Self {
        Self { postcode, source: Source::Unconfirmed, town: None, checked }
    }

    /// Whether somebody confirmed it.
    pub const fn is_valid(&self) -> bool {
        !matches!(self.source, Source::Unconfirmed)
    }

    /// The answer's word: `valid` or `unconfirmed`.
    pub const fn answer(&self) -> &'static str {
        if self.is_valid() { "valid" } else { "unconfirmed" }
    }

    /// The town, or else what the postcode's area is called.
    pub fn place(&self) -> &str {
        self.town.as_deref().unwrap_or_else(|| self.postcode.area_name())
    }

    /// What a person reads: `DH1 3LE, County Durham (checked by postcodes.io)`.
    pub fn sentence(&self) -> String {
        let (postcode, place) = (self.postcode, self.place());
        match self.source {
            Source::Unconfirmed => format!("{postcode}, {place} (not confirmed)"),
            Source::Offline => format!("{postcode}, {place} (checked offline)"),
            source => format!("{postcode}, {place} (checked by {source})"),
        }
    }
}
