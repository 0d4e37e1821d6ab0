//! The judges judged: nothing is said of a good history, and each planted anomaly is named.

use std::collections::BTreeSet;

use common::replication::RequestId;
use common::services::Outcome;
use common::services::just_hungry::command::{Command, Done, Reply, Stock};
use common::services::just_hungry::query::{Answer, Order, Query, Status};

use super::made::{ITEMS, Made, menu, orders, start, user};
use super::orders::{History, judge, place, seen_by_the_witness, stock_is_linear};
use super::{Anomaly, Kind, Line, Op, books};

fn judged(lines: &[Line]) -> Vec<Anomaly> {
    judge(&start(), lines).unwrap()
}

/// Who names what.
struct Named {
    books: BTreeSet<Kind>,
    witness: BTreeSet<Kind>,
    linear: BTreeSet<Kind>,
}

fn named(lines: &[Line]) -> Named {
    let history = History::of(lines).unwrap();
    let kinds = |found: Vec<Anomaly>| found.into_iter().map(|anomaly| anomaly.kind).collect();
    Named {
        books: kinds(books::check(&history)),
        witness: kinds(seen_by_the_witness(&start(), &history)),
        linear: kinds(stock_is_linear(&history)),
    }
}

#[test]
fn nothing_is_said_of_histories_that_a_correct_service_made() {
    let mut lost = 0;
    for seed in 0..150 {
        let lines = Made::history(seed, 12, 60);
        lost += lines.iter().filter(|line| line.ok.is_none()).count();
        let found = judged(&lines);
        assert!(found.is_empty(), "seed {seed}: {found:#?}");
    }
    assert!(lost > 300, "only {lost} unknown outcomes");
}

#[test]
fn a_long_history_is_judged_in_one_go() {
    let found = judged(&Made::history(1, 100_000, 2_000));
    assert!(found.is_empty(), "{found:#?}");
}

/// Two customers, three orders, one of them cancelled, one refused; the stock and the orders are read in between.
fn story() -> Vec<Line> {
    let mut made = Made::new(3);
    made.run(0, Op::Menu, &menu(5));
    let mut step = |op: &dyn Fn(&mut Made)| {
        op(&mut made);
        // Nothing overlaps.
        made.calm();
    };
    step(&|made| made.elect());
    step(&|made| made.ask(1, "frontend.2", Op::Stock, &STOCK));
    step(&|made| drop(made.run(0, Op::Place, &place(&user(0), &[(ITEMS[0], 2)]))));
    step(&|made| drop(made.run(0, Op::Place, &place(&user(0), &[(ITEMS[0], 1)]))));
    step(&|made| made.ask(0, "frontend.1", Op::Orders, &orders(0)));
    step(&|made| made.ask(1, "frontend.2", Op::Stock, &STOCK));
    step(&|made| drop(made.run(1, Op::Place, &place(&user(1), &[(ITEMS[0], 4)]))));
    step(&|made| drop(made.run(0, Op::Cancel, &Command::CancelOrder { user: user(0), no: 1 })));
    step(&|made| made.ask(0, "frontend.1", Op::Orders, &orders(0)));
    made.read_all(2);
    assert!(judged(&made.lines).is_empty());
    made.lines
}

const STOCK: Query = Query::Menu { after: 0, limit: 0 };
/// Lines of the story.
const FIRST_COUNT: usize = 1;
const FIRST_ORDER: usize = 2;
const SECOND_ORDER: usize = 3;
const SIGHT: usize = 4;
const LATER_COUNT: usize = 5;
const REFUSED: usize = 6;
const CANCEL: usize = 7;
const LATER_SIGHT: usize = 8;

/// Changes what a line says.
fn edit<T: serde::Serialize + serde::de::DeserializeOwned>(line: &mut Line, change: impl FnOnce(&mut T)) {
    let (at, mut said) = line.answer::<T>().unwrap().unwrap();
    change(&mut said);
    line.answered(line.end.unwrap(), at, &said);
}

/// Changes every list of orders that `which` picks, and every count of what is in stock beside it.
fn edit_orders(lines: &mut [Line], which: impl Fn(&Line) -> bool, change: impl Fn(&mut Vec<Order>)) {
    let shown = |line: &Line| line.args.get("Orders").is_some_and(|args| args["user"] == user(0));
    for line in lines.iter_mut().filter(|line| which(line) && shown(line)) {
        edit(line, |answer: &mut Answer| match answer {
            Answer::Orders(page) => change(&mut page.entries),
            other => panic!("no orders: {other:?}"),
        });
    }
}

