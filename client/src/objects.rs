//! What is printed: one type per object of the contract, fields in its order. Fields are added to, never renamed.

use serde::Serialize;

/// A product on the menu.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Product {
    /// A, B, … Z, AA, …: its place.
    pub letter: String,
    /// Its name.
    pub item: String,
    /// Price of one.
    pub price_pence: u64,
    /// How many are left; `None`: any number.
    pub stock: Option<u32>,
}

/// The message of the day.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Motd {
    /// Its text.
    pub motd: String,
}

/// That it was done, where nothing else is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Done {
    /// Yes.
    pub done: bool,
}

impl Done {
    /// It was.
    pub const YES: Self = Self { done: true };
}

/// What this program is, and what it stands on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct About {
    /// Of the client.
    pub version: &'static str,
    /// Of all of ours.
    pub licence: &'static str,
    /// Whose data are shown, in their owners' words.
    pub attributions: &'static [&'static str],
    /// What a user code is not.
    pub note: &'static str,
}

/// A line of the client's own list of name servers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Server {
    /// Its number in the list, from 1.
    pub number: usize,
    /// Where it is.
    pub address: String,
}

/// A customer's details.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct User {
    /// The user code.
    pub user: String,
    /// First name.
    pub first: Option<String>,
    /// Last name.
    pub last: Option<String>,
    /// In E.164.
    pub phone: Option<String>,
    /// Street and house.
    pub address: Option<String>,
    /// Canonical.
    pub postcode: Option<String>,
    /// Who says that it is in use.
    pub postcode_check: Option<String>,
    /// Where that is.
    pub town: Option<String>,
}

/// A line of a basket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CartLine {
    /// The product.
    pub item: String,
    /// How many.
    pub qty: u32,
    /// Price of one, now; `None` when it is not on the menu any more.
    pub price_pence: Option<u64>,
    /// Price of the line.
    pub line_pence: Option<u64>,
    /// Whether fewer are left.
    pub short: bool,
}

/// A basket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Cart {
    /// Whose.
    pub user: String,
    /// What is in it.
    pub lines: Vec<CartLine>,
    /// Price of all lines.
    pub items_pence: u64,
}

/// What an order would cost.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Quote {
    /// Whose, and what.
    #[serde(flatten)]
    pub cart: Cart,
    /// `2h`, `same-day` or `next-day`.
    pub delivery: &'static str,
    /// Its fee.
    pub delivery_pence: u64,
    /// For the courier.
    pub tip_pence: u64,
    /// All together.
    pub total_pence: u64,
}

/// A line of an order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct OrderLine {
    /// The product.
    pub item: String,
    /// How many.
    pub qty: u32,
    /// Price of one, then.
    pub price_pence: u64,
    /// Price of the line.
    pub line_pence: u64,
}

/// An order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Order {
    /// Its number among the user's, or the postcode's.
    pub no: u64,
    /// Its number among all; `None` in a postcode's list.
    pub id: Option<u64>,
    /// Whose; `None` in a postcode's list.
    pub user: Option<String>,
    /// `active` or `cancelled`.
    pub status: &'static str,
    /// When it was placed.
    pub placed: String,
    /// Until when it is there.
    pub deliver_by: String,
    /// `2h`, `same-day` or `next-day`.
    pub delivery: &'static str,
    /// What was ordered.
    pub lines: Vec<OrderLine>,
    /// Price of all lines.
    pub items_pence: u64,
    /// The delivery's fee.
    pub delivery_pence: u64,
    /// For the courier.
    pub tip_pence: u64,
    /// All together.
    pub total_pence: u64,
    /// Where it goes.
    pub postcode: Option<String>,
    /// Who says that the postcode is in use.
    pub postcode_check: Option<String>,
    /// The command's identity; `None` in a postcode's list and for the samples.
    pub request_id: Option<String>,
}

