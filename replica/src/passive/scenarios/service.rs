//! What the stories' groups replicate: a kitchen that numbers its orders. An order cooked twice would show.

use bytes::Bytes;
use common::clock::Timestamp;
use common::services::{Applied, RestoreError, StateMachine};

/// The orders taken, in order.
#[derive(Clone)]
pub(super) struct Kitchen(Vec<String>);

impl StateMachine for Kitchen {
    type Facts = String;
    type Command = String;
    /// The order's number.
    type Reply = u64;
    type Query = ();
    /// How many there are.
    type Answer = u64;

    fn start(_: Timestamp, _: &[u8]) -> Result<Self, RestoreError> {
        Ok(Self(Vec::new()))
    }

    fn apply(&mut self, _: Applied, _: String, order: String) -> u64 {
        self.0.push(order);
        self.0.len() as u64
    }

    fn query(&self, (): ()) -> u64 {
        self.0.len() as u64
    }

    fn malformed_command() -> u64 {
        u64::MAX
    }

    fn malformed_query() -> u64 {
        u64::MAX
    }

    fn snapshot(&self) -> Bytes {
        common::services::encode(&self.0)
    }

    fn restore(snapshot: &[u8]) -> Result<Self, RestoreError> {
        common::services::decode(snapshot).map(Self).map_err(|error| RestoreError { why: error.to_string() })
    }
}
