//! The smallest service that tells a command carried out twice from one carried out once: it adds. It is in no shipped
//! table: that the engines serve it all the same, beside the shipped ones in one process, is what it is for.

use bytes::Bytes;
use common::clock::Timestamp;
use common::services::{
    Applied, CAUSAL, RestoreError, Served, Services, StateMachine, TABLE, decode, encode,
};
use serde::{Deserialize, Serialize};

/// Its name.
pub const NAME: &str = "tally";

/// The shipped services, and this one.
pub const WITH_TALLY: Services =
    Services { passive: &[TABLE[0], TABLE[1], Served::passive::<Tally>(NAME)], causal: CAUSAL };

/// A sum, and of how many.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// All that was added.
    pub sum: u64,
    /// How often something was.
    pub times: u64,
}

/// Adds this much.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Add(pub u64);

/// Asks for the tally.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Query {
    /// As it is now.
    Now,
}

impl StateMachine for Tally {
    type Facts = ();
    type Command = Add;
    /// The tally after it; none for what is no command, or does not fit.
    type Reply = Option<Tally>;
    type Query = Query;
    type Answer = Option<Tally>;

    fn start(_: Timestamp, _: &[u8]) -> Result<Self, RestoreError> {
        Ok(Self::default())
    }

    fn apply(&mut self, _: Applied, (): (), Add(much): Add) -> Option<Self> {
        let sum = self.sum.checked_add(much)?;
        *self = Self { sum, times: self.times + 1 };
        Some(*self)
    }

    fn query(&self, Query::Now: Query) -> Option<Self> {
        Some(*self)
    }

    fn malformed_command() -> Option<Self> {
        None
    }

    fn malformed_query() -> Option<Self> {
        None
    }

    fn snapshot(&self) -> Bytes {
        encode(self)
    }

    fn restore(snapshot: &[u8]) -> Result<Self, RestoreError> {
        decode(snapshot).map_err(|error| RestoreError { why: error.to_string() })
    }
}