/// What is known of a postcode.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Postcode {
    /// As it was given.
    pub input: String,
    /// Canonical.
    pub postcode: Option<String>,
    /// `valid`, `malformed`, `unknown`, `retired` or `unconfirmed`.
    pub answer: &'static str,
    /// Who said so.
    pub source: Option<String>,
    /// Where that is.
    pub town: Option<String>,
    /// Since which month.
    pub retired: Option<String>,
    /// In words.
    pub message: String,
}

/// A film.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Movie {
    /// What it is called.
    pub title: String,
    /// When it came out.
    pub year: Option<u16>,
    /// Where to read of it.
    pub url: Option<String>,
    /// What it is about.
    pub description: Option<String>,
    /// Of what kind it is.
    pub genres: Vec<String>,
    /// Its number at IMDb.
    pub imdb: Option<String>,
    /// Who told of it: `local`, `omdb` or `both`.
    pub source: &'static str,
    /// How well it fits what was asked for; `None` in lists of all.
    #[serde(rename = "match")]
    pub class: Option<&'static str>,
    /// Whether there is a url and a description.
    pub complete: bool,
    /// Whether it is stored here.
    pub stored: bool,
    /// What OMDb had to do with it: `asked`, `not_needed`, `no_key`, `unavailable` or `absent`.
    pub omdb: &'static str,
    /// Others that fit less.
    pub near: Vec<NearMovie>,
    /// `added` or `updated`, from `add` and `edit`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outcome: Option<&'static str>,
}

/// The name of a film.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NearMovie {
    /// What it is called.
    pub title: String,
    /// When it came out.
    pub year: Option<u16>,
}

/// What an import did.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Import {
    /// With films.
    pub movies: Imported,
    /// With ratings.
    pub ratings: Imported,
    /// How long it took.
    pub seconds: f64,
}

/// What became of the entries of a list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Imported {
    /// New.
    pub added: u32,
    /// There, and known better.
    pub completed: u32,
    /// There, and as they were.
    pub unchanged: u32,
    /// Rows that told of an entry once more.
    pub merged: u64,
    /// Rows that broke a rule.
    pub bad: u64,
}

/// A rating.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Rating {
    /// Whose.
    pub user: String,
    /// Of which film.
    pub title: String,
    /// When that came out.
    pub year: Option<u16>,
    /// How many stars; `None` when it was taken back.
    pub rating: Option<f64>,
    /// How many before.
    pub previous: Option<f64>,
    /// `rated`, `deleted` or `superseded`; `None` when it was only looked at.
    pub outcome: Option<&'static str>,
}

/// How a film is rated.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Average {
    /// Which.
    pub title: String,
    /// When it came out.
    pub year: Option<u16>,
    /// How many ratings there are.
    pub count: u64,
    /// Their mean, six decimals; `None`: there are none.
    pub mean: Option<f64>,
}

/// How a film's ratings are spread.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Histogram {
    /// Of which, and their mean.
    #[serde(flatten)]
    pub average: Average,
    /// 0.0, 0.5, and so on to 5.0.
    pub buckets: Vec<Bucket>,
}

/// The ratings near a half star.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Bucket {
    /// Which.
    pub rating: f64,
    /// How many.
    pub count: u64,
}

/// A replica whose status was set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StatusSet {
    /// Which.
    pub name: String,
    /// What it did before.
    pub from: &'static str,
    /// What it does now.
    pub to: &'static str,
}

/// A record of the name server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Name {
    /// The name.
    pub name: String,
    /// HOST:PORT, or a Pyro object's URI.
    pub address: String,
    /// Which object there.
    pub object: Option<String>,
    /// Which contract it speaks.
    pub contract: Option<String>,
    /// `exclusive` or `shared`.
    pub sharing: &'static str,
    /// The process that registered it.
    pub instance: String,
    /// The registration's fencing token.
    pub epoch: u64,
    /// What else there is to know.
    pub tags: Vec<String>,
    /// `up` or `draining`.
    pub readiness: &'static str,
    /// `confirmed` or `unconfirmed`.
    pub standing: &'static str,
    /// Its lease's; `None`: permanent.
    pub ttl_ms: Option<u64>,
    /// Share of the calls.
    pub weight: u16,
}

