//! tarpc over TCP, tamed. Stock tarpc dies of one hostile frame; everything here exists because of something seen.
//!
//! **What it promises.** No input ends the process, grows its memory without bound, or starves other connections. A
//! client knows of every failed call whether it may have had an effect ([`CallError::outcome`]). A server that stops
//! loses no call.
//!
//! **Reading order.** `codec`: frames, bincode, and the guard that looks at a deadline before it is decoded.
//! `preamble`: what both ends say before tarpc starts. `link`: frames as a tarpc transport, with the time
//! limits and the back-pressure that tarpc lacks; `server_side` and `client` are what differs at its two ends.
//! `calls`: a server's calls on one connection; `exchange`: a client's. `guarded`: a panicking handler answers. `seats`: who may connect, and
//! what all together may hold. `serve`: accepting and stopping. `door`: other protocols on the same port.
//! `reconnecting`: a client of one address for ever. How much of anything: [`super::limits`].
//!
//! Only `codec` names bincode, and only this folder knows how a connection is made.

mod calls;
mod client;
mod codec;
mod deadline;
mod door;
mod error;
mod exchange;
mod guarded;
mod link;
mod preamble;
mod rarely;
mod reconnecting;
mod seats;
mod serve;
mod server_side;
#[cfg(test)]
mod tests;

pub use client::Connection;
pub use codec::FrameError;
pub use deadline::{remaining, within};
pub use door::{Door, Place, Visitor};
pub use error::CallError;
pub(crate) use error::Unsent;
pub use link::Socket;
pub use reconnecting::Reconnecting;
pub use serve::{Caller, Route, Routes, ServeOptions, raise_fd_limit, serve, serve_with};
