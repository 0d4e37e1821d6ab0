//! What somebody knows who saw every disk and forgets nothing: which update each record was, and so what each vector
//! stands for; and by plain rules of its own, what a value with these updates must be.

use std::collections::BTreeMap;
use std::ops::{BitAnd, BitOr, BitOrAssign, Not};

use bytes::Bytes;
use common::clock::Timestamp;
use common::replication::{GossipConfig, ReplicaId, RequestId, VectorTimestamp};
use common::services::ratings::{FilmKey, Ratings, Update};
use common::services::{CausalStateMachine as _, encode};

use super::both::spread;

/// Updates of one walk at most.
pub const UPDATES_MAX: usize = 512;
const WORDS: usize = UPDATES_MAX / 64;
/// Cells that the updates of a walk contend for.
pub const CELLS: usize = 3;

/// A set of updates, by their numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Set([u64; WORDS]);

impl Set {
    /// Adds one.
    pub fn insert(&mut self, number: usize) {
        self.0[number / 64] |= 1 << (number % 64);
    }

    /// Whether one is in it.
    pub fn has(&self, number: usize) -> bool {
        self.0[number / 64] & (1 << (number % 64)) != 0
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Each, in order.
    pub fn iter(self) -> impl Iterator<Item = usize> {
        self.0.into_iter().enumerate().flat_map(|(word, mut bits)| {
            std::iter::from_fn(move || {
                let bit = (bits != 0).then(|| bits.trailing_zeros() as usize)?;
                bits &= bits - 1;
                Some(word * 64 + bit)
            })
        })
    }
}

impl BitOr for Set {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(std::array::from_fn(|n| self.0[n] | other.0[n]))
    }
}

impl BitOrAssign for Set {
    fn bitor_assign(&mut self, other: Self) {
        *self = *self | other;
    }
}

impl BitAnd for Set {
    type Output = Self;

    fn bitand(self, other: Self) -> Self {
        Self(std::array::from_fn(|n| self.0[n] & other.0[n]))
    }
}

impl Not for Set {
    type Output = Self;

    fn not(self) -> Self {
        Self(self.0.map(|word| !word))
    }
}

/// An update that a session has sent.
#[derive(Clone, Debug)]
pub struct Sent {
    /// Its id.
    pub id: RequestId,
    /// Whose.
    pub session: usize,
    /// As the service encodes it.
    pub payload: Bytes,
    /// What its session had seen.
    pub causes: Set,
    /// What its session had seen, as it was told.
    pub prev: VectorTimestamp,
    /// Whether somebody acknowledged it.
    pub acknowledged: bool,
    /// How many disks that held it were lost since it was first written.
    pub copies_lost: usize,
    /// How many of those who held it have given their disk up, because a person had moved them out.
    pub copies_given_up: usize,
    /// Whether a person was given it, as too old to be told apart.
    pub stranded: bool,
    cell: usize,
    /// Of its cell, when it stands there.
    digest: u128,
    /// In the adder.
    weight: u128,
}

/// What a value must be.
#[derive(Clone, Copy, Debug, Default)]
pub struct Expected {
    /// Which updates have taken effect.
    pub updates: Set,
    winners: [Option<usize>; CELLS],
    digest: u128,
}

/// Everything that was ever logged.
#[derive(Clone, Debug, Default)]
pub struct Oracle {
    /// By number.
    pub sent: Vec<Sent>,
    numbers: BTreeMap<RequestId, usize>,
    /// By origin: of its first n records, for n from 1 on, which updates they are; and the last's number.
    logged: BTreeMap<ReplicaId, Vec<(usize, Set)>>,
    /// What only disks had that exist no more.
    pub lost: Set,
}

impl Oracle {
    /// A new update.
    pub fn send(&mut self, id: RequestId, session: usize, causes: Set, prev: VectorTimestamp) -> usize {
        let number = self.sent.len();
        let cell = number % CELLS;
        let film = FilmKey::new(["Heat", "Alien", "Jaws"][cell], None);
        let user = "ann".to_owned();
        let update = if number / CELLS % 3 == 2 {
            Update::Delete { film, user }
        } else {
            let rating = (u32::try_from(number).unwrap_or(0) * 7_919 % 5_000_001).try_into();
            Update::Rate { film, user, rating: rating.expect("five stars at most") }
        };
        let weight = spread(number as u64);
        let payload = encode(&(&update, number as u64));
        let mut alone = Ratings::default();
        alone.apply(id, update);
        let digest = alone.digest().0;
        self.sent.push(Sent {
            id,
            session,
            payload,
            causes,
            prev,
            acknowledged: false,
            copies_lost: 0,
            copies_given_up: 0,
            stranded: false,
            cell,
            digest,
            weight,
        });
        self.numbers.insert(id, number);
        number
    }

    /// The number of the update with this id.
    pub fn number(&self, id: RequestId) -> Option<usize> {
        self.numbers.get(&id).copied()
    }

    /// A record is on a disk.
    ///
    /// # Errors
    /// When it is none that anybody sent, or another one than was on a disk before.
    pub fn logged(&mut self, origin: ReplicaId, counter: u64, id: RequestId) -> Result<(), String> {
        let number = self.number(id).ok_or("nobody has sent that update")?;
        let records = self.logged.entry(origin).or_default();
        let place = usize::try_from(counter).unwrap_or(usize::MAX) - 1;
        match records.get(place) {
            Some((before, _)) if *before == number => Ok(()),
            Some((before, _)) => Err(format!("it was update {before}, and is {number} now")),
            None if place == records.len() => {
                let mut all = records.last().map(|(_, all)| *all).unwrap_or_default();
                all.insert(number);
                records.push((number, all));
                Ok(())
            }
            None => Err(format!("the one before is missing, there are {}", records.len())),
        }
    }

    /// The first so many updates of this origin.
    pub fn of(&self, origin: ReplicaId, count: u64) -> Set {
        let place = usize::try_from(count).unwrap_or(usize::MAX).checked_sub(1);
        let records = self.logged.get(&origin);
        place.and_then(|place| records?.get(place)).map(|(_, all)| *all).unwrap_or_default()
    }

    /// How many records there are of this origin.
    pub fn count(&self, origin: ReplicaId) -> u64 {
        self.logged.get(&origin).map_or(0, |records| records.len() as u64)
    }

    /// What a vector stands for, made by somebody who has these members.
    pub fn within(&self, vector: &VectorTimestamp, members: &GossipConfig) -> Set {
        let entries = vector.seen.iter().chain(&members.retired);
        entries.fold(Set::default(), |set, (id, count)| set | self.of(*id, *count))
    }

    /// What a value must be after these updates, too.
    pub fn after(&self, mut before: Expected, updates: Set) -> Expected {
        for number in (updates & !before.updates).iter() {
            let update = &self.sent[number];
            before.digest = before.digest.wrapping_add(update.weight);
            let winner = &mut before.winners[update.cell];
            let stands = winner.is_none_or(|winner| self.sent[winner].id < update.id);
            if stands {
                let under = winner.map_or(0, |winner| self.sent[winner].digest);
                before.digest = before.digest.wrapping_sub(under).wrapping_add(update.digest);
                *winner = Some(number);
            }
        }
        before.updates |= updates;
        before
    }

    /// The first of these that is older.
    pub fn older(&self, updates: Set, settled: Timestamp) -> Option<usize> {
        updates.iter().find(|number| self.sent[*number].id.time() < settled)
    }
}

impl Expected {
    /// Of the value.
    pub fn digest(&self) -> u128 {
        self.digest
    }
}