fn edit_stock(line: &mut Line, change: impl Fn(&mut u32)) {
    edit(line, |answer: &mut Answer| match answer {
        Answer::Menu(page) => match &mut page.entries[0].stock {
            Stock::Counted(left) => change(left),
            Stock::Unlimited => panic!("it was counted"),
        },
        other => panic!("no menu: {other:?}"),
    });
}

fn is_final(line: &Line) -> bool {
    line.op == Op::Final
}

fn is_final_menu(line: &Line) -> bool {
    is_final(line) && line.args.get("Menu").is_some()
}

#[test]
fn an_acknowledged_order_that_is_gone_is_named_lost() {
    let mut lines = story();
    edit_orders(&mut lines, is_final, |orders| drop(orders.pop()));
    lines.iter_mut().filter(|line| is_final_menu(line)).for_each(|line| edit_stock(line, |left| *left += 1));
    let named = named(&lines);
    assert_eq!(named.books, [Kind::Lost].into());
    assert_eq!(named.witness, [Kind::WrongAnswer].into());
}

#[test]
fn a_lost_cancelling_is_named_lost() {
    let mut lines = story();
    edit_orders(
        &mut lines,
        |line| is_final(line) || line.op == Op::Orders,
        |orders| {
            for order in orders {
                order.status = Status::Active;
            }
        },
    );
    lines.iter_mut().filter(|line| is_final_menu(line)).for_each(|line| edit_stock(line, |left| *left -= 2));
    let named = named(&lines);
    assert_eq!(named.books, [Kind::Lost, Kind::Stale].into());
    assert_eq!(named.witness, [Kind::WrongAnswer].into());
}

#[test]
fn an_order_that_nobody_placed_is_named_a_phantom() {
    let mut lines = story();
    edit_orders(&mut lines, is_final, |orders| {
        let mut phantom = orders[1].clone();
        phantom.no = 3;
        let owner = phantom.owner.as_mut().unwrap();
        owner.id = 3;
        owner.request = Some(RequestId::from_parts(phantom.placed, 0, 99));
        orders.push(phantom);
    });
    lines.iter_mut().filter(|line| is_final_menu(line)).for_each(|line| edit_stock(line, |left| *left -= 1));
    let named = named(&lines);
    assert_eq!(named.books, [Kind::Phantom].into());
    assert_eq!(named.witness, [Kind::WrongAnswer].into());
}

#[test]
fn a_cancelling_that_nobody_asked_for_is_named_a_phantom() {
    let mut lines = story();
    edit_orders(&mut lines, is_final, |orders| orders[1].status = Status::Cancelled);
    lines.iter_mut().filter(|line| is_final_menu(line)).for_each(|line| edit_stock(line, |left| *left += 1));
    assert_eq!(named(&lines).books, [Kind::Phantom].into());
}

#[test]
fn a_command_that_ran_twice_is_named_doubled() {
    let mut lines = story();
    edit_orders(&mut lines, is_final, |orders| {
        let mut again = orders[1].clone();
        again.no = 3;
        again.owner.as_mut().unwrap().id = 3;
        orders.push(again);
    });
    lines.iter_mut().filter(|line| is_final_menu(line)).for_each(|line| edit_stock(line, |left| *left -= 1));
    let named = named(&lines);
    assert_eq!(named.books, [Kind::Doubled].into());
    assert_eq!(named.witness, [Kind::WrongAnswer].into());

    // Without a trace in the books: the same reply, from another place in the log.
    let mut lines = story();
    let mut again = lines[SECOND_ORDER].clone();
    let (mut at, said) = again.answer::<Reply>().unwrap().unwrap();
    at.index.0 += 1;
    again.answered(again.end.unwrap(), at, &said);
    lines.push(again);
    assert_eq!(self::named(&lines).witness, [Kind::Doubled].into());
}

#[test]
fn an_order_that_was_refused_and_stands_all_the_same_is_named() {
    let mut lines = story();
    lines[SECOND_ORDER].refused(2_500, "draining");
    let named_ = named(&lines);
    assert_eq!(named_.books, [Kind::RefusedButApplied].into());
    assert_eq!(named_.witness, [Kind::WrongAnswer].into());

    let mut lines = story();
    let refusal = lines[REFUSED].answer::<Reply>().unwrap().unwrap().1;
    edit(&mut lines[SECOND_ORDER], |reply: &mut Reply| *reply = refusal);
    let named = named(&lines);
    assert_eq!(named.books, [Kind::RefusedButApplied].into());
    assert_eq!(named.witness, [Kind::WrongAnswer].into());
    assert_eq!(named.linear, [Kind::NotLinearizable].into());
}

