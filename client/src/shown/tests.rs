use common::replication::RequestId;
use common::services::just_hungry::query::{BasketLine, OrderLine, Owner};

use super::*;
use crate::output::json;

const SCREEN: Screen = Screen { width: None, color: false };

/// 2026-11-21, 12:04:09.120 in London, where it is winter.
const PLACED: Timestamp = Timestamp::from_millis(1_795_262_649_120);

fn verdict() -> Verdict {
    Verdict {
        postcode: "DH1 3LE".parse().unwrap(),
        source: Source::PostcodesIo,
        town: Some("County Durham".into()),
        checked: PLACED,
    }
}

fn line(qty: u32, item: &str, price: u64) -> OrderLine {
    OrderLine { item: item.into(), qty, price: Pence::new(price) }
}

fn order() -> query::Order {
    query::Order {
        no: 3,
        owner: Some(Owner {
            user: "ann".into(),
            id: 1042,
            request: Some(RequestId::from_parts(PLACED, 1, 2)),
        }),
        status: Status::Active,
        placed: PLACED,
        deliver_by: Delivery::SameDay.deliver_by(PLACED),
        delivery: Delivery::SameDay,
        lines: vec![line(2, "Hamburger", 785), line(1, "Fish fingers", 685)],
        items: Pence::new(2255),
        fee: Pence::new(100),
        tip: Pence::new(200),
        total: Pence::new(2555),
        verdict: verdict(),
    }
}

fn basket() -> Basket {
    let line = |item: &str, price: Option<u64>, short| BasketLine {
        item: item.into(),
        qty: 2,
        price: price.map(Pence::new),
        short,
    };
    Basket { lines: vec![line("Apple", Some(199), true), line("Soup", None, false)], items: Pence::new(398) }
}

#[test]
fn a_product_has_the_fields_of_the_contract() {
    let item = |stock| MenuItem { place: 27, name: "Chicken wings".into(), price: Pence::new(1185), stock };
    assert_eq!(
        json(&objects::Product::from(&item(Stock::Unlimited))),
        r#"{"letter":"AA","item":"Chicken wings","price_pence":1185,"stock":null}"#
    );
    assert_eq!(objects::Product::from(&item(Stock::Counted(0))).stock, Some(0));
}

#[test]
fn a_motd_has_the_fields_of_the_contract() {
    assert_eq!(json(&objects::Motd { motd: "Hot food.".into() }), r#"{"motd":"Hot food."}"#);
}

#[test]
fn a_user_has_the_fields_of_the_contract() {
    let details = Details {
        first: Some("Ann".into()),
        phone: String::from("+442079460018").try_into().ok(),
        verdict: Some(verdict()),
        ..Details::default()
    };
    assert_eq!(
        json(&user("ann", &details)),
        r#"{"user":"ann","first":"Ann","last":null,"phone":"+442079460018","address":null,"postcode":"DH1 3LE","#
            .to_owned()
            + r#""postcode_check":"postcodes.io","town":"County Durham"}"#
    );
    assert_eq!(
        user_text("ann", &details),
        "User      ann\nName      Ann\nPhone     +442079460018\nAddress   -\n\
         Postcode  DH1 3LE, County Durham (checked by postcodes.io)"
    );
}

#[test]
fn a_cart_has_the_fields_of_the_contract() {
    assert_eq!(
        json(&cart("ann", &basket())),
        r#"{"user":"ann","lines":[{"item":"Apple","qty":2,"price_pence":199,"line_pence":398,"short":true},"#
            .to_owned()
            + r#"{"item":"Soup","qty":2,"price_pence":null,"line_pence":null,"short":false}],"items_pence":398}"#
    );
    assert_eq!(
        cart_text(&basket()),
        "  2 x Apple            £3.98  short of stock\n  2 x Soup   not on the menu\n  Total £3.98"
    );
}

#[test]
fn a_quote_has_the_carts_fields_and_its_own() {
    let order = order();
    let of = Quote {
        lines: order.lines,
        delivery: order.delivery,
        items: order.items,
        fee: order.fee,
        tip: order.tip,
        total: order.total,
    };
    assert_eq!(
        json(&quote("ann", &of)),
        r#"{"user":"ann","lines":[{"item":"Hamburger","qty":2,"price_pence":785,"line_pence":1570,"short":false},"#
            .to_owned()
            + r#"{"item":"Fish fingers","qty":1,"price_pence":685,"line_pence":685,"short":false}],"items_pence":2255,"#
            + r#""delivery":"same-day","delivery_pence":100,"tip_pence":200,"total_pence":2555}"#
    );
    assert!(
        quote_text(&of).ends_with("\n  Same day £1.00   Tip £2.00   Total £25.55"),
        "{}",
        quote_text(&of)
    );
}

#[test]
fn an_order_has_the_fields_of_the_contract() {
    assert_eq!(
        json(&objects::Order::from(&order())),
        r#"{"no":3,"id":1042,"user":"ann","status":"active","placed":"2026-11-21T12:04:09.120Z","#.to_owned()
            + r#""deliver_by":"2026-11-22T00:00:00.000Z","delivery":"same-day","lines":["#
            + r#"{"item":"Hamburger","qty":2,"price_pence":785,"line_pence":1570},"#
            + r#"{"item":"Fish fingers","qty":1,"price_pence":685,"line_pence":685}],"items_pence":2255,"#
            + r#""delivery_pence":100,"tip_pence":200,"total_pence":2555,"postcode":"DH1 3LE","#
            + r#""postcode_check":"postcodes.io","request_id":"01a1fdfe-1320-7001-8000-000000000002"}"#
    );
    let seen = objects::Order::from(&query::Order { owner: None, ..order() });
    assert_eq!((seen.id, seen.user, seen.request_id), (None, None, None));
}

#[test]
fn an_order_reads_as_in_the_older_systems() {
    assert_eq!(
        order_text("Order #3 successfully placed! Please pay on delivery.", &order(), PLACED),
        "Order #3 successfully placed! Please pay on delivery.          \
         DH1 3LE, County Durham (checked by postcodes.io)\n\
         \x20 2 x Hamburger     £15.70\n\
         \x20 1 x Fish fingers   £6.85\n\
         \x20 Same day, by 23:59 today £1.00   Tip £2.00   Total £25.55"
    );
    let cancelled = query::Order { status: Status::Cancelled, ..order() };
    let next_day = PLACED.plus(std::time::Duration::from_hours(24));
    assert_eq!(headline(&cancelled, next_day), "Order #3 (cancelled), placed 12:04 yesterday");
}

#[test]
fn lists_read_as_tables_and_empty_ones_as_a_sentence() {
    let text = orders_text(SCREEN, &[order()], PLACED);
    assert_eq!(
        text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect::<Vec<_>>(),
        [
            "NO PLACED STATUS DELIVERY TOTAL POSTCODE ITEMS",
            "3 12:04 today active same-day £25.55 DH1 3LE 2 x Hamburger, 1 x Fish fingers"
        ]
    );
    assert_eq!(menu_text(SCREEN, &[]), "Product list is empty, please try again later.");
    let flour =
        MenuItem { place: 14, name: "Flour".into(), price: Pence::new(455), stock: Stock::Counted(0) };
    assert_eq!(menu_text(SCREEN, &[flour]), "   ITEM   PRICE  STOCK\nN  Flour  £4.55  Out of stock");
}
