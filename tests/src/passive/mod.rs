//! The seeded walk of the passive cores: several of them, with their disks, clients and authority, in one thread, and
//! everything that networks, disks, clocks, processes and operators do to them. After each step the invariants are
//! judged from outside; at the end of many walks everything heals, and an update must complete.
//!
//! Reading order: [`act`], what can happen · [`shapes`], how often · [`world`], and how · `laws`, what must always
//! hold, by what the [`witness`] knows · `calm`, what must happen in the end · [`walk`] · [`shrink`], how a failure
//! becomes a short story · [`hunt`], which walks find which broken rule · `model`, every state of a small group instead
//! of one walk after another.
//!
//! No step waits for anything, and every clock stands until a step moves it: nothing here depends on how fast the
//! machine is. One seed, one walk, on every machine.

pub mod act;
pub mod authority;
mod calm;
pub mod chance;
pub mod disk;
pub mod hunt;
mod laws;
pub mod ledger;
#[cfg(feature = "model")]
pub mod model;
pub mod network;
pub mod shapes;
pub mod shared;
pub mod shrink;
pub mod story;
pub mod walk;
pub mod witness;
pub mod world;
