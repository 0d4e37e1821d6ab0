//! What goes wrong, when, drawn from the seed. A swarm (A. Groce et al., *Swarm Testing*, ISSTA 2012): each seed knows
//! only some kinds of fault and prefers some of them, so that no kind hides another for ever.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _};

use super::TROUBLED;

/// A kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A process is killed; what it wrote without syncing stays.
    Kill,
    /// A machine loses its power: nothing says so, and of unsynced writes only some are there afterwards.
    Power,
    /// All replicas lose their power at once.
    PowerForAll,
    /// All replicas are killed at once.
    KillAll,
    /// Some machines cannot be reached by the others, nor reach them.
    Partition,
    /// Two machines cannot reach each other; a third reaches both.
    Pair,
    /// What one machine sends to another does not arrive.
    OneWay,
    /// Nothing comes from a machine, and nothing reaches it, until later.
    Frozen,
    /// Messages between two machines take long.
    Slow,
    /// A disk takes long.
    SlowDisk,
    /// A disk does not answer for 5 s.
    HungDisk,
    /// A disk has no room, then has again.
    FullDisk,
    /// A sync fails.
    FailingSync,
    /// The power goes in the middle of a commit.
    TornCommit,
    /// A wall clock jumps.
    Wall,
    /// A process is asked to stop, and comes back.
    Stop,
    /// The name server is away for long.
    NameServerAway,
    /// A replica comes back without its disk.
    Wiped,
    /// Of all packets on all links 30 % are lost, and sent again.
    Lossy,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 19] = [
        Self::Kill,
        Self::Power,
        Self::PowerForAll,
        Self::KillAll,
        Self::Partition,
        Self::Pair,
        Self::OneWay,
        Self::Frozen,
        Self::Slow,
        Self::SlowDisk,
        Self::HungDisk,
        Self::FullDisk,
        Self::FailingSync,
        Self::TornCommit,
        Self::Wall,
        Self::Stop,
        Self::NameServerAway,
        Self::Wiped,
        Self::Lossy,
    ];
}

impl FromStr for Kind {
    type Err = &'static str;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|kind| kind.to_string() == name).ok_or("no kind of fault is called that")
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// One fault.
#[derive(Clone, Copy, Debug)]
pub struct Fault {
    /// When it comes, since the menu was there.
    pub at: Duration,
    /// What.
    pub kind: Kind,
    /// How long it lasts, or how long the machine takes to come back.
    pub lasts: Duration,
}

/// At least so many, so that some meet.
const FAULTS: std::ops::RangeInclusive<usize> = 6..=14;

/// The faults of a seed, in order; of these kinds, if any are named.
pub fn plan(seed: u64, only: &[Kind]) -> Vec<Fault> {
    let mut chance = SmallRng::seed_from_u64(seed ^ 0xfa_017);
    let mut weighted: Vec<(Kind, u32)> = Kind::ALL
        .into_iter()
        .filter_map(|kind| {
            let weight = match kind {
                Kind::PowerForAll | Kind::KillAll | Kind::NameServerAway | Kind::Wiped => 2,
                Kind::Kill | Kind::Partition | Kind::OneWay => 6,
                _ => 4,
            };
            chance.random_bool(0.55).then(|| (kind, chance.random_range(1..=weight)))
        })
        .collect();
    weighted.push((Kind::Kill, 1));
    if !only.is_empty() {
        weighted = only.iter().map(|&kind| (kind, 1)).collect();
    }
    let count = chance.random_range(FAULTS);
    let mut faults: Vec<Fault> = (0..count)
        .map(|_| {
            let (kind, _) = *weighted
                .choose_weighted(&mut chance, |(_, weight)| *weight)
                .expect("there is one, and no weight is zero");
            let lasts = match kind {
                Kind::HungDisk => 5_000..=5_001,
                Kind::NameServerAway => 8_000..=20_000,
                Kind::Kill | Kind::Stop | Kind::KillAll | Kind::TornCommit | Kind::FailingSync => 20..=4_000,
                _ => 200..=8_000,
            };
            Fault {
                at: TROUBLED.mul_f64(chance.random_range(0.0..0.95)),
                kind,
                lasts: Duration::from_millis(chance.random_range(lasts)),
            }
        })
        .collect();
    faults.sort_by_key(|fault| fault.at);
    faults
}
