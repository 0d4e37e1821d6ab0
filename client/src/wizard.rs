//! Leads a person through an order: details, products, basket, delivery, tip, total. Each answer is judged by the
//! service, by the rules that hold for everybody, and asked for again until it is good.
//!
//! What was answered is kept as it is answered: whoever is interrupted finds their details and their basket as they
//! left them. Ordered is only what was reviewed, at the total that was shown.

use common::services::just_hungry::checked::Checked;
use common::services::just_hungry::command::{Change, Delivery, Item, Lines, Stock};
use common::services::just_hungry::query::{Details, MenuItem, place};
use common::services::just_hungry::refusal::Refusal;
use common::services::matching::{fold, near};
use common::services::money::Pence;

use crate::errors::{self, Code, Failure};
use crate::just_hungry::{NewDetails, Order};
use crate::output::Ended;
use crate::shop::Shop;
use crate::shown;

/// Of one product in one order.
const QTY_MAX: u32 = 99;

/// A detail: the question, what is known, and how an answer is sent.
type Detail = (&'static str, fn(&Details) -> Option<String>, fn(String) -> NewDetails);

/// In the order they are asked; the postcode before where in it.
const DETAILS: [Detail; 5] = [
    (
        "First name",
        |known| known.first.clone(),
        |text| NewDetails { first: Some(text), ..NewDetails::default() },
    ),
    (
        "Last name",
        |known| known.last.clone(),
        |text| NewDetails { last: Some(text), ..NewDetails::default() },
    ),
    (
        "Phone",
        |known| known.phone.as_ref().map(ToString::to_string),
        |text| NewDetails { phone: Some(text), ..NewDetails::default() },
    ),
    (
        "Postcode",
        |known| known.verdict.as_ref().map(|verdict| verdict.postcode.to_string()),
        |text| NewDetails { postcode: Some(text), ..NewDetails::default() },
    ),
    (
        "Address",
        |known| known.address.clone(),
        |text| NewDetails { address: Some(text), ..NewDetails::default() },
    ),
];

/// Leads `user` through an order.
///
/// # Errors
/// What failed, or how the person ended it.
pub(crate) async fn order(shop: &Shop, user: &str) -> Result<(), Ended> {
    details(shop, user).await?;
    if !fill_basket(shop, user).await? {
        return Ok(());
    }
    let delivery = delivery(shop).await?;
    let mut tip = tip(shop).await?;
    loop {
        let quote = match shop.just_hungry.quote(user, Lines::Basket, delivery, tip).await {
            Err(failure) if failure.code == Code::Invalid => {
                shop.output.say(&failure.message);
                tip = self::tip(shop).await?;
                continue;
            }
            quote => quote?,
        };
        shop.output.say(&shown::quote_text(&quote));
        if !shop.prompts.yes("Place this order?", true).await? {
            shop.output.say("Voiding order.");
            return Ok(());
        }
        let order = Order { delivery, tip, expected: Some(quote.total), ..Order::of(user, Lines::Basket) };
        match shop.just_hungry.place(order).await {
            Ok(placed) => return shop.show_placed(user, placed.no, "").await,
            Err(failure) if failure.code == Code::TotalChanged => shop.output.say(&failure.message),
            Err(failure) => return Err(failure.into()),
        }
    }
}

/// Asks what is not known of a customer; all of it when something is not right any more.
async fn details(shop: &Shop, user: &str) -> Result<(), Ended> {
    let known = shop.just_hungry.details(user).await?;
    let complete = DETAILS.iter().all(|(_, of, _)| of(&known).is_some());
    if complete {
        shop.output.say(&format!("Welcome back, {}.", known.first.as_deref().unwrap_or(user)));
        shop.output.say(&shown::user_text(user, &known));
    }
    let right = complete && shop.prompts.yes("Still right?", true).await?;
    for (question, of, answer) in DETAILS {
        let old = of(&known);
        if right || (!complete && old.is_some()) {
            continue;
        }
        detail(shop, user, question, old, answer).await?;
    }
    shop.output.say("Customer details verified.");
    Ok(())
}

/// Asks for one detail until it is good.
async fn detail(
    shop: &Shop,
    user: &str,
    question: &str,
    old: Option<String>,
    answer: fn(String) -> NewDetails,
) -> Result<(), Ended> {
    let mut refusals = Refusals::default();
    loop {
        let typed = shop.prompts.value(&offering(question, old.as_deref())).await?;
        if typed.is_empty() && old.is_some() {
            return Ok(());
        }
        let new = answer(typed);
        if let Some(postcode) = &new.postcode
            && !will_do(shop, postcode, &mut refusals).await?
        {
            continue;
        }
        match shop.just_hungry.set_details(user, new).await {
            Ok(_) => return Ok(()),
            Err(failure) if asks_again(&failure) => refusals.one_more(shop, failure).await?,
            Err(failure) => return Err(failure.into()),
        }
    }
}

/// Whether a postcode will do: it is valid, or nobody could say and the person wants it all the same.
async fn will_do(shop: &Shop, postcode: &str, refusals: &mut Refusals) -> Result<bool, Ended> {
    let checked = shop.just_hungry.postcode(postcode).await?;
    let sentence = checked.as_ref().map(Checked::sentence).unwrap_or_default();
    let refusal = match checked.and_then(Checked::verdict) {
        Ok(verdict) => {
            shop.output.say(&sentence);
            if verdict.is_valid() || shop.prompts.yes("Order anyway?", false).await? {
                return Ok(true);
            }
            errors::of_refusal(&Refusal::PostcodeUnconfirmed { postcode: verdict.postcode }).told()
        }
        Err(refusal) => errors::of_refusal(&refusal),
    };
    refusals.one_more(shop, refusal).await?;
    Ok(false)
}

/// Answers that were refused, one after another.
#[derive(Default)]
struct Refusals(u32);

impl Refusals {
    /// Says why an answer was refused; a person who has no better postcode may give up.
    async fn one_more(&mut self, shop: &Shop, why: Failure) -> Result<(), Ended> {
        /// As many slips of the hand as anybody makes.
        const PATIENCE: u32 = 3;
        self.0 += 1;
        if !why.told {
            shop.output.say(&why.message);
        }
        let postcode = why.code != Code::Invalid;
        if postcode && self.0.is_multiple_of(PATIENCE) && shop.prompts.yes("Give up?", false).await? {
            return Err(why.told().into());
        }
        Ok(())
    }
}

/// Whether a failure means that another answer is wanted.
fn asks_again(failure: &Failure) -> bool {
    matches!(
        failure.code,
        Code::Invalid | Code::PostcodeMalformed | Code::PostcodeUnknown | Code::PostcodeRetired
    )
}

/// `Postcode [DH1 3LE]: `, where Enter takes what is offered.
fn offering(question: &str, old: Option<&str>) -> String {
    old.map_or_else(|| format!("{question}: "), |old| format!("{question} [{old}]: "))
}

/// Adds products to a basket until its owner goes on with it, or does not.
async fn fill_basket(shop: &Shop, user: &str) -> Result<bool, Ended> {
    let mut basket = shop.just_hungry.basket(user).await?;
    let mut more = basket.lines.is_empty();
    if !more {
        shop.output.say(&shown::cart_text(&basket));
        more = shop.prompts.yes("Add more?", true).await?;
    }
    let (mut shown, adds) = (false, more);
    while more {
        // Read anew for each product: somebody else may have bought the last one.
        let menu = shop.just_hungry.menu().await?;
        if menu.is_empty() {
            shop.output.say("Product list is empty, please try again later.");
            return Ok(false);
        }
        if !shown {
            shop.show_menu(&menu)?;
            shown = true;
        }
        let typed = shop.prompts.product("Product (its letter or name; Enter for the menu): ").await?;
        if typed.is_empty() {
            shown = false;
            continue;
        }
        let Some(product) = product(shop, &menu, &typed).await? else { continue };
        let qty = quantity(shop, product).await?;
        let item = Item { item: product.name.clone(), qty };
        match shop.just_hungry.change_basket(user, Change::Add(item)).await {
            Ok(()) => shop.output.say(&format!("Added {qty} x {}(s) to cart.", product.name)),
            Err(failure) if failure.code == Code::Invalid => shop.output.say(&failure.message),
            Err(failure) => return Err(failure.into()),
        }
        more = shop.prompts.yes("Add more?", true).await?;
    }
    if adds {
        basket = shop.just_hungry.basket(user).await?;
        shop.output.say(&shown::cart_text(&basket));
    }
    if basket.lines.is_empty() {
        return Ok(false);
    }
    let goes_on = shop.prompts.yes("Continue?", true).await?;
    if !goes_on {
        shop.output.say("Voiding order.");
    }
    Ok(goes_on)
}

/// The product that was meant.
async fn product<'a>(shop: &Shop, menu: &'a [MenuItem], typed: &str) -> Result<Option<&'a MenuItem>, Ended> {
    let found = match meant(menu, typed) {
        Some((item, true)) => Some(item),
        Some((item, false)) => {
            shop.prompts.yes(&format!("Did you mean {}?", item.name), true).await?.then_some(item)
        }
        None => {
            shop.output.say(&format!("{typed} is not on the menu."));
            None
        }
    };
    let there = found.filter(|item| item.stock != Stock::Counted(0));
    if let (Some(item), None) = (found, there) {
        shop.output.say(&format!("{} is out of stock.", item.name));
    }
    Ok(there)
}

