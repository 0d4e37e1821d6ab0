//! Services whose updates are taken in anywhere, also by replicas that cannot reach each other.
//!
//! Concurrent updates come in any order, so what they make must not depend on it. Where two contend, the higher stamp
//! wins; the stamp is the update's own id, made once, by its client, so a repeat elsewhere bears the same.

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{RestoreError, decode, encode};
use crate::clock::Timestamp;
use crate::replication::{Digest, RequestId};

/// A service, replicated by gossip.
///
/// # Laws
/// Any two causal orders of the same updates make values of one digest, which answer alike; `restore(snapshot())` is
/// the same value; `forget` changes no answer. [`super::causal_laws`] checks them for every service.
pub trait CausalStateMachine: Clone + Default + Send + 'static {
    /// What changes the value.
    type Update: Serialize + DeserializeOwned;
    /// What comes of an update; at most [`super::REPLY_BYTES_MAX`] encoded, since it is remembered.
    type Reply: Serialize + DeserializeOwned;
    /// What asks about the value.
    type Query: Serialize + DeserializeOwned;
    /// What a query says.
    type Answer: Serialize + DeserializeOwned;

    /// Runs an update, which is never run twice. The reply may differ between replicas; the value may not.
    fn apply(&mut self, stamp: RequestId, update: Self::Update) -> Self::Reply;

    /// Answers a query, which changes nothing.
    fn query(&self, query: Self::Query) -> Self::Answer;

    /// Of all that queries show, and of nothing else.
    fn digest(&self) -> Digest;

    /// No update stamped before `settled` will come any more: drops what was kept only to judge such ones.
    fn forget(&mut self, settled: Timestamp);

    /// What an update is refused with before it is logged anywhere, while this value holds too much. Replicas may
    /// differ in it for a while, so `apply` may not ask it.
    fn full(&self) -> Option<Self::Reply>;

    /// The reply to an update that could not be decoded.
    fn malformed_update() -> Self::Reply;

    /// The answer to a query that could not be decoded.
    fn malformed_query() -> Self::Answer;

    /// The whole value, canonically.
    fn snapshot(&self) -> Bytes;

    /// The value of these bytes.
    ///
    /// # Errors
    /// When they are not a snapshot of this service.
    fn restore(snapshot: &[u8]) -> Result<Self, RestoreError>;
}

/// A [`CausalStateMachine`] as an engine sees it: bytes in, bytes out.
pub trait CausalMachine: Send {
    /// Runs an update; what cannot be decoded is answered, and changes nothing.
    fn apply(&mut self, stamp: RequestId, payload: &[u8]) -> Bytes;
    /// Answers a query.
    fn query(&self, payload: &[u8]) -> Bytes;
    /// Of all that queries show.
    fn digest(&self) -> Digest;
    /// Drops what only older updates than this could need.
    fn forget(&mut self, settled: Timestamp);
    /// Whether, and how, updates are refused before they are logged.
    fn full(&self) -> Option<Bytes>;
    /// The whole value, canonically.
    fn snapshot(&self) -> Bytes;
    /// A copy of it.
    fn boxed_clone(&self) -> Box<dyn CausalMachine>;
}

impl Clone for Box<dyn CausalMachine> {
    fn clone(&self) -> Self {
        (**self).boxed_clone()
    }
}

impl<S: CausalStateMachine> CausalMachine for S {
    fn apply(&mut self, stamp: RequestId, payload: &[u8]) -> Bytes {
        let reply = match decode(payload) {
            Ok(update) => CausalStateMachine::apply(self, stamp, update),
            Err(_) => S::malformed_update(),
        };
        encode(&reply)
    }

    fn query(&self, payload: &[u8]) -> Bytes {
        let answer = match decode(payload) {
            Ok(query) => CausalStateMachine::query(self, query),
            Err(_) => S::malformed_query(),
        };
        encode(&answer)
    }

    fn digest(&self) -> Digest {
        CausalStateMachine::digest(self)
    }

    fn forget(&mut self, settled: Timestamp) {
        CausalStateMachine::forget(self, settled);
    }

    fn full(&self) -> Option<Bytes> {
        CausalStateMachine::full(self).as_ref().map(encode)
    }

    fn snapshot(&self) -> Bytes {
        CausalStateMachine::snapshot(self)
    }

    fn boxed_clone(&self) -> Box<dyn CausalMachine> {
        Box::new(self.clone())
    }
}

/// A value to begin with, or why there is none.
pub type NewCausalMachine = Result<Box<dyn CausalMachine>, RestoreError>;

/// A service that the gossip engine can host.
#[derive(Clone, Copy, Debug)]
pub struct CausalServed {
    /// Its name, which is its group's.
    pub name: &'static str,
    /// Its first value.
    pub empty: fn() -> Box<dyn CausalMachine>,
    /// Its value from a snapshot.
    pub restore: fn(&[u8]) -> NewCausalMachine,
}

impl CausalServed {
    /// The service `S` under this name.
    pub const fn of<S: CausalStateMachine>(name: &'static str) -> Self {
        Self {
            name,
            empty: || Box::new(S::default()),
            restore: |snapshot| Ok(Box::new(S::restore(snapshot)?)),
        }
    }
}
