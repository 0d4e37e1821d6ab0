use super::super::query::Status;
use super::*;
use crate::services::encode;

#[test]
fn the_worked_example_comes_to_twelve_pounds_and_cancelling_restores_it() {
    let mut shop = Shop::demo();
    let example =
        Wish { delivery: Delivery::TwoHours, tip: 78, ..wish(&[("apple", 2), ("bread", 1), ("apple", 1)]) };
    let quote = shop.quote("ann", &example).unwrap();
    assert_eq!((quote.items, quote.fee, quote.total), (Pence::new(822), Pence::new(300), Pence::new(1200)));
    assert_eq!(quote.total.to_string(), "£12.00");
    let lines: Vec<_> =
        quote.lines.iter().map(|line| (line.item.as_str(), line.qty, line.sum().get())).collect();
    assert_eq!(lines, [("Apple", 3, 597), ("Bread", 1, 225)]);

    // The four samples are orders 1 to 4.
    let placed = laws::applied(0).time;
    let done = shop.place("ann", example).unwrap();
    assert_eq!(done, Done::Placed { no: 1, id: 5, total: Pence::new(1200), placed });
    assert_eq!((shop.stock("Apple"), shop.stock("Bread")), (Some(12), Some(3)));

    assert_eq!(shop.cancel("ann", 1), Ok(Done::Cancelled { no: 1 }));
    assert_eq!((shop.stock("Apple"), shop.stock("Bread")), (Some(15), Some(4)));
    assert_eq!(shop.order("ann", 1).unwrap().status, Status::Cancelled);
}

#[test]
fn cancelling_gives_stock_back_once() {
    let mut shop = Shop::demo();
    shop.place("ann", wish(&[("apple", 5)])).unwrap();
    shop.cancel("ann", 1).unwrap();
    assert_eq!(shop.cancel("ann", 1), Err(Refusal::AlreadyCancelled { no: 1 }));
    assert_eq!(shop.stock("Apple"), Some(15));
}

#[test]
fn a_cancelled_product_that_left_the_menu_or_is_no_longer_counted_is_not_given_back() {
    let mut shop = Shop::demo();
    shop.place("ann", wish(&[("apple", 1), ("bread", 1), ("kale", 1)])).unwrap();
    let catalogue = vec![product("APPLE", 100, Stock::Counted(3)), product("Bread", 100, Stock::Unlimited)];
    shop.set_catalogue(catalogue).unwrap();
    shop.cancel("ann", 1).unwrap();
    assert_eq!((shop.stock("APPLE"), shop.stock("Bread")), (Some(4), None));
    assert_eq!(shop.menu().entries.len(), 2);
}

#[test]
fn the_last_bread_has_one_winner() {
    let mut shop = Shop::demo();
    shop.place("early", wish(&[("bread", 3)])).unwrap();
    assert!(shop.place("ann", wish(&[("bread", 1)])).is_ok());
    let refusal = shop.place("bob", wish(&[("bread", 1)])).unwrap_err();
    assert_eq!(refusal, Refusal::LowStock { item: "Bread".into(), wanted: 1, left: 0 });
    shop.cancel("ann", 1).unwrap();
    assert!(shop.place("bob", wish(&[("bread", 1)])).is_ok());
}

#[test]
fn an_order_takes_all_of_its_stock_or_none() {
    let mut shop = Shop::demo();
    let refusal = shop.place("ann", wish(&[("apple", 2), ("bread", 5), ("flour", 1)])).unwrap_err();
    assert_eq!(
        refusal,
        Refusal::LowStock { item: "Bread".into(), wanted: 5, left: 4 },
        "the first short line"
    );
    assert_eq!(shop.stock("Apple"), Some(15));
    assert!(shop.orders(own("ann")).entries.is_empty());
}

#[test]
fn merged_lines_are_what_stock_is_compared_with() {
    let mut shop = Shop::demo();
    let refusal = shop.place("ann", wish(&[("bread", 3), ("BREAD", 2)])).unwrap_err();
    assert_eq!(refusal, Refusal::LowStock { item: "Bread".into(), wanted: 5, left: 4 });
}

