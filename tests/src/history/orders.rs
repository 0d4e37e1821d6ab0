//! What the lines of a history of `just.hungry` mean, and all judges of it at once.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use common::clock::Timestamp;
use common::replication::{LogPoint, RequestId};
use common::services::just_hungry::command::{
    Command, Delivery, Done, Item, Lines, Product, Reply, Stock, Verdict,
};
use common::services::just_hungry::query::{Answer, Order, Query, Status};
use common::services::just_hungry::{JustHungry, Refusal};
use common::services::money::Pence;
use common::services::{Outcome, decode, encode};

use super::linear::{self, StockOp, StockSaid, Verdict as Found};
use super::witness::{self, Read, Said, Update, Witnessed};
use super::{Anomaly, Kind, Line, Op, books};

/// A history as its judges need it.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// Every command, one for each line.
    pub commands: Vec<Asked>,
    /// Every answered query of a client.
    pub queries: Vec<Shown>,
    /// Every answered query of the end, by replica.
    pub finals: BTreeMap<String, Vec<Shown>>,
}

/// A command, as one line has it.
#[derive(Clone, Debug)]
pub struct Asked {
    /// By which client.
    pub client: u32,
    /// Under which id.
    pub id: RequestId,
    /// What.
    pub command: Command,
    /// When.
    pub begin: u64,
    /// When it was answered, where it stands, and the reply.
    pub answer: Option<(u64, LogPoint, Reply)>,
    /// Whether it surely had no effect, without having been ordered.
    pub refused: bool,
}

/// An answer to a query.
#[derive(Clone, Debug)]
pub struct Shown {
    /// To which client.
    pub client: u32,
    /// What was asked.
    pub query: Query,
    /// When.
    pub begin: u64,
    /// When it was answered.
    pub end: u64,
    /// What it reflects.
    pub at: LogPoint,
    /// What was said.
    pub answer: Answer,
}

impl History {
    /// Reads the lines.
    ///
    /// # Errors
    /// When one of them means nothing.
    pub fn of(lines: &[Line]) -> Result<Self, serde_json::Error> {
        let mut history = Self::default();
        for line in lines {
            if line.op.is_command() {
                let answer = line.answer()?.map(|(at, reply)| (line.end.unwrap_or(u64::MAX), at, reply));
                let Some(id) = line.id else { continue };
                let (client, begin, refused) = (line.client, line.begin, line.ok == Some(false));
                history.commands.push(Asked { client, id, command: line.args()?, begin, answer, refused });
                continue;
            }
            let Some((at, answer)) = line.answer()? else { continue };
            let (client, begin, end) = (line.client, line.begin, line.end.unwrap_or(u64::MAX));
            let shown = Shown { client, query: line.args()?, begin, end, at, answer };
            match line.op {
                Op::Final => history.finals.entry(line.session.clone()).or_default().push(shown),
                _ => history.queries.push(shown),
            }
        }
        Ok(history)
    }

    /// Every order that was shown to anybody, oldest sight first.
    pub fn orders(&self) -> impl Iterator<Item = (&Shown, &Order)> {
        let shown = self.queries.iter().chain(self.finals.values().flatten());
        shown.flat_map(|shown| shown.orders().iter().map(move |order| (shown, order)))
    }

    /// The menu that the history begins with.
    pub fn menu(&self) -> BTreeMap<&str, u32> {
        let set = self.commands.iter().find_map(|asked| match &asked.command {
            Command::SetCatalogue { products } => Some(products.as_slice()),
            _ => None,
        });
        let counted = |product: &Product| match product.stock {
            Stock::Counted(count) => count,
            Stock::Unlimited => u32::MAX,
        };
        set.unwrap_or_default().iter().map(|product| (product.name.as_str(), counted(product))).collect()
    }

    /// How many orders were acknowledged, each id once.
    pub fn placed(&self) -> usize {
        let placed = self.commands.iter().filter(|asked| asked.placed().is_some());
        placed.map(|asked| asked.id).collect::<BTreeSet<_>>().len()
    }
}

impl Asked {
    /// The order's number among the user's and among all, when it was acknowledged as placed.
    pub fn placed(&self) -> Option<(u32, u64)> {
        match &self.answer {
            Some((_, _, Outcome::Done(Done::Placed { no, id, .. }))) => Some((*no, *id)),
            _ => None,
        }
    }

    /// Whether the service refused it.
    pub const fn is_refused(&self) -> bool {
        matches!(&self.answer, Some((_, _, Outcome::Refused(_))))
    }

