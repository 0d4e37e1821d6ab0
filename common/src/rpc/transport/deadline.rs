//! Deadlines, on tarpc's clock: a deadline crosses the wire as the time left, and tarpc works that out with the
//! standard library's clock, so everybody who makes or reads a [`Context`] must too.

use std::time::{Duration, Instant};

use tarpc::context::{self, Context};

use crate::rpc::limits::Contract;

/// A call's context: this long from now, and never longer than `contract` allows.
pub fn within(contract: Contract, time: Duration) -> Context {
    let mut context = context::current();
    context.deadline = now() + time.min(contract.limits.deadline_max);
    context
}

/// What is left of a call's time.
pub fn remaining(context: &Context) -> Duration {
    context.deadline.saturating_duration_since(now())
}

/// The earlier one of `deadline` and `ceiling` from now.
pub(super) fn at_most(deadline: Instant, ceiling: Duration) -> Instant {
    deadline.min(now() + ceiling)
}

#[expect(clippy::disallowed_methods, reason = "tarpc compares a context's deadline with this clock")]
pub(super) fn now() -> Instant {
    Instant::now()
}
