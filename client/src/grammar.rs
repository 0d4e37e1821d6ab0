//! The commands, as they are typed: one tree for the command line and whatever else will take commands.

use std::time::Duration;

use clap::builder::styling::Styles;
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use clap::{Args, Parser, Subcommand};
use common::names::{Address, LogicalName};
use common::replication::{GroupName, RequestId};
use common::services::just_hungry::command::{Delivery, Item};
use common::services::money::Pence;

use crate::output::{Color, Format};

/// Just Hungry: hot food, cold facts. And the names and replicas behind it.
#[derive(Clone, Debug, Parser)]
#[command(name = "client", version, styles = Styles::plain(), max_term_width = 100, disable_help_flag = true,
    subcommand_required = true,
    arg_required_else_help = true, before_help = "Examples:\n  client menu\n  client order place -u ann --item \
    hamburger=2 --postcode \"DH1 3LE\"\n  client order list -u ann --json\n  client cluster status")]
pub struct Cli {
    /// What every command can be told
    #[command(flatten)]
    pub global: Global,
    /// What to do
    #[command(subcommand)]
    pub command: Command,
}

/// What every command can be told.
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "For every command")]
pub struct Global {
    /// Where the name servers are.
    #[arg(
        short = 'n',
        long,
        global = true,
        env = "NAME_SERVER",
        help = "Where the name servers are [default: 127.0.0.1:9090, or PYRO_NS_HOST and PYRO_NS_PORT]",
        value_name = "HOST:PORT",
        value_delimiter = ','
    )]
    pub name_server: Vec<Address>,
    /// Whose basket and orders; it keeps people apart, it proves nothing [default: the last one]
    #[arg(short, long, global = true, env = "CLIENT_USER", value_name = "CODE", value_parser = user_code)]
    pub user: Option<String>,
    /// How results look
    #[arg(short, long, global = true, env = "CLIENT_OUTPUT", value_name = "FORMAT", default_value = "table")]
    pub output: Format,
    /// The same as --output json
    #[arg(long, global = true)]
    pub json: bool,
    /// When to use colour
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    pub color: Color,
    /// How long to try [default: 5s; 15s for cluster wait]
    #[arg(long, global = true, value_name = "TIME", value_parser = timeout)]
    pub timeout: Option<Duration>,
    /// How many times to try that long
    #[arg(long, global = true, value_name = "N", default_value = "1", value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub retries: u32,
    /// From the beginning of one try to that of the next
    #[arg(long, global = true, value_name = "TIME", default_value = "5s", value_parser = duration)]
    pub retry_every: Duration,
    /// The command's identity: a repeat with the same one is not carried out twice
    #[arg(long, global = true, value_name = "UUID")]
    pub request_id: Option<RequestId>,
    /// Never ask; fail instead
    #[arg(long, global = true)]
    pub no_input: bool,
    /// Do it without asking
    #[arg(short, long, global = true)]
    pub yes: bool,
    /// No notes
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub quiet: bool,
    /// Tell of fail-overs
    #[arg(short, long, global = true)]
    pub verbose: bool,
    /// Show this
    #[arg(short, long, global = true, action = clap::ArgAction::HelpShort)]
    pub help: Option<bool>,
}

/// What to do.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Show what there is to eat, with prices and stock
    #[command(before_help = "Example: client menu --json")]
    Menu,
    /// Show the message of the day
    #[command(before_help = "Example: client motd")]
    Motd,
    /// Keep or show a customer's details
    #[command(subcommand, before_help = "Example: client user set -u ann --first Ann --postcode \"DH1 3LE\"")]
    User(User),
    /// Fill or show a basket
    #[command(subcommand, before_help = "Example: client cart add -u ann hamburger=2 chips")]
    Cart(Cart),
    /// Order, and look at orders
    #[command(
        subcommand,
        before_help = "Example: client order place -u ann --item hamburger=2 --delivery same-day"
    )]
    Order(Order),
    /// List orders: the same as order list
    #[command(before_help = "Example: client orders -u ann --active")]
    Orders(OrderList),
    /// Check postcodes
    #[command(subcommand, before_help = "Example: client postcode check \"DH1 3LE\" sw1a1aa")]
    Postcode(Postcode),
    /// See how the servers are, and wait for them
    #[command(subcommand, before_help = "Example: client cluster status --json")]
    Cluster(Cluster),
    /// Ask the name server
    #[command(subcommand, before_help = "Example: client ns list replica.")]
    Ns(Ns),
}

/// About a customer.
#[derive(Clone, Debug, Subcommand)]
pub enum User {
    /// Show the details kept
    #[command(before_help = "Example: client user show -u ann")]
    Show,
    /// Keep details; those not given stay
    #[command(
        override_usage = "client user set [OPTIONS]",
        before_help = "Example: client user set -u ann --first Ann --phone \"020 7946 0018\" --postcode dh13le"
    )]
    Set(UserSet),
}