    /// What is ordered.
    pub fn items(&self) -> &[Item] {
        match &self.command {
            Command::PlaceOrder { lines: Lines::Given(items), .. } => items,
            _ => &[],
        }
    }
}

impl Shown {
    /// The orders that it shows.
    pub fn orders(&self) -> &[Order] {
        match &self.answer {
            Answer::Orders(page) => &page.entries,
            Answer::Order(order) => std::slice::from_ref(order),
            _ => &[],
        }
    }

    /// What is left, by product, when it shows the menu.
    pub fn stock(&self) -> impl Iterator<Item = (&str, u32)> {
        let entries = match &self.answer {
            Answer::Menu(page) => page.entries.as_slice(),
            _ => &[],
        };
        entries.iter().filter_map(|item| match item.stock {
            Stock::Counted(left) => Some((item.name.as_str(), left)),
            Stock::Unlimited => None,
        })
    }
}

/// The command that orders `items` for `user`, as histories have it.
pub fn place(user: &str, items: &[(&str, u32)]) -> Command {
    let items = items.iter().map(|(item, qty)| Item { item: (*item).into(), qty: *qty });
    Command::PlaceOrder {
        user: user.into(),
        lines: Lines::Given(items.collect()),
        delivery: Delivery::NextDay,
        tip: Pence::ZERO,
        postcode: Some("DH1 3LE".into()),
        strict: false,
        expected: None,
    }
}

impl Witnessed for JustHungry {
    fn time(reply: &[u8]) -> Option<Timestamp> {
        match decode(reply) {
            Ok(Outcome::Done::<_, Refusal>(Done::Placed { placed, .. })) => Some(placed),
            _ => None,
        }
    }

    fn is_refusal(reply: &[u8]) -> bool {
        matches!(decode(reply), Ok(Outcome::Refused::<Done, Refusal>(_)))
    }

    fn comparable(answer: &[u8]) -> Bytes {
        // Who confirmed a postcode, and when, is a front end's word.
        let anyhow = |order: &mut Order| {
            order.verdict = Verdict::unconfirmed(order.verdict.postcode, Timestamp::default());
        };
        let mut answer = decode(answer).unwrap_or(Answer::Refused(Refusal::Malformed));
        match &mut answer {
            Answer::Orders(page) => page.entries.iter_mut().for_each(anyhow),
            Answer::Order(order) => anyhow(order),
            _ => {}
        }
        encode(&answer)
    }

    fn words(what: Said, bytes: &[u8]) -> String {
        match what {
            Said::Reply => format!("{:?}", decode::<Reply>(bytes)),
            Said::Query => format!("{:?}", decode::<Query>(bytes)),
            Said::Answer => format!("{:?}", decode::<Answer>(bytes)),
        }
    }
}

/// Asks every judge about a history of the service that began as `start`.
///
/// # Errors
/// When the lines mean nothing.
pub fn judge(start: &JustHungry, lines: &[Line]) -> Result<Vec<Anomaly>, serde_json::Error> {
    let history = History::of(lines)?;
    let mut found = books::check(&history);
    found.extend(seen_by_the_witness(start, &history));
    found.extend(stock_is_linear(&history));
    Ok(found)
}

/// What the witness says.
pub fn seen_by_the_witness(start: &JustHungry, history: &History) -> Vec<Anomaly> {
    let mut stands = BTreeMap::new();
    let mut cancelled = BTreeSet::new();
    for (_, order) in history.orders() {
        let Some(owner) = &order.owner else { continue };
        if let Some(request) = owner.request {
            let (no, id, total, placed) = (order.no, owner.id, order.total, order.placed);
            stands.insert(request, Reply::Done(Done::Placed { no, id, total, placed }));
        }
        if order.status == Status::Cancelled {
            cancelled.insert((owner.user.as_str(), order.no));
        }
    }
    // An unknown command that left no trace anywhere at the end took no effect that anybody could see.
    let left_a_trace = |asked: &Asked| match &asked.command {
        Command::PlaceOrder { .. } => stands.contains_key(&asked.id),
        Command::CancelOrder { user, no } => cancelled.contains(&(user.as_str(), *no)),
        _ => true,
    };
    let known = |asked: &&Asked| asked.answer.is_some() || (!asked.refused && left_a_trace(asked));
    let updates: Vec<Update> = history
        .commands
        .iter()
        .filter(known)
        .map(|asked| Update {
            id: asked.id,
            payload: encode(&asked.command),
            begin: asked.begin,
            answer: asked.answer.as_ref().map(|(end, at, reply)| (*end, *at, encode(reply))),
            implied: stands.get(&asked.id).map(encode),
        })
        .collect();
    let read = |stale_ok| {
        move |shown: &Shown| Read {
            payload: encode(&shown.query),
            begin: shown.begin,
            end: shown.end,
            at: shown.at,
            said: encode(&shown.answer),
            stale_ok,
        }
    };
    let queries = history.queries.iter().map(read(false));
    // The last word of every replica is after everything.
    let reads: Vec<Read> = queries.chain(history.finals.values().flatten().map(read(false))).collect();
    witness::check(start, &updates, &reads)
}

