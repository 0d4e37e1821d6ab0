//! The four contracts, and the transport below them.
//!
//! A contract is a tarpc trait: [`name_service`], [`frontend`], [`replica`], [`peer`]. Methods and variants are
//! append-only: their place is the wire. [`transport`] carries them: preamble, frames, guards, connections;
//! [`limits`] says how much of anything, [`metered`] counts calls.

pub mod frontend;
pub mod gossip;
pub mod limits;
pub mod metered;
pub mod name_service;
pub mod peer;
pub mod replica;
pub mod transport;

/// What a failed call may have done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing: try elsewhere, with any request id.
    NoEffect,
    /// Unknown: send again with the *same* request id, here or elsewhere.
    Unknown,
}
