//! Food ordering: menu, stock, baskets, delivery, tip, orders, history.
//!
//! Money is [`Pence`](super::money::Pence), prices are the catalogue's at the moment of ordering, and nobody else's
//! word counts. An order takes all of its stock or none; cancelling gives it back, once. Orders are never removed,
//! and later changes of the menu or of a customer's details do not rewrite them.
//!
//! Reading order: [`command`] (what can be asked for, [`Facts`] that a front end puts beside it, what is remembered
//! of it), [`checked`] (what a front end finds out), [`refusal`], [`query`]; then the rules: `bounds`, `catalogue`, `basket`, `order`, `state`; then `answers`,
//! [`mod@start`], [`menu_file`], `snapshot`, and [`london`], where the midnights are.
//!
//! **Whose word.** A command is the client's bytes and cannot say that a postcode was checked. The front end says
//! so in [`Facts`], which no client can send. A command with a postcode and no verdict of that very postcode is
//! taken as unconfirmed: nobody was asked.

mod answers;
mod basket;
pub mod bounds;
mod catalogue;
pub mod checked;
pub mod command;
pub mod london;
pub mod menu_file;
mod order;
pub mod query;
pub mod refusal;
mod snapshot;
pub mod start;
mod state;
#[cfg(test)]
mod tests;

use bytes::Bytes;

pub use command::{Command, Done, Facts, Reply};
pub use query::{Answer, Query};
pub use refusal::Refusal;
pub use start::{Start, start_bytes};
pub use state::JustHungry;

use super::{Applied, Outcome, RestoreError, StateMachine, decode};
use crate::clock::Timestamp;

/// The service's name, and its group's.
pub const NAME: &str = "just.hungry";

impl StateMachine for JustHungry {
    type Facts = Facts;
    type Command = Command;
    type Reply = Reply;
    type Query = Query;
    type Answer = Answer;

    fn start(_: Timestamp, start: &[u8]) -> Result<Self, RestoreError> {
        let start = decode(start).map_err(|error| RestoreError { why: error.to_string() })?;
        Self::new(start).map_err(|refusal| RestoreError { why: refusal.sentence() })
    }

    fn apply(&mut self, applied: Applied, facts: Facts, command: Command) -> Reply {
        match self.run(applied, facts, command) {
            Ok(done) => Outcome::Done(done),
            Err(refusal) => Outcome::Refused(refusal),
        }
    }

    fn query(&self, query: Query) -> Answer {
        self.answer(query).unwrap_or_else(Answer::Refused)
    }

    fn malformed_command() -> Reply {
        Outcome::Refused(Refusal::Malformed)
    }

    fn malformed_query() -> Answer {
        Answer::Refused(Refusal::Malformed)
    }

    fn snapshot(&self) -> Bytes {
        snapshot::write(self)
    }

    fn restore(bytes: &[u8]) -> Result<Self, RestoreError> {
        snapshot::read(bytes)
    }
}