/// Details to keep.
#[derive(Clone, Debug, Args)]
#[group(required = true, multiple = true)]
pub struct UserSet {
    /// First name
    #[arg(long, value_name = "TEXT")]
    pub first: Option<String>,
    /// Last name
    #[arg(long, value_name = "TEXT")]
    pub last: Option<String>,
    /// Telephone number, British or international
    #[arg(long, value_name = "TEXT")]
    pub phone: Option<String>,
    /// Postcode
    #[arg(long, value_name = "PC")]
    pub postcode: Option<String>,
    /// House and street
    #[arg(long, value_name = "TEXT")]
    pub address: Option<String>,
}

/// About a basket.
#[derive(Clone, Debug, Subcommand)]
pub enum Cart {
    /// Show it
    #[command(before_help = "Example: client cart show -u ann")]
    Show,
    /// Put products into it
    #[command(before_help = "Example: client cart add -u ann hamburger=2 \"fish fingers\"")]
    Add {
        /// What, and how many of it (1)
        #[arg(required = true, value_name = "ITEM[=QTY]", value_parser = item)]
        items: Vec<Item>,
    },
    /// Say how many of a product are in it
    #[command(before_help = "Example: client cart set -u ann hamburger=3")]
    Set {
        /// What, and how many of it
        #[arg(required = true, value_name = "ITEM=QTY", value_parser = counted_item)]
        items: Vec<Item>,
    },
    /// Take products out of it
    #[command(before_help = "Example: client cart remove -u ann hamburger")]
    Remove {
        /// What
        #[arg(required = true, value_name = "ITEM")]
        items: Vec<String>,
    },
    /// Take everything out of it
    #[command(before_help = "Example: client cart clear -u ann")]
    Clear,
}

/// About orders.
#[derive(Clone, Debug, Subcommand)]
pub enum Order {
    /// Say what an order would cost; takes nothing
    #[command(before_help = "Example: client order quote -u ann --item apple=2 --delivery 2h --tip 0.78")]
    Quote(Goods),
    /// Place an order: the products named, or the basket
    #[command(
        before_help = "Example: client order place -u ann --item hamburger=2 --postcode \"DH1 3LE\" --json"
    )]
    Place(Place),
    /// List orders
    #[command(before_help = "Example: client order list -u ann --active --json")]
    List(OrderList),
    /// Show one order
    #[command(before_help = "Example: client order show -u ann 3")]
    Show {
        /// Its number, as order list tells
        no: u32,
    },
    /// Cancel an order; its stock goes back
    #[command(before_help = "Example: client order cancel -u ann 3 --yes")]
    Cancel {
        /// Its number, as order list tells
        no: u32,
    },
}

/// What to order, and how it comes.
#[derive(Clone, Debug, Args)]
pub struct Goods {
    /// A product, and how many of it (1); without any: the basket
    #[arg(long = "item", value_name = "ITEM[=QTY]", value_parser = item)]
    pub items: Vec<Item>,
    /// How fast: 2h £3.00, same-day £1.00, next-day free
    #[arg(long, value_name = "SPEED", default_value = "next-day", value_parser = delivery())]
    pub delivery: Delivery,
    /// For the rider, in pounds
    #[arg(long, value_name = "AMOUNT", default_value = "0")]
    pub tip: Pence,
}

/// An order.
#[derive(Clone, Debug, Args)]
pub struct Place {
    /// What, and how it comes
    #[command(flatten)]
    pub goods: Goods,
    /// Where to, for this order only
    #[arg(long, value_name = "PC")]
    pub postcode: Option<String>,
    /// Refuse a postcode that nobody could confirm
    #[arg(long)]
    pub strict_postcode: bool,
    /// Order only at this total
    #[arg(long, value_name = "TOTAL")]
    pub expect: Option<Pence>,
}

/// Which orders.
#[derive(Clone, Debug, Args)]
pub struct OrderList {
    /// Only those not cancelled
    #[arg(long)]
    pub active: bool,
    /// All that go to this postcode, whoever ordered them
    #[arg(long, value_name = "PC", conflicts_with = "after")]
    pub postcode: Option<String>,
    /// This many at most
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub limit: Option<u32>,
    /// Only those after this number
    #[arg(long, value_name = "NO")]
    pub after: Option<u32>,
}

/// About postcodes.
#[derive(Clone, Debug, Subcommand)]
pub enum Postcode {
    /// Check postcodes, one row each; exit status 4 if any is not valid
    #[command(before_help = "Example: client postcode check \"DH1 3LE\" sw1a1aa --json")]
    Check {
        /// The postcodes, however they are written
        #[arg(required = true, value_name = "PC")]
        postcodes: Vec<String>,
        /// Those that nobody could confirm count as not valid
        #[arg(long)]
        strict_postcode: bool,
    },
}

