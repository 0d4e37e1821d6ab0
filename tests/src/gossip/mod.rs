//! The seeded walk of the gossip cores: several of them, with their disks, sessions and name server, in one thread, and
//! everything that networks, disks, clocks, processes and people do to them. After each step the invariants are judged
//! from outside, beside each value by an oracle that never forgets; at the end everything heals, and all must be equal.
//!
//! Reading order: [`act`], what can happen · [`shapes`], how often · [`world`], and how · `laws`, what must always hold,
//! by what the [`oracle`] knows · `calm`, what must happen in the end · [`walk`] · [`shrink`](mod@shrink). `scenarios` are stories
//! in the same world, told exactly.
//!
//! No step waits for anything, and every clock stands until a step moves it. One seed, one walk, on every machine.

pub mod act;
pub mod both;
mod calm;
pub mod disk;
mod laws;
pub mod network;
pub mod oracle;
#[cfg(test)]
mod scenarios;
pub mod shapes;
pub mod shrink;
pub mod walk;
pub mod world;
