//! Faults that only the real machine can give: damaged files ([`damage`]).
//!
//! A fault that this machine does not allow is told by [`not_run`], never skipped in silence.

pub mod damage;
