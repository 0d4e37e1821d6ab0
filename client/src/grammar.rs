//! The commands, as they are typed: one tree for the command line, the lines of a script, and those of a person.

mod line;
mod movies;
mod ratings;
mod values;

use std::path::PathBuf;
use std::time::Duration;

use clap::builder::styling::Styles;
use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;
use common::names::{Address, LogicalName};
use common::replication::{GroupName, RequestId};
use common::rpc::gossip::Status;
use common::services::just_hungry::command::{Delivery, Item};
use common::services::money::Pence;

use crate::output::{Color, Format};
use values::{counted_item, delivery, duration, item, status, timeout};

pub(crate) use line::{BadLine, parse_line};
pub use movies::{FindMovie, Import, Movie, MovieList, MovieText, Movielens, Only};
pub use ratings::{Rate, RatedFilm, Rating};
pub(crate) use values::{replica_name, user_code};

/// Just Hungry: hot food, cold facts. And the names and replicas behind it.
#[derive(Clone, Debug, Parser)]
#[command(name = "client", version, styles = Styles::plain(), max_term_width = 100, disable_help_flag = true,
    after_help = "Without a command: at a terminal the interactive client, else a script from standard input.",
    before_help = "Examples:\n  client menu\n  client order place -u ann --item \
    hamburger=2 --postcode \"DH1 3LE\"\n  client order list -u ann --json\n  client cluster status")]
pub struct Cli {
    /// What every command can be told
    #[command(flatten)]
    pub global: Global,
    /// What to do; nothing: talk with a person, or read a script
    #[command(subcommand)]
    pub command: Option<Command>,
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
    /// Run a script: one command a line
    #[command(before_help = "Example: client run orders.txt --keep-going")]
    Run(Run),
    /// Show what there is to eat, with prices and stock; or replace it
    #[command(before_help = "Example: client menu --json")]
    Menu(Menu),
    /// Show the message of the day; or set it
    #[command(before_help = "Example: client motd")]
    Motd(Motd),
    /// Tell versions, licences, and what a user code is not
    #[command(before_help = "Example: client about")]
    About,
    /// Keep or show a customer's details
    #[command(subcommand, before_help = "Example: client user set -u ann --first Ann --postcode \"DH1 3LE\"")]
    User(User),
    /// Fill or show a basket
    #[command(subcommand, before_help = "Example: client cart add -u ann hamburger=2 chips")]
    Cart(Cart),
    /// Order, and look at orders; alone, at a terminal: be led through an order
    #[command(before_help = "Example: client order place -u ann --item hamburger=2 --delivery same-day")]
    Order(Orders),
    /// List orders: the same as order list
    #[command(before_help = "Example: client orders -u ann --active")]
    Orders(OrderList),
    /// Find, list, add and change films
    #[command(subcommand, before_help = "Example: client movie find the matrix --json")]
    Movie(Movie),
    /// Find a film: the same as movie find
    #[command(visible_alias = "get", before_help = "Example: client find the matrix")]
    Find(FindMovie),
    /// Add a film: the same as movie add
    #[command(before_help = "Example: client add Solaris --year 1972")]
    Add(MovieText),
    /// Change a film: the same as movie edit
    #[command(before_help = "Example: client edit solaris --genre Drama")]
    Edit(MovieText),
    /// List films: the same as movie list
    #[command(before_help = "Example: client all --prefix the")]
    All(MovieList),
    /// Import lists of others
    #[command(subcommand, before_help = "Example: client import movielens ml-latest-small")]
    Import(Import),
    /// Rate films, and see how they are rated
    #[command(subcommand, before_help = "Example: client rating view \"Toy Story (1995)\" -u ann")]
    Rating(Rating),
    /// Show your rating of a film: the same as rating view
    #[command(before_help = "Example: client view \"Toy Story (1995)\" -u ann")]
    View(RatedFilm),
    /// Show the mean of a film's ratings: the same as rating average
    #[command(before_help = "Example: client average \"Toy Story (1995)\"")]
    Average(RatedFilm),
    /// Rate a film: the same as rating rate
    #[command(before_help = "Example: client rate \"Toy Story (1995)\" 4.5 -u ann")]
    Rate(Rate),
    /// Take your rating of a film back: the same as rating delete
    #[command(before_help = "Example: client delete \"Toy Story (1995)\" -u ann")]
    Delete(RatedFilm),
    /// Show how a film's ratings are spread: the same as rating histogram
    #[command(before_help = "Example: client histogram \"Toy Story (1995)\"")]
    Histogram(RatedFilm),
    /// Say whether a replica takes calls about ratings: the same as cluster set
    #[command(before_help = "Example: client change 1 offline")]
    Change {
        /// The replica: its name, or the number of replica.N
        #[arg(value_name = "REPLICA", value_parser = replica_name)]
        replica: LogicalName,
        /// online, offline or overloaded
        #[arg(value_parser = status())]
        status: Status,
    },
    /// Check postcodes
    #[command(subcommand, before_help = "Example: client postcode check \"DH1 3LE\" sw1a1aa")]
    Postcode(Postcode),
    /// See how the servers are, and wait for them
    #[command(subcommand, before_help = "Example: client cluster status --json")]
    Cluster(Cluster),
    /// Ask the name server
    #[command(subcommand, before_help = "Example: client ns list replica.")]
    Ns(Ns),
    /// Keep a list of name servers of your own, which --name-server overrides
    #[command(subcommand, before_help = "Example: client servers add shop.example:9090")]
    Servers(Servers),
    /// Print what a shell needs to complete our commands
    #[command(before_help = "Example: client completions bash")]
    Completions {
        /// Which shell
        shell: Shell,
    },
    /// Write the manual, a page per command
    #[command(before_help = "Example: client man ~/.local/share/man/man1")]
    Man {
        /// Where to; made when it is not there
        dir: PathBuf,
    },
}

