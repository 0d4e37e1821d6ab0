//! Takes in the clients' calls and finds the replica for each.

pub mod failure;
pub mod group;
pub mod outside;
pub mod router;
