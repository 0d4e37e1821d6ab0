//! The replicated services: pure state machines, and the table of them.
//!
//! A service is a [`StateMachine`]: commands in, replies out, no clock, no I/O, no randomness. Same command, same
//! state: same bytes, on every replica. A refusal is a reply: it was ordered, applied and remembered.
//!
//! Where writes are taken anywhere, a service is a [`CausalStateMachine`] instead: see [`causal`].
//!
//! An engine knows no service. It holds a [`Machine`], which takes and gives bytes, and finds its first state in
//! the [`TABLE`]. A new service is one folder here, one line there.

pub mod causal;
pub mod causal_laws;
pub mod just_hungry;
pub mod laws;
pub mod matching;
pub mod money;
pub mod movies;
pub mod page;
pub mod phone;
pub mod postcode;
pub mod ratings;
mod records;
pub mod text;
pub mod user_code;

use bytes::Bytes;
pub use causal::{CausalMachine, CausalServed, CausalStateMachine};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::replication::{LogPoint, RequestId};

/// When and as what a command is applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Applied {
    /// Its place in the log.
    pub at: LogPoint,
    /// The log's time of it; never before that of an earlier one.
    pub time: Timestamp,
    /// Its client's id.
    pub request: RequestId,
}

/// What came of a command that was ordered: applied either way, remembered, and given again to a repeat.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome<D, R> {
    /// It did this.
    Done(D),
    /// It changed nothing, because of this.
    Refused(R),
}

/// Bytes that no state can be made of.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("damaged or foreign state: {why}")]
pub struct RestoreError {
    /// What is wrong with them.
    pub why: String,
}

/// A service, replicated passively.
///
/// # Laws
/// `apply` is a function of its arguments and the state; `restore(snapshot())` is the same state; equal states
/// have equal snapshots. [`laws`] checks them for every service.
pub trait StateMachine: Clone + Sized + Send + Sync + 'static {
    /// What a front end finds out about the world for a command; empty bytes are its default.
    type Facts: Serialize + DeserializeOwned + Default;
    /// What changes the state.
    type Command: Serialize + DeserializeOwned;
    /// What comes of a command; at most [`REPLY_BYTES_MAX`] encoded, since it is remembered.
    type Reply: Serialize + DeserializeOwned;
    /// What asks about the state.
    type Query: Serialize + DeserializeOwned;
    /// What a query says.
    type Answer: Serialize + DeserializeOwned;

    /// The first state of a group created at this time, from the bytes of its Genesis entry.
    ///
    /// # Errors
    /// When the bytes are no description of a first state.
    fn start(at: Timestamp, start: &[u8]) -> Result<Self, RestoreError>;

    /// Runs a command.
    fn apply(&mut self, applied: Applied, facts: Self::Facts, command: Self::Command) -> Self::Reply;

    /// Answers a query, which changes nothing.
    fn query(&self, query: Self::Query) -> Self::Answer;

    /// The reply to a command that could not be decoded.
    fn malformed_command() -> Self::Reply;

    /// The answer to a query that could not be decoded.
    fn malformed_query() -> Self::Answer;

    /// The whole state, canonically.
    fn snapshot(&self) -> Bytes;

    /// The state of these bytes.
    ///
    /// # Errors
    /// When they are not a snapshot of this service.
    fn restore(snapshot: &[u8]) -> Result<Self, RestoreError>;
}

/// A [`StateMachine`] as an engine sees it: bytes in, bytes out.
pub trait Machine: Send + Sync {
    /// Runs a command; what cannot be decoded is answered, and changes nothing.
    fn apply(&mut self, applied: Applied, facts: &[u8], payload: &[u8]) -> Bytes;
    /// Answers a query.
    fn query(&self, payload: &[u8]) -> Bytes;
    /// The whole state, canonically.
    fn snapshot(&self) -> Bytes;
    /// A copy of it.
    fn boxed_clone(&self) -> Box<dyn Machine>;
}

impl Clone for Box<dyn Machine> {
    fn clone(&self) -> Self {
        // Of what is in the box; the box itself is no machine.
        (**self).boxed_clone()
    }
}

