//! The values of arguments: how each is read, and what is said when it is none.

use std::time::Duration;

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use common::names::LogicalName;
use common::rpc::gossip::Status;
use common::services::just_hungry::command::{Delivery, Item};

pub(super) fn delivery() -> impl TypedValueParser<Value = Delivery> {
    let word = |(word, number)| PossibleValue::new(word).alias(number);
    PossibleValuesParser::new([("2h", "1"), ("same-day", "2"), ("next-day", "3")].map(word))
        .map(|word| word.parse().expect("each of these words is a delivery"))
}

pub(super) fn item(text: &str) -> Result<Item, String> {
    if text.contains('=') { counted_item(text) } else { named(text, 1) }
}

pub(super) fn counted_item(text: &str) -> Result<Item, String> {
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

pub(crate) fn replica_name(text: &str) -> Result<LogicalName, String> {
    let name = if text.parse::<u32>().is_ok() { format!("replica.{text}") } else { text.to_owned() };
    name.parse().map_err(|error| format!("{error}"))
}

pub(crate) fn user_code(text: &str) -> Result<String, String> {
    match text.trim() {
        code if (1..=64).contains(&code.chars().count()) => Ok(code.into()),
        _ => Err("a user code has 1 to 64 characters".into()),
    }
}

/// Reads `300ms`, `5s`, `2m` or `1h`.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
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

pub(super) fn timeout(text: &str) -> Result<Duration, String> {
    /// Longer than anybody waits; a command is sent for 60 s at most.
    const LONGEST: Duration = Duration::from_hours(1);
    match duration(text)? {
        Duration::ZERO => Err("longer than nothing".into()),
        time if time <= LONGEST => Ok(time),
        _ => Err("1h at most".into()),
    }
}

pub(super) fn status() -> impl TypedValueParser<Value = Status> {
    const ALL: [Status; 3] = [Status::Online, Status::Offline, Status::Overloaded];
    PossibleValuesParser::new(ALL.map(Status::as_str)).map(|word| {
        ALL.into_iter().find(|status| status.as_str() == word).expect("each of these words is a status")
    })
}
