//! Faults that only the real machine can give.
//!
//! [`damage`]: files as failing disks leave them. [`world`]: a place of a test's own, where it may do as root does;
//! [`network`] makes links there that can be cut. [`callers`]: who asks every replica itself, and notices when two lead.
//! [`shim`]: disks that fail when they are told to, [`rig`] a cluster on them, [`kills`] and [`power`] what is done to it.
//!
//! A fault that this machine does not allow is told by [`not_run`], never skipped in silence.

pub mod callers;
pub mod damage;
pub mod kills;
pub mod network;
pub mod power;
pub mod rig;
pub mod shim;
pub mod world;

use std::io::Write as _;

/// Says, past the test harness, which hides what a passing test says, that `what` was not tested here, and why.
pub fn not_run(what: &str, why: &str) {
    tell(&format!("{what}: {why}"));
}

fn tell(line: &str) {
    // A lost line fails nothing: it is for the gate's count.
    let _ = writeln!(std::io::stderr(), "not run: {line}");
}
