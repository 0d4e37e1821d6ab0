//! What clients saw, written down, and judges of it.
//!
//! A history is a list of [`Line`]s, one JSON object each, written by clients only: what was asked, when it began and
//! ended by one monotonic clock, what came of it. Whatever ran the cluster, real processes or a simulation, the same
//! judges read it; nothing here knows a process, a socket or a clock.
//!
//! **Outcomes.** `ok: true` is an answer, `false` is surely without effect, `null` is unknown: it may take effect at
//! any time after `begin`, or never. A retry of what was not answered continues its line (first begin, last end); a
//! repeat of what was answered is a line of its own with the same id. `final` lines are the states of single
//! replicas, read after everything healed.
//!
//! **Judges**, each blind where another sees:
//! - [`books`]: sets and sums over orders; believes nothing but the clients' own lines and what is shown to them.
//! - [`witness`]: answers carry their place in the log; replayed in that order through the plain service, every answer
//!   must come out again. Fast, and exact, but it believes the places.
//! - [`linear`]: the search of J. Wing and C. Gong, *Testing and Verifying Concurrent Objects*, JPDC 1993, with the
//!   memory of G. Lowe, *Testing for Linearizability*, 2017; believes no places, and judges one key at a time.
//!
//! [`orders::judge`] asks all of them. [`sessions`] judges what takes writes anywhere: what each person must see. Each judge is compared with brute force on small random histories, and shown one
//! planted anomaly of each kind.
//!
//! Reading order: `line`, `orders` (what the lines of `just.hungry` mean), `books`, `witness`, `linear`.

pub mod books;
mod line;
pub mod linear;
#[cfg(test)]
mod made;
pub mod orders;
#[cfg(test)]
mod planted;
pub mod sessions;
pub mod witness;

use std::fmt;

pub use line::{Line, Op, Recorder, read};

/// What may be wrong with a history.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Acknowledged, and not there.
    Lost,
    /// There, and asked for by nobody.
    Phantom,
    /// One command took effect twice.
    Doubled,
    /// A command that was refused, or surely without effect, had one.
    RefusedButApplied,
    /// Somebody saw it, and later saw it no more.
    Vanished,
    /// What was in stock is neither sold nor left.
    NotConserved,
    /// An answer does not show what was acknowledged before it was asked for.
    Stale,
    /// Acknowledged at a place in the log before what was acknowledged before it began.
    Misplaced,
    /// One place, or one epoch's turn, in two histories of the log.
    Forked,
    /// A repeat of a command got another answer.
    RepliesDiffer,
    /// The service, given the commands in the log's order, answers otherwise.
    WrongAnswer,
    /// Replicas hold different things.
    Diverged,
    /// No order of the calls explains the answers.
    NotLinearizable,
    /// The search was given up. No verdict is no pass.
    Undecided,
}

/// Something wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Anomaly {
    /// What kind.
    pub kind: Kind,
    /// A sentence with the values.
    pub what: String,
}

impl Anomaly {
    pub(crate) fn new(kind: Kind, what: impl Into<String>) -> Self {
        Self { kind, what: what.into() }
    }
}

impl fmt::Display for Anomaly {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.kind, self.what)
    }
}
