use std::time::Duration;

/// How long to wait after repeated failures: nothing or little at first, doubled up to a bound, with full jitter, so
/// that those who lost one server do not all come back to it at once (M. Brooker, *Exponential Backoff And Jitter*,
/// AWS Architecture Blog, 2015).
#[derive(Clone, Copy, Debug)]
pub struct Backoff {
    next: Duration,
    cap: Duration,
}

/// After the first failure: about what a process takes to come back.
const FIRST: Duration = Duration::from_millis(20);

impl Backoff {
    /// The longest wait for a server: whoever restarts one should not wait for its clients.
    pub const CAP: Duration = Duration::from_secs(1);

    /// Nothing failed yet.
    pub const fn up_to(cap: Duration) -> Self {
        Self { next: FIRST, cap }
    }

    /// Notes one more failure; the wait is drawn by `chance`, 64 random bits.
    pub fn failed(&mut self, chance: u64) -> Duration {
        let longest = self.next.min(self.cap);
        self.next = longest * 2;
        share(longest, chance)
    }

    /// Notes a success.
    pub fn succeeded(&mut self) {
        self.next = FIRST;
    }
}

/// A part of `whole`, from nothing to all of it, drawn by 64 random bits.
pub(super) fn share(whole: Duration, chance: u64) -> Duration {
    // A thousandth is fine enough for a delay.
    whole * u32::try_from(chance % 1001).expect("below 1001") / 1000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_bound_and_start_again_after_a_success() {
        let mut backoff = Backoff::up_to(Duration::from_millis(100));
        let longest: Vec<u128> = (0..5).map(|_| backoff.failed(1000).as_millis()).collect();
        assert_eq!(longest, [20, 40, 80, 100, 100]);
        backoff.succeeded();
        assert_eq!(backoff.failed(500), Duration::from_millis(10));
        assert_eq!(backoff.failed(0), Duration::ZERO);
    }
}