/// A script.
#[derive(Clone, Debug, Args)]
pub struct Run {
    /// Where it is; -: standard input
    pub file: PathBuf,
    /// Go on after a failure; the exit status is the first one's
    #[arg(long)]
    pub keep_going: bool,
    /// Show each line on standard error before it is run
    #[arg(long)]
    pub echo: bool,
}

/// About the menu.
#[derive(Clone, Debug, Args)]
pub struct Menu {
    /// To replace it
    #[command(subcommand)]
    pub change: Option<MenuChange>,
}

/// How the menu changes.
#[derive(Clone, Debug, Subcommand)]
pub enum MenuChange {
    /// Replace the whole menu by a file: name,price,stock with that head; stock a number, or unlimited; asks first
    #[command(before_help = "Example: client menu load menu.csv --yes")]
    Load {
        /// The file; -: standard input
        file: PathBuf,
    },
}

/// About the message of the day.
#[derive(Clone, Debug, Args)]
pub struct Motd {
    /// To set it
    #[command(subcommand)]
    pub change: Option<MotdChange>,
}

/// How the message of the day changes.
#[derive(Clone, Debug, Subcommand)]
pub enum MotdChange {
    /// Set it
    #[command(before_help = "Example: client motd set \"Free delivery on Friday.\"")]
    Set {
        /// The message, 1 to 200 characters
        text: String,
    },
}

/// About orders, or the wish to place one.
#[derive(Clone, Debug, Args)]
pub struct Orders {
    /// What exactly
    #[command(subcommand)]
    pub what: Option<Order>,
}

/// About the client's own list of name servers.
#[derive(Clone, Debug, Subcommand)]
pub enum Servers {
    /// Show the list
    #[command(before_help = "Example: client servers list")]
    List,
    /// Add one to the list
    #[command(before_help = "Example: client servers add shop.example:9090")]
    Add {
        /// Where it is
        #[arg(value_name = "HOST:PORT")]
        address: Address,
    },
    /// Remove one from the list
    #[command(before_help = "Example: client servers remove 2")]
    Remove {
        /// Its number, as servers list tells
        number: usize,
    },
}

/// About a customer.
#[derive(Clone, Debug, Subcommand)]
pub enum User {
    /// Be this user from now on
    #[command(before_help = "Example: client user use ann")]
    Use {
        /// The user code
        #[arg(value_parser = user_code)]
        code: String,
    },
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
    /// Say whether a replica takes calls about ratings: online, offline (then it does not gossip either) or overloaded
    #[command(before_help = "Example: client cluster set replica.1 offline")]
    Set {
        /// The replica: its name, or the number of replica.N
        #[arg(value_name = "REPLICA", value_parser = replica_name)]
        name: LogicalName,
        /// online, offline or overloaded
        #[arg(value_parser = status())]
        status: Status,
    },
    /// Take a replica out of the ratings for good, and end it if it lives; asks first
    #[command(before_help = "Example: client cluster remove replica.3")]
    Remove {
        /// The replica: its name, the number of replica.N, or the id of a disk that is gone
        #[arg(value_name = "REPLICA")]
        replica: String,
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
        #[arg(value_name = "REPLICA", value_parser = replica_name)]
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
    /// Tell each change of names as it happens, until Ctrl-C
    #[command(before_help = "Example: client ns watch replica. --json")]
    Watch {
        /// Only those that begin so
        prefix: Option<String>,
    },
    /// Register a name: for good, or with --ttl as long as this command runs
    #[command(before_help = "Example: client ns register printer 10.0.0.7:631 --tag floor=2")]
    Register {
        /// The name
        name: LogicalName,
        /// HOST:PORT, or the URI of a Pyro object
        address: String,
        /// Hold it under a lease of this time-to-live, until Ctrl-C
        #[arg(long, value_name = "D", value_parser = duration)]
        ttl: Option<Duration>,
        /// A tag; several: all of them
        #[arg(long = "tag", value_name = "TAG")]
        tags: Vec<String>,
        /// Others may stand under the name too
        #[arg(long)]
        shared: bool,
        /// Which contract it speaks [default: the name]
        #[arg(long, value_name = "CONTRACT")]
        contract: Option<String>,
    },
    /// Remove a name, whoever holds it, or all that an expression matches; asks first
    #[command(before_help = "Example: client ns remove printer --yes")]
    Remove {
        /// The name
        #[arg(required_unless_present = "regex", conflicts_with = "regex")]
        name: Option<String>,
        /// All that this expression matches somewhere
        #[arg(long, value_name = "RE")]
        regex: Option<String>,
    },
    /// Have the name server write a copy of its store beside it
    #[command(before_help = "Example: client ns snapshot")]
    Snapshot,
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

#[cfg(test)]
mod tests;
