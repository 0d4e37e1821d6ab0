//! Food ordering.

pub mod command;
pub mod london;
pub mod query;
pub mod refusal;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{Applied, RestoreError, StateMachine};
use crate::clock::Timestamp;

/// The service's name, and its group's.
pub const NAME: &str = "just.hungry";

/// The state.
pub struct JustHungry;

/// Skeleton.
#[derive(Debug, Serialize, Deserialize)]
pub struct Unit;

impl StateMachine for JustHungry {
    type Facts = ();
    type Command = Unit;
    type Reply = Unit;
    type Query = Unit;
    type Answer = Unit;
    fn start(_: Timestamp, _: &[u8]) -> Result<Self, RestoreError> {
        Ok(Self)
    }
    fn apply(&mut self, _: Applied, (): (), _: Unit) -> Unit {
        Unit
    }
    fn query(&self, _: Unit) -> Unit {
        Unit
    }
    fn malformed_command() -> Unit {
        Unit
    }
    fn malformed_query() -> Unit {
        Unit
    }
    fn snapshot(&self) -> Bytes {
        Bytes::new()
    }
    fn restore(_: &[u8]) -> Result<Self, RestoreError> {
        Ok(Self)
    }
}