/// About the servers.
#[derive(Clone, Debug, Subcommand)]
pub enum Cluster {
    /// Ask every replica how it is; exit status 5 when a service serves nobody
    #[command(before_help = "Example: client cluster status")]
    Status,
    /// Wait until every service serves, with all members in sync and up to date
    #[command(before_help = "Example: client cluster wait --replicas 3 --timeout 30s")]
    Wait {
        /// How many members, at least [default: all known]
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
        replicas: Option<u16>,
    },
    /// Have a name server that lost its store, or has an old copy, follow the newest record that the replicas know;
    /// asks first
    #[command(before_help = "Example: client cluster adopt just.hungry")]
    Adopt {
        /// Which group
        group: GroupName,
    },
    /// Give a group to one replica's disk alone, when no other of its in-sync set will come back; asks first
    #[command(before_help = "Example: client cluster force-elect just.hungry replica.2")]
    ForceElect {
        /// Which group
        group: GroupName,
        /// The replica: its name, or the number of replica.N
        #[arg(value_parser = replica_name)]
        name: LogicalName,
    },
}

/// About names.
#[derive(Clone, Debug, Subcommand)]
pub enum Ns {
    /// Ask each name server of the list whether it is there
    #[command(before_help = "Example: client ns ping")]
    Ping,
    /// List names
    #[command(before_help = "Example: client ns list replica. --json")]
    List {
        /// Only those that begin so
        #[arg(conflicts_with = "regex")]
        prefix: Option<String>,
        /// Only those that this expression matches somewhere
        #[arg(long, value_name = "RE")]
        regex: Option<String>,
        /// Only those with this tag; several: with all of them
        #[arg(long = "tag", value_name = "TAG")]
        tags: Vec<String>,
        /// With any of the tags
        #[arg(long, requires = "tags")]
        any: bool,
    },
    /// Look one name up
    #[command(before_help = "Example: client ns lookup just.hungry")]
    Lookup {
        /// The name
        name: String,
    },
}

impl Global {
    /// The form of results.
    pub fn format(&self) -> Format {
        if self.json { Format::Json } else { self.output }
    }
}

fn delivery() -> impl TypedValueParser<Value = Delivery> {
    let word = |(word, number)| PossibleValue::new(word).alias(number);
    PossibleValuesParser::new([("2h", "1"), ("same-day", "2"), ("next-day", "3")].map(word))
        .map(|word| word.parse().expect("each of these words is a delivery"))
}

fn item(text: &str) -> Result<Item, String> {
    if text.contains('=') { counted_item(text) } else { named(text, 1) }
}

fn counted_item(text: &str) -> Result<Item, String> {
    let (name, qty) = text.rsplit_once('=').ok_or("say how many, like hamburger=2")?;
    named(
        name,
        qty.trim().parse().map_err(|_| format!("{qty:?} is no quantity; 1 to 99 is, like hamburger=2"))?,
    )
}

fn named(name: &str, qty: u32) -> Result<Item, String> {
    match name.trim() {
        "" => Err("the product's name is missing, like hamburger=2".into()),
        item => Ok(Item { item: item.into(), qty }),
    }
}

fn replica_name(text: &str) -> Result<LogicalName, String> {
    let name = if text.parse::<u32>().is_ok() { format!("replica.{text}") } else { text.to_owned() };
    name.parse().map_err(|error| format!("{error}"))
}

fn user_code(text: &str) -> Result<String, String> {
    match text.trim() {
        code if (1..=64).contains(&code.chars().count()) => Ok(code.into()),
        _ => Err("a user code has 1 to 64 characters".into()),
    }
}

/// Reads `300ms`, `5s`, `2m` or `1h`.
fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: Option<u64> = number.parse().ok();
    let millis = match unit {
        "ms" => number,
        "s" => number.and_then(|n| n.checked_mul(1_000)),
        "m" => number.and_then(|n| n.checked_mul(60_000)),
        "h" => number.and_then(|n| n.checked_mul(3_600_000)),
        _ => None,
    };
    millis.map(Duration::from_millis).ok_or_else(|| "a time is like 300ms, 5s or 2m".into())
}

fn timeout(text: &str) -> Result<Duration, String> {
    /// Longer than anybody waits; a command is sent for 60 s at most.
    const LONGEST: Duration = Duration::from_hours(1);
    match duration(text)? {
        Duration::ZERO => Err("longer than nothing".into()),
        time if time <= LONGEST => Ok(time),
        _ => Err("1h at most".into()),
    }
}

#[cfg(test)]
mod tests;