/// What somebody means by a name or the letters of its place, and whether they said so exactly.
fn meant<'a>(menu: &'a [MenuItem], typed: &str) -> Option<(&'a MenuItem, bool)> {
    let folded = fold(typed);
    let called = |name: &str| menu.iter().find(|item| item.name == name);
    let exact = menu.iter().find(|item| fold(&item.name) == folded).or_else(|| at(menu, typed));
    exact.map(|item| (item, true)).or_else(|| {
        let names = menu.iter().map(|item| item.name.as_str());
        near(typed, names, 1).first().and_then(|name| called(name)).map(|item| (item, false))
    })
}

/// The product whose letters these are.
pub(crate) fn at<'a>(menu: &'a [MenuItem], letters: &str) -> Option<&'a MenuItem> {
    let place = place(letters)?;
    menu.iter().find(|item| item.place == place)
}

/// How many of a product.
async fn quantity(shop: &Shop, product: &MenuItem) -> Result<u32, Ended> {
    loop {
        let typed = shop.prompts.value(&format!("How many {}? [1]: ", product.name)).await?;
        let qty = if typed.is_empty() { Ok(1) } else { typed.parse() };
        match (qty, product.stock) {
            (Ok(qty @ 1..=QTY_MAX), Stock::Counted(left)) if qty > left => {
                shop.output.say(&format!("Only {left} left."));
            }
            (Ok(qty @ 1..=QTY_MAX), _) => return Ok(qty),
            _ => shop.output.say(&format!("A number from 1 to {QTY_MAX}, please.")),
        }
    }
}

