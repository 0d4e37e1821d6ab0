//! The service of the walks: ratings, where the higher stamp wins, and beside them an adder, where an update that takes
//! effect twice, or not at all, shows for ever.

use bytes::Bytes;
use common::clock::Timestamp;
use common::replication::{Digest, RequestId};
use common::services::ratings::{Ratings, Update};
use common::services::{CausalStateMachine, RestoreError, decode, encode};

/// A service that adds numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Adder(u128);

impl CausalStateMachine for Adder {
    type Update = u64;
    type Reply = ();
    type Query = ();
    type Answer = u128;

    fn apply(&mut self, _: RequestId, update: u64) {
        self.0 += spread(update);
    }

    fn query(&self, (): ()) -> u128 {
        self.0
    }

    fn digest(&self) -> Digest {
        Digest(self.0)
    }

    fn forget(&mut self, _: Timestamp) {}

    fn full(&self) -> Option<()> {
        None
    }

    fn malformed_update() {}

    fn malformed_query() -> u128 {
        0
    }

    fn snapshot(&self) -> Bytes {
        encode(&self.0)
    }

    fn restore(snapshot: &[u8]) -> Result<Self, RestoreError> {
        decode(snapshot).map(Self).map_err(|error| RestoreError { why: error.to_string() })
    }
}

/// Numbers of which no few add up to another.
pub fn spread(number: u64) -> u128 {
    u128::from(crate::passive::chance::Chance::new(number).bits()) << 32
}

/// Both services in one value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Both {
    ratings: Ratings,
    adder: Adder,
}

impl CausalStateMachine for Both {
    type Update = (Update, u64);
    type Reply = <Ratings as CausalStateMachine>::Reply;
    type Query = <Ratings as CausalStateMachine>::Query;
    type Answer = <Ratings as CausalStateMachine>::Answer;

    fn apply(&mut self, stamp: RequestId, (rate, add): Self::Update) -> Self::Reply {
        self.adder.apply(stamp, add);
        self.ratings.apply(stamp, rate)
    }

    fn query(&self, query: Self::Query) -> Self::Answer {
        self.ratings.query(query)
    }

    fn digest(&self) -> Digest {
        Digest(self.ratings.digest().0.wrapping_add(self.adder.digest().0))
    }

    fn forget(&mut self, settled: Timestamp) {
        self.ratings.forget(settled);
    }

    fn full(&self) -> Option<Self::Reply> {
        self.ratings.full()
    }

    fn malformed_update() -> Self::Reply {
        Ratings::malformed_update()
    }

    fn malformed_query() -> Self::Answer {
        Ratings::malformed_query()
    }

    fn snapshot(&self) -> Bytes {
        encode(&(self.ratings.snapshot(), self.adder.snapshot()))
    }

    fn restore(snapshot: &[u8]) -> Result<Self, RestoreError> {
        let damaged = |error: common::services::Malformed| RestoreError { why: error.to_string() };
        let (ratings, adder): (Bytes, Bytes) = decode(snapshot).map_err(damaged)?;
        Ok(Self { ratings: Ratings::restore(&ratings)?, adder: Adder::restore(&adder)? })
    }
}

#[cfg(test)]
mod tests {
    use common::services::causal_laws;

    use super::*;

    #[test]
    fn the_adder_keeps_the_laws_too() {
        let id = |n: u64| RequestId::from_parts(Timestamp::from_millis(n), 0, 0);
        let first: Vec<_> = (0..9_u64).map(|n| (id(n), encode(&n))).collect();
        let second: Vec<_> = first.iter().rev().cloned().collect();
        causal_laws::check::<Adder>(&first, &second, Timestamp::from_millis(4), &[encode(&())]);
    }
}
