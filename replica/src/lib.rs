//! Hosts one member of each replicated service.

pub mod passive;
