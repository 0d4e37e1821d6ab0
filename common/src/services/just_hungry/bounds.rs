//! How much of anything. Part of what every replica must agree on: a bound that changes is a new snapshot format.

use crate::services::money::Pence;

/// A menu that can still be read, and that fits into one command.
pub const PRODUCTS_MAX: usize = 1_000;
/// As many customers as a city.
pub const CUSTOMERS_MAX: usize = 1_000_000;
/// A thousand orders a day for a generation.
pub const ORDERS_MAX: usize = 10_000_000;
/// More than a rider carries.
pub const LINES_MAX: usize = 50;
/// Of one product in one order.
pub const QTY_MAX: u32 = 99;
/// More stock than a warehouse takes.
pub const STOCK_MAX: u32 = 1_000_000;
/// £10,000 for one item is a slip of the hand.
pub const PRICE_MAX: Pence = Pence::new(1_000_000);
/// £500; beyond it is one, too.
pub const TIP_MAX: Pence = Pence::new(50_000);
/// A banner's line or three.
pub const MOTD_CHARS_MAX: u32 = 200;
/// What a column of the menu shows.
pub const NAME_CHARS_MAX: u32 = 40;
/// Of a first or a last name.
pub const PERSON_CHARS_MAX: u32 = 64;
/// Street, number, floor, door.
pub const ADDRESS_CHARS_MAX: u32 = 200;
/// The longest British district has 36; a remembered verdict must stay under 256 bytes.
pub const TOWN_CHARS_MAX: u32 = 48;
