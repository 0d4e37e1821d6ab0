//! The books: what customers were told, compared with what they and the replicas are shown. Sets and sums only.

use std::collections::{BTreeMap, BTreeSet};

use common::replication::RequestId;
use common::services::Outcome;
use common::services::just_hungry::command::{Command, Done};
use common::services::just_hungry::query::{Answer, Order, Query, Status};

use super::orders::{Asked, History, Shown};
use super::{Anomaly, Kind};

/// Judges the orders of a history.
pub fn check(history: &History) -> Vec<Anomaly> {
    let told = Told::of(history);
    let mut found = Vec::new();
    for (shown, order) in history.orders() {
        found.extend(told.explains(shown, order));
    }
    sights(history, &told, &mut found);
    for (replica, shown) in &history.finals {
        let mut said = Vec::new();
        last_word(history, &told, shown, &mut said);
        found.extend(
            said.into_iter()
                .map(|anomaly| Anomaly { what: format!("{replica}: {}", anomaly.what), ..anomaly }),
        );
    }
    alike(history, &mut found);
    found.dedup();
    found
}

/// What customers asked for and were told.
struct Told<'a> {
    /// By id; the best known of all lines with it.
    commands: BTreeMap<RequestId, &'a Asked>,
    /// Acknowledged orders: whose, which number.
    placed: BTreeMap<(&'a str, u32), (RequestId, u64, u64)>,
    /// When an acknowledged cancel ended.
    cancelled: BTreeMap<(&'a str, u32), u64>,
    /// Cancels that may have taken effect, with the earliest beginning.
    maybe_cancelled: BTreeMap<(&'a str, u32), u64>,
}

impl<'a> Told<'a> {
    fn of(history: &'a History) -> Self {
        let mut told = Self {
            commands: BTreeMap::new(),
            placed: BTreeMap::new(),
            cancelled: BTreeMap::new(),
            maybe_cancelled: BTreeMap::new(),
        };
        for asked in &history.commands {
            let best = told.commands.entry(asked.id).or_insert(asked);
            // A repeat that was answered says more than a try that was lost.
            if best.answer.is_none() && (asked.answer.is_some() || best.refused) {
                *best = asked;
            }
            match (&asked.command, &asked.answer) {
                (
                    Command::PlaceOrder { user, .. },
                    Some((end, _, Outcome::Done(Done::Placed { no, id, .. }))),
                ) => {
                    let (_, _, first) = told.placed.entry((user, *no)).or_insert((asked.id, *id, *end));
                    *first = (*first).min(*end);
                }
                (Command::CancelOrder { user, no }, Some((end, _, Outcome::Done(_)))) => {
                    let first = told.cancelled.entry((user, *no)).or_insert(*end);
                    *first = (*first).min(*end);
                    let begun = told.maybe_cancelled.entry((user, *no)).or_insert(asked.begin);
                    *begun = (*begun).min(asked.begin);
                }
                (Command::CancelOrder { user, no }, None) if !asked.refused => {
                    let begun = told.maybe_cancelled.entry((user, *no)).or_insert(asked.begin);
                    *begun = (*begun).min(asked.begin);
                }
                _ => {}
            }
        }
        told
    }

    /// Whether somebody asked for what is shown.
    fn explains(&self, shown: &Shown, order: &Order) -> Option<Anomaly> {
        let owner = order.owner.as_ref()?;
        // None for the samples.
        let request = owner.request?;
        let name = format!("order {} of {} ({request})", order.no, owner.user);
        let Some(asked) = self.commands.get(&request) else {
            return Some(Anomaly::new(Kind::Phantom, format!("{name}: nobody asked for it")));
        };
        let Command::PlaceOrder { user, .. } = &asked.command else {
            return Some(Anomaly::new(Kind::Phantom, format!("{name}: its request was no order")));
        };
        let ordered: Vec<_> = asked.items().iter().map(|item| (item.item.as_str(), item.qty)).collect();
        let stands: Vec<_> = order.lines.iter().map(|line| (line.item.as_str(), line.qty)).collect();
        if *user != owner.user || ordered != stands || asked.begin > shown.end {
            return Some(Anomaly::new(Kind::Phantom, format!("{name}: not as it was asked for")));
        }
        if asked.refused || asked.is_refused() {
            return Some(Anomaly::new(Kind::RefusedButApplied, name));
        }
        if asked.placed().is_some_and(|placed| placed != (order.no, owner.id)) {
            let what =
                format!("{name} is number {} among all; acknowledged was {:?}", owner.id, asked.placed());
            return Some(Anomaly::new(Kind::Doubled, what));
        }
        let may_be = self.maybe_cancelled.get(&(owner.user.as_str(), order.no));
        if order.status == Status::Cancelled && may_be.is_none_or(|begun| *begun > shown.end) {
            return Some(Anomaly::new(Kind::Phantom, format!("{name}: nobody cancelled it")));
        }
        None
    }
}

/// What a query for orders was bound to show, of what is known to exist by then.
fn covers(query: &Query, answer: &Answer, user: &str, no: u32) -> bool {
    match (query, answer) {
        (Query::Order { user: whose, no: which }, _) => whose == user && *which == no,
        (Query::Orders { user: whose, active_only: false, after, .. }, Answer::Orders(page)) => {
            let last = page.entries.last().map_or(*after, |order| order.no);
            whose == user && no > *after && (!page.more || no <= last)
        }
        _ => false,
    }
}

/// Whoever was told of an order, or saw it, sees it from then on; and a cancelled one stays cancelled.
fn sights(history: &History, told: &Told<'_>, found: &mut Vec<Anomaly>) {
    let mut queries: Vec<&Shown> = history.queries.iter().chain(history.finals.values().flatten()).collect();
    queries.sort_by_key(|shown| shown.begin);
    // The first end of a read that showed it, and that showed it cancelled.
    let mut seen: BTreeMap<(&str, u32), (u64, u64)> = BTreeMap::new();
    for shown in &queries {
        for order in shown.orders() {
            let Some(owner) = &order.owner else { continue };
            let (first, gone) = seen.entry((&owner.user, order.no)).or_insert((u64::MAX, u64::MAX));
            *first = (*first).min(shown.end);
            if order.status == Status::Cancelled {
                *gone = (*gone).min(shown.end);
            }
        }
    }
    let mut by_user: BTreeMap<&str, BTreeSet<u32>> = BTreeMap::new();
    for (user, no) in told.placed.keys().chain(seen.keys()) {
        by_user.entry(user).or_default().insert(*no);
    }
    for shown in queries {
        let (Query::Orders { user, after, .. } | Query::Order { user, no: after }) = &shown.query else {
            continue;
        };
        let from = if matches!(shown.query, Query::Order { .. }) { *after } else { *after + 1 };
        let known = by_user.get(user.as_str()).into_iter().flat_map(|orders| orders.range(from..));
        for no in known.take_while(|no| covers(&shown.query, &shown.answer, user, **no)) {
            let key = (user.as_str(), *no);
            let stands = shown.orders().iter().find(|order| order.no == *no);
            let acknowledged = told.placed.get(&key).is_some_and(|(.., end)| *end < shown.begin);
            let (first, gone) = seen.get(&key).copied().unwrap_or((u64::MAX, u64::MAX));
            let gone = gone.min(told.cancelled.get(&key).copied().unwrap_or(u64::MAX));
            let what = || format!("order {no} of {user}, in a read begun at {} ns", shown.begin);
            match stands {
                None if acknowledged => found.push(Anomaly::new(Kind::Lost, what())),
                None if first < shown.begin => found.push(Anomaly::new(Kind::Vanished, what())),
                Some(order) if order.status == Status::Active && gone < shown.begin => {
                    found.push(Anomaly::new(Kind::Stale, what() + ": it was cancelled before"));
                }
                _ => {}
            }
        }
    }
}

/// What one replica holds at the end: everything acknowledged, once; and what was in stock is sold or left.
fn last_word(history: &History, told: &Told<'_>, shown: &[Shown], found: &mut Vec<Anomaly>) {
    let orders: Vec<&Order> = shown.iter().flat_map(Shown::orders).collect();
    let owned = orders.iter().filter_map(|order| Some((*order, order.owner.as_ref()?)));
    let held: BTreeMap<(&str, u32), &Order> =
        owned.clone().map(|(order, owner)| ((owner.user.as_str(), order.no), order)).collect();
    let mut requests = BTreeSet::new();
    let mut numbers = BTreeSet::new();
    for (order, owner) in owned {
        let twice =
            owner.request.is_some_and(|request| !requests.insert(request)) | !numbers.insert(owner.id);
        if twice {
            let what = format!("order {} of {} stands twice", order.no, owner.user);
            found.push(Anomaly::new(Kind::Doubled, what));
        }
    }
    for ((user, no), (request, id, _)) in &told.placed {
        let stands = held.get(&(*user, *no)).and_then(|order| order.owner.as_ref());
        if stands.is_none_or(|owner| owner.id != *id || owner.request != Some(*request)) {
            found.push(Anomaly::new(Kind::Lost, format!("order {no} of {user} ({request})")));
        }
    }
    for (user, no) in told.cancelled.keys() {
        if held.get(&(*user, *no)).is_some_and(|order| order.status == Status::Active) {
            found.push(Anomaly::new(Kind::Lost, format!("the cancelling of order {no} of {user}")));
        }
    }
    let mut sold: BTreeMap<&str, u64> = BTreeMap::new();
    for line in held.values().filter(|order| order.status == Status::Active).flat_map(|order| &order.lines) {
        *sold.entry(&line.item).or_default() += u64::from(line.qty);
    }
    let left: BTreeMap<&str, u32> = shown.iter().flat_map(Shown::stock).collect();
    for (item, count) in history.menu() {
        let sold = sold.get(item).copied().unwrap_or_default();
        match left.get(item) {
            Some(left) if u64::from(*left) + sold != u64::from(count) => found.push(Anomaly::new(
                Kind::NotConserved,
                format!("{left} {item} left and {sold} sold of {count}"),
            )),
            _ => {}
        }
    }
}

/// All replicas hold the same at the end.
fn alike(history: &History, found: &mut Vec<Anomaly>) {
    let mut all = history.finals.iter().map(|(replica, shown)| {
        let said: Vec<_> = shown.iter().map(|shown| (&shown.query, &shown.answer)).collect();
        (replica, said)
    });
    let Some((first, expected)) = all.next() else { return };
    for (replica, said) in all.filter(|(_, said)| *said != expected) {
        let differs = said.iter().zip(&expected).find(|(one, other)| one != other);
        let asked =
            differs.map_or_else(|| "what was asked".to_owned(), |((query, _), _)| format!("{query:?}"));
        found.push(Anomaly::new(Kind::Diverged, format!("{first} and {replica} differ in {asked}")));
    }
}
