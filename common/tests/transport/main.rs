//! The transport over real sockets: the plain path, failures of the other end, and hostile callers.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should fail")]

mod hostile;
mod house;
mod plain;
mod reconnecting;
