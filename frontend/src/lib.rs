//! Takes in the clients' calls and finds the replica for each.

pub mod config;
pub mod courier;
pub mod failure;
pub mod group;
pub mod http;
pub mod outside;
pub mod pool;
pub mod router;
pub mod server;