async fn delivery(shop: &Shop) -> Result<Delivery, Ended> {
    let offers = Delivery::ALL.iter().zip(1..).map(|(delivery, number)| {
        let fee = delivery.fee();
        let fee = if fee == Pence::ZERO { "free".to_owned() } else { fee.to_string() };
        format!("{number} {delivery} {fee}")
    });
    shop.output.say(&offers.collect::<Vec<_>>().join("   "));
    loop {
        let typed = shop.prompts.value("Delivery [3]: ").await?;
        if typed.is_empty() {
            return Ok(Delivery::NextDay);
        }
        match typed.parse() {
            Ok(delivery) => return Ok(delivery),
            Err(_) => shop.output.say("Invalid option selected."),
        }
    }
}

async fn tip(shop: &Shop) -> Result<Pence, Ended> {
    loop {
        let typed = shop.prompts.value("Tip for the rider [£0.00]: ").await?;
        if typed.is_empty() {
            return Ok(Pence::ZERO);
        }
        match typed.parse::<Pence>() {
            Ok(tip) => return Ok(tip),
            Err(error) => shop.output.say(&format!("{error}.")),
        }
    }
}

/// Orders one of one product, as whoever types its letter after the menu wants it.
///
/// # Errors
/// What failed, or how the person ended it.
pub(crate) async fn one_of(shop: &Shop, user: &str, item: &MenuItem) -> Result<(), Ended> {
    if item.stock == Stock::Counted(0) {
        shop.output.say(&format!("{} is out of stock.", item.name));
        return Ok(());
    }
    shop.output.say(&format!("{} {}", item.name, item.price));
    let known = shop.just_hungry.details(user).await?;
    let old = known.verdict.map(|verdict| verdict.postcode.to_string());
    let mut refusals = Refusals::default();
    loop {
        let typed = shop.prompts.value(&offering("Postcode", old.as_deref())).await?;
        let postcode = if typed.is_empty() && old.is_some() { None } else { Some(typed) };
        if let Some(postcode) = &postcode
            && !will_do(shop, postcode, &mut refusals).await?
        {
            continue;
        }
        if !shop.prompts.yes("Confirm?", true).await? {
            shop.output.say("ORDER SUCCESSFULLY CANCELLED");
            return Ok(());
        }
        let lines = Lines::Given(vec![Item { item: item.name.clone(), qty: 1 }]);
        let order = Order { postcode, expected: Some(item.price), ..Order::of(user, lines) };
        match shop.just_hungry.place(order).await {
            Ok(placed) => return shop.show_placed(user, placed.no, "ORDER CONFIRMED. ").await,
            Err(failure) if asks_again(&failure) => refusals.one_more(shop, failure).await?,
            Err(failure) => return Err(failure.into()),
        }
    }
}

