//! Movie information: a database of films that is found by what people remember of a title, and fills itself.
//!
//! A film's key is its title as it is compared, and its year. The key never changes and a film is never removed, for
//! ratings hang on it. A film that lacks url or description is *incomplete*; what a front end's door learns of it
//! elsewhere fills what is empty and never overwrites what a person wrote.
//!
//! Reading order: [`mod@title`] (how titles are written) and [`matching`] (which film is meant: one rule for what is
//! here and for what OMDb offers); [`command`], [`refusal`], [`query`]; [`movie`]; then the rules: [`bounds`],
//! `reading`, `state`, `films` (with the index); then `answers`, [`mod@start`], `snapshot`.
//!
//! **Whose word.** [`Command::Fill`] tells what OMDb said. That it comes from a front end's door and not from a
//! client, [`Facts`] say, which no client can send; a client's is not understood.

mod answers;
pub mod bounds;
pub mod command;
mod film_key;
mod films;
mod imdb_id;
pub mod matching;
pub mod movie;
pub mod query;
mod reading;
pub mod refusal;
mod snapshot;
pub mod start;
mod state;
#[cfg(test)]
mod tests;
pub mod title;
mod year;

use bytes::Bytes;

pub use command::{Command, Done, Facts, Reply};
pub use film_key::FilmKey;
pub use imdb_id::{BadImdbId, ImdbId};
pub use movie::Movie;
pub use query::{Answer, Query};
pub use refusal::Refusal;
pub use start::{Start, start_bytes};
pub use state::Movies;
pub use title::Title;
pub use year::{BadYear, Year};

use super::{Applied, Outcome, RestoreError, StateMachine, decode};
use crate::clock::Timestamp;

/// The service's name, and its group's.
pub const NAME: &str = "movies";

impl StateMachine for Movies {
    type Facts = Facts;
    type Command = Command;
    type Reply = Reply;
    type Query = Query;
    type Answer = Answer;

    fn start(_: Timestamp, start: &[u8]) -> Result<Self, RestoreError> {
        let start = decode(start).map_err(|error| RestoreError { why: error.to_string() })?;
        Ok(Self::new(start))
    }

    fn apply(&mut self, _: Applied, facts: Facts, command: Command) -> Reply {
        match self.run(facts, command) {
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