impl<S: StateMachine> Machine for S {
    fn apply(&mut self, applied: Applied, facts: &[u8], payload: &[u8]) -> Bytes {
        let facts = if facts.is_empty() { Ok(S::Facts::default()) } else { decode(facts) };
        let reply = match (facts, decode(payload)) {
            (Ok(facts), Ok(command)) => StateMachine::apply(self, applied, facts, command),
            _ => S::malformed_command(),
        };
        encode(&reply)
    }

    fn query(&self, payload: &[u8]) -> Bytes {
        let answer = match decode(payload) {
            Ok(query) => StateMachine::query(self, query),
            Err(_) => S::malformed_query(),
        };
        encode(&answer)
    }

    fn snapshot(&self) -> Bytes {
        StateMachine::snapshot(self)
    }

    fn boxed_clone(&self) -> Box<dyn Machine> {
        Box::new(self.clone())
    }
}

/// A state to begin with, or why there is none.
pub type NewMachine = Result<Box<dyn Machine>, RestoreError>;

/// A service that an engine can host.
#[derive(Clone, Copy, Debug)]
pub struct Served {
    /// Its name, which is its group's.
    pub name: &'static str,
    /// Its first state.
    pub start: fn(Timestamp, &[u8]) -> NewMachine,
    /// Its state from a snapshot.
    pub restore: fn(&[u8]) -> NewMachine,
}

impl Served {
    /// The service `S` under this name.
    pub const fn passive<S: StateMachine>(name: &'static str) -> Self {
        Self {
            name,
            start: |at, start| Ok(Box::new(S::start(at, start)?)),
            restore: |snapshot| Ok(Box::new(S::restore(snapshot)?)),
        }
    }
}

/// Every service that the programs host. A program of one's own may host others: the engines take the table as a value.
pub const TABLE: &[Served] = &[
    Served::passive::<just_hungry::JustHungry>(just_hungry::NAME),
    Served::passive::<movies::Movies>(movies::NAME),
];

/// Every service whose members take writes anywhere.
pub const CAUSAL: &[CausalServed] = &[CausalServed::of::<ratings::Ratings>(ratings::NAME)];

/// The services that a process hosts, or carries calls to.
#[derive(Clone, Copy, Debug)]
pub struct Services {
    /// Those that one primary orders.
    pub passive: &'static [Served],
    /// Those that take writes anywhere.
    pub causal: &'static [CausalServed],
}

/// Both tables.
pub const SERVICES: Services = Services { passive: TABLE, causal: CAUSAL };

impl Services {
    /// All names.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        self.passive.iter().map(|served| served.name).chain(self.causal.iter().map(|served| served.name))
    }
}

/// The most bytes of a reply, since a group remembers a million of them.
pub const REPLY_BYTES_MAX: usize = 256;

/// Recursive types are not on the wire and collections are bounded by the payload, so this only bounds a lie about
/// a length: sixteen times the largest payload.
const DECODED_BYTES_MAX: usize = 16 * 64 * 1024;

/// Encodes a command, query, reply or answer.
pub fn encode<T: Serialize>(value: &T) -> Bytes {
    let config = bincode::config::standard();
    bincode::serde::encode_to_vec(value, config).expect("plain data always encodes into memory").into()
}

/// Why bytes are no command, query, reply or answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not understood: {why}")]
pub struct Malformed {
    /// What is wrong with them.
    pub why: String,
}

/// Decodes a command, query, reply or answer; nothing may be left over.
///
/// # Errors
/// When the bytes are not exactly one such value.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Malformed> {
    let config = bincode::config::standard().with_limit::<DECODED_BYTES_MAX>();
    match bincode::serde::decode_from_slice(bytes, config) {
        Ok((value, read)) if read == bytes.len() => Ok(value),
        Ok((_, read)) => Err(Malformed { why: format!("{} bytes left over", bytes.len() - read) }),
        Err(error) => Err(Malformed { why: error.to_string() }),
    }
}
