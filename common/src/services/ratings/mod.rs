//! Film ratings: rate, delete, view, average, histogram.
//!
//! One cell for each film and user; of two writes to it the one with the higher stamp stands, whichever came first. A
//! deleted rating leaves its stamp behind until nothing older can come. Sums and buckets are kept beside the cells and
//! are those of the cells, always: [`crate::services::causal_laws`] and the properties in `tests` hold them to it.
//!
//! Reading order: [`film`], [`rating`], [`update`] (what can be asked for, and what is remembered of it), [`refusal`],
//! [`query`]; then the rules: `state`; then `snapshot`.

pub mod film;
pub mod query;
pub mod rating;
pub mod refusal;
mod snapshot;
mod state;
#[cfg(test)]
mod tests;
pub mod update;

use bytes::Bytes;

pub use film::FilmKey;
pub use query::{Answer, Query};
pub use rating::Rating;
pub use refusal::Refusal;
pub use state::Ratings;
pub use update::{Done, Reply, Update};

use super::{CausalStateMachine, Outcome, RestoreError};
use crate::clock::Timestamp;
use crate::replication::{Digest, RequestId};

/// The service's name, and its group's.
pub const NAME: &str = "ratings";
/// The largest update: 64 rows of an import.
pub const UPDATE_BYTES_MAX: usize = 4 * 1024;
/// Rows of one [`Update::RateMany`].
pub const ROWS_MAX: usize = 64;
/// Cells, deleted ones that are still kept included: a gigabyte.
pub const RATINGS_MAX: usize = 10_000_000;

impl CausalStateMachine for Ratings {
    type Update = Update;
    type Reply = Reply;
    type Query = Query;
    type Answer = Answer;

    fn apply(&mut self, stamp: RequestId, update: Update) -> Reply {
        match self.run(stamp, update) {
            Ok(done) => Outcome::Done(done),
            Err(refusal) => Outcome::Refused(refusal),
        }
    }

    fn query(&self, query: Query) -> Answer {
        self.answer(query).unwrap_or_else(Answer::Refused)
    }

    fn digest(&self) -> Digest {
        self.digest
    }

    fn forget(&mut self, settled: Timestamp) {
        self.drop_deleted(settled);
    }

    fn full(&self) -> Option<Reply> {
        let full = Refusal::Full { limit: RATINGS_MAX as u64 };
        (self.cells >= RATINGS_MAX).then_some(Outcome::Refused(full))
    }

    fn malformed_update() -> Reply {
        Outcome::Refused(Refusal::Malformed)
    }

    fn malformed_query() -> Answer {
        Answer::Refused(Refusal::Malformed)
    }

    fn snapshot(&self) -> Bytes {
        snapshot::write(self)
    }

    fn restore(snapshot: &[u8]) -> Result<Self, RestoreError> {
        snapshot::read(snapshot)
    }
}
