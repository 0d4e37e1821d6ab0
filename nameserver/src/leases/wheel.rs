//! A hierarchical timing wheel (G. Varghese, T. Lauck, *Hashed and Hierarchical Timing Wheels*, SOSP 1987), lazy:
//! it keeps no deadlines. Whoever is visited looks at its own deadline and is inserted again when that moved.

use std::collections::BTreeSet;

use common::names::LeaseId;

/// Slots of one level.
const SLOTS: usize = 256;
/// With ticks of 10 ms the levels reach 2.56 s, 11 min and 46 h, which is past the longest lease of 24 h.
const LEVELS: u32 = 3;
/// The farthest that one insertion reaches, in ticks.
const REACH: u64 = 1 << (8 * LEVELS);

/// Leases, by the tick at which they are to be visited next.
#[derive(Debug)]
pub(super) struct Wheel {
    /// The last tick that was visited.
    at: u64,
    /// Level by level.
    slots: Vec<BTreeSet<LeaseId>>,
    held: usize,
}

/// Where in the wheel a lease stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place(pub(super) u16);

impl Wheel {
    pub(super) fn new(at: u64) -> Self {
        Self { at, slots: vec![BTreeSet::new(); SLOTS * LEVELS as usize], held: 0 }
    }

    /// Has `lease` visited at tick `due` or earlier; at the next tick when that is past. A visit before `due` is for
    /// inserting it again, one level lower.
    pub(super) fn insert(&mut self, lease: LeaseId, due: u64) -> Place {
        let due = due.clamp(self.at + 1, self.at + REACH - 1);
        let away = due - self.at;
        let level = (0..LEVELS).find(|level| away < 1 << (8 * (level + 1))).unwrap_or(LEVELS - 1);
        let slot = slot(level, due);
        self.held += usize::from(self.slots[slot].insert(lease));
        Place(u16::try_from(slot).expect("there are 768 slots"))
    }

    pub(super) fn remove(&mut self, lease: LeaseId, place: Place) {
        self.held -= usize::from(self.slots[usize::from(place.0)].remove(&lease));
    }

    /// All that are in the wheel.
    pub(super) fn leases(&self) -> impl Iterator<Item = LeaseId> {
        self.slots.iter().flatten().copied()
    }

    /// Goes on to tick `to`, and returns whom it came by; they are out of the wheel.
    pub(super) fn advance(&mut self, to: u64) -> Vec<LeaseId> {
        let mut visited = Vec::new();
        while self.at < to {
            if self.held == 0 {
                self.at = to;
                break;
            }
            self.at += 1;
            for level in 0..LEVELS {
                // A level moves on when all below it went round.
                if !self.at.is_multiple_of(1 << (8 * level)) {
                    break;
                }
                let slot = std::mem::take(&mut self.slots[slot(level, self.at)]);
                self.held -= slot.len();
                visited.extend(slot);
            }
        }
        visited
    }
}

fn slot(level: u32, tick: u64) -> usize {
    let index = (tick >> (8 * level)) % SLOTS as u64;
    level as usize * SLOTS + usize::try_from(index).expect("below 256")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// Through all levels and past the end of the last one; who is visited early is inserted again.
    #[test]
    fn everybody_is_visited_at_their_tick_however_far_it_lies() {
        let mut wheel = Wheel::new(77);
        let dues = [78, 79, 332, 333, 334, 65_612, 65_613, 70_000, 131_071, 131_072, 400_000];
        let dues: BTreeMap<_, _> = (1..).map(LeaseId::from_random).zip(dues).collect();
        for (lease, due) in &dues {
            wheel.insert(*lease, *due);
        }
        let mut arrived = BTreeMap::new();
        for tick in 78..=400_001 {
            for lease in wheel.advance(tick) {
                if dues[&lease] > tick {
                    wheel.insert(lease, dues[&lease]);
                } else {
                    arrived.insert(lease, tick);
                }
            }
        }
        assert_eq!(arrived, dues);
        assert_eq!(wheel.held, 0);
    }

    #[test]
    fn who_left_is_not_visited() {
        let mut wheel = Wheel::new(0);
        let lease = LeaseId::from_random(1);
        let place = wheel.insert(lease, 300);
        wheel.remove(lease, place);
        assert_eq!(wheel.advance(1_000), []);
    }
}