/// A change of the name server's, as `ns watch` tells it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NameChange {
    /// The record; of one that is gone, what it was.
    #[serde(flatten)]
    pub record: Name,
    /// `registered`, `updated` or `removed`.
    pub change: &'static str,
    /// Why it was removed.
    pub why: Option<&'static str>,
    /// The registry's revision.
    pub rev: u64,
}

/// A copy of the name server's store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Snapshot {
    /// Its file, on the name server's machine.
    pub file: String,
    /// How often the store was opened before.
    pub boot: u64,
    /// The registry's revision.
    pub rev: u64,
}

/// A name server's answer.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Ping {
    /// Where it listens.
    pub address: String,
    /// Its cluster.
    pub cluster: String,
    /// How often its store was opened.
    pub boot: u64,
    /// The registry's revision.
    pub rev: u64,
    /// How long the answer took.
    pub ms: f64,
}

/// How the cluster is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Status {
    /// That of the worst group.
    pub health: Health,
    /// Of the list.
    pub name_servers: Vec<NameServer>,
    /// All that are registered.
    pub front_ends: Vec<FrontEnd>,
    /// Every group there is.
    pub groups: Vec<Group>,
}

/// How a group is; the later the worse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Health {
    /// All members are in sync.
    Healthy,
    /// It serves, and somebody is missing.
    Degraded,
    /// It serves nobody.
    Unavailable,
}

/// A name server of the list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NameServer {
    /// Where it should listen.
    pub address: String,
    /// How often its store was opened.
    pub boot: Option<u64>,
    /// The registry's revision.
    pub rev: Option<u64>,
    /// Whether it answers.
    pub ok: bool,
}

/// A registered front end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FrontEnd {
    /// Where it listens.
    pub address: String,
    /// Its pages.
    pub http: Option<String>,
}

/// A replicated service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Group {
    /// Its name.
    pub service: String,
    /// `passive` or `gossip`.
    pub kind: &'static str,
    /// How it is.
    pub health: Health,
    /// Of its configuration.
    pub version: Option<u64>,
    /// How often its primary changed.
    pub epoch: Option<u64>,
    /// How many must be in sync.
    pub min_in_sync: Option<u8>,
    /// Everybody who is or was heard of.
    pub members: Vec<Member>,
    /// Whether the name server's record contradicts the members' disks: an operator must adopt the newest.
    pub needs_adoption: bool,
    /// Up to where its primary has committed; for whoever waits only.
    #[serde(skip)]
    pub committed: Option<u64>,
}

/// A member of a group.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Member {
    /// The name it is registered under.
    pub name: String,
    /// Its disk.
    pub replica_id: Option<String>,
    /// `primary`, `backup`, `learner`; `None` when it has none.
    pub role: Option<&'static str>,
    /// `online`, `draining` or `gone`.
    pub status: &'static str,
    /// Where it listens.
    pub address: Option<String>,
    /// Whether its disk holds every acknowledged update.
    pub in_sync: bool,
    /// The last entry of its log.
    pub index: Option<u64>,
    /// The last entry applied.
    pub applied: Option<u64>,
    /// How many entries it has still to apply.
    pub behind: Option<u64>,
    /// Chained hash of what it applied, 16 hexadecimal digits.
    pub state_hash: Option<String>,
    /// A gossip member's clock.
    pub vector: Option<std::collections::BTreeMap<String, u64>>,
    /// A gossip member's log.
    pub log: Option<u64>,
    /// When a gossip member last heard another.
    pub gossip_age_ms: Option<u64>,
    /// Since its start.
    pub uptime_ms: Option<u64>,
    /// When it was last heard by another member.
    pub seen_ms: Option<u64>,
    /// Updates put aside for an operator.
    pub stranded: u64,
    /// Why it does not serve; for a person only.
    #[serde(skip)]
    pub trouble: String,
    /// The epoch it knows; for a person only.
    #[serde(skip)]
    pub epoch: Option<u64>,
}

impl Member {
    /// Whether it protects what is acknowledged, as it should.
    pub fn is_good(&self) -> bool {
        self.in_sync && self.status == "online" && self.trouble.is_empty()
    }
}
