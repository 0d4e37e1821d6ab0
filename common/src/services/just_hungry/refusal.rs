//! Why `just.hungry` refuses.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::services::money::Pence;
use crate::services::postcode::{BadPostcode, INPUT_CHARS_MAX, Postcode};
use crate::services::text::BadText;
use crate::services::user_code::UserCode;

/// Why a command or query was refused: codes, keys and numbers, of which the sentence is made when it is shown.
/// `Display` is that sentence.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum Refusal {
    /// An argument breaks a rule.
    #[error("{}: {why}", Place(*.field, *.at))]
    Invalid {
        /// Which argument.
        field: Field,
        /// Which of several, from 1.
        at: Option<u32>,
        /// What was wrong with it, and what would be right.
        why: Why,
    },
    /// No such product.
    #[error("{item} is not on the menu.{}", DidYouMean(.near))]
    UnknownProduct {
        /// As it was asked for.
        item: String,
        /// Names like it, best first: at most three, and as many as fit into a remembered reply.
        near: Vec<String>,
    },
    /// Less of a product than was asked for.
    #[error(
        "Could not place order due to low stock of {item}. Please try again later. You asked for {wanted}, {left} \
         left; no part of the order was placed."
    )]
    LowStock {
        /// The product's name.
        item: String,
        /// How many were asked for.
        wanted: u32,
        /// How many there are.
        left: u32,
    },
    /// There is nothing to order.
    #[error("Your basket is empty.")]
    BasketEmpty,
    /// Nobody knows where to.
    #[error("No delivery details for {user}: give a postcode, or save details first.")]
    NoDetails {
        /// Whose; cut, when it is very long.
        user: String,
    },
    /// Another total than the customer saw.
    #[error("The total is now {total}, you saw {expected}. Nothing was ordered.")]
    TotalChanged {
        /// The one seen.
        expected: Pence,
        /// The one now.
        total: Pence,
    },
    /// The user has no order of this number.
    #[error("Specified order ID not found.")]
    OrderUnknown {
        /// The number.
        no: u32,
    },
    /// The order was cancelled before.
    #[error("Order #{no} was cancelled before.")]
    AlreadyCancelled {
        /// Its number.
        no: u32,
    },
    /// Not the form of a postcode, or an area that nobody delivers to.
    #[error("Invalid postcode: ‘{text}’. Example: DH1 3LE.{}", PostcodeHint(.text))]
    PostcodeMalformed {
        /// As typed; cut, when it was longer than any postcode.
        text: String,
    },
    /// A web service says that it does not exist.
    #[error("Postcode not found: {postcode}.{}", DidYouMean(.near))]
    PostcodeUnknown {
        /// Which.
        postcode: Postcode,
        /// Ones like it that exist, best first: at most three.
        near: Vec<Postcode>,
    },
    /// A web service says that it is not in use any more.
    #[error("{postcode} was retired{}.", InMonth(*.since))]
    PostcodeRetired {
        /// Which.
        postcode: Postcode,
        /// Since when, if that is known.
        since: Option<Month>,
    },
    /// Nobody could say whether it exists, and that is too little.
    #[error("Could not validate postcode {postcode}: neither web service answered.")]
    PostcodeUnconfirmed {
        /// Which.
        postcode: Postcode,
    },
    /// A bound of the service is reached.
    #[error("{what} is full ({limit}).")]
    Full {
        /// Of what.
        what: Store,
        /// The bound.
        limit: u64,
    },
    /// Not a command or query of this service.
    #[error("The service did not understand the request.")]
    Malformed,
}

/// An argument that can break a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Field {
    /// The user code.
    User,
    /// The message of the day.
    Motd,
    /// The list of products.
    Products,
    /// A product's name.
    Name,
    /// A product's price.
    Price,
    /// A product's stock.
    Stock,
    /// First name.
    First,
    /// Last name.
    Last,
    /// Telephone number.
    Phone,
    /// Street, number, floor.
    Address,
    /// The name of a product that is ordered.
    Item,
    /// How many of it.
    Qty,
    /// The list of what is ordered.
    Lines,
    /// The tip.
    Tip,
}

/// What is wrong with an argument, and what would be right.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum Why {
    /// It is no text to keep.
    #[error(transparent)]
    Text(BadText),
    /// A number outside its bounds.
    #[error("a number from {min} to {max}, please.")]
    Number {
        /// The least.
        min: u32,
        /// The greatest.
        max: u32,
    },
    /// An amount outside its bounds.
    #[error("an amount from {min} to {max}, please.")]
    Amount {
        /// The least.
        min: Pence,
        /// The greatest.
        max: Pence,
    },
    /// A list of another length.
    #[error("from {min} to {max} of them, please.")]
    Count {
        /// The least.
        min: u32,
        /// The greatest.
        max: u32,
    },
    /// The same name as another product's, in any case and spelling.
    #[error("the same name as number {other}; each product needs a name of its own.")]
    Twice {
        /// Which other one, from 1.
        other: u32,
    },
    /// No telephone number.
    #[error("8 to 15 digits, with the country's code or a leading 0, please.")]
    Phone,
}