#[test]
fn what_is_not_counted_never_runs_out() {
    let mut shop = Shop::demo();
    for _ in 0..20 {
        shop.place("ann", wish(&[("pizza", 99)])).unwrap();
    }
    assert_eq!(shop.stock("Pizza"), None);
}

#[test]
fn quantity_and_tip_are_taken_at_their_edges_and_refused_past_them() {
    let mut shop = Shop::demo();
    for (wish, code) in [
        (wish(&[("pizza", 1)]), None),
        (wish(&[("pizza", 99)]), None),
        (wish(&[("pizza", 0)]), Some("qty of number 1: a number from 1 to 99, please.")),
        (wish(&[("pizza", 100)]), Some("qty of number 1: a number from 1 to 99, please.")),
        (wish(&[("pizza", u32::MAX)]), Some("qty of number 1: a number from 1 to 99, please.")),
        (
            wish(&[("pizza", 50), ("fries", 1), ("Pizza", 50)]),
            Some("qty of number 3: a number from 1 to 99, please."),
        ),
        (Wish { tip: 50_000, ..wish(&[("pizza", 1)]) }, None),
        (
            Wish { tip: 50_001, ..wish(&[("pizza", 1)]) },
            Some("tip: an amount from £0.00 to £500.00, please."),
        ),
        (
            Wish { tip: u64::MAX, ..wish(&[("pizza", 1)]) },
            Some("tip: an amount from £0.00 to £500.00, please."),
        ),
        (wish(&[]), Some("lines: from 1 to 50 of them, please.")),
        (wish(&[("pizza", 1); 50]), None),
        (wish(&[("pizza", 1); 51]), Some("lines: from 1 to 50 of them, please.")),
    ] {
        let quoted = shop.quote("ann", &wish).map(|quote| quote.total);
        let placed = shop.place("ann", wish);
        assert_eq!(placed.as_ref().err().map(Refusal::sentence).as_deref(), code);
        // A quote is the price that an order has, or the refusal that it would get.
        let total = placed.map(|done| match done {
            Done::Placed { total, .. } => total,
            other => panic!("{other:?}"),
        });
        assert_eq!(quoted, total);
    }
}

#[test]
fn a_total_that_changed_meanwhile_is_not_ordered() {
    let mut shop = Shop::demo();
    let seen = Wish { expected: Some(895), ..wish(&[("pizza", 1)]) };
    shop.set_catalogue(vec![product("Pizza", 995, Stock::Unlimited)]).unwrap();
    let refusal = shop.place("ann", seen).unwrap_err();
    assert_eq!(refusal, Refusal::TotalChanged { expected: Pence::new(895), total: Pence::new(995) });
    assert!(shop.place("ann", Wish { expected: Some(995), ..wish(&[("pizza", 1)]) }).is_ok());
}

#[test]
fn rules_are_checked_in_their_order() {
    let mut shop = Shop::demo();
    // Each order breaks a rule and all those after it.
    let far = Wish { postcode: None, expected: Some(1), ..wish(&[]) };
    let with = |lines: &[(&str, u32)], tip, postcode| Wish {
        lines: wish(lines).lines,
        tip,
        postcode,
        ..far.clone()
    };
    for (user, wish, code) in [
        ("", with(&[], 60_000, None), "invalid"),
        ("ann", with(&[("sushi", 100)], 60_000, None), "invalid"),
        ("ann", with(&[("sushi", 1)], 60_000, None), "invalid"),
        ("ann", Wish { lines: Lines::Basket, ..with(&[], 60_000, None) }, "basket_empty"),
        ("ann", with(&[("flour", 1), ("sushi", 1)], 0, None), "unknown_product"),
        ("ann", with(&[("flour", 1)], 0, None), "no_details"),
        ("ann", with(&[("flour", 1)], 0, Some("DH 11")), "postcode_malformed"),
        ("ann", with(&[("flour", 1)], 0, Some("DH1 3LE")), "total_changed"),
        ("ann", Wish { expected: Some(455), ..with(&[("flour", 1)], 0, Some("DH1 3LE")) }, "low_stock"),
    ] {
        assert_eq!(shop.place(user, wish).map_err(|refusal| refusal.code()), Err(code));
    }
    let strict = Wish { strict: true, ..with(&[("flour", 1)], 0, Some("DH1 3LE")) };
    let refused = shop.place_with(Facts::default(), "ann", strict).map_err(|refusal| refusal.code());
    assert_eq!(refused, Err("postcode_unconfirmed"));
}

