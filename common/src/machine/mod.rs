//! The machine that a process runs on, as far as processes ask for it by more than memory and time: sockets, files,
//! threads of their own, signals, standard output, and the end.
//!
//! Here are the operating system's, passed on unchanged. With the feature `sim`, which only the simulation of a whole
//! cluster turns on, they are those of simulated machines, many in one process and on one thread: the simulation
//! decides when a message arrives, when a disk has written and when a machine loses its power.

#[cfg(not(feature = "sim"))]
pub mod fs;
#[cfg(not(feature = "sim"))]
mod net;
#[cfg(not(feature = "sim"))]
mod process;
#[cfg(feature = "sim")]
pub mod simulated;
#[cfg(not(feature = "sim"))]
mod thread;

#[cfg(feature = "sim")]
pub use self::simulated::{
    fs,
    net::{TcpListener, TcpStream, keep_alive},
    process::{Signals, announce, end},
    thread::{Thread, aside, give_turn, give_way, work_takes_time},
};
#[cfg(not(feature = "sim"))]
pub use self::{
    net::{TcpListener, TcpStream, keep_alive},
    process::{Signals, announce, end},
    thread::{Thread, aside, give_turn, give_way, work_takes_time},
};
