//! What every page can do: ask at the counter, and draw request ids for its forms.

use std::sync::{Arc, Mutex, PoisonError};

use common::clock::Clock;
use common::meters::Meters;
use common::replication::{RequestId, RequestIdSource};
use common::services::Outcome;
use common::services::just_hungry::command::{Command, Delivery, Done, Lines, Reply};
use common::services::just_hungry::query::{Answer, Basket, Details, MenuItem, Order, Page, Query, Quote};
use common::services::just_hungry::refusal::Refusal;
use common::services::just_hungry::{NAME, checked::Checked};
use common::services::money::Pence;

use super::cluster::Live;
use super::counter::{Counter, Failed};

/// Shared by all pages.
#[derive(Clone)]
pub(super) struct Site {
    pub(super) counter: Counter,
    pub(super) live: Live,
    pub(super) meters: Option<Meters>,
    ids: Arc<Mutex<RequestIdSource>>,
}

/// Why the shop did not do something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum No {
    /// A rule of the shop's.
    Refused(Refusal),
    /// It could not be asked, or did not answer.
    Failed(Failed),
}

impl From<Failed> for No {
    fn from(failed: Failed) -> Self {
        Self::Failed(failed)
    }
}

impl Site {
    /// Pages that ask over `counter`.
    pub(super) fn new(counter: Counter, meters: Option<Meters>) -> Self {
        Self { counter, meters, live: Live::default(), ids: Arc::default() }
    }

    /// A request id for a form.
    pub(super) fn draw(&self) -> RequestId {
        let mut ids = self.ids.lock().unwrap_or_else(PoisonError::into_inner);
        ids.next(Clock::wall(), rand::random())
    }

    /// A request id above one that was seen.
    pub(super) fn draw_after(&self, seen: RequestId) -> RequestId {
        let mut ids = self.ids.lock().unwrap_or_else(PoisonError::into_inner);
        // An id from a cookie may lie far ahead: it counts for this one only.
        let mut source = ids.clone();
        source.observe(seen);
        let drawn = source.next(Clock::wall(), rand::random());
        ids.next(Clock::wall(), rand::random());
        drawn
    }

    /// Has one of the shop's commands run under the id that its form was drawn with.
    pub(super) async fn run(&self, request: RequestId, command: &Command) -> Result<Done, No> {
        match self.counter.execute(NAME, request, command).await? {
            Reply::Done(done) => Ok(done),
            Outcome::Refused(refusal) => Err(No::Refused(refusal)),
        }
    }

    async fn ask(&self, query: Query) -> Result<Answer, Failed> {
        self.counter.query(NAME, &query).await
    }

    /// The message of the day.
    pub(super) async fn motd(&self) -> Result<String, Failed> {
        match self.ask(Query::Motd).await? {
            Answer::Motd(text) => Ok(text),
            _ => Err(Failed::Away),
        }
    }

    /// A part of the menu, past this place. An empty menu is one.
    pub(super) async fn menu(&self, after: u32, limit: u32) -> Result<Page<MenuItem>, Failed> {
        match self.ask(Query::Menu { after, limit }).await? {
            Answer::Menu(menu) => Ok(menu),
            Answer::Refused(_) => Ok(Page { entries: vec![], more: false }),
            _ => Err(Failed::Away),
        }
    }

    /// A user's basket; nobody's is empty.
    pub(super) async fn basket(&self, user: &str) -> Result<Basket, Failed> {
        match self.ask(Query::Basket { user: user.to_owned() }).await? {
            Answer::Basket(basket) => Ok(basket),
            Answer::Refused(_) => Ok(Basket { lines: vec![], items: Pence::ZERO }),
            _ => Err(Failed::Away),
        }
    }

    /// What is known of a user.
    pub(super) async fn details(&self, user: &str) -> Result<Details, Failed> {
        match self.ask(Query::Details { user: user.to_owned() }).await? {
            Answer::Details(details) => Ok(details),
            Answer::Refused(_) => Ok(Details::default()),
            _ => Err(Failed::Away),
        }
    }

    /// What the basket would cost.
    pub(super) async fn quote(&self, user: &str, delivery: Delivery, tip: Pence) -> Result<Quote, No> {
        let query = Query::Quote { user: user.to_owned(), lines: Lines::Basket, delivery, tip };
        match self.ask(query).await? {
            Answer::Quote(quote) => Ok(quote),
            Answer::Refused(refusal) => Err(No::Refused(refusal)),
            _ => Err(Failed::Away.into()),
        }
    }

    /// A user's orders past this number.
    pub(super) async fn orders(&self, user: &str, after: u32, limit: u32) -> Result<Page<Order>, Failed> {
        let query = Query::Orders { user: user.to_owned(), active_only: false, after, limit };
        match self.ask(query).await? {
            Answer::Orders(orders) => Ok(orders),
            Answer::Refused(_) => Ok(Page { entries: vec![], more: false }),
            _ => Err(Failed::Away),
        }
    }

    /// One of a user's orders; `None` when there is no such.
    pub(super) async fn order(&self, user: &str, no: u32) -> Result<Option<Order>, Failed> {
        match self.ask(Query::Order { user: user.to_owned(), no }).await? {
            Answer::Order(order) => Ok(Some(*order)),
            Answer::Refused(_) => Ok(None),
            _ => Err(Failed::Away),
        }
    }

    /// What is known of a postcode.
    pub(super) async fn postcode(&self, text: &str) -> Result<Checked, No> {
        match self.ask(Query::Postcode { text: text.to_owned() }).await? {
            Answer::Postcode(checked) => Ok(checked),
            Answer::Refused(refusal) => Err(No::Refused(refusal)),
            _ => Err(Failed::Away.into()),
        }
    }
}
