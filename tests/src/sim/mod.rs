//! The whole system in one thread: name server, replicas, front ends and customers as they are in production, tarpc
//! over turmoil's network, redb on a disk that forgets, time and chance from a seed.
//!
//! **One seed, one process.** tokio numbers tasks in a process and drops them by these numbers, so a seed begins in a
//! fresh process or is not the same twice. Everything random and every clock is answered by the program
//! (`bin/sim/c_library.rs`), which defines the C library's `getrandom` and `clock_gettime`.
//!
//! **A run.** The cluster starts; customers order, cancel and look, and raters rate and look, while faults come
//! ([`faults`]); then all is mended, both groups must serve within [`HEALED_WITHIN`], and when the customers and raters
//! have gone all replicas must come to the same place with the same state. Then judges read what they wrote down
//! ([`crate::history`]).
//!
//! **What turmoil does not do.** A process cannot be stopped and its clock cannot drift: a frozen machine is one whose
//! links hold everything back. A connection attempt to a machine without power would wait for its return, so the
//! sockets of `common::machine` wait themselves. A one-way cut keeps bytes back at the receiver, and its TCP resets
//! pass. A process that ends itself is taken away at the end of the tick, not in the middle of it. Torn writes are
//! by sector, and a file system's own damage is not simulated.
//!
//! Reading order: [`hosts`] (the programs as hosts), [`faults`], [`caller`] and what callers are: [`customers`] and
//! [`raters`]; [`watch`] (what is looked at while it runs) and, of the ratings, [`spread`]; [`world`] (the run),
//! [`verdict`].

pub mod caller;
pub mod customers;
pub mod faults;
pub mod hosts;
pub mod raters;
pub mod spread;
pub mod verdict;
pub mod watch;
pub mod world;

use std::time::Duration;

/// Everything has begun by then, however slow the seed's network.
pub const STARTED_WITHIN: Duration = Duration::from_secs(12);
/// How long faults come.
pub const TROUBLED: Duration = Duration::from_secs(36);
/// After everything is mended an order is answered again: the longest back-off of all is 10 s, for a stranger's
/// answer; the others are a second at most, and a connection that is dead without a word is given up after a few.
pub const HEALED_WITHIN: Duration = Duration::from_secs(15);
/// Customers go on so long after that.
pub const CALM: Duration = Duration::from_secs(3);
/// All replicas are in sync again and at the same place: a learner may have to be fed a snapshot, and each retries
/// for itself.
pub const SETTLED_WITHIN: Duration = Duration::from_secs(30);
/// A seed goes on until then: no primary changes while nothing happens.
pub const LASTS_MIN: Duration = Duration::from_mins(1);
/// Some look at that for longer.
pub const CALM_LONG: Duration = Duration::from_mins(1);
/// One seed in so many.
pub const CALM_LONG_EACH: u64 = 10;
/// Fewer orders than this prove nothing.
pub const PLACED_MIN: u64 = 30;
/// Nor do fewer ratings: raters wait while a disk is replaced, and for seconds at a time where packets are lost.
pub const RATED_MIN: u64 = 5;
