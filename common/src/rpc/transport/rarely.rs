use std::cell::Cell;
use std::time::Duration;

use crate::clock::{Clock, Moment};

/// One log line per kind of trouble and this long.
const EVERY: Duration = Duration::from_secs(1);

/// Keeps a kind of log line rare, however hostile the world.
pub(super) struct Rarely {
    clock: Clock,
    last: Cell<Option<Moment>>,
}

impl Default for Rarely {
    fn default() -> Self {
        Self { clock: Clock::start(), last: Cell::new(None) }
    }
}

impl Rarely {
    /// Whether a line may be written; then it counts as written.
    pub(super) fn is_due(&self) -> bool {
        let now = self.clock.now();
        let is_due = self.last.get().is_none_or(|last| last + EVERY <= now);
        if is_due {
            self.last.set(Some(now));
        }
        is_due
    }
}
