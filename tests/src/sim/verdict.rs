//! What came of a seed.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use super::faults::Kind;

/// What came of a seed, in one line, and what is wrong in some more.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// The seed.
    pub seed: u64,
    /// Faults that came, by kind.
    pub fired: BTreeMap<Kind, u32>,
    /// Calls of customers.
    pub calls: u64,
    /// Of these answered.
    pub answered: u64,
    /// Orders acknowledged.
    pub placed: u64,
    /// Ratings acknowledged.
    pub rated: u64,
    /// Looks at a rating answered.
    pub viewed: u64,
    /// The last epoch.
    pub epochs: u64,
    /// In simulated time.
    pub lasted: Duration,
    /// Of everything that happened.
    pub hash: u64,
    /// What is wrong; nothing, mostly.
    pub wrong: Vec<String>,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fired: Vec<_> = self.fired.iter().map(|(kind, count)| format!("{kind}:{count}")).collect();
        write!(
            f,
            "seed={} {} faults={} [{}] calls={} answered={} placed={} rated={} viewed={} epochs={} lasted={:.1?} hash={:016x}",
            self.seed,
            if self.wrong.is_empty() { "ok" } else { "WRONG" },
            self.fired.values().sum::<u32>(),
            fired.join(" "),
            self.calls,
            self.answered,
            self.placed,
            self.rated,
            self.viewed,
            self.epochs,
            self.lasted,
            self.hash,
        )?;
        for what in self.wrong.iter().take(12) {
            write!(f, "\n  {what}")?;
        }
        Ok(())
    }
}