/// Cancels one of the active orders, which are shown.
///
/// # Errors
/// What failed, or how the person ended it.
pub(crate) async fn cancel(shop: &Shop, user: &str) -> Result<(), Ended> {
    let active = shop.just_hungry.orders(user, true, 0, None).await?;
    if active.is_empty() {
        shop.output.say("No active orders for this user.");
        return Ok(());
    }
    shop.show_orders(&active, "")?;
    loop {
        let typed = shop.prompts.value("Cancel which order? (its number; Enter for none): ").await?;
        if typed.is_empty() {
            return Ok(());
        }
        match active.iter().find(|order| order.no.to_string() == typed) {
            Some(order) => return shop.cancel(order.no).await,
            None => shop.output.say("Specified order ID not found."),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn menu() -> Vec<MenuItem> {
        let item = |(name, place): (&str, u32)| MenuItem {
            place,
            name: name.into(),
            price: Pence::new(100),
            stock: Stock::Unlimited,
        };
        ["Hamburger", "Fish fingers", "C"].into_iter().zip([1, 2, 30]).map(item).collect()
    }

    #[test]
    fn a_product_is_meant_by_its_name_its_letters_or_something_near() {
        let menu = menu();
        let meant = |typed: &str| meant(&menu, typed).map(|(item, exact)| (item.name.as_str(), exact));
        assert_eq!(meant("FISH  fingers"), Some(("Fish fingers", true)));
        assert_eq!(meant("b"), Some(("Fish fingers", true)));
        assert_eq!(meant("c"), Some(("C", true)), "a name goes before a letter");
        assert_eq!(meant("ad"), Some(("C", true)));
        assert_eq!(meant("hamburgr"), Some(("Hamburger", false)));
        assert_eq!(meant("caviar"), None);
        assert_eq!(meant(""), None);
    }
}