#[test]
fn an_unconfirmed_postcode_goes_unless_somebody_is_strict() {
    let mut shop = Shop::demo();
    let unconfirmed =
        |strict| Facts { verdict: Some(verdict("DH1 3LE", Source::Unconfirmed)), strict, phone: None };
    shop.place_with(unconfirmed(false), "ann", wish(&[("pizza", 1)])).unwrap();
    assert!(!shop.order("ann", 1).unwrap().verdict.is_valid());
    let postcode = "DH1 3LE".parse().unwrap();
    let refused = Err(Refusal::PostcodeUnconfirmed { postcode });
    assert_eq!(shop.place_with(unconfirmed(true), "ann", wish(&[("pizza", 1)])), refused);
    let strict = Wish { strict: true, ..wish(&[("pizza", 1)]) };
    assert_eq!(shop.place_with(unconfirmed(false), "ann", strict.clone()), refused);
    assert!(shop.place_with(Facts { strict: true, ..confirmed("DH1 3LE") }, "ann", strict).is_ok());
}

#[test]
fn a_verdict_of_another_postcode_confirms_nothing() {
    let mut shop = Shop::demo();
    shop.place_with(confirmed("DH1 3LG"), "ann", wish(&[("pizza", 1)])).unwrap();
    let order = shop.order("ann", 1).unwrap();
    assert_eq!(order.verdict, Verdict::unconfirmed("DH1 3LE".parse().unwrap(), laws::applied(0).time));
}

#[test]
fn a_town_that_is_no_short_text_is_dropped() {
    let mut shop = Shop::demo();
    for town in ["x".repeat(49), "a\u{202E}b".into(), " ".into()] {
        let told = Verdict { town: Some(town), ..verdict("DH1 3LE", Source::PostcodesIo) };
        let facts = Facts { verdict: Some(told), ..Facts::default() };
        let Done::Placed { no, .. } = shop.place_with(facts, "ann", wish(&[("pizza", 1)])).unwrap() else {
            panic!("not placed")
        };
        assert_eq!(shop.order("ann", no).unwrap().verdict.place(), "Durham", "the area's name is left");
    }
}

#[test]
fn details_say_where_to_and_later_changes_do_not_rewrite_an_order() {
    let mut shop = Shop::demo();
    let move_to = |shop: &mut Shop, postcode: &str| {
        let command = Command::SetDetails {
            user: "ann".into(),
            first: Some("Ann".into()),
            last: None,
            phone: None,
            address: Some("1 North Bailey".into()),
            postcode: Some(postcode.into()),
        };
        shop.run_with(confirmed(postcode), command).unwrap()
    };
    let details = move_to(&mut shop, "DH1 3LE");
    assert_eq!(details, Done::Details { verdict: Some(verdict("DH1 3LE", Source::PostcodesIo)) });
    let wish = Wish { postcode: None, ..wish(&[("pizza", 1)]) };
    shop.place("ann", wish.clone()).unwrap();
    move_to(&mut shop, "SW1A 1AA");
    shop.place("ann", Wish { postcode: Some("LS1 4DY"), ..wish }).unwrap();
    let postcode = |shop: &Shop, no| shop.order("ann", no).unwrap().verdict.postcode.to_string();
    assert_eq!((postcode(&shop, 1), postcode(&shop, 2)), ("DH1 3LE".into(), "LS1 4DY".into()));
    let address = |id| shop.state.orders[&id].destination.address.as_deref();
    assert_eq!(address(5), Some("1 North Bailey"));
    assert_eq!(address(6), None, "the saved address lies in SW1A 1AA");
    assert_eq!(shop.details("ann").verdict.unwrap().postcode.to_string(), "SW1A 1AA");
}

