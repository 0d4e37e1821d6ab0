//! What `docs/PERFORMANCE.md` tells is measured here, on a whole cluster of real programs. Reading order: [`crowd`]
//! (customers, and how long the shop kept silent), [`usage`] (what a process took), then the figures: [`failing`],
//! [`working`], [`growing`], [`finding`], [`rating`], [`browsing`], [`counting`]; [`pyro`], the name server beside Pyro's own.
//!
//! Everything is on one machine, customers included. Each figure is one line: what, how much with its unit; the
//! machine's load stands at the beginning and at the end.

pub mod browsing;
pub mod counting;
pub mod crowd;
pub mod failing;
pub mod finding;
pub mod growing;
pub mod pyro;
pub mod rating;
pub mod usage;
pub mod working;

use std::fmt::Display;
use std::time::Duration;

use anyhow::Result;

/// Prints one figure.
pub fn figure(what: impl Display, how_much: impl Display) {
    println!("{what:<64} {how_much}");
}

/// Prints how busy the machine is.
///
/// # Errors
/// When it does not tell.
pub fn load_of_machine(when: &str) -> Result<()> {
    let load = std::fs::read_to_string("/proc/loadavg")?;
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    figure(format!("load of the machine {when} ({cores} cores)"), load.trim());
    Ok(())
}

/// The number that a line of a log has for `field`.
fn number(line: &str, field: &str) -> Option<u64> {
    let (_, rest) = line.split_once(&format!(" {field}="))?;
    rest.split(|other: char| !other.is_ascii_digit()).next()?.parse().ok()
}

/// Milliseconds, for a person.
pub fn ms(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1000.0)
}

/// So many in so long.
#[expect(clippy::cast_precision_loss, reason = "for a person")]
pub fn per_second(count: u64, time: Duration) -> f64 {
    count as f64 / time.as_secs_f64()
}

/// The p50, the p99 and the worst of some times.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spread {
    /// Half are shorter.
    pub p50: Duration,
    /// One in a hundred is longer.
    pub p99: Duration,
    /// None is longer.
    pub max: Duration,
}

impl Spread {
    /// Of these.
    pub fn of(times: impl IntoIterator<Item = Duration>) -> Self {
        let mut sorted: Vec<Duration> = times.into_iter().collect();
        sorted.sort_unstable();
        let at = |of: usize| sorted.get(sorted.len() * of / 100).copied().unwrap_or_default();
        Self { p50: at(50), p99: at(99), max: sorted.last().copied().unwrap_or_default() }
    }
}

impl Display for Spread {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "p50 {}, p99 {}, max {}", ms(self.p50), ms(self.p99), ms(self.max))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_tells_the_middle_the_last_of_a_hundred_and_the_worst() {
        let spread = Spread::of((1..=200).rev().map(Duration::from_millis));
        assert_eq!([spread.p50, spread.p99, spread.max], [101, 199, 200].map(Duration::from_millis));
        assert_eq!(Spread::of([]), Spread::default());
    }
}
