use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

use super::super::query::Status;
use super::*;
use crate::services::laws::Step;
use crate::services::{Machine, encode};

fn user() -> impl Strategy<Value = String> {
    prop_oneof![20 => select(vec!["ann", "bob", "dh13le"]).prop_map(Into::into), 1 => ".{0,5}"]
}

fn item() -> impl Strategy<Value = Item> {
    let known = select(vec!["apple", "APPLE", "bread", "banana", "pizza", "kale"]);
    let unknown = prop_oneof![select(vec!["flour", "aple", "fish & chips"]).prop_map(String::from), ".{0,4}"];
    let name = prop_oneof![15 => known.prop_map(String::from), 1 => unknown];
    let qty = prop_oneof![15 => 1..4_u32, 1 => select(vec![0, 99, 100, u32::MAX])];
    (name, qty).prop_map(|(item, qty)| Item { item, qty })
}

fn lines() -> impl Strategy<Value = Lines> {
    prop_oneof![1 => Just(Lines::Basket), 3 => vec(item(), 0..3).prop_map(Lines::Given)]
}

fn tip() -> impl Strategy<Value = Pence> {
    prop_oneof![9 => Just(0), 3 => 0..=50_000_u64, 1 => Just(50_001)].prop_map(Pence::new)
}

fn postcode() -> impl Strategy<Value = String> {
    let good = select(vec!["DH1 3LE", "dh13lg"]).prop_map(String::from);
    prop_oneof![9 => good, 1 => select(vec!["DH 11", "BF1 3AD"]).prop_map(Into::into), 1 => ".{0,9}"]
}

fn products() -> impl Strategy<Value = Vec<Product>> {
    let name = select(vec!["Apple", "apple ", "Bread", "Kale", "Pizza", ""]);
    let stock = prop_oneof![Just(Stock::Unlimited), (0..6_u32).prop_map(Stock::Counted)];
    vec((name, 0..1_000_002_u64, stock).prop_map(|(name, price, stock)| product(name, price, stock)), 0..4)
}

fn change() -> impl Strategy<Value = Change> {
    let remove = item().prop_map(|item| Change::Remove(item.item));
    prop_oneof![4 => item().prop_map(Change::Add), 2 => item().prop_map(Change::Set), 1 => remove, 1 => Just(Change::Clear)]
}

fn operators() -> impl Strategy<Value = Command> {
    prop_oneof![
        ".{0,20}".prop_map(|text| Command::SetMotd { text }),
        products().prop_map(|products| Command::SetCatalogue { products }),
    ]
}

fn customers() -> impl Strategy<Value = Command> {
    let details = (user(), option::of(".{0,9}"), option::of("[+0-9a]{3,16}"), option::of(postcode()))
        .prop_map(|(user, name, phone, postcode)| Command::SetDetails {
            user,
            first: name.clone(),
            last: None,
            phone,
            address: name,
            postcode,
        });
    let delivery = select(Delivery::ALL.to_vec());
    let expected = prop_oneof![19 => Just(None), 1 => Just(Some(Pence::new(199)))];
    let place =
        (
            user(),
            lines(),
            delivery,
            tip(),
            option::weighted(0.9, postcode()),
            prop::bool::weighted(0.1),
            expected,
        )
            .prop_map(|(user, lines, delivery, tip, postcode, strict, expected)| {
                Command::PlaceOrder { user, lines, delivery, tip, postcode, strict, expected }
            });
    prop_oneof![
        1 => details,
        3 => (user(), change()).prop_map(|(user, change)| Command::ChangeBasket { user, change }),
        4 => place,
        4 => (user(), 0..5_u32).prop_map(|(user, no)| Command::CancelOrder { user, no }),
    ]
}

fn facts() -> impl Strategy<Value = Facts> {
    let source = select(vec![Source::PostcodesIo, Source::Offline, Source::Unconfirmed]);
    let told =
        (select(vec!["DH1 3LE", "DH1 3LG"]), source).prop_map(|(postcode, source)| verdict(postcode, source));
    let phone = Just(String::from("+442079460018").try_into().unwrap());
    (option::of(told), option::of(phone), prop::bool::weighted(0.1))
        .prop_map(|(verdict, phone, strict)| Facts { verdict, phone, strict })
}

