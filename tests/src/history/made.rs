//! Histories that a correct service made: one log, clients whose calls overlap, answers that get lost.

use common::clock::Timestamp;
use common::replication::{Epoch, LogIndex, LogPoint, RequestId};
use common::services::just_hungry::command::{Command, Facts, Product, Reply, Stock};
use common::services::just_hungry::query::Query;
use common::services::just_hungry::start::Start;
use common::services::just_hungry::{JustHungry, NAME};
use common::services::money::Pence;
use common::services::{Applied, StateMachine};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

use super::orders::place;
use super::{Line, Op};

/// What is sold.
pub(super) const ITEMS: [&str; 2] = ["Apple", "Pear"];

/// The state that every made history begins with.
pub(super) fn start() -> JustHungry {
    assert_eq!(NAME, "just.hungry");
    JustHungry::new(Start::Empty).unwrap()
}

/// The command that fills the shop with so many of each.
pub(super) fn menu(stock: u32) -> Command {
    let product =
        |name: &str| Product { name: name.into(), price: Pence::new(199), stock: Stock::Counted(stock) };
    Command::SetCatalogue { products: ITEMS.map(product).into() }
}

/// A service that takes one command after another, and the lines of its clients.
pub(super) struct Made {
    pub(super) state: JustHungry,
    pub(super) lines: Vec<Line>,
    pub(super) at: LogPoint,
    rng: StdRng,
    ids: u64,
    now: u64,
}

/// The log's time of a place.
fn time(at: LogPoint) -> Timestamp {
    Timestamp::from_millis(1_000_000 + at.index.0)
}

/// Between two calls at most; they overlap by a few of these.
const STEP: u64 = 100;

impl Made {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            state: start(),
            lines: Vec::new(),
            at: LogPoint { epoch: Epoch(1), index: LogIndex(1) },
            rng: StdRng::seed_from_u64(seed),
            ids: 0,
            now: 0,
        }
    }

    /// When a call that takes effect now began, and ended.
    fn span(&mut self) -> (u64, u64) {
        self.now += self.rng.random_range(1..STEP);
        (
            self.now.saturating_sub(self.rng.random_range(0..3 * STEP)),
            self.now + self.rng.random_range(0..3 * STEP),
        )
    }

    pub(super) fn id(&mut self) -> RequestId {
        self.ids += 1;
        RequestId::from_parts(Timestamp::from_millis(1_000_000), 0, self.ids)
    }

    /// A command takes effect; its line is appended.
    pub(super) fn run(&mut self, client: u32, op: Op, command: &Command) -> Reply {
        self.at.index = self.at.index.next();
        let id = self.id();
        let (begin, end) = self.span();
        let applied = Applied { at: self.at, time: time(self.at), request: id };
        let reply = StateMachine::apply(&mut self.state, applied, Facts::default(), command.clone());
        let mut line = Line::begun(client, "frontend.1", op, Some(id), command, begin);
        line.answered(end, self.at, &reply);
        self.lines.push(line);
        reply
    }

    /// A query is answered.
    pub(super) fn ask(&mut self, client: u32, session: &str, op: Op, query: &Query) {
        let (begin, end) = self.span();
        let answer = StateMachine::query(&self.state, query.clone());
        let mut line = Line::begun(client, session, op, None, query, begin);
        line.answered(end, self.at, &answer);
        self.lines.push(line);
    }

    /// Another primary: a place that no client knows.
    pub(super) fn elect(&mut self) {
        self.at = LogPoint { epoch: self.at.epoch.next(), index: self.at.index.next() };
    }

    /// Time passes: whatever was under way is over.
    pub(super) fn calm(&mut self) {
        self.now += 10 * STEP;
    }

    /// Each of three replicas is read.
    pub(super) fn read_all(&mut self, clients: u32) {
        self.calm();
        for replica in ["replica.1", "replica.2", "replica.3"] {
            self.ask(0, replica, Op::Final, &Query::Menu { after: 0, limit: 0 });
            for client in 0..clients {
                self.ask(0, replica, Op::Final, &orders(client));
            }
        }
    }

    /// So many calls of so many clients; some outcomes are lost, some of which took effect.
    pub(super) fn calls(&mut self, count: usize, clients: u32) {
        for _ in 0..count {
            let client = self.rng.random_range(0..clients);
            let user = user(client);
            match self.rng.random_range(0..20) {
                0..8 => {
                    let item = ITEMS[self.rng.random_range(0..ITEMS.len())];
                    let qty = self.rng.random_range(1..3);
                    self.run(client, Op::Place, &place(&user, &[(item, qty)]));
                }
                8..11 => {
                    let no = self.rng.random_range(1..4);
                    self.run(client, Op::Cancel, &Command::CancelOrder { user, no });
                }
                11..14 => self.ask(client, "frontend.2", Op::Stock, &Query::Menu { after: 0, limit: 0 }),
                14..16 => self.ask(client, "frontend.1", Op::Orders, &orders(client)),
                16 => self.elect(),
                17 => self.forget(),
                18 => self.repeat(),
                _ => {
                    let id = self.id();
                    let (begin, end) = self.span();
                    let command = place(&user, &[(ITEMS[0], 1)]);
                    let mut line = Line::begun(client, "frontend.1", Op::Place, Some(id), &command, begin);
                    // It never reached a primary.
                    if self.rng.random() {
                        line.refused(end, "draining");
                    } else {
                        line.lost("no answer");
                    }
                    self.lines.push(line);
                }
            }
        }
    }

    /// The answer to some command is lost.
    fn forget(&mut self) {
        let which = self.rng.random_range(0..self.lines.len());
        let once = self.lines.iter().filter(|other| other.id == self.lines[which].id).count() == 1;
        let line = &mut self.lines[which];
        if matches!(line.op, Op::Place | Op::Cancel) && once {
            line.lost("no answer");
        }
    }

    /// Some answered command is sent again.
    fn repeat(&mut self) {
        let which = self.rng.random_range(0..self.lines.len());
        let (begin, end) = self.span();
        let mut line = self.lines[which].clone();
        if line.op.is_command() && line.ok == Some(true) {
            (line.begin, line.end) = (begin.max(line.begin), Some(end.max(begin.max(line.begin))));
            self.lines.push(line);
        }
    }

    /// A whole history.
    pub(super) fn history(seed: u64, stock: u32, count: usize) -> Vec<Line> {
        const CLIENTS: u32 = 3;
        let mut made = Self::new(seed);
        made.run(0, Op::Menu, &menu(stock));
        made.calm();
        made.calls(count, CLIENTS);
        made.read_all(CLIENTS);
        made.lines
    }
}

/// Who a client orders for.
pub(super) fn user(client: u32) -> String {
    format!("customer {client}")
}

/// The query for a client's own orders.
pub(super) fn orders(client: u32) -> Query {
    Query::Orders { user: user(client), active_only: false, after: 0, limit: 0 }
}