#[test]
fn an_order_that_was_seen_and_is_seen_no_more_is_named_vanished() {
    let mut lines = story();
    lines[SECOND_ORDER].lost("no answer");
    assert!(judged(&lines).is_empty(), "an unknown outcome may be there");
    let later = |line: &Line| is_final(line) || line.begin >= lines[LATER_SIGHT].begin;
    let later: Vec<bool> = lines.iter().map(later).collect();
    let begins: BTreeSet<u64> =
        lines.iter().zip(later).filter(|(_, later)| *later).map(|(line, _)| line.begin).collect();
    edit_orders(&mut lines, |line| begins.contains(&line.begin), |orders| drop(orders.pop()));
    lines.iter_mut().filter(|line| is_final_menu(line)).for_each(|line| edit_stock(line, |left| *left += 1));
    let named = named(&lines);
    assert_eq!(named.books, [Kind::Vanished].into());
    assert_eq!(named.witness, [Kind::WrongAnswer].into());
}

#[test]
fn a_read_of_the_past_is_named_stale() {
    let mut lines = story();
    let (at, said) = lines[FIRST_COUNT].answer::<Answer>().unwrap().unwrap();
    let end = lines[LATER_COUNT].end.unwrap();
    lines[LATER_COUNT].answered(end, at, &said);
    let named_ = named(&lines);
    assert_eq!(named_.witness, [Kind::Stale].into());
    assert_eq!(named_.linear, [Kind::NotLinearizable].into());

    let mut lines = story();
    let (at, said) = lines[SIGHT].answer::<Answer>().unwrap().unwrap();
    let end = lines[LATER_SIGHT].end.unwrap();
    lines[LATER_SIGHT].answered(end, at, &said);
    let named = named(&lines);
    assert_eq!(named.books, [Kind::Stale].into());
    assert_eq!(named.witness, [Kind::Stale].into());
}

#[test]
fn stock_that_no_order_of_the_calls_explains_is_named() {
    let mut lines = story();
    edit_stock(&mut lines[LATER_COUNT], |left| *left += 1);
    let named = named(&lines);
    assert_eq!(named.linear, [Kind::NotLinearizable].into());
    assert_eq!(named.witness, [Kind::WrongAnswer].into());
}

#[test]
fn stock_that_is_neither_sold_nor_left_is_named() {
    let mut lines = story();
    lines.iter_mut().filter(|line| is_final_menu(line)).for_each(|line| edit_stock(line, |left| *left += 1));
    let named = named(&lines);
    assert_eq!(named.books, [Kind::NotConserved].into());
    assert_eq!(named.witness, [Kind::WrongAnswer].into());
}

#[test]
fn another_reply_to_a_repeat_is_named() {
    let mut lines = story();
    let mut again = lines[SECOND_ORDER].clone();
    edit(&mut again, |reply: &mut Reply| match reply {
        Outcome::Done(Done::Placed { total, .. }) => *total = *total + *total,
        other => panic!("it was placed: {other:?}"),
    });
    lines.push(again);
    assert_eq!(named(&lines).witness, [Kind::RepliesDiffer].into());
}

#[test]
fn a_replica_that_holds_something_else_is_named() {
    let mut lines = story();
    edit_orders(
        &mut lines,
        |line| is_final(line) && line.session == "replica.2",
        |orders| {
            orders[1].tip = common::services::money::Pence::new(1);
        },
    );
    let named = named(&lines);
    assert_eq!(named.books, [Kind::Diverged].into());
    assert_eq!(named.witness, [Kind::WrongAnswer].into());
}

/// Puts a line's answer elsewhere in the log.
fn moved(line: &mut Line, change: impl FnOnce(&mut common::replication::LogPoint)) {
    let end = line.end.unwrap();
    let (mut at, said) = line.answer::<Reply>().unwrap().unwrap();
    change(&mut at);
    line.answered(end, at, &said);
}

#[test]
fn an_acknowledgement_of_a_deposed_primary_is_named() {
    // At a place that another primary gave to another command.
    let mut lines = story();
    let (taken, _) = lines[FIRST_ORDER].answer::<Reply>().unwrap().unwrap();
    moved(&mut lines[SECOND_ORDER], |at| *at = taken);
    assert_eq!(named(&lines).witness, [Kind::Forked, Kind::Misplaced].into());
    // In an epoch that was over.
    let mut lines = story();
    moved(&mut lines[FIRST_ORDER], |at| at.epoch.0 = 3);
    assert_eq!(named(&lines).witness, [Kind::Forked].into());
    // Before what was acknowledged before it began.
    let mut lines = story();
    moved(&mut lines[CANCEL], |at| at.index.0 = 3);
    assert_eq!(named(&lines).witness, [Kind::Misplaced].into());
}
