use std::collections::BTreeSet;

use super::super::bounds::{CUSTOMERS_MAX, ORDERS_MAX};
use super::super::refusal::{Field, Month, Store, Why};
use super::super::state::check_room;
use super::*;
use crate::services::text::BadText;
use crate::services::{Machine, REPLY_BYTES_MAX, decode, encode};

/// The codes that concern food, of the table that all services share; `request_id_reused` is the request table's.
const CODES: [(&str, u8); 14] = [
    ("already_cancelled", 4),
    ("basket_empty", 4),
    ("full", 4),
    ("invalid", 2),
    ("low_stock", 4),
    ("malformed", 1),
    ("no_details", 4),
    ("order_unknown", 3),
    ("postcode_malformed", 4),
    ("postcode_retired", 4),
    ("postcode_unconfirmed", 4),
    ("postcode_unknown", 4),
    ("total_changed", 4),
    ("unknown_product", 3),
];

/// What the service itself refuses, produced by commands.
fn produced() -> Vec<Refusal> {
    let mut shop = Shop::demo();
    shop.add("ann", "apple", 1).unwrap();
    shop.place("bob", wish(&[("apple", 1)])).unwrap();
    shop.cancel("bob", 1).unwrap();
    let reply = decode::<Reply>(&Machine::apply(&mut shop.state, laws::applied(9), &[], &[99]));
    let Ok(Outcome::Refused(malformed)) = reply else { panic!("{reply:?}") };
    let nowhere = Wish { postcode: None, ..wish(&[("pizza", 1)]) };
    let refused = |done: Result<Done, Refusal>| done.unwrap_err();
    vec![
        malformed,
        refused(shop.run(Command::SetMotd { text: "  ".into() })),
        refused(shop.place("ann", wish(&[("aple", 1)]))),
        refused(shop.place("ann", wish(&[("Flour", 3)]))),
        refused(shop.place("bob", BASKET)),
        refused(shop.place("ann", nowhere)),
        refused(shop.place("ann", Wish { expected: Some(895), tip: 5, ..wish(&[("pizza", 1)]) })),
        refused(shop.cancel("bob", 2)),
        refused(shop.cancel("bob", 1)),
        refused(shop.place("ann", Wish { postcode: Some("DH1 OAB"), ..wish(&[("pizza", 1)]) })),
        refused(shop.place_with(Facts { strict: true, ..Facts::default() }, "ann", wish(&[("pizza", 1)]))),
        check_room(Store::Customers, CUSTOMERS_MAX, CUSTOMERS_MAX).unwrap_err(),
        check_room(Store::Orders, ORDERS_MAX, ORDERS_MAX).unwrap_err(),
    ]
}

/// What only a front end's door can know.
fn from_the_door() -> Vec<Refusal> {
    let postcode = "DH1 9ZZ".parse().unwrap();
    let near = ["DH1 9ZX", "DH1 9ZY"].map(|text| text.parse().unwrap()).into();
    vec![
        Refusal::PostcodeUnknown { postcode, near: vec![] },
        Refusal::PostcodeUnknown { postcode, near },
        Refusal::PostcodeRetired { postcode, since: Some(Month { year: 1996, month: 6 }) },
        Refusal::PostcodeRetired { postcode, since: None },
    ]
}

#[test]
fn every_code_is_produced_with_its_exit_status_and_no_other_is() {
    let refusals = [produced(), from_the_door()].concat();
    let found: BTreeSet<_> = refusals.iter().map(|refusal| (refusal.code(), refusal.exit_status())).collect();
    assert_eq!(found, BTreeSet::from(CODES));
}

#[test]
fn sentences_are_the_ones_that_people_know() {
    let refusals = [produced(), from_the_door()].concat();
    let sentences: Vec<_> = refusals.iter().map(Refusal::sentence).collect();
    assert_eq!(
        sentences,
        [
            "The service did not understand the request.",
            "motd: Don't leave it blank!",
            "aple is not on the menu. Did you mean Apple?",
            "Could not place order due to low stock of Flour. Please try again later. You asked for 3, 0 left; no part of \
             the order was placed.",
            "Your basket is empty.",
            "No delivery details for ann: give a postcode, or save details first.",
            "The total is now £9.00, you saw £8.95. Nothing was ordered.",
            "Specified order ID not found.",
            "Order #1 was cancelled before.",
            "Invalid postcode: ‘DH1 OAB’. Example: DH1 3LE. Did you mean DH1 0AB?",
            "Could not validate postcode DH1 3LE: neither web service answered.",
            "The list of customers is full (1000000).",
            "The book of orders is full (10000000).",
            "Postcode not found: DH1 9ZZ.",
            "Postcode not found: DH1 9ZZ. Did you mean DH1 9ZX or DH1 9ZY?",
            "DH1 9ZZ was retired in June 1996.",
            "DH1 9ZZ was retired.",
        ]
    );
}

