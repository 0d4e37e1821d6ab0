//! Linearizability of one object, by search: is there an order of the calls that explains every answer, in which no
//! call stands before one that ended before it began? (Wing and Gong 1993; Lowe 2017 for remembering where the
//! search has been.)

use std::collections::HashSet;
use std::fmt::Debug;
use std::hash::Hash;

/// An object as its specification has it.
pub trait Model: Debug {
    /// What it holds.
    type State: Clone + Eq + Hash + Debug;
    /// What can be asked of it.
    type Op: Debug;
    /// What it may say.
    type Answer: PartialEq + Debug;

    /// What becomes of the state, and what is said.
    fn step(state: &Self::State, op: &Self::Op) -> (Self::State, Self::Answer);
}

/// One call.
#[derive(Debug)]
pub struct Call<M: Model> {
    /// When it began.
    pub begin: u64,
    /// What was asked.
    pub op: M::Op,
    /// When it ended and what was said; `None`: unknown, so it took effect at any time after `begin`, or never.
    pub answer: Option<(u64, M::Answer)>,
}

/// What a search found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// There is such an order.
    Linearizable,
    /// There is none. The longest beginning that could be explained had so many answered calls.
    Not {
        /// Answered calls.
        explained: usize,
    },
    /// [`STATES_MAX`] were not enough to tell.
    Undecided,
}

/// A few hundred megabytes and seconds; a history that a correct object made needs about one state a call.
pub const STATES_MAX: usize = 1_000_000;

/// Where the search stands.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Place<S> {
    /// Of the answered calls in the order of their beginnings, the first so many have taken effect …
    upto: usize,
    /// … and of the later ones, these.
    ahead: Vec<usize>,
    /// Of the unknown ones, these.
    unknown: Vec<usize>,
    state: S,
}

/// Searches for an order of `calls` from the state `start`.
pub fn check<M: Model>(start: M::State, calls: &[Call<M>]) -> Verdict {
    let mut known: Vec<(u64, u64, &M::Op, &M::Answer)> = calls
        .iter()
        .filter_map(|call| call.answer.as_ref().map(|(end, answer)| (call.begin, *end, &call.op, answer)))
        .collect();
    known.sort_by_key(|(begin, end, ..)| (*begin, *end));
    let mut open: Vec<(u64, &M::Op)> =
        calls.iter().filter(|call| call.answer.is_none()).map(|call| (call.begin, &call.op)).collect();
    open.sort_by_key(|(begin, _)| *begin);

    let first = Place { upto: 0, ahead: Vec::new(), unknown: Vec::new(), state: start };
    let mut seen = HashSet::from([first.clone()]);
    let mut stack = vec![first];
    let mut explained = 0;
    while let Some(place) = stack.pop() {
        explained = explained.max(place.upto + place.ahead.len());
        if place.upto == known.len() {
            return Verdict::Linearizable;
        }
        if seen.len() > STATES_MAX {
            return Verdict::Undecided;
        }
        // Whoever begins after somebody's end must wait for that one.
        let waiting = || (place.upto..known.len()).filter(|which| place.ahead.binary_search(which).is_err());
        let mut horizon = u64::MAX;
        for which in waiting() {
            if known[which].0 > horizon {
                break;
            }
            horizon = horizon.min(known[which].1);
        }
        let mut next = Vec::new();
        let begun = open.iter().enumerate().take_while(|(_, (begin, _))| *begin <= horizon);
        for (which, (_, op)) in begun.filter(|(which, _)| place.unknown.binary_search(which).is_err()) {
            let (state, _) = M::step(&place.state, op);
            // One that changes nothing may as well not have happened.
            if state != place.state {
                next.push(Place { unknown: with(&place.unknown, which), state, ..place.clone() });
            }
        }
        let mut due: Vec<usize> = waiting().take_while(|&which| known[which].0 <= horizon).collect();
        // The last pushed is tried first: who ended first, most often took effect first.
        due.sort_by_key(|&which| std::cmp::Reverse(known[which].1));
        for which in due {
            let (state, said) = M::step(&place.state, known[which].2);
            if said == *known[which].3 {
                next.push(after(&place, which, state));
            }
        }
        for place in next {
            if seen.insert(place.clone()) {
                stack.push(place);
            }
        }
    }
    Verdict::Not { explained }
}

fn with(sorted: &[usize], one: usize) -> Vec<usize> {
    let mut all = sorted.to_vec();
    let at = all.binary_search(&one).unwrap_or_else(|at| at);
    all.insert(at, one);
    all
}

/// The place after the answered call `which` took effect.
fn after<S: Clone>(place: &Place<S>, which: usize, state: S) -> Place<S> {
    let mut ahead = with(&place.ahead, which);
    let mut upto = place.upto;
    while ahead.first() == Some(&upto) {
        ahead.remove(0);
        upto += 1;
    }
    Place { upto, ahead, unknown: place.unknown.clone(), state }
}

/// So many of one thing: taken, given back, counted.
#[derive(Debug)]
pub enum Stock {}

/// What is done to a stock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StockOp {
    /// Takes so many, if there are so many.
    Take(u32),
    /// Gives so many back.
    Give(u32),
    /// Counts.
    Count,
}

/// What a stock says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StockSaid {
    /// It was done.
    Done,
    /// There are only so many.
    Short(u32),
    /// There are so many.
    Left(u32),
}

impl Model for Stock {
    type State = u32;
    type Op = StockOp;
    type Answer = StockSaid;

    fn step(&left: &u32, op: &StockOp) -> (u32, StockSaid) {
        match *op {
            StockOp::Take(qty) if qty > left => (left, StockSaid::Short(left)),
            StockOp::Take(qty) => (left - qty, StockSaid::Done),
            StockOp::Give(qty) => (left.saturating_add(qty), StockSaid::Done),
            StockOp::Count => (left, StockSaid::Left(left)),
        }
    }
}

/// One value, written whole, or only over an expected one.
#[derive(Debug)]
pub enum Register {}

/// What is done to a register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RegisterOp {
    /// Puts this in.
    Write(u64),
    /// Puts the second in if the first is there.
    Swap(u64, u64),
    /// Looks.
    Read,
}

impl Model for Register {
    type State = u64;
    type Op = RegisterOp;
    /// What was there before.
    type Answer = Option<u64>;

    fn step(&held: &u64, op: &RegisterOp) -> (u64, Option<u64>) {
        match *op {
            RegisterOp::Write(value) => (value, None),
            RegisterOp::Swap(expected, value) if expected == held => (value, Some(held)),
            RegisterOp::Swap(..) | RegisterOp::Read => (held, Some(held)),
        }
    }
}

#[cfg(test)]
mod tests;
