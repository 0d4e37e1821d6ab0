use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

use super::*;

/// Tries every order of every subset that contains all answered calls.
fn brute_force<M: Model>(state: &M::State, calls: &[Call<M>], left: &[usize]) -> bool {
    if left.iter().all(|&which| calls[which].answer.is_none()) {
        return true;
    }
    left.iter().any(|&which| {
        let call = &calls[which];
        let ended_before =
            |other: &usize| matches!(&calls[*other].answer, Some((end, _)) if *end < call.begin);
        if left.iter().any(ended_before) {
            return false;
        }
        let (next, said) = M::step(state, &call.op);
        let rest: Vec<_> = left.iter().copied().filter(|&other| other != which).collect();
        call.answer.as_ref().is_none_or(|(_, answer)| *answer == said) && brute_force(&next, calls, &rest)
    })
}

/// A history that one object made, with overlapping calls and unknown outcomes, then perhaps falsified.
fn history<M: Model>(
    rng: &mut StdRng,
    mut state: M::State,
    op: impl Fn(&mut StdRng) -> M::Op,
    answer: impl Fn(&mut StdRng) -> M::Answer,
) -> Vec<Call<M>> {
    let mut calls = Vec::new();
    for n in 0..rng.random_range(1..=6_u64) {
        let op = op(rng);
        let (next, said) = M::step(&state, &op);
        let at = n * 10;
        let (begin, end) = (at.saturating_sub(rng.random_range(0..25)), at + rng.random_range(0..25));
        let lost = rng.random_ratio(1, 4);
        if !lost || rng.random() {
            state = next;
        }
        let said = if rng.random_ratio(1, 6) { answer(rng) } else { said };
        calls.push(Call { begin, op, answer: (!lost).then_some((end, said)) });
    }
    calls
}

/// How many of the histories were linearizable, of so many.
fn compare<M: Model<State: Copy>>(
    start: M::State,
    op: impl Fn(&mut StdRng) -> M::Op,
    answer: impl Fn(&mut StdRng) -> M::Answer,
) -> (u32, u32) {
    let (mut good, mut bad) = (0, 0);
    for seed in 0..3_000 {
        let mut rng = StdRng::seed_from_u64(seed);
        let calls = history::<M>(&mut rng, start, &op, &answer);
        let all: Vec<_> = (0..calls.len()).collect();
        let expected = brute_force(&start, &calls, &all);
        let found = check(start, &calls);
        assert_eq!(found == Verdict::Linearizable, expected, "seed {seed}: {found:?}\n{calls:#?}");
        *(if expected { &mut good } else { &mut bad }) += 1;
    }
    (good, bad)
}

#[test]
fn the_search_agrees_with_brute_force_on_stocks() {
    let op = |rng: &mut StdRng| match rng.random_range(0..3) {
        0 => StockOp::Take(rng.random_range(1..4)),
        1 => StockOp::Give(rng.random_range(1..3)),
        _ => StockOp::Count,
    };
    let answer = |rng: &mut StdRng| match rng.random_range(0..3) {
        0 => StockSaid::Done,
        1 => StockSaid::Short(rng.random_range(0..3)),
        _ => StockSaid::Left(rng.random_range(0..6)),
    };
    let (good, bad) = compare::<Stock>(4, op, answer);
    assert!(good > 500 && bad > 500, "{good} good and {bad} bad histories teach too little");
}

#[test]
fn the_search_agrees_with_brute_force_on_registers() {
    let op = |rng: &mut StdRng| match rng.random_range(0..3) {
        0 => RegisterOp::Write(rng.random_range(0..3)),
        1 => RegisterOp::Swap(rng.random_range(0..3), rng.random_range(0..3)),
        _ => RegisterOp::Read,
    };
    let answer = |rng: &mut StdRng| rng.random::<bool>().then(|| rng.random_range(0..3));
    let (good, bad) = compare::<Register>(0, op, answer);
    assert!(good > 500 && bad > 500, "{good} good and {bad} bad histories teach too little");
}

fn call(begin: u64, end: u64, op: StockOp, said: StockSaid) -> Call<Stock> {
    Call { begin, op, answer: Some((end, said)) }
}

#[test]
fn an_unknown_take_may_explain_a_count_at_any_later_time_but_none_before_it_began() {
    let unknown = |begin| Call { begin, op: StockOp::Take(1), answer: None };
    let counts = || [(10, StockSaid::Left(5)), (20, StockSaid::Left(5)), (30, StockSaid::Left(4))];
    let history = |begin| {
        let counts = counts().map(|(at, said)| call(at, at + 1, StockOp::Count, said));
        counts.into_iter().chain([unknown(begin)]).collect::<Vec<_>>()
    };
    assert_eq!(check(5, &history(0)), Verdict::Linearizable);
    assert_eq!(check(5, &history(31)), Verdict::Linearizable, "as the last count ended, it had begun");
    assert_eq!(check(5, &history(32)), Verdict::Not { explained: 2 });
}

#[test]
fn the_last_one_sold_twice_and_a_count_from_the_past_are_not_linearizable() {
    let sold = |begin| call(begin, begin + 5, StockOp::Take(1), StockSaid::Done);
    assert_eq!(check(1, &[sold(0), sold(2)]), Verdict::Not { explained: 1 });
    let stale = call(10, 12, StockOp::Count, StockSaid::Left(1));
    assert_eq!(check(1, &[sold(0), stale]), Verdict::Not { explained: 1 });
}

#[test]
fn ten_thousand_calls_of_sixteen_clients_are_judged_without_a_detour() {
    let mut rng = StdRng::seed_from_u64(7);
    let mut left = 1_000_000;
    let mut calls = Vec::new();
    for n in 0..10_000_u64 {
        let at = n * 10;
        let (op, said) = match rng.random_range(0..3) {
            0 => (StockOp::Count, StockSaid::Left(left)),
            1 => (StockOp::Take(1), StockSaid::Done),
            _ => (StockOp::Give(1), StockSaid::Done),
        };
        left = Stock::step(&left, &op).0;
        let begin = at.saturating_sub(rng.random_range(0..80));
        calls.push(call(begin, at + rng.random_range(1..80), op, said));
    }
    assert_eq!(check(1_000_000, &calls), Verdict::Linearizable);
}
