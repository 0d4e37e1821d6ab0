//! Time as values. Cores are given a [`Moment`] and a [`Timestamp`]; only shells hold a [`Clock`].

use std::fmt;
use std::ops::{Add, Sub};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

/// A point on one process's monotonic clock: the time since that process's own origin. It never crosses a socket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment(Duration);

impl Moment {
    /// The process's origin.
    pub const ORIGIN: Self = Self(Duration::ZERO);

    /// The moment this long after the origin.
    pub const fn after_origin(since: Duration) -> Self {
        Self(since)
    }

    /// How long after the origin.
    pub const fn since_origin(self) -> Duration {
        self.0
    }

    /// How long after `earlier`; zero when it is not.
    pub const fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

impl Add<Duration> for Moment {
    type Output = Self;

    fn add(self, later: Duration) -> Self {
        Self(self.0.saturating_add(later))
    }
}

impl Sub<Duration> for Moment {
    type Output = Self;

    fn sub(self, earlier: Duration) -> Self {
        Self(self.0.saturating_sub(earlier))
    }
}

/// Wall-clock time: milliseconds since 1970-01-01 00:00 UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Timestamp(u64);

impl Timestamp {
    /// The time this many milliseconds after 1970-01-01 00:00 UTC.
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis)
    }

    /// Milliseconds since 1970-01-01 00:00 UTC.
    pub const fn millis(self) -> u64 {
        self.0
    }

    /// The time this much later, to whole milliseconds; the end of time when that is past it.
    #[must_use]
    pub fn plus(self, later: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(later.as_millis()).unwrap_or(u64::MAX)))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match i64::try_from(self.0).ok().and_then(|millis| jiff::Timestamp::from_millisecond(millis).ok()) {
            Some(time) => write!(f, "{time:.3}"),
            None => write!(f, "{}ms", self.0),
        }
    }
}

/// A process's clocks. The only place that asks the operating system, so that simulations can answer instead:
/// the monotonic one is tokio's, which a paused or simulated runtime moves by itself.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    origin: tokio::time::Instant,
}

impl Clock {
    /// A clock whose origin is now.
    #[expect(clippy::disallowed_methods, reason = "this is the clock that the ban points to")]
    pub fn start() -> Self {
        Self { origin: tokio::time::Instant::now() }
    }

    /// Now, on the monotonic clock.
    #[expect(clippy::disallowed_methods, reason = "this is the clock that the ban points to")]
    pub fn now(&self) -> Moment {
        Moment(tokio::time::Instant::now().duration_since(self.origin))
    }

    /// Now, on the wall clock.
    #[expect(clippy::disallowed_methods, reason = "this is the clock that the ban points to")]
    pub fn wall() -> Timestamp {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }

    /// The runtime's instant for `moment`, to sleep until.
    pub fn instant(&self, moment: Moment) -> tokio::time::Instant {
        self.origin + moment.0
    }
}
