use super::*;

fn lines(shop: &Shop, user: &str) -> Vec<(String, u32)> {
    shop.basket(user).lines.into_iter().map(|line| (line.item, line.qty)).collect()
}

#[test]
fn the_same_product_adds_to_its_line_in_any_case_and_order_is_kept() {
    let mut shop = Shop::demo();
    assert_eq!(shop.add("ann", "hamburger", 2), Ok(Done::Basket { lines: 1, items: 2 }));
    assert_eq!(shop.add("ann", "FISH  FINGERS", 1), Ok(Done::Basket { lines: 2, items: 3 }));
    assert_eq!(shop.add("ann", "Hamburger", 1), Ok(Done::Basket { lines: 2, items: 4 }));
    assert_eq!(lines(&shop, "ann"), [("Hamburger".into(), 3), ("Fish fingers".into(), 1)]);
    assert_eq!(shop.basket("ann").items, Pence::new(3 * 785 + 685));
    let set = Change::Set(Item { item: "hamburger".into(), qty: 1 });
    assert_eq!(shop.change("ann", set), Ok(Done::Basket { lines: 2, items: 2 }));
    assert_eq!(lines(&shop, "ann"), [("Hamburger".into(), 1), ("Fish fingers".into(), 1)]);
    assert_eq!(
        shop.change("ann", Change::Remove("hamburger".into())),
        Ok(Done::Basket { lines: 1, items: 1 })
    );
    assert_eq!(shop.change("ann", Change::Clear), Ok(Done::Basket { lines: 0, items: 0 }));
    assert_eq!(lines(&shop, "bob"), []);
}

#[test]
fn a_line_holds_99_after_merging_and_a_basket_50_lines() {
    let mut shop = Shop::demo();
    shop.set_catalogue((1..=51).map(|n| product(&format!("dish {n}"), 1, Stock::Unlimited)).collect())
        .unwrap();
    shop.add("ann", "dish 1", 98).unwrap();
    shop.add("ann", "dish 1", 1).unwrap();
    assert_eq!(shop.add("ann", "dish 1", 1).unwrap_err().sentence(), "qty: a number from 1 to 99, please.");
    assert_eq!(shop.add("ann", "dish 2", 0).unwrap_err().sentence(), "qty: a number from 1 to 99, please.");
    for n in 2..=50 {
        shop.add("ann", &format!("dish {n}"), 1).unwrap();
    }
    assert_eq!(shop.add("ann", "dish 51", 1).unwrap_err().sentence(), "lines: from 1 to 50 of them, please.");
    let set = Change::Set(Item { item: "dish 51".into(), qty: 1 });
    assert_eq!(shop.change("ann", set).unwrap_err().sentence(), "lines: from 1 to 50 of them, please.");
}

#[test]
fn only_what_is_on_the_menu_gets_into_a_basket_and_stock_is_looked_at_later() {
    let mut shop = Shop::demo();
    assert_eq!(shop.add("ann", "sushi", 1).unwrap_err().code(), "unknown_product");
    assert_eq!(shop.change("ann", Change::Remove("sushi".into())).unwrap_err().code(), "unknown_product");
    assert_eq!(shop.change("ann", Change::Remove("apple".into())), Ok(Done::Basket { lines: 0, items: 0 }));
    shop.add("ann", "flour", 1).unwrap();
    assert!(shop.basket("ann").lines[0].short);
    assert_eq!(shop.quote("ann", &BASKET).unwrap_err().code(), "low_stock");
}

#[test]
fn ordering_the_basket_empties_it_and_ordering_else_does_not() {
    let mut shop = Shop::demo();
    shop.add("ann", "apple", 2).unwrap();
    shop.place("ann", wish(&[("pizza", 1)])).unwrap();
    assert_eq!(lines(&shop, "ann"), [("Apple".into(), 2)]);
    shop.place("ann", BASKET).unwrap();
    assert_eq!(lines(&shop, "ann"), []);
    assert_eq!(shop.place("ann", BASKET), Err(Refusal::BasketEmpty));
}

#[test]
fn a_refused_order_leaves_the_basket() {
    let mut shop = Shop::demo();
    shop.add("ann", "bread", 5).unwrap();
    assert_eq!(shop.place("ann", BASKET).unwrap_err().code(), "low_stock");
    assert_eq!(lines(&shop, "ann"), [("Bread".into(), 5)]);
}

#[test]
fn a_new_menu_leaves_unknown_lines_in_baskets_and_orders_of_them_are_refused() {
    let mut shop = Shop::demo();
    shop.add("ann", "apple", 2).unwrap();
    shop.add("ann", "pizza", 1).unwrap();
    shop.set_catalogue(vec![product("Pizza", 1000, Stock::Unlimited)]).unwrap();
    let basket = shop.basket("ann");
    assert_eq!((basket.lines[0].price, basket.lines[0].sum(), basket.lines[0].short), (None, None, true));
    assert_eq!(basket.items, Pence::new(1000));
    assert_eq!(shop.place("ann", BASKET).unwrap_err().code(), "unknown_product");
    shop.change("ann", Change::Remove("apple".into())).unwrap();
    assert!(shop.place("ann", BASKET).is_ok());
}