/// Whether each product's stock behaves like one stock in one place.
pub fn stock_is_linear(history: &History) -> Vec<Anomaly> {
    let menu = history.menu();
    let mut calls: BTreeMap<&str, Vec<linear::Call<linear::Stock>>> = BTreeMap::new();
    let mut orders: BTreeMap<(&str, u32), &[Item]> = BTreeMap::new();
    let requests: BTreeMap<RequestId, u32> =
        history.orders().filter_map(|(_, order)| Some((order.owner.as_ref()?.request?, order.no))).collect();
    for asked in &history.commands {
        if let Command::PlaceOrder { user, .. } = &asked.command
            && let Some(no) = asked.placed().map(|(no, _)| no).or(requests.get(&asked.id).copied())
        {
            orders.insert((user, no), asked.items());
        }
    }
    // Calls with one id are one command: from the first beginning to the first answer.
    let mut once: BTreeMap<RequestId, Asked> = BTreeMap::new();
    for asked in history.commands.iter().filter(|asked| !asked.refused) {
        let one = once.entry(asked.id).or_insert_with(|| asked.clone());
        one.begin = one.begin.min(asked.begin);
        let first = one.answer.as_ref().map_or(u64::MAX, |(end, ..)| *end);
        if asked.answer.as_ref().is_some_and(|(end, ..)| *end < first) {
            one.answer.clone_from(&asked.answer);
        }
    }
    for asked in once.values() {
        let (items, give): (&[Item], bool) = match &asked.command {
            Command::PlaceOrder { .. } => (asked.items(), false),
            Command::CancelOrder { user, no } => {
                (orders.get(&(user.as_str(), *no)).copied().unwrap_or_default(), true)
            }
            _ => continue,
        };
        // One product an order, or a refusal's product could not be told from the others.
        let [item] = items else { continue };
        let Some((name, _)) = menu.get_key_value(item.item.as_str()) else { continue };
        let (op, said) = match (give, &asked.answer) {
            (true, Some((end, _, Outcome::Done(_)))) => {
                (StockOp::Give(item.qty), Some((*end, StockSaid::Done)))
            }
            (true, None) => (StockOp::Give(item.qty), None),
            (false, Some((end, _, Outcome::Done(_)))) => {
                (StockOp::Take(item.qty), Some((*end, StockSaid::Done)))
            }
            (false, Some((end, _, Outcome::Refused(Refusal::LowStock { left, .. })))) => {
                (StockOp::Take(item.qty), Some((*end, StockSaid::Short(*left))))
            }
            (false, None) if requests.contains_key(&asked.id) => (StockOp::Take(item.qty), None),
            // Refused for another reason, or without a trace: it took nothing.
            _ => continue,
        };
        calls.entry(name).or_default().push(linear::Call { begin: asked.begin, op, answer: said });
    }
    for shown in &history.queries {
        for (item, left) in shown.stock() {
            let answer = Some((shown.end, StockSaid::Left(left)));
            calls.entry(item).or_default().push(linear::Call {
                begin: shown.begin,
                op: StockOp::Count,
                answer,
            });
        }
    }
    let judged = calls.iter().filter_map(|(item, calls)| {
        match linear::check::<linear::Stock>(*menu.get(item)?, calls) {
            Found::Linearizable => None,
            Found::Not { explained } => Some(Anomaly::new(
                Kind::NotLinearizable,
                format!(
                    "the stock of {item}: no order explains more than {explained} of {} calls",
                    calls.len()
                ),
            )),
            Found::Undecided => {
                Some(Anomaly::new(Kind::Undecided, format!("the stock of {item}, of {} calls", calls.len())))
            }
        }
    });
    judged.collect()
}