fn queries() -> impl Strategy<Value = Vec<Query>> {
    let place = (0..3_u32, 0..3_u32);
    let one = (user(), lines(), tip(), postcode(), place, any::<bool>()).prop_map(
        |(user, lines, tip, postcode, (after, limit), active_only)| {
            vec![
                Query::Motd,
                Query::Menu { after, limit },
                Query::Details { user: user.clone() },
                Query::Basket { user: user.clone() },
                Query::Quote { user: user.clone(), lines, delivery: Delivery::SameDay, tip },
                Query::Orders { user: user.clone(), active_only, after, limit },
                Query::Order { user, no: limit },
                Query::OrdersTo { postcode, after, limit },
            ]
        },
    );
    vec(one, 4).prop_map(|lists| lists.concat())
}

#[test]
fn generated_commands_mostly_do_something() {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;
    let mut runner = TestRunner::deterministic();
    let (mut placed, mut cancelled) = (0, 0);
    for _ in 0..20 {
        let commands = vec((facts(), customers()), 60).new_tree(&mut runner).unwrap().current();
        let mut shop = Shop::demo();
        for (facts, command) in commands {
            match shop.run_with(facts, command) {
                Ok(Done::Placed { .. }) => placed += 1,
                Ok(Done::Cancelled { .. }) => cancelled += 1,
                _ => {}
            }
        }
    }
    assert!(placed > 100 && cancelled > 50, "{placed} placed, {cancelled} cancelled");
}

/// How many of each counted product the shop had, by what is left and what active orders took.
fn accounted(state: &JustHungry) -> BTreeMap<String, u64> {
    let mut found = BTreeMap::new();
    for shelf in state.catalogue.shelves().values() {
        if let Stock::Counted(left) = shelf.product.stock {
            found.insert(shelf.product.name.clone(), u64::from(left));
        }
    }
    for order in state.orders.values().filter(|order| order.status == Status::Active) {
        for line in &order.lines {
            if let Some(count) = found.get_mut(&line.item) {
                *count += u64::from(line.qty);
            }
        }
    }
    found
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn the_laws_of_every_service_hold(
        commands in vec((facts(), prop_oneof![1 => operators(), 6 => customers()]), 1..40),
        queries in queries(),
    ) {
        let steps: Vec<_> =
            commands.iter().map(|(facts, command)| Step::new::<JustHungry>(facts, command)).collect();
        let queries: Vec<_> = queries.iter().map(encode).collect();
        laws::check::<JustHungry>(&start_bytes(&Start::Demo), &steps, &queries);
    }

    #[test]
    fn no_item_appears_or_vanishes(commands in vec((facts(), customers()), 1..60)) {
        let mut shop = Shop::demo();
        let begun = accounted(&shop.state);
        for (facts, command) in commands {
            // A refusal that changes anything fails here, too.
            let _ = shop.run_with(facts, command);
            prop_assert_eq!(accounted(&shop.state), begun.clone());
        }
        let restored: JustHungry = StateMachine::restore(&Machine::snapshot(&shop.state)).unwrap();
        prop_assert_eq!(restored, shop.state, "menu order and indexes included");
    }

    #[test]
    fn no_bytes_end_the_service(facts in vec(any::<u8>(), 0..40), payload in vec(any::<u8>(), 0..200)) {
        let mut shop = Shop::demo();
        Machine::apply(&mut shop.state, laws::applied(0), &facts, &payload);
        Machine::query(&shop.state, &payload);
        let _ = <JustHungry as StateMachine>::restore(&payload);
        let _ = JustHungry::start(Timestamp::from_millis(0), &payload);
    }

    #[test]
    fn a_damaged_snapshot_is_refused_or_another_state(at in any::<prop::sample::Index>(), bits in 1..=255_u8) {
        let mut bytes = Machine::snapshot(&Shop::demo().state).to_vec();
        let at = at.index(bytes.len());
        bytes[at] ^= bits;
        if let Ok(state) = <JustHungry as StateMachine>::restore(&bytes) {
            let again: JustHungry = StateMachine::restore(&Machine::snapshot(&state)).unwrap();
            prop_assert_eq!(again, state);
        }
    }
}

#[test]
fn a_lie_about_a_length_takes_no_memory() {
    // Format 1, then a message of the day of 2^62 bytes.
    let lie = [&[1, 253][..], &(1_u64 << 62).to_le_bytes()].concat();
    assert!(<JustHungry as StateMachine>::restore(&lie).is_err());
    let newer = <JustHungry as StateMachine>::restore(&[2, 0]).unwrap_err();
    assert_eq!(newer.why, "written in format 2, this program reads 1");
}
