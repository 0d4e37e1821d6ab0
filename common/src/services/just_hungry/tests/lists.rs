use super::super::query::{PAGE_BYTES_MAX, Status, letters};
use super::*;
use crate::services::{decode, encode};

fn own(user: &str, active_only: bool, after: u32, limit: u32) -> Query {
    Query::Orders { user: user.into(), active_only, after, limit }
}

fn to(postcode: &str) -> Query {
    Query::OrdersTo { postcode: postcode.into(), after: 0, limit: 0 }
}

fn numbers(page: &Page<Order>) -> Vec<u32> {
    page.entries.iter().map(|order| order.no).collect()
}

#[test]
fn the_demonstration_begins_with_sixteen_products_and_four_orders() {
    let shop = Shop::demo();
    let Answer::Motd(motd) = shop.state.query(Query::Motd) else { panic!("no motd") };
    assert_eq!(motd, "Welcome to Just Hungry. Hot food, cold facts.");
    let menu = shop.menu();
    let rows: Vec<_> = menu
        .entries
        .iter()
        .map(|item| format!("{} {} {}", letters(item.place), item.name, item.price))
        .collect();
    assert_eq!(rows.len(), 16);
    assert_eq!(rows[0], "A Chicken wings £11.85");
    assert_eq!(rows[15], "P Kale £0.99");
    assert_eq!(menu.entries[13].stock, Stock::Counted(0), "flour is out of stock");
    let lines = |user, no| -> Vec<_> {
        let order: Order = shop.order(user, no).unwrap();
        order.lines.into_iter().map(|line| line.item).collect()
    };
    assert_eq!(lines("dh13le", 1), ["Burger", "Fries"]);
    assert_eq!(lines("dh13le", 2), ["Pizza"]);
    assert_eq!(lines("dh13lg", 1), ["Fried chicken", "Chips"]);
    let last = shop.order("dh13lg", 2).unwrap();
    assert_eq!(last.placed.to_string(), "2026-01-01T12:03:00.000Z");
    assert_eq!(
        (last.verdict.source, last.total, last.owner.unwrap().request),
        (Source::Offline, Pence::new(350), None)
    );
}

#[test]
fn an_empty_start_has_nothing_and_a_menu_of_ones_own_has_no_orders() {
    let begin = |start: &Start| JustHungry::start(Timestamp::from_millis(0), &start_bytes(start));
    assert_eq!(begin(&Start::Empty).unwrap(), JustHungry::default());
    let own = begin(&Start::Menu(vec![product("Soup", 300, Stock::Counted(1))])).unwrap();
    assert_eq!((own.orders.len(), own.catalogue.shelves().len()), (0, 1));
    let error = begin(&Start::Menu(vec![product("Soup", 0, Stock::Unlimited)])).unwrap_err();
    assert_eq!(error.why, "price of number 1: an amount from £0.01 to £10000.00, please.");
    assert!(JustHungry::start(Timestamp::from_millis(0), &[9]).is_err());
}

#[test]
fn orders_are_numbered_per_user_and_listed_by_number() {
    let mut shop = Shop::demo();
    for user in ["ann", "bob", "ann", "ann"] {
        shop.place(user, wish(&[("pizza", 1)])).unwrap();
    }
    shop.cancel("ann", 2).unwrap();
    assert_eq!(numbers(&shop.orders(own("ann", false, 0, 0))), [1, 2, 3]);
    assert_eq!(numbers(&shop.orders(own("ann", true, 0, 0))), [1, 3]);
    assert_eq!(numbers(&shop.orders(own("bob", false, 0, 0))), [1]);
    assert_eq!(numbers(&shop.orders(own("nobody", false, 0, 0))), [0; 0]);
    assert_eq!(shop.order("bob", 2), Err(Refusal::OrderUnknown { no: 2 }));
    assert_eq!(shop.order("bob", 0), Err(Refusal::OrderUnknown { no: 0 }));
}

#[test]
fn a_list_comes_in_pages_that_join() {
    let mut shop = Shop::demo();
    for _ in 0..5 {
        shop.place("ann", wish(&[("pizza", 1)])).unwrap();
    }
    shop.cancel("ann", 4).unwrap();
    let first = shop.orders(own("ann", true, 0, 3));
    assert_eq!((numbers(&first), first.more), (vec![1, 2, 3], true));
    let second = shop.orders(own("ann", true, 3, 3));
    assert_eq!((numbers(&second), second.more), (vec![5], false));
    assert_eq!(numbers(&shop.orders(own("ann", true, u32::MAX, 3))), [0; 0]);
}