/// What can be full.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Store {
    /// The user codes.
    Customers,
    /// The orders.
    Orders,
}

/// A month of a year.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Month {
    /// The year.
    pub year: u16,
    /// 1 to 12.
    pub month: u8,
}

impl Refusal {
    /// This text is no postcode. One that is too long for any is cut, and still too long.
    pub fn postcode_malformed(typed: &str) -> Self {
        Self::PostcodeMalformed { text: typed.chars().take(INPUT_CHARS_MAX + 1).collect() }
    }

    /// Nobody knows where to deliver to this user. A code that would not fit into a remembered reply is cut.
    pub(super) fn no_details(user: &UserCode) -> Self {
        /// As many characters of any kind fit.
        const CHARS_MAX: usize = 48;
        Self::NoDetails { user: user.as_str().chars().take(CHARS_MAX).collect() }
    }

    /// The stable code; never renamed.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Invalid { .. } => "invalid",
            Self::UnknownProduct { .. } => "unknown_product",
            Self::LowStock { .. } => "low_stock",
            Self::BasketEmpty => "basket_empty",
            Self::NoDetails { .. } => "no_details",
            Self::TotalChanged { .. } => "total_changed",
            Self::OrderUnknown { .. } => "order_unknown",
            Self::AlreadyCancelled { .. } => "already_cancelled",
            Self::PostcodeMalformed { .. } => "postcode_malformed",
            Self::PostcodeUnknown { .. } => "postcode_unknown",
            Self::PostcodeRetired { .. } => "postcode_retired",
            Self::PostcodeUnconfirmed { .. } => "postcode_unconfirmed",
            Self::Full { .. } => "full",
            Self::Malformed => "malformed",
        }
    }

    /// What a program that was refused exits with.
    pub const fn exit_status(&self) -> u8 {
        match self {
            Self::Malformed => 1,
            Self::Invalid { .. } => 2,
            Self::UnknownProduct { .. } | Self::OrderUnknown { .. } => 3,
            _ => 4,
        }
    }

    /// The sentence that a person reads.
    pub fn sentence(&self) -> String {
        self.to_string()
    }
}

impl Field {
    /// As text.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Motd => "motd",
            Self::Products => "products",
            Self::Name => "name",
            Self::Price => "price",
            Self::Stock => "stock",
            Self::First => "first",
            Self::Last => "last",
            Self::Phone => "phone",
            Self::Address => "address",
            Self::Item => "item",
            Self::Qty => "qty",
            Self::Lines => "lines",
            Self::Tip => "tip",
        }
    }
}

impl Store {
    /// As text.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Customers => "customers",
            Self::Orders => "orders",
        }
    }
}

impl fmt::Display for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Customers => "The list of customers",
            Self::Orders => "The book of orders",
        })
    }
}

impl fmt::Display for Month {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const NAMES: [&str; 12] = [
            "January",
            "February",
            "March",
            "April",
            "May",
            "June",
            "July",
            "August",
            "September",
            "October",
            "November",
            "December",
        ];
        match NAMES.get(usize::from(self.month).wrapping_sub(1)) {
            Some(name) => write!(f, "{name} {}", self.year),
            None => write!(f, "{}", self.year),
        }
    }
}

struct Place(Field, Option<u32>);

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_str())?;
        self.1.map_or(Ok(()), |at| write!(f, " of number {at}"))
    }
}

struct DidYouMean<'a, T>(&'a [T]);

impl<T: fmt::Display> fmt::Display for DidYouMean<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some((last, rest)) = self.0.split_last() else { return Ok(()) };
        f.write_str(" Did you mean ")?;
        for (at, name) in rest.iter().enumerate() {
            let then = if at + 1 == rest.len() { " or " } else { ", " };
            write!(f, "{name}{then}")?;
        }
        write!(f, "{last}?")
    }
}

struct PostcodeHint<'a>(&'a str);

impl fmt::Display for PostcodeHint<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.0.parse::<Postcode>(), Postcode::suggestion(self.0)) {
            (_, Some(meant)) => write!(f, " Did you mean {meant}?"),
            (Err(BadPostcode::Area), None) => f.write_str(" We do not deliver there."),
            _ => Ok(()),
        }
    }
}

struct InMonth(Option<Month>);

impl fmt::Display for InMonth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |month| write!(f, " in {month}"))
    }
}
