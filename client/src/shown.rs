//! Food ordering as it is printed: the service's answers as objects of the contract, and as text for a person.

use common::clock::Timestamp;
use common::services::just_hungry::command::{Delivery, Source, Stock, Verdict};
use common::services::just_hungry::london;
use common::services::just_hungry::query::{self, Basket, Details, MenuItem, Quote, Status, letters};
use common::services::money::Pence;

use crate::objects;
use crate::output::{Lean, Screen, YELLOW, escaped, paint, table};

impl From<&MenuItem> for objects::Product {
    fn from(item: &MenuItem) -> Self {
        Self {
            letter: letters(item.place),
            item: item.name.clone(),
            price_pence: item.price.get(),
            stock: match item.stock {
                Stock::Unlimited => None,
                Stock::Counted(left) => Some(left),
            },
        }
    }
}

/// A customer's details as an object.
pub fn user(user: &str, details: &Details) -> objects::User {
    let verdict = details.verdict.as_ref();
    objects::User {
        user: user.into(),
        first: details.first.clone(),
        last: details.last.clone(),
        phone: details.phone.as_ref().map(ToString::to_string),
        address: details.address.clone(),
        postcode: verdict.map(|verdict| verdict.postcode.to_string()),
        postcode_check: verdict.map(|verdict| verdict.source.to_string()),
        town: verdict.and_then(|verdict| verdict.town.clone()),
    }
}

/// A basket as an object.
pub fn cart(user: &str, basket: &Basket) -> objects::Cart {
    let line = |line: &query::BasketLine| objects::CartLine {
        item: line.item.clone(),
        qty: line.qty,
        price_pence: line.price.map(Pence::get),
        line_pence: line.sum().map(Pence::get),
        short: line.short,
    };
    objects::Cart {
        user: user.into(),
        lines: basket.lines.iter().map(line).collect(),
        items_pence: basket.items.get(),
    }
}

/// A quote as an object. What is short is refused, so nothing in it is.
pub fn quote(user: &str, quote: &Quote) -> objects::Quote {
    let line = |line: &query::OrderLine| objects::CartLine {
        item: line.item.clone(),
        qty: line.qty,
        price_pence: Some(line.price.get()),
        line_pence: Some(line.sum().get()),
        short: false,
    };
    objects::Quote {
        cart: objects::Cart {
            user: user.into(),
            lines: quote.lines.iter().map(line).collect(),
            items_pence: quote.items.get(),
        },
        delivery: quote.delivery.as_str(),
        delivery_pence: quote.fee.get(),
        tip_pence: quote.tip.get(),
        total_pence: quote.total.get(),
    }
}

impl From<&query::Order> for objects::Order {
    fn from(order: &query::Order) -> Self {
        let owner = order.owner.as_ref();
        let line = |line: &query::OrderLine| objects::OrderLine {
            item: line.item.clone(),
            qty: line.qty,
            price_pence: line.price.get(),
            line_pence: line.sum().get(),
        };
        Self {
            no: order.no.into(),
            id: owner.map(|owner| owner.id),
            user: owner.map(|owner| owner.user.clone()),
            status: order.status.as_str(),
            placed: order.placed.to_string(),
            deliver_by: order.deliver_by.to_string(),
            delivery: order.delivery.as_str(),
            lines: order.lines.iter().map(line).collect(),
            items_pence: order.items.get(),
            delivery_pence: order.fee.get(),
            tip_pence: order.tip.get(),
            total_pence: order.total.get(),
            postcode: Some(order.verdict.postcode.to_string()),
            postcode_check: Some(order.verdict.source.to_string()),
            request_id: owner.and_then(|owner| owner.request).map(|id| id.to_string()),
        }
    }
}

/// The menu as text.
pub fn menu_text(screen: Screen, menu: &[MenuItem]) -> String {
    if menu.is_empty() {
        return "Product list is empty, please try again later.".into();
    }
    let columns = [("", Lean::Left), ("ITEM", Lean::Left), ("PRICE", Lean::Right), ("STOCK", Lean::Left)];
    let row = |item: &MenuItem| {
        let stock = match item.stock {
            Stock::Unlimited => String::new(),
            Stock::Counted(0) => "Out of stock".into(),
            Stock::Counted(left) => left.to_string(),
        };
        vec![letters(item.place), item.name.clone(), item.price.to_string(), stock]
    };
    let text = table(screen, &columns, menu.iter().map(row));
    text.replace("Out of stock", &paint(screen.color, YELLOW, "Out of stock"))
}

/// Details as text, one a line; those not kept are said to be missing.
pub fn user_text(user: &str, details: &Details) -> String {
    let name = match (&details.first, &details.last) {
        (None, None) => None,
        (first, last) => {
            Some([first.as_deref(), last.as_deref()].into_iter().flatten().collect::<Vec<_>>().join(" "))
        }
    };
    let rows = [
        ("User", Some(user.to_owned())),
        ("Name", name),
        ("Phone", details.phone.as_ref().map(ToString::to_string)),
        ("Address", details.address.clone()),
        ("Postcode", details.verdict.as_ref().map(place)),
    ];
    let line = |(what, value): (&str, Option<String>)| {
        escaped(&format!("{what:8}  {}", value.as_deref().unwrap_or("-").replace('\n', "\\n")))
    };
    rows.map(line).join("\n")
}