#[test]
fn an_unknown_product_is_answered_with_up_to_three_like_it() {
    let mut shop = Shop::demo();
    for (item, sentence) in [
        ("chiken", "chiken is not on the menu. Did you mean Chicken wings or Fried chicken?"),
        ("hamburgers", "hamburgers is not on the menu. Did you mean Hamburger?"),
        ("wings", "wings is not on the menu. Did you mean Chicken wings?"),
        ("the pizza", "the pizza is not on the menu. Did you mean Pizza?"),
        ("fishfingers", "fishfingers is not on the menu. Did you mean Fish fingers?"),
        ("sushi", "sushi is not on the menu."),
    ] {
        assert_eq!(shop.add("ann", item, 1).unwrap_err().sentence(), sentence);
    }
    let soups = ["Soup of the day", "Soup, red", "Soup, green", "Soup, cold"]
        .map(|name| product(name, 1, Stock::Unlimited));
    shop.set_catalogue(soups.into()).unwrap();
    let sentence = "soup is not on the menu. Did you mean Soup, cold, Soup, green or Soup, red?";
    assert_eq!(shop.add("ann", "soup", 1).unwrap_err().sentence(), sentence);
}

#[test]
fn the_longest_refusals_fit_into_a_remembered_reply() {
    let mut shop = Shop::demo();
    let wide = |count: usize| "🍕".repeat(count);
    let user = wide(64);
    let products =
        (0..10).map(|n| product(&format!("{} soup {n}a", wide(32)), 1_000_000, Stock::Counted(98))).collect();
    shop.set_catalogue(products).unwrap();
    let first = format!("{} soup 0a", wide(32));
    let unknown = format!("{} soup", wide(35));
    let nowhere = Wish { postcode: None, ..wish(&[(&first, 1)]) };
    let refusals = [
        shop.place(&user, nowhere).unwrap_err(),
        shop.place(&user, wish(&[(&unknown, 99)])).unwrap_err(),
        shop.place(&user, wish(&[(&first, 99)])).unwrap_err(),
        shop.place(&user, wish(&[(&wide(400), 99)])).unwrap_err(),
    ];
    for (refusal, code) in refusals.into_iter().zip(["no_details", "unknown_product", "low_stock", "invalid"])
    {
        assert_eq!(refusal.code(), code);
        let bytes = encode(&Reply::Refused(refusal)).len();
        assert!(bytes <= REPLY_BYTES_MAX, "{code}: {bytes} bytes");
    }
    let told = Verdict {
        town: Some(wide(48)),
        checked: Timestamp::from_millis(u64::MAX),
        ..verdict("SW1A 1AA", Source::Offline)
    };
    let reply = encode(&Reply::Done(Done::Details { verdict: Some(told) }));
    assert!(reply.len() <= REPLY_BYTES_MAX, "{} bytes", reply.len());
}

#[test]
fn texts_are_kept_as_typed_and_judged_by_their_rules() {
    let mut shop = Shop::demo();
    for code in ["42", "o'brien, \"ann\"", "a;b|c", "<b>", "渡辺"] {
        shop.place(code, wish(&[("pizza", 1)])).unwrap();
        assert_eq!(shop.order(code, 1).unwrap().owner.unwrap().user, code);
    }
    assert!(shop.place("Ann", wish(&[("pizza", 1)])).is_ok());
    assert_eq!(shop.order("ann", 1), Err(Refusal::OrderUnknown { no: 1 }), "codes are compared exactly");
    let refused = |field, why| Err(Refusal::Invalid { field, at: None, why: Why::Text(why) });
    assert_eq!(shop.add(&"x".repeat(65), "pizza", 1), refused(Field::User, BadText::TooLong { max: 64 }));
    assert_eq!(shop.add("", "pizza", 1), refused(Field::User, BadText::Blank));
    assert_eq!(
        shop.add("ann", "pi\u{200B}zza", 1),
        refused(Field::Item, BadText::Character { found: '\u{200B}' })
    );
    let motd = shop.run(Command::SetMotd { text: "x".repeat(201) });
    assert_eq!(motd, refused(Field::Motd, BadText::TooLong { max: 200 }));
    let details = |first: &str, address: &str| Command::SetDetails {
        user: "ann".into(),
        first: Some(first.into()),
        last: None,
        phone: None,
        address: Some(address.into()),
        postcode: Some("DH 11".into()),
    };
    assert_eq!(shop.run(details(&"x".repeat(65), "")), refused(Field::First, BadText::TooLong { max: 64 }));
    assert_eq!(shop.run(details("Ann", "1\n2")), refused(Field::Address, BadText::Character { found: '\n' }));
    assert_eq!(shop.run(details("Ann", "1")), Err(Refusal::PostcodeMalformed { text: "DH 11".into() }));
}

#[test]
fn a_far_too_long_postcode_is_cut_before_it_is_remembered() {
    let mut shop = Shop::demo();
    let refusal = shop
        .place("ann", Wish { postcode: Some("DH1 3LE, the house next to the pub"), ..wish(&[("pizza", 1)]) });
    assert_eq!(refusal, Err(Refusal::PostcodeMalformed { text: "DH1 3LE, the hous".into() }));
    let nowhere = Refusal::PostcodeMalformed { text: "BF1 3AD".into() };
    assert_eq!(nowhere.sentence(), "Invalid postcode: ‘BF1 3AD’. Example: DH1 3LE. We do not deliver there.");
}