#[test]
fn a_page_holds_500_entries_and_half_a_frame_at_most() {
    let mut shop = Shop::demo();
    for _ in 0..501 {
        shop.place("ann", wish(&[("pizza", 1)])).unwrap();
    }
    let page = shop.orders(own("ann", false, 0, 100_000));
    assert_eq!((page.entries.len(), page.more), (500, true));
    // Fifty lines of the longest names: some 9 KB an order.
    let name = |n: u32| format!("{n:02}{}", "🍕".repeat(38));
    shop.set_catalogue((0..50).map(|n| product(&name(n), 1_000_000, Stock::Unlimited)).collect()).unwrap();
    let names: Vec<_> = (0..50).map(name).collect();
    let large: Vec<_> = names.iter().map(|name| (name.as_str(), 99)).collect();
    for _ in 0..80 {
        shop.place("bob", wish(&large)).unwrap();
    }
    let answer = encode(&shop.state.query(own("bob", false, 0, 0)));
    assert!(answer.len() < PAGE_BYTES_MAX + 1024, "{}", answer.len());
    let Ok(Answer::Orders(page)) = decode(&answer) else { panic!("a full page cannot be read") };
    assert!(page.more && page.entries.len() > 50, "{}", page.entries.len());
}

#[test]
fn t07_orders_to_a_postcode_are_counted_there_and_name_nobody() {
    let mut shop = Shop::demo();
    shop.place("ann", wish(&[("pizza", 1)])).unwrap();
    shop.place("bob", wish(&[("apple", 1)])).unwrap();
    let page = shop.orders(to(" dh1-3le "));
    assert_eq!(numbers(&page), [1, 2, 3, 4]);
    assert!(page.entries.iter().all(|order| order.owner.is_none()));
    assert_eq!(page.entries[3].lines[0].item, "Apple");
    let rest = shop.orders(Query::OrdersTo { postcode: "DH1 3LE".into(), after: 3, limit: 1 });
    assert_eq!((numbers(&rest), rest.more), (vec![4], false));
    assert!(shop.orders(to("DH1 3LF")).entries.is_empty());
    let malformed = Answer::Refused(Refusal::PostcodeMalformed { text: "DH 11".into() });
    assert_eq!(shop.state.query(to("DH 11")), malformed);
}

#[test]
fn t07_orders_are_shown_for_the_exact_code_only() {
    let mut shop = Shop::demo();
    shop.place("ann", wish(&[("pizza", 1)])).unwrap();
    for other in ["Ann", "an", "ann2", "nobody"] {
        assert!(shop.orders(own(other, false, 0, 0)).entries.is_empty(), "{other}");
        assert!(shop.orders(own(other, true, 0, 0)).entries.is_empty(), "{other}");
        assert_eq!(shop.order(other, 1), Err(Refusal::OrderUnknown { no: 1 }));
        assert_eq!(shop.cancel(other, 1), Err(Refusal::OrderUnknown { no: 1 }));
    }
    assert_eq!(numbers(&shop.orders(own("ann", true, 0, 0))), [1]);
}

#[test]
fn fault_prefix_only_postcode_match() {
    let shop = Shop::demo();
    assert_eq!(numbers(&shop.orders(to("DH1 3LG"))), [1, 2]);
    for part in ["DH1", "DH1 3", "DH1 3L"] {
        let Answer::Refused(Refusal::PostcodeMalformed { .. }) = shop.state.query(to(part)) else {
            panic!("{part} is no postcode")
        };
    }
}

#[test]
fn a_cancelled_order_stays_in_every_list() {
    let mut shop = Shop::demo();
    shop.cancel("dh13le", 1).unwrap();
    assert_eq!(shop.orders(to("DH1 3LE")).entries[0].status, Status::Cancelled);
    assert_eq!(shop.orders(own("dh13le", false, 0, 0)).entries.len(), 2);
}

#[test]
fn a_catalogue_keeps_its_order_and_refuses_what_breaks_a_rule() {
    let mut shop = Shop::demo();
    let good = |name: &str| product(name, 1, Stock::Counted(1_000_000));
    for (products, sentence) in [
        (vec![good("a"), good(" ")], "name of number 2: Don't leave it blank!"),
        (vec![good(&"x".repeat(41))], "name of number 1: at most 40 characters, please."),
        (
            vec![good("Crème brûlée"), good("CREME  BRULEE")],
            "name of number 2: the same name as number 1; each product needs a name of its own.",
        ),
        (
            vec![product("a", 1_000_001, Stock::Unlimited)],
            "price of number 1: an amount from £0.01 to £10000.00, please.",
        ),
        (
            vec![product("a", 1, Stock::Counted(1_000_001))],
            "stock of number 1: a number from 0 to 1000000, please.",
        ),
        ((0..1001).map(|n| good(&n.to_string())).collect(), "products: from 0 to 1000 of them, please."),
    ] {
        assert_eq!(shop.set_catalogue(products).unwrap_err().sentence(), sentence);
    }
    assert_eq!(shop.set_catalogue(vec![good("🍕"), good("🍔"), good("a")]), Ok(Done::Catalogue { count: 3 }));
    let names: Vec<_> = shop.menu().entries.into_iter().map(|item| item.name).collect();
    assert_eq!(names, ["🍕", "🍔", "a"]);
    assert_eq!(shop.set_catalogue(vec![]), Ok(Done::Catalogue { count: 0 }));
    assert!(shop.menu().entries.is_empty());
    let thousand = (0..1000).map(|n| good(&format!("dish number {n} of a very long menu"))).collect();
    assert_eq!(shop.set_catalogue(thousand), Ok(Done::Catalogue { count: 1000 }));
}
