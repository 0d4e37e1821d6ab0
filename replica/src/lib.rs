//! Hosts one member of each replicated service.

pub mod disk;
pub mod passive;
