//! The transport over real sockets: the plain path, failures of the other end, and hostile callers.

mod hostile;
mod house;
mod plain;
mod reconnecting;