/// A basket as text.
pub fn cart_text(basket: &Basket) -> String {
    if basket.lines.is_empty() {
        return "Your basket is empty.".into();
    }
    let mut lines = lines_text(basket.lines.iter().map(|line| {
        let price = line.sum().map_or("not on the menu".into(), |sum| sum.to_string());
        (line.qty, line.item.as_str(), price, if line.short { "short of stock" } else { "" })
    }));
    lines.push(format!("  Total {}", basket.items));
    lines.join("\n")
}

/// A basket in a prompt; `None` when it is empty.
pub fn basket_in_short(basket: &Basket) -> Option<String> {
    match basket.lines.iter().map(|line| line.qty).sum::<u32>() {
        0 => None,
        1 => Some(format!("1 item {}", basket.items)),
        count => Some(format!("{count} items {}", basket.items)),
    }
}

/// A quote as text.
pub fn quote_text(quote: &Quote) -> String {
    let mut lines = order_lines(&quote.lines);
    let speed = match quote.delivery {
        Delivery::TwoHours => "Within 2 hours",
        Delivery::SameDay => "Same day",
        Delivery::NextDay => "Next day",
    };
    lines.push(format!("  {speed} {}{}   Total {}", quote.fee, tip(quote.tip), quote.total));
    lines.join("\n")
}

/// An order as text under this headline.
pub fn order_text(headline: &str, order: &query::Order, now: Timestamp) -> String {
    let headline = format!("{headline:62} {}", place(&order.verdict));
    let mut lines = vec![escaped(headline.trim_end())];
    lines.extend(order_lines(&order.lines));
    let by = order.deliver_by_in_words(now);
    lines.push(format!("  {by} {}{}   Total {}", order.fee, tip(order.tip), order.total));
    lines.join("\n")
}

/// The headline of an order that is only shown.
pub fn headline(order: &query::Order, now: Timestamp) -> String {
    let state = match order.status {
        Status::Active => "",
        Status::Cancelled => " (cancelled)",
    };
    format!("Order #{}{state}, placed {}", order.no, london::in_words(order.placed, now))
}

/// A list of orders as text.
pub fn orders_text(screen: Screen, orders: &[query::Order], now: Timestamp) -> String {
    let columns = [
        ("NO", Lean::Right),
        ("PLACED", Lean::Left),
        ("STATUS", Lean::Left),
        ("DELIVERY", Lean::Left),
        ("TOTAL", Lean::Right),
        ("POSTCODE", Lean::Left),
        ("ITEMS", Lean::Left),
    ];
    let row = |order: &query::Order| {
        let items: Vec<String> =
            order.lines.iter().map(|line| format!("{} x {}", line.qty, line.item)).collect();
        vec![
            order.no.to_string(),
            london::in_words(order.placed, now),
            order.status.as_str().into(),
            order.delivery.to_string(),
            order.total.to_string(),
            order.verdict.postcode.to_string(),
            items.join(", "),
        ]
    };
    table(screen, &columns, orders.iter().map(row))
}

fn order_lines(lines: &[query::OrderLine]) -> Vec<String> {
    lines_text(lines.iter().map(|line| (line.qty, line.item.as_str(), line.sum().to_string(), "")))
}

/// `  2 x Hamburger     £15.70`, the amounts below one another.
fn lines_text<'a>(lines: impl Iterator<Item = (u32, &'a str, String, &'a str)>) -> Vec<String> {
    let lines: Vec<_> = lines
        .map(|(qty, item, price, note)| {
            (escaped(&format!("{qty} x {item}")).replace('\n', "\\n"), price, note)
        })
        .collect();
    let widest = |width: fn(&(String, String, &str)) -> usize| lines.iter().map(width).max().unwrap_or(0);
    let (what, price) = (widest(|line| line.0.chars().count()), widest(|line| line.1.chars().count()));
    let line = |line: &(String, String, &str)| {
        format!("  {:what$}  {:>price$}  {}", line.0, line.1, line.2).trim_end().to_owned()
    };
    lines.iter().map(line).collect()
}

fn tip(tip: Pence) -> String {
    if tip == Pence::ZERO { String::new() } else { format!("   Tip {tip}") }
}

/// `DH1 3LE, County Durham (checked by postcodes.io)`.
fn place(verdict: &Verdict) -> String {
    let checked = match verdict.source {
        Source::Unconfirmed => "not confirmed".to_owned(),
        Source::Offline => "checked offline".to_owned(),
        source => format!("checked by {source}"),
    };
    format!("{}, {} ({checked})", verdict.postcode, verdict.place())
}

#[cfg(test)]
mod tests;
