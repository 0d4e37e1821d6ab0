//! The front end: takes in clients' calls, finds the replica for each, and stays with a call until it is answered.
//!
//! **What it promises.** A caller sees no fail-over, only time: the primary dies, and the same request, under the
//! same id, is answered by its successor. An order that was sent runs once, whoever goes away meanwhile: its client
//! (the order has a task of its own), a replica (another one is asked), the name server (what was last known
//! holds). "No effect" is answered only when no try had one.
//!
//! **One call's way**, which is the reading order: [`server`] takes it from a connection and bounds it; the door,
//! [`outside`], finds out what the command needs to know of the world; [`courier`] carries it, over the connections
//! of [`pool`], to whom [`router`] says. The router is the core: given what a [`group`] looks like now and what
//! became of each try ([`failure`]), it says who is asked next and when. It knows no socket and no clock, and its
//! tests are its specification. [`causal`] is the same for services that take writes anywhere. [`process`] begins and ends
//! it all; [`http`] is the web pages, for which [`lookout`] asks how the groups are; [`meters`] is what is counted.
//!
//! **One thread.** A call is a few small steps between two sockets; all state is that thread's own, so there are
//! no locks. The lease has a thread to itself, and lives on when this one is busy.
//!
//! The front end keeps nothing: any number of them serve one group, and a client may change to another in the
//! middle of a request. The retry rule is that of B. Liskov, J. Cowling, *Viewstamped Replication Revisited*, 2012,
//! §4.1, moved out of the client into a proxy, and sharpened by the record that the name server keeps: a new
//! primary is announced, and asked at once, not guessed by waiting.

pub mod causal;
pub mod config;
pub mod courier;
pub mod failure;
#[cfg(test)]
mod fixtures;
pub mod group;
pub mod http;
pub mod lookout;
pub mod meters;
pub mod outside;
pub mod pool;
pub mod process;
pub mod router;
pub mod server;