#[test]
fn absent_details_stay() {
    let mut shop = Shop::demo();
    let set = |first: Option<&str>, phone: Option<&str>| Command::SetDetails {
        user: "ann".into(),
        first: first.map(Into::into),
        last: None,
        phone: phone.map(Into::into),
        address: None,
        postcode: None,
    };
    let phone = Some(String::from("+442079460018").try_into().unwrap());
    let facts = Facts { phone: phone.clone(), ..Facts::default() };
    assert_eq!(
        shop.run_with(facts, set(Some(" Ann "), Some("020 7946 0018"))),
        Ok(Done::Details { verdict: None })
    );
    shop.run(set(None, None)).unwrap();
    let expected = Details { first: Some("Ann".into()), phone, ..Details::default() };
    assert_eq!(shop.details("ann"), expected);
    let refusal = shop.run(set(None, Some("12abc"))).unwrap_err();
    assert_eq!(refusal.code(), "invalid", "no front end made a number of it");
    assert_eq!(shop.details("nobody"), Details::default());
}

#[test]
fn an_order_tells_all_that_it_was_and_who_asked_for_it() {
    let mut shop = Shop::demo();
    let applied = laws::applied(0);
    shop.place(
        "ann",
        Wish { delivery: Delivery::SameDay, tip: 200, ..wish(&[("hamburger", 2), ("fish fingers", 1)]) },
    )
    .unwrap();
    let order = shop.order("ann", 1).unwrap();
    let owner = order.owner.unwrap();
    assert_eq!((owner.user.as_str(), owner.id, owner.request), ("ann", 5, Some(applied.request)));
    assert_eq!((order.no, order.status, order.placed), (1, Status::Active, applied.time));
    let amounts = [order.items, order.fee, order.tip, order.total].map(Pence::get);
    assert_eq!(amounts, [2255, 100, 200, 2555]);
    assert_eq!(order.deliver_by.to_string(), "2026-11-22T00:00:00.000Z");
    let by = |delivery: Delivery| delivery.deliver_by(applied.time).to_string();
    assert_eq!(by(Delivery::TwoHours), "2026-11-21T14:00:00.000Z");
    assert_eq!(by(Delivery::NextDay), "2026-11-23T00:00:00.000Z");
}

#[test]
fn deliveries_are_read_by_word_or_number_and_have_their_fees() {
    for (delivery, (number, fee)) in Delivery::ALL.into_iter().zip([("1", 300), ("2", 100), ("3", 0)]) {
        assert_eq!((number.parse(), delivery.as_str().parse()), (Ok(delivery), Ok(delivery)));
        assert_eq!(delivery.fee(), Pence::new(fee));
    }
    assert!("4".parse::<Delivery>().is_err());
}

/// The command is the client's, so what is left is the reply that is remembered; `measure` tells the time.
#[test]
fn what_an_order_writes_does_not_grow_with_history() {
    let mut shop = Shop::demo();
    let mut size = |count: usize| {
        for _ in 0..count {
            shop.place("ann", wish(&[("pizza", 1)])).unwrap();
        }
        let done = shop.place("ann", wish(&[("pizza", 1)])).unwrap();
        let Done::Placed { no, .. } = done else { panic!("{done:?}") };
        (no, encode(&done).len(), shop.order("ann", no).unwrap())
    };
    let (_, first, _) = size(0);
    let (no, last, order) = size(500);
    assert_eq!((no, order.no), (502, 502));
    // Numbers are a byte or two longer.
    assert!(last <= first + 8, "{first} and {last} bytes");
}

fn own(user: &str) -> Query {
    Query::Orders { user: user.into(), active_only: false, after: 0, limit: 0 }
}
