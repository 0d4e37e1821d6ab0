//! Takes in the clients' calls and finds the replica for each.

pub mod config;
pub mod courier;
pub mod failure;
#[cfg(test)]
mod fixtures;
pub mod group;
pub mod http;
pub mod outside;
pub mod pool;
pub mod process;
pub mod router;
pub mod server;
